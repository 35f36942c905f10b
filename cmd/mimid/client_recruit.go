package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mimid/mimid/client"
)

// A provider in which nobody takes part keeps a room of two others, too.

type clientRoomRecruit struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Off    bool   `help:"No other provider may keep the room; one that does is dropped."`
	Show   bool   `help:"Only say how it is."`
	device `embed:""`
}

func (c *clientRoomRecruit) Help() string {
	return `A room of two providers rests on one of them: when that is gone, so is the room until an
administrator moves it. A third provider that offers it can keep the room, too, and then the
room goes on by itself. Nobody of that provider is in the room; it sees who takes part, and
when somebody says something, and reads nothing. This allows that, has your provider look for
one, and makes it a replica. From then on administrators' devices see to it: they replace one
that is gone for good, and drop it when a third provider's user has come.

Example:
  mimid client room recruit clubhouse
  mimid client room recruit clubhouse --off
  mimid client room recruit clubhouse --show`
}

func (c *clientRoomRecruit) Run(s *session) error {
	if c.Off && c.Show {
		return usageError("--off and --show: one of them")
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		switch {
		case c.Show:
		case c.Off:
			err = cl.AllowOutside(ctx, r.URI, false)
		default:
			_, err = cl.Recruit(ctx, r.URI)
		}
		if err != nil {
			return err
		}
		o, err := cl.Outside(ctx, r.URI)
		if err != nil {
			return err
		}
		v := outsideView{Room: r.URI.String(), Allowed: o.Allowed, Recruit: o.Recruit}
		return s.out.result(v, func(w io.Writer) {
			switch name := viewOf(r).Name; {
			case o.Recruit != "":
				fmt.Fprintln(w, keeps(o.Recruit, name))
			case o.Allowed:
				fmt.Fprintf(w, "A provider in which nobody takes part may keep %s, and none does.\n", name)
			default:
				fmt.Fprintf(w, "No provider in which nobody takes part may keep %s.\n", name)
			}
		})
	})
}

// outsideView is what a room says of a replica from outside, as it is shown.
type outsideView struct {
	Room    string `json:"room"`
	Allowed bool   `json:"allowed"`
	Recruit string `json:"recruit,omitempty"`
}

// keeps says what it means that a provider in which nobody takes part keeps a room.
func keeps(provider, room string) string {
	return fmt.Sprintf("%s keeps %s, too: it sees who takes part, and reads nothing.", provider, room)
}

// recruit tells who keeps the room, too.
func (ch *chat) recruit(n client.RecruitChanged) {
	if n.Recruit != "" {
		ch.say("keeps", n.Recruit, "         %s", keeps(n.Recruit, "this room"))
		return
	}
	ch.say("keeps_no_more", n.Former, "         %s, in which nobody takes part, keeps this room no more", n.Former)
}
