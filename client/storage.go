package client

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/mimid/mimid/protocol/room"
)

// Storage keeps a client's state: values by table and name, in transactions.
// Names of eight octets are numbers, big-endian. A client has one Storage to
// itself; View is called from several goroutines, Update from one.
type Storage interface {
	// View runs fn on one state of the store.
	View(fn func(tx Tx) error) error
	// Update runs fn and returns when its writes are durable, all of them. fn may
	// run twice. After an error nobody knows whether they are: the client stops,
	// and goes on from whatever is there when it is opened again.
	Update(ctx context.Context, fn func(tx Tx) error) error
}

// Tx is a transaction of a Storage, valid until its function returns.
type Tx interface {
	// Get returns a value, or nil if there is none. The caller owns the slice.
	Get(table, name string) ([]byte, error)
	// Set writes a value, which is never empty. It keeps no reference.
	Set(table, name string, value []byte) error
	// Delete removes a value, if it is there.
	Delete(table, name string) error
	// Scan visits a table from a name on; "" is its beginning. It goes by the
	// order of names where all of the table are numbers; others come in any
	// order and are asked for with "" only.
	Scan(table, from string) iter.Seq2[Item, error]
}

// Item is a name and its value.
type Item struct {
	Name  string
	Value []byte
}

// Tables; doc.go has what is in them.
const (
	tableSelf       = "self"
	tableProvider   = "provider"
	tableUser       = "user"
	tableKeyPackage = "keypackage"
	tableWelcome    = "welcome"
	tableRoom       = "room"
	tableOutbox     = "outbox"
	tableWish       = "wish"
	tableAttach     = "attach"
	tableInvite     = "invite"
	tableAnonymous  = "anonymous"

	nameIdentity = "who"
	nameCursor   = "cursor"
	nameReceipts = "receipts"
	nameRestored = "restored"

	recordVersion = 1
)

func tableParts(id room.ID) string     { return "mls/" + id.String() }
func tableMessages(id room.ID) string  { return "message/" + id.String() }
func tableIDs(id room.ID) string       { return "id/" + id.String() }
func tableExpiry(id room.ID) string    { return "expiry/" + id.String() }
func tableOwed(id room.ID) string      { return "owed/" + id.String() }
func tableReceipts(id room.ID) string  { return "receipts/" + id.String() }
func tableUnfranked(id room.ID) string { return "unfranked/" + id.String() }

func numberName(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

func nameNumber(s string) (uint64, error) {
	if len(s) != 8 {
		return 0, fmt.Errorf("name %x is no number: %w", s, ErrStorage)
	}
	return binary.BigEndian.Uint64([]byte(s)), nil
}

// marshal encodes a record: the version, then JSON.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("client: a record that has no encoding: " + err.Error())
	}
	return append([]byte{recordVersion}, b...)
}

// unmarshal reads a record; what names it, without its content.
func unmarshal(what string, b []byte, v any) error {
	if len(b) == 0 || b[0] != recordVersion {
		return fmt.Errorf("reading %s: %d octets, not of version %d: %w", what, len(b), recordVersion, ErrStorage)
	}
	if err := json.Unmarshal(b[1:], v); err != nil {
		// The text of a JSON error can hold a piece of the value.
		return fmt.Errorf("reading %s: it does not decode: %w", what, ErrStorage)
	}
	return nil
}

// batch is what one step writes, and what an application is told once it is
// durable.
type batch struct {
	writes  []write
	notices []Notice
	after   []func() // run once it is durable
}

type write struct {
	table, name string
	value       []byte // nil: delete
}

func (b *batch) put(table, name string, v any) { b.raw(table, name, marshal(v)) }

func (b *batch) raw(table, name string, value []byte) {
	b.writes = append(b.writes, write{table, name, value})
}

func (b *batch) del(table, name string) { b.raw(table, name, nil) }

func (b *batch) tell(n Notice) { b.notices = append(b.notices, n) }

// size is how many bytes are to be written, about.
func (b *batch) size() (n int) {
	for _, w := range b.writes {
		n += len(w.table) + len(w.name) + len(w.value)
	}
	return n
}

// add appends what is in another batch.
func (b *batch) add(x *batch) {
	b.writes, b.notices, b.after = append(b.writes, x.writes...), append(b.notices, x.notices...), append(b.after, x.after...)
}

// clear deletes a whole table.
func (b *batch) clear(s Storage, table string) error {
	return s.View(func(tx Tx) error {
		for it, err := range tx.Scan(table, "") {
			if err != nil {
				return err
			}
			b.del(table, it.Name)
		}
		return nil
	})
}

// write writes the batch; it may run twice.
func (b *batch) write(tx Tx) error {
	for _, w := range b.writes {
		var err error
		if w.value == nil {
			err = tx.Delete(w.table, w.name)
		} else {
			err = tx.Set(w.table, w.name, w.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseRoomID reads a room id in hexadecimal.
func parseRoomID(s string) (id room.ID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("room id %.80q: %w", s, ErrProtocol)
	}
	copy(id[:], b)
	return id, nil
}
