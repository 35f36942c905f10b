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
	return "Moves a room to your provider, for administrators. Where most of the providers that decide about the room answer, and yours is one of them, they elect it, and nothing is lost. Otherwise the provider that orders the room is gone for good or hostile: most of the other providers whose users take part have to answer, and what only the former one had is lost.\n\nA room that stands still because two histories of it are final goes on with the one that your provider has, which may be the one that orders it. If it can be proven who has lied, all others who take part have to answer.\n\nExample:\n  mimid client room move clubhouse"
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

type clientRoomRejoin struct {
	Room     string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	NoResend bool   `help:"Do not send again what you have said since the room was moved."`
	device   `embed:""`
}

func (c *clientRoomRejoin) Help() string {
	return `An administrator has moved the room while your provider was cut off from the others, and you and
your provider have gone on without them. What was said here since is in no other place: your
device stands still in the room and takes nothing back before you wish so.

This has your provider follow the room as it was moved, and your device come back into it. What
your provider had stays there as a lost branch, and what you have read stays on your device. What
you have said since is sent again; if others said something they have to come back themselves.
Who came in, left or got another role since then has to be added, removed or changed again.

Example:
  mimid client room rejoin clubhouse`
}

func (c *clientRoomRejoin) Run(s *session) error {
	return c.with(s, offline, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		x, err := cl.Rejoin(ctx, r.URI, !c.NoResend)
		if err != nil {
			return err
		}
		if err := cl.Settle(ctx); err != nil {
			return fmt.Errorf("you are in the room again; what you said is kept and goes out later: %w", err)
		}
		out := map[string]any{"room": r.URI.String(), "hub": x.Hub, "from": x.From, "entries": x.Entries, "resent": x.Resent, "lost": x.Lost, "anew": x.Anew}
		return s.out.result(out, func(w io.Writer) {
			fmt.Fprintf(w, "You are in %s again, which %s orders.\n", viewOf(r).Name, x.Hub)
			if x.Entries == 1 {
				fmt.Fprintf(w, "Entry %d is in the lost branch only, which your provider keeps.\n", x.From)
			} else {
				fmt.Fprintf(w, "Entries %d to %d are in the lost branch only, which your provider keeps.\n", x.From, x.From+x.Entries-1)
			}
			if x.Resent > 0 {
				fmt.Fprintf(w, "Sent again: %s of yours.\n", plural(x.Resent, "message"))
			}
			if x.Lost > 0 {
				fmt.Fprintf(w, "Lost, unless those who said it come back, too: %s, which you can still read here.\n", plural(x.Lost, "message"))
			}
			if x.Anew {
				fmt.Fprintln(w, "The group was changed in the lost branch: who came in, left or got another role there did so there only. What was said in the room before you came back cannot be read here.")
			}
		})
	})
}
