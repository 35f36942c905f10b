package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimid/mimid/client"
)

type clientPublish struct {
	Identifier string   `arg:"" optional:"" help:"handle:NAME, tel:+NUMBER or mailto:ADDRESS."`
	Withdraw   bool     `help:"Take it back."`
	Verify     bool     `help:"Have a code sent to the number or address, and publish nothing yet."`
	Authority  string   `help:"With --verify: who sends the code, a provider's domain. Without it: the first that your provider believes."`
	Code       string   `help:"The code that came: publish the identifier as verified."`
	Tag        []string `help:"What you use this account for, such as work; may be repeated. Who finds you sees it."`
	List       bool     `help:"List what you have published, and who else claims it."`
	Rank       uint8    `help:"Your order among accounts with the same identifier at several providers; 0 comes first." default:"0"`
	device     `embed:""`
}

func (c *clientPublish) Help() string {
	return "A handle is given out by your provider, to whom comes first. That a number or address is yours is verified by\n" +
		"an authority, a provider that sends a code there and learns the identifier and who you are. Publish again\n" +
		"before 90 days have passed, or nobody finds you any more; the code is needed again after 180.\n\n" +
		"Example:\n  mimid client publish handle:alice\n  mimid client publish mailto:alice@mail.example --verify\n  mimid client publish mailto:alice@mail.example --code 12345678"
}

func (c *clientPublish) Run(s *session) error {
	switch {
	case c.Withdraw && (c.Verify || c.Code != ""), c.Verify && c.Code != "":
		return usageError("use one of --withdraw, --verify and --code")
	case c.List != (c.Identifier == ""):
		return usageError("name an identifier, or use --list")
	case c.List && (c.Withdraw || c.Verify || c.Code != ""):
		return usageError("--list goes with nothing else")
	case c.Authority != "" && !c.Verify:
		return usageError("--authority goes with --verify")
	}
	return c.withRelays(s, func(ctx context.Context, cl *client.Client) error {
		switch {
		case c.List:
			return c.list(ctx, s, cl)
		case c.Withdraw:
			if err := cl.Unpublish(ctx, c.Identifier); err != nil {
				return err
			}
			return s.out.result(map[string]string{"withdrawn": c.Identifier}, func(w io.Writer) { fmt.Fprintf(w, "%s no longer leads to you.\n", c.Identifier) })
		case c.Verify:
			by, err := cl.RequestCode(ctx, c.Identifier, c.Authority)
			if err != nil {
				return err
			}
			return s.out.result(map[string]string{"sent_to": c.Identifier, "authority": by}, func(w io.Writer) {
				fmt.Fprintf(w, "%s sends a code to %s. Enter it within 15 minutes:\n  mimid client publish %s --code CODE\n", by, c.Identifier, c.Identifier)
			})
		case c.Code != "":
			if err := cl.EnterCode(ctx, c.Identifier, c.Code); err != nil {
				return err
			}
		}
		if err := cl.PublishAs(ctx, c.Identifier, client.Preference{Rank: c.Rank, Tags: c.Tag}); err != nil {
			return err
		}
		return s.out.result(map[string]string{"published": c.Identifier}, func(w io.Writer) { fmt.Fprintf(w, "%s leads to you now.\n", c.Identifier) })
	})
}

// standing says who stands for a claim.
func standing(verified, authority, provider, method string) string {
	switch verified {
	case "authority":
		return fmt.Sprintf("verified by %s: %s", authority, method)
	case "provider":
		return fmt.Sprintf("by its provider %s: %s", provider, method)
	}
	return "unverified"
}

// details is when a claim was verified, and what the owner uses the account for.
func details(at int64, tags []string) string {
	var out string
	if at > 0 {
		out = "  on " + time.UnixMilli(at).Format(time.DateOnly)
	}
	if len(tags) > 0 {
		out += "  " + strings.Join(tags, ", ")
	}
	return out
}

func (c *clientPublish) list(ctx context.Context, s *session, cl *client.Client) error {
	all, err := cl.Published(ctx)
	if err != nil {
		return err
	}
	return s.out.result(map[string]any{"published": all}, func(w io.Writer) {
		for _, x := range all {
			fmt.Fprintf(w, "%s  until %s\n", printable(x.SII, ""), time.UnixMilli(x.Expires).Format(time.DateOnly))
			for _, r := range x.Rivals {
				fmt.Fprintf(w, "  %s\n", claimedBy(r))
			}
		}
		if len(all) == 0 {
			fmt.Fprintln(w, "You have published nothing.")
		}
	})
}

// claimedBy says who else claims an identifier.
func claimedBy(r client.Rival) string {
	by := "unverified"
	switch r.Verified {
	case "authority":
		by = "verified by " + printable(r.Authority, "")
	case "provider":
		by = "by its provider"
	}
	return fmt.Sprintf("%s claims it too (%s, since %s)", shortUser(r.User), by, time.UnixMilli(r.Issued).Format(time.DateOnly))
}

func (ch *chat) rivals(n client.RivalsChanged) {
	for _, r := range n.Rivals {
		ch.say("rival", shortUser(r.User), "         %s: %s", printable(n.SII, ""), claimedBy(r))
	}
	if len(n.Rivals) == 0 {
		ch.say("rival", "", "         %s: nobody else claims it any more", printable(n.SII, ""))
	}
}
