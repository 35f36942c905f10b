package hub_test

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// A world runs machines by commands and writes down what they do.
type world struct {
	cfg  map[hub.Provider]*hub.Config
	m    map[hub.Provider]hub.Machine
	disk map[hub.Provider]hub.Durable
	back hub.Durable
	up   map[hub.Provider]bool
	all  hub.Set
	net  []*hub.Message
	out  strings.Builder
}

// seal hashes what a machine knows of an entry.
func seal(e *hub.Entry) room.Hash {
	return sha256.Sum256(fmt.Appendf(nil, "%v %d %x %d %x %v %d %d %v %v", e.Term, e.Seq, e.Prev, e.Kind, e.Txn, e.Set, e.Hub, e.Via, e.Voters, e.Liars))
}

// begin makes a room whose first hub is the first replica.
func begin(all, set hub.Set) *world {
	w := &world{cfg: map[hub.Provider]*hub.Config{}, m: map[hub.Provider]hub.Machine{}, disk: map[hub.Provider]hub.Durable{},
		up: map[hub.Provider]bool{}, all: all}
	e := &hub.Entry{Term: room.Term{Number: 1}, Kind: hub.Create, Set: set, Hub: set[0]}
	e.Hash = seal(e)
	w.back = hub.Durable{Log: hub.Begin(e), State: hub.State{Seen: e.Term, Final: hub.Certificate{Head: e.Head(), Signers: set}}}
	for _, p := range all {
		w.cfg[p] = &hub.Config{Self: p, Peers: all, Seal: seal}
		w.disk[p], w.up[p] = w.back, true
		w.m[p], _ = hub.Restart(w.cfg[p], w.back, false)
	}
	return w
}

func parseSet(s string) hub.Set {
	var ps []hub.Provider
	for _, r := range s {
		ps = append(ps, hub.Provider(r-'A'+1))
	}
	return hub.SetOf(ps...)
}

func parseProvider(s string) hub.Provider { return parseSet(s)[0] }

func number(s string) room.TxnID {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return room.TxnID{byte(n)}
}

// do runs one command and returns what happened.
func (w *world) do(line string) string {
	w.out.Reset()
	line, cut, crashing := strings.Cut(line, " crash ")
	stop := -1
	if crashing {
		stop, _ = strconv.Atoi(cut)
	}
	f := strings.Fields(line)
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	if f[0] == "deliver" || f[0] == "drop" {
		w.move(f[0] == "deliver", arg(1), stop)
		return w.out.String()
	}
	if f[0] == "state" {
		w.state()
		return w.out.String()
	}
	p := parseProvider(arg(1))
	ev := hub.Event{}
	switch f[0] {
	case "submit":
		ev = hub.Event{Kind: hub.Submit, Txn: number(arg(2))}
	case "handshake":
		ev = hub.Event{Kind: hub.Submit, Txn: number(arg(2)), Handshake: true, Set: parseSet(arg(3))}
	case "lie":
		m, effects := w.step(p, hub.Event{Kind: hub.Submit, Txn: number(arg(2))})
		_ = m // the liar keeps its other face
		for _, e := range effects {
			if e.Kind == hub.Send {
				w.net = append(w.net, e.Message)
				fmt.Fprintf(&w.out, "%s lies to %s: %s\n", p, e.Message.To, e.Message)
			}
		}
		return w.out.String()
	case "forge":
		m := w.m[parseProvider(arg(2))]
		log := m.Log()
		last := log.Last()
		e := &hub.Entry{Term: last.Term, Seq: last.Seq + 1, Prev: last.Hash, Kind: hub.Ordinary, Txn: number(arg(3))}
		e.Hash = seal(e)
		w.net = append(w.net, &hub.Message{Kind: hub.Append, From: log.Hub(), To: parseProvider(arg(2)), Term: e.Term, Head: e.Head(),
			Entries: []*hub.Entry{e}, Final: hub.Certificate{Head: e.Head(), Signers: parseSet(arg(1))}})
		return ""
	case "claim":
		var seen room.Term
		fmt.Sscanf(arg(4), "%d.%d", &seen.Era, &seen.Number)
		to := w.m[parseProvider(arg(2))]
		st := to.State()
		m := &hub.Message{From: p, To: parseProvider(arg(2)), Term: st.Seen, Seen: seen}
		switch arg(3) {
		case "refuse":
			m.Kind = hub.Refuse
		case "would":
			m.Kind, m.Term.Number = hub.Would, st.Seen.Number+1
		case "grant":
			m.Kind, m.Head = hub.Grant, st.Vote.Head
		case "stand":
			m.Kind, m.Term, m.Seen, m.Excuse = hub.Stand, seen, room.Term{}, hub.Asked
			m.Head = hub.Head{Term: seen, Seq: 9, Hash: room.Hash{9}}
		}
		w.net = append(w.net, m)
		return ""
	case "contradict":
		mine, other := w.m[p], w.m[parseProvider(arg(2))]
		ev = hub.Event{Kind: hub.Contradict, Head: other.State().Final.Head}
		for _, x := range other.State().Final.Signers {
			if mine.State().Final.Signers.Has(x) {
				ev.Set = ev.Set.With(x)
			}
		}
	case "suspect":
		ev.Kind = hub.Suspect
	case "doubt":
		ev.Kind = hub.Doubt
	case "stand":
		ev.Kind = hub.Request
	case "resend":
		ev.Kind = hub.Resend
	case "handover":
		ev = hub.Event{Kind: hub.HandOver, Target: parseProvider(arg(2))}
	case "move":
		ev = hub.Event{Kind: hub.MoveHere, Set: parseSet(arg(2))}
		if arg(3) == "without" {
			ev.Liars = parseSet(arg(4))
		}
	case "crash":
		w.up[p] = false
		return ""
	case "backup":
		w.back = w.disk[p]
		return ""
	case "restart", "restore":
		if f[0] == "restore" {
			w.disk[p] = w.back
		}
		m, effects := hub.Restart(w.cfg[p], w.disk[p], f[0] == "restore")
		w.m[p], w.up[p] = m, true
		w.perform(p, effects, stop)
		return w.out.String()
	default:
		panic("unknown command " + f[0])
	}
	w.event(p, ev, stop)
	return w.out.String()
}

func (w *world) step(p hub.Provider, ev hub.Event) (hub.Machine, []hub.Effect) {
	m := w.m[p]
	return m.Step(ev)
}

func (w *world) event(p hub.Provider, ev hub.Event, stop int) {
	m, effects := w.step(p, ev)
	w.m[p] = m
	w.perform(p, effects, stop)
}

// move delivers or drops: nothing named, until the network is empty; B, all that
// is under way to B; A>B, the first from A to B.
func (w *world) move(deliver bool, what string, stop int) {
	from, to, pair := strings.Cut(what, ">")
	wanted := func(m *hub.Message) bool {
		switch {
		case what == "":
			return true
		case pair:
			return m.From.String() == from && m.To.String() == to
		}
		return m.To.String() == what
	}
	for i := 0; i < len(w.net); {
		m := w.net[i]
		if !wanted(m) || deliver && !w.up[m.To] {
			i++
			continue
		}
		w.net = append(w.net[:i:i], w.net[i+1:]...)
		if deliver {
			fmt.Fprintf(&w.out, "%s\n", m)
			if m.Kind == hub.Move {
				m = w.compared(m)
			}
			w.event(m.To, hub.Event{Kind: hub.Deliver, Message: m}, stop)
		} else {
			fmt.Fprintf(&w.out, "lost: %s\n", m)
		}
		if pair {
			return
		}
		if what == "" {
			i = 0
		}
	}
}

// compared is a Move as its receiver's caller has compared the two logs.
func (w *world) compared(m *hub.Message) *hub.Message {
	a, b := w.m[m.To], w.m[m.From]
	mine, theirs := a.Log(), b.Log()
	var common hub.Head
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

func (w *world) perform(p hub.Provider, effects []hub.Effect, stop int) {
	for i, e := range effects {
		if i == stop {
			w.up[p] = false
			fmt.Fprintf(&w.out, "  %s crashes\n", p)
			return
		}
		w.out.WriteString("  " + p.String())
		switch e.Kind {
		case hub.Write:
			before := w.disk[p]
			w.disk[p] = before.Apply(e.Store)
			fmt.Fprintf(&w.out, " writes%s\n", written(before, e.Store))
		case hub.Send:
			w.net = append(w.net, e.Message)
			fmt.Fprintf(&w.out, " sends %s %s\n", e.Message.To, e.Message.Kind)
		case hub.Accepted:
			fmt.Fprintf(&w.out, " accepts %d at %s\n", e.Txn[0], e.Head)
		case hub.Rejected:
			fmt.Fprintf(&w.out, " rejects %d: %v\n", e.Txn[0], e.Why)
		case hub.Final:
			fmt.Fprintf(&w.out, " knows %s to be final\n", e.Head)
		case hub.SetAside:
			w.out.WriteString(" sets aside")
			for _, x := range e.Entries {
				w.out.WriteString(" " + x.String())
			}
			w.out.WriteString("\n")
		case hub.Wait:
			fmt.Fprintf(&w.out, " waits a random time\n")
		case hub.Leads:
			fmt.Fprintf(&w.out, " leads from %s\n", e.Head)
		case hub.Stopped:
			fmt.Fprintf(&w.out, " stops the room: %s and %s are both final\n", e.Proof.A, e.Proof.B)
		case hub.Convicted:
			fmt.Fprintf(&w.out, " convicts %s of %s and %s\n", e.Proof.Liar, e.Proof.A, e.Proof.B)
		}
	}
	if stop >= 0 {
		w.up[p] = false
		fmt.Fprintf(&w.out, "  %s crashes\n", p)
	}
}

// written is what a write changes.
func written(d hub.Durable, s *hub.Store) string {
	var b strings.Builder
	if n := d.Log.Len(); s.Keep < n {
		fmt.Fprintf(&b, " -%d", n-s.Keep)
	}
	for _, e := range s.Entries {
		b.WriteString(" +" + e.String())
	}
	if s.State.Seen != d.State.Seen {
		fmt.Fprintf(&b, " term %s", s.State.Seen)
	}
	if v := s.State.Vote; v != d.State.Vote {
		fmt.Fprintf(&b, " vote %s in %s", v.For, v.Term)
	}
	if s.State.Final.Head != d.State.Final.Head {
		fmt.Fprintf(&b, " final %s by %s", s.State.Final.Head, s.State.Final.Signers)
	}
	if s.State.Restored != d.State.Restored {
		fmt.Fprintf(&b, " restored %v", s.State.Restored)
	}
	if f := s.State.Fork; f != d.State.Fork && f == [2]hub.Head{} {
		b.WriteString(" goes on")
	}
	if len(s.State.Liars) > len(d.State.Liars) {
		fmt.Fprintf(&b, " liars %s", s.State.Liars)
	}
	return b.String()
}

func (w *world) state() {
	roles := [...]string{"follower", "canvasser", "candidate", "mover", "hub", "releasing", "waiting"}
	for _, p := range w.all {
		m, d := w.m[p], w.disk[p]
		if !w.up[p] {
			fmt.Fprintf(&w.out, "%s is down, term %s, log to %s\n", p, d.State.Seen, d.Log.Last())
			continue
		}
		log := m.Log()
		set, next := log.InForce()
		fmt.Fprintf(&w.out, "%s %s, term %s, log to %s, final %s, hub %s, set %s", p, roles[m.Role()], m.State().Seen, log.Last(),
			m.State().Final.Head, log.Hub(), set)
		if len(next) > 0 {
			fmt.Fprintf(&w.out, " and %s", next)
		}
		if m.State().Fork != [2]hub.Head{} {
			w.out.WriteString(", stopped")
		}
		w.out.WriteString("\n")
	}
}
