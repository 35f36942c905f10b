package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Adding several users, of whom some may not come in: each for itself, so that nobody
// keeps the others out.

// What became of a user that was added with others.
const (
	// AddIn: its devices are in the room.
	AddIn State = "in"
	// AddListed: it takes part, and none of its devices can be added now, because its
	// provider has no KeyPackages of them. They come in by themselves.
	AddListed State = "listed"
	// AddPending: its provider cannot be asked now; this device tries again by itself.
	AddPending State = "pending"
	// AddRefused: it did not consent, or the room does not let it be added. It is not tried
	// again.
	AddRefused State = "refused"
)

// AddedUser is what became of one user.
type AddedUser struct {
	User  uri.User
	State State // AddIn, AddListed, AddPending or AddRefused
	Err   error // of AddPending and AddRefused
}

// maxTogether is how many KeyPackages go into one commit.
const maxTogether = 128

// AddUsers adds users to a room, each with all its devices, and returns when each is in, or
// it is known why not. One that fails keeps nobody else out, and one whose provider does not
// answer keeps nobody waiting for longer than ctx: it is pending then. What is pending stays
// a wish (Room.Pending).
//
// Errors: ErrNoRoom, ErrStopped, ErrStorage. Of each user: those of AddUser, and that of ctx.
func (c *Client) AddUsers(ctx context.Context, u uri.Room, who []uri.User) ([]AddedUser, error) {
	out := make([]AddedUser, len(who))
	done := make([]chan error, len(who))
	err := c.do(ctx, func() (error, error) {
		r := c.roomOf(u)
		if r == nil || r.State == roomLeft || r.State == roomStopped {
			return ErrNoRoom, nil
		}
		c.within(r.id)
		b := new(batch)
		for i, x := range who {
			done[i] = make(chan error, 1)
			w := &wish{Room: r.id, Kind: wishAdd, User: x.String(), Waiting: true}
			c.newWish(b, w)
			c.waiters[w.n] = append(c.waiters[w.n], done[i])
		}
		return nil, c.commit(b)
	})
	if err != nil {
		return nil, fmt.Errorf("adding to %s: %w", u, err)
	}
	for i, x := range who {
		out[i] = AddedUser{User: x, State: AddIn}
		err := c.wait(ctx, done[i])
		if err == nil {
			continue
		}
		if errors.Is(err, ErrStopped) {
			return nil, fmt.Errorf("adding %s to %s: %w", x, u, err)
		}
		late := ctx.Err() != nil && errors.Is(err, ctx.Err())
		if late {
			select { // it may be known all the same
			case err = <-done[i]:
				late = false
			default:
				err = fmt.Errorf("there is no answer yet: %w", err)
			}
		}
		if err == nil {
			continue
		}
		out[i].State, out[i].Err = AddRefused, err
		if passing, _ := transient(err); late || passing || errors.Is(err, errAddLater) {
			out[i].State = AddPending
		}
	}
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	return out, c.listed(rest, u, out)
}

// lookTime is how long it may take to look at what is here.
const lookTime = 5 * time.Second

// errAddLater: a provider does not answer; the wish stays.
var errAddLater = errors.New("client: tried again later")

// listed finds out who of those that were added has no device in the room.
func (c *Client) listed(ctx context.Context, u uri.Room, list []AddedUser) error {
	return c.do(ctx, func() (error, error) {
		c.untouched()
		r := c.roomOf(u)
		for i := range list {
			if list[i].State == AddIn && r != nil && r.group != nil && r.mask == nil && r.roster.Clients(list[i].User) == 0 {
				list[i].State = AddListed
			}
		}
		return nil, nil
	})
}

// claimFor asks for KeyPackages of a user to add.
func (c *Client) claimFor(r *roomState, w *wish) error {
	who, err := uri.ParseUser(w.User)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	if at, err := c.goesBy(r, w.User); err == nil && r.inside(at) {
		b := new(batch)
		c.wishDone(b, w, nil) // somebody else has added it
		return c.commit(b)
	}
	c.asyncIn(r, "adding "+w.User+" to "+r.URI, &w.claiming, func(ctx context.Context) (func() error, error) {
		got, err := c.claimFrom(ctx, r.uri, who)
		return func() error {
			if c.wishes[w.n] != w || !w.Waiting {
				return nil
			}
			b := new(batch)
			passing, wait := transient(err)
			switch {
			case err == nil, errors.Is(err, ErrNoKeyPackage) && r.mask == nil:
				w.KeyPackages, w.As, w.Masks, w.Waiting = got.KeyPackages, got.As, got.Masks, false
				w.save(b)
			case passing || errors.Is(err, context.Canceled) || !Refused(err):
				w.claiming.failed(c.cfg.Now(), c.cfg.Retry, wait)
				c.answer(b, w, fmt.Errorf("%w: %w", err, errAddLater))
			default:
				c.wishDone(b, w, err)
			}
			return c.commit(b)
		}, nil
	})
	return nil
}

// inside says whether somebody, by its URI in the room, has a device there.
func (r *roomState) inside(who string) bool {
	u, err := uri.ParseParticipant(who)
	return err == nil && r.roster.Clients(u) > 0
}

// packagesOf reads the KeyPackages of a wish to add a user; none: it is only put on the list.
func (c *Client) packagesOf(w *wish, who uri.User) (out []*mls.ValidKeyPackage, err error) {
	for i, raw := range w.KeyPackages {
		if w.As != "" {
			real, err := uri.ParseUser(w.User)
			if err != nil || i >= len(w.Masks) {
				return nil, fmt.Errorf("a user to add under a pseudonym: %w", ErrStorage)
			}
			v, err := c.checkMasked(raw, w.Masks[i], w.As, real)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrNoKeyPackage, err)
			}
			out = append(out, v)
			continue
		}
		kp, err := mls.ParseKeyPackage(raw, mls.Limits{})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStorage, err)
		}
		v, err := c.checkPackage(kp, who)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoKeyPackage, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// together puts those into a commit that adds a user who are to be added as well, so that a
// hundred are not a hundred commits. They find themselves added when it is their turn; what
// one of them is refused for, its own turn tells.
//
// The hub keeps the tree for its own users, and once for all other providers: in a large
// room a commit brings in users of one kind, since no transaction would hold both.
func (c *Client) together(r *roomState, w *wish, o *mls.CommitOptions, as policy.Role, set []room.Participant) []room.Participant {
	leaves := maxTogether
	for range r.group.Public().Members() {
		leaves++
	}
	own, others := false, false // users of the hub's provider, and of others
	for _, p := range set {
		here := p.User.Provider().Domain() == r.Lead.Hub.Domain
		own, others = own || here, others || !here
	}
	for _, x := range c.wishesOf(r) {
		if x == w || x.Kind != wishAdd || x.Request != nil || x.Tries > 0 || w.Tries > 0 || len(o.Add)+len(x.KeyPackages) > maxTogether {
			continue
		}
		who, err := uri.ParseUser(x.User)
		if err != nil || r.roster.Clients(who) > 0 || c.roleIn(r, who) != policy.None {
			continue
		}
		here := who.Provider().Domain() == r.Lead.Hub.Domain
		if !treesFit(own || here, others || !here, leaves) {
			continue
		}
		add, err := c.packagesOf(x, who)
		if err != nil {
			continue
		}
		own, others = own || here, others || !here
		o.Add = append(o.Add, add...)
		set = append(set, room.Participant{User: who, Role: as})
	}
	return set
}

// maxMixed is how many leaves the tree may have of a commit that adds users of the hub's provider
// and of others. A leaf with its certificates takes nearly 900 octets, a third more for the own
// users, and the usual store of a provider less than 5 MB in a transaction.
const maxMixed = 2000

func treesFit(own, others bool, leaves int) bool { return !own || !others || leaves <= maxMixed }
