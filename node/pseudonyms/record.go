package pseudonyms

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// ErrDamaged: a record that this package does not write.
var ErrDamaged = errors.New("pseudonyms: damaged record")

// What is in store.SpacePseudonyms, integers big-endian. UUID is a pseudonym's name, 36
// octets; NAME a user's; ROOM a room's id, 32 octets.
//
//	01 UUID           whose it is (owned)
//	02 NAME 00 ROOM   UUID: what a user goes by in a room
//	03 NAME 00 UUID   nothing: all of a user's
//	04 UUID DEVICE    a KeyPackage (brought)
//	05 REF[32]        UUID DEVICE: where a KeyPackage is, by its reference
//
// All values begin with the octet 01, their version.
const (
	kindOwned   = 1
	kindRoom    = 2
	kindOf      = 3
	kindBrought = 4
	kindRef     = 5

	version  = 1
	uuidSize = 36
	keySize  = 32
)

func key(kind byte, parts ...[]byte) store.Key {
	return store.SpacePseudonyms.Key(append([]byte{kind}, bytes.Join(parts, nil)...))
}

func ownedKey(uuid string) store.Key { return key(kindOwned, []byte(uuid)) }
func roomKey(name string, id room.ID) store.Key {
	return key(kindRoom, []byte(name), []byte{0}, id[:])
}
func ofKey(name, uuid string) store.Key { return key(kindOf, []byte(name), []byte{0}, []byte(uuid)) }
func broughtKey(uuid, device string) store.Key {
	return key(kindBrought, []byte(uuid), []byte(device))
}
func refKey(ref []byte) store.Key { return key(kindRef, ref) }

// owned is a pseudonym:
//
//	struct {
//	    uint8 version = 1;
//	    opaque user<V>;            /* its name */
//	    opaque room[32];           /* zero: an open set */
//	    opaque requester[32];      /* hash of whom it was given to; zero: the user itself */
//	    uint64 given;              /* ms since 1970 */
//	    uint8 used;                /* a KeyPackage of it was, or the user began the room */
//	} Owned;
type owned struct {
	user      string
	room      room.ID
	requester [sha256.Size]byte
	given     uint64
	used      bool
}

func (o *owned) open() bool { return o.room == room.ID{} }

func (o *owned) bytes() []byte {
	b := presentation.AppendOpaque([]byte{version}, []byte(o.user))
	b = append(append(b, o.room[:]...), o.requester[:]...)
	b = presentation.AppendU64(b, o.given)
	if o.used {
		return append(b, 1)
	}
	return append(b, 0)
}

func parseOwned(b []byte) (*owned, error) {
	o := new(owned)
	err := read(b, func(r *presentation.Reader) {
		o.user = string(r.Bounded(256, "user"))
		copy(o.room[:], r.Fixed(len(o.room)))
		copy(o.requester[:], r.Fixed(len(o.requester)))
		o.given = r.U64()
		o.used = r.U8() != 0
	})
	return o, err
}

// brought is a KeyPackage of a device:
//
//	struct {
//	    uint8 version = 1;
//	    uint64 end;                /* seconds since 1970 */
//	    opaque ref[32];
//	    opaque key[32];            /* opens its identity link */
//	    opaque key_package<V>;
//	} Brought;
type brought struct {
	end uint64
	ref [32]byte
	key [keySize]byte
	kp  []byte
}

func (x *brought) bytes() []byte {
	b := presentation.AppendU64([]byte{version}, x.end)
	b = append(append(b, x.ref[:]...), x.key[:]...)
	return presentation.AppendOpaque(b, x.kp)
}

func parseBrought(b []byte) (*brought, error) {
	x := new(brought)
	err := read(b, func(r *presentation.Reader) {
		x.end = r.U64()
		copy(x.ref[:], r.Fixed(len(x.ref)))
		copy(x.key[:], r.Fixed(len(x.key)))
		x.kp = r.Bounded(MaxKeyPackage, "KeyPackage")
	})
	return x, err
}

// named is a value that is a name alone.
func named(s string) []byte { return append([]byte{version}, s...) }

func parseNamed(b []byte) (string, error) {
	if len(b) == 0 || b[0] != version {
		return "", fmt.Errorf("%w: a name of %d octets", ErrDamaged, len(b))
	}
	return string(b[1:]), nil
}

func read(b []byte, f func(*presentation.Reader)) error {
	r := presentation.NewReader(bytes.Clone(b))
	v := r.U8()
	if r.Err() == nil && v != version {
		return fmt.Errorf("%w: version %d", ErrDamaged, v)
	}
	f(r)
	if err := r.Done(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

func get[T any](tx *store.Tx, k store.Key, parse func([]byte) (T, error)) (t T, found bool, err error) {
	v, err := tx.Get(k)
	if errors.Is(err, store.ErrNotFound) {
		return t, false, nil
	}
	if err != nil {
		return t, false, err
	}
	t, err = parse(v)
	return t, err == nil, err
}

// Check says whether a record of store.SpacePseudonyms is one that this package writes.
// Error: ErrDamaged.
func Check(it store.Item) error {
	name, err := store.SpacePseudonyms.Parse(it.Key)
	if err != nil || len(name) < 2 {
		return fmt.Errorf("%w: key %v", ErrDamaged, it.Key)
	}
	rest := name[1:]
	user, tail, two := bytes.Cut(rest, []byte{0})
	two = two && len(user) > 0
	switch kind := name[0]; {
	case kind == kindOwned && len(rest) == uuidSize:
		_, err = parseOwned(it.Value)
	case kind == kindRoom && two && len(tail) == len(room.ID{}):
		_, err = parseNamed(it.Value)
	case kind == kindOf && two && len(tail) == uuidSize:
		_, err = parseNamed(it.Value)
	case kind == kindBrought && len(rest) > uuidSize:
		_, err = parseBrought(it.Value)
	case kind == kindRef && len(rest) == 32:
		_, err = parseNamed(it.Value)
	default:
		err = fmt.Errorf("%w: a record of kind %d with a key of %d octets", ErrDamaged, kind, len(name))
	}
	return err
}
