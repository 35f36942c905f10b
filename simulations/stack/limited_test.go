package stack_test

import (
	"context"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/stack"
	"github.com/mimid/mimid/simulations/virtual"
)

// Nodes that are to keep few connections keep few, leave each other in peace then, and yet all get what is said to all and find who
// announces a key.
func TestFewConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds; overlay.TestKeeper tests what keeps to the limit")
	}
	const nodes, connections = 30, 16
	virtual.Bubble(t, func() {
		n, err := stack.Join(context.Background(), 1, nodes, connections, links.Spec{Model: "uniform", Low: ms(5), High: ms(40)}, func(int) {})
		defer func() {
			if err := n.Stop(); err != nil {
				t.Error(err)
			}
		}()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		before := n.Counts()
		time.Sleep(2 * time.Minute)
		after := n.Counts()
		if got := 2 * after.Open; got > nodes*connections*5/4 {
			t.Errorf("%d nodes have %d connections each on average, and are to keep %d", nodes, got/nodes, connections)
		}
		// Each knows three to begin with, some of which have closed the connection, and seldom tries them.
		t.Logf("%d connections of a node, %d dials in two minutes", 2*after.Open/nodes, after.Dials-before.Dials)
		if got := after.Dials - before.Dials; got > 10*nodes {
			t.Errorf("%d nodes that have joined dial %d times in two minutes", nodes, got)
		}
		if reached, err := n.Topic(context.Background()); err != nil || reached < nodes-1 {
			t.Errorf("%d of %d got the message: %v", reached, nodes-1, err)
		}
		if found, err := n.Search(context.Background(), 1, 3); err != nil || found < 3 {
			t.Errorf("%d of 3 found the announcer: %v", found, err)
		}
	})
}

// Who is in touch with others leaves a seed alone for a while that has closed the connection; who is not comes back at once.
func TestSeedsAreLeftAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, c := range []struct {
		nodes int
		back  bool
	}{{5, true}, {14, false}} {
		virtual.Bubble(t, func() {
			n, err := stack.Join(context.Background(), 1, c.nodes, 0, links.Spec{Model: "uniform", Low: ms(5), High: ms(40)}, func(int) {})
			defer func() {
				if err := n.Stop(); err != nil {
					t.Error(err)
				}
			}()
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			n.Part(c.nodes-1, 0)
			time.Sleep(2 * time.Minute)
			if got := n.Connected(c.nodes-1, 0); got != c.back {
				t.Errorf("one of %d nodes, two minutes after it has lost its seed: connected %t", c.nodes, got)
			}
			time.Sleep(5 * time.Minute)
			if !n.Connected(c.nodes-1, 0) {
				t.Errorf("one of %d nodes has not come back to its seed", c.nodes)
			}
		})
	}
}
