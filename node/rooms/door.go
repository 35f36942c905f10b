package rooms

import (
	"context"
	"slices"

	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Door is a room as it is to those who knock there, and to those who may let them in.
type Door struct {
	URI   uri.Room
	Hub   string      // domain
	Place knock.Place // of the user who is asked about
	// Here are the own users who may answer, in the order of the participant list, and
	// Others the other providers of such users, sorted.
	Here   []uri.User
	Others []string
	// Answers and Adds say what the second user who is asked about may do: refuse
	// somebody who knocks, and add participants.
	Answers, Adds bool
}

// Door looks at a room: where user stands, and what by may do, who may be zero. Error:
// *clientapi.Problem with CodeNotFound for a room that is not here.
func (r *Rooms) Door(ctx context.Context, id room.ID, user, by uri.User) (*Door, error) {
	h, err := r.lookup(id)
	if err == nil {
		err = h.stopped()
	}
	if err != nil {
		return nil, asProblem(err)
	}
	d := &Door{}
	err = r.view(ctx, h, func(s *room.State) {
		roles := s.Roles()
		d.URI, d.Hub = s.URI(), s.Hub().Domain
		switch at := s.Role(user); {
		case at == policy.Banned:
			d.Place = knock.Banned
		case at != policy.None:
			d.Place = knock.Inside
		case !roles.MayKnock():
			d.Place = knock.Closed
		}
		if s.Roster().Pseudonymous() {
			d.Place = knock.Closed // who knocks would tell its name to the hub
			return
		}
		for _, p := range s.Participants() {
			if !p.Active {
				continue
			}
			if p.User == by {
				d.Adds = roles.May(p.Role, policy.AddParticipant)
			}
			if !roles.MayAnswer(p.Role) {
				continue
			}
			d.Answers = d.Answers || p.User == by
			if dom := p.User.Provider().Domain(); dom == r.cfg.Domain {
				d.Here = append(d.Here, p.User)
			} else if !slices.Contains(d.Others, dom) {
				d.Others = append(d.Others, dom)
			}
		}
		slices.Sort(d.Others)
	})
	return d, asProblem(err)
}

// Orders says whether a provider is the hub of a room that this one follows. If it is not as
// far as is known here, others that have the room are asked; sure is false where nobody
// could be.
func (r *Rooms) Orders(ctx context.Context, id room.ID, domain string) (is, sure bool) {
	h, err := r.lookup(id)
	if err != nil {
		return false, true
	}
	if h.stand().Hub == domain {
		return true, true
	}
	heard := r.askAround(ctx, h, domain)
	is = h.stand().Hub == domain
	return is, is || heard
}
