// Package disk keeps a client's state in a directory, encrypted: it is the
// client.Storage of devices that have files.
//
//	s, err := disk.Open(disk.Options{Dir: dir})
//	go s.Run(ctx)
//	c, err := client.Open(client.Config{Storage: s})
//
// # In the directory
//
//	key      the key, mode 0600 (see below)
//	store/   a store (package store) with the space SpaceClient
//
// One process at a time: a second one gets ErrInUse.
//
// # The key
//
//	opaque magic[8] = "mimidkey"; uint8 version = 1; uint8 kind;
//	kind 0: opaque master[32];
//	kind 1: uint32 time; uint32 memory (KiB); uint8 threads; opaque salt[16]; opaque nonce[24];
//	        opaque sealed[48]: master, by XChaCha20-Poly1305 under argon2id(passphrase)
//
// Without a passphrase, the key protects against whoever gets the store and not
// the key file beside it: put it elsewhere with Options.KeyFile, as on a medium
// that is taken along, or use a passphrase. From master come by HKDF-SHA256 the
// two keys "mimid client names" and "mimid client values".
//
// # Keys and values
//
// Of a client's (table, name) the store sees
//
//	name is a number (8 octets)   01 HMAC(names, 01 table)[16] name uint16 chunk
//	any other name                02 HMAC(names, 01 table)[16] HMAC(names, 02 table 00 name)[24] uint16 chunk
//
// and the value is nonce[24] and XChaCha20-Poly1305 of {opaque name<V>; value}
// with the key as associated data, so that a value moved to another key does not
// open. One that is too long for the store is cut into chunks, which only open
// in their places; the first begins with the number of chunks, 2 octets, inside.
//
// So somebody who has the directory and not the key learns how many values there
// are in how many tables, how large and how often changed, and names of eight
// octets: the numbers of messages, and some places in ratchet trees; no names of
// people or rooms, no content. Putting an old copy of
// single values or of the whole back is not noticed here: the MLS group then
// fails to follow its room, and the client enters it anew.
//
// # Deleted
//
// Badger keeps what was deleted or overwritten until it compacts the files, and a
// disk may keep it longer. Forward secrecy against somebody who takes the device
// with its key therefore holds only from then on.
package disk
