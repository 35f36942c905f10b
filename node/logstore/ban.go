package logstore

import (
	"fmt"
	"iter"
	"time"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// What a hub has been told to ban from a room, in store.SpaceBans, until the ban is in force
// or comes to nothing:
//
//	room[32] user URI           uint8 version = 1; uint64 since, ms since 1970

// PutBan notes that a user is to be banned.
func PutBan(tx *store.Tx, id room.ID, u uri.User, since time.Time) error {
	return tx.Set(banKey(id, u), presentation.AppendU64([]byte{version}, uint64(max(0, since.UnixMilli()))))
}

// DeleteBan forgets it.
func DeleteBan(tx *store.Tx, id room.ID, u uri.User) error { return tx.Delete(banKey(id, u)) }

func banKey(id room.ID, u uri.User) store.Key {
	return store.SpaceBans.Key(append(id[:], u.String()...))
}

// Ban is one of them.
type Ban struct {
	Room room.ID
	User uri.User
}

// Bans are those of a room, or of all rooms where id is nil. Error: ErrDamaged.
func Bans(tx *store.Tx, id *room.ID) iter.Seq2[Ban, error] {
	var prefix []byte
	if id != nil {
		prefix = id[:]
	}
	return func(yield func(Ban, error) bool) {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceBans.Prefix(prefix)}) {
			var b Ban
			if err == nil {
				b, err = readBan(it)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

func readBan(it store.Item) (b Ban, err error) {
	name, err := store.SpaceBans.Parse(it.Key)
	if err != nil {
		return b, err
	}
	if len(name) <= len(b.Room) {
		return b, fmt.Errorf("a ban's key of %d bytes: %w", len(name), ErrDamaged)
	}
	copy(b.Room[:], name)
	if b.User, err = uri.ParseParticipant(string(name[len(b.Room):])); err != nil {
		return b, fmt.Errorf("a ban: %w: %w", err, ErrDamaged)
	}
	r := presentation.NewReader(it.Value)
	if v := r.U8(); v != version && r.Err() == nil {
		return b, fmt.Errorf("a ban of version %d: %w", v, ErrDamaged)
	}
	r.U64()
	if err := r.Done(); err != nil {
		return b, fmt.Errorf("a ban: %w: %w", err, ErrDamaged)
	}
	return b, nil
}
