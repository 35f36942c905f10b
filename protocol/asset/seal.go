package asset

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"io"
)

// MaxSize is the largest content that AES-GCM can encrypt as one message, far above what
// anybody stores.
const MaxSize = 1<<36 - 32

// Errors of assets.
var (
	// ErrDamaged: what is at the URL is not what the sender put there: its hash, its tag
	// or its size is another.
	ErrDamaged = errors.New("asset: altered or damaged")
	// ErrTooLarge: more than was allowed.
	ErrTooLarge = errors.New("asset: too large")
	// ErrURL: a URL that is no asset's of a provider.
	ErrURL = errors.New("asset: not the URL of an asset")
)

// Hash is the SHA-256 of an asset as it is stored, which is also its name.
type Hash [sha256.Size]byte

// String shows the hash in hexadecimal.
func (h Hash) String() string { return fmt.Sprintf("%x", h[:]) }

// Secret is what encrypts one asset, and only that one.
type Secret struct {
	Key   [keySize]byte
	Nonce [nonceSize]byte
	// AAD is associated data. There is none in what Seal makes here, but others may have
	// some.
	AAD string
}

// NewSecret draws a secret.
func NewSecret() (s Secret) {
	rand.Read(s.Key[:]) // never fails
	rand.Read(s.Nonce[:])
	return s
}

// SecretOf is a secret that came in a message. Error: ErrDamaged for other lengths than
// those of AES-128-GCM.
func SecretOf(key, nonce, aad []byte) (s Secret, err error) {
	if len(key) != keySize || len(nonce) != nonceSize {
		return s, fmt.Errorf("key of %d octets and nonce of %d, AES-128-GCM has %d and %d: %w", len(key), len(nonce), keySize, nonceSize, ErrDamaged)
	}
	return Secret{[keySize]byte(key), [nonceSize]byte(nonce), string(aad)}, nil
}

// Format implements fmt.Formatter; it shows nothing of the secret.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "Secret") }

// Seal encrypts all of src, at most limit octets, to dst, and returns the content's size
// and the hash of the ciphertext, which is TagSize octets longer. Errors: ErrTooLarge,
// and those of src and dst; then what was written is of no use. The secret must never
// encrypt anything else.
func Seal(dst io.Writer, src io.Reader, s Secret, limit int64) (size int64, sum Hash, err error) {
	m, h := newMessage(s), sha256.New()
	limit = min(limit, MaxSize)
	buf := make([]byte, pieceSize)
	for {
		n, err := io.ReadFull(src, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return 0, sum, fmt.Errorf("reading what is to be encrypted: %w", err)
		}
		if size += int64(n); size > limit {
			return 0, sum, fmt.Errorf("more than %d octets: %w", limit, ErrTooLarge)
		}
		piece := buf[:n]
		m.stream.XORKeyStream(piece, piece)
		m.authenticate(piece)
		if last {
			tag := m.tag()
			piece = append(piece[:n:n], tag[:]...)
		}
		h.Write(piece)
		if _, err := dst.Write(piece); err != nil {
			return 0, sum, fmt.Errorf("writing what was encrypted: %w", err)
		}
		if last {
			return size, Hash(h.Sum(nil)), nil
		}
	}
}

// A Check takes an asset as it is stored, in pieces of any size, and says in the end
// whether it is whole. It belongs to one goroutine.
type Check struct {
	m    *message
	h    hash.Hash
	held []byte // a piece and a tag at most: what may still be the tag is not ciphertext
	size int64
}

// NewCheck begins a check.
func NewCheck(s Secret) *Check {
	return &Check{m: newMessage(s), h: sha256.New(), held: make([]byte, 0, pieceSize+TagSize)}
}

// Write implements io.Writer; it never fails.
func (c *Check) Write(b []byte) (int, error) {
	n := len(b)
	c.size += int64(n)
	c.h.Write(b)
	for len(b) > 0 {
		k := min(len(b), cap(c.held)-len(c.held))
		c.held, b = append(c.held, b[:k]...), b[k:]
		if len(c.held) == cap(c.held) {
			c.m.authenticate(c.held[:pieceSize])
			c.held = append(c.held[:0], c.held[pieceSize:]...)
		}
	}
	return n, nil
}

// Size is how many octets came.
func (c *Check) Size() int64 { return c.size }

// End says whether what came has the hash and its tag is right. Call it once. Error:
// ErrDamaged.
func (c *Check) End(want Hash) error {
	if c.size < TagSize {
		return fmt.Errorf("%d octets, less than a tag: %w", c.size, ErrDamaged)
	}
	if subtle.ConstantTimeCompare(c.h.Sum(nil), want[:]) != 1 {
		return fmt.Errorf("the hash is another than the sender's: %w", ErrDamaged)
	}
	cut := len(c.held) - TagSize
	c.m.authenticate(c.held[:cut])
	if tag := c.m.tag(); subtle.ConstantTimeCompare(tag[:], c.held[cut:]) != 1 {
		return fmt.Errorf("it is not encrypted with the sender's key: %w", ErrDamaged)
	}
	return nil
}

// Open decrypts an asset of stored octets to dst. Only if it returns nil may anybody see
// what was written: see the package documentation. Errors: ErrDamaged, and those of src
// and dst.
func Open(dst io.Writer, src io.Reader, stored int64, s Secret, want Hash) error {
	if stored < TagSize || stored-TagSize > MaxSize {
		return fmt.Errorf("%d octets: %w", stored, ErrDamaged)
	}
	m, h := newMessage(s), sha256.New()
	buf := make([]byte, pieceSize)
	for left := stored - TagSize; left > 0; {
		piece := buf[:min(left, pieceSize)]
		if err := readAll(src, piece); err != nil {
			return err
		}
		left -= int64(len(piece))
		h.Write(piece)
		m.authenticate(piece)
		m.stream.XORKeyStream(piece, piece)
		if _, err := dst.Write(piece); err != nil {
			return fmt.Errorf("writing what was decrypted: %w", err)
		}
	}
	var got [TagSize]byte
	if err := readAll(src, got[:]); err != nil {
		return err
	}
	h.Write(got[:])
	tag := m.tag()
	right := subtle.ConstantTimeCompare(h.Sum(nil), want[:]) & subtle.ConstantTimeCompare(tag[:], got[:])
	if right != 1 {
		return fmt.Errorf("hash or tag is wrong: %w", ErrDamaged)
	}
	return nil
}

func readAll(src io.Reader, b []byte) error {
	switch _, err := io.ReadFull(src, b); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it ends too early: %w", ErrDamaged)
	case err != nil:
		return fmt.Errorf("reading what is to be decrypted: %w", err)
	}
	return nil
}
