package logstore

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strings"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Condemned is a room that is not followed any further, and the proof against its
// hub: an entry that cannot follow on what the log holds before it, and the signed
// head of a later or the same entry.
type Condemned struct {
	Room room.ID
	Why  string
	Head room.SignedHead
	// Low, of a hub that has signed two histories, is the other head (room.Equivocation).
	Low *room.SignedHead
	// Cert, of a room with two final histories, is the certificate of the other one.
	Cert    *room.Certificate
	Entries []*room.Entry // from the one that cannot be to that of the head, if they fit
}

// Layouts: the first had neither a second head nor a certificate, the second no certificate.
const (
	condemnedHeads   = 2
	condemnedVersion = 3
)

// maxWhy bounds how much is kept of why.
const maxWhy = 4096

func condemnedKey(id room.ID, rest []byte) store.Key {
	return store.SpaceCondemned.Key(append(id[:], rest...))
}

// PutCondemned writes that a room is not followed any further, in place of what was written
// about it before.
func PutCondemned(tx *store.Tx, c *Condemned) error {
	b := presentation.AppendOpaque([]byte{condemnedVersion}, []byte(strings.ToValidUTF8(c.Why[:min(len(c.Why), maxWhy)], "")))
	b = presentation.AppendOptional(c.Head.Append(b), c.Low != nil)
	if c.Low != nil {
		b = c.Low.Append(b)
	}
	if b = presentation.AppendOptional(b, c.Cert != nil); c.Cert != nil {
		b = c.Cert.Append(b)
	}
	var old []store.Key
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceCondemned.Prefix(c.Room[:]), From: condemnedKey(c.Room, make([]byte, 8)), KeysOnly: true}) {
		if err != nil {
			return err
		}
		if name, err := store.SpaceCondemned.Parse(it.Key); err == nil && isVoted(name) {
			break
		}
		old = append(old, it.Key)
	}
	for _, k := range old {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	if err := tx.Set(condemnedKey(c.Room, nil), b); err != nil {
		return err
	}
	for _, e := range c.Entries {
		if err := tx.Set(condemnedKey(c.Room, binary.BigEndian.AppendUint64(nil, e.Seq)), e.Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

func parseCondemned(id room.ID, b []byte) (*Condemned, error) {
	c := &Condemned{Room: id}
	r := presentation.NewReader(b)
	v := r.U8()
	c.Why = string(r.Opaque())
	c.Head.Read(r)
	if v >= condemnedHeads && r.Optional() {
		c.Low = new(room.SignedHead)
		c.Low.Read(r)
	}
	if v >= condemnedVersion && r.Optional() {
		c.Cert = new(room.Certificate)
		c.Cert.Read(r)
	}
	if err := r.Done(); err != nil || v > condemnedVersion || v < version {
		return nil, fmt.Errorf("condemned room %s, version %d: %w", id, v, ErrDamaged)
	}
	return c, nil
}

// ReadCondemned returns what is known against a room. Errors: store.ErrNotFound,
// ErrDamaged.
func ReadCondemned(tx *store.Tx, id room.ID) (*Condemned, error) {
	b, err := tx.Get(condemnedKey(id, nil))
	if err != nil {
		return nil, err
	}
	c, err := parseCondemned(id, b)
	if err != nil {
		return nil, err
	}
	from := condemnedKey(id, make([]byte, 8))
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceCondemned.Prefix(id[:]), From: from}) {
		if err != nil {
			return nil, err
		}
		if name, err := store.SpaceCondemned.Parse(it.Key); err == nil && isVoted(name) {
			break // what follows is of voters
		}
		e, err := room.ParseEntry(it.Value)
		if err != nil {
			return nil, fmt.Errorf("entry against room %s: %w: %w", id, err, ErrDamaged)
		}
		c.Entries = append(c.Entries, e)
	}
	return c, nil
}

// AllCondemned yields the rooms that are not followed any further, without their
// entries.
func AllCondemned(tx *store.Tx) iter.Seq2[*Condemned, error] {
	return func(yield func(*Condemned, error) bool) {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceCondemned.Prefix(nil)}) {
			var c *Condemned
			if err == nil {
				var name []byte
				name, err = store.SpaceCondemned.Parse(it.Key)
				if len(name) > len(room.ID{}) {
					continue // an entry
				}
				if err == nil && len(name) < len(room.ID{}) {
					err = fmt.Errorf("key of a condemned room of %d bytes: %w", len(name), ErrDamaged)
				}
				if err == nil {
					c, err = parseCondemned(room.ID(name), it.Value)
				}
			}
			if !yield(c, err) {
				return
			}
		}
	}
}
