package failover

import (
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// This file is what a node does around its machine where a hub has lied (package hub, "Two
// final histories"; conflict.go and rejoin.go of node/rooms): it finds out that another
// history than its own is final, too, shows both to all who keep the room, compares the log
// of whoever moves the room, and gives its own history up when a move has chosen the other.

// Times of people in a room that stands still.
const (
	talkAfter   = 4 * time.Second // administrators talk, before one tries another move
	giveUpAfter = time.Second     // until people say that their history is to be given up
)

// honest are the providers of a room that do not lie.
func (w *world) honest(pl *place) hub.Set {
	return pl.peers.Without(name(w.plan.liar))
}

func (s *seat) stopped() bool { return s.m.State().Fork != [2]hub.Head{} }

// logOfEntries is a log as its entries make it.
func logOfEntries(es []*hub.Entry) hub.Log {
	return hub.Durable{Log: hub.Begin(es[0])}.Apply(&hub.Store{Keep: 1, Entries: es[1:]}).Log
}

// parts finds where another's entries, which connect to a log, are others than the log has:
// the place, and the other log up to its end. at is 0 if nowhere.
func parts(log hub.Log, es []*hub.Entry) (at uint64, theirs []*hub.Entry) {
	if len(es) == 0 || es[0].Seq == 0 {
		return 0, nil
	}
	if before := log.At(es[0].Seq - 1); before == nil || before.Hash != es[0].Prev {
		return 0, nil
	}
	for i, e := range es {
		mine := log.At(e.Seq)
		if mine == nil {
			return 0, nil
		}
		if mine.Hash != e.Hash {
			for seq := range e.Seq {
				theirs = append(theirs, log.At(seq))
			}
			return e.Seq, append(theirs, es[i:]...)
		}
	}
	return 0, nil
}

// decided says whether signers decide about the end of a log.
func decided(log hub.Log, signers hub.Set) bool {
	most := func(set hub.Set) bool {
		n := 0
		for _, p := range set {
			if signers.Has(p) {
				n++
			}
		}
		return 2*n > len(set)
	}
	set, next := log.InForce()
	return most(set) && (len(next) == 0 || most(next))
}

// judge looks at a log that somebody shows beside the machine, which sees only that it
// contradicts what is final here: is that other log final, too, or has an administrator
// moved the room on it? Machines of a liar's plan hold all of their logs.
func (s *seat) judge(m *hub.Message) {
	if m.Kind != hub.Append && m.Kind != hub.Ack && m.Kind != hub.Answer {
		return
	}
	log, st := s.m.Log(), s.m.State()
	final := st.Final.Head
	at, theirs := parts(log, m.Entries)
	if at == 0 || at > final.Seq {
		return
	}
	for _, e := range theirs[at:] {
		if e.Kind == hub.Change && e.Via == hub.ByMove && e.Term.Era > final.Term.Era {
			s.lose(at, e.Term)
			return
		}
	}
	c := m.Final
	if s.stopped() || log.Last().Term.Era > c.Head.Term.Era || c.Head.Seq < at || c.Head.Seq >= uint64(len(theirs)) || theirs[c.Head.Seq].Hash != c.Head.Hash ||
		c.Head.Term.Era < final.Term.Era || !decided(logOfEntries(theirs[:c.Head.Seq+1]), c.Signers) {
		return
	}
	ev := hub.Event{Kind: hub.Contradict, Head: c.Head}
	if c.Head.Term == final.Term {
		for _, p := range c.Signers {
			if st.Final.Signers.Has(p) {
				ev.Set = ev.Set.With(p)
			}
		}
	}
	shown := *m
	shown.Kind, shown.Entries = hub.Append, theirs[1:]
	s.other = &shown
	for _, e := range s.stepped(ev) {
		s.pending = append(s.pending, action{Effect: e})
	}
}

// show sends a provider the history here, and the one that contradicts it.
func (s *seat) show(to int) {
	q := name(to)
	if s.other != nil {
		m := *s.other
		m.To = q
		s.tell(to, &m)
	}
	head := s.disk.last()
	s.tell(to, &hub.Message{Kind: hub.Append, From: s.signer(), To: q, Term: head.Term, Head: head, Entries: s.disk.between(1, head.Seq+1), Final: s.disk.state.Final})
}

// repeat tells another provider again what proves that a hub has lied, as far as it shows
// by where it stands that it does not know: it may have been lost.
func (s *seat) repeat(to int, st stand) {
	if p := s.proof; p.Liar != 0 && p.Liar != name(to) && !st.liars.Has(p.Liar) {
		s.tell(to, &hub.Message{Kind: hub.Convict, From: s.at.self, To: name(to), Proof: p})
	}
	if s.stopped() && !s.disk.holds(st.head) {
		s.show(to)
	}
}

func (s *seat) tell(to int, m *hub.Message) {
	if !s.speaksTo(name(to)) {
		return
	}
	s.at.w.say("%s: room %d: shows %s", s.at.self, s.place.index, said{m})
	s.at.send(to, func(q *provider) { q.hear(s.place.index, s.at.self, m) })
}

// showAll tells all who keep the room that it stands still, and why.
func (s *seat) showAll() {
	for _, p := range s.place.peers.Without(s.at.self) {
		if s.at.process.Up() {
			s.show(int(p) - 1)
		}
	}
}

// hearMove reads the log of whoever moves a room that stands still here, and gives the
// machine the last place that both have.
func (s *seat) hearMove(from hub.Provider, m *hub.Message) {
	me, i := s.at, s.place.index
	me.send(int(from)-1, func(q *provider) {
		theirs := q.seats[i].facing(me.self).disk.clone()
		q.send(me.index, func(*provider) {
			s := me.seats[i].facing(from)
			c, mine := *m, s.m.Log()
			if mine.Holds(m.Final.Head) {
				s.step(hub.Event{Kind: hub.Deliver, Message: m})
				return
			}
			for _, e := range theirs.entries {
				if my := mine.At(e.Seq); my == nil {
					break
				} else if my.Hash != e.Hash {
					c.Common = mine.At(e.Seq - 1).Head()
					break
				}
			}
			s.step(hub.Event{Kind: hub.Deliver, Message: &c})
		})
	})
}

// lose is what comes of a move on another history than the one here: after a while people
// say that this one is to be given up.
func (s *seat) lose(at uint64, by room.Term) {
	if s.losing {
		return
	}
	s.losing = true
	s.at.w.say("%s: room %d: was moved in term %s on a history without what is here from %d on", s.at.self, s.place.index, by, at)
	s.giveUpAfter(giveUpAfter, at, by)
}

func (s *seat) giveUpAfter(d time.Duration, at uint64, by room.Term) {
	life := s.life
	s.at.process.After(d, func() {
		switch {
		case s.life != life:
		case s.flushing:
			s.giveUpAfter(shortWait, at, by)
		default:
			s.giveUp(at, by)
		}
	})
}

// giveUp ends the log before a place, and binds its provider to sign nothing any more of the
// eras before the move's.
func (s *seat) giveUp(at uint64, by room.Term) {
	w, d := s.at.w, &s.disk
	if final := d.state.Final.Head; at > final.Seq || by.Era <= final.Term.Era {
		s.losing = false
		return
	}
	d.entries = slices.Clone(d.entries[:at])
	set, _ := logOfEntries(d.entries).InForce()
	d.state.Final = hub.Certificate{Head: d.last(), Signers: set}
	d.state.Fork = [2]hub.Head{}
	if d.state.Seen.Compare(by) < 0 {
		d.state.Seen = by
	}
	s.other, s.known = nil, min(s.known, at-1)
	s.place.parted = true
	w.stats.GivenUp++
	w.say("%s: room %d: gives its history up from %d on", s.at.self, s.place.index, at)
	s.open()
	if !s.isFace && !s.at.lies() {
		for _, c := range w.clients {
			if c.place == s.place && c.at == s.at && !c.dead {
				c.sayAgain(at)
			}
		}
	}
}

// sayAgain submits what a client was told to be final in a history that was given up.
func (c *client) sayAgain(at uint64) {
	again := slices.Clone(c.told)
	c.told = slices.DeleteFunc(c.told, func(x told) bool { return x.seq >= at })
	for _, x := range again {
		if x.seq >= at {
			c.place.again++
			c.submit(hub.Event{Kind: hub.Submit, Txn: x.txn})
		}
	}
}

// stood has those who asked after healing ask again, since the room has stopped since.
func (w *world) stood(pl *place) {
	if !w.healed {
		return
	}
	pl.live = 0
	for _, c := range pl.probes {
		if !slices.ContainsFunc(c.subs, func(x submission) bool { return x.ev.Txn == c.probe }) {
			ev := hub.Event{Kind: hub.Submit, Txn: w.txn()}
			c.probe = ev.Txn
			c.submit(ev)
		}
	}
}

// moveOn is what administrators do about a room that stands still, or whose only hub has
// lied: they choose a history, and name a provider that has it. If nothing comes of it they
// talk and name the next, and when all who have that history were named, they choose another.
// Now and then somebody has not been asked, and names at the same time one that may have the
// other history.
//
// After healing, where all who are honest stand still, the first that is named alone has to
// succeed.
func (c *client) moveOn() {
	w, pl := c.w, c.place
	if pl.moved != 0 && w.e.Now()-pl.moved < talkAfter {
		return
	}
	able := w.able(pl)
	if len(able) == 0 {
		return // nobody can be named
	}
	pl.moved = w.e.Now()
	era := uint32(0)
	still := w.healed
	for _, p := range w.honest(pl) {
		s := w.providers[p-1].seats[pl.index]
		era = max(era, s.m.State().Seen.Era)
		still = still && s.stopped() && s.disk.state.Fork != [2]hub.Head{}
		if logOf(s).Last().Term.Era >= pl.trial {
			pl.trial = 0
		}
	}
	if pl.trial != 0 {
		w.fail("room %d, in which all stood still, was not moved to the one that was named alone", pl.index)
		return
	}
	holds := func(p hub.Provider) bool { return w.providers[p-1].seats[pl.index].disk.holds(pl.chosen) }
	if !slices.ContainsFunc(able, func(p hub.Provider) bool { return holds(p) && !pl.tried.Has(p) }) {
		pl.tried = nil
	}
	if len(pl.tried) == 0 {
		of := able[w.users.IntN(len(able))]
		if i := slices.IndexFunc(able, func(p hub.Provider) bool { return !holds(p) }); i >= 0 && pl.chosen != (hub.Head{}) {
			of = able[i]
		}
		pl.chosen = w.providers[of-1].seats[pl.index].disk.state.Final.Head
	}
	for range pl.peers {
		pl.named++
		p := pl.peers[pl.named%len(pl.peers)]
		if !able.Has(p) || !holds(p) || pl.tried.Has(p) {
			continue
		}
		pl.tried = pl.tried.With(p)
		c.name(p, era+1)
		if others := able.Without(p); len(others) > 0 && w.users.IntN(4) == 0 {
			c.name(others[w.users.IntN(len(others))], era+1)
		} else if still {
			pl.trial = era + 1
		}
		return
	}
}

// name has a provider begin a move to itself, alone or with two more.
func (c *client) name(p hub.Provider, era uint32) {
	w := c.w
	to := hub.SetOf(p)
	if others := w.honest(c.place).Without(p); len(others) >= 2 && w.users.IntN(2) == 0 {
		to = pickSet(w.users, others, 2).With(p)
	}
	w.stats.Moves++
	// Whose lie is known here the move can prove.
	c.at.ask(c.place.index, p, hub.Event{Kind: hub.MoveHere, Set: to, Term: room.Term{Era: era, Number: 1}, Liars: w.known(c.place, p)})
}

// hostile says whether a room needs an administrator because a liar decides about it alone.
func (s *seat) hostile() bool {
	liar := name(s.at.w.plan.liar)
	if !s.place.lied || !s.disk.state.Liars.Has(liar) {
		return false
	}
	log := s.m.Log()
	set, next := log.InForce()
	return len(set) == 1 && set[0] == liar || len(next) == 1 && next[0] == liar
}

// known are whose lies about a room a provider can prove.
func (w *world) known(pl *place, p hub.Provider) hub.Set {
	return w.providers[p-1].seats[pl.index].disk.state.Liars
}

// able are the honest providers of a room that can be named by a move, where the liar's word
// counts for nobody: those who can prove that it has lied, whom the word of all the others is
// enough for; of the rest all but the hub of their log, whose own word does not count, if most
// are honest besides.
func (w *world) able(pl *place) hub.Set {
	honest := w.honest(pl)
	var out hub.Set
	for _, p := range honest {
		log := w.providers[p-1].seats[pl.index].m.Log()
		if by := log.Hub(); len(w.known(pl, p)) > 0 || p != by && 2*len(honest.Without(by)) > len(pl.peers.Without(by)) {
			out = out.With(p)
		}
	}
	return out
}

// settledOn looks at a room with a lie at the end: all who are honest have one history, in
// which what was said after healing is final.
func (w *world) settledOn(pl *place) {
	if len(pl.probes) == 0 {
		return
	}
	honest := w.honest(pl)
	for _, p := range honest {
		s := w.providers[p-1].seats[pl.index]
		if s.disk.state.Fork != [2]hub.Head{} {
			w.fail("%s still stands still at the end over two histories of room %d", p, pl.index)
			return
		}
		for _, q := range honest {
			if t := w.providers[q-1].seats[pl.index]; t.disk.state.Final.Head.Seq >= s.disk.state.Final.Head.Seq && !t.disk.holds(s.disk.state.Final.Head) {
				w.fail("%s and %s have two final histories of room %d at the end", p, q, pl.index)
				return
			}
		}
	}
	switch {
	case pl.live == 0:
		w.fail("room %d, in which its hub has lied, has taken no submission since everything was healed", pl.index)
	case pl.live-w.healedAt > Bound:
		w.fail("room %d, in which its hub has lied, took %s after everything was healed until it took a submission, the bound is %s", pl.index, pl.live-w.healedAt, Bound)
	default:
		w.complete(pl)
	}
}
