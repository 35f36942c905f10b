package relays

import "errors"

var (
	// ErrDescriptor says that octets are no relay's description of itself, or not one that its
	// key has signed.
	ErrDescriptor = errors.New("malformed relay descriptor")

	// ErrSnapshot says that octets are no snapshot, or that one contradicts itself.
	ErrSnapshot = errors.New("malformed snapshot of relays")

	// ErrCosignatures says that too few witnesses have signed a snapshot.
	ErrCosignatures = errors.New("too few witnesses have signed the snapshot")

	// ErrTooFew says that there are not enough relays for three layers.
	ErrTooFew = errors.New("too few relays")

	// ErrNoPath says that no path keeps operators, networks and address groups apart.
	ErrNoPath = errors.New("no path with distinct operators and networks")

	// ErrEntryGone says that the pinned first hop is in no snapshot at the moment. Nothing is sent
	// until it is back, or was gone for so long that another may be chosen.
	ErrEntryGone = errors.New("the pinned entry is no relay at the moment")
)
