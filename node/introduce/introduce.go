package introduce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// EndpointIntroduce brings an introduction.Request; not MIMI's. The subject is the target's
// provider, the answer an octet: 1 if the target has said yes, else 0.
const EndpointIntroduce = "introduce"

// EndpointKeys tells other providers with which keys this one signs tokens; not MIMI's. The
// subject is the issuer's domain, the body is empty, the answer introduction.Keys.
const EndpointKeys = "tokenKeys"

// Store is what a Service needs of a *store.Store, which is one.
type Store interface {
	Update(ctx context.Context, fn func(tx *store.Tx) error) error
	View(fn func(tx *store.Tx) error) error
}

// Accounts knows the own users; *account.Registry is one.
type Accounts interface {
	Has(ctx context.Context, user uri.User) (bool, error)
}

// Contacts knows what a user lets become of a provider's users about whom nothing is decided;
// *contact.Service does.
type Contacts interface {
	ModeFor(tx *store.Tx, target uri.User, domain string) (consent.Mode, error)
}

// Feed tells users' devices; *feed.Feed is one.
type Feed interface {
	Put(tx *store.Tx, user uri.User, event string, data any) error
}

// Caller asks other providers; *peering.Caller is one.
type Caller interface {
	Call(ctx context.Context, q peering.Request) (*peering.Response, error)
}

// Veil asks other providers over relays; *veil.Service does.
type Veil interface {
	Caller
	// Check is an error if it cannot be as private as a user asks for.
	Check(p *clientapi.Privacy) error
}

// Limits bounds what is asked for. A zero field means its default, but for PerDay.
type Limits struct {
	// PerDay is how many tokens an own user gets a day; 0: none.
	PerDay int
	// Keys is how often another provider may ask for the issuer's keys. Default one in 10
	// seconds, 20 at once.
	Keys ration.Config
	// Requests is how many anonymous requests another provider may bring, the repetitions that look
	// for an answer included. Default one per second, 100 at once.
	Requests ration.Config
	// PerIssuer is how many anonymous requests of an issuer's users are taken, by the week of
	// their tokens. Default 10,000: some 5 MB with those that wait.
	PerIssuer int
	// PerTarget is how many requests of one user are kept, and PerPair how many of these from
	// one issuer. Further ones vanish, or the newest of the issuer that has most. Default 20 and 5.
	PerTarget, PerPair int
	// Keep is for how long a request waits for its answer, and a yes for whoever asked. Default
	// 14 days.
	Keep time.Duration
	// Users is how many tokens, new and again, a user may ask for. Default one in 10 seconds,
	// 20 at once and not less than PerDay.
	Users ration.Config
}

// MaxPerDay bounds Limits.PerDay.
const MaxPerDay = 1000

// Config configures a Service.
type Config struct {
	// Domain is the own provider's.
	Domain string
	Store  Store
	// Accounts knows the own users, Contacts what becomes of strangers, Feed tells devices, and
	// Caller asks other providers.
	Accounts Accounts
	Contacts Contacts
	Feed     Feed
	Caller   Caller
	// Veil asks others over relays, where a user wants that. May be nil: nobody can.
	Veil   Veil
	Limits Limits
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log receives what an operator may want to know, never a token. Default: nothing.
	Log *slog.Logger
}

// Service gives tokens and takes those of others. Safe for concurrent use. What a client or another provider did wrong is a
// *clientapi.Problem; other errors went wrong here.
type Service struct {
	cfg      Config
	self     uri.Provider
	keys     *ration.Ration // by other provider
	requests *ration.Ration // likewise; those that came over relays by ""
	users    *ration.Ration // by own user

	known  sync.Mutex
	others map[string]remembered // other issuers' keys; guarded by known

	mu      sync.Mutex                                // held while a key is made
	issuers map[introduction.Week]*privacypass.Issuer // this week's and the last; guarded by mu
}

// New returns a Service. It starts nothing. Error: ErrConfig.
func New(cfg Config) (*Service, error) {
	p, err := uri.ParseDomain(cfg.Domain)
	if err != nil || p.Domain() != cfg.Domain {
		return nil, fmt.Errorf("%w: domain %.100q", ErrConfig, cfg.Domain)
	}
	if cfg.Store == nil || cfg.Accounts == nil || cfg.Contacts == nil || cfg.Feed == nil || cfg.Caller == nil {
		return nil, fmt.Errorf("%w: of interfaces and functions only Now and Log may be nil", ErrConfig)
	}
	if n := cfg.Limits.PerDay; n < 0 || n > MaxPerDay {
		return nil, fmt.Errorf("%w: %d tokens a day; 0 to %d", ErrConfig, n, MaxPerDay)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &cfg.Limits
	setDefault(&l.Keys.PerSecond, 0.1)
	setDefault(&l.Keys.Burst, 20)
	setDefault(&l.Users.PerSecond, 0.1)
	setDefault(&l.Users.Burst, float64(max(20, l.PerDay)))
	setDefault(&l.Requests.PerSecond, 1)
	setDefault(&l.Requests.Burst, 100)
	setDefault(&l.PerIssuer, 10_000)
	setDefault(&l.PerTarget, 20)
	setDefault(&l.PerPair, 5)
	setDefault(&l.Keep, 14*24*time.Hour)
	return &Service{cfg: cfg, self: p, keys: ration.New(l.Keys), requests: ration.New(l.Requests), users: ration.New(l.Users), others: map[string]remembered{}, issuers: map[introduction.Week]*privacypass.Issuer{}}, nil
}

func setDefault[T int | float64 | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// Routes are the endpoints that other providers call.
func (s *Service) Routes() []peering.Route {
	return []peering.Route{
		{Endpoint: EndpointKeys, Handler: s.handleKeys, MaxBody: 16, Idempotent: true},
		{Endpoint: EndpointIntroduce, Handler: s.handleIntroduce, MaxBody: introduction.MaxRequest, Idempotent: true, Unnamed: true},
	}
}

// Run deletes what is kept no longer, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	timer := time.NewTicker(time.Hour)
	defer timer.Stop()
	for {
		if err := s.Forget(ctx); err != nil {
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFailed):
				return fmt.Errorf("deleting old tokens: %w", err)
			}
			s.cfg.Log.Error("old tokens could not be deleted", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}
