// Package simulations runs experiments with the protocol's code in networks that
// do not exist, and keeps what was measured so that others can repeat it.
//
// A Simulation is a question, a struct of parameters with defaults, and a function
// that runs once for one seed. New makes one; the compiler sees to it that the
// function gets the parameters that the file is checked against. What a researcher
// changes is a scenario file (Parse), in TOML:
//
//	simulation = "fanout"     # one of those that `mimid sim list` names
//	title      = "What I try" # shown above the report
//	seed       = 1            # of the first run; the next run has the next seed
//	runs       = 5            # for each setting
//
//	[parameters]              # the simulation's own; what is left out has its default
//	nodes = 200
//
//	[sweep]                   # each combination of these is a setting
//	nodes = [50, 100, 200]
//
//	[limits]                  # the runs end when one is reached, and what there is, is kept
//	wall   = "10m"
//	memory = 4096             # MiB of heap
//
// A key that does not exist is an error that names its line and the keys that do.
//
// # Two engines
//
// event runs pure code and models on a queue of events (package engine). A seed gives the
// same run on every machine, to the last bit: Result.Digest of two runs is equal, and so
// is results.csv. It answers how a protocol behaves in networks of up to 100,000 nodes.
//
// stack runs whole nodes in virtual time on a network in memory. It gives the same
// statistics for a seed, not the same run. It answers what the models leave out.
//
// # What is kept
//
// Save writes a directory:
//
//	scenario.toml  what was run, with every parameter
//	results.csv    one observation a row: seed, metric, unit, value, and a column for each label
//	summary.json   percentiles of each metric and setting over all seeds, with confidence
//	               intervals, digests, versions and the machine
//	network.json   the network of the first run, if the simulation draws one
//
// Package report makes plots and one page of them.
//
// # One's own
//
// Each of these has an example of less than 60 lines, which the tests run: a simulation (New), a latency model (links.Own),
// and an adversary (gossip.Network.Withhold).
//
// # Threads
//
// Runs of the event engine go side by side, one goroutine each, and share nothing.
// A Run is used by the goroutine that was given it.
//
// Read simulation.go, scenario.go (files), run.go, execute.go (all runs), worker.go (runs in
// other processes), summary.go, save.go and load.go, golden.go, errors.go. Packages links, churn,
// workload, gossip and engine are what simulations of the event engine are made of; virtual, memnet, udpnet and stack those
// of the other; eclipse, spam and exhaustion attack. Package scenarios lists those that
// mimid ships.
package simulations
