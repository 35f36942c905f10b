package onion

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

// pattern is octets that are easy to make elsewhere.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// TestLionessKnownAnswers: no vectors of LIONESS are published. These are our own, of key
// 00 01 .. 1f and body 00 07 0e ..; they were computed a second time by a program that shares no
// code with this one.
func TestLionessKnownAnswers(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	for _, c := range []struct {
		size         int
		first, whole string // first 32 octets; SHA-256 of all
	}{
		{33, "6b802aec1fc8205452ca655b6ab0598caaeb2f04de0f44e6e77bd8e2918f3b2c", "2afcbfef58d1ddeebd4f0462d81cf27be66f0afdde853e8e0b05732d752a967a"},
		{2048, "140a2645bb8bd101ceb75bc4e343a5e2e2c8e55ea7eef26f240ed81d66feecff", "a0ea078135efac1d20c1fc8aeb238d1852ecb0273e1994c8c47605033cc5c5a6"},
		{8192, "5709b69157e9c03e9a3e3b042b8477eec3adab55398b615491f5758d877c925b", "a3ea03220dd0060d10d086d6aae0c701a440a09967dd19fae994fd76347ea9bf"},
		{30720, "af6fddff43f31e41359dc688277fe673395ecd4b7dc86464aa9809a62bd44209", "83fc98573d0a6d634949e34f54960299ec90189ebd5770814501825ccbbbbd97"},
	} {
		b := pattern(c.size)
		lioness(key, b, true)
		sum := sha256.Sum256(b)
		if got := hex.EncodeToString(b[:32]); got != c.first {
			t.Errorf("%d octets: begin with %s, not %s", c.size, got, c.first)
		}
		if got := hex.EncodeToString(sum[:]); got != c.whole {
			t.Errorf("%d octets: hash %s, not %s", c.size, got, c.whole)
		}
		lioness(key, b, false)
		if !bytes.Equal(b, pattern(c.size)) {
			t.Errorf("%d octets: decrypting does not give the body back", c.size)
		}
	}
}

// TestLionessInverse: decrypting undoes encrypting and the other way round, for any key and size.
func TestLionessInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
		body := rapid.SliceOfN(rapid.Byte(), 33, 300).Draw(t, "body")
		first := rapid.Bool().Draw(t, "encrypt first")
		b := bytes.Clone(body)
		lioness(key, b, first)
		if bytes.Equal(b, body) {
			t.Fatal("nothing was changed")
		}
		lioness(key, b, !first)
		if !bytes.Equal(b, body) {
			t.Fatal("not undone")
		}
	})
}

// TestLionessAvalanche: one changed bit, wherever it is, in body or key, changes about half of
// the bits of each quarter of the result, in both directions. The sizes are such that a correct
// cipher misses the bounds once in more than 10^9 runs; and there is only one run, since nothing
// here is random.
func TestLionessAvalanche(t *testing.T) {
	const size = 2048
	key := pattern(32)
	for _, encrypt := range []bool{true, false} {
		plain := pattern(size)
		want := bytes.Clone(plain)
		lioness(key, want, encrypt)
		check := func(what string, bit int, got []byte) {
			t.Helper()
			for q := range 4 {
				changed := 0
				for i := q * size / 4; i < (q+1)*size/4; i++ {
					changed += bits.OnesCount8(got[i] ^ want[i])
				}
				// 4,096 bits: half of them are 2,048, the deviation is 32.
				if changed < 2048-7*32 || changed > 2048+7*32 {
					t.Errorf("encrypt %v, bit %d of the %s changed: %d of 4,096 bits of quarter %d", encrypt, bit, what, changed, q)
				}
			}
		}
		// Every bit of the left part, and some of the right.
		for bit := 0; bit < size*8; bit++ {
			if bit > 260 && bit%509 != 0 && bit != size*8-1 {
				continue
			}
			got := bytes.Clone(plain)
			got[bit/8] ^= 1 << (bit % 8)
			lioness(key, got, encrypt)
			check("body", bit, got)
		}
		for bit := range 256 {
			k, got := bytes.Clone(key), bytes.Clone(plain)
			k[bit/8] ^= 1 << (bit % 8)
			lioness(k, got, encrypt)
			check("key", bit, got)
		}
	}
}
