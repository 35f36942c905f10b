package search

import "github.com/mimid/mimid/protocol/hub"

// Scenarios returns the scenarios that are searched. Each is small in what it
// does not care about, so that what it cares about is searched deeply.
func Scenarios() []*Scenario {
	var (
		a     = hub.SetOf(1)
		abc   = hub.SetOf(1, 2, 3)
		abd   = hub.SetOf(1, 2, 4)
		bcd   = hub.SetOf(2, 3, 4)
		abcde = hub.SetOf(1, 2, 3, 4, 5)
		alone = func(p hub.Provider) hub.Set { return hub.Set{p} }
		still = func(hub.Provider) hub.Set { return abc }
	)
	return []*Scenario{
		{Name: "resubmission: an accepted message, a new hub", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{Request: 1, Resend: 1}, Standing: hub.SetOf(2, 3), Calm: 64},
		{Name: "order: two messages, two elections", Nodes: 3, Set: abc, Submissions: messages(2),
			Budget: budget{Request: 2}, Quiet: true, Calm: 64},
		{Name: "crash: a message, two crashes, an election", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{Crash: 2, Request: 1, Resend: 1}, Calm: 64},
		{Name: "election: a crash, three elections", Nodes: 3, Set: abc,
			Budget: budget{Crash: 1, Request: 2, Resend: 1}, Calm: 64},
		{Name: "canvass: asking around", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{Suspect: 3, Crash: 1}, Quiet: true, Calm: 64},
		{Name: "duplicate: messages arrive twice", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{Duplicate: 2, Request: 2, Resend: 1}, Quiet: true, Calm: 64},
		{Name: "shrink: three replicas become one", Nodes: 3, Set: abc, Submissions: []hub.Event{change(1, a), message(2)},
			Budget: budget{Crash: 1, Request: 2}, Quiet: true, Calm: 64},
		{Name: "grow: one replica becomes three", Nodes: 3, Set: a, Submissions: []hub.Event{change(1, abc), message(2)},
			Budget: budget{Crash: 1, Request: 2}, Quiet: true, Calm: 64},
		{Name: "swap: one replica for another", Nodes: 4, Set: abc, Submissions: []hub.Event{change(1, abd), message(2)},
			Budget: budget{Request: 2}, Quiet: true, Calm: 64},
		{Name: "retire: the hub's own place goes to another", Nodes: 4, Set: abc, Submissions: []hub.Event{change(1, bcd)},
			Budget: budget{Request: 1, Crash: 1}, Quiet: true, Calm: 64},
		{Name: "five: three replicas become five", Nodes: 5, Set: abc, Submissions: []hub.Event{change(1, abcde)},
			Budget: budget{Request: 2}, Standing: hub.SetOf(3, 4), Quiet: true, Calm: 128},
		{Name: "hand over: in a set of three", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{HandOver: 1, Request: 1, Crash: 1}, Targets: hub.SetOf(2), Quiet: true, Calm: 64},
		{Name: "hand over: in a set of five", Nodes: 5, Set: abcde,
			Budget: budget{HandOver: 1, Request: 1}, Targets: hub.SetOf(2), Standing: hub.SetOf(3), Quiet: true, Calm: 128},
		{Name: "release: a set of one moves", Nodes: 3, Set: a, Submissions: messages(2),
			Budget: budget{HandOver: 2, Crash: 1, Duplicate: 1, Resend: 1}, Targets: hub.SetOf(1, 2), Calm: 64},
		{Name: "move: twice", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{Move: 2, Request: 1, Resend: 1}, Movers: hub.SetOf(2, 3), MoveSet: still, Quiet: true, Calm: 64},
		{Name: "move: to one replica", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{Move: 1, Request: 1}, Movers: hub.SetOf(2, 3), MoveSet: alone, Quiet: true, Calm: 64},
		{Name: "move: to the hub that another move has stopped", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{Move: 2, Request: 1, Crash: 1}, Movers: hub.SetOf(1, 2), MoveSet: still, Quiet: true, Calm: 64},
		{Name: "move: an admin who is being removed", Nodes: 3, Set: abc, Submissions: []hub.Event{change(1, nil), message(2)},
			Budget: budget{Move: 1, Request: 1, Crash: 1}, Movers: hub.SetOf(2), MoveSet: still, Quiet: true, Calm: 64},
		{Name: "restore: a backup of the beginning", Nodes: 3, Set: abc, Submissions: messages(2),
			Budget: budget{Crash: 1, Restore: 1, Request: 2}, Quiet: true, Calm: 64},
		{Name: "both: a hand over during a set change", Nodes: 3, Set: a, Submissions: []hub.Event{change(1, abc), message(2)},
			Budget: budget{HandOver: 1, Request: 1, Crash: 1}, Targets: hub.SetOf(2, 3), Quiet: true, Calm: 64},
		{Name: "both: a backup and a set change", Nodes: 3, Set: abc, Submissions: []hub.Event{change(1, hub.SetOf(1, 2)), message(2)},
			Budget: budget{Crash: 1, Restore: 1, Request: 1}, Quiet: true, Calm: 64},
		{Name: "both: a backup and a move", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{Crash: 1, Restore: 1, Move: 1}, Movers: hub.SetOf(2), MoveSet: still, Quiet: true, Calm: 64},
		{Name: "both: a backup of a hub, which crashes again", Nodes: 3, Set: abc, Submissions: messages(2),
			Budget: budget{Crash: 2, Restore: 1}, Quiet: true, Calm: 64},
		{Name: "both: a move during a set change", Nodes: 3, Set: abc, Submissions: []hub.Event{change(1, hub.SetOf(1, 2)), message(2)},
			Budget: budget{Move: 1, Request: 1}, Movers: hub.SetOf(2), MoveSet: still, Quiet: true, Calm: 64},
		{Name: "both: shrink to another, and a hand over", Nodes: 3, Set: abc, Submissions: []hub.Event{change(1, hub.SetOf(2)), message(2)},
			Budget: budget{HandOver: 1, Crash: 1, Request: 1}, Targets: hub.SetOf(2, 3), Quiet: true, Calm: 64},
		{Name: "both: two set changes", Nodes: 3, Set: abc, Submissions: []hub.Event{change(1, a), change(2, abc)},
			Budget: budget{Crash: 1, Request: 2}, Quiet: true, Calm: 64},
		{Name: "both: a release and a set change", Nodes: 3, Set: a, Submissions: []hub.Event{change(1, abc)},
			Budget: budget{HandOver: 2, Crash: 1, Resend: 1}, Targets: hub.SetOf(2, 3), Quiet: true, Calm: 64},
		{Name: "lie: a hub orders two things at one place", Nodes: 3, Set: abc, Submissions: messages(1),
			Budget: budget{Lie: 1, Request: 1, Crash: 1}},

		// The same with machines that hold a window of the log.
		{Name: "window: three messages, two elections", Nodes: 3, Set: abc, Submissions: messages(3), Window: 1,
			Budget: budget{Request: 2}, Quiet: true, Calm: 64},
		{Name: "window: crashes and an election, one is far behind", Nodes: 3, Set: abc, Submissions: messages(1), Window: 1, Past: 4,
			Budget: budget{Crash: 2, Request: 1, Resend: 1}, Calm: 64},
		{Name: "window: of two, asking around and duplicates", Nodes: 3, Set: abc, Submissions: messages(2), Window: 2, Past: 5,
			Budget: budget{Suspect: 3, Duplicate: 1, Crash: 1}, Quiet: true, Calm: 64},
		{Name: "window: three replicas become one", Nodes: 3, Set: abc, Submissions: []hub.Event{change(1, a), message(2)}, Window: 1,
			Budget: budget{Crash: 1, Request: 2}, Quiet: true, Calm: 64},
		{Name: "window: one replica for another, which is far behind", Nodes: 4, Set: abc, Submissions: []hub.Event{change(1, abd), message(2)}, Window: 1, Past: 3,
			Budget: budget{Request: 2, Crash: 1}, Standing: hub.SetOf(2, 4), Quiet: true, Calm: 64},
		{Name: "window: two set changes", Nodes: 3, Set: abc, Submissions: []hub.Event{change(1, a), change(2, abc)}, Window: 1,
			Budget: budget{Crash: 1, Request: 2}, Quiet: true, Calm: 64},
		{Name: "window: shrink to another, and a hand over", Nodes: 3, Set: abc, Submissions: []hub.Event{change(1, hub.SetOf(2)), message(2)}, Window: 1,
			Budget: budget{HandOver: 1, Crash: 1, Request: 1}, Targets: hub.SetOf(2, 3), Quiet: true, Calm: 64},
		{Name: "window: a hand over in a set of five", Nodes: 5, Set: abcde, Window: 1, Past: 2,
			Budget: budget{HandOver: 1, Request: 1}, Targets: hub.SetOf(2), Standing: hub.SetOf(3), Quiet: true, Calm: 128},
		{Name: "window: a set of one moves", Nodes: 3, Set: a, Submissions: messages(2), Window: 1, Past: 3,
			Budget: budget{HandOver: 2, Crash: 1, Duplicate: 1, Resend: 1}, Targets: hub.SetOf(1, 2, 3), Calm: 64},
		{Name: "window: an admin's move, one is far behind", Nodes: 3, Set: abc, Submissions: messages(1), Window: 1, Past: 3,
			Budget: budget{Move: 1, Request: 1, Resend: 1}, Movers: hub.SetOf(2, 3), MoveSet: alone, Quiet: true, Calm: 64},
		{Name: "window: a backup of the beginning", Nodes: 3, Set: abc, Submissions: messages(3), Window: 1,
			Budget: budget{Crash: 1, Restore: 1, Request: 2}, Quiet: true, Calm: 64},
		{Name: "window: a hand over during a set change", Nodes: 3, Set: a, Submissions: []hub.Event{change(1, abc), message(2)}, Window: 1, Past: 2,
			Budget: budget{HandOver: 1, Request: 1, Crash: 1}, Targets: hub.SetOf(2, 3), Quiet: true, Calm: 64},
		{Name: "window: an accepted message, a new hub", Nodes: 3, Set: abc, Submissions: messages(1), Window: 1, Past: 3,
			Budget: budget{Request: 1, Resend: 1}, Standing: hub.SetOf(2, 3), Calm: 64},
	}
}
