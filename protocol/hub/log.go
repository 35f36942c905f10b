package hub

import "github.com/mimid/mimid/protocol/room"

// A Log is a chain of entries from the room's first. It is a value: Append and
// cut return new ones and leave the old as they were. The set in force after
// each entry is kept with it, because it is a function of the log alone.
type Log struct {
	links []link
}

type link struct {
	*Entry
	force
}

// A force is who decides after an entry: the set before the commit in progress
// and, until that is settled, the set after it.
type force struct {
	old, new  Set
	before    Set // the set that the newest Settled has ended
	hub       Provider
	handshake uint64 // place of the newest handshake
	settled   uint64 // place of the newest Settled or other end of a set change
}

// then is who decides after e.
func (f force) then(e *Entry) force {
	switch e.Kind {
	case Create:
		return force{old: e.Set, hub: e.Hub}
	case Handshake:
		f.handshake = e.Seq
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
			f.handshake = e.Seq
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

// Len returns the number of entries.
func (l Log) Len() int { return len(l.links) }

// At returns the entry at a place, nil beyond the end.
func (l Log) At(seq uint64) *Entry {
	if seq >= uint64(len(l.links)) {
		return nil
	}
	return l.links[seq].Entry
}

// Last returns the head of the log.
func (l Log) Last() Head { return l.links[len(l.links)-1].Head() }

// Hub returns who is hub after the last entry.
func (l Log) Hub() Provider { return l.now().hub }

// InForce returns the replica set after the last entry: the set, and while a
// change is in progress the next one.
func (l Log) InForce() (set, next Set) { return l.now().old, l.now().new }

// Holds reports whether the head is an entry of the log.
func (l Log) Holds(h Head) bool {
	e := l.At(h.Seq)
	return e != nil && e.Hash == h.Hash
}

// Find returns the place of a submission, 0 if it is not in the log.
func (l Log) Find(txn room.TxnID) uint64 {
	for i := len(l.links) - 1; i > 0; i-- {
		if l.links[i].Txn == txn {
			return uint64(i)
		}
	}
	return 0
}

// After returns the entries beyond a place.
func (l Log) After(seq uint64) []*Entry {
	var out []*Entry
	for i := seq + 1; i < uint64(len(l.links)); i++ {
		out = append(out, l.links[i].Entry)
	}
	return out
}

func (l Log) now() force               { return l.links[len(l.links)-1].force }
func (l Log) forceAt(seq uint64) force { return l.links[seq].force }
func (l Log) cut(n uint64) Log         { return Log{l.links[:n:n]} }
func (l Log) handshake() Head          { return l.links[l.now().handshake].Head() }
func (l Log) append(es ...*Entry) Log {
	n := len(l.links)
	links := make([]link, n, n+len(es)) // never into a copy's spare capacity
	copy(links, l.links)
	var f force
	if n > 0 {
		f = links[n-1].force
	}
	for _, e := range es {
		f = f.then(e)
		links = append(links, link{e, f})
	}
	return Log{links}
}

// splice finds where entries of another log meet this one: at is the first
// place where they differ or go beyond it, rest what comes from there. ok is
// false if they do not connect.
func (l Log) splice(es []*Entry) (at uint64, rest []*Entry, ok bool) {
	if len(es) == 0 {
		return uint64(len(l.links)), nil, true
	}
	if first := es[0]; first == nil || first.Seq == 0 || l.At(first.Seq-1) == nil || l.At(first.Seq-1).Hash != first.Prev {
		return 0, nil, false
	}
	for i, e := range es {
		if e == nil {
			return 0, nil, false
		}
		mine := l.At(e.Seq)
		if mine == nil || mine.Hash != e.Hash {
			return e.Seq, es[i:], true
		}
	}
	return uint64(len(l.links)), nil, true
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
