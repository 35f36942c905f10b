package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// tablet is a further device of a user.
func (p *person) tablet(t *testing.T, name string) *person {
	t.Helper()
	o, err := p.OfferDevice(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x := &person{t: t, dir: filepath.Join(t.TempDir(), name)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waited := make(chan error, 1)
	go func() { _, err := o.Wait(ctx); waited <- err }()
	x.start(nil, func(c *client.Client) error { return c.RegisterByCode(ctx, o.Code(), name) })
	t.Cleanup(func() { x.stop() })
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	return x
}

// devices waits until a device has named exactly these users, each with so many devices, and
// lacks nobody's name.
func devices(t *testing.T, c *client.Client, u uri.Room, want map[uri.User]int) {
	t.Helper()
	var last string
	defer func() {
		if t.Failed() {
			t.Logf("%s sees %s", c.User(), last)
		}
	}()
	within(t, fmt.Sprintf("%s names %v", c.User(), want), func() bool {
		r, err := c.FindRoom(t.Context(), u.String())
		last = fmt.Sprint(r.State, r.Reason, r.Participants, err)
		if err != nil || len(r.Participants) != len(want) {
			return false
		}
		for _, p := range r.Participants {
			if p.Unnamed != nil || p.Doubt != nil || p.Clients != want[p.User] {
				return false
			}
		}
		return true
	})
}

// joins has somebody come in by a link, for as long as a test may take.
func joins(t *testing.T, who *client.Client, link string) error {
	_, err := who.JoinRoom(t.Context(), link)
	return err
}

// comesIn makes a room at atlanta into which bob, of a provider that has never heard of it, comes
// by a link, then his tablet by itself, and, when his phone's group is damaged, the phone again;
// carol comes by a link and is banned.
func comesIn(t *testing.T, masked bool) (a, c *running, u uri.Room) {
	ctx := t.Context()
	a = prepare(t, "atlanta.example").must()
	boot := a.status().Addresses[0]
	b, c := prepare(t, "biloxi.example", boot).must(), prepare(t, "chicago.example", boot).must()
	alice, carol := a.user("alice.liddell"), c.user("carol.bingley")
	bob := b.person("bob.cratchit")
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: masked})
	if err != nil {
		t.Fatal(err)
	}
	h, err := alice.MakeLink(ctx, u, client.LinkTerms{})
	if err != nil {
		t.Fatal(err)
	}
	link := h.Reveal()
	if err := joins(t, bob.Client, link); err != nil {
		t.Fatal(err)
	}
	A, B, C := alice.User(), bob.User(), carol.User()
	for _, x := range []*client.Client{alice, bob.Client} {
		devices(t, x, u, map[uri.User]int{A: 1, B: 1})
	}
	first := goesBy(t, alice, u, bob.Client)

	tablet := bob.tablet(t, "tablet")
	for _, x := range []*client.Client{alice, bob.Client, tablet.Client} {
		devices(t, x, u, map[uri.User]int{A: 1, B: 2})
	}
	speaking(t, u, tablet.Client, alice)

	// The phone's group is damaged, and it comes back by itself.
	bob.restart(func(st client.Storage) error {
		return st.Update(ctx, func(tx client.Tx) error {
			table, gone := "mls/"+room.IDOf([]byte(u.String())).String(), 0
			for it, err := range tx.Scan(table, "") {
				if err == nil {
					err = tx.Delete(table, it.Name)
				}
				if err != nil {
					return err
				}
				gone++
			}
			if gone == 0 {
				return errors.New("there is no group to damage")
			}
			return nil
		})
	})
	within(t, "the phone is back", func() bool { _, err := bob.Verify(ctx, u); return err == nil })
	speaking(t, u, bob.Client, alice)
	if err := joins(t, carol, link); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{alice, bob.Client, tablet.Client, carol} {
		devices(t, x, u, map[uri.User]int{A: 1, B: 2, C: 1})
	}
	speaking(t, u, carol, bob.Client)
	speaking(t, u, alice, carol)
	if now := goesBy(t, carol, u, bob.Client); now != first {
		t.Errorf("bob came as %s and goes by %s", first, now)
	}

	// Who is banned stays so, by whatever link.
	if err := alice.Ban(ctx, u, C); err != nil {
		t.Fatal(err)
	}
	within(t, "the ban is heard", func() bool {
		r, err := carol.FindRoom(ctx, u.String())
		return err == nil && r.State == "left"
	})
	if err := joins(t, carol, link); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "you are banned") {
		t.Errorf("banned: %v", err)
	}
	if _, err := carol.JoinRoom(ctx, u.String()); !errors.Is(err, client.ErrRefused) { // she is known there, and asks as what she was
		t.Errorf("banned, without a link: %v", err)
	}
	return a, c, u
}

// forget makes a stopped provider forget what a user goes by in a room.
func (r *running) forget(name string, id room.ID) {
	r.t.Helper()
	st, err := store.Open(store.Options{Dir: filepath.Join(r.dir, "store"), Small: r.cfg.Store.Small})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	k := store.SpacePseudonyms.Key(slices.Concat([]byte{2}, []byte(name), []byte{0}, id[:]))
	err = st.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Get(k); err != nil {
			return fmt.Errorf("it knows none: %w", err)
		}
		return tx.Delete(k)
	})
	cancel()
	if err := errors.Join(err, <-ended, st.Close(context.Background())); err != nil {
		r.t.Fatal(err)
	}
}

// TestSecondPseudonym: a provider that gives its user another pseudonym, against the rules, is caught by
// the user's device, which remembers what it was, and by the members, who see that it is somebody
// whom they have banned.
func TestSecondPseudonym(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob := a.user("alice"), b.person("bob")
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	h, err := alice.MakeLink(ctx, u, client.LinkTerms{})
	if err != nil {
		t.Fatal(err)
	}
	cut := h.Reveal()[:strings.LastIndex(h.Reveal(), ".")]
	if err := joins(t, bob.Client, cut); !errors.Is(err, client.ErrLink) {
		t.Errorf("a link that does not tell the room from another: %v", err)
	}
	if err := joins(t, bob.Client, h.Reveal()); err != nil {
		t.Fatal(err)
	}
	devices(t, alice, u, map[uri.User]int{alice.User(): 1, bob.User(): 1})
	speaking(t, u, bob.Client, alice)
	speaking(t, u, alice, bob.Client)
	if err := alice.Ban(ctx, u, bob.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "the ban is heard", func() bool {
		r, err := bob.FindRoom(ctx, u.String())
		return err == nil && r.State == "left"
	})
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.forget("bob", room.IDOf([]byte(u.String())))
	b.must()
	within(t, "the device sees it", func() bool {
		err = joins(t, bob.Client, h.Reveal())
		return errors.Is(err, client.ErrProtocol) && strings.Contains(err.Error(), "before")
	})
	tablet := bob.tablet(t, "tablet")
	if err := joins(t, tablet.Client, h.Reveal()); err != nil {
		t.Fatal(err)
	}
	within(t, "alice is told", func() bool {
		for {
			select {
			case n := <-alice.Events():
				if p, ok := n.(client.Problem); ok && errors.Is(p.Err, client.ErrSecondPseudonym) && strings.Contains(p.Err.Error(), bob.User().String()) && strings.Contains(p.Err.Error(), "is banned as") {
					return true
				}
			default:
				return false
			}
		}
	})
	// It is no way for long: who is banned is out again.
	if err := alice.Ban(ctx, u, bob.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "the tablet is out", func() bool {
		r, err := tablet.FindRoom(ctx, u.String())
		return err == nil && r.State == "left"
	})
}

// silenced holds back what a device would say in rooms.
type silenced struct{ held atomic.Bool }

func (s *silenced) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.held.Load() && strings.HasSuffix(r.URL.Path, "/messages") {
		return nil, errors.New("held back")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestUnnamedUntilItSays: who has come in by a link and has not said who it is has no name for the
// members, for a reason that they see, nor have they for it. Then all have.
func TestUnnamedUntilItSays(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	hold := new(silenced)
	alice, bob := a.user("alice"), b.userBy("bob", &http.Client{Transport: hold})
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	h, err := alice.MakeLink(ctx, u, client.LinkTerms{Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	hold.held.Store(true)
	came := make(chan error, 1)
	go func() { _, err := bob.JoinRoom(ctx, h.Reveal()); came <- err }()
	other := func(c *client.Client) (p client.Participant, found bool) {
		r, err := c.FindRoom(ctx, u.String())
		if err != nil || len(r.Participants) != 2 {
			return p, false
		}
		i := slices.IndexFunc(r.Participants, func(p client.Participant) bool { return p.User != c.User() })
		if i < 0 {
			return p, false
		}
		return r.Participants[i], true
	}
	for _, c := range []*client.Client{alice, bob} {
		within(t, "the other is there", func() bool { _, found := other(c); return found })
		p, _ := other(c)
		if _, masked := p.User.Pseudonym(); !masked || !errors.Is(p.Unnamed, pseudonym.ErrNoKey) || p.Clients != 1 {
			t.Errorf("%s sees %+v", c.User(), p)
		}
	}
	hold.held.Store(false)
	if err := <-came; err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client.Client{alice, bob} {
		devices(t, c, u, map[uri.User]int{alice.User(): 1, bob.User(): 1})
	}
}

// TestPseudonymousJoin: who comes into a pseudonymous room from outside is named to its members, and
// to no provider but its own: the hub has no trace of who came by a link, of a further device,
// or of one that came back. The same search finds all of them where the room is open.
func TestPseudonymousJoin(t *testing.T) {
	kinds := []bool{true, false}
	if testing.Short() {
		kinds = kinds[:1]
	}
	for _, masked := range kinds {
		a, c, u := comesIn(t, masked)
		id := room.IDOf([]byte(u.String()))
		for _, r := range []*running{a, c} {
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			others := []string{"bob.cratchit", "carol.bingley", "tablet"}
			if r == c {
				others = []string{"alice.liddell", "bob.cratchit", "tablet"}
			}
			found := r.traces(id, others...)
			for _, name := range others {
				if masked && len(found[name]) > 0 || masked && bytes.Contains([]byte(r.log.String()), []byte(name)) {
					t.Errorf("%s has %s in %v, or in its log", r.cfg.Domain, name, found[name])
				}
				if !masked && !slices.Contains(found[name], "room") {
					t.Errorf("open, and %s does not find %s: the search finds nothing", r.cfg.Domain, name)
				}
			}
		}
	}
}
