package churn_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/churn"
)

const hour = simulations.Duration(time.Hour)

// Sessions have the mean that was asked for, and as many of them outlast twice it as the distribution says.
func TestSessions(t *testing.T) {
	for _, c := range []struct {
		spec churn.Spec
		mean float64 // hours
		long float64 // share of more than two hours
	}{
		{churn.Spec{Model: "exponential", Up: hour, Down: hour}, 1, math.Exp(-2)},
		{churn.Spec{Model: "weibull", Up: hour, Down: hour, Shape: 1}, 1, math.Exp(-2)},
		// shape 1/2: the mean is twice the scale
		{churn.Spec{Model: "weibull", Up: hour, Down: hour, Shape: .5}, 1, math.Exp(-2)},
		{churn.Spec{Model: "weibull", Up: hour, Down: hour, Shape: 2}, 1, math.Exp(-math.Pi)},
		{churn.Spec{Model: "trace", Down: hour, Trace: "# two\n30m, 90m\n3h"}, 5.0 / 3, 1.0 / 3},
	} {
		if err := c.spec.Check(time.Hour); err != nil {
			t.Fatal(err)
		}
		m := churn.New(c.spec, rand.New(rand.NewPCG(1, 2)))
		sum, long := 0.0, 0
		const n = 200_000
		for range n {
			d := m.Session()
			sum += d.Hours()
			if d > 2*time.Hour {
				long++
			}
		}
		if got := sum / n; math.Abs(got-c.mean) > .02*c.mean {
			t.Errorf("%+v: mean %.3f h, want %.3f", c.spec, got, c.mean)
		}
		if got := float64(long) / n; math.Abs(got-c.long) > .005 {
			t.Errorf("%+v: %.4f last for more than two hours, want %.4f", c.spec, got, c.long)
		}
	}
}

// At any time as many nodes are up as Up and Down say, from the beginning on; sessions do not overlap; the
// same seed gives the same ones.
func TestStationary(t *testing.T) {
	for _, s := range []churn.Spec{
		{Model: "exponential", Up: 2 * hour, Down: hour},
		{Model: "weibull", Up: 2 * hour, Down: hour, Shape: .5},
		{Model: "trace", Down: hour, Trace: "1h 3h"},
	} {
		m, again := churn.New(s, rand.New(rand.NewPCG(1, 2))), churn.New(s, rand.New(rand.NewPCG(1, 2)))
		const nodes = 5000
		up := make([]int, 5)
		for range nodes {
			list, same := m.Draw(4*time.Hour), again.Draw(4*time.Hour)
			for i, x := range list {
				if x != same[i] {
					t.Fatal("a seed gives two results")
				}
				if x.Begin >= x.End || i > 0 && x.Begin < list[i-1].End {
					t.Fatalf("%+v: sessions %v overlap", s, list)
				}
				if list.Up(x.End) || !list.Up(x.Begin) || !list.Up(x.End-1) {
					t.Fatalf("%+v: up at the wrong times, %v", s, x)
				}
			}
			for h := range up {
				if list.Up(time.Duration(h) * time.Hour) {
					up[h]++
				}
			}
		}
		for h, n := range up {
			if got := float64(n) / nodes; math.Abs(got-2.0/3) > .03 {
				t.Errorf("%+v: after %d h %.3f of the nodes are up, want 0.667", s, h, got)
			}
		}
	}
	none := churn.New(churn.Spec{Model: "none"}, nil).Draw(time.Hour)
	if !none.Up(0) || !none.Up(time.Hour) {
		t.Error("without churn a node is down")
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		spec churn.Spec
		want string
	}{
		{churn.Spec{}, `churn.model = "" does not exist`},
		{churn.Spec{Model: "exponential", Down: hour}, "churn.up = 0s"},
		{churn.Spec{Model: "weibull", Up: hour, Down: hour}, "churn.shape = 0 must be"},
		{churn.Spec{Model: "weibull", Up: hour, Down: hour, Shape: math.NaN()}, "churn.shape"},
		{churn.Spec{Model: "trace", Down: hour}, "churn.trace is empty"},
		{churn.Spec{Model: "trace", Down: hour, Trace: "1h -1h"}, `"-1h" is no length`},
		{churn.Spec{Model: "trace", Down: hour, Trace: "1h yes"}, `"yes" is no length`},
		{churn.Spec{Model: "exponential", Up: simulations.Duration(time.Second), Down: simulations.Duration(time.Second)}, "sessions of each node"},
	} {
		if err := c.spec.Check(24 * time.Hour); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.spec, err, c.want)
		}
	}
}
