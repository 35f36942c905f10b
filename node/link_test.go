package node_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

// speaking waits until somebody is heard in a room.
func speaking(t *testing.T, room client.RoomURI, who, at *client.Client) {
	t.Helper()
	text := who.User().Short() + " is here"
	within(t, text, func() bool { _, err := who.Send(t.Context(), room, text); return err == nil })
	within(t, text+", and is heard", func() bool {
		said, err := at.Conversation(room)
		return err == nil && slices.ContainsFunc(said, func(s client.Said) bool { return s.Sender == who.User() })
	})
}

// takesLink has somebody come in by a link, for as long as a test waits.
func takesLink(t *testing.T, who *client.Client, link string) error {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := who.JoinRoom(ctx, link)
	return err
}

// TestJoinLinkAcrossProviders: whoever holds a link comes into a room of which its provider has
// never heard, by the provider in the link; of two at two providers who use it at once for
// the last time one comes in. Who comes too late, or is banned, is told so. No provider has
// the link's secret in its log.
func TestJoinLinkAcrossProviders(t *testing.T) {
	ctx := t.Context()
	debug := func(c *node.Config) { c.Log.Level = "debug" }
	a := prepareWith(t, "atlanta.example", debug).must()
	boot := a.status().Addresses[0]
	b, c := prepareWith(t, "biloxi.example", debug, boot).must(), prepareWith(t, "chicago.example", debug, boot).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), c.user("carol")
	room, err := alice.CreateRoom(ctx, "club")
	if err != nil {
		t.Fatal(err)
	}
	made := func(terms client.LinkTerms) string {
		t.Helper()
		h, err := alice.MakeLink(ctx, room, terms)
		if err != nil {
			t.Fatal(err)
		}
		return h.Reveal()
	}
	once := made(client.LinkTerms{Uses: 1})
	done := both(func() error { return takesLink(t, bob, once) }, func() error { return takesLink(t, carol, once) })
	var in, out *client.Client
	for i, who := range []*client.Client{bob, carol} {
		switch err := done[i]; {
		case err == nil:
			in = who
		case errors.Is(err, client.ErrLink) && strings.Contains(err.Error(), "used as often as it could be"):
			out = who
		default:
			t.Errorf("%s: %v", who.User(), err)
		}
	}
	if in == nil || out == nil {
		t.Fatalf("not one of two has come in: %v", done)
	}
	speaking(t, room, in, alice)

	// Its provider's users are not known to atlanta, which does not look up everybody who
	// comes with a link that is worth nothing; who holds it hears why all the same.
	revoked := made(client.LinkTerms{})
	list, err := alice.Links(ctx, room)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := alice.RevokeLinks(ctx, room, list[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := takesLink(t, out, revoked); !errors.Is(err, client.ErrLink) || !strings.Contains(err.Error(), "it was revoked") {
		t.Errorf("revoked: %v", err)
	}
	code, _, _ := strings.Cut(revoked[len(room.String()):], ".")
	last := code[len(code)-1:]
	wrong := room.String() + strings.TrimSuffix(code, last) + strings.Map(func(r rune) rune {
		if r == 'A' {
			return 'E' // the last of 43 characters has two bits that are none of the code's
		}
		return 'A'
	}, last)
	if err := takesLink(t, out, wrong); !errors.Is(err, client.ErrLink) || !strings.Contains(err.Error(), "knows no such link") {
		t.Errorf("mistyped: %v", err)
	}
	if err := takesLink(t, out, room.String()); !errors.Is(err, client.ErrRefused) || errors.Is(err, client.ErrLink) {
		t.Errorf("without a link: %v", err)
	}
	many := made(client.LinkTerms{Uses: 2})
	if err := takesLink(t, out, many); err != nil {
		t.Fatal(err)
	}
	speaking(t, room, out, alice)
	if err := alice.Ban(ctx, room, out.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "the ban is heard", func() bool {
		r, err := out.FindRoom(ctx, room.String())
		return err == nil && r.State == "left"
	})
	if err := takesLink(t, out, many); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "you are banned") {
		t.Errorf("banned: %v", err)
	}
	if list, err = alice.Links(ctx, room); err != nil || len(list) != 1 || list[0].Uses != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, r := range []*running{a, b, c} {
		for _, link := range []string{once, revoked, many} {
			if _, code, _ := strings.Cut(link, "="); strings.Contains(r.log.String(), code) {
				t.Errorf("the log of %s has a link", r.cfg.Domain)
			}
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		r.whole()
	}
}

// both runs two at once.
func both(f, g func() error) [2]error {
	var out [2]error
	done := make(chan struct{})
	go func() { defer close(done); out[1] = g() }()
	out[0] = f()
	<-done
	return out
}

// TestLinkOutlivesProvider: a link was made where the room began. The room has moved, and the
// provider that the link names is gone, so long that nobody finds its record any more: the
// link leads there all the same, as the network knows the room's new hub, and who is there
// shows the key that the first entry rests on.
func TestLinkOutlivesProvider(t *testing.T) {
	ctx := t.Context()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	with := func(domain string, boot ...string) *running {
		r := prepare(t, domain, boot...)
		r.now = now
		return r.must()
	}
	b := with("biloxi.example")
	boot := b.status().Addresses[0]
	a := with("atlanta.example", boot)
	alice, bob := a.user("alice"), b.user("bob")
	room, err := alice.CreateRoom(ctx, "club")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := alice.MakeLink(ctx, room, client.LinkTerms{Role: "admin", Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	link, err := alice.MakeLink(ctx, room, client.LinkTerms{Uses: 2})
	if err != nil {
		t.Fatal(err)
	}
	old, err := alice.MakeLink(ctx, room, client.LinkTerms{For: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := takesLink(t, bob, mod.Reveal()); err != nil {
		t.Fatal(err)
	}
	c := with("chicago.example", boot)
	carol := c.user("carol")
	if err := takesLink(t, carol, link.Reveal()); err != nil {
		t.Fatal(err)
	}
	speaking(t, room, carol, bob)
	within(t, "three providers decide", func() bool { v, err := carol.Verify(ctx, room); return err == nil && v.Replicas == 3 })
	within(t, "the room moves", func() bool {
		_, err := a.operator().MoveRoom(ctx, room.String(), "biloxi.example")
		return err == nil
	})
	within(t, "biloxi orders", func() bool {
		x, err := b.operator().Room(ctx, room.String())
		return err == nil && x.Hub == "biloxi.example"
	})
	a.stop()
	ahead.Store(int64(50 * time.Hour))
	for _, r := range []*running{b, c} { // whose records would be new every four hours
		r.stop()
		r.must()
	}
	within(t, "those that are left find each other again", func() bool {
		i, err := bob.Send(ctx, room, "anybody?")
		if err != nil {
			return false
		}
		for range 20 {
			if m, err := bob.Messages(room, i, 1); err == nil && len(m) == 1 && m[0].State == client.StateFinal {
				return true
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false
	})
	d := with("dallas.example", boot)
	dave := d.user("dave")
	for what, h := range map[string]*client.HeldLink{"it was used as often": mod, "it has expired": old} {
		if err := takesLink(t, dave, h.Reveal()); !errors.Is(err, client.ErrLink) || !strings.Contains(err.Error(), what) {
			t.Errorf("the new hub says of a link that ended at the old one: %v", err)
		}
	}
	if err := takesLink(t, dave, link.Reveal()); err != nil {
		t.Fatal(err)
	}
	speaking(t, room, dave, bob)
	peers, err := d.operator().Peers(ctx)
	if err != nil || !slices.ContainsFunc(peers, func(p admin.Peer) bool { return p.Domain == "atlanta.example" && p.Trust == "told" }) {
		t.Errorf("%+v, %v", peers, err)
	}
}
