package node_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

// mountDisk makes a file system in memory of a size, in this process's namespace.
func mountDisk(dir, size string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	return syscall.Mount("none", dir, "tmpfs", 0, "mode=0700,size="+size)
}

// fillDisk writes a file beside a node's store, in its namespace, and returns how to
// remove it.
func (n *crashNode) fillDisk(size int) (remove func()) {
	n.t.Helper()
	name := fmt.Sprintf("/proc/%d/root%s/store/filler", n.cmd.Process.Pid, n.dir)
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		n.t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			n.t.Error(err)
		}
	}
}

// A small store keeps 64 MB free.
const diskSize, fillerSize = 96 << 20, 60 << 20

// ownDisk gives a node's process a file system of its own.
func ownDisk(n *crashNode) {
	n.env = []string{fmt.Sprintf("%s=%d", crashDiskEnv, diskSize)}
	n.attr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		n.attr.Cloneflags |= syscall.CLONE_NEWUSER
		n.attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
}

// TestDiskFull: the disk of a hub, and then of a follower, has no room. The hub says so
// with 503, and that nothing has happened; the follower falls behind. Both go on
// without a restart when there is room again, with everything that was accepted.
func TestDiskFull(t *testing.T) {
	if err := probe(t, ownDisk); err != nil {
		t.Skipf("no file system of its own for a process here: %v", err)
	}
	w := newCrashWorld(t, 1, true, ownDisk)
	id := w.shared(w.bob.listen(), "disk")
	send := func(text string) *crashSubmission {
		t.Helper()
		return crashMust(w.alice.message(id, text))(t)
	}
	said := send("before")
	if err := said.submit(); err != nil {
		t.Fatal(err)
	}
	all := []*crashSubmission{said}

	remove := w.hub.fillDisk(fillerSize)
	for i := range 3 {
		s := send(fmt.Sprintf("hub is full %d", i))
		err := s.submit()
		if s.refused == nil || s.refused.Status != 503 || s.refused.Code != clientapi.CodeUnavailable || !strings.Contains(s.refused.Detail, "disk is full") {
			t.Errorf("a hub without room answers %v", err)
		}
		all = append(all, s)
	}
	if n := len(w.alice.entries(id)); n != 3 {
		t.Errorf("%d entries can be read meanwhile", n)
	}
	remove()
	for _, s := range all[1:] {
		s.insist()
	}
	w.level(id)

	remove = w.follower.fillDisk(fillerSize)
	for i := range 3 {
		s := send(fmt.Sprintf("follower is full %d", i))
		if err := s.submit(); err != nil {
			t.Errorf("the follower's disk is the hub's trouble: %v", err)
		}
		all = append(all, s)
	}
	time.Sleep(300 * time.Millisecond)
	if r, err := w.follower.room(id); err != nil || r.Next != 6 || r.Trouble != "" {
		t.Errorf("a follower without room: %+v, %v", r, err)
	}
	remove()
	s := send("after") // what makes the follower look
	s.insist()
	all = append(all, s)
	if n := w.level(id); n != uint64(len(all)+2) {
		t.Errorf("%d entries", n)
	}
	w.once(id, all)
}

// probe tries whether a process can have such a disk here.
func probe(t *testing.T, own func(n *crashNode)) error {
	n := crashPrepare(t, "probe.example", true)
	own(n)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	try := exec.Command(exe, "-test.run=^$")
	if try.SysProcAttr = n.attr; try.Run() != nil {
		return fmt.Errorf("a namespace: %w", os.ErrPermission)
	}
	err = n.launch()
	n.kill()
	if err != nil && !strings.Contains(err.Error(), "not permitted") {
		t.Fatal(err)
	}
	return err
}
