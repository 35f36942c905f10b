//go:build unix

package stack_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/memnet"
	"github.com/mimid/mimid/simulations/stack"
	"github.com/mimid/mimid/simulations/virtual"
)

// usage is what this process has used until now.
func usage() (cpu time.Duration, most int64) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	most = u.Maxrss
	if runtime.GOOS == "linux" {
		most <<= 10
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), most
}

// A meter measures the steps of a run, by the wall and in virtual time.
type meter struct {
	t                  *testing.T
	nodes              int
	counts             func() memnet.Counts
	wall, cpu, virtual time.Duration
	begun              time.Time
}

func newMeter(t *testing.T, nodes int) *meter {
	m := &meter{t: t, nodes: nodes, begun: time.Now()}
	m.wall = virtual.Wall()
	m.cpu, _ = usage()
	return m
}

// step tells what has been used until now, and what the step before has used.
func (m *meter) step(what string) (wall, cpu, virt time.Duration) {
	c, most := usage()
	wall, cpu, virt = virtual.Wall()-m.wall, c-m.cpu, time.Since(m.begun)-m.virtual
	m.wall, m.cpu, m.virtual = m.wall+wall, c, m.virtual+virt
	n, per := m.counts(), float64(m.nodes)
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	m.t.Logf("%-10s %6.1f s wall, %6.1f s CPU, %6.1f s virtual, %5d MB at most, %d in objects and %d in stacks of %d goroutines now; of a node until now: %.0f dials, %.0f connections (%.0f are open), %.0f streams, %.0f kB",
		what, wall.Seconds(), cpu.Seconds(), virt.Seconds(), most>>20, now.HeapAlloc>>20, now.StackInuse>>20, runtime.NumGoroutine(),
		float64(n.Dials)/per, 2*float64(n.Connections)/per, 2*float64(n.Open)/per, float64(n.Streams)/per, float64(n.Octets)/per/1000)
	m.profile(what)
	return wall, cpu, virt
}

// joining tells now and then how far a network has come: a run of many nodes may be ended before it is through.
func (m *meter) joining(nodes int) {
	if nodes == 1 || nodes%200 != 1 {
		return
	}
	cpu, most := usage()
	m.t.Logf("%4d nodes  %6.1f s wall, %6.1f s CPU, %6.1f s virtual, %5d MB at most, %d goroutines", nodes,
		(virtual.Wall() - m.wall).Seconds(), (cpu - m.cpu).Seconds(), time.Since(m.begun).Seconds(), most>>20, runtime.NumGoroutine())
}

// fewest has the test fail if a node is hardly connected.
func (m *meter) fewest(connections int) {
	m.t.Logf("no node has fewer than %d connections", connections)
	if want := min(3, m.nodes/2); connections < want {
		m.t.Errorf("a node has %d connections, want %d: it has not joined", connections, want)
	}
}

// profile writes, if that is wanted, what is held when a step has ended. The CPU's profile has to begin outside of virtual
// time, with -cpuprofile.
func (m *meter) profile(ended string) {
	dir := os.Getenv("MIMID_PROFILES")
	if dir == "" {
		return
	}
	runtime.GC() // so that the heap's profile is of what is in use
	for _, name := range []string{"heap", "goroutine"} {
		var b bytes.Buffer
		if err := pprof.Lookup(name).WriteTo(&b, 0); err != nil {
			m.t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ended+"."+name), b.Bytes(), 0o600); err != nil {
			m.t.Error(err)
		}
	}
}

// TestScale measures how many nodes this machine runs: MIMID_SCALE is "bare 1000", overlay nodes, of
// which all take part in one topic, and ten look for a key; "whole 300", whole providers, of which eleven
// have one room, for which the first looks up the ten others; or "idle 100", whole providers that do nothing for ten minutes. With
// MIMID_CONNECTIONS nodes keep fewer connections than real ones; with MIMID_PROFILES profiles of
// heap and goroutines after each step are written to that directory. It asserts only that everything works.
func TestScale(t *testing.T) {
	var kind string
	var nodes int
	if _, err := fmt.Sscanf(os.Getenv("MIMID_SCALE"), "%s %d", &kind, &nodes); err != nil {
		t.Skip(`measures the machine: MIMID_SCALE="bare 100", "whole 100" or "idle 100"`)
	}
	connections := 0
	if s := os.Getenv("MIMID_CONNECTIONS"); s != "" {
		if _, err := fmt.Sscan(s, &connections); err != nil {
			t.Fatal(err)
		}
	}
	spec := links.Spec{Model: "cities", Jitter: .05}
	virtual.Bubble(t, func() {
		if kind == "bare" {
			scaleBare(t, nodes, connections, spec)
		} else {
			scaleWhole(t, nodes, connections, spec, kind == "idle")
		}
	})
}

func scaleBare(t *testing.T, nodes, connections int, spec links.Spec) {
	m := newMeter(t, nodes)
	n, err := stack.Join(context.Background(), 1, nodes, connections, spec, m.joining)
	m.counts = n.Counts
	defer func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	m.step("joined")
	m.fewest(n.Fewest())
	reached, err := n.Topic(context.Background())
	if err != nil || reached < nodes-1 {
		t.Errorf("%d of %d got the message: %v", reached, nodes-1, err)
	}
	m.step("topic")
	if found, err := n.Search(context.Background(), 1, 10); err != nil || found < 10 {
		t.Errorf("%d of 10 found the announcer: %v", found, err)
	}
	m.step("lookups")
	time.Sleep(2 * time.Minute)
	wall, _, virt := m.step("idle")
	t.Logf("idle: %.0f times as fast as real time", virt.Seconds()/wall.Seconds())
}

func scaleWhole(t *testing.T, nodes, connections int, spec links.Spec, idle bool) {
	m := newMeter(t, nodes)
	w, err := stack.JoinWhole(context.Background(), 1, nodes, connections, spec, m.joining)
	m.counts = w.Counts
	defer func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	m.step("joined")
	m.fewest(w.Fewest())
	if idle {
		time.Sleep(2 * time.Minute) // streams of joining end
		m.step("settled")
		time.Sleep(10 * time.Minute)
		wall, cpu, virt := m.step("idle")
		t.Logf("idle: %.0f times as fast as real time, %.0f by CPU time", virt.Seconds()/wall.Seconds(), virt.Seconds()/cpu.Seconds())
		return
	}
	if err := w.Room(context.Background(), min(10, nodes-1)); err != nil {
		t.Error(err)
	}
	m.step("room")
}
