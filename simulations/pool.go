package simulations

import "slices"

// Pool takes groups of one metric together as if their labels were the same. It has no
// intervals, since it no longer knows what came from which seed.
func Pool(groups []Group) Group {
	if len(groups) == 1 {
		return groups[0]
	}
	g := Group{Metric: groups[0].Metric, Unit: groups[0].Unit}
	for _, x := range groups {
		g.Values = append(g.Values, x.Values...)
	}
	slices.Sort(g.Values)
	g.fill()
	return g
}

// fill computes what follows from Values, which are in ascending order.
func (g *Group) fill() {
	v := g.Values
	g.Count = len(v)
	g.Min, g.Max, g.Mean = v[0], v[len(v)-1], mean(v)
	g.P5, g.P50, g.P95, g.P99 = Quantile(v, .05), Quantile(v, .5), Quantile(v, .95), Quantile(v, .99)
}
