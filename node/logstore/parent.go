package logstore

import (
	"fmt"

	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// ReadParent returns which room another depends on, zero if on none, without loading it. Errors:
// store.ErrNotFound, mls.ErrState.
func ReadParent(tx *store.Tx, id room.ID) (uri.Room, error) {
	part, err := tx.Get(store.RoomPartKey(key(id), []byte(room.PresentPart)))
	if err != nil {
		return uri.Room{}, fmt.Errorf("reading the parent of room %s: %w", id, err)
	}
	return room.ParentIn(part)
}
