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
	Held      State = 5 // asked in mode quarantine, and not shown
)

var stateNames = [...]string{"none", "requested", "granted", "revoked", "blocked", "held"}

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

// table is the first one in the package documentation; what it says of a request is that of
// mode ask.
var table = [...][6]outcome{
	None:      {{Requested, ShowRequest}, {None, Nothing}, {Granted, TellGrant}, {Revoked, Nothing}, {Blocked, Nothing}, {None, Nothing}},
	Requested: {{Requested, Nothing}, {None, WithdrawRequest}, {Granted, TellGrant}, {Revoked, Nothing}, {Blocked, Nothing}, {Requested, Nothing}},
	Granted:   {{Granted, TellGrant}, {None, Nothing}, {Granted, TellGrant}, {Revoked, TellRevoke}, {Blocked, TellRevoke}, {Granted, Nothing}},
	Revoked:   {{Revoked, Nothing}, {Revoked, Nothing}, {Granted, TellGrant}, {Revoked, Nothing}, {Blocked, Nothing}, {Revoked, Nothing}},
	Blocked:   {{Blocked, Nothing}, {Blocked, Nothing}, {}, {Blocked, Nothing}, {Blocked, Nothing}, {Revoked, Nothing}},
	Held:      {{Requested, ShowRequest}, {None, Nothing}, {Granted, TellGrant}, {Revoked, Nothing}, {Blocked, Nothing}, {Held, Nothing}},
}

// Step returns the state after an event and what follows. The mode is the one that holds
// for the requester; it matters for a request only. On error the state is unchanged. Errors:
// ErrBlocked, ErrEvent.
func Step(m Mode, s State, e Event) (State, Effect, error) {
	if int(s) >= len(table) || e > Unblock || !m.Valid() {
		return s, Nothing, fmt.Errorf("%s in state %s and mode %s: %w", e, s, m, ErrEvent)
	}
	if s == Blocked && e == Grant {
		return s, Nothing, ErrBlocked
	}
	undecided := s == None || s == Requested || s == Held
	if e == Request && undecided {
		switch m {
		case Open:
			return s, TellGrant, nil
		case Quarantine:
			if s == None {
				return Held, Nothing, nil
			}
			return s, Nothing, nil
		case Closed:
			return s, Nothing, nil
		}
	}
	o := table[s][e]
	return o.next, o.effect, nil
}

// StepInvitation is Step for a scope of one room in which the requester has invited the
// target, of what the target says.
func StepInvitation(m Mode, s State, e Event) (State, Effect, error) {
	next, effect, err := Step(m, s, e)
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
