package outbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Turn is how many items one target gets before others that wait.
const Turn = 16

// Caller sends requests; *peering.Caller is one.
type Caller interface {
	Call(ctx context.Context, q peering.Request) (*peering.Response, error)
}

// Store is what an Outbox needs of a *store.Store, which is one.
type Store interface {
	Update(ctx context.Context, fn func(tx *store.Tx) error) error
	View(fn func(tx *store.Tx) error) error
}

// Config configures an Outbox. A zero field means its default.
type Config struct {
	// Store keeps the items. It must outlive Run.
	Store  Store
	Caller Caller
	// Parallel is how many targets are served at one time. Default 32.
	Parallel int
	// Shortest and Longest are the pauses after a first and after many failures
	// of a target. Each is drawn between half and all of its length. Defaults
	// 100 ms and 5 minutes.
	Shortest, Longest time.Duration
	// Lifetime is how long an item is tried. Default 7 days.
	Lifetime time.Duration
	// MaxItems and MaxOctets bound what waits for one target. Default 10,000 and
	// 64 MiB.
	MaxItems  int
	MaxOctets int
	// MaxTargets is how many targets may wait. Default 10,000.
	MaxTargets int
	// Refusals is how often a target may answer an item with an internal error
	// before the item goes to the end of the queue. Default 8.
	Refusals int
	// Now is the clock by which items expire. Default time.Now.
	Now func() time.Time
	// Log is told what was dropped. Default: nothing.
	Log *slog.Logger
}

// Outbox holds what waits for other providers. Put, Wake, Stats and Waiting are
// safe for concurrent use.
type Outbox struct {
	cfg Config

	delivered, dropped, expired atomic.Uint64

	signal chan struct{} // that one of the following changed

	mu    sync.Mutex
	put   map[string]bool // targets that got items, guarded by mu
	woken map[string]bool // targets that came back, guarded by mu
	known int             // targets that Run serves, guarded by mu
}

// New returns an Outbox. It starts nothing. Error: ErrConfig.
func New(cfg Config) (*Outbox, error) {
	if cfg.Store == nil || cfg.Caller == nil {
		return nil, fmt.Errorf("%w: Store and Caller are required", ErrConfig)
	}
	setDefault(&cfg.Parallel, 32)
	setDefault(&cfg.Shortest, 100*time.Millisecond)
	setDefault(&cfg.Longest, 5*time.Minute)
	setDefault(&cfg.Lifetime, 7*24*time.Hour)
	setDefault(&cfg.MaxItems, 10_000)
	setDefault(&cfg.MaxOctets, 64<<20)
	setDefault(&cfg.MaxTargets, 10_000)
	setDefault(&cfg.Refusals, 8)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Outbox{cfg: cfg, signal: make(chan struct{}, 1), put: map[string]bool{}, woken: map[string]bool{}}, nil
}

func setDefault[T int | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// Put stores an item in the caller's transaction; once that is durable, it is
// sent. Errors, which should end the transaction: ErrFull, ErrItem, and the
// store's.
func (o *Outbox) Put(tx *store.Tx, target string, it Item) error {
	if _, err := uri.ParseDomain(target); err != nil {
		return fmt.Errorf("%w: for %.100q: %w", ErrItem, target, err)
	}
	if it.Endpoint == "" || it.Subject == "" || len(it.Subject) > peering.MaxSubject || len(it.Body) > MaxBody {
		return fmt.Errorf("%w: endpoint %q, subject %.100q, body of %d octets (at most %d)", ErrItem, it.Endpoint, it.Subject, len(it.Body), MaxBody)
	}
	if it.ID == (peering.ID{}) {
		rand.Read(it.ID[:])
	}
	return o.append(tx, target, &stored{Item: it, created: uint64(max(o.cfg.Now().UnixMilli(), 0))})
}

func (o *Outbox) append(tx *store.Tx, target string, s *stored) error {
	q, err := readQueue(tx, target)
	if err != nil {
		return err
	}
	if q.items >= uint64(o.cfg.MaxItems) || q.octets+s.size() > uint64(o.cfg.MaxOctets) {
		return fmt.Errorf("%w: %d items with %d octets wait for %s already", ErrFull, q.items, q.octets, target)
	}
	if q.items == 0 {
		if n := o.targets(); n >= o.cfg.MaxTargets {
			return fmt.Errorf("%w: items for %d other providers wait already", ErrFull, n)
		}
		q.since = s.created
	}
	if len(s.Body) > pieceBytes {
		if s.ref, err = keep(tx, s.Body); err != nil {
			return fmt.Errorf("storing body for %s: %w", target, err)
		}
	}
	s.number = q.next
	q.next++
	q.items++
	q.octets += s.size()
	if err := tx.Set(itemKey(target, s.number), s.bytes()); err != nil {
		return fmt.Errorf("storing item for %s: %w", target, err)
	}
	if err := writeQueue(tx, target, &q); err != nil {
		return fmt.Errorf("storing queue of %s: %w", target, err)
	}
	tx.OnCommit(func() { o.mark(&o.put, target) })
	return nil
}

func (o *Outbox) targets() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known + len(o.put) // some of put may be known: near the bound, too many rather than too few
}

// Wake says that a target can be reached again: what waits for it is tried at
// once.
func (o *Outbox) Wake(target string) { o.mark(&o.woken, target) }

// mark adds to one of the sets, which Run replaces as it takes them.
func (o *Outbox) mark(set *map[string]bool, target string) {
	o.mu.Lock()
	(*set)[target] = true
	o.mu.Unlock()
	select {
	case o.signal <- struct{}{}:
	default:
	}
}

// Stats are counts since New.
type Stats struct {
	Delivered uint64 // taken by their targets
	Dropped   uint64 // refused for good
	Expired   uint64 // given up for their age
}

// Stats may be called at any time.
func (o *Outbox) Stats() Stats {
	return Stats{o.delivered.Load(), o.dropped.Load(), o.expired.Load()}
}

// Waiting is what waits for one target.
type Waiting struct {
	Target string
	Items  int
	Octets int
	// Since is when the target last had nothing waiting.
	Since time.Time
}

// Waiting lists all targets with items, by name.
func (o *Outbox) Waiting() (list []Waiting, err error) {
	err = o.cfg.Store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceOutbox.Prefix([]byte{kindTarget})}) {
			if err != nil {
				return err
			}
			name, err := store.SpaceOutbox.Parse(it.Key)
			if err != nil {
				return err
			}
			q, err := parseQueue(it.Value)
			if err != nil {
				return err
			}
			list = append(list, Waiting{string(name[1:]), int(q.items), int(q.octets), time.UnixMilli(int64(q.since))})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing outbox: %w", err)
	}
	return list, nil
}
