package stack_test

import (
	"context"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/stack"
	"github.com/mimid/mimid/simulations/virtual"
)

// A node that joins costs those that are there little: none of them publishes its record
// again, or searches the network, because somebody has come. Else joining would grow with the square.
func TestNewcomerCostsOthersLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds; TestDiscovery joins a few nodes")
	}
	virtual.Bubble(t, func() {
		n, err := stack.Join(context.Background(), 1, 24, 0, links.Spec{Model: "uniform", Low: ms(5), High: ms(40)}, func(int) {})
		defer func() {
			if err := n.Stop(); err != nil {
				t.Error(err)
			}
		}()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		before := n.Counts()
		time.Sleep(10 * time.Second)
		quiet := n.Counts()
		t.Logf("the others send %d octets in ten seconds", quiet.Octets-before.Octets)
		if got := quiet.Octets - before.Octets; got > 20_000 {
			t.Errorf("nodes that have joined send %d octets in ten seconds in which nothing happens", got)
		}
		if err := n.Newcomer(1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		after := n.Counts()
		// The newcomer puts its record at two places, 20 nodes each, and looks for itself twice.
		// If all published again, it would be 2.5 million.
		t.Logf("the newcomer costs %d octets in %d streams", after.Octets-quiet.Octets, after.Streams-quiet.Streams)
		if got := after.Octets - quiet.Octets; got > 1_000_000 {
			t.Errorf("one that joins costs %d octets", got)
		}
	})
}

func ms(n int) simulations.Duration { return simulations.Duration(time.Duration(n) * time.Millisecond) }
