package feed

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Check says whether a record of store.SpaceFeed is one that this package writes. Error:
// store.ErrCorrupted.
func Check(it store.Item) error {
	name, err := store.SpaceFeed.Parse(it.Key)
	bad := fmt.Errorf("feed key of %d bytes: %w", len(name), store.ErrCorrupted)
	if err != nil || len(name) == 0 {
		return bad
	}
	const id = len(room.ID{})
	user, rest, two := bytes.Cut(name[1:], []byte{0})
	if two && bytes.IndexByte([]byte("rinh"), name[0]) >= 0 {
		if _, err := uri.ParseUser(string(user)); err != nil {
			return fmt.Errorf("feed key: %w: %w", err, store.ErrCorrupted)
		}
	}
	switch {
	case name[0] == 'c' && len(name) == 1 && len(it.Value) == 16:
		return nil
	case name[0] == 'r' && two && len(rest) == id:
		_, err = parseMembership(it.Value)
	case name[0] == 'h' && two && len(rest) == id:
		_, err = parseHidden(it.Value)
	case name[0] == 'i' && two && len(rest) == 8:
		_, err = parseInbox(it.Value)
	case name[0] == 'n' && two && len(rest) == 0:
		r := presentation.NewReader(it.Value)
		v := r.U8()
		r.U64()
		r.U64()
		if err := r.Done(); err != nil || v != version {
			return fmt.Errorf("count of version %d: %w", v, store.ErrCorrupted)
		}
	case name[0] == 's' && len(name) == 1+sha256.Size+2:
		_, err = parsePiece(it.Value)
	case name[0] == 'u' && len(name) == 1+sha256.Size:
		_, err = parseUses(it.Value)
	case name[0] == 'w' && len(name) == 1+id+8 && bytes.Equal(it.Value, []byte{version}):
		return nil
	default:
		return bad
	}
	return err
}
