package report

import (
	"slices"
	"strconv"
	"time"

	"github.com/mimid/mimid/simulations"
)

// swept is a plot over what was swept. A simulation says over what its plots are, but every parameter can be swept: if
// that label is not there, another one that has several values takes its place. The caption speaks of the first one, and goes.
func swept(p simulations.Plot, groups []simulations.Group) simulations.Plot {
	var keys []string // labels of the metric with several values
	first := map[string]string{}
	for _, g := range groups {
		if g.Metric != p.Metric {
			continue
		}
		for _, l := range g.Labels {
			if v, seen := first[l.Key]; !seen {
				first[l.Key] = l.Value
			} else if v != l.Value && !slices.Contains(keys, l.Key) {
				keys = append(keys, l.Key)
			}
		}
	}
	other := func(than string, axis bool) string {
		left := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == than })
		for _, k := range left {
			if measured(first[k]) == axis {
				return k
			}
		}
		if len(left) > 0 {
			return left[0]
		}
		return ""
	}
	if _, there := first[p.X]; !there && p.Kind != simulations.Distribution {
		x := other(p.By, true)
		if x == "" {
			return p
		}
		p.X, p.LogX, p.Caption = x, false, ""
		if p.By == "" {
			p.By = other(x, false) // its values would be one line else
		}
	}
	if _, there := first[p.By]; !there && p.By != "" {
		p.By = other(p.X, false)
	}
	return p
}

// measured says whether a value has a place on an axis.
func measured(value string) bool {
	if _, err := strconv.ParseFloat(value, 64); err == nil {
		return true
	}
	_, err := time.ParseDuration(value)
	return err == nil
}
