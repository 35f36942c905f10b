package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mimid/mimid/client"
)

type clientStatus struct{ device }

func (c *clientStatus) Help() string {
	return "Says whether others can add you to rooms, by which KeyPackages, and until when if this device does not connect\nagain before. Connecting, as this command does, brings KeyPackages that are missing; what the provider sees from\noutside is up to a minute old.\n\nExample:\n  mimid client status"
}

// stockView is what the command says to programs. Times are zero where there is nothing.
type stockView struct {
	User           string         `json:"user"`
	CanBeAdded     string         `json:"can_be_added"`
	Outside        string         `json:"outside,omitempty"`
	Available      int            `json:"available"`
	Ends           time.Time      `json:"ends,omitzero"`
	LastResort     bool           `json:"last_resort"`
	LastResortEnds time.Time      `json:"last_resort_ends,omitzero"`
	Usable         bool           `json:"usable"`
	Devices        map[string]int `json:"devices"`
}

func (c *clientStatus) Run(s *session) error {
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		if err := cl.Settle(ctx); err != nil {
			return err
		}
		x, err := cl.Stock(ctx)
		if err != nil {
			return err
		}
		v := stockView{User: cl.User().String(), CanBeAdded: canBeAdded(x.Level), Outside: x.Outside, Available: x.Available, Ends: x.Ends,
			LastResort: x.LastResort, LastResortEnds: x.LastResortEnds, Usable: x.Usable, Devices: map[string]int{}}
		for _, d := range x.Devices {
			v.Devices[d.Name] = d.Available
		}
		return s.out.result(v, func(w io.Writer) {
			fmt.Fprintf(w, "Others can add you: %s.\n", v.CanBeAdded)
			if x.Outside == "unseen" {
				fmt.Fprintln(w, "But not from other providers: they cannot reach yours. Its operator can see why: mimid doctor.")
			}
			fmt.Fprintf(w, "This device has %s at the provider, until %s, and a last resort until %s.\n",
				plural(x.Available, "KeyPackage"), when(x.Ends), when(x.LastResortEnds))
			if !x.Usable {
				fmt.Fprintln(w, "It has no key to what others would get now. Leave it connected for some minutes.")
			}
			for _, d := range x.Devices {
				if d.Available == 0 && !d.LastResort {
					fmt.Fprintf(w, "Your device %s has none: connect it, or it will be missing in new rooms.\n", d.Name)
				}
			}
		})
	})
}
