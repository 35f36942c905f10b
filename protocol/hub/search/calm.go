package search

import (
	"fmt"

	"github.com/mimid/mimid/protocol/hub"
)

// calm sees whether a room comes to rest with all that was accepted, once
// nothing goes wrong any more: what is in the network is lost, everybody
// restarts, everything is delivered in order, and somebody stands if there is no
// hub that gets on.
func (s *Scenario) calm(w *world) ([]action, string) {
	c := *w
	c.net, c.netFP = nil, 0
	var trace []action
	for i := range s.Nodes {
		if !c.nodes[i].up {
			c = s.calmly(c, action{kind: restart, at: i, cut: -1}, -1, &trace)
		}
	}
	for round := range 12 {
		c = s.shown(c, &trace)
		// The hub of the highest term repeats itself and gets what is due.
		for i := range s.Nodes {
			if c.nodes[i].m.Role() != hub.Follower || s.Budget.Restore > 0 {
				c = s.calmly(c, action{at: i, ev: hub.Event{Kind: hub.Resend}, cut: -1}, -1, &trace)
				c = s.drain(c, &trace)
			}
		}
		best := -1
		for i := range s.Nodes {
			m := &c.nodes[i].m
			if m.Role() == hub.Hub && (best < 0 || c.nodes[best].m.Log().Last().Behind(m.Log().Last())) {
				best = i
			}
		}
		if best >= 0 {
			m := &c.nodes[best].m
			c.out = c.out.Final(c.nodes[best].d.Log, m.State().Final.Head)
			for _, ev := range c.out.Due(m.Log().Last().Term) {
				c = s.calmly(c, action{at: best, ev: ev, cut: -1}, -1, &trace)
				c.out = c.out.Sent(ev.Txn, m.Log().Last().Term)
			}
			if s.Budget.Move > 0 || s.Budget.Claim > 0 {
				// One that most of the others have left, and that nobody tells so, is no hub.
				c = s.calmly(c, action{at: best, ev: hub.Event{Kind: hub.Submit, Txn: txn(probe)}, cut: -1}, -1, &trace)
			}
			c = s.drain(c, &trace)
			m = &c.nodes[best].m
			if m.Role() == hub.Hub && m.State().Final.Head == m.Log().Last() && len(c.out.Due(m.Log().Last().Term)) == 0 {
				return trace, s.atRest(&c, c.nodes[best].d.Log)
			}
		}
		at := round % s.Nodes
		if c.nodes[at].m.Role() != hub.Hub {
			c = s.calmly(c, action{at: at, ev: hub.Event{Kind: hub.Request}, cut: -1}, -1, &trace)
			c = s.drain(c, &trace)
			if s.Budget.Move > 0 && round >= s.Nodes && s.Movers.Has(hub.Provider(at+1)) && c.nodes[at].m.Role() != hub.Hub {
				c = s.calmly(c, action{at: at, ev: hub.Event{Kind: hub.MoveHere, Set: s.MoveSet(hub.Provider(at + 1)), Liars: s.lies()}, cut: -1}, -1, &trace)
				c = s.drain(c, &trace)
			}
		}
	}
	return trace, "the room does not come to rest"
}

// shown has who stands still show both histories to the others, as its caller does; and where
// two have two histories, callers find that out when they compare where they stand.
func (s *Scenario) shown(c world, trace *[]action) world {
	still := s.Split
	for _, n := range c.nodes[:s.Nodes] {
		still = still || n.m.State().Fork != [2]hub.Head{}
	}
	for i := 0; still && i < s.Nodes; i++ {
		n := c.nodes[i]
		log := n.m.Log()
		if head, ok := s.other(n); ok && n.m.State().Fork == ([2]hub.Head{}) && log.Last().Term.Era == 0 {
			c = s.calmly(c, action{at: i, ev: hub.Event{Kind: hub.Contradict, Head: head, Set: s.Set}, cut: -1}, -1, trace)
		}
	}
	return s.drain(c, trace)
}

// probe is the number of the submission that shows that a hub gets on.
const probe = 63

// atRest checks that nothing that was accepted is missing, but handshakes, which
// their client makes anew.
func (s *Scenario) atRest(c *world, log hub.Log) string {
	for _, t := range c.past.accepted {
		if s.handshake(t) || log.Find(t) != 0 {
			continue
		}
		return fmt.Sprintf("submission %d was accepted and is gone", t[0])
	}
	return ""
}

func (s *Scenario) handshake(t [32]byte) bool {
	for _, ev := range s.Submissions {
		if ev.Txn == t {
			return ev.Handshake
		}
	}
	return false
}

func (s *Scenario) calmly(c world, a action, packet int, trace *[]action) world {
	x := s.react(&c, a)
	nw, _ := s.step(new(draft), &c, a, &x, packet, false)
	if nw == nil {
		if packet >= 0 {
			c.take(packet)
		}
		return c
	}
	*trace = append(*trace, a)
	return *nw
}

func (s *Scenario) drain(c world, trace *[]action) world {
	for range 400 {
		if len(c.net) == 0 {
			break
		}
		p := c.net[0].m
		c = s.calmly(c, action{at: int(p.To) - 1, ev: hub.Event{Kind: hub.Deliver, Message: p}, cut: -1}, 0, trace)
	}
	return c
}
