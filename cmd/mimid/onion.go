package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimid/mimid/node/admin"
)

type onionCommand struct {
	Status onionStatusCommand `cmd:"" default:"withargs" help:"Say how this node's part in the onion overlay is, and what it is worth."`
	Ping   onionPingCommand   `cmd:"" help:"Send a message that says nothing to another provider over relays."`
}

type onionStatusCommand struct{ dataFlag }

func (c *onionStatusCommand) Help() string {
	return "Which relays there are in this epoch, who has signed their list, what was relayed, and whether packets\nthat the node sends to itself come back. Take the warnings at their word.\n\nExample:\n  mimid onion status"
}

func (c *onionStatusCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	st, err := a.Onion(s.ctx)
	if err != nil {
		return err
	}
	return s.out.result(st, func(w io.Writer) { printOnion(w, st) })
}

func printOnion(w io.Writer, st *admin.Onion) {
	fmt.Fprintf(w, "epoch      %d, until %s\n", st.Epoch, when(st.Ends))
	if l := st.List; l != nil {
		fmt.Fprintf(w, "list       %s of epoch %d: %s, of which %d offer to relay and %d do; each holds %.1f packets\n", short(l.Hash), l.Epoch, plural(l.Nodes, "node"), l.Willing, l.Active, l.Occupancy)
		fmt.Fprintf(w, "hides      among %.0f senders, from somebody who sees all links and runs no relay (an estimate)\n", st.AnonymitySet)
	}
	switch {
	case st.Mixes:
		fmt.Fprintf(w, "here       relays for others in this epoch\n")
	case st.Relay:
		fmt.Fprintf(w, "here       offers to relay, and is not drawn in this epoch\n")
	default:
		fmt.Fprintf(w, "here       sends and receives, and does not relay\n")
	}
	if st.Entry != "" {
		fmt.Fprintf(w, "entry      %s, the first hop of all that is sent\n", st.Entry)
	}
	for _, x := range st.Witnesses {
		how := "does not answer"
		switch {
		case x.Liar:
			how = "HAS SIGNED TWO LISTS, and is not believed"
		case x.Answers:
			how = "answers"
		}
		fmt.Fprintf(w, "witness    %s %s\n", x.Domain, how)
	}
	c := st.Counts
	fmt.Fprintf(w, "packets    %d came: %d sent on, %d for here, %d acknowledgements, %d replayed, %d refused, %d lost\n", c.Received, c.Forwarded, c.Delivered, c.Replies, c.Replayed, c.Refused, c.Lost)
	q := st.Requests
	fmt.Fprintf(w, "requests   %d asked of others over relays, %d answered; %d of others answered, %d refused as too many\n", q.Asked, q.Answered, q.Served, q.Shed)
	fmt.Fprintf(w, "loops      %d sent, %d came back, %d did not\n", st.Loops.Sent, st.Loops.Returned, st.Loops.Lost)
	if st.Loops.Alarm {
		fmt.Fprintf(w, "ALARM      %d of the last %d loops are missing, where %d are expected at most; suspects: %s\n", st.Loops.Missing, st.Loops.Judged, st.Loops.Bound, strings.Join(st.Loops.Suspects, ", "))
	}
	for _, x := range st.Warnings {
		fmt.Fprintf(w, "warning    %s\n", x)
	}
}

type onionPingCommand struct {
	Domain string `arg:"" help:"The provider."`
	dataFlag
}

func (c *onionPingCommand) Help() string {
	return "Returns when the other provider has said, over relays, that the message is on its disk. It does not learn\nfrom whom it is.\n\nExample:\n  mimid onion ping biloxi.example"
}

func (c *onionPingCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	p, err := a.OnionPing(s.ctx, c.Domain)
	if err != nil {
		return err
	}
	return s.out.result(p, func(w io.Writer) {
		fmt.Fprintf(w, "%s has it, and said so over relays; there and back took %s\n", p.Domain, p.Took.Round(time.Millisecond))
	})
}
