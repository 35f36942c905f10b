package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/protocol/room"
)

// flight is the messages of one phase: which there are, when each was due, and what
// has arrived. Safe for concurrent use once it is made.
type flight struct {
	w      *world
	nonces []room.TxnNonce
	index  map[uint64]int32 // number of a message, by the beginning of its transaction id
	begin  time.Time
	due    []atomic.Int64 // nanoseconds since begin
	// answered is how long after it was due the sender heard that it was accepted, in
	// microseconds. Each is written once, by its connection's goroutine.
	answered []uint32

	accepted atomic.Int64
	retries  atomic.Int64
	// stride: of every so many messages the times are kept.
	stride int

	expected  int64
	delivered atomic.Int64
	last      atomic.Int64 // time of the last delivery
	arrived   chan struct{}
	once      sync.Once
}

// keptTimes bounds the times kept in one phase, over all receivers.
const keptTimes = 4_000_000

// newFlight makes n messages that receivers will get.
func newFlight(w *world, n, receivers int) (*flight, error) {
	f := &flight{w: w, nonces: make([]room.TxnNonce, n), index: make(map[uint64]int32, n), due: make([]atomic.Int64, n), answered: make([]uint32, n),
		expected: int64(n) * int64(receivers), arrived: make(chan struct{}), stride: 1 + n*receivers/keptTimes}
	for i := range f.nonces {
		f.nonces[i] = room.NewTxnNonce()
		txn := room.TxnIDOf(f.nonces[i], f.request(i))
		k := binary.BigEndian.Uint64(txn[:])
		if _, ok := f.index[k]; ok { // of a million, once in ten million runs
			return nil, fmt.Errorf("%w: two messages look alike; run it again", ErrConfig)
		}
		f.index[k] = int32(i)
	}
	f.begin = time.Now()
	return f, nil
}

func (f *flight) request(i int) []byte { return f.w.requests[i%len(f.w.requests)] }

// now is the time of a flight.
func (f *flight) now() int64 { return int64(time.Since(f.begin)) }

// arrive counts deliveries up to a time.
func (f *flight) arrive(n int, now int64) {
	if n == 0 {
		return
	}
	for {
		last := f.last.Load()
		if now <= last || f.last.CompareAndSwap(last, now) {
			break
		}
	}
	if f.delivered.Add(int64(n)) == f.expected {
		f.once.Do(func() { close(f.arrived) })
	}
}

// wait waits for the last delivery.
func (f *flight) wait(ctx context.Context, patience time.Duration) error {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-f.arrived:
		return nil
	case <-t.C:
		return nil // the report tells what is lost
	case <-ctx.Done():
		return ctx.Err()
	}
}
