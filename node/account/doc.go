// Package account keeps what a provider knows of its own users: who they are,
// which devices they have and by which token each comes in, who may become one
// (invites), and the KeyPackages by which others add them to groups.
//
// Read account.go (Registry and its configuration), invite.go, register.go,
// token.go, device.go, keypackage.go (publishing), claim.go (handing out), share.go,
// shelf.go (what need not be looked for), stock.go (what is left), sweep.go, record.go (values as they are stored).
//
// # Becoming a user
//
// An operator makes an invite for a name; whoever has its code registers with a
// key of its own, and proves to hold it. Everything that registration does is one
// transaction: the invite becomes used, the account, the device and the token
// exist, or none of it happened. The answer may get lost all the same, after
// which nobody has the token: so the same registration again (same invite, key
// and device) is answered with a new token in place of the lost one.
//
// An invite for a name that exists adds a device, for the holder of the account's
// user key only. For somebody who has lost all devices, the operator makes an
// invite that replaces: registering with it removes all devices and takes a new
// user key, which everybody who talks to the user gets to see.
//
// What an operator can undo by a new invite, a thief must not: removing a device
// also ends the invite that it came by.
//
// # Names
//
// A name is a segment of a MIMI URI without capitals, so that no two users differ
// by case only. Devices are segments as well, capitals allowed.
//
// # KeyPackages
//
// A KeyPackage is verified when it is published: both signatures, the chain to
// this provider, the device's own URI, and the times. It is then good until its
// lifetime or the first certificate of its chain ends. It is handed out once, the
// one that expires first going first, and what has a minute left or less is not
// handed out at all. That it was handed out is remembered until it expires, so
// that publishing it again has no effect.
//
// The same claim again (target, requesting user, room) gets the same packages,
// because an answer may get lost: for Config.ClaimLifetime, and until a Welcome
// to the package has been delivered (Joined), since after that its private key
// is gone. Each one-time package costs the claiming provider one unit of its
// ration; a provider whose ration is used up gets last-resort packages, as
// everybody does when the others have run out. And whoever asks has a share of each
// user's one-time packages, as has its provider (share.go), so that neither one user
// with a thousand rooms nor one provider leaves others with last resorts only.
//
// A claim does not ask for consent: whoever calls Claim has done that.
//
// # Keys and values
//
// NAME and DEVICE are names as above, at most 128 octets; they contain no 00.
// Hashes are SHA-256 with a label. Times are Unix milliseconds, ends of validity
// Unix seconds, as in MLS. Each value begins with the octet 01, its version.
//
//	accounts    01 NAME                        opaque user_key<V>; uint64 created
//	accounts    02 hash(invite)[32]            opaque name<V>; uint64 created, expires; uint8 replaces;
//	                                           optional<{opaque user_key<V>, device<V>; uint64 at}> used
//	devices     01 NAME 00 DEVICE              uint64 created; opaque token_hash[32], invite_hash[32]
//	devices     02 hash(token)[32]             opaque name<V>, device<V>
//	keypackages 01 NAME 00 DEVICE 00 end[8] ref[32]   uint16 suite
//	keypackages 02 NAME 00 DEVICE              uint64 end; KeyPackage: the last resort
//	keypackages 03 NAME 00 claim[32] DEVICE    uint64 until, created (of the device); opaque ref[32]
//	keypackages 04 ref[32]                     uint64 end; opaque name<V>, claim[32], device<V>: it was handed out
//
//	keypackages 05 NAME 00 who[32]             uint64 full, when all of a share is back, ms; who = hash("requester" or "provider", which)
//	keypackages 06 ref[32]                     KeyPackage, without a version: that of a 01, or of the claim that has taken it
//
// In stores of before, 01 and 03 end with the KeyPackage, and there is no 06 to them.
//
// claim = hash(requester<V>, room<V>). Neither tokens nor invites are stored, only
// their hashes; both have at least 128 random bits, so a fast hash is enough.
package account
