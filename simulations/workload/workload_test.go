package workload_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations/workload"
)

// As many rooms have a size as Zipf's law says.
func TestSizes(t *testing.T) {
	const count, nodes, least = 10_000, 100, 3
	for _, s := range []float64{0, 1, 1.5, 2} {
		r := workload.Rooms{Count: count, Zipf: s, Least: least}
		if err := r.Check(nodes); err != nil {
			t.Fatal(err)
		}
		have := map[int]int{}
		for _, n := range r.Sizes(nodes, rand.New(rand.NewPCG(1, 2))) {
			if n < least || n > nodes {
				t.Fatalf("a room of %d", n)
			}
			have[n]++
		}
		sum := 0.0
		for n := least; n <= nodes; n++ {
			sum += math.Pow(float64(n), -s)
		}
		for _, n := range []int{3, 4, 10, 50} {
			want := count * math.Pow(float64(n), -s) / sum
			if got := float64(have[n]); math.Abs(got-want) > 4*math.Sqrt(want)+1 {
				t.Errorf("exponent %g: %g rooms of %d, want %.0f", s, got, n, want)
			}
		}
	}
	if got := (workload.Rooms{}).Sizes(50, nil); len(got) != 1 || got[0] != 50 {
		t.Errorf("one room of all is %v", got)
	}
	for size, want := range map[int]int{2: 2, 3: 2, 4: 4, 63: 32, 64: 64} {
		if got := workload.Class(size); got != want {
			t.Errorf("class of %d is %d", size, got)
		}
	}
}

func TestTimes(t *testing.T) {
	even := workload.Even.Times(4, time.Second, nil)
	if even[0] != 0 || even[3] != 3*time.Second {
		t.Errorf("%v", even)
	}
	const n = 20_000
	times := workload.Poisson.Times(n, time.Second, rand.New(rand.NewPCG(1, 2)))
	short := 0
	for i, at := range times {
		if i > 0 && at < times[i-1] {
			t.Fatal("out of order")
		}
		if i > 0 && at-times[i-1] < time.Second {
			short++
		}
	}
	if mean := times[n-1].Seconds() / n; math.Abs(mean-1) > .03 {
		t.Errorf("every %.3f s", mean)
	}
	if got, want := float64(short)/n, 1-1/math.E; math.Abs(got-want) > .02 {
		t.Errorf("%.3f of the intervals are below the mean, want %.3f", got, want)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{workload.Rooms{Count: -1}.Check(10), "rooms.count = -1"},
		{workload.Rooms{Count: 1, Least: 11}.Check(10), "rooms.least = 11 must be 2 to nodes = 10"},
		{workload.Rooms{Count: 1, Least: 2, Zipf: math.NaN()}.Check(10), "rooms.zipf"},
		{workload.Arrivals("").Check(), `arrivals = "" must be even or poisson`},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%v, want %q", c.err, c.want)
		}
	}
}
