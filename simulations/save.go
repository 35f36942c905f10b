package simulations

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"
)

// A Summary is what summary.json holds.
type Summary struct {
	Simulation string `json:"simulation"`
	Engine     string `json:"engine"`
	Title      string `json:"title"`
	Question   string `json:"question"`
	// Parameters are all of them as they are written in a file, those with their default value, too: a later
	// version may have another one. Of a swept one each run's setting has the value.
	Parameters map[string]string `json:"parameters"`
	Begun      time.Time         `json:"begun"`
	WallMS     int64             `json:"wall_ms"`
	Runs       []RunRecord       `json:"runs"`
	Incomplete string            `json:"incomplete,omitempty"` // why runs are missing
	Violations []string          `json:"violations,omitempty"`
	Deviations []Deviation       `json:"deviations,omitempty"` // from what the shipped scenario is known to give
	Golden     string            `json:"golden,omitempty"`     // "met", "missed", or why it was not looked at
	Versions   Versions          `json:"versions"`
	Machine    Machine           `json:"machine"`
	Groups     []Group           `json:"groups"`
}

// A RunRecord is one run.
type RunRecord struct {
	Setting []Label `json:"setting,omitempty"`
	Seed    uint64  `json:"seed"`
	Digest  string  `json:"digest,omitempty"` // event engine
	Events  uint64  `json:"events,omitempty"` // event engine
	Virtual float64 `json:"virtual_s"`
	Wall    float64 `json:"wall_s"`
	Error   string  `json:"error,omitempty"`
}

// Versions of what ran.
type Versions struct {
	Mimid    string `json:"mimid"`
	Go       string `json:"go"`
	Revision string `json:"revision"` // of git; with "+changes" if files were changed; "unknown" without
}

// A Machine is where it ran.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	CPU  string `json:"cpu,omitempty"`
}

// Summarize makes the summary of a result.
func (r *Result) Summarize(version string) Summary {
	s := Summary{Simulation: r.Scenario.Simulation.Name, Engine: r.Scenario.Simulation.Engine, Title: r.Scenario.Title,
		Question: r.Scenario.Simulation.Question, Begun: r.Begun.UTC(), WallMS: r.Wall.Milliseconds(), Violations: r.Violations(),
		Versions: Versions{version, runtime.Version(), revision()}, Machine: Machine{runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpuModel()}, Groups: r.Groups()}
	if r.Err != nil {
		s.Incomplete = r.Err.Error()
	}
	if len(r.Scenario.Settings) > 0 {
		s.Parameters = map[string]string{}
		first := r.Scenario.Settings[0]
		for _, p := range parametersOf(first.Parameters) {
			if !slices.ContainsFunc(first.Labels, func(l Label) bool { return l.Key == p.Key }) {
				s.Parameters[p.Key] = p.Default
			}
		}
	}
	for _, o := range r.Outcomes {
		rec := RunRecord{Setting: o.Setting, Seed: o.Seed, Events: o.Events, Virtual: o.Virtual.Seconds(), Wall: o.Wall.Seconds()}
		if o.Digest != 0 {
			rec.Digest = fmt.Sprintf("%016x", o.Digest)
		}
		if o.Err != nil {
			rec.Error = o.Err.Error()
		}
		s.Runs = append(s.Runs, rec)
	}
	return s
}

// Save writes a result into a directory, which it makes. Files that are there are
// replaced, each as a whole.
func (r *Result) Save(dir string, s Summary) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := Replace(filepath.Join(dir, "scenario.toml"), func(w io.Writer) error {
		_, err := w.Write(r.Scenario.text)
		return err
	}); err != nil {
		return err
	}
	if err := Replace(filepath.Join(dir, "results.csv"), r.WriteCSV); err != nil {
		return err
	}
	if r.Graph != nil {
		if err := Replace(filepath.Join(dir, "network.json"), func(w io.Writer) error { return json.NewEncoder(w).Encode(r.Graph) }); err != nil {
			return err
		}
	} else if err := os.Remove(filepath.Join(dir, "network.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return Replace(filepath.Join(dir, "summary.json"), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	})
}

// WriteCSV writes one observation a row. It holds nothing of the machine or the day,
// so that two runs of the event engine give the same octets.
func (r *Result) WriteCSV(w io.Writer) error {
	var keys []string
	for _, o := range r.Outcomes {
		for _, l := range o.Setting {
			keys = add(keys, l.Key)
		}
		for _, ob := range o.Observations {
			for _, l := range ob.Labels {
				keys = add(keys, l.Key)
			}
		}
	}
	slices.Sort(keys)
	c := csv.NewWriter(w)
	row := append([]string{"seed", "metric", "unit", "value"}, keys...)
	if err := c.Write(row); err != nil {
		return err
	}
	for _, o := range r.Outcomes {
		for _, ob := range o.Observations {
			row = append(row[:0], strconv.FormatUint(o.Seed, 10), ob.Metric, ob.Unit, strconv.FormatFloat(ob.Value, 'g', -1, 64))
			labels := Group{Labels: merge(o.Setting, ob.Labels)}
			for _, k := range keys {
				row = append(row, labels.Label(k))
			}
			if err := c.Write(row); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

func add(keys []string, k string) []string {
	if slices.Contains(keys, k) {
		return keys
	}
	return append(keys, k)
}

// Replace writes a file as a whole: a reader sees what was there or what is new.
func Replace(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	b := bufio.NewWriter(f)
	if err := write(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	rev, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	return rev + changed
}
