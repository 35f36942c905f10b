// Package assets keeps the attachments of a provider's users, and brings them to whoever
// may have them. What it keeps are ciphertexts: clients encrypt (package asset), and the
// names are SHA-256 hashes of what is there.
//
// Read assets.go (Store), upload.go (how an upload gets durable), record.go (what the
// database holds), files.go (what lies where), sweep.go (what is deleted, and when),
// serve.go (downloads from here), proxy.go (downloads from other providers, and the check
// against being an open proxy), verify.go and backup.go.
//
// # On the disk
//
// Assets are large, so they are files and not in the database:
//
//	assets/uploads/ID      an upload, ID 32 hexadecimal digits
//	assets/HH/HASH         an asset, HASH 64 hexadecimal digits of which HH are the first two
//
// and the database says whose they are. An asset is there for the world exactly if the
// database says so; what files are there beside is of no consequence, and is removed.
//
// # How an upload gets durable
//
// A client says the hash and size first, which reserves the room for it in the user's and
// the provider's quota. Then it brings octets at the offset that the provider names. This
// is what happens, and what a crash after each step leaves behind:
//
//  1. The record: an upload without a file, at offset 0.
//  2. The file is created and its directory synced. The same.
//  3. Octets are written and hashed. The file is longer than the record says: when the
//     upload goes on, it is cut there.
//  4. Every CheckpointBytes, and when the request ends, however it does, the file is
//     synced, and then the record gets the new offset with the state of the hash. What
//     the client is told is never more than what is in a record.
//  5. After the last octet the hash is compared. If it is another, record and file go, the
//     record first: then there is a file of nobody's, which is removed at the next sweep.
//  6. The file gets its name, and both directories are synced. The record still is that
//     of an upload, at some offset, whose file has gone: the next request finds the asset
//     in its place, compares its hash anew, and goes on with 7.
//  7. The record becomes that of an asset. Only then is the client given the URL.
//
// A lock is held over 6 and 7, and over the removal of files that no record names, so that
// none is removed that is just getting its record.
//
// # Downloads
//
// Whoever knows the URL, which holds a hash of 256 bits, may have the asset, and can do
// nothing with it without the key. Other providers ask for it with a plain
//
//	GET /v1/asset/HASH
//
// over the overlay or HTTPS, with ranges (RFC 9110 section 14); budgets are by peer. The
// own users' downloads do not go there, because that would tell the provider that keeps
// the asset who reads in which moment: they go to the room's hub first, by MIMI's
// proxyDownload (protocol-06 section 5.10), unless it is the own provider that keeps it.
//
// The hub must not become a proxy for anybody to anywhere. It fetches only:
//
//   - for a provider that takes part in a room of which it is the hub, and names it (the
//     envelope's room; MIMI's request has none: then any such room in which both take
//     part),
//   - from a provider that takes part in this room, too, by its name, over the overlay:
//     nothing is looked up in DNS, no address is dialed that is not that provider's by
//     its signed record,
//   - the one path of assets, without anything else of the URL;
//   - it follows no redirect, passes on no header but the range, and none but those of the
//     asset back; nothing larger than Limits.Size, nothing that stalls;
//   - within the budgets of the source.
//
// It keeps no copies. A user's download is charged to its device's rate.
package assets
