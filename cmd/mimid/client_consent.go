package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mimid/mimid/client"
)

// What becomes of strangers.

type clientMode struct {
	Mode   string `arg:"" optional:"" help:"ask, open, quarantine or closed; without it, what is set is shown."`
	For    string `help:"Set it for this user, or all users of this provider, only." placeholder:"WHO|DOMAIN"`
	Remove bool   `help:"Take the exception for them away."`
	device `embed:""`
}

func (c *clientMode) Help() string {
	return "What becomes of people about whom you have decided nothing. ask: they can ask, and add you to rooms only when you have accepted them. open: everybody can add you. quarantine: everybody can, and your devices hear nothing of it before you accept, see client quarantine. closed: nobody can, and you do not see who asks. In open and quarantine strangers can find out that there is such a user. An exception for a user is above one for its provider, and what you have accepted or rejected is above both.\n\nExample:\n  mimid client mode\n  mimid client mode quarantine\n  mimid client mode open --for biloxi.example\n  mimid client mode closed --for mallory@chicago.example\n  mimid client mode --remove --for biloxi.example"
}

func (c *clientMode) Run(s *session) error {
	switch {
	case c.Remove && (c.For == "" || c.Mode != ""):
		return usageError("--remove goes with --for and no mode")
	case c.For != "" && c.Mode == "" && !c.Remove:
		return usageError("--for goes with a mode, or --remove")
	}
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		var m *client.ConsentModes
		var err error
		if c.Mode == "" && !c.Remove {
			m, err = cl.ConsentModes(ctx)
		} else {
			m, err = cl.SetConsentMode(ctx, c.For, c.Mode)
		}
		if err != nil {
			return err
		}
		return s.out.result(m, func(w io.Writer) {
			fmt.Fprintln(w, modeSays(m.Mode, "Strangers"))
			for _, x := range m.Exceptions {
				who := "Users of " + x.Who
				if u, err := client.ParseUser(x.Who); err == nil {
					who = u.Short()
				}
				fmt.Fprintln(w, modeSays(x.Mode, who))
			}
		})
	})
}

// modeSays says what a mode means for somebody.
func modeSays(mode, who string) string {
	switch mode {
	case "ask":
		return who + " can ask for your consent (ask)."
	case "open":
		return who + " can add you to rooms (open)."
	case "quarantine":
		return who + " can add you to rooms, and you hear nothing of it before you accept (quarantine)."
	case "closed":
		return who + " cannot reach you (closed)."
	}
	return who + ": " + printable(mode, "")
}
