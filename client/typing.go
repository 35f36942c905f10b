package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/ephemeral"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
)

// That somebody is typing is told beside the log (protocol/ephemeral), and is in no storage:
// not in this device's either.

// TypingFor is how long a Typing notice stands if nothing follows: whoever goes on typing
// says so again before that.
const TypingFor = 8 * time.Second

const (
	typingEvery = TypingFor / 2   // own device says it again no sooner
	typingTime  = 5 * time.Second // that a signal may take to the provider
	typingTold  = time.Second     // applications are told of the same again no sooner
)

// typing is what is said and heard of typing in a room, in one epoch. In memory only.
type typing struct {
	epoch uint64
	seen  ephemeral.Seen
	told  map[mls.LeafIndex]toldTyping

	said   time.Time // when this device last said that it types; zero: it does not
	busy   bool      // a signal is on its way
	next   *bool     // what was asked for last while busy
	at     time.Time // of the last signal
	refuse time.Time // until when the provider wants no more
}

type toldTyping struct {
	kind ephemeral.Kind
	at   time.Time
}

// SetTyping tells the others in a room that the user is typing, or no more. Applications
// call it as often as they like, such as at each key: what is said again too soon is not
// sent. Sending a message says that typing has ended, to whoever gets it. Whether anybody
// heard it nobody knows. Where messages go over relays it is not said, since it would name who is about to send.
// Errors: ErrNoRoom, ErrNotReady, ErrRefused where the own role may not send, ErrStopped.
func (c *Client) SetTyping(ctx context.Context, u uri.Room, on bool) error {
	err := c.joined(ctx, u, func(r *roomState) error {
		if err := r.roles().Need(c.roleIn(r, c.as(r)), policy.SendMessage); err != nil {
			return fmt.Errorf("%w: %w", err, ErrRefused)
		}
		if r.overRelays() {
			return nil
		}
		return c.sayTyping(r, on)
	})
	if err != nil {
		return fmt.Errorf("typing in %s: %w", u, err)
	}
	return nil
}

// TellTyping is SetTyping for a program that ends after it: it is said even if it was said
// just now, and TellTyping returns when the provider has it. Errors also: the provider's.
func (c *Client) TellTyping(ctx context.Context, u uri.Room, on bool) error {
	done := make(chan error, 1)
	err := c.joined(ctx, u, func(r *roomState) error {
		if err := r.roles().Need(c.roleIn(r, c.as(r)), policy.SendMessage); err != nil {
			return fmt.Errorf("%w: %w", err, ErrRefused)
		}
		if r.overRelays() {
			return fmt.Errorf("your messages go to this room over relays, and that you type would tell its hub who sends: %w", ErrRefused)
		}
		kind := ephemeral.Idle
		if on {
			kind = ephemeral.Typing
		}
		return c.signal(r, kind, func(err error) { done <- err })
	})
	if err == nil {
		select {
		case err = <-done:
		case <-ctx.Done():
			err = ctx.Err()
		case <-c.stopped:
			err = ErrStopped
		}
	}
	if err != nil {
		return fmt.Errorf("typing in %s: %w", u, err)
	}
	return nil
}

func (c *Client) sayTyping(r *roomState, on bool) error {
	now, t := c.cfg.Now(), &r.typing
	kind := ephemeral.Typing
	switch {
	case t.busy:
		t.next = &on // said, if there is something to say, when the one on its way has arrived
		return nil
	case now.Before(t.refuse), on && !t.said.IsZero() && now.Sub(t.said).Abs() < typingEvery, !on && t.said.IsZero():
		return nil
	case on:
		t.said = now
	default:
		t.said, kind = time.Time{}, ephemeral.Idle
	}
	t.busy = true
	return c.signal(r, kind, func(err error) {
		next := t.next
		t.busy, t.next = false, nil
		if err == nil && next != nil && r.State == roomJoined {
			err = c.sayTyping(r, *next)
		}
		if err != nil { // it is lost, and nobody needs to know
			_, wait := transient(err)
			t.refuse = c.cfg.Now().Add(max(wait, typingEvery))
			c.log.Debug("typing was not told", "room", r.uri, "error", err)
		}
	})
}

// signal sends a signal once; then runs on the loop.
func (c *Client) signal(r *roomState, kind ephemeral.Kind, then func(error)) error {
	// Two of one millisecond would be taken for one that came twice.
	at := c.cfg.Now()
	if next := r.typing.at.Add(time.Millisecond); at.Before(next) && next.Sub(at) < typingEvery {
		at = next
	}
	r.typing.at = at
	data, err := ephemeral.Seal(r.group, ephemeral.Room(r.id), ephemeral.Signal{At: at, Kind: kind}, r.group.Signer())
	if err != nil {
		then(err)
		return nil
	}
	ctx := c.ctx
	c.workers.Go(func() {
		call, cancel := context.WithTimeout(ctx, typingTime)
		defer cancel()
		err := c.api.call(call, "POST", "/v1/rooms/"+r.id.String()+"/ephemeral", &clientapi.NewEphemeral{Data: data}, nil)
		c.enter(ctx, func() error {
			c.untouched()
			then(err)
			return nil
		})
	})
	return nil
}

// signalled takes what came beside a room's log. What is not a member's, of another epoch,
// repeated, or not to be told is dropped: anybody between could make up as much.
func (c *Client) signalled(r *roomState, data []byte) (n Typing, tell bool) {
	if r == nil || r.State != roomJoined {
		return n, false
	}
	now, t := c.cfg.Now(), &r.typing
	s, err := ephemeral.Open(r.group, ephemeral.Room(r.id), data)
	if err != nil {
		if !errors.Is(err, ephemeral.ErrEpoch) {
			c.log.Debug("signal dropped", "room", r.uri, "error", err)
		}
		return n, false
	}
	if e := r.group.Epoch(); t.epoch != e || t.told == nil {
		t.epoch, t.seen, t.told = e, ephemeral.Seen{}, map[mls.LeafIndex]toldTyping{}
	}
	who, ok := r.roster.User(s.Leaf)
	if !ok || who == c.as(r) || s.Kind > ephemeral.Typing || !t.seen.Fresh(s, now) || r.roles().Need(c.roleIn(r, who), policy.SendMessage) != nil {
		return n, false
	}
	if last := t.told[s.Leaf]; last.kind == s.Kind && now.Sub(last.at).Abs() < typingTold {
		return n, false
	}
	t.told[s.Leaf] = toldTyping{s.Kind, now}
	return Typing{Room: r.uri, User: r.shown(who), On: s.Kind == ephemeral.Typing}, true
}
