package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mimid/mimid/client"
)

type clientRoomDirect struct {
	Who    string `arg:"" help:"User, such as bob@biloxi.example, who gave you consent."`
	device `embed:""`
}

func (c *clientRoomDirect) Help() string {
	return "There is one such room for each two users; it is made if there is none. Nobody else is ever in it. From then on the other's name is the room's, wherever a room is named. Either of you ends it with `mimid client leave`.\n\nExample:\n  mimid client room direct bob@biloxi.example\n  mimid client send bob@biloxi.example hello"
}

func (c *clientRoomDirect) Run(s *session) error {
	who, err := client.ParseUser(c.Who)
	if err != nil {
		return err
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		if _, err := cl.Direct(ctx, who); err != nil {
			return err
		}
		if err := cl.Settle(ctx); err != nil {
			return err
		}
		r, err := cl.FindRoom(ctx, who.String()) // there may be another by now
		if err != nil {
			return err
		}
		here := false
		for _, p := range r.Participants {
			here = here || p.User == who && p.Clients > 0
		}
		return s.out.result(map[string]any{"room": r.URI.String(), "direct": who.Short(), "other_in": here}, func(w io.Writer) {
			if fmt.Fprintln(w, r.URI); !here {
				fmt.Fprintf(w, "No device of %s is in it yet. What you send waits here until one is.\n", who.Short())
			}
		})
	})
}
