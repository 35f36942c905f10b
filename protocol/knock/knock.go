// Package knock is how somebody who is outside a room asks to be let in: what the user,
// her provider, the room's hub and the providers of those who may answer say to each other
// (message.go), and what a hub makes of it (this file). MIMI reserves the capabilities
// canKnock and canAcceptKnock and leaves the rest open.
//
// A word is signed by the user's device, so nobody in between can make one up, and
// members can see whose it is. It is the consent, too: from the moment at which it is on its
// way, whoever may add people to this room may fetch the user's KeyPackages for this room.
// So there is no word for yes: who is let in is added, and the room's log says so. No is
// a word (Refusal), because nothing else would show it.
//
// # The hub
//
// For each room and user a hub keeps a Record. Step says what becomes of it:
//
//	           Ask                  Cancel         Refuse               settled: inside  banned, closed
//	None       Waiting +show        Cancelled      ErrNobody            None             None
//	Waiting    Waiting; after       Cancelled -    Refused - +refused   None - +inside   Refused - +refused
//	           Quiet +show
//	Cancelled  Waiting +show        Cancelled      ErrNobody            None             None
//	Refused    Refused; or after    Refused        ErrNobody            None             Refused
//	           Quiet as None
//
// +show shows the knock to those who may answer, in place of what they see of the same user,
// - takes it from their view again,
// +refused and +inside tell the user's provider. Where the user stands (inside, banned, or
// not allowed to knock) is settled before any event. A word that is not newer than the last
// one changes nothing: it is a repetition, or came late.
//
// So of two who answer at once the first one has answered and the other is told that
// nobody waits; a refusal that meets a cancel finds nobody; and who has been added is
// inside, whatever else was said: the log is above all words. A user who is banned is
// refused without anybody being told, and after a refusal nobody is told of the same
// user's knocks for Quiet.
//
// Pure: values in, values out. Bounds on how many may wait belong to the caller.
package knock

import (
	"errors"
	"fmt"
	"time"
)

// ErrNobody: the user does not wait for an answer: it has had one, or has gone away.
var ErrNobody = errors.New("knock: nobody waits")

// ErrStored: a stored state from a newer version, or a damaged one.
var ErrStored = errors.New("knock: unknown state or event")

// Lifetime is for how long a knock waits for an answer, by the time in it.
const Lifetime = 14 * 24 * time.Hour

// Ahead is how far a word's time may be ahead of the reader's clock.
const Ahead = 5 * time.Minute

// Quiet is for how long nobody is told of a user's further knocks: after a refusal, and after
// one that waits for an answer.
const Quiet = 7 * 24 * time.Hour

// State is where a user's knock at a room is, as its hub sees it. The numbers are stored.
type State uint8

// States.
const (
	None      State = 0 // nothing is known
	Waiting   State = 1 // asked, shown, not answered
	Cancelled State = 2 // taken back; kept, lest an older word that comes late is taken for a new one
	Refused   State = 3
)

var stateNames = [...]string{"none", "waiting", "cancelled", "refused"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Place is where the user stands in the room, by its log.
type Place uint8

// Places.
const (
	Outside Place = iota // and may knock
	Inside               // takes part
	Banned
	Closed // outside, and the room's policy lets nobody there knock
)

// Record is what a hub keeps of one user at one room. The zero Record is none.
type Record struct {
	State State
	// Issued is the time in the user's newest word.
	Issued time.Time
	// Since is when the state began.
	Since time.Time
}

// What is an event.
type What uint8

// Events.
const (
	Ask    What = iota + 1 // the user's
	Cancel                 // the user's
	Refuse                 // of somebody who may answer
	Look                   // time has passed, or the room has changed
)

// Event is something that happens. Issued is the time in the user's word, for Ask and Cancel.
type Event struct {
	What   What
	Issued time.Time
}

// Effects are what follows from a step, to be done after the new record is durable.
type Effects struct {
	Show     bool // to those who may answer, in place of what they see of the user
	Withdraw bool // from their view
	Tell     Answer
}

// Answer is what the user's provider is told. The numbers are on the wire and stored there.
type Answer uint8

// Answers. Silence is none.
const (
	Silence     Answer = 0
	IsWaiting   Answer = 1
	IsRefused   Answer = 2
	IsInside    Answer = 3
	IsCancelled Answer = 4
	IsClosed    Answer = 5 // the room lets nobody knock
	IsTooOld    Answer = 6 // the word is over its Lifetime
)

var answerNames = [...]string{"silence", "waiting", "refused", "inside", "cancelled", "closed", "expired"}

func (a Answer) String() string {
	if int(a) < len(answerNames) {
		return answerNames[a]
	}
	return fmt.Sprintf("Answer(%d)", uint8(a))
}

// Step returns the record after an event, what follows, and what to answer to who sent the
// event; an answer to the user's provider by itself is in the effects. On an error nothing
// has changed, but for what was to be settled: store the record all the same.
// Errors: ErrNobody, ErrStored.
func Step(r Record, at Place, e Event, now time.Time) (next Record, do Effects, reply Answer, err error) {
	if r.State > Refused || e.What < Ask || e.What > Look || at > Closed {
		return r, do, Silence, fmt.Errorf("%s, event %d, place %d: %w", r.State, e.What, at, ErrStored)
	}
	next, do = settle(r, at, now)
	switch e.What {
	case Ask, Cancel:
		next, reply = hear(next, &do, at, e, now)
		if do.Tell == reply {
			do.Tell = Silence // said in the reply
		}
	case Refuse:
		if next.State != Waiting {
			return next, do, Silence, ErrNobody
		}
		next.State, next.Since = Refused, now
		do.Withdraw, do.Tell = true, IsRefused
	}
	return next, do, reply, nil
}

// settle is what the room's log and the passing of time make of a record.
func settle(r Record, at Place, now time.Time) (Record, Effects) {
	var do Effects
	switch r.State {
	case Waiting:
		switch {
		case at == Inside:
			return Record{}, Effects{Withdraw: true, Tell: IsInside}
		case at != Outside:
			return Record{Refused, r.Issued, now}, Effects{Withdraw: true, Tell: IsRefused}
		case now.Sub(r.Issued) > Lifetime || now.Sub(r.Since) > Lifetime:
			return Record{}, Effects{Withdraw: true} // her provider counts, too
		}
	case Cancelled:
		if at == Inside || now.Sub(r.Issued) > Lifetime {
			return Record{}, do
		}
	case Refused:
		if at == Inside || now.Sub(r.Since) > Quiet {
			return Record{}, do
		}
	}
	return r, do
}

// hear takes a word of the user.
func hear(r Record, do *Effects, at Place, e Event, now time.Time) (Record, Answer) {
	asks := e.What == Ask
	switch {
	case at == Inside:
		return r, IsInside
	case at == Banned:
		return r, IsRefused
	case asks && at == Closed:
		return r, IsClosed
	case now.Sub(e.Issued) > Lifetime:
		return r, IsTooOld
	case r.State == Refused:
		r.Issued = latest(r.Issued, e.Issued)
		return r, IsRefused
	case r.State != None && !e.Issued.After(r.Issued): // again, or late
		if r.State == Waiting {
			return r, IsWaiting
		}
		return r, IsCancelled
	case !asks:
		do.Withdraw = do.Withdraw || r.State == Waiting
		return Record{Cancelled, e.Issued, now}, IsCancelled
	case r.State == Waiting && now.Sub(r.Since) <= Quiet: // nobody is told twice; the first word stands
		r.Issued = e.Issued
		return r, IsWaiting
	}
	do.Show, do.Withdraw = true, false
	return Record{Waiting, e.Issued, now}, IsWaiting
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
