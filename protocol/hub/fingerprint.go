package hub

import (
	"encoding/binary"
	"math/bits"

	"github.com/mimid/mimid/protocol/room"
)

// A Digest folds values into 64 bits, for comparing machines and messages in
// memory. It is fast and spreads well; it is no cryptographic hash, and nobody
// hostile chooses what goes in.
type Digest uint64

// Add folds in a number.
func (d *Digest) Add(x uint64) {
	hi, lo := bits.Mul64(uint64(*d)^x^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	*d = Digest(hi ^ lo ^ x<<1 ^ 0x2545f4914f6cdd1d)
}

func (d *Digest) hash(h room.Hash) { d.Add(binary.LittleEndian.Uint64(h[:8])) }
func (d *Digest) term(t room.Term) { d.Add(uint64(t.Era)<<48 | t.Number) }
func (d *Digest) head(h Head)      { d.term(h.Term); d.Add(h.Seq); d.hash(h.Hash) }
func (d *Digest) bool(b bool) {
	if b {
		d.Add(1)
	} else {
		d.Add(2)
	}
}

func (d *Digest) set(s Set) {
	x := uint64(len(s))
	for _, p := range s {
		x = x<<8 | uint64(p)
	}
	d.Add(x)
}

// Digest folds in all that a machine will act on.
func (s *State) Digest(d *Digest) {
	d.term(s.Seen)
	d.term(s.Vote.Term)
	d.Add(uint64(s.Vote.For))
	d.head(s.Vote.Head)
	d.bool(s.Vote.Release)
	d.term(s.Given.Term)
	d.Add(uint64(s.Given.For))
	d.head(s.Given.Head)
	d.head(s.Final.Head)
	d.set(s.Final.Signers)
	d.set(s.Liars)
	d.head(s.Fork[0])
	d.head(s.Fork[1])
	d.bool(s.Restored)
	d.bool(s.Unsure)
	d.term(s.Lost)
}

// Digest folds in all that decides what the machine will do.
func (m *Machine) Digest(d *Digest) {
	m.state.Digest(d)
	d.head(m.log.Last())
	d.Add(uint64(m.role)<<32 | uint64(m.excuse)<<16 | uint64(m.leader))
	d.term(m.leads)
	d.bool(m.suspects)
	if m.taken.Compare(m.state.Seen) > 0 { // else it says nothing
		d.term(m.taken)
	}
	d.set(m.votes)
	for _, a := range m.acks {
		d.Add(uint64(a.by)<<48 | a.seq)
	}
	d.set(m.commit)
	d.head(m.on)
	if len(m.lied) > 0 {
		d.set(m.lied)
	}
	d.set(m.answered)
	d.set(m.twofaced)
}

// Digest folds in a message.
func (m *Message) Digest(d *Digest) {
	d.Add(uint64(m.Kind)<<40 | uint64(m.From)<<24 | uint64(m.To)<<8 | uint64(m.Excuse))
	d.term(m.Term)
	d.head(m.Head)
	if n := len(m.Entries); n > 0 {
		d.Add(m.Entries[0].Seq)
		d.hash(m.Entries[n-1].Hash)
	}
	d.head(m.Final.Head)
	d.set(m.Final.Signers)
	d.bool(m.Grant)
	d.term(m.Seen)
	d.Add(uint64(m.Hub))
	d.set(m.Set)
	if m.Common != (Head{}) {
		d.head(m.Common)
	}
	if m.Kind == Convict {
		d.Add(uint64(m.Proof.Liar))
		d.term(m.Proof.Term)
		d.head(m.Proof.A)
		d.head(m.Proof.B)
	}
}
