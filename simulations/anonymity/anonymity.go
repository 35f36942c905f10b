// Package anonymity computes what somebody who sees all links of a mix network can say of where a packet
// went. It is pure: a Log is what was seen, in its order, and Follow is the conclusion.
//
// # How
//
// A mix keeps each packet for a time of its own, drawn from an exponential distribution. Such a time has no
// memory: of all packets that a mix holds, each is as likely to be the next one that leaves, however long it has been there.
// So who has seen all packets come and go knows of one that leaves that it is the followed one with the
// probability that the followed one is in the mix, divided by the number that the mix holds; and what remains in the
// mix is less likely to be it by as much. Follow does this along the log, from the place where the followed packet
// entered, until nothing is left in any mix. No approximation is in it: the result is the distribution
// over the permutations of the packets that fit what was seen, each weighted by its likelihood (TestAgainstAllPermutations).
//
// A mix that belongs to whoever looks tells it which packet is which; there every packet keeps its probability.
//
// The entropy of this distribution, in bits, is the measure of Diaz and others, and of Serjantov and Danezis (both 2002), and 2 to
// its power the effective size of the anonymity set. MiXiM (Ben Guirat, Gosain, Diaz, 2021), whose published
// figures package mixing is checked against, measures the same.
//
// Read anonymity.go, limit.go (closed forms).
package anonymity

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrOpen says that a log ends while the followed packet may still be in a mix.
var ErrOpen = errors.New("the log ends before the packet has left for certain")

// A Packet is one that was seen. Its number says nothing to who looks but through the log.
type Packet int32

// Lost is the end of a packet that nobody got.
const Lost = -1

type what uint8

const (
	enter what = iota
	drop
	leave
	out
	die
)

// A step is 16 octets, since there are millions.
type step struct {
	packet Packet
	at     int32 // mix, or end
	held   int32 // leave: how many the mix held before
	what   what
}

// A Log is what is seen of a network, in the order in which it happens. It belongs to one goroutine.
type Log struct {
	bad   []bool
	held  []int32
	steps []step
	count int32
	first map[Packet]int // of those that are to be followed, the index of their first step

	// Of Follow, kept to be used again.
	inMix []float64
	of    []float64
}

// NewLog begins a log of as many mixes as bad is long. Those that are bad tell which packet is which.
func NewLog(bad []bool) *Log {
	return &Log{bad: bad, held: make([]int32, len(bad)), inMix: make([]float64, len(bad)), first: map[Packet]int{}}
}

// Packet makes a new one. It is on no link yet.
func (l *Log) Packet() Packet {
	l.count++
	return Packet(l.count - 1)
}

// Target makes a new one that Follow can follow.
func (l *Log) Target() Packet {
	p := l.Packet()
	l.first[p] = len(l.steps)
	return p
}

// Held is how many packets a mix holds.
func (l *Log) Held(mix int) int { return int(l.held[mix]) }

// Steps is how many were logged.
func (l *Log) Steps() int { return len(l.steps) }

// add doubles the room, where append would copy more often.
func (l *Log) add(s step) {
	if len(l.steps) == cap(l.steps) {
		l.steps = slices.Grow(l.steps, len(l.steps)+1024)
	}
	l.steps = append(l.steps, s)
}

// Enter: a packet comes to a mix, or is made there, and is kept.
func (l *Log) Enter(p Packet, mix int) {
	l.add(step{p, int32(mix), 0, enter})
	l.held[mix]++
}

// Drop: a packet comes to a mix, which does not keep it. That is not seen: what is seen is that it comes.
func (l *Log) Drop(p Packet, mix int) { l.add(step{p, int32(mix), 0, drop}) }

// Leave: a packet that the mix holds leaves it.
func (l *Log) Leave(p Packet, mix int) {
	l.add(step{p, int32(mix), l.held[mix], leave})
	l.held[mix]--
}

// Out: a packet is where it ends, or is lost on a link, for all to see.
func (l *Log) Out(p Packet, end int) { l.add(step{p, int32(end), 0, out}) }

// Die: a mix loses all that it holds, for all to see; the packets are not logged any more.
func (l *Log) Die(mix int) {
	l.add(step{-1, int32(mix), l.held[mix], die})
	l.held[mix] = 0
}

// A Place is a packet that may be the followed one.
type Place struct {
	Packet Packet // or -1: one of those that a mix had when it died
	End    int    // or Lost
	P      float64
}

// Follow says which packets that came to an end may be the followed one, a Target, and how likely. What is below a
// millionth in all is left out. The error is ErrOpen.
func (l *Log) Follow(target Packet) ([]Place, error) {
	const rest = 1e-6
	begin, ok := l.first[target]
	if !ok {
		panic(fmt.Sprintf("anonymity: packet %d was not made to be followed", target))
	}
	if n := int(l.count); len(l.of) < n {
		l.of = make([]float64, n+n/2)
	}
	clear(l.inMix)
	touched := []Packet{target}
	defer func() {
		for _, p := range touched {
			l.of[p] = 0
		}
	}()
	l.of[target] = 1
	var places []Place
	gone, dropped := 0.0, 0.0
	for _, s := range l.steps[begin:] {
		p := 0.0
		if s.packet >= 0 {
			p = l.of[s.packet]
		}
		switch s.what {
		case enter:
			if !l.bad[s.at] {
				l.inMix[s.at] += p
			}
		case drop:
			// Who sees all links has not seen that it was dropped: what comes out next may be it, or so it looks.
			if !l.bad[s.at] {
				l.inMix[s.at] += p
			} else {
				dropped += p
			}
		case leave:
			if l.bad[s.at] {
				continue
			}
			if in := l.inMix[s.at]; in > 0 {
				p = in / float64(s.held)
				if s.held == 1 {
					p = in
				}
				l.inMix[s.at] -= p
				l.of[s.packet] = p
				touched = append(touched, s.packet)
			} else if p > 0 {
				l.of[s.packet] = 0
			}
		case out:
			if p > 0 {
				places = append(places, Place{s.packet, int(s.at), p})
				gone += p
			}
		case die:
			if p = l.inMix[s.at]; p > 0 {
				places = append(places, Place{-1, Lost, p})
				gone += p
				l.inMix[s.at] = 0
			}
		}
		if gone+dropped > 1-rest {
			return places, nil
		}
	}
	return places, fmt.Errorf("%w: %.3g of it is still inside", ErrOpen, 1-gone-dropped)
}

// Entropy of probabilities, in bits. What they lack to one counts for nothing.
func Entropy(places []Place) float64 {
	h := 0.0
	for _, x := range places {
		if x.P > 0 {
			h -= x.P * math.Log2(x.P)
		}
	}
	return h
}

// Ends puts together what ends at the same place, in the order in which they are met. Each lost packet stays one of its own.
func Ends(places []Place) []Place {
	at := map[int]int{}
	var out []Place
	for _, x := range places {
		i, ok := at[x.End]
		if !ok || x.End == Lost {
			at[x.End] = len(out)
			out = append(out, x)
			continue
		}
		out[i].P += x.P
	}
	return out
}

// Likeliest is the best guess, the earlier one of two that are as good; false if there is none.
func Likeliest(places []Place) (best Place, ok bool) {
	for _, x := range places {
		if x.P > best.P {
			best, ok = x, true
		}
	}
	return best, ok
}
