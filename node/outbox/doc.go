// Package outbox delivers requests to other providers, however long they are
// away: what is put in is durable together with what caused it, and is sent until
// the target has taken it. In return it may arrive more than once, always with
// the same request id.
//
// Read item.go (what is stored), body.go (large bodies), outbox.go (putting in), run.go
// (who is served when), deliver.go (one target's turn), errors.go.
//
// # Order
//
// The items of one target arrive in the order in which they were committed. A target that does
// not answer holds up its own items only. One item that the target answers with an
// internal error again and again goes to the end of its queue, so that it does not
// hold up the others for ever. Several targets are served at one time, up to
// Config.Parallel.
//
// # What a crash leaves
//
//   - Before the commit of the caller's transaction: neither the item nor its
//     cause exists.
//   - After it: the item is found by the next Run.
//   - After the target took it, before it is deleted here: it is sent again,
//     with the same request id, and the target answers as the first time.
//     Deletions of one turn share a commit, so up to Turn items may be
//     sent again.
//
// # When to give up
//
// Items older than Config.Lifetime are dropped; so are those that the target
// refuses for a reason that time does not change (peering.Retry). Both are logged
// and counted. The sum of what waits for one target is bounded; beyond it Put
// refuses, and with it its caller's transaction.
//
// # Keys and values
//
// In store.SpaceOutbox; TARGET is a domain, which has no 00. Integers are
// big-endian, times Unix milliseconds. Each value begins with octet 01, its
// version.
//
//	01 TARGET 00 number[8]   uint64 created; opaque id[16]; opaque endpoint<V>, subject<V>, room<V>, body<V>
//	02 TARGET                uint64 next number, items, octets; uint64 since: what waits for a target
//	03 hash[32] number[2]    opaque piece<V>: of a body, 64 KiB but for the last
//	04 hash[32]              uint64 uses: how many items name that body
//
// A target with nothing waiting has no 02. An item whose body is longer than 64 KiB is of
// version 02 and ends with "opaque hash[32]; uint32 length" in the place of the body: that is
// stored once for all items that have it, under its SHA-256, and deleted with the last of
// them. It is sent as one request all the same, so no target ever has a part of it.
package outbox
