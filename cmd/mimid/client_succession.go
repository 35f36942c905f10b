package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimid/mimid/client"
)

// Who succeeds the administrators of a room when they are gone.

type clientRoomClaim struct {
	Room   string   `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Gone   []string `help:"Who is gone: domains of providers, or single administrators (mimi://DOMAIN/u/NAME). Without it, the providers of all administrators."`
	device `embed:""`
}

func (c *clientRoomClaim) Help() string {
	return `Claims the power in a room whose administrators are gone, their provider for good or their
accounts. Everybody in the room sees it. Any sign of life of those who are said to be gone
ends it. When the room's patience is over, and most of those who could claim it as well
have endorsed it, your device makes you an administrator by itself, once it is online.
If the provider that orders the room is gone too, move the room first.

Example:
  mimid client room claim clubhouse
  mimid client room claim clubhouse --gone atlanta.example`
}

func (c *clientRoomClaim) Run(s *session) error {
	return c.stepOf(s, c.Room, func(ctx context.Context, cl *client.Client, r client.Room) error {
		return cl.ClaimRoom(ctx, r.URI, c.Gone)
	})
}

type clientRoomEndorse struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	device `embed:""`
}

func (c *clientRoomEndorse) Help() string {
	return "Joins the claim of another member to succeed the administrators, if you could claim the room as well.\n\nExample:\n  mimid client room endorse clubhouse"
}

func (c *clientRoomEndorse) Run(s *session) error {
	return c.stepOf(s, c.Room, func(ctx context.Context, cl *client.Client, r client.Room) error { return cl.EndorseClaim(ctx, r.URI) })
}

type clientRoomObject struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	device `embed:""`
}

func (c *clientRoomObject) Help() string {
	return "Ends a claim: your own, or one that says you or your provider are gone. In the second case your device does it by itself when it is online.\n\nExample:\n  mimid client room object clubhouse"
}

func (c *clientRoomObject) Run(s *session) error {
	return c.stepOf(s, c.Room, func(ctx context.Context, cl *client.Client, r client.Room) error { return cl.EndClaim(ctx, r.URI) })
}

type clientRoomSuccession struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	After  string `help:"For how long administrators may be silent before others may succeed them, such as 72h, or never."`
	device `embed:""`
}

func (c *clientRoomSuccession) Help() string {
	return `Shows who succeeds the administrators of a room if they are gone, and who claims it; with
--after, administrators set for how long they may be silent (168h if nobody has set it).

Example:
  mimid client room succession clubhouse
  mimid client room succession clubhouse --after 72h
  mimid client room succession clubhouse --after never`
}

func (c *clientRoomSuccession) Run(s *session) error {
	return c.stepOf(s, c.Room, func(ctx context.Context, cl *client.Client, r client.Room) error {
		if c.After == "" {
			return nil
		}
		var d time.Duration
		if c.After != "never" {
			var err error
			if d, err = time.ParseDuration(c.After); err != nil || d <= 0 {
				return usageError(fmt.Sprintf("--after: %q is neither never nor a time such as 72h or 30m", c.After))
			}
		}
		return cl.SetPatience(ctx, r.URI, d)
	})
}

// stepOf does something to a room's succession, and shows it.
func (d *device) stepOf(s *session, name string, do func(context.Context, *client.Client, client.Room) error) error {
	return d.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, name)
		if err != nil {
			return err
		}
		if err := do(ctx, cl, r); err != nil {
			return err
		}
		now, err := cl.Succession(ctx, r.URI)
		if err != nil {
			return err
		}
		v := successionOf(r, now)
		return s.out.result(v, func(w io.Writer) { v.print(w, viewOf(r).Name) })
	})
}

// succession is a room's succession as it is shown.
type succession struct {
	Room       string   `json:"room"`
	Patience   string   `json:"patience"` // or never
	Successors []string `json:"successors"`
	Claim      *claim   `json:"claim,omitempty"`
}

type claim struct {
	Claimant  string     `json:"claimant"`
	Since     time.Time  `json:"since"`
	Due       *time.Time `json:"due,omitempty"`
	Gone      []string   `json:"gone"`
	Endorsers []string   `json:"endorsers"`
	Missing   int        `json:"missing"`
}

func successionOf(r client.Room, x client.Succession) *succession {
	out := &succession{Room: r.URI.String(), Patience: x.Patience.String(), Successors: []string{}}
	if x.Patience == 0 {
		out.Patience = "never"
	}
	for _, u := range x.Successors {
		out.Successors = append(out.Successors, u.Short())
	}
	if c := x.Claim; c != nil {
		out.Claim = &claim{Claimant: c.Claimant.Short(), Since: c.Since.UTC(), Gone: append([]string{}, c.Gone...), Missing: c.Missing}
		for _, u := range c.Endorsers {
			out.Claim.Endorsers = append(out.Claim.Endorsers, u.Short())
		}
		if !c.Due.IsZero() {
			due := c.Due.UTC()
			out.Claim.Due = &due
		}
	}
	return out
}

func (x *succession) print(w io.Writer, name string) {
	if x.Patience == "never" {
		fmt.Fprintf(w, "Nobody succeeds the administrators of %s, however long they are silent.\n", name)
	} else {
		fmt.Fprintf(w, "When the administrators of %s are gone, the first to claim it may succeed after %s of their silence,\nwith most of: %s.\n", name, x.Patience, listOr(x.Successors, "nobody"))
	}
	c := x.Claim
	if c == nil {
		return
	}
	fmt.Fprintf(w, "%s claims it since %s and says that these are gone: %s.\n", c.Claimant, c.Since.Format(time.RFC3339), listOr(c.Gone, "nobody, there is no administrator"))
	fmt.Fprintf(w, "Endorsed by %s; %d more have to.\n", listOr(c.Endorsers, "nobody"), c.Missing)
	if c.Due != nil {
		fmt.Fprintf(w, "It takes effect at %s, if nobody who is said to be gone gives a sign of life.\n", c.Due.Format(time.RFC3339))
	}
}

func listOr(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}

// succession tells what became of a claim.
func (ch *chat) succession(n client.SuccessionStep) {
	who, gone := n.Claim.Claimant.Short(), listOr(n.Claim.Gone, "all administrators")
	when := "at once"
	if !n.Claim.Due.IsZero() {
		when = "at " + n.Claim.Due.Local().Format("2006-01-02 15:04:05")
	}
	switch n.Step {
	case client.StepClaimed:
		ch.say("claimed", who, "WARNING  %s claims this room and says that %s gone. It is theirs %s with %d more endorsements, unless one who is said to be gone gives a sign of life. /endorse joins the claim", who, areGone(n.Claim.Gone, gone), when, n.Claim.Missing)
	case client.StepEndorsed:
		ch.say("endorsed", n.By.Short(), "         %s endorses the claim of %s to this room: %d more have to; it takes effect %s", n.By.Short(), who, n.Claim.Missing, when)
	case client.StepEnded:
		ch.say("claim_ended", n.By.Short(), "         %s has ended the claim of %s to this room", n.By.Short(), who)
	case client.StepTaken:
		ch.say("taken", who, "         %s is an administrator of this room now, in succession of %s", who, gone)
	}
}

func areGone(list []string, text string) string {
	if len(list) == 1 {
		return text + " is"
	}
	return text + " are"
}
