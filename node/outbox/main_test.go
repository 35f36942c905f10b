package outbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	biloxi  = "biloxi.example"
	chicago = "chicago.example"
)

// network is a Caller whose targets answer as the test says. What a target took
// it remembers by request id, as a server does.
type network struct {
	mu     sync.Mutex
	answer func(q peering.Request, attempt int) error // may be nil: all is taken
	calls  []string                                   // target, body and what came of it
	ids    map[string]map[peering.ID]int              // by target: how often each id came
	taken  map[string][]string                        // by target: bodies, each once
	came   map[string]int                             // by target and body: attempts
	times  []time.Time
}

func newNetwork() *network {
	return &network{ids: map[string]map[peering.ID]int{}, taken: map[string][]string{}, came: map[string]int{}}
}

// happened is an error after which the request has been taken all the same.
type happened struct{ error }

func (n *network) Call(ctx context.Context, q peering.Request) (*peering.Response, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := q.Target + " " + string(q.Body)
	n.came[key]++
	n.times = append(n.times, time.Now())
	var err error
	if n.answer != nil {
		err = n.answer(q, n.came[key])
	}
	n.calls = append(n.calls, fmt.Sprintf("%s %v", key, err))
	if _, ok := err.(happened); err == nil || ok {
		if n.ids[q.Target] == nil {
			n.ids[q.Target] = map[peering.ID]int{}
		}
		if n.ids[q.Target][q.ID]++; n.ids[q.Target][q.ID] == 1 {
			n.taken[q.Target] = append(n.taken[q.Target], string(q.Body))
		}
	}
	if err != nil {
		return nil, err
	}
	return &peering.Response{Status: 201}, nil
}

func (n *network) got(target string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string{}, n.taken[target]...)
}

func (n *network) attempts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.calls)
}

func refused(status int, code clientapi.Code) error {
	return &peering.Refused{Target: biloxi, Endpoint: "notify", Problem: clientapi.Problem{Status: status, Code: code}}
}

// openStore opens a store and runs its writer until the test ends.
func openStore(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("writer: %v", err)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

func memory(t testing.TB) *store.Store {
	return openStore(t, store.Options{InMemory: true, Small: true})
}

// box is an outbox that can be started and stopped.
type box struct {
	*outbox.Outbox
	t     testing.TB
	store outbox.Store
	stop  func()
}

func newBox(t testing.TB, st outbox.Store, n outbox.Caller, change func(*outbox.Config)) *box {
	t.Helper()
	cfg := outbox.Config{Store: st, Caller: n, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	o, err := outbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &box{Outbox: o, t: t, store: st, stop: func() {}}
}

func (b *box) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
	b.t.Cleanup(b.stop)
}

func (b *box) put(target string, bodies ...string) {
	b.t.Helper()
	if err := b.tryPut(target, bodies...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) tryPut(target string, bodies ...string) error {
	return b.store.Update(context.Background(), func(tx *store.Tx) error {
		for _, body := range bodies {
			if err := b.Put(tx, target, outbox.Item{Endpoint: "notify", Subject: "x", Body: []byte(body)}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *box) waiting() string {
	b.t.Helper()
	list, err := b.Waiting()
	if err != nil {
		b.t.Fatal(err)
	}
	out := ""
	for _, w := range list {
		out += fmt.Sprintf("%s %d; ", w.Target, w.Items)
	}
	return out
}
