package room

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// ErrHosting: a room_hosting component that decodes and makes no sense.
var ErrHosting = errors.New("room: invalid room_hosting")

// HostingComponent is room_hosting's id in the GroupContext's
// app_data_dictionary, from the private range.
const HostingComponent = 0x8001

// Failover says who may replace a hub that is gone.
type Failover uint8

// Modes of failover.
const (
	// FailoverAuto: the replicas elect a new hub.
	FailoverAuto Failover = 1
	// FailoverAdmin: a member with the capability moves the room.
	FailoverAdmin Failover = 2
)

// Hosting is the component room_hosting: who may order the room, and who may
// replace whom.
//
//	struct {
//	    opaque domain<V>;         /* 1 to 253 bytes */
//	    opaque provider_key[32];  /* Ed25519 */
//	    opaque franking_key<V>;   /* of the group's suite: 32 or 65 bytes */
//	} Replica;
//	struct {
//	    uint8 version = 1;
//	    Replica hub;              /* a checkpoint: the log says who is hub now */
//	    uint32 era; uint64 number;
//	    Replica replicas<V>;      /* 1, 3 or 5, in order of preference */
//	    uint8 failover;           /* auto(1), admin(2) */
//	    opaque topic[16];         /* random; names the gossip topic */
//	} RoomHosting;
//
// An update replaces the whole.
type Hosting struct {
	Hub      Replica
	Term     Term
	Replicas []Replica
	Failover Failover
	Topic    [16]byte
}

// Replica is a provider that keeps a room and votes on its hub.
type Replica struct {
	Domain      string
	ProviderKey [ed25519.PublicKeySize]byte
	FrankingKey []byte
}

func (x *Replica) read(r *presentation.Reader) {
	x.Domain = string(r.Opaque())
	copy(x.ProviderKey[:], r.Fixed(ed25519.PublicKeySize))
	x.FrankingKey = bytes.Clone(r.Opaque())
}

func (x *Replica) append(b []byte) []byte {
	b = presentation.AppendOpaque(b, []byte(x.Domain))
	return presentation.AppendOpaque(append(b, x.ProviderKey[:]...), x.FrankingKey)
}

func (x *Replica) check() error {
	switch {
	case len(x.Domain) == 0 || len(x.Domain) > 253:
		return fmt.Errorf("domain of %d bytes: %w", len(x.Domain), ErrHosting)
	case len(x.FrankingKey) != 32 && len(x.FrankingKey) != 65:
		return fmt.Errorf("franking key of %d bytes for %q: %w", len(x.FrankingKey), x.Domain, ErrHosting)
	}
	return nil
}

// ParseHosting reads and checks the component.
func ParseHosting(b []byte) (*Hosting, error) {
	h := new(Hosting)
	r := presentation.NewReader(b)
	readVersion(r, "room_hosting")
	h.Hub.read(r)
	h.Term.read(r)
	r.List(5, func() {
		var x Replica
		x.read(r)
		h.Replicas = append(h.Replicas, x)
	})
	h.Failover = Failover(r.U8())
	copy(h.Topic[:], r.Fixed(len(h.Topic)))
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading room_hosting: %w", err)
	}
	return h, h.Check()
}

// Append appends the component's encoding.
func (h *Hosting) Append(b []byte) []byte {
	b = h.Term.append(h.Hub.append(append(b, Version)))
	b = presentation.AppendList(b, func(b []byte) []byte {
		for i := range h.Replicas {
			b = h.Replicas[i].append(b)
		}
		return b
	})
	return append(append(b, byte(h.Failover)), h.Topic[:]...)
}

// Check says whether the component makes sense by itself: 1, 3 or 5 replicas
// with different domains and keys, a known failover mode, automatic only where
// a majority can outvote one. Error: ErrHosting.
func (h *Hosting) Check() error {
	if err := h.Hub.check(); err != nil {
		return err
	}
	n := len(h.Replicas)
	if n != 1 && n != 3 && n != 5 {
		return fmt.Errorf("%d replicas, 1, 3 or 5 expected: %w", n, ErrHosting)
	}
	for i := range h.Replicas {
		x := &h.Replicas[i]
		if err := x.check(); err != nil {
			return err
		}
		for _, y := range h.Replicas[:i] {
			if x.Domain == y.Domain || x.ProviderKey == y.ProviderKey {
				return fmt.Errorf("replica %q twice, or two with one key: %w", x.Domain, ErrHosting)
			}
		}
	}
	switch {
	case h.Failover != FailoverAuto && h.Failover != FailoverAdmin:
		return fmt.Errorf("failover mode %d: %w", h.Failover, ErrHosting)
	case h.Failover == FailoverAuto && n < 3:
		return fmt.Errorf("automatic failover with %d replica: %w", n, ErrHosting)
	}
	return nil
}
