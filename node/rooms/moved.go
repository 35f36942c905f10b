package rooms

import (
	"bytes"
	"context"
	"slices"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file is what others than those who have a room may want to know of it: who orders
// it.

// Here is a room that this provider orders though its URI names another one, where who
// has only the URI asks in vain.
type Here struct {
	Room room.ID
	Term room.Term
}

// MovedHere lists the rooms that have moved to this provider, in the order of their ids,
// as their logs say; those whose logs cannot be followed are not among them. at is for
// the next call: if no room has changed since, the list is not made again, and changed is
// false. The first call passes 0.
func (r *Rooms) MovedHere(since uint64) (list []Here, at uint64, changed bool) {
	at = r.turns.Load() + 1 // before looking: what changes meanwhile is seen the next time
	if at == since {
		return nil, at, false
	}
	for _, h := range r.all() {
		h.mu.Lock()
		if h.head != nil && h.broken == "" && h.head.Hub == r.cfg.Domain && h.head.URI.Provider().Domain() != r.cfg.Domain {
			list = append(list, Here{h.id, h.head.At.Term})
		}
		h.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b Here) int { return bytes.Compare(a.Room[:], b.Room[:]) })
	return list, at, true
}

// HubFor says who orders a room that the user takes part in, and in which term. Any other
// room is a Problem with CodeNotFound, whether it is here or not.
func (r *Rooms) HubFor(who account.Identity, id room.ID) (hub string, term room.Term, err error) {
	h, err := r.mine(who, store.RoomID(id))
	if err != nil {
		return "", room.Term{}, err
	}
	head := h.stand()
	return head.Hub, head.At.Term, nil
}

// maxAround is how many providers are asked who orders a room.
const maxAround = 5

// askAround catches up with a room from those that decide about it or take part, as far as
// is known here, until it is ordered by hub, which says that it does. heard: somebody has
// answered.
func (r *Rooms) askAround(ctx context.Context, h *handle, hub string) (heard bool) {
	head := h.stand()
	var list []string
	for _, m := range head.Set {
		list = append(list, m.Domain)
	}
	n := 0
	for _, d := range append(append(list, head.Hub), without(head.Providers, list)...) {
		if d == r.cfg.Domain || d == hub || r.dead(d) {
			continue
		}
		if n++; n > maxAround || ctx.Err() != nil {
			break
		}
		if r.do(ctx, h, task{catch: d}) == nil {
			heard = true
		}
		if h.stand().Hub == hub {
			return true
		}
	}
	return heard
}
