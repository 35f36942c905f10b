package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/store"
)

// Signs of life are kept coarsely: after a restart others have been silent for so much
// less than what is stored says.
const heardGrain = 10 * time.Minute

// maxHeard bounds whose signs of life are kept, unless a room asks for one.
const maxHeard = 20_000

// heard keeps when other providers gave their last sign of life, over restarts, for rooms
// whose administrators may be gone. Who is not known counts as heard when first asked for.
// The time in which this node did not run is nobody's silence. What it does not know
// makes people wait longer, never shorter. Safe for concurrent use.
//
// In SpaceHeard: domain -> uint64 ms since 1970, big endian; "" -> when this node was
// last seen running by itself.
type heard struct {
	store *store.Store
	now   func() time.Time
	log   *slog.Logger

	mu    sync.Mutex
	at    map[string]time.Time // guarded by mu
	saved map[string]time.Time // guarded by mu: what is stored
}

func checkHeard(it store.Item) error {
	if domain, err := store.SpaceHeard.Parse(it.Key); err != nil || len(it.Value) != 8 {
		return fmt.Errorf("when %q was heard is no time: %w", domain, store.ErrCorrupted)
	}
	return nil
}

func newHeard(st *store.Store, now func() time.Time, log *slog.Logger) (*heard, error) {
	h := &heard{store: st, now: now, log: log, at: map[string]time.Time{}, saved: map[string]time.Time{}}
	var ran time.Time
	err := st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceHeard.Prefix(nil)}) {
			if err != nil {
				return err
			}
			if err := checkHeard(it); err != nil {
				return err
			}
			domain, err := store.SpaceHeard.Parse(it.Key)
			if err != nil {
				return err
			}
			at := time.UnixMilli(int64(binary.BigEndian.Uint64(it.Value)))
			if len(domain) == 0 {
				ran = at
			} else {
				h.saved[string(domain)] = at
			}
		}
		return nil
	})
	for d, at := range h.saved {
		h.at[d] = now().Add(-max(0, ran.Sub(at)-heardGrain))
	}
	if err != nil {
		return nil, fmt.Errorf("reading when others were heard: %w", err)
	}
	return h, nil
}

// note takes a sign of life.
func (h *heard) note(domain string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.at[domain]; ok || len(h.at) < maxHeard {
		h.at[domain] = h.now()
	}
}

// silence is for how long somebody has given none.
func (h *heard) silence(domain string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.at[domain]
	if !ok {
		at = h.now()
		h.at[domain] = at
	}
	return max(0, h.now().Sub(at))
}

// run stores what has changed now and then, until ctx ends, and then once more.
func (h *heard) run(ctx context.Context) error {
	tick := time.NewTicker(heardGrain / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := h.save(ctx); err != nil && ctx.Err() == nil {
				h.log.Warn("when others were heard is not stored", "err", err)
			}
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := h.save(end); err != nil {
				h.log.Warn("when others were heard is not stored", "err", err)
			}
			return nil
		}
	}
}

// save stores what is more than half a grain newer than what is stored.
func (h *heard) save(ctx context.Context) error {
	h.mu.Lock()
	due := map[string]time.Time{}
	for d, at := range h.at {
		if s, ok := h.saved[d]; !ok || at.Sub(s).Abs() >= heardGrain/2 {
			due[d] = at
		}
	}
	h.mu.Unlock()
	due[""] = h.now()
	for page := range slices.Chunk(slices.Sorted(maps.Keys(due)), 1000) {
		err := h.store.Update(ctx, func(tx *store.Tx) error {
			for _, d := range page {
				if err := tx.Set(store.SpaceHeard.Key([]byte(d)), binary.BigEndian.AppendUint64(nil, uint64(max(0, due[d].UnixMilli())))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		h.mu.Lock()
		for _, d := range page {
			if d != "" {
				h.saved[d] = due[d]
			}
		}
		h.mu.Unlock()
	}
	return nil
}

// hear takes a sign of life of another provider: a request that it has signed, or an
// answer.
func (p *parts) hear(domain string) {
	p.failover.watch.Heard(domain)
	p.heard.note(domain)
}
