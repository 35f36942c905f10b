package mix

import "errors"

var (
	// ErrConfig says that a Relay, Exit or Sender cannot be made of its configuration.
	ErrConfig = errors.New("mix: wrong configuration")

	// ErrDamaged says that a record of the journal of replay tags is none that this package writes.
	ErrDamaged = errors.New("mix: a damaged record of replay tags")

	// ErrNoRelays says that a Sender has no snapshot of relays yet. Nothing was sent.
	ErrNoRelays = errors.New("mix: no snapshot of relays")

	// ErrNoExit says that the node that is to get a message is not in the snapshot. Nothing was
	// sent.
	ErrNoExit = errors.New("mix: the recipient's node is no relay of this epoch")

	// ErrRefused says that the far end does not take messages for this mailbox: sending again is
	// of no use.
	ErrRefused = errors.New("mix: the mailbox does not take the message")

	// ErrUnconfirmed says that nobody has confirmed a message after all tries, or that the caller
	// did not wait so long: it may have arrived or not. Sending it again with the same id does not
	// deliver it twice.
	ErrUnconfirmed = errors.New("mix: not confirmed, it may have arrived or not")

	// ErrNotRunning says that Run has ended, or ends.
	ErrNotRunning = errors.New("mix: not running")

	// ErrKeyFile says that a file among the onion keys is none, or can be read by others.
	ErrKeyFile = errors.New("mix: unusable onion key")
)
