package content_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/content"
)

const (
	salt = "50 000102030405060708090a0b0c0d0e0f"
	id   = "5820 01" + "00000000000000000000000000000000000000000000000000000000000000"
	null = "f6"
	text = "85 01 60 01 60 41 78" // render, no language, single, no type, "x"
)

// message is the encoding of one with the given items in hexadecimal.
func message(t testing.TB, items ...string) []byte {
	t.Helper()
	return unhex(t, "87"+strings.Join(items, ""))
}

// body is a message with a body, ext one with extensions.
func body(t testing.TB, part string) []byte {
	return message(t, salt, null, "40", null, null, "a0", part)
}

func ext(t testing.TB, extensions string) []byte {
	return message(t, salt, null, "40", null, null, extensions, text)
}

func str(major, n int) string { // text or byte string of n octets
	return hex.EncodeToString([]byte{byte(major<<5 | 25), byte(n >> 8), byte(n)}) + strings.Repeat("61", n)
}

func TestDecode(t *testing.T) {
	external := func(rest string) string { return "8f 06 60 02" + rest }
	for _, tc := range []struct {
		in   []byte
		want error
		why  string
	}{
		{message(t, salt, null, "40", null, null, "a0", text), nil, "the smallest"},
		{message(t, salt, id, "4141", "82 f5 00", id, "a0", text), nil, "every field"},
		{message(t, salt, null, "40", "82 f4 1affffffff", null, "a0", text), nil, "the latest expiration"},

		{nil, content.ErrMalformed, "nothing"},
		{[]byte{0xf6}, content.ErrMalformed, "null"},
		{[]byte{0x80}, content.ErrMalformed, "empty array"},
		{unhex(t, "86"+salt+"f640f6f6a0"), content.ErrMalformed, "no body"},
		{unhex(t, "88"+salt+"f640f6f6a0"+text+"00"), content.ErrMalformed, "one item more"},
		{unhex(t, "d9d9f787"+salt+"f640f6f6a0"+text), content.ErrMalformed, "a tag before it, even the one for CBOR itself"},
		{unhex(t, "9f"+salt+"f640f6f6a0"+text+"ff"), content.ErrNonCanonical, "indefinite array"},
		{unhex(t, "9807"+salt+"f640f6f6a0"+text), content.ErrNonCanonical, "length of the array in two octets"},
		{unhex(t, "99ffff"+salt), content.ErrMalformed, "an array with more items than octets"},
		{unhex(t, "9b7fffffffffffffff"+salt), content.ErrTooLarge, "an array that no input could fill"},

		{message(t, "4f 0102030405060708090a0b0c0d0e0f", null, "40", null, null, "a0", text), content.ErrMalformed, "salt of 15"},
		{message(t, "51 000102030405060708090a0b0c0d0e0f10", null, "40", null, null, "a0", text), content.ErrMalformed, "salt of 17"},
		{message(t, null, null, "40", null, null, "a0", text), content.ErrMalformed, "no salt"},
		{message(t, "90 01010101010101010101010101010101", null, "40", null, null, "a0", text), content.ErrMalformed, "salt as array"},
		{message(t, "5f 50 000102030405060708090a0b0c0d0e0f ff", null, "40", null, null, "a0", text), content.ErrNonCanonical, "salt in chunks"},

		{message(t, salt, "40", "40", null, null, "a0", text), content.ErrMalformed, "empty id; none is null"},
		{message(t, salt, "f7", "40", null, null, "a0", text), content.ErrMalformed, "undefined is not null"},
		{message(t, salt, strings.Replace(id, "01", "02", 1), "40", null, null, "a0", text), content.ErrHash, "section 9.1: unknown hash"},
		{message(t, salt, null, "40", null, strings.Replace(id, "01", "00", 1), "a0", text), content.ErrHash, "section 9.1: unknown hash"},
		{message(t, salt, null, null, null, null, "a0", text), content.ErrMalformed, "topic null; none is empty"},
		{message(t, salt, null, "60", null, null, "a0", text), content.ErrMalformed, "topic as text"},
		{message(t, salt, null, str(2, 4096), null, null, "a0", text), nil, "section 9.1: topic of 4,096"},
		{message(t, salt, null, str(2, 4097), null, null, "a0", text), content.ErrTooLarge, "section 9.1: topic of 4,097"},
		{message(t, salt, null, "40", "00", null, "a0", text), content.ErrMalformed, "expiration as number"},
		{message(t, salt, null, "40", "81 f4", null, "a0", text), content.ErrMalformed, "expiration without time"},
		{message(t, salt, null, "40", "82 00 00", null, "a0", text), content.ErrMalformed, "relative as number"},
		{message(t, salt, null, "40", "82 f4 f6", null, "a0", text), content.ErrMalformed, "time null"},
		{message(t, salt, null, "40", "82 f4 20", null, "a0", text), content.ErrMalformed, "time negative"},
		{message(t, salt, null, "40", "82 f4 f90000", null, "a0", text), content.ErrMalformed, "time as float"},
		{message(t, salt, null, "40", "82 f4 1b0000000100000000", null, "a0", text), content.ErrMalformed, "time after 2106"},
		{message(t, salt, null, "40", "82 f4 1817", null, "a0", text), content.ErrNonCanonical, "23 in two octets"},
		{message(t, salt, null, "40", "82 f4 1900ff", null, "a0", text), content.ErrNonCanonical, "255 in three"},
		{message(t, salt, null, "40", "82 f4 1a0000ffff", null, "a0", text), content.ErrNonCanonical, "65,535 in five"},
		{message(t, salt, null, "40", "82 f4 1b00000000ffffffff", null, "a0", text), content.ErrNonCanonical, "2^32-1 in nine"},
		{message(t, salt, null, "5800", null, null, "a0", text), content.ErrNonCanonical, "length 0 in two octets"},

		{body(t, "83 01 60 00"), nil, "null part without replaces"},
		{body(t, "83 18ff 60 00"), nil, "unknown disposition"},
		{body(t, "83 190100 60 00"), content.ErrMalformed, "disposition of 256"},
		{body(t, "83 20 60 00"), content.ErrMalformed, "negative disposition"},
		{body(t, "83 01 f6 00"), content.ErrMalformed, "language null"},
		{body(t, "83 01 40 00"), content.ErrMalformed, "language as bytes"},
		{body(t, "83 01 61ff 00"), content.ErrMalformed, "section 6.2: valid UTF-8"},
		{body(t, "83 01 63eda080 00"), content.ErrMalformed, "section 6.2: a surrogate is no UTF-8"},
		{body(t, "83 01 60 04"), content.ErrMalformed, "unknown cardinality"},
		{body(t, "84 01 60 00 00"), content.ErrMalformed, "null part with content"},
		{body(t, "82 01 60"), content.ErrMalformed, "no cardinality"},
		{body(t, "84 01 60 01 60"), content.ErrMalformed, "single part without content"},
		{body(t, "85 01 60 01 60 60"), content.ErrMalformed, "content as text"},
		{body(t, "85 01 60 01 "+str(3, 4096)+"40"), nil, "longest media type"},
		{body(t, "85 01 60 01 "+str(3, 4097)+"40"), content.ErrTooLarge, "longer media type"},
		{body(t, external("60 60 00 00 00 40 40 40 00 40 60 60")), nil, "external, all empty"},
		{body(t, external("60 60 1affffffff 1bffffffffffffffff 19ffff 40 40 40 18ff 40 60 60")), nil, "external, largest numbers"},
		{body(t, external("60 60 1b0000000100000000 00 00 40 40 40 00 40 60 60")), content.ErrMalformed, "expires beyond uint32"},
		{body(t, external("60 60 00 00 1a00010000 40 40 40 00 40 60 60")), content.ErrMalformed, "encAlg beyond uint16"},
		{body(t, external("60 60 00 00 00 40 40 40 190100 40 60 60")), content.ErrMalformed, "hashAlg beyond uint8"},
		{body(t, external("60 d820 60 00 00 00 40 40 40 00 40 60 60")), content.ErrMalformed, "URL tagged as URI"},
		{body(t, external("60 60 00 c240 00 40 40 40 00 40 60 60")), content.ErrMalformed, "size as bignum"},
		{body(t, external("60 60 00 00 00 "+str(2, 4097)+"40 40 00 40 60 60")), content.ErrTooLarge, "long key"},
		{body(t, "85 01 60 03 00 82"+text+text), nil, "two parts"},
		{body(t, "85 01 60 03 02 82"+text+text), nil, "processAll"},
		{body(t, "85 01 60 03 03 82"+text+text), content.ErrMalformed, "section 9.1: unknown PartSemantics"},
		{body(t, "85 01 60 03 00 81"+text), content.ErrMalformed, "[2* NestedPart]"},
		{body(t, "85 01 60 03 00 80"), content.ErrMalformed, "[2* NestedPart]"},
		{body(t, "86 01 60 03 00 "+text+text), content.ErrMalformed, "parts without an array"},
		{body(t, nest(4)), nil, "section 6.3: four levels"},
		{body(t, nest(5)), content.ErrTooDeep, "section 6.3: five levels"},
		{body(t, nest(100)), content.ErrTooDeep, "so deep that the library refuses"},
		{body(t, "85 01 60 03 00 9903ff"+strings.Repeat(text, 1023)), nil, "section 9.1: 1,024 parts"},
		{body(t, "85 01 60 03 00 990400"+strings.Repeat(text, 1024)), content.ErrTooLarge, "section 9.1: 1,025 parts"},
		{body(t, "85 01 60 03 00 82"+strings.Repeat("85 01 60 03 00 990200"+strings.Repeat(text, 512), 2)), content.ErrTooLarge, "1,027 parts on two levels"},

		{message(t, salt, null, "40", null, null, null, text), content.ErrMalformed, "extensions null"},
		{message(t, salt, null, "40", null, null, "80", text), content.ErrMalformed, "extensions as array"},
		{ext(t, "a2 01 6161 02 6162"), nil, "sender and room"},
		{ext(t, "a1 01 60"), content.ErrMalformed, "empty sender"},
		{ext(t, "a1 01 4161"), content.ErrMalformed, "sender as bytes"},
		{ext(t, "a1 02 f6"), content.ErrMalformed, "room null"},
		{ext(t, "a1 01 "+str(3, 2048)), nil, "longest sender"},
		{ext(t, "a1 01 "+str(3, 2049)), content.ErrTooLarge, "longer sender"},
		{ext(t, "a2 02 6162 01 6161"), content.ErrNonCanonical, "keys out of order"},
		{ext(t, "a2 01 6161 01 6161"), content.ErrDuplicateKey, "section 4.3: a key twice"},
		{ext(t, "a2 6161 00 6161 00"), content.ErrDuplicateKey, "a text key twice"},
		{ext(t, "a2 20 00 1864 00"), content.ErrNonCanonical, "-1 before 100 is the order of RFC 7049"},
		{ext(t, "a2 1864 00 20 00"), nil, "100 before -1 is that of RFC 8949"},
		{ext(t, "a1 40 00"), content.ErrMalformed, "section 6.2: key as bytes"},
		{ext(t, "a1 60 00"), content.ErrMalformed, "tstr .size (1..255)"},
		{ext(t, "a1 78ff"+strings.Repeat("61", 255)+"00"), nil, "tstr .size (1..255)"},
		{ext(t, "a1 "+str(3, 256)+"00"), content.ErrMalformed, "tstr .size (1..255)"},
		{ext(t, "a1 61ff 00"), content.ErrMalformed, "key is not UTF-8"},
		{ext(t, "a1 f4 00"), content.ErrMalformed, "key as boolean"},
		{ext(t, "a1 c100 00"), content.ErrMalformed, "key with tag"},
		{ext(t, "a1 1b001fffffffffffff 00"), nil, "section 6.2: 2^53-1"},
		{ext(t, "a1 1b0020000000000000 00"), content.ErrMalformed, "section 6.2: 2^53"},
		{ext(t, "a1 3b001ffffffffffffe 00"), nil, "section 6.2: -(2^53)+1"},
		{ext(t, "a1 3b001fffffffffffff 00"), content.ErrMalformed, "section 6.2: -(2^53)"},
		{ext(t, "a1 1817 00"), content.ErrNonCanonical, "key 23 in two octets"},
		{ext(t, "bf 01 6161 ff"), content.ErrNonCanonical, "indefinite map"},
		{ext(t, "b840"+numbered(64)), nil, "64 extensions"},
		{ext(t, "b841"+numbered(65)), content.ErrTooLarge, "65 extensions"},
		{ext(t, "a1 03 "+str(2, 4092)), nil, "section 4.3: 4,095 octets"},
		{ext(t, "a1 03 "+str(2, 4093)), content.ErrTooLarge, "section 4.3: 4,096 octets"},

		{ext(t, "a2 01 6161 190100 82 82421234d82072687474703a2f2f6578616d706c652e636f6d 8242345619168b"), nil, "the example of section 6.3"},
		{ext(t, "a1 03 81 81 81 00"), nil, "four levels, with the map"},
		{ext(t, "a1 03 81 81 81 80"), content.ErrTooDeep, "five levels"},
		{ext(t, "a1 03 81 81 81 a0"), content.ErrTooDeep, "five levels"},
		{ext(t, "a1 03 81 81 81 d82060"), content.ErrTooDeep, "five levels"},
		{ext(t, "a1 03 a3 01 00 4101 00 6101 00"), nil, "section 6.2: bytes may be keys further in"},
		{ext(t, "a1 03 a1 f90000 00"), content.ErrMalformed, "section 6.2: floats may not"},
		{ext(t, "a1 03 a1 80 00"), content.ErrMalformed, "section 6.2: arrays may not"},
		{ext(t, "a1 03 a2 02 00 01 00"), content.ErrNonCanonical, "order further in"},
		{ext(t, "a1 03 a2 01 00 01 00"), content.ErrDuplicateKey, "twice further in"},
		{ext(t, "a1 03 a1 1b0020000000000000 00"), content.ErrMalformed, "section 6.2: integer keys further in"},
		{ext(t, "a1 03 81 61ff"), content.ErrMalformed, "section 6.2: text anywhere is UTF-8"},
		{ext(t, "a1 03 1bffffffffffffffff"), nil, "any integer"},
		{ext(t, "a1 03 3bffffffffffffffff"), nil, "any integer"},
		{ext(t, "a1 03 1817"), content.ErrNonCanonical, "integer in too many octets"},
		{ext(t, "a1 03 5801 00"), content.ErrNonCanonical, "length in too many octets"},
		{ext(t, "a1 03 d801 00"), content.ErrNonCanonical, "tag in too many octets"},
		{ext(t, "a1 03 5f4100ff"), content.ErrNonCanonical, "bytes in chunks"},
		{ext(t, "a1 03 f93e00"), nil, "1.5 as half"},
		{ext(t, "a1 03 fa3fc00000"), content.ErrNonCanonical, "1.5 as single"},
		{ext(t, "a1 03 fb3ff8000000000000"), content.ErrNonCanonical, "1.5 as double"},
		{ext(t, "a1 03 fa3dcccccd"), nil, "0.1 as single"},
		{ext(t, "a1 03 fb3fb999999999999a"), nil, "0.1 as double"},
		{ext(t, "a1 03 f98000"), nil, "-0"},
		{ext(t, "a1 03 f97e00"), nil, "section 6.2: the NaN"},
		{ext(t, "a1 03 f97e01"), content.ErrNonCanonical, "section 6.2: another NaN"},
		{ext(t, "a1 03 fa7fc00000"), content.ErrNonCanonical, "section 6.2: a long NaN"},
		{ext(t, "a1 03 f97c00"), nil, "infinity"},
		{ext(t, "a1 03 fa7f800000"), content.ErrNonCanonical, "a long infinity"},
		{ext(t, "a1 03 d8544400007e01"), nil, "section 6.2: any floats in the bytes of a typed array, tag 84"},
		{ext(t, "a1 03 c249010000000000000000"), nil, "2^64, a bignum"},
		{ext(t, "a1 03 c248ffffffffffffffff"), content.ErrNonCanonical, "section 6.1: a bignum that fits an integer"},
		{ext(t, "a1 03 c349000000000000000001"), content.ErrNonCanonical, "a bignum with a leading zero"},
		{ext(t, "a1 03 c200"), content.ErrMalformed, "a bignum of no bytes"},
		{ext(t, "a1 03 c100"), nil, "a time, carried as it is"},
		{ext(t, "a1 03 f7"), nil, "undefined"},
		{ext(t, "a1 03 f820"), nil, "an unassigned simple value"},
		{ext(t, "a1 03 f814"), content.ErrMalformed, "false in two octets"},
		{ext(t, "a1 03 1c"), content.ErrMalformed, "reserved head"},
	} {
		m, err := content.Decode(tc.in, content.Limits{})
		if !errors.Is(err, tc.want) || (err == nil) != (m != nil) {
			t.Errorf("%s: %v, want %v", tc.why, err, tc.want)
			continue
		}
		if err != nil {
			continue
		}
		if b, err := m.Encode(content.Limits{}); err != nil || !bytes.Equal(b, tc.in) {
			t.Errorf("%s: encoded again: %x, %v", tc.why, b, err)
		}
	}
}

// nest is a part of n levels.
func nest(n int) string {
	if n == 1 {
		return text
	}
	return "85 01 60 03 00 82" + text + nest(n-1)
}

// numbered is n extensions with the keys 3 and up.
func numbered(n int) string {
	var b []byte
	for k := 3; k < 3+n; k++ {
		if k < 24 {
			b = append(b, byte(k), 0)
		} else {
			b = append(b, 24, byte(k), 0)
		}
	}
	return hex.EncodeToString(b)
}

func TestLimits(t *testing.T) {
	b := message(t, salt, null, "4161", null, null, "a2 01 6161 03 6161", "85 01 6161 03 00 82"+text+text)
	for _, tc := range []struct {
		lim  content.Limits
		want error
		why  string
	}{
		{content.Limits{}, nil, "defaults"},
		{content.Limits{Size: len(b), Depth: 2, Parts: 3, Extensions: 1, ExtensionSize: 2, TopicID: 1, URI: 1, Text: 1}, nil, "just so"},
		{content.Limits{Size: len(b) - 1}, content.ErrTooLarge, "size"},
		{content.Limits{Size: -1}, content.ErrTooLarge, "negative"},
		{content.Limits{Depth: 1}, content.ErrTooDeep, "depth"},
		{content.Limits{Parts: 2}, content.ErrTooLarge, "parts"},
		{content.Limits{Extensions: -1}, content.ErrTooLarge, "extensions"},
		{content.Limits{ExtensionSize: 1}, content.ErrTooLarge, "size of an extension"},
		{content.Limits{TopicID: -1}, content.ErrTooLarge, "topic"},
		{content.Limits{URI: -1}, content.ErrTooLarge, "sender"},
		{content.Limits{Text: -1}, content.ErrTooLarge, "language"},
	} {
		if _, err := content.Decode(b, tc.lim); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.why, err)
		}
		m, err := content.Decode(b, content.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Encode(tc.lim); !errors.Is(err, tc.want) {
			t.Errorf("encoding, %s: %v", tc.why, err)
		}
	}
	if _, err := content.Decode(body(t, nest(5)), content.Limits{Depth: 9}); !errors.Is(err, content.ErrTooDeep) {
		t.Error("section 6.3 can be raised:", err)
	}
	many := body(t, "85 01 60 03 00 990400"+strings.Repeat(text, 1024))
	if _, err := content.Decode(many, content.Limits{Parts: 2000}); err != nil {
		t.Error("parts cannot be raised:", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	with := func(change func(*content.Message)) *content.Message {
		m := content.New(origin, content.Text("x"))
		change(m)
		return m
	}
	exts := func(e ...content.Extension) func(*content.Message) {
		return func(m *content.Message) { m.Extensions = e }
	}
	loop := []content.Part{content.Text("x"), content.Text("x")}
	loop[1].Content = content.MultiPart{Parts: loop}
	for _, tc := range []struct {
		m    *content.Message
		want error
		why  string
	}{
		{&content.Message{}, content.ErrMalformed, "no content"},
		{with(func(m *content.Message) { m.Replaces = &content.MessageID{} }), content.ErrHash, "id of no message"},
		{with(func(m *content.Message) { m.Body.Language = "\xff" }), content.ErrMalformed, "not UTF-8"},
		{with(func(m *content.Message) { m.Sender = "\xff" }), content.ErrMalformed, "not UTF-8"},
		{with(func(m *content.Message) { m.Body = content.Multi(content.ChooseOne, content.Text("x")) }), content.ErrMalformed, "one part"},
		{with(func(m *content.Message) { m.Body = content.Multi(9, loop[0], loop[0]) }), content.ErrMalformed, "no such semantics"},
		{with(func(m *content.Message) { m.Body.Content = &content.SinglePart{} }), content.ErrMalformed, "content by pointer"},
		{with(func(m *content.Message) { m.Body = loop[1] }), content.ErrTooDeep, "a part that holds itself"},
		{with(exts(content.Extension{Key: content.Key{Int: 3}})), content.ErrMalformed, "no value"},
		{with(exts(content.Extension{Key: content.Key{Int: 3}, Value: []byte{1, 4, 1}})), content.ErrMalformed, "two values: another extension slipped in"},
		{with(exts(content.Extension{Key: content.Key{Int: 3}, Value: []byte{0x18, 1}})), content.ErrNonCanonical, "value in a longer form"},
		{with(exts(content.Extension{Key: content.Key{Int: 1}, Value: []byte{0x61, 'x'}})), content.ErrMalformed, "the sender twice"},
		{with(exts(content.Extension{Key: content.Key{Int: 3, Text: "x"}, Value: []byte{0}})), content.ErrMalformed, "two keys"},
		{with(exts(content.Extension{Key: content.Key{Int: 1 << 53}, Value: []byte{0}})), content.ErrMalformed, "key beyond 2^53-1"},
		{with(exts(content.Extension{Key: content.Key{Int: 3}, Value: []byte{0}}, content.Extension{Key: content.Key{Int: 3}, Value: []byte{0}})),
			content.ErrDuplicateKey, "a key twice"},
		{with(func(m *content.Message) { m.Body = content.Text(strings.Repeat("x", 512<<10)) }), content.ErrTooLarge, "too long"},
	} {
		if b, err := tc.m.Encode(content.Limits{}); !errors.Is(err, tc.want) || b != nil {
			t.Errorf("%s: %v, want %v", tc.why, err, tc.want)
		}
	}
	if _, err := content.NewExtension(content.Key{Int: 3}, make(chan int)); !errors.Is(err, content.ErrMalformed) {
		t.Error(err)
	}
	if _, err := content.NewExtension(content.Key{Int: 3}, [][][][]int{{{{}}}}); !errors.Is(err, content.ErrTooDeep) {
		t.Error(err)
	}
}

func TestStatusReport(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want error
		why  string
	}{
		{"80", nil, "of no message"},
		{"81 82" + id + "18ff", nil, "unknown status"},
		{"82 82" + id + "01 82" + id + "02", nil, "twice"},
		{"", content.ErrMalformed, "nothing"},
		{"a0", content.ErrMalformed, "a map"},
		{"80 00", content.ErrMalformed, "more"},
		{"81 82" + id + "190100", content.ErrMalformed, "status of 256"},
		{"81 82" + id + "1801", content.ErrNonCanonical, "status in two octets"},
		{"81 81" + id, content.ErrMalformed, "no status"},
		{"81 82 f6 01", content.ErrMalformed, "no id"},
		{"81 82 40 01", content.ErrMalformed, "empty id"},
		{"81 82" + strings.Replace(id, "01", "03", 1) + "01", content.ErrHash, "unknown hash"},
		{"9f ff", content.ErrNonCanonical, "indefinite"},
		{"84" + strings.Repeat("82"+id+"01", 4), content.ErrTooLarge, "more than the limit of 3"},
	} {
		b := unhex(t, tc.in)
		s, err := content.DecodeStatusReport(b, content.Limits{Statuses: 3})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.why, err, tc.want)
		}
		if err != nil {
			continue
		}
		if again, err := s.Encode(content.Limits{}); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %x, %v", tc.why, again, err)
		}
	}
	if _, err := make(content.StatusReport, 4097).Encode(content.Limits{}); !errors.Is(err, content.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := make(content.StatusReport, 1).Encode(content.Limits{}); !errors.Is(err, content.ErrHash) {
		t.Error(err)
	}
}

// allocated returns the bytes that f allocates, more or less.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What an input claims costs nothing; what it holds costs in proportion.
func TestMemoryBounded(t *testing.T) {
	for why, b := range map[string][]byte{
		"huge array":      unhex(t, "9b0fffffffffffffff"),
		"huge salt":       unhex(t, "875b0fffffffffffffff"),
		"huge topic":      unhex(t, "87"+salt+"f65b0fffffffffffffff"),
		"huge map":        unhex(t, "87"+salt+"f640f6f6bb0fffffffffffffff"),
		"huge content":    unhex(t, "87"+salt+"f640f6f6a08501600160"+"5b0fffffffffffffff"),
		"many parts":      unhex(t, "87"+salt+"f640f6f6a0850160030099ffff"),
		"too large":       make([]byte, 1<<20),
		"array of arrays": bytes.Repeat([]byte{0x81}, 512<<10),
		"many integers":   body(t, "85 01 60 03 00 99ffff"+strings.Repeat("00", 65535)),
	} {
		n := allocated(func() {
			if _, err := content.Decode(b, content.Limits{}); err == nil {
				t.Errorf("%s: decoded", why)
			}
		})
		if n > 16<<10 {
			t.Errorf("%s: %d bytes allocated for %d", why, n, len(b))
		}
	}
}
