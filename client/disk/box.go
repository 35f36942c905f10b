package disk

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/mimid/mimid/store"
)

const (
	kindNumber = 1
	kindName   = 2
	numberSize = 8
	tagSize    = 16
	hiddenSize = 24
	chunkSize  = store.MaxValueSmall - 64 // what fits, sealed, into one value of the store
	maxChunks  = 1 << 10
)

// box hides names and seals values.
type box struct {
	names []byte
	aead  cipher.AEAD
}

// Format implements fmt.Formatter; it prints no key.
func (box) Format(s fmt.State, _ rune) { fmt.Fprint(s, "box") }

func newBox(k keys) (*box, error) {
	aead, err := chacha20poly1305.NewX(k.values)
	if err != nil {
		return nil, fmt.Errorf("using key: %w", err)
	}
	return &box{k.names, aead}, nil
}

func (b *box) mac(kind byte, text string, size int) []byte {
	h := hmac.New(sha256.New, b.names)
	h.Write([]byte{kind})
	h.Write([]byte(text))
	return h.Sum(nil)[:size]
}

// prefix is the beginning of the keys of a table.
func (b *box) prefix(kind byte, table string) []byte {
	return append([]byte{kind}, b.mac(1, table, tagSize)...)
}

// key is that of a value's first chunk.
func (b *box) key(table, name string) []byte {
	if len(name) == numberSize {
		return append(append(b.prefix(kindNumber, table), name...), 0, 0)
	}
	return append(append(b.prefix(kindName, table), b.mac(2, table+"\x00"+name, hiddenSize)...), 0, 0)
}

// chunkKey is that of another chunk.
func chunkKey(key []byte, i int) []byte {
	k := append([]byte(nil), key...)
	binary.BigEndian.PutUint16(k[len(k)-2:], uint16(i))
	return k
}

func isFirst(key []byte) bool {
	return len(key) > 2 && key[len(key)-2] == 0 && key[len(key)-1] == 0
}

func (b *box) seal(key, plain []byte) []byte {
	out := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	rand.Read(out) // never fails
	return b.aead.Seal(out, out, plain, key)
}

func (b *box) open(key, sealed []byte) ([]byte, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX {
		return nil, fmt.Errorf("value of %d octets: %w", len(sealed), ErrSealed)
	}
	n := chacha20poly1305.NonceSizeX
	plain, err := b.aead.Open(nil, sealed[:n], sealed[n:], key)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// cut divides {uint16 chunks; uint16 length of name; name; value} into chunks.
func cut(name string, value []byte) ([][]byte, error) {
	if len(name) > 1<<16-1 {
		return nil, fmt.Errorf("name of %d octets: %w", len(name), store.ErrTooLarge)
	}
	b := make([]byte, 2, 4+len(name)+len(value))
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(append(b, name...), value...)
	n := (len(b) + chunkSize - 1) / chunkSize
	if n > maxChunks {
		return nil, fmt.Errorf("%d chunks: %w", n, store.ErrTooLarge)
	}
	binary.BigEndian.PutUint16(b, uint16(n))
	var out [][]byte
	for len(b) > chunkSize {
		out, b = append(out, b[:chunkSize]), b[chunkSize:]
	}
	return append(out, b), nil
}

func splitHead(b []byte) (chunks int, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, fmt.Errorf("value without a head: %w", ErrSealed)
	}
	n := int(binary.BigEndian.Uint16(b))
	if n == 0 || n > maxChunks {
		return 0, nil, fmt.Errorf("value of %d chunks: %w", n, ErrSealed)
	}
	return n, b[2:], nil
}

func splitName(b []byte) (name string, value []byte, err error) {
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return "", nil, fmt.Errorf("value without a name: %w", ErrSealed)
	}
	n := int(binary.BigEndian.Uint16(b))
	return string(b[2 : 2+n]), b[2+n:], nil
}
