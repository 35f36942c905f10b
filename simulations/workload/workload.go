// Package workload says what people do: how large rooms are, and when something is said.
//
// Sizes follow Zipf's law: a room of n providers is as frequent as n to the power of minus an exponent, from a least size to a
// greatest. Exponents of 1 to 2 have many small rooms and few that have nearly everybody.
package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// MaxRooms of one run.
const MaxRooms = 10_000

// Rooms are how many there are, and their sizes.
type Rooms struct {
	Count int     `toml:"count" doc:"rooms, whose sizes are drawn; 0: one, of all nodes"`
	Zipf  float64 `toml:"zipf" doc:"exponent: a room of n is as frequent as 1/n to this power; 0: all sizes alike"`
	Least int     `toml:"least" doc:"the smallest size; the greatest is nodes"`
}

// Check says what is wrong with values for so many nodes.
func (r Rooms) Check(nodes int) error {
	switch {
	case r.Count < 0 || r.Count > MaxRooms:
		return fmt.Errorf("rooms.count = %d must be 0 to %d", r.Count, MaxRooms)
	case r.Count > 0 && (r.Least < 2 || r.Least > nodes):
		return fmt.Errorf("rooms.least = %d must be 2 to nodes = %d", r.Least, nodes)
	case !(r.Zipf >= 0 && r.Zipf <= 10):
		return fmt.Errorf("rooms.zipf = %g must be 0 to 10", r.Zipf)
	}
	return nil
}

// Sizes draws them. The Rooms must have passed Check.
func (r Rooms) Sizes(nodes int, rand *rand.Rand) []int {
	if r.Count == 0 {
		return []int{nodes}
	}
	upTo := make([]float64, nodes-r.Least+1) // of weights
	sum := 0.0
	for i := range upTo {
		sum += math.Pow(float64(r.Least+i), -r.Zipf)
		upTo[i] = sum
	}
	out := make([]int, r.Count)
	for i := range out {
		at := rand.Float64() * sum
		out[i] = r.Least + min(sort.SearchFloat64s(upTo, at), len(upTo)-1)
	}
	return out
}

// Class is the size class of a room, for labels: the greatest power of two that is not above its size.
func Class(size int) int {
	class := 1
	for class*2 <= size {
		class *= 2
	}
	return class
}

// Arrivals are when something is said.
type Arrivals string

// The two of them.
const (
	Even    Arrivals = "even"    // at equal intervals
	Poisson Arrivals = "poisson" // by people who do not know of each other
)

// Check says what is wrong with a value.
func (a Arrivals) Check() error {
	if a != Even && a != Poisson {
		return fmt.Errorf("arrivals = %q must be even or poisson", string(a))
	}
	return nil
}

// Times of so many, from 0 on, with that mean interval.
func (a Arrivals) Times(count int, every time.Duration, rand *rand.Rand) []time.Duration {
	out := make([]time.Duration, count)
	at := time.Duration(0)
	for i := range out {
		if a == Poisson {
			at += time.Duration(rand.ExpFloat64() * float64(every))
			out[i] = at
		} else {
			out[i] = every * time.Duration(i)
		}
	}
	return out
}
