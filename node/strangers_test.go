package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// stranger is a provider of its own make: a real overlay, and whatever handler and
// requests a test wants.
type stranger struct {
	*overlay.Overlay
	caller *peering.Caller
	host   string // of the node that it was given to meet
}

func comes(t *testing.T, domain string, meet *running, handler http.Handler) *stranger {
	t.Helper()
	_, provider, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, self, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	addr := meet.status().Addresses[0]
	o, err := overlay.New(overlay.Config{Domain: domain, ProviderKey: provider, NodeKey: self, Listen: []string{"/ip4/127.0.0.1/tcp/0"},
		Bootstrap: []string{addr}, KV: new(overlay.MemoryKV), Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("overlay of %s: %v", domain, err)
		}
	})
	<-o.Ready()
	host, err := overlay.PeerHost(overlay.PeerID(addr[strings.LastIndex(addr, "/")+1:]))
	if err != nil {
		t.Fatal(err)
	}
	return &stranger{o, &peering.Caller{Domain: domain, Key: func() ed25519.PrivateKey { return provider }, Client: o.Client()}, host}
}

// TestHostilePeer: a provider stalls in the middle of its requests, floods, and leaves
// those who ask it waiting. Each of that ends by itself or is refused, memory stays
// bounded, and a room of two others goes on meanwhile.
func TestHostilePeer(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, _, said := share(t, a, b)
	rooms, err := alice.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sent := 3
	served := func(what string) {
		t.Helper()
		if _, err := alice.Send(t.Context(), rooms[0].URI, what); err != nil {
			t.Fatal(err)
		}
		sent++
		said(sent)
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}

	hold := make(chan struct{})
	asked := make(chan struct{}, 100)
	m := comes(t, "mallory.example", a, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		select {
		case asked <- struct{}{}:
		default:
		}
		select { // the rest never comes
		case <-hold:
		case <-r.Context().Done():
		}
	}))
	before := heap()

	// It stops in the middle of 400 bodies.
	ctx, giveUp := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var began atomic.Int64
	for i := range 400 {
		all.Go(func() {
			body, w := io.Pipe()
			defer context.AfterFunc(ctx, func() { w.CloseWithError(context.Canceled) })()
			req, err := http.NewRequestWithContext(ctx, "POST", "http://"+m.host+"/update/"+fmt.Sprint(i), body)
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				if _, err := w.Write(make([]byte, 1000)); err == nil {
					began.Add(1)
				}
			}()
			if res, err := m.Client().Do(req); err == nil {
				res.Body.Close()
			}
		})
	}
	within(t, "bodies are begun", func() bool { return began.Load() >= 100 })
	served("somebody stalls")
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("the heap has grown by %d MiB with %d stalled requests", grown>>20, began.Load())
	}
	giveUp()
	all.Wait()

	// It floods: requests that it has signed, about a room that is none of its own, with
	// garbage in them.
	var refused atomic.Int64
	var other atomic.Value
	codes := new(sync.Map)
	for range 32 {
		all.Go(func() {
			for range 200 {
				_, err := m.caller.Call(t.Context(), peering.Request{Target: m.host, Endpoint: "groupInfo", Subject: rooms[0].URI.String(), Room: wire.IdentifierURI(rooms[0].URI.String()), Body: bytes.Repeat([]byte{1}, 1000)})
				if r, ok := errors.AsType[*peering.Refused](err); ok {
					codes.Store(r.Problem.Code, r.Problem.Detail)
					refused.Add(1)
				} else {
					other.Store(err)
				}
			}
		})
	}
	served("somebody floods")
	all.Wait()
	codes.Range(func(k, v any) bool { t.Logf("flood: %v: %v", k, v); return true })
	if n := refused.Load(); n != 32*200 {
		t.Errorf("%d of its requests were refused, and of the others one got %v", n, other.Load())
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("the heap has grown by %d MiB after a flood", grown>>20)
	}

	// It does not answer to its end who asks it.
	wait, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := alice.RequestContact(wait, user(t, "mallory@mallory.example")); err == nil {
		t.Error("a contact was asked that never answered")
	} else {
		t.Log(err)
	}
	<-asked
	served("somebody does not answer")
	close(hold)
}

func user(t *testing.T, s string) uri.User {
	t.Helper()
	u, err := uri.ParseShort(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestExpiredProvider: a provider that has published nothing for longer than its record
// was good for cannot be asked, and people are told so; when it is back, it can.
func TestExpiredProvider(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	a := prepare(t, "atlanta.example")
	a.now = now
	a.must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0])
	b.now = now
	b.must()
	share(t, a, b)
	carol := a.user("carol") // who has never met anybody there
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(37 * time.Hour))
	err := carol.RequestContact(t.Context(), user(t, "bella@biloxi.example"))
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("asking a provider whose record has expired: %v", err)
	}
	b.must()
	within(t, "it can be asked again", func() bool {
		return carol.RequestContact(t.Context(), user(t, "bella@biloxi.example")) == nil
	})
}
