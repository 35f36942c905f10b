package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mimid/mimid/client"
)

type clientSend struct {
	Room    string   `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Text    []string `arg:"" help:"What to say."`
	words   `embed:""`
	lasting `embed:""`
	sending `embed:""`
}

// words are how something is written.
type words struct {
	Markdown bool   `help:"The text is Markdown. Words such as @bob@biloxi.example mention people."`
	Plain    string `help:"With --markdown: what to show instead where there is only plain text." placeholder:"TEXT"`
}

func (f *words) of(text string) (client.Words, error) {
	if f.Plain != "" && !f.Markdown {
		return client.Words{}, usageError("--plain goes with --markdown: it is the same in plain text")
	}
	return client.Words{Text: text, Markdown: f.Markdown, Plain: f.Plain}, nil
}

// lasting is for how long something is there.
type lasting struct {
	Expires      time.Duration `help:"For how long it is there, such as 1h: then it is gone from everybody's device. At most a year." placeholder:"TIME"`
	AfterReading bool          `help:"With --expires: each device counts from when it was read there."`
}

// check says whether it makes sense, before anything is done.
func (f *lasting) check() error {
	switch {
	case f.Expires < 0 || f.Expires != 0 && f.Expires < time.Second:
		return usageError("--expires is a while of a second or more, such as 1h")
	case f.AfterReading && f.Expires == 0:
		return usageError("--after-reading says from when --expires counts: give both")
	}
	return nil
}

// of has a message end.
func (f *lasting) of(m *client.Content, now time.Time) (*client.Content, error) {
	err := f.check()
	switch {
	case err != nil:
	case f.AfterReading:
		err = client.EndingAfterReading(m, f.Expires)
	case f.Expires > 0:
		err = client.EndingAt(m, now.Add(f.Expires))
	}
	return m, err
}

// sending is what the commands have that send something.
type sending struct {
	NoWait bool `help:"Do not wait until the hub has it: it goes out the next time that this device runs."`
	device `embed:""`
}

func (c *clientSend) Help() string {
	return "The message is kept first. Without a connection it goes out the next time that this device runs,\nsuch as with `mimid client sync`: do not send it again.\n\nExample:\n  mimid client send clubhouse hello everybody\n  mimid client send clubhouse --expires 1h the key is under the mat\n  mimid client send clubhouse --markdown '**ask** @bob@biloxi.example' --plain 'ask Bob'"
}

// messageText refuses what could not be read by anybody.
func messageText(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return usageError("the message is empty: say something")
	case !utf8.ValidString(s):
		return usageError("the message is no text: it is not UTF-8")
	case len(s) > maxText:
		return usageError(fmt.Sprintf("the message has %d bytes, and at most %d are taken: shorten it or send it in parts", len(s), maxText))
	}
	return nil
}

// maxText is below what rooms take, so that a text is refused before it is kept.
const maxText = 256 << 10

func (c *clientSend) Run(s *session) error {
	text := strings.Join(c.Text, " ")
	w, err := c.words.of(text)
	if err = errors.Join(messageText(text), err, c.lasting.check()); err != nil {
		return err
	}
	return c.to(s, c.Room, func(*client.Client, client.Room) (*client.Content, error) {
		return c.lasting.of(w.Say(), time.Now())
	})
}

// to sends to a room what compose makes of what is here.
func (f *sending) to(s *session, room string, compose func(*client.Client, client.Room) (*client.Content, error)) error {
	return f.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, room)
		if errors.Is(err, client.ErrName) && !f.NoWait {
			// Perhaps somebody added us just now.
			if err = cl.Sync(ctx); err == nil {
				r, err = cl.FindRoom(ctx, room)
			}
		}
		if err != nil {
			return err
		}
		ctx, cancel := f.mayTakeRelays(ctx, s, cl, r)
		defer cancel()
		return f.say(ctx, s, cl, r, func() (*client.Content, error) { return compose(cl, r) })
	})
}

// say sends what compose makes of what is here, and says how far that came.
func (f *sending) say(ctx context.Context, s *session, cl *client.Client, r client.Room, compose func() (*client.Content, error)) error {
	send := func() (uint64, error) {
		m, err := compose()
		if err != nil {
			return 0, err
		}
		return cl.SendContent(ctx, r.URI, m)
	}
	// Kept before anything is asked of the network.
	index, err := send()
	if (errors.Is(err, client.ErrRefused) || errors.Is(err, client.ErrNoMessage)) && !f.NoWait {
		// Perhaps there is news: another role for us, or the message that is meant.
		if late := cl.Sync(ctx); late != nil {
			return errors.Join(err, late)
		}
		index, err = send()
	}
	if err != nil {
		return err
	}
	m, late := client.Message{State: client.StateQueued}, error(nil)
	if !f.NoWait {
		m, late = awaitSent(ctx, cl, r, index)
	}
	if late != nil && m.State == client.StateQueued {
		late = fmt.Errorf("the message is kept here and goes out the next time that this device runs, do not send it again: %w", late)
	} else {
		late = nil
	}
	err = s.out.result(messageView(m), func(w io.Writer) { fmt.Fprintln(w, m.State) })
	switch {
	case err != nil || late != nil:
		return errors.Join(err, late)
	case m.State == client.StateFailed:
		return exitCode(4)
	}
	return nil
}

// awaitSent waits until the hub has answered about a message. It gives up before
// ctx ends if the own provider cannot be reached.
func awaitSent(ctx context.Context, cl *client.Client, room client.Room, index uint64) (m client.Message, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() {
		if err := cl.Sync(ctx); client.Unreachable(err) {
			cancel(err)
		}
	})
	list, err := cl.Messages(room.URI, index, 1)
	if err != nil {
		return m, err
	}
	if len(list) > 0 {
		m = list[0]
	}
	id := m.ID // its index is another one if a direct room takes the place of another
	for {
		x, err := cl.MessageByID(room.URI, id)
		switch {
		case err == nil:
			m = x
		case !errors.Is(err, client.ErrNoMessage):
			return m, err
		}
		if m.State != client.StateQueued || errors.Is(err, client.ErrNoMessage) {
			return m, nil
		}
		if room.Privacy.Level == client.PrivacyOnion {
			if why, err := cl.Held(ctx, room.URI); err == nil && why != "" {
				return m, errors.New(why)
			}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return m, context.Cause(ctx)
		}
	}
}

// receiptsTime is how long a command waits at its end for its receipts to go out.
const receiptsTime = 3 * time.Second

type clientRead struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	From   uint64 `help:"Number of the first message."`
	Follow bool   `help:"Go on until interrupted." short:"f"`
	Peek   bool   `help:"Do not count as read what is shown."`
	device `embed:""`
}

func (c *clientRead) Help() string {
	return "Messages are shown as they are now, with their reactions; with --follow, each edit and reaction as it comes.\nWithout a connection it shows what is here, and says so.\nUnder your own messages it says whom they have come to and who has read them, as far as these tell: see `mimid client receipts`.\n\nExample:\n  mimid client read clubhouse\n  mimid client read clubhouse --follow"
}

func (c *clientRead) Run(s *session) error {
	body := func(ctx context.Context, cl *client.Client, fresh bool) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		if !c.Follow {
			if err := c.show(s, cl, r); err != nil || c.Peek {
				return err
			}
			if err := cl.MarkRead(ctx, r.URI, r.Messages); err != nil || !fresh {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, receiptsTime)
			defer cancel()
			cl.SettleReceipts(ctx) // what does not go out now goes out the next time
			return nil
		}
		from := c.From
		for {
			list, err := cl.Messages(r.URI, from, 1000)
			if err != nil {
				return err
			}
			for _, m := range list {
				if err := s.out.result(messageView(m), func(w io.Writer) { printMessage(w, m) }); err != nil {
					return err
				}
				from = m.Index + 1
			}
			if len(list) > 0 {
				if !c.Peek {
					if err := cl.MarkRead(ctx, r.URI, from-1); err != nil {
						return err
					}
				}
				continue
			}
			select {
			case <-cl.Events():
			case <-ctx.Done():
				return nil
			}
		}
	}
	if c.Follow {
		return c.run(s, s.ctx, func(ctx context.Context, cl *client.Client) error { return body(ctx, cl, false) })
	}
	return c.withNews(s, offline, body)
}
