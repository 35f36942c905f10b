package mix

import "sync/atomic"

// Counts are what a Relay has done since it was made. Each packet that was received ends in one of
// the others, but Decapsulated; until then it is held.
type Counts struct {
	Received     uint64 // all packets
	Limited      uint64 // dropped for want of a token: nothing was computed with them
	Full         uint64 // dropped since as much is held, or as many tags, as may be
	Malformed    uint64 // of another size, version or suite
	UnknownKey   uint64 // of an epoch whose key is not held
	Decapsulated uint64 // packets that a secret key was used for
	Forged       uint64 // not authentic, or changed on their way
	Replayed     uint64 // seen before
	NotStored    uint64 // dropped since their tags could not be written
	Unsent       uint64 // for a node that is not known, or refused by the link
	Forwarded    uint64
	Delivered    uint64 // payloads handed over
	Replies      uint64 // replies handed over
	NotTaken     uint64 // payloads and replies for which there was no room
}

type counters struct {
	received, limited, full, malformed, unknownKey, decapsulated, forged, replayed,
	notStored, unsent, forwarded, delivered, replies, notTaken atomic.Uint64
}

// Counts says what was done.
func (r *Relay) Counts() Counts {
	c := &r.counts
	return Counts{
		Received: c.received.Load(), Limited: c.limited.Load(), Full: c.full.Load(), Malformed: c.malformed.Load(),
		UnknownKey: c.unknownKey.Load(), Decapsulated: c.decapsulated.Load(), Forged: c.forged.Load(), Replayed: c.replayed.Load(),
		NotStored: c.notStored.Load(), Unsent: c.unsent.Load(), Forwarded: c.forwarded.Load(), Delivered: c.delivered.Load(),
		Replies: c.replies.Load(), NotTaken: c.notTaken.Load(),
	}
}
