package rooms

import (
	"errors"
	"fmt"
)

// Errors.
var (
	// ErrStopped: the service is stopping or has not started.
	ErrStopped = errors.New("rooms: not running")
	// ErrBusy: the room's queue is full.
	ErrBusy = errors.New("rooms: too much is waiting for this room")
	// ErrUnknown: this provider has no such room.
	ErrUnknown = errors.New("rooms: no such room")
	// ErrNoKey: the room names a key of this provider, as its hub, that this
	// provider no longer has; put the key back or let the room move to another hub.
	ErrNoKey = errors.New("rooms: the key that the room is ordered with is missing")
	// ErrBroken: the room's log holds something that cannot be, and this provider
	// does not follow it any further.
	ErrBroken = errors.New("rooms: the room's log cannot be followed")
	// errParted: the room was moved away from before the end of what is here.
	errParted = fmt.Errorf("the room goes on elsewhere: %w", ErrBroken)
)
