package overlay_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

func TestHTTPNamesBothEnds(t *testing.T) {
	nodes := providers(t, 2, nil)
	a, b := nodes[0], nodes[1]
	resolves(t, a, "p1.example")

	resp, err := a.Client().Post("http://p1.example/submit?x=1", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if want := fmt.Sprintf("p1.example served POST p1.example/submit from %s: hello", a.Self()); string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}

	host, err := overlay.PeerHost(b.Self())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := mustGet(t, a, "http://"+host+"/"), fmt.Sprintf("p1.example served GET %s/ from %s: ", host, a.Self()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// libp2p does not connect a node with itself; a provider must be able to talk to
	// itself all the same.
	if got, want := mustGet(t, a, "http://P0.example/me"), fmt.Sprintf("p0.example served GET P0.example/me from %s: ", a.Self()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRequestPeerOnlyOverTheOverlay(t *testing.T) {
	r, err := http.NewRequest("GET", "http://x.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "12D3KooWLRPJAA5o6zuTkeVqBgnYqGwcB5tTNwzbRLyzUnP2fVbD"
	if p, ok := overlay.RequestPeer(r); ok || p != "" {
		t.Errorf("a request that came by another way has peer %q", p)
	}
}

func TestHTTPErrors(t *testing.T) {
	nodes := providers(t, 2, nil)
	down, stop := start(t, func() overlay.Config {
		c := config("down.example")
		c.Bootstrap = boot(nodes[0])
		return c
	}())
	resolves(t, nodes[0], "down.example")
	gone, err := overlay.PeerHost(down.Self())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for _, c := range []struct {
		url  string
		want error
	}{
		{"http://nobody.example/", overlay.ErrUnknownProvider},
		{"http://down.example/", overlay.ErrUnreachable},
		{"http://" + gone + "/", overlay.ErrUnreachable},
		{"http://notbase36.peer.invalid/", overlay.ErrName},
		{"http://bad_name.example/", overlay.ErrName},
		{"http://p1.example:8080/", overlay.ErrName},
		{"https://p1.example/", overlay.ErrName},
	} {
		resp, err := nodes[0].Client().Post(c.url, "text/plain", strings.NewReader("x"))
		if err == nil {
			resp.Body.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.url, err, c.want)
		}
	}
	fresh, err := overlay.New(config("fresh.example"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Client().Get("http://p1.example/"); !errors.Is(err, overlay.ErrNotRunning) {
		t.Errorf("before Run: %v", err)
	}
}

func TestParallelRequestsShareOneConnection(t *testing.T) {
	const parallel = 64
	var inside atomic.Int32
	all := make(chan struct{})
	nodes := providers(t, 2, func(i int, c *overlay.Config) {
		if i == 1 {
			c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if inside.Add(1) == parallel {
					close(all)
				}
				select {
				case <-all: // every request is here at the same time
				case <-r.Context().Done():
				}
				io.Copy(w, r.Body)
			})
		}
	})
	resolves(t, nodes[0], "p1.example")
	var wg sync.WaitGroup
	for i := range parallel {
		wg.Go(func() {
			want := fmt.Sprint("request ", i)
			resp, err := nodes[0].Client().Post("http://p1.example/", "text/plain", strings.NewReader(want))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != want {
				t.Errorf("%q %v", b, err)
			}
		})
	}
	wg.Wait()
	if n := overlay.Connections(nodes[0], nodes[1].Self()); n != 1 {
		t.Errorf("%d connections", n)
	}
	before := overlay.HTTPStreams(nodes[0])
	mustGet(t, nodes[0], "http://p1.example/")
	if after := overlay.HTTPStreams(nodes[0]); after != before {
		t.Errorf("a further request opened %d streams", after-before)
	}
}

// A peer that stalls in the middle holds a stream for the timeout and no longer.
func TestStallingPeers(t *testing.T) {
	nodes := providers(t, 2, func(i int, c *overlay.Config) {
		if i == 1 {
			c.Limits.HeaderTimeout = 100 * time.Millisecond
			c.Limits.RequestTimeout = 200 * time.Millisecond
			c.Limits.IdleTimeout = 300 * time.Millisecond
			c.Limits.HeaderBytes = 4096
			c.Limits.BodyBytes = 1000
		}
	})
	a, b := nodes[0], nodes[1]
	resolves(t, a, "p1.example")
	for _, c := range []struct{ name, send, want string }{
		{"nothing is sent", "", ""},
		{"half a header", "POST / HTTP/1.1\r\nHo", ""},
		{"half a body", "POST / HTTP/1.1\r\nHost: p1.example\r\nContent-Length: 500\r\n\r\nhalf", "400 Bad Request"},
		{"nothing after a request", "GET / HTTP/1.1\r\nHost: p1.example\r\n\r\n", "200 OK"},
		{"endless header", "GET / HTTP/1.1\r\nHost: p1.example\r\nX: " + strings.Repeat("x", 20000), "431 "},
		{"body beyond the limit", "POST / HTTP/1.1\r\nHost: p1.example\r\nContent-Length: 5000\r\n\r\n" + strings.Repeat("x", 5000), "400 Bad Request"},
		{"not HTTP", "\x16\x03\x01\x00\xee\x01\x00\x00\xea\x03\x03\r\n\r\n", "400 Bad Request"},
	} {
		s, err := overlay.OpenHTTPStream(within(t, 5*time.Second), a, b.Self())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		s.SetDeadline(time.Now().Add(5 * time.Second))
		go io.WriteString(s, c.send)
		got, err := io.ReadAll(s)
		if errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(string(got), c.want) {
			t.Errorf("%s: the server did not close: %q %v", c.name, got, err)
		}
		s.Reset()
	}
	eventually(t, "streams of peers that stalled", func() error {
		if n := overlay.HTTPStreams(b); n != 0 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
}

// slow answers when it is let.
func slow(inside, finish chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(inside)
		<-finish
		io.WriteString(w, "finished")
	})
}

// A provider with two nodes is served by the one that is up; the body is sent again to
// it, as nothing of it has been sent to the other.
func TestTwoNodesOneProvider(t *testing.T) {
	hub, _ := start(t, config("hub.example"))
	// The record names a node that never ran, and it comes first.
	c := config("two.example")
	c.Bootstrap = boot(hub)
	o, _ := start(t, c)
	dead := overlay.Node{ID: nodeID(key("dead")), Addrs: []string{"/ip4/127.0.0.1/tcp/1"}}
	overlay.PublishNodes(t, o, key("provider two.example"), []overlay.Node{dead, {ID: o.Self(), Addrs: o.Addrs()}})
	far := config("far.example")
	far.Bootstrap = boot(hub)
	a, _ := start(t, far)
	r := resolves(t, a, "two.example")
	if len(r.Nodes) != 2 || r.Nodes[0].ID != dead.ID {
		t.Fatalf("%+v", r.Nodes)
	}
	overlay.Disconnect(a, o.Self())
	resp, err := a.Client().Post("http://two.example/", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); !strings.HasSuffix(string(b), ": hello") {
		t.Errorf("%s", b)
	}
}

// A node that was down for long is reached at once when it is back.
func TestNodeComesBack(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := config("back.example")
	c.Listen = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port(t))}
	hub, _ := start(t, config("hub.example"))
	c.Bootstrap = boot(hub)
	o, stop := start(t, c)
	resolves(t, hub, "back.example")
	stop()
	eventually(t, "the end is noticed", func() error {
		if hub.Connected(o.Self()) {
			return errors.New("still connected")
		}
		return nil
	})
	for range 3 { // libp2p would now wait for 5 + 1 + 4 + 9 s
		if _, err := hub.Client().Get("http://back.example/"); !errors.Is(err, overlay.ErrUnreachable) {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
	}
	c.Bootstrap, c.KV = nil, &overlay.MemoryKV{} // it does not come to us
	start(t, c)
	mustGet(t, hub, "http://back.example/")
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	nodes := providers(t, 2, func(i int, c *overlay.Config) {
		c.Handler = http.RedirectHandler("http://p0.example/internal", http.StatusFound)
	})
	resolves(t, nodes[0], "p1.example")
	resp, err := nodes[0].Client().Get("http://p1.example/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("%s", resp.Status)
	}
}
