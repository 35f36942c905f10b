package node_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
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
func (w *crashWorld) once(id room.ID, all []*crashSubmission) (entries, unanswered int) {
	t := w.t
	t.Helper()
	log := w.alice.entries(id)
	found := map[room.TxnID][]*room.Entry{}
	for _, e := range log {
		found[e.Txn] = append(found[e.Txn], e)
	}
	for _, s := range all {
		es := found[s.txn]
		switch {
		case s.accepted == 0:
			unanswered++
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
	return len(log), unanswered
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
	if n, _ := w.once(id, all); n != len(all)+others {
		w.t.Errorf("%d entries of %d submissions and %d others", n, len(all), others)
	}
}

// TestHubKilled: the hub is killed under load.
func TestHubKilled(t *testing.T) {
	w := newCrashWorld(t, 1)
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
		_, unanswered := w.once(id, all)
		w.again(id, all, others)
		t.Logf("round %d: %d submissions, %d without an answer", i, len(all), unanswered)
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
