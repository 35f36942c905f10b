package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mimid/mimid/client"
)

// How somebody comes into a room by being offered it.

type clientRoomInvite struct {
	Room     string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Who      string `arg:"" help:"User, such as bob@biloxi.example."`
	Role     string `help:"Role in which they would be in it; without it, that of newcomers." placeholder:"NAME"`
	Note     string `help:"What they are told, one line." placeholder:"TEXT"`
	Withdraw bool   `help:"Take the invitation back."`
	device   `embed:""`
}

func (c *clientRoomInvite) Help() string {
	return "Nobody is added before they accept; then this device adds them, the next time that it runs. They can decline, and you hear of that. Whether there is such a user you hear only by their answer. The room's name is told to them and their provider.\n\nExample:\n  mimid client room invite clubhouse bob@biloxi.example --note 'join us'\n  mimid client room invite clubhouse bob@biloxi.example --withdraw"
}

func (c *clientRoomInvite) Run(s *session) error {
	if c.Withdraw && c.Role+c.Note != "" {
		return usageError("--withdraw takes neither --role nor --note")
	}
	result := map[string]string{"invitation": "sent"}
	if c.Withdraw {
		result["invitation"] = "withdrawn"
	}
	a := about{Room: c.Room, Who: c.Who, device: c.device}
	return a.act(s, result, func(who, room string) string {
		if c.Withdraw {
			return who + " is no longer invited to " + room + "."
		}
		return who + " is invited to " + room + ". You will hear of the answer."
	}, func(ctx context.Context, cl *client.Client, room client.RoomURI, who client.UserURI) error {
		if c.Withdraw {
			return cl.Withdraw(ctx, room, who)
		}
		return cl.Invite(ctx, room, who, c.Role, c.Note)
	})
}

type clientInvites struct{ device }

func (c *clientInvites) Help() string {
	return "What an invitation says its sender says: the room may be called otherwise. Accept one with client accept WHO --room URI, decline it with client reject WHO --room URI.\n\nExample:\n  mimid client invites"
}

// inviteShown is an invitation as JSON.
type inviteShown struct {
	Room string    `json:"room"`
	By   string    `json:"by"`
	Name string    `json:"name,omitempty"`
	Role string    `json:"role,omitempty"`
	Note string    `json:"note,omitempty"`
	At   time.Time `json:"at"`
}

func (c *clientInvites) Run(s *session) error {
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		list, err := cl.Invitations(ctx)
		if err != nil {
			return err
		}
		shown := []inviteShown{}
		for _, v := range list {
			shown = append(shown, inviteShown{v.Room.String(), v.By.String(), v.RoomName, v.Role, v.Note, v.At.UTC()})
		}
		return s.out.result(map[string]any{"invitations": shown}, func(w io.Writer) {
			for _, v := range list {
				fmt.Fprintln(w, invites(v))
			}
			if len(list) == 0 {
				fmt.Fprintln(w, "Nobody invites you.")
			}
		})
	})
}

// invites says who offers what.
func invites(v client.Invitation) string {
	s := v.By.Short() + " invites you to " + v.Room.String()
	if v.RoomName != "" {
		s += ", called " + printable(v.RoomName, "")
	}
	if v.Role != "" {
		s += ", as " + printable(v.Role, "")
	}
	if v.Note != "" {
		s += ": " + printable(v.Note, "")
	}
	return s
}

// answerInvite says yes or no to being added to one room.
func answerInvite(s *session, d *device, done, room string, by client.UserURI, text string,
	say func(*client.Client, context.Context, client.RoomURI, client.UserURI) error) error {
	u, err := client.ParseRoom(room)
	if err != nil {
		return err
	}
	return d.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		if err := say(cl, ctx, u, by); err != nil {
			return err
		}
		return s.out.result(map[string]string{done: by.String(), "room": u.String()}, func(w io.Writer) { fmt.Fprintf(w, text, by.Short(), u) })
	})
}

// invitation says what a notice about an invitation means.
func (ch *chat) invitation(n client.ConsentChanged) {
	switch own := n.Requester == ch.c.User(); {
	case !own && n.State == "requested":
		ch.say("invited", map[string]string{"by": n.Requester.String(), "room": n.Room},
			"         %s invites you to %s: mimid client invites says more", n.Requester.Short(), n.Room)
	case own && n.State == "granted":
		ch.say("invitation", n.Target.Short(), "         %s accepts your invitation and is being added", n.Target.Short())
	case own && n.State == "revoked":
		ch.say("invitation", n.Target.Short(), "         %s declines your invitation", n.Target.Short())
	}
}
