// Package stock sees to it that users can be added to rooms: it watches by which
// KeyPackages each own user can be, and raises an alarm when that ends.
//
// Read stock.go (Watch and its configuration), look.go (what a round does).
//
// # What is looked at
//
// Not the store, but the answer that somebody of another provider would get who has the
// user's consent (Config.Probe): the octets, made by the code that makes those answers,
// are decoded and their KeyPackages verified as a client elsewhere does. So what is noticed
// is everything that would keep a user from being added as far as this provider can see:
// KeyPackages that are used up or have ended, but also ones that do not verify any more
// because the provider's key is another one. Nothing is used up by looking. What is not
// seen from here is whether other providers reach this one: package outside has one of them try.
//
// # When
//
// After each change of a user's stock (Watch.Changed), when something of it ends, at the
// start, and every Recheck. A round is made every Config.Every (10 s); a user who is worse
// off than before must have been so for Config.Grace (20 s), since a new device takes a moment
// to bring its first KeyPackages. An alarm so comes at most Every + Grace + Every = 40 s after
// what it is about. At the start and at rechecks, at most Config.Pace users are looked at in
// a round, so that 100,000 users take a third of an hour and no more than a few percent of
// a core.
//
// # The alarm
//
//   - A line in the log at level warning with how many users it is, and none of their names;
//     again when there are more, and every hour while there are any.
//   - Counts, for metrics and the doctor.
//   - An event to the user's devices that are connected (clientapi.EventStock). A device that
//     finds itself without any KeyPackage brings some at once. Whoever claims cannot
//     cause this: claims leave the last resort where it is, so a device runs dry by the
//     passing of time alone. A device whose single-use ones are used up waits for its next hour:
//     else whoever uses them up could see by the refill that it is connected.
//
// # What always holds
//
// The levels are ordered; a user's is that of what is worst for it. Nothing is stored: a
// start looks at everybody again. The owner of all state is the mutex of Watch.
package stock
