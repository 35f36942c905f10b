package simulations

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Golden is what a shipped scenario is known to give, with how far off a result may be.
type Golden struct {
	// Source says when and how the figures were made.
	Source string     `json:"source"`
	Want   []Expected `json:"want"`
}

// Expected is one statistic of one group.
type Expected struct {
	Metric    string            `json:"metric"`
	Labels    map[string]string `json:"labels,omitempty"` // all of the group's
	Statistic string            `json:"statistic"`
	Value     float64           `json:"value"`
	Within    float64           `json:"within"` // in the metric's unit
}

// A Deviation is something that is not as expected.
type Deviation struct {
	Expected
	Got float64 `json:"got"`
	Why string  `json:"why"`
}

// ParseGolden reads a golden summary.
func ParseGolden(data []byte) (Golden, error) {
	var g Golden
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&g); err != nil {
		return g, fmt.Errorf("reading a golden summary: %w", err)
	}
	if len(g.Want) == 0 {
		return g, fmt.Errorf("reading a golden summary: it wants nothing")
	}
	return g, nil
}

// Compare returns what is not as expected.
func (g Golden) Compare(groups []Group) []Deviation {
	var all []Deviation
	for _, e := range g.Want {
		i := slices.IndexFunc(groups, func(x Group) bool {
			if x.Metric != e.Metric || len(x.Labels) != len(e.Labels) {
				return false
			}
			for _, l := range x.Labels {
				if v, ok := e.Labels[l.Key]; !ok || v != l.Value {
					return false
				}
			}
			return true
		})
		if i < 0 {
			all = append(all, Deviation{e, 0, "nothing of this kind was observed"})
			continue
		}
		got, ok := groups[i].Statistic(e.Statistic)
		switch {
		case !ok:
			all = append(all, Deviation{e, 0, fmt.Sprintf("there is no statistic %q", e.Statistic)})
		case !(math.Abs(got-e.Value) <= e.Within):
			all = append(all, Deviation{e, got, fmt.Sprintf("%s of %s is %.4g %s, expected %.4g within %.4g", e.Statistic, e.Metric, got, groups[i].Unit, e.Value, e.Within)})
		}
	}
	return all
}
