package relays

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/presentation"
)

const (
	// MaxRelays and MaxSnapshot bound a snapshot, and what reading one costs.
	MaxRelays   = 8192
	MaxSnapshot = 32 << 20

	labelSnapshot    = "mimid onion 1 snapshot"
	labelCosignature = "mimid onion 1 cosignature"
)

// A Snapshot is the list of all relays of one epoch. It says nothing until witnesses have signed
// it (Cosigned).
type Snapshot struct {
	Format   onion.Format
	Epoch    onion.Epoch
	Previous [32]byte      // hash of the snapshot of the epoch before; zeros if there was none
	Rate     uint32        // packets that enter the network, times 1,000 per second
	Delay    time.Duration // mean delay of a hop, whole milliseconds
	Relays   []*Relay      // by node, each once, each with a key of the epoch
}

// Sort puts the relays in the order in which they are written.
func (s *Snapshot) Sort() {
	slices.SortFunc(s.Relays, func(a, b *Relay) int { return bytes.Compare(a.node[:], b.node[:]) })
}

// Bytes checks a snapshot and writes it. There is one writing of each.
func (s *Snapshot) Bytes() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	b := []byte{version, byte(s.Format.Suite), byte(s.Format.Class)}
	b = presentation.AppendU64(b, uint64(s.Epoch))
	b = append(b, s.Previous[:]...)
	b = presentation.AppendU32(b, s.Rate)
	b = presentation.AppendU32(b, uint32(s.Delay/time.Millisecond))
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, r := range s.Relays {
			b = presentation.AppendOpaque(b, r.raw)
		}
		return b
	})
	if len(b) > MaxSnapshot {
		return nil, fmt.Errorf("%w: %d octets, above %d", ErrSnapshot, len(b), MaxSnapshot)
	}
	return b, nil
}

func (s *Snapshot) check() error {
	switch {
	case s.Format.Suite != onion.X25519 && s.Format.Suite != onion.XWing,
		s.Format.Class != onion.Class8K && s.Format.Class != onion.Class2K && s.Format.Class != onion.Class30K:
		return fmt.Errorf("%w: %v", ErrSnapshot, s.Format)
	case s.Delay < 0 || s.Delay > onion.MaxDelay || s.Delay%time.Millisecond != 0:
		return fmt.Errorf("%w: a mean delay of %v", ErrSnapshot, s.Delay)
	case len(s.Relays) > MaxRelays:
		return fmt.Errorf("%w: %d relays, above %d", ErrSnapshot, len(s.Relays), MaxRelays)
	}
	for i, r := range s.Relays {
		if i > 0 && bytes.Compare(s.Relays[i-1].node[:], r.node[:]) >= 0 {
			return fmt.Errorf("%w: relay %d is not behind the one before it", ErrSnapshot, i)
		}
		if _, ok := r.Key(s.Epoch); !ok || r.d.Suite != s.Format.Suite {
			return fmt.Errorf("%w: relay %d has no key of %v for epoch %d", ErrSnapshot, i, s.Format.Suite, s.Epoch)
		}
	}
	return nil
}

// ParseSnapshot reads what Bytes wrote, and verifies each descriptor.
func ParseSnapshot(b []byte) (*Snapshot, error) {
	if len(b) > MaxSnapshot {
		return nil, fmt.Errorf("%w: %d octets, above %d", ErrSnapshot, len(b), MaxSnapshot)
	}
	r := presentation.NewReader(b)
	v := r.U8()
	s := &Snapshot{Format: onion.Format{Suite: onion.Suite(r.U8()), Class: onion.Class(r.U8())}, Epoch: onion.Epoch(r.U64())}
	copy(s.Previous[:], r.Fixed(32))
	s.Rate, s.Delay = r.U32(), time.Duration(r.U32())*time.Millisecond
	r.List(MaxRelays, func() {
		raw := r.Bounded(maxDescriptor, "relay")
		if r.Err() != nil {
			return
		}
		relay, err := ParseRelay(raw)
		if err != nil {
			r.Fail(err, "relay %d", len(s.Relays))
			return
		}
		s.Relays = append(s.Relays, relay)
	})
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if v != version {
		return nil, fmt.Errorf("%w: version %d", ErrSnapshot, v)
	}
	return s, s.check()
}

// A Cosignature says that a witness saw this snapshot, and no other for its epoch.
type Cosignature struct {
	Witness   string // domain
	Epoch     onion.Epoch
	Hash      [32]byte
	Signature [ed25519.SignatureSize]byte
}

// Hash names a snapshot by its octets.
func Hash(snapshot []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte(labelSnapshot))
	h.Write(snapshot)
	return [32]byte(h.Sum(nil))
}

func (c Cosignature) signed() []byte {
	b := presentation.AppendOpaque(nil, []byte(c.Witness))
	b = presentation.AppendU64(b, uint64(c.Epoch))
	return labelled(labelCosignature, append(b, c.Hash[:]...))
}

// Cosign signs as a witness, which must have signed no other snapshot of the epoch.
func Cosign(witness string, key ed25519.PrivateKey, epoch onion.Epoch, hash [32]byte) Cosignature {
	c := Cosignature{Witness: witness, Epoch: epoch, Hash: hash}
	copy(c.Signature[:], ed25519.Sign(key, c.signed()))
	return c
}

// Bytes is the cosignature as it is sent.
func (c Cosignature) Bytes() []byte {
	b := presentation.AppendOpaque(nil, []byte(c.Witness))
	b = presentation.AppendU64(b, uint64(c.Epoch))
	return append(append(b, c.Hash[:]...), c.Signature[:]...)
}

// ParseCosignature reads what Bytes wrote. It is not verified by that.
func ParseCosignature(b []byte) (Cosignature, error) {
	r := presentation.NewReader(b)
	c := Cosignature{Witness: string(r.Bounded(maxName, "witness")), Epoch: onion.Epoch(r.U64())}
	copy(c.Hash[:], r.Fixed(len(c.Hash)))
	copy(c.Signature[:], r.Fixed(len(c.Signature)))
	if err := r.Done(); err != nil {
		return Cosignature{}, fmt.Errorf("%w: a cosignature: %w", ErrSnapshot, err)
	}
	return c, nil
}

// Verify tells whether the witness with the key has signed.
func (c Cosignature) Verify(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, c.signed(), c.Signature[:])
}

// Contradicts tells whether two cosignatures, both verified with the key of their witness, prove
// that it has shown different relays to different people.
func (c Cosignature) Contradicts(o Cosignature, key ed25519.PublicKey) bool {
	return c.Witness == o.Witness && c.Epoch == o.Epoch && c.Hash != o.Hash && c.Verify(key) && o.Verify(key)
}

// Witnesses are the keys of those whose signatures count, by domain.
type Witnesses map[string]ed25519.PublicKey

// Quorum is how many of n witnesses have to sign: two thirds, rounded up, so that two quorums
// share a third of all.
func Quorum(n int) int { return (2*n + 2) / 3 }

// Cosigned is a snapshot that enough witnesses have signed. It is immutable.
type Cosigned struct {
	s    Snapshot
	hash [32]byte
}

// Verify reads a snapshot and counts the signatures of witnesses for it, each witness once. It
// verifies at most one signature per witness, and signatures before relays.
func (w Witnesses) Verify(snapshot []byte, epoch onion.Epoch, signatures []Cosignature) (*Cosigned, error) {
	if len(snapshot) > MaxSnapshot {
		return nil, fmt.Errorf("%w: %d octets, above %d", ErrSnapshot, len(snapshot), MaxSnapshot)
	}
	hash, tried, good := Hash(snapshot), map[string]bool{}, 0
	for _, c := range signatures {
		key, ok := w[c.Witness]
		if !ok || tried[c.Witness] || c.Epoch != epoch || c.Hash != hash {
			continue
		}
		tried[c.Witness] = true
		if c.Verify(key) {
			good++
		}
	}
	if need := Quorum(len(w)); good < need || good == 0 {
		return nil, fmt.Errorf("%w: %d of %d, where %d are needed", ErrCosignatures, good, len(w), need)
	}
	s, err := ParseSnapshot(snapshot)
	if err != nil {
		return nil, err
	}
	if s.Epoch != epoch {
		return nil, fmt.Errorf("%w: of epoch %d, signed for %d", ErrSnapshot, s.Epoch, epoch)
	}
	return &Cosigned{s: *s, hash: hash}, nil
}

// Hash is what the snapshot of the next epoch has as Previous.
func (c *Cosigned) Hash() [32]byte { return c.hash }

// Snapshot is the list itself.
func (c *Cosigned) Snapshot() Snapshot {
	s := c.s
	s.Relays = slices.Clone(s.Relays)
	return s
}

// Relay finds a relay by its node; nil if it is not in the snapshot.
func (c *Cosigned) Relay(node onion.NodeID) *Relay {
	i, ok := slices.BinarySearchFunc(c.s.Relays, node, func(r *Relay, n onion.NodeID) int { return bytes.Compare(r.node[:], n[:]) })
	if !ok {
		return nil
	}
	return c.s.Relays[i]
}
