package rooms

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file is what only an operator asks for.

// Standing is what this provider is to a room, and who decides about it.
type Standing struct {
	Role string // see below
	// Term is the one that the log ends in.
	Term room.Term
	// Now are the providers that decide; Next, while the set changes, those that are
	// to, and then a majority of both is needed.
	Now, Next []string
	// Seen is the highest term that this provider has voted in or heard of; the room's
	// own where its hub decides alone.
	Seen room.Term
	// To is whom the room was released to, for RoleReleasing.
	To string
	// Proof says what is kept against providers of the room, "" if nothing is.
	Proof string
	// Claim says who claims to succeed the room's administrators; empty: nobody.
	Claim string
}

// What a provider is to a room.
const (
	RoleHub       = "hub"       // orders it
	RoleReplica   = "replica"   // decides with others, and stores what is not final
	RoleFollower  = "follower"  // keeps what is final
	RoleCandidate = "candidate" // asks others to be let order it
	RoleReleasing = "releasing" // has ordered it, has released it, and repeats that
	RoleWaiting   = "waiting"   // was refused for a higher term, and stands again
	RoleRestored  = "restored"  // comes from a backup, and asks the others first
)

// Standing says what this provider is to a room. It waits for what the room does now.
func (r *Rooms) Standing(ctx context.Context, id room.ID) (*Standing, error) {
	h, err := r.lookup(id)
	if err != nil {
		return nil, asProblem(err)
	}
	out := new(Standing)
	err = r.view(ctx, h, func(s *room.State) {
		out.Claim = claimText(s)
		now, next := s.Set()
		out.Now, out.Next, out.Term, out.Seen = domainsOf(now), domainsOf(next), s.At().Term, s.At().Term
		member := slices.Contains(out.Now, r.cfg.Domain) || slices.Contains(out.Next, r.cfg.Domain)
		switch {
		case s.Hub().Domain == r.cfg.Domain:
			out.Role = RoleHub
		case member:
			out.Role = RoleReplica
		default:
			out.Role = RoleFollower
		}
		h.mu.Lock()
		l := h.live // whose goroutine this is
		h.mu.Unlock()
		if l != nil && l.rep != nil {
			out.machine(l.rep)
		}
	})
	if err != nil {
		return nil, asProblem(err)
	}
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		out.Proof, err = proofText(tx, id)
		return err
	})
	return out, asProblem(err)
}

// claimText says who claims the room's power; empty if nobody does.
func claimText(s *room.State) string {
	c, missing, due, err := s.Claim()
	if err != nil || c == nil {
		return ""
	}
	gone := strings.Join(c.Gone, ", ")
	if gone == "" {
		gone = "all administrators"
	}
	text := fmt.Sprintf("%s claims to succeed %s, since %s; %d endorse it, %d more have to", c.Claimant, gone,
		time.UnixMilli(int64(c.At)).UTC().Format(time.RFC3339), len(c.Endorsers), missing)
	if due > 0 {
		text += ", not before " + time.UnixMilli(int64(due)).UTC().Format(time.RFC3339)
	}
	return text
}

// machine adds what a replica's machine is at.
func (s *Standing) machine(rep *replicaState) {
	st := rep.m.State()
	s.Seen = st.Seen
	switch rep.m.Role() {
	case hub.Hub:
		s.Role = RoleHub
	case hub.Releasing:
		s.Role, s.To = RoleReleasing, rep.names.Name(st.Vote.For)
	case hub.Waiting:
		s.Role = RoleWaiting
	case hub.Canvasser, hub.Candidate, hub.Mover:
		s.Role = RoleCandidate
	case hub.Follower:
		if st.Restored {
			s.Role = RoleRestored
		} else if s.Role == RoleHub {
			s.Role = RoleReplica // it has heard of a later hub, and has not its log yet
		}
	}
}

// Moved waits until a room is ordered in a later term, and returns by whom: by this
// provider again, if whom it was released to does not come.
func (r *Rooms) Moved(ctx context.Context, id room.ID, after room.Term) (string, error) {
	h, err := r.lookup(id)
	if err != nil {
		return "", asProblem(err)
	}
	for {
		moved := make(chan struct{})
		stop := h.whenMoved(func() { close(moved) }) // once
		if s := h.stand(); s.At.Term.Compare(after) > 0 {
			stop()
			return s.Hub, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			stop()
			return "", ctx.Err()
		}
	}
}

// Heirs are the providers that a room which this one orders may be handed over to, in
// the order of the set, beginning behind this one: the other replicas, a recruit last, or,
// where this one decides alone, the other providers that take part.
func (s *Summary) Heirs(self string) []string {
	list := s.Replicas
	if len(list) == 1 && list[0] == self {
		list = s.Providers
	}
	if i := slices.Index(list, self); i >= 0 {
		list = slices.Concat(list[i+1:], list[:i])
	}
	recruited := func(d string) bool { return slices.Contains(s.Outside, d) }
	return append(without(list, s.Outside), slices.DeleteFunc(slices.Clone(list), func(d string) bool { return !recruited(d) })...)
}
