package simulations

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Bounds of scenario files, so that a slip does not fill a machine.
const (
	MaxScenario = 1 << 20 // octets of a file
	MaxRuns     = 1000    // of a setting
	MaxSettings = 1000    // of a sweep
)

// A Scenario is a file that was read: what to run, how often, with which settings.
type Scenario struct {
	Simulation Simulation
	Title      string
	Seed       uint64
	Runs       int
	Limits     Limits
	Settings   []Setting

	// Worker starts a process that makes one run of the stack engine (virtual.Serve) with its standard input and
	// output. nil has the runs made by whoever calls Execute, who then has made virtual time.
	Worker func(context.Context) *exec.Cmd

	text []byte // the file with all that was set, to be kept beside the results
}

// Limits end runs early.
type Limits struct {
	Wall   Duration `toml:"wall,omitempty" doc:"time by the wall for all runs; 0: none"`
	Memory int      `toml:"memory,omitempty" doc:"MiB of heap; 0: none"`
}

// A Setting is one combination of what a scenario sweeps over.
type Setting struct {
	Labels     []Label // the swept parameters, by key
	Parameters any     // the simulation's P
}

// head is a scenario file but for the parameters, which belong to the simulation.
type head struct {
	Simulation string           `toml:"simulation"`
	Title      string           `toml:"title,omitempty"`
	Seed       uint64           `toml:"seed"`
	Runs       int              `toml:"runs"`
	Limits     Limits           `toml:"limits,omitempty"`
	Parameters map[string]any   `toml:"parameters"`
	Sweep      map[string][]any `toml:"sweep,omitempty"`
}

// document is a scenario file of a simulation with parameters P.
type document[P any] struct {
	Simulation string           `toml:"simulation"`
	Title      string           `toml:"title"`
	Seed       uint64           `toml:"seed"`
	Runs       int              `toml:"runs"`
	Limits     Limits           `toml:"limits"`
	Parameters P                `toml:"parameters"`
	Sweep      map[string][]any `toml:"sweep"`
}

// An Override replaces one key of a scenario: "seed", "runs", "limits.wall", "parameters.nodes", or
// just "nodes" for a parameter. Value is as in a file; text needs no quotes.
type Override struct{ Key, Value string }

// Parse reads a scenario file, named for its errors, for one of some simulations.
// Every error is an ErrScenario.
func Parse(data []byte, named string, known []Simulation, over ...Override) (*Scenario, error) {
	if len(data) > MaxScenario {
		return nil, fmt.Errorf("%w %s is larger than %d octets", ErrScenario, named, MaxScenario)
	}
	h := head{Seed: 1, Runs: 1}
	if err := strict(data, &h, named, true); err != nil {
		return nil, err
	}
	var names []string
	for _, s := range known {
		names = append(names, s.Name)
	}
	i := slices.Index(names, h.Simulation)
	if i < 0 {
		return nil, fmt.Errorf("%w %s: simulation = %q does not exist; there are %s", ErrScenario, named, h.Simulation, strings.Join(names, ", "))
	}
	sim := known[i]
	// The parameters are read twice: as they stand in the file, for the line of a mistake, and
	// then with what is set and swept.
	if _, err := sim.read(data, named, true); err != nil {
		return nil, err
	}
	if h.Parameters == nil {
		h.Parameters = map[string]any{}
	}
	for _, o := range over {
		if err := h.set(o); err != nil {
			return nil, err
		}
	}
	if h.Runs < 1 || h.Runs > MaxRuns {
		return nil, fmt.Errorf("%w %s: runs = %d; it must be 1 to %d", ErrScenario, named, h.Runs, MaxRuns)
	}
	if h.Seed > math.MaxInt64-MaxRuns {
		return nil, fmt.Errorf("%w %s: seed = %d is too large", ErrScenario, named, h.Seed)
	}
	if h.Limits.Wall < 0 || h.Limits.Memory < 0 {
		return nil, fmt.Errorf("%w %s: limits must not be negative", ErrScenario, named)
	}
	s := &Scenario{Simulation: sim, Title: h.Title, Seed: h.Seed, Runs: h.Runs, Limits: h.Limits}
	if s.Title == "" {
		s.Title = sim.Question
	}
	if err := s.settle(h, named); err != nil {
		return nil, err
	}
	var err error
	s.text, err = toml.Marshal(h)
	return s, err
}

// settle makes the settings: each combination of the swept values.
func (s *Scenario) settle(h head, named string) error {
	keys := slices.Sorted(maps.Keys(h.Sweep))
	total := 1
	for _, k := range keys {
		if len(h.Sweep[k]) == 0 {
			return fmt.Errorf("%w %s: sweep.%s has no values", ErrScenario, named, k)
		}
		if total *= len(h.Sweep[k]); total > MaxSettings {
			return fmt.Errorf("%w %s: the sweep has more than %d settings", ErrScenario, named, MaxSettings)
		}
	}
	for n := range total {
		parameters := deepCopy(h.Parameters)
		var labels []Label
		rest, where := n, named
		for i := len(keys) - 1; i >= 0; i-- { // the first key changes slowest
			values := h.Sweep[keys[i]]
			v := values[rest%len(values)]
			rest /= len(values)
			if err := put(parameters, strings.Split(keys[i], "."), v); err != nil {
				return fmt.Errorf("%w %s: sweep.%s: %w", ErrScenario, named, keys[i], err)
			}
			labels = append(labels, Label{keys[i], fmt.Sprint(v)})
		}
		slices.Reverse(labels)
		for _, l := range labels {
			where += ", " + l.Key + " = " + l.Value
		}
		text, err := toml.Marshal(map[string]any{"parameters": parameters})
		if err != nil {
			return fmt.Errorf("%w %s: %w", ErrScenario, where, err)
		}
		p, err := s.Simulation.read(text, where, false)
		if err != nil {
			return err
		}
		s.Settings = append(s.Settings, Setting{labels, p})
	}
	return nil
}

// set applies one override.
func (h *head) set(o Override) error {
	fail := func(err error) error {
		return fmt.Errorf("%w: cannot set %s to %q: %w", ErrScenario, o.Key, o.Value, err)
	}
	v, err := literal(o.Value)
	if err != nil {
		return fail(err)
	}
	path := strings.Split(o.Key, ".")
	number := func() (uint64, error) {
		n, ok := v.(int64)
		if !ok || n < 0 {
			return 0, fail(fmt.Errorf("it is a whole number"))
		}
		return uint64(n), nil
	}
	switch {
	case o.Key == "seed":
		h.Seed, err = number()
		return err
	case o.Key == "runs":
		n, err := number()
		h.Runs = int(min(n, MaxRuns+1))
		return err
	case o.Key == "title":
		h.Title = o.Value
		return nil
	case o.Key == "limits.memory":
		n, err := number()
		h.Limits.Memory = int(min(n, math.MaxInt32))
		return err
	case o.Key == "limits.wall":
		if err := h.Limits.Wall.UnmarshalText([]byte(o.Value)); err != nil {
			return fail(err)
		}
		return nil
	case path[0] == "sweep" && len(path) > 1:
		values, ok := v.([]any)
		if !ok {
			return fail(fmt.Errorf("a sweep is a list, as in [1, 2, 3]"))
		}
		if h.Sweep == nil {
			h.Sweep = map[string][]any{}
		}
		h.Sweep[strings.Join(path[1:], ".")] = values
		return nil
	case path[0] == "parameters":
		path = path[1:]
	}
	if len(path) == 0 {
		return fail(fmt.Errorf("name a parameter"))
	}
	delete(h.Sweep, strings.Join(path, ".")) // what is set is no longer swept
	if err := put(h.Parameters, path, v); err != nil {
		return fail(err)
	}
	return nil
}

// literal reads a value as in a TOML file; what is none is text.
func literal(s string) (any, error) {
	if strings.ContainsAny(s, "\n\r") {
		return nil, fmt.Errorf("it has more than one line")
	}
	var v struct {
		V any `toml:"v"`
	}
	if err := toml.Unmarshal([]byte("v = "+s), &v); err != nil {
		return s, nil
	}
	return v.V, nil
}

func put(in map[string]any, path []string, v any) error {
	for _, k := range path[:len(path)-1] {
		next, ok := in[k].(map[string]any)
		if !ok {
			if in[k] != nil {
				return fmt.Errorf("%s is a value, not a table", k)
			}
			next = map[string]any{}
			in[k] = next
		}
		in = next
	}
	in[path[len(path)-1]] = v
	return nil
}

func deepCopy(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if sub, ok := v.(map[string]any); ok {
			v = deepCopy(sub)
		}
		out[k] = v
	}
	return out
}

// Wall is the limit by the wall, or nothing.
func (l Limits) wall() (time.Duration, bool) { return l.Wall.D(), l.Wall > 0 }
