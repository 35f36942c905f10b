package content

import "errors"

// Errors are sentinels: test with errors.Is. The text around them says which
// field was wrong and quotes nothing that the sender chose, so it is safe to
// log.
var (
	// ErrTooLarge: a limit of Limits on a length or a count is exceeded. The
	// message may be fine for somebody with higher limits.
	ErrTooLarge = errors.New("content: too large")
	// ErrTooDeep: parts, or arrays, maps and tags of an extension, are nested
	// deeper than section 6.3 allows.
	ErrTooDeep = errors.New("content: nested too deeply")
	// ErrMalformed: not CBOR, or not what the CDDL has in this place: another
	// type, a number out of range, text that is not UTF-8, a part with one part,
	// bytes after the end.
	ErrMalformed = errors.New("content: malformed")
	// ErrNonCanonical: the same could be encoded in the deterministic form of RFC
	// 8949 section 4.2.1, and was not: a number or a length longer than needed,
	// indefinite length, map keys out of order, a float or a bignum that would
	// be shorter otherwise, another NaN than 0xf97e00.
	ErrNonCanonical = errors.New("content: not in deterministic encoding")
	// ErrDuplicateKey: a map has a key twice.
	ErrDuplicateKey = errors.New("content: map key twice")
	// ErrHash: a message id was made with a hash function other than SHA-256, so
	// it names no message that we could know. Section 9.1 has such messages
	// discarded.
	ErrHash = errors.New("content: message id of an unknown hash function")
	// ErrOrigin: the message names another sender or room than those it came
	// from. Somebody copied it from elsewhere; do not show it.
	ErrOrigin = errors.New("content: message names another sender or room")
	// ErrExpiry: the time at which the message is to be deleted is more than a
	// year away, in either direction, or cannot be written. Section 9.1 has such
	// messages discarded.
	ErrExpiry = errors.New("content: expiration out of range")
)
