package room

import (
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
)

// Roster is who has clients in a group, user by user, derived from the
// credentials in the ratchet tree and from nothing else. It saves reading a
// thousand certificates for each change. One goroutine owns it, with the group.
type Roster struct {
	naming  naming
	users   map[mls.LeafIndex]uri.User
	clients map[uri.User]int

	seen   *View  // of the epoch at, if that is the group's
	seenAt uint64 // an epoch
}

// RosterOf reads the whole tree. Error: a member without a user's credential, or, in a
// pseudonymous room, a pseudonym's, ErrPolicy.
func RosterOf(g *mls.PublicGroup) (*Roster, error) {
	r := &Roster{users: map[mls.LeafIndex]uri.User{}, clients: map[uri.User]int{}}
	d, err := g.Context().Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	if r.naming, err = namingIn(d); err != nil {
		return nil, err
	}
	for m := range g.Members() {
		u, err := r.naming.user(m.Node)
		if err != nil {
			return nil, err
		}
		r.users[m.Leaf] = u
		r.clients[u]++
	}
	return r, nil
}

// Pseudonymous says whether the room is one.
func (r *Roster) Pseudonymous() bool { return bool(r.naming) }

// User returns whose client a leaf is.
func (r *Roster) User(leaf mls.LeafIndex) (uri.User, bool) { u, ok := r.users[leaf]; return u, ok }

// Clients returns how many clients a user has in the group.
func (r *Roster) Clients(u uri.User) int { return r.clients[u] }

// Leaves returns a user's leaves in order.
func (r *Roster) Leaves(u uri.User) []mls.LeafIndex {
	var out []mls.LeafIndex
	for l, who := range r.users {
		if who == u {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out
}

// View returns the committed view of the group that the roster follows. Errors as ViewOf.
func (r *Roster) View(g *mls.PublicGroup) (*View, error) {
	if r.seen != nil && r.seenAt == g.Epoch() {
		return r.seen, nil
	}
	v, err := ViewOf(g.Context(), r)
	if err != nil {
		return nil, err
	}
	r.seen, r.seenAt = v, g.Epoch()
	return v, nil
}

// Apply follows a change that the group has adopted.
func (r *Roster) Apply(c *mls.Change) error {
	type move struct {
		leaf mls.LeafIndex
		user uri.User
	}
	var added []move
	for _, m := range c.Added {
		u, err := r.naming.user(m.Node)
		if err != nil {
			return err
		}
		added = append(added, move{m.Leaf, u})
	}
	r.seen = nil
	for _, m := range c.Removed {
		r.drop(m.Leaf)
	}
	for _, m := range added {
		r.users[m.leaf] = m.user
		r.clients[m.user]++
	}
	return nil
}

func (r *Roster) drop(leaf mls.LeafIndex) {
	u, ok := r.users[leaf]
	if !ok {
		return
	}
	delete(r.users, leaf)
	if r.clients[u]--; r.clients[u] == 0 {
		delete(r.clients, u)
	}
}
