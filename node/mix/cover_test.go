package mix_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/loops"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// TestLoops: loops come back and are no messages; when they do not, there is an alarm, and it ends when
// they do again.
func TestLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, 50*time.Millisecond, nil)
		var stopped atomic.Bool
		w.lose = stopped.Load
		v := w.nodes[3]
		v.cover = mix.Cover{Every: 500 * time.Millisecond, Loops: loops.Config{Window: 32}}
		for _, x := range w.nodes {
			w.start(x)
		}
		time.Sleep(time.Minute)
		h := v.sender.Health()
		if l := h.Loops; l.Returned < 60 || l.Lost != 0 || l.Alarm || l.Sent > l.Returned+4 {
			t.Errorf("after a minute: %+v", l)
		}
		if n := v.relay.Counts().Delivered; n != h.Loops.Returned {
			t.Errorf("%d were delivered, %d loops came back", n, h.Loops.Returned)
		}
		stopped.Store(true)
		time.Sleep(30 * time.Second)
		if l := v.sender.Health().Loops; !l.Alarm || len(l.Suspects) != 0 && l.Missing == 0 {
			t.Errorf("nothing comes back: %+v", l)
		}
		stopped.Store(false)
		time.Sleep(time.Minute)
		if l := v.sender.Health().Loops; l.Alarm || l.Lost == 0 {
			t.Errorf("all come back again: %+v", l)
		}
		if got := v.inbox.list(); len(got) != 0 {
			t.Errorf("loops were kept as messages: %d", len(got))
		}
		for _, x := range w.nodes {
			x.stop()
		}
	})
}

// TestPaced: how often a node sends does not depend on whether it has something to say, and what it says
// arrives all the same.
func TestPaced(t *testing.T) {
	const every, long = 200 * time.Millisecond, time.Minute
	mean := float64(long / every)
	for _, messages := range []int{0, 100} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 6, 50*time.Millisecond, nil)
			v, to := w.nodes[3], w.nodes[4]
			v.cover.Every = every
			var mu sync.Mutex
			n := 0
			w.sent = func(from, _ overlay.PeerID) {
				mu.Lock()
				defer mu.Unlock()
				if from == w.peers[v.id] {
					n++
				}
			}
			for _, x := range w.nodes {
				w.start(x)
			}
			var wg sync.WaitGroup
			for i := range messages {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 300 * time.Millisecond)
					if err := v.sender.Send(t.Context(), to.id, onion.Mailbox{1}, newID(), make([]byte, 12_000)); err != nil {
						t.Error(err)
					}
				})
			}
			time.Sleep(long)
			wg.Wait()
			mu.Lock()
			got := n
			mu.Unlock()
			// Six standard deviations of a Poisson process: wrong once in 10^8 runs.
			if math.Abs(float64(got)-mean) > 6*math.Sqrt(mean) {
				t.Errorf("%d messages: %d packets, where %.0f are sent on average", messages, got, mean)
			}
			if len(to.inbox.list()) != messages {
				t.Errorf("%d of %d messages arrived", len(to.inbox.list()), messages)
			}
			if l := v.sender.Health().Loops; messages > 0 && l.Sent > uint64(got-2*messages) {
				t.Errorf("%d loops among %d packets, with %d of messages", l.Sent, got, 2*messages)
			}
			for _, x := range w.nodes {
				x.stop()
			}
		})
	}
}

// TestPacedWithLoss: where packets are lost, so that messages get their verdict while tries of theirs still wait
// for their time, none that is called delivered is missing, and none is there twice.
func TestPacedWithLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, 20*time.Millisecond, nil)
		v, to := w.nodes[3], w.nodes[4]
		v.cover.Every = 400 * time.Millisecond
		var mu sync.Mutex
		n := 0
		w.lose = func() bool {
			mu.Lock()
			defer mu.Unlock()
			n++
			return n%7 == 0
		}
		for _, x := range w.nodes {
			w.start(x)
		}
		var wg sync.WaitGroup
		delivered := map[onion.MessageID]bool{}
		for range 30 {
			wg.Go(func() {
				id := newID()
				if v.sender.Send(t.Context(), to.id, onion.Mailbox{1}, id, make([]byte, 20_000)) == nil {
					mu.Lock()
					delivered[id] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Second)
		kept := map[onion.MessageID]int{}
		for _, m := range to.inbox.list() {
			kept[m.ID]++
		}
		for id := range delivered {
			if kept[id] != 1 {
				t.Errorf("one that is called delivered is there %d times", kept[id])
			}
		}
		if len(delivered) == 0 {
			t.Error("none was delivered")
		}
		for _, x := range w.nodes {
			x.stop()
		}
	})
}

// TestEntry: with a first hop that stays all packets leave for it, but those for itself; while it is gone
// nothing is sent.
func TestEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 7, 10*time.Millisecond, nil)
		v, entry, to := w.nodes[3], w.nodes[5], w.nodes[6]
		v.cover.Every = 200 * time.Millisecond
		gone := errors.New("gone")
		var asked []*relays.Relay
		answer := gone
		v.entry = func(c *relays.Cosigned, among []*relays.Relay) (*relays.Relay, error) {
			asked = among
			if answer != nil {
				return nil, answer
			}
			return c.Relay(entry.id), nil
		}
		var mu sync.Mutex
		first := map[overlay.PeerID]int{}
		w.sent = func(from, to overlay.PeerID) {
			mu.Lock()
			defer mu.Unlock()
			if from == w.peers[v.id] {
				first[to]++
			}
		}
		for _, x := range w.nodes {
			w.start(x)
		}
		synctest.Wait()
		if len(asked) != 0 {
			t.Errorf("%d to choose from, in layers of one", len(asked))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := v.sender.Send(ctx, to.id, onion.Mailbox{1}, newID(), nil); !errors.Is(err, mix.ErrUnconfirmed) {
			t.Errorf("sent without the entry: %v", err)
		}
		if len(first) != 0 || !errors.Is(v.sender.Health().EntryErr, gone) || len(to.inbox.list()) != 0 {
			t.Errorf("packets left: %v, %v", first, v.sender.Health().EntryErr)
		}
		answer = nil
		if err := v.sender.Use(t.Context(), w.list); err != nil {
			t.Fatal(err)
		}
		if err := v.sender.Send(t.Context(), to.id, onion.Mailbox{1}, newID(), nil); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		mu.Lock()
		if n := first[w.peers[entry.id]]; n < 30 || len(first) != 1 || v.sender.Health().Entry != entry.id {
			t.Errorf("first hops: %v", first)
		}
		mu.Unlock()
		// What goes to the entry itself does not go over it: it would know from whom it comes.
		if err := v.sender.Send(t.Context(), entry.id, onion.Mailbox{1}, newID(), nil); err != nil {
			t.Error(err)
		}
		mu.Lock()
		if len(first) != 2 {
			t.Errorf("first hops: %v", first)
		}
		mu.Unlock()
		if err := v.sender.Use(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := v.sender.Send(t.Context(), to.id, onion.Mailbox{1}, newID(), nil); !errors.Is(err, mix.ErrNoRelays) {
			t.Errorf("without a snapshot: %v", err)
		}
		for _, x := range w.nodes {
			x.stop()
		}
	})
}
