package contact

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// heldRoom is a room into which a stranger has put an own user in mode quarantine. What is
// said there lies in the room's log, where it is kept for others too; kept here is where it
// begins for the user, and the Welcome, without which nothing of it could be read.
type heldRoom struct {
	target uri.User
	id     room.ID
	room   uri.Room
	by     uri.User // who has put the user there
	since  uint64   // Unix milliseconds
	next   uint64   // the entry of the log from which on it counts
	octets uint32   // of the Welcome, as devices get it; 0: it has not come, or was too large
}

func (h *heldRoom) key() store.Key { return heldKey(heldKind, h.target, h.id[:]) }

func heldKey(kind byte, target uri.User, rest []byte) store.Key {
	return store.SpaceConsent.Key(append(heldName(kind, target), rest...))
}

func heldName(kind byte, target uri.User) []byte {
	return append(append([]byte{kind}, target.String()...), 0)
}

func (h *heldRoom) bytes() []byte {
	b := presentation.AppendU64([]byte{version}, h.since)
	b = presentation.AppendU32(presentation.AppendU64(b, h.next), h.octets)
	b = presentation.AppendOpaque(b, []byte(h.by.String()))
	return presentation.AppendOpaque(b, []byte(h.room.String()))
}

func parseHeldRoom(k store.Key, b []byte) (*heldRoom, error) {
	h := new(heldRoom)
	name, err := store.SpaceConsent.Parse(k)
	at := len(name) - len(h.id)
	if err != nil || at < 3 || name[at-1] != 0 {
		return nil, fmt.Errorf("%w: key of a held room", ErrDamaged)
	}
	h.id = room.ID(name[at:])
	var err1, err2, err3 error
	h.target, err1 = uri.ParseUser(string(name[1 : at-1]))
	r := presentation.NewReader(b)
	v := r.U8()
	h.since, h.next, h.octets = r.U64(), r.U64(), r.U32()
	h.by, err2 = uri.ParseUser(string(r.Opaque()))
	h.room, err3 = uri.ParseRoom(string(r.Opaque()))
	if err := errors.Join(err1, err2, err3, r.Done()); err != nil || v != version || room.IDOf([]byte(h.room.String())) != h.id {
		return nil, fmt.Errorf("%w: held room of version %d: %w", ErrDamaged, v, errors.Join(err))
	}
	return h, nil
}

// readHeldRoom returns nil if the room is not held.
func readHeldRoom(tx *store.Tx, target uri.User, id room.ID) (*heldRoom, error) {
	k := heldKey(heldKind, target, id[:])
	b, err := tx.Get(k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading quarantine: %w", err)
	}
	return parseHeldRoom(k, b)
}

// heldRooms are those of a user, or of all users if it is zero.
func heldRooms(tx *store.Tx, target uri.User) iter.Seq2[*heldRoom, error] {
	prefix := []byte{heldKind}
	if target != (uri.User{}) {
		prefix = heldName(heldKind, target)
	}
	return func(yield func(*heldRoom, error) bool) {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceConsent.Prefix(prefix)}) {
			var h *heldRoom
			if err == nil {
				h, err = parseHeldRoom(it.Key, it.Value)
			}
			if !yield(h, err) || err != nil {
				return
			}
		}
	}
}

// heldPiece is the most of a Welcome that is one value in the store.
const heldPiece = 48 << 10

func welcomeName(h *heldRoom) []byte { return append(heldName(heldWelcome, h.target), h.id[:]...) }

func putWelcome(tx *store.Tx, h *heldRoom, data []byte) error {
	i := uint16(0)
	for piece := range slices.Chunk(data, heldPiece) {
		k := store.SpaceConsent.Key(binary.BigEndian.AppendUint16(welcomeName(h), i))
		if err := tx.Set(k, presentation.AppendOpaque([]byte{version}, piece)); err != nil {
			return err
		}
		i++
	}
	return nil
}

func parseWelcomePiece(b []byte) ([]byte, error) {
	r := presentation.NewReader(b)
	v, piece := r.U8(), r.Opaque()
	if err := r.Done(); err != nil || v != version {
		return nil, fmt.Errorf("%w: held Welcome of version %d: %w", ErrDamaged, v, errors.Join(err))
	}
	return piece, nil
}

// takeWelcome returns the Welcome and deletes it; nil if there is none.
func takeWelcome(tx *store.Tx, h *heldRoom) ([]byte, error) {
	var data []byte
	var keys []store.Key
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceConsent.Prefix(welcomeName(h))}) {
		if err != nil {
			return nil, err
		}
		piece, err := parseWelcomePiece(it.Value)
		if err != nil {
			return nil, err
		}
		data, keys = append(data, piece...), append(keys, it.Key)
	}
	if len(data) != int(h.octets) {
		return nil, fmt.Errorf("%w: held Welcome of %d octets, %d are there", ErrDamaged, h.octets, len(data))
	}
	for _, k := range keys {
		if err := tx.Delete(k); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// heldCounters change with one room and its Welcome.
func (h *heldRoom) counters(rooms, octets int) []struct {
	kind   byte
	name   string
	change int
} {
	domain := h.by.Provider().Domain()
	return []struct {
		kind   byte
		name   string
		change int
	}{
		{heldOfTarget, h.target.String(), rooms}, {heldOctets, h.target.String(), octets},
		{heldOfPair, h.target.String() + "\x00" + domain, rooms}, {heldOfProvider, domain, rooms},
	}
}

func (h *heldRoom) count(tx *store.Tx, rooms, octets int) error {
	for _, c := range h.counters(rooms, octets) {
		if c.change == 0 {
			continue
		}
		if _, err := add(tx, c.kind, c.name, c.change); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes a held room, and returns its Welcome.
func (h *heldRoom) forget(tx *store.Tx) ([]byte, error) {
	data, err := takeWelcome(tx, h)
	if err != nil {
		return nil, err
	}
	if err := h.count(tx, -1, -int(h.octets)); err != nil {
		return nil, err
	}
	return data, tx.Delete(h.key())
}
