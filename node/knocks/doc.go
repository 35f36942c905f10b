// Package knocks lets users ask to be let into rooms of which they know the URI only, and
// lets those who may answer do so, at whatever provider either of them is. What is said, and
// what a hub makes of it, is package knock; this is who says it to whom, and what is stored.
//
// Read knocks.go (the Service and its configuration), own.go (the asking user's provider),
// hub.go (the room's hub), shown.go (a provider of users who may answer), record.go.
//
// # Who keeps what
//
// The user's provider keeps her word until it is answered, and brings it to the room's hub:
// at once, again while that does not answer, and once more every Repeat after it has. So
// when the room moves, its new hub hears of her by itself, from who wants it; hubs hand
// nothing over. Who the hub is, it asks of the room's log if it is here, of the provider in the
// URI, which a room begins at, and of the network (Hubs), in this order; the first that says it
// orders the room is believed. A liar among them can swallow a knock, as it could a
// room; it cannot make one up.
//
// Before a provider is asked it is written down. From then on that hub may fetch
// the user's KeyPackages for this room, for whoever in it adds her (Admits): the knock is
// her consent. It ends with the cancel, the answer, and the knock's lifetime.
//
// The hub keeps one record a user and room (knock.Record). It shows a new knock to the
// providers of those who may answer, which keep a copy under the same key and show it to
// their users: whose provider follows the room's log knows their roles from there. Who comes to
// be such a provider later is shown it then. Whichever
// of those providers becomes the hub later has a record by that. A refusal goes to the hub, and
// only what that makes of it counts. Whoever is added is inside by the log, at the
// hub and at each that has a copy.
//
// # What a stranger can cost
//
// Words are rationed by provider and by user before they are verified. Of one room at
// most Limits.PerRoom records are kept, PerShare of them of one provider's users; of one
// provider's users PerProvider at all rooms; of all Total: what
// comes when there is no room is refused, so that the oldest have the place. A record is a
// word of at most knock.MaxWord. A user's provider keeps at most PerUser of her own.
// Members are shown a user once, until she is answered or goes away; after a refusal not for
// knock.Quiet.
//
// # Keys and values
//
// In store.SpaceKnocks. Integers are big-endian, times Unix milliseconds. Each value begins
// with octet 01, its version.
//
//	01 USER 00 ROOM   uint8 state; uint64 issued, changed; opaque hub<V>, text<V>, word<V>: an own user's
//	02 ID[32] USER    uint8 state; uint64 issued, since; opaque word<V>; opaque told<V><V>: at the
//	                  room's hub, or its copy
//	03 ID[32]         uint32 how many 02 of the room
//	04 DOMAIN         uint32 how many 02 of users of a provider
//	05                uint32 how many 02
//	06 USER           uint32 how many 01
//	07 ID[32] DOMAIN  uint32 how many 02 of the room, of users of a provider
//
// USER and ROOM are URIs, ID is the room's. The word of an 02
// is there while its user waits, and told, at the hub, names the providers that were shown it.
package knocks
