package pseudonym

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
)

// MaxGenerations is how many generations of the room's key may name members before those
// with the oldest are asked for a new link (Room.Due).
const MaxGenerations = 16

// Room is what one member knows of who is who in a pseudonymous room. It is owned by the
// caller's goroutine. Feed it with what MLS has accepted, in that order: Begin or Enter
// once, then Apply for each commit; and with what members tell, in any order: Learn.
type Room struct {
	uri     uri.Room
	judge   Judge
	present Key // the zero Key until it is told
	keys    map[ID]Key
	leaves  map[mls.LeafIndex]*leaf
	under   map[ID][]mls.LeafIndex
	users   map[uri.Pseudonym][]mls.LeafIndex
	work    Work
}

// Format implements fmt.Formatter; it prints no key and no name.
func (r Room) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "pseudonym.Room(%d leaves, %d keys)", len(r.leaves), len(r.keys))
}

type leaf struct {
	is   Leaf
	as   *Credential // nil if it has none that is well made
	link *Link
	why  error // the reason, if link is nil
}

// Work counts what was done with AEADs since the Room was made.
type Work struct{ Sealed, Opened int }

// Leaf is what MLS says of a member. A Room keeps it, so it must not be changed.
type Leaf struct {
	Index        mls.LeafIndex
	Credential   mls.Credential
	SignatureKey []byte
}

// Commit is what an accepted commit does.
type Commit struct {
	Epoch   uint64          // which it begins
	Removed []mls.LeafIndex // before Leaves are taken in
	Leaves  []Leaf          // added and updated ones, with what they are now
	// Exported is what the epoch exports for ExportLabel. It begins a generation of the
	// room's key, which every commit that removes somebody does, and no other.
	Exported []byte
}

// Rotates says whether the commit begins a generation.
func (c *Commit) Rotates() bool { return len(c.Removed) > 0 }

func newRoom(u uri.Room, judge Judge) *Room {
	return &Room{uri: u, judge: judge, keys: map[ID]Key{}, leaves: map[mls.LeafIndex]*leaf{},
		under: map[ID][]mls.LeafIndex{}, users: map[uri.Pseudonym][]mls.LeafIndex{}}
}

// Begin is the room for who creates it: generation 0 is exported from epoch 0. Its own leaf
// comes with the first commit that changes it; until then it is under an own key, which
// Learn takes.
func Begin(u uri.Room, judge Judge, exported []byte, own Leaf, now time.Time) (*Room, error) {
	r := newRoom(u, judge)
	k, err := RoomKey(u, 0, exported)
	if err != nil {
		return nil, fmt.Errorf("beginning a pseudonymous room: %w", err)
	}
	r.present = k
	r.keys[k.id] = k
	r.set(own, now)
	return r, nil
}

// Enter is the room for who comes in, by Welcome or from outside, with all leaves of the
// epoch it comes into, its own too. Exported is as in Commit where that epoch begins a
// generation: its own commit from outside removed somebody (it comes back, or takes up a
// removal), or the Welcome's keys say so (Keys.Begins). Else it is nil; then the present
// generation is among the keys that it is told.
func Enter(u uri.Room, judge Judge, epoch uint64, exported []byte, leaves []Leaf, now time.Time) (*Room, error) {
	r := newRoom(u, judge)
	if exported != nil {
		k, err := RoomKey(u, epoch, exported)
		if err != nil {
			return nil, fmt.Errorf("entering a pseudonymous room: %w", err)
		}
		r.present = k
		r.keys[k.id] = k
	}
	for _, l := range leaves {
		r.set(l, now)
	}
	return r, nil
}

// Apply follows a commit. Errors, which change nothing: ErrGeneration, ErrMalformed.
func (r *Room) Apply(c *Commit, now time.Time) error {
	if c.Rotates() != (c.Exported != nil) {
		return fmt.Errorf("commit of epoch %d removes %d and exports %d octets: %w", c.Epoch, len(c.Removed), len(c.Exported), ErrMalformed)
	}
	var next Key
	if c.Rotates() {
		var err error
		if next, err = RoomKey(r.uri, c.Epoch, c.Exported); err != nil {
			return fmt.Errorf("following the commit of epoch %d: %w", c.Epoch, err)
		}
		if r.knowsPresent() && c.Epoch <= r.present.id.Generation {
			return fmt.Errorf("epoch %d after generation %d: %w", c.Epoch, r.present.id.Generation, ErrGeneration)
		}
	}
	for _, i := range c.Removed {
		r.remove(i)
	}
	if c.Rotates() {
		last := r.present.id
		r.present = next
		r.keys[next.id] = next
		r.prune(last)
	}
	for _, l := range c.Leaves {
		r.set(l, now)
	}
	return nil
}

func (r *Room) knowsPresent() bool { return r.present.id.Kind == KindRoom }

// set takes a leaf in. Most commits change a leaf's encryption key alone, which is nothing
// here.
func (r *Room) set(l Leaf, now time.Time) {
	before := r.leaves[l.Index]
	if before != nil && before.is.Credential.Equal(l.Credential) && bytes.Equal(before.is.SignatureKey, l.SignatureKey) {
		return
	}
	x := &leaf{is: l}
	if x.as, x.why = Of(l.Credential, l.SignatureKey); x.why == nil {
		id := x.as.Link.Key
		r.under[id] = append(r.under[id], l.Index)
		r.users[x.as.User] = append(r.users[x.as.User], l.Index)
		if k, ok := r.keys[id]; ok {
			r.open(x, k, now)
		} else {
			x.why = fmt.Errorf("%s: %s: %w", x.as.Client, id, ErrNoKey)
		}
	}
	r.remove(l.Index) // after the new one is in, which may need the same key
	r.leaves[l.Index] = x
}

func (r *Room) open(x *leaf, k Key, now time.Time) {
	r.work.Opened++
	var c *Claim
	if c, x.why = x.as.Open(k, r.uri); x.why != nil {
		return
	}
	x.link, x.why = c.Verify(r.judge, now)
}

// remove forgets a leaf, and its key if that names nobody else: who has no key can betray
// none.
func (r *Room) remove(i mls.LeafIndex) {
	x := r.leaves[i]
	if x == nil {
		return
	}
	delete(r.leaves, i)
	if x.as == nil {
		return
	}
	without(r.users, x.as.User, i)
	without(r.under, x.as.Link.Key, i)
	r.prune(x.as.Link.Key)
}

// without takes one i out of a list.
func without[K comparable](m map[K][]mls.LeafIndex, k K, i mls.LeafIndex) {
	if n := slices.Index(m[k], i); n >= 0 {
		m[k] = slices.Delete(m[k], n, n+1)
	}
	if len(m[k]) == 0 {
		delete(m, k)
	}
}

func (r *Room) prune(id ID) {
	if len(r.under[id]) == 0 && id != r.present.id {
		delete(r.keys, id)
	}
}

// Learn takes keys that a member told: in the Welcome's GroupInfo, or in a message. Those
// that name no present member are ignored, and the present generation's, unless it is not
// known here. It returns how many links were opened.
//
// A wrong key for the present generation can only be told to a newcomer, by a member. It
// lets nobody read who was not told by that member, and others find that they lack the key
// that the newcomer then uses, and ask for it.
func (r *Room) Learn(told *Keys, now time.Time) (opened int) {
	if !r.knowsPresent() {
		r.present = told.Present
	}
	for _, k := range append([]Key{told.Present}, told.Others...) {
		_, have := r.keys[k.id]
		if have || k.id.Kind == 0 || len(r.under[k.id]) == 0 && k.id != r.present.id {
			continue
		}
		r.keys[k.id] = k
		for _, i := range r.under[k.id] {
			r.open(r.leaves[i], k, now)
			opened++
		}
	}
	return opened
}

// Who names a member. The error says why it has no name here: ErrNoLeaf, ErrNoKey,
// ErrNotOpen, ErrNotSigned, ErrIdentity, ErrClash, ErrNotPseudonymous, ErrMalformed or
// ErrOther.
func (r *Room) Who(i mls.LeafIndex) (*Link, error) {
	x := r.leaves[i]
	if x == nil {
		return nil, fmt.Errorf("leaf %d: %w", i, ErrNoLeaf)
	}
	if x.link == nil {
		return nil, x.why
	}
	for _, j := range r.users[x.as.User] {
		if o := r.leaves[j].link; o != nil && o.user != x.link.user {
			return nil, fmt.Errorf("%s is %s and %s: %w", x.as.User, x.link.user, o.user, ErrClash)
		}
	}
	return x.link, nil
}

// Leaves are the members, in order.
func (r *Room) Leaves() []mls.LeafIndex { return slices.Sorted(maps.Keys(r.leaves)) }

// Present is the key of the present generation, and false for who has not been told it.
func (r *Room) Present() (Key, bool) { return r.present, r.knowsPresent() }

// Seal puts a link under the present generation into a new credential for the own leaf. It
// does not belong into a commit that removes somebody, who knows the present generation.
// Errors: ErrNoKey, and those of Credential.Seal.
func (r *Room) Seal(c *Credential, who Identity) error {
	if !r.knowsPresent() {
		return fmt.Errorf("sealing an identity link for %s: %w", r.uri, ErrNoKey)
	}
	r.work.Sealed++
	return c.Seal(r.present, r.uri, who)
}

// Due says whether the own leaf should get a new link with the next commit or update of its
// device: it is under its own key, which is for coming in only; or the room has more than
// MaxGenerations in use, and it is under the oldest.
func (r *Room) Due(own mls.LeafIndex) bool {
	x := r.leaves[own]
	if x == nil || x.as == nil || !r.knowsPresent() {
		return false
	}
	id := x.as.Link.Key
	if id.Kind == KindOwn {
		return true
	}
	n := 0
	for other := range r.under {
		if other.Kind != KindRoom {
			continue
		}
		if n++; other.compare(id) < 0 {
			return false
		}
	}
	return n > MaxGenerations && id != r.present.id
}

// Keep is all keys that the member has, to be stored: pages of Keys, each encoded. Who reads
// them makes the Room anew by Enter, without what the epoch exports, and Learn. They are secret.
func (r *Room) Keep() (pages [][]byte) {
	var all []Key
	for id, k := range r.keys {
		if id != r.present.id {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b Key) int { return a.id.compare(b.id) })
	pages = append(pages, Keys{Present: r.present, Others: all[:min(len(all), MaxKeys)]}.Bytes())
	for page := range slices.Chunk(all[min(len(all), MaxKeys):], MaxKeys) {
		pages = append(pages, Keys{Others: page}.Bytes())
	}
	return pages
}

// Held is how many keys the member has: at most one for each member, and the present one.
func (r *Room) Held() int { return len(r.keys) }

// Work is what was done so far.
func (r *Room) Work() Work { return r.work }

// Welcome is what newcomers are told in the Welcome's GroupInfo: the present generation's
// key, and others that name members, most members first, as many as fit. How many did not
// fit is left: newcomers see which they lack, and ask. It is made before the commit is
// followed here; begins says whether that removes somebody too (Commit.Rotates).
func (r *Room) Welcome(begins bool) (told *Keys, left int) {
	told = &Keys{Begins: begins}
	if !begins {
		told.Present = r.present
	}
	var ids []ID
	for id := range r.under {
		if _, have := r.keys[id]; have && id != told.Present.id {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b ID) int {
		return cmp.Or(cmp.Compare(len(r.under[b]), len(r.under[a])), a.compare(b))
	})
	for _, id := range ids[:min(len(ids), MaxKeys)] {
		told.Others = append(told.Others, r.keys[id])
	}
	return told, len(ids) - len(told.Others)
}

// Introduce is what the device of a leaf tells all members, so that they can name it: the
// key of its own link. Who came in from outside says it first of all.
func (r *Room) Introduce(own mls.LeafIndex) (*Keys, error) {
	x := r.leaves[own]
	if x == nil || x.as == nil {
		return nil, fmt.Errorf("leaf %d: %w", own, ErrNoLeaf)
	}
	k, have := r.keys[x.as.Link.Key]
	if !have {
		return nil, fmt.Errorf("leaf %d: %s: %w", own, x.as.Link.Key, ErrNoKey)
	}
	told := &Keys{Present: r.present}
	if k.id != r.present.id {
		told.Others = []Key{k}
	}
	return told, nil
}

// Ask is what this member has to ask others for, in as many requests as are needed; none if
// it lacks nothing. An empty request is for the present generation's key alone, which comes
// with every answer.
func (r *Room) Ask() []Request {
	var ids []ID
	for id := range r.under {
		if _, have := r.keys[id]; !have {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, ID.compare)
	var out []Request
	for page := range slices.Chunk(ids, MaxKeys) {
		out = append(out, Request(page))
	}
	if out == nil && !r.knowsPresent() {
		out = []Request{{}}
	}
	return out
}

// Answer is what a member that asks is told: the present generation's key, and those asked
// for that name members and are known here. Errors: ErrUnnamed for one that this member
// cannot name itself, ErrTooMany.
func (r *Room) Answer(asks mls.LeafIndex, q Request) (*Keys, error) {
	if _, err := r.Who(asks); err != nil {
		return nil, fmt.Errorf("answering leaf %d: %w: %w", asks, ErrUnnamed, err)
	}
	if len(q) > MaxKeys {
		return nil, fmt.Errorf("%d keys asked for, at most %d: %w", len(q), MaxKeys, ErrTooMany)
	}
	ids := slices.Compact(slices.SortedFunc(slices.Values(q), ID.compare))
	told := &Keys{Present: r.present}
	for _, id := range ids {
		if k, have := r.keys[id]; have && id != r.present.id && len(r.under[id]) > 0 {
			told.Others = append(told.Others, k)
		}
	}
	return told, nil
}
