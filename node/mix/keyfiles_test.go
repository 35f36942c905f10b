package mix_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/protocol/onion"
)

func secrets(t *testing.T, keys []mix.EpochKey) map[onion.Epoch][]byte {
	t.Helper()
	out := map[onion.Epoch][]byte{}
	for _, k := range keys {
		b, err := k.Key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		out[k.Epoch] = b
	}
	return out
}

// holds lists the files under a directory that hold some octets.
func holds(t *testing.T, dir string, secret []byte) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, secret) {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestKeyFiles: there are keys of the epoch before, this one and the next; they are the same after a
// restart; and when their time is over, no file holds them.
func TestKeyFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "onion")
	roll := func(k *mix.KeyFiles, e onion.Epoch, want ...onion.Epoch) map[onion.Epoch][]byte {
		t.Helper()
		keys, err := k.Roll(e)
		if err != nil {
			t.Fatal(err)
		}
		var got []onion.Epoch
		for _, x := range keys {
			got = append(got, x.Epoch)
		}
		if !cmp.Equal(got, want) {
			t.Errorf("in epoch %d: %d, not %d", e, got, want)
		}
		return secrets(t, keys)
	}
	open := func() *mix.KeyFiles {
		t.Helper()
		k, err := mix.OpenKeyFiles(dir, onion.X25519)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := open()
	first := roll(k, 100, 100, 101)
	if !cmp.Equal(roll(k, 100, 100, 101), first) {
		t.Error("made anew in the same epoch")
	}
	second := roll(k, 101, 100, 101, 102)
	if !bytes.Equal(second[100], first[100]) || !bytes.Equal(second[101], first[101]) || bytes.Equal(second[102], second[101]) {
		t.Error("other keys than were published")
	}
	k = open()
	if !cmp.Equal(roll(k, 101, 100, 101, 102), second) {
		t.Error("other keys after a restart: what is under way cannot be opened")
	}
	if len(holds(t, dir, first[100])) != 1 {
		t.Error("the key of epoch 100 is not on disk")
	}
	// Another name of the file shows what is on disk after the first is gone: it is overwritten, too.
	if err := os.Link(filepath.Join(dir, "100.key"), filepath.Join(filepath.Dir(dir), "left")); err != nil {
		t.Fatal(err)
	}
	roll(k, 102, 101, 102, 103)
	if f := holds(t, filepath.Dir(dir), first[100]); f != nil {
		t.Errorf("the key of epoch 100 is still in %v", f)
	}
	// Off for long: nothing that was is left.
	roll(open(), 200, 200, 201)
	for e, s := range second {
		if f := holds(t, dir, s); f != nil {
			t.Errorf("the key of epoch %d is still in %v", e, f)
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 {
		t.Errorf("%d files, %v", len(list), err)
	}
	for _, f := range list {
		if st, err := f.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), st.Mode(), err)
		}
	}
	// The clock was ahead: keys for what it says now are made, and the others stay for their time.
	roll(open(), 150, 150, 151)
	if after := roll(open(), 200, 200, 201); len(after[200]) == 0 {
		t.Error("no key")
	}
}

// TestKeyFilesRefused: what is no key, or can be read by others, is said, with its path and without its
// contents; what a crash has left of a key that was being written is removed.
func TestKeyFilesRefused(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		data []byte
		mode fs.FileMode
	}{
		"another name":   {"key.pem", []byte{1, 1}, 0o600},
		"another number": {"007.key", append([]byte{1, 1}, make([]byte, 32)...), 0o600},
		"empty":          {"7.key", nil, 0o600},
		"cut":            {"7.key", append([]byte{1, 1}, bytes.Repeat([]byte("s"), 31)...), 0o600},
		"another suite":  {"7.key", append([]byte{1, 2}, bytes.Repeat([]byte("s"), 32)...), 0o600},
		"too long":       {"7.key", make([]byte, 5000), 0o600},
		"open to others": {"7.key", append([]byte{1, 1}, bytes.Repeat([]byte("s"), 32)...), 0o640},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, c.file)
		if err := errors.Join(os.WriteFile(path, c.data, c.mode), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		_, err := mix.OpenKeyFiles(dir, onion.X25519)
		if !errors.Is(err, mix.ErrKeyFile) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "ssss") {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".new-1"), []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mix.OpenKeyFiles(dir, onion.X25519); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("%d files are left, %v", len(list), err)
	}
}
