// Package onion makes and unwraps the packets by which providers hide from each other who talks
// to whom: each hop of a path takes one layer off, learns where to send the rest and how long to
// keep it, and nothing else. It takes keys and octets and returns octets; sending, waiting and
// remembering are the caller's.
//
// Read format.go (what a packet is made of), packet.go (Build, Unwrap), surb.go (answers to
// somebody unknown), core.go (the header), lioness.go (the body), suite.go and keyring.go (keys),
// tags.go (packets that come twice), fragment.go and reassemble.go (messages longer than a packet,
// and acknowledgements).
//
// # Where it comes from
//
// The header is that of Danezis and Goldberg, "Sphinx: A Compact and Provably Secure Mix Format"
// (IEEE S&P 2009), with one change: instead of one group element that each hop blinds for the
// next, there is an encapsulated key per hop, that of the next hop inside the encrypted commands
// (KEM-Sphinx; Rial, Piotrowska and Halpin, "Outfox", arXiv 2412.19937, do it likewise). That needs
// one decapsulation per hop where blinding needs two multiplications, allows KEMs that quantum
// computers do not break, and needs no arithmetic of our own: the KEM is crypto/hpke's, and HPKE
// is used to export one secret (RFC 9180, section 5.3). It costs length: a share per slot.
//
// The core does not know which of the two it is. A test gives it the parameters of packets that
// others published, with blinding and the wide-block cipher AEZ, and gets the same octets at each
// of their 30 hops (TestVectorSphinx).
//
// # Packet
//
//	offset     octets
//	0          1       version, 1
//	1          1       suite: 1 X25519, 2 X-Wing
//	2          1       last octet of the epoch's number
//	3          c       share: the encapsulated key for this hop; c is 32 or 1,120
//	3+c        5*s     routing: five slots of s = 53+c octets, encrypted
//	3+c+5*s    16      MAC of all before it: HMAC-SHA256, cut
//	19+c+5*s   b       body, encrypted: 2,048, 8,192 or 30,720 octets
//
// With X25519 a header has 476 octets and a packet with the usual body of 8 KiB has 8,668; with
// X-Wing 7,004 and 15,196. What a slot holds stands beside its codec in format.go, what a body
// holds beside Format.frame, a reply block beside SURB.
//
// The keys of a hop are HKDF-Expand-SHA256(secret, "mimid onion 1 keys") with secret = HPKE's
// Export("hop", 32), info = "mimid onion 1 hop" | suite | class:
//
//	0    32  key of the MAC
//	32   32  key of the stream of the routing, AES-256-CTR
//	64   16  its first counter block
//	80   32  key of the body
//	112  16  replay tag
//
// A hop checks the MAC, appends a slot of zeros to the routing, XORs the stream over all six slots,
// takes the first one for itself, and puts the share and the MAC in it around the other five. The body is
// decrypted with LIONESS.
//
// # Why so
//
// The body is a wide block, and not a stream with a MAC: the maker of a reply block cannot know
// the body, so that hops cannot check it; with a stream the first hop could flip bits that the last
// one finds again, and know that both are on one path. Changed anywhere, a wide block is noise
// everywhere, and the 32 zero octets in front of the payload are gone. Class and suite are in the
// key schedule, so that a body cut or grown to another class fails with the header.
//
// Unused slots are random and not zero, or the last hop could count the hops before it. The
// tag is derived from the secret, so that no second writing of a header has another tag.
//
// # What always holds
//
// Unwrap computes nothing for packets of a wrong size, version, suite or epoch; one decapsulation
// and one MAC for a header that is not authentic; and it allocates no more for any packet than
// for a good one. All comparisons of secrets take the same time for all values. No secret is
// printed by any verb. Randomness is crypto/rand's. Keyring and Tags are owned by the caller's goroutine;
// all other types are immutable.
//
// # What it does not give
//
// A packet says its suite and the last octet of the epoch it was built in. A hop knows its
// neighbours, and the last one knows that it is the last. Who sees all links can compare times:
// what helps against that is delays, traffic and cover, which are the senders' and relays', and
// little traffic hides little. Hops that drop packets are not found here. A reply block is good
// for its epoch and the next, since hops drop their keys; who learns a relay's key before that can
// unwrap what was recorded. The package knows no addresses and trusts whoever chose the path.
package onion
