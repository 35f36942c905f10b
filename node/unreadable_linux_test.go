package node_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/mimid/mimid/node"
)

// TestUnreadable: a configuration that belongs to another user is not read, and the
// error names the file and the reason.
func TestUnreadable(t *testing.T) {
	a := prepare(t, "atlanta.example")
	path := filepath.Join(a.dir, node.ConfigName)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its file rights
		if os.Getuid() == 0 {
			syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		}
		_, err := node.ReadConfig(a.dir)
		got <- err
	}()
	if err := <-got; err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("got %v", err)
	}
}
