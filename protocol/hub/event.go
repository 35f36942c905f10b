package hub

import (
	"github.com/mimid/mimid/protocol/room"
)

// An EventKind names what happens to a machine.
type EventKind uint8

// Kinds of events.
const (
	Deliver    EventKind = iota + 1 // Message has arrived
	Submit                          // Txn, Handshake, Set: somebody wants it in the log
	Suspect                         // the caller has reason to think that the hub is gone
	Doubt                           // the same, when another may be asking for votes already: who stands may have ours
	Resend                          // time has passed: say again what is unanswered, stand again
	HandOver                        // Target: give the room to another
	MoveHere                        // Set, Term, Liars: a commit by an admin, on the newest handshake here, names us as hub
	Request                         // an admin's signed request to elect us
	Contradict                      // Head: the caller has proven that another log than ours is final, too; Set: who has certified both in one term
)

// An Event goes into Step.
type Event struct {
	Kind      EventKind
	Message   *Message
	Txn       room.TxnID
	Handshake bool
	Set       Set
	Target    Provider
	Head      Head
	Term      room.Term // its era counts if it is above all that we have seen
	Liars     Set       // of whom the caller can prove in the Change that they have signed contradictions
}

// An EffectKind names what the caller does for a machine.
type EffectKind uint8

// Kinds of effects.
const (
	Write     EffectKind = iota + 1 // make Store durable before performing what follows
	Send                            // Message
	Accepted                        // Txn is durable here at Head: answer the submission
	Rejected                        // Txn was not taken; Why
	Final                           // Head is final: publish, deliver, merge
	SetAside                        // Entries are not in the log any more: show, resubmit
	Leads                           // we are hub from Head on
	Stopped                         // the room stands still: Proof.A and B are a fork of what was final
	Convicted                       // Proof: Liar counts as failed from now on
	Wait                            // Resend after a random time: who is refused together must not stand together
)

// An Effect comes out of Step. Effects are performed in the order in which they
// come; one that the caller crashes before is as one that never was.
type Effect struct {
	Kind    EffectKind
	Store   *Store
	Message *Message
	Txn     room.TxnID
	Head    Head
	Entries []*Entry
	Proof   Proof
	Why     error
}

// A State is the part of a machine that must survive, besides its log.
type State struct {
	Seen     room.Term   // the highest term voted in or seen: nothing below it is stored or co-signed
	Vote     Vote        // the newest vote
	Given    Vote        // the release of a set of one: other votes must not make us forget it
	Final    Certificate // the newest certificate that the log holds
	Liars    Set         // proven
	Fork     [2]Head     // what stopped the room, if anything did
	Restored bool        // from a backup, and not everybody has answered yet
	Unsure   bool        // from a backup: may have acknowledged a move that nobody who has answered knows of
	Lost     room.Term   // terms up to here may hold signatures of ours that the backup has not
}

// A Vote is for a candidate with a head in a term, once per term.
type Vote struct {
	Term    room.Term
	For     Provider
	Head    Head
	Release bool // the vote of a hub that gives the room away
}

// Durable is what a machine restarts with.
type Durable struct {
	State State
	Log   Log
}

// A Store is one atomic durable write: the state, and the log after its first
// Keep entries.
type Store struct {
	State   State
	Keep    int
	Entries []*Entry
}

// Apply returns what is durable after a write.
func (d Durable) Apply(s *Store) Durable {
	d.State = s.State
	if s.Keep < d.Log.Len() {
		d.Log = d.Log.cut(uint64(s.Keep))
	}
	if len(s.Entries) > 0 {
		d.Log = d.Log.append(s.Entries...)
	}
	return d
}
