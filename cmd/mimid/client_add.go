package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mimid/mimid/client"
)

type clientRoomAdd struct {
	Room   string   `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Who    []string `arg:"" help:"Users, such as bob@biloxi.example."`
	Later  bool     `help:"Of one user, too: if its devices cannot be added now, put it on the list, or try again later."`
	device `embed:""`
}

func (c *clientRoomAdd) Help() string {
	return "Of several users each is added for itself: one that cannot be added now keeps nobody out. It is tried again whenever this device runs, and client room show tells who is pending.\n\nExample:\n  mimid client room add clubhouse bob@biloxi.example\n  mimid client room add clubhouse bob@biloxi.example carol@chicago.example"
}

func (c *clientRoomAdd) Run(s *session) error {
	var users []client.UserURI
	for _, who := range c.Who {
		u, err := client.ParseUser(who)
		if err != nil {
			return err
		}
		users = append(users, u)
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		if len(users) == 1 && !c.Later {
			if err := cl.AddUser(ctx, r.URI, users[0]); err != nil {
				return err
			}
			return s.out.result(map[string]string{"room": r.URI.String(), "added": users[0].String()}, func(w io.Writer) { fmt.Fprintf(w, "%s is in %s.\n", users[0].Short(), viewOf(r).Name) })
		}
		list, err := cl.AddUsers(ctx, r.URI, users)
		if err != nil {
			return err
		}
		return c.report(s, r, list)
	})
}

type addedView struct {
	User  string `json:"user"`
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
}

// report says what became of each; whoever was refused makes the command fail.
func (c *clientRoomAdd) report(s *session, r client.Room, list []client.AddedUser) error {
	views := []addedView{}
	var refused []error
	for _, x := range list {
		v := addedView{User: x.User.String(), State: string(x.State)}
		if x.Err != nil {
			v.Why = x.Err.Error()
		}
		if x.State == client.AddRefused {
			refused = append(refused, fmt.Errorf("%s: %w", x.User.Short(), x.Err))
		}
		views = append(views, v)
	}
	err := s.out.result(map[string]any{"room": r.URI.String(), "users": views}, func(w io.Writer) {
		for _, x := range list {
			switch x.State {
			case client.AddIn:
				fmt.Fprintf(w, "%s is in %s.\n", x.User.Short(), viewOf(r).Name)
			case client.AddListed:
				fmt.Fprintf(w, "%s takes part in %s; its devices come in when they can.\n", x.User.Short(), viewOf(r).Name)
			case client.AddPending:
				fmt.Fprintf(w, "%s is pending, and is tried again: %s\n", x.User.Short(), printable(x.Err.Error(), ""))
			}
		}
	})
	return errors.Join(append([]error{err}, refused...)...)
}
