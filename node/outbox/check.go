package outbox

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/mimid/mimid/store"
)

// Check says whether a record of store.SpaceOutbox is one that this package writes. Error:
// ErrDamaged.
func Check(it store.Item) error {
	name, err := store.SpaceOutbox.Parse(it.Key)
	if err != nil || len(name) < 2 {
		return fmt.Errorf("%w: key %v", ErrDamaged, it.Key)
	}
	switch name[0] {
	case kindItem:
		if i := bytes.IndexByte(name, 0); i < 2 || len(name)-i-1 != 8 {
			return fmt.Errorf("%w: key %v", ErrDamaged, it.Key)
		}
		_, err = parseItem(it.Key, it.Value)
	case kindTarget:
		_, err = parseQueue(it.Value)
	case kindPiece:
		if len(name) != 1+sha256.Size+2 {
			return fmt.Errorf("%w: key %v", ErrDamaged, it.Key)
		}
		_, err = parsePiece(it.Value)
	case kindUses:
		if len(name) != 1+sha256.Size {
			return fmt.Errorf("%w: key %v", ErrDamaged, it.Key)
		}
		_, err = parseUses(it.Value)
	default:
		err = fmt.Errorf("%w: a record of kind %d", ErrDamaged, name[0])
	}
	return err
}
