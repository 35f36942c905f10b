package room

import (
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// Piece is how a log travels between providers, pushed or pulled: consecutive
// entries and the head that ends them. It is a claim until Verify has seen it.
//
//	struct {
//	    SignedHead head;
//	    Entry entries<V>;
//	    optional<Certified> certified;  /* the newest certificate that the sender has */
//	} Piece;
//
// A piece without entries announces a head: more is there to be asked for, or it is
// final now.
type Piece struct {
	Head      SignedHead
	Entries   []*Entry
	Certified *Certified
}

// MaxPieceEntries bounds the entries of a piece.
const MaxPieceEntries = 1 << 16

// Append appends the piece's encoding.
func (p *Piece) Append(b []byte) []byte {
	b = p.Head.Append(b)
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, e := range p.Entries {
			b = e.Append(b)
		}
		return b
	})
	return appendCertified(b, p.Certified)
}

// AppendPiece appends a piece of entries that are encoded already.
func AppendPiece(b []byte, head *SignedHead, entries [][]byte, c *Certified) []byte {
	b = head.Append(b)
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, e := range entries {
			b = append(b, e...)
		}
		return b
	})
	return appendCertified(b, c)
}

func appendCertified(b []byte, c *Certified) []byte {
	if b = presentation.AppendOptional(b, c != nil); c != nil {
		b = c.Append(b)
	}
	return b
}

// ParsePiece reads a piece of at most limit bytes; its entries alias b.
func ParsePiece(b []byte, limit int) (*Piece, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("reading piece of %d bytes (limit %d): %w", len(b), limit, presentation.ErrTooLarge)
	}
	p := new(Piece)
	r := presentation.NewReader(b)
	p.Head.Read(r)
	r.List(MaxPieceEntries, func() {
		e := new(Entry)
		e.Read(r)
		p.Entries = append(p.Entries, e)
	})
	if r.Optional() && r.Err() == nil {
		p.Certified = new(Certified)
		p.Certified.Read(r)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading piece: %w", err)
	}
	return p, nil
}

// Stand is what two providers compare when they talk: where one stands in a room
// that both follow. Who has moved to a higher term may have a shorter log. In a request
// for entries the term is that of the entry before next, so that a log which parts
// earlier is found; (0, 0) does not say. Last is the hash of the entry before next, so that
// two histories of one length are found; in a request for entries it is not looked at, and
// zeros do not say.
//
//	struct { opaque room_id[32]; uint32 era; uint64 number; uint64 next; opaque last[32]; } Stand;
//	struct { Stand rooms<V>; } Stands;
type Stand struct {
	Room ID
	Term Term
	Next uint64
	Last Hash
}

// MaxStands bounds the rooms of one comparison; more rooms take several.
const MaxStands = 10_000

// AppendStands appends the encoding of Stands.
func AppendStands(b []byte, list []Stand) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, s := range list {
			b = append(presentation.AppendU64(s.Term.append(append(b, s.Room[:]...)), s.Next), s.Last[:]...)
		}
		return b
	})
}

// ParseStands reads Stands.
func ParseStands(b []byte) ([]Stand, error) {
	var out []Stand
	r := presentation.NewReader(b)
	r.List(MaxStands, func() {
		var s Stand
		copy(s.Room[:], r.Fixed(hashSize))
		s.Term.read(r)
		s.Next = r.U64()
		copy(s.Last[:], r.Fixed(hashSize))
		out = append(out, s)
	})
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading stands: %w", err)
	}
	return out, nil
}
