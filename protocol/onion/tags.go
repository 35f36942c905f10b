package onion

import (
	"encoding/binary"
	"fmt"
)

// Tags is the set of replay tags of one relay and one epoch, as far as it is in memory: eight
// octets of each, some 27 octets of memory per tag. Who knows none of the tags cannot make two
// packets of different tags collide in it; two honest ones do with a chance of n^2 / 2^65.
//
// A tag must be on disk before its packet is sent on, or a packet that was sent just before a
// crash can be sent again after it. When a key is dropped its set goes, too. It is owned by the
// caller's goroutine.
type Tags struct {
	max  int
	seen map[uint64]struct{}
}

// NewTags makes an empty set for up to max tags. An hour of 1,000 packets a second are 3.6 million.
func NewTags(max int) *Tags { return &Tags{max: max, seen: map[uint64]struct{}{}} }

// Add puts a tag in. If it is there already the error is ErrReplayed, and if there is no room
// ErrTagsFull.
func (t *Tags) Add(tag Tag) error {
	k := binary.BigEndian.Uint64(tag[:])
	if _, ok := t.seen[k]; ok {
		return ErrReplayed
	}
	if len(t.seen) >= t.max {
		return fmt.Errorf("%d tags: %w", len(t.seen), ErrTagsFull)
	}
	t.seen[k] = struct{}{}
	return nil
}

// Len is how many tags are in the set.
func (t *Tags) Len() int { return len(t.seen) }
