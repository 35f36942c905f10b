package outbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

// usual is a store as providers have it: a small one holds no large body in a transaction.
func usual(t testing.TB) *store.Store { return openStore(t, store.Options{InMemory: true}) }

// large is a body that fits into no value of the store. Those of different names differ in
// their last octet only, so that nothing but the whole body tells them apart.
func large(size int, name byte) string {
	return strings.Repeat("x", size-1) + string(name)
}

// kept counts the records of a kind in the outbox's space, and the octets of their values.
func kept(t testing.TB, st outbox.Store, kind byte) (n, octets int) {
	t.Helper()
	err := st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceOutbox.Prefix([]byte{kind})}) {
			if err != nil {
				return err
			}
			n++
			octets += len(it.Value)
			if err := outbox.Check(it); err != nil {
				t.Errorf("verifying %v: %v", it.Key, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, octets
}

// empty says that nothing is left of what was delivered.
func (b *box) empty() {
	b.t.Helper()
	for kind := byte(1); kind <= 4; kind++ {
		if n, _ := kept(b.t, b.store, kind); n > 0 {
			b.t.Errorf("%d records of kind %d are left", n, kind)
		}
	}
}

// TestLargeBodies: a body of any length up to the bound arrives whole, in its place between
// others, and leaves nothing behind.
func TestLargeBodies(t *testing.T) {
	for _, size := range []int{outbox.PieceBytes - 1, outbox.PieceBytes, outbox.PieceBytes + 1, 2 * outbox.PieceBytes, 3*outbox.PieceBytes + 7, outbox.MaxBody} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				b := newBox(t, usual(t), n, nil)
				want := []string{"before", large(size, 'a'), "between", large(size, 'b'), "after"}
				for _, body := range want {
					b.put(biloxi, body)
				}
				if pieces, _ := kept(t, b.store, 3); pieces != 2*((size+outbox.PieceBytes-1)/outbox.PieceBytes) && size > outbox.PieceBytes || pieces > 0 && size <= outbox.PieceBytes {
					t.Errorf("two bodies are kept in %d pieces", pieces)
				}
				b.run()
				time.Sleep(time.Second)
				if got := n.got(biloxi); !cmp.Equal(got, want) {
					t.Errorf("%d bodies came", len(got))
				}
				b.empty()
			})
		})
	}
}

// TestLargeBodyIsKeptOnce: one body for many targets is one body, until the last of them has
// taken it, and one that is refused, or too old, is done with, too.
func TestLargeBodyIsKeptOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		away := map[string]error{
			"p1.example": refused(403, clientapi.CodeForbidden),
			"p2.example": peering.ErrUnreachable,
			"p3.example": refused(500, clientapi.CodeInternal),
		}
		n.answer = func(q peering.Request, attempt int) error {
			if q.Target == "p3.example" && attempt > 20 {
				return nil // it went to the end of its queue, more than once
			}
			return away[q.Target]
		}
		b := newBox(t, usual(t), n, func(c *outbox.Config) { c.Lifetime = 2 * time.Hour })
		body := large(1<<20, 'a')
		err := b.store.Update(t.Context(), func(tx *store.Tx) error {
			for i := range 20 {
				if err := b.Put(tx, fmt.Sprintf("p%d.example", i), outbox.Item{Endpoint: "notify", Subject: "x", Body: []byte(body)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		pieces, octets := kept(t, b.store, 3)
		if pieces != 16 || octets > len(body)+16*8 {
			t.Errorf("%d octets for 20 providers are kept as %d in %d pieces", len(body), octets, pieces)
		}
		b.run()
		time.Sleep(time.Hour)
		if pieces, _ := kept(t, b.store, 3); pieces != 16 {
			t.Errorf("%d pieces while one provider is away", pieces)
		}
		for i := range 20 {
			target := fmt.Sprintf("p%d.example", i)
			want := 1
			if target == "p1.example" || target == "p2.example" {
				want = 0
			}
			if got := n.got(target); len(got) != want || want == 1 && got[0] != body {
				t.Errorf("%s got %d bodies", target, len(got))
			}
		}
		time.Sleep(2 * time.Hour)
		b.empty()
		if s := b.Stats(); s.Expired != 1 || s.Dropped != 1 || s.Delivered != 18 {
			t.Errorf("%+v", s)
		}
	})
}

// crashing is a store whose nth write fails, before or after it has happened, and all after it.
type crashing struct {
	*store.Store
	writes, at int
	happened   bool
}

var errCrash = fmt.Errorf("test: %w", store.ErrClosed)

func (c *crashing) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	c.writes++
	switch {
	case c.writes < c.at:
		return c.Store.Update(ctx, fn)
	case c.writes == c.at && c.happened:
		if err := c.Store.Update(ctx, fn); err != nil {
			return err
		}
	}
	return errCrash
}

// TestLargeBodyCrash: wherever the process dies, each provider has each body once and in
// order after the next start, and nothing is left of them.
func TestLargeBodyCrash(t *testing.T) {
	for at := 1; at <= 4; at++ {
		for _, happened := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, happened %t", at, happened), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newNetwork()
					st := usual(t)
					c := &crashing{Store: st, at: at, happened: happened}
					first := newBox(t, c, n, nil)
					bodies := []string{large(300<<10, 'a'), "small", large(300<<10, 'a'), large(300<<10, 'b')}
					var want []string
					for _, body := range bodies[:2] {
						// What was not acknowledged may be there.
						if err := first.tryPut(biloxi, body); err == nil || happened && c.writes == at {
							want = append(want, body)
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					first.Run(ctx) // until the store fails, if it does
					cancel()

					second := newBox(t, st, n, nil)
					for _, body := range bodies[2:] {
						second.put(biloxi, body)
						want = append(want, body)
					}
					second.run()
					time.Sleep(time.Minute)
					if got := n.got(biloxi); !cmp.Equal(got, want) {
						t.Errorf("%d bodies came, not %d", len(got), len(want))
					}
					second.empty()
				})
			})
		}
	}
}

// TestLargeBodyOfAFailedTransaction: nothing of it is kept.
func TestLargeBodyOfAFailedTransaction(t *testing.T) {
	b := newBox(t, usual(t), newNetwork(), func(c *outbox.Config) { c.MaxOctets = 2 << 20 })
	failure := errors.New("caller changed its mind")
	err := b.store.Update(t.Context(), func(tx *store.Tx) error {
		if err := b.Put(tx, biloxi, outbox.Item{Endpoint: "notify", Subject: "x", Body: []byte(large(1<<20, 'a'))}); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatal(err)
	}
	b.empty()
	// What waits for one target is bounded by what it is to get, whether it is kept once or not.
	b.put(biloxi, large(1<<20, 'a'))
	if err := b.tryPut(biloxi, large(1<<20, 'a')); !errors.Is(err, outbox.ErrFull) {
		t.Errorf("two of a MiB, at most 2 MiB with what belongs to them: %v", err)
	}
	if pieces, _ := kept(t, b.store, 3); pieces != 16 {
		t.Errorf("%d pieces", pieces)
	}
}

// TestLargeBodyDamaged: what is not whole is not sent, and others get theirs.
func TestLargeBodyDamaged(t *testing.T) {
	body := large(3*outbox.PieceBytes, 'a')
	piece := func(i byte) store.Key {
		hash := sha256.Sum256([]byte(body))
		return store.SpaceOutbox.Key(append(append([]byte{3}, hash[:]...), 0, i))
	}
	for name, damage := range map[string]func(tx *store.Tx) error{
		"a piece is missing": func(tx *store.Tx) error { return tx.Delete(piece(1)) },
		"a piece has changed": func(tx *store.Tx) error {
			v, err := tx.Get(piece(1))
			v = bytes.Clone(v)
			v[100] ^= 1
			return errors.Join(err, tx.Set(piece(1), v))
		},
		"two pieces are exchanged": func(tx *store.Tx) error {
			a, err := tx.Get(piece(1))
			a = bytes.Clone(a)
			b, err2 := tx.Get(piece(2))
			b = bytes.Clone(b)
			return errors.Join(err, err2, tx.Set(piece(1), b), tx.Set(piece(2), a))
		},
		"a piece is there twice": func(tx *store.Tx) error {
			a, err := tx.Get(piece(2))
			a = bytes.Clone(a)
			return errors.Join(err, tx.Set(piece(1), a))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				b := newBox(t, usual(t), n, nil)
				b.put(biloxi, body)
				b.put(chicago, "hello")
				if err := b.store.Update(t.Context(), damage); err != nil {
					t.Fatal(err)
				}
				b.run()
				time.Sleep(time.Hour)
				if got := n.got(biloxi); len(got) > 0 {
					t.Errorf("%d damaged bodies came", len(got))
				}
				if got := n.got(chicago); len(got) != 1 {
					t.Errorf("chicago got %v", got)
				}
			})
		})
	}
}

// FuzzCheck: no record makes the outbox panic, and what it takes for an item says no more
// than it may hold.
func FuzzCheck(f *testing.F) {
	hash := sha256.Sum256(nil)
	item := append([]byte{1}, "a.example\x00\x00\x00\x00\x00\x00\x00\x00\x01"...)
	f.Add(item, append(append([]byte{2}, make([]byte, 24)...), append([]byte("\x01n\x01x\x01y"), append(hash[:], 0, 2, 0, 0)...)...))
	f.Add(item, append(append([]byte{1}, make([]byte, 24)...), "\x01n\x01x\x01y\x01z"...))
	f.Add(append([]byte{3}, append(hash[:], 0, 1)...), []byte("\x01\x01x"))
	f.Add(append([]byte{4}, hash[:]...), []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("\x02a.example"), append([]byte{1}, make([]byte, 32)...))
	f.Fuzz(func(t *testing.T, name, value []byte) {
		if len(name) > 300 {
			return
		}
		it := store.Item{Key: store.SpaceOutbox.Key(name), Value: value}
		if err := outbox.Check(it); err != nil {
			return
		}
		if name[0] == 1 {
			if size, again := outbox.ReadItem(it.Key, value); size > outbox.MaxBody || !bytes.Equal(again, value) && value[0] == 2 {
				t.Errorf("an item of %d octets, written again as %x", size, again)
			}
		}
	})
}
