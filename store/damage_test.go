package store_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimid/mimid/store"
)

// What damage may look like from outside. These are the sentences of the package doc
// under "What damage is noticed".
const (
	complete  = "complete"       // opens, and nothing is missing
	lost      = "lost"           // ErrLost
	corrupted = "corrupted"      // ErrCorrupted
	verify    = "verify"         // opens, reads may miss keys, Verify reports it
	refused   = lost + corrupted // one of the two
)

// TestDamage damages one file of a store and opens it, in a process of its own,
// because Badger ends the process on some damage if it is let.
func TestDamage(t *testing.T) {
	base := t.TempDir()
	type mutation struct{ file, how, want, why string }
	mutations := []mutation{
		{"wal", "cut1", lost, "the last commit has no end mark"},
		{"wal", "half", lost, "the log ends early"},
		{"wal", "flipend", lost, "the log is read up to the first bad checksum"},
		{"wal", "flipmid", lost, "the log is read up to the first bad checksum"},
		{"wal", "flipstart", corrupted, "names an encryption key that there is not"},
		{"wal", "empty", lost, "looks like a log that was just created"},
		{"wal", "remove", lost, "ends before the bound in ACKED"},
		{"table", "cut1", corrupted, "no footer"},
		{"table", "half", corrupted, "no footer"},
		{"table", "flipend", corrupted, "no footer"},
		{"table", "empty", corrupted, "no footer"},
		{"table", "remove", corrupted, "the MANIFEST names it"},
		{"table", "flipmid", verify, "Badger takes a bad block for the end of the table"},
		{"MANIFEST", "cut1", refused, "the newest table is not named any more"},
		{"MANIFEST", "half", refused, "most tables are not named any more"},
		{"MANIFEST", "flipend", corrupted, "checksum"},
		{"MANIFEST", "flipmid", corrupted, "checksum"},
		{"MANIFEST", "flipstart", corrupted, "magic"},
		{"MANIFEST", "empty", corrupted, "magic"},
		{"MANIFEST", "remove", corrupted, "there are tables"},
		{"ACKED", "cut1", corrupted, "length"},
		{"ACKED", "flipmid", corrupted, "checksum"},
		{"ACKED", "empty", corrupted, "length"},
		{"ACKED", "remove", complete, "the operator's way to accept a loss"},
		{"vlog", "half", complete, "holds nothing"},
		{"vlog", "empty", complete, "holds nothing"},
		{"DISCARD", "half", complete, "statistics of the value log"},
		{"KEYREGISTRY", "half", corrupted, "Badger insists on it"},
	}
	if testing.Short() {
		mutations = mutations[:16]
	}
	for _, state := range []string{"killed", "closed"} {
		src := filepath.Join(base, state)
		args := []string{src, "140"}
		if state == "killed" {
			args = append(args, "leave")
		}
		if out, err := child("append", args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		want := strings.TrimSpace(strings.Repeat("140 ", historyRooms))
		for i, m := range mutations {
			if state == "closed" && m.file == "wal" {
				continue // there is none
			}
			t.Run(state+"/"+m.file+"/"+m.how, func(t *testing.T) {
				dir := filepath.Join(base, fmt.Sprint(state, i))
				if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
					t.Fatal(err)
				}
				defer os.RemoveAll(dir)
				damage(t, dir, m.file, m.how)
				out, err := child("check", dir).CombinedOutput()
				got := "something else"
				says := func(s string) bool { return strings.Contains(string(out), s) }
				switch {
				case err == nil && strings.TrimSpace(string(out)) == want:
					got = complete
				case says("open: ") && says(store.ErrLost.Error()):
					got = lost
				case says("open: ") && says(store.ErrCorrupted.Error()):
					got = corrupted
				case says("verify: ") && !says("panic"):
					got = verify
				}
				if got != m.want && (m.want != refused || !strings.Contains(refused, got)) {
					t.Errorf("got %s, want %s (%s): %v\n%.1500s", got, m.want, m.why, err, out)
				}
			})
		}
	}
}

// damage changes one file. Logs are longer than their contents, so their end is the
// last byte that is not zero.
func damage(t *testing.T, dir, file, how string) {
	pattern := map[string]string{"wal": "*.mem", "table": "000002.sst", "vlog": "*.vlog"}[file]
	if pattern == "" {
		pattern = file
	}
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s in the store (%v)", file, err)
	}
	path := paths[len(paths)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(b)
	if file == "wal" {
		end = len(bytes.TrimRight(b, "\x00"))
	}
	flip := func(at int) {
		for i := range min(16, len(b)-at) {
			b[at+i] ^= 0x5a
		}
	}
	switch how {
	case "cut1":
		b = b[:end-1]
	case "half":
		b = b[:end/2]
	case "empty":
		b = nil
	case "flipend":
		flip(end - 16)
	case "flipmid":
		flip(end / 2)
	case "flipstart":
		flip(4)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if how == "remove" {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
