package authority

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Endpoints between providers; they are not MIMI's.
const (
	EndpointVerify = "verify"       // verification.Request -> nothing
	EndpointAnswer = "verifyAnswer" // verification.Answer -> verification.Statement
)

var (
	// ErrConfig: New was given a configuration that cannot work.
	ErrConfig = errors.New("authority: unusable configuration")
	// ErrDamaged: a stored value does not decode. `mimid verify` tells more.
	ErrDamaged = errors.New("authority: stored record is damaged")
)

// Store is what a Service needs of a *store.Store, which is one.
type Store interface {
	Update(ctx context.Context, fn func(tx *store.Tx) error) error
	View(fn func(tx *store.Tx) error) error
}

// Caller asks other providers; *peering.Caller is one.
type Caller interface {
	Call(ctx context.Context, q peering.Request) (*peering.Response, error)
}

// Secrets derives what identifiers are known by; *contact.Service is one.
type Secrets interface {
	Secret(ctx context.Context, sii discovery.SII) (discovery.Secret, error)
}

// Limits bounds what is asked for. A zero field means its default. The numbers of challenges
// are per Keep, a day.
type Limits struct {
	// PerIdentifier is how many codes one identifier gets, PerClaimant how many of them
	// through one provider: so that one provider's users cannot use up another's.
	// Default 10 and 4.
	PerIdentifier, PerClaimant int
	// PerUser and PerProvider are how many challenges a user, and all users of a provider,
	// begin. Default 10 and 1,000.
	PerUser, PerProvider int
	// All is how many there are altogether. Default 20,000, some 15 MiB.
	All int
	// Requests is how many requests and answers of another provider are looked at. Default
	// 2 per second, 200 at once.
	Requests ration.Config
	// Users is how many requests and answers of an own user are passed on. Default one in
	// 2 minutes, 20 at once.
	Users ration.Config
	// Sendings at one time. Default 8; who finds none free is told to wait.
	Sendings int
}

// Config configures a Service.
type Config struct {
	// Domain is the own provider's.
	Domain string
	Store  Store
	Caller Caller
	// Senders by method. None: this provider is no authority.
	Senders map[discovery.Method]Sender
	// Secrets derives claim ids of identifiers that were verified; needed with Senders.
	Secrets Secrets
	// Resolve makes another provider's keys known to Anchors, or fails.
	Resolve func(ctx context.Context, domain string) error
	// Anchors are the keys of providers, as x509auth asks for them.
	Anchors x509auth.Anchors
	// ProviderKey returns the present provider key, which signs statements.
	ProviderKey func() crypto.Signer
	// Serve lists the providers for whose users codes are sent. Empty: all.
	Serve  []string
	Limits Limits
	Now    func() time.Time
	// Log receives what an operator may want to know, never an identifier. Default: nothing.
	Log *slog.Logger
}

// Service verifies. Safe for concurrent use. What a client or another provider did wrong is a
// *clientapi.Problem; other errors went wrong here.
type Service struct {
	cfg      Config
	self     uri.Provider
	requests *ration.Ration // by other provider
	users    *ration.Ration // by own user
	sendings chan struct{}
}

// New returns a Service. It starts nothing. Error: ErrConfig.
func New(cfg Config) (*Service, error) {
	self, err := uri.ParseDomain(cfg.Domain)
	if err != nil {
		return nil, fmt.Errorf("%w: domain %.100q: %w", ErrConfig, cfg.Domain, err)
	}
	if cfg.Store == nil || cfg.Caller == nil || cfg.Resolve == nil || cfg.Anchors == nil || cfg.ProviderKey == nil ||
		len(cfg.Senders) > 0 && cfg.Secrets == nil {
		return nil, fmt.Errorf("%w: of interfaces and functions only Now, Log and, without Senders, Secrets may be nil", ErrConfig)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &cfg.Limits
	setDefault(&l.PerIdentifier, 10)
	setDefault(&l.PerClaimant, 4)
	setDefault(&l.PerUser, 10)
	setDefault(&l.PerProvider, 1000)
	setDefault(&l.All, 20_000)
	setDefault(&l.Requests.PerSecond, 2)
	setDefault(&l.Requests.Burst, 200)
	setDefault(&l.Users.PerSecond, 1/120.0)
	setDefault(&l.Users.Burst, 20)
	setDefault(&l.Sendings, 8)
	return &Service{cfg: cfg, self: self, requests: ration.New(l.Requests), users: ration.New(l.Users), sendings: make(chan struct{}, l.Sendings)}, nil
}

func setDefault[T int | float64](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// Methods are those by which this provider verifies, in order; none if it is no authority.
func (s *Service) Methods() (out []discovery.Method) {
	for m := range s.cfg.Senders {
		out = append(out, m)
	}
	slices.Sort(out)
	return out
}

// Routes are the endpoints that other providers call: none unless this is an authority.
func (s *Service) Routes() []peering.Route {
	if len(s.cfg.Senders) == 0 {
		return nil
	}
	return []peering.Route{
		{Endpoint: EndpointVerify, Handler: s.handleVerify, MaxBody: maxRequest, Idempotent: true},
		{Endpoint: EndpointAnswer, Handler: s.handleAnswer, MaxBody: maxAnswer, Idempotent: true},
	}
}

// Run deletes what is older than Keep, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	timer := time.NewTicker(10 * time.Minute)
	defer timer.Stop()
	for {
		if err := s.Forget(ctx); err != nil {
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFailed):
				return fmt.Errorf("deleting old challenges: %w", err)
			}
			s.cfg.Log.Error("old challenges could not be deleted", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, format, args...)
}

func forbidden(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusForbidden, clientapi.CodeForbidden, format, args...)
}

func tooMany(wait time.Duration, format string, args ...any) *clientapi.Problem {
	p := problem(http.StatusTooManyRequests, clientapi.CodeTooMany, format, args...)
	p.Retry = max(wait.Milliseconds(), 1)
	return p
}
