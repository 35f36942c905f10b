package stack

import (
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/simulations"
)

// faults are what can happen to the provider that orders a room.
var faults = []string{"none", "kill", "restart", "isolate", "partition", "freeze", "slow", "disk", "skew"}

// faulty is what is wrong with a provider's machine: its clock, and its disk. Methods may be called from any
// goroutine.
type faulty struct {
	mu    sync.Mutex
	skew  time.Duration
	slow  time.Duration // each commit
	stand chan struct{} // closed when the disk does not stand still any more; nil: it does not
}

// now is the provider's clock (node.Options.Now). What measures time runs on, as a monotonic clock does.
func (f *faulty) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Add(f.skew)
}

// disk is before each commit of the provider's store (store.Options.Disk).
func (f *faulty) disk() {
	f.mu.Lock()
	slow, stand := f.slow, f.stand
	f.mu.Unlock()
	time.Sleep(slow)
	if stand != nil {
		<-stand
	}
}

func (f *faulty) set(skew, slow time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.skew, f.slow = skew, slow
}

// still has the disk stand still, or ends that.
func (f *faulty) still(is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case is && f.stand == nil:
		f.stand = make(chan struct{})
	case !is && f.stand != nil:
		close(f.stand)
		f.stand = nil
	}
}

// slowDown has each way from and to a node take longer.
func (p *path) slowDown(node int, by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow == nil {
		p.slow = map[int]time.Duration{}
	}
	p.slow[node] = by
}

// strike does to a provider what the run is about. A killed one's connections end at once, and
// what its node does while it ends reaches nobody.
func (w *world) strike(q RoomParameters, victim int, talk *talk) {
	p := w.providers[victim]
	switch q.Fault {
	case "isolate":
		w.fabric.Isolate(victim, len(w.providers), true)
	case "partition":
		w.part(victim, true)
	case "freeze":
		w.freeze(p)
	case "slow":
		w.path.slowDown(victim, q.Slow.D())
	case "disk":
		p.faulty.set(0, q.Slow.D())
	case "skew":
		p.faulty.set(q.Skew.D(), 0)
	case "restart": // its member's device goes on, and finds nobody
		w.fabric.Isolate(victim, len(w.providers), true)
		w.fabric.Kill(victim)
		p.cancel()
	case "kill":
		w.fabric.Isolate(victim, len(w.providers), true)
		w.fabric.Kill(victim)
		p.dead = true
		for _, x := range w.people {
			if x.at == p {
				talk.hush(x)
				x.cancel()
			}
		}
		p.cancel()
	}
}

// heal ends what strike did, unless it was for good.
func (w *world) heal(r *simulations.Run, q RoomParameters, victim int) error {
	p := w.providers[victim]
	switch q.Fault {
	case "isolate":
		w.fabric.Isolate(victim, len(w.providers), false)
	case "partition":
		w.part(victim, false)
	case "freeze":
		w.thaw(p)
	case "slow":
		w.path.slowDown(victim, 0)
	case "disk", "skew":
		p.faulty.set(0, 0)
	case "restart":
		w.fabric.Isolate(victim, len(w.providers), false)
		begun := time.Now()
		if err := w.again(r.Context(), p); err != nil {
			return err
		}
		r.ObserveTime("ready", time.Since(begun))
	}
	return nil
}

// freeze stops a provider: no octet comes in or goes out, at the network, its clients and its disk.
func (w *world) freeze(p *provider) {
	w.fabric.Freeze(p.index, true)
	p.listener().Freeze(true)
	p.faulty.still(true)
}

// thaw ends that; nothing happens to one that is not frozen.
func (w *world) thaw(p *provider) {
	p.faulty.still(false)
	p.listener().Freeze(false)
	w.fabric.Freeze(p.index, false)
}

// minority are the provider and, where five decide, another one: the others have a majority of those who decide, whoever
// these are.
func (w *world) minority(victim int) []int {
	if len(w.providers) < 5 {
		return []int{victim}
	}
	return []int{victim, (victim + 1) % len(w.providers)}
}

// part has the minority and the others not reach each other, or ends that.
func (w *world) part(victim int, is bool) {
	few := w.minority(victim)
	for _, a := range few {
		for b := range w.providers {
			if !slices.Contains(few, b) {
				w.fabric.Cut(a, b, is)
				w.fabric.Cut(b, a, is)
			}
		}
	}
}

// reached are the people who are to be served while the fault lasts: not those of the provider that is struck,
// nor of those that are cut off with it.
func (w *world) reached(q RoomParameters, victim int, people []*person) (out []*person) {
	not := []int{victim}
	if q.Fault == "partition" {
		not = w.minority(victim)
	}
	for _, x := range people {
		if !slices.Contains(not, x.at.index) {
			out = append(out, x)
		}
	}
	return out
}

// alike sees to it that all devices, each of which knows the log of its own provider, stand at the same
// entry and have the same keys.
func (w *world) alike(r *simulations.Run, people []*person, u uri.Room) {
	differ := ""
	if err := await(r.Context(), "all logs ending alike", func() bool {
		differ = ""
		first, err := people[0].Verify(r.Context(), u)
		for _, x := range people[1:] {
			s, other := x.Verify(r.Context(), u)
			if err != nil || other != nil || s.Head != first.Head || s.Next != first.Next || s.Authenticator != first.Authenticator {
				differ = people[0].at.domain + " and " + x.at.domain
				return false
			}
		}
		return true
	}); err != nil {
		r.Violate("%v: %s differ", err, differ)
	}
}
