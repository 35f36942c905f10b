package overlay_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// lanEnv says that this process has a network of its own, in which loopback can
// pass for a LAN.
const lanEnv = "MIMID_TEST_LAN"

// TestMDNS: two nodes that nobody has told of each other meet on a LAN, and one that
// has mDNS off stays alone. The LAN is the loopback interface of a network namespace,
// with multicast on.
func TestMDNS(t *testing.T) {
	if os.Getenv(lanEnv) != "" {
		if err := multicastLoopback(); err != nil {
			fmt.Println("no LAN:", err)
			return
		}
		meet(t)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestMDNS$", "-test.v")
	cmd.Env = append(os.Environ(), lanEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	switch said := string(out); {
	case len(out) == 0 && err != nil:
		t.Skipf("no network namespace here: %v", err)
	case err == nil && strings.Contains(said, "no LAN: "):
		t.Skipf("loopback cannot pass for a LAN here: %s", said)
	case err != nil || !strings.Contains(said, "\nmet\n"):
		t.Fatalf("%v: %s", err, said)
	}
}

// multicastLoopback brings this namespace's loopback up, with multicast.
func multicastLoopback() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var req struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:], "lo")
	req.flags = syscall.IFF_UP | syscall.IFF_RUNNING | syscall.IFF_LOOPBACK | syscall.IFF_MULTICAST
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); e != 0 {
		return e
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	if lo.Flags&net.FlagMulticast == 0 {
		return fmt.Errorf("loopback is %v", lo.Flags)
	}
	return nil
}

func meet(t *testing.T) {
	a, b, c := config("a.example"), config("b.example"), config("c.example")
	a.MDNS, b.MDNS = true, true
	oa, _ := start(t, a)
	ob, _ := start(t, b)
	oc, _ := start(t, c)
	eventually(t, "meeting on the LAN", func() error {
		if !oa.Connected(ob.Self()) {
			return fmt.Errorf("not connected")
		}
		return nil
	})
	resolves(t, oa, "b.example")
	time.Sleep(200 * time.Millisecond)
	if oa.Connected(oc.Self()) || ob.Connected(oc.Self()) {
		t.Error("a node that has mDNS off was found")
	}
	fmt.Println("met")
}
