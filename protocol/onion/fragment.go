package onion

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// MaxParts is how many packets one message can be cut into. What is longer goes as an asset, which
// a message names.
const MaxParts = 16

const (
	typeFragment = 1
	typeAck      = 2

	fragmentFixed = 1 + 16 + 1 + 1 + 2
	ackSize       = 1 + 16 + 1 + 1
)

// A MessageID is random, and the sender's; who repeats a part uses it again, so that the end can
// tell a repetition from another message. It says nothing about who sent it.
type MessageID [16]byte

// A Fragment is one part of a message, as the payload of one packet.
//
//	offset  octets
//	0       1    type, 1
//	1       16   message
//	17      1    index of this part, from 0
//	18      1    number of parts, 1 to 16
//	19      2    s, the size of a reply block: the format's, or 0
//	21      s    reply block for the acknowledgement
//	21+s    -    data, to the end; not empty unless the message is
type Fragment struct {
	Message MessageID
	Index   uint8
	Count   uint8
	Reply   *SURB // to acknowledge with, if the sender wants it
	Data    []byte
}

// room is how much data fits into one packet, negative if not even the rest does.
func (f Format) room(acknowledged bool) int {
	n := f.MaxPayload() - fragmentFixed
	if acknowledged {
		n -= f.SURBSize()
	}
	return n
}

// MaxMessage is the longest message that can be sent in parts; 0 if a packet has no room for data,
// as in packets of 2 KiB with reply blocks of X-Wing.
func (f Format) MaxMessage(acknowledged bool) int { return MaxParts * max(0, f.room(acknowledged)) }

// Split cuts a message into as few parts as possible. Each of them leaves room for a reply block
// if they are to be acknowledged; the caller puts it in. Data is shared with the message.
func (f Format) Split(id MessageID, message []byte, acknowledged bool) ([]Fragment, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	room := f.room(acknowledged)
	if room <= 0 || len(message) > MaxParts*room {
		return nil, fmt.Errorf("a message of %d octets, above %d: %w", len(message), f.MaxMessage(acknowledged), ErrSize)
	}
	n := max(1, (len(message)+room-1)/room)
	parts := make([]Fragment, n)
	for i := range parts {
		parts[i] = Fragment{Message: id, Index: uint8(i), Count: uint8(n), Data: message[i*room : min(len(message), (i+1)*room)]}
	}
	return parts, nil
}

func (p Fragment) check() error {
	switch {
	case p.Count < 1 || p.Count > MaxParts || p.Index >= p.Count:
		return fmt.Errorf("%w: part %d of %d, where %d are possible", ErrFragment, p.Index, p.Count, MaxParts)
	case len(p.Data) == 0 && p.Count > 1:
		return fmt.Errorf("%w: part %d of %d is empty", ErrFragment, p.Index, p.Count)
	}
	return nil
}

// AppendFragment writes a part after b, as the payload of a packet of the format.
func (f Format) AppendFragment(b []byte, p Fragment) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	var surb []byte
	if p.Reply != nil {
		if p.Reply.format != f {
			return nil, fmt.Errorf("%w: its reply block is for packets of %v", ErrFragment, p.Reply.format)
		}
		surb = p.Reply.Bytes()
	}
	if len(p.Data) > f.room(surb != nil) {
		return nil, fmt.Errorf("a part with %d octets, above %d: %w", len(p.Data), f.room(surb != nil), ErrSize)
	}
	b = append(b, typeFragment)
	b = append(b, p.Message[:]...)
	b = append(b, p.Index, p.Count)
	b = binary.BigEndian.AppendUint16(b, uint16(len(surb)))
	b = append(b, surb...)
	return append(b, p.Data...), nil
}

// ParseFragment reads what AppendFragment wrote. Data is shared with b.
func (f Format) ParseFragment(b []byte) (Fragment, error) {
	if err := f.check(); err != nil {
		return Fragment{}, err
	}
	if len(b) < fragmentFixed || len(b) > f.MaxPayload() || b[0] != typeFragment {
		return Fragment{}, fmt.Errorf("%w: %d octets", ErrFragment, len(b))
	}
	p := Fragment{Message: MessageID(b[1:17]), Index: b[17], Count: b[18]}
	n, rest := int(binary.BigEndian.Uint16(b[19:])), b[fragmentFixed:]
	if n != 0 {
		if n != f.SURBSize() || n > len(rest) {
			return Fragment{}, fmt.Errorf("%w: a reply block of %d octets", ErrFragment, n)
		}
		s, err := f.ParseSURB(rest[:n])
		if err != nil {
			return Fragment{}, fmt.Errorf("%w: %w", ErrFragment, err)
		}
		p.Reply, rest = &s, rest[n:]
	}
	p.Data = rest
	if err := p.check(); err != nil {
		return Fragment{}, err
	}
	return p, nil
}

// A Status is what the far end says about a part.
type Status uint8

const (
	Held     Status = 1 // the part is there, in memory: if the rest does not come, or the node stops, it is gone
	Complete Status = 2 // the whole message is stored, durably
	Refused  Status = 3 // the mailbox does not take it; trying again is of no use
)

// An Ack is the payload of a reply to a part. Only what it says has happened: a part that is not
// acknowledged may have arrived or not, and is sent again with the same message and index, in
// another packet and on another path.
//
//	offset  octets
//	0       1    type, 2
//	1       16   message
//	17      1    index of the part
//	18      1    status
type Ack struct {
	Message MessageID
	Index   uint8
	Status  Status
}

// Bytes is the acknowledgement as a payload.
func (a Ack) Bytes() []byte {
	b := append([]byte{typeAck}, a.Message[:]...)
	return append(b, a.Index, byte(a.Status))
}

// ParseAck reads what Bytes wrote.
func ParseAck(b []byte) (Ack, error) {
	if len(b) != ackSize || b[0] != typeAck {
		return Ack{}, fmt.Errorf("%w: %d octets", ErrAck, len(b))
	}
	a := Ack{Message: MessageID(b[1:17]), Index: b[17], Status: Status(b[18])}
	if a.Index >= MaxParts || a.Status < Held || a.Status > Refused {
		return Ack{}, fmt.Errorf("%w: part %d, status %d", ErrAck, a.Index, a.Status)
	}
	return a, nil
}

// equal tells whether two parts say the same; the reply block may differ.
func (p Fragment) equal(o Fragment) bool {
	return p.Message == o.Message && p.Index == o.Index && p.Count == o.Count && bytes.Equal(p.Data, o.Data)
}
