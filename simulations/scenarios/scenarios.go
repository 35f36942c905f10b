// Package scenarios lists the simulations that mimid ships, each with a scenario to
// begin with, and with what that is known to give. README.md has a paragraph for each.
//
// A golden summary was made by running the scenario as it is; its tolerances are wide enough for
// the intervals over seeds, and CI runs those that take seconds (TestGolden).
package scenarios

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/compromise"
	"github.com/mimid/mimid/simulations/eclipse"
	"github.com/mimid/mimid/simulations/exhaustion"
	"github.com/mimid/mimid/simulations/failover"
	"github.com/mimid/mimid/simulations/fanout"
	"github.com/mimid/mimid/simulations/intersection"
	"github.com/mimid/mimid/simulations/lookup"
	"github.com/mimid/mimid/simulations/mixing"
	"github.com/mimid/mimid/simulations/roster"
	"github.com/mimid/mimid/simulations/snapshot"
	"github.com/mimid/mimid/simulations/spam"
	"github.com/mimid/mimid/simulations/stack"
)

//go:embed *.toml *.golden.json
var files embed.FS

// Readme has a paragraph about each scenario, in Markdown.
//
//go:embed README.md
var Readme string

// All are the simulations, in the order in which they are listed.
func All() []simulations.Simulation {
	return []simulations.Simulation{failover.Simulation(), failover.Departure(), failover.Liar(), fanout.Simulation(), stack.Gossip(), stack.Room(), stack.Discovery(), stack.Churn(),
		eclipse.Simulation(), lookup.Simulation(), spam.Simulation(), exhaustion.Simulation(),
		mixing.Simulation(), compromise.Simulation(), intersection.Simulation(), snapshot.Simulation(), roster.Simulation()}
}

// Find returns the simulation of a name.
func Find(name string) (simulations.Simulation, bool) {
	for _, s := range All() {
		if s.Name == name {
			return s, true
		}
	}
	return simulations.Simulation{}, false
}

// File is the scenario that is shipped under a name.
func File(name string) ([]byte, error) {
	b, err := files.ReadFile(name + ".toml")
	if err != nil {
		return nil, fmt.Errorf("there is no scenario %q", name)
	}
	return b, nil
}

// Golden is what a shipped scenario gives; ok is false if nothing is known of it.
func Golden(name string) (g simulations.Golden, ok bool, err error) {
	b, err := files.ReadFile(name + ".golden.json")
	if err != nil {
		if _, missing := err.(*fs.PathError); missing {
			return g, false, nil
		}
		return g, false, err
	}
	g, err = simulations.ParseGolden(b)
	return g, err == nil, err
}
