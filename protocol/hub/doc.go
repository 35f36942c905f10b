// Package hub decides who orders a room, and which entries of its log are final.
// It is one machine per room and provider, over values that the caller has
// verified: signatures, hashes and MLS are checked before an event goes in.
//
// # In words
//
// A room's log is ordered by its hub and kept by a replica set of 1, 3 or 5
// providers. The hub appends, writes, answers "accepted", and sends entries under
// a signed head. A replica stores them and then co-signs the head. A head that a
// majority has co-signed is final: its certificate is published. In a set of one
// final means that the hub says so.
//
// A term (era, number) has at most one hub. The hub moves
//
//   - by take over: a replica that suspects the hub asks around (AskVote), then
//     stands in a term above all it has seen (Stand), and leads with the votes of
//     a majority (Grant);
//   - by hand over: the hub stops, votes for its successor in the next term and
//     says so (Release). The successor needs a majority like any candidate, but
//     for a set of one, whose only place moves with the release;
//   - by an admin's move: a commit that names a new hub and set makes era+1 and
//     takes effect when a majority of all participating providers, the replaced
//     hub not counted, has acknowledged it (Move, Ack), or, if it proves that some
//     of these have lied, all the others, the replaced hub too.
//
// A term begins with a Change entry on the head that was voted for. It carries
// its proof, so that the log alone says who was hub when, and who decides.
//
// # Events, effects, crashes
//
// A Machine is a value. Step takes it and an Event and returns the next machine
// and the effects in the order in which the caller performs them. A Write is a
// barrier: nothing that follows it may be seen by anybody before it is durable. A
// caller that batches puts several submissions behind one fsync by stepping them
// one after the other and performing their effects together, all writes first.
// After a crash the caller hands what is durable to Restart, which is also how a
// machine begins. So a crash is: a prefix of the effects, and Restart.
//
// # Who decides
//
// The replica set in force is a function of the log alone (log.go). A Handshake
// with a Set begins a change; from that entry on certificates and votes need a
// majority of the old and of the new set; when it is final the hub appends
// Settled, which carries the commit's certificate, and from there on the new set
// decides. No other handshake is taken before Settled is final.
//
// # Invariants, and what they hang on
//
// Where a tag is named, it takes the line out, and package search prints the
// shortest history in which the invariant breaks (mutants.go).
//
//   - One hub per term: a vote is written before it is sent, one per term
//     (mutant_vote_not_durable, mutant_quorum_off_by_one, mutant_hand_over_alone).
//   - What is final is in the log of every later hub: replicas write before they
//     co-sign (mutant_cosign_before_sync); who has voted or seen a term helps no
//     lower one (mutant_no_term_fence); a voter compares the candidate's log with
//     its own last stored entry, final or not (mutant_log_check_final_only).
//   - No two final entries at one place, while the set changes too: joint
//     majorities from the commit on, by what is in the log and not by what one
//     replica knows to be final (mutant_new_set_at_once, mutant_new_set_when_final).
//   - An older term's entries become final only under a head of the hub's own
//     term. A head has the term of its last entry, a term begins with its Change,
//     and only heads of the present term are co-signed; certify need not look
//     further down.
//   - A set change ends by its own certificate: extend checks every Settled.
//   - Terms and final heads never go back on any disk.
//   - No accepted message is lost while its origin lives: Outbox submits it again
//     to every new hub until it is final, and a transaction identifier is ordered
//     once (mutant_forget_resubmission).
//   - Nobody rolls back what it knows to be final. If another log proves to be
//     final too, the room stops there and shows both (Stopped), until an admin
//     moves it (mutant_frozen_unbound, mutant_frozen_votes).
//   - Nobody is convicted (Convicted) who has not signed a contradiction.
//
// Seven rules are more than the first sketch of the protocol said:
//
//   - Whoever has acknowledged a move takes part in ordinary elections again only
//     with a log of that era. An old set would otherwise elect a hub in the new
//     era beside the moved room (mutant_era_crossing). A move that stays without a majority therefore
//     leaves those who acknowledged it waiting for another move.
//   - The acknowledged log is compared by its last entry, as in an election, and
//     the commit must extend the newest handshake of the newest log. The newest
//     handshake by itself may sit on a branch that has lost. Where all
//     participants are replicas, and not just one, an acknowledging majority
//     meets every certificate, so a move loses nothing final. A move away from a
//     set of one loses what only its hub knew to be final; with participants that
//     are no replicas it may, too; and where a recruit decides with two participants,
//     because it is not asked (Config.Parties, testdata/move_recruit.txt): two that are
//     gone would keep the room from its last participant. Then those who know stop. The hub of the log does
//     not count even if the move is to itself: another move may have succeeded that
//     it does not know (testdata/move_stale.txt, mutant_move_counts_hub). So of three
//     participants, one of them dead, the living two cannot move the room a second time in
//     a row, nor from each other: whoever moves asks the other administrators first. No
//     rule that counts acknowledgements does better. What the two know is the same whether
//     the third is dead, or is hub by the first move, slow, and has made entries final
//     alone: if they may go on in the one case they fork the room in the other.
//   - Who has acknowledged a move stores what another move's hub has ordered in an era
//     between that of its log and that of the move, and takes none of it for final. Without
//     that, a move that came to nothing would keep it from ever judging a third one; and
//     the move that it has acknowledged may still come about without those entries.
//   - A replica that a set change removes still stands for hub until it knows
//     that Settled is final. It may be the only one who has stored that, and then
//     nobody else can win (mutant_new_set_stands_only). It retires afterwards.
//   - Who has released a set of one does not stand again, whoever asks for it,
//     until it has seen a hub after itself: its own vote would still be that
//     set's majority (mutant_release_taken_back). A target that has seen a higher
//     term says so and gets the same release above it.
//   - A hub of several replicas that has released the room to one that does not come
//     stands again itself, above the release. It is alive to the others, who would
//     suspect nobody, and the room would be without a hub until its target returns.
//   - A candidate with a reason (an admin's request, a release, a refusal) that
//     is refused for a higher term stands again above it, like a refused hub:
//     otherwise a replica that alone could win, and one that fences it off, wait
//     for each other. Both do so after a random time (Wait): two refused hubs
//     that stand at once outbid each other for ever.
//     A second refusal, for a term that is higher still, does not take the reason away.
//
// # What another's word is worth
//
// Within an era it is enough that somebody says he has seen a higher term: the next election
// is above it. A hostile replica can keep a room electing that way, until an administrator
// takes it out of the set or moves the room.
//
// A later era is believed from nobody: whoever has seen one that its log is not in
// stands for hub no more (may), so a word about it would have the room stand still
// (mutant_era_unproven). It is believed from the commit that begins it, which the caller has judged
// before it delivers a Move, and from the log that goes on in it. A voter who has not heard of
// a candidate's era asks for that log (testdata/claims.txt, claims_moved.txt). So the hub of a room
// that most have left for another hub may take itself for the hub until that one's
// entries reach it; it makes nothing final without a majority.
//
// Who comes from a backup has to take words for it, below: what it signed in a later era it has
// forgotten, and it may be all that ever was of that era. A participant can keep it
// from signing in the present era that way, as one that does not answer can, until the room
// is moved. Nobody else is held up.
//
// # Two final histories
//
// Two certificates contradict each other only if somebody has lied who is in both
// majorities. One liar is enough where they have no more in common: a hub of three shows
// each of the others another log, and has each co-sign it. Then nothing that replicas sign
// says which history is the room's, and neither of the two would vote for the other: whoever
// knows of both stops (Contradict, frozen.go), takes, signs and votes for nothing, and people
// decide. An admin's commit on the newest handshake of one of the histories names a
// provider that has it, and takes effect like any move: with the acknowledgements of
// most participating providers, the replaced hub not counted, once per era and each
// binding (mutant_frozen_unbound). It is the era that ends the conflict; a certificate
// of an earlier one contradicts nothing any more.
//
//   - Who stopped with the chosen history acknowledges like anybody, shows what it has,
//     and goes on when the log continues its own into the new era.
//   - Who stopped with the other history acknowledges with the last place that both have
//     (Message.Common), and shows nothing of its own (mutant_frozen_shows): its entries contradict the commit
//     and could only keep the room stopped. Its word is that it starts nothing else in
//     this era. It takes nothing back: it stays as it is until its own people give its
//     history up, which is the caller's (Restart with another log).
//   - Who knows of one history only is asked as ever. If that was the other one, it
//     stops when it hears of the outcome.
//   - Who comes from a backup into such a room may have acknowledged a move and forgotten it
//     (mutant_frozen_forgets). So it asks here, too, before it does, and everybody who takes
//     part, since a move may name any of them. Of who has certified both histories no word is
//     waited for: it is worth nothing, and they may be gone. Who stands still answers such
//     questions.
//
// The word of a proven liar is not heard, but it would be counted among those of whom most are
// needed: in a room of three whose hub has lied, was replaced, and then shows a certificate
// that it has kept back, the new hub is the one that is replaced, and of the other two both
// would be needed. So a Change by a move may prove who has lied (Entry.Liars), and then it
// takes the word of everybody else, the replaced hub's too. That may be the hub that goes on:
// nobody else may have the chosen history. All of them, because each of them may be the only
// honest one who knows of an entry that the liar has helped to make final
// (mutant_liars_left_out); so it is the newest of all honest logs that goes on. If one of them is gone for good, the
// usual count remains. testdata/move_without_liar.txt, move_to_itself.txt.
//
// What the usual rule keeps is kept, and no more: one hub per term, and nothing that is
// final since the move is lost to another one whose acknowledging providers know it.
// That a removed admin does not choose the history without the removal is the caller's to
// judge: a provider that stopped acknowledges the commit of no one who has lost the
// capability in its own history.
//
// # A restored backup
//
// A replica restored from a backup has forgotten what it signed
// (mutant_restored_signs). It co-signs,
// votes and acknowledges nothing until all other replicas have answered (Ask,
// Answer); one that is itself restored is no witness. Of what it forgot, every
// vote is in a term that its candidate has told, every co-signature is of a head
// that the hub has shown. What it ordered itself nobody may know: it is hub in
// none of these terms any more. The caller matches answers to its own questions,
// so that no answer to an earlier question counts.
//
// A move it may have acknowledged to any participant, and the replicas need not know of that
// (mutant_restored_moves). So it acknowledges none, and asks for none (State.Unsure), until all
// who take part have answered as well, but for the hub that the log names: that one is what
// a room is moved away from, and may be gone for good. Who is no replica has only moves to
// remember, and waits for these answers alone. One that never answers keeps it from that for
// ever: to acknowledge twice would make two hubs of one term.
//
// # Reading order
//
//   - values.go, log.go: entries, sets, and the set in force
//   - event.go, message.go: what goes in and comes out
//   - machine.go: the machine
//   - order.go, follow.go: the hub's side of ordering, and the replica's
//   - elect.go, handover.go, move.go: the three ways to another hub
//   - frozen.go: two final histories
//   - convict.go, recover.go, outbox.go: liars, backups, origins
//
// testdata has a trace of each story.
//
// # Limits
//
// A set of one that is restored from a backup while its release is still under
// way can stand in the term that it has given away: what it released nobody else
// may know. A caller that answers a release only after the target has (a request
// with a response) narrows this to a crash between the two.
//
// A machine may hold a window of the log instead of all (Config.Window, Resume): what
// is more than that below the newest final entry is in the caller's store only. Such a
// caller
//
//   - answers duplicates from its store before it submits, for Find sees the window;
//   - sends entries as ranges from its store, whatever the Entries of a message say;
//   - delivers entries from its own final one on, having compared those before with its
//     store, and no heads that it knows to be final, unless their term has ended;
//   - restarts with Resume: the marks that the log had, its newest final entry, and what
//     follows that.
//
// TestWindow compares a machine with a window and one without in random histories. The
// one difference that it allows is that a release on a head below the window is not
// refused. Package search runs most scenarios with windows, too, but those with a liar:
// of a fork below the window the caller has the proof.
//
// Config lists the participating providers until WithConfig
// changes them. Whether failover is automatic, and whether a suspicion or an
// admin's request is justified, the caller decides.
package hub
