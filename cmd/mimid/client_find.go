package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mimid/mimid/client"
)

type clientRoomFind struct {
	URI    string `arg:"" help:"URI of the room, as in a link to it."`
	device `embed:""`
}

func (c *clientRoomFind) Help() string {
	return "The provider in a room's address is where the room began. It may have moved on since, and the one where it began may be gone. If you are in the room, its log tells who orders it; otherwise those who say that they do are listed, the likeliest first. Whether it is true shows when you join.\n\nExample:\n  mimid client room find mimi://atlanta.example/r/clubhouse"
}

func (c *clientRoomFind) Run(s *session) error {
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		f, err := cl.WhoOrders(ctx, c.URI)
		if err != nil {
			return err
		}
		return s.out.result(f, func(w io.Writer) {
			if f.Proven {
				fmt.Fprintf(w, "%s orders the room, as its log says.\n", f.Hubs[0].Provider)
				return
			}
			table(w, "PROVIDER\tTERM\tSAID", func(w io.Writer) {
				for _, h := range f.Hubs {
					fmt.Fprintf(w, "%s\t%s\t%s\n", printable(h.Provider, ""), printable(h.Term, ""), time.UnixMilli(h.Said).Format(time.DateTime))
				}
			})
			fmt.Fprintln(w, "They say that they order the room; its log, which you get when you join, proves who does.")
		})
	})
}
