package wire

import (
	"errors"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// Errors are sentinels: test with errors.Is. The text around them names the
// structure and the value that was wrong.
var (
	// ErrTruncated: the input ends inside a value, or a length prefix claims
	// more bytes than there are.
	ErrTruncated = presentation.ErrTruncated
	// ErrTrailing: bytes follow a complete value.
	ErrTrailing = presentation.ErrTrailing
	// ErrNonCanonical: the value has another encoding, which is the only one
	// accepted.
	ErrNonCanonical = presentation.ErrNonCanonical
	// ErrMalformed: a field holds a value that its type does not have, such as
	// an unknown enum value, text that is not UTF-8, or an empty URI.
	ErrMalformed = presentation.ErrMalformed
	// ErrTooLarge: a limit of Limits is exceeded.
	ErrTooLarge = presentation.ErrTooLarge
	// ErrUnsupported: an MLS version, cipher suite or wire format that the
	// engine does not implement, SemiPrivateMessage among them.
	ErrUnsupported = mls.ErrUnsupported
	// ErrCombination: the fields are fine one by one and contradict each other:
	// clients listed beside noConsent, a frank on a commit, a participant
	// twice. Neither read nor written.
	ErrCombination = errors.New("wire: fields contradict each other")
	// ErrBadSignature: a signature does not verify, or its key is unusable.
	ErrBadSignature = mls.ErrBadSignature
	// ErrBadFrank: a frank's server_frank is not what the hub's key gives.
	ErrBadFrank = errors.New("wire: frank was not made with this key")

	// ErrNoTag: a message without a franking tag in its authenticated data.
	ErrNoTag = errors.New("wire: message has no franking tag (component frank_aad in the SafeAAD of its authenticated data)")

	// ErrUnsigned: an envelope without a signature came over a channel that
	// does not prove its source.
	ErrUnsigned = errors.New("wire: envelope is not signed")
	// ErrWrongSource: an envelope or response names another peer than the one
	// that is asked about or answering.
	ErrWrongSource = errors.New("wire: from another source")
	// ErrWrongTarget: an envelope or response was made for another provider,
	// endpoint or room. Somebody may be passing it on.
	ErrWrongTarget = errors.New("wire: for another target")
	// ErrWrongBody: the body does not have the hash that the envelope names.
	ErrWrongBody = errors.New("wire: body does not match its envelope")
	// ErrTime: an envelope was made too long ago, or in the future: a replay,
	// or a wrong clock.
	ErrTime = errors.New("wire: outside the time window")
)
