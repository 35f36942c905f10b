package failover

import (
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// A seat is one provider's part in one room: the machine, what is on disk of it, and
// what a node's goroutine for that room does around it.
type seat struct {
	at    *provider
	place *place
	cfg   *hub.Config

	// On disk.
	disk   stored
	marked bool         // the disk comes from a backup and has not been whole since
	proof  hub.Proof    // against a hub that has lied
	other  *hub.Message // a final history that contradicts the one here, as it was shown

	known  uint64 // finals of the disk that the world has looked at
	second *seat  // a liar's other face
	crowd  hub.Set
	isFace bool

	// In memory.
	m        hub.Machine
	pending  []action // of the machine, not performed yet
	flushing bool
	inbox    []hub.Event
	replies  []reply
	used     time.Duration // when something happened in the room
	loaded   bool
	alarmAt  time.Duration // true time; 0: none is set
	doubt    doubt
	doubted  doubt
	stalled  room.Term // in which it orders nothing any more
	losing   bool      // its history is about to be given up
	life     int       // counts openings
}

// action is an effect, and from where on whom it answers lacks entries.
type action struct {
	hub.Effect
	lacks hub.Head
	refer bool
}

// reply is who waits for an answer to a submission.
type reply struct {
	txn room.TxnID
	c   *client
	to  int
}

// doubt is about a hub that leaves submissions unanswered.
type doubt struct {
	term  room.Term
	final uint64
	since time.Duration
	last  time.Duration
}

// stored is what is on disk of a room.
type stored struct {
	state   hub.State
	entries []*hub.Entry
}

func newSeat(p *provider, pl *place, set hub.Set) *seat {
	s := &seat{at: p, place: pl}
	s.cfg = &hub.Config{Self: p.self, Peers: pl.peers, Seal: pl.seal, Window: p.w.plan.window, Manual: pl.manual}
	s.disk = stored{entries: []*hub.Entry{pl.create},
		state: hub.State{Seen: pl.create.Term, Final: hub.Certificate{Head: pl.create.Head(), Signers: set}}}
	return s
}

func (d *stored) clone() stored { return stored{d.state, slices.Clone(d.entries)} }

func (d *stored) last() hub.Head { return d.entries[len(d.entries)-1].Head() }

func (d *stored) holds(h hub.Head) bool {
	return h.Seq < uint64(len(d.entries)) && d.entries[h.Seq].Hash == h.Hash
}

// between copies entries from one place to before another.
func (d *stored) between(from, to uint64) []*hub.Entry {
	to = min(to, uint64(len(d.entries)))
	if from >= to {
		return nil
	}
	return slices.Clone(d.entries[from:to])
}

// find returns the place of a submission, 0 if it is not here.
func (d *stored) find(txn room.TxnID) uint64 {
	for i := len(d.entries) - 1; i > 0; i-- {
		if d.entries[i].Txn == txn {
			return uint64(i)
		}
	}
	return 0
}

func (d *stored) apply(st *hub.Store) {
	d.state = st.State
	d.entries = append(d.entries[:min(st.Keep, len(d.entries))], st.Entries...)
}

// durable is what a machine restarts with.
func (d *stored) durable(window int) hub.Durable {
	whole := hub.Durable{Log: hub.Begin(d.entries[0])}.Apply(&hub.Store{State: d.state, Keep: 1, Entries: d.entries[1:]})
	if window == 0 {
		return whole
	}
	final := d.state.Final.Head.Seq
	var marks []hub.Mark
	for _, m := range whole.Log.Marks() {
		if m.From <= final {
			marks = append(marks, m)
		}
	}
	return hub.Durable{State: d.state, Log: hub.Resume(marks, d.entries[final], d.entries[final+1:]...)}
}

// open starts the machine from the disk.
func (s *seat) open() {
	s.pending, s.inbox, s.replies, s.flushing = nil, nil, nil, false
	s.loaded, s.alarmAt, s.doubt, s.doubted, s.second, s.stalled = false, 0, doubt{}, doubt{}, nil, room.Term{}
	s.losing = false
	s.life++
	m, effects := hub.Restart(s.cfg, s.disk.durable(s.cfg.Window), s.marked)
	s.m = m
	for _, e := range effects {
		s.pending = append(s.pending, action{Effect: e})
	}
	s.flush()
}

// facing is the face that a provider sees.
func (s *seat) facing(p hub.Provider) *seat {
	if s.second != nil && s.crowd.Has(p) {
		return s.second
	}
	return s
}

// step gives the machine an event. While a write is under way, events wait, and then
// have one write together.
func (s *seat) step(ev hub.Event) {
	if s.flushing {
		s.inbox = append(s.inbox, ev)
		return
	}
	s.run(ev)
	s.flush()
}

func (s *seat) run(ev hub.Event) {
	var from hub.Provider
	var lacks hub.Head
	if ev.Kind == hub.Deliver {
		m := s.cleaned(ev.Message)
		if m == nil {
			return
		}
		ev.Message = m
		from = m.From
		lacks = m.Final.Head
		if m.Kind == hub.Need {
			lacks = m.Head
		}
	}
	if ev.Kind == hub.Submit && s.cfg.Window > 0 && s.m.Role() == hub.Hub {
		if head, ok := s.forgotten(ev.Txn); ok {
			s.pending = append(s.pending, action{Effect: hub.Effect{Kind: hub.Accepted, Txn: ev.Txn, Head: head}})
			return
		}
	}
	for _, e := range s.stepped(ev) {
		a := action{Effect: e}
		if e.Kind == hub.Send && from != 0 && e.Message.To == from {
			a.lacks, a.refer = lacks, ev.Message.Kind == hub.Need || ev.Message.Kind == hub.Ask || ev.Message.Kind == hub.Move
		}
		s.pending = append(s.pending, a)
	}
	if ev.Kind == hub.Deliver && s.place.lied {
		s.judge(ev.Message)
	}
}

// stepped gives the machine an event, and returns what it wants done.
func (s *seat) stepped(ev hub.Event) []hub.Effect {
	m, effects := s.m.Step(ev)
	s.m = m
	return effects
}

// forgotten finds a submission that a machine with a window has ordered and does not
// hold any more: on disk, or in what is about to be written.
func (s *seat) forgotten(txn room.TxnID) (hub.Head, bool) {
	log := s.m.Log()
	if seq := s.disk.find(txn); seq != 0 && seq < log.Base() {
		return s.disk.entries[seq].Head(), true
	}
	for _, a := range s.pending {
		if a.Kind != hub.Write {
			continue
		}
		for _, e := range a.Store.Entries {
			if e.Txn == txn && e.Seq < log.Base() {
				return e.Head(), true
			}
		}
	}
	return hub.Head{}, false
}

// cleaned does what a caller of a machine with a window owes it: entries that are
// final here are compared with the store, and what is long known is not delivered.
func (s *seat) cleaned(m *hub.Message) *hub.Message {
	if s.cfg.Window == 0 {
		return m
	}
	st := s.m.State()
	final := st.Final.Head.Seq
	if m.Kind == hub.Append && m.Head.Seq < final && m.Term.Compare(st.Seen) >= 0 {
		return nil
	}
	n := 0
	for _, e := range m.Entries {
		if e.Seq > final || e.Seq >= uint64(len(s.disk.entries)) || s.disk.entries[e.Seq].Hash != e.Hash {
			break
		}
		n++
	}
	if n == 0 {
		return m
	}
	c := *m
	c.Entries = m.Entries[n:]
	return &c
}

// flush performs what the machine wants done: what it may say before anything is
// written, then all writes in one commit, then the rest.
func (s *seat) flush() {
	life := s.at.process
	n := slices.IndexFunc(s.pending, func(a action) bool { return a.Kind == hub.Write })
	if n < 0 {
		n = len(s.pending)
	}
	head, batch := s.pending[:n], s.pending[n:]
	s.pending = nil
	if !s.perform(head) {
		return
	}
	if len(batch) == 0 {
		s.after()
		return
	}
	if !life.May() {
		return
	}
	s.flushing = true
	s.at.disk.Commit(life, func() {
		for _, a := range batch {
			if a.Kind == hub.Write {
				s.write(a.Store)
			}
		}
	}, func(err error) {
		s.flushing = false
		if err != nil {
			s.at.w.say("%s: room %d: the disk fails, the room is read anew", s.at.self, s.place.index)
			if !s.isFace {
				s.open()
			}
			return
		}
		if !s.perform(batch) {
			return
		}
		inbox := s.inbox
		s.inbox = nil
		for _, ev := range inbox {
			s.run(ev)
		}
		s.flush()
	})
}

// after sees to it that the machine is looked at again.
func (s *seat) after() {
	if s.busy() {
		s.alarm(resendAfter)
	}
}

// perform does effects in their order, as far as the process lives.
func (s *seat) perform(list []action) bool {
	w := s.at.w
	for _, a := range list {
		if a.Kind == hub.Write {
			continue
		}
		if !s.at.process.May() {
			return false
		}
		switch a.Kind {
		case hub.Send:
			s.send(a)
		case hub.Accepted:
			term := a.Head.Term
			if log := s.m.Log(); s.m.Role() == hub.Hub && (log.Holds(a.Head) || s.disk.holds(a.Head)) {
				term = log.Last().Term
			}
			s.answer(a.Txn, true, term)
		case hub.Rejected:
			if a.Why == hub.ErrMove {
				s.place.trial = 0 // the commit is not on the newest handshake: another is made
			}
			s.answer(a.Txn, false, room.Term{})
		case hub.SetAside:
			w.stats.Aside += len(a.Entries)
		case hub.Leads:
			w.leads(s, a.Head)
		case hub.Stopped:
			w.stops(s, a.Proof)
			s.showAll()
		case hub.Convicted:
			w.convicted(s, a.Proof)
			s.proof = a.Proof
			s.alarm(shortWait)
		case hub.Wait:
			s.alarm(shortWait)
		}
	}
	return true
}

// send says something to another provider, with the entries that a machine with a
// window has forgotten.
func (s *seat) send(a action) {
	m := a.Message
	if !s.speaksTo(m.To) {
		return
	}
	if a.refer && len(m.Entries) > 0 && s.cfg.Window > 0 {
		from := uint64(1)
		if s.disk.holds(a.lacks) {
			from = a.lacks.Seq + 1
		}
		if first := m.Entries[0].Seq; first != from {
			c := *m
			if first < from {
				c.Entries = m.Entries[min(from-first, uint64(len(m.Entries))):]
			} else {
				c.Entries = append(s.disk.between(from, first), m.Entries...)
			}
			m = &c
		}
	}
	s.at.w.say("%s: room %d: says %s", s.at.self, s.place.index, said{m})
	s.at.send(int(m.To)-1, func(q *provider) { q.hear(s.place.index, s.at.self, m) })
}

// said writes a message down only where somebody listens.
type said struct{ m *hub.Message }

func (x said) String() string { return x.m.String() }

// speaksTo says whether this face is for a provider.
func (s *seat) speaksTo(p hub.Provider) bool {
	if s.isFace {
		return s.crowd.Has(p)
	}
	return s.second == nil || !s.crowd.Has(p)
}

// hear takes another provider's message for a room.
func (p *provider) hear(i int, from hub.Provider, m *hub.Message) {
	s := p.seats[i].facing(from)
	p.w.e.Note(uint64(m.Kind)<<32 | uint64(p.index)<<24 | uint64(i)<<16 | m.Head.Seq)
	s.load()
	switch {
	case !p.process.Up():
	case m.Kind == hub.Move && s.stopped():
		s.hearMove(from, m)
	default:
		s.step(hub.Event{Kind: hub.Deliver, Message: m})
	}
}

// load is what a node does when something happens in a room that it does not have in memory.
func (s *seat) load() {
	now := s.at.process.Now()
	fresh := !s.loaded
	s.loaded, s.used = true, now
	if fresh && s.lost() {
		s.step(hub.Event{Kind: hub.Suspect})
		s.alarm(suspectAgain)
	}
	s.alarm(resendAfter)
}

// member says whether the provider has a say in the room.
func (s *seat) member() bool {
	log := s.m.Log()
	set, next := log.InForce()
	return set.Has(s.at.self) || next.Has(s.at.self)
}

// lost says whether the hub is dead, has lied, or does not do its work.
func (s *seat) lost() bool {
	log := s.m.Log()
	h := log.Hub()
	st := s.m.State()
	if h == s.at.self && st.Vote.Release && st.Vote.Term == st.Seen {
		h = st.Vote.For // released to it
	}
	return h != s.at.self && (s.at.dead[h-1] || st.Liars.Has(h)) ||
		s.doubted.since != 0 && s.doubted.term == log.Last().Term && s.doubted.final == st.Final.Head.Seq
}

// busy says whether something is under way.
func (s *seat) busy() bool {
	switch s.m.Role() {
	case hub.Follower, hub.Hub:
		log, st := s.m.Log(), s.m.State()
		return st.Restored || log.Last().Seq > st.Final.Head.Seq
	}
	return true
}

// alarm has the machine looked at after about a time, or earlier if it is already to be.
func (s *seat) alarm(d time.Duration) {
	d = d/2 + time.Duration(s.at.w.chance.Int64N(int64(d)))
	at := s.at.w.e.Now() + s.at.process.Clock.True(d)
	if s.alarmAt != 0 && s.alarmAt <= at {
		return
	}
	s.alarmAt = at
	s.at.process.After(d, func() {
		if s.alarmAt == at {
			s.alarmAt = 0
			s.tick()
		}
	})
}

// tick is the machine's sense of time, as in a node.
func (s *seat) tick() {
	log, role, lost := s.m.Log(), s.m.Role(), s.lost()
	set, next := log.InForce()
	alone := len(set) == 1 && len(next) == 0 && set[0] == s.at.self
	st := s.m.State()
	switch {
	case st.Fork != [2]hub.Head{} && role != hub.Mover:
		return
	case st.Restored:
		s.step(hub.Event{Kind: hub.Resend})
	case role == hub.Follower && log.Hub() == s.at.self && alone:
		s.step(hub.Event{Kind: hub.Request})
	case (role == hub.Follower || role == hub.Canvasser || role == hub.Candidate || role == hub.Releasing) && lost && !s.place.manual:
		s.step(hub.Event{Kind: hub.Suspect})
		if s.at.process.Up() {
			s.alarm(suspectAgain)
		}
		return
	case role == hub.Follower:
		if log.Last().Seq > st.Final.Head.Seq && log.Hub() != s.at.self {
			s.pull(int(log.Hub()) - 1)
		}
	case role == hub.Hub && !s.busy():
	default:
		s.step(hub.Event{Kind: hub.Resend})
	}
	if !s.at.process.Up() {
		return
	}
	if s.busy() || lost {
		s.alarm(resendAfter)
	} else if s.at.process.Now()-s.used > unanswered {
		s.loaded = false
	} else {
		s.alarm(unanswered)
	}
}

// lacks says whether another's log has what this one should have.
func (s *seat) lacks(h hub.Head, final uint64) bool {
	if s.disk.holds(h) {
		return final > s.disk.state.Final.Head.Seq
	}
	return !h.Behind(s.disk.last())
}

// pull asks a provider for what follows our final entry. What it sends are the hub's
// own words: entries prove themselves, whoever passes them on.
func (s *seat) pull(from int) {
	room, final := s.place.index, s.disk.state.Final.Head
	me := s.at
	if !s.speaksTo(name(from)) {
		return
	}
	me.send(from, func(q *provider) {
		t := q.seats[room].facing(me.self)
		at := uint64(0)
		if t.disk.holds(final) {
			at = final.Seq
		}
		head := t.disk.last()
		m := &hub.Message{Kind: hub.Append, From: t.signer(), To: me.self, Term: head.Term, Head: head,
			Entries: t.disk.between(at+1, head.Seq+1), Final: t.disk.state.Final}
		q.w.say("%s: room %d: passes on %s", q.self, room, said{m})
		q.send(me.index, func(*provider) { me.hear(room, q.self, m) })
	})
}

// signer is who has signed the end of the stored log.
func (s *seat) signer() hub.Provider {
	for i := len(s.disk.entries) - 1; ; i-- {
		if e := s.disk.entries[i]; e.Kind == hub.Change || e.Kind == hub.Create {
			return e.Hub
		}
	}
}
