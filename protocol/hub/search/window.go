package search

import "github.com/mimid/mimid/protocol/hub"

// This file is what the caller of a machine with a window owes it, by the doc of
// package hub. Its store is what is durable here: node.d holds the whole log.

// durable is what a machine restarts with: everything, or from its newest final entry on.
func durable(cfg *hub.Config, d hub.Durable) hub.Durable {
	if cfg.Window == 0 {
		return d
	}
	final := d.State.Final.Head.Seq
	marks := d.Log.Marks()
	for len(marks) > 1 && marks[len(marks)-1].From > final {
		marks = marks[:len(marks)-1]
	}
	return hub.Durable{State: d.State, Log: hub.Resume(marks, d.Log.At(final), d.Log.After(final)...)}
}

// window lets a machine with a window take an event, as its caller would.
func (n *node) window(ev hub.Event) (x done) {
	x.m = n.m
	switch ev.Kind {
	case hub.Submit:
		log := n.m.Log()
		if at := n.d.Log.Find(ev.Txn); at != 0 && at < log.Base() && n.m.Role() == hub.Hub {
			// A duplicate of what the machine does not hold any more.
			x.effects = []hub.Effect{{Kind: hub.Accepted, Txn: ev.Txn, Head: n.d.Log.At(at).Head()}}
			return x
		}
	case hub.Deliver:
		if ev.Message = n.known(ev.Message); ev.Message == nil {
			return x
		}
	}
	x.m, x.effects = n.m.Step(ev)
	if ev.Kind != hub.Deliver {
		return x
	}
	var lacks hub.Head
	switch m := ev.Message; m.Kind {
	case hub.Need:
		lacks = m.Head
	case hub.Ask, hub.Move:
		lacks = m.Final.Head
	default:
		return x
	}
	for i := range x.effects {
		if e := &x.effects[i]; e.Kind == hub.Send && e.Message.To == ev.Message.From {
			e.Message = n.filled(e.Message, lacks)
		}
	}
	return x
}

// known leaves out of a message what the store knows to be final. It is nil if
// nothing is left to say.
func (n *node) known(m *hub.Message) *hub.Message {
	st := n.m.State()
	final := st.Final.Head.Seq
	if m.Kind == hub.Append && m.Head.Seq < final && m.Term.Compare(st.Seen) >= 0 {
		return nil
	}
	i := 0
	for i < len(m.Entries) && m.Entries[i].Seq <= final && n.d.Log.Holds(m.Entries[i].Head()) {
		i++
	}
	if i == 0 {
		return m
	}
	c := *m
	c.Entries = m.Entries[i:]
	return &c
}

// filled is a message with the entries that its receiver lacks, from the store.
func (n *node) filled(m *hub.Message, lacks hub.Head) *hub.Message {
	if len(m.Entries) == 0 {
		return m
	}
	from := uint64(0)
	if n.d.Log.Holds(lacks) {
		from = lacks.Seq
	}
	var list []*hub.Entry
	for _, e := range n.d.Log.After(from) {
		if e.Seq < m.Entries[0].Seq {
			list = append(list, e)
		}
	}
	for _, e := range m.Entries {
		if e.Seq > from {
			list = append(list, e)
		}
	}
	c := *m
	c.Entries = list
	return &c
}
