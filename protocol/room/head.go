package room

import (
	"crypto/ed25519"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// Head is what a hub signs: the log up to an entry.
//
//	struct {
//	    uint8 version = 1;
//	    opaque room_id[32];
//	    uint32 era; uint64 number;  /* the term of the entry */
//	    uint64 seq;
//	    opaque hash[32];
//	} Head;
type Head struct {
	Room ID
	Term Term
	Seq  uint64
	Hash Hash
}

func (h *Head) read(r *presentation.Reader) {
	readVersion(r, "head")
	copy(h.Room[:], r.Fixed(hashSize))
	h.Term.read(r)
	h.Seq = r.U64()
	copy(h.Hash[:], r.Fixed(hashSize))
}

func (h *Head) append(b []byte) []byte {
	b = append(append(b, Version), h.Room[:]...)
	b = presentation.AppendU64(h.Term.append(b), h.Seq)
	return append(b, h.Hash[:]...)
}

// tbs is {opaque label<V> = "mimid room head v1"; Head}: the label keeps the
// signature from passing for one over anything else.
func (h *Head) tbs() []byte {
	return h.append(presentation.AppendOpaque(nil, []byte("mimid room head v1")))
}

// SignedHead is {Head; opaque signature[64]}, the signature by the hub's
// provider key (Ed25519). It is a claim until Verify checked it.
type SignedHead struct {
	Head
	Signature [ed25519.SignatureSize]byte
}

// SignHead signs a head. The caller has made the entries durable before.
func SignHead(h Head, key ed25519.PrivateKey) SignedHead {
	s := SignedHead{Head: h}
	copy(s.Signature[:], ed25519.Sign(key, h.tbs()))
	return s
}

// HeadOf returns the head that ends with e.
func HeadOf(e *Entry) Head {
	return Head{Room: e.Room, Term: e.Term, Seq: e.Seq, Hash: e.Hash()}
}

// Read reads a signed head from the front of a reader.
func (s *SignedHead) Read(r *presentation.Reader) {
	s.Head.read(r)
	copy(s.Signature[:], r.Fixed(ed25519.SignatureSize))
}

// Append appends its encoding: 149 bytes.
func (s *SignedHead) Append(b []byte) []byte {
	return append(s.Head.append(b), s.Signature[:]...)
}

// ParseSignedHead reads a signed head.
func ParseSignedHead(b []byte) (*SignedHead, error) {
	s := new(SignedHead)
	r := presentation.NewReader(b)
	s.Read(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading head: %w", err)
	}
	return s, nil
}

// Verify checks the signature against the hub's key, and nothing else. Error:
// ErrSignature.
func (s *SignedHead) Verify(key ed25519.PublicKey) error { return s.verify(key) }

func (s *SignedHead) verify(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, s.tbs(), s.Signature[:]) {
		return fmt.Errorf("head %d of term %s: %w", s.Seq, s.Term, ErrSignature)
	}
	return nil
}

// Batch is a verified piece of a log: entries that continue a position, each
// linked to the one before, up to a head that the hub signed. Its contents must
// not be changed.
type Batch struct {
	entries []*Entry
	head    SignedHead
	after   Position
}

// Entries returns the entries, in order.
func (b *Batch) Entries() []*Entry { return b.entries }

// Head returns the head.
func (b *Batch) Head() SignedHead { return b.head }

// After returns where the log stands after the batch.
func (b *Batch) After() Position { return b.after }

// Verify checks that entries continue the log of room at from and end in head,
// which key signed: one signature, and one hash per entry. key is the provider
// key of the hub of the head's term, as the log and room_hosting name it; a
// batch may run through a hub_change, and then ends under the new hub's head.
//
// What the bodies say is not looked at.
//
// Errors: ErrWrongRoom, ErrChain, ErrHead, ErrSignature.
func Verify(room ID, from Position, entries []*Entry, head *SignedHead, key ed25519.PublicKey) (*Batch, error) {
	if len(entries) == 0 {
		return nil, fmt.Errorf("verifying log: no entries: %w", ErrHead)
	}
	at := from
	for _, e := range entries {
		var err error
		if at, err = at.follow(room, e); err != nil {
			return nil, fmt.Errorf("verifying log: %w", err)
		}
	}
	want := Head{Room: room, Term: at.Term, Seq: at.Next - 1, Hash: at.Last}
	if head.Head != want {
		return nil, fmt.Errorf("verifying log: head %d of term %s over entries up to %d of term %s: %w",
			head.Seq, head.Term, want.Seq, want.Term, ErrHead)
	}
	if err := head.verify(key); err != nil {
		return nil, fmt.Errorf("verifying log: %w", err)
	}
	return &Batch{entries: entries, head: *head, after: at}, nil
}

// Seal is what a hub does with entries that it has made: it checks that they
// continue the log and signs their head. The caller makes the batch durable
// before anybody else sees it.
//
// Errors: ErrWrongRoom, ErrChain, ErrHead (no entries).
func Seal(room ID, from Position, entries []*Entry, key ed25519.PrivateKey) (*Batch, error) {
	if len(entries) == 0 {
		return nil, fmt.Errorf("sealing log: no entries: %w", ErrHead)
	}
	at := from
	for _, e := range entries {
		var err error
		if at, err = at.follow(room, e); err != nil {
			return nil, fmt.Errorf("sealing log: %w", err)
		}
	}
	head := SignHead(Head{Room: room, Term: at.Term, Seq: at.Next - 1, Hash: at.Last}, key)
	return &Batch{entries: entries, head: head, after: at}, nil
}
