// Package watch tells which other providers are dead, so that rooms can move
// away from a dead hub, and how fast they may do so.
//
// Pairs of providers are watched, not rooms: a hub with 100,000 rooms costs each
// of its replicas one ping per interval, and its death is one event. What it
// means for a room, and whether the others of its replica set think the same,
// is decided elsewhere: a Watch suspects, a vote decides. A provider that
// answers pings but does not order a room is not found here.
//
// Read watch.go (configuration and what may be called), target.go (one provider's
// times), run.go (the loop), pace.go (the order of elections), errors.go.
//
// # When a provider is dead
//
// Every authenticated request or answer is a sign of life (Heard), and so is the
// answer to a ping. One that was heard less than an interval ago is not
// pinged. One ping per provider is out at a time, in a goroutine of its own;
// while it hangs, the others are not delayed. With the default times:
//
//	busy    pinged 320 to 400 ms after the last sign of life; a ping that has
//	        no answer after 500 ms is given up, and the next one sent; dead 1 s
//	        after the last sign of life, so at most 1.01 s after its true death
//	idle    pinged 4 to 5 s after the last sign of life; if there is no answer,
//	        from then on like a busy one: dead at most 5.62 s after its true death
//	new     not heard since it became a target: its pings have 2 s, as we may have to
//	        connect first; dead after 3 s, and 2.6 s after the first ping at the
//	        earliest, which an idle one gets within 5 s
//	dead    pinged after 0.4 s, then after pauses that double, up to 5 s; these
//	        pings have 2 s too. The first sign of life ends it: at once if the
//	        provider asks us something, else after at most 7 s
//
// Death takes two pings without an answer, however long the silence; one that does
// not even return when its context ends counts again. A provider
// whose answers take longer than half of Timeout is as good as dead, and stays so,
// instead of dying and coming back all the time. One that does flap is told as
// such, dead and back in turns, at most once each per Timeout.
//
// Only one direction may work. If a provider's requests reach us, it is alive,
// even if ours do not reach it: a room whose submissions stay unanswered
// for that reason is suspected by itself.
//
// # When it is us
//
// A process that stood still (stopped, swapped out, on a laptop that slept) has
// heard nobody, and would think all dead. The loop therefore compares its timer with
// the clock, which goes on while a process is stopped, and the clock with the
// time of day, which also goes on while the machine sleeps. After more than a
// quarter of Timeout everybody is treated as new; the dead stay dead. So a
// machine too busy to run the loop in time accuses nobody at once. One that stays too
// busy would accuse nobody ever: for less than Timeout a provider is treated as new
// once between two signs of life, and then it is dead after 2 pings and three
// Timeouts, however late the loop is. If our network is
// gone, all others are dead: that is true as far as we can tell, and without
// their votes nothing comes of it.
//
// # Invariants
//
//   - Changed is called in turns for a provider: dead, back, dead. Dead says the
//     same before the call.
//   - At most one ping is out per target, and MaxTargets in all, even if Ping
//     ignores its context. (A provider that leaves the targets and comes back may get a new
//     ping while the cancelled one ends.)
//   - Jitter makes intervals shorter, by up to a fifth, and never longer. New targets,
//     and all after a suspension, are spread over a whole interval.
//   - Two providers that watch each other send one ping per interval between them,
//     as a ping is a sign of life of its sender, if Heard is called for requests.
//
// # What it costs
//
// Measured on two cores of a server processor (see the tests and benchmarks
// of this package, which print these numbers):
//
//	pings to a busy provider                   2.73 per second
//	pings to an idle provider                  0.22 per second
//	300 busy ones, the fullest tenth second    111 pings (even would be 82)
//	Heard                                      40 ns, no allocation
//	loop, timers, goroutines for 300 busy      2.1 % of a core
//	the same for 300 idle                      1.2 % of a core
//	a signed request of node/peering           610 octets of HTTP both ways, and 170 us of
//	                                           processor time at both ends together
//
// With signed requests as pings, then, a busy pair costs 1.7 kB/s and each of its
// ends 0.02 % of a core, an idle pair 140 octets/s. A provider with 300 busy pairs
// spends 820 pings/s or 0.5 MB/s, about a tenth of a core; with 300 idle ones 66
// pings/s, 40 kB/s and 2 % of a core. What the channel adds below HTTP is not
// counted. Traffic that is there anyway makes it less.
//
// # Pace
//
// When a hub dies, all its rooms want to elect. A Pace lets 50 of them do so in
// any one second, those with traffic first and as many at once as that allows, and
// idle ones one by one, 20 per second, while no room with traffic waits: 10,000
// idle rooms have moved after 500 s, and one of them that gets something to say
// moves up at once. Rooms whose hub returns are taken out (Remove) and stay where
// they were.
package watch
