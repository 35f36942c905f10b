package content

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// How CBOR is read here. The library says whether the whole input is one
// well-formed item of definite lengths, not nested too deeply; then a reader
// goes through it once, from head to head, and asks the library for the leaves.
//
//	head = major type (3 bits) | info (5 bits) [| argument, 1, 2, 4 or 8 octets]
//
// The reader looks at each head first: type, bound, shortest form. The library
// on its own is lenient where Go is (null becomes 0, a long byte string loses
// its end), and has no opinion on the rules of section 6 for extensions.

// Major types of CBOR (RFC 8949 section 3.1).
const (
	majorUint  = 0
	majorNeg   = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorTag   = 6
	majorOther = 7 // floats and simple values

	cborFalse = 0xf4
	cborTrue  = 0xf5
	cborNull  = 0xf6
)

var (
	encoding = must(encOptions().EncMode())
	decoding = must(decOptions().DecMode())
)

// encOptions is deterministic encoding, without conversions of Go's own.
func encOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty // an empty byte string; null is nil
	return o
}

func decOptions() cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		MaxNestedLevels:  maxNesting,
		MaxArrayElements: maxElements,
		MaxMapPairs:      maxElements,
		TagsMd:           cbor.TagsAllowed, // extensions may have them
		UTF8:             cbor.UTF8RejectInvalid,
		IntDec:           cbor.IntDecConvertNone,
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("content: CBOR options: " + err.Error())
	}
	return v
}

// wellFormed says whether b is one CBOR item within the library's bounds.
func wellFormed(b []byte) error {
	err := decoding.Wellformed(b)
	if err == nil {
		return nil
	}
	var (
		nested     *cbor.MaxNestedLevelError
		elements   *cbor.MaxArrayElementsError
		pairs      *cbor.MaxMapPairsError
		indefinite *cbor.IndefiniteLengthError
	)
	kind := ErrMalformed
	switch {
	case errors.As(err, &nested):
		kind = ErrTooDeep
	case errors.As(err, &elements), errors.As(err, &pairs):
		kind = ErrTooLarge
	case errors.As(err, &indefinite):
		kind = ErrNonCanonical
	}
	return fmt.Errorf("%v: %w", err, kind)
}

// A reader reads items one after the other. The first error stays in err; after
// it everything read is zero.
type reader struct {
	rest  []byte
	lim   Limits
	parts int // read so far
	err   error
}

func (r *reader) fail(kind error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format+": %w", append(args, kind)...)
		r.rest = nil
	}
}

type head struct {
	major, info byte
	arg         uint64
	size        int // octets of the head itself
}

// peek reads the head at the start of rest, without consuming it.
func (r *reader) peek(what string) (h head) {
	if r.err != nil {
		return head{}
	}
	if len(r.rest) == 0 {
		r.fail(ErrMalformed, "%s is missing", what)
		return head{}
	}
	h = head{major: r.rest[0] >> 5, info: r.rest[0] & 31, size: 1}
	switch {
	case h.info < 24:
		h.arg = uint64(h.info)
		return h
	case h.info == 31:
		r.fail(ErrNonCanonical, "%s of indefinite length", what)
		return head{}
	case h.info > 27:
		r.fail(ErrMalformed, "%s with reserved head", what)
		return head{}
	}
	n := 1 << (h.info - 24)
	if len(r.rest) < 1+n {
		r.fail(ErrMalformed, "%s ends early", what)
		return head{}
	}
	for _, c := range r.rest[1 : 1+n] {
		h.arg = h.arg<<8 | uint64(c)
	}
	h.size = 1 + n
	// The smallest argument of each form: 24, 2^8, 2^16, 2^32. Floats are judged
	// where they are read.
	if least := max(24, uint64(1)<<(n*8/2)); h.major != majorOther && (n == 1 && h.arg < 24 || n > 1 && h.arg < least) {
		r.fail(ErrNonCanonical, "%s: %d octets for %d", what, n, h.arg)
		return head{}
	}
	return h
}

var majorNames = [8]string{"unsigned integer", "negative integer", "byte string", "text", "array", "map", "tag", "simple value or float"}

// expect is peek for an item of one major type.
func (r *reader) expect(what string, major byte) head {
	h := r.peek(what)
	if r.err == nil && h.major != major {
		r.fail(ErrMalformed, "%s is a %s, not a %s", what, majorNames[h.major], majorNames[major])
	}
	return h
}

// leaf has the library decode the item at the start of rest, whose head was
// found to be right.
func (r *reader) leaf(what string, v any) {
	if r.err != nil {
		return
	}
	rest, err := decoding.UnmarshalFirst(r.rest, v)
	if err != nil {
		r.fail(ErrMalformed, "%s: %v", what, err)
		return
	}
	r.rest = rest
}

func (r *reader) uint(what string, most uint64) (v uint64) {
	if h := r.expect(what, majorUint); r.err == nil && h.arg > most {
		r.fail(ErrMalformed, "%s is %d, at most %d", what, h.arg, most)
	}
	r.leaf(what, &v)
	return v
}

// bytes and text bound the length before the library allocates. Empty is nil.
func (r *reader) bytes(what string, most int) []byte {
	r.bounded(r.expect(what, majorBytes), what, most)
	var v []byte
	if r.leaf(what, &v); len(v) == 0 {
		return nil
	}
	return v
}

func (r *reader) text(what string, most int) (v string) {
	r.bounded(r.expect(what, majorText), what, most)
	r.leaf(what, &v)
	return v
}

func (r *reader) bounded(h head, what string, most int) {
	if r.err == nil && h.arg > uint64(most) {
		r.fail(ErrTooLarge, "%s of %d bytes (limit %d)", what, h.arg, most)
	}
}

// array enters an array and returns how many items it has. An array that claims
// more items than there are octets never comes here: it is not well-formed.
func (r *reader) array(what string) int {
	h := r.expect(what, majorArray)
	if r.err != nil {
		return 0
	}
	r.rest = r.rest[h.size:]
	return int(min(h.arg, math.MaxInt32))
}

// arrayOf enters an array that must have n items.
func (r *reader) arrayOf(what string, n int) {
	if got := r.array(what); r.err == nil && got != n {
		r.fail(ErrMalformed, "%s has %d items, not %d", what, got, n)
	}
}

// null consumes a null, if there is one.
func (r *reader) null() bool {
	if r.err != nil || len(r.rest) == 0 || r.rest[0] != cborNull {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *reader) bool(what string) (v bool) {
	if r.err == nil && (len(r.rest) == 0 || r.rest[0] != cborFalse && r.rest[0] != cborTrue) {
		r.fail(ErrMalformed, "%s is no boolean", what)
	}
	r.leaf(what, &v)
	return v
}

// value consumes one item of any kind inside an extension and holds it to
// section 6. level counts the maps, arrays and tags that it is in.
func (r *reader) value(level int) {
	before := r.rest
	h := r.peek("value")
	if r.err != nil {
		return
	}
	switch h.major {
	case majorArray, majorMap, majorTag:
		if level == maxExtensionDepth {
			r.fail(ErrTooDeep, "extension of more than %d levels", maxExtensionDepth)
			return
		}
	}
	r.rest = r.rest[h.size:]
	switch h.major {
	case majorBytes, majorText:
		if h.arg > uint64(len(r.rest)) {
			r.fail(ErrMalformed, "string ends early")
			return
		}
		if h.major == majorText && !utf8.Valid(r.rest[:h.arg]) {
			r.fail(ErrMalformed, "text is not UTF-8")
			return
		}
		r.rest = r.rest[h.arg:]
	case majorArray:
		for i := uint64(0); i < h.arg && r.err == nil; i++ {
			r.value(level + 1)
		}
	case majorMap:
		var last []byte
		for i := uint64(0); i < h.arg && r.err == nil; i++ {
			last = r.key(last, majorBytes)
			r.value(level + 1)
		}
	case majorTag:
		if h.arg == 2 || h.arg == 3 {
			r.bignum()
		}
		r.value(level + 1)
	case majorOther:
		r.other(before, h)
	}
}

// key consumes a key of a map after the key last and returns its octets.
// Integers and text may be keys everywhere, and the type also besides (section
// 6.2).
func (r *reader) key(last []byte, also byte) []byte {
	before := r.rest
	h := r.peek("map key")
	switch {
	case r.err != nil:
		return nil
	case h.major == majorUint && h.arg > maxKeyInt, h.major == majorNeg && h.arg > maxKeyInt-1:
		r.fail(ErrMalformed, "integer map key beyond 2^53-1")
		return nil
	case h.major > majorText, h.major == majorBytes && also != majorBytes:
		r.fail(ErrMalformed, "map key is a %s", majorNames[h.major])
		return nil
	}
	r.value(maxExtensionDepth) // a leaf, so the level does not count
	if r.err != nil {
		return nil
	}
	this := before[:len(before)-len(r.rest)]
	switch c := bytes.Compare(last, this); {
	case c == 0:
		r.fail(ErrDuplicateKey, "map")
	case c > 0:
		r.fail(ErrNonCanonical, "map keys out of order")
	}
	return this
}

// bignum looks at the item inside tag 2 or 3, which must not fit an integer
// (RFC 8949 section 3.4.3).
func (r *reader) bignum() {
	h := r.expect("bignum", majorBytes)
	if r.err != nil {
		return
	}
	if h.arg <= 8 || len(r.rest) > h.size && r.rest[h.size] == 0 {
		r.fail(ErrNonCanonical, "bignum could be shorter")
	}
}

// other judges a float or simple value that starts at item and whose head is
// consumed.
func (r *reader) other(item []byte, h head) {
	switch {
	case h.info == 24 && h.arg < 32:
		r.fail(ErrMalformed, "simple value %d in two octets", h.arg)
	case h.info >= 25:
		item = item[:h.size]
		var f float64
		if err := decoding.Unmarshal(item, &f); err != nil {
			r.fail(ErrMalformed, "float: %v", err)
			return
		}
		// The encoder has one form for each value, and one for all NaN.
		if again, err := encoding.Marshal(f); err != nil || !bytes.Equal(again, item) {
			r.fail(ErrNonCanonical, "float is not in its shortest form")
		}
	}
}

// single says whether b is one item that an extension may have.
func single(b []byte) error {
	if err := wellFormed(b); err != nil {
		return err
	}
	r := reader{rest: b}
	r.value(1)
	return r.err
}
