package node_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
)

// tap keeps what a device says to its provider.
type tap struct {
	mu    sync.Mutex
	paths []string
	said  bytes.Buffer
}

func (p *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.paths = append(p.paths, r.Method+" "+r.URL.Path)
	p.said.WriteString(r.URL.RawQuery)
	if r.Body != nil && strings.HasPrefix(r.URL.Path, "/v1/oblivious") {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			p.mu.Unlock()
			return nil, err
		}
		p.said.Write(b)
		r.Body = io.NopCloser(bytes.NewReader(b))
	}
	p.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

func (p *tap) count(call string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.paths {
		if x == call {
			n++
		}
	}
	return n
}

// TestObliviousDownload_5_10: the room's hub brings an attachment to a device of another
// provider, which passes on what it cannot read (MIMI protocol section 5.10), because the user
// or the room's policy wants it so; also after the hub has other keys.
func TestObliviousDownload_5_10(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	var said tap
	alice, bob := a.user("alice"), b.userBy("bob", &http.Client{Transport: &said})
	if err := bob.Accept(ctx, alice.User()); err != nil {
		t.Fatal(err)
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return alice.AddUser(ctx, room, bob.User()) == nil })
	within(t, "bob is in", func() bool { _, err := bob.Verify(ctx, room); return err == nil })
	big := make([]byte, 3<<20+7)
	rand.Read(big)
	for i, c := range []*client.Client{alice, bob} { // 0 is kept by the hub, 1 by bob's provider
		if _, err := c.Attach(ctx, room, client.Outgoing{Name: "x", Content: bytes.NewReader(big), Size: int64(len(big))}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client.Client{alice, bob} {
			within(t, "it is there", func() bool { got, err := c.Messages(room, 0, 100); return err == nil && len(got) == i+1 })
		}
	}
	fetch := func(name string, c *client.Client, index uint64, oblivious bool) error {
		t.Helper()
		var got bytes.Buffer
		_, err := c.FetchAttachment(ctx, client.Fetch{Room: room, Index: index, Oblivious: oblivious}, &got)
		if err == nil && !bytes.Equal(got.Bytes(), big) {
			t.Errorf("%s: %d octets", name, got.Len())
		}
		return err
	}
	for index, pieces := range []int{4, 8} {
		if err := fetch("of the hub, of the own provider", bob, uint64(index), true); err != nil {
			t.Fatal(err)
		}
		if n := said.count("POST /v1/oblivious"); n != pieces || said.count("GET /v1/download") > 0 {
			t.Errorf("asked for %d pieces, and openly for %d", n, said.count("GET /v1/download"))
		}
	}
	if err := fetch("by the hub's own user", alice, 1, true); !errors.Is(err, client.ErrRefused) {
		t.Errorf("alice's provider is relay and gateway: %v", err)
	}
	if err := fetch("openly", alice, 1, false); err != nil {
		t.Error(err)
	}

	// The hub has restarted, and has other keys, which bob's provider does not know of.
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a.must()
	keys := said.count("POST /v1/oblivious/keys")
	within(t, "the hub is reached again", func() bool {
		err := fetch("after a restart", bob, 0, true)
		var p *clientapi.Problem
		if err != nil && !errors.As(err, &p) && !errors.Is(err, client.ErrUnreachable) {
			t.Fatal(err)
		}
		return err == nil
	})
	if n := said.count("POST /v1/oblivious/keys") - keys; n < 2 {
		t.Errorf("keys were asked for %d times: once more than begun with", n)
	}

	// The room's policy wants nothing else.
	p := client.NewAssetPolicy()
	p.Default, p.Allowed = client.DownloadOHTTP, []client.Download{client.DownloadOHTTP}
	if err := alice.SetPolicy(ctx, room, p); err != nil {
		t.Fatal(err)
	}
	within(t, "bob has the policy", func() bool {
		got, err := bob.Policies(ctx, room)
		return err == nil && got.Assets != nil && slices.Equal(got.Assets.Allowed, p.Allowed)
	})
	before := said.count("POST /v1/oblivious")
	if err := fetch("as the policy says", bob, 0, false); err != nil || said.count("POST /v1/oblivious") <= before {
		t.Errorf("%d requests, %v", said.count("POST /v1/oblivious")-before, err)
	}
	if err := fetch("by the hub's own user, as the policy says", alice, 1, false); err != nil {
		t.Error(err)
	}
	if said.count("GET /v1/download") > 0 {
		t.Error("bob's provider was asked openly")
	}

	// And the room's policy is the hub's to obey: nothing else of the octets goes out.
	p.Default, p.Allowed = client.DownloadProxy, []client.Download{client.DownloadProxy}
	if err := alice.SetPolicy(ctx, room, p); err != nil {
		t.Fatal(err)
	}
	within(t, "bob has the other policy", func() bool {
		got, err := bob.Policies(ctx, room)
		return err == nil && got.Assets != nil && slices.Equal(got.Assets.Allowed, p.Allowed)
	})
	if err := fetch("against the policy", bob, 0, true); !errors.Is(err, client.ErrRefused) {
		t.Errorf("%v", err)
	}
	said.mu.Lock()
	defer said.mu.Unlock()
	if bytes.Contains(said.said.Bytes(), []byte("asset")) {
		t.Error("bob's provider was told the URL of an attachment")
	}
}
