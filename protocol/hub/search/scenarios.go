package search

import "github.com/mimid/mimid/protocol/hub"

var (
	a     = hub.SetOf(1)
	c     = hub.SetOf(3)
	abc   = hub.SetOf(1, 2, 3)
	abcde = hub.SetOf(1, 2, 3, 4, 5)
)

// Scenarios returns the scenarios that are searched.
func Scenarios() []*Scenario {
	return []*Scenario{
		{Name: "order", Nodes: 3, Set: abc, Submissions: messages(2), Budget: budget{Crash: 1, Request: 1}, Calm: 64},
	}
}
