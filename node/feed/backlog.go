package feed

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// perRoom is how many batches of one room, and events of the user's own, one
// page of the backlog considers.
const perRoom = 64

// missed is a batch or an event that a stream has not had.
type missed struct {
	pos   uint64
	room  room.ID // of a batch
	first uint64
	head  room.SignedHead
	own   inboxEvent // an event of the user's own
}

// backlog returns the next page of what the store holds behind s.pos, none if
// the stream has caught up with the store as it is now.
//
// Each source gives its next few in order. Where a source was cut off, nothing
// behind its last one may be returned yet, or the cursor would pass over what it
// still has.
func (s *Stream) backlog() ([][]byte, error) {
	var out [][]byte
	err := s.f.st.View(func(tx *store.Tx) error {
		end, _, err := last(tx)
		if err != nil {
			return err
		}
		if s.pos >= end {
			return nil
		}
		list, horizon, err := s.collect(tx, end)
		if err != nil {
			return err
		}
		slices.SortFunc(list, func(a, b missed) int { return cmp.Compare(a.pos, b.pos) })
		size := 0
		for _, m := range list {
			if m.pos > horizon {
				break
			}
			if size > pageBytes {
				horizon = s.pos
				break
			}
			fr, err := s.frame(tx, m)
			if err != nil {
				return err
			}
			size += len(fr)
			out = append(out, fr)
			s.pos = m.pos
		}
		s.pos = max(s.pos, horizon)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading backlog: %w", err)
	}
	return out, nil
}

func (s *Stream) frame(tx *store.Tx, m missed) ([]byte, error) {
	if m.own.event != "" {
		data, err := m.own.read(tx)
		if err != nil {
			return nil, err
		}
		return frame(s.f.cursor(m.pos), m.own.event, data), nil
	}
	es, err := logstore.Entries(tx, m.room, m.first, m.head.Seq)
	if err != nil {
		return nil, err
	}
	return frame(s.f.cursor(m.pos), clientapi.EventEntries, EntriesData(m.room, es, m.head.Append(nil))), nil
}

// collect gathers the next batches and events behind s.pos, and the position up
// to which they are complete.
func (s *Stream) collect(tx *store.Tx, end uint64) (list []missed, horizon uint64, err error) {
	horizon = end
	rooms, err := memberships(tx, s.user)
	if err != nil {
		return nil, 0, err
	}
	for _, m := range rooms {
		after := s.pos
		if m.since > 0 {
			after = max(after, m.since-1)
		}
		if m.until <= after {
			continue
		}
		h, err := logstore.ReadHead(tx, m.room)
		if errors.Is(err, store.ErrNotFound) {
			continue // cannot be: a membership comes with the room's first batch
		}
		if err != nil {
			return nil, 0, err
		}
		if h.Feed <= after {
			continue
		}
		seq, err := firstAfter(tx, m.room, h.At.Next, after)
		if err != nil {
			return nil, 0, err
		}
		n := 0
		for b, err := range logstore.Batches(tx, m.room, seq) {
			if err != nil {
				return nil, 0, err
			}
			if b.Feed > min(m.until, end) || b.Head.Seq >= h.At.Next { // a lost branch, being taken away
				break
			}
			if n++; n > perRoom {
				horizon = min(horizon, list[len(list)-1].pos)
				break
			}
			list = append(list, missed{pos: b.Feed, room: m.room, first: seq, head: b.Head})
			seq = b.Head.Seq + 1
		}
	}
	p := store.SpaceFeed.Prefix(userPrefix('i', s.user))
	from := userKey('i', s.user, binary.BigEndian.AppendUint64(nil, s.pos+1))
	n := 0
	for it, err := range tx.Scan(store.Scan{Prefix: p, From: from}) {
		if err != nil {
			return nil, 0, err
		}
		name, err := store.SpaceFeed.Parse(it.Key)
		if err != nil || len(name) < 8 {
			return nil, 0, fmt.Errorf("feed key of %d bytes: %w", len(name), store.ErrCorrupted)
		}
		if n++; n > perRoom {
			horizon = min(horizon, list[len(list)-1].pos)
			break
		}
		m := missed{pos: binary.BigEndian.Uint64(name[len(name)-8:])}
		if m.own, err = parseInbox(it.Value); err != nil {
			return nil, 0, err
		}
		list = append(list, m)
	}
	return list, horizon, nil
}

// firstAfter returns the first sequence number of the first batch whose position
// is behind after. Positions rise with sequence numbers, so it is found by
// halving: a few dozen reads in a log of any length.
func firstAfter(tx *store.Tx, id room.ID, next, after uint64) (uint64, error) {
	batchAt := func(seq uint64) (logstore.Batch, error) {
		for b, err := range logstore.Batches(tx, id, seq) {
			return b, err
		}
		return logstore.Batch{Feed: math.MaxUint64}, nil
	}
	// Entry lo-1 and those before are in batches up to after; entry hi is not.
	lo, hi := uint64(0), next
	for lo < hi {
		mid := lo + (hi-lo)/2
		b, err := batchAt(mid)
		if err != nil {
			return 0, err
		}
		if b.Feed <= after {
			lo = b.Head.Seq + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}
