package stack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/churn"
)

// A tide is nodes that come and go while others look for keys. Who goes ends in order, as a provider that is stopped does, and who comes
// back begins with what it had stored, and announces its keys anew. The first node, with which all others begin, stays. It belongs
// to the run's goroutine.
type tide struct {
	r     *simulations.Run
	p     Searching
	n     *network
	names []overlay.PeerID   // who announces each key
	of    map[int][][32]byte // what each node announces
	rand  *rand.Rand
	begun time.Time // of the whole run

	from     time.Time // of the tide
	sessions []churn.Sessions
	away     []bool
	coming   []*coming // of each node that begins; nil: it is ready, or away
}

// coming is a node that begins.
type coming struct {
	since time.Time
	done  chan struct{} // closed when it is ready and has announced, or has ended
	took  time.Duration // before done is closed
	err   error         // before done is closed
}

// A turn of the tide.
type turn struct {
	at   time.Duration
	node int
	up   bool
}

func newTide(r *simulations.Run, p Searching, n *network, names []overlay.PeerID, of map[int][][32]byte, begun time.Time) *tide {
	t := &tide{r: r, p: p, n: n, names: names, of: of, rand: rand.New(rand.NewPCG(r.Seed, 4)), begun: begun,
		sessions: make([]churn.Sessions, p.Nodes), away: make([]bool, p.Nodes), coming: make([]*coming, p.Nodes)}
	model := churn.New(p.Churn, rand.New(rand.NewPCG(r.Seed, 3)))
	for i := range t.sessions {
		t.sessions[i] = model.Draw(p.Lasts.D())
	}
	return t
}

// turns are all, in their order; who is away at the beginning goes then.
func (t *tide) turns() (out []turn) {
	for i, list := range t.sessions {
		if i == 0 {
			continue
		}
		if !list.Up(0) {
			out = append(out, turn{0, i, false})
		}
		for _, s := range list {
			if s.Begin > 0 {
				out = append(out, turn{s.Begin, i, true})
			}
			if s.End < t.p.Lasts.D() {
				out = append(out, turn{s.End, i, false})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b turn) int { return int(a.at - b.at) })
	return out
}

func (t *tide) run() error {
	t.from = time.Now()
	turns := t.turns()
	label := simulations.Label{Key: "silent", Value: "coming and going"}
	for i := range t.p.Searches {
		at := t.p.Lasts.D() * time.Duration(i+1) / time.Duration(t.p.Searches+1)
		for len(turns) > 0 && turns[0].at <= at {
			if err := t.turn(turns[0]); err != nil {
				return err
			}
			turns = turns[1:]
		}
		if err := t.until(at); err != nil {
			return err
		}
		var there []int
		for i := range t.n.nodes {
			ready, err := t.ready(i)
			if err != nil {
				return err
			}
			if ready {
				there = append(there, i)
			}
		}
		t.r.Observe("online", "1", float64(len(there)))
		var keys []int
		for k, owner := range t.names {
			if slices.ContainsFunc(there, func(i int) bool { return t.n.nodes[i].Self() == owner }) {
				keys = append(keys, k)
			}
		}
		if len(keys) == 0 {
			continue // nobody could be found
		}
		k := keys[t.rand.IntN(len(keys))]
		there = slices.DeleteFunc(there, func(i int) bool { return t.n.nodes[i].Self() == t.names[k] })
		if len(there) == 0 {
			continue
		}
		observeSearch(t.r, t.n.nodes[there[t.rand.IntN(len(there))]], t.names[k], keyOf(t.r.Seed, k), t.p.Timeout.D(), label)
	}
	return nil
}

// until waits for a time of the tide.
func (t *tide) until(at time.Duration) error {
	now := time.Since(t.from)
	return wait(t.r, at-now, .8+.2*float64(now)/float64(t.p.Lasts.D()), t.begun)
}

func (t *tide) turn(x turn) error {
	if err := t.until(x.at); err != nil {
		return err
	}
	if x.up {
		return t.come(x.node)
	}
	return t.leave(x.node)
}

// leave ends a node.
func (t *tide) leave(i int) error {
	x := t.n.nodes[i]
	x.cancel()
	<-x.done
	if c := t.coming[i]; c != nil {
		<-c.done
		t.coming[i] = nil
	}
	t.away[i] = true
	return x.err
}

// come begins a node again.
func (t *tide) come(i int) error {
	x, err := t.n.begin(t.n.ctx, t.n.nodes[i].config)
	if err != nil {
		return fmt.Errorf("node %d comes back: %w", i, err)
	}
	c := &coming{since: time.Now(), done: make(chan struct{})}
	t.n.nodes[i], t.coming[i], t.away[i] = x, c, false
	t.n.ended.Go(func() {
		defer close(c.done)
		c.err = t.settle(t.n.ctx, x, t.of[i])
		c.took = time.Since(c.since)
	})
	return nil
}

// settle waits until a node is ready and has announced. It runs beside the run's goroutine.
func (t *tide) settle(ctx context.Context, x *bare, keys [][32]byte) error {
	select {
	case <-x.Ready():
	case <-x.done:
		return x.err
	}
	return x.Announce(ctx, keys...)
}

// ready says whether a node is there, and has announced what it is to announce.
func (t *tide) ready(i int) (bool, error) {
	c := t.coming[i]
	if c == nil {
		return !t.away[i], nil
	}
	select {
	case <-c.done:
	default:
		return false, nil
	}
	t.coming[i] = nil
	if c.err != nil {
		return false, fmt.Errorf("node %d has come back: %w", i, c.err)
	}
	t.r.ObserveTime("back", c.took)
	return true, nil
}
