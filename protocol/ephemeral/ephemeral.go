// Package ephemeral is what members of a room's group tell each other beside its log, and
// what nobody keeps: that somebody is typing. A signal goes from device to provider to the
// room's other providers to their devices, may be lost, come twice or late, and is never
// written anywhere.
//
//	b, err := ephemeral.Seal(group, room, ephemeral.Signal{Kind: ephemeral.Typing, At: now}, key)
//
//	s, err := ephemeral.Open(group, room, b)       // at each receiver
//	if err == nil && seen.Fresh(s, now) { ... }
//
// # Why this is no MLS application message
//
// A PrivateMessage uses up a key of its sender's ratchet. So the sender would have to
// write its ratchet to disk before each, lest a crash uses a key twice; a receiver would
// write its own after each, and would keep the keys of those that were lost, which here
// are many, until their epoch ends: what is to leave no trace would leave one. An
// AppEphemeral proposal needs a commit, or the hub's memory until one. Here all members
// share one key for an epoch, which both have without a trace: MLS's exporter gives it
// (RFC 9420 section 8.5). What a ratchet would give besides is not missed: that somebody
// was typing an hour ago is no secret worth deleting a key for, and when the epoch ends the
// key is gone all the same. As all have the key, a signature by the sender's leaf says who
// it was.
//
// # On the wire
//
//	struct {
//	    uint8 version = 1;
//	    uint64 epoch;
//	    opaque nonce[12];          /* random; see Limit */
//	    opaque sealed[];           /* AES-128-GCM, AAD: "mimid ephemeral 1" | room[32] | version | epoch */
//	} Sealed;
//
//	struct {
//	    uint32 leaf;
//	    uint64 at;                 /* Unix milliseconds of the sender's clock */
//	    uint8 kind;                /* 0 not typing any more, 1 typing */
//	    opaque signature<V>;       /* SignWithLabel(., "MimidEphemeralTBS", room[32] | epoch | leaf | at | kind) */
//	    opaque zero[];             /* up to a multiple of 64 octets, all zero */
//	} Plain;
//
// The key is Exporter("mimid ephemeral 1", room[32], 16). A signal is at most MaxSize long.
//
// # What always holds
//
//   - Open returns a Signal only if a member of this very epoch has signed it for this room.
//   - It reads no clock and keeps nothing; Seen, which one goroutine owns, keeps a time for
//     each member that was heard in this epoch.
//   - A signal that a provider repeats is not fresh: times of a member only rise, and none
//     is further from the receiver's clock than Window. Who forgets Seen, as by a restart,
//     may take a repetition for new as long as its time is within Window.
//   - Random nonces: 2^32 signals of an epoch under one key leave a chance of 2^-32 that two
//     of them had the same. Rates make that a matter of decades.
package ephemeral

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// MaxSize is how long a sealed signal is at most, in octets. Providers pass on no longer
// ones.
const MaxSize = 1 << 10

// Window is how far a signal's time may be from the receiver's clock.
const Window = 2 * time.Minute

const (
	version   = 1
	label     = "mimid ephemeral 1"
	signLabel = "MimidEphemeralTBS"
	nonceSize = 12
	headSize  = 1 + 8 + nonceSize
	padTo     = 64
)

// Errors.
var (
	// ErrMalformed: not a signal, or a longer one than is allowed.
	ErrMalformed = errors.New("ephemeral: malformed")
	// ErrEpoch: sealed in another epoch than the group's. It is lost.
	ErrEpoch = errors.New("ephemeral: of another epoch")
	// ErrForged: not by a member of the group in this epoch and room.
	ErrForged = errors.New("ephemeral: not by a member")
)

// Kind is what a signal says. Values without a name are for versions to come, and ignored.
type Kind uint8

// Kinds.
const (
	Idle   Kind = 0 // not typing any more
	Typing Kind = 1
)

// Signal is one, by a member: as it is sealed, or as Open has proved it.
type Signal struct {
	Leaf mls.LeafIndex // of the sender
	At   time.Time     // by the sender's clock, in milliseconds
	Kind Kind
}

// Room is a room's id, which binds a signal to it.
type Room [32]byte

// Seal makes a signal of the group's own member, whatever its Leaf says: sign is the key of
// its leaf. Errors are those of the group and the key.
func Seal(g *mls.Group, room Room, s Signal, sign mls.SignatureKey) ([]byte, error) {
	s.Leaf = g.OwnLeaf()
	return seal(g, room, s, sign)
}

func seal(g *mls.Group, room Room, s Signal, sign mls.SignatureKey) ([]byte, error) {
	tbs := signed(room, g.Epoch(), s)
	signature, err := sign.Sign(signLabel, tbs)
	if err != nil {
		return nil, fmt.Errorf("signing a signal: %w", err)
	}
	plain := presentation.AppendOpaque(bytes.Clone(tbs[len(room)+8:]), signature)
	if rest := len(plain) % padTo; rest > 0 {
		plain = append(plain, make([]byte, padTo-rest)...)
	}
	aead, err := keyed(g, room)
	if err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint64([]byte{version}, g.Epoch())
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) // never fails
	out = append(out, nonce...)
	return aead.Seal(out, nonce, plain, additional(room, out)), nil
}

// Open reads a signal and proves that a member has made it. Errors: ErrMalformed, ErrEpoch,
// ErrForged.
func Open(g *mls.Group, room Room, b []byte) (Signal, error) {
	if len(b) > MaxSize || len(b) < headSize || b[0] != version {
		return Signal{}, fmt.Errorf("a signal of %d octets: %w", len(b), ErrMalformed)
	}
	epoch := binary.BigEndian.Uint64(b[1:])
	if epoch != g.Epoch() {
		return Signal{}, fmt.Errorf("of epoch %d, the group is in %d: %w", epoch, g.Epoch(), ErrEpoch)
	}
	aead, err := keyed(g, room)
	if err != nil {
		return Signal{}, err
	}
	plain, err := aead.Open(nil, b[headSize-nonceSize:headSize], b[headSize:], additional(room, b[:headSize]))
	if err != nil {
		return Signal{}, fmt.Errorf("it does not decrypt: %w", ErrForged)
	}
	r := presentation.NewReader(plain)
	s := Signal{Leaf: mls.LeafIndex(r.U32()), At: time.UnixMilli(int64(min(r.U64(), 1<<50))), Kind: Kind(r.U8())}
	signature := r.Opaque()
	padding := r.Fixed(len(r.Rest()))
	if err := r.Done(); err != nil || len(plain)%padTo != 0 || len(padding) >= padTo || len(bytes.Trim(padding, "\x00")) > 0 {
		return Signal{}, fmt.Errorf("what is in it: %w", ErrMalformed)
	}
	m, ok := g.Public().Member(s.Leaf)
	if !ok {
		return Signal{}, fmt.Errorf("leaf %d: %w", s.Leaf, ErrForged)
	}
	if err := g.Public().Context().Suite.Verify(m.Node.SignatureKey, signLabel, signed(room, epoch, s), signature); err != nil {
		return Signal{}, fmt.Errorf("leaf %d: %w: %w", s.Leaf, err, ErrForged)
	}
	return s, nil
}

func keyed(g *mls.Group, room Room) (cipher.AEAD, error) {
	key, err := g.Export(label, room[:], 16)
	if err != nil {
		return nil, fmt.Errorf("key of signals: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of signals: %w", err)
	}
	return cipher.NewGCM(block)
}

func additional(room Room, head []byte) []byte {
	return append(append([]byte(label), room[:]...), head[:1+8]...)
}

func signed(room Room, epoch uint64, s Signal) []byte {
	b := binary.BigEndian.AppendUint64(room[:], epoch)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Leaf))
	b = binary.BigEndian.AppendUint64(b, uint64(max(0, s.At.UnixMilli())))
	return append(b, byte(s.Kind))
}

// Seen are the times of what was heard of the members in an epoch. The zero value is ready;
// make a new one when the epoch changes.
type Seen struct{ at map[mls.LeafIndex]time.Time }

// Fresh says whether a signal is newer than all before it by the same member, and not too
// far from the present, and remembers it.
func (s *Seen) Fresh(x Signal, now time.Time) bool {
	if d := x.At.Sub(now); d > Window || d < -Window || !x.At.After(s.at[x.Leaf]) {
		return false
	}
	if s.at == nil {
		s.at = map[mls.LeafIndex]time.Time{}
	}
	s.at[x.Leaf] = x.At
	return true
}
