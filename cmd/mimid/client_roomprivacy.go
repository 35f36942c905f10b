package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mimid/mimid/client"
)

type clientRoomPrivacy struct {
	Room        string   `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Level       string   `arg:"" optional:"" enum:"open,pseudonymous,onion," default:"" help:"open: the room's hub is told who sends (open rooms). pseudonymous: it is told a pseudonym (pseudonymous rooms). onion: it is told that somebody in the room sends, over relays, or your message is not sent. Without it: say what holds."`
	WarnBelow   *float64 `help:"With onion: warn where a message hides among fewer providers than this, by your provider's estimate. Default 3." placeholder:"N"`
	RefuseBelow *float64 `help:"With onion: send nothing where a message hides among fewer providers than this. Default 0: never refuse." placeholder:"N"`
	device      `embed:""`
}

func (c *clientRoomPrivacy) Help() string {
	return "With onion your messages to a pseudonymous room go to its hub over relays. The hub sees that a member sends, and neither which one nor of which provider; a message that waits for relays is shown as queued and goes no other way. It is about messages, and what your device says of what you have read; who changes the room is seen by its pseudonym in any case. Nobody in the room is told of your choice; members see who says what, as always.\n\n" +
		"It costs seconds for each message. It hides you among the members at other providers than the hub: from providers that have nobody in the room nothing can come. Your own provider sees that you send, to which room. What is said so cannot be reported, since nobody but members can tell who said it. It takes a room in which everybody may send.\n\n" +
		"Example:\n  mimid client room privacy circle onion --refuse-below 3\n  mimid client room privacy circle"
}

func (c *clientRoomPrivacy) Run(s *session) error {
	if c.Level != client.PrivacyOnion && (c.WarnBelow != nil || c.RefuseBelow != nil) {
		return usageError("--warn-below and --refuse-below go with onion")
	}
	return c.with(s, offline, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		if c.Level != "" {
			p := client.RoomPrivacy{Level: c.Level}
			if c.Level == client.PrivacyOnion {
				if p = r.Privacy; p.Level != client.PrivacyOnion {
					p = client.DefaultOnion()
				}
				if c.WarnBelow != nil {
					p.WarnBelow = *c.WarnBelow
				}
				if c.RefuseBelow != nil {
					p.RefuseBelow = *c.RefuseBelow
				}
			}
			if err := cl.SetRoomPrivacy(ctx, r.URI, p); err != nil {
				return err
			}
			r.Privacy = p
		}
		now, err := worthNow(ctx, s, cl, r)
		if err != nil {
			return err
		}
		return s.out.result(roomPrivacyShown{r.URI.String(), r.Privacy, now}, func(w io.Writer) { printRoomPrivacy(w, r.Privacy, now) })
	})
}

// roomPrivacyShown is a room's setting and what it is worth now, as JSON.
type roomPrivacyShown struct {
	Room string `json:"room"`
	client.RoomPrivacy
	Now *client.RoomPrivacyReport `json:"now,omitempty"`
}

// worthNow is what it is worth to send to a room over relays; nil where that is not done, or not known.
func worthNow(ctx context.Context, s *session, cl *client.Client, r client.Room) (*client.RoomPrivacyReport, error) {
	if r.Privacy.Level != client.PrivacyOnion || r.State != "joined" {
		return nil, nil
	}
	now, err := cl.RoomPrivacyReport(ctx, r.URI)
	if err != nil && s.ctx.Err() == nil { // it is set all the same
		fmt.Fprintf(s.errw, "mimid: what it is worth now is not known: %v\n", err)
		return nil, nil
	}
	return now, err
}

func printRoomPrivacy(w io.Writer, p client.RoomPrivacy, now *client.RoomPrivacyReport) {
	switch p.Level {
	case client.PrivacyOpen:
		fmt.Fprintln(w, "  privacy        open: the room's hub sees who sends each message")
	case client.PrivacyPseudonymous:
		fmt.Fprintln(w, "  privacy        pseudonymous: the room's hub sees the pseudonym that sends each message, and its provider")
	case client.PrivacyOnion:
		fmt.Fprintln(w, "  privacy        onion: your messages go to the room's hub over relays, or wait; it sees that a member sends them")
		fmt.Fprintf(w, "  floors         warns below %g providers, refuses below %g\n", p.WarnBelow, p.RefuseBelow)
	}
	switch {
	case now == nil:
		return
	case !now.Onion:
		fmt.Fprintf(w, "  now            not possible: %s\n", printable(now.Why, ""))
		return
	}
	fmt.Fprintf(w, "  now            a message hides among %s (an estimate of your provider's); the hub sees one of %s at %s that have somebody in the room, itself aside\n", hidesAmong(now.AnonymitySet), plural(now.Senders, "member"), plural(now.SenderProviders, "provider"))
	fmt.Fprintf(w, "  takes          %s", tripText(&now.PrivacyReport))
	fmt.Fprintln(w)
	for _, x := range now.Warnings {
		fmt.Fprintf(w, "  warning        %s\n", printable(x, ""))
	}
	if now.AnonymitySet < p.WarnBelow {
		fmt.Fprintf(w, "  warning        it hides among %s; you asked to be warned below %g\n", hidesAmong(now.AnonymitySet), p.WarnBelow)
	}
}

// mayTakeRelays is the context of a command that sends to a room: over relays it takes longer, and may be worth little.
func (d *device) mayTakeRelays(ctx context.Context, s *session, cl *client.Client, r client.Room) (context.Context, context.CancelFunc) {
	if r.Privacy.Level != client.PrivacyOnion {
		return context.WithCancel(ctx)
	}
	long, cancel := context.WithTimeout(s.ctx, max(d.Timeout, relayTime))
	if now, err := cl.RoomPrivacyReport(long, r.URI); err == nil && now.Onion && now.AnonymitySet < r.Privacy.WarnBelow {
		fmt.Fprintf(s.errw, "mimid: this message hides among %s, by your provider's estimate; you asked to be warned below %g\n", hidesAmong(now.AnonymitySet), r.Privacy.WarnBelow)
	}
	return long, cancel
}
