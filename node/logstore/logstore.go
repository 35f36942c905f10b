// Package logstore keeps rooms' logs in the store: entries, the signed heads
// that end batches of them, where each log stands, which submissions it holds,
// and the parts of the room's state. Rooms writes it, the feed of the users'
// devices reads it too. Functions work inside the caller's transaction, so that
// a batch of entries and all that follows from it become durable together.
//
// # Values, version 1
//
// Room head (key 10), written with every batch:
//
//	uint8 version = 1, 2 or 3
//	opaque uri<V>
//	Position: uint32 era, uint64 number, uint64 next, opaque last[32], uint64 accepted_at
//	opaque topic[16]
//	opaque hub<V>               domain of the present hub
//	opaque hub_key[32]          its provider key
//	opaque providers<V>         opaque domain<V> each: who may follow
//	uint64 feed                 feed position of the last batch
//	uint64 epoch                MLS epoch
//	Replica set<V>              from version 2 on: who decides about the room, if it is more
//	                            than its hub: {opaque domain<V>, opaque key[32]} each
//	uint8 auto                  from version 2 on: 1 if the set may elect another hub
//	opaque outside<V>           version 3: those of providers that are recruited and have
//	                            no participant: opaque domain<V> each, at most two
//
// Log entry (11): room.Entry as it is. Transaction id (12): sequence number.
// State part (13): as package room made it. Batch (14), under the sequence number
// of its last entry:
//
//	uint8 version = 1 or 2
//	uint64 feed                 position in the feed, rising from batch to batch
//	SignedHead head             149 octets
//	Certificate certificate     version 2: that the head is final
//
// The log holds what is final. In a room with one replica that is what its hub has
// signed; in others, entries wait in store.SpaceReplica until enough replicas have
// stored them (replica.go).
//
// A room that cannot be followed has in store.SpaceCondemned, under room[32]:
//
//	uint8 version = 1, 2 or 3
//	opaque why<V>
//	SignedHead head             what the hub has signed
//	optional<SignedHead> low    from version 2: the other head of a hub that has signed two histories
//	optional<Certificate> cert  from version 3: of another history that is final, too
//
// and under room[32] seq[8] the entries that the head signs, as they are, from the
// one on that cannot be. Beside them are the proofs against who has voted twice
// (doublevote.go).
package logstore

import (
	"errors"
	"fmt"
	"iter"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

const version = 1

// versionReplicated is that of heads and batches of rooms with several replicas.
const versionReplicated = 2

// versionOutside is that of heads of rooms with a replica that has no participant.
const versionOutside = 3

// maxOutside is how many such there are at most: all of two sets, and the hub.
const maxOutside = 2*5 + 1

// maxSet is the largest replica set; while it changes there are two.
const maxSet = 5

// ErrDamaged: a stored value does not decode, or entries that the head counts
// are missing. `mimid verify` tells more.
var ErrDamaged = errors.New("logstore: stored room is damaged")

// Head is where a room stands, and what is needed without loading it.
type Head struct {
	URI       uri.Room
	At        room.Position
	Topic     [16]byte
	Hub       string
	HubKey    [32]byte
	Providers []string
	Feed      uint64
	Epoch     uint64
	// Set are the providers that decide about the room, none if that is its hub alone.
	// While the set changes, those of both sets. Auto says that they may elect another
	// hub.
	Set  []Member
	Auto bool
	// Outside are those of Providers that have no participant: they decide about the room,
	// recruited, or until a commit replaces them.
	Outside []string
}

// Member is one provider of a replica set, with the key that counts in the room.
type Member struct {
	Domain string
	Key    [32]byte
}

// Member says whether a provider is one of several that decide about the room.
func (h *Head) Member(domain string) bool {
	for _, m := range h.Set {
		if m.Domain == domain {
			return true
		}
	}
	return false
}

// ID returns the room's id.
func (h *Head) ID() room.ID { return room.IDOf([]byte(h.URI.String())) }

func (h *Head) bytes() []byte {
	v := byte(version)
	if len(h.Set) > 0 {
		v = versionReplicated
	}
	if len(h.Outside) > 0 {
		v = versionOutside
	}
	b := presentation.AppendOpaque([]byte{v}, []byte(h.URI.String()))
	b = presentation.AppendU64(presentation.AppendU32(b, h.At.Term.Era), h.At.Term.Number)
	b = append(presentation.AppendU64(b, h.At.Next), h.At.Last[:]...)
	b = append(presentation.AppendU64(b, h.At.AcceptedAt), h.Topic[:]...)
	b = append(presentation.AppendOpaque(b, []byte(h.Hub)), h.HubKey[:]...)
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, p := range h.Providers {
			b = presentation.AppendOpaque(b, []byte(p))
		}
		return b
	})
	b = presentation.AppendU64(presentation.AppendU64(b, h.Feed), h.Epoch)
	if v == version {
		return b
	}
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, m := range h.Set {
			b = append(presentation.AppendOpaque(b, []byte(m.Domain)), m.Key[:]...)
		}
		return b
	})
	b = presentation.AppendOptional(b, h.Auto)
	if v == versionReplicated {
		return b
	}
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, p := range h.Outside {
			b = presentation.AppendOpaque(b, []byte(p))
		}
		return b
	})
}

func parseHead(b []byte) (*Head, error) {
	h := new(Head)
	r := presentation.NewReader(b)
	v := r.U8()
	if (v < version || v > versionOutside) && r.Err() == nil {
		return nil, fmt.Errorf("room head of version %d: %w", v, ErrDamaged)
	}
	name := string(r.Opaque())
	h.At.Term = room.Term{Era: r.U32(), Number: r.U64()}
	h.At.Next = r.U64()
	copy(h.At.Last[:], r.Fixed(len(h.At.Last)))
	h.At.AcceptedAt = r.U64()
	copy(h.Topic[:], r.Fixed(len(h.Topic)))
	h.Hub = string(r.Opaque())
	copy(h.HubKey[:], r.Fixed(len(h.HubKey)))
	r.List(1<<16, func() { h.Providers = append(h.Providers, string(r.Opaque())) })
	h.Feed, h.Epoch = r.U64(), r.U64()
	if v >= versionReplicated {
		r.List(2*maxSet, func() {
			m := Member{Domain: string(r.Opaque())}
			copy(m.Key[:], r.Fixed(len(m.Key)))
			h.Set = append(h.Set, m)
		})
		h.Auto = r.Optional()
	}
	if v == versionOutside {
		r.List(maxOutside, func() { h.Outside = append(h.Outside, string(r.Opaque())) })
	}
	err := r.Done()
	if err == nil {
		h.URI, err = uri.ParseRoom(name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading room head: %w: %w", err, ErrDamaged)
	}
	return h, nil
}

func key(id room.ID) store.RoomID { return store.RoomID(id) }

// PutHead writes where a room stands.
func PutHead(tx *store.Tx, h *Head) error { return tx.Set(store.RoomHeadKey(key(h.ID())), h.bytes()) }

// ReadHead returns where a room stands. Errors: store.ErrNotFound, ErrDamaged.
func ReadHead(tx *store.Tx, id room.ID) (*Head, error) {
	b, err := tx.Get(store.RoomHeadKey(key(id)))
	if err != nil {
		return nil, err
	}
	return parseHeadOf(id, b)
}

// parseHeadOf does not take one room's head for another's.
func parseHeadOf(id room.ID, b []byte) (*Head, error) {
	h, err := parseHead(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("room %s: %w", id, err)
	case h.ID() != id:
		return nil, fmt.Errorf("room %s: head of %s: %w", id, h.URI, ErrDamaged)
	}
	return h, nil
}

// Heads yields all rooms' heads, by id.
func Heads(tx *store.Tx) iter.Seq2[*Head, error] {
	return func(yield func(*Head, error) bool) {
		for it, err := range tx.Scan(store.Scan{Prefix: store.RoomHeads()}) {
			var h *Head
			var id store.RoomID
			if err == nil {
				id, err = store.ParseRoomHead(it.Key)
			}
			if err == nil {
				h, err = parseHeadOf(room.ID(id), it.Value)
			}
			if !yield(h, err) {
				return
			}
		}
	}
}

// Append writes a verified batch: entries, their transaction ids, and the head,
// at a position of the feed. cert is the head's certificate, nil in a room with one
// replica.
func Append(tx *store.Tx, id room.ID, b *room.Batch, cert *room.Certificate, feed uint64) error {
	for _, e := range b.Entries() {
		if err := tx.Set(store.RoomEntryKey(key(id), e.Seq), e.Append(nil)); err != nil {
			return err
		}
		if e.Txn != (room.TxnID{}) {
			if err := tx.Set(store.RoomTxnKey(key(id), store.TxnID(e.Txn)), store.SeqValue(e.Seq)); err != nil {
				return err
			}
		}
	}
	head := b.Head()
	v := byte(version)
	if cert != nil {
		v = versionReplicated
	}
	value := head.Append(presentation.AppendU64([]byte{v}, feed))
	if cert != nil {
		value = cert.Append(value)
	}
	return tx.Set(store.RoomBatchKey(key(id), head.Seq), value)
}

// PutParts writes what has changed of a room's state.
func PutParts(tx *store.Tx, id room.ID, parts []room.Part) error {
	for _, p := range parts {
		k := store.RoomPartKey(key(id), []byte(p.Key))
		var err error
		if p.Value == nil {
			err = tx.Delete(k)
		} else {
			err = tx.Set(k, p.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Load reads a room's state. Errors: store.ErrNotFound, ErrDamaged, mls.ErrState.
func Load(tx *store.Tx, id room.ID, rules room.Rules) (*room.State, *Head, error) {
	h, err := ReadHead(tx, id)
	if err != nil {
		return nil, nil, err
	}
	var scanErr error
	s, err := room.Load(h.URI, h.At, func(yield func(string, []byte) bool) {
		for it, err := range tx.Scan(store.Scan{Prefix: store.RoomParts(key(id))}) {
			var part []byte
			if err == nil {
				_, part, err = store.ParseRoomPart(it.Key)
			}
			if err != nil {
				scanErr = err
				return
			}
			if !yield(string(part), it.Value) {
				return
			}
		}
	}, rules)
	if scanErr != nil {
		return nil, nil, scanErr
	}
	return s, h, err
}

// NextDeparture returns the first entry from seq on with which a provider stopped
// following that has not come back. ok is false if there is none.
func NextDeparture(tx *store.Tx, id room.ID, seq uint64) (next uint64, ok bool, err error) {
	for it, err := range tx.Scan(store.Scan{Prefix: store.RoomPartsFrom(key(id), []byte(room.Departures))}) {
		if err != nil {
			return 0, false, err
		}
		at, err := room.DepartureAt(it.Value)
		if err != nil {
			return 0, false, err
		}
		if at >= seq && (!ok || at < next) {
			next, ok = at, true
		}
	}
	return next, ok, nil
}

// SeqOf returns the sequence number of the entry with a transaction id. Error:
// store.ErrNotFound.
func SeqOf(tx *store.Tx, id room.ID, txn room.TxnID) (uint64, error) {
	b, err := tx.Get(store.RoomTxnKey(key(id), store.TxnID(txn)))
	if err != nil {
		return 0, err
	}
	return store.ParseSeqValue(b)
}

// ReadEntry returns one entry. Errors: store.ErrNotFound, ErrDamaged.
func ReadEntry(tx *store.Tx, id room.ID, seq uint64) (*room.Entry, error) {
	b, err := tx.Get(store.RoomEntryKey(key(id), seq))
	if err != nil {
		return nil, err
	}
	e, err := room.ParseEntry(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("room %s, entry %d: %w: %w", id, seq, err, ErrDamaged)
	case e.Room != id || e.Seq != seq:
		return nil, fmt.Errorf("room %s, entry %d: is entry %d of room %s: %w", id, seq, e.Seq, e.Room, ErrDamaged)
	}
	return e, nil
}

// Batch is a stored batch: its signed head, and its place in the feed.
type Batch struct {
	Head room.SignedHead
	Feed uint64
	Cert *room.Certificate // nil: of a room with one replica
}

func parseBatch(it store.Item) (Batch, error) {
	r := presentation.NewReader(it.Value)
	b := Batch{}
	v := r.U8()
	b.Feed = r.U64()
	b.Head.Read(r)
	if v == versionReplicated {
		b.Cert = new(room.Certificate)
		b.Cert.Read(r)
	}
	of, seq, err := store.ParseRoomBatch(it.Key)
	id := room.ID(of)
	if err == nil {
		err = r.Done()
	}
	switch {
	case err != nil:
		return b, fmt.Errorf("room %s, batch %d: %w: %w", id, seq, err, ErrDamaged)
	case v != version && v != versionReplicated || b.Head.Seq != seq || b.Head.Room != id:
		return b, fmt.Errorf("room %s, batch %d: version %d, head %d of room %s: %w", id, seq, v, b.Head.Seq, b.Head.Room, ErrDamaged)
	}
	return b, nil
}

// Batches yields a room's batches from the one that holds entry seq on.
func Batches(tx *store.Tx, id room.ID, seq uint64) iter.Seq2[Batch, error] {
	return scanBatches(tx, store.Scan{Prefix: store.RoomBatches(key(id)), From: store.RoomBatchKey(key(id), seq)})
}

// LastBatches yields a room's batches from the last one back.
func LastBatches(tx *store.Tx, id room.ID) iter.Seq2[Batch, error] {
	return scanBatches(tx, store.Scan{Prefix: store.RoomBatches(key(id)), Reverse: true})
}

func scanBatches(tx *store.Tx, sc store.Scan) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for it, err := range tx.Scan(sc) {
			var b Batch
			if err == nil {
				b, err = parseBatch(it)
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// Entries returns the encoded entries from seq to last; none if last is before seq.
// Error: ErrDamaged if one is missing.
func Entries(tx *store.Tx, id room.ID, seq, last uint64) ([][]byte, error) {
	if last < seq {
		return nil, nil
	}
	var out [][]byte
	want := seq
	for it, err := range tx.Scan(store.Scan{Prefix: store.RoomEntries(key(id)), From: store.RoomEntryKey(key(id), seq), Limit: int(last - seq + 1)}) {
		if err != nil {
			return nil, err
		}
		_, n, err := store.ParseRoomEntry(it.Key)
		if err != nil || n != want {
			return nil, fmt.Errorf("room %s, entry %d: found %d: %w", id, want, n, ErrDamaged)
		}
		out = append(out, it.Value)
		want++
	}
	if want != last+1 {
		return nil, fmt.Errorf("room %s: entries %d to %d are missing: %w", id, want, last, ErrDamaged)
	}
	return out, nil
}

// ends says whether a range that reaches this batch ends before the next one.
func (b *Batch) ends(next *Batch) bool {
	return (b.Cert == nil) != (next.Cert == nil) || b.Cert == nil && b.Head.Term != next.Head.Term
}

// Range returns entries from seq on, to the end of a batch, with the head that
// ends them: whole batches until maxBytes are reached, at least one, none past
// entry last. It returns nil without an error if there is none. The batch is the last
// one. What a hub alone has decided about goes no further than that hub's term: who has
// nothing yet of the room stores it before it can judge what follows.
func Range(tx *store.Tx, id room.ID, seq, last uint64, maxBytes int) ([][]byte, *Batch, error) {
	var out [][]byte
	var head *Batch
	size := 0
	for b, err := range Batches(tx, id, seq) {
		if err != nil {
			return nil, nil, err
		}
		if b.Head.Seq > last || head != nil && (size >= maxBytes || head.ends(&b)) {
			break
		}
		es, err := Entries(tx, id, seq, b.Head.Seq)
		if err != nil {
			return nil, nil, err
		}
		more := 0
		for _, e := range es {
			more += len(e)
		}
		if head != nil && size+more > maxBytes {
			break
		}
		size += more
		out = append(out, es...)
		head, seq = &b, b.Head.Seq+1
	}
	return out, head, nil
}
