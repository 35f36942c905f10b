// Package load puts a load on real providers and measures them: processes of the
// program, talked to over the client API as any user's device would.
//
// Read load.go (what a run is), then provider.go (the processes), user.go (accounts
// and calls), world.go (the room and its messages), send.go, receive.go, and report.go
// (what comes out).
//
// # What is measured
//
// One room. Its one sender is at the hub, its receivers at the second provider, each
// with an event stream of its own; with three providers one more receiver is at the
// third. So each message goes: client, hub (ordered, signed, written, fsynced), the
// second provider (signature and hash chain verified, written, fsynced), its receivers.
// Only the sender has a client in the MLS group: the receivers take part and hear
// everything, but could not read it, since decrypting one message fifty times on the
// machine that runs the providers would measure that.
//
// Messages are encrypted before the load begins, and what that costs is told apart. A
// run of more messages than Distinct sends the same ciphertexts again, each time as a
// new submission; providers cannot tell, they see no plaintext.
//
// A message's time runs from the moment at which it was due and the load's timer fired,
// before a connection is taken for it, until the receiver has read the event that holds
// it to its end. Both clocks are this process's. Every receiver looks at every entry: which message it is,
// by its transaction id, and whether it was there before; so loss and duplicates are
// counted, not inferred.
//
// # Failover
//
// RunFailover (failover.go, failover_member.go, failover_report.go) measures something else:
// how long a room is without service when the provider dies that orders it. Three or five
// providers decide together; at each is one user with a real device (package client with
// its default times, state on disk), who sends all the time. The hub is killed or frozen, and
// comes back. All times are by the users' applications: what they are told, by notices,
// and when. A message counts from the call that sends it, so waiting in the outbox, the
// device's own fsyncs and its pauses between attempts are in it. At the end everybody's
// messages are compared, and all stores verified.
//
// # The machine
//
// The load shares the machine with the providers, and its own CPU time is told, too.
package load
