package onion

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// lionessKey is the size of a body's key, and lionessLeft that of the left part of a body.
const (
	lionessKey  = 32
	lionessLeft = sha256.Size
)

// lioness encrypts or decrypts b in place with the wide-block cipher of Anderson and Biham
// ("Two Practical and Provably Secure Block Ciphers: BEAR and LION", 1996), four rounds over a
// left part L of 32 octets and the rest, R:
//
//	R ^= S(L ^ K1);  L ^= H(K2, R);  R ^= S(L ^ K3);  L ^= H(K4, R)
//
// S is AES-256 in counter mode from zero, H is HMAC-SHA256, and K1 to K4, of 32 octets each, are
// HKDF-Expand-SHA256(key, lionessLabel). Decrypting goes backwards. It has no nonce: a key is for
// one body. b has more than 32 octets.
func lioness(key, b []byte, encrypt bool) {
	k, err := hkdf.Expand(sha256.New, key, lionessLabel, 4*lionessLeft)
	if err != nil {
		panic("onion: deriving the keys of a body: " + err.Error())
	}
	left, right := b[:lionessLeft], b[lionessLeft:]
	stream := func(k []byte) {
		var seed [lionessLeft]byte
		subtle.XORBytes(seed[:], left, k)
		block, err := aes.NewCipher(seed[:])
		if err != nil {
			panic("onion: a seed of the wrong size: " + err.Error())
		}
		var zero [aes.BlockSize]byte
		cipher.NewCTR(block, zero[:]).XORKeyStream(right, right)
	}
	hash := func(k []byte) {
		var sum [sha256.Size]byte
		h := hmac.New(sha256.New, k)
		h.Write(right)
		subtle.XORBytes(left, left, h.Sum(sum[:0]))
	}
	k1, k2, k3, k4 := k[:32], k[32:64], k[64:96], k[96:]
	if encrypt {
		stream(k1)
		hash(k2)
		stream(k3)
		hash(k4)
		return
	}
	hash(k4)
	stream(k3)
	hash(k2)
	stream(k1)
}

const lionessLabel = "mimid onion 1 lioness"
