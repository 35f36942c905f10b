package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mimid/mimid/client"
)

type clientFindable struct {
	Mode   string `arg:"" optional:"" enum:"none,exact,names," default:"" help:"By what others may find you: none, exact (handles that you have published; the default) or names. Without it: say what holds."`
	Given  string `help:"With names: your given name."`
	Family string `help:"With names: your family name."`
	device `embed:""`
}

func (c *clientFindable) Help() string {
	return "This is about queries of other providers, for their users. What you publish is found in the overlay too,\n" +
		"by who knows it exactly; take it back with client publish --withdraw. Names are kept only to be found by.\n\n" +
		"Example:\n  mimid client findable none\n  mimid client findable names --given Xavier --family Xu"
}

func (c *clientFindable) Run(s *session) error {
	if c.Mode == "" && (c.Given != "" || c.Family != "") {
		return usageError("--given and --family go with the mode names")
	}
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		if c.Mode != "" {
			if err := cl.SetFindable(ctx, client.FindBy(c.Mode, c.Given, c.Family)); err != nil {
				return err
			}
		}
		f, err := cl.Findable(ctx)
		if err != nil {
			return err
		}
		return s.out.result(f, func(w io.Writer) {
			switch f.Mode {
			case "none":
				fmt.Fprintln(w, "No query of another provider finds you.")
			case "names":
				fmt.Fprintf(w, "Queries find you by your handles, and by parts of: %s\n", printable(f.Given+" "+f.Family, ""))
			default:
				fmt.Fprintln(w, "Queries find you by the exact handles that you have published.")
			}
		})
	})
}
