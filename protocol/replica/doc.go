// Package replica is what providers that keep a room together say to each other
// beside its log: co-signatures, votes, refusals. It is the wire form of package
// hub's messages, with the signatures that package room defines and with domains
// in place of numbers.
//
// Entries do not travel here. They come as pieces (room.Piece), by gossip and by
// range requests, and whoever is told of a head that it does not hold asks for
// the range first. So a message is small but for a move, which brings the commit to be
// judged, and a submission that is relayed; and one that is lost costs a repetition
// and nothing else: package hub's search counts on that.
//
// The sender of a message is who sent the request that brought it, which the
// transport has authenticated. Signatures inside are those that others than the
// receiver must be able to check later: a co-signature becomes part of a
// certificate, a vote part of a hub_change.
//
// # Wire
//
//	struct { uint32 era; uint64 number; } Term;
//	struct { Term term; uint64 seq; opaque hash[32]; } Place;
//	struct {
//	    opaque room_id[32];
//	    uint8 kind;
//	    select (kind) {
//	        case co_sign(1):  CoSignature signature;
//	        case refuse(2):   Term term; Term seen; opaque hub<V>;   /* empty: none */
//	        case need(3):     Place final;
//	        case ask_vote(4): Term term; Place head;
//	        case would(5):    Term term; Term seen; uint8 grant;
//	        case stand(6):    Term term; Place head; uint8 excuse; opaque set[32];
//	                          optional<SignedVote> release;
//	                          select (excuse) { case asked(3): opaque commit<V>; };
//	        case grant(7):    Term term; Place head; Term seen; optional<SignedVote> vote;
//	        case release(8):  SignedVote vote;
//	        case ask(9):      Place final;
//	        case answer(10):  Place head; Term seen;
//	        case move(11):    Term term; Place handshake; Place final; opaque commit<V>;
//	        case ack(12):     Term term; Place head; Term seen; optional<SignedAck> ack;
//	        case show(13):    opaque piece<V>;                       /* a Piece */
//	        case relayed(14): Relay relay;                           /* see Relay */
//	        case voted_twice(15): DoubleVote proof;                  /* of this room */
//	    };
//	} Message;
//	struct { Message messages<V>; } Messages;
package replica
