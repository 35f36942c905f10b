// Package relays says which providers relay onion packets in an epoch, and chooses paths among
// them: the same relays for everybody, and a path nobody else can predict.
//
// Read descriptor.go (what a relay says of itself), snapshot.go (what witnesses say of all relays
// of an epoch), active.go (which of them mix), path.go (a packet's way), pin.go (the first hop,
// which stays).
//
// # Why a snapshot
//
// Who looks single relays up tells those it asks which it will use, and can be shown other relays
// than its neighbour is, so that its paths are its fingerprint. Therefore all take the same list
// whole, once per epoch, and only if two thirds of the witnesses have signed it. A witness that
// signs two lists for one epoch has made a proof against itself (Cosignature.Contradicts).
//
// # Why few relays mix
//
// A relay hides a packet among those that it holds at the same time. With lambda packets a second in all,
// a mean delay of mu, and W relays in a layer, each holds lambda*mu/W of them on average; below
// seven a path hides measurably less (measured for this project: 0.2 bit at 7, 2.9 bits at 1.5).
// So W is at most lambda*mu/7, whatever the number of those that are willing. Below two in a
// layer it does not go, since one relay would see everything: then Active.Thin says that there is
// too little traffic to hide in.
//
// Three layers, each packet going through one relay of each, mix better than paths that are drawn
// freely from all (Piotrowska and others, "The Loopix Anonymity System", USENIX Security 2017, for
// the layers and the exponential delays).
//
// # What always holds
//
// Relay and Cosigned exist only for what was verified. Everything that has to be the same for all is
// integers and hashes: which relays mix depends on the snapshot alone, not on the order in which
// it was made. Randomness of a path comes from the caller's reader, which is crypto/rand's outside
// of tests.
//
// # What it does not give
//
// Operator, network and address are what the relay says, and checked by nobody here: the witnesses
// have to look before they sign. Who can make many providers can be many relays. Who makes the
// list of the epoch before can try several until the ranking pleases; witnesses that collect
// descriptors themselves are what limits that. Rates are claimed by whoever makes the snapshot.
//
// # Format
//
// The presentation language as in package presentation, integers big-endian.
//
//	struct {
//	    uint8 version = 1;
//	    uint8 suite;                     // onion.Suite
//	    uint8 node_key[32];              // Ed25519; the node is SHA-256("mimid onion 1 node" | key)
//	    opaque provider<V>;              // domain, 1 to 255 octets of a-z 0-9 . - _
//	    opaque operator<V>;              // the same
//	    uint32 network;                  // number of the autonomous system
//	    opaque address<V>;               // 4 or 16 octets
//	    uint32 capacity;                 // packets per second
//	    uint64 first;                    // epoch of the first key
//	    opaque keys<V><V>;               // onion keys of consecutive epochs, 1 to 3
//	} Descriptor;
//
//	struct { opaque descriptor<V>; uint8 signature[64]; } SignedDescriptor;
//
//	struct {
//	    uint8 version = 1;
//	    uint8 suite; uint8 class;
//	    uint64 epoch;
//	    uint8 previous[32];              // hash of the snapshot of the epoch before, or zeros
//	    uint32 rate;                     // packets per second that enter, cover included, times 1,000
//	    uint32 delay;                    // mean delay of a hop in milliseconds
//	    opaque relays<V><V>;             // SignedDescriptor, by node, up to 8,192
//	} Snapshot;
//
//	struct { opaque witness<V>; uint64 epoch; uint8 hash[32]; uint8 signature[64]; } Cosignature;
//
// A snapshot's hash is SHA-256("mimid onion 1 snapshot" | Snapshot). Signatures are Ed25519's over
// label and content: opaque label<V>; opaque content<V>.
package relays
