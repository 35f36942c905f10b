// Package rooms runs a provider's rooms: those that it is the hub of, whose logs
// it orders, and those that it follows, whose logs it verifies and keeps. Either
// way an entry takes the same way through protocol/room into the store and into
// the feed of the users' devices.
//
// # One goroutine per busy room
//
// A room's state (room.State) is loaded when something happens in it and dropped
// when nothing has happened for a while; between, one goroutine owns it (live.go).
// What needs no state, such as where a log stands and who may read it, is in the
// room's head, which all share (registry.go). A provider with 10,000 quiet rooms
// holds 10,000 heads.
//
// # The hub (hub.go)
//
// Submissions wait in the room's queue while a batch is written; then all that
// wait become the next batch: one signature, one transaction, one fsync, one
// gossip message. Under low load a batch is one entry and nothing waits. The order
// is always: check, write, then answer, publish and tell devices, so nothing is
// heard of an entry that a crash could take back. If the write fails, the state in
// memory is dropped and read again.
//
// # Followers (follow.go)
//
// Pieces of the log come by gossip. A piece that does not connect, a nudge, a
// notice (MIMI notify), and every new connection to a hub lead to the same thing:
// ranges are asked for until the log is complete. Nothing that a peer says is
// believed: entries are chained, heads signed, handshakes verified and judged. A
// room whose hub signed something that cannot be is stopped and shown; what was
// signed is kept as the proof (logstore.Condemned), and a restart does not try
// again.
//
// # Several replicas (replica.go)
//
// With three providers or more, a majority of a replica set decides what is final, and
// who orders (DESIGN of the room; package hub is the machine). A room begins to have
// them with the commit that names them, and each replica then has a replica.go beside
// the state:
//
//   - The log in the store, and all that follows from it (the feed, Welcomes, notices,
//     the room's head), ends with what is final. What is not lies beside it as a tail,
//     which another hub's log may replace. So whatever a user's device is shown is
//     never taken back. room.State runs ahead of the log by the tail; what it says at
//     each entry that changes more than the position is kept until that is final.
//   - The machine's effects are performed after one write of everything since the last
//     one: entries, votes, terms (decide.go). A message is answered when it is durable
//     here, a handshake when it is final, because its client merges it then.
//   - Entries travel as pieces, by gossip and by ranges, and with them the newest
//     certificate; what replicas say else travels as protocol/replica (say.go). Who is
//     told of a head that it cannot connect asks for the range from its final entry on.
//   - A hub that gives no sign of life, that has signed what cannot be, or that leaves
//     lying what is brought to it, is suspected (failover.go, follow_replica.go,
//     relay.go); votes decide. The store keeps with each vote
//     what it was about, so that the same vote is the same after a restart.
//
// A room whose hub decides alone has nothing of this, and costs nothing for it.
//
// # Lies (proof.go)
//
// An entry that cannot be, or two heads of one term of which neither continues the
// other, prove against the hub that signed them. Both rest on pieces of the log alone:
// a proof is kept (logstore.Condemned), shown to the other replicas piece by piece, and
// judged by each with what it holds itself. The hub counts as failed from then on, its
// users' and the others' devices are told, and another one is elected from before the
// lie.
//
// # Two that stand alike (stands.go)
//
// Whoever asks where another provider's rooms stand says the hash of its last entry, and so
// does the answer: if two have another entry at one place, the one that asked reads the other's,
// and the heads that the hub has signed of both are the proof. exchangeAll asks the hubs,
// the other replicas, and in turns one of those that only follow the same rooms.
//
// # A voter for two (voted.go)
//
// Whoever votes twice in one term may have made two hubs. Votes are compared as they are
// heard, with those that hub_change entries hold (room.Ballots); what an earlier term's were
// is looked up in the log when somebody's vote in it comes. Two of them are a proof that fits
// into a message: it is kept (logstore.Voted, one per voter, sixteen per room), given to all
// who keep the room, and by each of them on once; an exchange repeats it to who was away. A
// receiver believes it if both votes are signed with a key that has, or had when it voted, a
// vote in the room. The machine takes that provider for failed; a machine that is made anew
// is told again of the proofs that are kept.
//
// # A hub that does not do its work (relay.go)
//
// What a user submits to another provider's hub is looked after until it is final here.
// If that takes too long it goes to the other replicas, signed by its origin; each brings
// it to the hub and sees by itself whether the hub orders it. Nobody is believed, and an
// honest hub is merely asked once more. What it costs is a note per submission, four per
// room at a time, and privacy only then: who relays learns whose user submits.
//
// # An administrator's move (move.go)
//
// Where the hub decided alone and is gone, or most replicas are, an administrator's
// commit names a new hub. That provider asks all participating ones to acknowledge the
// commit, which each of them judges first; with most of the others' acknowledgements
// the commit stands in the log as the body of the hub_change. Whoever has acknowledged
// is bound: it takes nothing of lower eras any more, across restarts. Who knows a newer
// commit refuses and shows it. A former hub that went on alone has told its users that
// what it ordered is final, so it takes nothing back: it stands still and says why
// (parted).
//
// # Standing still (conflict.go)
//
// Where the hub decided alone and has lied, or two histories of a room are certified, nobody
// here can say which log is the room's. The room stands still: it takes nothing, keeps
// the proof, tells operator and users, and shows both histories to all who take part. An
// administrator's move is what it still takes, and it goes on when its log does into a later
// era. A provider whose history was not chosen has a lost branch like any other
// (rejoin.go). compareWith reads another provider's log and checks it up to its end, and that
// is what a move onto another history is judged by.
//
// # Rooms of others (recruit.go)
//
// A provider that offers it promises to be a replica of a room in which none of its users
// takes part, and remembers that. It begins to follow when it is told of a room that it has
// promised (fetchPromised), and refuses a commit that recruits it unasked (unasked): it
// then waits before that entry. From there on it is a replica like any other, but for
// where it is counted: logstore.Head.Outside names it beside Providers, who follow. A head
// of its own ends the log where a provider stops following (turn.cut), because what is
// behind must not be shown to it, and the certificate must be of a place that it holds.
//
// # What holds always
//
//   - A room has at most one goroutine, and one handle as long as anybody needs it:
//     whoever may begin a room obtains the handle and releases it (registry.go). A
//     name that nothing came of leaves nothing behind.
//   - Locks are taken in this order: handle.joining, Rooms.mu, handle.mu.
//   - What a provider may read is decided in the snapshot that it is read from.
//   - A duplicate is answered from the store at once, or with the batch that holds
//     the first of its kind; an error says that nothing was written, or not to
//     anybody's knowledge: the same again is safe.
//   - A Welcome is told to the users' devices once, however often the hub tells it.
//
// endpoints.go is what other providers call, users.go what the own users' clients
// call.
package rooms
