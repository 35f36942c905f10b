package store_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/store"
	"pgregory.net/rapid"
)

// TestKeyBytes pins the key space of format version 1 as the package doc writes it.
func TestKeyBytes(t *testing.T) {
	id := strings.Repeat("ab", 32)
	r := store.RoomID(bytes.Repeat([]byte{0xab}, 32))
	for _, tc := range []struct {
		key  store.Key
		want string
	}{
		{store.RoomHeadKey(r), "10" + id},
		{store.RoomEntryKey(r, 0x0102030405060708), "11" + id + "0102030405060708"},
		{store.RoomTxnKey(r, store.TxnID{31: 0xcd}), "12" + id + strings.Repeat("00", 31) + "cd"},
		{store.RoomPartKey(r, []byte("part")), "13" + id + hex.EncodeToString([]byte("part"))},
		{store.SpaceAccounts.Key([]byte("x")), "2078"},
		{store.SpaceDevices.Key([]byte("x")), "2178"},
		{store.SpaceKeyPackages.Key([]byte("x")), "2278"},
		{store.SpaceConsent.Key([]byte("x")), "2378"},
		{store.SpaceProviders.Key([]byte("x")), "2478"},
		{store.SpaceOverlay.Key([]byte("x")), "2578"},
		{store.RoomBatchKey(r, 0x0102030405060708), "14" + id + "0102030405060708"},
		{store.SpaceFeed.Key([]byte("x")), "2678"},
		{store.SpaceOutbox.Key([]byte("x")), "2778"},
		{store.SpaceClaims.Key([]byte("x")), "2878"},
		{store.SpaceClient.Key([]byte("x")), "2978"},
		{store.SpaceCondemned.Key([]byte("x")), "2a78"},
		{store.SpaceRestored.Key([]byte("x")), "2b78"},
		{store.SpaceReplica.Key([]byte("x")), "2c78"},
		{store.SpaceHeard.Key([]byte("x")), "2d78"},
	} {
		if got := hex.EncodeToString(tc.key.Bytes()); got != tc.want || tc.key.String() != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}

// TestKeysApart checks that no part of the key space contains a key of another.
func TestKeysApart(t *testing.T) {
	r := room(0x20) // a room id that looks like a space
	all := map[string]struct {
		prefix store.Prefix
		keys   []store.Key
	}{
		"heads":   {store.RoomHeads(), []store.Key{store.RoomHeadKey(r), store.RoomHeadKey(room(0xff))}},
		"entries": {store.RoomEntries(r), []store.Key{store.RoomEntryKey(r, 0), store.RoomEntryKey(r, math.MaxUint64)}},
		"other":   {store.RoomEntries(room(0x21)), []store.Key{store.RoomEntryKey(room(0x21), 7)}},
		"txns":    {store.RoomTxns(r), []store.Key{store.RoomTxnKey(r, store.TxnID{1})}},
		"batches": {store.RoomBatches(r), []store.Key{store.RoomBatchKey(r, 0), store.RoomBatchKey(r, math.MaxUint64)}},
		"parts":   {store.RoomParts(r), []store.Key{store.RoomPartKey(r, nil), store.RoomPartKey(r, []byte{0xff, 0})}},
	}
	for i, sp := range []store.Space{store.SpaceAccounts, store.SpaceDevices, store.SpaceKeyPackages,
		store.SpaceConsent, store.SpaceProviders, store.SpaceOverlay, store.SpaceFeed, store.SpaceOutbox, store.SpaceClaims, store.SpaceClient, store.SpaceCondemned, store.SpaceRestored, store.SpaceReplica, store.SpaceHeard} {
		e := all["heads"]
		e.prefix, e.keys = sp.Prefix(nil), []store.Key{sp.Key(nil), sp.Key([]byte{0xff, 0xff}), sp.Key(r[:])}
		all[string(rune('0'+i))] = e
	}
	for name, part := range all {
		for other, of := range all {
			for _, k := range of.keys {
				if got := part.prefix.Has(k); got != (name == other) {
					t.Errorf("prefix of %s has key %v of %s: %v", name, k, other, got)
				}
			}
		}
	}
}

func TestKeysParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := store.RoomID(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "room"))
		txn := store.TxnID(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "txn"))
		seq := rapid.Uint64().Draw(t, "seq")
		name := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "name")

		if got, err := store.ParseRoomHead(store.RoomHeadKey(id)); err != nil || got != id {
			t.Errorf("head: %x, %v", got, err)
		}
		if got, n, err := store.ParseRoomBatch(store.RoomBatchKey(id, seq)); err != nil || got != id || n != seq {
			t.Errorf("batch: %x %d, %v", got, n, err)
		}
		if got, n, err := store.ParseRoomEntry(store.RoomEntryKey(id, seq)); err != nil || got != id || n != seq {
			t.Errorf("entry: %x %d, %v", got, n, err)
		}
		if got, x, err := store.ParseRoomTxn(store.RoomTxnKey(id, txn)); err != nil || got != id || x != txn {
			t.Errorf("txn: %x %x, %v", got, x, err)
		}
		if got, part, err := store.ParseRoomPart(store.RoomPartKey(id, name)); err != nil || got != id || !bytes.Equal(part, name) {
			t.Errorf("part: %x %x, %v", got, part, err)
		}
		if got, err := store.SpaceConsent.Parse(store.SpaceConsent.Key(name)); err != nil || !bytes.Equal(got, name) {
			t.Errorf("space: %x, %v", got, err)
		}
		if got, err := store.ParseSeqValue(store.SeqValue(seq)); err != nil || got != seq {
			t.Errorf("seq value: %d, %v", got, err)
		}
		if _, err := store.ParseSeqValue(name); (err == nil) != (len(name) == 8) {
			t.Errorf("seq value of %d bytes: %v", len(name), err)
		}
		// Each parser takes its own keys only.
		k := store.RoomPartKey(id, name)
		_, e1 := store.ParseRoomHead(k)
		_, _, e2 := store.ParseRoomEntry(k)
		_, _, e3 := store.ParseRoomTxn(k)
		_, e4 := store.SpaceOverlay.Parse(k)
		_, _, e5 := store.ParseRoomPart(store.RoomEntryKey(id, seq))
		for i, err := range []error{e1, e2, e3, e4, e5} {
			if err == nil {
				t.Errorf("parser %d took a key of another kind", i+1)
			}
		}
	})
}

// TestKeyOrder checks that entries lie in order of seq.
func TestKeyOrder(t *testing.T) {
	s := start(t, memory())
	seqs := []uint64{0, 1, 255, 256, 65535, 65536, 1 << 40, math.MaxUint64 - 1, math.MaxUint64}
	for _, seq := range slices.Backward(seqs) {
		set(t, s, store.RoomEntryKey(room(1), seq), "x")
		set(t, s, store.RoomEntryKey(room(2), seq), "other room")
	}
	var got []uint64
	err := s.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.RoomEntries(room(1))}) {
			if err != nil {
				return err
			}
			_, seq, err := store.ParseRoomEntry(it.Key)
			if err != nil {
				return err
			}
			got = append(got, seq)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(seqs, got); diff != "" {
		t.Error(diff)
	}
}

func TestUndefinedSpace(t *testing.T) {
	defer func() {
		if v := recover(); v != "store: space 0x11 is not defined" {
			t.Errorf("got %v", v)
		}
	}()
	store.Space(0x11).Key([]byte("x")) // would be a room entry
}
