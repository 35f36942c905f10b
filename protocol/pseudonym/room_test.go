package pseudonym_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/uri"
)

// A device is one leaf, and what it knows of the others.
type device struct {
	*pseudonym.Room
	who  pseudonym.Identity
	leaf mls.LeafIndex
	cred *pseudonym.Credential
	own  pseudonym.Key // it came in with
}

func (d *device) what() pseudonym.Leaf {
	return pseudonym.Leaf{Index: d.leaf, Credential: d.cred.MLS(), SignatureKey: d.cred.Key}
}

// A group is what MLS does for a room: everybody sees the same commits in the same order.
type group struct {
	t       testing.TB
	dir     directory
	epoch   uint64
	devices []*device
	next    mls.LeafIndex
}

func newGroup(t testing.TB) *group {
	g := &group{t: t, dir: directory{}}
	d := g.newDevice(g.dir.person(provider, "founder"), uri.Pseudonym{})
	d.Room = must(pseudonym.Begin(clubhouse, g.dir, g.exported(), d.what(), now))
	d.Learn(&pseudonym.Keys{Others: []pseudonym.Key{d.own}}, now)
	g.devices = append(g.devices, d)
	return g
}

func (g *group) newDevice(who pseudonym.Identity, user uri.Pseudonym) *device {
	d := &device{who: who, leaf: g.next, cred: blank(provider, user), own: pseudonym.NewKey()}
	g.next++
	if err := d.cred.Seal(d.own, clubhouse, who); err != nil {
		g.t.Fatal(err)
	}
	return d
}

// exported is a secret of the present epoch.
func (g *group) exported() []byte {
	b := make([]byte, pseudonym.ExportSize)
	b[0], b[1], b[2] = 'x', byte(g.epoch), byte(g.epoch>>8)
	return b
}

// commit is followed by all who are in the next epoch.
func (g *group) commit(removed []mls.LeafIndex, leaves ...pseudonym.Leaf) {
	g.t.Helper()
	g.epoch++
	c := &pseudonym.Commit{Epoch: g.epoch, Removed: removed, Leaves: leaves}
	if c.Rotates() {
		c.Exported = g.exported()
	}
	g.devices = slices.DeleteFunc(g.devices, func(d *device) bool { return slices.Contains(removed, d.leaf) })
	for _, d := range g.devices {
		if err := d.Apply(c, now); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *group) leaves(and *device) []pseudonym.Leaf {
	out := []pseudonym.Leaf{and.what()}
	for _, d := range g.devices {
		out = append(out, d.what())
	}
	return out
}

// add lets a member add a device whose own key it has, and tell it to all.
func (g *group) add(by *device, who pseudonym.Identity, user uri.Pseudonym) *device {
	g.t.Helper()
	d := g.newDevice(who, user)
	leaves := g.leaves(d)
	told, _ := by.Welcome(false) // its keys, before the commit
	g.commit(nil, d.what())
	d.Room = must(pseudonym.Enter(clubhouse, g.dir, g.epoch, nil, leaves, now))
	own := &pseudonym.Keys{Others: []pseudonym.Key{d.own}}
	for _, x := range g.devices {
		x.Learn(own, now)
	}
	d.Learn(told, now)
	d.Learn(own, now)
	g.devices = append(g.devices, d)
	return d
}

// reseal is a commit, or a proposal of an update that another commits.
func (g *group) reseal(d *device) {
	g.t.Helper()
	c := blank(provider, d.cred.User)
	c.Client = d.cred.Client
	if err := d.Seal(c, d.who); err != nil {
		g.t.Fatal(err)
	}
	d.cred = c
	g.commit(nil, d.what())
}

func names(t testing.TB, d *device, i mls.LeafIndex, want pseudonym.Identity) {
	t.Helper()
	l, err := d.Who(i)
	if err != nil || l.User().String() != string(want.Credential.Identity) {
		t.Errorf("leaf %d names leaf %d %v, %v, not %s", d.leaf, i, l, err, want.Credential.Identity)
	}
}

// TestWelcomeNames: who is added can name everybody at once, and everybody can name it.
func TestWelcomeNames(t *testing.T) {
	g := newGroup(t)
	for _, n := range []string{"bob", "carol", "dave"} {
		d := g.add(g.devices[len(g.devices)-1], g.dir.person(provider, n), uri.Pseudonym{})
		if d.Due(d.leaf) != true {
			t.Error("nobody asks the newcomer for a link under the room's key")
		}
		g.reseal(d)
		if d.Due(d.leaf) {
			t.Error("it is asked again")
		}
	}
	for _, a := range g.devices {
		if len(a.Leaves()) != 4 || a.Ask() != nil {
			t.Errorf("leaf %d: %v, %v", a.leaf, a.Leaves(), a.Ask())
		}
		for _, b := range g.devices {
			names(t, a, b.leaf, b.who)
		}
		if a.Held() != 2 { // the founder's own key, and generation 0
			t.Errorf("leaf %d holds %d keys", a.leaf, a.Held())
		}
	}
}

// TestJoinFromOutside: who comes in from outside names nobody, and is named by nobody, until
// it says who it is; nobody tells it anything before.
func TestJoinFromOutside(t *testing.T) {
	g := newGroup(t)
	founder := g.devices[0]
	g.reseal(founder)
	d := g.newDevice(g.dir.person(provider, "bob"), uri.Pseudonym{})
	leaves := g.leaves(d)
	g.commit(nil, d.what())
	d.Room = must(pseudonym.Enter(clubhouse, g.dir, g.epoch, nil, leaves, now))
	d.Learn(&pseudonym.Keys{Others: []pseudonym.Key{d.own}}, now)
	g.devices = append(g.devices, d)

	for a, i := range map[*device]mls.LeafIndex{d: founder.leaf, founder: d.leaf} {
		if _, err := a.Who(i); !errors.Is(err, pseudonym.ErrNoKey) {
			t.Errorf("leaf %d is named: %v", i, err)
		}
	}
	q := d.Ask()
	if len(q) != 1 || len(q[0]) != 1 {
		t.Fatalf("asks for %v", q)
	}
	if _, err := founder.Answer(d.leaf, q[0]); !errors.Is(err, pseudonym.ErrUnnamed) {
		t.Fatalf("a stranger is answered: %v", err)
	}
	if err := d.Seal(blank(provider, uri.Pseudonym{}), d.who); !errors.Is(err, pseudonym.ErrNoKey) {
		t.Errorf("sealed with no key: %v", err)
	}
	hello, err := d.Introduce(d.leaf)
	if err != nil {
		t.Fatal(err)
	}
	founder.Learn(must(pseudonym.ParseKeys(hello.Bytes())), now)
	names(t, founder, d.leaf, d.who)
	told, err := founder.Answer(d.leaf, must(pseudonym.ParseRequest(q[0].Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	d.Learn(must(pseudonym.ParseKeys(told.Bytes())), now)
	names(t, d, founder.leaf, founder.who)
	g.reseal(d)
	names(t, founder, d.leaf, d.who)
	if d.Ask() != nil || founder.Ask() != nil {
		t.Error("something is missing")
	}
}

// TestRemovedCannotRead: with all keys that a removed member ever held, no link opens that
// was made after its removal, of a newcomer or of a member.
func TestRemovedCannotRead(t *testing.T) {
	g := newGroup(t)
	founder := g.devices[0]
	g.reseal(founder)
	bob := g.add(founder, g.dir.person(provider, "bob"), uri.Pseudonym{})
	g.reseal(bob)
	names(t, bob, founder.leaf, founder.who)
	kept := pseudonym.HeldKeys(bob.Room)
	if len(kept) == 0 {
		t.Fatal("bob has no key")
	}
	g.commit([]mls.LeafIndex{bob.leaf})
	carol := g.add(founder, g.dir.person(provider, "carol"), uri.Pseudonym{})
	cannot := func(what string, d *device) {
		t.Helper()
		for _, k := range kept {
			if _, err := d.cred.Open(k, clubhouse); !errors.Is(err, pseudonym.ErrNoKey) {
				t.Errorf("%s: %v: %v", what, k, err)
			}
			if _, err := d.cred.Open(pseudonym.As(k, d.cred.Link.Key), clubhouse); !errors.Is(err, pseudonym.ErrNotOpen) {
				t.Errorf("%s: %v under another name: %v", what, k, err)
			}
		}
	}
	cannot("a newcomer", carol)
	g.reseal(carol)
	cannot("a newcomer with a link under the room's key", carol)
	names(t, founder, carol.leaf, carol.who)
	// What bob could read when it was there it can still read, as it knows it anyway.
	if !slices.ContainsFunc(kept, func(k pseudonym.Key) bool {
		_, err := founder.cred.Open(k, clubhouse)
		return err == nil
	}) {
		t.Error("bob's keys open nothing: the test shows nothing")
	}
	g.reseal(founder)
	cannot("a member's new link", founder)
}

// TestReasons: who is unnamed is so for a reason that says what to do about it.
func TestReasons(t *testing.T) {
	g := newGroup(t)
	founder := g.devices[0]
	if _, err := founder.Who(7); !errors.Is(err, pseudonym.ErrNoLeaf) {
		t.Errorf("nobody: %v", err)
	}
	alice := g.dir.person(provider, "alice")
	key, _ := founder.Present()
	sealedBy := func(user uri.Pseudonym, who pseudonym.Identity) *pseudonym.Credential {
		c := blank(provider, user)
		if err := c.Seal(key, clubhouse, who); err != nil {
			t.Fatal(err)
		}
		return c
	}
	set := func(i mls.LeafIndex, c *pseudonym.Credential) {
		g.commit(nil, pseudonym.Leaf{Index: i, Credential: c.MLS(), SignatureKey: c.Key})
	}
	reason := func(i mls.LeafIndex, want error) {
		t.Helper()
		if l, err := founder.Who(i); !errors.Is(err, want) || l != nil {
			t.Errorf("leaf %d: %v, not %v", i, err, want)
		}
	}
	c := sealedBy(uri.Pseudonym{}, alice)
	set(10, c)
	names(t, founder, 10, alice)

	broken := sealedBy(uri.Pseudonym{}, alice)
	broken.Link.Ciphertext[0] ^= 1
	set(11, broken)
	reason(11, pseudonym.ErrNotOpen)

	lie := alice
	lie.Signer = must(mls.GenerateSignatureKey(suite))
	set(12, sealedBy(uri.Pseudonym{}, lie))
	reason(12, pseudonym.ErrIdentity)

	g.commit(nil, pseudonym.Leaf{Index: 13, Credential: alice.Credential, SignatureKey: alice.Signer.Public()})
	reason(13, pseudonym.ErrNotPseudonymous)
	g.commit(nil, pseudonym.Leaf{Index: 14, Credential: c.MLS(), SignatureKey: broken.Key})
	reason(14, pseudonym.ErrOther)
	g.commit(nil, pseudonym.Leaf{Index: 15, Credential: mls.Credential{Type: pseudonym.CredentialType, Identity: []byte{1}}})
	reason(15, pseudonym.ErrMalformed)

	// A second device of alice's is fine; mallory under her pseudonym makes both unsure, as
	// nobody can say who was first.
	set(16, sealedBy(c.User, alice))
	names(t, founder, 16, alice)
	names(t, founder, 10, alice)
	set(17, sealedBy(c.User, g.dir.person(provider, "mallory")))
	for _, i := range []mls.LeafIndex{10, 16, 17} {
		reason(i, pseudonym.ErrClash)
	}
	g.commit([]mls.LeafIndex{17})
	names(t, founder, 10, alice)
	if want := []mls.LeafIndex{0, 10, 11, 12, 13, 14, 15, 16}; !slices.Equal(founder.Leaves(), want) {
		t.Errorf("%v", founder.Leaves())
	}
}

// TestRoomPrintsNothing: neither keys nor names.
func TestRoomPrintsNothing(t *testing.T) {
	g := newGroup(t)
	r := g.devices[0].Room
	for _, v := range []any{r, *r, []*pseudonym.Room{r}, g.devices[0].who} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			if s := fmt.Sprintf(verb, v); len(s) > 60 || strings.Contains(s, "founder") {
				t.Errorf("%s prints %s", verb, s)
			}
		}
	}
}

// TestSameKeyAgain: a device that takes another leaf under the key that it came in with keeps
// its name, though no other leaf needs that key.
func TestSameKeyAgain(t *testing.T) {
	g := newGroup(t)
	founder := g.devices[0]
	bob := g.add(founder, g.dir.person(provider, "bob"), uri.Pseudonym{})
	c := blank(provider, bob.cred.User)
	c.Client = bob.cred.Client
	if err := c.Seal(bob.own, clubhouse, bob.who); err != nil {
		t.Fatal(err)
	}
	bob.cred = c
	g.commit(nil, bob.what())
	names(t, founder, bob.leaf, bob.who)
	names(t, bob, bob.leaf, bob.who)
}

// TestApplyRefuses: a commit that cannot be true changes nothing.
func TestApplyRefuses(t *testing.T) {
	g := newGroup(t)
	founder := g.devices[0]
	bob := g.add(founder, g.dir.person(provider, "bob"), uri.Pseudonym{})
	g.commit([]mls.LeafIndex{9})
	before, _ := founder.Present()
	for what, x := range map[string]struct {
		c    pseudonym.Commit
		want error
	}{
		"a removal without a generation": {pseudonym.Commit{Epoch: 9, Removed: []mls.LeafIndex{bob.leaf}}, pseudonym.ErrMalformed},
		"a generation without a removal": {pseudonym.Commit{Epoch: 9, Exported: g.exported()}, pseudonym.ErrMalformed},
		"a short secret":                 {pseudonym.Commit{Epoch: 9, Removed: []mls.LeafIndex{bob.leaf}, Exported: []byte{1}}, pseudonym.ErrMalformed},
		"an epoch that is over":          {pseudonym.Commit{Epoch: g.epoch, Removed: []mls.LeafIndex{bob.leaf}, Exported: g.exported()}, pseudonym.ErrGeneration},
	} {
		if err := founder.Apply(&x.c, now); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", what, err)
		}
		if after, _ := founder.Present(); after != before || len(founder.Leaves()) != 2 {
			t.Errorf("%s: something has changed", what)
		}
	}
	if _, err := pseudonym.Begin(clubhouse, g.dir, nil, bob.what(), now); !errors.Is(err, pseudonym.ErrMalformed) {
		t.Errorf("a room without a secret: %v", err)
	}
	if _, err := pseudonym.Enter(clubhouse, g.dir, 3, []byte{1}, nil, now); !errors.Is(err, pseudonym.ErrMalformed) {
		t.Errorf("coming in with a short secret: %v", err)
	}
}

// TestCostOfACommit: what a commit costs its committer and everybody else is the same in a
// room of four and in one of sixty.
func TestCostOfACommit(t *testing.T) {
	type cost struct{ committer, other pseudonym.Work }
	measure := func(n int) (out []cost) {
		g := newGroup(t)
		// The room, in which each has a link under generation 0 already.
		key, _ := g.devices[0].Present()
		founder, reader := g.devices[0], (*device)(nil)
		for range n - 1 {
			d := g.newDevice(g.dir.person(provider, "user"+string(rune('a'+g.next/26))+string(rune('a'+g.next%26))), uri.Pseudonym{})
			if err := d.cred.Seal(key, clubhouse, d.who); err != nil {
				t.Fatal(err)
			}
			// Only two of them are kept track of; what the others know costs the same.
			if g.commit(nil, d.what()); reader == nil {
				leaves := g.leaves(d)
				d.Room = must(pseudonym.Enter(clubhouse, g.dir, g.epoch, nil, leaves, now))
				told, _ := founder.Welcome(false)
				d.Learn(told, now)
				g.devices, reader = append(g.devices, d), d
			}
		}
		if len(founder.Leaves()) != n {
			t.Fatalf("%d leaves", len(founder.Leaves()))
		}
		for _, does := range []func(){
			func() { g.commit(nil, founder.what()) },
			func() { g.commit([]mls.LeafIndex{2}) },
			func() { g.reseal(founder) },
			func() { g.add(founder, g.dir.person(provider, "newcomer"), uri.Pseudonym{}) },
			func() { g.reseal(g.devices[len(g.devices)-1]) },
		} {
			a, b := founder.Work(), reader.Work()
			does()
			x, y := founder.Work(), reader.Work()
			out = append(out, cost{pseudonym.Work{Sealed: x.Sealed - a.Sealed, Opened: x.Opened - a.Opened},
				pseudonym.Work{Sealed: y.Sealed - b.Sealed, Opened: y.Opened - b.Opened}})
		}
		return out
	}
	small, large := measure(4), measure(60)
	want := []cost{
		{}, // a commit with a new encryption key
		{}, // a removal: the next generation is exported, nothing is sent or sealed
		{pseudonym.Work{Sealed: 1, Opened: 1}, pseudonym.Work{Opened: 1}},
		{pseudonym.Work{Opened: 1}, pseudonym.Work{Opened: 1}},
		{pseudonym.Work{Opened: 1}, pseudonym.Work{Opened: 1}},
	}
	if !slices.Equal(small, want) || !slices.Equal(large, want) {
		t.Errorf("in a room of four %v, of sixty %v, not %v", small, large, want)
	}
}

// TestGenerationsAreBounded: when more generations than MaxGenerations are in use, those with
// the oldest are asked for a new link, and when they have given it the oldest key is gone. A
// newcomer is told as many as fit, and asks for the others.
func TestGenerationsAreBounded(t *testing.T) {
	g := newGroup(t)
	founder := g.devices[0]
	g.reseal(founder)
	var members []*device
	for i := range pseudonym.MaxGenerations + 3 {
		g.commit([]mls.LeafIndex{1000}) // somebody left: the next generation
		d := g.add(founder, g.dir.person(provider, "user"+string(rune('a'+i))), uri.Pseudonym{})
		g.reseal(d)
		members = append(members, d)
	}
	for range 100 {
		if i := slices.IndexFunc(g.devices, func(d *device) bool { return d.Due(d.leaf) }); i >= 0 {
			g.reseal(g.devices[i])
		}
	}
	for _, d := range g.devices {
		if n := d.Held(); n > pseudonym.MaxGenerations+1 {
			t.Errorf("leaf %d holds %d keys", d.leaf, n)
		}
		if d.Due(d.leaf) {
			t.Errorf("leaf %d is still asked", d.leaf)
		}
		for _, x := range g.devices {
			names(t, d, x.leaf, x.who)
		}
	}
	if founder.Due(99) {
		t.Error("nobody is asked")
	}

	// More newcomers that have not got a link under the room's key than one message tells of.
	for i := range pseudonym.MaxKeys + 5 {
		d := g.newDevice(g.dir.person(provider, "late"+string(rune('a'+i/26))+string(rune('a'+i%26))), uri.Pseudonym{})
		g.commit(nil, d.what())
		founder.Learn(&pseudonym.Keys{Others: []pseudonym.Key{d.own}}, now)
		members = append(members, d)
	}
	told, left := founder.Welcome(false)
	if len(told.Others) != pseudonym.MaxKeys || left == 0 {
		t.Fatalf("%d told, %d left", len(told.Others), left)
	}
	last := g.newDevice(g.dir.person(provider, "last"), uri.Pseudonym{})
	all := []pseudonym.Leaf{last.what(), founder.what()}
	for _, d := range members {
		all = append(all, d.what())
	}
	g.commit(nil, last.what())
	founder.Learn(&pseudonym.Keys{Others: []pseudonym.Key{last.own}}, now)
	last.Room = must(pseudonym.Enter(clubhouse, g.dir, g.epoch, nil, all, now))
	last.Learn(told, now)
	last.Learn(&pseudonym.Keys{Others: []pseudonym.Key{last.own}}, now)
	asks := last.Ask()
	if len(asks) != 1 || len(asks[0]) != left {
		t.Fatalf("%d left, asks %v", left, asks)
	}
	last.Learn(must(founder.Answer(last.leaf, asks[0])), now)
	for _, d := range members {
		names(t, last, d.leaf, d.who)
	}
	if _, err := founder.Answer(last.leaf, make(pseudonym.Request, pseudonym.MaxKeys+1)); !errors.Is(err, pseudonym.ErrTooMany) {
		t.Errorf("too many: %v", err)
	}
}
