package failover

import (
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/hub"
)

// A kind is one of the things that go wrong, or that people do.
type kind int

const (
	kill     kind = iota // a provider dies, somewhere between two effects
	killHub              // the same, for one that orders a room right now
	split                // two groups do not reach each other
	isolate              // one provider reaches nobody
	deaf                 // one direction between two providers is cut
	slow                 // the links of a provider are slow
	lossy                // all links lose much
	handOver             // a hub is asked to give a room away
	request              // an administrator wants another hub
	backup               // a backup is made, or somebody comes back from one
	lie                  // the liar forks a room
	bereave              // a client dies
	strike               // a replica stumbles, and the hub that it has just helped dies
	stall                // a hub lives, answers, and orders nothing any more
	kinds
)

var kindNames = [kinds]string{"kill", "kill a hub", "split", "isolate", "deaf", "slow", "lossy", "hand over", "request", "backup", "lie", "bereave", "strike", "stall"}

func (k kind) String() string { return kindNames[k] }

// disturb lets one thing go wrong, and arranges for the next.
func (w *world) disturb(r *rand.Rand) {
	if w.healed {
		return
	}
	k := kind(r.IntN(int(kinds)))
	if r.IntN(3) == 0 {
		k = kind(w.plan.loud)
	}
	w.stats.Troubles++
	w.cause(k, r)
	w.e.After(w.plan.pause/2+time.Duration(r.Int64N(int64(w.plan.pause))), func() { w.disturb(r) })
}

func (w *world) cause(k kind, r *rand.Rand) {
	x, y := r.IntN(providers), r.IntN(providers-1)
	if y >= x {
		y++
	}
	lasts := ms(r, 200, 6000)
	pl := w.rooms[r.IntN(rooms)]
	switch k {
	case kill, killHub:
		if k == killHub {
			if s := w.hubOf(pl); s != nil {
				x = s.at.index
			}
		}
		w.kill(x, 1+r.IntN(40), lasts, r, false)
	case split:
		var groups [providers]bool
		for i := range groups {
			groups[i] = r.IntN(2) == 0
		}
		w.say("split %v", groups)
		w.stats.Partitions++
		w.cut(lasts, func(i, j int) bool { return groups[i] != groups[j] })
	case isolate:
		w.say("%s is isolated", name(x))
		w.stats.Partitions++
		w.cut(lasts, func(i, j int) bool { return i == x || j == x })
	case deaf:
		w.say("%s does not reach %s", name(x), name(y))
		w.stats.Partitions++
		w.cut(lasts, func(i, j int) bool { return i == x && j == y })
	case slow:
		w.say("%s is slow", name(x))
		by := ms(r, 200, 1500)
		w.change(lasts, func(i, j int) bool { return i == x || j == x }, func(i, j int) { w.net.Link(i, j).Latency += by })
	case lossy:
		w.say("links lose much")
		rate := r.Float64() * 0.7
		w.change(lasts, func(int, int) bool { return true }, func(i, j int) { w.net.Link(i, j).Loss = max(rate, w.plan.loss) })
	case handOver:
		if s := w.hubOf(pl); s != nil {
			set, _ := logOf(s).InForce()
			if len(set) == 1 {
				set = pl.peers
				if w.plan.gone >= 0 && len(set) == 3 {
					// Given to who dies for good: the other has no majority for a move.
					set = set.Without(name(w.plan.gone))
				}
			}
			if to := set[r.IntN(len(set))]; !w.plan.restore || len(set) > 1 {
				w.say("%s is asked to hand room %d to %s", s.at.self, pl.index, to)
				w.stats.HandOvers++
				s.load()
				s.step(hub.Event{Kind: hub.HandOver, Target: to})
			}
		}
	case request:
		if s := w.providers[x].seats[pl.index]; s != nil && s.at.process.Up() {
			w.say("%s is asked to order room %d", s.at.self, pl.index)
			s.load()
			s.step(hub.Event{Kind: hub.Request})
		}
	case backup:
		w.restore(x, lasts, r)
	case lie:
		w.fork(r)
	case bereave:
		if c := w.clients[r.IntN(len(w.clients))]; w.plan.mortal {
			c.dead = true
		}
	case strike:
		w.strike(pl, r)
	case stall:
		w.stall(pl, r)
	}
}

// stall lets hubs hang: all rooms that a provider orders just now, or one. Nothing else is
// wrong with them, and healing does not help: those who keep the room have to find it out.
// Not where a majority is missing without the hub: only a person can help there.
func (w *world) stall(pl *place, r *rand.Rand) {
	s := w.hubOf(pl)
	if s == nil || w.plan.gone >= 0 || w.plan.liar >= 0 {
		return
	}
	all := r.IntN(2) == 0
	for _, t := range s.at.seats {
		if t == nil || t != s && !all || t.m.Role() != hub.Hub {
			continue
		}
		if set, next := logOf(t).InForce(); len(set) >= 3 && len(next) == 0 {
			w.say("%s stalls in room %d", t.at.self, t.place.index)
			w.stats.Stalls++
			t.stalled = logOf(t).Last().Term
		}
	}
}

// stalls says whether the seat is a hub that leaves submissions lying. It ends with the
// term, or with the process.
func (s *seat) stalls() bool {
	return s.m.Role() == hub.Hub && s.stalled == logOf(s).Last().Term
}

// strike lets the hub of a room die just after it has had the help of a replica, and of
// no other, that stumbles and comes back at once: does it still know what it has signed?
func (w *world) strike(pl *place, r *rand.Rand) {
	s := w.hubOf(pl)
	if s == nil {
		return
	}
	set, _ := logOf(s).InForce()
	p, h := w.providers[set[r.IntN(len(set))]-1], s.at.index
	if p == s.at || !p.process.Up() || !w.whole() {
		return
	}
	w.say("%s and %s stumble over room %d", s.at.self, p.self, pl.index)
	soon := 2*(w.plan.link.Latency+w.plan.link.Jitter) + 6*w.plan.disk
	w.cut(soon, func(i, j int) bool { return i == h && j != p.index })
	s.step(hub.Event{Kind: hub.Submit, Txn: w.txn()})
	p.process.Doom(1 + r.IntN(8))
	w.e.After(soon, func() {
		if w.healed {
			return
		}
		p.process.Kill()
		w.e.After(50*time.Millisecond, func() { p.restart(false) })
		w.kill(h, 1, ms(r, 3000, 8000), r, false)
	})
}

func logOf(s *seat) hub.Log { return s.m.Log() }

// hubOf finds who orders a room, nil if nobody seems to.
func (w *world) hubOf(pl *place) *seat {
	for _, p := range pl.peers {
		if s := w.providers[p-1].seats[pl.index]; s.at.process.Up() && s.m.Role() == hub.Hub {
			return s
		}
	}
	return nil
}

// kill lets a provider die within its next effects, and brings it back.
func (w *world) kill(x, effects int, lasts time.Duration, r *rand.Rand, fromBackup bool) {
	p := w.providers[x]
	if !p.process.Up() {
		return
	}
	p.process.Doom(effects)
	w.e.After(lasts, func() {
		if w.healed {
			return
		}
		p.process.Kill() // if it has had nothing to do
		w.e.After(ms(r, 50, 4000), func() { p.restart(fromBackup && w.whole()) })
	})
}

// restore makes a backup of a provider, or lets one come back from its own. The next
// may only do so when the one before is whole.
func (w *world) restore(x int, lasts time.Duration, r *rand.Rand) {
	p := w.providers[x]
	switch {
	case !w.plan.restore:
	case p.backup == nil || r.IntN(2) == 0:
		if p.process.Up() && w.whole() {
			w.say("a backup of %s is made", p.self)
			p.takeBackup()
		}
	default:
		w.kill(x, 1+r.IntN(40), lasts/4, r, true)
	}
}

// whole says whether nobody has yet to find out what it forgot.
func (w *world) whole() bool {
	for _, p := range w.providers {
		for _, s := range p.seats {
			if s != nil && s.marked {
				return false
			}
		}
	}
	return true
}

// cut severs links for a while.
func (w *world) cut(lasts time.Duration, which func(i, j int) bool) {
	w.change(lasts, which, func(i, j int) { w.net.Link(i, j).Cut = true })
}

// change makes links worse for a while.
func (w *world) change(lasts time.Duration, which func(i, j int) bool, how func(i, j int)) {
	for i := range providers {
		for j := range providers {
			if i != j && which(i, j) {
				how(i, j)
			}
		}
	}
	w.e.After(lasts, func() {
		if w.healed {
			return
		}
		for i := range providers {
			for j := range providers {
				if which(i, j) {
					w.net.Mend(i, j)
				}
			}
		}
	})
}

// fork gives rooms of the liar two faces: from now on it is another hub, of the same
// term, to some than to others.
func (w *world) fork(r *rand.Rand) {
	if w.plan.liar < 0 {
		return
	}
	p := w.providers[w.plan.liar]
	for _, s := range p.seats {
		if s == nil || !p.process.Up() || s.m.Role() != hub.Hub || s.second != nil || s.flushing || r.IntN(2) == 0 {
			continue
		}
		var crowd hub.Set
		for _, q := range s.place.peers.Without(p.self) {
			if r.IntN(2) == 0 {
				crowd = crowd.With(q)
			}
		}
		s.lie(crowd)
	}
}

// lie has a hub be another one to some of the room's providers from now on.
func (s *seat) lie(crowd hub.Set) {
	w, p := s.at.w, s.at
	f := &seat{at: p, place: s.place, cfg: s.cfg, disk: s.disk.clone(), m: s.m, crowd: crowd, isFace: true, known: s.known}
	s.second, s.crowd, s.place.lied = f, crowd, true
	w.stats.Lies++
	w.say("%s lies in room %d: another face to %s", p.self, s.place.index, crowd)
	// One word that only one face has said.
	f.step(hub.Event{Kind: hub.Submit, Txn: w.txn()})
	if p.process.Up() {
		s.step(hub.Event{Kind: hub.Submit, Txn: w.txn()})
	}
}

// heal ends all trouble: links are as they should be, everybody comes back, but who
// is gone for good. Then a client in every room says something.
func (w *world) heal() {
	w.say("everything is healed")
	w.healed, w.healedAt = true, w.e.Now()
	l := w.plan.link
	l.Loss, l.Duplicate, l.Cut = 0, 0, false
	w.net.Usual(l)
	w.net.Heal()
	for _, p := range w.providers {
		p.disk.Fail = 0
		p.process.Doom(0)
		switch {
		case p.index == w.plan.gone:
			p.process.Kill()
			p.finished = true
		default:
			p.restart(false)
		}
	}
	for _, c := range w.clients {
		if c.dead || c.at.self == w.gone() || c.at.lies() {
			continue
		}
		ev := hub.Event{Kind: hub.Submit, Txn: w.txn()}
		c.probe = ev.Txn
		c.place.probes = append(c.place.probes, c)
		c.submit(ev)
	}
}
