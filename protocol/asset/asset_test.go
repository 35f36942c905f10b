package asset_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mimid/mimid/protocol/asset"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stdlib is what the standard library makes of a message.
func stdlib(t testing.TB, s asset.Secret, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(s.Key[:])
	must(t, err)
	gcm, err := cipher.NewGCM(block)
	must(t, err)
	return gcm.Seal(nil, s.Nonce[:], plain, []byte(s.AAD))
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// both compares with the standard library, in both directions.
func both(t testing.TB, s asset.Secret, plain []byte) {
	t.Helper()
	want := stdlib(t, s, plain)
	var got bytes.Buffer
	size, sum, err := asset.Seal(&got, bytes.NewReader(plain), s, int64(len(plain)))
	must(t, err)
	if size != int64(len(plain)) || !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("%d octets: Seal is not AES-128-GCM", len(plain))
	}
	if sum != sha256.Sum256(want) {
		t.Fatalf("%d octets: the hash is not that of what was written", len(plain))
	}
	c := asset.NewCheck(s)
	for b := want; len(b) > 0; { // in pieces of other sizes than its own
		n := min(len(b), 1+len(b)%70000)
		c.Write(b[:n])
		b = b[n:]
	}
	if err := c.End(sum); err != nil || c.Size() != int64(len(want)) {
		t.Fatalf("%d octets: Check: %v, size %d", len(plain), err, c.Size())
	}
	var back bytes.Buffer
	must(t, asset.Open(&back, bytes.NewReader(want), int64(len(want)), s, sum))
	if !bytes.Equal(back.Bytes(), plain) {
		t.Fatalf("%d octets: Open gives something else", len(plain))
	}
}

// RFC 5116 section 5.1, as the standard library has it: every size up to some blocks, and
// every size around the ends of pieces.
func TestIsAES128GCM(t *testing.T) {
	s := asset.NewSecret()
	all := random(4<<16 + 100)
	for n := range 600 {
		both(t, s, all[:n])
	}
	for _, piece := range []int{1 << 16, 2 << 16, 3 << 16, 4 << 16} {
		for n := piece - 40; n <= piece+40; n++ {
			both(t, s, all[:n])
		}
	}
	for _, n := range []int{1, 15, 16, 17, 4096, 1<<16 - 1, 1 << 16, 1<<16 + 1, 3<<16 + 5} {
		s.AAD = string(all[:n])
		for _, n := range []int{0, 1, 16, 17, 1 << 16, 1<<16 + 1} {
			both(t, s, all[:n])
		}
	}
	for range 50 {
		both(t, asset.NewSecret(), random(int(random(1)[0])<<9+int(random(1)[0])))
	}
}

func FuzzIsAES128GCM(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), []byte("0123456789ab"), []byte("about"), []byte("text"), uint16(1))
	f.Fuzz(func(t *testing.T, key, nonce, aad, piece []byte, times uint16) {
		s, err := asset.SecretOf(key, nonce, aad)
		if err != nil {
			t.Skip()
		}
		both(t, s, bytes.Repeat(piece, min(int(times), 1+300_000/(1+len(piece)))))
	})
}

// Readers that give little at a time, or fail, and writers that fail.
func TestSealReadsAnything(t *testing.T) {
	s := asset.NewSecret()
	plain := random(100_001)
	var got bytes.Buffer
	_, _, err := asset.Seal(&got, iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(plain))), s, 1<<20)
	must(t, err)
	if !bytes.Equal(got.Bytes(), stdlib(t, s, plain)) {
		t.Error("from a reader of halves: another ciphertext")
	}
	broken := errors.New("broken")
	if _, _, err := asset.Seal(io.Discard, io.MultiReader(bytes.NewReader(plain), iotest.ErrReader(broken)), s, 1<<20); !errors.Is(err, broken) {
		t.Errorf("from a broken reader: %v", err)
	}
	if _, _, err := asset.Seal(&failing{left: 70_000, err: broken}, bytes.NewReader(plain), s, 1<<20); !errors.Is(err, broken) {
		t.Errorf("to a full disk: %v", err)
	}
	for _, limit := range []int64{0, 1, 100_000} {
		if _, _, err := asset.Seal(io.Discard, bytes.NewReader(plain), s, limit); !errors.Is(err, asset.ErrTooLarge) {
			t.Errorf("limit %d: %v, want ErrTooLarge", limit, err)
		}
	}
}

type failing struct {
	left int
	err  error
}

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, f.err
	}
	return len(b), nil
}

// Whatever is changed, it is noticed: by Check and by Open.
func TestDamage(t *testing.T) {
	s := asset.NewSecret()
	for _, n := range []int{0, 1, 16, 100, 1 << 16, 1<<16 + 5} {
		good := stdlib(t, s, random(n))
		sum := asset.Hash(sha256.Sum256(good))
		flip := func(i int) []byte { b := bytes.Clone(good); b[i] ^= 1; return b }
		otherSum := sum
		otherSum[31] ^= 1
		for _, c := range []struct {
			name string
			b    []byte
			s    asset.Secret
			sum  asset.Hash
		}{
			{"first octet", flip(0), s, sum},
			{"last octet", flip(len(good) - 1), s, sum},
			{"in the tag", flip(len(good) - 16), s, sum},
			// A sender who lies about the key, or a hash that somebody made fit.
			{"changed, and the hash with it", flip(0), s, sha256.Sum256(flip(0))},
			{"changed tag, and the hash with it", flip(len(good) - 1), s, sha256.Sum256(flip(len(good) - 1))},
			{"hash", good, s, otherSum},
			{"key", good, asset.Secret{Key: asset.NewSecret().Key, Nonce: s.Nonce}, sum},
			{"nonce", good, asset.Secret{Key: s.Key, Nonce: asset.NewSecret().Nonce}, sum},
			{"associated data", good, asset.Secret{Key: s.Key, Nonce: s.Nonce, AAD: "x"}, sum},
			{"cut", good[:len(good)-1], s, sum},
			{"cut, and the hash with it", good[:len(good)-1], s, sha256.Sum256(good[:len(good)-1])},
			{"longer, and the hash with it", append(bytes.Clone(good), 0), s, sha256.Sum256(append(bytes.Clone(good), 0))},
			{"nothing", nil, s, sha256.Sum256(nil)},
		} {
			k := asset.NewCheck(c.s)
			k.Write(c.b)
			if err := k.End(c.sum); !errors.Is(err, asset.ErrDamaged) {
				t.Errorf("%d octets, %s: Check says %v, want ErrDamaged", n, c.name, err)
			}
			if err := asset.Open(io.Discard, bytes.NewReader(c.b), int64(len(c.b)), c.s, c.sum); !errors.Is(err, asset.ErrDamaged) {
				t.Errorf("%d octets, %s: Open says %v, want ErrDamaged", n, c.name, err)
			}
		}
		if err := asset.Open(io.Discard, bytes.NewReader(good[:len(good)-1]), int64(len(good)), s, sum); !errors.Is(err, asset.ErrDamaged) {
			t.Errorf("%d octets, ends too early: %v", n, err)
		}
	}
	broken := errors.New("broken")
	if err := asset.Open(io.Discard, iotest.ErrReader(broken), 100, s, asset.Hash{}); !errors.Is(err, broken) {
		t.Errorf("a broken reader: %v", err)
	}
	if err := asset.Open(&failing{err: broken}, bytes.NewReader(random(100)), 100, s, asset.Hash{}); !errors.Is(err, broken) {
		t.Errorf("a full disk: %v", err)
	}
}

func TestSecretShowsNothing(t *testing.T) {
	s := asset.NewSecret()
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(f, s); got != "Secret" {
			t.Errorf("%s prints %s", f, got)
		}
	}
	if s == asset.NewSecret() {
		t.Error("two secrets are the same")
	}
	for _, c := range [][2]int{{15, 12}, {17, 12}, {32, 12}, {16, 11}, {16, 13}, {0, 0}, {16, 0}} {
		if _, err := asset.SecretOf(make([]byte, c[0]), make([]byte, c[1]), nil); !errors.Is(err, asset.ErrDamaged) {
			t.Errorf("key of %d, nonce of %d: %v", c[0], c[1], err)
		}
	}
}

func TestURL(t *testing.T) {
	hash := strings.Repeat("0a", 32)
	l, err := asset.ParseURL("https://atlanta.example/v1/asset/" + hash)
	must(t, err)
	if l.Domain != "atlanta.example" || l.Hash.String() != hash || l.URL() != "https://atlanta.example/v1/asset/"+hash {
		t.Errorf("read as %+v, %s", l, l.URL())
	}
	for _, bad := range []struct{ url, why string }{
		{"", "nothing"},
		{"http://atlanta.example/v1/asset/" + hash, "no TLS"},
		{"HTTPS://atlanta.example/v1/asset/" + hash, "another spelling of the scheme"},
		{"ftp://atlanta.example/v1/asset/" + hash, "another scheme"},
		{"//atlanta.example/v1/asset/" + hash, "no scheme"},
		{"https:///v1/asset/" + hash, "no host"},
		{"https://Atlanta.example/v1/asset/" + hash, "another spelling of the host"},
		{"https://atlanta.example./v1/asset/" + hash, "another spelling of the host"},
		{"https://atlanta.example:443/v1/asset/" + hash, "a port"},
		{"https://atlanta.example:22/v1/asset/" + hash, "a port"},
		{"https://atlanta.example:/v1/asset/" + hash, "an empty port"},
		{"https://me@atlanta.example/v1/asset/" + hash, "a user"},
		{"https://atlanta.example@evil.example/v1/asset/" + hash, "a user that looks like the host"},
		{"https://evil.example\\@atlanta.example/v1/asset/" + hash, "what browsers take for a slash"},
		{"https://127.0.0.1/v1/asset/" + hash, "an address"},
		{"https://[::1]/v1/asset/" + hash, "an address"},
		{"https://2130706433/v1/asset/" + hash, "an address as one number"},
		{"https://0x7f.1/v1/asset/" + hash, "an address in hexadecimal"},
		{"https://localhost/v1/asset/" + hash, "this machine"},
		{"https://atlanta.example/v1/asset/" + hash + "#", "a fragment"},
		{"https://atlanta.example/v1/asset/" + hash + "?x", "a query"},
		{"https://atlanta.example/v1/asset/" + hash + "/", "more than a hash"},
		{"https://atlanta.example/v1/asset/" + hash[2:], "a short hash"},
		{"https://atlanta.example/v1/asset/" + hash + "00", "a long hash"},
		{"https://atlanta.example/v1/asset/" + strings.ToUpper(hash), "another spelling of the hash"},
		{"https://atlanta.example/v1/asset/../rooms/" + hash, "a parent"},
		{"https://atlanta.example/v1/%61sset/" + hash, "another spelling of the path"},
		{"https://atlanta.example/v1/rooms/" + hash, "another path"},
		{"https://atlanta.example/v1/asset/" + hash + "\n", "a line's end"},
		{"https://atlanta.example/v1/asset/" + hash + "\x00", "a zero"},
		{"https://atlant\u00e4.example/v1/asset/" + hash, "not ASCII"},
		{"https://" + strings.Repeat("a.", 2000) + "example/v1/asset/" + hash, "too long"},
	} {
		if l, err := asset.ParseURL(bad.url); !errors.Is(err, asset.ErrURL) {
			t.Errorf("%q (%s): %+v, %v, want ErrURL", bad.url, bad.why, l, err)
		}
	}
	if h, err := asset.Host("https://assets.biloxi.example/x/y?z=1"); err != nil || h != "assets.biloxi.example" {
		t.Errorf("host %q, %v", h, err)
	}
}

func FuzzURL(f *testing.F) {
	f.Add("https://atlanta.example/v1/asset/" + strings.Repeat("0a", 32))
	f.Add("https://[::1]:443/x")
	f.Fuzz(func(t *testing.T, s string) {
		if l, err := asset.ParseURL(s); err == nil && l.URL() != s {
			t.Errorf("%q is read as %q", s, l.URL())
		}
		if h, err := asset.Host(s); err == nil && !strings.HasPrefix(s, "https://"+h) {
			t.Errorf("%q has the host %q", s, h)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	plain := random(8 << 20)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := asset.Seal(io.Discard, bytes.NewReader(plain), asset.NewSecret(), 1<<30); err != nil {
			b.Fatal(err)
		}
	}
}
