package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Summary adds up what came of many seeds.
type Summary struct {
	Seeds, Broken int
	Events        uint64
	Time          time.Duration // virtual
	Stats
}

// Add adds a result.
func (s *Summary) Add(r Result) {
	s.Seeds++
	if r.Broken != "" {
		s.Broken++
	}
	s.Events += r.Events
	s.Time += r.Time
	for _, x := range [...]struct{ sum, one *int }{
		{&s.Troubles, &r.Troubles}, {&s.Kills, &r.Kills}, {&s.Partitions, &r.Partitions}, {&s.Restores, &r.Restores},
		{&s.HandOvers, &r.HandOvers}, {&s.Moves, &r.Moves}, {&s.Lies, &r.Lies}, {&s.Stalls, &r.Stalls}, {&s.Sent, &r.Sent}, {&s.Lost, &r.Lost},
		{&s.Torn, &r.Torn}, {&s.DiskFailed, &r.DiskFailed}, {&s.Writes, &r.Writes}, {&s.Submitted, &r.Submitted},
		{&s.Finals, &r.Finals}, {&s.Elections, &r.Elections}, {&s.Suspicions, &r.Suspicions}, {&s.Aside, &r.Aside},
		{&s.Convicted, &r.Convicted}, {&s.Stopped, &r.Stopped}, {&s.GivenUp, &r.GivenUp}, {&s.Forks, &r.Forks},
	} {
		*x.sum += *x.one
	}
	s.MostElections = max(s.MostElections, r.MostElections)
	s.Recovery = append(s.Recovery, r.Recovery...)
}

// String is a table for people.
func (s *Summary) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-24s"+format+"\n", append([]any{name}, args...)...)
	}
	line("seeds", "%d, broken %d", s.Seeds, s.Broken)
	line("virtual time", "%s, %d events", s.Time.Round(time.Second), s.Events)
	line("went wrong", "%d troubles: %d kills, %d partitions, %d lies, %d hubs stalled; %d backups restored", s.Troubles, s.Kills, s.Partitions, s.Lies, s.Stalls, s.Restores)
	line("people", "%d hand overs, %d moves by administrators", s.HandOvers, s.Moves)
	line("messages", "%d sent, %d lost", s.Sent, s.Lost)
	line("disk", "%d writes, %d met by a crash, %d failed", s.Writes, s.Torn, s.DiskFailed)
	line("entries", "%d submitted, %d final, %d set aside", s.Submitted, s.Finals, s.Aside)
	line("elections", "%d, at most %d in a second in one world; %d suspicions", s.Elections, s.MostElections, s.Suspicions)
	line("liars", "convicted %d times, %d rooms stopped, %d histories given up, %d forks left", s.Convicted, s.Stopped, s.GivenUp, s.Forks)
	if n := len(s.Recovery); n > 0 {
		all := slices.Sorted(slices.Values(s.Recovery))
		line("a room is live again", "p50 %s, p99 %s, at most %s after everything is healed (bound %s)",
			round(all[n/2]), round(all[n*99/100]), round(all[n-1]), Bound)
	}
	return b.String()
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
