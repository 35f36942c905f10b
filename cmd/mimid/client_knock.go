package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mimid/mimid/client"
)

// How somebody comes into a room by asking.

type clientRoomKnock struct {
	URI    string `arg:"" help:"URI of the room."`
	Note   string `help:"What those who may let you in are shown, one line." placeholder:"TEXT"`
	Cancel bool   `help:"Take it back."`
	device `embed:""`
}

func (c *clientRoomKnock) Help() string {
	return "Your provider finds the room's and goes on asking for two weeks; you hear of the answer by client room knocks, and in the chat. Asking is consent to be added to this room by whoever it lets add people. You are not told who refuses.\n\nExample:\n  mimid client room knock mimi://atlanta.example/r/clubhouse --note 'it is me, Carol'\n  mimid client room knock mimi://atlanta.example/r/clubhouse --cancel"
}

func (c *clientRoomKnock) Run(s *session) error {
	u, err := client.ParseRoom(c.URI)
	switch {
	case err != nil:
		return err
	case c.Cancel && c.Note != "":
		return usageError("--cancel takes no --note")
	}
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		var k client.Knock
		if c.Cancel {
			k, err = cl.CancelKnock(ctx, u)
		} else {
			k, err = cl.Knock(ctx, u, c.Note)
		}
		if err != nil {
			return err
		}
		if err := s.out.result(knockView(k), func(w io.Writer) { fmt.Fprintln(w, stands(k)) }); err != nil {
			return err
		}
		if !c.Cancel && (k.State == client.KnockRefused || k.State == client.KnockClosed) {
			return exitCode(4)
		}
		return nil
	})
}

type clientRoomKnocks struct {
	Room   string `arg:"" optional:"" help:"Name or URI of a room of yours, or the beginning of its id; none: your own knocks."`
	device `embed:""`
}

func (c *clientRoomKnocks) Help() string {
	return "Whether people are who they say is checked; what they say is theirs.\n\nExample:\n  mimid client room knocks\n  mimid client room knocks clubhouse"
}

func (c *clientRoomKnocks) Run(s *session) error {
	if c.Room == "" {
		return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
			list, err := cl.Knocks(ctx)
			if err != nil {
				return err
			}
			return s.out.result(map[string]any{"knocks": knockViews(list)}, func(w io.Writer) {
				for _, k := range list {
					fmt.Fprintln(w, stands(k))
				}
				if len(list) == 0 {
					fmt.Fprintln(w, "You have knocked nowhere.")
				}
			})
		})
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		list, failed, err := cl.RoomKnocks(ctx, r.URI)
		if err != nil {
			return err
		}
		return s.out.result(map[string]any{"room": r.URI.String(), "knocks": knockViews(list), "failed": failed}, func(w io.Writer) {
			for _, k := range list {
				fmt.Fprintln(w, waits(k))
			}
			if len(list) == 0 {
				fmt.Fprintf(w, "Nobody waits to be let into %s.\n", viewOf(r).Name)
			}
			if failed > 0 {
				fmt.Fprintf(w, "Not shown: %s that nobody could be shown to have said.\n", plural(failed, "knock"))
			}
		})
	})
}

type clientRoomAnswer struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Who    string `arg:"" help:"User, such as carol@chicago.example."`
	Accept bool   `help:"Let them in." xor:"answer"`
	Refuse bool   `help:"Do not." xor:"answer"`
	Text   string `help:"With --refuse: what they are told, one line." placeholder:"TEXT"`
	device `embed:""`
}

func (c *clientRoomAnswer) Help() string {
	return "Whoever is let in is added, as by client room add. Whoever is refused is not told by whom, and is not shown again for a week.\n\nExample:\n  mimid client room answer clubhouse carol@chicago.example --accept\n  mimid client room answer clubhouse mallory@chicago.example --refuse"
}

func (c *clientRoomAnswer) Run(s *session) error {
	switch {
	case c.Accept == c.Refuse:
		return usageError("--accept or --refuse: one of them")
	case c.Accept && c.Text != "":
		return usageError("--text goes with --refuse")
	}
	result := map[string]string{"answer": "refused"}
	if c.Accept {
		result["answer"] = "accepted"
	}
	a := about{Room: c.Room, Who: c.Who, device: c.device}
	return a.act(s, result, func(who, room string) string {
		if c.Accept {
			return who + " is in " + room + "."
		}
		return who + " is refused."
	}, func(ctx context.Context, cl *client.Client, room client.RoomURI, who client.UserURI) error {
		if c.Accept {
			return cl.AcceptKnock(ctx, room, who)
		}
		return cl.RefuseKnock(ctx, room, who, c.Text)
	})
}

// knockShown is a knock as JSON.
type knockShown struct {
	Room    string    `json:"room"`
	User    string    `json:"user"`
	State   string    `json:"state"`
	Note    string    `json:"note,omitempty"`
	Text    string    `json:"text,omitempty"`
	Hub     string    `json:"hub,omitempty"`
	Trouble string    `json:"trouble,omitempty"`
	At      time.Time `json:"at"`
}

func knockView(k client.Knock) knockShown {
	return knockShown{Room: k.Room.String(), User: k.User.String(), State: k.State, Note: k.Note, Text: k.Text, Hub: k.Hub, Trouble: k.Trouble, At: k.At.UTC()}
}

func knockViews(list []client.Knock) []knockShown {
	out := []knockShown{}
	for _, k := range list {
		out = append(out, knockView(k))
	}
	return out
}

// waits says who waits at a door, and what they say.
func waits(k client.Knock) string {
	s := k.User.Short() + " asks to be let in"
	if k.Note != "" {
		s += ": " + printable(k.Note, "")
	}
	return s
}

// stands says where an own knock stands.
func stands(k client.Knock) string {
	s := fmt.Sprintf("%s: ", k.Room)
	switch k.State {
	case client.KnockAsking:
		s += "nobody has taken your wish yet; your provider goes on trying"
		if k.Trouble != "" {
			s += ": " + printable(k.Trouble, "")
		}
	case client.KnockWaiting:
		s += "you wait for an answer, by " + k.Hub
	case client.KnockRefused:
		s += "refused"
		if k.Text != "" {
			s += ": " + printable(k.Text, "")
		}
	case client.KnockInside:
		s += "you are in"
	case client.KnockCancelling:
		s += "taken back; your provider goes on telling the room's"
	case client.KnockCancelled:
		s += "taken back"
	case client.KnockClosed:
		s += "this room lets nobody ask"
	case client.KnockExpired:
		s += "nobody has answered in two weeks"
	default:
		s += printable(k.State, "")
	}
	return s
}

// knock says what a notice about a knock means.
func (ch *chat) knock(k client.Knock) {
	switch {
	case k.User == ch.c.User():
		if k.State != client.KnockAsking && k.State != client.KnockInside { // of the latter the room tells
			ch.say("own_knock", knockView(k), "         %s", stands(k))
		}
	case k.Room != ch.room.URI:
	case k.State == client.KnockWaiting:
		ch.say("knock", knockView(k), "         %s (/admit %s or /refuse %s)", waits(k), k.User.Short(), k.User.Short())
	case k.State == client.KnockGone:
		ch.say("knock", knockView(k), "         %s does not wait at the door any more", k.User.Short())
	}
}
