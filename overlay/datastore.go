package overlay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// A datastore gives libp2p's stores a part of a KV. Two bounds keep what strangers make
// us hold within limits: the number of provider records of the DHT and of its values.
// Over the bound a new key is refused; what is there can be renewed.
type datastore struct {
	kv     KV
	prefix string

	mu     sync.Mutex
	bounds []*bound // guarded by mu
}

// A bound limits how many keys there are below a prefix.
type bound struct {
	prefix string
	count  int
	max    int
	own    func(key string) bool // says of a datastore key that it is ours, which no bound refuses; nil: none is
}

// newDatastore counts what is there.
func newDatastore(ctx context.Context, kv KV, prefix string, bounds ...*bound) (*datastore, error) {
	d := &datastore{kv: kv, prefix: prefix, bounds: bounds}
	for _, b := range bounds {
		err := kv.Scan(ctx, []byte(prefix+b.prefix), func(_, _ []byte) error { b.count++; return nil })
		if err != nil {
			return nil, fmt.Errorf("counting stored DHT records: %w", err)
		}
	}
	return d, nil
}

func (d *datastore) key(k ds.Key) []byte { return []byte(d.prefix + k.String()) }

func (d *datastore) Get(ctx context.Context, k ds.Key) ([]byte, error) {
	v, ok, err := d.kv.Get(ctx, d.key(k))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ds.ErrNotFound
	}
	return v, nil
}

func (d *datastore) Has(ctx context.Context, k ds.Key) (bool, error) {
	_, ok, err := d.kv.Get(ctx, d.key(k))
	return ok, err
}

func (d *datastore) GetSize(ctx context.Context, k ds.Key) (int, error) {
	v, err := d.Get(ctx, k)
	if err != nil {
		return -1, err
	}
	return len(v), nil
}

func (d *datastore) Put(ctx context.Context, k ds.Key, v []byte) error {
	if v == nil {
		v = []byte{}
	}
	refused, err := d.write(ctx, []Write{{d.key(k), v}})
	if err == nil && refused > 0 {
		return fmt.Errorf("%w: this node stores no more DHT records of strangers", ErrFull)
	}
	return err
}

func (d *datastore) Delete(ctx context.Context, k ds.Key) error {
	_, err := d.write(ctx, []Write{{Key: d.key(k)}})
	return err
}

// write leaves out the puts that a bound refuses, so that one stranger's record too much
// does not take the rest of a batch with it.
func (d *datastore) write(ctx context.Context, writes []Write) (refused int, err error) {
	d.mu.Lock() // held over the write: the counts must follow what is durable
	defer d.mu.Unlock()
	kept := make([]Write, 0, len(writes))
	delta := make(map[*bound]int)
	seen := make(map[string]bool)
	for _, w := range writes {
		b := d.boundOf(w.Key)
		if b != nil {
			have, ok := seen[string(w.Key)]
			if !ok {
				_, have, err = d.kv.Get(ctx, w.Key)
				if err != nil {
					return 0, err
				}
			}
			switch {
			case w.Value != nil && !have && b.count+delta[b] >= b.max && !b.isOwn(string(w.Key[len(d.prefix):])):
				refused++
				continue
			case w.Value != nil && !have:
				delta[b]++
			case w.Value == nil && have:
				delta[b]--
			}
			seen[string(w.Key)] = w.Value != nil
		}
		kept = append(kept, w)
	}
	if len(kept) == 0 {
		return refused, nil
	}
	if err := d.kv.Write(ctx, kept); err != nil {
		return 0, err
	}
	for b, n := range delta {
		b.count += n
	}
	return refused, nil
}

func (b *bound) isOwn(key string) bool { return b.own != nil && b.own(key) }

func (d *datastore) boundOf(key []byte) *bound {
	for _, b := range d.bounds {
		if strings.HasPrefix(string(key), d.prefix+b.prefix) {
			return b
		}
	}
	return nil
}

// Query reads everything below the prefix at once. The DHT queries the provider records
// of one key, and all values now and then; both are bounded.
func (d *datastore) Query(ctx context.Context, q query.Query) (query.Results, error) {
	prefix := ds.NewKey(q.Prefix).String() // clean
	if prefix != "/" {
		prefix += "/"
	}
	var entries []query.Entry
	err := d.kv.Scan(ctx, []byte(d.prefix+prefix), func(k, v []byte) error {
		e := query.Entry{Key: string(k[len(d.prefix):]), Size: len(v)}
		if !q.KeysOnly {
			e.Value = append([]byte{}, v...)
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	rest := q
	rest.Prefix = ""
	return query.NaiveQueryApply(rest, query.ResultsWithEntries(q, entries)), nil
}

func (d *datastore) Sync(context.Context, ds.Key) error { return nil } // a KV's write is durable

func (d *datastore) Close() error { return nil } // the KV belongs to the caller

func (d *datastore) Batch(context.Context) (ds.Batch, error) { return &batch{d: d}, nil }

// A batch becomes one write of the KV. The DHT's stores use one goroutine for each.
type batch struct {
	d      *datastore
	writes []Write
}

// maxBatch bounds what is collected before it is written.
const maxBatch = 4096

var errBatchFull = errors.New("overlay: too many operations in a batch")

func (b *batch) add(w Write) error {
	if len(b.writes) >= maxBatch {
		return errBatchFull
	}
	b.writes = append(b.writes, w)
	return nil
}

func (b *batch) Put(_ context.Context, k ds.Key, v []byte) error {
	return b.add(Write{b.d.key(k), append([]byte{}, v...)})
}

func (b *batch) Delete(_ context.Context, k ds.Key) error { return b.add(Write{Key: b.d.key(k)}) }

func (b *batch) Commit(ctx context.Context) error {
	writes := b.writes
	b.writes = nil
	_, err := b.d.write(ctx, writes)
	return err
}
