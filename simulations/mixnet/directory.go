package mixnet

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// A Relay is one that does not exist.
type Relay struct {
	Operator string // empty: one of its own
	Network  uint32 // 0: unknown
	Address  netip.Addr
	Capacity uint32 // packets a second; 0: as many as come
}

// A Directory is a list of relays as nodes have it: signed by each relay, and by a witness.
type Directory struct {
	Cosigned *relays.Cosigned
	All      []*relays.Relay // in the order in which they were given

	number map[onion.NodeID]int
}

// An Epoch is what a snapshot says beside its relays.
type Epoch struct {
	Number   onion.Epoch
	Previous [32]byte
	Rate     float64 // packets a second that enter
	Delay    time.Duration
	Format   onion.Format
	Listed   int // how many of the relays, from the first on, are in the snapshot; 0: all
	// Only, if it is there, says which of the relays are in the snapshot.
	Only func(i int) bool
}

// Own is relay i of a list in which all have an operator, a network and an address group of their own.
func Own(i int) Relay {
	return Relay{Network: uint32(i + 1), Address: netip.AddrFrom4([4]byte{10 + byte(i>>8), byte(i), 0, 1})}
}

// NewDirectory makes the list of an epoch. Keys come from the seed, so that it is the same again.
func NewDirectory(seed uint64, e Epoch, list []Relay) (*Directory, error) {
	key := func(i int) ed25519.PrivateKey {
		s := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, seed), uint64(i)))
		return ed25519.NewKeyFromSeed(s[:])
	}
	// One key for all: no packet is made for it.
	public, err := onion.ParsePublicKey(onion.X25519, append([]byte{9}, make([]byte, 31)...))
	if err != nil {
		return nil, err
	}
	if e.Format.Suite != onion.X25519 {
		e.Format.Suite = onion.X25519 // the choice of relays does not look at it
	}
	d := &Directory{number: map[onion.NodeID]int{}}
	s := &relays.Snapshot{Format: e.Format, Epoch: e.Number, Previous: e.Previous, Rate: uint32(e.Rate * 1000), Delay: e.Delay}
	for i, r := range list {
		if r.Operator == "" {
			r.Operator = fmt.Sprintf("operator-%d", i)
		}
		if r.Capacity == 0 {
			r.Capacity = 1 << 31
		}
		signed, err := relays.Descriptor{Suite: e.Format.Suite, Provider: fmt.Sprintf("p%d.example", i), Operator: r.Operator, Network: r.Network,
			Address: r.Address, Capacity: r.Capacity, First: e.Number, Keys: []onion.PublicKey{public}}.Sign(key(i))
		if err != nil {
			return nil, err
		}
		d.All = append(d.All, signed)
		d.number[signed.Node()] = i
	}
	for i, r := range d.All {
		if (e.Listed == 0 || i < e.Listed) && (e.Only == nil || e.Only(i)) {
			s.Relays = append(s.Relays, r)
		}
	}
	s.Sort()
	b, err := s.Bytes()
	if err != nil {
		return nil, err
	}
	witness := key(-1)
	d.Cosigned, err = relays.Witnesses{"w": witness.Public().(ed25519.PublicKey)}.Verify(b, e.Number,
		[]relays.Cosignature{relays.Cosign("w", witness, e.Number, relays.Hash(b))})
	return d, err
}

// Number is the place of a relay in the list; -1 if it is not there.
func (d *Directory) Number(node onion.NodeID) int {
	if i, ok := d.number[node]; ok {
		return i
	}
	return -1
}

// Random is a reader of what a source draws, for code that takes crypto/rand's.
func Random(r *rand.Rand) io.Reader { return &reader{r} }

type reader struct{ r *rand.Rand }

func (r *reader) Read(b []byte) (int, error) {
	for i := 0; i < len(b); i += 8 {
		var w [8]byte
		binary.BigEndian.PutUint64(w[:], r.r.Uint64())
		copy(b[i:], w[:])
	}
	return len(b), nil
}
