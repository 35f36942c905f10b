package store_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/mimid/mimid/store"
)

// BenchmarkBackup backs up a store of 800 MB, of room entries of 1,100 bytes, into a file
// that is then synced, and restores it from there. Bytes are those of the backup.
func BenchmarkBackup(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "store")
	s := start(b, store.Options{Dir: dir})
	rnd := rand.NewChaCha8([32]byte{1})
	for i := range uint64(700) {
		err := s.Update(b.Context(), func(tx *store.Tx) error {
			for j := range uint64(1000) {
				v := make([]byte, 1100)
				rnd.Read(v)
				if err := tx.Set(store.RoomEntryKey(room(int(i%100)), i*1000+j), v); err != nil {
					return err
				}
			}
			return tx.Set(store.RoomHeadKey(room(int(i%100))), []byte("head"))
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	file := filepath.Join(b.TempDir(), "backup")
	b.Run("backup", func(b *testing.B) {
		for b.Loop() {
			f, err := os.Create(file)
			if err != nil {
				b.Fatal(err)
			}
			info, err := s.Backup(context.Background(), f, nil, nil)
			if err == nil {
				err = f.Sync()
			}
			if err != nil {
				b.Fatal(err)
			}
			f.Close()
			b.SetBytes(int64(info.Bytes))
		}
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			f, err := os.Open(file)
			if err != nil {
				b.Fatal(err)
			}
			r, err := store.ReadBackup(f)
			if err != nil {
				b.Fatal(err)
			}
			to := filepath.Join(b.TempDir(), "restored")
			info, err := r.Restore(context.Background(), store.Options{Dir: to}, nil)
			if err != nil {
				b.Fatal(err)
			}
			f.Close()
			b.SetBytes(int64(info.Bytes))
			b.StopTimer()
			os.RemoveAll(to)
			b.StartTimer()
		}
	})
}
