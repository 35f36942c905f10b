package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/client/disk"
	"github.com/mimid/mimid/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// open opens a directory and runs it until close is called.
func open(t *testing.T, o disk.Options) (s *disk.Storage, closed func()) {
	t.Helper()
	s, err := disk.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	var done bool
	closed = func() {
		if done {
			return
		}
		done = true
		if err := errors.Join(s.Close(context.Background()), <-ended); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Error(err) // ErrClosed: Run had not begun
		}
	}
	t.Cleanup(closed)
	return s, closed
}

func set(t *testing.T, s *disk.Storage, table, name string, value []byte) {
	t.Helper()
	if err := s.Update(context.Background(), func(tx client.Tx) error { return tx.Set(table, name, value) }); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *disk.Storage, table, name string) (v []byte) {
	t.Helper()
	err := s.View(func(tx client.Tx) (err error) {
		v, err = tx.Get(table, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func names(t *testing.T, s *disk.Storage, table, from string) (out []string) {
	t.Helper()
	err := s.View(func(tx client.Tx) error {
		for it, err := range tx.Scan(table, from) {
			if err != nil {
				return err
			}
			out = append(out, it.Name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func number(n int) string { return fmt.Sprintf("%08d", n) }

func TestStorage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "alice")
	s, closed := open(t, disk.Options{Dir: dir})
	if v := get(t, s, "t", "missing"); v != nil {
		t.Errorf("a missing value is %q", v)
	}
	for i := range 20 {
		set(t, s, "numbers", number(19-i), []byte{byte(i + 1)})
	}
	set(t, s, "number", number(3), []byte("another table"))
	set(t, s, "words", "bob", []byte("b"))
	set(t, s, "words", "alice", []byte("a"))
	big := bytes.Repeat([]byte("mimid "), 100_000) // 600 kB
	set(t, s, "words", "carol", big)
	set(t, s, "words", "carol", big[:300_000])
	set(t, s, "words", "dave", big)
	set(t, s, "words", "dave", []byte("short"))
	for range 2 {
		if got := names(t, s, "numbers", number(5)); len(got) != 15 || !slices.IsSorted(got) || got[0] != number(5) {
			t.Errorf("numbers from 5: %q", got)
		}
		got := names(t, s, "words", "")
		slices.Sort(got)
		if !slices.Equal(got, []string{"alice", "bob", "carol", "dave"}) {
			t.Errorf("words: %q", got)
		}
		if v := get(t, s, "words", "carol"); !bytes.Equal(v, big[:300_000]) {
			t.Errorf("a value in chunks has %d octets", len(v))
		}
		if v := get(t, s, "words", "dave"); string(v) != "short" {
			t.Errorf("a value that was long before: %d octets", len(v))
		}
		closed()
		s, closed = open(t, disk.Options{Dir: dir})
	}
	err := s.Update(context.Background(), func(tx client.Tx) error {
		if err := errors.Join(tx.Delete("words", "carol"), tx.Delete("words", "nobody")); err != nil {
			return err
		}
		return tx.Delete("numbers", number(7))
	})
	if err != nil {
		t.Fatal(err)
	}
	if v := get(t, s, "words", "carol"); v != nil {
		t.Errorf("a deleted value has %d octets", len(v))
	}
	if got := names(t, s, "words", ""); len(got) != 3 {
		t.Errorf("words without carol: %q", got)
	}
	failed := errors.New("no")
	err = s.Update(context.Background(), func(tx client.Tx) error {
		if err := tx.Set("words", "eve", []byte("e")); err != nil {
			return err
		}
		return failed
	})
	if !errors.Is(err, failed) || get(t, s, "words", "eve") != nil {
		t.Errorf("a failed transaction: %v, and left something", err)
	}
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	open(t, disk.Options{Dir: dir})
	if _, err := disk.Open(disk.Options{Dir: dir}); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if there, err := disk.Exists(dir); there || err != nil {
		t.Errorf("Exists before: %v, %v", there, err)
	}
	s, closed := open(t, disk.Options{Dir: dir})
	set(t, s, "t", "n", []byte("v"))
	closed()
	if there, err := disk.Exists(dir); !there || err != nil {
		t.Errorf("Exists: %v, %v", there, err)
	}
	info, err := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", info.Mode(), err)
	}
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(why string, want error, o disk.Options) {
		t.Helper()
		o.Dir = dir
		s, err := disk.Open(o)
		if err == nil {
			s.Close(context.Background())
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, %v expected", why, err, want)
		}
	}
	refuse("a passphrase for a key without one", disk.ErrPassphrase, disk.Options{Passphrase: []byte("x")})
	for why, b := range map[string][]byte{"cut": good[:len(good)-1], "longer": append(good[:len(good):len(good)], 0),
		"empty": nil, "other version": append([]byte("mimidkey\x02"), good[9:]...),
		"other kind": append([]byte("mimidkey\x01\x07"), good[10:]...), "sealed and short": append([]byte("mimidkey\x01\x01"), good[10:]...)} {
		if err := os.WriteFile(key, b, 0o600); err != nil {
			t.Fatal(err)
		}
		refuse(why, disk.ErrKey, disk.Options{})
	}
	other := slices.Clone(good)
	other[20] ^= 1
	if err := os.WriteFile(key, other, 0o600); err != nil {
		t.Fatal(err)
	}
	s, closed = open(t, disk.Options{Dir: dir})
	if v := get(t, s, "t", "n"); v != nil {
		t.Errorf("another key reads %q", v)
	}
	closed()
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	refuse("readable by others", disk.ErrKey, disk.Options{})
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	refuse("no key", disk.ErrKey, disk.Options{})
	elsewhere := filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(elsewhere, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, disk.Options{Dir: dir, KeyFile: elsewhere})
	if v := get(t, s, "t", "n"); string(v) != "v" {
		t.Errorf("with the key elsewhere: %q", v)
	}
}

func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	o := disk.Options{Dir: dir, Passphrase: []byte("correct horse")}
	s, closed := open(t, o)
	set(t, s, "t", "n", []byte("v"))
	closed()
	for _, wrong := range []string{"", "correct hors"} {
		if _, err := disk.Open(disk.Options{Dir: dir, Passphrase: []byte(wrong)}); !errors.Is(err, disk.ErrPassphrase) {
			t.Errorf("passphrase %q: %v", wrong, err)
		}
	}
	s, _ = open(t, o)
	if v := get(t, s, "t", "n"); string(v) != "v" {
		t.Errorf("after opening again: %q", v)
	}
	if text := fmt.Sprintf("%v %+v", o, o); strings.Contains(text, "correct") {
		t.Errorf("options print the passphrase: %s", text)
	}
}

// TestNothingInClear: the directory holds neither names nor values.
func TestNothingInClear(t *testing.T) {
	dir := t.TempDir()
	s, closed := open(t, disk.Options{Dir: dir})
	words := []string{"plaintext-of-a-message", "mimi://atlanta.example/u/alice", "table-of-secrets", "a-name-of-one"}
	set(t, s, words[2], words[3], []byte(words[0]))
	set(t, s, words[2], words[1], bytes.Repeat([]byte(words[0]), 10_000))
	set(t, s, words[2], number(1), []byte(words[0]))
	closed()
	read := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		read += len(b)
		for _, w := range words {
			if bytes.Contains(b, []byte(w)) {
				t.Errorf("%s contains %q", path, w)
			}
		}
		return err
	})
	if err != nil || read < 100_000 {
		t.Errorf("read %d octets: %v", read, err)
	}
}

// TestMoved: a value under another key does not open.
func TestMoved(t *testing.T) {
	dir := t.TempDir()
	s, closed := open(t, disk.Options{Dir: dir})
	set(t, s, "t", "one", []byte("1"))
	set(t, s, "t", "two", []byte("2"))
	set(t, s, "long", "x", bytes.Repeat([]byte("x"), 300_000))
	closed()
	raw := func(change func(tx *store.Tx, items []store.Item) error) {
		t.Helper()
		st, err := store.Open(store.Options{Dir: filepath.Join(dir, "store")})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- st.Run(context.Background()) }()
		err = st.Update(context.Background(), func(tx *store.Tx) error {
			var items []store.Item
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceClient.Prefix(nil)}) {
				if err != nil {
					return err
				}
				items = append(items, it)
			}
			return change(tx, items)
		})
		if err = errors.Join(err, st.Close(context.Background()), <-ended); err != nil {
			t.Fatal(err)
		}
	}
	raw(func(tx *store.Tx, items []store.Item) error {
		var small []store.Item
		for _, it := range items {
			if len(it.Value) < 1000 {
				small = append(small, it)
			}
		}
		if len(small) != 2 {
			t.Fatalf("%d small values", len(small))
		}
		return errors.Join(tx.Set(small[0].Key, small[1].Value), tx.Set(small[1].Key, small[0].Value))
	})
	s, closed = open(t, disk.Options{Dir: dir})
	fails := func(why, table, name string) {
		t.Helper()
		err := s.View(func(tx client.Tx) error { _, err := tx.Get(table, name); return err })
		if !errors.Is(err, disk.ErrSealed) {
			t.Errorf("%s: %v", why, err)
		}
		for _, err = range func(yield func(client.Item, error) bool) {
			s.View(func(tx client.Tx) error {
				for it, err := range tx.Scan(table, "") {
					if !yield(it, err) {
						break
					}
				}
				return nil
			})
		} {
			break
		}
		if !errors.Is(err, disk.ErrSealed) {
			t.Errorf("%s, scanned: %v", why, err)
		}
	}
	fails("swapped", "t", "one")
	closed()
	raw(func(tx *store.Tx, items []store.Item) error {
		var long []store.Item
		for _, it := range items {
			if len(it.Value) > 1000 {
				long = append(long, it)
			}
		}
		return tx.Delete(long[1].Key)
	})
	s, _ = open(t, disk.Options{Dir: dir})
	fails("a chunk is missing", "long", "x")
}
