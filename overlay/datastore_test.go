package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dstest "github.com/ipfs/go-datastore/test"

	"github.com/mimid/mimid/overlay"
)

// strictKV fails on demand, and on everything that the interface forbids.
type strictKV struct {
	overlay.MemoryKV
	t testing.TB

	mu       sync.Mutex
	failWith error
	writes   int
	largest  int
}

func (s *strictKV) Write(ctx context.Context, writes []overlay.Write) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failWith != nil {
		return s.failWith
	}
	for _, w := range writes {
		if len(w.Key) == 0 || len(w.Key) > 1024 || len(w.Value) > 64<<10 {
			s.t.Errorf("key of %d, value of %d bytes", len(w.Key), len(w.Value))
		}
	}
	s.writes++
	s.largest = max(s.largest, len(writes))
	return s.MemoryKV.Write(ctx, writes)
}

func (s *strictKV) Get(ctx context.Context, key []byte) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failWith != nil {
		return nil, false, s.failWith
	}
	return s.MemoryKV.Get(ctx, key)
}

func (s *strictKV) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failWith = err
}

// The datastore's own test suite.
func TestDatastoreConforms(t *testing.T) {
	d, err := overlay.NewDatastore(&overlay.MemoryKV{}, "d", nil)
	if err != nil {
		t.Fatal(err)
	}
	dstest.SubtestAll(t, d)
}

func TestDatastoreBounds(t *testing.T) {
	ctx := context.Background()
	kv := &strictKV{t: t}
	d, err := overlay.NewDatastore(kv, "d", map[string]int{"/providers/": 3})
	if err != nil {
		t.Fatal(err)
	}
	k := func(i int) ds.Key { return ds.NewKey(fmt.Sprint("/providers/x/", i)) }
	for i := range 3 {
		if err := d.Put(ctx, k(i), []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Put(ctx, k(3), []byte{1}); !errors.Is(err, overlay.ErrFull) {
		t.Errorf("a fourth: %v", err)
	}
	if err := d.Put(ctx, k(1), []byte{2}); err != nil {
		t.Errorf("renewing: %v", err)
	}
	if err := d.Put(ctx, ds.NewKey("/other"), []byte{2}); err != nil {
		t.Errorf("elsewhere: %v", err)
	}
	b, err := d.Batch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.Delete(ctx, k(0))
	b.Delete(ctx, k(0))
	b.Put(ctx, k(4), []byte{4})
	b.Put(ctx, k(4), []byte{5})
	b.Put(ctx, k(5), []byte{5}) // one too many: left out, the rest is kept
	if err := b.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	count := func(d ds.Batching) int {
		r, err := d.Query(ctx, query.Query{Prefix: "/providers", KeysOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		all, err := r.Rest()
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if n := count(d); n != 3 {
		t.Errorf("%d", n)
	}
	if v, err := d.Get(ctx, k(4)); err != nil || string(v) != "\x05" {
		t.Errorf("%x %v", v, err)
	}
	again, err := overlay.NewDatastore(kv, "d", map[string]int{"/providers/": 3}) // as after a restart
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Put(ctx, k(9), []byte{1}); !errors.Is(err, overlay.ErrFull) {
		t.Errorf("after a restart: %v", err)
	}
	broken := errors.New("disk is broken")
	kv.fail(broken)
	if err := again.Delete(ctx, k(1)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	kv.fail(nil)
	if err := again.Put(ctx, k(9), []byte{1}); !errors.Is(err, overlay.ErrFull) {
		t.Errorf("a failed delete was counted: %v", err)
	}
	if err := again.Delete(ctx, k(1)); err != nil {
		t.Error(err)
	}
	if err := again.Put(ctx, k(9), []byte{1}); err != nil {
		t.Errorf("after a delete: %v", err)
	}
}

// Nothing is trusted that could not be stored.
func TestStorageFails(t *testing.T) {
	kv := &strictKV{t: t}
	nodes := providers(t, 2, func(i int, c *overlay.Config) {
		if i == 0 {
			c.KV = kv
		}
	})
	a := nodes[0]
	resolves(t, a, "p1.example")
	if err := a.Forget(t.Context(), "p1.example"); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("disk is broken")
	kv.fail(broken)
	if _, err := a.Resolve(t.Context(), "p1.example"); !errors.Is(err, broken) {
		t.Errorf("Resolve: %v", err)
	}
	if len(a.Keys("p1.example")) != 0 {
		t.Error("a key is trusted that was not stored")
	}
	if err := a.Pin(t.Context(), "p1.example", fingerprint("x")); !errors.Is(err, broken) {
		t.Errorf("Pin: %v", err)
	}
	if err := a.Forget(t.Context(), "p1.example"); !errors.Is(err, broken) {
		t.Errorf("Forget: %v", err)
	}
	if err := a.Block(nodes[1].Self()); !errors.Is(err, broken) {
		t.Errorf("Block: %v", err)
	}
	kv.fail(nil)
	resolves(t, a, "p1.example")
}
