package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// How messages of a room come to its hub (package room, hidden.go). It is this device's own choice, of which
// nobody in the room is told.

// PrivacyPseudonymous is what the hub of a pseudonymous room learns where nothing else was chosen: the pseudonym.
const PrivacyPseudonymous = "pseudonymous"

// RoomPrivacy is what the hub of a room learns of this device's messages: PrivacyOpen, the user; or
// PrivacyPseudonymous, its pseudonym; or PrivacyOnion, that somebody in the room has sent them, over relays.
// It is about messages, reports of what was read, and what members tell each other of names. Changes of the room
// name their author in any case.
type RoomPrivacy struct {
	Level string `json:"privacy"`
	// WarnBelow and RefuseBelow are floors, as in Privacy, of how many providers a message has to hide among
	// (RoomPrivacyReport). They are 0 but with PrivacyOnion.
	WarnBelow   float64 `json:"warn_below"`
	RefuseBelow float64 `json:"refuse_below"`
}

// RoomPrivacyReport says what it is worth now to send to a room over relays, and what it costs: a message and the
// hub's answer take as long as another request and its answer. AnonymitySet is no more than Providers.
type RoomPrivacyReport struct {
	PrivacyReport
	// Hub orders the room.
	Hub string `json:"hub"`
	// Senders are who could have sent a message that comes over relays, as the hub sees it: participants with
	// devices, at SenderProviders other providers than the hub.
	Senders         int `json:"senders"`
	SenderProviders int `json:"sender_providers"`
}

// DefaultOnion is PrivacyOnion with the floors that hold where nothing else was chosen.
func DefaultOnion() RoomPrivacy { return RoomPrivacy{Level: PrivacyOnion, WarnBelow: warnBelow} }

// overRelays says whether messages go to the hub over relays, or not at all.
func (r *roomState) overRelays() bool { return r.Privacy != nil && r.Privacy.Over == PrivacyOnion }

func (r *roomState) privacy() RoomPrivacy {
	switch {
	case r.overRelays():
		return RoomPrivacy{Level: PrivacyOnion, WarnBelow: r.Privacy.WarnBelow, RefuseBelow: r.Privacy.RefuseBelow}
	case r.mask != nil:
		return RoomPrivacy{Level: PrivacyPseudonymous}
	}
	return RoomPrivacy{Level: PrivacyOpen}
}

// check refuses what is no level, or has no such floors.
func (p RoomPrivacy) check() error {
	switch {
	case p.Level != PrivacyOpen && p.Level != PrivacyPseudonymous && p.Level != PrivacyOnion:
		return fmt.Errorf("%.40q, where open, pseudonymous and onion are possible: %w", p.Level, ErrPrivacy)
	case p.Level != PrivacyOnion && (p.WarnBelow != 0 || p.RefuseBelow != 0):
		return fmt.Errorf("floors of %v and %v providers with %s, where they go with onion: %w", p.WarnBelow, p.RefuseBelow, p.Level, ErrPrivacy)
	}
	return Privacy{WarnBelow: p.WarnBelow, RefuseBelow: p.RefuseBelow}.checkFloors()
}

// SetRoomPrivacy says how this device's messages come to a room's hub from now on: PrivacyOnion, over relays or not
// at all; PrivacyOpen or PrivacyPseudonymous, as the room is. What has not been accepted goes the new way, too.
// Errors: ErrPrivacy, ErrNoRoom, ErrRefused for what the room is not, ErrStorage.
func (c *Client) SetRoomPrivacy(ctx context.Context, u uri.Room, p RoomPrivacy) error {
	err := p.check()
	if err == nil {
		err = c.do(ctx, func() (error, error) {
			r := c.roomOf(u)
			if r == nil || r.gone() {
				return ErrNoRoom, nil
			}
			switch {
			case p.Level != PrivacyOpen && r.mask == nil:
				return fmt.Errorf("%s is an open room: its hub is told by name who sends, so that relays would hide nothing; make a pseudonymous one: %w", u, ErrRefused), nil
			case p.Level == PrivacyOpen && r.mask != nil:
				return fmt.Errorf("%s is a pseudonymous room: its hub is told a pseudonym at most; choose pseudonymous or onion: %w", u, ErrRefused), nil
			}
			c.within(r.id)
			b := new(batch)
			if r.Privacy = nil; p.Level == PrivacyOnion {
				r.Privacy = &Privacy{Over: PrivacyOnion, WarnBelow: p.WarnBelow, RefuseBelow: p.RefuseBelow}
			}
			r.held, r.sending.fails, r.sending.at = "", 0, time.Time{}
			r.save(b)
			return nil, c.commit(b)
		})
	}
	if err != nil {
		return fmt.Errorf("setting the privacy of a room: %w", err)
	}
	return nil
}

// senders counts who could have sent a hidden message, and at how many providers: the hub's own users cannot.
func (r *roomState) senders() (users, providers int) {
	at := map[string]bool{}
	list, err := room.ParticipantsOf(r.group.Public().Context())
	if err != nil {
		return 0, 0
	}
	for _, p := range list {
		who, err := uri.ParseParticipant(string(p.User))
		if err != nil || r.roster.Clients(who) == 0 || who.Provider().Domain() == r.Lead.Hub.Domain {
			continue
		}
		users++
		at[who.Provider().Domain()] = true
	}
	return users, len(at)
}

// RoomPrivacyReport is what it is worth now to send to a room over relays, by what the own provider says of the
// relays, and this device knows of the room. Errors: ErrNoRoom, ErrNotReady, the provider's.
func (c *Client) RoomPrivacyReport(ctx context.Context, u uri.Room) (*RoomPrivacyReport, error) {
	out, own := new(RoomPrivacyReport), ""
	err := c.joined(ctx, u, func(r *roomState) error {
		out.Hub, own = r.Lead.Hub.Domain, c.user.Provider().Domain()
		out.Senders, out.SenderProviders = r.senders()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("asking what it is worth to send to %s over relays: %w", u, err)
	}
	p, err := c.privacyTo(ctx, out.Hub)
	if err != nil {
		return nil, err
	}
	out.PrivacyReport = *p
	switch {
	case out.Hub == own:
		out.Onion, out.Why, out.AnonymitySet = false, "your own provider orders the room, and it knows who you are", 0
	case p.Onion:
		out.AnonymitySet = min(p.AnonymitySet, float64(out.SenderProviders))
	}
	return out, nil
}

// hide makes a submission one that goes over relays. Error: why it does not go.
func (c *Client) hide(r *roomState, o *outItem, req *clientapi.SubmitMessage) error {
	if _, n := r.senders(); float64(n) < r.Privacy.RefuseBelow {
		return fmt.Errorf("a message would hide among %d providers at most, which have somebody in the room, and you ask for %g at least; nothing was sent", n, r.Privacy.RefuseBelow)
	}
	req.Privacy = &clientapi.Privacy{Over: PrivacyOnion, Floor: r.Privacy.RefuseBelow}
	req.Proof = make([]byte, room.SizeProof)
	if r.group.Epoch() != o.Epoch {
		return nil // the hub knows it from before, or it is too old: either needs no proof
	}
	h, err := room.Hide(r.group, &r.Lead.Hub, room.TxnNonce(o.Nonce), o.Request)
	if err != nil {
		return err
	}
	req.Proof = h.Proof[:]
	return nil
}

// withheld notes that a message is not sent, since it would have to go another way. It is told once, and tried again.
func (c *Client) withheld(r *roomState, o *outItem, why error) error {
	r.sending.failed(c.cfg.Now(), c.cfg.Retry, 10*c.cfg.Retry)
	if p, ok := errors.AsType[*clientapi.Problem](why); ok {
		why = errors.New(p.Detail)
	}
	if c.outbox[o.n] != o || r.held == why.Error() {
		return nil
	}
	r.held = why.Error()
	if o.Report {
		return nil // nobody waits for it
	}
	b := new(batch)
	b.tell(SendState{Room: r.uri, Index: o.Index, State: StateQueued, Err: why})
	return c.commit(b)
}

// Held says why a room's messages do not go over relays now, and so not at all; empty: they do, as far as is known.
func (c *Client) Held(ctx context.Context, u uri.Room) (why string, err error) {
	err = c.joined(ctx, u, func(r *roomState) error { why = r.held; return nil })
	return why, err
}

// believes says whether an answer that accepts a hidden message is the hub's: it has signed, in the frank, that it
// took this one, from somebody in the room. Other answers nobody signs; who makes them up delays a message.
func (r *roomState) believes(o *outItem, a *wire.SubmitMessageResponse) error {
	if !o.Hidden || a == nil || a.Code != wire.SubmitAccepted {
		return nil
	}
	err := room.ErrFrank
	if a.Frank != nil {
		name := r.uri.String()
		err = room.VerifyFrank(&r.Lead.Hub, a.Frank, &room.Plain{Sender: name, Room: name}, a.AcceptedAt, room.TxnNonce(o.Nonce))
	}
	if err != nil {
		return fmt.Errorf("an answer that %s has not signed says that a message to %s is accepted: %w: %w", r.Lead.Hub.Domain, r.uri, ErrProtocol, err)
	}
	return nil
}
