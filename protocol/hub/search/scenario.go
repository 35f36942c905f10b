package search

import (
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// A budget bounds what goes wrong, and what is asked for, in one history.
type budget struct {
	Crash     int8 // crashes, each before or after any durable write
	Duplicate int8 // messages that arrive twice
	Suspect   int8 // suspicions, with asking around
	Doubt     int8 // suspicions without asking anybody
	Request   int8 // elections without asking around
	Resend    int8
	HandOver  int8
	Move      int8 // admin moves
	Lie       int8 // times that a hub orders two things at one place
	Restore   int8 // restarts from the backup, which was made at the start
	Show      int8 // times that a provider is shown the other history (Scenario.Conflict)
	Claim     int8 // times that the Claimant says it has seen a later era, which nobody has begun
}

func (b budget) fold() uint64 {
	x := uint64(0) // 16 of 4 bits
	for _, n := range [...]int8{b.Claim, b.Show, b.Doubt, b.Crash, b.Duplicate, b.Suspect, b.Request, b.Resend, b.HandOver, b.Move, b.Lie, b.Restore} {
		x = x<<4 | uint64(n&15)
	}
	return x
}

// A Scenario is a room at its beginning and what may happen to it.
type Scenario struct {
	Name  string
	Nodes int     // providers, numbered from 1; all keep the room
	Set   hub.Set // replica set; 1 is hub
	// Submissions are the client's, in this order. Those with a Set change the
	// replica set.
	Submissions []hub.Event
	Targets     hub.Set // HandOver goes to these
	Standing    hub.Set // who may be Requested or Suspect; nil: all
	MoveSet     func(to hub.Provider) hub.Set
	Movers      hub.Set
	// Parties are asked to acknowledge a move (hub.Config); nil: all.
	Parties hub.Set
	// Lossy: moves lose by design what only those knew to be final whom nobody asks, the
	// replaced hub and Unasked. Then the invariants are those of check.go for such moves.
	Lossy   bool
	Unasked hub.Set
	// Conflict: the first two providers have each another final entry. Those who have signed
	// both, most of the set, are not in the world: numbers above Nodes.
	Conflict bool
	// Claimant says what is not so, as far as its Budget goes (claim.go), and is honest else. One
	// above Nodes is a replica that is known to have lied: it was the room's hub, 1 is since,
	// and now it says yes to everybody, whatever that contradicts.
	Claimant hub.Provider
	// Split: it was not replaced, but has shown each of the first two another final history.
	Split  bool
	Budget budget
	// Window is that of the machines (hub.Config); the world does what their callers owe them.
	Window int
	// Past is how many messages the room has had. They are final; the last provider has
	// missed them.
	Past  int
	Quiet bool // certificates travel with entries only
	Limit int  // states to look at, 0: all
	Calm  int  // every how many states to see whether the room comes to rest with all that was accepted; 0: never
}

func message(i int) hub.Event { return hub.Event{Kind: hub.Submit, Txn: txn(i)} }

func messages(n int) []hub.Event {
	var out []hub.Event
	for i := range n {
		out = append(out, hub.Event{Kind: hub.Submit, Txn: txn(i + 1)})
	}
	return out
}

// change makes the i-th submission a commit that names a new set.
func change(i int, set hub.Set) hub.Event {
	return hub.Event{Kind: hub.Submit, Txn: txn(i), Handshake: true, Set: set}
}

func (s *Scenario) start() *world {
	w := &world{left: s.Budget, past: &past{}}
	peers := hub.Set{}
	for i := range s.Nodes {
		peers = peers.With(hub.Provider(i + 1))
	}
	first := &hub.Entry{Kind: hub.Create, Set: s.Set, Hub: s.Set[0]}
	if s.liar() {
		first.Hub = s.Claimant
	}
	first.Term.Number = 1
	first.Hash = seal(first)
	d := hub.Durable{Log: hub.Begin(first)}
	d.State.Seen = first.Term
	d.State.Final = hub.Certificate{Head: first.Head(), Signers: s.Set}
	w.past.finals = append(w.past.finals, final{first.Hash, first.Term})
	w.past.leads = []lead{{first.Term, first.Hub, d.Log}}
	behind := d
	for i := range s.Past {
		last := d.Log.Last()
		e := &hub.Entry{Kind: hub.Ordinary, Term: last.Term, Seq: last.Seq + 1, Prev: last.Hash, Txn: txn(200 + i)}
		e.Hash = seal(e)
		st := d.State
		st.Final = hub.Certificate{Head: e.Head(), Signers: s.Set}
		d = d.Apply(&hub.Store{State: st, Keep: d.Log.Len(), Entries: []*hub.Entry{e}})
		w.past.finals = append(w.past.finals, final{e.Hash, e.Term})
	}
	for i := range s.Nodes {
		cfg := &hub.Config{Self: hub.Provider(i + 1), Peers: peers, Seal: seal, Window: s.Window, Parties: s.Parties}
		own := d
		if i == s.Nodes-1 {
			own = behind
		}
		switch {
		case s.Conflict && s.liar() && !s.Split:
			own = s.goOn(s.conflicting(d, 0))
		case s.Conflict && i < 2:
			own = s.conflicting(d, i)
			if s.Split && i == 1 { // the longer one: a move that takes the newest log must not take it for that
				own = s.conflicting(own, i+1)
			}
		}
		m, _ := hub.Restart(cfg, durable(cfg, own), false)
		n := &node{m: m, d: own, up: true, back: &own}
		n.cfg = cfg
		n.seal()
		w.nodes[i] = n
	}
	for _, ev := range s.Submissions {
		w.out = w.out.Add(ev)
	}
	w.pastFP = w.past.digest()
	return w
}

// conflicting is the i-th of two histories that are both final.
func (s *Scenario) conflicting(d hub.Durable, i int) hub.Durable {
	last := d.Log.Last()
	e := &hub.Entry{Kind: hub.Ordinary, Term: last.Term, Seq: last.Seq + 1, Prev: last.Hash, Txn: txn(210 + i)}
	e.Hash = seal(e)
	st := d.State
	st.Final = hub.Certificate{Head: e.Head(), Signers: s.Set}
	return d.Apply(&hub.Store{State: st, Keep: d.Log.Len(), Entries: []*hub.Entry{e}})
}

// liar says whether the Claimant is one whose lie is known.
func (s *Scenario) liar() bool { return int(s.Claimant) > s.Nodes }

// lies are whom an administrator's commit can prove to have lied.
func (s *Scenario) lies() hub.Set {
	if s.liar() {
		return hub.Set{s.Claimant}
	}
	return nil
}

// goOn lets 1 order a room in place of the liar, by all other votes.
func (s *Scenario) goOn(d hub.Durable) hub.Durable {
	last, st := d.Log.Last(), d.State
	e := &hub.Entry{Kind: hub.Change, Term: room.Term{Number: last.Term.Number + 1}, Seq: last.Seq + 1, Prev: last.Hash, Hub: 1, Via: hub.ByVotes,
		Voters: s.Set.Without(s.Claimant)}
	e.Hash = seal(e)
	st.Seen = e.Term
	st.Final = hub.Certificate{Head: e.Head(), Signers: e.Voters}
	return d.Apply(&hub.Store{State: st, Keep: d.Log.Len(), Entries: []*hub.Entry{e}})
}

// other returns the head of the final history that contradicts what a provider knows to be
// final, if there is one.
func (s *Scenario) other(n *node) (hub.Head, bool) {
	if !s.Conflict || n.m.State().Final.Head.Seq == 0 {
		return hub.Head{}, false
	}
	begin := hub.Begin(n.d.Log.At(0))
	for i := range 2 {
		d := s.conflicting(hub.Durable{Log: begin}, i)
		if head := d.Log.Last(); !n.d.Log.Holds(head) {
			return head, true
		}
	}
	return hub.Head{}, false
}

// compared is a Move as its receiver's caller has compared the log that it continues with its own.
func compared(m *hub.Message, mine, theirs hub.Log) *hub.Message {
	var common hub.Head
	if mine.Holds(m.Final.Head) {
		return m // it goes on from what is final here, or shows that it does not when it is taken
	}
	for seq := uint64(0); mine.At(seq) != nil && theirs.At(seq) != nil; seq++ {
		if mine.At(seq).Hash != theirs.At(seq).Hash {
			c := *m
			c.Common = common
			return &c
		}
		common = mine.At(seq).Head()
	}
	return m
}
