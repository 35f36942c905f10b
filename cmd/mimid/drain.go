package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimid/mimid/node/admin"
)

type drainCommand struct{ dataFlag }

func (c *drainCommand) Help() string {
	return "Before a provider goes for good: every room that it orders goes to the next of those that decide\n" +
		"about the room and answer, or, where it decides alone, to another provider that takes part. Users\n" +
		"notice nothing. Rooms that cannot go are listed with the reason, and the exit code is 1 then. It\n" +
		"can be ended and begun again at any time: it goes on with what is left. Until members' commits have\n" +
		"replaced this provider it still decides with others, and must not be switched off for good where\n" +
		"that would leave them without a majority.\n\nExample:\n  mimid drain"
}

func (c *drainCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	bar := &drainBar{}
	if !s.out.json {
		bar.w = s.errw
	}
	d, err := a.Drain(s.ctx, bar.at)
	bar.end()
	if err != nil {
		return err
	}
	err = s.out.result(d, func(w io.Writer) {
		fmt.Fprintf(w, "%d of %s handed over in %s (%.0f/s)\n", d.Moved, plural(d.Rooms, "room"), d.Took.Round(time.Millisecond), rate(d.Draining))
		for _, r := range d.Left {
			fmt.Fprintf(w, "stays: %s %s: %s\n", short(r.ID), r.URI, printable(r.Why, "  "))
		}
		if more := d.Stayed - len(d.Left); more > 0 {
			fmt.Fprintf(w, "stays: %d more\n", more)
		}
		fmt.Fprintf(w, "still a voter in %s\n", plural(d.Voter, "room"))
	})
	if err == nil && d.Stayed > 0 {
		return exitCode(1)
	}
	return err
}

func rate(d admin.Draining) float64 { return float64(d.Moved) / max(d.Took.Seconds(), 1e-3) }

// drainBar shows people how far it is.
type drainBar struct {
	w   io.Writer // nil with --json
	any bool
}

const barWidth = 30

func (b *drainBar) at(d admin.Draining) {
	if b.w == nil || d.Rooms == 0 {
		return
	}
	b.any = true
	done := d.Moved + d.Stayed
	full := min(barWidth*done/d.Rooms, barWidth)
	fmt.Fprintf(b.w, "\r[%s%s] %d of %s, %.0f/s ", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done, plural(d.Rooms, "room"), rate(d))
}

func (b *drainBar) end() {
	if b.any {
		fmt.Fprintln(b.w)
	}
}
