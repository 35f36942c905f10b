package mix_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/store"
)

// openStore opens a store and runs it; the function ends it.
func openStore(t testing.TB, dir string) (*store.Store, func()) {
	st, err := store.Open(store.Options{Dir: dir, Small: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	return st, func() {
		cancel()
		if err := errors.Join(<-ended, st.Close(context.Background())); err != nil {
			t.Error(err)
		}
	}
}

func mark(e onion.Epoch, i int) mix.Mark {
	return mix.Mark{Epoch: e, Tag: onion.Tag{byte(i), byte(i >> 8), byte(i >> 16), 5: 1, 15: byte(e)}}
}

// TestStoreJournal: what was written is read after the store was closed and opened, in as few records as
// possible; what is dropped is gone, and nothing else.
func TestStoreJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	st, stop := openStore(t, dir)
	j := mix.NewStoreJournal(st)
	want := map[mix.Mark]bool{}
	write := func(marks ...mix.Mark) {
		t.Helper()
		if err := j.Append(t.Context(), marks); err != nil {
			t.Fatal(err)
		}
		for _, m := range marks {
			want[m] = true
		}
	}
	read := func(what string) {
		t.Helper()
		got := map[mix.Mark]bool{}
		if err := j.Load(t.Context(), func(e onion.Epoch, tag onion.Tag) error {
			m := mix.Mark{Epoch: e, Tag: tag}
			if got[m] {
				t.Errorf("%s: a tag twice", what)
			}
			got[m] = true
			return nil
		}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d tags, not %d", what, len(got), len(want))
		}
		for m := range want {
			if !got[m] {
				t.Fatalf("%s: a tag is missing", what)
			}
		}
	}
	read("nothing")
	var many []mix.Mark
	for i := range 10_000 {
		many = append(many, mark(epoch, i))
	}
	write(many...)
	commits := st.Stats().Commits
	write(mark(epoch-1, 0), mark(epoch-1, 1), mark(epoch, 10_000), mark(epoch-1, 2), mark(epoch+256, 3))
	if n := st.Stats().Commits - commits; n != 1 {
		t.Errorf("tags of three epochs took %d commits", n)
	}
	read("written")
	stop()
	st, stop = openStore(t, dir)
	defer func() { stop() }()
	j = mix.NewStoreJournal(st)
	read("opened again")
	write(mark(epoch, 10_001))
	read("written behind the others")
	records := 0
	if err := st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceOnion.Prefix(nil)}) {
			if err != nil {
				return err
			}
			records++
			if err := mix.Check(it); err != nil {
				t.Error(err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if records != 3+4+1 { // of 10,000 tags, of the next five, and one
		t.Errorf("%d records", records)
	}
	if err := j.Drop(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	for m := range want {
		if m.Epoch < epoch {
			delete(want, m)
		}
	}
	read("an epoch is dropped")
	if err := j.Drop(t.Context(), epoch+1000); err != nil {
		t.Fatal(err)
	}
	clear(want)
	read("all are dropped")
}

// TestDropManyRecords: an epoch of more records than one transaction takes away is dropped whole.
func TestDropManyRecords(t *testing.T) {
	st, stop := openStore(t, filepath.Join(t.TempDir(), "store"))
	defer stop()
	for i := range 21 {
		if err := st.Update(t.Context(), func(tx *store.Tx) error {
			for k := range 100 {
				key := store.SpaceOnion.Key([]byte{0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, byte(i), byte(k)})
				if err := tx.Set(key, append([]byte{1}, make([]byte, 16)...)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	j := mix.NewStoreJournal(st)
	if err := j.Append(t.Context(), []mix.Mark{mark(10, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := j.Drop(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := j.Load(t.Context(), func(onion.Epoch, onion.Tag) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d tags are left: %v", n, err)
	}
}

// TestDamagedJournal: records that are none are named, and read by nobody.
func TestDamagedJournal(t *testing.T) {
	good := make([]byte, 16)
	for name, c := range map[string]struct{ key, value []byte }{
		"a short key":       {good[:15], append([]byte{1}, good...)},
		"a long key":        {append(good, 0), append([]byte{1}, good...)},
		"nothing":           {good, nil},
		"no tag":            {good, []byte{1}},
		"half a tag":        {good, append([]byte{1}, good[:8]...)},
		"another version":   {good, append([]byte{2}, good...)},
		"more than may be":  {good, append([]byte{1}, make([]byte, 16*4097)...)},
		"an octet too many": {good, append([]byte{1, 0}, good...)},
	} {
		t.Run(name, func(t *testing.T) {
			st, stop := openStore(t, filepath.Join(t.TempDir(), "store"))
			defer stop()
			key := store.SpaceOnion.Key(c.key)
			if err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.Set(key, c.value) }); err != nil {
				t.Fatal(err)
			}
			err := mix.NewStoreJournal(st).Load(t.Context(), func(onion.Epoch, onion.Tag) error { t.Error("a tag"); return nil })
			if !errors.Is(err, mix.ErrDamaged) || !errors.Is(mix.Check(store.Item{Key: key, Value: c.value}), mix.ErrDamaged) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestReplayAfterRestartOfStore: over a real store, a packet that was relayed before the program ended
// and began again is known.
func TestReplayAfterRestartOfStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	key := must[onion.PrivateKey](t)(onion.GenerateKey(format.Suite))
	packet := must[[]byte](t)(format.Build(epoch, []onion.Relay{{Node: here, Key: key.Public()}}, onion.Mailbox{}, nil))
	for i, want := range []mix.Counts{
		{Received: 2, Decapsulated: 2, Delivered: 1, Replayed: 1},
		{Received: 2, Decapsulated: 2, Replayed: 2},
	} {
		st, stop := openStore(t, dir)
		hand := func(onion.Mailbox, []byte) bool { return true }
		r := must[*mix.Relay](t)(mix.NewRelay(mix.RelayConfig{Format: format, Keys: []mix.EpochKey{{Epoch: epoch, Key: key}}, Link: &memoryLink{}, Peers: onePeer{},
			Journal: mix.NewStoreJournal(st), Deliver: hand, Reply: hand}))
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		for range 2 {
			r.Receive(ctx, "a", packet)
		}
		until(t, "both packets are done with", func() bool {
			c := r.Counts()
			return c.Delivered+c.Replayed == 2
		})
		if c := r.Counts(); c != want {
			t.Errorf("run %d: %+v", i, c)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		stop()
	}
}
