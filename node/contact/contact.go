package contact

import (
	"context"
	"crypto"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/oprf"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// Store is what a Service needs of a *store.Store, which is one.
type Store interface {
	Update(ctx context.Context, fn func(tx *store.Tx) error) error
	View(fn func(tx *store.Tx) error) error
}

// Accounts knows the own users; *account.Registry is one.
type Accounts interface {
	// Has says whether the user has an account here.
	Has(ctx context.Context, user uri.User) (bool, error)
	// UserKey returns the key of a user of this provider.
	UserKey(ctx context.Context, user uri.User) ([]byte, error)
	// Claim hands out KeyPackages without asking for consent.
	Claim(ctx context.Context, c account.Claim) (*account.Claimed, error)
}

// Caller asks other providers; *peering.Caller is one.
type Caller interface {
	Call(ctx context.Context, q peering.Request) (*peering.Response, error)
}

// Outbox asks other providers, however long it takes; *outbox.Outbox is one.
type Outbox interface {
	Put(tx *store.Tx, target string, it outbox.Item) error
}

// Feed tells users' devices; *feed.Feed is one.
type Feed interface {
	Put(tx *store.Tx, user uri.User, event string, data any) error
}

// Rooms knows the rooms that this provider takes part in; *rooms.Rooms is one.
// Rooms are named by their URIs.
type Rooms interface {
	// Hub returns the domain of a room's hub; false for a room that is not known.
	Hub(room string) (domain string, ok bool)
	// TakesPart says whether a provider has users in a room.
	TakesPart(room, domain string) bool
}

// Knocks knows who asks to be let into rooms; *knocks.Service is one.
type Knocks interface {
	// Admits says whether the target waits to be let into a room, and the requester may
	// let it in, as far as the provider can know from which the request comes.
	Admits(ctx context.Context, requester, target uri.User, room uri.Room, source string) (bool, error)
}

// Announcer says in the network, and finds out, who knows something of a key;
// *overlay.Overlay is one.
type Announcer interface {
	// Announce says it until Withdraw. After a restart it is to be said again. Many keys
	// are announced in the background.
	Announce(ctx context.Context, keys ...[32]byte) error
	Withdraw(keys ...[32]byte)
	// Announcers are nodes that say it, this one left out. Any node can.
	Announcers(ctx context.Context, key [32]byte, limit int) iter.Seq[overlay.PeerID]
	// Self is this node.
	Self() overlay.PeerID
}

// Evaluator computes the evaluators' function for this provider itself;
// *evaluate.Service is one.
type Evaluator interface {
	Output(ctx context.Context, input []byte) (oprf.Output, error)
}

// Limits bounds what users and other providers may ask for. A zero field means
// its default.
type Limits struct {
	// Requests for consent of one other provider. Default 2 per second, 200 at
	// once.
	Requests ration.Config
	// Sent is how many words on consent a user may send. Default one in 2
	// seconds, 100 at once.
	Sent ration.Config
	// Pending requests that one user is shown, and that all users together are
	// shown of one provider. Further ones vanish, or those of the provider that has most
	// of the user's do (consent.Places). Default 200 and 5,000.
	PendingPerTarget, PendingPerProvider int
	// PendingPerPair is how many of PendingPerTarget users of one provider may have. Default 50.
	PendingPerPair int
	// Rooms in quarantine: of one user, of one user by users of one provider, and of all
	// users by those of one provider. Default 50, 10 and 1,000. What is over them is dropped,
	// the newest; where a user's are all taken, of the provider that has most of them.
	HeldPerTarget, HeldPerPair, HeldPerProvider int
	// HeldOctets are those of Welcomes in quarantine of one user. Default 2 MiB.
	HeldOctets int
	// HeldFor is how long rooms and requests stay in quarantine. Default 14 days.
	HeldFor time.Duration
	// Searches is how many identifiers a user may look up, publish or withdraw.
	// Default one in 10 seconds, 50 at once.
	Searches ration.Config
	// Lookups is how many one other provider may. Default 20 per second, 1,000 at
	// once.
	Lookups ration.Config
	// Claims is how many identifiers one user may publish. Default 16.
	Claims int
	// Secrets of identifiers that are kept in memory. Default 4,096.
	Secrets int
	// Derivations of such secrets at one time, with 19 MiB each. Default 2.
	Derivations int
	// LookPause is the least time between two looks for others who claim what own users
	// have published; each claim is looked up once a day. Default 10 seconds: 8,640 a day.
	LookPause time.Duration
	// Scopes is how many scopes one user may have given, and asked for, consent
	// in. Default 5,000 each.
	Scopes int
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Requests.PerSecond, 2)
	setDefault(&l.Requests.Burst, 200)
	setDefault(&l.Sent.PerSecond, 0.5)
	setDefault(&l.Sent.Burst, 100)
	setDefault(&l.PendingPerTarget, 200)
	setDefault(&l.PendingPerProvider, 5000)
	setDefault(&l.PendingPerPair, 50)
	setDefault(&l.HeldPerTarget, 50)
	setDefault(&l.HeldPerPair, 10)
	setDefault(&l.HeldPerProvider, 1000)
	setDefault(&l.HeldOctets, 2<<20)
	setDefault(&l.HeldFor, 14*24*time.Hour)
	setDefault(&l.Scopes, 5000)
	setDefault(&l.Searches.PerSecond, 0.1)
	setDefault(&l.Searches.Burst, 50)
	setDefault(&l.Lookups.PerSecond, 20)
	setDefault(&l.Lookups.Burst, 1000)
	setDefault(&l.Claims, 16)
	setDefault(&l.Secrets, 4096)
	setDefault(&l.Derivations, 2)
	setDefault(&l.LookPause, 10*time.Second)
	return l
}

func setDefault[T int | int64 | float64 | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// Config configures a Service.
type Config struct {
	// Domain is the own provider's.
	Domain   string
	Store    Store
	Accounts Accounts
	Caller   Caller
	// Veil looks identifiers up over relays, where a user wants that. May be nil: nobody can.
	Veil   Veil
	Outbox Outbox
	Feed   Feed
	// Hidden keeps from devices what is in quarantine.
	Hidden Hidden
	// Waits says whether a user waits to be let into a room. May be nil: nobody does.
	Waits func(tx *store.Tx, u uri.User, room uri.Room) (bool, error)
	// Redeem says whether a user who asks another with a secret is who was told yes when it asked
	// without a name, see package introduce. May be nil: nobody was.
	Redeem func(tx *store.Tx, target, requester uri.User, secret introduction.Secret) (bool, error)
	// Reports may be nil: the operator hears nothing of what users report.
	Reports Reports
	// Rooms may be nil: no room is hosted elsewhere, and nothing is relayed.
	Rooms Rooms
	// Knocks may be nil: nobody knocks.
	Knocks Knocks
	// Directory finds other providers, so that Authenticator knows their keys
	// when it is asked.
	Directory peering.Directory
	// Authenticator judges the credentials of users who ask for KeyPackages.
	Authenticator mls.Authenticator
	// Announcer may be nil: identifiers are then neither announced nor found at
	// other providers.
	Announcer Announcer
	// Evaluator may be nil: the network has no evaluators.
	Evaluator Evaluator
	// Anchors are the keys of providers, as x509auth asks for them.
	Anchors func(domain string) []crypto.PublicKey
	// ProviderKey returns the present provider key, which signs claims.
	ProviderKey func() crypto.Signer
	// Salt is the network's, the same at all providers that shall find each
	// other's users.
	Salt string
	// Unverified accepts claims of phone numbers and mail addresses although
	// nobody verified that they are the user's. They are marked so.
	Unverified bool
	// Authorities are the verification authorities that are believed, by domain.
	Authorities []string
	// NoQueries answers each identifierQuery of another provider with forbidden.
	NoQueries bool
	// Mode is that of users who have chosen none. Default consent.Ask.
	Mode consent.Mode
	// Names lets users choose to be found by their names in identifierQuery.
	Names  bool
	Limits Limits
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log receives what an operator may want to know. Default: nothing.
	Log *slog.Logger
}

// Service brings users together. Safe for concurrent use. What a client or
// another provider did wrong is returned as a *clientapi.Problem; other errors
// went wrong here.
type Service struct {
	cfg      Config
	provider uri.Provider
	requests *ration.Ration // by other provider
	sent     *ration.Ration // by own user
	searches *ration.Ration // by own user
	lookups  *ration.Ration // by other provider; those that came over relays by ""
	secrets  *secrets
	index    *index

	findMu sync.Mutex
	found  map[uri.User]findable // by what users may be found; guarded by findMu, nil before it is read

	sideMu sync.Mutex
	side   *discovery.Announcer // guarded by sideMu
}

// New returns a Service. It starts nothing. Error: ErrConfig.
func New(cfg Config) (*Service, error) {
	provider, err := uri.ParseDomain(cfg.Domain)
	if err != nil {
		return nil, fmt.Errorf("%w: domain %.100q: %w", ErrConfig, cfg.Domain, err)
	}
	if cfg.Store == nil || cfg.Accounts == nil || cfg.Caller == nil || cfg.Outbox == nil || cfg.Feed == nil || cfg.Hidden == nil ||
		cfg.Directory == nil || cfg.Authenticator == nil || cfg.Anchors == nil || cfg.ProviderKey == nil {
		return nil, fmt.Errorf("%w: of interfaces and functions only Rooms, Knocks, Waits, Reports, Announcer, Evaluator, Now and Log may be nil", ErrConfig)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Mode == consent.Unset {
		cfg.Mode = consent.Ask
	}
	if !cfg.Mode.Valid() {
		return nil, fmt.Errorf("%w: mode of consent %s", ErrConfig, cfg.Mode)
	}
	cfg.Limits = cfg.Limits.withDefaults()
	return &Service{cfg: cfg, provider: provider,
		requests: ration.New(cfg.Limits.Requests), sent: ration.New(cfg.Limits.Sent),
		searches: ration.New(cfg.Limits.Searches), lookups: ration.New(cfg.Limits.Lookups),
		secrets: newSecrets(cfg.Salt, cfg.Evaluator, cfg.Limits.Secrets, cfg.Limits.Derivations), index: newIndex()}, nil
}

// Limits are those in force.
func (s *Service) Limits() Limits { return s.cfg.Limits }

// Routes are the endpoints that other providers call.
func (s *Service) Routes() []peering.Route {
	return []peering.Route{
		{Endpoint: wire.EndpointRequestConsent.String(), Handler: s.handleConsent, MaxBody: MaxConsentEntry},
		{Endpoint: wire.EndpointUpdateConsent.String(), Handler: s.handleConsent, MaxBody: MaxConsentEntry},
		{Endpoint: wire.EndpointKeyMaterial.String(), Handler: s.handleKeyMaterial, MaxBody: MaxKeyMaterialRequest, Idempotent: true},
		{Endpoint: wire.EndpointIdentifierQuery.String(), Handler: s.handleQuery, MaxBody: 4 << 10, Idempotent: true},
		{Endpoint: EndpointLookup, Handler: s.handleLookup, MaxBody: maxMessage, Idempotent: true, Unnamed: true},
		{Endpoint: EndpointReveal, Handler: s.handleReveal, MaxBody: maxMessage, Idempotent: true, Unnamed: true},
		{Endpoint: EndpointAnnouncers, Handler: s.handleAnnouncers, MaxBody: 1, Idempotent: true, Unnamed: true},
	}
}

func (s *Service) local(u uri.User) bool { return u.Provider() == s.provider }
