// Package search looks at the histories of a room that a scenario allows, with
// the machines of protocol/hub themselves, and says which sentence is broken.
//
// # What is searched
//
// A world is what all machines hold in memory and on disk, what is in the
// network, what the client's outbox holds, and what was ever final, led or
// accepted. From each world every possible next step is taken: any message under
// way is delivered, in any order, or twice; a node crashes within a step or after
// it, restarts, or restarts from a backup; a hub gets a submission, is asked to
// hand over, or lies; a node suspects, doubts, is asked to stand, repeats itself, gets
// an admin's commit, or is shown another final history than its own. A scenario bounds how often (budget).
//
// Steps that could add nothing are left out. A lost message is one that is never
// delivered, and every world with messages under way stands for the same one
// without them. A crash between two sends is one where the second is lost; so
// within a step it is enough to crash before each write and after everything. A
// message that can do nothing at its receiver any more, by what is durable there,
// is forgotten.
//
// # What is checked
//
// After every write and every change of hub (check.go): one hub per term; one
// entry at each final place; every hub has what a term before it made final;
// terms and final heads on a disk never go back; nobody stops or is convicted in a
// room without a liar. From a sample of the worlds (calm.go): all that is under
// way is lost, everybody restarts, nothing else goes wrong; then the room comes to
// rest with every accepted message in the final log.
//
// Moves away from a set of one, and of a room with a recruit, lose by design what only those
// knew whom nobody asks. Scenarios that are called lossy have them, and the invariants that
// hold then: check.go, at agrees.
//
// In those with a conflict most of the replicas have signed two histories, and each is final
// to somebody. The liars are not in the world, and what is checked begins with the era of
// the first move: one hub per term, one log that is final in an era, nothing final taken back
// on a disk.
//
// Scenarios with a Window have machines that hold a window of the log. The world then
// does what package hub says their callers do (window.go): what is durable is the store
// from which they restart, answer duplicates, compare what arrives and fill what they
// send. In some of them a provider is far behind (Past).
//
// # How
//
// Breadth first, so that a first violation has a shortest trace. With a limit of
// states half of them are found so; from there on it goes depth first, to see long
// histories as well. Worlds that were seen are kept as 64-bit fingerprints in an
// open-addressing table of 8 bytes a slot: n worlds collide with a probability of
// about n*n/2^65, for 10^8 worlds 0.03 percent that a single one is overlooked.
// The frontier is bounded, too; what is above goes depth first.
//
// The tests look at more than 10^6 worlds, 28,000 in each scenario, a third of them
// with windows. Each scenario prints its distinct states, and at the end it says how many
// there were in all. MIMID_HUB_STATES sets how many per scenario, 0 for all, and
// MIMID_HUB_SCENARIO chooses by the beginning of the name; a long search is
//
//	GOMAXPROCS=1 GOMEMLIMIT=8GiB MIMID_HUB_STATES=3000000 nice go test -count=1 -timeout 0 -v -run Scenarios ./protocol/hub/search
//
// over all scenarios: more than 10^8 worlds, about 100,000 in a second of one core.
package search
