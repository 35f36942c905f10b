//go:build unix

package node_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/client/disk"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/uri"
)

// talker is a user with one device, as an application has it, who says something all
// the time, and what it was told of that. Its provider is a process.
type talker struct {
	*client.Client
	t    testing.TB
	at   *crashNode
	room uri.Room
	stop func() // ends the device
	hush func() // ends what it says, where a test sets it

	mu   sync.Mutex
	late int                // guarded by mu: how many of said are not final
	said []*saying          // guarded by mu, in their order
	by   map[uint64]*saying // guarded by mu, by index
	told []time.Time        // guarded by mu: that a hub is silent, or another one
	hubs []string           // guarded by mu: those that the room moved to

	stalls []time.Time // guarded by mu: told that a hub orders nothing
}

// saying is a message that a talker has sent. Times are zero before it is so.
type saying struct {
	text                  string
	sent, accepted, final time.Time
}

// newTalker registers somebody at a provider. The device has the times that
// applications have.
func newTalker(t testing.TB, n *crashNode, name string) *talker {
	t.Helper()
	var code string
	if err := n.operator(func(a *admin.Client) error {
		inv, err := a.CreateInvite(t.Context(), admin.NewInvite{Name: name})
		if err == nil {
			code = inv.Code
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	st, err := disk.Open(disk.Options{Dir: filepath.Join(t.TempDir(), name), Small: true})
	if err != nil {
		t.Fatal(err)
	}
	storing, endStore := context.WithCancel(context.Background())
	running, endDevice := context.WithCancel(context.Background())
	var store, device sync.WaitGroup
	store.Go(func() { st.Run(storing) })
	k := &talker{t: t, at: n, by: map[uint64]*saying{}}
	k.stop = sync.OnceFunc(func() {
		endDevice()
		device.Wait()
		endStore()
		store.Wait()
		st.Close(context.Background())
	})
	t.Cleanup(k.stop)
	if k.Client, err = client.Open(client.Config{Storage: st, Notices: 1 << 14}); err == nil {
		err = k.Register(t.Context(), n.clients, code, "phone")
	}
	if err != nil {
		t.Fatal(err)
	}
	device.Go(func() {
		if err := k.Run(running); err != nil {
			t.Errorf("device of %s: %v", k.User(), err)
		}
	})
	device.Go(func() {
		for {
			select {
			case <-running.Done():
				return
			case n := <-k.Events():
				k.hear(n)
			}
		}
	})
	return k
}

// hear notes what the application is told.
func (k *talker) hear(n client.Notice) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch n := n.(type) {
	case client.HubSilent:
		if n.Silent {
			k.told = append(k.told, time.Now())
		}
	case client.HubStalls:
		if n.Stalls {
			k.stalls = append(k.stalls, time.Now())
		}
	case client.HubChanged:
		k.told, k.hubs = append(k.told, time.Now()), append(k.hubs, n.Hub)
	case client.SendState:
		s := k.saying(n.Index)
		switch n.State {
		case client.StateAccepted:
			s.accepted = time.Now()
		case client.StateFinal:
			s.final = time.Now()
			k.late--
			if s.accepted.IsZero() {
				s.accepted = s.final
			}
		case client.StateFailed:
			k.t.Errorf("message of %s failed: %v", k.User(), n.Err)
		}
	case client.Problem:
		k.t.Errorf("%s is told: %v", k.User(), n.Err)
	case client.Rejoining:
		k.t.Errorf("%s has to come back: %v", k.User(), n.Err)
	case client.Missed:
		k.t.Errorf("%s has missed notices", k.User())
	}
}

// saying returns what has an index. A notice may come before Send returns. k.mu is held.
func (k *talker) saying(index uint64) *saying {
	s := k.by[index]
	if s == nil {
		s = new(saying)
		k.by[index] = s
	}
	return s
}

// backlog is how many messages of a talker wait at most: on a slow machine they would
// wait for each other, and not for a hub.
const backlog = 40

// talk sends a message every 50 ms until the function is called, which returns when no
// more is sent.
func (k *talker) talk() (hush func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			k.mu.Lock()
			text, late := fmt.Sprintf("%s %d", k.at.domain, len(k.said)), k.late
			k.mu.Unlock()
			if late >= backlog {
				continue
			}
			sent := time.Now()
			index, err := k.Send(context.Background(), k.room, text)
			if err != nil {
				k.t.Errorf("%s cannot send: %v", k.User(), err)
				return
			}
			k.mu.Lock()
			s := k.saying(index)
			s.text, s.sent = text, sent
			k.said = append(k.said, s)
			k.late++
			k.mu.Unlock()
		}
	})
	return sync.OnceFunc(func() { close(over); wg.Wait() })
}

// served is when the first of the messages that were sent after a moment was accepted.
func (k *talker) served(after time.Time) (at time.Time, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.said {
		if s.sent.After(after) && !s.accepted.IsZero() {
			return s.accepted, true
		}
	}
	return at, false
}

// toldSince is when the talker was first told something about the hub after a moment: that
// it is silent, or that it is another one, if its own provider has not missed it by then.
func (k *talker) toldSince(after time.Time) (at time.Time, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, at := range k.told {
		if at.After(after) {
			return at, true
		}
	}
	return at, false
}

// open counts the messages that the talker has not been told to be final.
func (k *talker) open() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.late
}

// has counts a talker's messages by their texts. All of them have to be final.
func (k *talker) has() map[string]int {
	k.t.Helper()
	list, err := k.Messages(k.room, 0, math.MaxInt)
	if err != nil {
		k.t.Fatal(err)
	}
	out := map[string]int{}
	for _, m := range list {
		if m.State != client.StateFinal {
			k.t.Errorf("%q is %s with %s", m.Text, m.State, k.User())
		}
		out[m.Text]++
	}
	return out
}

// freeze stops the process, thaw has it go on. Its threads run on until they are looked
// at, which takes a moment on a busy machine.
func (n *crashNode) freeze() {
	n.signal(syscall.SIGSTOP)
	time.Sleep(100 * time.Millisecond)
}

func (n *crashNode) thaw() { n.signal(syscall.SIGCONT) }

func (n *crashNode) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// trio are three providers as processes, one talker at each, and a room that all three
// decide about.
type trio struct {
	t       testing.TB
	nodes   []*crashNode
	talkers []*talker
	room    uri.Room
}

// newTrio starts them; own, if it is there, changes how a process is started.
func newTrio(t testing.TB, own ...func(*crashNode)) *trio {
	t.Helper()
	w := &trio{t: t}
	var boot []string
	for i, domain := range []string{"atlanta.example", "biloxi.example", "chicago.example"} {
		n := crashPrepare(t, domain, true, boot...)
		for _, f := range own {
			f(n)
		}
		n.start()
		boot = append(boot, n.status.Addresses[0])
		w.nodes = append(w.nodes, n)
		w.talkers = append(w.talkers, newTalker(t, n, []string{"alice", "bob", "carol"}[i]))
	}
	ctx := t.Context()
	alice := w.talkers[0]
	var err error
	if w.room, err = alice.CreateRoom(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	for _, k := range w.talkers {
		k.room = w.room
		if k == alice {
			continue
		}
		if err := k.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, w.room, k.User()) == nil })
	}
	for _, k := range w.talkers {
		within(t, "three providers decide", func() bool { v, err := k.Verify(ctx, w.room); return err == nil && v.Replicas == 3 })
	}
	return w
}

// hub is the talker whose provider orders the room, as somebody sees it whose provider
// is alive, and the others.
func (w *trio) hub(by *talker) (hub *talker, others []*talker) {
	w.t.Helper()
	v, err := by.Verify(w.t.Context(), w.room)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range w.talkers {
		if k.at.domain == v.Hub {
			hub = k
		} else {
			others = append(others, k)
		}
	}
	if hub == nil {
		w.t.Fatalf("the room is ordered by %s", v.Hub)
	}
	return hub, others
}

// failoverLimit is how long people wait at most for another hub, and for the old one to
// be there again, on however busy a machine.
const failoverLimit = 20 * time.Second

// until waits for something that others' processes do.
func (w *trio) until(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(failoverLimit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	w.t.Fatalf("%s: not within %s", what, failoverLimit)
}

// level waits until everything is final and everybody stands in one place of the log,
// and returns how long that is.
func (w *trio) level() uint64 {
	w.t.Helper()
	var first client.Summary
	w.until("everybody has one log", func() bool {
		var err error
		for i, k := range w.talkers {
			v, verr := k.Verify(w.t.Context(), w.room)
			err = errors.Join(err, verr)
			if i == 0 {
				first = v
			}
			if k.open() > 0 || err != nil || v != first {
				return false
			}
		}
		return true
	})
	return first.Next
}

// end stops all nodes at once, and checks their stores.
func (w *trio) end(entries uint64) {
	w.t.Helper()
	var wg sync.WaitGroup
	for _, n := range w.nodes {
		wg.Go(func() {
			if code := n.terminate(); code != 0 {
				w.t.Errorf("%s ends with code %d", n.domain, code)
			}
		})
	}
	wg.Wait()
	for _, n := range w.nodes {
		cfg, err := node.ReadConfig(n.dir)
		if err != nil {
			w.t.Fatal(err)
		}
		v, err := node.Verify(w.t.Context(), cfg, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		// On a slow machine the last two may have taken the room over from the first, and a device
		// may have had the room say whose hub it is now.
		if len(v.Faults) > 0 || v.Entries < entries || v.Entries > entries+4 {
			w.t.Errorf("verifying %s: %+v; expected %d entries", n.domain, v, entries)
		}
	}
}
