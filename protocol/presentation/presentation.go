// Package presentation reads and writes the TLS presentation language as MLS
// and MIMI use it (RFC 8446 section 3 with RFC 9420 section 2.1): big-endian
// integers, optional<T> as one octet 0 or 1, and vectors <V> whose length in
// bytes is a variable-size integer of 1, 2 or 4 octets (prefix 00, 01, 10), in
// its shortest form only.
//
// Structures stand in other packages, their layout in a comment beside a method
// that reads and one that appends. Decoding is strict: what a Reader accepts,
// the Append functions write back byte for byte. It never allocates on a length
// that the input only claims: byte strings alias the input, and lists are
// bounded by the caller.
package presentation

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Errors are sentinels; the text around them says which value.
var (
	// ErrTruncated: the input ends inside a value, or a length prefix claims
	// more bytes than there are.
	ErrTruncated = errors.New("truncated input")
	// ErrTrailing: bytes follow a complete value.
	ErrTrailing = errors.New("trailing bytes")
	// ErrNonCanonical: the value has another, shorter or ordered encoding,
	// which is the only one accepted: a length in a longer form than needed, a
	// presence octet other than 0 or 1, a list out of order.
	ErrNonCanonical = errors.New("encoding is not canonical")
	// ErrMalformed: a field holds a value that its type does not have.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge: a limit is exceeded.
	ErrTooLarge = errors.New("too large")
)

// Reader decodes one value. The first error sticks, empties the input and
// makes every later read return zero, so decoders read straight on and ask
// once, at the end. Byte strings alias the input.
type Reader struct {
	s   cryptobyte.String
	err error
}

// NewReader reads from b, which must not change while what was read is in use.
func NewReader(b []byte) *Reader { return &Reader{s: b} }

// Fail records an error, unless there is one already. The text says which
// value is wrong, err is a sentinel.
func (r *Reader) Fail(err error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
	}
	r.s = nil
}

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Done returns the first error, or ErrTrailing if input is left.
func (r *Reader) Done() error {
	if r.err == nil && len(r.s) > 0 {
		r.Fail(ErrTrailing, "%d bytes", len(r.s))
	}
	return r.err
}

// Empty says whether all input is read, or there was an error.
func (r *Reader) Empty() bool { return len(r.s) == 0 }

// Rest returns the input that is left, without reading it.
func (r *Reader) Rest() []byte { return r.s }

// U8 reads a uint8.
func (r *Reader) U8() (v uint8) {
	if !r.s.ReadUint8(&v) {
		r.Fail(ErrTruncated, "uint8")
	}
	return v
}

// U16 reads a uint16.
func (r *Reader) U16() (v uint16) {
	if !r.s.ReadUint16(&v) {
		r.Fail(ErrTruncated, "uint16")
	}
	return v
}

// U32 reads a uint32.
func (r *Reader) U32() (v uint32) {
	if !r.s.ReadUint32(&v) {
		r.Fail(ErrTruncated, "uint32")
	}
	return v
}

// U64 reads a uint64.
func (r *Reader) U64() (v uint64) {
	if !r.s.ReadUint64(&v) {
		r.Fail(ErrTruncated, "uint64")
	}
	return v
}

// Fixed reads n bytes without a length: opaque[n].
func (r *Reader) Fixed(n int) (b []byte) {
	if !r.s.ReadBytes(&b, n) {
		r.Fail(ErrTruncated, "%d bytes, %d left", n, len(r.s))
		return nil
	}
	return b[:n:n]
}

// Optional reads the presence octet of an optional<T>.
func (r *Reader) Optional() bool {
	switch v := r.U8(); v {
	case 0:
		return false
	case 1:
		return true
	default:
		r.Fail(ErrNonCanonical, "presence octet %d", v)
		return false
	}
}

// Length reads a vector's length: two bits of size, then the value. A longer
// form than the value needs is not canonical.
func (r *Reader) Length() int {
	if r.Empty() {
		r.Fail(ErrTruncated, "length")
		return 0
	}
	size := 1 << (r.s[0] >> 6)
	if size == 8 {
		r.Fail(ErrMalformed, "length prefix 0b11")
		return 0
	}
	if len(r.s) < size {
		r.Fail(ErrTruncated, "length")
		return 0
	}
	v := int(r.s[0] & 0x3f)
	for _, c := range r.s[1:size] {
		v = v<<8 | int(c)
	}
	if (size == 2 && v < 1<<6) || (size == 4 && v < 1<<14) {
		r.Fail(ErrNonCanonical, "length %d in %d bytes", v, size)
		return 0
	}
	r.s = r.s[size:]
	return v
}

// Opaque reads opaque<V>. The result is never nil on success.
func (r *Reader) Opaque() []byte {
	n := r.Length()
	if n > len(r.s) {
		r.Fail(ErrTruncated, "vector of %d bytes, %d left", n, len(r.s))
	}
	if r.err != nil {
		return nil
	}
	out := r.s[:n:n]
	r.s = r.s[n:]
	return out
}

// Bounded reads opaque<V> of at most so many bytes; what says what it is, if it is longer: ErrTooLarge.
func (r *Reader) Bounded(limit int, what string) []byte {
	b := r.Opaque()
	if len(b) > limit {
		r.Fail(ErrTooLarge, "%s of %d bytes (limit %d)", what, len(b), limit)
		return nil
	}
	return b
}

// List reads a vector of elements, at most limit of them, calling each with the
// reader confined to the vector.
func (r *Reader) List(limit int, each func()) {
	body := r.Opaque()
	if r.err != nil {
		return
	}
	rest := r.s
	r.s = body
	for n := 0; !r.Empty() && r.err == nil; n++ {
		if n == limit {
			r.Fail(ErrTooLarge, "more than %d elements", limit)
			return
		}
		each()
	}
	if r.err == nil {
		r.s = rest
	}
}

// AppendU16 appends a uint16.
func AppendU16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

// AppendU32 appends a uint32.
func AppendU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// AppendU64 appends a uint64.
func AppendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// AppendLength appends a vector's length in its shortest form. A length of 2^30
// or more cannot be written and is a bug: inputs are bounded long before.
func AppendLength(b []byte, n int) []byte {
	switch {
	case n < 1<<6:
		return append(b, byte(n))
	case n < 1<<14:
		return AppendU16(b, uint16(n)|1<<14)
	case n < 1<<30:
		return AppendU32(b, uint32(n)|2<<30)
	}
	panic("presentation: vector of 2^30 bytes or more")
}

// AppendOpaque appends opaque<V>.
func AppendOpaque(b, data []byte) []byte {
	return append(AppendLength(b, len(data)), data...)
}

// AppendList appends a vector whose content body appends. It guesses a
// one-octet length and moves the content where it was longer.
func AppendList(b []byte, body func([]byte) []byte) []byte {
	at := len(b)
	b = body(append(b, 0))
	n := len(b) - at - 1
	if n < 1<<6 {
		b[at] = byte(n)
		return b
	}
	var head [4]byte
	h := AppendLength(head[:0], n)
	b = append(b, h[1:]...)
	copy(b[at+len(h):], b[at+1:at+1+n])
	copy(b[at:], h)
	return b
}

// AppendOptional appends the presence octet of an optional<T>.
func AppendOptional(b []byte, present bool) []byte {
	if present {
		return append(b, 1)
	}
	return append(b, 0)
}
