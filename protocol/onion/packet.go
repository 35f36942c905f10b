package onion

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"
)

// A NodeID names a relay: the hash of its provider's key, or whatever the network's snapshot says.
type NodeID [32]byte

// A Mailbox is what the last node of a path has to put a packet into. It means something to that
// node and the sender only.
type Mailbox [32]byte

// A Tag is the same for two packets if they have the same header, and says nothing else. It is
// derived from the shared secret, not from octets of the packet, so that nobody but the hop and
// the sender knows it, and no other writing of the same header has another one.
type Tag [tagSize]byte

// A Relay is one hop of a path, as its sender chose it. Delay is how long the hop has to keep the
// packet before it sends it on: whole milliseconds, none at the last.
type Relay struct {
	Node  NodeID
	Key   PublicKey
	Delay time.Duration
}

// A Hop is a packet after one hop has taken its layer off.
type Hop struct {
	Epoch Epoch // whose key has opened it, and whose set its tag belongs to
	Tag   Tag   // to be stored, durably, before anything else is done
	Kind  Kind

	// To be sent on: after Delay, Packet goes to Next.
	Next   NodeID
	Delay  time.Duration
	Packet []byte

	// At the end of a path: for whom. Body is the payload if it is Deliver; if it is Reply it is
	// unreadable to all but the owner of the reply block, who has ReplyKeys.
	Mailbox Mailbox
	Body    []byte
}

// Build makes the packet that the first of a path's relays gets. All keys are of the epoch, and
// the last relay puts the payload into the mailbox. Randomness is crypto/rand's.
func (f Format) Build(epoch Epoch, path []Relay, to Mailbox, payload []byte) ([]byte, error) {
	body, err := f.frame(payload)
	if err != nil {
		return nil, err
	}
	header, keys, err := f.header(epoch, path, commands{kind: Deliver, id: to})
	if err != nil {
		return nil, err
	}
	for i := len(keys) - 1; i >= 0; i-- {
		lioness(keys[i].body, body, true)
	}
	return append(header, body...), nil
}

// header makes a header with room for a body behind it, and returns each hop's keys.
func (f Format) header(epoch Epoch, path []Relay, end commands) ([]byte, []hopKeys, error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	if len(path) == 0 || len(path) > MaxHops {
		return nil, nil, fmt.Errorf("%w: %d hops, where 1 to %d are possible", ErrPath, len(path), MaxHops)
	}
	p, info := f.params(), f.info()
	hops, keys := make([]sealHop, len(path)), make([]hopKeys, len(path))
	for i, r := range path {
		last := i == len(path)-1
		switch {
		case r.Key.suite != f.Suite:
			return nil, nil, fmt.Errorf("%w: hop %d has a key of %v, not %v", ErrPath, i, r.Key.suite, f.Suite)
		case r.Delay < 0 || r.Delay > MaxDelay || r.Delay%time.Millisecond != 0:
			return nil, nil, fmt.Errorf("%w: hop %d has a delay of %v; whole milliseconds up to %v are possible", ErrPath, i, r.Delay, MaxDelay)
		case last && r.Delay != 0:
			return nil, nil, fmt.Errorf("%w: the last hop has a delay of %v, and sends nothing on", ErrPath, r.Delay)
		}
		share, secret, err := encapsulate(r.Key, info)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: hop %d: %v", ErrPath, i, err)
		}
		keys[i] = p.keys(secret)
		hops[i] = sealHop{share: share, keys: keys[i], commands: func(slot, share, mac []byte) {
			if last {
				end.write(slot)
				return
			}
			commands{kind: Forward, delay: r.Delay, id: path[i+1].Node, mac: mac, share: share}.write(slot)
		}}
	}
	prefix := []byte{version, byte(f.Suite), epoch.keyID()}
	return p.seal(prefix, hops), keys, nil
}

// Unwrap takes the layer off that was made for the holder of the keys. It does not change the
// packet, and what it returns shares no memory with it.
//
// It computes nothing for a packet of the wrong size, format or epoch; one decapsulation and one
// MAC for one that is not authentic. The caller checks the tag before it acts on the result, and
// limits each peer's packets before it calls.
func (f Format) Unwrap(keys *Keyring, packet []byte) (Hop, error) {
	if err := f.check(); err != nil {
		return Hop{}, err
	}
	p := f.params()
	if len(packet) != p.packet() {
		return Hop{}, fmt.Errorf("a packet of %d octets, not %d: %w", len(packet), p.packet(), ErrSize)
	}
	if packet[0] != version || packet[1] != byte(f.Suite) {
		return Hop{}, fmt.Errorf("version %d, suite %d: %w", packet[0], packet[1], ErrFormat)
	}
	epoch, key, ok := keys.find(packet[2])
	if !ok || key.suite != f.Suite {
		return Hop{}, fmt.Errorf("key %d: %w", packet[2], ErrUnknownKey)
	}
	secret, err := decapsulate(key, packet[p.prefix:p.prefix+p.share], f.info())
	if err != nil {
		return Hop{}, fmt.Errorf("%w: its share is no share", ErrBadMAC)
	}
	k := p.keys(secret)
	slot, next, body, err := p.unwrap(packet, &k)
	if err != nil {
		return Hop{}, err
	}
	c, err := parseCommands(slot)
	if err != nil {
		return Hop{}, err // p.unwrap has read the same
	}
	hop := Hop{Epoch: epoch, Tag: Tag(k.last), Kind: c.kind}
	switch c.kind {
	case Forward:
		hop.Next, hop.Delay, hop.Packet = c.id, c.delay, next
	case Deliver:
		hop.Mailbox = c.id
		if hop.Body, err = unframe(body); err != nil {
			return Hop{}, err
		}
	case Reply:
		hop.Mailbox, hop.Body = c.id, body
	}
	return hop, nil
}

// frame makes the plain body:
//
//	offset  octets
//	0       32  zero, by which the end of the path knows that nothing was changed
//	32      2   length
//	34      -   payload, then zeros
func (f Format) frame(payload []byte) ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if len(payload) > f.MaxPayload() {
		return nil, fmt.Errorf("a payload of %d octets, above %d: %w", len(payload), f.MaxPayload(), ErrSize)
	}
	body := make([]byte, f.Class.body())
	binary.BigEndian.PutUint16(body[bodyTag:], uint16(len(payload)))
	copy(body[bodyTag+bodyLength:], payload)
	return body, nil
}

// unframe checks a decrypted body and returns the part of it that is the payload.
func unframe(body []byte) ([]byte, error) {
	var zero [bodyTag]byte
	if subtle.ConstantTimeCompare(body[:bodyTag], zero[:]) != 1 {
		return nil, ErrTampered
	}
	n, rest := int(binary.BigEndian.Uint16(body[bodyTag:])), body[bodyTag+bodyLength:]
	if n > len(rest) {
		return nil, fmt.Errorf("%w: %d octets in a body with room for %d", ErrPayload, n, len(rest))
	}
	var or byte
	for _, b := range rest[n:] {
		or |= b
	}
	if or != 0 {
		return nil, fmt.Errorf("%w: its padding is not zero", ErrPayload)
	}
	return rest[:n:n], nil
}
