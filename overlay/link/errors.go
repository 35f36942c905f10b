package link

import "errors"

var (
	// ErrConfig says that a Link cannot be made of its Config.
	ErrConfig = errors.New("link: wrong configuration")

	// ErrSize says that a packet is not of the network's size. Nothing was sent.
	ErrSize = errors.New("link: a packet of another size")

	// ErrFull says that as much waits for the peer, or for as many peers, as may. The packet was
	// not taken.
	ErrFull = errors.New("link: too many packets are waiting")

	// ErrNotRunning says that Run has not begun, or has ended.
	ErrNotRunning = errors.New("link: not running")

	// ErrPeer says that a text is no peer's name.
	ErrPeer = errors.New("link: no peer has this name")
)
