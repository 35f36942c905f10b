// Package consent is the state machine by which a user decides who may fetch
// its KeyPackages, and so add it to rooms (MIMI protocol sections 5.7 and 8).
//
// A requester asks, the target's provider keeps one State for each (target,
// requester, scope), where a scope is one room or any room, and steps it with
// what either side says. The mode is ask: nobody may fetch anything before the
// target has granted it. Grants and refusals need no request before them.
//
// What a requester can learn is the same in every state but Granted: a request
// is received, and then nothing comes. A refusal is silent, a request that is
// ignored because the requester was refused or blocked looks like one that has
// not been answered. So every Effect towards the requester is listed here, and
// whoever performs them adds none.
//
//	            request     cancel      grant        revoke      block        unblock
//	None        Requested+t None        Granted+r    Revoked     Blocked      None
//	Requested   Requested   None+w      Granted+r    Revoked     Blocked      Requested
//	Granted     Granted+r   None        Granted+r    Revoked+r   Blocked+r    Granted
//	Revoked     Revoked     Revoked     Granted+r    Revoked     Blocked      Revoked
//	Blocked     Blocked     Blocked     error        Blocked     Blocked      Revoked
//
// +t shows the request to the target, +w takes it from view again, +r tells the
// requester's provider of the grant or of its end. Request and cancel are the
// requester's, the others the target's. Unblocking leaves Revoked, not None: who
// was blocked is not heard again until the target grants by itself.
//
// An invitation (Invitation) is a request about one room. It is an offer, to which no is an
// answer, too: StepInvitation differs from Step in that revoke tells the requester of it in the
// state Requested. Whoever wants to say nothing says nothing. Who is refused or blocked
// for any room is not heard with an invitation either (Hears).
//
// Pure: values in, values out. Limits on how often a requester may ask belong
// to the caller.
package consent

import (
	"errors"
	"fmt"
	"slices"
)

// ErrBlocked: a grant to a requester that is blocked. Unblock first: a grant
// that slips past a block would be a surprise.
var ErrBlocked = errors.New("consent: requester is blocked")

// ErrEvent: an event that does not exist. A bug of the caller, or a stored
// state from a newer version.
var ErrEvent = errors.New("consent: unknown state or event")

// State is what one target has decided about one requester in one scope. The
// numbers are stored.
type State uint8

// States.
const (
	None      State = 0 // nothing was said
	Requested State = 1 // asked, not answered
	Granted   State = 2
	Revoked   State = 3 // refused or withdrawn; further requests are ignored
	Blocked   State = 4 // refused, and hidden
)

var stateNames = [...]string{"none", "requested", "granted", "revoked", "blocked"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// ParseState reads a state by its name.
func ParseState(name string) (State, bool) {
	i := slices.Index(stateNames[:], name)
	return State(max(i, 0)), i >= 0
}

// Event is what one side says.
type Event uint8

// Events; the first two are the requester's.
const (
	Request Event = iota
	Cancel
	Grant
	Revoke
	Block
	Unblock
)

var eventNames = [...]string{"request", "cancel", "grant", "revoke", "block", "unblock"}

func (e Event) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return fmt.Sprintf("Event(%d)", uint8(e))
}

// Effect is what follows from a step, to be performed after the new state is
// durable.
type Effect uint8

// Effects.
const (
	// Nothing is to be done.
	Nothing Effect = iota
	// ShowRequest shows the request to the target's clients.
	ShowRequest
	// WithdrawRequest takes it from view.
	WithdrawRequest
	// TellGrant sends a grant to the requester's provider.
	TellGrant
	// TellRevoke sends a revocation there.
	TellRevoke
)

func (e Effect) String() string {
	return [...]string{"nothing", "show request", "withdraw request", "tell grant", "tell revoke"}[min(e, TellRevoke)]
}

type outcome struct {
	next   State
	effect Effect
}

// table is the one in the package documentation.
var table = [...][6]outcome{
	None:      {{Requested, ShowRequest}, {None, Nothing}, {Granted, TellGrant}, {Revoked, Nothing}, {Blocked, Nothing}, {None, Nothing}},
	Requested: {{Requested, Nothing}, {None, WithdrawRequest}, {Granted, TellGrant}, {Revoked, Nothing}, {Blocked, Nothing}, {Requested, Nothing}},
	Granted:   {{Granted, TellGrant}, {None, Nothing}, {Granted, TellGrant}, {Revoked, TellRevoke}, {Blocked, TellRevoke}, {Granted, Nothing}},
	Revoked:   {{Revoked, Nothing}, {Revoked, Nothing}, {Granted, TellGrant}, {Revoked, Nothing}, {Blocked, Nothing}, {Revoked, Nothing}},
	Blocked:   {{Blocked, Nothing}, {Blocked, Nothing}, {}, {Blocked, Nothing}, {Blocked, Nothing}, {Revoked, Nothing}},
}

// Step returns the state after an event and what follows. On error the state
// is unchanged. Errors: ErrBlocked, ErrEvent.
func Step(s State, e Event) (State, Effect, error) {
	if int(s) >= len(table) || e > Unblock {
		return s, Nothing, fmt.Errorf("%s in state %s: %w", e, s, ErrEvent)
	}
	if s == Blocked && e == Grant {
		return s, Nothing, ErrBlocked
	}
	o := table[s][e]
	return o.next, o.effect, nil
}

// StepInvitation is Step for a scope of one room in which the requester has invited the
// target.
func StepInvitation(s State, e Event) (State, Effect, error) {
	next, effect, err := Step(s, e)
	if s == Requested && e == Revoke {
		effect = TellRevoke
	}
	return next, effect, err
}

// Hears says whether a request about one room is to be heard, by the requester's state for any
// room.
func Hears(any State) bool { return any != Revoked && any != Blocked }

// Blocks says whether a requester is blocked, for any room or this one: then nothing else
// lets it fetch KeyPackages, not the target's asking to be let into that room either.
func Blocks(any, room State) bool { return any == Blocked || room == Blocked }

// Allows says whether a requester may fetch KeyPackages for a room, by its
// states for any room and for this one: what was said of the room decides, but
// a block in either scope stands.
func Allows(any, room State) bool {
	switch {
	case Blocks(any, room):
		return false
	case room == Granted:
		return true
	case room == Revoked:
		return false
	}
	return any == Granted
}
