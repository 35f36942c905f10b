package stock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
)

// ErrConfig: a Config lacks something.
var ErrConfig = errors.New("stock: bad configuration")

// Level is how a user can be added, the worst last.
type Level uint8

// Levels.
const (
	// Fresh: each device has a KeyPackage that is used once.
	Fresh Level = iota
	// Reserve: some device has its last resort only.
	Reserve
	// Partly: some device has none, and would be missing in a new room.
	Partly
	// None: no device has any. The user cannot be added.
	None
)

// String names the level as events do.
func (l Level) String() string {
	return [...]string{"fresh", "reserve", "partly", "none"}[min(l, None)]
}

// Accounts knows own users; *account.Registry is one.
type Accounts interface {
	// Local lists own users by name, after one of them.
	Local(ctx context.Context, after uri.User, limit int) ([]uri.User, error)
	// Stock looks what there is of one.
	Stock(ctx context.Context, user uri.User) (*account.Stock, error)
}

// Config configures a Watch.
type Config struct {
	Accounts Accounts
	// Probe returns the KeyMaterialResponse that somebody elsewhere would get.
	Probe func(ctx context.Context, user uri.User) ([]byte, error)
	// Authenticator judges the credentials in it, as somebody elsewhere would.
	Authenticator mls.Authenticator
	// Tell tells a user's connected devices of their level and which of them have nothing at all.
	// May be nil.
	Tell func(user uri.User, level Level, dry []string) error
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log receives the alarm. Default: nothing.
	Log *slog.Logger

	// Every is the time between rounds. Default 10 s.
	Every time.Duration
	// Grace is how long a user must be worse off before that counts. Default 20 s.
	Grace time.Duration
	// Recheck is how often everybody is looked at, changed or not. Default 6 h.
	Recheck time.Duration
	// Pace is how many users a round looks at of whom nothing is known to have changed. Default
	// 1,000.
	Pace int
}

// Counts are how many users there are at each level. Users without a device are not
// counted. Unseen have not been looked at yet since the start.
type Counts struct {
	Fresh, Reserve, Partly, None, Unseen int
}

// Users is how many users there are.
func (c Counts) Users() int { return c.Fresh + c.Reserve + c.Partly + c.None + c.Unseen }

// Watch watches the stock. Safe for concurrent use.
type Watch struct {
	cfg Config

	mu      sync.Mutex
	users   map[uri.User]*entry   // guarded by mu
	changed map[uri.User]struct{} // guarded by mu: since the last round
	listed  bool                  // guarded by mu: everybody is in users
	alarm   alarm                 // guarded by mu
}

// entry is what is known of a user.
type entry struct {
	level Level
	seen  bool
	due   time.Time // when to look again
	soon  bool      // due is because of a change or an end, not for the sake of order
	// worse is since when the user is worse off than level says. Zero: it is not.
	worse time.Time
}

// alarm is what the log has been told.
type alarm struct {
	at     time.Time
	counts Counts
}

// New returns a Watch that knows nobody yet. It starts nothing. Error: ErrConfig.
func New(cfg Config) (*Watch, error) {
	if cfg.Accounts == nil || cfg.Probe == nil || cfg.Authenticator == nil {
		return nil, fmt.Errorf("%w: Accounts, Probe and Authenticator are required", ErrConfig)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&cfg.Every, 10*time.Second)
	setDefault(&cfg.Grace, 20*time.Second)
	setDefault(&cfg.Recheck, 6*time.Hour)
	setDefault(&cfg.Pace, 1000)
	return &Watch{cfg: cfg, users: map[uri.User]*entry{}, changed: map[uri.User]struct{}{}}, nil
}

func setDefault[T int | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// Run looks at users until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(w.cfg.Every)
	defer tick.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("looking whether users can be added failed, will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Changed says that a user's stock may be another. It does not wait.
func (w *Watch) Changed(user uri.User) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed[user] = struct{}{}
}

// Level is the user's at the last look; false if there was none, or the user has no device.
func (w *Watch) Level(user uri.User) (Level, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.users[user]
	if e == nil || !e.seen {
		return None, false
	}
	return e.level, true
}

// Counts are those of the last round.
func (w *Watch) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts()
}

func (w *Watch) counts() (c Counts) {
	for _, e := range w.users {
		if !e.seen {
			c.Unseen++
			continue
		}
		switch e.level {
		case Fresh:
			c.Fresh++
		case Reserve:
			c.Reserve++
		case Partly:
			c.Partly++
		case None:
			c.None++
		}
	}
	return c
}
