// Package room is a room's log: what its hub orders, every participating
// provider verifies and keeps, and what outlives any of them.
//
// # The log
//
// A room is a chain of entries (entry.go). Each names its place (room, term,
// sequence number), the hash of the one before, and when the hub accepted it,
// and carries a body by kind: the room's creation, an MLS handshake, an
// encrypted message, a change of hub, the settling of a replica set, or the
// room's end. Entries name neither the sender nor the sender's provider.
//
// The hub signs heads (head.go), not entries: one signature covers all entries
// up to it. Verify takes entries and the head that ends them and returns a
// Batch, the only form in which entries go further in. Who holds a head and a
// range of entries needs to trust nobody who handed them over.
//
// Terms (era, number) order the hubs: within a term one hub orders, and a
// higher term begins with its hub_change entry. Two heads of one term of which
// neither continues the other prove that their signer forked the log
// (equivocation.go).
//
// # What members agree on
//
// The GroupContext component room_hosting (hosting.go) says by MLS agreement who
// may order the room and who may replace it.
//
// # The room that the log makes
//
// body.go has what is inside entries. State (state.go) follows a log: Begin takes
// the first entry, Check verifies the next one against the MLS group and the
// room's policy without changing anything, Advance adopts it. Hub and followers
// run the same code; admit.go has what only the hub asks. Who takes part is in
// the GroupContext (group.go), who has clients is in the ratchet tree (roster.go),
// and every change is judged so that the two agree: there is no other list.
//
// Indices in a ParticipantListUpdate count in the list before the commit, for all
// updates of a commit, and no user is touched twice; so updates that several
// people proposed go together in any order. (MIMI leaves this open.)
//
// # Scope today
//
// A replica set of one that never moves. The bodies of hub_change and settled, and
// the machine that decides about them, are not here yet, nor who may write a
// tombstone: their kinds are reserved, so that they change no stored byte, and
// Check refuses them.
//
// Everything is pure: values and time in, values out.
package room
