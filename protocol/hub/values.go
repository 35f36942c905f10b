package hub

import (
	"slices"

	"github.com/mimid/mimid/protocol/room"
)

// A Provider is the caller's number for a provider key that the room knows. The
// numbers are local to a machine's caller and never travel. Zero is nobody.
type Provider uint16

// A Set is a set of providers in ascending order. Sets are shared between copies
// of a machine: nobody changes one in place.
type Set []Provider

// SetOf returns the set of the given providers.
func SetOf(ps ...Provider) Set {
	s := slices.Clone(ps)
	slices.Sort(s)
	return slices.Compact(s)
}

// Has reports whether p is in the set.
func (s Set) Has(p Provider) bool { return slices.Contains(s, p) }

// With returns the set and p.
func (s Set) With(p Provider) Set {
	i, found := slices.BinarySearch(s, p)
	if found {
		return s
	}
	return slices.Insert(slices.Clone(s), i, p)
}

// Without returns the set less p.
func (s Set) Without(p Provider) Set {
	i, found := slices.BinarySearch(s, p)
	if !found {
		return s
	}
	return slices.Delete(slices.Clone(s), i, i+1)
}

// less returns the set without those of another one.
func (s Set) less(o Set) Set {
	for _, p := range o {
		s = s.Without(p)
	}
	return s
}

// Union returns the providers of both sets.
func (s Set) Union(o Set) Set {
	if len(o) == 0 {
		return s
	}
	return SetOf(append(slices.Clone(s), o...)...)
}

// Within reports whether all of s are in o.
func (s Set) Within(o Set) bool {
	for _, p := range s {
		if !o.Has(p) {
			return false
		}
	}
	return true
}

// majority reports whether have holds more than half of set. A majority of
// nobody does not exist.
func majority(set, have Set) bool {
	n := 0
	for _, p := range set {
		if have.Has(p) {
			n++
		}
	}
	if mutant == quorumOffByOne {
		return len(set) > 0 && n >= max(1, len(set)/2)
	}
	return 2*n > len(set)
}

// A Head names a log up to its last entry: that entry's term, place and hash.
type Head struct {
	Term room.Term
	Seq  uint64
	Hash room.Hash
}

// Behind reports whether a log ending in h is older than one ending in o, by
// term and then by place: the order in which voters compare logs.
func (h Head) Behind(o Head) bool {
	if c := h.Term.Compare(o.Term); c != 0 {
		return c < 0
	}
	return h.Seq < o.Seq
}

// A Kind says what an entry is to the machine.
type Kind uint8

// Kinds of entries. The machine treats a tombstone as a message.
const (
	Create    Kind = iota + 1 // the first; names set and hub
	Handshake                 // a commit; Set if it changes the replica set
	Ordinary                  // anything that needs no order of its own
	Change                    // a new hub's first, with the proof that it is one
	Settled                   // the end of a set change, with the commit's certificate
)

// A Via says by which way a hub came to be hub.
type Via uint8

// Ways to become hub.
const (
	ByVotes   Via = iota + 1 // a majority of the set in force
	ByRelease                // the hub that was a set of one gave its place
	ByMove                   // an admin's commit with the participants' acknowledgements
)

// An Entry is what the machine knows of a log's entry. Entries never change once
// made; machines share them by pointer.
type Entry struct {
	Term room.Term
	Seq  uint64
	Prev room.Hash
	Hash room.Hash
	Kind Kind
	Txn  room.TxnID // zero in what the hub writes by itself

	Set    Set      // Create, and a Handshake or Change that names a new set
	Hub    Provider // Create and Change: whose term begins
	Via    Via      // Change
	Voters Set      // Change: voters or acknowledging providers; Settled: who co-signed the commit
	Of     Set      // Change by a move: who took part in the room then; empty stands for Config.Parties
	Liars  Set      // Change by a move: who has lied, by proofs in it; all others have acknowledged
}

// Head returns the head that ends with e.
func (e *Entry) Head() Head { return Head{Term: e.Term, Seq: e.Seq, Hash: e.Hash} }

// A Certificate says that a head is final. Each signer has co-signed the head or
// a later one of the same term; the log links the two.
type Certificate struct {
	Head    Head
	Signers Set
}

// A Proof convicts a provider: two heads of one term, neither an ancestor of the
// other, or, with Votes, two votes in one term. The caller has verified the
// signatures and the linking entries before a machine sees one.
type Proof struct {
	Liar  Provider
	Term  room.Term
	Votes bool
	A, B  Head
}

// next is the term after t in its era.
func next(t room.Term) room.Term { return room.Term{Era: t.Era, Number: t.Number + 1} }

// later returns the greater term.
func later(a, b room.Term) room.Term {
	if a.Compare(b) < 0 {
		return b
	}
	return a
}
