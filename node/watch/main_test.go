package watch_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/watch"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	biloxi  = "biloxi.example"
	chicago = "chicago.example"
)

var errRefused = errors.New("connection refused")

// How a provider of the fake network behaves.
type manner uint8

const (
	answers manner = iota
	refuses        // at once
	hangs          // until the context ends
	ignores        // hangs, and does not care for the context
	lingers        // hangs until a little after it
)

// A world is a watch and the providers that it watches, in virtual time.
type world struct {
	*watch.Watch
	t     *testing.T
	start time.Time
	stop  func()

	mu      sync.Mutex
	targets map[string]watch.Rate
	manner  map[string]manner
	delay   time.Duration // of answers
	leap    time.Duration // of the clock, as after SIGSTOP
	slept   time.Duration // of the time of day only, as after sleep
	pings   map[string]int
	out     map[string]int
	most    int // pings out at once
	times   []time.Duration
	changes []change
	release chan struct{} // lets go those that ignore
}

type change struct {
	at     time.Duration
	domain string
	dead   bool
}

func (c change) String() string { return fmt.Sprintf("%s %v", c.domain, c.dead) }

// run runs the test in a bubble, with the watch running. The first change of the
// configuration may be nil.
func run(t *testing.T, targets map[string]watch.Rate, edit func(*watch.Config), test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &world{t: t, start: time.Now(), targets: targets, delay: time.Millisecond,
			manner: map[string]manner{}, pings: map[string]int{}, out: map[string]int{}, release: make(chan struct{})}
		seeded := rand.New(rand.NewPCG(1, 2))
		cfg := watch.Config{
			Ping:    n.ping,
			Targets: func() map[string]watch.Rate { n.mu.Lock(); defer n.mu.Unlock(); return maps.Clone(n.targets) },
			Changed: n.changed,
			Jitter:  seeded.Float64,
			Now:     func() time.Time { n.mu.Lock(); defer n.mu.Unlock(); return time.Now().Add(n.leap) },
			Wall:    func() time.Time { n.mu.Lock(); defer n.mu.Unlock(); return time.Now().Round(0).Add(n.leap + n.slept) },
		}
		if edit != nil {
			edit(&cfg)
		}
		w, err := watch.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n.Watch = w
		n.begin()
		test(n)
		close(n.release)
		n.stop()
	})
}

func (n *world) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	n.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			n.t.Errorf("Run: %v", err)
		}
	}
}

func (n *world) ping(ctx context.Context, domain string) error {
	n.mu.Lock()
	n.pings[domain]++
	n.times = append(n.times, time.Since(n.start))
	if n.out[domain]++; n.out[domain] > 1 {
		n.t.Errorf("%d pings to %s at once", n.out[domain], domain)
	}
	out := 0
	for _, k := range n.out {
		out += k
	}
	n.most = max(n.most, out)
	m, delay := n.manner[domain], n.delay
	n.mu.Unlock()
	defer func() { n.mu.Lock(); n.out[domain]--; n.mu.Unlock() }()
	switch m {
	case refuses:
		return errRefused
	case ignores:
		<-n.release
		return ctx.Err()
	case hangs:
		<-ctx.Done()
		return ctx.Err()
	case lingers:
		<-ctx.Done()
		time.Sleep(5 * time.Millisecond)
		return ctx.Err()
	}
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *world) changed(domain string, dead bool) {
	if n.Dead(domain) != dead {
		n.t.Errorf("told that %s dead is %v, Dead says %v", domain, dead, !dead)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changes = append(n.changes, change{time.Since(n.start), domain, dead})
}

// set changes how providers behave.
func (n *world) set(m manner, domains ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range domains {
		n.manner[d] = m
	}
}

func (n *world) with(f func()) { n.mu.Lock(); defer n.mu.Unlock(); f() }

// wait lets time pass.
func (n *world) wait(d time.Duration) { time.Sleep(d); synctest.Wait() }

// log returns the changes so far and forgets them.
func (n *world) log() []change {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.changes
	n.changes = nil
	return out
}

// since returns the time since the test began.
func (n *world) since() time.Duration { return time.Since(n.start) }

// want fails the test unless exactly these changes came since the last call.
func (n *world) want(when string, want ...string) {
	n.t.Helper()
	var got []string
	for _, c := range n.log() {
		got = append(got, c.String())
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		n.t.Errorf("%s: changes %q, want %q", when, got, want)
	}
}

// pinged returns how many pings were sent to a provider.
func (n *world) pinged(domain string) int { n.mu.Lock(); defer n.mu.Unlock(); return n.pings[domain] }

// pingedAtAll returns to how many providers pings were sent.
func (n *world) pingedAtAll() int { n.mu.Lock(); defer n.mu.Unlock(); return len(n.pings) }

// outTo returns how many pings to a provider have not returned.
func (n *world) outTo(domain string) int { n.mu.Lock(); defer n.mu.Unlock(); return n.out[domain] }

// peak returns how many pings were out at most.
func (n *world) peak() int { n.mu.Lock(); defer n.mu.Unlock(); return n.most }

func many(n int, rate watch.Rate) map[string]watch.Rate {
	out := map[string]watch.Rate{}
	for i := range n {
		out[fmt.Sprintf("p%03d.example", i)] = rate
	}
	return out
}
