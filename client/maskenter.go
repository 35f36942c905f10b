package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Coming into a room from outside, under a name or a pseudonym. In a pseudonymous room the hub is
// asked for the GroupInfo with the very leaf that comes in: a pseudonym, that leaf's signature key,
// and an identity link under an own key that nobody has yet. Whose the pseudonym is knows the own
// provider alone, which lets this device ask under no other. Inside, this device tells its key first
// of all, and then asks who the others are: they answer whom they can name.
//
// The own provider does not show an entry that does not follow from those before it, so where
// this device tells its key is the room whose log it was shown, and not a group that whoever
// answered has made up to hear the name. That the log is the room's, a link says by its mark.

// entrance is the leaf with which this device asks to come in, and comes in.
type entrance struct {
	mls.LeafParams
	own         pseudonym.Key // of its identity link; the zero Key under a name
	client      uri.Pseudonym // what this device goes by
	attestation []byte        // the own provider's word for it, which everybody there wants to see
}

// entrance makes the leaf for a room.
func (m *me) entrance(r *roomState, now time.Time) (*entrance, error) {
	if r.mask == nil {
		return &entrance{LeafParams: m.leaf(now)}, nil
	}
	leaf, k, err := m.masked(r.mask.user, r.mask.client, now)
	if err != nil {
		return nil, err
	}
	return &entrance{LeafParams: leaf, own: k, client: r.mask.client}, nil
}

// succeeds makes the leaf one of this device as it is in the room already, under another
// pseudonym of the device than it has asked with.
func (e *entrance) succeeds(m *me, user, client uri.Pseudonym) error {
	if e.client == client {
		return nil
	}
	cred := &pseudonym.Credential{User: user, Client: client, Key: e.Signer.Public()}
	if err := cred.Seal(e.own, uri.Room{}, m.real()); err != nil {
		return err
	}
	e.Credential, e.client = cred.MLS(), client
	return nil
}

// replaces finds the leaf that this device has in a room's group already.
func (c *Client) replaces(r *roomState, g *mls.PublicGroup, from *entrance) (*mls.LeafIndex, error) {
	if r.mask == nil {
		for m := range g.Members() {
			if name, err := x509auth.ClientURI(m.Node.Credential); err == nil && name == c.me.Client {
				return &m.Leaf, nil
			}
		}
		return nil, nil
	}
	// It is there as it was before, or by a KeyPackage of which no Welcome has come.
	mine := map[string]bool{from.client.String(): true}
	err := c.cfg.Storage.View(func(tx Tx) error {
		return scan(tx, tableKeyPackage, func(_ string, rec *packageRecord) error {
			if rec.Mask != nil && rec.Mask.User == r.mask.user.String() {
				mine[rec.Mask.Client] = true
			}
			return nil
		})
	})
	if err != nil {
		return nil, storageError(err)
	}
	for m := range g.Members() {
		p, err := pseudonym.Of(m.Node.Credential, m.Node.SignatureKey)
		if err == nil && p.User == r.mask.user && mine[p.Client.String()] {
			return &m.Leaf, from.succeeds(c.me, p.User, p.Client)
		}
	}
	return nil, nil
}

// fits says whether a group is of the kind as which this device asked for it.
func (r *roomState) fits(g *mls.PublicGroup) error {
	is, err := room.Pseudonymous(g.Context())
	switch {
	case err != nil:
		return err
	case is && r.mask == nil:
		return fmt.Errorf("the room is pseudonymous, and is come into by a link with %q in it: %w", "?pseudonymous=", ErrRefused)
	case !is && r.mask != nil:
		return fmt.Errorf("the room is not pseudonymous: coming in would tell everybody who this is: %w", ErrRefused)
	}
	return nil
}

// enteredMask tells who came in by itself who it is, and begins to know the others. ch is
// what the commit that let it in has changed.
func (c *Client) enteredMask(b *batch, r *roomState, from *entrance, ch *mls.Change) error {
	if r.mask.client != from.client {
		r.mask.client, r.Mask = from.client, &maskRecord{r.mask.user.String(), from.client.String()}
	}
	var exported []byte
	var err error
	if len(ch.Removed) > 0 {
		if exported, err = pseudonym.Export(r.group, r.uri); err != nil {
			return err
		}
	}
	// What it has from before names those who have the links that they had then.
	kept, err := c.keptNames(b, r)
	if err != nil {
		return err
	}
	told := append(kept, &pseudonym.Keys{Others: []pseudonym.Key{from.own}})
	if err := c.enterMask(b, r, exported, told...); err != nil {
		return err
	}
	r.mask.asked, r.mask.answers = time.Time{}, nil
	c.maskStock.at = time.Time{} // a KeyPackage under the pseudonym, for the case that it is added again
	if r.roles().Posts(c.roleIn(r, c.as(r))) {
		own, err := r.mask.room.Introduce(r.group.OwnLeaf())
		if err != nil {
			return err
		}
		c.tellMask(b, r, pseudonym.Tell(r.group.Epoch(), own))
	}
	r.save(b)
	return nil
}

// introductionTime is how long JoinRoom waits for the hub to take what tells members who has come.
const introductionTime = 10 * time.Second

// saysWho waits until this device has told who it is, or for some time: else it is told when this
// device runs the next time, and until then nobody there can name it.
func (c *Client) saysWho(ctx context.Context, u uri.Room) {
	ctx, cancel := context.WithTimeout(ctx, introductionTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for told := false; !told; {
		err := c.do(ctx, func() (error, error) {
			c.untouched()
			r := c.roomOf(u)
			told = r == nil || r.State != roomJoined || !slices.ContainsFunc(c.outboxOf(r), func(o *outItem) bool {
				return pseudonym.IsTold(o.Content) && !o.Accepted
			})
			return nil, nil
		})
		if err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// keptNames are the keys of a room that this device was in before. None of them counts as the
// present generation's: who knows what came after.
func (c *Client) keptNames(b *batch, r *roomState) (out []*pseudonym.Keys, err error) {
	raw, err := c.get(b, tableMask, r.id.String())
	if err != nil || raw == nil {
		return nil, err
	}
	rec := new(namesRecord)
	if err := unmarshal("keys of names", raw, rec); err != nil {
		return nil, err
	}
	for _, raw := range rec.Keys {
		k, err := pseudonym.ParseKeys(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStorage, err)
		}
		if k.Present.ID() != (pseudonym.ID{}) {
			k.Others, k.Present = append(k.Others, k.Present), pseudonym.Key{}
		}
		out = append(out, k)
	}
	return out, nil
}

// ownPseudonym asks the provider what the user goes by in a room: one for good.
func (c *Client) ownPseudonym(ctx context.Context, u uri.Room) (p uri.Pseudonym, err error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return p, err
	}
	got := new(clientapi.Pseudonym)
	if err := api.call(ctx, "POST", "/v1/pseudonyms", &clientapi.NewPseudonym{Room: u.String()}, got); err != nil {
		return p, err
	}
	return c.checkPseudonym(got.Pseudonym)
}

// checkPseudonym reads what the provider says that the user goes by.
func (c *Client) checkPseudonym(s string) (p uri.Pseudonym, err error) {
	if p, err = uri.ParsePseudonym(s); err == nil {
		err = pseudonym.Check(p)
	}
	if err == nil && p.Provider() != c.user.Provider() {
		err = errors.New("it is at another provider")
	}
	if err != nil {
		return p, fmt.Errorf("pseudonym %.100q: %w: %w", s, ErrProtocol, err)
	}
	return p, nil
}

// wears makes the record of a room that this device comes into under a pseudonym; old is what
// there is of it here. One that had another pseudonym there is not let to have two.
func (c *Client) wears(old *roomState, as uri.Pseudonym) (*maskRecord, error) {
	if old != nil && old.mask != nil {
		if old.mask.user != as {
			return nil, fmt.Errorf("the provider says that %s goes by %s in the room, and it was %s before: %w", c.user, as, old.mask.user, ErrProtocol)
		}
		return old.Mask, nil
	}
	client, err := pseudonym.New(c.user.Provider())
	if err != nil {
		return nil, err
	}
	return &maskRecord{as.String(), client.String()}, nil
}

// sameDevice says whether a leaf is of this device, whatever that goes by.
func (c *Client) sameDevice(r *roomState, l *mls.LeafNode) bool {
	if r.mask == nil {
		name, err := x509auth.ClientURI(l.Credential)
		return err == nil && name == c.me.Client
	}
	p, err := pseudonym.Of(l.Credential, l.SignatureKey)
	return err == nil && p.User == r.mask.user && p.Client == r.mask.client
}

// covers says whether all keys that this device lacks are asked for by somebody else.
func covers(q pseudonym.Request, ask []pseudonym.Request) bool {
	return !slices.ContainsFunc(slices.Concat(ask...), func(id pseudonym.ID) bool { return !slices.Contains(q, id) })
}
