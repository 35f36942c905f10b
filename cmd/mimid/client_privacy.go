package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mimid/mimid/client"
)

// relayTime is how long a command that asks over relays may take at least: having an identifier evaluated, and
// looking it up, have a minute each.
const relayTime = 150 * time.Second

// withRelays is with, for what goes over relays if the user has chosen so: that takes longer, and may be worth little.
func (d *device) withRelays(s *session, f func(ctx context.Context, c *client.Client) error) error {
	return d.run(s, s.ctx, func(ctx context.Context, cl *client.Client) error {
		p, err := cl.Privacy(ctx)
		if err != nil {
			return err
		}
		limit := d.Timeout
		if p.Over == client.PrivacyOnion {
			limit = max(limit, relayTime)
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if p.Over == client.PrivacyOnion {
			r, err := cl.PrivacyReport(ctx)
			if err != nil {
				return err
			}
			if r.Onion && r.AnonymitySet < p.WarnBelow {
				fmt.Fprintf(s.errw, "mimid: this request hides among %s, by your provider's estimate; you asked to be warned below %g\n", hidesAmong(r.AnonymitySet), p.WarnBelow)
			}
		}
		return f(ctx, cl)
	})
}

// hidesAmong says what an estimate means.
func hidesAmong(set float64) string {
	if set < 2 {
		return "nobody"
	}
	return fmt.Sprintf("%.0f providers", set)
}

// overRelays says which way something went.
func overRelays(over string) string {
	if over == "" {
		return ""
	}
	return " over relays"
}

type clientPrivacy struct {
	Way         string   `arg:"" optional:"" enum:"open,onion," default:"" help:"open: your provider asks others in its name (the default). onion: over relays, or not at all. Without it: say what holds."`
	WarnBelow   *float64 `help:"With onion: warn where a request hides among fewer providers than this, by your provider's estimate. Default 3." placeholder:"N"`
	RefuseBelow *float64 `help:"With onion: send nothing where a request hides among fewer providers than this. Default 0: never refuse." placeholder:"N"`
	Steady      string   `help:"yes: your provider writes to this device as much at any time, whether something came or not, so that who watches your line does not see which. no: when something came (the default)." enum:"yes,no," default:""`
	device      `embed:""`
}

func (c *clientPrivacy) Help() string {
	return "This is about looking for people (client find, and client contact by an identifier), having identifiers evaluated, and client contact --anonymous. With onion other providers do not learn that it is yours which asks, but for --anonymous, whose token names it. How your messages come to a room each room says for itself (client room privacy). All else is as before: where you ask by your name, the others' providers see it. Your own provider sees whom and what you look for, either way.\n\n" +
		"It costs seconds. What it is worth is an estimate by your provider: it knows how many providers take part and how much they send, not who watches. If it cannot be done, the command fails, and nothing goes another way.\n\n" +
		"--steady yes is about the line between this device and your provider: who watches it does not see whether something came, while the device only listens, as in client chat. News come every two seconds, and 4 KiB a second at most. What the device sends is seen, and so are reports of what was read (client receipts) and what it fetches when it has missed something.\n\n" +
		"Example:\n  mimid client privacy onion --refuse-below 10\n  mimid client privacy --steady yes\n  mimid client privacy"
}

// privacyShown is a setting and what it is worth now, as JSON.
type privacyShown struct {
	client.Privacy
	Now *client.PrivacyReport `json:"now,omitempty"`
}

func (c *clientPrivacy) Run(s *session) error {
	if c.Way != client.PrivacyOnion && (c.WarnBelow != nil || c.RefuseBelow != nil) {
		return usageError("--warn-below and --refuse-below go with onion")
	}
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		p, err := cl.Privacy(ctx)
		if err != nil {
			return err
		}
		if c.Way != "" || c.Steady != "" {
			if c.Way != "" {
				p.Over = c.Way
			}
			if c.Steady != "" {
				p.Steady = c.Steady == "yes"
			}
			if c.WarnBelow != nil {
				p.WarnBelow = *c.WarnBelow
			}
			if c.RefuseBelow != nil {
				p.RefuseBelow = *c.RefuseBelow
			}
			if err := cl.SetPrivacy(ctx, p); err != nil {
				return err
			}
		}
		r, err := cl.PrivacyReport(ctx)
		if err != nil && c.Way == "" && c.Steady == "" {
			return err
		}
		if err != nil { // it is set all the same
			fmt.Fprintf(s.errw, "mimid: what it is worth now is not known: %v\n", err)
			r = nil
		}
		return s.out.result(privacyShown{p, r}, func(w io.Writer) { printPrivacy(w, p, r) })
	})
}

// tripText says how long something takes that goes over relays.
func tripText(r *client.PrivacyReport) string {
	ms := func(n int64) time.Duration { return (time.Duration(n) * time.Millisecond).Round(10 * time.Millisecond) }
	text := fmt.Sprintf("%s for each request and its answer, by the delays that are set", ms(r.ComputedMS))
	if r.MeasuredMS > 0 {
		text += fmt.Sprintf("; %s by the last cover packets", ms(r.MeasuredMS))
	}
	return text
}

func printPrivacy(w io.Writer, p client.Privacy, r *client.PrivacyReport) {
	if p.Over == client.PrivacyOpen {
		fmt.Fprintln(w, "open: when you look for people, your provider asks others in its name.")
	} else {
		fmt.Fprintln(w, "onion: when you look for people, your provider asks others over relays, or not at all.")
		fmt.Fprintf(w, "floors     warns below %g providers, refuses below %g\n", p.WarnBelow, p.RefuseBelow)
	}
	if p.Steady {
		fmt.Fprintf(w, "reading    steady: your provider writes %d octets to this device every %s, whether something came or not; what it sends and fetches is seen\n", client.SteadySize, client.SteadyEvery)
	}
	switch {
	case r == nil:
		return
	case !r.Onion:
		fmt.Fprintf(w, "now        not possible: %s\n", printable(r.Why, ""))
		return
	}
	fmt.Fprintf(w, "now        a request hides among %s of the %d that take part (an estimate of your provider's)\n", hidesAmong(r.AnonymitySet), r.Providers)
	fmt.Fprintf(w, "takes      %s", tripText(r))
	fmt.Fprintln(w, ". To find somebody takes three or four of them.")
	for _, x := range r.Warnings {
		fmt.Fprintf(w, "warning    %s\n", printable(x, ""))
	}
}
