package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/store"
)

// Options say where the state is.
type Options struct {
	// Dir is the directory, made with mode 0700 if it is missing.
	Dir string
	// KeyFile holds the key; Dir/key if empty.
	KeyFile string
	// Passphrase protects a key that is made, and opens one that is protected.
	Passphrase []byte
	// Small takes a few megabytes of memory instead of 90, for tests and
	// simulations: a transaction then holds some 150 kB, which is too little to
	// join a room of hundreds.
	Small bool
	// Log receives what the store has to say; nobody if nil.
	Log *slog.Logger
}

// Format implements fmt.Formatter; it does not print the passphrase.
func (o Options) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "Options(%s)", o.Dir) }

// Storage is a client.Storage. Safe for concurrent use.
type Storage struct {
	st  *store.Store
	box *box
}

var _ client.Storage = (*Storage)(nil)

// Open opens the directory or makes it. It starts nothing: reads work, writes
// wait for Run. Errors: ErrInUse, ErrPassphrase, ErrKey, and those of store.Open.
func Open(o Options) (*Storage, error) {
	s, err := open(o)
	if errors.Is(err, store.ErrLocked) {
		err = fmt.Errorf("%w: %w", ErrInUse, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening client directory %s: %w", o.Dir, err)
	}
	return s, nil
}

func open(o Options) (*Storage, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Dir, "store")
	st, err := store.Open(store.Options{Dir: dir, Small: o.Small, Log: o.Log})
	if err != nil {
		return nil, err
	}
	// The store's lock is held: nobody else makes a key now. A store without any
	// value has not been used, so a key may be made for it.
	file := o.KeyFile
	if file == "" {
		file = filepath.Join(o.Dir, "key")
	}
	k, err := keyFor(st, file, o.Passphrase)
	if err == nil {
		var b *box
		if b, err = newBox(k); err == nil {
			return &Storage{st, b}, nil
		}
	}
	return nil, errors.Join(err, st.Close(context.Background()))
}

func keyFor(st *store.Store, file string, passphrase []byte) (keys, error) {
	used := false
	err := st.View(func(tx *store.Tx) error {
		for _, err := range tx.Scan(store.Scan{Prefix: store.SpaceClient.Prefix(nil), Limit: 1, KeysOnly: true}) {
			if err != nil {
				return err
			}
			used = true
		}
		return nil
	})
	if err != nil {
		return keys{}, err
	}
	return openKey(file, passphrase, !used)
}

// Exists says whether a client's directory is there already.
func Exists(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, "store"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Run is the writer; it blocks until ctx ends or Close is called. Call it once.
func (s *Storage) Run(ctx context.Context) error { return s.st.Run(ctx) }

// Close ends Run and closes the files, as store.Close.
func (s *Storage) Close(ctx context.Context) error { return s.st.Close(ctx) }

// View implements client.Storage.
func (s *Storage) View(fn func(client.Tx) error) error {
	return s.st.View(func(t *store.Tx) error { return fn(&tx{t, s.box}) })
}

// Update implements client.Storage.
func (s *Storage) Update(ctx context.Context, fn func(client.Tx) error) error {
	return s.st.Update(ctx, func(t *store.Tx) error { return fn(&tx{t, s.box}) })
}

type tx struct {
	t   *store.Tx
	box *box
}

func (t *tx) Get(table, name string) ([]byte, error) {
	first := t.box.key(table, name)
	_, v, err := t.read(first, nil)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// read reads the value whose first chunk has a key; sealed is that chunk, if it
// is there already.
func (t *tx) read(key []byte, sealed []byte) (name string, v []byte, err error) {
	if sealed == nil {
		if sealed, err = t.t.Get(store.SpaceClient.Key(key)); err != nil {
			return "", nil, err
		}
	}
	plain, err := t.box.open(key, sealed)
	if err != nil {
		return "", nil, err
	}
	n, plain, err := splitHead(plain)
	if err != nil {
		return "", nil, err
	}
	for i := 1; i < n; i++ {
		k := chunkKey(key, i)
		sealed, err := t.t.Get(store.SpaceClient.Key(k))
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("chunk %d of %d is missing: %w", i, n, ErrSealed)
		}
		if err != nil {
			return "", nil, err
		}
		more, err := t.box.open(k, sealed)
		if err != nil {
			return "", nil, err
		}
		plain = append(plain, more...)
	}
	return splitName(plain)
}

// chunks returns how many chunks a value has, 0 if it is not there.
func (t *tx) chunks(key []byte) (int, error) {
	sealed, err := t.t.Get(store.SpaceClient.Key(key))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	plain, err := t.box.open(key, sealed)
	if err != nil {
		return 0, err
	}
	n, _, err := splitHead(plain)
	return n, err
}

func (t *tx) Set(table, name string, value []byte) error {
	key := t.box.key(table, name)
	old, err := t.chunks(key)
	if err != nil {
		return err
	}
	parts, err := cut(name, value)
	if err != nil {
		return fmt.Errorf("writing %d octets into %s: %w", len(value), table, err)
	}
	for i, p := range parts {
		k := chunkKey(key, i)
		if err := t.t.Set(store.SpaceClient.Key(k), t.box.seal(k, p)); err != nil {
			return err
		}
	}
	return t.drop(key, len(parts), old)
}

func (t *tx) Delete(table, name string) error {
	key := t.box.key(table, name)
	n, err := t.chunks(key)
	if err != nil {
		return err
	}
	return t.drop(key, 0, n)
}

func (t *tx) drop(key []byte, from, to int) error {
	for i := from; i < to; i++ {
		if err := t.t.Delete(store.SpaceClient.Key(chunkKey(key, i))); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) Scan(table, from string) iter.Seq2[client.Item, error] {
	return func(yield func(client.Item, error) bool) {
		for _, kind := range []byte{kindNumber, kindName} {
			sc := store.Scan{Prefix: store.SpaceClient.Prefix(t.box.prefix(kind, table))}
			if kind == kindNumber && len(from) == numberSize {
				sc.From = store.SpaceClient.Key(t.box.key(table, from))
			}
			for it, err := range t.t.Scan(sc) {
				var name string
				var v, key []byte
				if err == nil {
					key, err = store.SpaceClient.Parse(it.Key)
				}
				if err == nil {
					if !isFirst(key) {
						continue
					}
					name, v, err = t.read(key, it.Value)
				}
				if !yield(client.Item{Name: name, Value: v}, err) || err != nil {
					return
				}
			}
		}
	}
}
