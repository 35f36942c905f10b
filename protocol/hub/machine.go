package hub

import (
	"slices"

	"github.com/mimid/mimid/protocol/room"
)

// A Config is what a machine knows from the start. It is shared by all copies of
// the machine and never written.
type Config struct {
	Self Provider
	// Peers are all providers that keep the room, ourselves included. They get
	// what the hub orders.
	Peers Set
	// Parties are those of Peers of which a majority can move the room: a replica that
	// was recruited is none of them. Empty: all of Peers.
	Parties Set
	// Seal computes the hash of an entry that the machine makes. It is a pure
	// function of the other fields.
	Seal func(*Entry) room.Hash
	// Window is how many entries below the newest final one stay in memory at least;
	// 0 for all. See the package doc for what the caller does for those that do not.
	Window int
	// Manual says that nobody takes the room over because of a suspicion: only an
	// admin, or its hub, moves it.
	Manual bool
}

// A Role is what a machine is doing.
type Role uint8

// Roles.
const (
	Follower  Role = iota
	Canvasser      // asks whether it would be voted for
	Candidate      // asks for votes
	Mover          // asks for acknowledgements of an admin's move
	Hub
	Releasing // was hub, has released the room and repeats that
	Waiting   // was refused for a higher term, and stands again above it
)

// A Machine is one provider's view of who orders a room. It is a value: Step
// returns the next one and never writes to memory that an earlier one shares.
// Anything may be done with a copy.
type Machine struct {
	cfg   *Config
	state State
	log   Log

	role     Role
	leads    room.Term // Hub: in which term
	leader   Provider  // whom we have heard in term Seen, 0 if nobody
	suspects bool
	excuse   Excuse
	taken    room.Term // the highest that we know others to stand in, whom we refused
	votes    Set       // Canvasser, Candidate, Mover: who has said yes
	acks     []ack     // Hub: what others have co-signed in this term, by provider
	commit   Set       // Mover: the set that the admin's commit makes
	on       Head      // Mover: the handshake that it extends
	lied     Set       // Mover: whose lies the Change can prove
	answered Set       // Restored or Unsure: who has answered
	twofaced Set       // stopped: who has certified both histories in one term, as far as the caller knows
}

type ack struct {
	by  Provider
	seq uint64
}

// step collects the effects of one event.
type step struct {
	Machine
	kept    int // entries of the durable log that are still in the log
	effects []Effect
}

// Restart returns the machine of a provider that starts with what is durable,
// and what it says first. restored says that it comes from a backup, so that
// signatures may exist which it does not remember.
func Restart(cfg *Config, d Durable, restored bool) (Machine, []Effect) {
	s := step{Machine: Machine{cfg: cfg, state: d.State, log: d.Log}, kept: d.Log.Len()}
	if restored && !(s.state.Unsure && !s.state.Restored) && mutant != restoredSigns {
		s.state.Restored, s.state.Unsure = true, true
		s.write()
	}
	last := s.log.Last()
	if s.state.Unsure && !s.state.Restored {
		s.ask()
	}
	switch {
	case s.state.Restored:
		s.ask()
	case s.stopped():
	case s.log.Hub() == cfg.Self && last.Term == s.state.Seen && s.state.Seen.Compare(s.state.Lost) > 0:
		// An old hub that returns before anyone voted simply goes on. What it
		// may have signed is in its log, since it stores first.
		s.role, s.leads, s.leader = Hub, last.Term, cfg.Self
		s.publish(s.state.Final.Head.Seq)
	case s.given() || s.state.Vote.Release && s.state.Vote.Term == s.state.Seen && last.Term != s.state.Seen:
		// Nobody has been heard as hub of the term that was given away.
		s.role = Releasing
		s.release()
	}
	return s.Machine, s.effects
}

// Step takes an event and returns the machine after it with the effects to
// perform, in their order.
func (m Machine) Step(ev Event) (Machine, []Effect) {
	s := step{Machine: m, kept: m.log.Len()}
	if s.stopped() {
		s.frozen(ev)
		return s.Machine, s.effects
	}
	switch ev.Kind {
	case Deliver:
		if ev.Message != nil {
			s.deliver(ev.Message)
		}
	case Submit:
		s.submit(ev)
	case Suspect:
		s.suspect()
	case Doubt:
		s.doubt()
	case Resend:
		s.resend()
	case HandOver:
		s.handOver(ev.Target)
	case MoveHere:
		s.moveHere(ev.Set, ev.Term, ev.Liars)
	case Request:
		if s.role != Hub && s.may() {
			s.stand(Asked)
		}
	case Contradict:
		if ev.Head.Term.Era >= s.log.Last().Term.Era { // else an administrator has chosen already
			s.twofaced = ev.Set
			s.stop(s.state.Final.Head, ev.Head)
		}
	}
	if s.role == Follower && s.given() && !s.state.Restored {
		s.role = Releasing // whatever term we have heard of: nobody else can repeat it
	}
	if s.cfg.Window > 0 {
		s.log = s.log.trim(s.state.Final.Head.Seq, s.cfg.Window)
	}
	return s.Machine, s.effects
}

// WithConfig returns the machine with another configuration, for when the providers
// that keep the room have changed. Self stays the same.
func (m Machine) WithConfig(cfg *Config) Machine {
	m.cfg = cfg
	return m
}

func (s *step) deliver(m *Message) {
	if !s.plausible(m.Term) || !s.plausible(m.Seen) {
		return
	}
	if m.From == s.cfg.Self || s.state.Liars.Has(m.From) && m.Kind != Convict {
		return // a proven liar counts as failed
	}
	switch m.Kind {
	case Append:
		s.onAppend(m)
	case CoSign:
		s.onCoSign(m)
	case Certify:
		s.onCertify(m)
	case Refuse:
		s.onRefuse(m)
	case Need:
		s.onNeed(m)
	case AskVote:
		s.onAskVote(m)
	case Would:
		s.onWould(m)
	case Stand:
		s.onStand(m)
	case Grant:
		s.onGrant(m)
	case Release:
		s.onRelease(m)
	case Move:
		s.onMove(m)
	case Ack:
		s.onAck(m)
	case Ask:
		s.onAsk(m)
	case Answer:
		s.onAnswer(m)
	case Convict:
		s.convict(m.Proof)
	}
}

// reach is how far above ours another's era or number may be. Each step takes an
// election, so nobody honest is further ahead; without a bound one message would
// bring us to the last term that can be written, and no hub could follow.
const reach = 1 << 20

func (s *step) plausible(t room.Term) bool {
	if t.Era != s.state.Seen.Era {
		return t.Era <= s.state.Seen.Era+reach && t.Number <= reach
	}
	return t.Number <= s.state.Seen.Number+reach
}

// State returns the durable state as the machine has it in memory.
func (m *Machine) State() State { return m.state }

// Log returns the log as the machine has it in memory.
func (m *Machine) Log() Log { return m.log }

// Role returns what the machine is doing.
func (m *Machine) Role() Role { return m.role }

// Leader returns the hub that the machine knows in its present term, itself
// included, 0 if it knows none.
func (m *Machine) Leader() Provider { return m.leader }

// Heard counts what others have answered in the present role: it changes when one of
// them says what it had not said, and not when it says it again. That is for whoever
// decides how soon to give Resend.
func (m *Machine) Heard() uint64 {
	n := uint64(len(m.votes) + len(m.answered))
	for _, a := range m.acks {
		n += a.seq + 1
	}
	return n
}

func (s *step) stopped() bool        { return s.state.Fork != [2]Head{} }
func (s *step) effect(e Effect)      { s.effects = append(s.effects, e) }
func (s *step) isReplica() bool      { return s.log.now().replicas().Has(s.cfg.Self) }
func (s *step) quorum(have Set) bool { return s.log.now().quorum(have, s.state.Final.Head.Seq) }

// write makes everything so far durable before whatever follows.
func (s *step) write() {
	s.effect(Effect{Kind: Write, Store: s.stored()})
}

func (s *step) stored() *Store {
	st := &Store{State: s.state, Keep: s.kept, Entries: s.log.After(uint64(s.kept) - 1)}
	s.kept = s.log.Len()
	return st
}

func (s *step) send(to Provider, m Message) {
	if to == s.cfg.Self {
		return
	}
	m.From, m.To = s.cfg.Self, to
	s.effect(Effect{Kind: Send, Message: &m})
}

func (s *step) sendAll(to Set, m Message) {
	for _, p := range to {
		s.send(p, m)
	}
}

// follow ends any role.
func (s *step) follow(leader Provider) {
	s.role, s.leader, s.leads = Follower, leader, room.Term{}
	s.votes, s.acks, s.commit, s.on, s.lied, s.excuse = nil, nil, nil, Head{}, nil, NoExcuse
	s.suspects = false
}

// believes reports whether another's word is enough for a term. Within an era it is: the
// next election is above it. A later era is believed only from the log that goes on in it,
// or from the commit that begins it (Move): nobody stands for hub who has seen a later era
// than its log is in (may), so that a word about one would have the room stand still.
func (s *step) believes(t room.Term) bool {
	return t.Era <= max(s.log.Last().Term.Era, s.state.Seen.Era) || mutant == eraUnproven
}

// raise adopts a higher term, in which no hub is known yet.
func (s *step) raise(t room.Term) {
	if t.Compare(s.state.Seen) > 0 {
		s.follow(0)
		s.state.Seen = t
	}
}

func (m *Machine) acked(p Provider) (uint64, bool) {
	for _, a := range m.acks {
		if a.by == p {
			return a.seq, true
		}
	}
	return 0, false
}

func (m *Machine) ackedBy(seq uint64) Set {
	s := Set{m.cfg.Self}
	for _, a := range m.acks {
		if a.seq >= seq {
			s = s.With(a.by)
		}
	}
	return s
}

func (m *Machine) noteAck(p Provider, seq uint64) bool {
	i, found := slices.BinarySearchFunc(m.acks, p, func(a ack, p Provider) int { return int(a.by) - int(p) })
	if found && m.acks[i].seq >= seq {
		return false
	}
	acks := slices.Clone(m.acks)
	if found {
		acks[i].seq = seq
	} else {
		acks = slices.Insert(acks, i, ack{p, seq})
	}
	m.acks = acks
	return true
}
