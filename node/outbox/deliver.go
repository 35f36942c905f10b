package outbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/store"
)

// turnOctets bounds what a turn holds in memory, but for one item, which may be larger.
const turnOctets = 1 << 20

// turn delivers the next items of a target, up to Turn, and deletes together
// what is done with.
func (o *Outbox) turn(ctx context.Context, t *target) result {
	items, err := o.next(t.name)
	if err != nil {
		return o.storeFailed(t, err)
	}
	if len(items) == 0 {
		return result{t: t, empty: true}
	}
	var done []*stored
	var back *stored
	var failed error
	for _, s := range items {
		if failed = o.deliver(ctx, t, s); failed == nil {
			done = append(done, s)
			continue
		}
		if t.number != s.number {
			t.number, t.refusals = s.number, 0
		}
		if internal(failed) {
			if t.refusals++; t.refusals >= o.cfg.Refusals {
				back = s
				o.cfg.Log.Warn("provider fails on an item, which goes to the end of its queue", "target", t.name, "endpoint", s.Endpoint, "err", failed)
			}
		}
		break
	}
	// The deletion is worth some time even when we are stopped: without it all
	// of this is sent again.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	empty, err := o.finish(clean, t.name, done, back)
	if err != nil {
		return o.storeFailed(t, err)
	}
	if back != nil {
		t.refusals = 0
	}
	r := result{t: t, empty: empty, err: failed}
	if refused, ok := errors.AsType[*peering.Refused](failed); ok {
		r.retry = min(time.Duration(refused.Problem.Retry)*time.Millisecond, o.cfg.Longest)
	}
	return r
}

// storeFailed tells what passes from what does not.
func (o *Outbox) storeFailed(t *target, err error) result {
	if errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrClosed) {
		return result{t: t, fatal: err}
	}
	o.cfg.Log.Error("outbox cannot use the store", "target", t.name, "err", err)
	return result{t: t, err: err}
}

// next reads the items of one turn.
func (o *Outbox) next(name string) (items []*stored, err error) {
	octets := 0
	err = o.cfg.Store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceOutbox.Prefix(itemName(name)), Limit: Turn}) {
			if err != nil {
				return err
			}
			s, err := parseItem(it.Key, it.Value)
			if err != nil {
				return err
			}
			if octets += s.octets(); octets > turnOctets && len(items) > 0 {
				return nil
			}
			if s.ref.size > 0 {
				if s.Body, err = load(tx, s.ref); err != nil {
					return err
				}
			}
			items = append(items, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading items for %s: %w", name, err)
	}
	return items, nil
}

// deliver sends one item. It returns nil when the item is done with: taken,
// refused for good, or too old.
func (o *Outbox) deliver(ctx context.Context, t *target, s *stored) error {
	log := o.cfg.Log.With("target", t.name, "endpoint", s.Endpoint)
	if age := o.cfg.Now().Sub(time.UnixMilli(int64(s.created))); age > o.cfg.Lifetime {
		o.expired.Add(1)
		log.Warn("item is given up: the provider did not take it in time", "age", age)
		return nil
	}
	_, err := o.cfg.Caller.Call(ctx, peering.Request{Target: t.name, Endpoint: s.Endpoint, Subject: s.Subject, Room: s.Room, ID: s.ID, Body: s.Body})
	switch {
	case err == nil, errors.Is(err, peering.ErrTooLarge):
		o.delivered.Add(1) // whatever it answered, it has taken it
		return nil
	case ctx.Err() != nil, peering.Retry(err):
		return err
	}
	o.dropped.Add(1)
	log.Warn("item is dropped: the provider refuses it", "err", err)
	return nil
}

// internal says that the target was there and failed on this very item.
func internal(err error) bool {
	refused, ok := errors.AsType[*peering.Refused](err)
	return ok && refused.Problem.Status >= 500 && refused.Problem.Status != http.StatusServiceUnavailable
}

// finish deletes what is done with and moves what goes back.
func (o *Outbox) finish(ctx context.Context, name string, done []*stored, back *stored) (empty bool, err error) {
	if len(done) == 0 && back == nil {
		return false, nil
	}
	err = o.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		q, err := readQueue(tx, name)
		if err != nil {
			return err
		}
		gone := done
		if back != nil {
			gone = append(gone[:len(gone):len(gone)], back)
		}
		for _, s := range gone {
			if err := tx.Delete(itemKey(name, s.number)); err != nil {
				return err
			}
			if s.ref.size > 0 && s != back {
				if err := drop(tx, s.ref); err != nil {
					return err
				}
			}
			q.items--
			q.octets -= s.size()
		}
		if back != nil {
			moved := *back
			moved.number = q.next
			q.next++
			q.items++
			q.octets += moved.size()
			if err := tx.Set(itemKey(name, moved.number), moved.bytes()); err != nil {
				return err
			}
		}
		empty = q.items == 0
		return writeQueue(tx, name, &q)
	})
	if err != nil {
		return false, fmt.Errorf("deleting delivered items for %s: %w", name, err)
	}
	return empty, nil
}
