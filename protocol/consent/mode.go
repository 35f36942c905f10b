package consent

import (
	"fmt"
	"slices"
)

// Mode says what becomes of somebody about whom a user has decided nothing. The numbers are
// stored.
type Mode uint8

// Modes.
const (
	Unset      Mode = 0 // no exception, or none that the user has chosen
	Ask        Mode = 1 // nobody gets anything before the user has granted it
	Open       Mode = 2 // everybody may add the user to rooms
	Quarantine Mode = 3 // likewise, and the user's devices do not get it before it is accepted
	Closed     Mode = 4 // requests vanish, too
)

var modeNames = [...]string{"unset", "ask", "open", "quarantine", "closed"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// Valid says whether it is a mode that one can be in.
func (m Mode) Valid() bool { return m >= Ask && m <= Closed }

// ParseMode reads a mode that one can be in by its name.
func ParseMode(name string) (Mode, bool) {
	m := Mode(max(slices.Index(modeNames[:], name), 0))
	return m, m.Valid()
}

// Resolve returns the mode that holds for a requester: the exception for it, that for its
// provider, the user's mode, the first one that is set; Ask if none is.
func Resolve(contact, provider, user Mode) Mode {
	for _, m := range []Mode{contact, provider, user} {
		if m != Unset {
			return m
		}
	}
	return Ask
}

// Verdict is what a requester gets.
type Verdict uint8

// Verdicts.
const (
	// Refuse: no KeyPackages, and the user's devices stay out of the room.
	Refuse Verdict = iota
	// Admit: KeyPackages, and the devices come into the room.
	Admit
	// Hold: KeyPackages, and the devices hear nothing of the room before the user accepts.
	Hold
)

func (v Verdict) String() string {
	return [...]string{"Refuse", "Admit", "Hold"}[min(v, Hold)]
}

// Judge says what a requester gets about a room, by the mode that holds for it and its
// states for any room and for this one: what was said of the room decides, but a block in
// either scope stands, and the mode counts only where nothing was decided.
func Judge(m Mode, any, room State) Verdict {
	switch {
	case Blocks(any, room):
		return Refuse
	case room == Granted:
		return Admit
	case room == Revoked:
		return Refuse
	case any == Granted:
		return Admit
	case any == Revoked:
		return Refuse
	case m == Open:
		return Admit
	case m == Quarantine:
		return Hold
	}
	return Refuse
}
