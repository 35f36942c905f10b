package room

import (
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// BodyLimits bounds what is inside an entry; its size is bounded by MaxBody.
func BodyLimits() wire.Limits {
	return wire.Limits{Limits: mls.Limits{MessageSize: MaxBody}}
}

// MaxNotice is the longest notice to another provider (MIMI protocol section 5.5). A Welcome's has
// the ratchet tree, nearly 900 octets for each client in the room.
const MaxNotice = 4 << 20

// NoticeLimits is what a notice may be.
func NoticeLimits() wire.Limits {
	return wire.Limits{Limits: mls.Limits{MessageSize: MaxNotice}}
}

// Create is the body of a room's first entry:
//
//	struct {
//	    opaque room_uri<V>;
//	    GroupInfo group_info;       /* epoch 0, without a tree */
//	    Node ratchet_tree<V>;       /* of its one member */
//	} Create;
type Create struct {
	URI       uri.Room
	GroupInfo *mls.GroupInfo
	Tree      *mls.RatchetTree
}

// Bytes encodes the body.
func (c *Create) Bytes() []byte {
	b := presentation.AppendOpaque(nil, []byte(c.URI.String()))
	return c.Tree.Append(c.GroupInfo.Append(b))
}

// ParseCreate reads the body of a create entry.
func ParseCreate(b []byte) (*Create, error) {
	c := &Create{GroupInfo: new(mls.GroupInfo), Tree: new(mls.RatchetTree)}
	lim := BodyLimits().Limits
	r := presentation.NewReader(b)
	name := r.Opaque()
	c.GroupInfo.Read(r, lim)
	c.Tree.Read(r, lim)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading create: %w", err)
	}
	var err error
	if c.URI, err = uri.ParseRoom(string(name)); err != nil {
		return nil, fmt.Errorf("reading create: %w", err)
	}
	return c, nil
}

// Handshake is the body of a handshake entry: an UpdateRequest (MIMI protocol
// section 5.3) without its Welcome, which is nobody's business but the new
// members', and with a GroupInfo but no tree, which everybody has:
//
//	struct {
//	    MLSMessage proposal_or_commit;
//	    select (content_type) {
//	        case commit:
//	            optional<Welcome> welcome = absent;
//	            GroupInfoOption group_info = full;
//	            RatchetTreeOption ratchet_tree = distributionService;
//	        case proposal:
//	            MLSMessage more_proposals<V>;
//	    };
//	} Handshake;
type Handshake struct {
	Bundle *wire.HandshakeBundle
}

// HandshakeOf returns the body for a bundle as a client submitted it.
func HandshakeOf(b *wire.HandshakeBundle) *Handshake {
	h := *b
	h.Welcome = nil
	if h.GroupInfo != nil {
		h.Tree = &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}
	}
	return &Handshake{&h}
}

// Bytes encodes the body. Errors: those of wire, for a bundle that contradicts
// itself.
func (h *Handshake) Bytes() ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	return (&wire.UpdateRequest{Bundle: *h.Bundle}).Bytes()
}

func (h *Handshake) check() error {
	b := h.Bundle
	switch {
	case b.Welcome != nil:
		return fmt.Errorf("handshake with a Welcome: %w", ErrBody)
	case b.GroupInfo != nil && b.GroupInfo.Full == nil:
		return fmt.Errorf("handshake with a partial GroupInfo: %w", ErrBody)
	case b.Tree != nil && b.Tree.Representation != wire.TreeDistributionService:
		return fmt.Errorf("handshake with a ratchet tree (%v): %w", b.Tree.Representation, ErrBody)
	}
	return nil
}

// ParseHandshake reads the body of a handshake entry.
func ParseHandshake(b []byte) (*Handshake, error) {
	u, err := wire.ParseUpdateRequest(b, BodyLimits())
	if err != nil {
		return nil, fmt.Errorf("reading handshake: %w", err)
	}
	h := &Handshake{&u.Bundle}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("reading handshake: %w", err)
	}
	return h, nil
}

// Messages returns the bundle's MLS messages in order.
func (h *Handshake) Messages() []*mls.PublicMessage {
	out := []*mls.PublicMessage{h.Bundle.Message.Public}
	for _, m := range h.Bundle.MoreProposals {
		out = append(out, m.Public)
	}
	return out
}

// Info returns the GroupInfo of a commit, nil for proposals.
func (h *Handshake) Info() *mls.GroupInfo {
	if h.Bundle.GroupInfo == nil {
		return nil
	}
	return h.Bundle.GroupInfo.Full
}

// Message is the body of a message entry, as in MIMI's FanoutMessage without
// its timestamp, which the entry has:
//
//	struct {
//	    MLSMessage message;         /* PrivateMessage, application */
//	    optional<Frank> frank;
//	} Message;
type Message struct {
	Message *mls.Message
	Frank   *wire.Frank
}

// Bytes encodes the body. Errors: those of wire, for an impossible frank.
func (m *Message) Bytes() ([]byte, error) {
	b := presentation.AppendOptional(m.Message.Bytes(), m.Frank != nil)
	if m.Frank != nil {
		f, err := m.Frank.Bytes()
		if err != nil {
			return nil, err
		}
		b = append(b, f...)
	}
	return b, nil
}

// ParseMessage reads the body of a message entry.
func ParseMessage(b []byte) (*Message, error) {
	m := &Message{Message: new(mls.Message)}
	r := presentation.NewReader(b)
	m.Message.Read(r, BodyLimits().Limits)
	if franked := r.Optional(); franked && r.Err() == nil {
		f, err := wire.ParseFrank(r.Rest(), BodyLimits())
		if err != nil {
			return nil, fmt.Errorf("reading message: %w", err)
		}
		m.Frank = f
	} else if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading message: %w", err)
	}
	if p := m.Message.Private; p == nil || p.ContentType() != mls.ContentApplication {
		return nil, fmt.Errorf("reading message: not an application PrivateMessage: %w", ErrBody)
	}
	return m, nil
}

// Tombstone is the body of a room's last entry:
//
//	struct { optional<opaque successor_uri<V>> successor; } Tombstone;
type Tombstone struct {
	Successor uri.Room // zero: none
}

// Bytes encodes the body.
func (t *Tombstone) Bytes() []byte {
	b := presentation.AppendOptional(nil, !t.Successor.IsZero())
	if !t.Successor.IsZero() {
		b = presentation.AppendOpaque(b, []byte(t.Successor.String()))
	}
	return b
}

// ParseTombstone reads the body of a tombstone entry.
func ParseTombstone(b []byte) (*Tombstone, error) {
	t := new(Tombstone)
	r := presentation.NewReader(b)
	var name []byte
	there := r.Optional()
	if there {
		name = r.Opaque()
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading tombstone: %w", err)
	}
	if there {
		var err error
		if t.Successor, err = uri.ParseRoom(string(name)); err != nil {
			return nil, fmt.Errorf("reading tombstone: %w", err)
		}
	}
	return t, nil
}
