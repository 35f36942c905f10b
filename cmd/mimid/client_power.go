package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mimid/mimid/client"
)

// Who may do what in a room, and who orders it, as its administrators change that.

type clientRoomRole struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Who    string `arg:"" help:"User, such as bob@biloxi.example."`
	Role   string `arg:"" help:"member, moderator or admin." enum:"member,moderator,admin"`
	device `embed:""`
}

func (c *clientRoomRole) Help() string {
	return "Two administrators at different providers make a room survive either of them.\n\nExample:\n  mimid client room role clubhouse bob@biloxi.example admin"
}

func (c *clientRoomRole) Run(s *session) error {
	u, err := client.ParseUser(c.Who)
	if err != nil {
		return err
	}
	role, err := client.ParseRole(c.Role)
	if err != nil {
		return err
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		if err := cl.SetRole(ctx, r.URI, u, role); err != nil {
			return err
		}
		return s.out.result(map[string]string{"room": r.URI.String(), "user": u.String(), "role": role.String()}, func(w io.Writer) {
			fmt.Fprintf(w, "%s is %s of %s now.\n", u.Short(), role, viewOf(r).Name)
		})
	})
}

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
