// Package mix is what a provider's node does with onion packets: it relays them for others, keeps
// the messages whose path ends here, and sends messages of its own. What packets are and which
// relays there are is said by protocol/onion and its packages; what they travel on is given as a
// Link, which is overlay/link's in a node.
//
// Read relay.go (Relay: what happens to a packet that comes), bucket.go and waiting.go (what bounds
// that), journal.go (replay tags on disk), exit.go (Exit: messages that end here), sender.go (Sender), blocks.go (reply blocks for
// more than an acknowledgement).
//
//	link -> Relay -> link          to the next relay, when its delay is over
//	        Relay -> Exit -> link  a payload; acknowledged by its reply block
//	        Relay -> Sender        an acknowledgement of an own message
//	        Sender -> link         an own message
//
// # What happens to a packet
//
//  1. It costs a token of its peer and one of all peers together. Without both it is dropped, and
//     nothing was computed with it.
//  2. If as many packets are held as may be, it is dropped: again before anything is computed.
//  3. Its layer is taken off: one decapsulation.
//  4. Its replay tag is looked for in memory, where all tags of the three epochs are.
//  5. The tag is written to the journal: all that have come during one write, and in 4 ms since it began, share the next. A
//     crash before loses the packet, which is what its sender's retries are for; a crash behind it
//     loses it too, but never lets it be sent twice.
//  6. When its delay is over, counted from when it came, it leaves for the next relay; or it is
//     handed to the Exit or the Sender.
//
// If a write fails, its packets are dropped, and their tags stay in memory: whether the tags are on
// disk nobody knows, and that the packets come again is what must not happen.
//
// # What always holds
//
// Acknowledged means on disk: the Exit says Complete only of what its Inbox has kept, and the Sender
// says that a message was delivered only if it has read that. A message that is sent again with its
// id is kept once. Each packet that comes ends in one of Counts. Everything that is held is bounded,
// in number and octets. Nobody is answered but by a reply block: who sends rubbish hears nothing.
// No packet, payload, key, mailbox or node of a path is written to a log or into an error.
//
// # When a node sends
//
// With Cover.Every a Sender sends at times that do not depend on what there is to send: a packet of a message
// if one waits, and a loop, a packet to the node itself, otherwise (cover.go). Loops that do not come
// back are an alarm (protocol/onion/loops). All it sends goes over the same first relay for a month, if there
// are enough relays (pin.go). Keys are files that are erased (keyfiles.go), messages that came wait on disk
// for their consumers (inbox.go).
//
// # What it does not give
//
// An acknowledgement, and an answer, leaves after a delay like a relay's (ExitConfig.Delay), and not at the Sender's
// times, or a node that gets much could not acknowledge it: who watches the links of the recipient for long sees that
// more leaves than was sent on, and so how much comes for it; which packets those were it can guess where little
// comes. What a relay sends on is no secret from who watches it. Acknowledgements and answers come back over paths
// without the pinned entry. Who has many peers can use up all tokens.
package mix
