package outside

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
)

// Endpoint is where other providers ask for a look. The subject is the provider that asks.
const Endpoint = "mimid-outside"

// ErrConfig: a Config lacks something.
var ErrConfig = errors.New("outside: bad configuration")

// State is what the last round of looks has found.
type State uint8

// States.
const (
	// Unknown: nobody could be asked, or too few.
	Unknown State = iota
	// Seen: a stranger has claimed a KeyPackage.
	Seen
	// Unseen: none could.
	Unseen
)

// String names the state as events and the metric do.
func (s State) String() string { return [...]string{"unknown", "seen", "unseen"}[min(s, Unseen)] }

// Report is what is known.
type Report struct {
	State State
	// Since is when it became so, At when somebody last looked. Zero: never.
	Since, At time.Time
	// By is who has looked, and Why what it said, if it is not Seen.
	By, Why string
}

// Caller asks another provider; *peering.Caller is one.
type Caller interface {
	Call(ctx context.Context, q peering.Request) (*peering.Response, error)
}

// Stranger is a Caller that comes to one provider as somebody does whom it has never met.
type Stranger interface {
	Caller
	Close() error
}

// Config configures a Watch.
type Config struct {
	// Domain is the own provider's.
	Domain string
	// ProviderKey certifies the users that are made up.
	ProviderKey func() crypto.Signer
	// Authenticator judges credentials, as it does those of others' users.
	Authenticator mls.Authenticator
	// Peers are the other providers that there is a connection with, sorted.
	Peers func() []string
	// Caller asks them.
	Caller Caller
	// Stranger makes one for a provider. It resolves the provider, so that Authenticator knows its keys.
	Stranger func(domain string) (Stranger, error)
	// Tell tells own users' devices of a state: all that are connected when all is true, else
	// those that have connected since it was last called. May be nil.
	Tell func(s State, all bool) error
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log receives the alarm. Default: nothing.
	Log *slog.Logger

	// Every is the time between looks. Default 20 s.
	Every time.Duration
	// Within bounds how long one provider may take. Default 12 s.
	Within time.Duration
}

// Watch has others look, and looks for others. Safe for concurrent use.
type Watch struct {
	cfg Config
	answering

	mu     sync.Mutex
	probes map[uri.User]*probe // guarded by mu: of the looks that are being made
	report Report              // guarded by mu
	turn   int                 // guarded by mu: whose turn it is among the peers
	warned time.Time           // guarded by mu: when the log was last told
}

// New returns a Watch. It starts nothing. Error: ErrConfig.
func New(cfg Config) (*Watch, error) {
	if cfg.Domain == "" || cfg.ProviderKey == nil || cfg.Authenticator == nil || cfg.Peers == nil || cfg.Caller == nil || cfg.Stranger == nil {
		return nil, fmt.Errorf("%w: Domain, ProviderKey, Authenticator, Peers, Caller and Stranger are required", ErrConfig)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Every <= 0 {
		cfg.Every = 20 * time.Second
	}
	if cfg.Within <= 0 {
		cfg.Within = 12 * time.Second
	}
	return &Watch{cfg: cfg, answering: newAnswering(), probes: map[uri.User]*probe{}}, nil
}

// Run has somebody look every Config.Every until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(w.cfg.Every)
	defer tick.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("having others look at this provider failed, will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Report is that of the last look.
func (w *Watch) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report
}
