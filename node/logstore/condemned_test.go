package logstore_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// TestCondemned: what is kept against a hub is read again as it was written, room
// by room, and damage is an error.
func TestCondemned(t *testing.T) {
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
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	var put []*logstore.Condemned
	for i := range 2 {
		c := &logstore.Condemned{Room: room.ID{byte(i + 1)}, Why: "because " + strings.Repeat("x", 5000)}
		at := room.Position{Term: room.FirstTerm, Next: 7}
		for range i + 2 {
			e := &room.Entry{Room: c.Room, Term: at.Term, Seq: at.Next, Prev: at.Last, Kind: room.KindMessage, Body: []byte{byte(i)}}
			at = room.Position{Term: e.Term, Next: e.Seq + 1, Last: e.Hash()}
			c.Entries = append(c.Entries, e)
		}
		c.Head = room.SignHead(room.HeadOf(c.Entries[i+1]), key)
		if i == 1 {
			low := room.SignHead(room.HeadOf(c.Entries[0]), key)
			c.Low, c.Cert = &low, &room.Certificate{Head: c.Head.Head, Signers: []room.Signer{{Domain: "atlanta.example", CoSignature: room.CoSign(c.Head.Head, key)}}}
		}
		update(func(tx *store.Tx) error { return logstore.PutCondemned(tx, c) })
		put = append(put, c)
	}
	read := func(id room.ID) (c *logstore.Condemned, all int, err error) {
		err = st.View(func(tx *store.Tx) error {
			for _, err := range logstore.AllCondemned(tx) {
				if err != nil {
					return err
				}
				all++
			}
			c, err = logstore.ReadCondemned(tx, id)
			return err
		})
		return c, all, err
	}
	for _, want := range put {
		c, all, err := read(want.Room)
		if err != nil || all != 2 || c.Head != want.Head || len(c.Entries) != len(want.Entries) || !strings.HasPrefix(want.Why, c.Why) || len(c.Why) > 4096 {
			t.Fatalf("%+v of %d, %v", c, all, err)
		}
		if (c.Low == nil) != (want.Low == nil) || c.Low != nil && *c.Low != *want.Low {
			t.Errorf("the other head is %+v", c.Low)
		}
		if (c.Cert == nil) != (want.Cert == nil) || c.Cert != nil && !bytes.Equal(c.Cert.Append(nil), want.Cert.Append(nil)) {
			t.Errorf("the certificate is %+v", c.Cert)
		}
		for i, e := range c.Entries {
			if e.Hash() != want.Entries[i].Hash() {
				t.Errorf("entry %d is another", i)
			}
		}
	}
	if _, _, err := read(room.ID{9}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a room that nothing is known against: %v", err)
	}
	id := put[0].Room
	shorter := *put[0]
	shorter.Entries = shorter.Entries[:1]
	update(func(tx *store.Tx) error { return logstore.PutCondemned(tx, &shorter) })
	if c, all, err := read(id); err != nil || all != 2 || len(c.Entries) != 1 {
		t.Errorf("after another proof, of one entry: %+v of %d, %v", c, all, err)
	}
	for name, v := range map[string][]byte{"cut": {1, 3, 'a'}, "empty": {}, "of another version": put[0].Head.Append([]byte{2, 0})} {
		update(func(tx *store.Tx) error { return tx.Set(store.SpaceCondemned.Key(id[:]), v) })
		if _, _, err := read(id); !errors.Is(err, logstore.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
