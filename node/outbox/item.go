package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

const (
	version    = 1
	versionRef = 2 // of an item whose body is stored in pieces
	kindItem   = 1
	kindTarget = 2
	kindPiece  = 3
	kindUses   = 4

	// MaxBody is the longest body of an item. One transaction of the store has to
	// hold it beside what caused it, and the memory Parallel of them.
	MaxBody = 4 << 20
	// overhead is what an item counts beside its body.
	overhead = 256
)

// Item is a request that waits. The target is not part of it.
type Item struct {
	Endpoint string
	Subject  string
	Room     wire.IdentifierURI
	// ID of the request; zero draws one.
	ID   peering.ID
	Body []byte
}

// stored is an item with what is needed to deliver it.
type stored struct {
	Item
	number  uint64
	created uint64
	ref     ref // of a body in pieces, which Body holds only while it is sent
}

// octets is the body's length.
func (s *stored) octets() int {
	if s.ref.size > 0 {
		return s.ref.size
	}
	return len(s.Body)
}

func (s *stored) size() uint64 { return uint64(s.octets()) + overhead }

func (s *stored) bytes() []byte {
	v := byte(version)
	if s.ref.size > 0 {
		v = versionRef
	}
	b := append(presentation.AppendU64([]byte{v}, s.created), s.ID[:]...)
	b = presentation.AppendOpaque(b, []byte(s.Endpoint))
	b = presentation.AppendOpaque(b, []byte(s.Subject))
	b = presentation.AppendOpaque(b, []byte(s.Room))
	if s.ref.size > 0 {
		return presentation.AppendU32(append(b, s.ref.hash[:]...), uint32(s.ref.size))
	}
	return presentation.AppendOpaque(b, s.Body)
}

func parseItem(k store.Key, b []byte) (*stored, error) {
	name, err := store.SpaceOutbox.Parse(k)
	if err != nil || len(name) < 10 {
		return nil, fmt.Errorf("%w: key %v", ErrDamaged, k)
	}
	s := &stored{number: binary.BigEndian.Uint64(name[len(name)-8:])}
	r := presentation.NewReader(b)
	v := r.U8()
	if v != version && v != versionRef && r.Err() == nil {
		return nil, fmt.Errorf("%w: version %d", ErrDamaged, v)
	}
	s.created = r.U64()
	copy(s.ID[:], r.Fixed(len(s.ID)))
	s.Endpoint, s.Subject = string(r.Opaque()), string(r.Opaque())
	s.Room = wire.IdentifierURI(r.Opaque())
	if v == versionRef {
		copy(s.ref.hash[:], r.Fixed(len(s.ref.hash)))
		s.ref.size = int(r.U32())
	} else {
		s.Body = r.Opaque()
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if v == versionRef && (s.ref.size <= pieceBytes || s.ref.size > MaxBody) {
		return nil, fmt.Errorf("%w: a body of %d octets in pieces", ErrDamaged, s.ref.size)
	}
	return s, nil
}

// queue is what waits for a target, in numbers.
type queue struct {
	next, items, octets uint64
	since               uint64 // when the first of these items was put in
}

func (q *queue) bytes() []byte {
	b := presentation.AppendU64(presentation.AppendU64([]byte{version}, q.next), q.items)
	return presentation.AppendU64(presentation.AppendU64(b, q.octets), q.since)
}

func parseQueue(b []byte) (q queue, err error) {
	r := presentation.NewReader(b)
	if v := r.U8(); v != version && r.Err() == nil {
		return q, fmt.Errorf("%w: queue of version %d", ErrDamaged, v)
	}
	q = queue{r.U64(), r.U64(), r.U64(), r.U64()}
	if err := r.Done(); err != nil {
		return q, fmt.Errorf("%w: queue: %w", ErrDamaged, err)
	}
	return q, nil
}

func itemKey(target string, number uint64) store.Key {
	return store.SpaceOutbox.Key(binary.BigEndian.AppendUint64(itemName(target), number))
}

func itemName(target string) []byte { return append(append([]byte{kindItem}, target...), 0) }

func queueKey(target string) store.Key {
	return store.SpaceOutbox.Key(append([]byte{kindTarget}, target...))
}

// readQueue returns a zero queue for a target for which nothing waits.
func readQueue(tx *store.Tx, target string) (queue, error) {
	b, err := tx.Get(queueKey(target))
	if errors.Is(err, store.ErrNotFound) {
		return queue{}, nil
	}
	if err != nil {
		return queue{}, fmt.Errorf("reading queue of %s: %w", target, err)
	}
	return parseQueue(b)
}

func writeQueue(tx *store.Tx, target string, q *queue) error {
	if q.items == 0 {
		return tx.Delete(queueKey(target))
	}
	return tx.Set(queueKey(target), q.bytes())
}
