package failover

import (
	"slices"
	"time"

	"github.com/mimid/mimid/node/watch"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/simulations/engine"
)

// A provider is a process with a seat in each room that it keeps. It watches the
// others, and has the rooms of dead hubs elect at a pace, with the code of a node.
type provider struct {
	w        *world
	index    int
	self     hub.Provider
	process  *engine.Process
	disk     *engine.Disk
	seats    [rooms]*seat // nil where it keeps no room
	finished bool         // it never comes back

	backup *[rooms]stored // what a backup holds, nil without one

	// In memory.
	heard [providers]time.Duration // by its own clock
	asked [providers]time.Duration // when it was pinged last
	dead  [providers]bool
	again time.Duration // when it looks at the dead next
	told  [providers]time.Duration

	pace *watch.Pace
}

func newProvider(w *world, i int, clock engine.Clock) *provider {
	p := &provider{w: w, index: i, self: name(i), disk: engine.NewDisk(w.disks)}
	p.disk.Latency, p.disk.Jitter, p.disk.Fail = w.plan.disk, w.plan.disk, w.plan.fail
	p.process = engine.NewProcess(w.e, clock, func() { w.stats.Kills++; w.say("%s dies", p.self) })
	return p
}

// boot is what a provider does when it starts: it reads its disk.
func (p *provider) boot() {
	now := p.process.Now()
	p.pace = watch.NewPace(watch.PaceConfig{Rate: electRate, Idle: idleRate})
	p.dead = [providers]bool{}
	for i := range p.heard {
		p.heard[i], p.asked[i], p.told[i] = now+bootGrace-p.w.plan.suspect, now, now
	}
	p.w.say("%s starts", p.self)
	for _, s := range p.seats {
		if s != nil && p.process.Up() {
			s.open()
		}
	}
	p.process.After(time.Duration(p.w.chance.Int64N(int64(watchEvery))), p.look)
}

// restart brings a provider back, from a backup if it shall.
func (p *provider) restart(fromBackup bool) {
	if p.process.Up() || p.finished {
		return
	}
	if fromBackup && p.backup != nil {
		p.w.stats.Restores++
		p.w.say("%s is restored from its backup", p.self)
		for i, s := range p.seats {
			if s != nil {
				s.disk, s.marked = p.backup[i].clone(), true
				s.known = min(s.known, s.disk.state.Final.Head.Seq)
			}
		}
	}
	p.process.Start(p.boot)
}

// takeBackup copies what is on disk now.
func (p *provider) takeBackup() {
	p.backup = new([rooms]stored)
	for i, s := range p.seats {
		if s != nil {
			p.backup[i] = s.disk.clone()
		}
	}
}

// send carries something to another provider, where it is a sign of life.
func (p *provider) send(to int, do func(q *provider)) {
	p.w.net.Send(p.index, to, func() {
		q := p.w.providers[to]
		if !q.process.Up() {
			return
		}
		q.heard[p.index] = max(q.heard[p.index], q.process.Now())
		if q.dead[p.index] {
			q.back(p.index)
		}
		do(q)
	})
}

// look is the watch's loop: ping the silent, find the dead, let rooms elect, compare heads.
func (p *provider) look() {
	now := p.process.Now()
	for i := range p.heard {
		if i == p.index {
			continue
		}
		silent := now - p.heard[i]
		if silent > p.w.plan.ping() && now-p.asked[i] > p.w.plan.ping() {
			p.asked[i] = now
			p.send(i, func(q *provider) { q.send(p.index, func(*provider) {}) })
		}
		if silent > p.w.plan.suspect && !p.dead[i] {
			p.dead[i] = true
			p.w.say("%s believes %s to be dead", p.self, name(i))
			p.suspected(name(i))
		}
		if now-p.told[i] > exchange && !p.dead[i] {
			p.told[i] = now
			p.compare(i)
		}
	}
	if now >= p.again {
		p.again = now + lookAgain
		for i, is := range p.dead {
			if is {
				p.suspected(name(i))
			}
		}
	}
	for _, id := range p.pace.Next(time.Unix(0, 0).Add(now + time.Hour)) {
		if s := p.seats[id[0]]; p.process.Up() && s.lost() {
			p.w.stats.Suspicions++
			s.load()
			s.step(hub.Event{Kind: hub.Suspect})
		}
	}
	p.process.After(watchEvery, p.look)
}

// suspected queues the rooms of a dead hub for an election.
func (p *provider) suspected(dead hub.Provider) {
	for i, s := range p.seats {
		if s == nil || s.place.manual {
			continue
		}
		if log := s.m.Log(); log.Hub() == dead && s.member() {
			p.pace.Add(p.w.rooms[i].id, s.loaded)
		}
	}
}

// back is a sign of life of one that was thought dead.
func (p *provider) back(i int) {
	p.dead[i] = false
	p.w.say("%s hears %s again", p.self, name(i))
	for k, s := range p.seats {
		if s == nil {
			continue
		}
		if log := s.m.Log(); log.Hub() == name(i) {
			p.pace.Remove(p.w.rooms[k].id)
		}
	}
}

// lies says whether this is the liar of the run.
func (p *provider) lies() bool { return p.index == p.w.plan.liar }

// stand is where a room stands at a provider.
type stand struct {
	room  int
	head  hub.Head
	final uint64
	liars hub.Set
}

// compare tells another provider where the rooms stand that both keep, and lets it
// ask for what it does not hold.
func (p *provider) compare(to int) {
	var list []stand
	for i, s := range p.seats {
		if s != nil && slices.Contains(s.place.peers, name(to)) {
			d := &s.facing(name(to)).disk
			list = append(list, stand{i, d.last(), d.state.Final.Head.Seq, d.state.Liars})
		}
	}
	p.send(to, func(q *provider) {
		for _, st := range list {
			s := q.seats[st.room].facing(p.self)
			if s.place.lied {
				s.repeat(p.index, st)
			}
			if s.lacks(st.head, st.final) {
				s.pull(p.index)
			}
		}
	})
}
