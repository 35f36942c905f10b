package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/store"
)

// TestReopen: what was acknowledged is there after a close, and a store that was
// closed has no write-ahead log to read.
func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	for _, o := range []store.Options{{Dir: dir}, small(dir), {Dir: dir}} {
		s, err := run(o)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := appendHistory(t.Context(), s.Store, 1); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		heads, err := checkHistory(s.Store)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("heads %v", heads)
		if err := s.Verify(); err != nil {
			t.Error(err)
		}
		if err := s.shut(); err != nil {
			t.Fatal(err)
		}
		if logs, _ := filepath.Glob(filepath.Join(dir, "*.mem")); len(logs) > 0 {
			t.Errorf("left %v", logs)
		}
	}
	s := start(t, small(dir))
	if heads, err := checkHistory(s.Store); err != nil || heads[1] != 3 {
		t.Errorf("heads %v, %v", heads, err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v, %v", info.Mode(), err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []store.Options{{}, {Dir: "x", InMemory: true}} {
		if _, err := store.Open(o); err == nil || !strings.Contains(err.Error(), "either a directory or InMemory") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := store.Open(small(filepath.Join(t.TempDir(), "no", "parent"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no parent: %v", err)
	}
}

// TestLocked: in this process and in another one, and nothing is changed.
func TestLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	start(t, small(dir))
	_, err := store.Open(small(dir))
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("here: %v", err)
	}
	out, err := child("open", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), store.ErrLocked.Error()) || !strings.Contains(string(out), dir) {
		t.Errorf("another process: %v, %s", err, out)
	}
}

func TestFormat(t *testing.T) {
	for name, tc := range map[string]struct {
		format []byte
		want   error
	}{
		"newer":   {[]byte{0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}, store.ErrFormat},
		"short":   {[]byte{0, 0}, store.ErrCorrupted},
		"present": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			s, err := run(small(dir))
			if err != nil {
				t.Fatal(err)
			}
			if tc.format != nil {
				if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetFormat(tc.format) }); err != nil {
					t.Fatal(err)
				}
			}
			err = s.View(func(tx *store.Tx) error {
				f, err := tx.Format()
				if tc.format == nil && (len(f) != 12 || f[3] != 1) {
					t.Errorf("format key holds %x", f)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.shut(); err != nil {
				t.Fatal(err)
			}
			s, err = run(small(dir))
			if err == nil {
				s.shut()
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// TestHalfMadeFiles: files that Badger leaves behind when it is killed between
// creating and sizing a log. Badger itself refuses them.
func TestHalfMadeFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if out, err := child("append", dir, "3", "leave").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	for _, name := range []string{"00099.mem", "000099.vlog", "000099.sst", "ACKED.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, small(dir))
	if heads, err := checkHistory(s.Store); err != nil || heads != [historyRooms]uint64{3, 3, 3, 3, 3, 3} {
		t.Errorf("heads %v, %v", heads, err)
	}
}

// TestWALName: the directory is synced whenever Badger has begun a new log, before
// what is in it is acknowledged.
func TestWALName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	st, err := store.Open(small(dir))
	if err != nil {
		t.Fatal(err)
	}
	synced := map[string]bool{}
	look := func() {
		logs, _ := filepath.Glob(filepath.Join(dir, "*.mem"))
		for _, l := range logs {
			synced[l] = true
		}
	}
	look() // Open syncs too
	syncs := 0
	st.OnDirSync(func() { syncs++; look() })
	ctx, cancel := context.WithCancel(t.Context())
	s := &running{st, cancel, make(chan error, 1)}
	go func() { defer close(s.ended); s.ended <- st.Run(ctx) }()
	defer s.shut()
	for i := range 40 {
		set(t, s, key(string(rune('a'+i))), strings.Repeat("x", 100<<10))
		logs, _ := filepath.Glob(filepath.Join(dir, "*.mem"))
		for _, l := range logs {
			if !synced[l] {
				t.Errorf("after commit %d: %s is not synced", i, filepath.Base(l))
			}
		}
	}
	if syncs < 3 || syncs > 8 {
		t.Errorf("%d syncs of the directory for 4 MB in logs of 1 MB", syncs)
	}
}

// TestShutdown: what waits when the context of Run ends is committed, what comes later
// is refused, and Close has a deadline.
func TestShutdown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	g := gated(t, small(dir))
	var results []chan error
	for i := range 5 {
		results = append(results, g.queue(t.Context(), func(tx *store.Tx) error {
			return tx.Set(key(string(rune('a'+i))), []byte("x"))
		}))
	}
	g.cancel()
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := g.Close(late); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waiting for the writer") {
		t.Errorf("Close under a deadline: %v", err)
	}
	if err := g.Update(t.Context(), nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Update after the end: %v", err)
	}
	close(g.open)
	for _, r := range results {
		if err := <-r; err != nil {
			t.Errorf("what was waiting: %v", err)
		}
	}
	if err := <-g.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := get(t, g.running, key("e")); got != "x" {
		t.Errorf("got %q", got)
	}
}

// TestCloseWaitsForReaders: closing under a reader would crash it.
func TestCloseWaitsForReaders(t *testing.T) {
	s, err := run(small(filepath.Join(t.TempDir(), "store")))
	if err != nil {
		t.Fatal(err)
	}
	set(t, s, key("x"), "1")
	closed := make(chan error, 1)
	err = s.View(func(tx *store.Tx) error {
		go func() { closed <- s.shut() }()
		for !errors.Is(s.View(func(*store.Tx) error { return nil }), store.ErrClosed) {
			time.Sleep(time.Millisecond)
		}
		v, err := tx.Get(key("x"))
		if string(v) != "1" || len(closed) > 0 {
			t.Errorf("got %q, closed %d", v, len(closed))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

// TestWithoutRun: Open starts nothing that Close does not end, and reads work.
func TestWithoutRun(t *testing.T) {
	s, err := store.Open(memory())
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(func(tx *store.Tx) error {
		_, err := tx.Get(key("x"))
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("View: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Update(ctx, func(*store.Tx) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Update: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
}

// TestLog: Badger's messages arrive with a constant message, and not above warning.
func TestLog(t *testing.T) {
	var log captured
	s := start(t, store.Options{Dir: filepath.Join(t.TempDir(), "store"), Small: true, Log: log.logger()})
	set(t, s, key("x"), "1")
	for line := range strings.Lines(log.String()) {
		if !strings.Contains(line, "msg=badger text=") || strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=INFO") {
			t.Errorf("log line %q", line)
		}
	}
	if log.String() == "" {
		t.Error("nothing was logged")
	}
}
