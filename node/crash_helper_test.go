package node_test

import (
	"bufio"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
)

// crashServeEnv names the data directory on which this binary is to be a node,
// instead of running tests.
const crashServeEnv = "MIMID_NODE_TEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashServeEnv); dir != "" {
		os.Exit(crashServe(dir))
	}
	code := m.Run()
	// Whole nodes have come and gone: nothing of them may be left. Gossipsub's attempts
	// to announce a topic again sleep up to a second before they see that it is over.
	var left error
	for range 10 {
		if left = goleak.Find(); left == nil {
			break
		}
	}
	if left != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "after all tests:", left)
		code = 1
	}
	os.Exit(code)
}

// crashDiskEnv gives the size of a disk of its own for the node's store.
const crashDiskEnv = "MIMID_TEST_NODE_DISK"

// crashServe does what `mimid serve --json` does. It also ends with its parent,
// which holds the other end of standard input.
func crashServe(dir string) int {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := func() error {
		if size := os.Getenv(crashDiskEnv); size != "" {
			if err := mountDisk(dir+"/store", size); err != nil {
				return err
			}
		}
		cfg, err := node.ReadConfig(dir)
		if err != nil {
			return err
		}
		n, err := node.New(cfg, node.Options{LogTo: os.Stderr, Version: "test"})
		if err != nil {
			return err
		}
		go func() {
			<-n.Ready()
			if st, err := n.Status(ctx); err == nil {
				json.NewEncoder(os.Stdout).Encode(st)
			}
		}()
		return n.Run(ctx)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mimid:", err)
		return 1
	}
	return 0
}

// crashNode is a provider's node in a process of its own.
type crashNode struct {
	t       testing.TB
	domain  string
	dir     string
	clients string       // where the client API is
	status  admin.Status // as printed when it was ready

	env  []string             // of the process, besides the usual
	attr *syscall.SysProcAttr // of the process

	cmd  *exec.Cmd
	in   io.Closer
	done chan struct{} // closed when the process has ended
	log  *lockedBuffer // of all its lives
}

// crashPrepare makes a data directory, on ports that stay the same. A small store
// writes its tables out more often.
func crashPrepare(t testing.TB, domain string, small bool, boot ...string) *crashNode {
	t.Helper()
	r := prepare(t, domain, boot...)
	cfg := r.cfg
	cfg.Metrics.Listen, cfg.Store.Small = "", small
	cfg.Clients.RequestsPerSecond = 1e6
	b, err := cfg.Bytes()
	if err == nil {
		err = os.WriteFile(r.dir+"/"+node.ConfigName, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	n := &crashNode{t: t, domain: domain, dir: r.dir, clients: "http://" + cfg.Clients.Listen, log: new(lockedBuffer)}
	t.Cleanup(func() {
		if n.running() {
			n.kill()
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", domain, n.log)
		}
	})
	return n
}

// launch starts the process and returns when it is ready, or has ended: then with
// what it wrote to standard error.
func (n *crashNode) launch() error {
	n.t.Helper()
	ready, last := n.begin()
	select {
	case ok := <-ready:
		if ok {
			return nil
		}
		<-n.done
		return errors.New(strings.TrimSpace(last.String()))
	case <-time.After(20 * time.Second):
		n.kill()
		n.t.Fatalf("%s is not ready within 20 s", n.domain)
		return nil
	}
}

// begin starts the process and does not wait. The channel tells when it is ready,
// or that it has ended before.
func (n *crashNode) begin() (ready <-chan bool, log *lockedBuffer) {
	n.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	last := new(lockedBuffer)
	n.cmd = exec.Command(exe)
	n.cmd.Env = append(append(os.Environ(), crashServeEnv+"="+n.dir), n.env...)
	n.cmd.SysProcAttr = n.attr
	n.cmd.Stderr = io.MultiWriter(n.log, last)
	in, err1 := n.cmd.StdinPipe()
	out, err2 := n.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		n.t.Fatal(err)
	}
	n.in = in
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	is, done := make(chan bool, 1), make(chan struct{})
	n.done = done
	cmd := n.cmd
	go func() {
		defer close(done)
		line, err := bufio.NewReader(out).ReadBytes('\n')
		is <- err == nil && json.Unmarshal(line, &n.status) == nil
		io.Copy(io.Discard, out)
		cmd.Wait()
	}()
	return is, last
}

func (n *crashNode) start() *crashNode {
	n.t.Helper()
	if err := n.launch(); err != nil {
		n.t.Fatalf("%s does not start: %v", n.domain, err)
	}
	return n
}

func (n *crashNode) running() bool {
	if n.done == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// kill ends the process with SIGKILL.
func (n *crashNode) kill() {
	n.cmd.Process.Kill()
	<-n.done
	n.in.Close()
}

// terminate ends the process with SIGTERM and returns its exit code.
func (n *crashNode) terminate() int {
	n.t.Helper()
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.done:
	case <-time.After(node.StopTimeout + 5*time.Second):
		n.t.Errorf("%s does not stop", n.domain)
		n.kill()
	}
	n.in.Close()
	return n.cmd.ProcessState.ExitCode()
}

// operator asks the node's socket.
func (n *crashNode) operator(f func(a *admin.Client) error) error {
	a, err := admin.Dial(context.Background(), n.dir)
	if err != nil {
		return err
	}
	defer a.Close()
	return f(a)
}

// room returns where the node is in a room.
func (n *crashNode) room(id room.ID) (r admin.Room, err error) {
	err = n.operator(func(a *admin.Client) error {
		got, err := a.Room(context.Background(), id.String())
		if err == nil {
			r = *got
		}
		return err
	})
	return r, err
}

// verify checks the store of the stopped node, with as many entries as there must
// be.
func (n *crashNode) verify(entries uint64) {
	n.t.Helper()
	cfg, err := node.ReadConfig(n.dir)
	if err != nil {
		n.t.Fatal(err)
	}
	v, err := node.Verify(context.Background(), cfg, nil)
	if err != nil || len(v.Faults) > 0 || v.Entries != entries {
		n.t.Errorf("verifying %s: %+v, %v; expected %d entries", n.domain, v, err, entries)
	}
}

// crashWorld is a hub, a follower, and a user at each.
type crashWorld struct {
	t             testing.TB
	rnd           *rand.Rand
	hub, follower *crashNode
	alice, bob    *crashDevice
	auth          *x509auth.Authenticator

	mu   sync.Mutex
	keys map[string][]crypto.PublicKey // guarded by mu: of providers
}

// newCrashWorld starts both nodes and registers both users. The seed decides when
// something is killed. The nodes are changed before they start.
func newCrashWorld(t testing.TB, seed uint64, small bool, change ...func(n *crashNode)) *crashWorld {
	t.Helper()
	w := &crashWorld{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), keys: map[string][]crypto.PublicKey{}}
	var err error
	if w.auth, err = x509auth.New(x509auth.Options{Anchors: func(domain string) []crypto.PublicKey {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.keys[domain]
	}}); err != nil {
		t.Fatal(err)
	}
	begin := func(n *crashNode) *crashNode {
		for _, f := range change {
			f(n)
		}
		return n.start()
	}
	w.hub = begin(crashPrepare(t, "atlanta.example", small))
	w.follower = begin(crashPrepare(t, "biloxi.example", small, w.hub.status.Addresses[0]))
	w.alice, w.bob = w.device(w.hub, "alice"), w.device(w.follower, "bob")
	return w
}

// soon is a time up to most.
func (w *crashWorld) soon(most time.Duration) time.Duration {
	return time.Duration(w.rnd.Int64N(int64(most)))
}

// level waits until both nodes have the same log, and returns how long it is.
func (w *crashWorld) level(id room.ID) (n uint64) {
	w.t.Helper()
	var a, b admin.Room
	within(w.t, "both logs are equal", func() bool {
		var err1, err2 error
		a, err1 = w.hub.room(id)
		b, err2 = w.follower.room(id)
		return errors.Join(err1, err2) == nil && a.Head == b.Head && a.Next == b.Next && a.Epoch == b.Epoch
	})
	if a.Trouble+b.Trouble != "" {
		w.t.Errorf("trouble: %q, %q", a.Trouble, b.Trouble)
	}
	return a.Next
}
