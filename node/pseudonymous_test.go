package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/client/disk"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// traces are the parts of a stopped provider's store in which a text occurs. The room's log and
// state is the part "room".
func (r *running) traces(id room.ID, texts ...string) map[string][]string {
	t := r.t
	t.Helper()
	st, err := store.Open(store.Options{Dir: filepath.Join(r.dir, "store"), Small: r.cfg.Store.Small})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, st.Close(context.Background())); err != nil {
			t.Error(err)
		}
	}()
	out := map[string][]string{}
	look := func(where string, b ...[]byte) {
		for _, text := range texts {
			if slices.ContainsFunc(b, func(b []byte) bool { return bytes.Contains(b, []byte(text)) }) && !slices.Contains(out[text], where) {
				out[text] = append(out[text], where)
			}
		}
	}
	entries := 0
	err = st.View(func(tx *store.Tx) error {
		for _, sp := range store.Spaces() {
			for it, err := range tx.Scan(store.Scan{Prefix: sp.Prefix(nil)}) {
				if err != nil {
					return err
				}
				name, err := sp.Parse(it.Key)
				if err != nil {
					return err
				}
				look(sp.String(), name, it.Value)
			}
		}
		for _, prefix := range []store.Prefix{store.RoomEntries(store.RoomID(id)), store.RoomParts(store.RoomID(id)), store.RoomHeads()} {
			for it, err := range tx.Scan(store.Scan{Prefix: prefix}) {
				if err != nil {
					return err
				}
				entries++
				look("room", it.Value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if entries < 10 {
		t.Errorf("%d records of the room: is that all of it?", entries)
	}
	return out
}

// names waits until a device has named all who take part, and has nobody else there.
func names(t *testing.T, c *client.Client, u uri.Room, who ...*client.Client) {
	t.Helper()
	var last string
	defer func() {
		if t.Failed() {
			t.Logf("%s sees %s", c.User(), last)
		}
	}()
	within(t, fmt.Sprintf("%s names %d", c.User(), len(who)), func() bool {
		r, err := c.FindRoom(t.Context(), u.String())
		last = fmt.Sprint(r.State, r.Reason, r.Participants, err)
		if err != nil || len(r.Participants) != len(who) {
			return false
		}
		for _, p := range r.Participants {
			if p.Unnamed != nil || !slices.ContainsFunc(who, func(x *client.Client) bool { return x.User() == p.User }) || p.Clients != 1 {
				return false
			}
			if _, masked := p.User.Pseudonym(); masked != (p.Pseudonym == uri.Pseudonym{}) && r.Pseudonymous {
				return false
			}
		}
		return true
	})
}

// circle makes a room of three at three providers: alice at the hub adds bob, whom the hub
// knows as her contact, and bob adds carol, of whom it knows nothing. All speak; bob is removed,
// and dora comes.
func circle(t *testing.T, masked bool) (a *running, u uri.Room) {
	ctx := t.Context()
	a = prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	c := prepare(t, "chicago.example", a.status().Addresses[0]).must()
	alice, bob, carol, dora := a.user("alice.liddell"), b.user("bob.cratchit"), c.user("carol.bingley"), c.user("dora.spenlow")
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: masked})
	if err != nil {
		t.Fatal(err)
	}
	add := func(by, who *client.Client) {
		t.Helper()
		if err := who.Accept(ctx, by.User()); err != nil {
			t.Fatal(err)
		}
		var last error
		defer func() {
			if t.Failed() {
				t.Log(last)
			}
		}()
		within(t, who.User().Short()+" can be added", func() bool { last = by.AddUser(ctx, u, who.User()); return last == nil })
	}
	add(alice, bob)
	names(t, bob, u, alice, bob)
	names(t, alice, u, alice, bob)
	add(bob, carol)
	for _, x := range []*client.Client{alice, bob, carol} {
		names(t, x, u, alice, bob, carol)
	}
	said := func(who []*client.Client, n int) {
		t.Helper()
		for i, x := range who {
			if _, err := x.Send(ctx, u, fmt.Sprint("hello ", i)); err != nil {
				t.Fatal(err)
			}
		}
		for _, x := range who {
			within(t, x.User().Short()+" reads all", func() bool {
				list, err := x.Messages(u, 0, 100)
				by := map[uri.User]bool{}
				for _, m := range list {
					by[m.Sender] = m.State == client.StateFinal
				}
				return err == nil && len(list) == n && !slices.ContainsFunc(who, func(y *client.Client) bool { return !by[y.User()] })
			})
		}
	}
	said([]*client.Client{alice, bob, carol}, 3)
	r, err := alice.FindRoom(ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	first := r.Participants[slices.IndexFunc(r.Participants, func(p client.Participant) bool { return p.User == bob.User() })].Pseudonym
	if err := alice.RemoveUser(ctx, u, bob.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "bob is out", func() bool { _, err := bob.Verify(ctx, u); return errors.Is(err, client.ErrNotReady) })
	// The hub starts anew, and then somebody comes whom bob cannot name.
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a.must()
	add(carol, dora)
	for _, x := range []*client.Client{alice, carol, dora} {
		names(t, x, u, alice, carol, dora)
	}
	if !masked {
		return a, u
	}
	// What there is not yet is refused, in words.
	if err := alice.Invite(ctx, u, bob.User(), "", ""); !errors.Is(err, client.ErrMasked) {
		t.Errorf("an invitation: %v", err)
	}
	// Bob comes back, under the pseudonym that he had: his provider gives him no other.
	as := func() uri.Pseudonym {
		r, err := bob.FindRoom(ctx, u.String())
		i := slices.IndexFunc(r.Participants, func(p client.Participant) bool { return p.User == bob.User() })
		if err != nil || i < 0 {
			t.Fatal("bob is not in the room", err)
		}
		return r.Participants[i].Pseudonym
	}
	add(alice, bob)
	for _, x := range []*client.Client{alice, bob, carol, dora} {
		names(t, x, u, alice, bob, carol, dora)
	}
	if back := as(); back != first {
		t.Errorf("bob went by %s, and comes back as %s", first, back)
	}
	if err := alice.Ban(ctx, u, bob.User()); err != nil { // by the pseudonym that alice remembers
		t.Error(err)
	}
	within(t, "bob is banned, and still named", func() bool {
		r, err := alice.FindRoom(ctx, u.String())
		return err == nil && slices.ContainsFunc(r.Participants, func(p client.Participant) bool {
			return p.Role == "banned" && p.User == bob.User() && p.Unnamed == nil
		})
	})
	if err := alice.AddUser(ctx, u, bob.User()); !errors.Is(err, client.ErrRefused) {
		t.Errorf("who is banned is added again: %v", err)
	}
	return a, u
}

// TestPseudonymousRoom: members of three providers name each other, and the hub has nobody's
// name in the room. Of who was added by a user of another provider it has no trace at all. The
// same search finds all names where the same is done in an open room.
func TestPseudonymousRoom(t *testing.T) {
	for _, masked := range []bool{true, false} {
		a, u := circle(t, masked)
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		id := room.IDOf([]byte(u.String()))
		all := []string{"alice.liddell", "bob.cratchit", "carol.bingley", "dora.spenlow"}
		found := a.traces(id, all...)
		for _, name := range all {
			in := slices.Contains(found[name], "room")
			if in == masked {
				t.Errorf("pseudonymous %v: %s is found in %v", masked, name, found[name])
			}
		}
		if stranger := slices.Concat(found["carol.bingley"], found["dora.spenlow"]); masked && len(stranger) > 0 {
			t.Errorf("the hub has traces of strangers in %v", stranger)
		}
		if log := a.log.String(); masked && (bytes.Contains([]byte(log), []byte("carol.bingley")) || bytes.Contains([]byte(log), []byte("dora.spenlow"))) {
			t.Errorf("the hub's log of what it does has names:\n%s", log)
		}
	}
}

// TestPseudonymousRoomGoesOn: a device that has lost what names the others, started anew, asks
// and is told; when the hub dies another provider orders the room, under which people are added
// as before.
func TestPseudonymousRoomGoesOn(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	c := prepare(t, "chicago.example", a.status().Addresses[0], b.status().Addresses[0]).must()
	alice, bob, dora := a.user("alice"), b.user("bob"), b.user("dora")
	carol := c.person("carol")
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, carol.Client} {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
		within(t, x.User().Short()+" can be added", func() bool { return alice.AddUser(ctx, u, x.User()) == nil })
	}
	names(t, carol.Client, u, alice, bob, carol.Client)
	within(t, "three providers decide", func() bool { v, err := carol.Verify(ctx, u); return err == nil && v.Replicas == 3 })

	// Restarted it names all at once: nobody has to tell it.
	carol.restart(nil)
	names(t, carol.Client, u, alice, bob, carol.Client)
	carol.restart(func(st client.Storage) error {
		return st.Update(ctx, func(tx client.Tx) error {
			if v, err := tx.Get("mask", room.IDOf([]byte(u.String())).String()); err != nil || v == nil {
				t.Errorf("there are no keys to lose: %v", err)
			}
			return tx.Delete("mask", room.IDOf([]byte(u.String())).String())
		})
	})
	names(t, carol.Client, u, alice, bob, carol.Client)

	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	index, err := carol.Send(ctx, u, "still there?")
	if err != nil {
		t.Fatal(err)
	}
	within(t, "a message is final under another hub", func() bool {
		list, err := carol.Messages(u, index, 1)
		v, err2 := carol.Verify(ctx, u)
		return err == nil && err2 == nil && len(list) == 1 && list[0].State == client.StateFinal && v.Hub != "atlanta.example"
	})
	within(t, "bob reads who said it", func() bool {
		list, err := bob.Messages(u, 0, 10)
		return err == nil && len(list) == 1 && list[0].Sender == carol.User()
	})
	if err := dora.Accept(ctx, carol.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "dora can be added", func() bool { return carol.AddUser(ctx, u, dora.User()) == nil })
	for _, x := range []*client.Client{bob, carol.Client, dora} {
		names(t, x, u, alice, bob, carol.Client, dora)
	}
}

// person is a user whose device can be started anew.
type person struct {
	*client.Client
	t    *testing.T
	dir  string
	stop func()
}

func (r *running) person(name string) *person {
	t := r.t.(*testing.T)
	t.Helper()
	op, err := admin.Dial(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	inv, err := op.CreateInvite(t.Context(), admin.NewInvite{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, dir: filepath.Join(t.TempDir(), name)}
	p.start(nil, func(c *client.Client) error { return c.Register(t.Context(), r.status().Clients, inv.Code, "phone") })
	t.Cleanup(func() { p.stop() })
	return p
}

// restart starts the device anew; between, spoil may change what it has stored.
func (p *person) restart(spoil func(client.Storage) error) {
	p.t.Helper()
	p.stop()
	p.start(spoil, nil)
}

func (p *person) start(spoil func(client.Storage) error, register func(*client.Client) error) {
	t := p.t
	t.Helper()
	st, err := disk.Open(disk.Options{Dir: p.dir, Small: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { st.Run(ctx) })
	if spoil != nil {
		err = spoil(st)
	}
	if err == nil {
		p.Client, err = client.Open(client.Config{Storage: st, Retry: 50 * time.Millisecond, CommitDelay: 50 * time.Millisecond})
	}
	if err == nil && register != nil {
		err = register(p.Client)
	}
	if err != nil {
		t.Fatal(err)
	}
	run, end := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	runs.Go(func() { p.Client.Run(run) })
	p.stop = sync.OnceFunc(func() {
		end()
		runs.Wait()
		cancel()
		wg.Wait()
		st.Close(context.Background())
	})
}
