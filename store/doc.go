// Package store keeps what a provider knows, in Badger, of which it is the only user.
// Its promise is one sentence: acknowledged means on the disk. When Update returns nil,
// the writes of its function survive the end of the process at any point, and a power
// cut; and no function is ever seen, or survives, by half.
//
// Read store.go for opening and closing, writer.go for the group commit, tx.go for what
// a function may do, keys.go for the key space, check.go and acked.go for what happens
// before a damaged store is believed, backup.go for the format of backups, backup_read.go
// for restoring one.
//
// # Why acknowledged writes are not lost
//
// One goroutine, in Run, writes. It takes all functions that are waiting, runs them one
// after another on a batch in memory, and then takes these steps. After each, this is
// what a crash leaves behind:
//
//  1. Less free disk than the reserve: the batch is refused, nothing has happened.
//  2. The batch goes to Badger as one transaction, which Badger copies into its
//     write-ahead log with an end mark. A crash leaves a transaction without a mark, or
//     with a bad checksum, and opening drops it; or the whole of it, and opening keeps
//     it: durable, though nobody has heard of it. A transaction is one request to
//     Badger and lies in one log, so it is never divided between two.
//  3. Badger syncs the log (SyncWrites) and reports an error. After an error the store
//     is finished, see ErrFailed: the transaction lies in Badger's memory and may or
//     may not be on the disk, so nobody may read it or build on it.
//  4. If Badger has begun a new log, its directory is synced, or else a crash could
//     take the name of the file. Badger does not do this. (For its tables it relies on
//     the file system to keep the name of a file that has been synced, which ext4, XFS
//     and Btrfs do.)
//  5. The commit number goes into the file ACKED, unsynced. A crash before leaves an
//     older number, which is true as well.
//  6. Readers see the batch: the commit number that new snapshots use moves up. Until
//     here a View sees the state before. It never waits for an fsync.
//  7. The OnCommit functions run, in order.
//  8. Update returns, to all callers of the batch, also to those whose function returned
//     an error: it may have read what another function of the batch had written, and
//     "you have sent this already" must not be said of something that is not durable.
//
// A function that fails takes back its own writes from the batch in memory, so nothing
// of it reaches step 2. Opening after a crash is the same as opening after Close; Close
// only makes it faster, by leaving no log to read.
//
// All values lie beside their keys, because MaxValue is below Badger's value threshold.
// The value log stays empty, and so needs no garbage collection; and its fsync, whose
// errors Badger only logs, does not matter.
//
// # Key space, format version 1
//
// The first byte says what a key is; integers are big-endian; a room id is the SHA-256
// of the room's URI. Nothing follows a key of fixed length, so no part can contain a
// key of another. A key has at most 1024 bytes, a value less than 1 MiB.
//
//	01 00                       format: uint32 version = 1, uint64 creation, Unix ms
//	01 01                       uint64 number of the last commit, which is also the
//	                            Badger timestamp of everything in that commit
//	01 02                       the mark of a restored store, see Restored
//	01 03                       the same, while it is being restored: Open refuses it
//	10 room[32]                 room head
//	11 room[32] seq[8]          room log entry
//	12 room[32] txn[32]         uint64 seq of the entry with this transaction id
//	13 room[32] part[...]       a part of the room's public MLS state
//	14 room[32] seq[8]          the signed head that ends a batch of entries, by the
//	                            seq of its last entry
//	20 name[...]                accounts
//	21 name[...]                devices
//	22 name[...]                KeyPackages
//	23 name[...]                consent
//	24 name[...]                provider records
//	25 name[...]                overlay datastore
//	26 name[...]                feed of the local users' devices
//	27 name[...]                outbox to other providers
//	28 name[...]                published identifiers
//	29 name[...]                a client's own store (never in a provider's)
//	2a name[...]                rooms whose log cannot be followed, and the proof
//	2b room[32]                 the mark of a restored room, until it is whole again
//	2c room[32] name[...]       votes, terms and unfinal entries of rooms with replicas
//	2d name[...]                when other providers gave their last sign of life
//	2e room[32]                 rooms of others that this provider has promised to keep
//	2f name[...]                who has asked to be let into rooms
//	30 room[32] name[...]       branches of rooms' logs that were lost by a move
//	31 name[...]                attachments that local users keep here, which are files
//	32 name[...]                reports of abuse to this provider as a hub
//	34 name[...]                codes that this provider has sent as a verification authority
//	35 name[...]                keys for tokens of anonymous requests, and which were spent
//	36 name[...]                replay tags of onion packets
//	37 name[...]                messages that came over the onion overlay
//	38 name[...]                lists of relays that this provider has signed
//
// The heads of all rooms lie together: a start reads these and no entries. The values
// of 10, 11 and 13 and everything in 14 and 20 to 38 belong to the packages that
// write them.
// In the directory there are Badger's files and ACKED (acked.go).
//
// # What damage is noticed
//
// Badger drops the damaged tail of a log without a word, deletes tables that its
// MANIFEST does not name, and panics on some damaged tables. Open therefore checks
// before and after Badger. TestDamage measures, file by file, what comes out:
//
//   - Write-ahead log cut, damaged or removed: ErrLost, by the bound in ACKED. After a
//     power cut ACKED may be older than the last commits, and damage that takes only
//     these is not seen. Nor is it if ACKED was removed.
//   - Table cut, removed, or with a damaged index: ErrCorrupted.
//   - MANIFEST cut: ErrLost or ErrCorrupted. Damaged or removed: ErrCorrupted.
//   - A block inside a table damaged: not seen by Open, which would have to read
//     everything. Badger takes such a block for the end of the table: keys in it and
//     behind it are missing from reads, without an error, and a compaction makes
//     that final. Verify finds it before that; run it after starting and regularly, and
//     keep what must not be missing verifiable by itself, as room logs are.
//   - A copy of an older state of the whole directory, ACKED included: cannot be seen
//     from inside.
//
// A disk that is filled up by others between the check in step 1 and the write ends the
// process with SIGBUS, because Badger writes through memory maps. That is a crash like
// any other.
package store
