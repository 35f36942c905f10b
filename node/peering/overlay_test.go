package peering_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
)

// resolver is an overlay as a Directory.
type resolver struct{ o *overlay.Overlay }

func (r resolver) Resolve(ctx context.Context, domain string) (*peering.Provider, error) {
	rec, err := r.o.Resolve(ctx, domain)
	if err != nil {
		return nil, err
	}
	out := &peering.Provider{Key: rec.ProviderKey}
	for _, n := range rec.Nodes {
		out.Nodes = append(out.Nodes, string(n.ID))
	}
	return out, nil
}

// late is a handler that is there after the overlay.
type late struct{ h http.Handler }

func (l *late) ServeHTTP(w http.ResponseWriter, r *http.Request) { l.h.ServeHTTP(w, r) }

func onOverlay(t *testing.T, domain string, bootstrap []string) (*overlay.Overlay, *peering.Caller) {
	t.Helper()
	seed := sha256.Sum256([]byte("node of " + domain))
	l := new(late)
	o, err := overlay.New(overlay.Config{Domain: domain, ProviderKey: key(domain), NodeKey: ed25519.NewKeyFromSeed(seed[:]),
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Bootstrap: bootstrap, KV: new(overlay.MemoryKV), Handler: l})
	if err != nil {
		t.Fatal(err)
	}
	host, err := overlay.PeerHost(o.Self())
	if err != nil {
		t.Fatal(err)
	}
	l.h, err = peering.NewServer(peering.Config{Domain: domain, Aliases: []string{host}, Directory: resolver{o},
		Routes: []peering.Route{{Endpoint: "update", Handler: echo, InRoom: true, Idempotent: true, MaxBody: 1 << 20}, {Endpoint: "once", Handler: echo}},
		Peer: func(r *http.Request) (string, bool) {
			id, ok := overlay.RequestPeer(r)
			return string(id), ok
		}})
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
	return o, &peering.Caller{Domain: domain, Key: func() ed25519.PrivateKey { return key(domain) }, Client: o.Client()}
}

// The same over libp2p: by the provider's name, by the node's, and to nobody.
func TestOverOverlay(t *testing.T) {
	b, _ := onOverlay(t, here, nil)
	var boot []string
	for _, a := range b.Addrs() {
		boot = append(boot, a+"/p2p/"+string(b.Self()))
	}
	_, caller := onOverlay(t, there, boot)
	host, err := overlay.PeerHost(b.Self())
	if err != nil {
		t.Fatal(err)
	}
	call := func(target, endpoint string, body []byte) (*peering.Response, error) {
		var resp *peering.Response
		// A record that has just been published is not known everywhere at once.
		for range 100 {
			resp, err = caller.Call(t.Context(), peering.Request{Target: target, Endpoint: endpoint, Subject: roomURI, Room: roomURI, Body: body})
			refused, ok := errors.AsType[*peering.Refused](err)
			if !ok || refused.Problem.Code != peering.CodeUnresolved && refused.Problem.Code != clientapi.CodeUnavailable {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		return resp, err
	}
	for _, target := range []string{here, host} {
		for _, endpoint := range []string{"update", "once"} {
			resp, err := call(target, endpoint, []byte("hello"))
			if err != nil || string(resp.Body) != there+"|"+endpoint+"|"+roomURI+"|"+roomURI+"|hello" {
				t.Errorf("%s at %s: %v, %v", endpoint, target, resp, err)
			}
		}
	}
	if resp, err := call(here, "update", make([]byte, 1<<20)); err != nil || len(resp.Body) < 1<<20 {
		if !errors.Is(err, peering.ErrTooLarge) { // the echo is longer than the default for answers
			t.Errorf("a large body: %v", err)
		}
	}
	if _, err := call("nowhere.example", "update", nil); !errors.Is(err, peering.ErrUnknown) {
		t.Errorf("to an unknown provider: %v", err)
	}
}
