package onion

import (
	"encoding/binary"
	"fmt"
	"time"
)

// A Class is the size of a body. All packets of a network have the same one, since a size would
// tell messages apart.
type Class uint8

const (
	Class8K  Class = 1 // what networks use
	Class2K  Class = 2 // for experiments
	Class30K Class = 3 // for experiments
)

// body is the class's number of octets, 0 for none.
func (c Class) body() int {
	switch c {
	case Class8K:
		return 8 << 10
	case Class2K:
		return 2 << 10
	case Class30K:
		return 30 << 10
	}
	return 0
}

func (c Class) String() string {
	if c.body() == 0 {
		return fmt.Sprintf("Class(%d)", uint8(c))
	}
	return fmt.Sprintf("%d KiB", c.body()>>10)
}

// A Format is what all packets of a network look like in one epoch. Two fields, since everything
// else that could be chosen would divide the senders into groups.
type Format struct {
	Suite Suite
	Class Class
}

const (
	version = 1

	// MaxHops is how many hops a header has room for: three mixes, the exit, and one to spare.
	MaxHops = 5

	// MaxDelay bounds what a sender may ask of a hop: one epoch. A packet that waited longer could
	// find the next hop without its key.
	MaxDelay = time.Hour

	prefixSize = 3
	macSize    = 16
	slotFixed  = 1 + 4 + 32 + macSize
	bodyTag    = 32
	bodyLength = 2
	secretSize = 32
	tagSize    = 16
)

func (f Format) check() error {
	if !f.Suite.valid() || f.Class.body() == 0 {
		return fmt.Errorf("%v with %v: %w", f.Suite, f.Class, ErrFormat)
	}
	return nil
}

// PacketSize is the number of octets of every packet.
func (f Format) PacketSize() int { p := f.params(); return p.packet() }

// HeaderSize is how many octets of a packet come before its body.
func (f Format) HeaderSize() int { p := f.params(); return p.header() }

// MaxPayload is how many octets a packet can carry to its end.
func (f Format) MaxPayload() int { return f.Class.body() - bodyTag - bodyLength }

// SURBSize is the number of octets of a reply block.
func (f Format) SURBSize() int { return f.HeaderSize() + len(NodeID{}) + secretSize }

// info goes into the key schedule of HPKE: a header that was made for one format is authentic in
// no other, so that nobody can cut a body to another class's size on its way.
func (f Format) info() []byte {
	return append([]byte("mimid onion 1 hop"), byte(f.Suite), byte(f.Class))
}

func (f Format) params() params {
	share := f.Suite.share()
	return params{
		prefix: prefixSize, share: share, slot: slotFixed + share, slots: MaxHops, mac: macSize,
		body:  f.Class.body(),
		label: "mimid onion 1 keys", bodyKey: lionessKey, lastKey: tagSize,
		wide: func(k *hopKeys, body []byte, encrypt bool) { lioness(k.body, body, encrypt) },
		follow: func(slot, _ []byte, _ *hopKeys) (share, mac []byte, err error) {
			c, err := parseCommands(slot)
			if err != nil || c.kind != Forward {
				return nil, nil, err
			}
			return c.share, c.mac, nil
		},
	}
}

// A Kind is what a hop has to do with a packet.
type Kind uint8

const (
	Forward Kind = 1 // send on, after the delay
	Deliver Kind = 2 // the path ends here, and the payload can be read
	Reply   Kind = 3 // the path of a reply block ends here; its owner can read the body
)

func (k Kind) String() string {
	switch k {
	case Forward:
		return "forward"
	case Deliver:
		return "deliver"
	case Reply:
		return "reply"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// commands are the contents of a slot:
//
//	offset  octets
//	0       1   kind
//	1       4   delay in milliseconds
//	5       32  Forward: the next node; else the mailbox
//	37      16  Forward: MAC of the next header
//	53      c   Forward: share for the next hop
//
// What a kind does not use is zero.
type commands struct {
	kind  Kind
	delay time.Duration
	id    [32]byte
	mac   []byte // part of the slot
	share []byte // part of the slot
}

// write fills a slot, which is zero.
func (c commands) write(slot []byte) {
	slot[0] = byte(c.kind)
	binary.BigEndian.PutUint32(slot[1:], uint32(c.delay/time.Millisecond))
	copy(slot[5:], c.id[:])
	copy(slot[37:], c.mac)
	copy(slot[slotFixed:], c.share)
}

func parseCommands(slot []byte) (commands, error) {
	if len(slot) <= slotFixed {
		return commands{}, fmt.Errorf("%w: %d octets", ErrCommands, len(slot))
	}
	c := commands{
		kind:  Kind(slot[0]),
		delay: time.Duration(binary.BigEndian.Uint32(slot[1:])) * time.Millisecond,
		id:    [32]byte(slot[5:37]),
		mac:   slot[37:slotFixed],
		share: slot[slotFixed:],
	}
	switch {
	case c.kind != Forward && c.kind != Deliver && c.kind != Reply:
		return commands{}, fmt.Errorf("%w: %v", ErrCommands, c.kind)
	case c.delay > MaxDelay:
		return commands{}, fmt.Errorf("%w: a delay of %v, above %v", ErrCommands, c.delay, MaxDelay)
	case c.kind == Forward:
		return c, nil
	case c.delay != 0:
		return commands{}, fmt.Errorf("%w: a delay at the last hop", ErrCommands)
	}
	for _, b := range slot[37:] {
		if b != 0 {
			return commands{}, fmt.Errorf("%w: octets of a next hop at the last", ErrCommands)
		}
	}
	c.mac, c.share = nil, nil
	return c, nil
}
