package mls

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// The TLS presentation language as RFC 9420 section 2.1 uses it: big-endian
// integers, optional<T> as one octet 0 or 1, and vectors <V> whose length in
// bytes is a variable-size integer of 1, 2 or 4 octets (prefix 00, 01, 10), in
// its shortest form only. cryptobyte reads the integers; it has no such
// vectors, so those and the latched error are here.

// reader decodes one value. The first error sticks, empties the input and
// makes every later read return zero, so decoders read straight on and ask
// once, at the end. Byte strings alias the input.
type reader struct {
	s   cryptobyte.String
	lim *Limits
	err error
}

// parse runs read over a private copy of b, which must be consumed whole.
// what names the value in errors.
func parse(b []byte, lim Limits, what string, read func(*reader)) error {
	lim = lim.withDefaults()
	if len(b) > lim.MessageSize {
		return fmt.Errorf("reading %s of %d bytes (limit %d): %w", what, len(b), lim.MessageSize, ErrTooLarge)
	}
	r := &reader{s: bytes.Clone(b), lim: &lim}
	read(r)
	if r.err == nil && len(r.s) > 0 {
		r.fail(ErrTrailing, "%d bytes", len(r.s))
	}
	if r.err != nil {
		return fmt.Errorf("reading %s: %w", what, r.err)
	}
	return nil
}

func (r *reader) fail(err error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
	}
	r.s = nil
}

func (r *reader) empty() bool { return len(r.s) == 0 }

func (r *reader) u8() (v uint8) {
	if !r.s.ReadUint8(&v) {
		r.fail(ErrTruncated, "uint8")
	}
	return v
}

func (r *reader) u16() (v uint16) {
	if !r.s.ReadUint16(&v) {
		r.fail(ErrTruncated, "uint16")
	}
	return v
}

func (r *reader) u32() (v uint32) {
	if !r.s.ReadUint32(&v) {
		r.fail(ErrTruncated, "uint32")
	}
	return v
}

func (r *reader) u64() (v uint64) {
	if !r.s.ReadUint64(&v) {
		r.fail(ErrTruncated, "uint64")
	}
	return v
}

// varint reads a vector's length header: two bits of size, then the value.
// A longer form than the value needs is not canonical.
func (r *reader) varint() int {
	if r.empty() {
		r.fail(ErrTruncated, "length")
		return 0
	}
	size := 1 << (r.s[0] >> 6)
	if size == 8 {
		r.fail(ErrMalformed, "length prefix 0b11")
		return 0
	}
	if len(r.s) < size {
		r.fail(ErrTruncated, "length")
		return 0
	}
	v := int(r.s[0] & 0x3f)
	for _, c := range r.s[1:size] {
		v = v<<8 | int(c)
	}
	if (size == 2 && v < 1<<6) || (size == 4 && v < 1<<14) {
		r.fail(ErrNonCanonical, "length %d in %d bytes", v, size)
		return 0
	}
	r.s = r.s[size:]
	return v
}

// opaque reads opaque<V>. The result is never nil on success.
func (r *reader) opaque() []byte {
	n := r.varint()
	if n > len(r.s) {
		r.fail(ErrTruncated, "vector of %d bytes, %d left", n, len(r.s))
	}
	if r.err != nil {
		return nil
	}
	out := r.s[:n:n]
	r.s = r.s[n:]
	return out
}

// list reads a vector of elements, at most limit of them, calling each with
// the reader confined to the vector.
func (r *reader) list(limit int, each func()) {
	body := r.opaque()
	if r.err != nil {
		return
	}
	rest := r.s
	r.s = body
	for n := 0; !r.empty() && r.err == nil; n++ {
		if n == limit {
			r.fail(ErrTooLarge, "more than %d elements", limit)
			return
		}
		each()
	}
	if r.err == nil {
		r.s = rest
	}
}

// optional reads the presence octet of an optional<T>.
func (r *reader) optional() bool {
	switch v := r.u8(); v {
	case 0:
		return false
	case 1:
		return true
	default:
		r.fail(ErrNonCanonical, "presence octet %d", v)
		return false
	}
}

func readU16s[T ~uint16](r *reader) []T {
	out := []T{}
	r.list(r.lim.ListEntries, func() { out = append(out, T(r.u16())) })
	return out
}

func appendU16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func appendU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func appendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func appendVarint(b []byte, n int) []byte {
	switch {
	case n < 1<<6:
		return append(b, byte(n))
	case n < 1<<14:
		return appendU16(b, uint16(n)|1<<14)
	case n < 1<<30:
		return appendU32(b, uint32(n)|2<<30)
	}
	// Nothing here encodes a gigabyte: inputs are bounded by Limits.
	panic("mls: vector of 2^30 bytes or more")
}

func appendOpaque(b, data []byte) []byte {
	return append(appendVarint(b, len(data)), data...)
}

// appendList appends a vector whose content body appends. It guesses a
// one-octet header and moves the content where it was longer.
func appendList(b []byte, body func([]byte) []byte) []byte {
	at := len(b)
	b = body(append(b, 0))
	n := len(b) - at - 1
	if n < 1<<6 {
		b[at] = byte(n)
		return b
	}
	var head [4]byte
	h := appendVarint(head[:0], n)
	b = append(b, h[1:]...)
	copy(b[at+len(h):], b[at+1:at+1+n])
	copy(b[at:], h)
	return b
}

func appendU16s[T ~uint16](b []byte, vs []T) []byte {
	b = appendVarint(b, 2*len(vs))
	for _, v := range vs {
		b = appendU16(b, uint16(v))
	}
	return b
}

func appendOptional(b []byte, present bool) []byte {
	if present {
		return append(b, 1)
	}
	return append(b, 0)
}
