package report

import (
	"bytes"
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/mimid/mimid/simulations"
)

// palette begins with Okabe and Ito's, which people who cannot tell red from green can read.
var palette = []color.RGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff}, {0x60, 0x60, 0x60, 0xff}, {0xb0, 0xa0, 0x20, 0xff},
	{0x00, 0x00, 0x00, 0xff}, {0x8c, 0x56, 0x4b, 0xff},
}

// series is one line of a plot.
type series struct {
	name   string
	groups []simulations.Group
}

// drawn makes a plot as SVG. It returns nothing if there is nothing to draw.
func drawn(p simulations.Plot, groups []simulations.Group) ([]byte, error) {
	var mine []simulations.Group
	for _, g := range groups {
		if g.Metric == p.Metric {
			mine = append(mine, g)
		}
	}
	if len(mine) == 0 {
		return nil, nil
	}
	pl := plot.New()
	pl.Title.Text = p.Title
	pl.Title.Padding = vg.Points(6)
	pl.Title.TextStyle.Font.Size = 13
	for _, a := range []*plot.Axis{&pl.X, &pl.Y} {
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size = 12, 11
	}
	pl.Legend.TextStyle.Font.Size = 12
	pl.Legend.Top, pl.Legend.Left = true, true
	pl.Legend.Padding = vg.Points(3)
	pl.Add(plotter.NewGrid())
	lines := split(mine, p.By)
	if p.Kind != simulations.Distribution && !slices.ContainsFunc(mine, func(g simulations.Group) bool { return g.Label(p.X) != "" }) {
		return nil, nil // it was not swept over
	}
	var err error
	switch p.Kind {
	case simulations.Distribution:
		pl.X.Label.Text, pl.Y.Label.Text = axis(p.Metric, mine[0].Unit), "share"
		pl.Y.Min, pl.Y.Max = 0, 1
		err = distribution(pl, p, lines)
		pl.Legend.Top, pl.Legend.Left = false, false
	default:
		pl.X.Label.Text, pl.Y.Label.Text = p.X, axis(p.Metric, mine[0].Unit)
		err = overX(pl, p, lines)
	}
	if err != nil {
		return nil, fmt.Errorf("drawing %s: %w", p.Name, err)
	}
	if p.LogX && pl.X.Min > 0 {
		pl.X.Scale, pl.X.Tick.Marker = plot.LogScale{}, marks{pl.X.Tick.Marker}
	}
	if p.LogY && pl.Y.Min > 0 {
		pl.Y.Scale, pl.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	} else if p.Kind != simulations.Distribution {
		pl.Y.Min = min(0, pl.Y.Min)
		pl.Y.Max += (pl.Y.Max - pl.Y.Min) * .15 // room for the legend
	}
	if len(lines) == 1 && lines[0].name == "" {
		pl.Legend = plot.NewLegend()
	}
	c := vgsvg.New(16*vg.Centimeter, 10*vg.Centimeter)
	pl.Draw(draw.Crop(draw.New(c), 0, -vg.Points(14), 0, 0)) // the last mark's label is wider than its place
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("drawing %s: %w", p.Name, err)
	}
	return b.Bytes(), nil
}

func axis(metric, unit string) string {
	if unit == "1" {
		return metric
	}
	return metric + " (" + unit + ")"
}

// split makes a line of the groups of each value of a label.
func split(groups []simulations.Group, by string) []series {
	var all []series
	for _, g := range groups {
		name := g.Label(by)
		i := slices.IndexFunc(all, func(s series) bool { return s.name == name })
		if i < 0 {
			i = len(all)
			all = append(all, series{name: name})
		}
		all[i].groups = append(all[i].groups, g)
	}
	slices.SortFunc(all, func(a, b series) int { return simulations.CompareValues(a.name, b.name) })
	return all
}

// overX draws medians with their band, or means with their interval, over a label that is a
// number. Labels that are not are counted from 1, and named on the axis.
func overX(pl *plot.Plot, p simulations.Plot, lines []series) error {
	xs, names := places(lines, p.X)
	for i, l := range lines {
		c := palette[i%len(palette)]
		var mid plotter.XYs
		var low, high plotter.XYs
		for _, x := range xs {
			v, ok := at(l.groups, p.X, x.name)
			if !ok {
				continue
			}
			m, lo, hi := v.P50, v.P5, v.P95
			if p.Kind == simulations.Means {
				m, lo, hi = v.Mean, v.Of.Low, v.Of.High
				if v.Seeds < 2 {
					lo, hi = m, m
				}
			}
			mid = append(mid, plotter.XY{X: x.at, Y: m})
			low = append(low, plotter.XY{X: x.at, Y: lo})
			high = append(high, plotter.XY{X: x.at, Y: hi})
		}
		if len(mid) == 0 {
			continue
		}
		if len(mid) > 1 {
			slices.Reverse(high)
			band, err := plotter.NewPolygon(append(slices.Clone(low), high...))
			if err != nil {
				return err
			}
			slices.Reverse(high)
			band.LineStyle.Width = 0
			band.Color = color.NRGBA{c.R, c.G, c.B, 0x33}
			pl.Add(band)
		} else {
			bar, err := plotter.NewLine(plotter.XYs{low[0], high[0]})
			if err != nil {
				return err
			}
			bar.Color, bar.Width = c, vg.Points(1)
			pl.Add(bar)
		}
		line, points, err := plotter.NewLinePoints(mid)
		if err != nil {
			return err
		}
		line.Color, points.Color = c, c
		line.Width, points.Radius, points.Shape = vg.Points(1.6), vg.Points(2.4), draw.CircleGlyph{}
		pl.Add(line, points)
		pl.Legend.Add(legend(p.By, l.name), line, points)
	}
	if names {
		var n []string
		for _, x := range xs {
			n = append(n, x.name)
		}
		pl.X.Min, pl.X.Max = .5, float64(len(xs))+.5
		pl.X.Tick.Marker = named(n)
	} else {
		var ticks plot.ConstantTicks
		for _, x := range xs {
			ticks = append(ticks, plot.Tick{Value: x.at, Label: x.name})
		}
		if len(ticks) <= 12 {
			pl.X.Tick.Marker = ticks
		}
	}
	return nil
}

type place struct {
	name string
	at   float64
}

// places are the values of a label; names says that they are not numbers.
func places(lines []series, key string) (all []place, names bool) {
	for _, l := range lines {
		for _, g := range l.groups {
			v := g.Label(key)
			if slices.ContainsFunc(all, func(p place) bool { return p.name == v }) {
				continue
			}
			x, ok := simulations.Number(v)
			names = names || !ok
			all = append(all, place{v, x})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return simulations.CompareValues(a.name, b.name) })
	if names {
		for i := range all {
			all[i].at = float64(i + 1)
		}
	}
	return all, names
}

// at pools the groups that have a value of a label.
func at(groups []simulations.Group, key, value string) (simulations.Group, bool) {
	var found []simulations.Group
	for _, g := range groups {
		if g.Label(key) == value {
			found = append(found, g)
		}
	}
	if len(found) == 0 {
		return simulations.Group{}, false
	}
	if len(found) == 1 {
		return found[0], true
	}
	return simulations.Pool(found), true
}

// legend names a line.
func legend(by, name string) string {
	if name == "" {
		return ""
	}
	return by + " = " + name
}

func distribution(pl *plot.Plot, p simulations.Plot, lines []series) error {
	const steps = 400
	for i, l := range lines {
		v := simulations.Pool(l.groups).Values
		var xy plotter.XYs
		for k := range steps + 1 {
			q := float64(k) / steps
			x := simulations.Quantile(v, q)
			if p.LogX && x <= 0 {
				continue
			}
			xy = append(xy, plotter.XY{X: x, Y: q})
		}
		if len(xy) == 0 {
			continue
		}
		line, err := plotter.NewLine(xy)
		if err != nil {
			return err
		}
		line.Color, line.Width = palette[i%len(palette)], vg.Points(1.6)
		pl.Add(line)
		pl.Legend.Add(legend(p.By, l.name), line)
	}
	return nil
}

// named puts names on an axis at 1, 2, 3.
type named []string

func (n named) Ticks(_, _ float64) []plot.Tick {
	var all []plot.Tick
	for i, s := range n {
		all = append(all, plot.Tick{Value: float64(i + 1), Label: s})
	}
	return all
}

// marks keeps ticks that were chosen, and makes those of a logarithmic axis otherwise.
type marks struct{ plot.Ticker }

func (m marks) Ticks(low, high float64) []plot.Tick {
	if c, ok := m.Ticker.(plot.ConstantTicks); ok {
		return c
	}
	return plot.LogTicks{Prec: -1}.Ticks(low, high)
}
