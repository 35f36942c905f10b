package asset

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/bits"
)

// One message of AES-128-GCM (NIST SP 800-38D), in pieces. Its ciphertext is AES-CTR with
// the counter blocks nonce || 2, nonce || 3 and so on, and its tag is
//
//	E(nonce || 1) ^ (X*H ^ L*H)
//
// in GF(2^128), where H = E(0), L is the block {uint64 bits of associated data; uint64
// bits of ciphertext}, and X the polynomial of the n blocks c1 ... cn of the associated
// data and then of the ciphertext, the last one of each filled up with zeros:
// c1*H^n ^ c2*H^(n-1) ^ ... ^ cn*H. So if X1 belongs to a first piece of whole blocks and X2 to a second
// one of m blocks, X = X1*H^m ^ X2.
//
// What costs is X of a piece, and that the standard library can do: the tag of an empty
// message whose associated data are the piece is E(nonce || 1) ^ (X*H ^ L'*H), with L'
// known. So for each piece there is one call of the standard library, and one
// multiplication here, of the X*H so far by H^m. Such inner tags are never shown to
// anybody.

const (
	keySize   = 16
	nonceSize = 12
	blockSize = 16
	// TagSize is how much longer a ciphertext is than the content.
	TagSize = 16

	// pieceSize is what is in memory at a time, in whole blocks.
	pieceSize = 64 << 10
)

// element is one of GF(2^128), as in GCM: the highest bit of hi is the coefficient of 1.
type element struct{ hi, lo uint64 }

func elementOf(b []byte) element {
	return element{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (a element) add(b element) element { return element{a.hi ^ b.hi, a.lo ^ b.lo} }

// mul multiplies, in the same time whatever the values are.
func (a element) mul(b element) (z element) {
	const poly = 0xe1 << 56
	for _, w := range [2]uint64{a.hi, a.lo} {
		for range 64 {
			mask := -(w >> 63)
			z.hi ^= b.hi & mask
			z.lo ^= b.lo & mask
			w <<= 1
			carry := -(b.lo & 1)
			b.lo = b.lo>>1 | b.hi<<63
			b.hi = b.hi>>1 ^ poly&carry
		}
	}
	return z
}

// power returns the n-th power, n > 0. n is no secret.
func (a element) power(n uint64) element {
	z := a
	for i := bits.Len64(n) - 2; i >= 0; i-- {
		if z = z.mul(z); n>>i&1 == 1 {
			z = z.mul(a)
		}
	}
	return z
}

// message computes key stream and tag of one message.
type message struct {
	stream cipher.Stream
	aead   cipher.AEAD
	nonce  [nonceSize]byte
	mask   element // E(nonce || 1)
	h      element
	step   element // H to the number of blocks of a whole piece
	length element // L'*H of a whole piece
	sum    element // X*H of what came so far
	size   uint64  // of the ciphertext so far
	about  uint64  // size of the associated data
}

func newMessage(s Secret) *message {
	nonce := s.Nonce
	block, err := aes.NewCipher(s.Key[:])
	if err != nil {
		panic("asset: " + err.Error()) // the key has a right size
	}
	m := &message{nonce: nonce}
	if m.aead, err = cipher.NewGCM(block); err != nil {
		panic("asset: " + err.Error())
	}
	var b [blockSize]byte
	block.Encrypt(b[:], b[:])
	m.h = elementOf(b[:])
	copy(b[:], nonce[:])
	binary.BigEndian.PutUint32(b[nonceSize:], 2)
	m.stream = cipher.NewCTR(block, b[:])
	binary.BigEndian.PutUint32(b[nonceSize:], 1)
	block.Encrypt(b[:], b[:])
	m.mask = elementOf(b[:])
	m.step = m.h.power(pieceSize / blockSize)
	m.length = element{hi: pieceSize * 8}.mul(m.h)
	for aad := []byte(s.AAD); len(aad) > 0; {
		n := min(len(aad), pieceSize)
		m.authenticate(aad[:n])
		aad = aad[n:]
	}
	m.about, m.size = m.size, 0
	return m
}

// authenticate takes the next piece of the ciphertext. All but the last have pieceSize.
func (m *message) authenticate(piece []byte) {
	if len(piece) == 0 {
		return
	}
	step, length := m.step, m.length
	if len(piece) != pieceSize {
		step = m.h.power((uint64(len(piece)) + blockSize - 1) / blockSize)
		length = element{hi: uint64(len(piece)) * 8}.mul(m.h)
	}
	var tag [TagSize]byte
	m.aead.Seal(tag[:0], m.nonce[:], nil, piece)
	m.sum = m.sum.mul(step).add(elementOf(tag[:])).add(m.mask).add(length)
	m.size += uint64(len(piece))
}

// tag returns the tag of what was authenticated.
func (m *message) tag() (out [TagSize]byte) {
	t := m.sum.add(element{hi: m.about * 8, lo: m.size * 8}.mul(m.h)).add(m.mask)
	binary.BigEndian.PutUint64(out[:], t.hi)
	binary.BigEndian.PutUint64(out[8:], t.lo)
	return out
}
