package logstore_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// ballots are so many votes of one voter.
func ballots(id room.ID, voter string, n int) (out []room.Ballot) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	for i := range n {
		v := room.Vote{Room: id, Term: room.Term{Number: uint64(i) + 1}, Candidate: "a.example", Head: room.Head{Room: id, Term: room.FirstTerm, Seq: 7}}
		out = append(out, room.Ballot{Vote: room.SignVote(v, voter, key), Key: [32]byte(key.Public().(ed25519.PublicKey))})
	}
	return out
}

// TestHeard: votes are read again as they were written, replaced voter by voter, of sixteen
// voters at most, of which those stay that still decide; what else is kept of a replica is not
// touched, and damage is an error.
func TestHeard(t *testing.T) {
	st, err := store.Open(store.Options{InMemory: true, Small: true})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { st.Run(context.Background()) })
	defer wg.Wait()
	defer st.Close(context.Background())
	one, two := room.ID{1}, room.ID{2}
	put := func(id room.ID, list []room.Ballot, members ...string) {
		t.Helper()
		if err := st.Update(context.Background(), func(tx *store.Tx) error { return logstore.PutHeard(tx, id, list, members) }); err != nil {
			t.Fatal(err)
		}
	}
	read := func(id room.ID, voter string) (list []room.Ballot, err error) {
		err = st.View(func(tx *store.Tx) (err error) { list, err = logstore.ReadHeard(tx, id, voter); return err })
		return list, err
	}
	put(one, nil)
	if _, err := read(one, "a.examp"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	put(one, ballots(one, "a.examp", 2)) // a name that makes a key as long as that of an entry
	put(two, ballots(two, "a.examp", 1))
	put(one, ballots(one, "a.examp", room.MaxBallots))
	for id, n := range map[room.ID]int{one: room.MaxBallots, two: 1} {
		if list, err := read(id, "a.examp"); err != nil || !slices.Equal(list, ballots(id, "a.examp", n)) {
			t.Errorf("room %s: %d votes, %v", id, len(list), err)
		}
	}
	err = st.View(func(tx *store.Tx) error {
		for id, err := range logstore.Tails(tx) {
			t.Errorf("room %s has entries that are not final: %v", id, err)
		}
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceReplica.Prefix(nil)}) {
			if err != nil {
				return err
			}
			if err := logstore.Check(it); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	var members []string
	for i := range logstore.MaxHeard - 1 {
		members = append(members, fmt.Sprintf("m%02d.example", i))
		put(one, ballots(one, members[i], 1), members...)
	}
	kept := func(voter string) bool { _, err := read(one, voter); return err == nil }
	if !kept("a.examp") {
		t.Error("gone before there were too many")
	}
	put(one, ballots(one, members[3], 2), members...)
	if !kept("a.examp") {
		t.Error("gone though nobody new has come")
	}
	put(one, ballots(one, "new.example", 1), members...)
	if kept("a.examp") || !kept("new.example") {
		t.Error("who decides no more stays in place of who does")
	}
	members = append(members, "new.example")
	put(one, ballots(one, "more.example", 1), members...)
	for _, d := range members {
		if !kept(d) {
			t.Errorf("%s gave way to one too many", d)
		}
	}
	if kept("more.example") {
		t.Error("more are kept than there may be")
	}

	good := logstore.EncodeHeard(ballots(one, "a.examp", 2))
	two2 := ballots(one, "a.examp", 2)
	for name, b := range map[string][]byte{"cut": good[:len(good)-1], "longer": append(slices.Clone(good), 0), "of another version": append([]byte{9}, good[1:]...),
		"of another room": logstore.EncodeHeard(ballots(two, "a.examp", 1)), "of another voter": logstore.EncodeHeard(ballots(one, "c.example", 1)),
		"backwards": logstore.EncodeHeard([]room.Ballot{two2[1], two2[0]}), "twice": logstore.EncodeHeard([]room.Ballot{two2[0], two2[0]}),
		"too many": logstore.EncodeHeard(ballots(one, "a.examp", room.MaxBallots+1))} {
		if _, err := logstore.DecodeHeard(one, "a.examp", b); !errors.Is(err, logstore.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzHeard: what decodes as stored votes encodes to the same bytes.
func FuzzHeard(f *testing.F) {
	f.Add(logstore.EncodeHeard(ballots(room.ID{1}, "c.example", 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := logstore.DecodeHeard(room.ID{1}, "c.example", b); err == nil && !bytes.Equal(logstore.EncodeHeard(list), b) {
			t.Fatalf("%x became %x", b, logstore.EncodeHeard(list))
		}
	})
}
