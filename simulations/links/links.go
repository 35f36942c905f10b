// Package links says how long messages are on their way: models of the latency
// between two nodes, each with its source. None keeps a table of all pairs, so that
// 100,000 nodes cost as little as ten for each.
//
//	fixed    every pair the same: Low
//	uniform  each pair its own, drawn once between Low and High
//	star     each node has a way to one middle, so that with two such ways a pair takes Low to High
//	cities   nodes are in ten cities by turns; between cities half of the round trip that was
//	         measured between data centers there (cities.go), and to either node its
//	         own access of 0 to 5 ms
//
// Latencies are one way, symmetric, and the same for the same seed. Jitter is
// drawn for each message.
package links

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/simulations"
)

// A Spec is a model's parameters in a scenario.
type Spec struct {
	Model  string               `toml:"model" doc:"fixed, uniform, star or cities"`
	Low    simulations.Duration `toml:"low" doc:"one way; least latency (uniform, star), or the only one (fixed)"`
	High   simulations.Duration `toml:"high" doc:"greatest latency (uniform, star)"`
	Jitter float64              `toml:"jitter" doc:"share of its latency by which a message may be later"`
	Loss   float64              `toml:"loss" doc:"share of packets that are lost and sent again, a round trip and a half later"`
	Uplink float64              `toml:"uplink" doc:"Mbit/s at which each node sends; 0: without bound"`
}

// Check says what is wrong with a Spec.
func (s Spec) Check() error {
	switch {
	case s.Model != "fixed" && s.Model != "uniform" && s.Model != "star" && s.Model != "cities":
		return fmt.Errorf("links.model = %q does not exist; there are fixed, uniform, star, cities", s.Model)
	case s.Low < 0 || s.High < 0 || s.High < s.Low && (s.Model == "uniform" || s.Model == "star"):
		return fmt.Errorf("links.low = %s and links.high = %s: they must not be negative, and high not below low", s.Low.D(), s.High.D())
	case !(s.Jitter >= 0 && s.Jitter <= 10):
		return fmt.Errorf("links.jitter = %g must be 0 to 10", s.Jitter)
	case !(s.Loss >= 0 && s.Loss < 1):
		return fmt.Errorf("links.loss = %g must be 0 to below 1", s.Loss)
	case !(s.Uplink >= 0) || math.IsInf(s.Uplink, 0):
		return fmt.Errorf("links.uplink = %g must not be negative", s.Uplink)
	}
	return nil
}

// A Model is a Spec for some nodes.
type Model struct {
	spec   Spec
	seed   uint64
	access []time.Duration // star, cities: each node's own way
	own    func(a, b int) time.Duration
}

// Own makes a model of one's own: latency is how long a small message takes from a to b, one way, and has to be the same
// for the same two. Jitter, loss and uplink are those of the Spec, whose model, low and high say nothing then.
func Own(latency func(a, b int) time.Duration, s Spec) *Model { return &Model{spec: s, own: latency} }

// New makes the model for a number of nodes. The Spec must have passed Check.
func New(s Spec, nodes int, r *rand.Rand) *Model {
	m := &Model{spec: s, seed: r.Uint64()}
	low, high := s.Low.D()/2, s.High.D()/2
	if s.Model == "cities" {
		low, high = 0, cityAccess
	}
	if s.Model == "star" || s.Model == "cities" {
		m.access = make([]time.Duration, nodes)
		for i := range m.access {
			m.access[i] = low + time.Duration(r.Float64()*float64(high-low))
		}
	}
	return m
}

// Latency is how long a small message takes from one node to another, without jitter.
func (m *Model) Latency(a, b int) time.Duration {
	if m.own != nil {
		return m.own(a, b)
	}
	switch m.spec.Model {
	case "fixed":
		return m.spec.Low.D()
	case "uniform":
		low, high := m.spec.Low.D(), m.spec.High.D()
		return low + time.Duration(float64(high-low)*m.pair(a, b))
	case "star":
		return m.access[a] + m.access[b]
	default:
		return cityRTT(a%len(cities), b%len(cities))/2 + m.access[a] + m.access[b]
	}
}

// pair is a number from 0 to 1 that belongs to a pair, whichever comes first.
func (m *Model) pair(a, b int) float64 {
	hi, lo := bits.Mul64(m.seed^uint64(min(a, b))*0x9e3779b97f4a7c15, uint64(max(a, b))*0xd6e8feb86659fd93|1)
	x := (hi ^ lo) * 0xff51afd7ed558ccd
	return float64((x^x>>32)>>11) / (1 << 53)
}

// Transit draws how long one message of some octets is on its way, once it is sent:
// latency, jitter, and a round trip and a half for each time that one of its packets is lost.
func (m *Model) Transit(a, b, size int, r *rand.Rand) time.Duration {
	d := m.Latency(a, b)
	way := d
	if m.spec.Jitter > 0 {
		d += time.Duration(m.spec.Jitter * r.Float64() * float64(way))
	}
	if m.spec.Loss > 0 {
		const packet, again = 1200, 20
		whole := math.Pow(1-m.spec.Loss, float64((size+packet-1)/packet))
		for range again {
			if r.Float64() < whole {
				break
			}
			d += 3 * way
		}
	}
	return d
}

// Sending is how long a node's line is busy with some octets.
func (m *Model) Sending(size int) time.Duration {
	if m.spec.Uplink == 0 {
		return 0
	}
	return time.Duration(float64(size) * 8 / m.spec.Uplink * 1e3)
}

// Place is where a node is drawn, each coordinate between 0 and 1, and its group.
func (m *Model) Place(i int, r *rand.Rand) (x, y float64, group string) {
	if m.spec.Model == "cities" && m.own == nil {
		c := cities[i%len(cities)]
		return (c.lon+180)/360 + .03*(r.Float64()-.5), (90-c.lat)/180 + .03*(r.Float64()-.5), c.name
	}
	return r.Float64(), r.Float64(), ""
}
