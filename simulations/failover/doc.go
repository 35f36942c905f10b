// Package failover simulates rooms that lose their hub: five providers and twenty
// rooms, for half a minute of trouble and half a minute of peace, a thousand times,
// with the code of protocol/hub and the pace of node/watch. Each seed draws its own
// world and its own misfortunes, and replays exactly.
//
// # What is real and what is modelled
//
// Real: hub.Machine with all that it says and stores, hub.Outbox, watch.Pace, and in
// half of the seeds machines with a window of a few entries (hub.Config.Window), which
// are refilled from the disk. MLS, signatures and hashes of content are not there: an
// entry's hash covers what the machine knows of it. A provider that passes on what a
// hub has signed passes it on unchanged, as signatures would enforce.
//
// Modelled after package rooms of a node (seat.go): one write at a time per room, with
// all that came meanwhile in the next one; resend and suspicion by timers; pings per
// pair of providers; rooms of a dead hub elect at a pace, those with traffic first;
// providers compare the heads of their rooms every second and pull what they lack.
// Where a hub has lied (conflict.go), what a node does beside its machine: it finds that
// another history is final, too, and keeps and shows both; repeats proofs; compares the log
// of whoever moves the room with its own; gives its own history up when a move has chosen
// the other, and its people say again what they were told to be final in it.
//
// Beyond a node as it is now: a submission that is unanswered for long is
// brought to all who keep the room, and they doubt the hub (prodded); administrators
// ask and move (administer); a hub whose successor is dead looks for another.
//
// # What goes wrong
//
// Providers die between any two effects, and a write that is on its way then is lost
// or has happened; disks fail; links lose, duplicate, delay and reorder, are cut in one
// or both directions; groups part; clocks are minutes off and up to 5 % too fast or
// slow. Users say things and commit, change replica sets, hand rooms over. In some
// seeds a provider dies for good, or one comes back from a backup, or one lies: it
// shows another log of the same term to some (fork). Hubs stall: they live and answer
// and order nothing any more, until their term ends, healed or not (stall). In some, clients die.
//
// # What is checked
//
// Of rooms without a liar, at every write, election and end (check.go):
//
//   - No two entries are final at one place; no submission is final twice.
//   - On no disk do terms and finals go back, but in a backup.
//   - A term has one hub, and a new hub holds all that was made final before it.
//   - Nobody is convicted and no room is stopped where nobody has lied.
//   - What a client was told is final, all that keep the room hold at the end.
//   - What a client submitted and the client outlives is final at the end.
//   - Bound after everything is healed, each room has made a submission final, and
//     after that nobody is elected any more.
//   - Elections are at most maxElections in a second.
//
// Of rooms with a liar: two honest providers that hold two logs of one term know at the
// end, at least one of them, that the liar is one, or have stopped. Administrators move
// what stands still, and at the end, within Bound after healing, all who are honest have one
// final history, nobody stands still, and what was said after healing (and again, after the
// room stopped) is final in it. As long as no two histories were final, all that is promised
// without a liar holds, too; who has given a history up has lost what only that one had.
//
// A room that an administrator has moved away from a dead set of one may lose what only
// that set knew to be final, as protocol/hub says. It is checked for being alive.
//
// # Slow links
//
// Replicas that suspect a dead hub again and again end their own elections, and each
// other's, where messages take long: seat.go still has the short and constant pause
// (suspectAgain) that nodes had until their pauses grew (node/rooms, contestedPause). The
// model shows it where it is asked: failover with replicas = 5, links.model = "fixed",
// faults = 6, every = "30s", lasts = "20s", 2 runs, stands still for 1.5 s at the median with
// links of 10 ms one way, 2.3 s with 50 ms, 7.8 s with 100 ms, and with 150 ms most rooms
// (0.6 of them) find no hub while the old one is away. No seed shows it, since the seeds draw links of 2 to
// 70 ms and mostly replica sets below five; nor does the shipped scenario, whose cities are nearer.
//
// # Reading order
//
// plan.go (times, Bound, what a seed draws), world.go, provider.go, seat.go, client.go,
// trouble.go, check.go, run.go, report.go. Package engine is what it runs on.
package failover
