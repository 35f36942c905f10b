// Package link carries packets of one size between nodes, over libp2p streams: what onion packets
// travel on. It knows nothing of what is in them, and reads nothing but their length.
//
// Read link.go (sending, and what is bounded), receive.go (reading, and what ends a stream).
//
// # Wire format
//
// The protocol is /mimid/onion/1. A stream goes in one direction, from who opened it, and is
// kept open for further packets:
//
//	uint32 size            always the network's, big-endian
//	uint8  packet[size]
//
// A size is not needed to find the end of a packet; it is there so that a node of another network,
// or one that has lost its place, is noticed at once, and before a packet is allocated or anything
// is computed with it. Any other size ends the stream. Nothing is answered: an answer would tell
// the sender whether its packet was a good one.
//
// # Why so
//
// One stream for many packets, and not one each: opening one costs more than the packet does, and
// how many streams there are would tell how many senders there are. Packets to one peer leave in the
// order in which they were given. What cannot be sent is counted and gone: who built a packet
// hears of it by the missing acknowledgement, and nobody on the way is told anything.
//
// # What always holds
//
// An idle stream holds no packet. Memory is bounded by the number of streams of a peer and in all,
// times one packet, and by the packets that wait for peers. A packet that has begun to arrive has
// to be there within Config.ReadTimeout. A peer that is slow or does not listen costs its own queue
// only. No packet is written to a log or into an error.
//
// # Threads
//
// All methods may be called from any goroutine. New starts nothing; Run serves until its context
// ends, and has then ended all goroutines but those in Config.Receive, which has to return when
// its context ends.
package link
