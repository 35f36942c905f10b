package room

import (
	"crypto/ed25519"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// Equivocation proves that the holder of one key signed two histories of one
// term: heads of which neither continues the other.
//
//	struct {
//	    SignedHead low;
//	    SignedHead high;      /* seq not below low's */
//	    Entry entries<V>;     /* of high's log: from low's seq to high's, or none
//	                             where both heads have one seq */
//	} Equivocation;
type Equivocation struct {
	Low, High SignedHead
	Entries   []*Entry
}

// MaxProofEntries bounds the entries of a proof. A proof over a longer stretch
// is shortened by asking for a head in between.
const MaxProofEntries = 10_000

// Verify checks the proof against the key of the hub of that term.
// Errors: ErrNoProof, ErrSignature.
func (p *Equivocation) Verify(key ed25519.PublicKey) error {
	if err := p.verify(key); err != nil {
		return fmt.Errorf("verifying proof of equivocation: %w", err)
	}
	return nil
}

func (p *Equivocation) verify(key ed25519.PublicKey) error {
	low, high := &p.Low, &p.High
	no := func(why string) error { return fmt.Errorf("%s: %w", why, ErrNoProof) }
	if low.Room != high.Room || low.Term != high.Term {
		return no("heads of different rooms or terms")
	}
	if err := low.verify(key); err != nil {
		return err
	}
	if err := high.verify(key); err != nil {
		return err
	}
	if low.Seq == high.Seq {
		if low.Hash == high.Hash {
			return no("one head twice")
		}
		return nil
	}
	if high.Seq < low.Seq {
		return no("heads in the wrong order")
	}
	if n := uint64(len(p.Entries)); n > MaxProofEntries || n != high.Seq-low.Seq+1 {
		return no(fmt.Sprintf("%d entries between heads %d and %d", n, low.Seq, high.Seq))
	}
	first := p.Entries[0]
	if first.Hash() == low.Hash {
		return no("the later head continues the earlier one")
	}
	// The first entry is taken as it is; the others must lead to the high head.
	at := Position{Term: first.Term, Next: first.Seq + 1, Last: first.Hash(), AcceptedAt: first.AcceptedAt}
	if first.Room != low.Room || first.Seq != low.Seq {
		return no("entries begin elsewhere")
	}
	for _, e := range p.Entries[1:] {
		var err error
		if at, err = at.follow(low.Room, e); err != nil {
			return fmt.Errorf("%w: %w", ErrNoProof, err)
		}
	}
	if at.Last != high.Hash {
		return no("entries do not lead to the later head")
	}
	return nil
}

// Append appends the proof's encoding.
func (p *Equivocation) Append(b []byte) []byte {
	b = p.High.Append(p.Low.Append(b))
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, e := range p.Entries {
			b = e.Append(b)
		}
		return b
	})
}

func (p *Equivocation) read(r *presentation.Reader) {
	p.Low.Read(r)
	p.High.Read(r)
	r.List(MaxProofEntries, func() {
		e := new(Entry)
		e.Read(r)
		p.Entries = append(p.Entries, e)
	})
}

// ParseEquivocation reads a proof; entries alias b.
func ParseEquivocation(b []byte) (*Equivocation, error) {
	p := new(Equivocation)
	r := presentation.NewReader(b)
	p.read(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading proof of equivocation: %w", err)
	}
	return p, nil
}

// DoubleVote proves that the holder of one key voted twice in one term of a room.
//
//	struct { SignedVote a; SignedVote b; } DoubleVote;
type DoubleVote struct {
	A, B SignedVote
}

// Verify checks the proof against the voter's key. Errors: ErrNoProof,
// ErrSignature.
func (p *DoubleVote) Verify(key ed25519.PublicKey) error {
	if err := p.verify(key); err != nil {
		return fmt.Errorf("verifying proof of a double vote: %w", err)
	}
	return nil
}

func (p *DoubleVote) verify(key ed25519.PublicKey) error {
	a, b := &p.A, &p.B
	switch {
	case a.Room != b.Room || a.Term != b.Term || a.Voter != b.Voter:
		return fmt.Errorf("votes of different rooms, terms or voters: %w", ErrNoProof)
	case a.Vote == b.Vote:
		return fmt.Errorf("one vote twice: %w", ErrNoProof)
	}
	if err := a.Verify(key); err != nil {
		return err
	}
	return b.Verify(key)
}

// Append appends the proof's encoding.
func (p *DoubleVote) Append(b []byte) []byte { return p.B.Append(p.A.Append(b)) }

// ParseDoubleVote reads a proof.
func ParseDoubleVote(b []byte) (*DoubleVote, error) {
	p := new(DoubleVote)
	r := presentation.NewReader(b)
	p.A.Read(r)
	p.B.Read(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading proof of a double vote: %w", err)
	}
	return p, nil
}
