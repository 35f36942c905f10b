package logstore_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

func twoVotes(id room.ID, voter string, n byte) *logstore.Voted {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32))
	v := room.Vote{Room: id, Term: room.Term{Number: uint64(n) + 1}, Candidate: "a.example", Head: room.Head{Room: id, Term: room.FirstTerm, Seq: 7}}
	w := v
	w.Candidate = "b.example"
	return &logstore.Voted{Key: [32]byte(key.Public().(ed25519.PublicKey)),
		Proof: room.DoubleVote{A: room.SignVote(v, voter, key), B: room.SignVote(w, voter, key)}}
}

// TestVotedTwice: proofs of two votes are read again as they were written, room by room and
// voter by voter, beside what is kept against the hub, which they do not touch; damage is an
// error.
func TestVotedTwice(t *testing.T) {
	st, err := store.Open(store.Options{InMemory: true, Small: true})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { st.Run(context.Background()) })
	defer wg.Wait()
	defer st.Close(context.Background())
	update := func(f func(tx *store.Tx) error) {
		t.Helper()
		if err := st.Update(context.Background(), f); err != nil {
			t.Fatal(err)
		}
	}
	one, two := room.ID{1}, room.ID{2}
	// A name of seven octets makes a key as long as that of an entry.
	want := []*logstore.Voted{twoVotes(one, "a.examp", 1), twoVotes(one, "c.example", 2), twoVotes(two, "c.example", 3)}
	e := &room.Entry{Room: one, Term: room.FirstTerm, Seq: 7, Kind: room.KindMessage, Body: []byte("x")}
	against := &logstore.Condemned{Room: one, Why: "because", Head: room.SignHead(room.HeadOf(e), ed25519.NewKeyFromSeed(make([]byte, 32))), Entries: []*room.Entry{e}}
	update(func(tx *store.Tx) error {
		for _, v := range slices.Backward(want) {
			if err := logstore.PutVoted(tx, v); err != nil {
				return err
			}
		}
		return logstore.PutCondemned(tx, against)
	})
	read := func() (got []*logstore.Voted, ofOne int, condemned int, c *logstore.Condemned, err error) {
		err = st.View(func(tx *store.Tx) error {
			for v, err := range logstore.AllVotedTwice(tx) {
				if err != nil {
					return err
				}
				got = append(got, v)
			}
			for v, err := range logstore.VotedTwice(tx, one) {
				if err != nil {
					return err
				}
				if v.Proof.A.Room != one {
					t.Errorf("a proof about %s", v.Proof.A.Room)
				}
				ofOne++
			}
			for _, err := range logstore.AllCondemned(tx) {
				if err != nil {
					return err
				}
				condemned++
			}
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceCondemned.Prefix(nil)}) {
				if err == nil {
					err = logstore.Check(it)
				}
				if err != nil {
					return err
				}
			}
			c, err = logstore.ReadCondemned(tx, one)
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return err
		})
		return got, ofOne, condemned, c, err
	}
	got, ofOne, condemned, c, err := read()
	if err != nil || len(got) != 3 || ofOne != 2 || condemned != 1 || len(c.Entries) != 1 {
		t.Fatalf("%d proofs, %d of one room, %d hubs, %+v, %v", len(got), ofOne, condemned, c, err)
	}
	for i := range want {
		if *got[i] != *want[i] || got[i].Verify() != nil {
			t.Errorf("proof %d is %+v", i, got[i])
		}
	}
	update(func(tx *store.Tx) error { return logstore.DeleteCondemned(tx, one) })
	if got, ofOne, condemned, c, err := read(); err != nil || len(got) != 3 || ofOne != 2 || condemned != 0 || c != nil {
		t.Errorf("after the branch was lost: %d proofs, %d of one room, %d hubs, %+v, %v", len(got), ofOne, condemned, c, err)
	}
	good := logstore.EncodeVoted(want[0])
	for name, b := range map[string][]byte{"cut": good[:len(good)-1], "longer": append(slices.Clone(good), 0), "of another version": append([]byte{9}, good[1:]...),
		"of another room": logstore.EncodeVoted(want[2]), "of another voter": logstore.EncodeVoted(want[1])} {
		update(func(tx *store.Tx) error {
			return tx.Set(store.SpaceCondemned.Key(append(append(one[:], 0xff), "a.examp"...)), b)
		})
		if _, _, _, _, err := read(); !errors.Is(err, logstore.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzVoted: what decodes as a stored proof encodes to the same bytes.
func FuzzVoted(f *testing.F) {
	v := twoVotes(room.ID{1}, "c.example", 2)
	f.Add(logstore.EncodeVoted(v))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := logstore.DecodeVoted(room.ID{1}, "c.example", b); err == nil && !bytes.Equal(logstore.EncodeVoted(v), b) {
			t.Fatalf("%x became %x", b, logstore.EncodeVoted(v))
		}
	})
}
