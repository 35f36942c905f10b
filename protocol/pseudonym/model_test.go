package pseudonym_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/uri"
)

// The model: a member knows the set of all keys that it was ever told or could export, and
// names a leaf by looking whether the leaf's key is among them. It never forgets, opens
// nothing and looks at no credential.
type knower struct {
	*device
	knows map[pseudonym.ID]bool
}

// truth is what the world knows of a leaf.
type truth struct {
	what pseudonym.Leaf
	user string // empty: its link is wrong
	as   uri.Pseudonym
	key  pseudonym.ID
	why  error // of a wrong link
}

// A letter is a message to one member, which MLS lets it read while it is there. It may be
// lost, or come late.
type letter struct {
	to   mls.LeafIndex
	told *pseudonym.Keys
}

type world struct {
	t       *rapid.T
	dir     directory
	people  []pseudonym.Identity
	as      []uri.Pseudonym // of people
	epoch   uint64
	next    mls.LeafIndex
	members map[mls.LeafIndex]*knower
	leaves  map[mls.LeafIndex]*truth
	post    []letter
	gone    []pseudonym.Key // all that those who left ever held
	held    map[mls.LeafIndex]map[pseudonym.Key]bool
}

func (w *world) exported() []byte {
	b := make([]byte, pseudonym.ExportSize)
	b[0], b[1] = byte(w.epoch), 1
	return b
}

func (w *world) indices() []mls.LeafIndex {
	var out []mls.LeafIndex
	for i := range w.members {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

func (w *world) anyMember(what string) *knower {
	return w.members[rapid.SampledFrom(w.indices()).Draw(w.t, what)]
}

// made is called for each link that is sealed: who has left cannot open it.
func (w *world) made(c *pseudonym.Credential) {
	for _, k := range w.gone {
		if _, err := c.Open(k, clubhouse); !errors.Is(err, pseudonym.ErrNoKey) {
			w.t.Fatalf("who left opens, with %v, a link that was made later: %v", k, err)
		}
	}
}

// learn is a member hearing keys, and the model hearing them.
func (w *world) learn(m *knower, told *pseudonym.Keys) {
	m.Learn(told, now)
	for _, k := range append([]pseudonym.Key{told.Present}, told.Others...) {
		m.knows[k.ID()] = true
	}
}

// commit is followed by all that stay.
func (w *world) commit(removed []mls.LeafIndex, leaves ...*truth) {
	w.epoch++
	c := &pseudonym.Commit{Epoch: w.epoch, Removed: removed}
	for _, l := range leaves {
		c.Leaves = append(c.Leaves, l.what)
	}
	for _, i := range removed {
		for k := range w.held[i] {
			w.gone = append(w.gone, k)
		}
		delete(w.held, i)
		delete(w.members, i)
		delete(w.leaves, i)
	}
	var next pseudonym.ID
	if c.Rotates() {
		c.Exported = w.exported()
		next = must(pseudonym.RoomKey(clubhouse, w.epoch, c.Exported)).ID()
	}
	for _, i := range w.indices() {
		m := w.members[i]
		if err := m.Apply(c, now); err != nil {
			w.t.Fatal(err)
		}
		if c.Rotates() {
			m.knows[next] = true
		}
	}
	for _, l := range leaves {
		w.leaves[l.what.Index] = l
	}
}

// newcomer makes a leaf for one of the people, under an own key; sometimes a wrong one.
func (w *world) newcomer() (*device, *truth) {
	n := rapid.IntRange(0, len(w.people)-1).Draw(w.t, "person")
	d := &device{who: w.people[n], leaf: w.next, cred: blank(provider, w.as[n]), own: pseudonym.NewKey()}
	w.next++
	l := &truth{user: string(d.who.Credential.Identity), as: w.as[n], key: d.own.ID()}
	claims := d.who
	switch rapid.IntRange(0, 9).Draw(w.t, "fault") {
	case 0: // says to be the next of the people
		claims.Credential = w.people[(n+1)%len(w.people)].Credential
		l.user, l.why = "", pseudonym.ErrIdentity
	case 1: // under the next one's pseudonym
		d.cred.User = w.as[(n+1)%len(w.as)]
		l.as = d.cred.User
	}
	if err := d.cred.Seal(d.own, clubhouse, claims); err != nil {
		w.t.Fatal(err)
	}
	d.who = claims
	w.made(d.cred)
	l.what = d.what()
	return d, l
}

func (w *world) enter(d *device, begins bool) *knower {
	all := []pseudonym.Leaf{}
	for _, l := range w.leaves {
		all = append(all, l.what)
	}
	m := &knower{d, map[pseudonym.ID]bool{}}
	var exported []byte
	if begins {
		exported = w.exported()
		m.knows[must(pseudonym.RoomKey(clubhouse, w.epoch, exported)).ID()] = true
	}
	d.Room = must(pseudonym.Enter(clubhouse, w.dir, w.epoch, exported, all, now))
	w.members[d.leaf] = m
	w.learn(m, &pseudonym.Keys{Others: []pseudonym.Key{d.own}})
	return m
}

func (w *world) tellAll(from mls.LeafIndex, told *pseudonym.Keys) {
	for _, i := range w.indices() {
		if i != from {
			w.post = append(w.post, letter{i, told})
		}
	}
}

// welcome adds somebody, and may remove somebody by the same commit.
func (w *world) welcome() {
	by := w.anyMember("adder")
	var gone []mls.LeafIndex
	if i := w.anyMember("leaver").leaf; i != by.leaf && rapid.Bool().Draw(w.t, "with a removal") {
		gone = append(gone, i)
	}
	d, l := w.newcomer()
	told, _ := by.Welcome(len(gone) > 0)
	told = must(pseudonym.ParseKeys(told.Bytes()))
	w.commit(gone, l)
	m := w.enter(d, told.Begins)
	w.learn(m, told)
	own := &pseudonym.Keys{Others: []pseudonym.Key{d.own}}
	w.learn(by, own) // it had it by consent
	w.tellAll(by.leaf, own)
}

func (w *world) external() {
	d, l := w.newcomer()
	w.commit(nil, l)
	m := w.enter(d, false)
	w.tellAll(d.leaf, must(m.Introduce(d.leaf)))
}

func (w *world) leave() {
	if len(w.members) < 2 {
		return
	}
	var gone []mls.LeafIndex
	for range rapid.IntRange(1, 2).Draw(w.t, "leavers") {
		i := w.anyMember("leaver").leaf
		if !slices.Contains(gone, i) && len(gone)+1 < len(w.members) {
			gone = append(gone, i)
		}
	}
	w.commit(gone, w.touched(gone)...)
}

// touched is the leaf of who commits, which has another encryption key afterwards and nothing
// else.
func (w *world) touched(gone []mls.LeafIndex) []*truth {
	by := w.anyMember("committer").leaf
	if slices.Contains(gone, by) {
		return nil
	}
	return []*truth{w.leaves[by]}
}

func (w *world) reseal() {
	m := w.anyMember("resealer")
	if _, ok := m.Present(); !ok {
		return
	}
	c := blank(provider, m.cred.User)
	c.Client = m.cred.Client
	if err := m.Seal(c, m.who); err != nil {
		w.t.Fatal(err)
	}
	m.cred = c
	w.made(c)
	old := w.leaves[m.leaf]
	w.commit(nil, &truth{what: m.what(), user: old.user, as: old.as, key: c.Link.Key, why: old.why})
}

func (w *world) deliver() {
	if len(w.post) == 0 {
		return
	}
	n := rapid.IntRange(0, len(w.post)-1).Draw(w.t, "letter")
	l := w.post[n]
	w.post = slices.Delete(w.post, n, n+1)
	if m := w.members[l.to]; m != nil && !rapid.Bool().Draw(w.t, "lost") {
		w.learn(m, must(pseudonym.ParseKeys(l.told.Bytes())))
	}
}

func (w *world) ask() {
	a, b := w.anyMember("asks"), w.anyMember("asked")
	for _, q := range a.Ask() {
		told, err := b.Answer(a.leaf, q)
		if named := w.expect(b, a.leaf) == nil; named != (err == nil) {
			w.t.Fatalf("leaf %d answers leaf %d: %v, named %v", b.leaf, a.leaf, err, named)
		}
		if err == nil {
			w.post = append(w.post, letter{a.leaf, told})
		}
	}
}

// expect is what the model says of a leaf: nil if it is named.
func (w *world) expect(m *knower, i mls.LeafIndex) error {
	l := w.leaves[i]
	switch {
	case !m.knows[l.key]:
		return pseudonym.ErrNoKey
	case l.why != nil:
		return l.why
	}
	for _, o := range w.leaves {
		if o.as == l.as && o.why == nil && o.user != l.user && m.knows[o.key] {
			return pseudonym.ErrClash
		}
	}
	return nil
}

// check compares all that members know with the model.
func (w *world) check() {
	for _, i := range w.indices() {
		m := w.members[i]
		if len(m.Leaves()) != len(w.leaves) {
			w.t.Fatalf("leaf %d sees %v", i, m.Leaves())
		}
		for j, l := range w.leaves {
			got, err := m.Who(j)
			want := w.expect(m, j)
			if !errors.Is(err, want) || want == nil && (err != nil || got.User().String() != l.user || got.Pseudonym() != l.as) {
				w.t.Fatalf("leaf %d of leaf %d: %v, %v; the model says %q, %v", i, j, got, err, l.user, want)
			}
		}
		if len(pseudonym.HeldKeys(m.Room)) > len(w.leaves)+1 {
			w.t.Fatalf("leaf %d holds %d keys for %d leaves", i, m.Held(), len(w.leaves))
		}
		if w.held[i] == nil {
			w.held[i] = map[pseudonym.Key]bool{}
		}
		for _, k := range pseudonym.HeldKeys(m.Room) {
			w.held[i][k] = true
		}
	}
}

// settle is what happens when all are online and nothing is lost: all introduce themselves,
// and ask for what they lack.
func (w *world) settle() {
	w.post = nil
	for _, i := range w.indices() {
		told, err := w.members[i].Introduce(i)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, m := range w.members {
			w.learn(m, told)
		}
	}
	for _, i := range w.indices() {
		a := w.members[i]
		for _, j := range w.indices() {
			for _, q := range a.Ask() {
				if told, err := w.members[j].Answer(i, q); err == nil {
					w.learn(a, told)
				}
			}
		}
	}
	w.check()
	for _, i := range w.indices() {
		for j := range w.leaves {
			if err := w.expect(w.members[i], j); errors.Is(err, pseudonym.ErrNoKey) {
				w.t.Fatalf("leaf %d still cannot name leaf %d", i, j)
			}
		}
	}
}

// TestAgainstModel: after any joins, removals, new links, and messages that are lost or late,
// each member names each other one rightly, or has the reason that the model has; who left
// opens no link that was made after; and when everybody has said who it is, all are named
// whose link is right.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, dir: directory{}, members: map[mls.LeafIndex]*knower{}, leaves: map[mls.LeafIndex]*truth{},
			held: map[mls.LeafIndex]map[pseudonym.Key]bool{}}
		for i := range 4 {
			w.people = append(w.people, w.dir.person(provider, fmt.Sprintf("user%d", i)))
			w.as = append(w.as, must(pseudonym.New(provider)))
		}
		d := &device{who: w.people[0], leaf: 0, cred: blank(provider, w.as[0]), own: pseudonym.NewKey()}
		w.next = 1
		if err := d.cred.Seal(d.own, clubhouse, d.who); err != nil {
			t.Fatal(err)
		}
		d.Room = must(pseudonym.Begin(clubhouse, w.dir, w.exported(), d.what(), now))
		founder := &knower{d, map[pseudonym.ID]bool{must(pseudonym.RoomKey(clubhouse, 0, w.exported())).ID(): true}}
		w.members[0] = founder
		w.leaves[0] = &truth{what: d.what(), user: string(d.who.Credential.Identity), as: w.as[0], key: d.own.ID()}
		w.learn(founder, &pseudonym.Keys{Others: []pseudonym.Key{d.own}})
		w.check()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				w.welcome()
			case 1:
				w.external()
			case 2:
				w.leave()
			case 3, 4:
				w.reseal()
			case 5, 6:
				w.ask()
			default:
				w.deliver()
			}
			w.check()
		}
		w.settle()
	})
}
