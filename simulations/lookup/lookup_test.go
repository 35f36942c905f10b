package lookup

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/churn"
)

func groups(t *testing.T, text string) []simulations.Group {
	t.Helper()
	s, err := simulations.Parse([]byte("simulation = \"lookup\"\n"+text), "x", []simulations.Simulation{Simulation()})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Groups()
}

// mean of a metric, over all of its groups that have the label.
func mean(t *testing.T, all []simulations.Group, metric, key, value string) float64 {
	t.Helper()
	sum, n := 0.0, 0
	for _, g := range all {
		if g.Metric == metric && (key == "" || g.Label(key) == value) {
			sum += g.Mean * float64(g.Count)
			n += g.Count
		}
	}
	if n == 0 {
		t.Fatalf("no %s with %s = %s was observed", metric, key, value)
	}
	return sum / float64(n)
}

// Hops grow with the logarithm of the network, by as many bits in each as the nearest of 20 nodes by chance shares with the
// key, one of them being sure: 5.7. Who holds the record are 30 nodes, and a hop is whole: half of one is lost.
func TestHops(t *testing.T) {
	perHop := 1.0
	for j := 1; j < 60; j++ {
		perHop += 1 - math.Pow(1-math.Pow(2, -float64(j)), bucket)
	}
	if perHop < 5.6 || perHop > 5.8 {
		t.Fatalf("%.3f bits in a hop, by hand it is 5.7", perHop)
	}
	for _, n := range []int{300, 1000, 4000} {
		if testing.Short() && n > 300 {
			break
		}
		got := mean(t, groups(t, fmt.Sprintf("runs = 2\n[parameters]\nnodes = %d\nsearches = 200\nlasts = \"1h\"\n", n)), "hops", "of", "searches")
		want := .5 + math.Log2(float64(n)/30)/perHop
		t.Logf("%d nodes: %.2f hops, %.2f expected, log2 is %.1f", n, got, want, math.Log2(float64(n)))
		if math.Abs(got-want) > .25 {
			t.Errorf("%d nodes: %.2f hops, want %.2f", n, got, want)
		}
	}
}

// What comes and goes costs: nodes are asked that are gone. Searches find the announcer all the same while
// announcements are repeated, and do not when those who hold the record have gone for good.
func TestChurn(t *testing.T) {
	const usual = "[parameters]\nnodes = 300\nsearches = 100\nlasts = \"4h\"\nrepeat = \"1h\"\n"
	for _, c := range []struct {
		name, text            string
		found, most           float64
		leastDead, mostOnline float64
	}{
		{"none", "", 1, 1, 0, 300},
		{"exponential", "churn = {model = \"exponential\", up = \"1h\", down = \"1h\"}\n", .98, 1, .5, 190},
		{"weibull", "churn = {model = \"weibull\", up = \"1h\", down = \"1h\", shape = 0.5}\n", .98, 1, .3, 190},
		{"trace", "churn = {model = \"trace\", down = \"1h\", trace = \"20m 100m\"}\n", .98, 1, .3, 190},
		{"gone for good", "repeat = \"0s\"\nchurn = {model = \"exponential\", up = \"20m\", down = \"8000h\"}\n", 0, .9, 0, 30},
		{"gone for good, announced again", "repeat = \"10m\"\nchurn = {model = \"exponential\", up = \"20m\", down = \"8000h\"}\n", .9, 1, 0, 30},
	} {
		if testing.Short() && c.name != "weibull" {
			continue
		}
		var all []simulations.Group
		if strings.HasPrefix(c.name, "gone") { // all go and nobody comes back, so that few are up at any time
			all = groups(t, "[parameters]\nnodes = 3000\nkeys = 5\nsearches = 100\nlasts = \"4h\"\n"+c.text)
		} else {
			all = groups(t, usual+c.text)
		}
		if got := mean(t, all, "found", "", ""); got < c.found || got > c.most {
			t.Errorf("%s: %.3f of the searches found it, want %g to %g", c.name, got, c.found, c.most)
		}
		if got := mean(t, all, "dead", "", ""); got < c.leastDead || c.name == "none" && got > 0 {
			t.Errorf("%s: %.2f nodes were gone when they were asked, want %g or more", c.name, got, c.leastDead)
		}
		if got := mean(t, all, "online", "", ""); got > c.mostOnline {
			t.Errorf("%s: %.0f nodes are up, want at most %g", c.name, got, c.mostOnline)
		}
	}
}

// Half of the nodes come at once, and searches find what was announced before.
func TestStorm(t *testing.T) {
	all := groups(t, "[parameters]\nnodes = 400\nsearches = 200\nlasts = \"1h\"\nstorm = 0.5\n")
	for _, over := range []string{"false", "true"} {
		if got := mean(t, all, "found", "storm is over", over); got < .98 {
			t.Errorf("storm is over: %s: %.3f of the searches found it", over, got)
		}
	}
	var online simulations.Group
	for _, g := range all {
		if g.Metric == "online" {
			online = g
		}
	}
	if online.Min > 215 || online.Max != 400 {
		t.Errorf("%.0f to %.0f nodes are up, want half and then all", online.Min, online.Max)
	}
}

// A routing table has up to 20 of each distance who are up when it is made, all of them if there are no more, and is kept until the
// next refresh.
func TestTables(t *testing.T) {
	p := Parameters{Lasts: simulations.Duration(2 * time.Hour), Refresh: simulations.Duration(10 * time.Minute)}
	spec := churn.Spec{Model: "exponential", Up: simulations.Duration(time.Hour), Down: simulations.Duration(time.Hour)}
	n := newNetwork(rand.New(rand.NewPCG(1, 2)), 1, 400, 5, churn.New(spec, rand.New(rand.NewPCG(3, 4))), p)
	const at = time.Hour
	looked, stale := 0, 0
	for of, x := range n.nodes {
		if !n.up(of, at) {
			if n.tableOf(of, at) != nil {
				t.Fatal("who is away has a table")
			}
			continue
		}
		table := n.tableOf(of, at)
		drawn := max(n.nodes[of].drawn, 0)
		if at-drawn > 10*time.Minute {
			t.Fatalf("a table is %s old", at-drawn)
		}
		have, all := map[int]int{}, map[int]int{}
		common := func(i int) int {
			for b := range 32 {
				if d := n.nodes[i].place[b] ^ x.place[b]; d != 0 {
					return 8*b + bits.LeadingZeros8(d)
				}
			}
			return 256
		}
		for i := range n.nodes {
			if i != of && n.up(i, drawn) {
				all[common(i)]++
			}
		}
		for _, i := range table {
			if i == of || !n.up(i, drawn) {
				t.Fatalf("node %d knows itself, or who was away", of)
			}
			if !n.up(i, at) {
				stale++
			}
			have[common(i)]++
		}
		for depth, count := range all {
			if have[depth] != min(count, bucket) {
				t.Fatalf("of %d nodes that share %d bits with node %d it knows %d", count, depth, of, have[depth])
			}
		}
		looked++
	}
	if looked < 100 || stale == 0 {
		t.Errorf("%d tables were looked at, %d entries were stale", looked, stale)
	}
}
