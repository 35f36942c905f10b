package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// What is true of nodes that are killed, as real processes: nothing that was
// accepted is lost, nothing is there twice, and everybody ends with the same log.
// The seeds decide when something is killed; what the processes do then is theirs.

// crashRounds is how often something is killed in a test.
func crashRounds() int {
	if testing.Short() {
		return 1
	}
	return 5
}

// shared makes a room that alice and bob are in.
func (w *crashWorld) shared(s *crashStream, name string) room.ID {
	w.t.Helper()
	id := w.alice.create(name)
	add := w.alice.addition(id, w.bob)
	add.insist()
	add.merge()
	s.welcome(id)
	return id
}

// load has submitters send one message after the other, each until it gets no
// answer or the time is over: twelve of alice's at the hub and four of bob's at the
// follower, which passes them on.
func (w *crashWorld) load(id room.ID, over <-chan struct{}) (wait func() []*crashSubmission) {
	var all []*crashSubmission
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 16 {
		d := w.alice
		if i%4 == 3 {
			d = w.bob
		}
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				s, err := d.message(id, fmt.Sprintf("%d says %d", i, n))
				if err != nil {
					w.t.Error(err)
					return
				}
				err = s.submit()
				mu.Lock()
				all = append(all, s)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	return func() []*crashSubmission { wg.Wait(); return all }
}

// once checks that every submission is in the log exactly once if it was accepted,
// with the time that was answered, and otherwise at most once, not at all if the
// provider has said that nothing happened.
func (w *crashWorld) once(id room.ID, all []*crashSubmission) (entries int, summary string) {
	t := w.t
	t.Helper()
	log := w.alice.entries(id)
	found := map[room.TxnID][]*room.Entry{}
	for _, e := range log {
		found[e.Txn] = append(found[e.Txn], e)
	}
	unanswered, there := 0, 0
	for _, s := range all {
		es := found[s.txn]
		switch {
		case s.accepted == 0:
			unanswered++
			there += len(es)
			if len(es) > 1 {
				t.Errorf("a submission without an answer is there %d times", len(es))
			}
			if s.refused != nil && s.refused.Code == clientapi.CodeUnavailable && len(es) > 0 {
				t.Errorf("%v, and it is entry %d", s.refused, es[0].Seq)
			}
		case len(es) != 1:
			t.Errorf("a submission that was accepted is there %d times", len(es))
		case es[0].AcceptedAt != s.accepted:
			t.Errorf("entry %d was accepted at %d, the answer said %d", es[0].Seq, es[0].AcceptedAt, s.accepted)
		}
	}
	return len(log), fmt.Sprintf("%d submissions, %d without an answer, of which %d are there", len(all), unanswered, there)
}

// again submits what was not answered once more, with the same nonce, and checks
// that everything is there exactly once, and nothing else.
func (w *crashWorld) again(id room.ID, all []*crashSubmission, others int) {
	w.t.Helper()
	var wg sync.WaitGroup
	for _, s := range all {
		if s.accepted == 0 {
			wg.Go(s.insist)
		}
	}
	wg.Wait()
	for _, s := range all {
		if s.accepted == 0 {
			w.t.Error("a submission was accepted at no time")
		}
	}
	if n, _ := w.once(id, all); n != len(all)+others {
		w.t.Errorf("%d entries of %d submissions and %d others", n, len(all), others)
	}
}

// TestHubKilled: the hub is killed under load.
func TestHubKilled(t *testing.T) {
	w := newCrashWorld(t, 1, false)
	bob := w.bob.listen()
	id := w.shared(bob, "hub")
	const others = 2 // the room's beginning, and bob's addition
	var all []*crashSubmission
	for i := range crashRounds() {
		over := make(chan struct{})
		wait := w.load(id, over)
		time.Sleep(w.soon(400 * time.Millisecond))
		w.hub.kill()
		close(over)
		all = append(all, wait()...)
		w.hub.start()
		_, summary := w.once(id, all)
		t.Logf("round %d: %s", i, summary)
		w.again(id, all, others)
		w.level(id)
	}
	n := uint64(len(all) + others)
	if got := w.level(id); got != n {
		t.Errorf("%d entries, expected %d", got, n)
	}
	bob.complete(id, n)
	w.end(n)
}

// end stops both nodes in order and verifies their stores.
func (w *crashWorld) end(n uint64) {
	w.t.Helper()
	for _, x := range []*crashNode{w.hub, w.follower} {
		if code := x.terminate(); code != 0 {
			w.t.Errorf("%s ends with code %d", x.domain, code)
		}
		x.verify(n)
	}
}

// TestFollowerKilled: the follower is killed while it hears gossip, and again while
// it catches up with what it missed meanwhile.
func TestFollowerKilled(t *testing.T) {
	w := newCrashWorld(t, 2, true)
	alice, bob := w.alice.listen(), w.bob.listen()
	id := w.shared(bob, "follower")
	const others = 2
	var all []*crashSubmission
	for i := range crashRounds() {
		over := make(chan struct{})
		wait := w.load(id, over)
		time.Sleep(w.soon(300 * time.Millisecond))
		w.follower.kill()
		time.Sleep(w.soon(300 * time.Millisecond)) // the hub goes on
		heard := bob.heard(id)
		// A start that is cut short, then one that is killed a little after it is ready.
		w.follower.begin()
		time.Sleep(w.soon(150 * time.Millisecond))
		w.follower.kill()
		w.follower.start()
		time.Sleep(w.soon(60 * time.Millisecond))
		w.follower.kill()
		again := bob.heard(id)
		w.follower.start()
		time.Sleep(w.soon(100 * time.Millisecond))
		close(over)
		all = append(all, wait()...)
		w.again(id, all, others)
		n := w.level(id)
		bob.complete(id, n)
		t.Logf("round %d: killed with %d and with %d of %d entries heard", i, heard, again, n)
	}
	n := uint64(len(all) + others)
	alice.complete(id, n)
	bob.complete(id, n)
	if bob.opened <= crashRounds() {
		t.Errorf("bob's stream was opened %d times", bob.opened)
	}
	w.end(n)
}

// TestWelcomeSurvives: a user is added while its provider is down, and the hub is
// killed too.
func TestWelcomeSurvives(t *testing.T) {
	w := newCrashWorld(t, 3, false)
	bob := w.bob.listen()
	entries := uint64(0)
	for i, c := range []struct {
		what string
		kill func(s *crashSubmission)
	}{
		{"the hub lives on", func(s *crashSubmission) { s.insist() }},
		{"the hub is killed after its answer", func(s *crashSubmission) {
			s.insist()
			w.hub.kill()
			w.hub.start()
		}},
		{"the hub is killed before or after", func(s *crashSubmission) {
			done := make(chan struct{})
			go func() { defer close(done); s.submit() }()
			time.Sleep(w.soon(20 * time.Millisecond))
			w.hub.kill()
			<-done
			w.hub.start()
			s.insist()
		}},
	} {
		id := w.alice.create(fmt.Sprint("welcome", i))
		w.follower.kill()
		s := w.alice.addition(id, w.bob)
		c.kill(s)
		s.merge()
		hello, err := w.alice.message(id, "hello")
		if err != nil {
			t.Fatal(err)
		}
		hello.insist()
		w.follower.start()
		bob.welcome(id)
		n := w.level(id)
		if got, _ := w.once(id, []*crashSubmission{s, hello}); got != 3 || n != 3 {
			t.Errorf("%s: %d entries, %d", c.what, got, n)
		}
		bob.complete(id, n)
		// Bob is in: what he says is ordered.
		answer, err := w.bob.message(id, "here I am")
		if err != nil {
			t.Fatal(err)
		}
		answer.insist()
		w.level(id)
		entries += 4
		if testing.Short() && i == 1 {
			break
		}
	}
	within(t, "nothing waits for delivery", func() bool {
		waiting := -1
		w.hub.operator(func(a *admin.Client) error {
			s, err := a.Status(t.Context())
			if err == nil {
				waiting = s.Outbox
			}
			return err
		})
		return waiting == 0
	})
	w.end(entries)
}

// TestTerminated: SIGTERM under load ends a node in order, at its users' streams
// too, and what it answered is true.
func TestTerminated(t *testing.T) {
	w := newCrashWorld(t, 4, true)
	alice, bob := w.alice.listen(), w.bob.listen()
	id := w.shared(bob, "terminated")
	const others = 2
	var all []*crashSubmission
	for i := range crashRounds() {
		over := make(chan struct{})
		wait := w.load(id, over)
		time.Sleep(50*time.Millisecond + w.soon(200*time.Millisecond))
		x := []*crashNode{w.hub, w.follower}[i%2]
		if code := x.terminate(); code != 0 {
			t.Errorf("round %d: %s ends with code %d", i, x.domain, code)
		}
		close(over)
		all = append(all, wait()...)
		x.start()
		_, summary := w.once(id, all)
		t.Logf("round %d: %s; %s", i, x.domain, summary)
		w.again(id, all, others)
		n := w.level(id)
		alice.complete(id, n)
		bob.complete(id, n)
	}
	w.end(uint64(len(all) + others))
}

// TestOneProcess: a second process on a data directory gives up and says why, and
// the first does not notice.
func TestOneProcess(t *testing.T) {
	w := newCrashWorld(t, 5, true)
	id := w.alice.create("one")
	second := *w.hub
	second.log = new(lockedBuffer)
	if err := second.launch(); err == nil || !strings.Contains(err.Error(), store.ErrLocked.Error()) {
		t.Errorf("a second process: %v", err)
	}
	if code := second.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("a second process ends with code %d", code)
	}
	// The first one's socket and ports are still its own.
	if r, err := w.hub.room(id); err != nil || r.Next != 1 {
		t.Errorf("the first: %+v, %v", r, err)
	}
	s, err := w.alice.message(id, "still here")
	if err != nil {
		t.Fatal(err)
	}
	s.insist()
	w.hub.terminate()
	w.hub.verify(2)
}

// TestStoreCut: a file of the store of a killed node is cut in the middle: the node
// does not start on it, and says why.
func TestStoreCut(t *testing.T) {
	w := newCrashWorld(t, 6, true)
	bob := w.bob.listen()
	id := w.shared(bob, "cut")
	over := make(chan struct{})
	wait := w.load(id, over)
	time.Sleep(300 * time.Millisecond)
	w.hub.kill()
	close(over)
	wait()
	files := map[string]string{} // by kind
	for kind, pattern := range map[string]string{"log": "*.mem", "manifest": "MANIFEST", "bound": "ACKED", "table": "*.sst"} {
		list, err := filepath.Glob(filepath.Join(w.hub.dir, "store", pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 {
			files[kind] = filepath.Base(list[len(list)-1])
		}
	}
	if len(files) < 3 {
		t.Fatalf("the store has no more than %v", files)
	}
	good := filepath.Join(t.TempDir(), "good")
	if err := os.CopyFS(good, os.DirFS(filepath.Join(w.hub.dir, "store"))); err != nil {
		t.Fatal(err)
	}
	for kind, name := range files {
		dir := filepath.Join(w.hub.dir, "store")
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(good))); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// A log is longer than what is in it.
		if err := os.Truncate(path, int64(len(bytes.TrimRight(b, "\x00"))/2)); err != nil {
			t.Fatal(err)
		}
		err = w.hub.launch()
		if err == nil || !strings.Contains(err.Error(), store.ErrLost.Error()) && !strings.Contains(err.Error(), store.ErrCorrupted.Error()) {
			t.Errorf("%s cut: %v", kind, err)
			if err == nil {
				w.hub.kill()
			}
		}
		if code := w.hub.cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("%s cut: the node ends with code %d", kind, code)
		}
	}
}
