package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The first byte of every key. The values are part of the format, see the package
// doc: never renumber, never reuse.
const (
	prefixMeta      = 0x01
	prefixRoomHead  = 0x10
	prefixRoomEntry = 0x11
	prefixRoomTxn   = 0x12
	prefixRoomPart  = 0x13
	prefixRoomBatch = 0x14
)

// Bounds of one key and one value, in bytes.
const (
	MaxKey        = 1024
	MaxValue      = 1<<20 - 1   // less than Badger's value threshold, so that values stay out of the value log
	MaxValueSmall = 128<<10 - 1 // with Options.Small: a value has to fit into one of its small transactions
)

// RoomID is the SHA-256 of a room URI.
type RoomID [32]byte

// TxnID is a room log entry's transaction id.
type TxnID [32]byte

// A Space is a part of the key space whose keys are free byte strings of at most
// MaxKey-1 bytes. Each belongs to one package, which documents its own keys.
type Space byte

// The spaces.
const (
	SpaceAccounts    Space = 0x20 // users of this provider
	SpaceDevices     Space = 0x21 // their clients
	SpaceKeyPackages Space = 0x22 // published KeyPackages and claims on them
	SpaceConsent     Space = 0x23 // consent states
	SpaceProviders   Space = 0x24 // provider records and pins
	SpaceOverlay     Space = 0x25 // the overlay's datastore
	SpaceFeed        Space = 0x26 // what local users' devices are told, in order
	SpaceOutbox      Space = 0x27 // what waits to be delivered to other providers
	SpaceClaims      Space = 0x28 // identifiers that local users published
	SpaceClient      Space = 0x29 // a client's own store, encrypted; never a provider's
	SpaceCondemned   Space = 0x2a // rooms whose log cannot be followed, and the proof
	SpaceRestored    Space = 0x2b // rooms that came from a backup and are not yet whole, see Restored
	SpaceReplica     Space = 0x2c // what replicas know of a room beside its log, and what is not final yet
	SpaceHeard       Space = 0x2d // when other providers gave their last sign of life
	SpacePromises    Space = 0x2e // rooms of others that this provider has promised to keep
	SpaceKnocks      Space = 0x2f // who has asked to be let into rooms, here and elsewhere
	SpaceBranches    Space = 0x30 // branches of rooms' logs that were lost by a move, kept as evidence
	SpaceAssets      Space = 0x31 // attachments that local users keep here; they themselves are files
	SpaceAbuse       Space = 0x32 // reports of abuse to this provider as a hub
	SpaceBans        Space = 0x33 // whom this provider, as a hub, has been told to ban, until that is in force

	SpaceVerifications Space = 0x34 // codes that this provider, as a verification authority, has sent

	SpaceTokens Space = 0x35 // keys for tokens of anonymous requests, what was asked for and what was spent

	SpaceOnion Space = 0x36 // replay tags of onion packets that this provider has relayed

	SpaceMailbox Space = 0x37 // messages that came over the onion overlay, and the first hop of own ones
	SpaceRelays  Space = 0x38 // which lists of relays this provider has signed as a witness, and proofs against others

	SpacePseudonyms Space = 0x39 // which own user goes by which pseudonym, and KeyPackages under those

	lastSpace = SpacePseudonyms
)

var spaceNames = [...]string{"accounts", "devices", "keypackages", "consent", "providers", "overlay", "feed", "outbox", "claims", "client",
	"condemned", "restored", "replica", "heard", "promises", "knocks", "branches", "assets", "abuse", "bans", "verifications", "tokens", "onion", "mailbox", "relays", "pseudonyms"}

// Spaces are all of them, in the order of their keys.
func Spaces() (out []Space) {
	for sp := SpaceAccounts; sp <= lastSpace; sp++ {
		out = append(out, sp)
	}
	return out
}

// String names the space.
func (sp Space) String() string {
	if sp < SpaceAccounts || int(sp-SpaceAccounts) >= len(spaceNames) {
		return fmt.Sprintf("space %#x", byte(sp))
	}
	return spaceNames[sp-SpaceAccounts]
}

// A Key names one value. Only the functions of this package make keys, so a key
// always lies in a documented part of the key space. Keys are comparable and ordered
// as byte strings; the zero Key names nothing.
type Key struct{ s string }

// A Prefix names all keys that begin with it.
type Prefix struct{ s string }

// errNotThisKey is returned by the parse functions. It means a mistake in the
// program or in the store's files, never something that a peer sent.
var errNotThisKey = errors.New("key is of another kind")

// Bytes returns the key as it is stored. The caller owns the slice.
func (k Key) Bytes() []byte { return []byte(k.s) }

// String shows the key in hexadecimal.
func (k Key) String() string { return fmt.Sprintf("%x", k.s) }

// Has reports whether the key begins with p.
func (p Prefix) Has(k Key) bool { return len(k.s) >= len(p.s) && k.s[:len(p.s)] == p.s }

var (
	formatKey     = Key{"\x01\x00"}
	commitKey     = Key{"\x01\x01"}
	restoredKey   = Key{"\x01\x02"}
	unfinishedKey = Key{"\x01\x03"}
)

// RoomHeads are the heads of all rooms, which is what a start reads.
func RoomHeads() Prefix { return Prefix{"\x10"} }

// RoomHeadKey names the head of a room.
func RoomHeadKey(id RoomID) Key { return Key{roomPrefix(prefixRoomHead, id)} }

// ParseRoomHead is the inverse of RoomHeadKey.
func ParseRoomHead(k Key) (RoomID, error) {
	id, rest, err := parseRoom(prefixRoomHead, k)
	if err != nil || rest != "" {
		return RoomID{}, errNotThisKey
	}
	return id, nil
}

// RoomEntries are the log entries of a room in order of seq.
func RoomEntries(id RoomID) Prefix { return Prefix{roomPrefix(prefixRoomEntry, id)} }

// RoomEntryKey names one log entry of a room.
func RoomEntryKey(id RoomID, seq uint64) Key {
	return Key{string(binary.BigEndian.AppendUint64([]byte(roomPrefix(prefixRoomEntry, id)), seq))}
}

// ParseRoomEntry is the inverse of RoomEntryKey.
func ParseRoomEntry(k Key) (id RoomID, seq uint64, err error) {
	id, rest, err := parseRoom(prefixRoomEntry, k)
	if err != nil || len(rest) != 8 {
		return RoomID{}, 0, errNotThisKey
	}
	return id, binary.BigEndian.Uint64([]byte(rest)), nil
}

// RoomTxns is the transaction-id index of a room.
func RoomTxns(id RoomID) Prefix { return Prefix{roomPrefix(prefixRoomTxn, id)} }

// RoomTxnKey names the index entry of a transaction id. Its value is the seq of the
// log entry, see SeqValue.
func RoomTxnKey(id RoomID, txn TxnID) Key {
	return Key{roomPrefix(prefixRoomTxn, id) + string(txn[:])}
}

// ParseRoomTxn is the inverse of RoomTxnKey.
func ParseRoomTxn(k Key) (id RoomID, txn TxnID, err error) {
	id, rest, err := parseRoom(prefixRoomTxn, k)
	if err != nil || len(rest) != len(txn) {
		return RoomID{}, TxnID{}, errNotThisKey
	}
	return id, TxnID([]byte(rest)), nil
}

// SeqValue is the value of a transaction-id index entry.
func SeqValue(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// ParseSeqValue is the inverse of SeqValue.
func ParseSeqValue(v []byte) (uint64, error) {
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: seq of %d bytes", ErrCorrupted, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// RoomParts are the parts of a room's public MLS state.
func RoomParts(id RoomID) Prefix { return Prefix{roomPrefix(prefixRoomPart, id)} }

// RoomPartsFrom are those parts whose own key begins with part.
func RoomPartsFrom(id RoomID, part []byte) Prefix {
	return Prefix{roomPrefix(prefixRoomPart, id) + string(part)}
}

// RoomPartKey names one part of a room's public MLS state. The MLS engine chooses
// the part keys.
func RoomPartKey(id RoomID, part []byte) Key {
	return Key{roomPrefix(prefixRoomPart, id) + string(part)}
}

// ParseRoomPart is the inverse of RoomPartKey.
func ParseRoomPart(k Key) (id RoomID, part []byte, err error) {
	id, rest, err := parseRoom(prefixRoomPart, k)
	return id, []byte(rest), err
}

// RoomBatches are the batches of a room's log in order.
func RoomBatches(id RoomID) Prefix { return Prefix{roomPrefix(prefixRoomBatch, id)} }

// RoomBatchKey names the batch of log entries that ends with seq.
func RoomBatchKey(id RoomID, seq uint64) Key {
	return Key{string(binary.BigEndian.AppendUint64([]byte(roomPrefix(prefixRoomBatch, id)), seq))}
}

// ParseRoomBatch is the inverse of RoomBatchKey.
func ParseRoomBatch(k Key) (id RoomID, seq uint64, err error) {
	id, rest, err := parseRoom(prefixRoomBatch, k)
	if err != nil || len(rest) != 8 {
		return RoomID{}, 0, errNotThisKey
	}
	return id, binary.BigEndian.Uint64([]byte(rest)), nil
}

// Key names a value of the space.
func (sp Space) Key(name []byte) Key { return Key{sp.prefix() + string(name)} }

// Prefix names all values of the space whose names begin with name. An empty name
// means the whole space.
func (sp Space) Prefix(name []byte) Prefix { return Prefix{sp.prefix() + string(name)} }

// Parse is the inverse of Key.
func (sp Space) Parse(k Key) (name []byte, err error) {
	if !sp.Prefix(nil).Has(k) {
		return nil, errNotThisKey
	}
	return []byte(k.s[1:]), nil
}

// prefix keeps a made-up Space from reaching into keys that have another meaning.
func (sp Space) prefix() string {
	if sp < SpaceAccounts || sp > lastSpace {
		panic(fmt.Sprintf("store: space %#x is not defined", byte(sp)))
	}
	return string([]byte{byte(sp)})
}

func roomPrefix(prefix byte, id RoomID) string {
	return string(append([]byte{prefix}, id[:]...))
}

func parseRoom(prefix byte, k Key) (id RoomID, rest string, err error) {
	if len(k.s) < 1+len(id) || k.s[0] != prefix {
		return RoomID{}, "", errNotThisKey
	}
	copy(id[:], k.s[1:])
	return id, k.s[1+len(id):], nil
}
