package presentation_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/presentation"
	"pgregory.net/rapid"
)

func TestStrict(t *testing.T) {
	opaque := func(r *presentation.Reader) { r.Opaque() }
	optional := func(r *presentation.Reader) { r.Optional() }
	for _, c := range []struct {
		why  string
		in   []byte
		read func(*presentation.Reader)
		want error
	}{
		{"nothing", nil, opaque, presentation.ErrTruncated},
		{"empty vector", []byte{0}, opaque, nil},
		{"one byte", []byte{1, 7}, opaque, nil},
		{"byte missing", []byte{2, 7}, opaque, presentation.ErrTruncated},
		{"byte left over", []byte{1, 7, 8}, opaque, presentation.ErrTrailing},
		{"two-byte length for 63", append([]byte{0x40, 63}, make([]byte, 63)...), opaque, presentation.ErrNonCanonical},
		{"two-byte length for 64", append([]byte{0x40, 64}, make([]byte, 64)...), opaque, nil},
		{"four-byte length for 16383", append([]byte{0x80, 0, 0x3f, 0xff}, make([]byte, 16383)...), opaque, presentation.ErrNonCanonical},
		{"four-byte length for 16384", append([]byte{0x80, 0, 0x40, 0}, make([]byte, 16384)...), opaque, nil},
		{"a gigabyte claimed", []byte{0xbf, 0xff, 0xff, 0xff}, opaque, presentation.ErrTruncated},
		{"eight-byte length", []byte{0xc0, 0, 0, 0, 0, 0, 0, 0}, opaque, presentation.ErrMalformed},
		{"half a length", []byte{0x80, 0}, opaque, presentation.ErrTruncated},
		{"absent", []byte{0}, optional, nil},
		{"present", []byte{1}, optional, nil},
		{"presence 2", []byte{2}, optional, presentation.ErrNonCanonical},
		{"three elements of at most two", []byte{3, 1, 2, 3}, func(r *presentation.Reader) { r.List(2, func() { r.U8() }) }, presentation.ErrTooLarge},
		{"element beyond its list", []byte{1, 1, 2}, func(r *presentation.Reader) { r.List(2, func() { r.U16() }) }, presentation.ErrTruncated},
		{"fixed", []byte{1, 2}, func(r *presentation.Reader) { r.Fixed(2) }, nil},
		{"fixed, too short", []byte{1}, func(r *presentation.Reader) { r.Fixed(2) }, presentation.ErrTruncated},
	} {
		r := presentation.NewReader(c.in)
		c.read(r)
		if err := r.Done(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", c.why, err, c.want)
		}
	}
}

// TestErrorSticks: after an error reads return zero and the error stays.
func TestErrorSticks(t *testing.T) {
	r := presentation.NewReader([]byte{2, 1, 2, 3, 4, 5})
	r.Optional()
	first := r.Err()
	if r.U64() != 0 || r.Opaque() != nil || r.Fixed(1) != nil || !r.Empty() || r.Done() != first {
		t.Errorf("reading went on after %v", first)
	}
	r.List(1, func() { t.Error("element after an error") })
}

// TestRoundTrip: what is written reads back, in every size of vector.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 62, 63, 64, 65, 255, 16382, 16383, 16384, 70000}).Draw(t, "size")
		data := bytes.Repeat([]byte{0xa5}, n)
		v := rapid.Uint64().Draw(t, "value")
		b := presentation.AppendOpaque([]byte("x"), data)
		b = presentation.AppendU64(presentation.AppendU32(presentation.AppendU16(b, uint16(v)), uint32(v)), v)
		b = presentation.AppendList(b, func(b []byte) []byte {
			return presentation.AppendOptional(presentation.AppendOpaque(b, data), true)
		})
		r := presentation.NewReader(b)
		if r.U8() != 'x' || !bytes.Equal(r.Opaque(), data) || r.U16() != uint16(v) || r.U32() != uint32(v) || r.U64() != v {
			t.Fatal("values differ")
		}
		r.List(1, func() {
			if !bytes.Equal(r.Opaque(), data) || !r.Optional() {
				t.Fatal("list differs")
			}
		})
		if err := r.Done(); err != nil {
			t.Fatal(err)
		}
	})
}
