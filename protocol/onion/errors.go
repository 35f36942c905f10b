package onion

import "errors"

var (
	// ErrSize says that a packet, a reply block or a content is not as long as its format asks
	// for. Nothing has been computed with it.
	ErrSize = errors.New("wrong size")

	// ErrFormat says that a packet or reply block is of another version or suite than the
	// network speaks in this epoch. Nothing has been computed with it.
	ErrFormat = errors.New("another version or suite")

	// ErrUnknownKey says that a packet is for an epoch whose key is not held: too old, or too far
	// ahead. Its sender has to take the newest snapshot and build another packet.
	ErrUnknownKey = errors.New("no key of the packet's epoch is held")

	// ErrBadMAC says that a header is not what some sender made for this node and epoch: it was
	// changed, is for somebody else, or was made up. It costs the receiver one decapsulation.
	ErrBadMAC = errors.New("the header is not authentic")

	// ErrReplayed says that a packet with the same tag was seen before. Unwrap cannot know: the
	// caller asks its store, for which Tags is the part in memory.
	ErrReplayed = errors.New("the packet was seen before")

	// ErrTagsFull says that a set of replay tags takes no more until its epoch ends. The packet
	// must not be forwarded, since its repetition could not be found.
	ErrTagsFull = errors.New("the set of replay tags is full")

	// ErrCommands says that an authentic header holds routing commands that mean nothing: its
	// sender is broken or hostile.
	ErrCommands = errors.New("malformed routing commands")

	// ErrTampered says that a body, at the end of its path, is not what the sender put in:
	// somebody on the way changed it, or it is not for these keys. There is nothing in it.
	ErrTampered = errors.New("the body was changed on its way")

	// ErrPayload says that an authentic body is framed wrongly by its sender.
	ErrPayload = errors.New("malformed payload")

	// ErrSURB says that octets are no reply block, or not one that can be used.
	ErrSURB = errors.New("malformed reply block")

	// ErrPath says that no packet can be built for a path: no hops or too many, keys of another
	// suite, or a delay that cannot be written.
	ErrPath = errors.New("no packet can be built for this path")

	// ErrKey says that octets are no key of their suite.
	ErrKey = errors.New("malformed onion key")
)

var (
	// ErrFragment says that octets are no part of a message, or that a part does not fit those
	// that came before it.
	ErrFragment = errors.New("malformed part of a message")

	// ErrAck says that octets are no acknowledgement.
	ErrAck = errors.New("malformed acknowledgement")

	// ErrFull says that a Reassembler holds as much for a mailbox, or in all, as it may. The part
	// is not kept and must not be acknowledged; its sender will try again.
	ErrFull = errors.New("too much is held for other messages")
)
