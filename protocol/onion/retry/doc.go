// Package retry decides when a part of a message is sent once more, and when its sender may say
// that the message has arrived. It takes times and what was heard, and returns what to do.
//
// Read machine.go. The words are those of package onion: a message is cut into parts, each try of a
// part is another packet on another path, and an acknowledgement comes back by a reply block.
//
// # What always holds
//
// Each message gets exactly one verdict. Delivered is given only on an acknowledgement that says
// Complete: the far end has it on disk. Refused is given when the far end said so. Unknown is given
// when nothing was heard that settles it, after as many tries as there may be: the message may have
// arrived. There is no fourth end, and no message without one: a deadline is running for each
// message at all times (Machine.Next), and each deadline takes away a try.
//
// A part is sent at most Config.Tries times, so that a message costs at most its parts times Tries
// packets, whoever loses them.
//
// # Held
//
// An acknowledgement Held says that the part lies in the far end's memory. It is not sent again while
// other parts are under way. If all parts were acknowledged and none as Complete, then the far end
// has begun anew in between, or has dropped the message for its age: all parts begin again, as far
// as they have tries.
//
// # Time
//
// A try is given up after the delays that its own packets were told to wait for, there and back,
// and a margin, which doubles with each try of the part: a network that is slow because it is full
// must not be filled with repetitions. A late acknowledgement counts as long as the message has no
// verdict.
//
// # What it does not give
//
// The machine forgets with its process, and so does the far end what it holds but does not have on
// disk: who has to know after a restart keeps the message and begins it again with the same id, for
// which the far end says Complete if it has it.
package retry
