package introduction

import "time"

// Overlap is for how long a week's tokens are taken after its end, and Ahead how long before its
// beginning, for clocks that differ. It is for so long that answers are found.
const (
	Overlap = weekLength
	Ahead   = 10 * time.Minute
)

const weekLength = 7 * 24 * time.Hour

// Week counts weeks since 1970 began. An issuer has a key for each, with which it signs in that
// week only.
type Week uint32

// WeekOf is the week of a moment; times before 1970 are in the first.
func WeekOf(t time.Time) Week {
	return Week(min(uint64(max(t.Unix(), 0))/uint64(weekLength/time.Second), 1<<32-1))
}

// Begins is the week's first moment.
func (w Week) Begins() time.Time { return time.Unix(int64(w)*int64(weekLength/time.Second), 0).UTC() }

// Over is the moment from which on no token of the week is taken: what was kept of them can go.
func (w Week) Over() time.Time { return w.Begins().Add(weekLength + Overlap) }

// Takes says whether tokens of the week are taken at a moment.
func (w Week) Takes(now time.Time) bool {
	return !now.Before(w.Begins().Add(-Ahead)) && now.Before(w.Over())
}
