package hub_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// run does commands in a new room of three replicas.
func run(set string, commands ...string) *world {
	w := begin(parseSet("ABC"), parseSet(set))
	for _, c := range commands {
		w.do(c)
	}
	return w
}

// rejects performs an event and returns why it was rejected.
func (w *world) rejects(p hub.Provider, ev hub.Event) error {
	m, effects := w.step(p, ev)
	w.m[p] = m
	for _, e := range effects {
		if e.Kind == hub.Rejected {
			return e.Why
		}
	}
	return nil
}

func TestRejections(t *testing.T) {
	submit := hub.Event{Kind: hub.Submit, Txn: number("9")}
	commit := hub.Event{Kind: hub.Submit, Txn: number("9"), Handshake: true}
	for _, c := range []struct {
		name string
		w    *world
		at   hub.Provider
		ev   hub.Event
		want error
	}{
		{"a follower takes nothing", run("ABC"), 2, submit, hub.ErrNotHub},
		{"a releasing hub takes nothing", run("ABC", "handover A B"), 1, submit, hub.ErrNotHub},
		{"a second handshake waits", run("ABC", "handshake A 1"), 1, commit, hub.ErrWait},
		{"a message does not wait", run("ABC", "handshake A 1"), 1, submit, nil},
		{"a handshake waits for settled", run("ABC", "handshake A 1 ABD", "deliver A>B", "deliver B>A"), 1, commit, hub.ErrWait},
		{"a stranger does not become hub", run("ABC"), 1, hub.Event{Kind: hub.HandOver, Target: 4}, hub.ErrTarget},
		{"nor one that is no replica", run("ABC", "handshake A 1 AB", "deliver"), 1, hub.Event{Kind: hub.HandOver, Target: 3}, hub.ErrTarget},
	} {
		if got := c.w.rejects(c.at, c.ev); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// deliver hands a message to a machine and returns the effects.
func (w *world) tell(m hub.Message) []hub.Effect {
	next, effects := w.step(m.To, hub.Event{Kind: hub.Deliver, Message: &m})
	w.m[m.To] = next
	return effects
}

func has(effects []hub.Effect, k hub.EffectKind) bool {
	for _, e := range effects {
		if e.Kind == k {
			return true
		}
	}
	return false
}

func sends(effects []hub.Effect, k hub.MessageKind) *hub.Message {
	for _, e := range effects {
		if e.Kind == hub.Send && e.Message.Kind == k {
			return e.Message
		}
	}
	return nil
}

// TestStopped: a second certificate at a final place stops the room for good.
func TestStopped(t *testing.T) {
	w := run("ABC", "submit A 1", "deliver")
	other := hub.Head{Term: term(0, 1), Seq: 1, Hash: room.Hash{1}}
	minority := hub.Message{Kind: hub.Certify, From: 3, To: 2, Final: hub.Certificate{Head: other, Signers: hub.SetOf(3)}}
	if got := w.tell(minority); len(got) != 0 {
		t.Fatalf("one signer made the machine do %v", got)
	}
	both := minority
	both.Final.Signers = hub.SetOf(1, 3)
	if got := w.tell(both); !has(got, hub.Stopped) || got[0].Kind != hub.Write {
		t.Fatalf("a second final history led to %v", got)
	}
	if err := w.rejects(2, hub.Event{Kind: hub.Submit}); !errors.Is(err, hub.ErrStopped) {
		t.Errorf("a stopped room answers %v", err)
	}
	m := w.m[2]
	m, _ = hub.Restart(w.cfg[2], hub.Durable{State: m.State(), Log: m.Log()}, false)
	if _, effects := m.Step(hub.Event{Kind: hub.Request}); len(effects) != 0 {
		t.Errorf("a stopped room does %v after a restart", effects)
	}
}

func term(era uint32, n uint64) room.Term { return room.Term{Era: era, Number: n} }

// TestVotedTwice: B has voted for C in term 2, and then A's Change says that it
// voted for A.
func TestVotedTwice(t *testing.T) {
	w := begin(parseSet("ABCDE"), parseSet("ABCDE"))
	w.do("stand C")
	m := w.m[3]
	log := m.Log()
	head := log.Last()
	w.tell(hub.Message{Kind: hub.Grant, From: 2, To: 3, Term: term(0, 2), Head: head, Grant: true, Seen: term(0, 2)})
	e := &hub.Entry{Term: term(0, 2), Seq: 1, Prev: head.Hash, Kind: hub.Change, Via: hub.ByVotes, Hub: 4, Voters: hub.SetOf(1, 2, 4)}
	e.Hash = seal(e)
	got := w.tell(hub.Message{Kind: hub.Append, From: 4, To: 3, Term: e.Term, Head: e.Head(), Entries: []*hub.Entry{e}})
	for _, x := range got {
		if x.Kind == hub.Convicted {
			if x.Proof.Liar != 2 || !x.Proof.Votes || x.Proof.Term != e.Term {
				t.Errorf("the proof is %+v", x.Proof)
			}
			return
		}
	}
	t.Errorf("two votes in a term led to %v", got)
}

// TestChainIsChecked: what only the log can tell is checked before anything is
// stored.
func TestChainIsChecked(t *testing.T) {
	first := run("ABC").back.Log.Last()
	next := hub.Entry{Term: term(0, 1), Seq: 1, Prev: first.Hash, Kind: hub.Ordinary, Txn: number("1")}
	change := hub.Entry{Term: term(0, 2), Seq: 1, Prev: first.Hash, Kind: hub.Change, Via: hub.ByVotes, Hub: 2, Voters: hub.SetOf(2, 3)}
	for _, c := range []struct {
		name string
		from hub.Provider
		e    hub.Entry
		edit func(*hub.Entry)
		ok   bool
	}{
		{"the hub's next entry", 1, next, func(*hub.Entry) {}, true},
		{"another's", 2, next, func(*hub.Entry) {}, false},
		{"a second create", 1, next, func(e *hub.Entry) { e.Kind, e.Set, e.Hub = hub.Create, hub.SetOf(1), 1 }, false},
		{"an unknown kind", 1, next, func(e *hub.Entry) { e.Kind = hub.Settled + 1 }, false},
		{"a term without a change", 1, next, func(e *hub.Entry) { e.Term = term(0, 2) }, false},
		{"a settling of nothing", 1, next, func(e *hub.Entry) { e.Kind, e.Voters = hub.Settled, hub.SetOf(1, 2, 3) }, false},
		{"a change by a majority", 2, change, func(*hub.Entry) {}, true},
		{"a change by one", 2, change, func(e *hub.Entry) { e.Voters = hub.SetOf(2) }, false},
		{"by two of whom one is a stranger", 2, change, func(e *hub.Entry) { e.Voters = hub.SetOf(2, 4) }, false},
		{"of a stranger", 4, change, func(e *hub.Entry) { e.Hub = 4 }, false},
		{"with a set", 2, change, func(e *hub.Entry) { e.Set = hub.SetOf(2) }, false},
		{"in no higher term", 2, change, func(e *hub.Entry) { e.Term = term(0, 1) }, false},
		{"by a release in a set of three", 2, change, func(e *hub.Entry) { e.Via, e.Set = hub.ByRelease, hub.SetOf(2) }, false},
		{"by a move without a set", 2, change, func(e *hub.Entry) { e.Via = hub.ByMove }, false},
		{"by a move with the old hub's word", 2, change, func(e *hub.Entry) { e.Via, e.Set, e.Voters = hub.ByMove, hub.SetOf(2), hub.SetOf(1, 2) }, false},
		{"by a move with all others", 2, change, func(e *hub.Entry) { e.Via, e.Set = hub.ByMove, hub.SetOf(2) }, true},
		{"in no known way", 2, change, func(e *hub.Entry) { e.Via = 9 }, false},
	} {
		w := run("ABC")
		e := c.e
		c.edit(&e)
		e.Hash = seal(&e)
		got := w.tell(hub.Message{Kind: hub.Append, From: c.from, To: 3, Term: e.Term, Head: e.Head(), Entries: []*hub.Entry{&e}})
		if stored := has(got, hub.Write); stored != c.ok {
			t.Errorf("%s: stored %v, want %v", c.name, stored, c.ok)
		}
	}
}

// TestVoter: when a vote is given.
func TestVoter(t *testing.T) {
	for _, c := range []struct {
		name string
		w    *world
		edit func(*hub.Message)
		want bool
	}{
		{"asked for by an admin", run("ABC"), func(*hub.Message) {}, true},
		{"without suspicion", run("ABC"), func(m *hub.Message) { m.Excuse = hub.NoExcuse }, false},
		{"with suspicion", run("ABC", "suspect C"), func(m *hub.Message) { m.Excuse = hub.NoExcuse }, true},
		{"in a term that is known", run("ABC"), func(m *hub.Message) { m.Term = term(0, 1) }, true},
		{"in a lower one", run("ABC"), func(m *hub.Message) { m.Term = term(0, 0) }, false},
		{"after voting for another", run("ABC", "stand C"), func(*hub.Message) {}, false},
		{"for a log that is behind", run("ABC", "submit A 1", "deliver A>C"), func(*hub.Message) {}, false},
		{"for another log at a final place", run("ABC", "submit A 1", "deliver"), func(m *hub.Message) { m.Head = hub.Head{Term: term(0, 1), Seq: 1} }, false},
		{"for a log of another era", run("ABC"), func(m *hub.Message) { m.Term = term(1, 2) }, false},
		{"from a backup", run("ABC", "crash C", "restore C"), func(*hub.Message) {}, false},
		{"for a proven liar", run("ABC", "lie A 8", "deliver A>C", "submit A 9", "deliver A>C", "deliver A>C"),
			func(m *hub.Message) { m.From, m.Head.Seq = 1, 9 }, false},
		{"in a term out of reach", run("ABC"), func(m *hub.Message) { m.Term = term(0, 1<<63) }, false},
		{"in an era out of reach", run("ABC"), func(m *hub.Message) { m.Term, m.Head.Term = term(1<<31, 1), term(1<<31, 1) }, false},
	} {
		m := hub.Message{Kind: hub.Stand, From: 2, To: 3, Term: term(0, 2), Head: c.w.back.Log.Last(), Excuse: hub.Asked}
		c.edit(&m)
		effects := c.w.tell(m)
		g := sends(effects, hub.Grant)
		if got := g != nil && g.Grant; got != c.want {
			t.Errorf("%s: vote %v, want %v", c.name, got, c.want)
		}
		if c.want && effects[0].Kind != hub.Write {
			t.Errorf("%s: the vote was sent before it was written", c.name)
		}
	}
}

// TestOutbox: submissions go to every new hub until they are final; a handshake
// goes once.
func TestOutbox(t *testing.T) {
	var o hub.Outbox
	o = o.Add(hub.Event{Kind: hub.Submit, Txn: number("1")}).Add(hub.Event{Kind: hub.Submit, Txn: number("2"), Handshake: true})
	one, two := term(0, 1), term(0, 2)
	if got := o.Due(one); len(got) != 2 {
		t.Fatalf("%d are due at first, want both", len(got))
	}
	sent := o.Sent(number("1"), one).Sent(number("2"), one)
	if got := sent.Due(one); len(got) != 0 {
		t.Errorf("%v are due again at the same hub", got)
	}
	if got := sent.Due(two); len(got) != 1 || got[0].Txn != number("1") {
		t.Errorf("%v are due at a new hub, want the message", got)
	}
	if got := o.Due(one); len(got) != 2 {
		t.Errorf("an earlier outbox has changed")
	}
	w := run("ABC", "submit A 1", "deliver")
	m := w.m[1]
	done := sent.Final(m.Log(), m.State().Final.Head)
	if got := done.Waiting(); len(got) != 1 || got[0] != number("2") {
		t.Errorf("%v wait after message 1 is final", got)
	}
}

// TestHostile throws arbitrary messages, made of true pieces, at machines. They
// do not panic, write what they believe, never take back a term or what is
// final, and leave earlier copies as they were.
func TestHostile(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	for range rounds {
		w := run("ABC", "submit A 1", "deliver", "handshake A 2 A", "deliver A>B", "stand C")
		m0, m2 := w.m[1], w.m[3]
		var heads []hub.Head
		var entries []*hub.Entry
		for _, m := range []hub.Machine{m0, m2} {
			log := m.Log()
			for seq := range uint64(log.Len()) {
				heads, entries = append(heads, log.At(seq).Head()), append(entries, log.At(seq))
			}
		}
		heads = append(heads, hub.Head{}, hub.Head{Term: term(0, 2), Seq: 1 << 60})
		entries = append(entries, nil, &hub.Entry{Term: term(0, 3), Seq: 2, Kind: hub.Change, Hub: 2, Voters: hub.SetOf(2, 3), Via: hub.ByVotes, Prev: heads[1].Hash})
		pick := func(n int) int { return rnd.IntN(n) }
		set := func() hub.Set {
			return hub.SetOf(hub.Provider(pick(5)), hub.Provider(pick(5)), hub.Provider(pick(5)))
		}
		for range 40 {
			m := hub.Message{Kind: hub.MessageKind(pick(17)), From: hub.Provider(pick(5)), To: hub.Provider(1 + pick(3)),
				Term: term(uint32(pick(3)), uint64(pick(4))), Head: heads[pick(len(heads))], Grant: pick(3) > 0,
				Final: hub.Certificate{Head: heads[pick(len(heads))], Signers: set()}, Excuse: hub.Excuse(pick(5)),
				Seen: term(uint32(pick(2)), uint64(pick(4))), Hub: hub.Provider(pick(4)), Set: set(),
				Proof: hub.Proof{Liar: hub.Provider(pick(9) / 6 * 2), A: heads[0], B: heads[1]}}
			from := pick(len(entries))
			m.Entries = entries[from : from+pick(len(entries)-from+1)]
			_ = m.String()
			before := w.m[m.To]
			digest := digestOf(&before)
			ev := hub.Event{Kind: hub.Deliver, Message: &m}
			if pick(6) == 0 {
				ev = hub.Event{Kind: hub.EventKind(pick(9)), Message: &m, Txn: number("7"), Set: hub.SetOf(2, 3), Target: m.From}
			}
			after, effects := before.Step(ev)
			if digestOf(&before) != digest {
				t.Fatalf("%s changes an earlier machine", &m)
			}
			a, b := after.State(), before.State()
			log := after.Log()
			if a.Seen.Compare(b.Seen) < 0 || a.Final.Head.Seq < b.Final.Head.Seq || !log.Holds(b.Final.Head) {
				t.Fatalf("%s takes something back: %+v, then %+v", &m, b, a)
			}
			old := before.Log()
			d := hub.Durable{State: b, Log: old}
			for _, e := range effects {
				if e.Kind == hub.Write {
					d = d.Apply(e.Store)
				}
			}
			restarted, _ := hub.Restart(w.cfg[m.To], d, false)
			rs, rl := restarted.State(), restarted.Log()
			if rs.Seen != a.Seen || rs.Vote != a.Vote || rs.Final.Head != a.Final.Head || rl.Last() != log.Last() {
				t.Fatalf("%s: memory has %+v %s, the disk %+v %s", &m, a, log.Last(), rs, rl.Last())
			}
			w.m[m.To] = after
		}
	}
}

func digestOf(m *hub.Machine) hub.Digest {
	var d hub.Digest
	m.Digest(&d)
	return d
}

// TestHeard: what another says anew counts, what it says again does not.
func TestHeard(t *testing.T) {
	heard := func(w *world) uint64 { m := w.m[1]; return m.Heard() }
	w := run("ABC", "submit A 1")
	before := heard(w)
	sign := hub.Message{Kind: hub.CoSign, From: 2, To: 1, Term: room.Term{Number: 1}, Head: head(w, 1)}
	w.tell(sign)
	once := heard(w)
	if once == before {
		t.Error("a co-signature is not counted")
	}
	w.tell(sign)
	if heard(w) != once {
		t.Error("the same co-signature counts twice")
	}
	sign.From = 3
	if w.tell(sign); heard(w) == once {
		t.Error("another replica's does not count")
	}
}

func head(w *world, p hub.Provider) hub.Head {
	m := w.m[p]
	log := m.Log()
	return log.Last()
}
