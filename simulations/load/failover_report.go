package load

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// FailoverReport is what came out. Times are in milliseconds.
type FailoverReport struct {
	CPUs           int    `json:"cpus"`
	Go             string `json:"go"`
	Providers      int    `json:"providers"`
	Frozen         bool   `json:"frozen"` // else killed
	IntervalMillis int64  `json:"interval_ms"`

	// Deaths in their order, and what members at the other providers noticed. Told: that
	// the hub is silent, or another one, whatever came first. Changed: that it is another
	// one. Accepts: the first message sent after the death was accepted, of any
	// member; Served: of each.
	Deaths  []Death `json:"deaths"`
	Told    Spread  `json:"told_ms"`
	Changed Spread  `json:"changed_ms"`
	Accepts Spread  `json:"accepts_ms"`
	Served  Spread  `json:"served_ms"`
	// Back is from the start of the dead provider's process, or from its going on, until a
	// message that its user sent after that was accepted.
	Back Spread `json:"back_ms"`

	// While nobody was dead, by the clock of the user's device: from sending a message
	// until it was accepted, until it was final, and between the two.
	Answer Spread `json:"answer_ms"`
	Finals Spread `json:"final_ms"`
	Added  Spread `json:"final_after_accepted_ms"`
	// Bare is a write of a message's size and its fsync, alone in a file, in those same times on
	// the same disk: what one of the writes that these times are made of costs.
	Bare Spread `json:"fsync_ms"`

	// What all users together sent, and heard that it was accepted and final.
	Sent     int `json:"sent"`
	Accepted int `json:"accepted"`
	Final    int `json:"final"`
	// What somebody does not have at the end, by the most that its sender had heard of
	// it; what somebody has more than once; and what nobody has sent. Counted for each
	// user who misses or has it.
	LostFinal    int `json:"lost_final"`
	LostAccepted int `json:"lost_accepted"`
	LostSent     int `json:"lost_sent"`
	Doubled      int `json:"doubled"`
	Strange      int `json:"strange"`
	// Trouble is what the users were told besides.
	Trouble []string `json:"trouble,omitempty"`
	// Entries is how long the log was at last, with everybody.
	Entries  uint64     `json:"entries"`
	Verified []Verified `json:"verified"`

	answers, finals, added, bare []float64
}

// Death is one death of a hub.
type Death struct {
	Hub  string `json:"hub"`
	Next string `json:"next"`
	Term string `json:"term"`
	// Told and Changed are of the last of the other members, Accepts of the first, Served
	// of the last.
	Told    float64 `json:"told_ms"`
	Changed float64 `json:"changed_ms"`
	Accepts float64 `json:"accepts_ms"`
	Served  float64 `json:"served_ms"`
	Back    float64 `json:"back_ms"`

	each []noticed
	at   time.Time
}

// Verified is what a check of a provider's whole store has found.
type Verified struct {
	Provider string   `json:"provider"`
	Entries  uint64   `json:"entries"`
	Faults   []string `json:"faults,omitempty"`
}

// Spread is how values are spread.
type Spread struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// noticed is what one member noticed of a death. A time is zero if it did not.
type noticed struct{ told, changed, served time.Time }

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func round(ms float64) float64 { return math.Round(ms) }

// spread sorts its argument.
func spread(v []float64) (s Spread) {
	if len(v) == 0 {
		return s
	}
	slices.Sort(v)
	// With few values the 99th percentile is the greatest.
	at := func(q float64) float64 { return v[min(int(math.Ceil(q*float64(len(v))))-1, len(v)-1)] }
	return Spread{N: len(v), P50: at(0.5), P99: at(0.99), Max: v[len(v)-1]}
}

// add notes what one more member noticed.
func (d *Death) add(killed time.Time, n noticed) {
	d.at = killed
	d.each = append(d.each, n)
	d.Told = max(d.Told, millis(n.told.Sub(killed)))
	d.Changed = max(d.Changed, millis(n.changed.Sub(killed)))
	served := millis(n.served.Sub(killed))
	d.Served = max(d.Served, served)
	if len(d.each) == 1 || served < d.Accepts {
		d.Accepts = served
	}
}

// summarize computes the spreads.
func (r *FailoverReport) summarize() {
	var told, changed, accepts, served, back []float64
	for _, d := range r.Deaths {
		for _, n := range d.each {
			told = append(told, millis(n.told.Sub(d.at)))
			changed = append(changed, millis(n.changed.Sub(d.at)))
			served = append(served, millis(n.served.Sub(d.at)))
		}
		accepts, back = append(accepts, d.Accepts), append(back, d.Back)
	}
	r.Told, r.Changed, r.Accepts, r.Served, r.Back = spread(told), spread(changed), spread(accepts), spread(served), spread(back)
	r.Answer, r.Finals, r.Added = spread(r.answers), spread(r.finals), spread(r.added)
	r.Bare = spread(r.bare)
}

// Whole says whether nothing was lost, doubled or out of place.
func (r *FailoverReport) Whole() bool {
	if r.LostFinal+r.LostAccepted+r.LostSent+r.Doubled+r.Strange+len(r.Trouble) > 0 {
		return false
	}
	return len(r.wrongLogs()) == 0
}

// wrongLogs says which stores have faults, or another number of entries than the users saw.
func (r *FailoverReport) wrongLogs() (wrong []string) {
	for _, v := range r.Verified {
		// While they are stopped the last ones may take the room over once more, and each
		// device may have reported what came to it just before it was closed.
		most := r.Entries + 1 + uint64(r.Providers)
		switch {
		case len(v.Faults) > 0:
			wrong = append(wrong, fmt.Sprintf("%s: %d faults", v.Provider, len(v.Faults)))
		case v.Entries < r.Entries:
			wrong = append(wrong, fmt.Sprintf("%s has %d entries, but the users had %d", v.Provider, v.Entries, r.Entries))
		case v.Entries > most:
			wrong = append(wrong, fmt.Sprintf("%s has %d entries, but the users had %d, and no more than %d can be explained", v.Provider, v.Entries, r.Entries, most))
		}
	}
	return wrong
}

// Print writes the report for people.
func (r *FailoverReport) Print(w io.Writer) {
	how := "killed (SIGKILL)"
	if r.Frozen {
		how = "frozen (SIGSTOP)"
	}
	fmt.Fprintf(w, "%d providers that decide together, one user at each, who sends a message every %d ms; the hub was %s %d times; %d CPUs, %s\n\n",
		r.Providers, r.IntervalMillis, how, len(r.Deaths), r.CPUs, r.Go)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ms\tp50\tp99\tmax\tof")
	for _, x := range []struct {
		name string
		s    Spread
	}{
		{"death to members told", r.Told}, {"death to told of the new hub", r.Changed},
		{"death to first message accepted", r.Accepts}, {"death to first message accepted, each member", r.Served},
		{"return to first message of its user accepted", r.Back},
		{"calm: sent to accepted", r.Answer}, {"calm: sent to final", r.Finals}, {"calm: accepted to final", r.Added},
		{"calm: a bare write and fsync, beside it", r.Bare},
	} {
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\t%d\n", x.name, x.s.P50, x.s.P99, x.s.Max, x.s.N)
	}
	t.Flush()
	fmt.Fprintf(w, "\nSent %d messages, %d told accepted, %d told final. Missing with somebody at the end: %d told final, %d accepted, %d sent. Doubled: %d, strange: %d.\n",
		r.Sent, r.Accepted, r.Final, r.LostFinal, r.LostAccepted, r.LostSent, r.Doubled, r.Strange)
	for _, v := range r.Verified {
		fmt.Fprintf(w, "Store of %s: %d entries verified, %d faults. %s\n", v.Provider, v.Entries, len(v.Faults), strings.Join(v.Faults, "; "))
	}
	for _, x := range r.Trouble {
		fmt.Fprintln(w, "Trouble:", x)
	}
	for _, x := range r.wrongLogs() {
		fmt.Fprintln(w, "Wrong:", x)
	}
}
