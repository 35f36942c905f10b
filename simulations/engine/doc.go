// Package engine is a small discrete event engine for simulations that replay
// exactly: a virtual clock, a queue of events, a network that loses things, and
// processes that crash between any two things they do.
//
// It knows nothing of providers or rooms. A simulation brings the code that is to
// be tried, as pure state machines, and writes the shell around them with
// callbacks: what a node does with goroutines, timers, sockets and a store it does
// here with After, Send and Commit.
//
// Read engine.go (clock, queue, randomness), network.go (links), process.go
// (crashes, timers, clocks), disk.go (what survives).
//
// # What makes a run repeatable
//
//   - Nothing here reads the time, starts a goroutine, or holds anything outside of
//     an Engine. One Engine is owned by one goroutine; many may run side by side.
//   - Events happen in the order of their time, and at the same time in the order
//     in which they were asked for.
//   - Randomness comes from Engine.Rand, one stream for each purpose, seeded with the
//     run's seed and the purpose's name. A purpose that draws once more does
//     not shift what others draw.
//   - A simulation must not range over maps where the order can be seen, which is the
//     one thing that an engine cannot forbid. So that it is noticed, Note folds what
//     happens into a digest: two runs of a seed have the same one.
//
// # Crashes
//
// A Process asks May before everything that others can see or that stays. Doom
// makes one of the next such questions the last: so a crash falls between any two
// effects of one step, not only between steps. All timers of a process die with it.
// A commit that is on its way to the disk when its process dies is lost, or has
// happened, by chance; and a commit may fail without a crash, and yet have happened.
//
// # Clocks
//
// Each process has its own: Skew is by how much it is wrong, Drift how much
// faster it runs. Timers of the process run by it, and Clock.Now shows it.
package engine
