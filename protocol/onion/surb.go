package onion

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
)

// A SURB is a reply block for one use: with it somebody can answer who does not know whom. Its
// second use has the tag of the first, and does not get beyond the first hop. It is immutable.
//
//	offset  octets
//	0       h   header, of the format's size
//	h       32  the node that gets the packet first
//	h+32    32  key of the body
type SURB struct {
	format Format
	header []byte
	first  NodeID
	key    [secretSize]byte
}

// ReplyKeys read what comes back by one SURB. Only its maker has them. They are immutable.
//
//	offset  octets
//	0       32 each: key of the body in the SURB, then of each hop, first to last
type ReplyKeys struct {
	keys []byte
}

// NewSURB makes a reply block along a path, whose last relay puts the reply into the mailbox. The
// owner finds its keys again by the mailbox, which therefore should be another for each SURB.
func (f Format) NewSURB(epoch Epoch, path []Relay, to Mailbox) (SURB, ReplyKeys, error) {
	header, hops, err := f.header(epoch, path, commands{kind: Reply, id: to})
	if err != nil {
		return SURB{}, ReplyKeys{}, err
	}
	s := SURB{format: f, header: header, first: path[0].Node}
	rand.Read(s.key[:])
	keys := append([]byte(nil), s.key[:]...)
	for _, h := range hops {
		keys = append(keys, h.body...)
	}
	return s, ReplyKeys{keys: keys}, nil
}

// ParseSURB reads what Bytes wrote. It can only check what anybody can see: whether the header is
// authentic is found out by the first hop.
func (f Format) ParseSURB(b []byte) (SURB, error) {
	if err := f.check(); err != nil {
		return SURB{}, err
	}
	h := f.HeaderSize()
	switch {
	case len(b) != f.SURBSize():
		return SURB{}, fmt.Errorf("%w: %d octets, not %d: %w", ErrSURB, len(b), f.SURBSize(), ErrSize)
	case b[0] != version || b[1] != byte(f.Suite):
		return SURB{}, fmt.Errorf("%w: version %d, suite %d: %w", ErrSURB, b[0], b[1], ErrFormat)
	}
	s := SURB{format: f, header: bytes.Clone(b[:h]), first: NodeID(b[h : h+32]), key: [secretSize]byte(b[h+32:])}
	if s.first == (NodeID{}) {
		return SURB{}, fmt.Errorf("%w: its first node is zero", ErrSURB)
	}
	return s, nil
}

// Bytes is the SURB as it is sent to who may answer.
func (s SURB) Bytes() []byte {
	return append(append(bytes.Clone(s.header), s.first[:]...), s.key[:]...)
}

// Reply makes the packet that carries the payload, and names the node that gets it.
func (s SURB) Reply(payload []byte) (NodeID, []byte, error) {
	if s.header == nil {
		return NodeID{}, nil, ErrSURB
	}
	body, err := s.format.frame(payload)
	if err != nil {
		return NodeID{}, nil, err
	}
	lioness(s.key[:], body, true)
	return s.first, append(bytes.Clone(s.header), body...), nil
}

// Format keeps the key out of logs.
func (s SURB) Format(f fmt.State, _ rune) { io.WriteString(f, "onion.SURB") }

// ParseReplyKeys reads what Bytes wrote.
func ParseReplyKeys(b []byte) (ReplyKeys, error) {
	if hops := len(b)/secretSize - 1; len(b)%secretSize != 0 || hops < 1 || hops > MaxHops {
		return ReplyKeys{}, fmt.Errorf("%w: keys of %d octets", ErrSURB, len(b))
	}
	return ReplyKeys{keys: bytes.Clone(b)}, nil
}

// Bytes is the secret keys, for storage only.
func (k ReplyKeys) Bytes() []byte { return bytes.Clone(k.keys) }

// Equal compares in constant time.
func (k ReplyKeys) Equal(o ReplyKeys) bool { return subtle.ConstantTimeCompare(k.keys, o.keys) == 1 }

// Open reads the body of a Hop whose kind is Reply. If it was changed on its way, or came by
// another SURB, it is ErrTampered. The body is not changed.
func (k ReplyKeys) Open(f Format, body []byte) ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if len(k.keys) < 2*secretSize {
		return nil, ErrSURB
	}
	if len(body) != f.Class.body() {
		return nil, fmt.Errorf("a body of %d octets, not %d: %w", len(body), f.Class.body(), ErrSize)
	}
	// Each hop has decrypted what was never encrypted with its key.
	body = bytes.Clone(body)
	for at := len(k.keys) - secretSize; at > 0; at -= secretSize {
		lioness(k.keys[at:at+secretSize], body, true)
	}
	lioness(k.keys[:secretSize], body, false)
	return unframe(body)
}

// Format keeps the keys out of logs.
func (k ReplyKeys) Format(f fmt.State, _ rune) { io.WriteString(f, "onion.ReplyKeys") }
