package simulations

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
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

// CompareValues orders values of labels: numbers by size and before text.
func CompareValues(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return strings.Compare(a, b)
}
