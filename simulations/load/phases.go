package load

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// streams has all receivers listen while f runs.
func (r *run) streams(ctx context.Context, f func(ctx context.Context, rs []*receiver) error) error {
	ctx, cancel := context.WithCancel(ctx)
	g, gctx := errgroup.WithContext(ctx)
	var rs []*receiver
	for _, u := range r.w.receivers {
		rc := newReceiver(u)
		rs = append(rs, rc)
		g.Go(func() error {
			if err := rc.run(gctx); ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	err := func() error {
		for _, rc := range rs {
			select {
			case <-rc.hello:
			case <-gctx.Done():
				return gctx.Err()
			}
		}
		return f(gctx, rs)
	}()
	cancel()
	if e := g.Wait(); e != nil { // the cause of what f says
		return e
	}
	return err
}

// measured runs a flight's sending between two looks at the providers, and fills in
// what they have used.
func (r *run) measured(ctx context.Context, name string, f *flight, rs []*receiver, send func(ctx context.Context) error) error {
	p := Phase{Name: name, Messages: len(f.nonces), Receivers: len(rs)}
	before, err := r.look(ctx)
	if err != nil {
		return err
	}
	own := r.own()
	f.begin = time.Now() // before anybody else sees f
	for _, rc := range rs {
		rc.flight.Store(f)
	}
	stop := make(chan struct{})
	sampled := make(chan []Memory, 1)
	go func() { sampled <- r.sample(f, stop) }()
	err = send(ctx)
	sent := f.now()
	if err == nil && len(rs) > 0 {
		err = f.wait(ctx, r.cfg.Patience)
	}
	r.w.next += uint64(f.accepted.Load())
	if err == nil {
		wait, cancel := context.WithTimeout(ctx, r.cfg.Patience)
		for _, x := range r.providers {
			if err = x.waitNext(wait, r.w.room, r.w.next, nil); err != nil {
				break
			}
		}
		cancel()
	}
	stored := f.now()
	close(stop)
	p.Memory = <-sampled
	if err != nil {
		return err
	}
	after, err := r.look(ctx)
	if err != nil {
		return err
	}
	p.OwnCPU = (r.own() - own).Seconds()
	for i, x := range r.providers {
		commits := after[i].commits - before[i].commits
		p.Processes = append(p.Processes, Process{Name: x.name, CPU: (after[i].cpu - before[i].cpu).Seconds(), RSS: after[i].rss, Peak: after[i].peak,
			Commits: commits, PerCommit: ratio(float64(len(f.nonces)), float64(commits))})
	}
	p.Accepted, p.Retries = f.accepted.Load(), f.retries.Load()
	p.AcceptedRate = ratio(float64(p.Accepted), float64(sent)/1e9)
	p.StoredRate = ratio(float64(p.Accepted), float64(stored)/1e9)
	p.deliveries(f, rs)
	r.report.Phases = append(r.report.Phases, p)
	r.cfg.Log.Info("phase is over", "phase", name, "accepted", p.Accepted, "delivered", p.Delivered, "took", time.Duration(stored))
	return nil
}

// looked is what a provider had used at some moment.
type looked struct {
	usage
	commits uint64
}

func (r *run) look(ctx context.Context) ([]looked, error) {
	var out []looked
	for _, p := range r.providers {
		n, err := p.commits(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, looked{p.usage(), n})
	}
	return out, nil
}

// sample notes the providers' memory once a second.
func (r *run) sample(f *flight, stop <-chan struct{}) (out []Memory) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			m := Memory{Accepted: f.accepted.Load()}
			for _, p := range r.providers {
				m.Anonymous = append(m.Anonymous, p.usage().anon)
			}
			out = append(out, m)
		case <-stop:
			return out
		}
	}
}

// maxAtRate bounds the connections of a load that leaves the hub time: with many, each
// would be idle for longer than the hub keeps one.
const maxAtRate = 16

// atRate sends when messages are due.
func (r *run) atRate(ctx context.Context) error {
	return r.streams(ctx, func(ctx context.Context, rs []*receiver) error {
		f, err := newFlight(r.w, int(r.cfg.Rate*r.cfg.Duration.Seconds()), len(rs))
		if err != nil {
			return err
		}
		return r.measured(ctx, fmt.Sprintf("%v/s", r.cfg.Rate), f, rs, func(ctx context.Context) error {
			ready := make(chan int, len(f.nonces))
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error {
				defer close(ready)
				t := time.NewTimer(0)
				defer t.Stop()
				for i := range f.nonces {
					t.Reset(time.Duration(float64(i)/r.cfg.Rate*1e9) - time.Duration(f.now()))
					select {
					case <-t.C:
						// From here it counts, whether or not a connection is free. That
						// the timer itself was late (a millisecond is usual) is not the
						// providers' doing.
						f.due[i].Store(f.now())
						ready <- i
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return nil
			})
			g.Go(func() error {
				return f.fly(ctx, min(r.cfg.Connections, maxAtRate), func(context.Context) int {
					if i, ok := <-ready; ok {
						return i
					}
					return -1
				})
			})
			return g.Wait()
		})
	})
}

// flat sends as fast as the hub takes it.
func (r *run) flat(f *flight) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		var n atomic.Int64
		return f.fly(ctx, r.cfg.Connections, func(ctx context.Context) int {
			i := int(n.Add(1)) - 1
			if i >= len(f.nonces) || ctx.Err() != nil {
				return -1
			}
			f.due[i].Store(f.now())
			return i
		})
	}
}

func (r *run) saturate(ctx context.Context) error {
	return r.streams(ctx, func(ctx context.Context, rs []*receiver) error {
		f, err := newFlight(r.w, r.cfg.Messages, len(rs))
		if err != nil {
			return err
		}
		return r.measured(ctx, "saturated", f, rs, r.flat(f))
	})
}

// catchUp sends while the second provider is away, and measures how it comes back.
func (r *run) catchUp(ctx context.Context) error {
	f, err := newFlight(r.w, r.cfg.CatchUp, 0)
	if err != nil {
		return err
	}
	away := r.providers[1]
	away.stop()
	f.begin = time.Now()
	if err := r.flat(f)(ctx); err != nil {
		return err
	}
	c := CatchUp{Entries: r.cfg.CatchUp, AcceptedRate: ratio(float64(r.cfg.CatchUp), float64(f.now())/1e9)}
	from := r.w.next
	r.w.next += uint64(r.cfg.CatchUp)
	r.cfg.Log.Info("starting the provider that was away", "entries", c.Entries)
	begin := time.Now()
	if err := away.start(ctx); err != nil {
		return err
	}
	c.Ready = time.Since(begin).Seconds()
	before, err := r.look(ctx)
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, r.cfg.Patience+time.Duration(c.Entries)*time.Millisecond/2)
	defer cancel()
	var first time.Time
	var had uint64
	err = away.waitNext(wait, r.w.room, r.w.next, func(n uint64) {
		if n > from && first.IsZero() {
			first, had = time.Now(), n
		}
	})
	if err != nil {
		return err
	}
	end := time.Now()
	if first.IsZero() {
		return errors.New("load: caught up without a first entry") // a bug here
	}
	c.Total = end.Sub(begin).Seconds()
	// What was there at the first look is not counted, nor is the time before it.
	c.Rate = ratio(float64(r.w.next-had), end.Sub(first).Seconds())
	c.Waited = first.Sub(begin).Seconds() - c.Ready
	after, err := r.look(ctx)
	if err != nil {
		return err
	}
	for i, x := range r.providers {
		c.Processes = append(c.Processes, Process{Name: x.name, CPU: (after[i].cpu - before[i].cpu).Seconds(), RSS: after[i].rss, Peak: after[i].peak,
			Commits: after[i].commits - before[i].commits, PerCommit: ratio(float64(c.Entries), float64(after[i].commits-before[i].commits))})
	}
	r.report.CatchUp = &c
	return nil
}
