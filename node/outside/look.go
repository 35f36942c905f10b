package outside

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/node/peering"
)

const (
	// others is how many more are asked when one look has not come back well.
	others = 3
	// repeat is how often the log is told of an alarm that stands.
	repeat = time.Hour
)

// found is what one provider has said.
type found struct {
	by      string
	outcome Outcome
	err     error // it has said nothing of use
}

// Look makes a round: it has one provider look, and others if that one could not claim.
func (w *Watch) Look(ctx context.Context) error {
	peers := w.cfg.Peers()
	var all []found
	if len(peers) > 0 {
		w.mu.Lock()
		w.turn++
		turn := w.turn
		w.mu.Unlock()
		all = w.ask(ctx, peers[turn%len(peers)])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if all[0].err != nil || all[0].outcome != Claimed {
			var more []string
			for i := range min(others, len(peers)-1) {
				more = append(more, peers[(turn+1+i)%len(peers)])
			}
			if len(more) == 0 {
				more = peers // once again
			}
			all = append(all, w.ask(ctx, more...)...)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return w.conclude(judge(all, min(2, len(peers)), w.cfg.Now()))
}

// judge says what answers mean. enough is how many different ones must have tried in vain.
func judge(all []found, enough int, now time.Time) Report {
	r := Report{State: Unknown, At: now}
	failed := map[string]bool{}
	var said []string
	for _, f := range all {
		switch {
		case f.err != nil:
			said = append(said, fmt.Sprintf("%s: %v", f.by, f.err))
		case f.outcome == Claimed:
			return Report{State: Seen, At: now, By: f.by}
		default:
			failed[f.by] = true
			said = append(said, fmt.Sprintf("%s: %s", f.by, f.outcome))
		}
		if r.By == "" || f.err == nil {
			r.By = f.by
		}
	}
	r.Why = strings.Join(said, "; ")
	if len(failed) > 0 && len(failed) >= enough {
		r.State = Unseen
	}
	return r
}

// ask has providers look, at the same time. The answers are in their order.
func (w *Watch) ask(ctx context.Context, peers ...string) []found {
	out := make([]found, len(peers))
	var asking sync.WaitGroup
	for i, domain := range peers {
		asking.Go(func() {
			outcome, err := w.lookFrom(ctx, domain)
			out[i] = found{domain, outcome, err}
		})
	}
	asking.Wait()
	return out
}

// lookFrom has one provider look.
func (w *Watch) lookFrom(ctx context.Context, domain string) (Outcome, error) {
	p, err := w.newProbe(w.cfg.Now())
	if err != nil {
		return 0, fmt.Errorf("making up a user: %w", err)
	}
	w.mu.Lock()
	w.probes[p.user] = p
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.probes, p.user)
		w.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Within)
	defer cancel()
	resp, err := w.cfg.Caller.Call(ctx, peering.Request{Target: domain, Endpoint: Endpoint, Subject: w.cfg.Domain, Body: p.request,
		MaxResponse: MaxAnswer + 16})
	if err != nil {
		return 0, err
	}
	v, err := ParseVerdict(resp.Body)
	if err != nil {
		return 0, err
	}
	if v.Outcome == Claimed {
		if err := w.check(p, v.Answer, w.cfg.Now()); err != nil {
			return 0, fmt.Errorf("it claims to have claimed: %w", err)
		}
	}
	return v.Outcome, nil
}

// conclude takes a report in, and tells of it.
func (w *Watch) conclude(r Report) error {
	w.mu.Lock()
	was := w.report
	r.Since = r.At
	if was.State == r.State && !was.Since.IsZero() {
		r.Since = was.Since
	}
	w.report = r
	changed := was.State != r.State
	loud := r.State == Unseen && (changed || r.At.Sub(w.warned) >= repeat)
	if loud {
		w.warned = r.At
	}
	w.mu.Unlock()
	switch {
	case loud:
		w.cfg.Log.Warn("other providers cannot claim KeyPackages here: nobody elsewhere can add this provider's users to rooms", "found", r.Why)
	case changed && was.State == Unseen && r.State == Seen:
		w.cfg.Log.Info("other providers can claim KeyPackages here again", "by", r.By)
	}
	if w.cfg.Tell == nil || r.State == Unknown && !changed || r.State == Seen && (!changed || was.State == Unknown) {
		return nil
	}
	if err := w.cfg.Tell(r.State, changed); err != nil {
		return fmt.Errorf("telling devices: %w", err)
	}
	return nil
}
