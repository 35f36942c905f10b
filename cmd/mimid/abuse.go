package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node/admin"
)

// Reports of abuse: how a user makes one, and what the operator of the room's hub does
// about it.

type clientRoomReport struct {
	Room    string   `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Message []uint64 `arg:"" help:"Numbers of the messages, as client read shows them, all by the same user."`
	Note    string   `help:"What is wrong with them."`
	Named   bool     `help:"Tell the operator who you are; otherwise only your provider knows."`
	device  `embed:""`
}

func (c *clientRoomReport) Help() string {
	return "Your provider and the one that orders the room get to read these messages, with the proof that they\nwere sent. Nobody in the room is told. In a pseudonymous room the latter passes them on to the provider\nof who said it, which alone knows whose pseudonym that is, and tells it neither who reports nor your note.\n\nExample:\n  mimid client room report clubhouse 7 --note \"threatens me\""
}

func (c *clientRoomReport) Run(s *session) error {
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		hub, err := cl.Report(ctx, r.URI, client.Report{Messages: c.Message, Note: c.Note, Named: c.Named})
		if err != nil {
			return err
		}
		return s.out.result(map[string]any{"room": r.URI.String(), "messages": c.Message, "hub": hub}, func(w io.Writer) {
			fmt.Fprintf(w, "Reported to the operator of %s.\n", hub)
		})
	})
}

// report is the chat's command: the number of a message, and what is wrong with it.
func (ch *chat) report(ctx context.Context, arg string) error {
	number, note, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no number of a message; client read shows them", number)
	}
	hub, err := ch.c.Report(ctx, ch.room.URI, client.Report{Messages: []uint64{n}, Note: strings.TrimSpace(note)})
	if err != nil {
		return err
	}
	ch.say("reported", n, "         message %d is reported to the operator of %s; nobody here is told", n, hub)
	return nil
}

type abuseCommand struct {
	List    abuseListCommand    `cmd:"" help:"List reports that wait for you."`
	Show    abuseShowCommand    `cmd:"" help:"Show a report: what was said, and who complains."`
	Resolve abuseResolveCommand `cmd:"" help:"End a report, with a ban or without."`
}

type abuseListCommand struct {
	All bool `help:"List those that are resolved, too."`
	dataFlag
}

func (c *abuseListCommand) Help() string {
	return "Reports are about messages in rooms that this provider orders, and about what its users have said under\npseudonyms in others. They are verified: who is accused has sent what they show.\n\nExample:\n  mimid abuse list"
}

func (c *abuseListCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	all := []admin.AbuseReport{}
	for after := uint64(0); ; {
		page, err := a.Reports(s.ctx, after, c.All)
		if err != nil {
			return err
		}
		all = append(all, page.Reports...)
		if after = page.Next; after == 0 {
			break
		}
	}
	return s.out.result(map[string]any{"reports": all}, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "No reports.")
			return
		}
		table(w, "ID\tSINCE\tTIMES\tWHO\tROOM\tOUTCOME\tWHAT", func(w io.Writer) {
			for _, r := range all {
				what := ""
				if len(r.Messages) > 0 {
					what = oneLine(r.Messages[0].Text)
				}
				if n := len(r.Messages) - 1; n > 0 {
					what += fmt.Sprintf(" (and %s more)", plural(n, "message"))
				}
				fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\t%s\t%s\n", r.ID, when(r.Received), r.Times, shortUser(cmp.Or(r.User, r.Abuser)), short(r.RoomID), r.Outcome, what)
			}
		})
	})
}

// oneLine is the beginning of a text that others wrote, for a table.
func oneLine(s string) string {
	const most = 60
	r := []rune(printable(strings.Join(strings.Fields(s), " "), ""))
	if len(r) > most {
		return string(r[:most]) + "..."
	}
	return string(r)
}

// shortUser is how people write a user's URI.
func shortUser(s string) string {
	if u, err := client.ParseUser(s); err == nil {
		return u.Short()
	}
	return s
}

type abuseShowCommand struct {
	ID uint64 `arg:"" help:"Number of the report."`
	dataFlag
}

func (c *abuseShowCommand) Help() string { return "Example:\n  mimid abuse show 3" }

func (c *abuseShowCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	r, err := a.Report(s.ctx, c.ID)
	if err != nil {
		return err
	}
	return s.out.result(r, func(w io.Writer) { printReport(w, r) })
}

func printReport(w io.Writer, r *admin.AbuseReport) {
	fmt.Fprintf(w, "Report %d about %s in %s\n", r.ID, shortUser(r.Abuser), r.Room)
	if r.User != "" {
		fmt.Fprintf(w, "  the pseudonym of %s there\n", shortUser(r.User))
	}
	for _, m := range r.Messages {
		fmt.Fprintf(w, "\n  said %s, as %s shows:\n    %s\n", m.Accepted.Local().Format(time.DateTime), m.FrankedBy, printable(m.Text, "    "))
	}
	fmt.Fprintf(w, "\nReported %s\n", plural(r.Times, "time"))
	for _, v := range r.Voices {
		who := v.Reporter
		switch {
		case v.Passed:
			who = v.Provider + ", which orders the room, has passed it on"
		case who == "":
			who = "somebody of " + v.Provider
		}
		fmt.Fprintf(w, "  %s, %s", v.At.Local().Format(time.DateTime), shortUser(who))
		if v.Note != "" {
			fmt.Fprintf(w, ": %s", printable(v.Note, "    "))
		}
		fmt.Fprintln(w)
	}
	if r.Outcome != "" {
		fmt.Fprintf(w, "Resolved %s: %s\n", r.Resolved.Local().Format(time.DateTime), r.Outcome)
	}
}

type abuseResolveCommand struct {
	ID  uint64 `arg:"" help:"Number of the report."`
	Ban bool   `help:"Have the user banned from the room."`
	dataFlag
}

func (c *abuseResolveCommand) Help() string {
	return "With --ban this provider takes nothing of the user in that room any more and proposes the ban; the\nnext device of a member that is online makes it so.\n\nExample:\n  mimid abuse resolve 3 --ban"
}

func (c *abuseResolveCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	r, err := a.ResolveReport(s.ctx, c.ID, admin.ResolveAbuse{Ban: c.Ban})
	if err != nil {
		return err
	}
	return s.out.result(r, func(w io.Writer) { fmt.Fprintf(w, "Report %d is resolved: %s.\n", r.ID, r.Outcome) })
}
