package logstore

import (
	"fmt"

	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Restored says whether a room came from a backup and is not yet known to be whole:
// other providers may hold entries, votes and signatures of this one that it has
// forgotten, so it must sign nothing there before it has asked them. Error: ErrDamaged.
func Restored(tx *store.Tx, id room.ID) (bool, error) {
	mark, err := tx.RoomRestored(key(id))
	if err != nil {
		return false, fmt.Errorf("reading whether room %s was restored: %w: %w", id, ErrDamaged, err)
	}
	return mark != nil, nil
}

// ClearRestored says that a room is whole again, in the transaction that makes it so.
func ClearRestored(tx *store.Tx, id room.ID) error { return tx.ClearRoomRestored(key(id)) }
