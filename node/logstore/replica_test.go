package logstore_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// names are numbers in the order of a list, as a room's replicas are.
type names []string

func (n *names) Name(p hub.Provider) string { return (*n)[p-1] }

func (n *names) Number(d string) hub.Provider {
	for i, x := range *n {
		if x == d {
			return hub.Provider(i + 1)
		}
	}
	*n = append(*n, d)
	return hub.Provider(len(*n))
}

// TestReplicaState: what a machine must not forget comes back, under whatever numbers
// the providers have then; each octet that is missing is noticed.
func TestReplicaState(t *testing.T) {
	g := open(t)
	id := room.ID{7}
	at := hub.Head{Term: room.Term{Era: 1, Number: 2}, Seq: 3, Hash: room.Hash{4}}
	s := hub.State{Seen: room.Term{Era: 1, Number: 5}, Lost: room.Term{Number: 1},
		Vote:  hub.Vote{Term: room.Term{Era: 1, Number: 5}, For: 2, Head: at},
		Given: hub.Vote{Term: room.Term{Era: 1, Number: 4}, For: 3, Head: at, Release: true},
		Final: hub.Certificate{Head: at, Signers: hub.SetOf(1, 2)}, Liars: hub.SetOf(3), Fork: [2]hub.Head{at, {Seq: 9}}, Restored: true}
	marks := []hub.Mark{{Old: hub.SetOf(1), Hub: 1, Handshake: at}, {From: 2, Old: hub.SetOf(1), New: hub.SetOf(1, 2, 3), Before: hub.SetOf(2), Hub: 2, Settled: 1}}
	voted := logstore.VotedSet{Term: s.Seen, Set: room.Hash{9}}
	n := &names{"a.example", "b.example", "c.example"}
	g.update(func(tx *store.Tx) error { return logstore.PutReplica(tx, id, s, voted, marks, n) })
	read := func(n *names) (got hub.State, gotVoted logstore.VotedSet, gotMarks []hub.Mark, err error) {
		err = g.view(func(tx *store.Tx) error {
			var err error
			got, gotVoted, gotMarks, err = logstore.ReadReplica(tx, id, n)
			return err
		})
		return got, gotVoted, gotMarks, err
	}
	got, gotVoted, gotMarks, err := read(&names{"a.example", "b.example", "c.example"})
	if err != nil || !reflect.DeepEqual(got, s) || gotVoted != voted || !reflect.DeepEqual(gotMarks, marks) {
		t.Errorf("%+v, %+v, %+v, %v", got, gotVoted, gotMarks, err)
	}
	other := &names{"c.example", "x.example"}
	if got, _, _, err := read(other); err != nil || other.Name(got.Vote.For) != "b.example" || len(got.Liars) != 1 || other.Name(got.Liars[0]) != "c.example" {
		t.Errorf("under other numbers: %+v, %v", got, err)
	}
	key := store.SpaceReplica.Key(append(id[:], 0))
	var whole []byte
	g.update(func(tx *store.Tx) (err error) { whole, err = tx.Get(key); return err })
	for i := range whole {
		g.update(func(tx *store.Tx) error { return tx.Set(key, whole[:i]) })
		if _, _, _, err := read(&names{}); !errors.Is(err, logstore.ErrDamaged) {
			t.Fatalf("the first %d of %d octets: %v", i, len(whole), err)
		}
	}
	g.update(func(tx *store.Tx) error { return logstore.DeleteReplica(tx, id) })
	if _, _, _, err := read(&names{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
}

// TestTail: what is not final, with its heads; another room's is not seen, a gap is
// damage.
func TestTail(t *testing.T) {
	g := open(t)
	id, other := room.ID{1}, room.ID{2}
	entry := func(id room.ID, seq uint64) *room.Entry {
		return &room.Entry{Room: id, Term: room.Term{Number: 1}, Seq: seq, Kind: room.KindMessage, Body: []byte{byte(seq)}}
	}
	head := room.SignedHead{Head: room.HeadOf(entry(id, 6))}
	g.update(func(tx *store.Tx) error {
		return errors.Join(logstore.PutTail(tx, entry(id, 5), nil), logstore.PutTail(tx, entry(id, 6), &head), logstore.PutTail(tx, entry(id, 7), nil),
			logstore.PutTail(tx, entry(other, 5), nil))
	})
	tail := func(seq uint64) (n int, heads map[uint64]room.SignedHead, err error) {
		err = g.view(func(tx *store.Tx) error {
			list, h, err := logstore.Tail(tx, id, seq)
			n, heads = len(list), h
			return err
		})
		return n, heads, err
	}
	if n, heads, err := tail(5); n != 3 || len(heads) != 1 || heads[6] != head || err != nil {
		t.Errorf("%d entries, heads %v, %v", n, heads, err)
	}
	if n, _, err := tail(7); n != 1 || err != nil {
		t.Errorf("from 7: %d, %v", n, err)
	}
	if _, _, err := tail(4); !errors.Is(err, logstore.ErrDamaged) {
		t.Errorf("entry 4 is missing: %v", err)
	}
	var rooms []room.ID
	if err := g.view(func(tx *store.Tx) error {
		for id, err := range logstore.Tails(tx) {
			if err != nil {
				return err
			}
			rooms = append(rooms, id)
		}
		return nil
	}); err != nil || len(rooms) != 2 || rooms[0] != id || rooms[1] != other {
		t.Errorf("rooms with tails: %v, %v", rooms, err)
	}
	g.update(func(tx *store.Tx) error {
		return errors.Join(logstore.DeleteTail(tx, id, 5), logstore.DeleteTail(tx, id, 6))
	})
	if n, heads, err := tail(7); n != 1 || len(heads) != 0 || err != nil {
		t.Errorf("after deleting: %d, %v, %v", n, heads, err)
	}
}
