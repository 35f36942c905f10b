package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Pseudonymous rooms (docs/pseudonymous-rooms.md): what this device goes by there, and whom it
// can name. The keys that name others are stored in the transaction that changes the group;
// what members tell each other are messages in the room that nobody is shown.

// ErrMasked: something that there is not in pseudonymous rooms, as it would tell a name. The text
// says what.
var ErrMasked = errors.New("client: pseudonymous rooms do not have this")

// ErrSecondPseudonym: a user has come into a room under another pseudonym than it has there. Its
// provider, which has to see to it that there is one, does not; a ban of one is none of the other.
var ErrSecondPseudonym = errors.New("client: a user under a second pseudonym, which its provider must not give it")

// maskRecord is what this device goes by in a room.
type maskRecord struct{ User, Client string }

// mask is a room's pseudonymous side.
type mask struct {
	user, client uri.Pseudonym
	room         *pseudonym.Room       // who is who; nil while there is no group
	named        map[uri.User]uri.User // all that were ever named here, by pseudonym
	kept         []byte                // what is stored of keys
	since        uint64                // the epoch from which on room knows
	asked        time.Time             // when others were asked for keys last
	answers      []*answer             // that are due
}

// answer is what somebody has asked for, to be told unless somebody else does.
type answer struct {
	from  mls.LeafIndex
	q     pseudonym.Request
	at    time.Time
	until time.Time // how long to wait for who asks to be named
}

// namesRecord are the keys that name members, as pseudonym.Room.Keep writes them.
type namesRecord struct{ Keys [][]byte }

const (
	// askAgain is how long a device waits for keys before it asks again.
	askAgain = time.Minute
	// toldWithin is for how many of Config.CommitDelay a device waits for the key of somebody who
	// has come, which is told with that, before it asks.
	toldWithin = 5
	// maxAsks is how many requests of one member wait for an answer, maxAnswers those of all.
	maxAsks    = 4
	maxAnswers = 256
	tableMask  = "mask"
)

func tableNamed(id room.ID) string { return "named/" + id.String() }

func newMask(rec *maskRecord) (*mask, error) {
	m := &mask{named: map[uri.User]uri.User{}}
	var err error
	if m.user, err = uri.ParsePseudonym(rec.User); err == nil {
		m.client, err = uri.ParsePseudonym(rec.Client)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a pseudonym: %w: %w", ErrStorage, err)
	}
	return m, nil
}

// as returns what the own user goes by in a room.
func (c *Client) as(r *roomState) uri.User {
	if r.mask == nil {
		return c.user
	}
	return r.mask.user.Participant()
}

// shown returns who somebody in a room is, if that is known, else the pseudonym.
func (r *roomState) shown(u uri.User) uri.User {
	if r.mask != nil {
		if real, ok := r.mask.named[u]; ok {
			return real
		}
	}
	return u
}

// goesBy returns what a user goes by in a room, as far as this device can name the members.
func (c *Client) goesBy(r *roomState, who string) (string, error) {
	if r.mask == nil {
		return who, nil
	}
	u, err := uri.ParseParticipant(who)
	if err != nil {
		return "", err
	}
	if _, masked := u.Pseudonym(); masked {
		return who, nil
	}
	if u == c.user {
		return c.as(r).String(), nil
	}
	if all := c.allOf(r, u); len(all) > 0 {
		return all[0].String(), nil
	}
	return "", fmt.Errorf("%s is nobody in %s that this device can name: %w", u.Short(), r.uri, ErrRefused)
}

// allOf are the pseudonyms of a user in a room, who has one if its provider is honest; first those
// that have a device in it.
func (c *Client) allOf(r *roomState, u uri.User) (out []uri.User) {
	for p, real := range r.mask.named {
		if real == u {
			out = append(out, p)
		}
	}
	in := func(p uri.User) int {
		if r.roster != nil && r.roster.Clients(p) > 0 {
			return 0
		}
		return 1
	}
	slices.SortFunc(out, func(a, b uri.User) int { return cmp.Or(cmp.Compare(in(a), in(b)), cmp.Compare(a.String(), b.String())) })
	return out
}

// unmasked refuses what there is not in pseudonymous rooms.
func (r *roomState) unmasked(what string) error {
	if r.mask == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, ErrMasked)
}

// real is who this device really is, for identity links.
func (m *me) real() pseudonym.Identity {
	return pseudonym.Identity{Suite: room.Suite, Signer: m.signer, Credential: m.credential()}
}

// masked makes a leaf under a pseudonym, with a signature key of its own, and the key that
// opens its identity link.
func (m *me) masked(user, client uri.Pseudonym, now time.Time) (mls.LeafParams, pseudonym.Key, error) {
	fail := func(err error) (mls.LeafParams, pseudonym.Key, error) {
		return mls.LeafParams{}, pseudonym.Key{}, fmt.Errorf("making a leaf under a pseudonym: %w", err)
	}
	sign, err := mls.GenerateSignatureKey(room.Suite)
	if err != nil {
		return fail(err)
	}
	k := pseudonym.NewKey()
	cred := &pseudonym.Credential{User: user, Client: client, Key: sign.Public()}
	if err := cred.Seal(k, uri.Room{}, m.real()); err != nil {
		return fail(err)
	}
	caps := pseudonym.Capabilities()
	return mls.LeafParams{Suite: room.Suite, Signer: sign, Credential: cred.MLS(), Capabilities: &caps, Lifetime: mls.LifetimeOf(now, keyPackageLifetime)}, k, nil
}

func (c *Client) judgeOfNames() pseudonym.Judge { return pseudonym.X509{Authenticator: c.auth} }

// enterMask makes what is known of the members of a group that was just entered.
func (c *Client) enterMask(b *batch, r *roomState, exported []byte, told ...*pseudonym.Keys) error {
	now := c.cfg.Now()
	names, err := pseudonym.Enter(r.uri, c.judgeOfNames(), r.group.Epoch(), exported, pseudonym.LeavesOf(r.group.Public()), now)
	if err != nil {
		return err
	}
	for _, k := range told {
		names.Learn(k, now)
	}
	r.mask.room, r.mask.since = names, r.group.Epoch()
	c.keepNames(b, r)
	c.maskDue(b, r)
	return nil
}

// beginMask is enterMask for a room that this device creates.
func (c *Client) beginMask(b *batch, r *roomState, own pseudonym.Key) error {
	exported, err := pseudonym.Export(r.group, r.uri)
	if err != nil {
		return err
	}
	now := c.cfg.Now()
	if r.mask.room, err = pseudonym.Begin(r.uri, c.judgeOfNames(), exported, pseudonym.LeavesOf(r.group.Public())[0], now); err != nil {
		return err
	}
	r.mask.room.Learn(&pseudonym.Keys{Others: []pseudonym.Key{own}}, now)
	c.keepNames(b, r)
	return nil
}

// wearing makes a room what the KeyPackage is under with which this device was added.
func (r *roomState) wearing(m *packageMask, g *mls.Group) error {
	is, err := room.Pseudonymous(g.Public().Context())
	switch {
	case err != nil:
		return err
	case is != (m != nil):
		return fmt.Errorf("pseudonymous is %v of the room, and %v of the KeyPackage: %w", is, m != nil, room.ErrPolicy)
	case m == nil:
		r.Mask, r.mask = nil, nil
		return nil
	}
	r.Mask = &maskRecord{m.User, m.Client}
	was := r.mask
	if r.mask, err = newMask(r.Mask); err == nil && was != nil {
		r.mask.named = was.named // it was here before
	}
	return err
}

// welcomedMask takes what the Welcome tells of who is who.
func (c *Client) welcomedMask(b *batch, r *roomState, m *packageMask, ext mls.Extensions) error {
	told, err := pseudonym.KeysIn(ext)
	if err != nil {
		return err
	}
	own, err := pseudonym.OwnKey(m.Key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	var exported []byte
	if told.Begins {
		if exported, err = pseudonym.Export(r.group, r.uri); err != nil {
			return err
		}
	}
	// Another KeyPackage under the pseudonym, for the case that it is added again. That it is here
	// everybody will see by its first commit.
	c.maskStock.at = time.Time{}
	return c.enterMask(b, r, exported, told, &pseudonym.Keys{Others: []pseudonym.Key{own}})
}

// drawPseudonym asks the provider what the user goes by in a room that it begins.
func (c *Client) drawPseudonym(ctx context.Context, u uri.Room, n *NewRoom) (p uri.Pseudonym, err error) {
	if !n.Parent.IsZero() {
		return p, fmt.Errorf("a pseudonymous room has no parent: everybody goes by another pseudonym there: %w", ErrRefused)
	}
	return c.ownPseudonym(ctx, u)
}

// loadMask reads what is known of the members of a room whose group was read.
func (c *Client) loadMask(tx Tx, r *roomState) error {
	rec := new(namesRecord)
	raw, err := tx.Get(tableMask, r.id.String())
	if err == nil && raw != nil {
		err = unmarshal("keys of names", raw, rec)
	}
	if err != nil {
		return err
	}
	return c.restoreNames(r, rec.Keys)
}

// loadNamed reads who was ever named in a room.
func (r *roomState) loadNamed(tx Tx) error {
	return scan(tx, tableNamed(r.id), func(name string, real *string) error {
		p, err := uri.ParseParticipant(name)
		if err != nil {
			return err
		}
		r.mask.named[p], err = uri.ParseUser(*real)
		return err
	})
}

// restoreNames makes the names anew from keys that were kept. Certificates are not too old for
// that: they were judged when the links came.
func (c *Client) restoreNames(r *roomState, keys [][]byte) error {
	names, err := pseudonym.Enter(r.uri, c.judgeOfNames(), r.group.Epoch(), nil, pseudonym.LeavesOf(r.group.Public()), time.Time{})
	if err != nil {
		return err
	}
	for _, raw := range keys {
		k, err := pseudonym.ParseKeys(raw)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStorage, err)
		}
		names.Learn(k, time.Time{})
	}
	r.mask.room, r.mask.kept, r.mask.since = names, bytes.Join(keys, nil), r.group.Epoch()
	return nil
}

// namedIn is roomState.shown for who reads the storage alone.
func namedIn(tx Tx, id room.ID, u uri.User) (uri.User, error) {
	if _, masked := u.Pseudonym(); !masked {
		return u, nil
	}
	raw, err := tx.Get(tableNamed(id), u.String())
	if err != nil || raw == nil {
		return u, err
	}
	var real string
	if err := unmarshal("name", raw, &real); err != nil {
		return u, err
	}
	return uri.ParseUser(real)
}

// participant shows somebody on the list. Somebody is named if one of its devices here is, and
// none claims to be another's; or, who has no device here any more, if it was named before: pseudonyms
// are for good.
func (c *Client) participant(r *roomState, u uri.User, role string, clients int) Participant {
	out := Participant{User: u, Role: role, Clients: clients}
	if r.mask == nil {
		return out
	}
	out.Pseudonym, _ = u.Pseudonym()
	out.Unnamed = pseudonym.ErrNoLeaf
	if real, ok := r.mask.named[u]; ok && clients == 0 {
		out.User, out.Unnamed = real, nil
	}
	known := false
	for _, l := range r.roster.Leaves(u) {
		link, err := r.mask.room.Who(l)
		if err == nil {
			out.User, out.Unnamed, known = link.User(), nil, true
		} else {
			out.Doubt = err
		}
	}
	if !known && out.Doubt != nil {
		out.Unnamed, out.Doubt = out.Doubt, nil
	}
	return out
}

// keepNames stores keys that are new, or that are gone, and who is named by them.
func (c *Client) keepNames(b *batch, r *roomState) {
	m := r.mask
	keys := m.room.Keep()
	if all := bytes.Join(keys, nil); !bytes.Equal(all, m.kept) {
		m.kept = all
		b.put(tableMask, r.id.String(), &namesRecord{keys})
	}
	var of map[uri.User][]uri.User // pseudonyms, by user
	for _, l := range m.room.Leaves() {
		link, err := m.room.Who(l)
		if err != nil {
			continue
		}
		p := link.Pseudonym().Participant()
		if _, known := m.named[p]; known {
			continue
		}
		if of == nil {
			of = map[uri.User][]uri.User{}
			for x, real := range m.named {
				of[real] = append(of[real], x)
			}
		}
		for _, other := range of[link.User()] {
			if now := c.roleIn(r, other); now != policy.None {
				b.tell(Problem{r.uri, fmt.Errorf("%s, who is %s here, is %s as %s: %w", link.User(), p, r.roles().Name(now), other, ErrSecondPseudonym)})
			}
		}
		m.named[p], of[link.User()] = link.User(), append(of[link.User()], p)
		b.put(tableNamed(r.id), p.String(), link.User().String())
		c.noteCredential(b, r, link.Credential())
	}
}

// maskDue has the own leaf get another identity link, if it should, and notes why others are
// unnamed.
func (c *Client) maskDue(b *batch, r *roomState) {
	if r.State != roomJoined || !c.linkOld(r) || slices.ContainsFunc(c.wishesOf(r), func(w *wish) bool { return w.Kind == wishUpdate }) {
		return
	}
	c.newWish(b, &wish{Room: r.id, Kind: wishUpdate})
}

// linkOld says whether the own identity link is under a key that it should not be under any
// more, or holds certificates that were renewed.
func (c *Client) linkOld(r *roomState) bool {
	own := r.group.OwnLeaf()
	if _, known := r.mask.room.Present(); !known {
		return false
	}
	link, err := r.mask.room.Who(own)
	return r.mask.room.Due(own) || err == nil && !link.Credential().Equal(c.me.credential())
}

// relink makes a new identity link for the own leaf. It is under the present generation of the
// room's key, which who is removed by the same commit knows; so no such commit has one.
func (c *Client) relink(r *roomState) (*mls.LeafChange, error) {
	m, ok := r.group.Public().Member(r.group.OwnLeaf())
	if !ok {
		return nil, fmt.Errorf("the own leaf is not in the tree: %w", ErrStorage)
	}
	cred := &pseudonym.Credential{User: r.mask.user, Client: r.mask.client, Key: m.Node.SignatureKey}
	if err := r.mask.room.Seal(cred, c.me.real()); err != nil {
		return nil, err
	}
	x := cred.MLS()
	return &mls.LeafChange{Credential: &x}, nil
}

// maskCommitted follows a commit that the group has merged. own is the wish that made it, nil
// if it is another's.
func (c *Client) maskCommitted(b *batch, r *roomState, ch *mls.Change, own *wish) error {
	m, now := r.mask, c.cfg.Now()
	did, err := pseudonym.CommitOf(r.group, r.uri, ch)
	if err == nil {
		err = m.room.Apply(did, now)
	}
	if err != nil {
		return fmt.Errorf("who is who: %w", err)
	}
	for _, x := range ch.Removed {
		m.answers = slices.DeleteFunc(m.answers, func(a *answer) bool { return a.from == x.Leaf })
	}
	if len(ch.Added) > 0 && own == nil {
		// Their keys are on their way. Whoever still lacks one asks, not all at once.
		wait := toldWithin*c.cfg.CommitDelay + jitter(toldWithin*c.cfg.CommitDelay)
		m.asked = later(m.asked, now.Add(min(wait, askAgain)-askAgain))
	}
	if own != nil && len(own.Masks) > 0 {
		told := new(pseudonym.Keys)
		for _, raw := range own.Masks {
			k, err := pseudonym.OwnKey(raw)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrStorage, err)
			}
			told.Others = append(told.Others, k)
		}
		m.room.Learn(told, now)
		c.tellMask(b, r, pseudonym.Tell(did.Epoch, told))
	}
	c.keepNames(b, r)
	c.maskDue(b, r)
	return nil
}

// tellMask sends what members tell each other of names.
func (c *Client) tellMask(b *batch, r *roomState, data []byte) {
	c.enqueue(b, &outItem{Room: r.id, Report: true, Content: data})
}

// maskTold takes what a member tells, or asks.
func (c *Client) maskTold(b *batch, r *roomState, from mls.LeafIndex, data []byte) error {
	m, now := r.mask, c.cfg.Now()
	told, q, err := pseudonym.ParseTold(data, m.since)
	switch {
	case err != nil:
		return err
	case told != nil:
		m.room.Learn(told, now)
		m.answers = slices.DeleteFunc(m.answers, func(a *answer) bool { return m.answered(a, told) })
		c.keepNames(b, r)
		c.maskDue(b, r)
	default:
		// The lowest leaf that can answers, each next one later.
		rank := 0
		for _, l := range m.room.Leaves() {
			if l < r.group.OwnLeaf() && l != from {
				rank++
			}
		}
		n := 0
		for _, a := range m.answers {
			if a.from == from {
				n++
			}
		}
		if n < maxAsks && len(m.answers) < maxAnswers {
			m.answers = append(m.answers, &answer{from, q, now.Add(time.Duration(min(rank, 30)) * c.cfg.CommitDelay), now.Add(askAgain)})
		}
		ask := m.room.Ask()
		if _, err := m.room.Who(from); err == nil && len(ask) > 0 && covers(q, ask) {
			m.asked = later(m.asked, now) // it is answered, and the answer is for all
		}
	}
	return nil
}

// answered says whether all that this device would answer has been told by somebody else.
func (m *mask) answered(a *answer, told *pseudonym.Keys) bool {
	k, err := m.room.Answer(a.from, a.q)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(append(k.Others, k.Present), func(x pseudonym.Key) bool {
		return x.ID() != pseudonym.ID{} && x.ID() != told.Present.ID() && !slices.ContainsFunc(told.Others, func(y pseudonym.Key) bool { return x.ID() == y.ID() })
	})
}

// pumpMask asks for keys that are lacking, and answers who has asked.
func (c *Client) pumpMask(r *roomState, now time.Time, soon func(*task) bool) error {
	m := r.mask
	if c.unproven(r) {
		if err := c.restoreNames(r, m.room.Keep()); err != nil {
			return err
		}
		b := new(batch)
		c.keepNames(b, r)
		c.maskDue(b, r)
		if err := c.commit(b); err != nil {
			return err
		}
	}
	b := new(batch)
	if ask := m.room.Ask(); len(ask) > 0 && r.group.Public().MemberCount() > 1 && r.roles().Posts(c.roleIn(r, c.as(r))) {
		if due := m.asked.Add(askAgain); m.asked.IsZero() || !due.After(now) {
			m.asked = now
			for _, q := range ask {
				c.tellMask(b, r, pseudonym.Ask(q))
			}
		} else {
			soon(&task{at: due})
		}
	}
	due := m.answers
	m.answers = nil
	for _, x := range due {
		if x.at.After(now) {
			soon(&task{at: x.at})
			m.answers = append(m.answers, x)
			continue
		}
		k, err := m.room.Answer(x.from, x.q)
		if unproved := errors.Is(err, pseudonym.ErrNoKey) || errors.Is(err, x509auth.ErrUnknownProvider); unproved && x.until.After(now) {
			// It has said who it is, and the provider that vouches for it is being looked up.
			x.at = now.Add(c.cfg.CommitDelay)
			soon(&task{at: x.at})
			m.answers = append(m.answers, x)
			continue
		}
		if err != nil {
			c.log.Debug("not told who is who", "room", r.uri, "leaf", x.from, "error", err)
			continue
		}
		if _, known := m.room.Present(); known || len(k.Others) > 0 {
			c.tellMask(b, r, pseudonym.Tell(r.group.Epoch(), k))
		}
	}
	if len(b.writes) == 0 {
		return nil
	}
	return c.commit(b)
}

// unproven says whether somebody is unnamed because the keys of a provider were not here that
// are here now.
func (c *Client) unproven(r *roomState) bool {
	for _, l := range r.mask.room.Leaves() {
		if _, err := r.mask.room.Who(l); errors.Is(err, x509auth.ErrUnknownProvider) {
			m, ok := r.group.Public().Member(l)
			if !ok {
				continue
			}
			if p, err := pseudonym.Of(m.Node.Credential, m.Node.SignatureKey); err == nil && len(c.trust.anchors(p.User.Provider().Domain())) > 0 {
				return true
			}
		}
	}
	return false
}

// forgetMask throws away what named the members of a room that is left. Who was named stays
// so, in what was said. Who comes back into a room goes on with what it had.
func (c *Client) forgetMask(b *batch, r *roomState) {
	if r.mask == nil {
		return
	}
	r.mask.room, r.mask.answers = nil, nil
	if r.State == roomLost {
		return
	}
	r.mask.kept = nil
	b.del(tableMask, r.id.String())
}
