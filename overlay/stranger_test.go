package overlay_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mimid/mimid/overlay"
)

// TestStranger: it comes by an identity of its own, though there is a connection, and only to
// whom it has come to see.
func TestStranger(t *testing.T) {
	a, _ := start(t, config("atlanta.example"))
	c := config("biloxi.example")
	c.Bootstrap = boot(a)
	b, _ := start(t, c)
	resolves(t, b, "atlanta.example")
	s, err := b.Stranger("atlanta.example")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	resp, err := s.Client().Post("http://atlanta.example/look", "", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(body), "atlanta.example served POST atlanta.example/look from 12D3") || !strings.HasSuffix(string(body), ": hello") {
		t.Errorf("got %q, %v", body, err)
	}
	if strings.Contains(string(body), string(b.Self())) {
		t.Error("it came as the node that it is of")
	}
	if _, err := s.Client().Get("http://biloxi.example/"); !errors.Is(err, overlay.ErrName) {
		t.Errorf("a request for another provider: %v", err)
	}
}

// TestStrangerCannotReach: others are connected to a node that cannot be dialled; a stranger is not.
func TestStrangerCannotReach(t *testing.T) {
	a, _ := start(t, config("atlanta.example"))
	c := config("biloxi.example")
	c.Bootstrap = boot(a)
	c.Announce = []string{"/ip4/127.0.0.1/tcp/1"} // nobody listens there
	b, _ := start(t, c)
	resolves(t, a, "biloxi.example")
	if resp, err := a.Client().Get("http://biloxi.example/"); err != nil || !a.Connected(b.Self()) {
		t.Fatalf("by the connection that there is: %v", err)
	} else {
		resp.Body.Close()
	}
	s, err := a.Stranger("biloxi.example")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if resp, err := s.Client().Get("http://biloxi.example/"); !errors.Is(err, overlay.ErrUnreachable) {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := a.Stranger("not a name"); !errors.Is(err, overlay.ErrName) {
		t.Error(err)
	}
	idle, err := overlay.New(config("cary.example"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Stranger("atlanta.example"); !errors.Is(err, overlay.ErrNotRunning) {
		t.Error(err)
	}
}
