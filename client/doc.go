// Package client is one device of a user: it holds the keys, the MLS groups and
// the plaintext, and talks to its own provider only (package clientapi).
//
//	c, err := client.Open(client.Config{Storage: s})
//	err = c.Register(ctx, "https://mimi.atlanta.example", invite, "phone")
//	go c.Run(ctx)
//	u, err := c.CreateRoom(ctx, "clubhouse")
//	err = c.AddUser(ctx, u, bob)
//	_, err = c.Send(ctx, u, "Hello.")
//
// # Reading order
//
// client.go (Client, its loop, and work that waits for the network), storage.go
// (what it needs of a storage; client/disk has one), room.go (a room in memory
// and in the storage), log.go (following a room's log), message.go (the outbox),
// attach.go and fetch.go (files, in spool.go),
// receipt.go (what others are told of what came, and what they tell), typing.go (what is
// told and not kept), expiry.go (messages that end), change.go (adding, removing, leaving), join.go (creating, Welcome, coming
// back), rooms.go (what applications ask), notice.go (what they are told),
// identity.go, keypackage.go, mask.go and maskstock.go (pseudonymous rooms), trust.go, contact.go, discover.go, provider.go (HTTP and the
// stream). Rooms of two are in direct.go and merge.go.
//
// # Invariants
//
//   - One goroutine, in Run, owns all state. Other goroutines wait for the
//     network and bring what came to it.
//   - What an event or a call changes is one transaction: the MLS state, the
//     plaintext, the place in the log, the cursor, the outbox. Only then does
//     anything that follows from it leave the device or reach the application.
//     So a crash at any point loses nothing and repeats nothing that can be
//     seen; and as nobody knows what a failed transaction has left, Run ends
//     with it, and Open goes on from what is there.
//   - A submission is durable with its nonce before it is made, and made again
//     with the same nonce until there is an answer. A message leaves the outbox,
//     and a commit is merged, when it is seen in the room's log, whatever was
//     answered.
//   - Entries count when they continue the log under the hub's signature
//     (room.Verify), and handshakes when the room's policy allows them as well
//     (room.Roster.Judge). The order of the stream is not relied upon: entries
//     are taken in their sequence, what is missing is asked for.
//   - A message is encrypted again, if its epoch has become too old, from the
//     same content with the same salt, so that its id is the same.
//   - A pair of users has one direct room. Of two that were made at once one yields, and
//     its messages are carried over, each once (direct.go).
//
// # Trust
//
// The provider's word counts for which provider has which key, once: the first
// key seen of a provider is kept, and another is believed only if one that is
// known is told along with it. Users' keys rest on their providers' keys; a user
// whose key changes is told of (UserKeyChanged). The hub of a room is who the
// group has agreed on, its key one of its provider's.
//
// # When a room cannot be followed
//
// If the stored group is damaged, or a commit does not decrypt, the device enters
// the group again by itself, by an external commit that replaces its old leaf;
// it follows the log all the while, and cannot read what was said in between. If
// the hub orders what the room's policy forbids, the device stops following and
// says so: that cannot be mended from here.
//
// # In the storage
//
// All values begin with the octet 01, their version, and are JSON unless said
// otherwise. ROOM is a room's id in hexadecimal, N a number of eight octets.
//
//	table          name         value
//	self           who          keys, token, certificates; the registration until it is answered
//	self           cursor       the last event of the stream that was dealt with
//	self           receipts     what others are to be told of what comes here
//	self           privacy      how other providers are asked
//	self           verification SII  the code that was asked for, then what the authority states
//	provider       provider DOMAIN  its keys, and how the own provider verified them
//	user           URI          the credential seen last
//	keypackage     REF[32]      a KeyPackage with its private keys
//	welcome        ROOM         a Welcome that waits for a provider's key
//	room           ROOM         state, place in the log, hub's key
//	mls/ROOM       PART         a part of the MLS group (mls.Part), as it is
//	message/ROOM   N            a message, by the order in which it came here
//	unfranked/ROOM HASH         a message that was read and not franked, by its ciphertext's hash
//	id/ROOM        ID[32]       the N of the message with this id
//	expiry/ROOM    N            when message N ends, Unix milliseconds
//	owed/ROOM      N            what others are to be told of message N
//	receipts/ROOM  N            what others have told of it
//	outbox         N            an own message that was not seen in the log yet
//	wish           N            a change of a room that this device wants
//	attach         N            a file that is to be attached; its ciphertext is in the Spool
//	anonymous      user URI     a request to the user that does not say who asks, until it is answered
//	mask           ROOM         keys that name the members of a pseudonymous room
//	named/ROOM     PSEUDONYM    the user that was named there by it
//	invite         N            an invitation by this device, until its user is being added
//
// Deleted MLS parts are gone for good only when the storage has overwritten
// them; client/disk says when that is.
package client
