package hub_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// A twin is one provider twice: with its whole log, and with a window of it. What is
// below the window the caller of the second has in its store, which here is the log of
// the first.
type twin struct {
	full, part hub.Machine
	cfg, small *hub.Config
	disk       hub.Durable // of the first
	up         bool
}

// resumed is what the second restarts with: marks and a final entry, and what follows.
func (w *twin) resumed() hub.Durable {
	log, final := w.disk.Log, w.disk.State.Final.Head.Seq
	var marks []hub.Mark
	for _, m := range log.Marks() {
		if m.From <= final {
			marks = append(marks, m)
		}
	}
	return hub.Durable{State: w.disk.State, Log: hub.Resume(marks, log.At(final), log.After(final)...)}
}

// view is an effect without the entries that only the first can send.
func view(e hub.Effect, base uint64) string {
	s := fmt.Sprintf("%d %x %v %v", e.Kind, e.Txn[:2], e.Head, e.Why)
	for _, x := range e.Entries {
		s += " " + x.String()
	}
	if m := e.Message; m != nil {
		c := *m
		c.Entries = slices.DeleteFunc(slices.Clone(m.Entries), func(x *hub.Entry) bool { return x.Seq <= base })
		s += " " + c.String()
	}
	if st := e.Store; st != nil {
		s += fmt.Sprintf(" %+v keep %d", st.State, st.Keep)
		for _, x := range st.Entries {
			s += " " + x.String()
		}
	}
	return s
}

// step gives both the event, compares what they do, and returns it.
func (w *twin) step(ev hub.Event) ([]hub.Effect, error) {
	full, effects := w.full.Step(ev)
	small := ev
	if m := ev.Message; m != nil && len(m.Entries) > 0 {
		// A caller brings entries from its own final one on: it has compared the others
		// with its store.
		log, final := w.part.Log(), w.part.State()
		c := *m
		c.Entries = slices.Clone(m.Entries)
		for len(c.Entries) > 0 && c.Entries[0] != nil && c.Entries[0].Seq <= final.Final.Head.Seq && log.Len() > 0 {
			mine := w.full.Log()
			if x := mine.At(c.Entries[0].Seq); x == nil || x.Hash != c.Entries[0].Hash {
				break
			}
			c.Entries = c.Entries[1:]
		}
		small.Message = &c
	}
	part, same := w.part.Step(small)
	w.full, w.part = full, part
	log := w.part.Log()
	a, b := views(effects, log.Base()), views(same, log.Base())
	if m := ev.Message; m != nil && m.Kind == hub.Release && m.Head.Seq < log.Base() && len(same) == 0 {
		a = "" // the one difference that the package doc allows: it is not refused
	}
	if a != b {
		x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
		for i := range x {
			if i >= len(y) || x[i] != y[i] {
				return nil, fmt.Errorf("%d effects and %d; whole: %s\nwindow from %d: %s", len(x), len(y), x[i], log.Base(), y[min(i, len(y)-1)])
			}
		}
		return nil, fmt.Errorf("the window does more: %s", y[len(x)-1])
	}
	if x, y := w.full.State(), w.part.State(); fmt.Sprint(x) != fmt.Sprint(y) {
		return nil, fmt.Errorf("states differ: %+v and %+v", x, y)
	}
	whole := w.full.Log()
	if whole.Last() != log.Last() || whole.Len() != log.Len() || w.full.Role() != w.part.Role() || w.full.Leader() != w.part.Leader() {
		return nil, fmt.Errorf("logs end in %v and %v", whole.Last(), log.Last())
	}
	if x, y := forces(whole.Marks()), forces(log.Marks()); x != y {
		return nil, fmt.Errorf("marks differ: %s and %s", x, y)
	}
	return effects, nil
}

// forces shows marks. Where no set change is under way, the window's last mark knows a
// newer handshake.
func forces(marks []hub.Mark) string {
	for i := range marks {
		if len(marks[i].New) == 0 {
			marks[i].Handshake = hub.Head{}
		}
	}
	return fmt.Sprint(marks)
}

func views(list []hub.Effect, base uint64) string {
	var b strings.Builder
	for _, e := range list {
		if e.Message != nil && e.Message.Kind == hub.Append {
			continue // from where on, callers see for themselves: they send ranges
		}
		b.WriteString(view(e, base))
		b.WriteByte('\n')
	}
	return b.String()
}

// TestWindow: a machine that has forgotten what is final does what one does that
// remembers everything, in random histories with losses, crashes, elections, set
// changes and hand overs. It holds no more than it should.
func TestWindow(t *testing.T) {
	runs := 400
	if testing.Short() {
		runs = 60
	}
	var longest, least int
	kinds := map[hub.EffectKind]int{}
	for seed := range runs {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		all := parseSet("ABCDE")
		sets := []hub.Set{parseSet("A"), parseSet("ABC"), parseSet("ABCDE"), parseSet("BCD"), parseSet("B")}
		w := begin(all, sets[r.IntN(3)])
		ps := map[hub.Provider]*twin{}
		for _, p := range all {
			x := &twin{cfg: w.cfg[p], small: &hub.Config{Self: p, Peers: all, Seal: seal, Window: 1 + seed%3}, disk: w.back, up: true}
			x.full, _ = hub.Restart(x.cfg, x.disk, false)
			x.part, _ = hub.Restart(x.small, x.resumed(), false)
			ps[p] = x
		}
		var net []*hub.Message
		txn := 0
		var trail []string
		for range 250 {
			p := all[r.IntN(len(all))]
			x := ps[p]
			var ev hub.Event
			switch n := r.IntN(100); {
			case n < 70 && len(net) > 0:
				i := r.IntN(min(len(net), 4))
				m := net[i]
				if r.IntN(8) > 0 {
					net = slices.Delete(net, i, i+1) // else it comes twice
				}
				if r.IntN(12) == 0 || !ps[m.To].up {
					continue // lost
				}
				p, x, ev = m.To, ps[m.To], hub.Event{Kind: hub.Deliver, Message: m}
				if st := x.full.State(); m.Kind == hub.Append && m.Head.Seq < st.Final.Head.Seq && m.Term.Compare(st.Seen) >= 0 {
					continue // callers know that they know it
				}
			case n < 80:
				txn++
				ev = hub.Event{Kind: hub.Submit, Txn: room.TxnID{byte(txn), byte(txn >> 8), 1}}
				if r.IntN(6) == 0 {
					ev.Handshake = true
					if r.IntN(2) == 0 {
						ev.Set = sets[r.IntN(len(sets))]
					}
				}
				for _, q := range all { // to who orders it
					if ps[q].up && ps[q].full.Role() == hub.Hub {
						p, x = q, ps[q]
					}
				}
			case n < 84:
				ev = hub.Event{Kind: hub.Suspect}
			case n < 92:
				ev = hub.Event{Kind: hub.Resend}
			case n < 94:
				ev = hub.Event{Kind: hub.HandOver, Target: all[r.IntN(len(all))]}
			case n < 95:
				ev = hub.Event{Kind: hub.Request}
			case n < 96:
				x.up = false
				continue
			default:
				if x.up && r.IntN(2) == 0 {
					continue
				}
				// Started again, or for the first time since a crash.
				x.up = true
				var a, b []hub.Effect
				x.full, a = hub.Restart(x.cfg, x.disk, false)
				x.part, b = hub.Restart(x.small, x.resumed(), false)
				log := x.part.Log()
				if u, v := views(a, log.Base()), views(b, log.Base()); u != v {
					t.Fatalf("seed %d: restart of %s: whole:\n%s\nwindow:\n%s\n%s", seed, p, u, v, strings.Join(trail, "\n"))
				}
				net = append(net, sentBy(a)...)
				continue
			}
			if !x.up {
				continue
			}
			effects, err := x.step(ev)
			trail = append(trail, fmt.Sprintf("%s %d %v", p, ev.Kind, ev.Message))
			if err != nil {
				t.Fatalf("seed %d, %s: %v\n%s", seed, p, err, strings.Join(trail[max(0, len(trail)-12):], "\n"))
			}
			done := len(effects)
			if r.IntN(40) == 0 {
				done, x.up = r.IntN(done+1), false // a crash between two effects
			}
			for _, e := range effects[:done] {
				kinds[e.Kind]++
				if e.Kind == hub.Write {
					x.disk = x.disk.Apply(e.Store)
				}
			}
			net = append(net, sentBy(effects[:done])...)
			log := x.part.Log()
			final := x.part.State().Final.Head.Seq
			longest = max(longest, log.Len())
			if held := log.Len() - int(log.Base()); final > log.Base()+2*uint64(x.small.Window) {
				t.Fatalf("seed %d: %d entries are held from %d on, %d are final", seed, held, log.Base(), final)
			}
			least = max(least, int(log.Base()))
		}
	}
	for _, k := range []hub.EffectKind{hub.Write, hub.Accepted, hub.Final, hub.Leads, hub.SetAside} {
		if kinds[k] == 0 && !(k == hub.SetAside && testing.Short()) { // seldom, in few histories
			t.Errorf("no effect of kind %d: the histories show nothing", k)
		}
	}
	if least < 5 || longest < 10 {
		t.Errorf("logs of %d entries, windows up to entry %d: the histories show nothing", longest, least)
	}
	t.Logf("%d histories, logs of up to %d entries, windows from up to entry %d, effects %v", runs, longest, least, kinds)
}

func sentBy(list []hub.Effect) (out []*hub.Message) {
	for _, e := range list {
		if e.Kind == hub.Send {
			out = append(out, e.Message)
		}
	}
	return out
}

// TestWindowCost: what an entry costs does not grow with the log.
func TestWindowCost(t *testing.T) {
	cost := func(n int) float64 {
		w := begin(parseSet("A"), parseSet("A"))
		cfg := &hub.Config{Self: 1, Peers: parseSet("A"), Seal: func(e *hub.Entry) room.Hash { return room.Hash{byte(e.Seq), byte(e.Seq >> 8), byte(e.Seq >> 16)} }, Window: 64}
		x := &twin{disk: w.back}
		m, _ := hub.Restart(cfg, x.resumed(), false)
		i := 0
		step := func() {
			i++
			m, _ = m.Step(hub.Event{Kind: hub.Submit, Txn: room.TxnID{byte(i), byte(i >> 8), byte(i >> 16), 1}})
		}
		for range n {
			step()
		}
		return testing.AllocsPerRun(1000, step)
	}
	few, many := cost(100), cost(20_000)
	if many > few+1 {
		t.Errorf("an entry costs %v allocations after 100 entries, %v after 20,000", few, many)
	}
	t.Logf("%v allocations per entry", many)
}
