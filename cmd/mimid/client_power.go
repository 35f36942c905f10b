package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mimid/mimid/client"
)

// Who may do what in a room, and who orders it, as its administrators change that.

type clientRoomMove struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	device `embed:""`
}

func (c *clientRoomMove) Help() string {
	return "Moves a room to your provider, for administrators. Where most of the providers that decide about the room answer, and yours is one of them, they elect it, and nothing is lost. Otherwise the provider that orders the room is gone for good or hostile: most of the other providers whose users take part have to answer, and what only the former one had is lost.\n\nExample:\n  mimid client room move clubhouse"
}

func (c *clientRoomMove) Run(s *session) error {
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		if err := cl.MoveRoom(ctx, r.URI); err != nil {
			return err
		}
		at, err := cl.Verify(ctx, r.URI)
		if err != nil {
			return err
		}
		return s.out.result(map[string]string{"room": r.URI.String(), "hub": at.Hub, "term": at.Term}, func(w io.Writer) {
			fmt.Fprintf(w, "%s is ordered by %s now.\n", viewOf(r).Name, at.Hub)
		})
	})
}
