package simulations

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// merge puts labels of a setting and of an observation together, by key. What the
// observation says wins.
func merge(setting, own []Label) []Label {
	all := slices.Clone(own)
	for _, l := range setting {
		if !slices.ContainsFunc(own, func(o Label) bool { return o.Key == l.Key }) {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b Label) int { return strings.Compare(a.Key, b.Key) })
	return all
}

func labelKey(labels []Label) string {
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.Key)
		b.WriteByte(0)
		b.WriteString(l.Value)
		b.WriteByte(0)
	}
	return b.String()
}

// compareLabels orders label sets; values that are numbers by size.
func compareLabels(a, b []Label) int {
	return slices.CompareFunc(a, b, func(x, y Label) int {
		return cmp.Or(strings.Compare(x.Key, y.Key), CompareValues(x.Value, y.Value))
	})
}

// CompareValues orders values of labels: numbers and durations by size and before text.
func CompareValues(a, b string) int {
	x, isX := Number(a)
	y, isY := Number(b)
	switch {
	case isX && isY:
		return cmp.Compare(x, y)
	case isX:
		return -1
	case isY:
		return 1
	}
	return strings.Compare(a, b)
}

// Number is a label's value as a number, of a duration in seconds.
func Number(value string) (float64, bool) {
	if x, err := strconv.ParseFloat(value, 64); err == nil && x-x == 0 {
		return x, true
	}
	if d, err := time.ParseDuration(value); err == nil {
		return d.Seconds(), true
	}
	return 0, false
}
