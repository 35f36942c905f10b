package mix_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/retry"
)

// TestNoSilentLoss: where each link loses packets and nodes start anew in between, each message that its
// sender calls delivered is kept once, and each other one is said not to be confirmed.
func TestNoSilentLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, 50*time.Millisecond, nil)
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(1, 2))
		w.lose = func() bool {
			mu.Lock()
			defer mu.Unlock()
			return random.IntN(100) < 8 // of eight links, there and back: half of all tries fail
		}
		for _, v := range w.nodes {
			w.start(v)
		}
		from, to := w.nodes[3:5], w.nodes[5]
		const messages = 60
		verdicts := map[onion.MessageID]error{}
		var wg sync.WaitGroup
		for i := range messages {
			id := newID()
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				err := from[i%2].sender.Send(context.Background(), to.id, onion.Mailbox{1}, id, make([]byte, i%3*7000))
				mu.Lock()
				verdicts[id] = err
				mu.Unlock()
			})
		}
		time.Sleep(3 * time.Second)
		to.stop() // what it holds in parts is gone
		w.start(to)
		time.Sleep(2 * time.Second)
		w.nodes[1].stop() // what waits there is gone
		w.start(w.nodes[1])
		wg.Wait()

		kept := map[onion.MessageID]int{}
		for _, m := range to.inbox.list() {
			kept[m.ID]++
		}
		delivered, silent := 0, 0
		for id, err := range verdicts {
			switch {
			case err == nil && kept[id] == 1:
				delivered++
			case err == nil || kept[id] > 1:
				silent++
			case !errors.Is(err, mix.ErrUnconfirmed):
				t.Error(err)
			}
		}
		t.Logf("%d messages: %d delivered, %d kept, none lost silently", len(verdicts), delivered, len(kept))
		if len(verdicts) != messages || silent != 0 || delivered < messages/2 || to.inbox.puts != len(kept) {
			t.Errorf("of %d messages %d were delivered, %d lost silently; %d kept, put in %d times", len(verdicts), delivered, silent, len(kept), to.inbox.puts)
		}
		for _, v := range w.nodes {
			v.stop()
			if n := mix.Expected(v.sender); n != 0 {
				t.Errorf("a sender waits for %d acknowledgements of messages that have their verdict", n)
			}
		}
	})
}

// TestLatency: over three relays with mean delays of 50 ms and links of 20 ms, half of all messages are
// there within 400 ms (virtual time).
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, 50*time.Millisecond, nil)
		w.latency = 20 * time.Millisecond
		for _, v := range w.nodes {
			w.start(v)
		}
		from, to := w.nodes[3], w.nodes[4]
		var took []time.Duration
		var wg sync.WaitGroup
		for range 100 {
			begun, before := time.Now(), len(to.inbox.list())
			wg.Go(func() {
				if err := from.sender.Send(context.Background(), to.id, onion.Mailbox{1}, newID(), nil); err != nil {
					t.Error(err)
				}
			})
			for len(to.inbox.list()) == before {
				time.Sleep(time.Millisecond)
			}
			took = append(took, time.Since(begun))
		}
		wg.Wait()
		slices.Sort(took)
		p50 := took[len(took)/2]
		t.Logf("p50 %v, least %v, most %v", p50, took[0], took[len(took)-1])
		if p50 > 400*time.Millisecond || took[0] < 4*w.latency {
			t.Errorf("p50 %v, least %v", p50, took[0])
		}
		for _, v := range w.nodes {
			v.stop()
		}
	})
}

// TestVerdicts: what Send says when the mailbox refuses, nothing comes back, the caller does not wait, or
// nothing can be sent at all.
func TestVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, 50*time.Millisecond, nil)
		w.nodes[4].inbox.refuse = onion.Mailbox{6}
		from, to := w.nodes[3], w.nodes[4]
		for _, v := range w.nodes {
			w.start(v)
		}
		send := func(ctx context.Context, exit onion.NodeID, box byte, n int) error {
			return from.sender.Send(ctx, exit, onion.Mailbox{box}, newID(), make([]byte, n))
		}
		ctx := t.Context()
		if err := send(ctx, to.id, 6, 10); !errors.Is(err, mix.ErrRefused) {
			t.Errorf("a mailbox that refuses: %v", err)
		}
		if err := send(ctx, onion.NodeID{1}, 1, 10); !errors.Is(err, mix.ErrNoExit) {
			t.Errorf("a node that is not in the snapshot: %v", err)
		}
		if err := send(ctx, to.id, 1, format.MaxMessage(true)+1); !errors.Is(err, onion.ErrSize) {
			t.Errorf("a message that is too long: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if err := send(short, to.id, 1, 20_000); !errors.Is(err, mix.ErrUnconfirmed) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller without patience: %v", err)
		}
		time.Sleep(time.Minute)
		if n := len(to.inbox.list()); n != 1 {
			t.Errorf("its message went on: %d are kept", n)
		}

		to.stop()
		begun := time.Now()
		if err := send(ctx, to.id, 1, 10); !errors.Is(err, mix.ErrUnconfirmed) {
			t.Errorf("nobody answers: %v", err)
		}
		// Six tries with margins of 2 to 64 seconds.
		if d := time.Since(begun); d < 126*time.Second || d > 200*time.Second {
			t.Errorf("given up after %v", d)
		}

		result := make(chan error, 1)
		go func() { result <- send(ctx, to.id, 1, 10) }()
		time.Sleep(time.Second)
		from.stop()
		if err := <-result; !errors.Is(err, mix.ErrUnconfirmed) || !errors.Is(err, mix.ErrNotRunning) {
			t.Errorf("the sender ends: %v", err)
		}
		if err := send(ctx, to.id, 1, 10); !errors.Is(err, mix.ErrNotRunning) || errors.Is(err, mix.ErrUnconfirmed) {
			t.Errorf("the sender has ended: %v", err)
		}
		for _, v := range w.nodes {
			v.stop()
		}
	})
}

// TestNothingWithoutSnapshot: a sender that knows no relays sends nothing, and takes no snapshot that is
// not for it.
func TestNothingWithoutSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, 50*time.Millisecond, nil)
		c := mix.SenderConfig{Format: format, Self: w.nodes[3].id, Link: &memoryLink{}, Peers: w, Retry: retry.Config{Messages: 1}}
		s := must[*mix.Sender](t)(mix.NewSender(c))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		if err := s.Send(ctx, w.nodes[4].id, onion.Mailbox{}, newID(), nil); !errors.Is(err, mix.ErrNoRelays) {
			t.Errorf("%v", err)
		}
		other := c
		other.Self = onion.NodeID{1}
		if err := must[*mix.Sender](t)(mix.NewSender(other)).Use(ctx, w.list); !errors.Is(err, mix.ErrConfig) {
			t.Errorf("a snapshot without this node: %v", err)
		}
		other = c
		other.Format.Class = onion.Class2K
		if err := must[*mix.Sender](t)(mix.NewSender(other)).Use(ctx, w.list); !errors.Is(err, mix.ErrConfig) {
			t.Errorf("a snapshot of another format: %v", err)
		}
		if err := s.Use(ctx, w.list); err != nil {
			t.Fatal(err)
		}
		id := newID()
		first := make(chan error, 1)
		go func() { first <- s.Send(ctx, w.nodes[4].id, onion.Mailbox{}, id, nil) }()
		synctest.Wait()
		if err := s.Send(ctx, w.nodes[4].id, onion.Mailbox{}, id, nil); !errors.Is(err, retry.ErrBegun) {
			t.Errorf("the same id: %v", err)
		}
		if err := s.Send(ctx, w.nodes[4].id, onion.Mailbox{}, newID(), nil); !errors.Is(err, retry.ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		if err := <-first; !errors.Is(err, mix.ErrUnconfirmed) {
			t.Errorf("nobody answers: %v", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
