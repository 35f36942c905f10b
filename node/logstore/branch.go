package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Branch is what a provider has had in a room's log, and has told people was final, and
// what is not in the room any more: an administrator moved the room away from before it.
// It is evidence, and still to be read by those who were there, so it is kept for good.
// In store.SpaceBranches:
//
//	room[32] number[4] 00           the branch, below
//	room[32] number[4] 01 seq[8]    an entry, as it is
//	room[32] number[4] 02 seq[8]    SignedHead: that of a batch, by its last entry
//	room[32] number[4] 03 seq[8]    an entry of the room as it goes on, from the move on
//
//	uint8 version = 1
//	uint64 from; uint64 parts; uint64 end
//	uint32 era; uint64 time     Unix ms
//	opaque hub<V>; opaque to<V> domains
//	opaque why<V>
//	SignedHead head
//	opaque users<V>             opaque user<V> each
//	uint8 cutting
type Branch struct {
	Room   room.ID
	Number uint32 // of the room's branches, from 1
	// From is the first entry that is kept here, Parts the first that the room has not, End
	// the place after the last. From is not beyond Parts: a signed head ends the log before
	// it.
	From, Parts, End uint64
	Era              uint32 // in which the room goes on
	Time             uint64
	Hub, To          string // who ordered the branch, and whom the room was moved to
	Why              string // as people were told when the room stood still
	Head             room.SignedHead
	Users            []uri.User // local ones, who may read it
	// Cutting: the room's log is the one before the branch already, and what is beyond that
	// in the store has still to be taken away.
	Cutting bool
}

const (
	branchRecord = 0
	branchEntry  = 1
	branchHead   = 2
	branchMove   = 3

	maxUsers = 1 << 20
)

func branchKey(id room.ID, n uint32, what byte, seq ...uint64) store.Key {
	b := append(binary.BigEndian.AppendUint32(id[:], n), what)
	for _, s := range seq {
		b = binary.BigEndian.AppendUint64(b, s)
	}
	return store.SpaceBranches.Key(b)
}

func branchPrefix(id room.ID, n uint32, what byte) store.Prefix {
	return store.SpaceBranches.Prefix(append(binary.BigEndian.AppendUint32(id[:], n), what))
}

// PutBranch writes a branch without its entries.
func PutBranch(tx *store.Tx, b *Branch) error {
	v := presentation.AppendU64(presentation.AppendU64(presentation.AppendU64([]byte{version}, b.From), b.Parts), b.End)
	v = presentation.AppendU64(presentation.AppendU32(v, b.Era), b.Time)
	v = presentation.AppendOpaque(presentation.AppendOpaque(v, []byte(b.Hub)), []byte(b.To))
	v = presentation.AppendOpaque(v, []byte(strings.ToValidUTF8(b.Why[:min(len(b.Why), maxWhy)], "")))
	v = b.Head.Append(v)
	v = presentation.AppendList(v, func(v []byte) []byte {
		for _, u := range b.Users {
			v = presentation.AppendOpaque(v, []byte(u.String()))
		}
		return v
	})
	return tx.Set(branchKey(b.Room, b.Number, branchRecord), presentation.AppendOptional(v, b.Cutting))
}

func parseBranch(id room.ID, n uint32, v []byte) (*Branch, error) {
	b := &Branch{Room: id, Number: n}
	r := presentation.NewReader(v)
	ver := r.U8()
	b.From, b.Parts, b.End, b.Era, b.Time = r.U64(), r.U64(), r.U64(), r.U32(), r.U64()
	b.Hub, b.To, b.Why = string(r.Opaque()), string(r.Opaque()), string(r.Opaque())
	b.Head.Read(r)
	var bad error
	r.List(maxUsers, func() {
		u, err := uri.ParseUser(string(r.Opaque()))
		bad = errors.Join(bad, err)
		b.Users = append(b.Users, u)
	})
	b.Cutting = r.Optional()
	err := errors.Join(r.Done(), bad)
	if err != nil || ver != version || b.From > b.Parts || b.Parts >= b.End || b.Head.Room != id {
		return nil, fmt.Errorf("room %s: branch %d, version %d, from %d, %d to %d (%v): %w", id, n, ver, b.From, b.Parts, b.End, err, ErrDamaged)
	}
	return b, nil
}

// Branches returns a room's lost branches, the oldest first. Error: ErrDamaged.
func Branches(tx *store.Tx, id room.ID) ([]*Branch, error) {
	var out []*Branch
	for n := uint32(1); ; n++ {
		v, err := tx.Get(branchKey(id, n, branchRecord))
		if errors.Is(err, store.ErrNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		b, err := parseBranch(id, n, v)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
}

// CopyBranch copies, of a branch, one batch of the room's log: that which holds entry seq,
// from there on. It returns the place after it.
func CopyBranch(tx *store.Tx, b *Branch, seq uint64) (next uint64, err error) {
	for batch, err := range Batches(tx, b.Room, seq) {
		if err != nil {
			return 0, err
		}
		raw, err := Entries(tx, b.Room, seq, batch.Head.Seq)
		if err != nil {
			return 0, err
		}
		for i, e := range raw {
			if err := tx.Set(branchKey(b.Room, b.Number, branchEntry, seq+uint64(i)), e); err != nil {
				return 0, err
			}
		}
		return batch.Head.Seq + 1, tx.Set(branchKey(b.Room, b.Number, branchHead, batch.Head.Seq), batch.Head.Append(nil))
	}
	return 0, fmt.Errorf("room %s: entry %d is in no batch: %w", b.Room, seq, ErrDamaged)
}

// PutMove keeps beside a branch how the room goes on without it, as far as it was shown.
func PutMove(tx *store.Tx, b *Branch, entries []*room.Entry) error {
	for _, e := range entries {
		if err := tx.Set(branchKey(b.Room, b.Number, branchMove, e.Seq), e.Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

// BranchMove returns what PutMove has kept.
func BranchMove(tx *store.Tx, b *Branch) ([]*room.Entry, error) {
	var out []*room.Entry
	for it, err := range tx.Scan(store.Scan{Prefix: branchPrefix(b.Room, b.Number, branchMove)}) {
		if err != nil {
			return nil, err
		}
		e, err := room.ParseEntry(it.Value)
		if err != nil || e.Room != b.Room {
			return nil, fmt.Errorf("room %s: move beside branch %d: %w: %w", b.Room, b.Number, err, ErrDamaged)
		}
		out = append(out, e)
	}
	return out, nil
}

// BranchBatch is a batch of a branch: encoded entries, and the head that ends them.
type BranchBatch struct {
	Head    room.SignedHead
	Entries [][]byte
}

// BranchBatches yields a branch's batches, the first from an entry on.
func BranchBatches(tx *store.Tx, b *Branch, seq uint64) iter.Seq2[BranchBatch, error] {
	return func(yield func(BranchBatch, error) bool) {
		seq := max(seq, b.From)
		for it, err := range tx.Scan(store.Scan{Prefix: branchPrefix(b.Room, b.Number, branchHead), From: branchKey(b.Room, b.Number, branchHead, seq)}) {
			var out BranchBatch
			if err == nil {
				var h *room.SignedHead
				if h, err = room.ParseSignedHead(it.Value); err == nil {
					out.Head = *h
				}
			}
			for err == nil && seq <= out.Head.Seq {
				var v []byte
				if v, err = tx.Get(branchKey(b.Room, b.Number, branchEntry, seq)); err == nil {
					out.Entries = append(out.Entries, v)
				}
				seq++
			}
			if err != nil {
				err = fmt.Errorf("room %s: branch %d, entry %d: %w: %w", b.Room, b.Number, seq, err, ErrDamaged)
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

// ReplaceParts writes a room's whole state in place of the one that is there.
func ReplaceParts(tx *store.Tx, id room.ID, parts []room.Part) error {
	var old []store.Key
	for it, err := range tx.Scan(store.Scan{Prefix: store.RoomParts(key(id)), KeysOnly: true}) {
		if err != nil {
			return err
		}
		old = append(old, it.Key)
	}
	for _, k := range old {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	return PutParts(tx, id, slices.DeleteFunc(slices.Clone(parts), func(p room.Part) bool { return p.Value == nil }))
}

// CutEntry takes an entry that a branch keeps out of the room's log, with what stands for it.
func CutEntry(tx *store.Tx, id room.ID, seq uint64) error {
	e, err := ReadEntry(tx, id, seq)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.Txn != (room.TxnID{}) {
		if at, err := SeqOf(tx, id, e.Txn); err == nil && at == seq {
			if err := tx.Delete(store.RoomTxnKey(key(id), store.TxnID(e.Txn))); err != nil {
				return err
			}
		}
	}
	return errors.Join(tx.Delete(store.RoomEntryKey(key(id), seq)), tx.Delete(store.RoomBatchKey(key(id), seq)))
}

// DeleteCondemned forgets what is known against a room's hub: a branch keeps it.
func DeleteCondemned(tx *store.Tx, id room.ID) error {
	var old []store.Key
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceCondemned.Prefix(id[:]), KeysOnly: true}) {
		if err != nil {
			return err
		}
		if name, err := store.SpaceCondemned.Parse(it.Key); err == nil && isVoted(name) {
			continue // whoever has voted twice is no better for a branch that is lost
		}
		old = append(old, it.Key)
	}
	for _, k := range old {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// LastBatchBefore returns the last batch that ends before an entry, nil if there is none.
func LastBatchBefore(tx *store.Tx, id room.ID, seq uint64) (*Batch, error) {
	if seq == 0 {
		return nil, nil
	}
	for b, err := range scanBatches(tx, store.Scan{Prefix: store.RoomBatches(key(id)), From: store.RoomBatchKey(key(id), seq-1), Reverse: true}) {
		return &b, err
	}
	return nil, nil
}

// Cutting returns a room's branch that has still to be taken out of its log, nil if there is none.
func Cutting(tx *store.Tx, id room.ID) (*Branch, error) {
	list, err := Branches(tx, id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if b := list[len(list)-1]; b.Cutting {
		return b, nil
	}
	return nil, nil
}
