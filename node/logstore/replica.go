package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// What a replica keeps of a room beside its log, in store.SpaceReplica:
//
//	room[32] 00                 Replica state, below
//	room[32] 01 seq[8]          an entry that is not final, as it is
//	room[32] 02 seq[8]          SignedHead: the head of one of these that its hub signed
//	room[32] 03 voter           votes that it has heard, see heardvotes.go
//
//	uint8 version = 1
//	Term seen; Term lost
//	Vote vote; Vote given       {Term; opaque for<V>; Place; uint8 release} each
//	Term term; opaque set[32]   the replica set that the newest signed vote names
//	Place final; opaque signers<V>   opaque domain<V> each
//	opaque liars<V>             opaque domain<V> each
//	Place fork[2]
//	uint8 restored              1: Restored, 2: Unsure, 3: both
//	Mark marks<V>               {uint64 from; opaque old<V>, new<V>, before<V>; opaque hub<V>;
//	                            Place handshake; uint64 settled}
//
// A Place is {Term; uint64 seq; opaque hash[32]}. Domains stand for the numbers by
// which package hub knows providers, and which do not outlive a process.

// Names are what numbers stand for.
type Names interface {
	Name(hub.Provider) string
	Number(domain string) hub.Provider
}

const (
	replicaState = 0
	replicaEntry = 1
	replicaHead  = 2

	isRestored = 1
	isUnsure   = 2

	// maxNames bounds lists of domains; maxMarks how often a replica set changed.
	maxNames = 1 << 12
	maxMarks = 1 << 16
)

func replicaKey(id room.ID, what byte) store.Key {
	return store.SpaceReplica.Key(append(id[:], what))
}

func tailKey(id room.ID, what byte, seq uint64) store.Key {
	return store.SpaceReplica.Key(binary.BigEndian.AppendUint64(append(id[:], what), seq))
}

// VotedSet is the replica set (room.SetHash) that a signed vote in a term names. Two
// votes of a term that differ in no more than this convict their voter.
type VotedSet struct {
	Term room.Term
	Set  room.Hash
}

// PutReplica writes what a machine must not forget, and who decided where.
func PutReplica(tx *store.Tx, id room.ID, s hub.State, voted VotedSet, marks []hub.Mark, n Names) error {
	w := replicaWriter{n}
	b := appendTerm(appendTerm([]byte{version}, s.Seen), s.Lost)
	b = w.vote(w.vote(b, s.Vote), s.Given)
	b = append(appendTerm(b, voted.Term), voted.Set[:]...)
	b = w.set(appendPlace(b, s.Final.Head), s.Final.Signers)
	b = w.set(b, s.Liars)
	b = appendPlace(appendPlace(b, s.Fork[0]), s.Fork[1])
	flags := byte(0)
	if s.Restored {
		flags |= isRestored
	}
	if s.Unsure {
		flags |= isUnsure
	}
	b = append(b, flags)
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, m := range marks {
			b = w.mark(b, m)
		}
		return b
	})
	return tx.Set(replicaKey(id, replicaState), b)
}

// DeleteReplica forgets it: the room's hub alone decides again.
func DeleteReplica(tx *store.Tx, id room.ID) error { return tx.Delete(replicaKey(id, replicaState)) }

// ReadReplica reads it. Errors: store.ErrNotFound for a room that its hub alone
// decides about, ErrDamaged.
func ReadReplica(tx *store.Tx, id room.ID, n Names) (s hub.State, voted VotedSet, marks []hub.Mark, err error) {
	b, err := tx.Get(replicaKey(id, replicaState))
	if err != nil {
		return s, voted, nil, err
	}
	return parseReplica(id, b, n)
}

func parseReplica(id room.ID, b []byte, n Names) (s hub.State, voted VotedSet, marks []hub.Mark, err error) {
	r := replicaReader{presentation.NewReader(b), n}
	if v := r.U8(); v != version && r.Err() == nil {
		return s, voted, nil, fmt.Errorf("room %s: replica state of version %d: %w", id, v, ErrDamaged)
	}
	s.Seen, s.Lost = readTerm(r.Reader), readTerm(r.Reader)
	s.Vote, s.Given = r.vote(), r.vote()
	voted.Term = readTerm(r.Reader)
	copy(voted.Set[:], r.Fixed(len(voted.Set)))
	s.Final = hub.Certificate{Head: readPlace(r.Reader), Signers: r.set()}
	s.Liars = r.set()
	s.Fork = [2]hub.Head{readPlace(r.Reader), readPlace(r.Reader)}
	flags := r.U8()
	if flags > isRestored|isUnsure && r.Err() == nil {
		return s, voted, nil, fmt.Errorf("room %s: replica state with flags %#x: %w", id, flags, ErrDamaged)
	}
	s.Restored, s.Unsure = flags&isRestored != 0, flags&isUnsure != 0
	r.List(maxMarks, func() { marks = append(marks, r.mark()) })
	if err := r.Done(); err != nil {
		return s, voted, nil, fmt.Errorf("room %s: reading replica state: %w: %w", id, err, ErrDamaged)
	}
	return s, voted, marks, nil
}

// PutTail writes an entry that is not final, and the head that its hub signed of it,
// if there is one.
func PutTail(tx *store.Tx, e *room.Entry, head *room.SignedHead) error {
	err := tx.Set(tailKey(e.Room, replicaEntry, e.Seq), e.Append(nil))
	if err == nil && head != nil {
		err = tx.Set(tailKey(e.Room, replicaHead, e.Seq), head.Append(nil))
	}
	return err
}

// DeleteTail takes away the entry of a place, which is final now or will never be.
func DeleteTail(tx *store.Tx, id room.ID, seq uint64) error {
	return errors.Join(tx.Delete(tailKey(id, replicaEntry, seq)), tx.Delete(tailKey(id, replicaHead, seq)))
}

// Tail returns the entries from seq on that are not final, and the heads of them that
// their hub signed, by place.
func Tail(tx *store.Tx, id room.ID, seq uint64) ([]*room.Entry, map[uint64]room.SignedHead, error) {
	var out []*room.Entry
	for it, err := range scanTail(tx, id, replicaEntry, seq) {
		if err != nil {
			return nil, nil, err
		}
		e, err := room.ParseEntry(it.Value)
		if err == nil && (e.Room != id || e.Seq != seq+uint64(len(out))) {
			err = fmt.Errorf("it is entry %d of room %s", e.Seq, e.Room)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("room %s, unfinal entry %d: %w: %w", id, seq+uint64(len(out)), err, ErrDamaged)
		}
		out = append(out, e)
	}
	heads := map[uint64]room.SignedHead{}
	for it, err := range scanTail(tx, id, replicaHead, seq) {
		if err != nil {
			return nil, nil, err
		}
		h, err := room.ParseSignedHead(it.Value)
		if err == nil && h.Room != id {
			err = fmt.Errorf("it is of room %s", h.Room)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("room %s, head of an unfinal entry: %w: %w", id, err, ErrDamaged)
		}
		heads[h.Seq] = *h
	}
	return out, heads, nil
}

func scanTail(tx *store.Tx, id room.ID, what byte, seq uint64) iter.Seq2[store.Item, error] {
	return tx.Scan(store.Scan{Prefix: store.SpaceReplica.Prefix(append(id[:], what)), From: tailKey(id, what, seq)})
}

// Tails yields the rooms that have entries which are not final.
func Tails(tx *store.Tx) iter.Seq2[room.ID, error] {
	return func(yield func(room.ID, error) bool) {
		var last room.ID
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceReplica.Prefix(nil), KeysOnly: true}) {
			var id room.ID
			var name []byte
			if err == nil {
				name, err = store.SpaceReplica.Parse(it.Key)
			}
			if err == nil && len(name) > len(id) {
				copy(id[:], name)
				if name[len(id)] != replicaEntry || id == last {
					continue
				}
				last = id
			}
			if !yield(id, err) || err != nil {
				return
			}
		}
	}
}

func appendTerm(b []byte, t room.Term) []byte {
	return presentation.AppendU64(presentation.AppendU32(b, t.Era), t.Number)
}

func readTerm(r *presentation.Reader) room.Term { return room.Term{Era: r.U32(), Number: r.U64()} }

func appendPlace(b []byte, h hub.Head) []byte {
	return append(presentation.AppendU64(appendTerm(b, h.Term), h.Seq), h.Hash[:]...)
}

func readPlace(r *presentation.Reader) (h hub.Head) {
	h.Term, h.Seq = readTerm(r), r.U64()
	copy(h.Hash[:], r.Fixed(len(h.Hash)))
	return h
}

type replicaWriter struct{ names Names }

func (w replicaWriter) name(b []byte, p hub.Provider) []byte {
	if p == 0 {
		return presentation.AppendOpaque(b, nil)
	}
	return presentation.AppendOpaque(b, []byte(w.names.Name(p)))
}

func (w replicaWriter) set(b []byte, s hub.Set) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, p := range s {
			b = w.name(b, p)
		}
		return b
	})
}

func (w replicaWriter) vote(b []byte, v hub.Vote) []byte {
	b = appendPlace(w.name(appendTerm(b, v.Term), v.For), v.Head)
	return presentation.AppendOptional(b, v.Release)
}

func (w replicaWriter) mark(b []byte, m hub.Mark) []byte {
	b = presentation.AppendU64(b, m.From)
	b = w.name(w.set(w.set(w.set(b, m.Old), m.New), m.Before), m.Hub)
	return presentation.AppendU64(appendPlace(b, m.Handshake), m.Settled)
}

type replicaReader struct {
	*presentation.Reader
	names Names
}

func (r replicaReader) name() hub.Provider {
	if s := string(r.Opaque()); s != "" && r.Err() == nil {
		return r.names.Number(s)
	}
	return 0
}

func (r replicaReader) set() hub.Set {
	var s []hub.Provider
	r.List(maxNames, func() { s = append(s, r.name()) })
	if len(s) == 0 {
		return nil
	}
	return hub.SetOf(s...)
}

func (r replicaReader) vote() hub.Vote {
	v := hub.Vote{Term: readTerm(r.Reader), For: r.name(), Head: readPlace(r.Reader)}
	v.Release = r.Optional()
	return v
}

func (r replicaReader) mark() hub.Mark {
	m := hub.Mark{From: r.U64(), Old: r.set(), New: r.set(), Before: r.set(), Hub: r.name()}
	m.Handshake, m.Settled = readPlace(r.Reader), r.U64()
	return m
}
