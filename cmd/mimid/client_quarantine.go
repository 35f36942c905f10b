package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mimid/mimid/client"
)

// What strangers want, in mode quarantine.

type clientQuarantine struct {
	List   clientQuarantineList   `cmd:"" help:"List who has put you into a room, or asks."`
	Accept clientQuarantineAccept `cmd:"" help:"Come into such a room, and read what was said."`
	Reject clientQuarantineReject `cmd:"" help:"Drop such a room; nobody is told."`
	Report clientQuarantineReport `cmd:"" help:"Drop it, block who it was, and tell your provider's operator."`
}

type clientQuarantineList struct{ device }

func (c *clientQuarantineList) Help() string {
	return "Nothing of this was shown to you or fetched before, and nothing of what was said is shown here. What you do not accept is dropped after some time, as if you had rejected it.\n\nExample:\n  mimid client quarantine list"
}

// heldShown is what is in quarantine as JSON.
type heldShown struct {
	By       string    `json:"by"`
	Room     string    `json:"room,omitempty"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until"`
	Messages int       `json:"messages,omitempty"`
	Octets   int64     `json:"octets,omitempty"`
	Readable bool      `json:"readable,omitempty"`
}

func (c *clientQuarantineList) Run(s *session) error {
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		rooms, requests, err := cl.Quarantine(ctx)
		if err != nil {
			return err
		}
		shown := map[string][]heldShown{"rooms": {}, "requests": {}}
		for _, h := range rooms {
			shown["rooms"] = append(shown["rooms"], heldShown{h.By.String(), h.Room.String(), h.At.UTC(), h.Until.UTC(), h.Messages, h.Octets, h.Joins})
		}
		for _, h := range requests {
			shown["requests"] = append(shown["requests"], heldShown{By: h.By.String(), Room: h.Room, At: h.At.UTC(), Until: h.Until.UTC()})
		}
		return s.out.result(shown, func(w io.Writer) {
			for _, h := range rooms {
				fmt.Fprintf(w, "%s has put you into %s on %s: %s, %d octets\n", h.By.Short(), h.Room, h.At.UTC().Format(time.DateTime), plural(h.Messages, "message"), h.Octets)
			}
			for _, h := range requests {
				fmt.Fprintf(w, "%s asks for your consent since %s\n", h.By.Short(), h.At.UTC().Format(time.DateTime))
			}
			if len(rooms)+len(requests) == 0 {
				fmt.Fprintln(w, "Nothing is in quarantine.")
			}
		})
	})
}

// heldRoom is what the verdicts have.
type heldRoom struct {
	Room   string `arg:"" help:"URI of the room, as client quarantine list shows it."`
	device `embed:""`
}

func (c *heldRoom) judge(s *session, done, text string, say func(context.Context, *client.Client, client.RoomURI) error) error {
	u, err := client.ParseRoom(c.Room)
	if err != nil {
		return err
	}
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		if err := say(ctx, cl, u); err != nil {
			return err
		}
		return s.out.result(map[string]string{done: u.String()}, func(w io.Writer) { fmt.Fprintf(w, text, u) })
	})
}

type clientQuarantineAccept struct {
	heldRoom `embed:""`
}

func (c *clientQuarantineAccept) Help() string {
	return "Whoever has put you there may add you to this room from now on, and to no other; see client accept.\n\nExample:\n  mimid client quarantine accept mimi://atlanta.example/r/clubhouse"
}

func (c *clientQuarantineAccept) Run(s *session) error {
	return c.judge(s, "accepted", "You come into %s.\n", func(ctx context.Context, cl *client.Client, u client.RoomURI) error { return cl.AcceptHeld(ctx, u) })
}

type clientQuarantineReject struct {
	heldRoom `embed:""`
}

func (c *clientQuarantineReject) Help() string {
	return "Nobody is told, so you stay on the room's list as somebody who does not answer. To be taken off it, accept and leave.\n\nExample:\n  mimid client quarantine reject mimi://atlanta.example/r/clubhouse"
}

func (c *clientQuarantineReject) Run(s *session) error {
	return c.judge(s, "rejected", "You hear nothing of %s.\n", func(ctx context.Context, cl *client.Client, u client.RoomURI) error { return cl.RejectHeld(ctx, u) })
}

type clientQuarantineReport struct {
	heldRoom `embed:""`
	Note     string `help:"What your provider's operator should know, one line." placeholder:"TEXT"`
}

func (c *clientQuarantineReport) Help() string {
	return "Your provider's operator sees who it was, your name and the note; nothing of what was said. Otherwise nobody is told.\n\nExample:\n  mimid client quarantine report mimi://atlanta.example/r/clubhouse --note 'the third today'"
}

func (c *clientQuarantineReport) Run(s *session) error {
	return c.judge(s, "reported", "Reported, and blocked: %s.\n", func(ctx context.Context, cl *client.Client, u client.RoomURI) error {
		return cl.ReportHeld(ctx, u, c.Note)
	})
}
