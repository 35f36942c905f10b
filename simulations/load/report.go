package load

import (
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is what came out. Times are in seconds unless the name says otherwise, sizes
// in bytes.
type Report struct {
	CPUs        int    `json:"cpus"`
	Go          string `json:"go"`
	Providers   int    `json:"providers"`
	Replicas    bool   `json:"replicas"` // all providers decide what is final
	Receivers   int    `json:"receivers"`
	Body        int    `json:"body"`
	Connections int    `json:"connections"`
	// Encrypted messages, and what one took, on one core, before the load.
	Encrypted     int     `json:"encrypted"`
	EncryptMicros float64 `json:"encrypt_us"`
	// Bare is what a message would cost if it were only written and fsynced.
	Bare Bare `json:"bare"`

	Phases  []Phase  `json:"phases,omitempty"`
	CatchUp *CatchUp `json:"catch_up,omitempty"`
}

// Phase is one load.
type Phase struct {
	Name      string `json:"name"`
	Messages  int    `json:"messages"`
	Receivers int    `json:"receivers"`
	// Accepted by the hub, and submissions that had to be made again.
	Accepted     int64   `json:"accepted"`
	Retries      int64   `json:"retries"`
	AcceptedRate float64 `json:"accepted_per_s"`
	// StoredRate is until every provider has the last message in its store.
	StoredRate float64 `json:"stored_per_s"`
	// Delivered counts each message once per receiver; its rate is until the last.
	Delivered    int64   `json:"delivered"`
	DeliveryRate float64 `json:"deliveries_per_s"`
	Lost         int64   `json:"lost"`
	Duplicates   int64   `json:"duplicates"`
	// From due to the hub's answer, by when it is ordered and durable.
	AnswerP50 float64 `json:"answer_p50_ms"`
	AnswerP99 float64 `json:"answer_p99_ms"`
	// From due to received.
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`

	Processes []Process `json:"processes"`
	// OwnCPU is that of the load itself, sender and receivers.
	OwnCPU float64  `json:"own_cpu_s"`
	Memory []Memory `json:"memory,omitempty"`
}

// Process is what one provider used.
type Process struct {
	Name string  `json:"name"`
	CPU  float64 `json:"cpu_s"`
	// RSS at the end, and the most since the process began.
	RSS       int64   `json:"rss"`
	Peak      int64   `json:"peak_rss"`
	Commits   uint64  `json:"commits"`
	PerCommit float64 `json:"messages_per_commit"`
}

// Memory is the providers' memory at one moment, in their order. Anonymous memory is
// what a process has for itself; RSS has tables in it, too, that are mapped from the
// page cache and that the system takes back when it needs to.
type Memory struct {
	Accepted  int64   `json:"accepted"`
	Anonymous []int64 `json:"anonymous"`
}

// CatchUp is how a provider came back.
type CatchUp struct {
	Entries      int     `json:"entries"`
	AcceptedRate float64 `json:"accepted_per_s"` // while it was away
	Ready        float64 `json:"ready_s"`        // from start to serving
	Waited       float64 `json:"waited_s"`       // from there to the first entries
	Rate         float64 `json:"entries_per_s"`  // from there to the last
	Total        float64 `json:"total_s"`

	Processes []Process `json:"processes"`
}

// own is the CPU time of this process.
func (r *run) own() time.Duration {
	u, _ := usageOf(os.Getpid())
	return u.cpu
}

// ratio is a/b, and 0 where there is none.
func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}

// deliveries fills in what the receivers have seen, who have nothing to do now.
func (p *Phase) deliveries(f *flight, rs []*receiver) {
	var micros []uint32
	for _, rc := range rs {
		p.Delivered += int64(rc.got)
		p.Duplicates += int64(rc.duplicates)
		micros = append(micros, rc.micros...)
	}
	p.Lost = f.expected - p.Delivered
	p.DeliveryRate = ratio(float64(p.Delivered), float64(f.last.Load())/1e9)
	answered := slices.Sorted(slices.Values(f.answered))
	p.AnswerP50, p.AnswerP99 = quantile(answered, 0.5), quantile(answered, 0.99)
	slices.Sort(micros)
	p.P50, p.P95, p.P99, p.Max = quantile(micros, 0.5), quantile(micros, 0.95), quantile(micros, 0.99), quantile(micros, 1)
}

// quantile of sorted microseconds, in milliseconds.
func quantile(sorted []uint32, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(float64(len(sorted)-1)*q)]) / 1000
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	if r.Replicas {
		fmt.Fprintln(w, "The three providers decide together: what is received has been stored by a majority.")
	}
	fmt.Fprintf(w, "%d providers, one room, %d receivers at the second provider, %d bytes of plaintext; %d CPUs, %s\n", r.Providers, r.Receivers, r.Body, r.CPUs, r.Go)
	fmt.Fprintf(w, "Encrypted before: %d messages, %.0f µs each. Appending one to a bare file, with fsync: p50 %.2f ms, p99 %.2f ms.\n\n",
		r.Encrypted, r.EncryptMicros, r.Bare.P50, r.Bare.P99)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Phases) > 0 {
		fmt.Fprintln(t, "load\tmessages\taccepted/s\tstored by all/s\tdeliveries/s\tanswer p50 ms\tp99\treceived p50 ms\tp95\tp99\tmax\tlost\tduplicates\tretries\tCPU s of the load")
		for _, p := range r.Phases {
			fmt.Fprintf(t, "%s\t%d\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t%d\t%d\t%.1f\n", p.Name, p.Messages, p.AcceptedRate, p.StoredRate, p.DeliveryRate,
				p.AnswerP50, p.AnswerP99, p.P50, p.P95, p.P99, p.Max, p.Lost, p.Duplicates, p.Retries, p.OwnCPU)
		}
		t.Flush()
		fmt.Fprintln(w)
	}
	fmt.Fprintln(t, "load\tprovider\tCPU s\tRSS MiB\tpeak\tcommits\tmessages/commit")
	for _, p := range r.Phases {
		printProcesses(t, p.Name, p.Processes)
	}
	if r.CatchUp != nil {
		printProcesses(t, "catch-up", r.CatchUp.Processes)
	}
	t.Flush()
	for _, p := range r.Phases {
		if len(p.Memory) < 20 {
			continue
		}
		fmt.Fprintf(w, "\nAnonymous memory in MiB while %s:\n", p.Name)
		fmt.Fprint(t, "accepted")
		for _, x := range p.Processes {
			fmt.Fprint(t, "\t", x.Name)
		}
		fmt.Fprintln(t)
		for i := range 10 {
			m := p.Memory[(i+1)*len(p.Memory)/10-1]
			fmt.Fprint(t, m.Accepted)
			for _, b := range m.Anonymous {
				fmt.Fprint(t, "\t", b>>20)
			}
			fmt.Fprintln(t)
		}
		t.Flush()
	}
	if c := r.CatchUp; c != nil {
		fmt.Fprintf(w, "\nCatch-up: %d entries (put at %.0f/s); ready after %.1f s, first entries %.1f s later, then %.0f entries/s; %.1f s in all.\n",
			c.Entries, c.AcceptedRate, c.Ready, c.Waited, c.Rate, c.Total)
	}
}

func printProcesses(w io.Writer, phase string, ps []Process) {
	for _, x := range ps {
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%d\t%d\t%d\t%.1f\n", phase, x.Name, x.CPU, x.RSS>>20, x.Peak>>20, x.Commits, x.PerCommit)
	}
}
