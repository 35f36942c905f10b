package simulations

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// A Group is all that was observed of one metric with one set of labels, over all
// runs, settings being labels too.
type Group struct {
	Metric string   `json:"metric"`
	Unit   string   `json:"unit"`
	Labels []Label  `json:"labels,omitempty"` // by key
	Count  int      `json:"count"`
	Seeds  int      `json:"seeds"`
	Min    float64  `json:"min"`
	P5     float64  `json:"p5"`
	P50    float64  `json:"p50"`
	P95    float64  `json:"p95"`
	P99    float64  `json:"p99"`
	Max    float64  `json:"max"`
	Mean   float64  `json:"mean"`
	Of     Interval `json:"mean_ci95"`
	OfP50  Interval `json:"p50_ci95"`
	OfP95  Interval `json:"p95_ci95"`

	Values []float64 `json:"-"` // in ascending order
}

// An Interval has a statistic's value with a probability of 95 %, taken over seeds: each seed is one
// sample of it, and samples are taken to be normal (Student's t). With one seed it is
// unknown, and both are 0.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Groups sorts what was observed. Groups come in the order of metric and labels,
// numbers by size.
func (r *Result) Groups() []Group {
	type cell struct {
		group  *Group
		bySeed map[uint64][]float64
	}
	cells := map[string]*cell{}
	for _, o := range r.Outcomes {
		for _, ob := range o.Observations {
			labels := merge(o.Setting, ob.Labels)
			key := ob.Metric + "\x00" + labelKey(labels)
			c := cells[key]
			if c == nil {
				c = &cell{&Group{Metric: ob.Metric, Unit: ob.Unit, Labels: labels}, map[uint64][]float64{}}
				cells[key] = c
			}
			c.group.Values = append(c.group.Values, ob.Value)
			c.bySeed[o.Seed] = append(c.bySeed[o.Seed], ob.Value)
		}
	}
	var all []Group
	for _, c := range cells {
		g := c.group
		slices.Sort(g.Values)
		g.fill()
		g.Seeds = len(c.bySeed)
		var means, p50s, p95s []float64
		for _, v := range c.bySeed {
			slices.Sort(v)
			means, p50s, p95s = append(means, mean(v)), append(p50s, Quantile(v, .5)), append(p95s, Quantile(v, .95))
		}
		g.Of, g.OfP50, g.OfP95 = interval(means), interval(p50s), interval(p95s)
		all = append(all, *g)
	}
	slices.SortFunc(all, func(a, b Group) int {
		return cmp.Or(strings.Compare(a.Metric, b.Metric), compareLabels(a.Labels, b.Labels))
	})
	return all
}

// Quantile of values in ascending order, between neighbours where it falls between
// them (type 7 of Hyndman and Fan, as R and NumPy do).
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

func mean(v []float64) float64 {
	// In ascending order, so that the sum does not depend on which run came first.
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// interval is the mean of samples with what it may be off.
func interval(samples []float64) Interval {
	n := len(samples)
	if n < 2 {
		return Interval{}
	}
	slices.Sort(samples)
	m, squares := mean(samples), 0.0
	for _, x := range samples {
		squares += (x - m) * (x - m)
	}
	off := student(n-1) * math.Sqrt(squares/float64(n-1)/float64(n))
	return Interval{m - off, m + off}
}

// student is the 97.5th percentile of Student's t distribution.
func student(freedom int) float64 {
	table := [...]float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
		2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
		2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042}
	if freedom <= len(table) {
		return table[freedom-1]
	}
	// Cornish-Fisher around the normal's 1.95996; off by less than 0.001 from 30 on.
	z, f := 1.959964, float64(freedom)
	return z + (z*z*z+z)/(4*f) + (5*z*z*z*z*z+16*z*z*z+3*z)/(96*f*f)
}

// Label is the value of a label, or nothing.
func (g Group) Label(key string) string {
	for _, l := range g.Labels {
		if l.Key == key {
			return l.Value
		}
	}
	return ""
}

// Statistic is one of min, p5, p50, p95, p99, max, mean, count.
func (g Group) Statistic(name string) (float64, bool) {
	switch name {
	case "min":
		return g.Min, true
	case "p5":
		return g.P5, true
	case "p50":
		return g.P50, true
	case "p95":
		return g.P95, true
	case "p99":
		return g.P99, true
	case "max":
		return g.Max, true
	case "mean":
		return g.Mean, true
	case "count":
		return float64(g.Count), true
	}
	return 0, false
}
