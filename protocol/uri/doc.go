// Package uri holds the names of MIMI: providers, users, their clients, rooms,
// MLS groups, pseudonyms and teams, as small values that cannot be changed and
// that exist only if they were well-formed.
//
//	mimi://atlanta.example                 a provider
//	mimi://atlanta.example/u/alice         a user; short form alice@atlanta.example
//	mimi://atlanta.example/p/crazykoala75  a user's pseudonym
//	mimi://atlanta.example/d/alice/phone   a client (device) of a user
//	mimi://atlanta.example/r/clubhouse     a room
//	mimi://atlanta.example/g/clubhouse     the MLS group of a room
//	mimi://atlanta.example/t/engineering   a team
//
// The forms are those of draft-ietf-mimi-protocol-06 section 3 and, for
// pseudonyms and teams, draft-mahy-mimi-identity-05. Neither has a grammar, nor
// a rule of comparison; both are decided here.
//
// # Grammar
//
//	uri      = "mimi://" domain [ "/" kind "/" segment *( "/" segment ) ]
//	kind     = "u" / "p" / "d" / "r" / "g" / "t"
//	segment  = 1*128( ALPHA / DIGIT / "-" / "." / "_" / "~" ), but not "." or ".."
//	domain   = label *( "." label ), at most 253 octets
//	label    = 1*63( lower-case letter / DIGIT / "-" ), no "-" at either end;
//	           the last label begins with a letter
//	short    = segment "@" domain
//
// A client has one to four segments, everything else with a path has one.
// Nothing is longer than MaxLength, which is looked at first.
//
// # One spelling
//
// The letters of a segment are the unreserved ones of RFC 3986 section 2.3, so
// no program has a reason to percent-encode one, and percent-encoding is
// refused, as are upper case in scheme or domain, a port, a user before the
// domain, a trailing dot or slash, "." and "..", queries and fragments. Each
// name therefore has exactly one spelling: two URIs name the same thing if and
// only if they are the same octets, and == compares them. Segments are
// case-sensitive; a provider that gave "alice" and "Alice" to different people
// would confuse people, not programs.
//
// The rule on the wire: URIs are compared, hashed and signed as the octets
// received, and never decoded and encoded again before that (message ids,
// franks and room ids are such hashes). Parse keeps the octets, String returns
// them, and what would need normalising is not a URI here. Only ParseShort, for
// what people type, turns the domain into lower case.
//
// # Domains
//
// A domain is a name of a provider and never an IP address: the last label
// begins with a letter, which no address does. One label is enough, as in
// "localhost". Names in other scripts are given as A-labels ("xn--…"); they are
// accepted as they are, without looking into them, and never turned into
// Unicode for display, so that no letter can pass for another.
//
// A provider without DNS is called <base36>.p2p.invalid: one label of digits
// and letters, the CID of the provider's key. Nothing else lies under
// p2p.invalid. Which key a name stands for is decided by whoever decodes the
// label; it has to encode the key again and compare, as always with names.
// Other names under .invalid, such as local.invalid of the identity draft, are
// ordinary domains.
//
// # Reading order
//
// uri.go (the types), parse.go (the grammar), errors.go (one sentinel for each
// way to be malformed).
//
// All values may be used from several goroutines. The package takes no time, no
// randomness and keeps no state.
package uri
