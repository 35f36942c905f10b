package client

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
)

// A device that is lost, or given away, is taken out of the account and of the rooms. The
// account comes first: from then on its provider hears nothing that it says and hands out none
// of its KeyPackages, so it cannot come back into a room that it was taken out of.

// RemovedFrom is what became of a removed device in one room.
type RemovedFrom struct {
	Room uri.Room
	Name string
	// Err is nil if the device is out of the room. ErrRefused: the room does not let this user
	// take it out. Else it is not out yet, and this device goes on trying.
	Err error
}

// RemoveDevice removes another device of this user: from the account, so that its token and
// KeyPackages are worth nothing, and from all rooms that this device is in. It returns when it
// is out of each room, or it is known why not, in order of the rooms' ids. What could not be done
// before ctx ends is done later. It may be said again for a device that the account has no more.
//
// What the device has received it keeps, and it has the user's key, as every device has: nobody
// can use that to register again at the provider without a new invite.
//
// Errors: ErrOwnDevice, ErrNoDevice, and those of the provider, with which nothing was removed.
func (c *Client) RemoveDevice(ctx context.Context, name string) ([]RemovedFrom, error) {
	fail := func(err error) ([]RemovedFrom, error) {
		return nil, fmt.Errorf("removing device %q: %w", name, err)
	}
	m, api, err := c.self(ctx)
	if err != nil {
		return fail(err)
	}
	if name == m.Device {
		return fail(ErrOwnDevice)
	}
	who := c.User()
	dev, err := who.Provider().Client(who.Name(), name)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrNoDevice, err))
	}
	known := true
	err = api.call(ctx, "DELETE", "/v1/devices/"+url.PathEscape(name), nil, nil)
	if hasCode(err, clientapi.CodeNotFound) {
		known, err = false, nil // its rooms may have it all the same
	}
	if err != nil {
		return fail(err)
	}
	var out []RemovedFrom
	var done []chan error
	err = c.do(ctx, func() (error, error) {
		b := new(batch)
		for _, r := range c.sortedRooms() {
			if r.group == nil || r.State != roomJoined || len(c.leavesOf(r, dev.String())) == 0 {
				continue
			}
			c.within(r.id)
			w := &wish{Room: r.id, Kind: wishDrop, Client: dev.String()}
			c.newWish(b, w)
			ch := make(chan error, 1)
			c.waiters[w.n] = append(c.waiters[w.n], ch)
			x := RemovedFrom{Room: r.uri}
			if m := r.metadata(); m != nil {
				x.Name = m.Name
			}
			out, done = append(out, x), append(done, ch)
		}
		return nil, c.commit(b)
	})
	if err != nil {
		return fail(err)
	}
	if !known && len(out) == 0 {
		return fail(ErrNoDevice)
	}
	for i := range out {
		out[i].Err = c.wait(ctx, done[i])
	}
	return out, nil
}

// leavesOf are those of a client of the own user in a room.
func (c *Client) leavesOf(r *roomState, of string) (out []mls.LeafIndex) {
	for _, l := range r.roster.Leaves(c.as(r)) {
		m, ok := r.group.Public().Member(l)
		if !ok {
			continue
		}
		cred := m.Node.Credential
		if r.mask != nil {
			link, err := r.mask.room.Who(l)
			if err != nil {
				continue
			}
			cred = link.Credential()
		}
		if name, err := x509auth.ClientURI(cred); err == nil && name == of {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b mls.LeafIndex) int { return cmp.Compare(a, b) })
	return out
}
