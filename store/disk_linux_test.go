package store_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/mimid/mimid/store"
)

func init() { children["fill"] = childFill } // the other children run everywhere

// childFill appends until an error comes, and shows that reading still works or that
// the store knows that it has failed. With a limit, this process may not write files
// beyond it, which is how a full disk looks to a commit.
func childFill(args []string) error {
	s, err := run(small(args[0]))
	if err != nil {
		return err
	}
	if len(args) > 1 {
		limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
	}
	for {
		seq, err := appendHistory(context.Background(), s.Store, 0)
		if err != nil {
			fmt.Printf("full=%v failed=%v: %v\n", errors.Is(err, store.ErrDiskFull), errors.Is(err, store.ErrFailed), err)
			heads, err := checkHistory(s.Store)
			fmt.Printf("reads %d %v\n", heads[0], err)
			os.Exit(0) // Badger's Close needs room
		}
		fmt.Printf("0 %d\n", seq)
	}
}

// fill runs childFill and returns the last acknowledged seq and what it said then.
func fill(t *testing.T, args ...string) (acked uint64, said string) {
	t.Helper()
	out, err := child("fill", args...).CombinedOutput()
	if err != nil {
		said, _, _ := bytes.Cut(out, []byte("\n0 ")) // without the acknowledgements
		if i := bytes.Index(out, []byte("fatal error")); i >= 0 {
			said = out[i:min(len(out), i+3000)]
		}
		t.Fatalf("%v: %s ... %s", err, said, out[max(0, len(out)-3000):])
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		var room int
		if n, _ := fmt.Sscanf(lines.Text(), "%d %d", &room, &acked); n != 2 {
			said += lines.Text() + "\n"
		}
	}
	return acked, said
}

func checkAfterFull(t *testing.T, dir string, acked uint64) {
	t.Helper()
	s, err := run(small(dir))
	if err != nil {
		t.Fatalf("with room again: %v", err)
	}
	defer s.shut()
	heads, err := checkHistory(s.Store)
	if err != nil || heads[0] < acked {
		t.Errorf("%d acknowledged, %d there, %v", acked, heads[0], err)
	}
	if _, err := appendHistory(t.Context(), s.Store, 0); err != nil {
		t.Errorf("appending again: %v", err)
	}
}

// TestDiskFull fills a small file system: the store stops before the disk is full,
// keeps reading, and goes on when there is room.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root; TestFileLimit takes the failing commit")
	}
	mnt := t.TempDir()
	if err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, "size=100m"); err != nil {
		t.Skipf("mounting: %v", err)
	}
	defer syscall.Unmount(mnt, syscall.MNT_DETACH)
	dir := filepath.Join(mnt, "store")
	acked, said := fill(t, dir)
	t.Logf("%d entries, then: %s", acked, said)
	if want := fmt.Sprintf("reads %d <nil>\n", acked); acked < 100 || !strings.HasPrefix(said, "full=true failed=false: ") || !strings.HasSuffix(said, want) {
		t.Errorf("%d acknowledged, then %q", acked, said)
	}
	if s, err := run(small(dir)); err == nil {
		s.shut() // what the child held has been given back
	} else if !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("opening on a full disk: %v", err)
	}
	if err := syscall.Mount("tmpfs", mnt, "tmpfs", syscall.MS_REMOUNT, "size=200m"); err != nil {
		t.Fatal(err)
	}
	checkAfterFull(t, dir, acked)
}

// TestFileLimit makes Badger's commit itself run out of room, at the next log.
func TestFileLimit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	acked, said := fill(t, dir, "limit")
	t.Logf("%d entries, then: %s", acked, said)
	if acked < 10 || !strings.HasPrefix(said, "full=true failed=true: ") {
		t.Errorf("%d acknowledged, then %q", acked, said)
	}
	checkAfterFull(t, dir, acked)
}

// TestReserve: below the reserve nothing is written, nothing is lost, and the same
// store goes on when there is room.
func TestReserve(t *testing.T) {
	st, err := store.Open(small(filepath.Join(t.TempDir(), "store")))
	if err != nil {
		t.Fatal(err)
	}
	st.SetReserve(1 << 60)
	ctx, cancel := context.WithCancel(context.Background())
	s := &running{st, cancel, make(chan error, 1)}
	go func() { defer close(s.ended); s.ended <- st.Run(ctx) }()
	defer s.shut()
	for range 2 {
		if _, err := appendHistory(ctx, st, 0); !errors.Is(err, store.ErrDiskFull) || errors.Is(err, store.ErrFailed) {
			t.Errorf("got %v, want ErrDiskFull", err)
		}
	}
	if heads, err := checkHistory(st); err != nil || heads[0] != 0 {
		t.Errorf("heads %v, %v", heads, err)
	}
}

// TestPermission opens as another user.
func TestPermission(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	start(t, small(dir)).shut()
	denied := func() error {
		if os.Getuid() != 0 {
			if err := os.Chmod(dir, 0o500); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(dir, 0o700)
		} else {
			// For files, this thread alone becomes nobody. It is not unlocked, so it ends
			// with its goroutine.
			runtime.LockOSThread()
			if _, _, e := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0); e != 0 {
				t.Fatal(e)
			}
		}
		s, err := store.Open(small(dir))
		if err == nil {
			s.Close(context.Background())
		}
		return err
	}
	got := make(chan error)
	go func() { got <- denied() }()
	if err := <-got; !errors.Is(err, store.ErrPermission) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want ErrPermission", err)
	}
}
