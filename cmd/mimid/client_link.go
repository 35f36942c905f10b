package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/mimid/mimid/client"
)

// How somebody comes into a room by a link.

type clientRoomLink struct {
	Room    string        `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Single  bool          `help:"For one person." xor:"uses"`
	Uses    uint32        `help:"For so many people." placeholder:"N" xor:"uses"`
	Expires time.Duration `help:"For how long it can be used, such as 24h; 0: until it is revoked." default:"168h" placeholder:"TIME"`
	Role    string        `help:"Role in which they come in; without it, that of newcomers." placeholder:"NAME"`
	device  `embed:""`
}

func (c *clientRoomLink) Help() string {
	return "Whoever has the link comes into the room without being asked for, so pass it on as you would a key. It is shown once and kept nowhere. It names your room's provider, and leads there when the room has moved. Banned people do not come in by it.\n\nExample:\n  mimid client room link clubhouse --single\n  mimid client room link clubhouse --uses 20 --expires 24h"
}

// terms checks what a link is to be.
func (c *clientRoomLink) terms() (client.LinkTerms, error) {
	t := client.LinkTerms{Role: c.Role, Uses: c.Uses, For: c.Expires}
	if c.Single {
		t.Uses = 1
	}
	if c.Expires != 0 && c.Expires < time.Minute {
		return t, usageError("--expires is a while of a minute or more, such as 24h, or 0 for a link that does not expire")
	}
	return t, nil
}

func (c *clientRoomLink) Run(s *session) error {
	t, err := c.terms()
	if err != nil {
		return err
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		h, err := cl.MakeLink(ctx, r.URI, t)
		if err != nil {
			return err
		}
		return s.out.result(map[string]string{"room": r.URI.String(), "link": h.Reveal()}, func(w io.Writer) {
			fmt.Fprintln(w, h.Reveal())
		})
	})
}

// linkShown is a link as JSON.
type linkShown struct {
	ID      string     `json:"id"`
	Role    string     `json:"role"`
	Left    *uint32    `json:"left,omitempty"` // absent: any number
	Expires *time.Time `json:"expires,omitempty"`
	Expired bool       `json:"expired,omitempty"`
}

func linkView(l client.Link) linkShown {
	v := linkShown{ID: l.ID, Role: l.Role, Expired: l.Expired}
	if l.Uses > 0 {
		v.Left = &l.Uses
	}
	if !l.Expires.IsZero() {
		at := l.Expires.UTC()
		v.Expires = &at
	}
	return v
}

// terms says whom a link lets in, and until when.
func terms(l client.Link) (left, until string) {
	left, until = "any number", "revoked"
	if l.Uses > 0 {
		left = strconv.Itoa(int(l.Uses))
	}
	if !l.Expires.IsZero() {
		until = when(l.Expires)
	}
	if l.Expired {
		until += " (expired)"
	}
	return left, until
}

type clientRoomLinks struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	device `embed:""`
}

func (c *clientRoomLinks) Help() string {
	return "The links themselves are not shown: nobody has them but who was given them.\n\nExample:\n  mimid client room links clubhouse"
}

func (c *clientRoomLinks) Run(s *session) error {
	return c.with(s, offline, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		list, err := cl.Links(ctx, r.URI)
		if err != nil {
			return err
		}
		shown := []linkShown{}
		for _, l := range list {
			shown = append(shown, linkView(l))
		}
		return s.out.result(map[string]any{"room": r.URI.String(), "links": shown}, func(w io.Writer) {
			if len(list) == 0 {
				fmt.Fprintf(w, "No link leads into %s.\n", viewOf(r).Name)
				return
			}
			table(w, "ID\tAS\tLEFT\tUNTIL", func(w io.Writer) {
				for _, l := range list {
					left, until := terms(l)
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.ID, printable(l.Role, ""), left, until)
				}
			})
		})
	})
}

type clientRoomUnlink struct {
	Room   string   `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	IDs    []string `arg:"" optional:"" name:"id" help:"Ids of links, as client room links shows them."`
	All    bool     `help:"All links of the room."`
	device `embed:""`
}

func (c *clientRoomUnlink) Help() string {
	return "Who has come in by a link stays.\n\nExample:\n  mimid client room unlink clubhouse 5f0c9a11d2\n  mimid client room unlink clubhouse --all"
}

func (c *clientRoomUnlink) Run(s *session) error {
	if c.All == (len(c.IDs) > 0) {
		return usageError("the ids of links, or --all: one of them")
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		ids := c.IDs
		if c.All {
			list, err := cl.Links(ctx, r.URI)
			if err != nil {
				return err
			}
			for _, l := range list {
				ids = append(ids, l.ID)
			}
		}
		if err := cl.RevokeLinks(ctx, r.URI, ids...); err != nil {
			return err
		}
		return s.out.result(map[string]any{"room": r.URI.String(), "revoked": len(ids)}, func(w io.Writer) {
			fmt.Fprintf(w, "%s into %s revoked.\n", plural(len(ids), "link"), viewOf(r).Name)
		})
	})
}

type clientRoomJoin struct {
	Address string `arg:"" name:"link" help:"Link to the room, or its URI; -: the first line of the input, so that nobody sees a link among the running commands."`
	device  `embed:""`
}

func (c *clientRoomJoin) Help() string {
	return "With a link you come in as it says. By the URI alone only into rooms whose roles or preauthorizations let you in; into others somebody has to add you, or you knock. If the room's provider does not answer, this goes on whenever this device runs.\n\nExample:\n  mimid client room join mimi://atlanta.example/r/clubhouse\n  mimid client room join - < link.txt"
}

func (c *clientRoomJoin) Run(s *session) error {
	address, err := secretArg(s, "link", c.Address)
	if err != nil {
		return err
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		u, err := cl.JoinRoom(ctx, address)
		if err != nil {
			return err
		}
		r, err := cl.FindRoom(ctx, u.String())
		if err != nil {
			return err
		}
		return s.out.result(map[string]string{"room": u.String(), "name": r.Name}, func(w io.Writer) { fmt.Fprintf(w, "You are in %s.\n", viewOf(r).Name) })
	})
}

// linkFor is how long a link of the chat can be used.
const linkFor = 7 * 24 * time.Hour

// link makes a link for so many people, one if arg is empty.
func (ch *chat) link(ctx context.Context, arg string) error {
	uses := uint64(1)
	if arg != "" {
		var err error
		if uses, err = strconv.ParseUint(arg, 10, 32); err != nil || uses == 0 {
			return fmt.Errorf("%.20q is no number of people; /link makes a link for one, /link 20 for twenty", arg)
		}
	}
	h, err := ch.c.MakeLink(ctx, ch.room.URI, client.LinkTerms{Uses: uint32(uses), For: linkFor})
	if err != nil {
		return err
	}
	ch.say("link", h.Reveal(), "         %s\n         lets %d in for a week; pass it on as you would a key", h.Reveal(), uses)
	return nil
}

// joinBy comes into a room by a link, or the URI of one that is open.
func (ch *chat) joinBy(ctx context.Context, address string) error {
	u, err := ch.c.JoinRoom(ctx, address)
	if err != nil {
		return err
	}
	return ch.join(ctx, u.String())
}
