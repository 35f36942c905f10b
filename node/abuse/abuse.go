// Package abuse keeps reports of abuse that were made to this provider as a hub, or passed on
// to it as the accused user's, until its operator has resolved them.
//
// A report that gets here has been verified: package rooms has seen that whom it accuses
// has sent what it shows (protocol/room, report.go). What it shows is plaintext, handed
// over by whoever reports; it is deleted some time after the report was resolved.
//
// Queue is all there is. What it promises: a report that Put returned is on the disk.
//
// # In the store
//
// Keys in store.SpaceAbuse, integers big-endian; values begin with the octet 01.
//
//	00                       uint64 number of the newest report
//	01 number[8]             a report, JSON
//	02 same[32]              uint64 number of the open report of the same messages
//	03 time[8] number[8]     a resolved report, by when, in ms since 1970
package abuse

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/store"
)

// Errors of Queue.
var (
	// ErrFull: MaxOpen reports wait for the operator.
	ErrFull = errors.New("abuse: too many reports wait for the operator")
	// ErrLarge: a report shows more than MaxContent octets.
	ErrLarge = errors.New("abuse: the report is too large")
	// ErrUnknown: there is no report with this number.
	ErrUnknown = errors.New("abuse: no such report")
	// ErrResolved: somebody has resolved the report before.
	ErrResolved = errors.New("abuse: the report is resolved already")
	// ErrDamaged: what is in the store is no report.
	ErrDamaged = errors.New("abuse: damaged report in the store")
)

// Bounds.
const (
	MaxOpen    = 10_000
	MaxContent = 256 << 10 // octets of messages and notes in one report
	MaxVoices  = 16        // of one report; more only count
)

// Report is about one user in one room.
type Report struct {
	Number uint64
	Room   string // URI
	RoomID store.RoomID
	Abuser string // URI
	// Messages are what was said, verified.
	Messages []Message
	// Voices are who reported it, the first MaxVoices; Times is how often it was.
	Voices   []Voice
	Times    int
	Received time.Time
	Resolved time.Time // zero: open
	Outcome  Outcome
}

// Message is a reported message.
type Message struct {
	ID         string // content.MessageID
	Text       string
	Content    []byte // its encoding
	AcceptedAt time.Time
	Hub        string // whose frank shows that it was sent
	Frank      [32]byte
}

// Voice is somebody who reports.
type Voice struct {
	Provider string
	Reporter string // URI; empty if they did not say
	Note     string
	At       time.Time
	// Passed says that Provider, the room's hub, has passed it on: this one is that of the
	// accused, in a pseudonymous room. Where it was reported it does not say.
	Passed bool `json:",omitempty"`
}

// Outcome is what became of a report.
type Outcome string

// Outcomes.
const (
	Dismissed Outcome = "dismissed" // nothing was done
	Banned    Outcome = "banned"    // the hub has the user banned from the room
)

// Config is what a Queue needs.
type Config struct {
	Store *store.Store
	Now   func() time.Time
	// Keep is how long a resolved report is kept. Default 30 days.
	Keep time.Duration
}

// Queue are the reports. Safe for concurrent use.
type Queue struct {
	cfg      Config
	mu       sync.Mutex // one report at a time, so that none is too many
	open     atomic.Int64
	received atomic.Uint64
	resolved atomic.Uint64
}

// Open counts what is there. It starts nothing.
func Open(cfg Config) (*Queue, error) {
	if cfg.Keep == 0 {
		cfg.Keep = 30 * 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	q := &Queue{cfg: cfg}
	err := cfg.Store.View(func(tx *store.Tx) error {
		for _, err := range tx.Scan(store.Scan{Prefix: store.SpaceAbuse.Prefix([]byte{kindSame})}) {
			if err != nil {
				return err
			}
			q.open.Add(1)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening reports of abuse: %w", err)
	}
	return q, nil
}

// Kinds of keys.
const (
	version      = 1
	kindReport   = 1
	kindSame     = 2
	kindResolved = 3
)

func numbered(kind byte, ns ...uint64) store.Key {
	b := []byte{kind}
	for _, n := range ns {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return store.SpaceAbuse.Key(b)
}

func (r *Report) size() (n int) {
	for i := range r.Messages {
		n += len(r.Messages[i].Content) + len(r.Messages[i].Text)
	}
	for i := range r.Voices {
		n += len(r.Voices[i].Note)
	}
	return n
}

// Put keeps a report with one voice. The same messages, reported again while the first
// report is open, are one more voice of it. It returns the report's number when it is
// durable. Errors: ErrFull, ErrLarge.
func (q *Queue) Put(ctx context.Context, r Report, v Voice) (number uint64, err error) {
	if r.size()+len(v.Note) > MaxContent {
		return 0, fmt.Errorf("%d octets, at most %d: %w", r.size()+len(v.Note), MaxContent, ErrLarge)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.cfg.Now()
	v.At = now
	fresh := false
	err = q.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		fresh = false // it may run twice
		if err := q.sweep(tx, now); err != nil {
			return err
		}
		same := store.SpaceAbuse.Key(append([]byte{kindSame}, sameAs(&r)...))
		b, err := tx.Get(same)
		switch {
		case err == nil && len(b) == 9 && b[0] == version:
			number = binary.BigEndian.Uint64(b[1:])
			old, err := read(tx, number)
			if err != nil {
				return err
			}
			if old.Times++; len(old.Voices) < MaxVoices && old.size()+len(v.Note) <= MaxContent {
				old.Voices = append(old.Voices, v)
			}
			return old.write(tx)
		case err == nil:
			return fmt.Errorf("%w: number of %d octets", ErrDamaged, len(b))
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		if q.open.Load() >= MaxOpen {
			return ErrFull
		}
		last, err := lastNumber(tx)
		if err != nil {
			return err
		}
		number, fresh = last+1, true
		r.Number, r.Received, r.Times, r.Voices = number, now, 1, []Voice{v}
		if err := tx.Set(same, binary.BigEndian.AppendUint64([]byte{version}, number)); err != nil {
			return err
		}
		if err := tx.Set(numbered(0), binary.BigEndian.AppendUint64([]byte{version}, number)); err != nil {
			return err
		}
		return r.write(tx)
	})
	if err != nil {
		return 0, fmt.Errorf("keeping report of abuse: %w", err)
	}
	if fresh {
		q.open.Add(1)
	}
	q.received.Add(1)
	return number, nil
}

// lastNumber is that of the newest report ever.
func lastNumber(tx *store.Tx) (uint64, error) {
	b, err := tx.Get(numbered(0))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(b) != 9 || b[0] != version {
		return 0, fmt.Errorf("%w: last number", ErrDamaged)
	}
	return binary.BigEndian.Uint64(b[1:]), nil
}

func (r *Report) write(tx *store.Tx) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Set(numbered(kindReport, r.Number), append([]byte{version}, b...))
}

func parse(b []byte) (*Report, error) {
	r := new(Report)
	if len(b) == 0 || b[0] != version || json.Unmarshal(b[1:], r) != nil {
		return nil, ErrDamaged // not the text of the error, which may hold a piece of it
	}
	return r, nil
}

func read(tx *store.Tx, number uint64) (*Report, error) {
	b, err := tx.Get(numbered(kindReport, number))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	return parse(b)
}

// Get returns a report. Error: ErrUnknown.
func (q *Queue) Get(number uint64) (r *Report, err error) {
	err = q.cfg.Store.View(func(tx *store.Tx) error {
		r, err = read(tx, number)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading report %d: %w", number, err)
	}
	return r, nil
}

// List returns at most limit reports with numbers above after, in order, those that are
// resolved only if all of them are wanted.
func (q *Queue) List(after uint64, limit int, all bool) ([]Report, error) {
	out := []Report{}
	err := q.cfg.Store.View(func(tx *store.Tx) error {
		out = out[:0]
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceAbuse.Prefix([]byte{kindReport}), From: numbered(kindReport, after+1)}) {
			if err != nil {
				return err
			}
			r, err := parse(it.Value)
			if err != nil {
				return err
			}
			if all || r.Resolved.IsZero() {
				out = append(out, *r)
			}
			if len(out) == limit {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing reports of abuse: %w", err)
	}
	return out, nil
}

// Resolve ends a report. Errors: ErrUnknown, ErrResolved.
func (q *Queue) Resolve(ctx context.Context, number uint64, o Outcome) (r *Report, err error) {
	now := q.cfg.Now()
	err = q.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := q.sweep(tx, now); err != nil {
			return err
		}
		if r, err = read(tx, number); err != nil {
			return err
		}
		if !r.Resolved.IsZero() {
			return ErrResolved
		}
		r.Resolved, r.Outcome = now, o
		if err := tx.Delete(store.SpaceAbuse.Key(append([]byte{kindSame}, sameAs(r)...))); err != nil {
			return err
		}
		if err := tx.Set(numbered(kindResolved, uint64(max(0, now.UnixMilli())), number), []byte{version}); err != nil {
			return err
		}
		return r.write(tx)
	})
	if err != nil {
		return nil, fmt.Errorf("resolving report %d: %w", number, err)
	}
	q.open.Add(-1)
	q.resolved.Add(1)
	return r, nil
}

// sweep deletes some of what was resolved long ago.
func (q *Queue) sweep(tx *store.Tx, now time.Time) error {
	var gone []uint64
	var keys []store.Key
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceAbuse.Prefix([]byte{kindResolved})}) {
		if err != nil {
			return err
		}
		name, err := store.SpaceAbuse.Parse(it.Key)
		if err != nil || len(name) != 17 {
			return fmt.Errorf("%w: key %v", ErrDamaged, it.Key)
		}
		at := time.UnixMilli(int64(binary.BigEndian.Uint64(name[1:9])))
		if now.Sub(at) < q.cfg.Keep || len(gone) == 16 {
			break
		}
		gone, keys = append(gone, binary.BigEndian.Uint64(name[9:])), append(keys, it.Key)
	}
	for i, n := range gone {
		if err := errors.Join(tx.Delete(keys[i]), tx.Delete(numbered(kindReport, n))); err != nil {
			return err
		}
	}
	return nil
}

// Stats are counts since the start, and what is open now.
type Stats struct {
	Received, Resolved uint64
	Open               int
}

// Stats returns the counts.
func (q *Queue) Stats() Stats {
	return Stats{Received: q.received.Load(), Resolved: q.resolved.Load(), Open: int(q.open.Load())}
}

// sameAs names the messages of a report, in whatever order.
func sameAs(r *Report) []byte {
	var franks [][32]byte
	for i := range r.Messages {
		franks = append(franks, r.Messages[i].Frank)
	}
	slices.SortFunc(franks, func(a, b [32]byte) int { return slices.Compare(a[:], b[:]) })
	return digest(r.RoomID, r.Abuser, franks)
}

func digest(room store.RoomID, abuser string, franks [][32]byte) []byte {
	h := sha256.New()
	h.Write([]byte("mimid abuse report v1"))
	h.Write(room[:])
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(abuser))))
	h.Write([]byte(abuser))
	for _, f := range franks {
		h.Write(f[:])
	}
	return h.Sum(nil)
}
