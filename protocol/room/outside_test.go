package room_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

const (
	dover  = "dover.example"
	eugene = "eugene.example"
)

// pair is a room of two providers' users, in a world with more providers.
func pair(t testing.TB) (w *world, alice, bob *device) {
	w = newWorld(t)
	w.providers[dover], w.providers[eugene] = key(110), key(111)
	alice, bob = w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	return w, alice, bob
}

func outsideUpdate(o *room.Outside) *mls.Proposal {
	return &mls.Proposal{Type: mls.ProposalAppDataUpdate,
		AppData: &mls.AppDataUpdate{Component: room.OutsideComponent, Op: mls.AppDataSet, Update: o.Append(nil)}}
}

// rehost commits a replica set with what the room says of its recruit; nil leaves that.
func (d *device) rehost(o *room.Outside, domains ...string) error {
	var ps []*mls.Proposal
	if len(domains) > 0 {
		h := d.w.refreshed(domains...)
		if len(domains) > 1 {
			h.Failover = room.FailoverAuto
		}
		ps = append(ps, hostingUpdate(h))
	}
	if o != nil {
		ps = append(ps, outsideUpdate(o))
	}
	return d.commit(mls.CommitOptions{Proposals: ps})
}

var (
	allowed = &room.Outside{Allowed: true}
	byDover = &room.Outside{Allowed: true, Recruit: dover}
	byChic  = &room.Outside{Allowed: true, Recruit: chicago}
)

// recruited is a pair that has recruited dover.
func recruited(t testing.TB) (w *world, alice, bob *device) {
	w, alice, bob = pair(t)
	if err := alice.rehost(byDover, atlanta, biloxi, dover); err != nil {
		t.Fatal(err)
	}
	if _, err := w.settle(atlanta, biloxi, dover); err != nil {
		t.Fatal(err)
	}
	return w, alice, bob
}

func TestOutsideRules(t *testing.T) {
	type world3 struct {
		w                 *world
		alice, bob, carol *device
	}
	plain := func(t testing.TB) (x world3) { x.w, x.alice, x.bob = pair(t); return x }
	done := func(t testing.TB) (x world3) { x.w, x.alice, x.bob = recruited(t); return x }
	with3 := func(t testing.TB) world3 { // a third provider's user has come
		x := done(t)
		x.carol = x.w.device("carol@chicago.example", "phone")
		if err := x.alice.add(x.carol); err != nil {
			t.Fatal(err)
		}
		return x
	}
	departed := func(t testing.TB) world3 { // chicago is in the set, and its user has gone
		x := plain(t)
		x.carol = x.w.device("carol@chicago.example", "phone")
		if err := errors.Join(x.alice.add(x.carol), x.alice.rehost(nil, atlanta, biloxi, chicago)); err != nil {
			t.Fatal(err)
		}
		if _, err := x.w.settle(atlanta, biloxi); err != nil {
			t.Fatal(err)
		}
		p, err := room.UpdateParticipants(x.w.hub.Group().Context(), nil, []uri.User{x.carol.user})
		if err != nil {
			t.Fatal(err)
		}
		leaves := x.w.hub.Roster().Leaves(x.carol.user)
		if err := x.alice.commit(mls.CommitOptions{Remove: leaves, Proposals: []*mls.Proposal{p}}); err != nil {
			t.Fatal(err)
		}
		return x
	}
	for name, c := range map[string]struct {
		begin func(testing.TB) world3
		do    func(x world3) error
		want  error // nil: allowed
		says  string
	}{
		"recruited": {plain, func(x world3) error { return x.alice.rehost(byDover, atlanta, biloxi, dover) }, nil, ""},
		"allowed first": {plain, func(x world3) error {
			return errors.Join(x.alice.rehost(allowed), x.alice.rehost(byDover, atlanta, biloxi, dover))
		}, nil, ""},
		"not allowed":            {plain, func(x world3) error { return x.alice.rehost(nil, atlanta, biloxi, dover) }, room.ErrPolicy, "no participant"},
		"allowed, and not named": {plain, func(x world3) error { return x.alice.rehost(allowed, atlanta, biloxi, dover) }, room.ErrPolicy, "no participant"},
		"another is named": {plain, func(x world3) error {
			return x.alice.rehost(&room.Outside{Allowed: true, Recruit: eugene}, atlanta, biloxi, dover)
		}, room.ErrPolicy, ""},
		"named, in no set":           {plain, func(x world3) error { return x.alice.rehost(byDover) }, room.ErrOutside, "no new replica"},
		"by a member":                {plain, func(x world3) error { return x.bob.rehost(byDover, atlanta, biloxi, dover) }, room.ErrPolicy, ""},
		"allowed by a member":        {plain, func(x world3) error { return x.bob.rehost(allowed) }, room.ErrOutside, "member"},
		"two of them":                {plain, func(x world3) error { return x.alice.rehost(byDover, atlanta, eugene, dover) }, room.ErrPolicy, "no participant"},
		"instead of a participant":   {with3, func(x world3) error { return x.alice.rehost(nil, atlanta, biloxi, dover, chicago, eugene) }, room.ErrPolicy, "no participant"},
		"goes for a participant":     {with3, func(x world3) error { return x.alice.rehost(allowed, atlanta, biloxi, chicago) }, nil, ""},
		"its name stays, it goes":    {with3, func(x world3) error { return x.alice.rehost(nil, atlanta, biloxi, chicago) }, nil, ""},
		"named by nobody, and stays": {done, func(x world3) error { return x.alice.rehost(allowed) }, room.ErrOutside, "no longer named"},
		"forbidden, and stays":       {done, func(x world3) error { return x.alice.rehost(new(room.Outside)) }, room.ErrOutside, "no longer named"},
		"forbidden, and goes":        {done, func(x world3) error { return x.alice.rehost(new(room.Outside), atlanta) }, nil, ""},
		"replaced": {done, func(x world3) error {
			return x.alice.rehost(&room.Outside{Allowed: true, Recruit: eugene}, atlanta, biloxi, eugene)
		}, nil, ""},
		"replaced, the old one stays": {done, func(x world3) error {
			return x.alice.rehost(&room.Outside{Allowed: true, Recruit: eugene}, atlanta, dover, eugene)
		}, room.ErrPolicy, "no longer named"},
		"three take part and it stays":  {with3, func(x world3) error { return x.alice.rehost(nil, biloxi, atlanta, dover) }, room.ErrOutside, "enough without"},
		"named beside one who has left": {departed, func(x world3) error { return x.alice.rehost(byDover, atlanta, chicago, dover) }, room.ErrOutside, "one may be"},
		"one who has left is named":     {departed, func(x world3) error { return x.alice.rehost(byChic) }, room.ErrOutside, "no new replica"},
		"instead of one who has left":   {departed, func(x world3) error { return x.alice.rehost(byDover, atlanta, biloxi, dover) }, nil, ""},
		"who takes part is named": {with3, func(x world3) error {
			return x.alice.rehost(byChic, atlanta, biloxi, chicago)
		}, room.ErrOutside, "no new replica"},
		"other commits go on": {done, func(x world3) error {
			return errors.Join(x.bob.rehost(nil, atlanta, biloxi, dover), x.alice.setRole(x.bob, policy.Moderator), x.alice.send("hello"))
		}, nil, ""},
		"proposed by another": {plain, func(x world3) error {
			if err := x.alice.promote(x.bob); err != nil {
				return err
			}
			return x.bob.propose(outsideUpdate(allowed))
		}, room.ErrOutside, "by no proposal"},
	} {
		t.Run(name, func(t *testing.T) {
			x := c.begin(t)
			err := c.do(x)
			if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, expected %v with %q", err, c.want, c.says)
			}
		})
	}
}

// TestOutsideUnknown: a recruit's key is one that all who judge know.
func TestOutsideUnknown(t *testing.T) {
	w, alice, _ := pair(t)
	h := w.refreshed(atlanta, biloxi, dover)
	h.Failover = room.FailoverAuto
	commit := func(h *room.Hosting) error {
		return alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{hostingUpdate(h), outsideUpdate(byDover)}})
	}
	h.Replicas[2].ProviderKey[0] ^= 1
	wantErr(t, "another key than it is known by", commit(h), room.ErrHosting)
	h.Replicas[2].ProviderKey[0] ^= 1
	delete(w.providers, dover)
	wantErr(t, "a provider that nobody knows", commit(h), x509auth.ErrUnknownProvider)
}

// TestOutsideReads: a recruit follows from the commit that names it to the settled entry of
// the set without it, and never counts as one who takes part.
func TestOutsideReads(t *testing.T) {
	w, alice, _ := pair(t)
	parts := map[string][]byte{}
	reads := func(why string, want bool, providers ...string) {
		t.Helper()
		w.reload(parts)
		for _, s := range []*room.State{w.hub, w.follower} {
			last, ok := s.MayRead(dover)
			if all := ok && last == ^uint64(0); all != want {
				t.Errorf("%s: reads to %d, %t", why, last, ok)
			}
			if got := s.Providers(); !slices.Equal(got, providers) {
				t.Errorf("%s: %v follow", why, got)
			}
			if slices.Contains(s.Participating(), dover) {
				t.Errorf("%s: it takes part", why)
			}
		}
	}
	reads("before", false, atlanta, biloxi)
	if err := alice.rehost(byDover, atlanta, biloxi, dover); err != nil {
		t.Fatal(err)
	}
	reads("while the set changes", true, atlanta, biloxi, dover)
	if _, err := w.settle(atlanta, dover); err != nil {
		t.Fatal(err)
	}
	reads("settled", true, atlanta, biloxi, dover)
	carol := w.device("carol@chicago.example", "phone")
	if err := alice.add(carol); err != nil {
		t.Fatal(err)
	}
	reads("a third takes part", true, atlanta, biloxi, chicago, dover)
	if err := alice.rehost(allowed, atlanta, biloxi, chicago); err != nil {
		t.Fatal(err)
	}
	reads("it is being dropped", true, atlanta, biloxi, chicago, dover)
	if _, err := w.settle(atlanta, biloxi, dover); err != nil {
		t.Fatal(err)
	}
	end := w.hub.At().Next - 1
	reads("dropped", false, atlanta, biloxi, chicago)
	if err := alice.send("nobody else's business"); err != nil {
		t.Fatal(err)
	}
	if last, ok := w.hub.MayRead(dover); !ok || last != end {
		t.Errorf("dropped, it reads to %d, %t; %d expected", last, ok, end)
	}
}

// TestOutsideIsElected: a recruit votes and is elected; it is given no set of one, and a
// move is neither made to it nor acknowledged by it.
func TestOutsideIsElected(t *testing.T) {
	w, alice, bob := recruited(t)
	if _, err := w.put(w.entry(w.change(room.ByVotes, dover, biloxi, dover))); err != nil {
		t.Fatal(err)
	}
	if w.hub.Hub().Domain != dover {
		t.Fatal(w.hub.Hub().Domain)
	}
	if err := errors.Join(bob.send("still here"), alice.send("I, too")); err != nil {
		t.Fatal(err)
	}
	m := w.move(alice, atlanta, nil)
	w.acks(m, atlanta, dover)
	_, err := w.put(w.moveEntry(m))
	wantErr(t, "a move that the recruit acknowledges", err, room.ErrVote)
	w.acks(m, atlanta, biloxi)
	if _, err := w.put(w.moveEntry(m)); err != nil {
		t.Fatal(err)
	}
	w.done(m)
	if got := w.hub.Providers(); !slices.Equal(got, []string{atlanta, biloxi}) {
		t.Errorf("after the move %v follow", got)
	}
}

// TestOutsideHubReads: a recruit that orders the room and is dropped follows until another
// one orders it, and no further.
func TestOutsideHubReads(t *testing.T) {
	w, alice, _ := recruited(t)
	if _, err := w.put(w.entry(w.change(room.ByVotes, dover, biloxi, dover))); err != nil {
		t.Fatal(err)
	}
	if err := alice.rehost(new(room.Outside), atlanta); err != nil {
		t.Fatal(err)
	}
	if _, err := w.settle(atlanta, biloxi); err != nil {
		t.Fatal(err)
	}
	if last, ok := w.hub.MayRead(dover); !ok || last != ^uint64(0) {
		t.Errorf("the hub reads to %d, %t", last, ok)
	}
	_, err := w.put(w.entry(w.change(room.ByRelease, dover, atlanta)))
	wantErr(t, "the only place released to a recruit", err, room.ErrPolicy)
	if _, err := w.put(w.entry(w.change(room.ByVotes, atlanta, atlanta))); err != nil {
		t.Fatal(err)
	}
	end := w.hub.At().Next - 1
	if err := alice.send("alone"); err != nil {
		t.Fatal(err)
	}
	if last, ok := w.hub.MayRead(dover); !ok || last != end {
		t.Errorf("it reads to %d, %t; %d expected", last, ok, end)
	}
}

// TestOutsideNotCountedInMoves: the recruit is gone with the hub, and the one provider
// that is left moves the room.
func TestOutsideNotCountedInMoves(t *testing.T) {
	w, alice, bob := recruited(t)
	if err := alice.promote(bob); err != nil {
		t.Fatal(err)
	}
	m := w.move(bob, biloxi, nil)
	w.acks(m, biloxi)
	if _, err := w.put(w.moveEntry(m)); err != nil {
		t.Fatal(err)
	}
	w.done(m)
	if w.hub.Hub().Domain != biloxi {
		t.Error(w.hub.Hub().Domain)
	}
}

func TestOutsideBegins(t *testing.T) {
	for _, c := range []struct {
		o    *room.Outside
		want error
	}{{allowed, nil}, {new(room.Outside), nil}, {byDover, room.ErrOutside}} {
		w := newWorld(t)
		alice := w.device("alice@atlanta.example", "phone")
		create := alice.create(func(p *mls.GroupParams) {
			d, err := p.Extensions.Dictionary(room.BodyLimits().Limits)
			if err != nil {
				t.Fatal(err)
			}
			d[room.OutsideComponent] = c.o.Append(nil)
			p.Extensions[2] = d.Extension()
		})
		_, err := room.Begin(room.FirstEntry(create, room.TxnID{1}, w.now), w.rules)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("a room begins with %+v: %v", c.o, err)
		}
	}
}

func TestOutsideRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &room.Outside{Allowed: rapid.Bool().Draw(t, "allowed")}
		if o.Allowed && rapid.Bool().Draw(t, "recruits") {
			o.Recruit = rapid.StringMatching(`[a-z]{1,9}\.example`).Draw(t, "recruit")
		}
		b := o.Append(nil)
		got, err := room.ParseOutside(b)
		if err != nil || *got != *o {
			t.Fatalf("%v: %v, %v", o, got, err)
		}
		if _, err := room.ParseOutside(append(b, 0)); !errors.Is(err, presentation.ErrTrailing) {
			t.Fatal(err)
		}
		if _, err := room.ParseOutside(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("a piece of it decodes")
		}
	})
	for _, o := range []*room.Outside{{Recruit: dover}, {Allowed: true, Recruit: "Dover.example"}, {Allowed: true, Recruit: strings.Repeat("a", 300)}, {Allowed: true, Recruit: "a b"}} {
		if _, err := room.ParseOutside(o.Append(nil)); !errors.Is(err, room.ErrOutside) {
			t.Errorf("%+v: %v", o, err)
		}
		if _, err := room.UpdateOutside(o); !errors.Is(err, room.ErrOutside) {
			t.Errorf("%+v is proposed: %v", o, err)
		}
	}
}

func FuzzOutside(f *testing.F) {
	f.Add(new(room.Outside).Append(nil))
	f.Add(byDover.Append(nil))
	f.Add([]byte{1, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := room.ParseOutside(b)
		if err != nil {
			return
		}
		if !bytes.Equal(o.Append(nil), b) {
			t.Fatalf("%x is not canonical", b)
		}
	})
}

// TestDepartedReads: a replica whose last participant has gone reads the log until a commit
// has replaced it in the set, votes and is elected until then, and counts as no participant.
func TestDepartedReads(t *testing.T) {
	w, alice, _ := pair(t)
	carol := w.device("carol@chicago.example", "phone")
	if err := errors.Join(alice.add(carol), alice.rehost(nil, atlanta, biloxi, chicago)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.settle(atlanta, biloxi); err != nil {
		t.Fatal(err)
	}
	parts := map[string][]byte{}
	reads := func(why string, to uint64, outside ...string) {
		t.Helper()
		w.reload(parts)
		for _, s := range []*room.State{w.hub, w.follower} {
			if last, ok := s.MayRead(chicago); !ok || last != to {
				t.Errorf("%s: it reads to %d, %t; %d expected", why, last, ok, to)
			}
			if got := s.Outside(); !slices.Equal(got, outside) {
				t.Errorf("%s: %v are outside, %v expected", why, got, outside)
			}
		}
	}
	all := ^uint64(0)
	reads("before", all)
	p, err := room.UpdateParticipants(w.hub.Group().Context(), nil, []uri.User{carol.user})
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(carol.user), Proposals: []*mls.Proposal{p}}); err != nil {
		t.Fatal(err)
	}
	reads("its user is gone", all, chicago)
	if slices.Contains(w.hub.Participating(), chicago) {
		t.Error("it counts as one that takes part")
	}
	if _, err := w.put(w.entry(w.change(room.ByVotes, chicago, biloxi, chicago))); err != nil {
		t.Fatal(err)
	}
	reads("it is elected", all, chicago)
	if err := alice.rehost(nil, atlanta); err != nil {
		t.Fatal(err)
	}
	if _, err := w.settle(atlanta, biloxi); err != nil {
		t.Fatal(err)
	}
	reads("it still orders", all, chicago)
	if _, err := w.put(w.entry(w.change(room.ByVotes, atlanta, atlanta))); err != nil {
		t.Fatal(err)
	}
	end := w.hub.At().Next - 1
	if err := alice.send("nobody else's business"); err != nil {
		t.Fatal(err)
	}
	reads("replaced", end)
}
