package client

import (
	"context"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/room"
)

// A device may be in thousands of rooms, most of them idle, so the loop does not look at
// all of them after each event: what an event can have changed is looked at, and what is
// due by its time. A command touches everything unless it says which room it is about
// (within): to forget that costs time, and to claim too little would leave a room lying
// until the next look at all, which is a minute away at most.

// lookEvery is how long a room is left alone at most.
const lookEvery = time.Minute

// looks says which rooms the loop has to look at. Owned by the loop.
type looks struct {
	all     bool
	touched map[room.ID]bool
	narrow  bool      // the present command has said what it touches
	due     time.Time // no room is due before it
	counted uint64    // rooms that were looked at
}

// within says that the present command touches nothing but a room.
func (c *Client) within(id room.ID) {
	c.looks.narrow = true
	c.looks.touched[id] = true
}

// untouched says that the present command only reads.
func (c *Client) untouched() { c.looks.narrow = true }

// run runs a command, and notes what it may have touched.
func (l *looks) run(f func() error) error {
	l.narrow = false
	err := f()
	l.all = l.all || !l.narrow
	return err
}

// pumpRooms looks at the rooms that were touched or are due, in order of their ids, and
// returns when one will be. soon is that of pump for a moment that it lowers.
func (c *Client) pumpRooms(now time.Time, soonBy func(at *time.Time) func(*task) bool) (time.Time, error) {
	l := &c.looks
	var list []*roomState
	switch {
	case l.all || !now.Before(l.due):
		l.due = now.Add(lookEvery)
		for id, r := range c.rooms {
			if l.all || l.touched[id] || !now.Before(r.lookAt) {
				list = append(list, r)
			} else {
				l.due = earlier(l.due, r.lookAt)
			}
		}
	default:
		for id := range l.touched {
			if r := c.rooms[id]; r != nil {
				list = append(list, r)
			}
		}
	}
	l.all = false
	clear(l.touched)
	slices.SortFunc(list, func(a, b *roomState) int { return slices.Compare(a.id[:], b.id[:]) })
	for _, r := range list {
		at := now.Add(lookEvery)
		l.counted++
		err := c.pumpRoom(r, now, soonBy(&at))
		r.lookAt = at
		l.due = earlier(l.due, at)
		if err != nil {
			return l.due, err
		}
	}
	return l.due, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// asyncIn is async for what is about a room, and touches nothing else when it is done.
func (c *Client) asyncIn(r *roomState, what string, t *task, do func(ctx context.Context) (func() error, error)) {
	c.asyncAs(what, t, func() { c.within(r.id) }, do)
}
