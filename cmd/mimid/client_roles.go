package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mimid/mimid/client"
)

// What participants may do in a room, and who is kept out of it.

// about is what the commands that act on somebody in a room have.
type about struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Who    string `arg:"" help:"User, such as bob@biloxi.example."`
	device `embed:""`
}

// act does something about somebody in a room, and says what: done makes a sentence of the
// user and the room.
func (a *about) act(s *session, result map[string]string, done func(who, room string) string, do func(context.Context, *client.Client, client.RoomURI, client.UserURI) error) error {
	u, err := client.ParseUser(a.Who)
	if err != nil {
		return err
	}
	return a.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, a.Room)
		if err != nil {
			return err
		}
		if err := do(ctx, cl, r.URI, u); err != nil {
			return err
		}
		result["room"], result["user"] = r.URI.String(), u.String()
		return s.out.result(result, func(w io.Writer) { fmt.Fprintln(w, done(u.Short(), viewOf(r).Name)) })
	})
}

type clientRoomRole struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Who    string `arg:"" help:"User, such as bob@biloxi.example."`
	Role   string `arg:"" help:"Role, by its name in the room: member, moderator or admin, unless client room roles shows others."`
	device `embed:""`
}

func (c *clientRoomRole) Help() string {
	return "Two administrators at different providers make a room survive either of them.\n\nExample:\n  mimid client room role clubhouse bob@biloxi.example admin"
}

func (c *clientRoomRole) Run(s *session) error {
	a := about{Room: c.Room, Who: c.Who, device: c.device}
	return a.act(s, map[string]string{"role": c.Role}, func(who, room string) string { return who + " is " + printable(c.Role, "") + " of " + room + " now." },
		func(ctx context.Context, cl *client.Client, room client.RoomURI, who client.UserURI) error {
			return cl.SetRole(ctx, room, who, c.Role)
		})
}

type clientRoomKick struct{ about }

func (c *clientRoomKick) Help() string {
	return "The user stays a participant, and its devices can be added again. To keep somebody out, use client room ban; to end their part, client room remove.\n\nExample:\n  mimid client room kick clubhouse mallory@atlanta.example"
}

func (c *clientRoomKick) Run(s *session) error {
	return c.act(s, map[string]string{}, func(who, room string) string { return "The devices of " + who + " are no longer in " + room + "." }, func(ctx context.Context, cl *client.Client, room client.RoomURI, who client.UserURI) error {
		return cl.Kick(ctx, room, who)
	})
}

type clientRoomBan struct{ about }

func (c *clientRoomBan) Help() string {
	return "Removes the user, and nobody can add it again until the ban is lifted. Who is not in the room can be banned, too.\n\nExample:\n  mimid client room ban clubhouse mallory@atlanta.example"
}

func (c *clientRoomBan) Run(s *session) error {
	return c.act(s, map[string]string{}, func(who, room string) string { return who + " is banned from " + room + "." }, func(ctx context.Context, cl *client.Client, room client.RoomURI, who client.UserURI) error {
		return cl.Ban(ctx, room, who)
	})
}

type clientRoomUnban struct{ about }

func (c *clientRoomUnban) Help() string {
	return "The user can be added again; it is not added by this.\n\nExample:\n  mimid client room unban clubhouse mallory@atlanta.example"
}

func (c *clientRoomUnban) Run(s *session) error {
	return c.act(s, map[string]string{}, func(who, room string) string { return who + " is no longer banned from " + room + "." }, func(ctx context.Context, cl *client.Client, room client.RoomURI, who client.UserURI) error {
		return cl.Unban(ctx, room, who)
	})
}

type clientRoomRoles struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	device `embed:""`
}

func (c *clientRoomRoles) Help() string {
	return "Shows the roles of a room, what each may do, and which roles it may give to whom.\n\nExample:\n  mimid client room roles clubhouse"
}

type roleView struct {
	Name         string              `json:"name"`
	Index        uint32              `json:"index"`
	Capabilities []string            `json:"capabilities"`
	Gives        map[string][]string `json:"gives,omitempty"` // the role before -> roles after
}

func (c *clientRoomRoles) Run(s *session) error {
	return c.with(s, offline, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		roles, err := cl.Roles(ctx, r.URI)
		if err != nil {
			return err
		}
		var list []roleView
		for _, d := range roles.All() {
			v := roleView{Name: printable(roles.Name(d.Index), ""), Index: uint32(d.Index), Capabilities: []string{}, Gives: map[string][]string{}}
			for _, x := range d.Capabilities {
				v.Capabilities = append(v.Capabilities, x.String())
			}
			for _, x := range d.Changes {
				for _, to := range x.To {
					v.Gives[printable(roles.Name(x.From), "")] = append(v.Gives[printable(roles.Name(x.From), "")], printable(roles.Name(to), ""))
				}
			}
			list = append(list, v)
		}
		return s.out.result(map[string]any{"room": r.URI.String(), "roles": list}, func(w io.Writer) {
			for i, d := range roles.All() {
				v := list[i]
				if len(v.Capabilities)+len(v.Gives) == 0 {
					fmt.Fprintf(w, "%s: nothing\n", v.Name)
					continue
				}
				fmt.Fprintf(w, "%s: %s\n", v.Name, strings.Join(v.Capabilities, ", "))
				for _, x := range d.Changes {
					from := v.Gives[printable(roles.Name(x.From), "")]
					if x.From == 0 {
						fmt.Fprintf(w, "  adds as %s\n", strings.Join(from, ", "))
					} else {
						fmt.Fprintf(w, "  makes %s %s\n", printable(roles.Name(x.From), ""), strings.Join(from, ", "))
					}
				}
			}
		})
	})
}
