package rooms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// replicaState is what a live room has beside its state where several providers decide:
// package hub's machine, the entries that are not final yet, and the signatures that
// the machine only counts. The room's goroutine owns it.
//
// The store's log, and all that follows from it, ends with what is final; the tail
// lies beside it. live.state is ahead of the log by the tail.
type replicaState struct {
	names *names
	cfg   *hub.Config
	m     hub.Machine

	final room.Position // where the log in the store ends
	now   standing      // as of there
	tail  []*room.Entry // from final.Next on
	size  int           // of tail, about, in bytes
	heads map[uint64]room.SignedHead
	turns []turn                          // those of the tail that change more than the position
	keys  map[room.Term]ed25519.PublicKey // by which the hubs of these terms sign

	signed  hub.Head                            // which this provider has co-signed last
	signs   map[hub.Provider][]room.CoSignature // of the present term, newest last
	votes   map[hub.Provider]room.SignedVote    // for the head and term that we stand with
	asked   map[hub.Provider]room.Hash          // which set candidates stand in
	voted   logstore.VotedSet                   // in which one we have voted
	absence bool                                // of the move that was heard last: the absence of others is acknowledged, too
	cert    *room.Certified                     // of final; nil if its hub alone decided
	offer   *room.Certified                     // a hub's, verified, that the machine has been told of

	moving *moving // an administrator's move that this provider has begun; nil otherwise

	request    []byte    // the administrator's commit that asks for this provider as hub
	released   room.Term // the term that this provider has released the room in, as tick has seen it
	releasedAt time.Time // when it saw it

	moved progress      // as of when pause began
	pause time.Duration // until it is said again what nobody answers; 0: nothing was yet

	made    []*room.Entry // by the machine in this step
	pending *room.Entry   // what the machine is to order in this step

	// Since the last write:
	dirty   bool
	keeping []string     // voters whose votes are written, too, see heard.go
	gone    []uint64     // places of the tail in the store that are to go
	fresh   uint64       // the first place of the tail that is not in the store
	effects []hub.Effect // to be performed when it is durable
	orders  []order      // submissions that were ordered
	waiting []order      // handshakes that are answered when they are final
}

// turn is an entry of the tail after which the room stands differently.
type turn struct {
	seq      uint64
	now      standing
	before   []room.Participant
	welcomes []welcome
	// cut: a provider stops following with the entry. It may read the log to there, so a
	// head of its own ends the log there, as with batch.cut.
	cut bool
}

// order is a submission, and what to answer.
type order struct {
	s   *submission
	res result
}

// names number the providers of a room for package hub.
type names struct {
	list []string // number 1 first
}

// Name returns the domain of a number.
func (n *names) Name(p hub.Provider) string {
	if p == 0 || int(p) > len(n.list) {
		return ""
	}
	return n.list[p-1]
}

// Number returns the number of a domain, which it gets if it has none.
func (n *names) Number(domain string) hub.Provider {
	if i := slices.Index(n.list, domain); i >= 0 {
		return hub.Provider(i + 1)
	}
	n.list = append(n.list, domain)
	return hub.Provider(len(n.list))
}

func (n *names) set(domains []string) hub.Set {
	var out []hub.Provider
	for _, d := range domains {
		out = append(out, n.Number(d))
	}
	return hub.SetOf(out...)
}

func domainsOf(list []room.Replica) []string {
	var out []string
	for _, x := range list {
		out = append(out, x.Domain)
	}
	return out
}

// replicated says whether more than the hub decides about a room.
func replicated(s *room.State) bool {
	now, next := s.Set()
	return len(now) != 1 || len(next) > 0 || now[0].Domain != s.Hub().Domain
}

// window is how many final entries a machine keeps to recognize what others send.
const window = 256

// config is what the machine knows of the room as it stands.
func (l *live) config(n *names) *hub.Config {
	now, next := l.state.Set()
	peers := slices.Concat(l.state.Providers(), domainsOf(now), domainsOf(next), []string{l.r.cfg.Domain})
	return &hub.Config{Self: n.Number(l.r.cfg.Domain), Peers: n.set(peers), Parties: n.set(l.state.Participating()), Window: window, Seal: l.seal,
		Manual: l.state.Hosting().Failover != room.FailoverAuto}
}

// seal names an entry that the machine orders: the pending submission, or one that
// the machine makes, with its proof.
func (l *live) seal(e *hub.Entry) room.Hash {
	rep := l.rep
	out := rep.pending
	if out == nil || e.Kind == hub.Change || e.Kind == hub.Settled {
		out = &room.Entry{Room: l.h.id, Term: e.Term, Seq: e.Seq, Prev: e.Prev}
		out.AcceptedAt = max(uint64(max(l.r.cfg.Now().UnixMilli(), 0)), l.lastTime())
		switch e.Kind {
		case hub.Change:
			out.Kind, out.Body = room.KindHubChange, l.changeBody(e)
			if e.Via == hub.ByMove {
				out.Txn = rep.moving.txn
				e.Txn = out.Txn
			}
		case hub.Settled:
			out.Kind, out.Body = room.KindSettled, l.settledBody(e)
		}
	}
	rep.made = append(rep.made, out)
	return out.Hash()
}

func (l *live) lastTime() uint64 {
	if n := len(l.rep.made); n > 0 {
		return l.rep.made[n-1].AcceptedAt
	}
	return l.state.At().AcceptedAt
}

// replicate makes the machine of a room whose log is final as it stands, and in which
// the next entry lets others decide.
func (l *live) replicate(ctx context.Context) error {
	return l.restart(ctx, hub.State{}, nil, nil, nil)
}

// openReplica reads a replicated room's machine and tail. The state is as of the log.
func (l *live) openReplica(ctx context.Context) error {
	n := new(names)
	var st hub.State
	var voted logstore.VotedSet
	var marks []hub.Mark
	var tail []*room.Entry
	var heads map[uint64]room.SignedHead
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		if st, voted, marks, err = logstore.ReadReplica(tx, l.h.id, n); err != nil {
			return err
		}
		tail, heads, err = logstore.Tail(tx, l.h.id, l.state.At().Next)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		if replicated(l.state) {
			return fmt.Errorf("room %s has replicas and nothing is stored of their votes: %w", l.h.id, logstore.ErrDamaged)
		}
		return nil
	}
	if err != nil {
		return err
	}
	return l.restart(ctx, st, marks, n, &stored{tail, heads, voted})
}

type stored struct {
	tail  []*room.Entry
	heads map[uint64]room.SignedHead
	voted logstore.VotedSet
}

// restart makes the machine from what is durable, lays the tail over the state, and
// does what the machine says first.
func (l *live) restart(ctx context.Context, st hub.State, marks []hub.Mark, n *names, tail *stored) error {
	fresh := n == nil
	if fresh {
		n = new(names)
	}
	at := l.state.At()
	rep := &replicaState{names: n, final: at, now: standingOf(l.state), heads: map[uint64]room.SignedHead{}, keys: map[room.Term]ed25519.PublicKey{},
		signs: map[hub.Provider][]room.CoSignature{}, votes: map[hub.Provider]room.SignedVote{}, asked: map[hub.Provider]room.Hash{}, fresh: at.Next}
	rep.now.parts = nil
	rep.keys[at.Term] = slices.Clone(l.state.HubKey())
	l.rep = rep
	rep.cfg = l.config(n)
	base, err := l.baseEntry(at)
	if err == nil {
		rep.cert, err = l.lastCertificate()
	}
	if err != nil {
		l.rep = nil
		return err
	}
	if fresh {
		now, _ := l.state.Set()
		self := n.Number(l.state.Hub().Domain)
		marks = []hub.Mark{{From: base.Seq, Old: n.set(domainsOf(now)), Hub: self, Handshake: base.Head()}}
		st = hub.State{Seen: at.Term, Final: hub.Certificate{Head: base.Head(), Signers: hub.SetOf(self)}}
	}
	var entries []*hub.Entry
	if tail != nil {
		rep.heads, rep.voted = tail.heads, tail.voted
		for _, e := range tail.tail {
			step, err := l.state.Check(e)
			if err == nil {
				var h *hub.Entry
				h, err = l.advanceTail(step, nil)
				entries = append(entries, h)
			}
			if err != nil {
				l.rep = nil
				return fmt.Errorf("laying unfinal entry %d over the room: %w", e.Seq, err)
			}
		}
		rep.fresh = l.state.At().Next
	}
	log := hub.Resume(marks, base, entries...)
	var effects []hub.Effect
	restored, err := l.r.restored(l.h.id)
	if err != nil {
		l.rep = nil
		return err
	}
	rep.m, effects = hub.Restart(rep.cfg, hub.Durable{State: st, Log: log}, restored)
	rep.effects = append(rep.effects, effects...)
	rep.dirty = fresh
	if err := l.convictAgain(); err != nil {
		l.rep = nil
		return err
	}
	l.refreeze()
	if h := l.state.Hub().Domain; l.accusedHub() == h || l.failed(h) || l.stalled(h) {
		l.contend()
	} else {
		l.doubt() // of many rooms of a dead hub each has its turn
	}
	return nil
}

// baseEntry is the last final entry as the machine knows it.
func (l *live) baseEntry(at room.Position) (*hub.Entry, error) {
	var e *room.Entry
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		e, err = logstore.ReadEntry(tx, l.h.id, at.Next-1)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &hub.Entry{Term: e.Term, Seq: e.Seq, Prev: e.Prev, Hash: at.Last, Kind: hub.Ordinary, Txn: e.Txn}, nil
}

// lastCertificate is that of the end of the log.
func (l *live) lastCertificate() (c *room.Certified, err error) {
	err = l.r.cfg.Store.View(func(tx *store.Tx) error {
		for b, err := range logstore.LastBatches(tx, l.h.id) {
			if err == nil && b.Cert != nil {
				c = &room.Certified{Head: b.Head, Certificate: *b.Cert}
			}
			return err
		}
		return nil
	})
	return c, err
}

// advanceTail adopts a checked entry at the end of the tail, and returns it as the
// machine knows it.
func (l *live) advanceTail(st *room.Step, welcomes []welcome) (*hub.Entry, error) {
	rep, e := l.rep, st.Entry
	changing, providers := l.state.Changing(), l.state.Participating()
	var readers []string
	if e.Kind != room.KindMessage {
		readers = l.state.Providers()
	}
	before, lead := l.state.Participants(), l.state.Lead()
	adopted := l.entering(st)
	if err := l.state.Advance(st); err != nil {
		return nil, err
	}
	adopted()
	rep.tail = append(rep.tail, e)
	rep.size += sizeOf(e)
	now, next := l.state.Set()
	out := &hub.Entry{Term: e.Term, Seq: e.Seq, Prev: e.Prev, Hash: l.state.At().Last, Kind: hub.Ordinary, Txn: e.Txn}
	switch e.Kind {
	case room.KindHandshake:
		out.Kind = hub.Handshake
		if !changing && len(next) > 0 {
			out.Set = rep.names.set(domainsOf(next))
		}
	case room.KindHubChange:
		c, err := room.ParseHubChange(e.Body)
		if err != nil {
			return nil, err
		}
		out.Kind, out.Hub, out.Via = hub.Change, rep.names.Number(c.Hub.Domain), hub.Via(c.Via)
		l.noteChange(c, &lead)
		for i := range c.Votes {
			if v := &c.Votes[i]; l.ballots.Has(v) {
				l.heard(v) // in case that the entry is set aside
			}
		}
		for _, v := range c.Votes {
			out.Voters = out.Voters.With(rep.names.Number(v.Voter))
		}
		for _, a := range c.Acks {
			out.Voters = out.Voters.With(rep.names.Number(a.Provider))
		}
		out.Liars = numbers(rep.names, c.Lies)
		if c.Via == room.ByMove {
			// Whoever reads this later may take part since then, and was not asked.
			out.Of = rep.names.set(providers)
		}
		if c.Via != room.ByVotes {
			out.Set = rep.names.set(domainsOf(now))
		}
		rep.keys[e.Term] = slices.Clone(l.state.HubKey())
	case room.KindSettled:
		c, err := room.ParseSettled(e.Body)
		if err != nil {
			return nil, err
		}
		out.Kind = hub.Settled
		for _, s := range c.Certificate.Signers {
			out.Voters = out.Voters.With(rep.names.Number(s.Domain))
		}
	}
	if e.Kind != room.KindMessage {
		rep.turns = append(rep.turns, turn{seq: e.Seq, now: standingOf(l.state), before: before, welcomes: welcomes,
			cut: len(without(readers, l.state.Providers())) > 0})
		if c := st.Commit(); c != nil {
			l.adds.note(l.state.GroupInfo().Context.TreeHash, room.AddedClients(c), l.state.At())
		}
		rep.cfg = l.config(rep.names)
		rep.m = rep.m.WithConfig(rep.cfg)
	}
	return out, nil
}

// step gives the machine an event and keeps what it wants done until that is durable.
func (l *live) step(ev hub.Event) []hub.Effect {
	m, effects := l.rep.m.Step(ev)
	l.adoptStep(m, effects)
	return effects
}

func (l *live) adoptStep(m hub.Machine, effects []hub.Effect) {
	l.contest.follow(&l.rep.m, &m, time.Now())
	l.rep.m = m
	l.rep.effects = append(l.rep.effects, effects...)
	for _, e := range effects {
		if e.Kind == hub.Write {
			l.rep.dirty = true
		}
	}
}

// own takes the entries that the machine has made into state and tail. They were
// checked as a follower will check them.
func (l *live) own(welcomes []welcome, checked *room.Step) error {
	made := l.rep.made
	l.rep.made, l.rep.pending = nil, nil
	for _, e := range made {
		st := checked
		if st == nil || st.Entry != e {
			var err error
			if st, err = l.state.Check(e); err != nil {
				return fmt.Errorf("this hub's own %s: %w", e.Kind, err)
			}
		}
		readers, lead := l.state.Providers(), l.state.Lead()
		if _, err := l.advanceTail(st, welcomes); err != nil {
			return err
		}
		if e.Kind == room.KindSettled || e.Kind == room.KindHubChange {
			if err := l.dismiss(e, without(readers, l.state.Providers()), lead.Began); err != nil {
				return err
			}
		}
		welcomes = nil
	}
	return nil
}

// position is where the log stands before a place of the tail, or after its end.
func (rep *replicaState) position(seq uint64) room.Position {
	if seq == rep.final.Next {
		return rep.final
	}
	e := rep.tail[seq-1-rep.final.Next]
	return room.Position{Term: e.Term, Next: e.Seq + 1, Last: e.Hash(), AcceptedAt: e.AcceptedAt}
}

// end is the place after the tail.
func (rep *replicaState) end() uint64 { return rep.final.Next + uint64(len(rep.tail)) }

// busy says whether something is under way that a room's goroutine has to see to.
func (rep *replicaState) busy() bool {
	switch rep.m.Role() {
	case hub.Follower, hub.Hub:
		if rep.m.State().Restored {
			return true
		}
		return len(rep.tail) > 0 || len(rep.waiting) > 0
	}
	return true
}

// key is the key by which this provider signs in this room: the one that the replica
// set names.
func (l *live) key() (ed25519.PrivateKey, error) {
	x, ok := l.state.Replica(l.r.cfg.Domain)
	if !ok {
		return nil, fmt.Errorf("%s is no replica of room %s", l.r.cfg.Domain, l.h.id)
	}
	return l.r.signer(x.ProviderKey[:])
}
