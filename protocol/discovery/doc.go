// Package discovery finds users by what people know of each other: a telephone
// number, a mail address, a handle. It holds the identifiers, the keys under
// which they are announced without being told, the lookup between two providers,
// and the signed claims that a lookup returns. What comes out is the way to ask a
// user for consent, never key material.
//
// # Identifiers
//
// An SII has one spelling, so that == compares and all derive the same keys:
//
//	tel     = "tel:+" 7*15DIGIT, the first not 0
//	mail    = "mailto:" atom *( "." atom ) "@" domain
//	atom    = 1*( a-z / DIGIT / "-" / "_" / "~" / "!" / "$" / "'" / "*" / "+" )
//	handle  = "handle:" alnum [ *62( alnum / "-" / "." / "_" ) alnum ]
//
// ParseSII takes upper case, the visual separators of RFC 3966 in numbers, and
// domains in Unicode. Domains become A-labels by UTS 46, non-transitional. The
// local part, at most 64 bytes, is folded to lower case, although a mail server
// might tell case apart: people do not. Its dots and what follows a plus sign
// stay, because what they mean is up to each mail server. Local parts have no
// letter that a mailto URI would percent-encode, and none outside ASCII. Handles in other
// scripts become A-labels between their dots, likewise by UTS 46, and are shown so. A
// handle has no domain; with one it would be a user's full name, which needs no
// discovery. Claims for handles are always shown with their domains.
//
// # Keys
//
//	secret    = argon2id(SII, SHA-256(label, salt), 19 MiB, 2 passes, 1 lane), or with evaluators
//	            argon2id(OPRF(SHA-256(label, salt), SII), SHA-256(other label, salt), likewise)
//	day key   = HKDF-Expand(secret, label, day)   announced in the DHT, today's and tomorrow's
//	handle    = HKDF-Expand(secret, label)        names the identifier between two who know it
//	claim id  = HKDF-Expand(secret, label)        names it in claims
//	proofs    = HKDF-Expand(secret, label)        one key for announcers, one for searchers
//
// A guess costs one argon2id, whatever it is tested against: a day key, a
// proof, a claim. That slows down whoever tries all telephone numbers; it does
// not stop one with thousands of cores, and no salt that everybody knows could. In a network
// with evaluators (package oprf) a guess also costs a request to t of them, who count; who
// holds t of their shares is back at argon2id.
//
// # The lookup
//
//	searcher                                  announcer
//	Query      day key, nonce, domain    ->   knows a secret for the day key
//	Reveal     <- nonce, domain, proof        Challenge
//	           handle, proof             ->   knows that the searcher knows it
//	Claims     <- claims and withdrawals      Answer
//
// Any node can announce a key that it saw in the DHT. It learns from a Query
// what it knew already, cannot prove anything, and so gets no handle. Both
// proofs cover both domains, both nonces, the day key, and the name that the
// transport gives the announcer's node, so none is of use elsewhere or later. The
// announcer stores nothing between Challenge and Answer. Identity comes from the
// connection: callers pass in whom it authenticated.
//
// Not hidden here: who asks whom and when, how many claims there are (answers
// are not padded), and from an announcer that knows the identifier, that it was
// looked up.
//
// # Claims
//
// The user signs the terms with its user key; its provider signs these, the
// user's certificate and the user's signature. So neither makes a claim without
// the other, and a provider speaks for its own users only: the claim names no
// provider beside the user URI. A claim lives at most MaxLifetime and is good
// while its user certificate is; the provider renews that (WithCertificate).
//
// A withdrawal is signed by the user alone and beats every claim not issued after
// it, of the same user and key. A provider that keeps showing an old claim and
// hides the withdrawal can do so until the claim expires.
//
// First come is not right: Group returns all owners, and more than one user key
// is a conflict that people decide.
//
// # Reading order
//
// sii.go, secret.go, exchange.go (the two sides), message.go (their messages),
// claim.go, verified.go (what may be believed), signature.go, errors.go.
//
// Pure: no IO, no clock, no goroutine; time is an argument. Randomness, for
// nonces and signatures, is crypto/rand.
package discovery
