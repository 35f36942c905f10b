// Package report makes pictures and one page of a directory of results that
// simulations.Result.Save wrote: report.html, which needs no network, and each plot
// as an SVG file beside it.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mimid/mimid/simulations"
)

//go:embed page.html
var page string

// picture is one plot on the page.
type picture struct {
	Title, Caption, File string
	SVG                  template.HTML // made by us
}

// Write makes the report of a directory, and returns the files that it wrote. The
// simulation says which plots there are.
func Write(dir string, s simulations.Simulation) ([]string, error) {
	saved, err := simulations.Load(dir)
	if err != nil {
		return nil, err
	}
	if saved.Summary.Simulation != s.Name {
		return nil, fmt.Errorf("%s holds results of %q, not of %q", dir, saved.Summary.Simulation, s.Name)
	}
	var files []string
	put := func(name string, data []byte) error {
		path := filepath.Join(dir, name)
		files = append(files, path)
		return simulations.Replace(path, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	}
	var pictures []picture
	for _, p := range s.Plots {
		p = swept(p, saved.Summary.Groups)
		svg, err := drawn(p, saved.Summary.Groups)
		if err != nil {
			return nil, err
		}
		name := p.Name + ".svg"
		if svg == nil { // an earlier report's would show what is no longer there
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
				return nil, err
			}
			continue
		}
		if err := put(name, svg); err != nil {
			return nil, err
		}
		pictures = append(pictures, picture{p.Title, p.Caption, name, inline(svg)})
	}
	t, err := template.New("page").Funcs(template.FuncMap{"number": number, "labels": labelText, "seconds": seconds, "across": across, "down": down}).Parse(page)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := t.Execute(&b, map[string]any{"S": saved.Summary, "Doc": s.Doc, "Pictures": pictures, "Graph": network(saved.Graph), "Scenario": saved.Scenario}); err != nil {
		return nil, err
	}
	return files, put("report.html", []byte(b.String()))
}

var xmlHead = regexp.MustCompile(`(?s)^\s*<\?xml.*?\?>\s*(<!--.*?-->\s*)*(<!DOCTYPE.*?>)?`)

// inline is an SVG file without what stands before its element.
func inline(svg []byte) template.HTML { return template.HTML(xmlHead.ReplaceAll(svg, nil)) }

// number writes a value with four digits at most.
func number(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e7 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	s := strconv.FormatFloat(x, 'g', 4, 64)
	if !strings.Contains(s, "e") {
		return s
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

func labelText(labels []simulations.Label) string {
	var parts []string
	for _, l := range labels {
		parts = append(parts, l.Key+" = "+l.Value)
	}
	return strings.Join(parts, ", ")
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}

// The picture of a network is 1000 wide and 520 high.
func across(x float64) string { return strconv.FormatFloat(x*980+10, 'f', 1, 64) }
func down(y float64) string   { return strconv.FormatFloat(y*500+10, 'f', 1, 64) }

// net is a network as the page draws it.
type net struct {
	Lines  []line
	Dots   []dot
	Groups []group
	Note   string
	Width  float64 // of lines
	Radius float64 // of dots
}

type line struct{ X1, Y1, X2, Y2 float64 }

type dot struct {
	X, Y        float64
	Name, Color string
}

type group struct{ Name, Color string }

func network(g *simulations.Graph) *net {
	if g == nil || len(g.Nodes) == 0 || len(g.Nodes) > simulations.MaxDrawn {
		return nil
	}
	n := &net{Note: g.Note, Width: 1, Radius: 6}
	if len(g.Edges) > 300 {
		n.Width, n.Radius = .4, 4
	}
	colors := map[string]string{}
	for _, x := range g.Nodes {
		if _, ok := colors[x.Group]; !ok {
			c := palette[len(colors)%len(palette)]
			colors[x.Group] = fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B)
			if x.Group != "" {
				n.Groups = append(n.Groups, group{x.Group, colors[x.Group]})
			}
		}
		n.Dots = append(n.Dots, dot{x.X, x.Y, x.Name, colors[x.Group]})
	}
	for _, e := range g.Edges {
		if e[0] < 0 || e[1] < 0 || e[0] >= len(g.Nodes) || e[1] >= len(g.Nodes) {
			continue
		}
		a, b := g.Nodes[e[0]], g.Nodes[e[1]]
		n.Lines = append(n.Lines, line{a.X, a.Y, b.X, b.Y})
	}
	return n
}
