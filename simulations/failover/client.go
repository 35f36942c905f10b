package failover

import (
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// A client is a member of a room at a provider. It keeps what it submits until its
// provider says that it is final.
type client struct {
	w      *world
	at     *provider
	place  *place
	out    hub.Outbox
	subs   []submission // not told to be final yet
	told   []told
	dead   bool
	probe  room.TxnID // after healing
	prods  time.Duration
	admins time.Duration
	asked  int // of the room's providers, by an administrator
}

type submission struct {
	ev       hub.Event
	since    time.Duration
	accepted bool
}

// told is what a client was told to be final.
type told struct {
	txn  room.TxnID
	seq  uint64
	hash room.Hash
}

func (w *world) newClient(pl *place, at *provider) {
	c := &client{w: w, at: at, place: pl}
	w.clients = append(w.clients, c)
	w.e.After(c.about(retry), c.look)
	w.e.After(c.about(w.plan.say), c.speak)
}

func (c *client) about(d time.Duration) time.Duration {
	return d/2 + time.Duration(c.w.users.Int64N(int64(d)))
}

// speak submits something now and then, while there is trouble.
func (c *client) speak() {
	if c.dead || c.w.healed {
		return
	}
	ev := hub.Event{Kind: hub.Submit, Txn: c.w.txn()}
	switch n := c.w.users.IntN(30); {
	case c.w.plan.calm:
	case n < 2:
		ev.Handshake = true
	case n < 5:
		ev.Handshake = true
		sizes := []int{1, 3, 3, 5}
		if c.w.plan.restore || c.w.plan.gone >= 0 {
			sizes = []int{3, 3, 3, 5}
		}
		ev.Set = pickSet(c.w.users, c.place.peers, sizes[c.w.users.IntN(4)])
		if len(ev.Set) == 2 || len(ev.Set) == 4 {
			ev.Set = ev.Set[:len(ev.Set)-1]
		}
	}
	c.submit(ev)
	c.w.e.After(c.about(c.w.plan.say), c.speak)
}

func (c *client) submit(ev hub.Event) {
	c.w.stats.Submitted++
	c.w.watching.submitted(ev.Txn, c.w.e.Now())
	c.out = c.out.Add(ev)
	c.subs = append(c.subs, submission{ev: ev, since: c.w.e.Now()})
}

// look sees what has become of what was submitted, and submits what is due.
func (c *client) look() {
	if c.dead {
		return
	}
	c.w.e.After(c.about(retry), c.look)
	if len(c.subs) == 0 || !c.at.process.Up() {
		return
	}
	s := c.at.seats[c.place.index]
	log := s.m.Log()
	term := log.Last().Term
	c.hearFinal(s)
	if s.stopped() && !c.at.lies() {
		c.w.stood(c.place) // what was final before it stopped shows nothing
		c.moveOn()
	}
	old := c.w.e.Now() // since when the oldest message waits
	var oldest submission
	for _, x := range c.subs {
		if !x.ev.Handshake && x.since < old {
			old, oldest = x.since, x
		}
	}
	for _, ev := range c.out.Due(term) {
		c.at.relay(c.place.index, log.Hub(), ev, c)
	}
	if wait := c.w.e.Now() - old; wait > unanswered && c.w.e.Now()-c.prods > exchange {
		c.prods = c.w.e.Now()
		// All are asked, not only the set in force here: one that has left it since may
		// be the only one who can still win.
		for _, p := range c.place.peers {
			c.at.prod(c.place.index, p, oldest, s.m.State().Seen)
		}
	}
	if wait := c.w.e.Now() - old; wait > adminAfter && c.w.e.Now()-c.admins > adminAgain {
		c.admins = c.w.e.Now()
		c.administer(s)
	}
}

// hearFinal drops what is final at the client's provider.
func (c *client) hearFinal(s *seat) {
	final := s.disk.state.Final.Head.Seq
	c.subs = slices.DeleteFunc(c.subs, func(x submission) bool {
		seq := s.disk.find(x.ev.Txn)
		if seq == 0 || seq > final {
			return false
		}
		e := s.disk.entries[seq]
		c.out = c.out.Final(hub.Resume([]hub.Mark{{}}, e), e.Head())
		if !s.at.lies() {
			c.told = append(c.told, told{x.ev.Txn, seq, e.Hash})
		}
		if x.ev.Txn == c.probe {
			c.w.alive(c.place)
		}
		return true
	})
}

// accepted is a hub's answer.
func (c *client) accepted(txn room.TxnID, term room.Term) {
	c.out = c.out.Sent(txn, term)
	for i := range c.subs {
		if c.subs[i].ev.Txn == txn {
			c.subs[i].accepted = true
		}
	}
}

// relay brings a client's submission to who the hub seems to be.
func (p *provider) relay(i int, to hub.Provider, ev hub.Event, c *client) {
	if to == p.self {
		p.seats[i].submit(ev, reply{ev.Txn, c, p.index})
		return
	}
	me := p
	p.send(int(to)-1, func(q *provider) { q.seats[i].facing(me.self).submit(ev, reply{ev.Txn, c, me.index}) })
}

// submit takes a submission at a hub, or who is taken for it.
func (s *seat) submit(ev hub.Event, r reply) {
	s.load()
	if !s.at.process.Up() {
		return
	}
	if s.stalls() {
		return
	}
	s.replies = append(s.replies, r)
	s.step(ev)
}

// answer tells all who wait for a submission what has become of it.
func (s *seat) answer(txn room.TxnID, taken bool, term room.Term) {
	s.replies = slices.DeleteFunc(s.replies, func(r reply) bool {
		if r.txn == txn {
			s.reply(r, taken, term)
		}
		return r.txn == txn
	})
}

func (s *seat) reply(r reply, taken bool, term room.Term) {
	switch {
	case !taken || r.c == nil:
	case r.to == s.at.index:
		r.c.accepted(r.txn, term)
	default:
		s.at.send(r.to, func(*provider) { r.c.accepted(r.txn, term) })
	}
}

// prod asks a replica to relay a submission that nobody answers, and to watch what
// comes of it. It says which term the asker has seen: who is above the hub's term can
// take nothing of that hub any more, not even what is final.
func (p *provider) prod(i int, to hub.Provider, x submission, seen room.Term) {
	if to == p.self {
		p.seats[i].prodded(x, seen)
		return
	}
	me := p
	p.send(int(to)-1, func(q *provider) { q.seats[i].facing(me.self).prodded(x, seen) })
}

// prodded relays, and doubts a hub under which nothing becomes final for long.
func (s *seat) prodded(x submission, seen room.Term) {
	s.load()
	if !s.at.process.Up() {
		return
	}
	log, st, now := s.m.Log(), s.m.State(), s.at.process.Now()
	if seq := s.disk.find(x.ev.Txn); seq != 0 && seq <= st.Final.Head.Seq && seen.Compare(log.Last().Term) <= 0 {
		return
	}
	d := &s.doubt
	if d.since == 0 || d.term != log.Last().Term || d.final != st.Final.Head.Seq || now-d.last > 3*exchange {
		*d = doubt{term: log.Last().Term, final: st.Final.Head.Seq, since: now}
	}
	d.last = now
	if !x.accepted {
		s.at.relay(s.place.index, log.Hub(), x.ev, nil)
	}
	if now-d.since > unanswered && s.at.process.Up() && s.m.Role() != hub.Hub && s.doubted != *d {
		s.at.w.say("%s: room %d: doubts its hub %s", s.at.self, s.place.index, log.Hub())
		s.doubted = *d
		s.alarm(shortWait)
	}
}

// administer is what people do when their room stands still: they ask another replica
// to order it, or move it away from a replica set that will not come back.
func (c *client) administer(s *seat) {
	log, r := s.m.Log(), c.w.users
	set, next := log.InForce()
	gone := c.w.gone()
	if gone != 0 && s.at.self != gone && (c.place.moved == 0 || c.w.e.Now()-c.place.moved > 2*adminAfter) && (c.place.lossy || c.w.lostSet(c.place, set, gone) || c.w.lostSet(c.place, next, gone)) {
		to := hub.SetOf(s.at.self)
		if c.w.plan.gone >= 0 && len(c.place.peers) > 3 && r.IntN(2) == 0 {
			to = pickSet(r, c.place.peers.Without(gone).Without(s.at.self), 2).With(s.at.self)
		}
		c.w.say("an administrator moves room %d to %s", c.place.index, s.at.self)
		c.w.stats.Moves++
		c.place.lossy, c.place.moved = true, c.w.e.Now()
		s.load()
		s.step(hub.Event{Kind: hub.MoveHere, Set: to})
		return
	}
	if !c.at.lies() && (s.hostile() || c.place.lied && c.place.stopped) {
		c.place.lossy = c.place.lossy || s.hostile()
		c.moveOn()
		return
	}
	if !c.place.manual {
		return
	}
	// One after the other: only one may have what it takes to win.
	for range c.place.peers {
		c.asked++
		to := c.place.peers[c.asked%len(c.place.peers)]
		if to == s.at.self || !s.at.dead[to-1] {
			c.at.ask(c.place.index, to, hub.Event{Kind: hub.Request})
			return
		}
	}
}

// lostSet says whether a set of one is gone for good, or has given the room to who is.
func (w *world) lostSet(pl *place, set hub.Set, gone hub.Provider) bool {
	if len(set) != 1 || set[0] == gone {
		return len(set) == 1
	}
	d := &w.providers[set[0]-1].seats[pl.index].disk
	return d.state.Given.For == gone && d.state.Given.Head == d.last()
}

// ask brings an administrator's request to a provider.
func (p *provider) ask(i int, to hub.Provider, ev hub.Event) {
	do := func(q *provider) {
		s := q.seats[i]
		s.load()
		if q.process.Up() {
			q.w.say("%s: room %d: an administrator asks it to order the room", q.self, i)
			s.step(ev)
		}
	}
	if to == p.self {
		do(p)
		return
	}
	p.send(int(to)-1, do)
}
