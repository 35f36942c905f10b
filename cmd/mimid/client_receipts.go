package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mimid/mimid/client"
)

type clientReceipts struct {
	Delivered string `help:"Whether others are told that their messages have come to you: yes or no." enum:"yes,no,as-is" default:"as-is"`
	Read      string `help:"Whether others are told that you have read them: yes or no." enum:"yes,no,as-is" default:"as-is"`
	device    `embed:""`
}

func (c *clientReceipts) Help() string {
	return "Without a flag it says how it is set. At first, deliveries are told in rooms of up to 10 people, and what you read is not.\nA room's policy may demand or forbid either.\n\nExample:\n  mimid client receipts --read yes"
}

func (c *clientReceipts) Run(s *session) error {
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		x, err := cl.Receipts(ctx)
		if err != nil {
			return err
		}
		was := x
		set(&x.Delivered, c.Delivered)
		set(&x.Read, c.Read)
		if x != was {
			if err := cl.SetReceipts(ctx, x); err != nil {
				return err
			}
		}
		return s.out.result(map[string]bool{"delivered": x.Delivered, "read": x.Read}, func(w io.Writer) {
			fmt.Fprintf(w, "Others are %s that their messages have come to you, and %s that you have read them.\n", told(x.Delivered), told(x.Read))
		})
	})
}

func set(b *bool, to string) {
	if to != "as-is" {
		*b = to == "yes"
	}
}

func told(b bool) string {
	if b {
		return "told"
	}
	return "not told"
}

type clientTyping struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Ended  bool   `help:"Say that you write no more."`
	device `embed:""`
}

func (c *clientTyping) Help() string {
	return "For programs that send with this command: whoever has the room open sees it for some seconds. It is kept nowhere,\nand whether anybody saw it nobody knows.\n\nExample:\n  mimid client typing clubhouse"
}

func (c *clientTyping) Run(s *session) error {
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		if err := cl.TellTyping(ctx, r.URI, !c.Ended); err != nil {
			return err
		}
		return s.out.result(map[string]any{"room": r.URI.String(), "typing": !c.Ended}, func(w io.Writer) { fmt.Fprintln(w, "told") })
	})
}
