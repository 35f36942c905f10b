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
// # Who leads
//
// A hub_change entry carries its proof (change.go): the votes (vote.go) of a
// majority of the replica set in force, or, from a set of one, the release that
// gives the place away. Votes bind room, set, term, candidate and the head that
// the entry continues. A commit that changes the replica set begins a time in
// which a majority of the old and of the new set is needed for everything, and in
// which no other handshake is taken; settled ends it, with the certificate
// (certificate.go) of replicas that have stored the commit (cosign.go) under a
// head of the present term.
//
// Where that majority is gone, or the hub of a set of one, or hostile, an
// administrator's commit begins a new era under a hub and a set that it names
// (move.go). The hub_change entry holds the commit, and acknowledgements of a
// majority of the other participating providers: each has bound itself to follow
// this move of this era, and shows where its log ends, so that the commit comes
// after all that any of them knows.
//
// So who leads, and who decides, is a function of the log (lead.go). Whoever
// follows a log checks all that with what the entries hold, but for one thing:
// that the heads which a certificate cites are in the log before it (Step.Cites).
// Which of two chains to keep, when to vote and when to stand is package hub's.
//
// # What members agree on
//
// The GroupContext component room_hosting (hosting.go) says by MLS agreement who
// may order the room and who may replace it. Its hub and term are a checkpoint,
// exact whenever a commit writes them and behind the log in between; any member
// may copy there what the log says. New replicas are of providers with a
// participant, but for one that is recruited, by a key that everybody who judges knows. external_senders stays as
// the room was created: changing it would take a GroupContextExtensions proposal, which
// no role allows. Of external senders only the hub that the log names proposes anything,
// and only what the role policy_enforcer allows (enforce.go): it has users banned.
//
// # What the roles mean
//
// Each participant has a role, and the GroupContext component roles_list (roles.go) says
// what the roles allow; without it the basic ones hold (package policy). Who changes what
// they mean changes nothing about who takes part in the same commit. The hub judges by
// them who may send at all; what a message does only devices can read, and judge.
//
// # Policy
//
// Further components (components.go) hold the base policy, preauthorizations and what else
// the room says of itself. A View (view.go) is all of it that decides, read out once an
// epoch; the effective view adds what is pending. Judge (judge.go) asks them about each
// change. The component tombstone ends a room: after the commit that sets it messages and
// handshakes are refused; the hub may still change, so that the end becomes final.
//
// # Names
//
// The component pseudonymous (naming.go) says, from a room's first entry on and for good, that
// leaves and participants are pseudonyms and not users. Everything else here takes either, as a
// uri.User.
//
// # Who succeeds the administrators
//
// The GroupContext component succession (succession.go) holds how long administrators may
// be silent and the claim of somebody who wants to succeed them. What the rules allow is
// judged from the log alone, with the times at which its hub accepted the entries; each
// step is a commit, so each has an author, and a majority of successors is a majority of
// signatures. Whoever is said to be gone ends the claim with any commit, because a commit
// of theirs that does not is refused. A hub that keeps their commits back helps the
// claimant: where several replicas decide that is found, where one does it is not. Whether
// somebody is gone nobody can prove: the claim only proves that they had the time to
// speak, as the hub counts it. A hub that is in league with the claimant can date the claim
// back as far as the room's last entry, if nobody watches: followers refuse what is dated
// into the future, and, where the hub decides alone, what it dates to a time at which it
// had told them that there is no such entry. Joining by an external commit ends no claim; the device
// does it then by its next commit.
//
// A successor may also move the room when its hub is gone with the administrators: their
// absence is in the signature of each acknowledgement (SignedAck). It gains no role.
//
// # A replica from outside
//
// The GroupContext component outside (outside.go) holds whether a provider without a
// participant may be a replica, and which one is: where two providers take part a third one
// can be recruited, so that the room survives either. It follows the log from the commit
// that names it until it is in no set any more and does not order the room (State.Providers),
// and never counts as one that takes part (State.Participating): not in an administrator's
// move, not as the successor in a set of one, not where replicas are chosen. Once three
// providers take part no commit that changes the set may keep it. Administrators' commits
// name it and unname it; whether it is willing is between it and who asked it.
//
// A provider whose last participant has gone is like a recruit as long as it is in the set or
// orders the room: it reads what it decides about until a commit has replaced it.
//
// # Franks
//
// frank.go has what a sender commits to, how the hub stamps it, and what receivers check;
// report.go what a report of abuse shows to a hub, also about the time of another one.
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
// An entry of kind tombstone is refused: the commit that ends a room is an entry like
// others. A room with a parent is refused (checkFirstPolicy). That a commit which
// removes a replica's last user also replaces the replica is not demanded: the
// provider stays in the set until a commit changes it.
//
// Everything is pure: values and time in, values out.
package room
