package wire

import "github.com/mimid/mimid/protocol/mls"

// Limits bounds what a decoder accepts, before anything is allocated for it. A
// zero field means its default, so the zero Limits is the set of defaults;
// there is no way to switch a limit off, only to raise it.
//
// Of the embedded limits, MessageSize bounds every body that a Parse function
// reads, PendingProposals every list of proposals, ListEntries the lists of
// numbers and components, and all of them the MLS structures within.
type Limits struct {
	mls.Limits

	// URI is the longest identifier, URL or domain, in bytes. Default 2,048.
	URI int
	// Text is the longest text or short byte string, in bytes: descriptions,
	// notes, names, values of a profile or query, keys, signatures, joining
	// codes. Default 16 KiB.
	Text int
	// Clients is how many clients one user may have: entries of a
	// KeyMaterialResponse, KeyPackages of a grant. Default 256.
	Clients int
	// FanoutMessages is how many messages one fan-out body may hold.
	// Default 1,024.
	FanoutMessages int
	// Participants is how many entries a participant list, or each list of an
	// update to it, may have. Default 65,536.
	Participants int
	// QueryElements is how many conditions an identifier query may have.
	// Default 16.
	QueryElements int
	// Profiles is how many URIs and how many profiles an identifier query may
	// find. Default 256.
	Profiles int
	// ProfileFields is how many fields one profile may have. Default 128.
	ProfileFields int
	// AbusiveMessages is how many messages an abuse report may hold.
	// Default 64.
	AbusiveMessages int
	// DirectorySize is the largest directory, in bytes. Default 64 KiB.
	DirectorySize int
}

// withDefaults fills in this package's own fields and those of mls.Limits that
// it uses itself; the engine fills in the rest, by the same defaults.
func (l Limits) withDefaults() Limits {
	set := func(p *int, d int) {
		if *p == 0 {
			*p = d
		}
		*p = max(*p, 0)
	}
	set(&l.MessageSize, 16<<20)
	set(&l.ListEntries, 256)
	set(&l.PendingProposals, 1<<10)
	set(&l.URI, 2048)
	set(&l.Text, 16<<10)
	set(&l.Clients, 256)
	set(&l.FanoutMessages, 1<<10)
	set(&l.Participants, 1<<16)
	set(&l.QueryElements, 16)
	set(&l.Profiles, 256)
	set(&l.ProfileFields, 128)
	set(&l.AbusiveMessages, 64)
	set(&l.DirectorySize, 64<<10)
	return l
}
