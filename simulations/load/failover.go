package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/protocol/uri"
)

// FailoverConfig says whose death to measure, and how often. Program and Dir are required.
type FailoverConfig struct {
	// Program is the mimid program whose providers are measured.
	Program string
	// Dir is an empty directory for the providers' and the users' data.
	Dir string
	// Providers is how many there are: 3 or 5. All of them decide about the room.
	Providers int
	// Kills is how often the room's hub dies.
	Kills int
	// Frozen stops the hub (SIGSTOP) instead of killing it: its connections stay open, and
	// it goes on later as if nothing had been.
	Frozen bool
	// Interval is how long each user waits between two messages. Default 100 ms.
	Interval time.Duration
	// Calm is how long all are well before the next death. Default 4 s.
	Calm time.Duration
	// Patience is how long to wait for anything before the run is given up. Default
	// one minute.
	Patience time.Duration
	// Log tells of progress. Default: nothing.
	Log *slog.Logger
	// Logs receives the providers' logs. Default: kept for errors only.
	Logs io.Writer
}

func (c FailoverConfig) withDefaults() (FailoverConfig, error) {
	if c.Interval == 0 {
		c.Interval = 100 * time.Millisecond
	}
	if c.Calm == 0 {
		c.Calm = 4 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Providers != 3 && c.Providers != 5:
		return c, fmt.Errorf("%w: providers: replica sets are of 3 or 5, not %d", ErrConfig, c.Providers)
	case c.Kills < 1 || c.Kills > 10_000:
		return c, fmt.Errorf("%w: kills: %d is not between 1 and 10000", ErrConfig, c.Kills)
	case c.Interval < time.Millisecond || c.Interval > time.Second:
		return c, fmt.Errorf("%w: interval: %s is not between 1ms and 1s", ErrConfig, c.Interval)
	case c.Calm < 0 || c.Patience < 0:
		return c, fmt.Errorf("%w: calm and patience are times to wait, not %s and %s", ErrConfig, c.Calm, c.Patience)
	case c.Frozen && !canFreeze:
		return c, fmt.Errorf("%w: frozen: processes cannot be stopped on %s", ErrConfig, runtime.GOOS)
	}
	return c, nil
}

// failover is a run under way. RunFailover's goroutine owns it.
type failover struct {
	cfg       FailoverConfig
	providers []*provider
	members   []*member // in the order of their providers
	room      uri.Room
	report    *FailoverReport
	calm      []span // in which nobody was dead
}

// stillRuns is for how long a frozen process may still answer, on a busy machine.
const stillRuns = 100 * time.Millisecond

// span is a time from the first moment to the last.
type span struct{ from, to time.Time }

// RunFailover makes providers with one user each, who talk in one room all the time, and
// has the room's hub die again and again. Whatever happens, the processes have ended when
// it returns. Errors: ErrConfig, ErrProvider, ErrRefused, ErrLate, and that of ctx.
func RunFailover(ctx context.Context, cfg FailoverConfig) (*FailoverReport, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &failover{cfg: cfg, report: &FailoverReport{CPUs: runtime.NumCPU(), Go: runtime.Version(), Providers: cfg.Providers, Frozen: cfg.Frozen,
		IntervalMillis: cfg.Interval.Milliseconds()}}
	defer f.end()
	if err := f.setUp(ctx); err != nil {
		return nil, err
	}
	for n := range cfg.Kills {
		if err := f.round(ctx, n); err != nil {
			return nil, fmt.Errorf("death %d of %d: %w", n+1, cfg.Kills, err)
		}
	}
	if err := f.count(ctx); err != nil {
		return nil, err
	}
	f.report.summarize()
	return f.report, nil
}

// end ends the users, and then the providers, also those that stand still.
func (f *failover) end() {
	for _, m := range f.members {
		m.close()
	}
	for _, p := range f.providers {
		p.thaw()
		p.stop()
	}
}

// names of the providers of a failover; the first one creates the room.
var failoverNames = [...]string{"atlanta", "biloxi", "chicago", "denver", "elpaso"}

func (f *failover) setUp(ctx context.Context) error {
	if err := os.MkdirAll(f.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making directory for providers: %w", err)
	}
	for _, name := range failoverNames[:f.cfg.Providers] {
		p, err := newProvider(ctx, Config{Program: f.cfg.Program, Logs: f.cfg.Logs}, name, filepath.Join(f.cfg.Dir, name), f.providers)
		if err != nil {
			return err
		}
		if err := p.start(ctx); err != nil {
			return err
		}
		f.providers = append(f.providers, p)
	}
	f.cfg.Log.Info("providers run", "providers", len(f.providers))
	for _, p := range f.providers {
		m, err := newMember(ctx, p, filepath.Join(f.cfg.Dir, "user-of-"+p.name))
		if err != nil {
			return err
		}
		f.members = append(f.members, m)
	}
	first := f.members[0]
	var err error
	if f.room, err = first.c.CreateRoom(ctx, "room"); err != nil {
		return fmt.Errorf("creating the room: %w", err)
	}
	for _, m := range f.members {
		m.room = f.room
		if m == first {
			continue
		}
		if err := m.c.Accept(ctx, first.c.User()); err != nil {
			return fmt.Errorf("consenting: %w", err)
		}
		err := f.await(ctx, "adding "+m.c.User().String(), func() (bool, error) { return first.c.AddUser(ctx, f.room, m.c.User()) == nil, nil })
		if err != nil {
			return err
		}
	}
	err = f.await(ctx, fmt.Sprintf("having %d providers decide", f.cfg.Providers), func() (bool, error) {
		for _, m := range f.members {
			if s, err := m.c.Verify(ctx, f.room); err != nil || s.Replicas != f.cfg.Providers {
				return false, nil
			}
		}
		return true, nil
	})
	if err == nil {
		f.cfg.Log.Info("all providers decide about the room", "room", f.room)
	}
	return err
}

// await asks every few milliseconds until something is so, and gives up with ErrLate.
func (f *failover) await(ctx context.Context, what string, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.cfg.Patience, fmt.Errorf("%w: %s", ErrLate, what))
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := is()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// round has all talk, kills the hub, waits until everybody else is served again, and
// brings it back.
func (f *failover) round(ctx context.Context, n int) error {
	var hub *member
	s, err := f.members[0].c.Verify(ctx, f.room)
	if err != nil {
		return err
	}
	var rest []*member
	for _, m := range f.members {
		if m.at.domain == s.Hub {
			hub = m
		} else {
			rest = append(rest, m)
		}
	}
	if hub == nil {
		return fmt.Errorf("%w: the room is ordered by %s, which is none of them", ErrRefused, s.Hub)
	}
	quiet := span{from: time.Now()}
	for _, m := range f.members {
		m.talk(f.cfg.Interval)
	}
	// Not always at the same moment between two pings.
	if err := f.rest(ctx, f.cfg.Calm+rand.N(400*time.Millisecond)); err != nil {
		return err
	}
	d := Death{Hub: hub.at.domain}
	killed := time.Now()
	if f.cfg.Frozen {
		err = hub.at.freeze()
	} else {
		err = hub.at.kill()
	}
	if err != nil {
		return err
	}
	// Threads of a process that is to stand still may run on until they are looked at.
	if err := sleep(ctx, stillRuns); err != nil {
		return err
	}
	dead := time.Now()
	quiet.to = killed
	f.calm = append(f.calm, quiet)
	for _, m := range rest {
		if err := f.await(ctx, fmt.Sprintf("serving %s after the death of %s", m.c.User(), d.Hub), func() (bool, error) {
			return m.served(dead) && !m.since(killed, dead).changed.IsZero(), nil
		}); err != nil {
			return err
		}
	}
	for _, m := range rest {
		d.add(killed, m.since(killed, dead))
	}
	if s, err = rest[0].c.Verify(ctx, f.room); err != nil {
		return err
	}
	d.Next, d.Term = s.Hub, s.Term
	back := time.Now()
	if f.cfg.Frozen {
		hub.at.thaw()
	} else if err := hub.at.start(ctx); err != nil {
		return err
	}
	if err := f.await(ctx, fmt.Sprintf("having %s again", d.Hub), func() (bool, error) { return hub.served(back), nil }); err != nil {
		return err
	}
	d.Back = millis(time.Since(back))
	for _, m := range f.members {
		m.hush()
	}
	if err := f.level(ctx); err != nil {
		return err
	}
	f.report.Deaths = append(f.report.Deaths, d)
	f.cfg.Log.Info("hub was replaced", "death", n+1, "of", f.cfg.Kills, "hub", d.Hub, "next", d.Next, "term", d.Term,
		"told_ms", round(d.Told), "accepts_ms", round(d.Accepts), "back_ms", round(d.Back))
	return nil
}

// bareEvery and bareSize are how often, and how much, is written beside the calm times.
const (
	bareEvery = 100 * time.Millisecond
	bareSize  = 1 << 10
)

// rest waits, and measures what a bare write costs meanwhile.
func (f *failover) rest(ctx context.Context, d time.Duration) (err error) {
	file, err := os.Create(filepath.Join(f.cfg.Dir, "bare"))
	if err != nil {
		return fmt.Errorf("measuring fsync: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	data := make([]byte, bareSize)
	for end := time.Now().Add(d); time.Now().Before(end); {
		begin := time.Now()
		if _, err := file.Write(data); err != nil {
			return fmt.Errorf("measuring fsync: %w", err)
		}
		if err := file.Sync(); err != nil {
			return fmt.Errorf("measuring fsync: %w", err)
		}
		f.report.bare = append(f.report.bare, millis(time.Since(begin)))
		if err := sleep(ctx, min(bareEvery, time.Until(end))); err != nil {
			return err
		}
	}
	return nil
}

// level waits until all messages are final and everybody has the same log.
func (f *failover) level(ctx context.Context) error {
	err := f.await(ctx, "having everybody in one place of the log", func() (bool, error) {
		var first client.Summary
		for i, m := range f.members {
			if open, failed := m.open(); failed != nil {
				return false, fmt.Errorf("%w: message of %s: %w", ErrRefused, m.c.User(), failed)
			} else if open > 0 {
				return false, nil
			}
			s, err := m.c.Verify(ctx, f.room)
			if err != nil {
				return false, err
			}
			if i == 0 {
				first = s
			} else if s != first {
				return false, nil
			}
		}
		return true, nil
	})
	if errors.Is(err, ErrLate) {
		for _, m := range f.members {
			open, _ := m.open()
			s, _ := m.c.Verify(context.WithoutCancel(ctx), f.room)
			err = fmt.Errorf("%w; %s has %d entries by %s in term %s, and %d messages that are not final", err, m.at.domain, s.Next, s.Hub, s.Term, open)
		}
	}
	return err
}

// count counts what everybody has at the end, and checks the providers' stores.
func (f *failover) count(ctx context.Context) error {
	r := f.report
	s, err := f.members[0].c.Verify(ctx, f.room)
	if err != nil {
		return err
	}
	r.Entries = s.Next
	for _, m := range f.members {
		m.tally(r, f.calm)
	}
	for _, m := range f.members {
		if err := m.compare(r, f.members); err != nil {
			return err
		}
	}
	for _, m := range f.members {
		m.close()
	}
	var ends sync.WaitGroup
	for _, p := range f.providers {
		ends.Go(p.stop)
	}
	ends.Wait()
	for _, p := range f.providers {
		cfg, err := node.ReadConfig(p.dir)
		if err != nil {
			return err
		}
		v, err := node.Verify(ctx, cfg, nil)
		if err != nil {
			return fmt.Errorf("verifying the store of %s: %w", p.domain, err)
		}
		r.Verified = append(r.Verified, Verified{p.domain, v.Entries, v.Faults})
		f.cfg.Log.Info("store verified", "provider", p.domain, "entries", v.Entries, "faults", len(v.Faults))
	}
	return nil
}

// sleep waits, or returns the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends the process as a power cut would, and returns when it has ended.
func (p *provider) kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%w: %s has ended: %s", ErrProvider, p.domain, p.log)
	}
	if err != nil {
		return fmt.Errorf("killing %s: %w", p.domain, err)
	}
	<-p.done
	return nil
}
