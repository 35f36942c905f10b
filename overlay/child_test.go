package overlay_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

// childEnv holds, for a process that is one node of a benchmark's network, what it is to do. So its
// memory and CPU are its own, and those of the other nodes, which are in the benchmark's process, theirs.
const childEnv = "MIMID_OVERLAY_TEST_CHILD"

// A task is what a child does once it has been told to; it says a report before it, when it has
// joined, and one at the end.
type task struct {
	Boot     []string
	Announce int // so many keys, until told that they have arrived
	Limit    int // MiB that the process's memory is to stay below, as store.memory asks for; 0: no limit
	Search   int // so often for bench keys that others announce
	Keys     int // of these there are so many
}

// A report is what a child says of itself, a line of JSON.
type report struct {
	HeapMiB, RSSMiB, PeakMiB float64 // heap and resident memory after a garbage collection; the most that was resident
	LiveMiB                  float64 // the most that a garbage collection has left meanwhile
	Found, Asked             int
	Err                      string
}

func benchKeys(n int) [][32]byte {
	out := make([][32]byte, n)
	for i := range out {
		out[i] = sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	return out
}

// child is the process: a node, with package overlay and nothing else of mimid.
func child(what string) int {
	var t task
	if err := json.Unmarshal([]byte(what), &t); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	say := func(r report, err error) int {
		if err != nil {
			r.Err = err.Error()
		}
		_ = json.NewEncoder(os.Stdout).Encode(r)
		if err != nil {
			return 1
		}
		return 0
	}
	c := config("child.example")
	c.Bootstrap, c.Limits.Announced = t.Boot, max(t.Announce, 1)
	o, err := overlay.New(c)
	if err != nil {
		return say(report{}, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	<-o.Ready()
	for deadline := time.Now().Add(2 * time.Minute); overlay.TableSize(o) < 15; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			return say(report{}, fmt.Errorf("only %d nodes are known", overlay.TableSize(o)))
		}
	}
	if t.Limit > 0 {
		debug.SetMemoryLimit(int64(t.Limit) << 20)
	}
	keys := benchKeys(max(t.Announce, t.Keys))
	say(memory(), nil)
	told := bufio.NewReader(os.Stdin)
	wait := func() bool { _, err := told.ReadString('\n'); return err == nil }
	if !wait() {
		return 1
	}
	var r report
	if t.Announce > 0 {
		most := watchLive(ctx)
		if err := o.Announce(ctx, keys...); err != nil {
			return say(r, err)
		}
		wait()
		r.LiveMiB = most()
	}
	for i := range t.Search {
		walked := overlay.WithWalked(ctx, func(w overlay.Walked) { r.Asked += w.Asked })
		if len(slices.Collect(o.Announcers(walked, keys[i%len(keys)], 64))) > 0 {
			r.Found++
		}
	}
	m := memory()
	m.Found, m.Asked, m.LiveMiB = r.Found, r.Asked, r.LiveMiB
	return say(m, nil)
}

// watchLive looks every tenth of a second at what the last garbage collection has left.
func watchLive(ctx context.Context) (most func() float64) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan float64, 1)
	go func() {
		highest := 0.0
		s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for ctx.Err() == nil {
			metrics.Read(s)
			highest = max(highest, float64(s[0].Value.Uint64())/(1<<20))
			time.Sleep(100 * time.Millisecond)
		}
		done <- highest
	}()
	return func() float64 { stop(); return <-done }
}

// memory reads what this process holds. Where there is no /proc only the heap is known.
func memory() (r report) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.HeapMiB = float64(m.HeapInuse) / (1 << 20)
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			r.RSSMiB = kib / 1024
		case "VmHWM:":
			r.PeakMiB = kib / 1024
		}
	}
	return r
}

// A process is a child, seen from the benchmark.
type process struct {
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
	out *bufio.Reader
}

func startChild(t testing.TB, what task) *process {
	t.Helper()
	b, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(b))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the child says %s", stderr.String())
		}
	})
	return &process{cmd, in, bufio.NewReader(out)}
}

// tell lets it go on.
func (p *process) tell(t testing.TB) {
	t.Helper()
	if _, err := p.in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
}

// reports waits for what it says.
func (p *process) reports(t testing.TB) (r report) {
	t.Helper()
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil || r.Err != "" {
		t.Fatalf("the child: %s %v", r.Err, err)
	}
	return r
}

// cpu is all that it has taken, when it has ended.
func (p *process) cpu(t testing.TB) time.Duration {
	t.Helper()
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}
