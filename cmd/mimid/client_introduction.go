package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimid/mimid/client"
)

// Requests without a name.

func (s *session) askAnonymously(ctx context.Context, cl *client.Client, u client.UserURI, text string) error {
	granted, err := cl.RequestAnonymously(ctx, u, text)
	if err != nil {
		return err
	}
	return s.out.result(map[string]any{"asked": u.String(), "anonymous": true, "granted": granted}, func(w io.Writer) {
		if granted {
			fmt.Fprintf(w, "The answer of %s is yes. You have asked by your name now.\n", u.Short())
			return
		}
		fmt.Fprintf(w, "Asked %s anonymously; there is no answer yet. Run this again to look for one.\n", u.Short())
	})
}

func introductionSays(x client.Introduction) string {
	says := "says nothing"
	if x.Text != "" {
		says = fmt.Sprintf("says %q", printable(x.Text, ""))
	}
	return fmt.Sprintf("somebody of %s asks for your consent and %s", printable(x.Provider, ""), says)
}

type clientIntroductions struct {
	List   clientIntroductionsList   `cmd:"" default:"withargs" help:"List who asks without a name."`
	Accept clientIntroductionsAccept `cmd:"" help:"Let whoever it is say its name, and add you to rooms."`
	Reject clientIntroductionsReject `cmd:"" help:"Say nothing; nobody is told."`
}

type clientIntroductionsList struct{ device }

func (c *clientIntroductionsList) Help() string {
	return "Nobody vouches for what they say, but for it that their provider gives each of its users a few such requests a day. To hear of none of a provider's, see client mode closed --for DOMAIN.\n\nExample:\n  mimid client introductions list"
}

// introductionShown is an anonymous request as JSON.
type introductionShown struct {
	Handle   string    `json:"handle"`
	Provider string    `json:"provider"`
	Text     string    `json:"text,omitempty"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until"`
}

func (c *clientIntroductionsList) Run(s *session) error {
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		list, err := cl.Introductions(ctx)
		if err != nil {
			return err
		}
		shown := []introductionShown{}
		for _, x := range list {
			shown = append(shown, introductionShown{x.Handle, x.Provider, x.Text, time.UnixMilli(x.At).UTC(), time.UnixMilli(x.Until).UTC()})
		}
		return s.out.result(map[string]any{"introductions": shown}, func(w io.Writer) {
			for _, x := range list {
				fmt.Fprintf(w, "%s  %s\n", x.Handle[:min(len(x.Handle), 8)], introductionSays(x))
			}
			if len(list) == 0 {
				fmt.Fprintln(w, "Nobody asks without a name.")
			}
		})
	})
}

// introductionHandle is what both answers have.
type introductionHandle struct {
	Handle string `arg:"" help:"Which, as client introductions list shows it: the first digits will do."`
	device `embed:""`
}

func (c *introductionHandle) judge(s *session, accept bool, done, text string) error {
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		list, err := cl.Introductions(ctx)
		if err != nil {
			return err
		}
		var of []client.Introduction
		for _, x := range list {
			if strings.HasPrefix(x.Handle, c.Handle) {
				of = append(of, x)
			}
		}
		if len(of) != 1 {
			return usageError(fmt.Sprintf("%s with %.64q: see mimid client introductions list", plural(len(of), "request"), c.Handle))
		}
		if err := cl.JudgeIntroduction(ctx, of[0].Handle, accept); err != nil {
			return err
		}
		return s.out.result(map[string]string{done: of[0].Handle}, func(w io.Writer) { fmt.Fprintf(w, text, printable(of[0].Provider, "")) })
	})
}

type clientIntroductionsAccept struct {
	introductionHandle `embed:""`
}

func (c *clientIntroductionsAccept) Help() string {
	return "You see who it is when it has said so. Whom you have rejected or blocked by name stays so.\n\nExample:\n  mimid client introductions accept 5f0c82fc"
}

func (c *clientIntroductionsAccept) Run(s *session) error {
	return c.judge(s, true, "accepted", "Accepted: somebody of %s may add you to rooms, and has to say its name for it.\n")
}

type clientIntroductionsReject struct {
	introductionHandle `embed:""`
}

func (c *clientIntroductionsReject) Help() string {
	return "Example:\n  mimid client introductions reject 5f0c82fc"
}

func (c *clientIntroductionsReject) Run(s *session) error {
	return c.judge(s, false, "rejected", "Rejected. Nobody at %s is told.\n")
}
