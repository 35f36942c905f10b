package store_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/store"
	"pgregory.net/rapid"
)

func init() { children["restore"] = childRestore }

// childRestore restores the backup args[0] into args[1] and says how far it is.
func childRestore(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := store.ReadBackup(f)
	if err != nil {
		return err
	}
	_, err = b.Restore(context.Background(), small(args[1]), func(uint64) { fmt.Println("on") })
	return err
}

// contents is everything in a store that a backup is to hold.
func contents(t testing.TB, s *store.Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := s.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{}) {
			if err != nil {
				return err
			}
			if p := it.Key.Bytes()[0]; p != 0x01 && p != byte(store.SpaceRestored) {
				out[it.Key.String()] = string(it.Value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func backup(t testing.TB, s *store.Store, files ...store.BackupFile) ([]byte, *store.BackupInfo) {
	t.Helper()
	var out bytes.Buffer
	info, err := s.Backup(t.Context(), &out, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	if info.Bytes != uint64(out.Len()) {
		t.Errorf("%d bytes written, %d said", out.Len(), info.Bytes)
	}
	return out.Bytes(), info
}

func restore(b []byte, o store.Options) (*store.BackupInfo, error) {
	r, err := store.ReadBackup(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return r.Restore(context.Background(), o, nil)
}

// sealed puts a correct checksum behind what was altered before it.
func sealed(b []byte) []byte {
	b = b[:len(b)-sha256.Size]
	sum := sha256.Sum256(b)
	return append(slices.Clone(b), sum[:]...)
}

// TestBackupRoundTrip: what was in a store is in the restored one, every room has the
// mark, and a backup of the restored store holds the same again.
func TestBackupRoundTrip(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		s, err := run(memory())
		if err != nil {
			rt.Fatal(err)
		}
		rooms := map[store.RoomID]bool{}
		err = s.Update(context.Background(), func(tx *store.Tx) error {
			for range rapid.IntRange(0, 12).Draw(rt, "keys") {
				id := room(rapid.IntRange(0, 3).Draw(rt, "room"))
				name := rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(rt, "name")
				value := bytes.Repeat([]byte{7}, rapid.SampledFrom([]int{0, 1, 500, 5000}).Draw(rt, "size"))
				k := rapid.SampledFrom([]store.Key{store.RoomHeadKey(id), store.RoomEntryKey(id, 3), store.RoomPartKey(id, name),
					store.SpaceAccounts.Key(name), store.SpaceOutbox.Key(name), store.SpaceCondemned.Key(name), store.SpaceRestored.Key(name)}).Draw(rt, "key")
				if k == store.RoomHeadKey(id) {
					rooms[id] = true
				}
				if err := tx.Set(k, value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		files := []store.BackupFile{{Name: "a", Data: []byte{}}, {Name: "b/c", Data: rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(rt, "file")}}
		b, made := backup(t, s.Store, files...)
		want := contents(t, s.Store)
		if err := s.shut(); err != nil {
			rt.Fatal(err)
		}
		r, err := store.ReadBackup(byteByByte{bytes.NewReader(b)})
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(files, r.Files()); diff != "" {
			rt.Error(diff)
		}
		dir := filepath.Join(base, fmt.Sprint(n))
		got, err := r.Restore(context.Background(), small(dir), nil)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(made, got); diff != "" || got.Rooms != uint64(len(rooms)) || got.Keys != uint64(len(want)) {
			rt.Errorf("%+v: %s", got, diff)
		}
		again, err := run(small(dir))
		if err != nil {
			rt.Fatal(err)
		}
		defer again.shut()
		if diff := cmp.Diff(want, contents(t, again.Store)); diff != "" {
			rt.Error(diff)
		}
		err = again.View(func(tx *store.Tx) error {
			whole, err := tx.Restored()
			if err != nil || whole == nil || whole.Backup != made.ID {
				rt.Errorf("mark %+v, %v", whole, err)
			}
			for i := range 4 {
				if m, err := tx.RoomRestored(room(i)); err != nil || (m != nil) != rooms[room(i)] {
					rt.Errorf("room %d: mark %v, %v", i, m, err)
				}
			}
			if n, err := tx.RestoredRooms(); err != nil || n != len(rooms) {
				rt.Errorf("%d rooms marked of %d, %v", n, len(rooms), err)
			}
			return nil
		})
		if err != nil {
			rt.Error(err)
		}
		second, _ := backup(t, again.Store, files...)
		head := 13 + 4 + 4 + 8 + 16
		if !bytes.Equal(b[head:len(b)-sha256.Size], second[head:len(second)-sha256.Size]) {
			rt.Error("a backup of the restored store holds something else")
		}
	})
}

// byteByByte reads one byte at a time, as a slow pipe may.
type byteByByte struct{ r io.Reader }

func (r byteByByte) Read(p []byte) (int, error) { return r.r.Read(p[:min(1, len(p))]) }

// TestBackupWhileWriting: a backup that is made while others write holds every function
// whole or not at all, and all that was acknowledged before it began.
func TestBackupWhileWriting(t *testing.T) {
	s := start(t, small(filepath.Join(t.TempDir(), "store")))
	var acked [historyRooms]uint64
	for n := range acked {
		for range 100 { // several times what a backup holds at once
			seq, err := appendHistory(t.Context(), s.Store, n)
			if err != nil {
				t.Fatal(err)
			}
			acked[n] = seq
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for n := range acked {
		writers.Go(func() {
			for ctx.Err() == nil {
				// Not ctx: its end must not leave a function behind that still runs.
				appendHistory(context.Background(), s.Store, n)
			}
		})
	}
	var out bytes.Buffer
	writes := 0
	// The writer of the backup waits in its middle until others have committed.
	slow := writerFunc(func(p []byte) (int, error) {
		writes++
		for before := s.Stats().Commits; s.Stats().Commits < before+5; {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
		}
		return out.Write(p)
	})
	_, err := s.Backup(t.Context(), slow, nil, nil)
	cancel()
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if writes < 4 {
		t.Errorf("only %d writes: others had no time to come between", writes)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	if _, err := restore(out.Bytes(), small(dir)); err != nil {
		t.Fatal(err)
	}
	r := start(t, small(dir))
	heads, err := checkHistory(r.Store)
	if err != nil {
		t.Error(err)
	}
	for n := range heads {
		if heads[n] < acked[n] {
			t.Errorf("room %d: %d acknowledged, %d in the backup", n, acked[n], heads[n])
		}
	}
	if err := r.Verify(); err != nil {
		t.Error(err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func tiny(t *testing.T) []byte {
	t.Helper()
	s := start(t, memory())
	set(t, s, store.RoomHeadKey(room(1)), "head")
	set(t, s, store.SpaceAccounts.Key([]byte("alice")), "a")
	b, _ := backup(t, s.Store, store.BackupFile{Name: "f", Data: []byte("x")})
	return b
}

// TestBackupCut: no beginning of a backup is taken for one, nor one with a byte more.
func TestBackupCut(t *testing.T) {
	b := tiny(t)
	for n := range len(b) {
		if _, err := restore(b[:n], memory()); !errors.Is(err, store.ErrBackup) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := restore(append(slices.Clone(b), 0), memory()); !errors.Is(err, store.ErrBackup) {
		t.Errorf("one byte more: %v", err)
	}
	if _, err := restore(b, memory()); err != nil {
		t.Error(err)
	}
}

// TestBackupFlipped: no byte can be another one.
func TestBackupFlipped(t *testing.T) {
	b := tiny(t)
	for n := range len(b) {
		c := slices.Clone(b)
		c[n] ^= 0x40
		if _, err := restore(c, memory()); !errors.Is(err, store.ErrBackup) && !errors.Is(err, store.ErrFormat) {
			t.Errorf("byte %d: %v", n, err)
		}
	}
}

// TestBackupRefused: streams that are sound by their checksum and yet no backups.
func TestBackupRefused(t *testing.T) {
	b := tiny(t)
	head := b[:13+4+4+8+16]
	record := func(kind byte, name, data string) string {
		h := binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(name)))
		h = binary.BigEndian.AppendUint32(append(h, name...), uint32(len(data)))
		return string(h) + data
	}
	made := func(records ...string) []byte {
		c := append(slices.Clone(head), strings.Join(records, "")...)
		c = binary.BigEndian.AppendUint64(append(c, 0), uint64(len(records)))
		return sealed(append(c, make([]byte, sha256.Size)...))
	}
	version := func(at int) []byte {
		c := slices.Clone(b)
		c[at+3]++
		return sealed(c)
	}
	long := strings.Repeat("x", store.MaxKey+1)
	for _, c := range []struct {
		what string
		b    []byte
		want error
		says string
	}{
		{"something else", []byte("PK\x03\x04 something else altogether"), store.ErrBackup, "does not begin as one"},
		{"empty", nil, store.ErrBackup, "cut off"},
		{"newer format", version(13), store.ErrFormat, "version 3"},
		{"newer keys", version(17), store.ErrFormat, "version 2"},
		{"unknown record", made("\x09"), store.ErrBackup, "unknown kind 0x9"},
		{"file behind a key", made(record(2, "\x20a", ""), record(1, "f", "")), store.ErrBackup, "unknown kind 0x1"},
		{"same key twice", made(record(2, "\x20a", ""), record(2, "\x20a", "")), store.ErrBackup, "out of order"},
		{"descending", made(record(2, "\x20b", ""), record(2, "\x20a", "")), store.ErrBackup, "out of order"},
		{"the commit number", made(record(2, "\x01\x01", "12345678")), store.ErrBackup, "begins with 0x1"},
		{"a mark of another restore", made(record(2, "\x2b", "x")), store.ErrBackup, "begins with 0x2b"},
		{"a space that is not", made(record(2, "\x7f", "x")), store.ErrBackup, "begins with 0x7f"},
		{"a room head cut", made(record(2, "\x10abc", "x")), store.ErrBackup, "room head"},
		{"no key", made(record(2, "", "x")), store.ErrBackup, "key of 0 bytes"},
		{"long key", made(record(2, "\x20"+long, "x")), store.ErrBackup, "key of 1026 bytes"},
		{"long value", append(slices.Clone(head), 2, 0, 1, 0x20, 0xff, 0xff, 0xff, 0xff), store.ErrBackup, "value of 4294967295 bytes"},
		{"count", func() []byte { c := made(record(2, "\x20a", "")); c[len(c)-33]++; return sealed(c) }(), store.ErrBackup, "1 keys, and it says 2"},
		{"many files", made(slices.Repeat([]string{record(1, "f", "")}, 1025)...), store.ErrBackup, "more than 1024 files"},
		{"a value for a larger store", made(record(2, "\x20a", strings.Repeat("x", store.MaxValueSmall+1))), store.ErrTooLarge, ""},
	} {
		_, err := restore(c.b, memory())
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v, expected %q", c.what, err, c.says)
		}
	}
	if _, err := restore(made(), memory()); err != nil {
		t.Errorf("an empty store: %v", err)
	}
}

// TestRestoreExisting: a store that is there stays as it is.
func TestRestoreExisting(t *testing.T) {
	b := tiny(t)
	dir := filepath.Join(t.TempDir(), "store")
	s := start(t, small(dir))
	set(t, s, store.SpaceAccounts.Key([]byte("old")), "here")
	if err := s.shut(); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(b, small(dir)); !errors.Is(err, store.ErrExists) {
		t.Errorf("got %v", err)
	}
	if got := get(t, start(t, small(dir)), store.SpaceAccounts.Key([]byte("old"))); got != "here" {
		t.Errorf("now %q", got)
	}
}

// TestRestoreCutShort: a store whose restoring failed at the end of the stream does not open.
func TestRestoreCutShort(t *testing.T) {
	b := tiny(t)
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := restore(b[:len(b)-1], small(dir)); !errors.Is(err, store.ErrBackup) {
		t.Errorf("got %v", err)
	}
	if _, err := store.Open(small(dir)); !errors.Is(err, store.ErrUnfinished) {
		t.Errorf("opening: %v", err)
	}
}

// TestRestoreKilled kills a process that restores, at many moments: what it leaves is
// either refused, or empty, or whole.
func TestRestoreKilled(t *testing.T) {
	s := start(t, memory())
	for range 150 {
		if _, err := appendHistory(t.Context(), s.Store, 0); err != nil {
			t.Fatal(err)
		}
	}
	want := contents(t, s.Store)
	b, _ := backup(t, s.Store)
	base := t.TempDir()
	file := filepath.Join(base, "backup")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	for i, after := range []int{1, 2, 4, 6, 1000} {
		dir := filepath.Join(base, fmt.Sprint(i))
		cmd := child("restore", file, dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			if n++; n == after {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		r, err := run(small(dir))
		if errors.Is(err, store.ErrUnfinished) {
			outcomes["refused"]++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got := contents(t, r.Store)
		r.shut()
		if !maps.Equal(got, want) {
			t.Errorf("killed after %d: it opens with %d of %d keys", after, len(got), len(want))
		}
		outcomes["whole"]++
	}
	if outcomes["refused"] == 0 || outcomes["whole"] == 0 {
		t.Errorf("not much was tested: %v", outcomes)
	}
	t.Log(outcomes)
}

// TestBackupDiskFull: where the stream goes there is no room, or where the store goes.
func TestBackupDiskFull(t *testing.T) {
	s := start(t, memory())
	set(t, s, store.SpaceAccounts.Key([]byte("alice")), "a")
	full := writerFunc(func(p []byte) (int, error) {
		return len(p) / 2, &os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}
	})
	if _, err := s.Backup(t.Context(), full, nil, nil); !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("got %v", err)
	}
	short := writerFunc(func(p []byte) (int, error) { return len(p) / 2, nil })
	if _, err := s.Backup(t.Context(), short, nil, nil); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Backup(ctx, io.Discard, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for _, f := range []store.BackupFile{{Name: ""}, {Name: strings.Repeat("x", store.MaxKey+1)}, {Name: "x", Data: make([]byte, store.MaxValue+1)}} {
		if _, err := s.Backup(t.Context(), io.Discard, []store.BackupFile{f}, nil); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := s.Backup(t.Context(), io.Discard, make([]store.BackupFile, 1025), nil); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// TestBackupFailingReader: an error of the stream comes out as it is.
func TestBackupFailingReader(t *testing.T) {
	b := tiny(t)
	planted := errors.New("planted")
	for _, n := range []int{0, 20, len(b) - 5, len(b)} {
		r, err := store.ReadBackup(io.MultiReader(bytes.NewReader(b[:n]), readerFunc(func([]byte) (int, error) { return 0, planted })))
		if err == nil {
			_, err = r.Restore(t.Context(), memory(), nil)
		}
		if !errors.Is(err, planted) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestClearRoomRestored: the mark of one room goes, those of others stay.
func TestClearRoomRestored(t *testing.T) {
	s := start(t, memory())
	set(t, s, store.RoomHeadKey(room(1)), "x")
	set(t, s, store.RoomHeadKey(room(2)), "x")
	b, _ := backup(t, s.Store)
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := restore(b, small(dir)); err != nil {
		t.Fatal(err)
	}
	r := start(t, small(dir))
	for range 2 {
		if err := r.Update(t.Context(), func(tx *store.Tx) error { return tx.ClearRoomRestored(room(1)) }); err != nil {
			t.Fatal(err)
		}
	}
	err := r.View(func(tx *store.Tx) error {
		one, err1 := tx.RoomRestored(room(1))
		two, err2 := tx.RoomRestored(room(2))
		whole, err3 := tx.Restored()
		if one != nil || two == nil || whole == nil {
			t.Errorf("marks %v %v %v", one, two, whole)
		}
		return errors.Join(err1, err2, err3)
	})
	if err != nil {
		t.Error(err)
	}
	set(t, r, store.SpaceRestored.Key(bytes.Repeat([]byte{2}, 32)), "damaged")
	if err := r.View(func(tx *store.Tx) error { _, err := tx.RoomRestored(room(2)); return err }); !errors.Is(err, store.ErrCorrupted) {
		t.Errorf("got %v", err)
	}
}
