package store_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/store"
)

// BenchmarkAppend appends room entries of 500 bytes, each acknowledged after its
// fsync, from many waiters: merged by the writer, and for comparison with one Badger
// transaction per append.
func BenchmarkAppend(b *testing.B) {
	for _, waiters := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("merged/waiters=", waiters), func(b *testing.B) {
			s := start(b, store.Options{Dir: filepath.Join(b.TempDir(), "store")})
			v := make([]byte, 500)
			waitAll(b, waiters, func(n int, seq uint64) error {
				return s.Update(b.Context(), func(tx *store.Tx) error {
					return tx.Set(store.RoomEntryKey(room(n), seq), v)
				})
			})
			b.ReportMetric(float64(s.Stats().Functions)/float64(s.Stats().Commits), "appends/fsync")
		})
		b.Run(fmt.Sprint("naive/waiters=", waiters), func(b *testing.B) {
			db, closeDB, err := store.OpenNaive(filepath.Join(b.TempDir(), "badger"))
			if err != nil {
				b.Fatal(err)
			}
			defer closeDB()
			v := make([]byte, 500)
			waitAll(b, waiters, func(n int, seq uint64) error {
				return db(store.RoomEntryKey(room(n), seq), v)
			})
		})
	}
}

// waitAll shares b.N appends between the waiters.
func waitAll(b *testing.B, waiters int, do func(n int, seq uint64) error) {
	times := make([][]time.Duration, waiters)
	var group sync.WaitGroup
	b.ResetTimer()
	for n := range waiters {
		group.Go(func() {
			for i := n; i < b.N; i += waiters {
				began := time.Now()
				if err := do(n, uint64(i)); err != nil {
					b.Error(err)
					return
				}
				times[n] = append(times[n], time.Since(began))
			}
		})
	}
	group.Wait()
	b.StopTimer()
	all := slices.Concat(times...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkOpen opens a store of 10,000 rooms with 100 entries each and reads all
// heads, which is what a start does.
func BenchmarkOpen(b *testing.B) {
	if testing.Short() {
		b.Skip("fills a store of 10,000 rooms first")
	}
	const rooms, entries = 10_000, 100
	dir := filepath.Join(b.TempDir(), "store")
	s, err := run(store.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	id := func(n int) (id store.RoomID) {
		copy(id[:], fmt.Sprintf("%032x", uint64(n)*0x9e3779b97f4a7c15))
		return id
	}
	v := make([]byte, 300)
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for n := w; n < rooms; n += 8 {
				err := s.Update(b.Context(), func(tx *store.Tx) error {
					for seq := range uint64(entries) {
						if err := tx.Set(store.RoomEntryKey(id(n), seq), v); err != nil {
							return err
						}
					}
					return tx.Set(store.RoomHeadKey(id(n)), v)
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	if err := s.shut(); err != nil {
		b.Fatal(err)
	}
	var opened, read time.Duration
	for b.Loop() {
		began := time.Now()
		st, err := store.Open(store.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		opened += time.Since(began)
		began = time.Now()
		heads := 0
		err = st.View(func(tx *store.Tx) error {
			for _, err := range tx.Scan(store.Scan{Prefix: store.RoomHeads()}) {
				if err != nil {
					return err
				}
				heads++
			}
			return nil
		})
		if err != nil || heads != rooms {
			b.Fatal(heads, err)
		}
		read += time.Since(began)
		b.StopTimer()
		if err := st.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(opened.Microseconds())/1000/float64(b.N), "open-ms")
	b.ReportMetric(float64(read.Microseconds())/1000/float64(b.N), "heads-ms")
}
