package mls

import "time"

// Limits bounds what a decoder or a group accepts, before anything is
// allocated for it. A zero field means its default, so the zero Limits is the
// set of defaults; there is no way to switch a limit off, only to raise it.
//
// Every byte string inside a message is bounded by the message itself: a
// length prefix larger than the bytes that follow is refused before
// allocation, so MessageSize bounds memory for all of them. The other fields
// bound what costs more than its bytes: signatures to verify, hashes to
// compute, keys to derive.
type Limits struct {
	// MessageSize is the largest encoding, in bytes, that any Parse function
	// reads: a message, a GroupInfo with its tree, a ratchet tree.
	// Default 16 MiB (a tree of 16,384 leaves with two-certificate chains).
	MessageSize int
	// Leaves is the largest number of leaves, blank ones included, that a
	// ratchet tree may have. Each non-blank one costs a signature check.
	// Default 16,384.
	Leaves int
	// Proposals is the largest number of proposals in one commit.
	// Default 4,096.
	Proposals int
	// PendingProposals is how many proposals a group holds by reference in
	// one epoch; further ones are refused. Default 1,024.
	PendingProposals int
	// ListEntries is the largest number of elements in any list that is not
	// bounded by a field of its own: extensions, capability lists,
	// certificates of a chain, components, external senders, PSKs.
	// Default 256.
	ListEntries int
	// ForwardGenerations is how far ahead of the last one a message's
	// generation may be: each skipped one costs a key derivation and a stored
	// key. Default 1,000.
	ForwardGenerations uint32
	// SkippedKeys is how many keys of skipped generations are kept per
	// sender and kind; the oldest go first. Default 1,000.
	SkippedKeys int
	// PastEpochs is how many past epochs keep their message keys, so that a
	// late application message can still be read. Older keys are deleted.
	// Default 3. Use -1 for none.
	PastEpochs int
	// Lifetime is the longest lifetime, from its beginning to its end, that a
	// KeyPackage may have (RFC 9420 section 7.2 asks for such a limit).
	// Default 366 days; math.MaxInt64 stands for any.
	Lifetime time.Duration
	// ResumptionPSKs is how many past epochs' resumption PSKs a member keeps.
	// Default 3. Use -1 for none.
	ResumptionPSKs int

	// complete: defaults are filled in, so that a 0 is one.
	complete bool
}

func (l Limits) withDefaults() Limits {
	if l.complete {
		return l
	}
	l.complete = true
	set := func(p *int, d int) {
		if *p == 0 {
			*p = d
		}
		*p = max(*p, 0)
	}
	set(&l.MessageSize, 16<<20)
	set(&l.Leaves, 1<<14)
	set(&l.Proposals, 1<<12)
	set(&l.PendingProposals, 1<<10)
	set(&l.ListEntries, 256)
	if l.ForwardGenerations == 0 {
		l.ForwardGenerations = 1000
	}
	if l.Lifetime <= 0 {
		l.Lifetime = 366 * 24 * time.Hour
	}
	set(&l.SkippedKeys, 1000)
	set(&l.PastEpochs, 3)
	set(&l.ResumptionPSKs, 3)
	return l
}
