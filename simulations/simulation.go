package simulations

import (
	"fmt"
	"time"
)

// Engines.
const (
	Event = "event" // a seed replays exactly
	Stack = "stack" // a seed gives the same statistics
)

// About says what a simulation is, to people.
type About struct {
	Name     string // lower case, one word
	Engine   string // Event or Stack
	Question string // one sentence, ends with a question mark
	Doc      string // a paragraph: what is real, what is modelled, what to look at
	Plots    []Plot
}

// A Simulation is a question and the code that answers it for one seed. Make it with New.
type Simulation struct {
	About
	defaults any
	read     func(file []byte, named string, lines bool) (any, error)
	run      func(*Run, any) error
}

// New makes a simulation out of parameters with their defaults, and a function that
// runs once. P is a struct whose fields have toml tags and doc tags; a field is a bool, an
// int, a float64, a string, a Duration, or a struct of these. If *P has a method Check() error, it says
// what is wrong with values.
//
// The function must not use anything but its arguments: no clock, no global
// randomness, no file. It calls Run.At from time to time, and returns its error.
func New[P any](about About, defaults P, run func(*Run, P) error) Simulation {
	return Simulation{
		About:    about,
		defaults: defaults,
		read: func(file []byte, named string, lines bool) (any, error) {
			d := document[P]{Parameters: defaults}
			if err := strict(file, &d, named, lines); err != nil {
				return nil, err
			}
			p := d.Parameters
			if c, ok := any(&p).(interface{ Check() error }); ok {
				if err := c.Check(); err != nil {
					return nil, fmt.Errorf("%w %s: %w", ErrScenario, named, err)
				}
			}
			return p, nil
		},
		run: func(r *Run, p any) error { return run(r, p.(P)) },
	}
}

// Parameters lists the simulation's parameters with their defaults, in their order.
func (s Simulation) Parameters() []Parameter { return parametersOf(s.defaults) }

// A Label tells observations of one metric apart: what kind they are, or with which
// setting they were made.
type Label struct{ Key, Value string }

// A Plot is a picture of a metric.
type Plot struct {
	Name    string // of the file, without ending
	Title   string
	Metric  string
	Kind    PlotKind
	X       string // key of the label on the x axis, for Percentiles and Means
	By      string // key of the label that has a line each, or nothing
	LogX    bool
	LogY    bool
	Caption string // what to see in it
}

// PlotKind is how a metric is drawn.
type PlotKind string

// Kinds of plots.
const (
	Percentiles  PlotKind = "percentiles"  // median with a band from the 5th to the 95th percentile, over X
	Distribution PlotKind = "distribution" // share of observations up to a value
	Means        PlotKind = "means"        // mean with its confidence interval, over X
)

// Duration is a time.Duration that is written as in "1.5s".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration; write it as \"1.5s\", \"200ms\", \"10m\"", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes it as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// D is the time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }
