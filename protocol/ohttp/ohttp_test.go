package ohttp

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 9458 appendix A.
const (
	rfcSecret  = "3c168975674b2fa8e465970b79c8dcf09f1c741626480bd4c6162fc5b6a98e1a"
	rfcKeys    = "01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003"
	rfcRequest = "00034745540568747470730b6578616d706c652e636f6d012f"
	rfcSealed  = "010020000100014b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b4726374e469135906992e1268c594d2a10c695d858c40a026e7965e7d86b83dd440b2c0185204b4d63525"
	rfcAnswer  = "0140c8"
	rfcNonce   = "c789e7151fcba46158ca84b04464910d"
	rfcBack    = "c789e7151fcba46158ca84b04464910d86f9013e404feea014e7be4a441f234f857fbd"
)

// TestPublished_RFC9458_A: keys, request and answer as published.
func TestPublished_RFC9458_A(t *testing.T) {
	secret, err := kem().NewPrivateKey(octets(t, rfcSecret))
	if err != nil {
		t.Fatal(err)
	}
	key := PrivateKey{1, secret}
	conf := octets(t, rfcKeys)
	keys, err := ParseKeys(append([]byte{0, byte(len(conf))}, conf...))
	if err != nil || len(keys) != 1 || keys[0].ID != 1 || !bytes.Equal(keys[0].key.Bytes(), key.Public().key.Bytes()) {
		t.Fatalf("keys: %v, %v", keys, err)
	}
	request, heard, err := Open(octets(t, rfcSealed), key)
	if err != nil || hex.EncodeToString(request) != rfcRequest {
		t.Fatalf("request %x, %v", request, err)
	}
	q, err := ParseRequest(request)
	if want := (&Request{Method: "GET", Scheme: "https", Authority: "example.com", Path: "/"}); err != nil || !reflect.DeepEqual(q, want) {
		t.Fatalf("%+v, %v", q, err)
	}
	back, err := heard.seal(octets(t, rfcNonce), octets(t, rfcAnswer))
	if err != nil || hex.EncodeToString(back) != rfcBack {
		t.Fatalf("answer %x, %v", back, err)
	}
	a, err := ParseAnswer(octets(t, rfcAnswer))
	if err != nil || a.Status != 200 || len(a.Content)+len(a.Fields) != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// TestPublished_RFC9292_5: the examples of binary HTTP's document, the text of the page
// changed.
func TestPublished_RFC9292_5(t *testing.T) {
	// Section 5.1: of known and of indeterminate length.
	fields := []Field{{"user-agent", "curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"}, {"host", "www.example.com"}, {"accept-language", "en, mi"}}
	var lines []byte
	for _, f := range fields {
		lines = appendString(appendString(lines, f.Name), f.Value)
	}
	head := "\x03GET\x05https\x00\x0a/hello.txt"
	for name, raw := range map[string]string{
		"known":                 "\x00" + head + "\x40\x6c" + string(lines) + "\x00\x00",
		"known, cut":            "\x00" + head + "\x40\x6c" + string(lines),
		"indeterminate":         "\x02" + head + string(lines) + "\x00\x00\x00",
		"indeterminate, padded": "\x02" + head + string(lines) + strings.Repeat("\x00", 13),
	} {
		q, err := ParseRequest([]byte(raw))
		if want := (&Request{Method: "GET", Scheme: "https", Path: "/hello.txt", Fields: fields}); err != nil || !reflect.DeepEqual(q, want) {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	if len(lines) != 0x6c {
		t.Errorf("the published section has 108 octets, this one %d", len(lines))
	}
	// Section 5.2: informational answers first, content in chunks, a trailer.
	raw := "\x03\x40\x66\x07running\x0a\"sleep 15\"\x00\x40\x67\x04link\x23</style.css>; rel=preload; as=style\x00" +
		"\x40\xc8\x04date\x1dMon, 27 Jul 2009 12:28:53 GMT\x00\x33This content contains CRLF.\r\nHello World! My content\r\n\x00\x07trailer\x04text\x00"
	raw = strings.Replace(raw, "\x33This content", string(appendVarint(nil, uint64(len("This content contains CRLF.\r\nHello World! My content\r\n"))))+"This content", 1)
	a, err := ParseAnswer([]byte(raw))
	if err != nil || a.Status != 200 || a.Get("date") != "Mon, 27 Jul 2009 12:28:53 GMT" || !strings.HasSuffix(string(a.Content), "My content\r\n") {
		t.Errorf("%+v, %v", a, err)
	}
}

func pair(t testing.TB, id uint8) PrivateKey {
	t.Helper()
	k, err := GenerateKey(id)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRoundTrip(t *testing.T) {
	old, now := pair(t, 7), pair(t, 8)
	q := &Request{Method: "GET", Scheme: "https", Authority: "a.example", Path: "/v1/asset/0", Fields: []Field{{"range", "bytes=0-9"}}}
	for _, k := range []PrivateKey{old, now} {
		sealed, asked, err := Seal(k.Public(), q.Bytes())
		if err != nil || len(sealed) != RequestStep+Overhead {
			t.Fatalf("%d octets, %v", len(sealed), err)
		}
		raw, heard, err := Open(sealed, now, old)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseRequest(raw); err != nil || !reflect.DeepEqual(got, q) {
			t.Fatalf("%+v, %v", got, err)
		}
		a := &Answer{Status: 206, Fields: []Field{{"content-range", "bytes 0-9/20"}}, Content: []byte("0123456789")}
		back, err := heard.Seal(a.Bytes())
		if err != nil || len(back) != AnswerStep+AnswerOverhead {
			t.Fatalf("%d octets, %v", len(back), err)
		}
		again, _ := heard.Seal(a.Bytes())
		if bytes.Equal(back, again) {
			t.Error("two answers are the same octets")
		}
		raw, err = asked.Open(back)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseAnswer(raw); err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("%+v, %v", got, err)
		}
		// Each octet counts, and an answer is to its own request.
		for i := range back {
			if i > 40 && i%997 != 0 {
				continue
			}
			back[i] ^= 1
			if _, err := asked.Open(back); !errors.Is(err, ErrDecrypt) {
				t.Fatalf("octet %d: %v", i, err)
			}
			back[i] ^= 1
		}
		_, other, _ := Seal(k.Public(), q.Bytes())
		if _, err := other.Open(back); !errors.Is(err, ErrDecrypt) {
			t.Errorf("the answer to another request: %v", err)
		}
		for i := range sealed {
			sealed[i] ^= 1
			if _, _, err := Open(sealed, k); !errors.Is(err, ErrDecrypt) && !errors.Is(err, ErrKey) || i < headerSize != errors.Is(err, ErrKey) {
				t.Fatalf("octet %d: %v", i, err)
			}
			sealed[i] ^= 1
		}
		if _, _, err := Open(sealed, pair(t, k.ID)); !errors.Is(err, ErrDecrypt) {
			t.Errorf("another key of that number: %v", err)
		}
		if _, _, err := Open(sealed, pair(t, 9)); !errors.Is(err, ErrKey) {
			t.Errorf("a key of another number: %v", err)
		}
		if _, _, err := Open(sealed[:Overhead-1], k); !errors.Is(err, ErrFormat) {
			t.Errorf("cut: %v", err)
		}
	}
	if _, _, err := Seal(Key{}, nil); !errors.Is(err, ErrKey) {
		t.Errorf("no key: %v", err)
	}
	full := &Answer{Status: 200, Content: make([]byte, MaxContent)}
	if got, err := ParseAnswer(full.Bytes()); err != nil || len(got.Content) != MaxContent {
		t.Errorf("the largest: %v", err)
	}
}

func TestParseKeys(t *testing.T) {
	one, two := pair(t, 1).Public(), pair(t, 2).Public()
	good := AppendKeys(nil, one, two)
	foreign := "000a" + "03" + "0010" + "aabbccddeeff00" // P-256, of which nothing is known here
	chacha := AppendKeys(nil, one)
	chacha[len(chacha)-1] = 3
	for _, c := range []struct {
		name string
		b    []byte
		n    int
		err  error
	}{
		{"two", good, 2, nil},
		{"another KEM first", append(octets(t, foreign), good...), 2, nil},
		{"another KEM only", octets(t, foreign), 0, ErrSuite},
		{"another AEAD only", chacha, 0, ErrSuite},
		{"none", nil, 0, ErrSuite},
		{"cut", good[:len(good)-1], 0, ErrFormat},
		{"one octet", []byte{0}, 0, ErrFormat},
		{"nothing in it", []byte{0, 0}, 0, ErrFormat},
		{"no algorithms", append(append([]byte{0, 37, 1, 0, 0x20}, one.key.Bytes()...), 0, 0), 0, ErrFormat},
		{"half an algorithm", append(append([]byte{0, 39, 1, 0, 0x20}, one.key.Bytes()...), 0, 2, 0, 1), 0, ErrFormat},
		{"too many", bytes.Repeat(good, MaxKeys/len(good)+1), 0, ErrFormat},
	} {
		keys, err := ParseKeys(c.b)
		if len(keys) != c.n || !errors.Is(err, c.err) {
			t.Errorf("%s: %d keys, %v", c.name, len(keys), err)
		}
	}
}

func TestSigned(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	pub, key, _ := ed25519.GenerateKey(nil)
	other, _, _ := ed25519.GenerateKey(nil)
	one := pair(t, 1).Public()
	_, older, _ := ed25519.GenerateKey(nil)
	s := Sign([]ed25519.PrivateKey{older, key}, "a.example", now.Add(time.Hour), one)
	raw := s.Append(nil)
	s, err := ParseSigned(raw)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := s.Verify("a.example", now, other, pub); err != nil || !bytes.Equal(k.key.Bytes(), one.key.Bytes()) {
		t.Fatalf("%v, %v", k, err)
	}
	for _, c := range []struct {
		name, domain string
		at           time.Time
		by           ed25519.PublicKey
	}{
		{"another domain", "b.example", now, pub},
		{"too old", "a.example", now.Add(time.Hour + 1), pub},
		{"too far ahead", "a.example", now.Add(time.Hour - MaxValid - 1), pub},
		{"another provider", "a.example", now, other},
		{"no key", "a.example", now, nil},
	} {
		if k, err := s.Verify(c.domain, c.at, c.by); !errors.Is(err, ErrSignature) || k.key != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if s, err := ParseSigned(bad); err == nil {
			// Neither of the two keys takes what is not signed; what is not its own
			// signature is nothing to a key.
			k, err := s.Verify("a.example", now, pub)
			if err == nil && i >= len(raw)-128 && i < len(raw)-64 && bytes.Equal(k.key.Bytes(), one.key.Bytes()) {
				continue
			}
			if !errors.Is(err, ErrSignature) {
				t.Fatalf("octet %d: %v", i, err)
			}
		}
	}
	for _, n := range []int{0, 7, len(raw) - 1} {
		if _, err := ParseSigned(raw[:n]); !errors.Is(err, ErrFormat) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	if _, err := ParseSigned(append(raw, 0)); !errors.Is(err, ErrFormat) {
		t.Errorf("an octet more: %v", err)
	}
	if _, err := ParseSigned(make([]byte, MaxSigned+1)); !errors.Is(err, ErrFormat) {
		t.Errorf("too large: %v", err)
	}
}

func TestRefusedMessages(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "an answer": "\x01\x40\xc8", "framing 9": "\x09", "cut": "\x00\x03GE", "long": "\x00\xff\xff\xff\xff\xff\xff\xff\xffGET",
		"content":                    "\x00\x03GET\x05https\x01a\x01/\x00\x01x",
		"upper case":                 "\x00\x03GET\x05https\x01a\x01/\x05\x01A\x02bc",
		"pseudo field":               "\x00\x03GET\x05https\x01a\x01/\x05\x02:a\x01b",
		"no name":                    "\x00\x03GET\x05https\x01a\x01/\x03\x00\x01b",
		"a line in a value":          "\x00\x03GET\x05https\x01a\x01/\x05\x01a\x02b\n",
		"a field beyond its section": "\x00\x03GET\x05https\x01a\x01/\x03\x01a\x02bc",
		"octets behind":              "\x00\x03GET\x05https\x01a\x01/\x00\x00\x00\x00\x01",
		"fields":                     "\x02\x03GET\x05https\x01a\x01/" + strings.Repeat("\x01a\x01b", maxFields+1) + "\x00",
		"large":                      strings.Repeat("\x00", MaxRequest+1),
	} {
		if q, err := ParseRequest([]byte(s)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	for name, s := range map[string]string{
		"a request": "\x00\x03GET", "status 0": "\x01\x00", "status 600": "\x01\x42\x58", "no status": "\x01", "only informational": "\x01\x40\x66\x00",
		"informational for ever": "\x01" + strings.Repeat("\x40\x66\x00", 100), "content cut": "\x01\x40\xc8\x00\x05ab", "chunk cut": "\x03\x40\xc8\x00\x05ab",
		"large": "\x01" + strings.Repeat("\x00", MaxAnswer+AnswerStep),
	} {
		if a, err := ParseAnswer([]byte(s)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestVarints(t *testing.T) {
	// RFC 9000 appendix A.1.
	for s, want := range map[string]uint64{"c2197c5eff14e88c": 151288809941952652, "9d7f3e7d": 494878333, "7bbd": 15293, "25": 37, "4025": 37} {
		r := &reader{b: octets(t, s)}
		if got := r.varint(); got != want || r.err != nil || len(r.b) > 0 {
			t.Errorf("%s: %d, %v", s, got, r.err)
		}
		if s != "4025" && hex.EncodeToString(appendVarint(nil, want)) != s {
			t.Errorf("%d is written %x", want, appendVarint(nil, want))
		}
	}
}

func TestShowsNothing(t *testing.T) {
	k := pair(t, 1)
	_, asked, _ := Seal(k.Public(), nil)
	sealed, _, _ := Seal(k.Public(), nil)
	_, heard, _ := Open(sealed, k)
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %x", k, k, k, k), fmt.Sprintf("%+v %#v", asked, heard)} {
		if strings.ContainsAny(s, "0123456789[{") {
			t.Error(s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x00\x03GET\x05https\x01a\x01/\x05\x01a\x02bc"))
	f.Add((&Answer{Status: 206, Fields: []Field{{"etag", "1"}}, Content: []byte("x")}).Bytes()[:20])
	f.Add([]byte("\x03\x40\x66\x01a\x01b\x00\x40\xc8\x00\x02ab\x01c\x00\x01t\x01u\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := ParseRequest(b); err == nil {
			again, err := ParseRequest(q.Bytes())
			if err != nil || !reflect.DeepEqual(q, again) {
				if len(q.Bytes()) <= MaxRequest {
					t.Fatalf("%+v is read again as %+v, %v", q, again, err)
				}
			}
		}
		if a, err := ParseAnswer(b); err == nil {
			again, err := ParseAnswer(a.Bytes())
			if err != nil || a.Status != again.Status || !bytes.Equal(a.Content, again.Content) || !reflect.DeepEqual(a.Fields, again.Fields) {
				t.Fatalf("%+v is read again as %+v, %v", a, again, err)
			}
		}
		if keys, err := ParseKeys(b); err == nil && len(keys) == 0 {
			t.Fatal("no keys, and no error")
		}
		if s, err := ParseSigned(b); err == nil && !bytes.Equal(s.Append(nil), b) {
			t.Fatalf("%x is written %x", b, s.Append(nil))
		}
	})
}
