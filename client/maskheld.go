package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
)

// A provider that was put back to a backup has forgotten what its users go by in rooms into which
// they came since, and does not know those rooms to be theirs. This device says it, with a proof that
// only who has the leaf in the room can make.

// heldRooms is what is to be said. Of the loop.
type heldRooms struct {
	task task
	said string    // the mark of the provider's backup of which this device has said all, as stored
	mark string    // the one that is being answered
	left []room.ID // what is still to be said
}

// heardRestored takes the mark of the backup that the provider was put back to, "" for none.
func (c *Client) heardRestored(mark string) {
	h := &c.held
	if mark == "" || mark == h.said || mark == h.mark {
		return
	}
	h.mark, h.left, h.task.at = mark, nil, c.cfg.Now()
	for id, r := range c.rooms {
		if r.mask != nil && r.State == roomJoined {
			h.left = append(h.left, id)
		}
	}
	slices.SortFunc(h.left, func(a, b room.ID) int { return bytes.Compare(a[:], b[:]) })
}

// sayHeld says what the user goes by in the rooms that are left, one after the other. One of which
// the provider has not heard again yet goes to the end.
func (c *Client) sayHeld() error {
	h := &c.held
	h.left = slices.DeleteFunc(h.left, func(id room.ID) bool {
		r := c.rooms[id]
		return r == nil || r.mask == nil || r.State != roomJoined
	})
	if len(h.left) == 0 {
		b := new(batch)
		b.put(tableSelf, nameRestored, h.mark)
		h.said, h.mark = h.mark, ""
		return c.commit(b)
	}
	r := c.rooms[h.left[0]]
	h.left = append(h.left[1:], r.id)
	proof, err := pseudonym.Hold(r.group.Signer(), r.uri, r.mask.user, c.user)
	if err != nil {
		return err
	}
	x := &clientapi.HeldPseudonym{Room: r.URI, Pseudonym: r.mask.user.String(), Proof: proof, Hub: r.Lead.Hub.Domain}
	c.asyncIn(r, "saying what the user goes by in "+r.URI, &h.task, func(ctx context.Context) (func() error, error) {
		err := c.api.call(ctx, http.MethodPost, "/v1/pseudonyms/held", x, nil)
		p, refused := errors.AsType[*clientapi.Problem](err)
		if passing, _ := transient(err); err != nil && (!refused || passing || p.Status == http.StatusUnauthorized) {
			return nil, err
		}
		return func() error {
			h.left = slices.DeleteFunc(h.left, func(id room.ID) bool { return id == r.id })
			r.fetch, r.fetching.at = true, c.cfg.Now()
			if err != nil {
				c.emit(Problem{r.uri, fmt.Errorf("the provider was put back to a backup, and does not know what this user goes by in %s: %w", r.uri, err)})
			}
			return nil
		}, nil
	})
	return nil
}
