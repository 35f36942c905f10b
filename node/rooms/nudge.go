package rooms

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/protocol/room"
)

// nudges are heads for providers that did not hear the gossip. Per provider one
// goroutine sends what waits, and ends when nothing does. To a provider that does not
// answer it goes again after a pause, and then with what has come since: when it is back
// it asks by itself, and meanwhile not every batch shall knock at its door.
type nudges struct {
	mu      sync.Mutex
	waiting map[string]map[room.ID]room.SignedHead // guarded by mu; a key is there while a goroutine runs
}

const nudgePause = time.Second

func (r *Rooms) nudge(domain string, head room.SignedHead) {
	r.nudges.mu.Lock()
	defer r.nudges.mu.Unlock()
	w, running := r.nudges.waiting[domain]
	if w == nil {
		w = map[room.ID]room.SignedHead{}
		r.nudges.waiting[domain] = w
	}
	w[head.Room] = head
	if !running && !r.spawn(func(ctx context.Context) { r.runNudges(ctx, domain) }) {
		delete(r.nudges.waiting, domain)
	}
}

func (r *Rooms) runNudges(ctx context.Context, domain string) {
	for {
		r.nudges.mu.Lock()
		w := r.nudges.waiting[domain]
		if len(w) == 0 || ctx.Err() != nil {
			delete(r.nudges.waiting, domain)
			r.nudges.mu.Unlock()
			return
		}
		var stands []room.Stand
		for id, h := range w {
			if len(stands) == room.MaxStands {
				break // the rest goes with the next call
			}
			stands = append(stands, room.Stand{Room: id, Term: h.Term, Next: h.Seq + 1, Last: h.Hash})
			delete(w, id)
		}
		r.nudges.mu.Unlock()
		slices.SortFunc(stands, func(a, b room.Stand) int { return strings.Compare(string(a.Room[:]), string(b.Room[:])) })
		call, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := r.cfg.Peers.Call(call, Call{Target: domain, Endpoint: EndpointNudge, Subject: domain, Body: room.AppendStands(nil, stands)})
		cancel()
		if err != nil {
			r.log.Debug("nudging", "domain", domain, "err", err)
			pause := time.NewTimer(nudgePause)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
			}
			continue
		}
		r.counts.nudges.Add(1)
	}
}
