// Package oprf lets n evaluators of different providers compute one keyed function of an
// identifier together, of which they see neither the identifier nor the result: a threshold
// form of the verifiable oblivious pseudorandom function of RFC 9497 (P256-SHA256, mode
// VOPRF). Any t of the n are enough, fewer learn nothing and can compute nothing.
//
// What for: a table of all telephone numbers is small. Who can compute, alone, the key under
// which a number is announced can try them all. With this function in front, each guess
// costs a request to t evaluators, who count. See package discovery for what follows it.
//
//	searcher                                   t of n evaluators, each alone
//	Blind(inputs)  -> Request  elements    ->  Share.Evaluate: elements times its share,
//	                                           and a proof that it was that share
//	KeySet.Verify  <- Evaluation           <-
//	Blinding.Finish(t verified evaluations) -> one Output an input
//
// # What it is made of
//
// The key k is the value at 0 of a polynomial of degree t-1 over the scalars of the group,
// share i its value at i. The KeySet holds the polynomial's coefficients times the
// generator (Feldman), so that everybody computes the public key of each share, and a key
// set whose shares do not fit together cannot be written down. An evaluator is, for its
// share, the server of RFC 9497 byte by byte, with its proof (2.2.1). The searcher
// multiplies what t evaluators return with Lagrange's coefficients at 0, which gives k times
// its blinded element: what RFC 9497's one server would have returned, so that its test
// vectors hold for the result, whoever the t were.
//
// A wrong or false evaluation is found by its proof and its sender named; it never spoils
// the others. Which inputs are the same as earlier ones nobody sees: each is blinded anew.
//
// # Keys
//
// Deal makes a key with all shares in one place, which forgets them (a dealer). Redeal hands
// the same key over to another set of evaluators, also of another size and threshold,
// without it ever being in one place: t holders of the old set each deal their share out
// with a polynomial of their own (Dealing, public, and one Piece for each evaluator to come,
// secret), the new ones add up what they get (Assemble). Outputs stay what they were, old
// and new shares do not mix. Who held t shares of one set can compute the function forever:
// redealing keeps a key from being lost or gathered over time, it does not heal that.
//
// # Always
//
// No element of a peer is used before it is known to be on the curve and not the identity
// (the group has prime order). Evaluations have a type of their own once verified. Counts
// are bounded before anything is allocated. Secrets do not print. P-256's scalar arithmetic
// in the library below (addition and multiplication modulo the order) does not take the same time
// for all values; products of points and scalars do.
//
// # Reading order
//
// group.go (elements, scalars, hashing), evaluate.go (the protocol), keyset.go, deal.go,
// message.go (the layouts), errors.go.
//
// Pure: no IO, no clock, no goroutine. Randomness is crypto/rand. Everything is safe for
// concurrent use.
package oprf
