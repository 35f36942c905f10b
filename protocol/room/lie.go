package room

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
)

// Bounds of the proofs in a hub_change: whose, and of how many bytes together.
const (
	MaxLies     = 16
	MaxLieBytes = 256 << 10
)

// Lie proves that a provider has signed a contradiction about a room: two histories as its
// hub, or two votes.
//
//	struct {
//	    uint8 kind;                /* histories(1), votes(2) */
//	    opaque provider<V>;        /* 1 to 253 bytes */
//	    select (kind) {
//	        case histories: Equivocation;
//	        case votes:     DoubleVote;
//	    };
//	} Lie;
//
// One of the two is set. It is a claim until Verify has seen it.
type Lie struct {
	Provider  string
	Histories *Equivocation
	Votes     *DoubleVote
}

const (
	lieHistories = 1
	lieVotes     = 2
)

// Append appends its encoding.
func (x *Lie) Append(b []byte) []byte {
	if x.Votes != nil {
		return x.Votes.Append(presentation.AppendOpaque(append(b, lieVotes), []byte(x.Provider)))
	}
	return x.Histories.Append(presentation.AppendOpaque(append(b, lieHistories), []byte(x.Provider)))
}

// Read reads one from the front of a reader, whose input its entries alias.
func (x *Lie) Read(r *presentation.Reader) {
	kind := r.U8()
	x.Provider = readDomain(r)
	switch {
	case r.Err() != nil:
	case kind == lieHistories:
		x.Histories = new(Equivocation)
		x.Histories.read(r)
	case kind == lieVotes:
		x.Votes = new(DoubleVote)
		x.Votes.A.Read(r)
		x.Votes.B.Read(r)
	default:
		r.Fail(presentation.ErrMalformed, "a lie of kind %d", kind)
	}
}

// Verify checks the proof, about a room, against one of the keys that the provider is known
// by. Errors: ErrNoProof, ErrSignature.
func (x *Lie) Verify(id ID, keys []ed25519.PublicKey) error {
	var err error
	switch {
	case x.Histories != nil && x.Histories.Low.Room != id, x.Votes != nil && x.Votes.A.Room != id:
		err = fmt.Errorf("it is about another room: %w", ErrNoProof)
	case x.Votes != nil && x.Votes.A.Voter != x.Provider:
		err = fmt.Errorf("the votes are of %q: %w", x.Votes.A.Voter, ErrNoProof)
	default:
		err = ErrSignature
		for _, k := range keys {
			if x.Votes != nil {
				err = x.Votes.Verify(k)
			} else {
				err = x.Histories.Verify(k)
			}
			if err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("that %q has lied: %w", x.Provider, err)
}

// Keys are those that a provider is known by: that the log names for it, or that its domain
// has.
func (l *Lead) Keys(domain string, anchors func(domain string) []crypto.PublicKey) []ed25519.PublicKey {
	keys := keysIn(domain, l.Next, l.Now, l.Before)
	for _, k := range anchors(domain) {
		if e, ok := k.(ed25519.PublicKey); ok {
			keys = append(keys, e)
		}
	}
	return keys
}

// liars checks the proofs in a move, in which providers take part, and returns whose word
// it does not need: none of them the hub that it names.
func (l *Lead) liars(id ID, c *HubChange, providers []string, anchors func(domain string) []crypto.PublicKey) (out []string, err error) {
	for i := range c.Lies {
		x := &c.Lies[i]
		switch {
		case x.Provider == c.Hub.Domain:
			return nil, fmt.Errorf("a move to %q, which it proves to have lied: %w", x.Provider, ErrVote)
		case !slices.Contains(providers, x.Provider):
			return nil, fmt.Errorf("a move without %q, which takes no part: %w", x.Provider, ErrVote)
		}
		keys := l.Keys(x.Provider, anchors)
		if len(keys) == 0 {
			return nil, unknownProvider(x.Provider)
		}
		if err := x.Verify(id, keys); err != nil {
			return nil, err
		}
		out = append(out, x.Provider)
	}
	return out, nil
}
