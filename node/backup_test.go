package node_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/store"
)

// TestRestoreRefuses: a sound stream that is no provider's makes no data directory, and
// writes nowhere else.
func TestRestoreRefuses(t *testing.T) {
	st, err := store.Open(store.Options{InMemory: true, Small: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close(context.Background())
	from := prepare(t, "atlanta.example")
	read := func(name string) store.BackupFile {
		b, err := os.ReadFile(filepath.Join(from.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return store.BackupFile{Name: name, Data: b}
	}
	config, keys := read(node.ConfigName), []store.BackupFile{read("keys/node.pem"), read("keys/franking.pem"), read("keys/provider-1.pem")}
	all := append([]store.BackupFile{config}, keys...)
	named := func(name string) []store.BackupFile {
		return append([]store.BackupFile{{Name: name, Data: []byte("x")}}, all...)
	}
	base := t.TempDir()
	for _, c := range []struct {
		what  string
		files []store.BackupFile
		want  error // nil: it works
	}{
		{"all that a provider has", all, nil},
		{"no files", nil, store.ErrBackup},
		{"no configuration", keys, store.ErrBackup},
		{"no keys", all[:1], node.ErrKeys},
		{"a key missing", all[:3], node.ErrKeys},
		{"a key damaged", append([]store.BackupFile{config, {Name: "keys/node.pem", Data: []byte("x")}}, keys[1:]...), node.ErrKeys},
		{"a file twice", append(all, keys[0]), os.ErrExist},
		{"a configuration that is none", append([]store.BackupFile{{Name: node.ConfigName, Data: []byte("x = ")}}, keys...), node.ErrConfig},
		{"out of the directory", named("../escaped"), store.ErrBackup},
		{"out through keys", named("keys/../../escaped"), store.ErrBackup},
		{"absolute", named(filepath.Join(base, "escaped")), store.ErrBackup},
		{"a file of the store", named("store/MANIFEST"), store.ErrBackup},
		{"a key zero", named("keys/provider-0.pem"), store.ErrBackup},
		{"a line behind the name", named("mimid.toml\n"), store.ErrBackup},
	} {
		var b bytes.Buffer
		if _, err := st.Backup(t.Context(), &b, c.files, nil); err != nil {
			t.Fatal(err)
		}
		_, err := node.Restore(t.Context(), &b, filepath.Join(base, "new"), nil)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", c.what, err, c.want)
		}
		if err == nil {
			if _, err := node.ReadConfig(filepath.Join(base, "new")); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			os.RemoveAll(filepath.Join(base, "new"))
		}
		if left, _ := os.ReadDir(base); len(left) > 0 {
			t.Fatalf("%s: left %v", c.what, left)
		}
	}
}

// TestRestoreCancelled: when it is interrupted in order, nothing is left.
func TestRestoreCancelled(t *testing.T) {
	from := prepare(t, "atlanta.example").must()
	var b bytes.Buffer
	if _, err := from.n.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	dir := filepath.Join(t.TempDir(), "new")
	// The end of the stream comes after the operator has interrupted.
	end := b.Len() - 40
	r := io.MultiReader(bytes.NewReader(b.Bytes()[:end]), onRead{cancel}, bytes.NewReader(b.Bytes()[end:]))
	if _, err := node.Restore(ctx, r, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	if _, err := node.Restore(t.Context(), &b, from.dir, nil); !errors.Is(err, node.ErrNotEmpty) || !strings.Contains(err.Error(), from.dir) {
		t.Errorf("into a node's own directory: %v", err)
	}
}

// onRead calls a function when it is read, and holds nothing.
type onRead struct{ f func() }

func (r onRead) Read([]byte) (int, error) { r.f(); return 0, io.EOF }

// TestHalfRestored: a directory that says that it is being restored starts no node, even
// if the store in it does not say so yet.
func TestHalfRestored(t *testing.T) {
	r := prepare(t, "atlanta.example")
	if err := os.WriteFile(filepath.Join(r.dir, "RESTORING"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.run(); !errors.Is(err, store.ErrUnfinished) {
		t.Errorf("a node starts: %v", err)
	}
}
