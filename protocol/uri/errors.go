package uri

import "errors"

// Errors are sentinels: test with errors.Is. The text before them quotes the
// whole value, cut after 200 characters, and the offending piece, both in plain
// ASCII, so that it is safe on a terminal and in a log whoever sent it.
var (
	// ErrLength: the whole is longer than MaxLength, or the domain, a label or a
	// segment is longer than the grammar allows.
	ErrLength = errors.New("uri: too long")
	// ErrScheme: the value does not begin with "mimi://". Also the empty value,
	// and the scheme with upper-case letters.
	ErrScheme = errors.New("uri: does not begin with mimi://")
	// ErrAuthority: there is more between "mimi://" and the path than a domain: a
	// user ("@"), a port (":") or an IP literal ("[").
	ErrAuthority = errors.New("uri: user, port or IP literal in place of a plain domain")
	// ErrUppercase: the domain has an upper-case letter. It may well name an
	// existing provider, but this is not how it is spelled.
	ErrUppercase = errors.New("uri: domain is not lower case")
	// ErrDomain: the domain is empty, has an empty label (two dots, or one at an
	// end), a hyphen at the end of a label, a character that host names do not
	// have, or a last label that does not begin with a letter, as in an IP
	// address.
	ErrDomain = errors.New("uri: not a domain name")
	// ErrSelfName: the domain lies under p2p.invalid and is not one label of
	// base36 digits before it.
	ErrSelfName = errors.New("uri: not a base36 label under p2p.invalid")
	// ErrKind: the first segment of the path is none of u, p, d, r, g, t.
	ErrKind = errors.New("uri: unknown kind of identifier")
	// ErrSegments: the number of segments is not the kind's: none at all, or
	// more than one (more than four for a client).
	ErrSegments = errors.New("uri: wrong number of path segments")
	// ErrEmptySegment: two slashes in a row, or one at the end. A provider's URI
	// ends with the domain, without a slash.
	ErrEmptySegment = errors.New("uri: empty path segment")
	// ErrDotSegment: a segment is "." or "..". Programs that resolve paths would
	// read another name.
	ErrDotSegment = errors.New("uri: dot segment in the path")
	// ErrEscape: percent-encoding. Every name can be spelled without it, so it
	// would be a second spelling.
	ErrEscape = errors.New("uri: percent-encoding")
	// ErrSuffix: a query ("?") or a fragment ("#"). They are no part of a name.
	ErrSuffix = errors.New("uri: query or fragment")
	// ErrCharacter: a segment has another character that is not allowed: a
	// space, a control character, one outside ASCII, or punctuation other than
	// - . _ ~.
	ErrCharacter = errors.New("uri: character not allowed in a name")
	// ErrOtherKind: a well-formed URI of something else, as when ParseUser is
	// given a room.
	ErrOtherKind = errors.New("uri: names another kind of thing")
	// ErrShort: the short form of a user does not have exactly one "@".
	ErrShort = errors.New("uri: short form is not name@domain")
)
