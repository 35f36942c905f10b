package logstore_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

var hubKey = ed25519.NewKeyFromSeed([]byte("logstore test hub key, 32 octets"))

// fixture is a store in memory with logs that a test writes.
type fixture struct {
	t  *testing.T
	st *store.Store
}

func open(t *testing.T) *fixture {
	t.Helper()
	st, err := store.Open(store.Options{InMemory: true, Small: true})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { st.Run(context.Background()) })
	t.Cleanup(func() { st.Close(context.Background()); wg.Wait() })
	return &fixture{t, st}
}

func (f *fixture) update(fn func(tx *store.Tx) error) {
	f.t.Helper()
	if err := f.st.Update(context.Background(), fn); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) view(fn func(tx *store.Tx) error) error { return f.st.View(fn) }

// name makes a room's name.
func name(i int) uri.Room {
	u, err := uri.ParseRoom(fmt.Sprintf("mimi://atlanta.example/r/room%d", i))
	if err != nil {
		panic(err)
	}
	return u
}

// write appends batches of the given sizes to an empty log and returns where it stands.
func (f *fixture) write(u uri.Room, body int, sizes ...int) *logstore.Head {
	f.t.Helper()
	h := &logstore.Head{URI: u, At: room.Position{Term: room.FirstTerm}, Topic: [16]byte{1, 2}, Hub: "atlanta.example",
		Providers: []string{"atlanta.example", "biloxi.example"}, Epoch: 7}
	copy(h.HubKey[:], hubKey.Public().(ed25519.PublicKey))
	for i, n := range sizes {
		var es []*room.Entry
		at := h.At
		for range n {
			e := &room.Entry{Room: h.ID(), Term: at.Term, Seq: at.Next, Prev: at.Last, AcceptedAt: 1000 + at.Next, Kind: room.KindMessage, Body: make([]byte, body)}
			if e.Txn[0], e.Txn[1] = byte(at.Next), 1; e.Seq == 0 {
				e.Kind = room.KindCreate
			}
			at = room.Position{Term: e.Term, Next: e.Seq + 1, Last: e.Hash(), AcceptedAt: e.AcceptedAt}
			es = append(es, e)
		}
		b, err := room.Seal(h.ID(), h.At, es, hubKey)
		if err != nil {
			f.t.Fatal(err)
		}
		h.At, h.Feed = b.After(), uint64(10*(i+1))
		f.update(func(tx *store.Tx) error {
			if err := logstore.Append(tx, h.ID(), b, nil, h.Feed); err != nil {
				return err
			}
			return logstore.PutHead(tx, h)
		})
	}
	return h
}

// TestLog: what is written is read again: the head, entries, transaction ids, batches
// from any entry on and from the end back, and nothing of another room.
func TestLog(t *testing.T) {
	f := open(t)
	want := f.write(name(1), 20, 1, 3, 2)
	f.write(name(2), 20, 4)
	id := want.ID()
	err := f.view(func(tx *store.Tx) error {
		h, err := logstore.ReadHead(tx, id)
		if err != nil || !reflect.DeepEqual(h, want) {
			t.Errorf("head: %+v, %v; want %+v", h, err, want)
		}
		for seq := range uint64(6) {
			e, err := logstore.ReadEntry(tx, id, seq)
			if err != nil || e.Seq != seq || e.Room != id {
				t.Errorf("entry %d: %+v, %v", seq, e, err)
				continue
			}
			if n, err := logstore.SeqOf(tx, id, e.Txn); err != nil || n != seq {
				t.Errorf("entry %d by its transaction id: %d, %v", seq, n, err)
			}
		}
		for seq, want := range []string{"0:10 3:20 5:30", "3:20 5:30", "3:20 5:30", "3:20 5:30", "5:30", "5:30", ""} {
			if got := batches(t, logstore.Batches(tx, id, uint64(seq))); got != want {
				t.Errorf("batches from %d: %q, want %q", seq, got, want)
			}
		}
		if got := batches(t, logstore.LastBatches(tx, id)); got != "5:30 3:20 0:10" {
			t.Errorf("batches from the end: %q", got)
		}
		n := 0
		for h, err := range logstore.Heads(tx) {
			if err != nil || h.ID() != id && h.ID() != room.IDOf([]byte(name(2).String())) {
				t.Errorf("heads: %v, %v", h, err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%d heads", n)
		}
		for what, err := range map[string]error{
			"head of another room":  func() error { _, err := logstore.ReadHead(tx, room.ID{9}); return err }(),
			"entry behind the last": func() error { _, err := logstore.ReadEntry(tx, id, 6); return err }(),
			"unknown transaction":   func() error { _, err := logstore.SeqOf(tx, id, room.TxnID{7}); return err }(),
			"state of no room":      func() error { _, _, err := logstore.Load(tx, room.ID{9}, room.Rules{}); return err }(),
		} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func batches(t *testing.T, seq func(func(logstore.Batch, error) bool)) (out string) {
	t.Helper()
	for b, err := range seq {
		if err != nil {
			t.Error(err)
		}
		if out != "" {
			out += " "
		}
		out += fmt.Sprintf("%d:%d", b.Head.Seq, b.Feed)
	}
	return out
}

// TestRange: whole batches, the first in any case, until the octets are reached or the
// last entry that the reader may have.
func TestRange(t *testing.T) {
	f := open(t)
	h := f.write(name(1), 100, 2, 3, 4)
	one := 0
	f.view(func(tx *store.Tx) error {
		e, err := logstore.ReadEntry(tx, h.ID(), 1)
		if err != nil {
			t.Fatal(err)
		}
		one = len(e.Append(nil))
		return nil
	})
	const none = ^uint64(0)
	for _, c := range []struct {
		seq, last uint64
		max       int
		n         int
		head      uint64
	}{
		{0, 8, 1 << 20, 9, 8},
		{0, 8, 1, 2, 1},       // one batch, however large
		{0, 8, 5 * one, 5, 4}, // two fit exactly
		{0, 8, 5*one - 1, 2, 1},
		{3, 8, 1 << 20, 6, 8}, // from within a batch
		{3, 8, 2 * one, 2, 4},
		{0, 7, 1 << 20, 5, 4}, // no batch of which the reader may not have all
		{0, 0, 1 << 20, 0, none},
		{9, 100, 1 << 20, 0, none},
	} {
		err := f.view(func(tx *store.Tx) error {
			es, head, err := logstore.Range(tx, h.ID(), c.seq, c.last, c.max)
			got := none
			if head != nil {
				got = head.Head.Seq
			}
			if len(es) != c.n || got != c.head {
				t.Errorf("from %d to %d in %d octets: %d entries, head %d; want %d, %d", c.seq, c.last, c.max, len(es), got, c.n, c.head)
			}
			for i, b := range es {
				if e, err := room.ParseEntry(b); err != nil || e.Seq != c.seq+uint64(i) {
					t.Errorf("entry %d of the range from %d: %v", i, c.seq, err)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestRangeOfReplicas: what a hub alone has ordered and what replicas have co-signed are
// two ranges, in whatever order they follow: who has nothing yet of a room can begin with
// the one and go on with the other, and could make nothing of both at once.
func TestRangeOfReplicas(t *testing.T) {
	f := open(t)
	h := f.write(name(1), 20, 2, 3)
	for i, signed := range []bool{true, true, false} {
		e := &room.Entry{Room: h.ID(), Term: h.At.Term, Seq: h.At.Next, Prev: h.At.Last, AcceptedAt: 2000, Kind: room.KindMessage}
		e.Txn[0] = byte(100 + i)
		b, err := room.Seal(h.ID(), h.At, []*room.Entry{e}, hubKey)
		if err != nil {
			t.Fatal(err)
		}
		var cert *room.Certificate
		if signed {
			cert = &room.Certificate{Head: b.Head().Head, Signers: []room.Signer{{Domain: "biloxi.example"}}}
		}
		h.At = b.After()
		f.update(func(tx *store.Tx) error {
			if err := logstore.Append(tx, h.ID(), b, cert, 0); err != nil {
				return err
			}
			return logstore.PutHead(tx, h)
		})
	}
	got := ""
	err := f.view(func(tx *store.Tx) error {
		for seq := uint64(0); seq < h.At.Next; {
			es, b, err := logstore.Range(tx, h.ID(), seq, h.At.Next, 1<<20)
			if err != nil || b == nil {
				return fmt.Errorf("from %d: %v, %v", seq, b, err)
			}
			got += fmt.Sprintf("%d to %d, %t; ", seq, b.Head.Seq, b.Cert != nil)
			seq += uint64(len(es))
		}
		return nil
	})
	if want := "0 to 4, false; 5 to 6, true; 7 to 7, false; "; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

// TestDamage: what is missing, cut, of another version or in another's place is an
// error that says where, and no panic. Each octet of each value is tried.
func TestDamage(t *testing.T) {
	f := open(t)
	h := f.write(name(1), 20, 2, 3)
	id := store.RoomID(h.ID())
	all := func(tx *store.Tx) error {
		if _, err := logstore.ReadHead(tx, h.ID()); err != nil {
			return err
		}
		for _, err := range logstore.Heads(tx) {
			if err != nil {
				return err
			}
		}
		for seq := range h.At.Next {
			if _, err := logstore.ReadEntry(tx, h.ID(), seq); err != nil {
				return err
			}
		}
		if _, _, err := logstore.Range(tx, h.ID(), 0, h.At.Next-1, 1<<20); err != nil {
			return err
		}
		for _, err := range logstore.LastBatches(tx, h.ID()) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := f.view(all); err != nil {
		t.Fatal(err)
	}
	for what, k := range map[string]store.Key{"head": store.RoomHeadKey(id), "entry": store.RoomEntryKey(id, 3), "batch": store.RoomBatchKey(id, 4)} {
		var was []byte
		f.view(func(tx *store.Tx) (err error) { was, err = tx.Get(k); return err })
		if len(was) == 0 {
			t.Fatalf("no %s", what)
		}
		with := func(how string, v []byte) {
			t.Helper()
			f.update(func(tx *store.Tx) error {
				if v == nil {
					return tx.Delete(k)
				}
				return tx.Set(k, v)
			})
			if err := f.view(all); !errors.Is(err, logstore.ErrDamaged) && !(v == nil && errors.Is(err, store.ErrNotFound)) {
				t.Errorf("%s %s: %v", what, how, err)
			}
		}
		with("of another version", append([]byte{was[0] + 1}, was[1:]...))
		with("with an octet more", append(append([]byte(nil), was...), 0))
		for n := range was {
			if n > 0 {
				with(fmt.Sprintf("cut to %d octets", n), was[:n])
			}
		}
		if what != "batch" { // without it, the room's last entries have no head: verify finds that
			with("missing", nil)
		}
		f.update(func(tx *store.Tx) error { return tx.Set(k, was) })
		if err := f.view(all); err != nil {
			t.Fatalf("%s is whole again: %v", what, err)
		}
	}
	// What is another room's.
	other := store.RoomID(f.write(name(2), 20, 2, 3).ID())
	for what, k := range map[string][2]store.Key{"head": {store.RoomHeadKey(other), store.RoomHeadKey(id)},
		"entry": {store.RoomEntryKey(other, 3), store.RoomEntryKey(id, 3)}, "batch": {store.RoomBatchKey(other, 4), store.RoomBatchKey(id, 4)}} {
		var was []byte
		f.update(func(tx *store.Tx) (err error) {
			if was, err = tx.Get(k[1]); err != nil {
				return err
			}
			v, err := tx.Get(k[0])
			if err != nil {
				return err
			}
			return tx.Set(k[1], v)
		})
		if err := f.view(all); !errors.Is(err, logstore.ErrDamaged) || !strings.Contains(err.Error(), h.ID().String()) {
			t.Errorf("another room's %s: %v", what, err)
		}
		f.update(func(tx *store.Tx) error { return tx.Set(k[1], was) })
	}
	// A batch under another's number.
	f.update(func(tx *store.Tx) error {
		v, err := tx.Get(store.RoomBatchKey(id, 4))
		if err != nil {
			return err
		}
		return tx.Set(store.RoomBatchKey(id, 1), v)
	})
	if err := f.view(all); !errors.Is(err, logstore.ErrDamaged) {
		t.Errorf("batch in another's place: %v", err)
	}
}

// TestNothingOfAFailedAppend: a transaction that fails leaves nothing of the batch.
func TestNothingOfAFailedAppend(t *testing.T) {
	f := open(t)
	h := f.write(name(1), 20, 2)
	e := &room.Entry{Room: h.ID(), Term: h.At.Term, Seq: 2, Prev: h.At.Last, AcceptedAt: 2000, Kind: room.KindMessage, Body: []byte("x"), Txn: room.TxnID{5}}
	b, err := room.Seal(h.ID(), h.At, []*room.Entry{e}, hubKey)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("full")
	err = f.st.Update(context.Background(), func(tx *store.Tx) error {
		if err := logstore.Append(tx, h.ID(), b, nil, 99); err != nil {
			return err
		}
		if err := logstore.PutParts(tx, h.ID(), []room.Part{{Key: "p", Value: []byte("v")}}); err != nil {
			return err
		}
		return full
	})
	if !errors.Is(err, full) {
		t.Fatal(err)
	}
	f.view(func(tx *store.Tx) error {
		if _, err := logstore.ReadEntry(tx, h.ID(), 2); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("entry: %v", err)
		}
		if _, err := logstore.SeqOf(tx, h.ID(), e.Txn); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("transaction id: %v", err)
		}
		if got := batches(t, logstore.LastBatches(tx, h.ID())); got != "1:10" {
			t.Errorf("batches: %q", got)
		}
		if _, err := tx.Get(store.RoomPartKey(store.RoomID(h.ID()), []byte("p"))); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("part: %v", err)
		}
		return nil
	})
}

// TestParts: parts are set and deleted, and a state that is none is an error.
func TestParts(t *testing.T) {
	f := open(t)
	h := f.write(name(1), 20, 1)
	f.update(func(tx *store.Tx) error {
		return logstore.PutParts(tx, h.ID(), []room.Part{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}})
	})
	f.update(func(tx *store.Tx) error {
		return logstore.PutParts(tx, h.ID(), []room.Part{{Key: "a"}})
	})
	f.view(func(tx *store.Tx) error {
		var keys string
		for it, err := range tx.Scan(store.Scan{Prefix: store.RoomParts(store.RoomID(h.ID()))}) {
			if err != nil {
				t.Fatal(err)
			}
			_, part, _ := store.ParseRoomPart(it.Key)
			keys += string(part)
		}
		if keys != "b" {
			t.Errorf("parts %q", keys)
		}
		if s, _, err := logstore.Load(tx, h.ID(), room.Rules{}); err == nil || s != nil {
			t.Errorf("a state of such parts: %v, %v", s, err)
		}
		return nil
	})
}
