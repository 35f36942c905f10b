package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/node/watch"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
)

// Duration is a time.Duration as the configuration writes it: "400ms", "5s".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 400ms or 5s", b)
	}
	*d = Duration(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// failover has the rooms of dead hubs look for others, at a pace.
type failover struct {
	watch *watch.Watch
	rooms *rooms.Rooms
	log   *slog.Logger
	now   func() time.Time

	changed chan change // from the watch's goroutine

	// The watch's goroutine owns these.
	targets map[string]watch.Rate
	looked  time.Time
	took    time.Duration
}

// lookAgain is how old the list of whom to watch may be, and lookShare how many times as
// old as it took to make: with ten thousand rooms that is some milliseconds, in which all of
// them are looked at.
const (
	lookAgain = time.Second
	lookShare = 400
	// longestLook is what one look counts as at most: on a busy machine it takes long for
	// other reasons.
	longestLook = 10 * time.Millisecond
)

type change struct {
	domain string
	dead   bool
}

// maxChanges is how many deaths and returns may wait to be looked at. What does not
// fit is found by the next look at all of a dead provider's rooms (again).
const maxChanges = 256

// again is how often the rooms of dead hubs are looked at anew: one may have been
// busy, or may have lost an election. Users who come meanwhile are told then; all are
// told again after tellAgain, for a device that reads slowly may not have got it.
//
// As long as many wait for their turn anyway, they are looked at less often. A room in which
// somebody says something then is not put off by that: the submission has it look for a hub.
const (
	again     = 2 * time.Second
	tellAgain = 30 * time.Second
	laterOn   = 10 * time.Second
	manyWait  = 500
)

func newFailover(cfg Failover, caller *peering.Caller, heard func(domain string), log *slog.Logger, now func() time.Time) (*failover, error) {
	f := &failover{log: log, now: now, changed: make(chan change, maxChanges)}
	var err error
	ask := ping(caller)
	f.watch, err = watch.Open(watch.Config{Log: log,
		Interval: time.Duration(cfg.Interval), Idle: time.Duration(cfg.Idle), Timeout: time.Duration(cfg.Timeout),
		Ping: func(ctx context.Context, domain string) error {
			err := ask(ctx, domain)
			if err == nil {
				heard(domain)
			}
			return err
		},
		Targets: func() map[string]watch.Rate {
			// Looking at all rooms takes a while when there are thousands.
			if since := now().Sub(f.looked); f.targets != nil && since >= 0 && since < max(lookAgain, lookShare*f.took) {
				return f.targets
			}
			began := time.Now()
			out := map[string]watch.Rate{}
			busy, idle := f.rooms.Partners()
			for _, d := range idle {
				out[d] = watch.Idle
			}
			for _, d := range busy {
				out[d] = watch.Busy
			}
			f.targets, f.looked, f.took = out, now(), min(time.Since(began), longestLook)
			return out
		},
		Changed: func(domain string, dead bool) {
			select {
			case f.changed <- change{domain, dead}:
			default:
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: failover: %w", ErrConfig, err)
	}
	return f, nil
}

// ping asks another provider for a sign of life: any answer is one.
func ping(caller *peering.Caller) func(ctx context.Context, domain string) error {
	return func(ctx context.Context, domain string) error {
		_, err := caller.Call(ctx, peering.Request{Target: domain, Endpoint: rooms.EndpointReplica, Subject: domain, Body: replica.Append(nil, nil)})
		var refused *peering.Refused
		if errors.As(err, &refused) {
			return nil // an answer
		}
		return err
	}
}

// run serves until ctx ends.
func (f *failover) run(ctx context.Context) error {
	pace := watch.NewPace(watch.PaceConfig{})
	dead := map[string]uint64{} // by domain; of the listeners, who has been told
	toldAll, lookedAll := f.now(), f.now()
	look := func(domain string) {
		busy, idle := f.rooms.Suspected(domain)
		for _, id := range busy {
			pace.Add(id, true)
		}
		for _, id := range idle {
			pace.Add(id, false)
		}
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-f.changed:
			if c.dead {
				f.log.Warn("provider gives no sign of life", "domain", c.domain)
				dead[c.domain] = f.rooms.TellHubs(c.domain, true, 0)
				look(c.domain)
			} else {
				f.log.Info("provider is back", "domain", c.domain)
				delete(dead, c.domain)
				f.rooms.TellHubs(c.domain, false, 0)
				busy, idle := f.rooms.Suspected(c.domain)
				for _, id := range append(busy, idle...) {
					pace.Remove(id)
				}
			}
		case <-tick.C:
			everybody := f.now().Sub(toldAll) >= tellAgain
			if everybody {
				toldAll = f.now()
			}
			putOff := pace.Len() > manyWait && f.now().Sub(lookedAll) < laterOn
			if !putOff {
				lookedAll = f.now()
			}
			for d, told := range dead {
				if everybody {
					told = 0
				}
				if !f.watch.Dead(d) {
					delete(dead, d) // no target any more
					continue
				}
				dead[d] = f.rooms.TellHubs(d, true, told) // who has come meanwhile
				if !putOff {
					look(d)
				}
			}
		case <-timer.C:
		}
		for _, id := range pace.Next(f.now()) {
			f.rooms.Suspect(room.ID(id))
		}
		if d, ok := pace.Wait(f.now()); ok {
			timer.Reset(max(d, time.Millisecond))
		}
	}
}
