package content

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
)

// Salt is the random part of a message. In clear it is known to the room only.
type Salt [16]byte

// NewSalt draws a salt from crypto/rand.
func NewSalt() (s Salt) {
	rand.Read(s[:]) // never fails
	return s
}

// MessageID names a message: an octet for the hash function, SHA256, and the
// first 31 octets of the hash. The zero MessageID names nothing. In a topic,
// messages accepted in the same millisecond sort by it (section 5.11).
type MessageID [32]byte

// String returns 64 hexadecimal digits.
func (id MessageID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns the same as String.
func (id MessageID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what String returns, in lower case only. It changes id
// only if it succeeds. Errors: ErrMalformed, ErrHash.
func (id *MessageID) UnmarshalText(b []byte) error {
	var v MessageID
	if len(b) != 2*len(v) {
		return fmt.Errorf("message id of %d digits: %w", len(b), ErrMalformed)
	}
	if _, err := hex.Decode(v[:], b); err != nil || v.String() != string(b) {
		return fmt.Errorf("message id is not lower-case hexadecimal: %w", ErrMalformed)
	}
	if v[0] != SHA256 {
		return fmt.Errorf("message id with hash function %d: %w", v[0], ErrHash)
	}
	*id = v
	return nil
}

// DeriveID returns the id of a message (section 3.3) from its encoding and the
// URIs of its sender, a user or pseudonym, and its room, as the octets in which
// MLS and the room have them:
//
//	1 | first 31 octets of SHA-256(
//	    uint16 length of sender | sender | uint16 length of room | room |
//	    encoding | salt )
//
// Drafts 05 to 07 had no lengths, so their ids differ. The salt stands at the
// end once more, so that a hash cannot be continued.
//
// encoding is what Decode accepted or Encode returned; only its beginning is
// looked at here. Errors: ErrMalformed, also for a URI that is empty or longer
// than 65,535 octets.
func DeriveID(encoding []byte, sender, room string) (MessageID, error) {
	const prefix = "\x87\x50" // array of 7, byte string of 16
	if len(encoding) < saltAt+len(Salt{}) || string(encoding[:saltAt]) != prefix {
		return MessageID{}, fmt.Errorf("deriving message id: not the encoding of a message: %w", ErrMalformed)
	}
	h := sha256.New()
	for _, uri := range []string{sender, room} {
		if uri == "" || len(uri) > math.MaxUint16 {
			return MessageID{}, fmt.Errorf("deriving message id: URI of %d octets: %w", len(uri), ErrMalformed)
		}
		h.Write([]byte{byte(len(uri) >> 8), byte(len(uri))})
		h.Write([]byte(uri))
	}
	h.Write(encoding)
	h.Write(encoding[saltAt : saltAt+len(Salt{})])
	id := MessageID{SHA256}
	copy(id[1:], h.Sum(nil))
	return id, nil
}

// CheckOrigin compares what the message says of its sender and room with what
// MLS says: the user URI of the sender's credential and the URI of the room, as
// octets. A message that says nothing is fine here; a frank of it does not
// verify. Errors: ErrOrigin.
func (m *Message) CheckOrigin(sender, room string) error {
	switch {
	case m.Sender != "" && m.Sender != sender:
		return fmt.Errorf("sender: %w", ErrOrigin)
	case m.Room != "" && m.Room != room:
		return fmt.Errorf("room: %w", ErrOrigin)
	}
	return nil
}
