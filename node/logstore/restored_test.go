package logstore_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// TestRestored: rooms of a restored store have the mark until it is taken away.
func TestRestored(t *testing.T) {
	f := open(t)
	one, two := f.write(name(1), 10, 3).ID(), f.write(name(2), 10, 1).ID()
	var backup bytes.Buffer
	if _, err := f.st.Backup(t.Context(), &backup, nil, nil); err != nil {
		t.Fatal(err)
	}
	r, err := store.ReadBackup(&backup)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := r.Restore(t.Context(), store.Options{Dir: dir, Small: true}, nil); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(store.Options{Dir: dir, Small: true})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { st.Run(context.Background()) })
	defer wg.Wait()
	defer st.Close(context.Background())
	g := &fixture{t, st}

	marks := func(f *fixture) (out [2]bool) {
		t.Helper()
		err := f.view(func(tx *store.Tx) (err error) {
			for i, id := range []room.ID{one, two} {
				if out[i], err = logstore.Restored(tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return out
	}
	if got := marks(f); got != [2]bool{} {
		t.Errorf("before: %v", got)
	}
	if got := marks(g); got != [2]bool{true, true} {
		t.Errorf("restored: %v", got)
	}
	g.update(func(tx *store.Tx) error { return logstore.ClearRestored(tx, one) })
	if got := marks(g); got != [2]bool{false, true} {
		t.Errorf("one is whole again: %v", got)
	}
	g.update(func(tx *store.Tx) error { return tx.Set(store.SpaceRestored.Key(two[:]), []byte{9}) })
	if err := g.view(func(tx *store.Tx) error { _, err := logstore.Restored(tx, two); return err }); !errors.Is(err, logstore.ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
}
