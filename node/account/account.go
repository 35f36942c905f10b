package account

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"time"

	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Bounds of what one user may keep here.
const (
	MaxDevices     = 32      // of a user
	MaxKeyPackages = 100     // of a device, the last resort not counted
	MaxKeyPackage  = 8 << 10 // octets of one
	MaxName        = 64      // octets of a new user's or device's name
)

// Store is what a Registry needs of a *store.Store, which is one.
type Store interface {
	Update(ctx context.Context, fn func(tx *store.Tx) error) error
	View(fn func(tx *store.Tx) error) error
}

// Config configures a Registry.
type Config struct {
	// Domain is the provider's.
	Domain string
	// Store keeps everything. A Registry is the only writer of its spaces for
	// accounts, devices and KeyPackages.
	Store Store
	// ProviderKey returns the present provider key, which signs user
	// certificates. It is asked each time, because keys are rotated.
	ProviderKey func() crypto.Signer
	// Authenticator judges the credentials in KeyPackages.
	Authenticator mls.Authenticator
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log receives what an operator may want to know. Default: nothing.
	Log *slog.Logger

	// Changed, if not nil, hears after each commit that may have changed what a user can be
	// added by. It is called on the store's goroutine: it must not wait, nor call the Registry.
	Changed func(user uri.User)

	// CertificateLifetime of user certificates. Default x509auth.Lifetime.
	CertificateLifetime time.Duration
	// ClaimLifetime is how long a repeated claim gets the same KeyPackages.
	// Default 1 hour.
	ClaimLifetime time.Duration
	// Claims is how many one-time KeyPackages another provider may claim.
	// Default 5 per second, 500 at once.
	Claims ration.Config
	// RequesterShare and ProviderShare are how many of one user's KeyPackages that are used once
	// the users who ask, each, and the users of one provider, together, get; after that they
	// get last resorts. Default 10 and one each 2 hours, 25 and one each 30 minutes.
	RequesterShare, ProviderShare Share
	// CachedTokens is how many authenticated devices are remembered in memory.
	// Default 8,192.
	CachedTokens int
}

// Registry holds accounts. Safe for concurrent use. Its methods return
// *clientapi.Problem for what a client or operator did wrong, and other errors
// for what went wrong here.
type Registry struct {
	cfg      Config
	provider uri.Provider
	mls      mls.Config
	claims   *ration.Ration
	tokens   *tokenCache
	shelf    *shelf
}

// Identity is who an authenticated request comes from.
type Identity struct {
	User   uri.User
	Client uri.Client
	Device string
}

// IsZero says whether it is nobody.
func (id Identity) IsZero() bool { return id.User.IsZero() }

// New returns a Registry. It starts nothing. Error: ErrConfig.
func New(cfg Config) (*Registry, error) {
	provider, err := uri.ParseDomain(cfg.Domain)
	if err != nil {
		return nil, fmt.Errorf("%w: domain %q: %w", ErrConfig, cfg.Domain, err)
	}
	if cfg.Store == nil || cfg.ProviderKey == nil || cfg.Authenticator == nil {
		return nil, fmt.Errorf("%w: Store, ProviderKey and Authenticator are required", ErrConfig)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&cfg.CertificateLifetime, x509auth.Lifetime)
	setDefault(&cfg.ClaimLifetime, time.Hour)
	setDefault(&cfg.Claims.PerSecond, 5)
	setDefault(&cfg.Claims.Burst, 500)
	cfg.RequesterShare = cfg.RequesterShare.or(Share{10, 2 * time.Hour})
	cfg.ProviderShare = cfg.ProviderShare.or(Share{25, 30 * time.Minute})
	setDefault(&cfg.CachedTokens, 8192)
	return &Registry{
		cfg:      cfg,
		provider: provider,
		mls:      mls.Config{Authenticator: cfg.Authenticator, Limits: mls.Limits{MessageSize: MaxKeyPackage}},
		claims:   ration.New(cfg.Claims),
		tokens:   newTokenCache(cfg.CachedTokens),
		shelf:    newShelf(),
	}, nil
}

func setDefault[T int | float64 | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// identity names a device whose names were checked when it was registered.
func (r *Registry) identity(name, device string) (Identity, error) {
	user, err := r.provider.User(name)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	client, err := r.provider.Client(name, device)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return Identity{User: user, Client: client, Device: device}, nil
}

// local returns the name of a user of this provider.
func (r *Registry) local(u uri.User) (name string, ok bool) {
	return u.Name(), !u.IsZero() && u.Provider() == r.provider
}
