package outbox

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/store"
)

// A body that is longer than a piece is not in its item. It is stored once, in pieces,
// under its hash, for however many targets it waits: a Welcome into a room of thousands
// goes, with the ratchet tree, to each provider whose users a commit adds.

// pieceBytes is the most of a body that is one value in the store.
const pieceBytes = 64 << 10

// ref names a body that is stored in pieces.
type ref struct {
	hash [sha256.Size]byte
	size int // octets; 0: the body is in its item
}

func pieceKey(hash [sha256.Size]byte, i uint16) store.Key {
	return store.SpaceOutbox.Key(binary.BigEndian.AppendUint16(append([]byte{kindPiece}, hash[:]...), i))
}

func usesKey(hash [sha256.Size]byte) store.Key {
	return store.SpaceOutbox.Key(append([]byte{kindUses}, hash[:]...))
}

// pieces of a body of that size.
func (f ref) pieces() uint16 { return uint16((f.size + pieceBytes - 1) / pieceBytes) }

// keep stores a body, or notes that one more item names it.
func keep(tx *store.Tx, body []byte) (ref, error) {
	f := ref{hash: sha256.Sum256(body), size: len(body)}
	n, err := uses(tx, f.hash)
	if err != nil {
		return f, err
	}
	if n == 0 {
		for i := range f.pieces() {
			from := int(i) * pieceBytes
			piece := body[from:min(from+pieceBytes, len(body))]
			if err := tx.Set(pieceKey(f.hash, i), presentation.AppendOpaque([]byte{version}, piece)); err != nil {
				return f, err
			}
		}
	}
	return f, setUses(tx, f, n+1)
}

// drop takes back what one item named, and with the last of them the body.
func drop(tx *store.Tx, f ref) error {
	n, err := uses(tx, f.hash)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%w: it names a body that is not there", ErrDamaged)
	}
	return setUses(tx, f, n-1)
}

// load reads a body. What is not whole is no body.
func load(tx *store.Tx, f ref) ([]byte, error) {
	body := make([]byte, 0, f.size)
	for i := range f.pieces() {
		b, err := tx.Get(pieceKey(f.hash, i))
		if err != nil {
			return nil, fmt.Errorf("%w: piece %d of a body of %d octets: %w", ErrDamaged, i, f.size, err)
		}
		piece, err := parsePiece(b)
		if err != nil {
			return nil, err
		}
		if len(body)+len(piece) > f.size {
			return nil, fmt.Errorf("%w: a body is longer than the %d octets that its item says", ErrDamaged, f.size)
		}
		body = append(body, piece...)
	}
	if sha256.Sum256(body) != f.hash {
		return nil, fmt.Errorf("%w: a body of %d octets has another hash than its item says", ErrDamaged, f.size)
	}
	return body, nil
}

func parsePiece(b []byte) ([]byte, error) {
	r := presentation.NewReader(b)
	v, piece := r.U8(), r.Opaque()
	if err := r.Done(); err != nil || v != version || len(piece) == 0 || len(piece) > pieceBytes {
		return nil, fmt.Errorf("%w: a piece of version %d with %d octets", ErrDamaged, v, len(piece))
	}
	return piece, nil
}

// uses reads how many items name a body, 0 if it is not there.
func uses(tx *store.Tx, hash [sha256.Size]byte) (uint64, error) {
	b, err := tx.Get(usesKey(hash))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return parseUses(b)
}

func parseUses(b []byte) (uint64, error) {
	r := presentation.NewReader(b)
	v, n := r.U8(), r.U64()
	if err := r.Done(); err != nil || v != version || n == 0 {
		return 0, fmt.Errorf("%w: a body of version %d that %d items name", ErrDamaged, v, n)
	}
	return n, nil
}

func setUses(tx *store.Tx, f ref, n uint64) error {
	if n > 0 {
		return tx.Set(usesKey(f.hash), presentation.AppendU64([]byte{version}, n))
	}
	for i := range f.pieces() {
		if err := tx.Delete(pieceKey(f.hash, i)); err != nil {
			return err
		}
	}
	return tx.Delete(usesKey(f.hash))
}
