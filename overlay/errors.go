package overlay

import "errors"

// ErrConfig says that a Config cannot work; the text names the field and what to write
// there.
var ErrConfig = errors.New("overlay: configuration")

// ErrListen says that an address of Config.Listen could not be listened on, most often
// because another program, or another node, has the port.
var ErrListen = errors.New("overlay: cannot listen")

// ErrNotRunning says that the call needs the network, and Run has not opened it yet or
// has ended.
var ErrNotRunning = errors.New("overlay: not running")

// ErrName says that a text is not a provider name: labels of a to z, 0 to 9 and hyphens,
// joined by dots.
var ErrName = errors.New("overlay: not a provider name")

// ErrRecord says that bytes are no valid provider record: too long, not in the format,
// badly signed, for another name, or with an expiry or sequence number out of range. It
// says nothing about whether the signer may speak for the name.
var ErrRecord = errors.New("overlay: invalid provider record")

// ErrExpired says that the newest record of a provider has expired and that no newer one
// was found: the provider has been away for days, or this node cannot reach the network.
var ErrExpired = errors.New("overlay: provider record expired")

// ErrUnknownProvider says that nobody who was asked holds a record for the name: it was
// mistyped, or the provider never ran, or has been away for more than two days.
var ErrUnknownProvider = errors.New("overlay: unknown provider")

// ErrConflict says that a record is valid but signed by another key than the one that is
// trusted for the name. Nothing changed. The operator compares fingerprints with the
// other operator, and then pins the right key or does nothing.
var ErrConflict = errors.New("overlay: another key claims the name")

// ErrDNS says that the TXT records of a name that has never been seen could not be asked
// for, so that its key cannot be trusted yet: whoever can disturb DNS could otherwise
// choose the key. It goes away with the disturbance; or the operator pins the key.
var ErrDNS = errors.New("overlay: DNS does not answer")

// ErrRoomRecord says that bytes are no valid room record: too long, not in the format,
// badly signed, for another room, or out of time; or, from FindRoom, that its signer is
// not the provider that it names.
var ErrRoomRecord = errors.New("overlay: invalid room record")

// ErrRoomUnknown says that nobody who was asked holds a record that says who orders the
// room: it never moved away from the provider in its address, or its hub has been away
// for two days, or the address is mistyped. Ask that provider, or whoever sent the link.
var ErrRoomUnknown = errors.New("overlay: nobody knows who orders the room")

// ErrNoPeers says that this node knows no peer that it could ask. Check the bootstrap
// addresses and the network.
var ErrNoPeers = errors.New("overlay: no peers")

// ErrUnreachable says that a provider or peer is known, but none of its nodes could be
// connected to.
var ErrUnreachable = errors.New("overlay: unreachable")

// ErrFull says that a bound of Limits is reached, which the text names.
var ErrFull = errors.New("overlay: limit reached")

// ErrTopic says that a topic cannot be joined or published to: bad name, joined already,
// or left.
var ErrTopic = errors.New("overlay: topic")

// ErrTooLarge says that a message is longer than MaxMessage. Nothing was sent.
var ErrTooLarge = errors.New("overlay: message too large")
