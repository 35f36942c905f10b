package stock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

const (
	page = 1000 // users listed at a time
	// again is how often a user is looked at who has a device with nothing, and its devices told.
	again = 10 * time.Minute
	// repeat is how often the log is told of an alarm that stands.
	repeat = time.Hour
)

// Look makes a round: it looks at whoever is due, and raises the alarm.
func (w *Watch) Look(ctx context.Context) error {
	if err := w.list(ctx); err != nil {
		return err
	}
	var errs []error
	for _, user := range w.due() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := w.lookAt(ctx, user); err != nil {
			errs = append(errs, err)
		}
	}
	w.raise()
	if len(errs) > 0 {
		return fmt.Errorf("%d users could not be looked at, the first of them: %w", len(errs), errs[0])
	}
	return nil
}

// list takes everybody in who was there before the start. Later ones come by Changed.
func (w *Watch) list(ctx context.Context) error {
	w.mu.Lock()
	listed := w.listed
	w.mu.Unlock()
	var after uri.User
	for !listed {
		users, err := w.cfg.Accounts.Local(ctx, after, page)
		if err != nil {
			return err
		}
		w.mu.Lock()
		for _, u := range users {
			w.entry(u)
		}
		w.listed = len(users) < page
		listed = w.listed
		w.mu.Unlock()
		if len(users) > 0 {
			after = users[len(users)-1]
		}
	}
	return nil
}

// entry is the user's, made if there is none. The mutex is held.
func (w *Watch) entry(u uri.User) *entry {
	e := w.users[u]
	if e == nil {
		e = new(entry)
		w.users[u] = e
	}
	return e
}

// due are the users to look at in this round: all of whom something has changed or ended,
// and a few others.
func (w *Watch) due() (out []uri.User) {
	now := w.cfg.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for u := range w.changed {
		e := w.entry(u)
		e.due, e.soon = now, true
	}
	clear(w.changed)
	var others []uri.User
	for u, e := range w.users {
		switch {
		case e.due.After(now):
		case e.soon:
			out = append(out, u)
		default:
			others = append(others, u)
		}
	}
	// Who has waited longest comes first, and never in a map's order.
	order := func(a, b uri.User) int {
		if c := w.users[a].due.Compare(w.users[b].due); c != 0 {
			return c
		}
		return strings.Compare(a.String(), b.String())
	}
	slices.SortFunc(out, order)
	slices.SortFunc(others, order)
	return append(out, others[:min(len(others), w.cfg.Pace)]...)
}

// sight is what one look at a user found.
type sight struct {
	level   Level
	devices int
	dry     []string  // devices without any
	ends    time.Time // when something ends by itself; zero: nothing does
}

func (w *Watch) lookAt(ctx context.Context, user uri.User) error {
	now := w.cfg.Now()
	s, err := w.see(ctx, user, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entry(user)
	if err != nil {
		e.due, e.soon = now.Add(w.cfg.Every), true
		return err
	}
	if s.devices == 0 {
		delete(w.users, user) // a new device brings it back
		return nil
	}
	e.due, e.soon = now.Add(w.cfg.Recheck), false
	before := func(t time.Time) {
		if t.Before(e.due) {
			e.due, e.soon = t, true
		}
	}
	if !s.ends.IsZero() {
		before(later(s.ends, now.Add(w.cfg.Every)))
	}
	if s.level > e.level {
		// Somebody who has never been seen is new, or this node has just started: wait, too.
		if e.worse.IsZero() {
			e.worse = now
		}
		if left := w.cfg.Grace - now.Sub(e.worse); left > 0 {
			e.seen = true
			before(now.Add(left))
			return nil
		}
	}
	e.seen, e.level, e.worse = true, s.level, time.Time{}
	if s.level >= Partly {
		before(now.Add(again))
	}
	if s.level == Fresh || w.cfg.Tell == nil {
		return nil
	}
	if err := w.cfg.Tell(user, s.level, s.dry); err != nil {
		return fmt.Errorf("telling devices: %w", err)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// see asks for the answer and judges it, and looks in the store for when that may change.
func (w *Watch) see(ctx context.Context, user uri.User, now time.Time) (s sight, err error) {
	stock, err := w.cfg.Accounts.Stock(ctx, user)
	if err != nil {
		return s, err
	}
	s.devices = len(stock.Devices)
	for _, d := range stock.Devices {
		for _, t := range []time.Time{d.End, d.LastResortEnd} {
			if !t.IsZero() && (s.ends.IsZero() || t.Before(s.ends)) {
				s.ends = t
			}
		}
	}
	if s.devices == 0 {
		return s, nil
	}
	b, err := w.cfg.Probe(ctx, user)
	if err != nil {
		return s, fmt.Errorf("asking for what others would get: %w", err)
	}
	resp, err := wire.ParseKeyMaterialResponse(b, wire.Limits{})
	if err != nil {
		return s, fmt.Errorf("reading what others would get: %w", err)
	}
	if resp.User != wire.IdentifierURI(user.String()) {
		return s, errors.New("what others would get is of another user")
	}
	s.level, s.dry = w.judge(resp, now)
	return s, nil
}

// judge says how good an answer is for whoever gets it.
func (w *Watch) judge(resp *wire.KeyMaterialResponse, now time.Time) (level Level, dry []string) {
	usable := 0
	for _, c := range resp.Clients {
		if c.Status == wire.ClientSuccess {
			if _, err := c.KeyPackage.Verify(mls.Config{Authenticator: w.cfg.Authenticator}, now); err == nil {
				usable++
				if c.KeyPackage.LastResort(mls.Limits{}) {
					level = max(level, Reserve)
				}
				continue
			}
		}
		dry = append(dry, string(c.Client))
	}
	switch {
	case usable == 0:
		return None, dry
	case len(dry) > 0:
		return Partly, dry
	}
	return level, nil
}

// raise tells the log, when there are more users to tell of than before or an alarm has
// stood for long.
func (w *Watch) raise() {
	now := w.cfg.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	c, was := w.counts(), w.alarm.counts
	any := c.None+c.Partly+c.Reserve > 0
	more := c.None > was.None || c.Partly > was.Partly || c.Reserve > was.Reserve
	switch {
	case any && (more || now.Sub(w.alarm.at) >= repeat):
		w.cfg.Log.Warn("some users cannot be added to rooms as they should: their devices have to bring KeyPackages",
			"no_key_package", c.None, "device_without", c.Partly, "last_resort_only", c.Reserve, "users", c.Users())
		w.alarm = alarm{at: now, counts: c}
	case !any && was.None+was.Partly+was.Reserve > 0:
		w.cfg.Log.Info("all users can be added to rooms again", "users", c.Users())
		w.alarm = alarm{at: now, counts: c}
	default: // fewer: what comes on top again is told again
		w.alarm.counts.None = min(was.None, c.None)
		w.alarm.counts.Partly = min(was.Partly, c.Partly)
		w.alarm.counts.Reserve = min(was.Reserve, c.Reserve)
	}
}
