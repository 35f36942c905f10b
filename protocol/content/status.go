package content

import (
	"bytes"
	"fmt"
)

// StatusMediaType is the media type of an encoded StatusReport.
const StatusMediaType = "application/mimi-message-status"

// Status is what became of a message on the way to or at a recipient
// (draft-mahy-mimi-message-status-01). Values without a name here are carried.
type Status uint8

// Statuses. Delivered means to one of the user's clients.
const (
	Unread    Status = 0
	Delivered Status = 1
	Read      Status = 2
	Expired   Status = 3
	Deleted   Status = 4
	Hidden    Status = 5
	Failed    Status = 6 // "error" in the draft
)

// MessageStatus says what became of one message.
type MessageStatus struct {
	ID     MessageID
	Status Status
}

// StatusReport tells the room what became of messages at its sender's, as of
// the time at which the hub accepted it. It is sent in place of a Message. A
// message that is listed twice has the later status:
//
//	[ * [ messageId: byte string of 32, status: uint8 ] ]
type StatusReport []MessageStatus

// DecodeStatusReport reads a report as strictly as Decode reads a message. Of
// the limits, Size and Statuses matter.
//
// Errors: ErrTooLarge, ErrMalformed, ErrNonCanonical, ErrTooDeep, ErrHash.
func DecodeStatusReport(b []byte, lim Limits) (StatusReport, error) {
	s, err := decodeStatusReport(b, lim)
	if err == nil {
		var again []byte
		if again, err = s.marshal(); err == nil && !bytes.Equal(again, b) {
			err = ErrNonCanonical
		}
	}
	if err != nil {
		return nil, fmt.Errorf("decoding status report: %w", err)
	}
	return s, nil
}

// Encode returns the encoding. It fails with the error that DecodeStatusReport
// would have for it, given the same limits.
func (s StatusReport) Encode(lim Limits) ([]byte, error) {
	b, err := s.marshal()
	if err == nil {
		_, err = decodeStatusReport(b, lim)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding status report: %w", err)
	}
	return b, nil
}

func decodeStatusReport(b []byte, lim Limits) (StatusReport, error) {
	lim = lim.withDefaults()
	if len(b) > lim.Size {
		return nil, fmt.Errorf("%d bytes (limit %d): %w", len(b), lim.Size, ErrTooLarge)
	}
	if err := wellFormed(b); err != nil {
		return nil, err
	}
	r := &reader{rest: b, lim: lim}
	n := r.array("report")
	if r.err == nil && n > lim.Statuses {
		r.fail(ErrTooLarge, "status of %d messages (limit %d)", n, lim.Statuses)
	}
	if r.err != nil {
		return nil, r.err
	}
	s := make(StatusReport, 0, n)
	for i := 0; i < n && r.err == nil; i++ {
		r.arrayOf("status of a message", 2)
		s = append(s, MessageStatus{
			ID:     r.id("messageId"),
			Status: Status(r.uint("status", 1<<8-1)),
		})
	}
	if r.err == nil && len(r.rest) > 0 {
		r.fail(ErrMalformed, "%d bytes after the report", len(r.rest))
	}
	return s, r.err
}

func (s StatusReport) marshal() ([]byte, error) {
	items := make([]any, 0, len(s))
	for _, m := range s {
		items = append(items, []any{m.ID[:], m.Status})
	}
	b, err := encoding.Marshal(items)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrMalformed)
	}
	return b, nil
}

// IsStatusReport says which of the two the plaintext of a message is, which MLS does not
// tell: a Message begins with an array of seven whose first is the salt, a StatusReport is
// an array of arrays. What is neither is not judged here; no input is accepted as both.
func IsStatusReport(b []byte) bool {
	if len(b) == 0 || b[0]&0xe0 != 0x80 {
		return false
	}
	head := 1
	if n := b[0] & 0x1f; n >= 24 && n <= 27 {
		head += 1 << (n - 24)
	}
	return len(b) <= head || b[head]&0xe0 == 0x80
}

// StatusSet is what one user has ever said of a message: reports are united, so the order
// in which they come makes no difference, a later "delivered" takes no "read" back, and a
// report that comes twice changes nothing. Bit n is Status n.
type StatusSet uint8

// Of returns the set of one status. Unread says nothing that others could use, and what
// has no name means nothing here: both give the empty set.
func (s Status) Of() StatusSet {
	if s == Unread || s > Failed {
		return 0
	}
	return 1 << s
}

// Has says whether a status was ever reported.
func (s StatusSet) Has(x Status) bool { return x.Of() != 0 && s&x.Of() != 0 }

// Delivered says whether the message is known to have come to a client of the user: who
// has read, hidden or deleted it had it.
func (s StatusSet) Delivered() bool { return s&^(Failed.Of()) != 0 }

// Read says whether the user has read it.
func (s StatusSet) Read() bool { return s.Has(Read) }
