package hub

import (
	"slices"

	"github.com/mimid/mimid/protocol/room"
)

// A Log is a chain of entries from the room's first, or from a final one on below
// which only the caller's store has them. It is a value: Append and cut return new
// ones and leave the old as they were. The set in force after each entry is kept with
// it, because it is a function of the log alone.
type Log struct {
	base  uint64 // place of the first link
	marks []Mark // who decides below the base; the last is in force at the base
	links []link
	// used is how much of links' array is taken, for logs whose copies share it
	// (Resume); nil for those that are copied whenever they grow.
	used *int
}

type link struct {
	*Entry
	force
}

// A Mark says who decides from a place on: the replica set, while it changes the
// next one too, and the hub. A log has few, whatever its length.
type Mark struct {
	From      uint64
	Old, New  Set
	Before    Set // the set that the newest Settled has ended
	Hub       Provider
	Handshake Head   // the newest
	Settled   uint64 // place of the newest Settled or other end of a set change
}

// A force is who decides after an entry: the set before the commit in progress
// and, until that is settled, the set after it.
type force struct {
	old, new  Set
	before    Set // the set that the newest Settled has ended
	hub       Provider
	handshake uint64 // place of the newest handshake
	shook     Head   // it
	settled   uint64 // place of the newest Settled or other end of a set change
}

func (f force) mark(from uint64) Mark {
	return Mark{From: from, Old: f.old, New: f.new, Before: f.before, Hub: f.hub, Handshake: f.shook, Settled: f.settled}
}

func (m Mark) force() force {
	return force{old: m.Old, new: m.New, before: m.Before, hub: m.Hub, handshake: m.Handshake.Seq, shook: m.Handshake, settled: m.Settled}
}

// then is who decides after e.
func (f force) then(e *Entry) force {
	switch e.Kind {
	case Create:
		return force{old: e.Set, hub: e.Hub, shook: e.Head()}
	case Handshake:
		f.handshake, f.shook = e.Seq, e.Head()
		if len(e.Set) > 0 {
			f.new = e.Set
			if mutant == newSetAtOnce {
				f.old, f.new = e.Set, nil
			}
		}
	case Settled:
		f.before, f.old, f.new, f.settled = f.old, f.new, nil, e.Seq
	case Change:
		f.hub = e.Hub
		if len(e.Set) > 0 {
			// A release of a set of one and an admin's move carry a proof that
			// needs no majority of the new set.
			f.before, f.old, f.new, f.settled = nil, e.Set, nil, e.Seq
		}
		if e.Via == ByMove {
			f.handshake, f.shook = e.Seq, e.Head()
		}
	}
	return f
}

// replicas are all that have a say.
func (f force) replicas() Set { return f.old.Union(f.new) }

// quorum reports whether these signers decide: a majority of the set, and of
// both sets from the commit until it is settled. Without the second a set that
// is not yet in anybody's log outvotes one that is.
func (f force) quorum(signers Set, final uint64) bool {
	if mutant == newSetWhenFinal && len(f.new) > 0 {
		if final >= f.handshake {
			return majority(f.new, signers)
		}
		return majority(f.old, signers)
	}
	return majority(f.old, signers) && (len(f.new) == 0 || majority(f.new, signers))
}

// Begin returns the log of a room with its first entry.
func Begin(create *Entry) Log {
	return Log{}.append(create)
}

// Resume returns a log that begins at base, a final entry, and goes on with entries.
// marks are those of the log up to base, as Marks has returned them. What is below
// the base is the caller's to send, to compare, and to look duplicates up in.
func Resume(marks []Mark, base *Entry, entries ...*Entry) Log {
	n := 1
	for n < len(marks) && marks[n].From <= base.Seq {
		n++
	}
	l := Log{base: base.Seq, marks: slices.Clone(marks[:n]), used: new(int)}
	l.links = append(make([]link, 0, 64), link{base, marks[n-1].force()})
	*l.used = 1
	return l.append(entries...)
}

// Marks returns who decided where in the whole log. A mark's handshake is the newest
// where the mark begins; later ones that change nothing else make no mark.
func (l Log) Marks() []Mark {
	out := slices.Clone(l.marks)
	for i, k := range l.links {
		if i == 0 && len(out) > 0 {
			continue // the base, of which the last mark tells
		}
		if m := k.force.mark(k.Seq); len(out) == 0 || !sameForce(out[len(out)-1], m) {
			out = append(out, m)
		}
	}
	return out
}

// sameForce reports whether two marks differ in no more than their handshake.
func sameForce(a, b Mark) bool {
	return slices.Equal(a.Old, b.Old) && slices.Equal(a.New, b.New) && slices.Equal(a.Before, b.Before) && a.Hub == b.Hub && a.Settled == b.Settled
}

// Len returns the number of entries, those below the base included.
func (l Log) Len() int { return int(l.base) + len(l.links) }

// Base returns the place of the first entry that is here.
func (l Log) Base() uint64 { return l.base }

// At returns the entry at a place, nil beyond the end and below the base.
func (l Log) At(seq uint64) *Entry {
	if seq < l.base || seq-l.base >= uint64(len(l.links)) {
		return nil
	}
	return l.links[seq-l.base].Entry
}

// Last returns the head of the log.
func (l Log) Last() Head { return l.links[len(l.links)-1].Head() }

// Hub returns who is hub after the last entry.
func (l Log) Hub() Provider { return l.now().hub }

// HubAt returns who was hub after the entry at a place.
func (l Log) HubAt(seq uint64) Provider { return l.forceAt(seq).hub }

// InForce returns the replica set after the last entry: the set, and while a
// change is in progress the next one.
func (l Log) InForce() (set, next Set) { return l.now().old, l.now().new }

// Holds reports whether the head is an entry of the log that is here.
func (l Log) Holds(h Head) bool {
	e := l.At(h.Seq)
	return e != nil && e.Hash == h.Hash
}

// Find returns the place of a submission, 0 if it is not in the part of the log that
// is here.
func (l Log) Find(txn room.TxnID) uint64 {
	for i := len(l.links) - 1; i >= 0; i-- {
		if e := l.links[i].Entry; e.Seq > 0 && e.Txn == txn {
			return e.Seq
		}
	}
	return 0
}

// After returns the entries beyond a place that are here.
func (l Log) After(seq uint64) []*Entry {
	var out []*Entry
	for i := max(seq+1, l.base) - l.base; i < uint64(len(l.links)); i++ {
		out = append(out, l.links[i].Entry)
	}
	return out
}

// trim leaves out what is more than keep places below a final one.
func (l Log) trim(final uint64, keep int) Log {
	if final < l.base+2*uint64(keep)+1 {
		return l // not for every entry
	}
	n := final - uint64(keep) - l.base
	l.marks = l.marksTo(l.base + n)
	l.links = slices.Clone(l.links[n:])
	l.base += n
	if l.used != nil {
		l.used = new(int)
		*l.used = len(l.links)
	}
	return l
}

// marksTo returns the marks up to a place.
func (l Log) marksTo(seq uint64) []Mark {
	out := l.Marks()
	for len(out) > 1 && out[len(out)-1].From > seq {
		out = out[:len(out)-1]
	}
	// The newest handshake may be newer than the mark.
	last := l.forceAt(seq).mark(out[len(out)-1].From)
	out[len(out)-1] = last
	return out
}

func (l Log) now() force { return l.links[len(l.links)-1].force }

func (l Log) forceAt(seq uint64) force {
	if seq >= l.base {
		return l.links[seq-l.base].force
	}
	f := l.marks[0].force()
	for _, m := range l.marks {
		if m.From <= seq {
			f = m.force()
		}
	}
	return f
}

// cut returns the log's first n entries; it cannot lose what is below the base.
func (l Log) cut(n uint64) Log {
	l.links = l.links[: n-l.base : n-l.base]
	return l
}

func (l Log) handshake() Head { return l.now().shook }

func (l Log) append(es ...*Entry) Log {
	n := len(l.links)
	links := l.links
	if l.used == nil || *l.used != n || n+len(es) > cap(links) {
		size := n + len(es)
		if l.used != nil {
			size = 2 * size
		}
		links = make([]link, n, size) // never into a copy's spare capacity
		copy(links, l.links)
		if l.used != nil {
			l.used = new(int)
		}
	}
	var f force
	if n > 0 {
		f = links[n-1].force
	}
	for _, e := range es {
		f = f.then(e)
		links = append(links, link{e, f})
	}
	if l.used != nil {
		*l.used = len(links)
	}
	l.links = links
	return l
}

// splice finds where entries of another log meet this one: at is the first
// place where they differ or go beyond it, rest what comes from there. ok is
// false if they do not connect.
func (l Log) splice(es []*Entry) (at uint64, rest []*Entry, ok bool) {
	if len(es) == 0 {
		return uint64(l.Len()), nil, true
	}
	if first := es[0]; first == nil || first.Seq == 0 || l.At(first.Seq-1) == nil || l.At(first.Seq-1).Hash != first.Prev {
		return 0, nil, false
	}
	for i, e := range es {
		if e == nil || e.Seq != es[0].Seq+uint64(i) {
			return 0, nil, false // no chain: a place of its own choosing is none to cut at
		}
		mine := l.At(e.Seq)
		if mine == nil || mine.Hash != e.Hash {
			return e.Seq, es[i:], true
		}
	}
	return uint64(l.Len()), nil, true
}

// lastOf returns the newest head of a term among entries.
func lastOf(t room.Term, es []*Entry) (Head, bool) {
	for i := len(es) - 1; i >= 0; i-- {
		if es[i].Term == t {
			return es[i].Head(), true
		}
	}
	return Head{}, false
}
