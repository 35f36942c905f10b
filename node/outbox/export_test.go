package outbox

import "github.com/mimid/mimid/store"

const PieceBytes = pieceBytes

// ReadItem reads a stored item and writes it again, and says how long its body is.
func ReadItem(k store.Key, value []byte) (octets int, again []byte) {
	s, err := parseItem(k, value)
	if err != nil {
		return 0, nil
	}
	return s.octets(), s.bytes()
}
