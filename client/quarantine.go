package client

import (
	"context"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// HeldRoom is a room into which a stranger has put this user, in mode quarantine. The
// provider keeps it from the user's devices, which hear of it only when they ask.
type HeldRoom struct {
	Room      uri.Room
	By        uri.User
	At, Until time.Time
	Messages  int   // that wait, up to 1,000
	Octets    int64 // of these, encrypted, and of the Welcome
	Joins     bool  // accepted, what was said since can be read; else only what is said from then on
}

// HeldRequest is a request for consent that was not shown, in mode quarantine. Accept and
// Reject answer it like any other.
type HeldRequest struct {
	By        uri.User
	Room      string // URI; empty for any
	At, Until time.Time
}

// Quarantine lists what strangers want of this user.
func (c *Client) Quarantine(ctx context.Context) (rooms []HeldRoom, requests []HeldRequest, err error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, nil, err
	}
	all := new(clientapi.Quarantine)
	if err := api.call(ctx, "GET", "/v1/quarantine", nil, all); err != nil {
		return nil, nil, fmt.Errorf("listing quarantine: %w", err)
	}
	for _, x := range all.Rooms {
		h := HeldRoom{At: time.UnixMilli(x.At), Until: time.UnixMilli(x.Until), Messages: x.Messages, Octets: x.Octets, Joins: x.Joins}
		if h.Room, err = uri.ParseRoom(x.URI); err == nil {
			h.By, err = uri.ParseUser(x.By)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("listing quarantine: %w: %w", ErrProtocol, err)
		}
		rooms = append(rooms, h)
	}
	for _, x := range all.Requests {
		h := HeldRequest{Room: x.Room, At: time.UnixMilli(x.At), Until: time.UnixMilli(x.Until)}
		if h.By, err = uri.ParseUser(x.By); err != nil {
			return nil, nil, fmt.Errorf("listing quarantine: %w: %w", ErrProtocol, err)
		}
		requests = append(requests, h)
	}
	return rooms, requests, nil
}

// AcceptHeld lets this user's devices into a room that is in quarantine, and whoever has put the
// user there may add it to this room. What was said since is read, if the Welcome is there.
//
// Errors: ErrUnreachable, *clientapi.Problem (CodeNotFound: it is not in quarantine any more).
func (c *Client) AcceptHeld(ctx context.Context, u uri.Room) error {
	if err := c.judgeHeld(ctx, u, clientapi.HeldAccept, ""); err != nil {
		return err
	}
	return c.do(ctx, func() (error, error) {
		c.unknown.at = c.cfg.Now().Add(selfJoinDelay) // if no Welcome comes
		return nil, nil
	})
}

// RejectHeld drops it. Nobody is told: the user stays on the room's list as somebody who
// does not answer. To leave it, accept it first.
func (c *Client) RejectHeld(ctx context.Context, u uri.Room) error {
	return c.judgeHeld(ctx, u, clientapi.HeldReject, "")
}

// ReportHeld drops it, blocks whoever has put the user there, and tells the operator of the
// user's provider. Otherwise nobody is told.
func (c *Client) ReportHeld(ctx context.Context, u uri.Room, note string) error {
	return c.judgeHeld(ctx, u, clientapi.HeldReport, note)
}

func (c *Client) judgeHeld(ctx context.Context, u uri.Room, verdict, note string) error {
	_, api, err := c.self(ctx)
	if err == nil {
		id := room.IDOf([]byte(u.String()))
		err = api.call(ctx, "POST", "/v1/quarantine/"+id.String(), &clientapi.JudgeHeld{Verdict: verdict, Note: note}, nil)
	}
	if err != nil {
		return fmt.Errorf("saying %s to %s: %w", verdict, u, err)
	}
	return nil
}
