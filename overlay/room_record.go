package overlay

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"time"
)

const (
	roomNamespace     = "mimi-room"
	roomRecordLabel   = "mimid-room-record-v1" // keeps these signatures apart from all other uses of the key
	roomRecordVersion = 1

	// MaxRoomRecord bounds an encoded room record: everything at its longest.
	MaxRoomRecord = 1 + 32 + 4 + 8 + 8 + 8 + ed25519.PublicKeySize + 1 + maxDomain + ed25519.SignatureSize

	// RoomValidity is how long after it was made a room record expires, at most.
	RoomValidity = 7 * 24 * time.Hour
)

// A RoomRecord is a provider's signed word that it orders a room. It is a hint: the DHT
// cannot know who does, and a provider may lie, or not know yet that it has been replaced.
// The proof is the room's log, which who follows the hint asks for and verifies.
type RoomRecord struct {
	Room        [32]byte          // SHA-256 of the room's URI
	Era         uint32            // of the term in which the provider orders the room
	Number      uint64            // of the term
	Hub         string            // the provider's domain, canonical
	ProviderKey ed25519.PublicKey // the provider's key in force, which signs the record
	Made        time.Time         // milliseconds, UTC
	Expires     time.Time         // milliseconds, UTC; at most RoomValidity after Made
}

// roomKey is where the DHT keeps the record of a room.
func roomKey(room [32]byte) string { return "/" + roomNamespace + "/" + string(room[:]) }

// newer compares first terms, then times.
func (r *RoomRecord) newer(o *RoomRecord) int {
	return cmp.Or(cmp.Compare(r.Era, o.Era), cmp.Compare(r.Number, o.Number), r.Made.Compare(o.Made))
}

// A room record, all integers big-endian:
//
//	u8      version = 1
//	32      room id
//	u32     era of the term
//	u64     number of the term
//	u64     made, milliseconds since 1970
//	u64     expires, milliseconds since 1970, later than made and at most
//	        a week later
//	32      provider key
//	u8 n    domain of the hub[n], canonical
//	64      Ed25519 signature by the provider key
//
// Nothing follows: 412 bytes at most. What is signed is the label
// "mimid-room-record-v1", a zero byte, and all that precedes the signature.
func (r *RoomRecord) appendSigned(b []byte) []byte {
	b = append(b, roomRecordVersion)
	b = append(b, r.Room[:]...)
	b = binary.BigEndian.AppendUint32(b, r.Era)
	b = binary.BigEndian.AppendUint64(b, r.Number)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Made.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Expires.UnixMilli()))
	b = append(b, r.ProviderKey...)
	b = append(b, byte(len(r.Hub)))
	return append(b, r.Hub...)
}

// seal signs the record. The result passes openRoomRecord.
func (r *RoomRecord) seal(key ed25519.PrivateKey) ([]byte, error) {
	b := r.appendSigned(nil)
	b = append(b, ed25519.Sign(key, roomMessage(b))...)
	if _, err := openRoomRecord(b); err != nil { // what we would refuse, we do not publish
		return nil, fmt.Errorf("signing room record: %w", err)
	}
	return b, nil
}

func roomMessage(signed []byte) []byte {
	return append(append([]byte(roomRecordLabel), 0), signed...)
}

// openRoomRecord decodes a record strictly and verifies its signature. The clock, the
// DHT key, and whether the key may speak for the domain are for the caller.
func openRoomRecord(b []byte) (*RoomRecord, error) {
	if len(b) > MaxRoomRecord {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrRoomRecord, len(b), MaxRoomRecord)
	}
	d := decoder{rest: b}
	r := &RoomRecord{}
	if v := d.u8(); v != roomRecordVersion && !d.failed {
		return nil, fmt.Errorf("%w: version %d", ErrRoomRecord, v)
	}
	copy(r.Room[:], d.take(len(r.Room)))
	r.Era, r.Number = d.u32(), d.u64()
	made, expires := d.u64(), d.u64()
	r.ProviderKey = bytes.Clone(d.take(ed25519.PublicKeySize))
	r.Hub = string(d.take(int(d.u8())))
	signed := b[:len(b)-len(d.rest)]
	signature := d.take(ed25519.SignatureSize)
	switch {
	case d.failed:
		return nil, fmt.Errorf("%w: truncated", ErrRoomRecord)
	case len(d.rest) != 0:
		return nil, fmt.Errorf("%w: %d bytes follow its end", ErrRoomRecord, len(d.rest))
	case made > 1<<48 || expires <= made || expires-made > uint64(RoomValidity.Milliseconds()):
		return nil, fmt.Errorf("%w: it expires at %d and was made at %d", ErrRoomRecord, expires, made)
	}
	r.Made, r.Expires = time.UnixMilli(int64(made)).UTC(), time.UnixMilli(int64(expires)).UTC()
	if c, err := Canonical(r.Hub); err != nil || c != r.Hub {
		return nil, fmt.Errorf("%w: domain %.80q is not canonical", ErrRoomRecord, r.Hub)
	}
	if !ed25519.Verify(r.ProviderKey, roomMessage(signed), signature) {
		return nil, fmt.Errorf("%w: not signed by the key that it names", ErrRoomRecord)
	}
	return r, nil
}

// checkTime judges a record by the clock.
func (r *RoomRecord) checkTime(now time.Time) error {
	switch {
	case !r.Expires.After(now):
		return fmt.Errorf("%w: expired at %s", ErrRoomRecord, r.Expires.Format(time.RFC3339))
	case r.Made.After(now.Add(ClockSkew)):
		return fmt.Errorf("%w: made at %s, which is in the future; compare the clocks", ErrRoomRecord, r.Made.Format(time.RFC3339))
	}
	return nil
}
