package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childAttr has a provider end with this process, even if that is killed.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// manyAddresses: this machine is reached at all of 127.0.0.0/8, so that users can
// come from several addresses, as they would.
const manyAddresses = true

// usageOf reads what a process has used so far.
func usageOf(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("reading usage of process %d: %w", pid, err)
	}
	// The name, in parentheses, may hold spaces; utime and stime are fields 14 and 15,
	// in ticks, which are 100 per second for every program.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, i := range []int{11, 12} {
		if len(f) <= i {
			return u, fmt.Errorf("reading usage of process %d: %d fields", pid, len(f))
		}
		ticks, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return u, fmt.Errorf("reading usage of process %d: %w", pid, err)
		}
		u.cpu += time.Duration(ticks) * time.Second / 100
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("reading usage of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			u.rss = kib << 10
		case "RssAnon":
			u.anon = kib << 10
		case "VmHWM":
			u.peak = kib << 10
		}
	}
	return u, nil
}
