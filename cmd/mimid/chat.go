package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimid/mimid/client"
)

type chatCommand struct {
	Room   string `arg:"" optional:"" help:"Name or URI of the room, or the beginning of its id."`
	device `embed:""`
}

func (c *chatCommand) Help() string {
	return "Type to send; messages stream in. Lines that begin with / are commands, /help lists them.\nExample:\n  mimid chat clubhouse"
}

const chatHelp = `/rooms            your rooms
/join ROOM        talk in a room
/new NAME         create a room and talk in it
/who              who is here
/add WHO          add somebody who gave you consent
/contact WHO      ask somebody for consent
/requests         who asks you for consent
/accept WHO       give it
/leave            leave the room
/quit             end`

// chat is one conversation in line mode.
type chat struct {
	s    *session
	c    *client.Client
	room client.Room
	next uint64 // index of the first message that was not shown
	// patience is how long the end waits for what was typed to go out.
	patience time.Duration
}

func (c *chatCommand) Run(s *session) error {
	return c.device.run(s, s.ctx, func(ctx context.Context, cl *client.Client) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if err := c.sync(ctx, cl); err != nil {
			fmt.Fprintln(s.errw, "mimid:", err)
		}
		ch := &chat{s: s, c: cl, patience: c.Timeout}
		if c.Room != "" {
			if err := ch.join(ctx, c.Room); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(s.out.w, "You are %s. /rooms lists your rooms, /join ROOM enters one, /help says more.\n", cl.User().Short())
		}
		return ch.talk(ctx)
	})
}

func (c *chatCommand) sync(ctx context.Context, cl *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return cl.Sync(ctx)
}

// talk reads lines and notices until the input ends.
func (ch *chat) talk(ctx context.Context) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(ch.s.in)
		in.Buffer(nil, 64<<10)
		for in.Scan() {
			select {
			case lines <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-ch.c.Events():
			ch.notice(n)
		case line, ok := <-lines:
			if !ok {
				return ch.end(ctx)
			}
			if err := ch.line(ctx, strings.TrimSpace(line)); errors.Is(err, errQuit) {
				return ch.end(ctx)
			} else if err != nil {
				fmt.Fprintln(ch.s.errw, "mimid:", err)
			}
		}
	}
}

var errQuit = errors.New("quit")

// end lets what was typed go out.
func (ch *chat) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ch.patience)
	defer cancel()
	err := ch.c.Settle(ctx)
	ch.show()
	if err != nil {
		return fmt.Errorf("what was typed is kept and goes out the next time: %w", err)
	}
	return nil
}

func (ch *chat) notice(n client.Notice) {
	switch n := n.(type) {
	case client.MembersChanged:
		if n.Room != ch.room.URI {
			return
		}
		for _, u := range n.Added {
			fmt.Fprintf(ch.s.out.w, "         %s came\n", u.Short())
		}
		for _, u := range n.Removed {
			fmt.Fprintf(ch.s.out.w, "         %s left\n", u.Short())
		}
	case client.ConsentChanged:
		if n.State == "requested" && n.Target == ch.c.User() {
			fmt.Fprintf(ch.s.out.w, "         %s asks for your consent: /accept %s\n", n.Requester.Short(), n.Requester.Short())
		}
	case client.UserKeyChanged:
		fmt.Fprintf(ch.s.out.w, "WARNING  %s has another key than before. Ask them by another way whether they lost their devices.\n", n.User.Short())
	case client.Problem:
		fmt.Fprintln(ch.s.errw, "mimid:", n.Err)
	}
	ch.show()
}

// show prints the messages that have not been shown.
func (ch *chat) show() {
	if ch.room.URI.IsZero() {
		return
	}
	list, err := ch.c.Messages(ch.room.URI, ch.next, 1000)
	if err != nil {
		fmt.Fprintln(ch.s.errw, "mimid:", err)
		return
	}
	for _, m := range list {
		if m.Sender == ch.c.User() && m.State == client.StateQueued {
			return // shown when it is there
		}
		ch.s.out.result(messageView(m), func(w io.Writer) { printMessage(w, m) })
		ch.next = m.Index + 1
	}
}

func (ch *chat) join(ctx context.Context, name string) error {
	r, err := ch.c.FindRoom(ctx, name)
	if err != nil {
		return err
	}
	ch.room, ch.next = r, 0
	if n := r.Messages; n > 20 {
		ch.next = n - 20
	}
	ch.show()
	return nil
}

func (ch *chat) line(ctx context.Context, line string) error {
	if line == "" {
		return nil
	}
	if !strings.HasPrefix(line, "/") {
		if ch.room.URI.IsZero() {
			return errors.New("enter a room first: /join ROOM")
		}
		_, err := ch.c.Send(ctx, ch.room.URI, line)
		return err
	}
	command, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	switch command {
	case "/help":
		fmt.Fprintln(ch.s.out.w, chatHelp)
		return nil
	case "/quit":
		return errQuit
	case "/rooms":
		rooms, err := ch.c.Rooms(ctx)
		for _, r := range rooms {
			fmt.Fprintf(ch.s.out.w, "%s  %s  %s\n", viewOf(r).Name, r.State, r.URI)
		}
		return err
	case "/join":
		return ch.join(ctx, arg)
	case "/new":
		u, err := ch.c.CreateRoom(ctx, arg)
		if err != nil {
			return err
		}
		if err := ch.c.Settle(ctx); err != nil {
			return err
		}
		return ch.join(ctx, u.String())
	case "/requests":
		list, err := ch.c.Requests(ctx)
		for _, u := range list {
			fmt.Fprintln(ch.s.out.w, u.Short())
		}
		return err
	case "/contact", "/accept", "/add":
		u, err := client.ParseUser(arg)
		switch {
		case err != nil:
			return err
		case command == "/contact":
			return ch.c.RequestContact(ctx, u)
		case command == "/accept":
			return ch.c.Accept(ctx, u)
		}
		return ch.c.AddUser(ctx, ch.room.URI, u)
	case "/who":
		r, err := ch.c.FindRoom(ctx, ch.room.URI.String())
		for _, p := range viewOf(r).Participants {
			fmt.Fprintln(ch.s.out.w, p)
		}
		return err
	case "/leave":
		return ch.c.Leave(ctx, ch.room.URI)
	}
	return fmt.Errorf("there is no command %s; /help lists them", command)
}
