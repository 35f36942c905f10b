package authority_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/authority"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
	"github.com/mimid/mimid/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	atlanta = "atlanta.example"
	biloxi  = "biloxi.example"
	chicago = "chicago.example" // the authority
)

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("authority test " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// world is three providers of which chicago is an authority. What goes between them goes
// through the real caller and server.
type world struct {
	t  testing.TB
	ps map[string]*provider

	mu  sync.Mutex
	now time.Time // guarded by mu
}

type provider struct {
	*authority.Service
	w      *world
	domain string
	cfg    authority.Config
	server *peering.Server
	caller *peering.Caller
	store  *failing
	sent   *box
}

// box is a Sender that keeps what it was given, and can fail before or after it has.
type box struct {
	mu     sync.Mutex
	mails  []authority.Message
	before error // returned, with nothing kept
	after  error // returned, although it is kept
}

func (b *box) Send(_ context.Context, m authority.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before != nil {
		return b.before
	}
	b.mails = append(b.mails, m)
	return b.after
}

func (b *box) set(before, after error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before, b.after = before, after
}

// last is the newest message; there must be n.
func (b *box) last(t testing.TB, n int) authority.Message {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mails) != n {
		t.Fatalf("%d codes were sent, want %d", len(b.mails), n)
	}
	return b.mails[n-1]
}

// secrets derives quickly; it can fail.
type secrets struct {
	mu  sync.Mutex
	err error
}

func (s *secrets) Secret(_ context.Context, sii discovery.SII) (discovery.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return discovery.Secret{}, s.err
	}
	return secretOf(sii)
}

func secretOf(sii discovery.SII) (discovery.Secret, error) {
	sum := sha256.Sum256([]byte(sii.String()))
	return discovery.ParseSecret(sum[:])
}

// failing is a store whose writes can fail and yet have happened.
type failing struct {
	*store.Store
	mu     sync.Mutex
	passes int // writes before one that fails; guarded by mu
}

var errLost = errors.New("the answer of the disk is lost")

func (f *failing) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	err := f.Store.Update(ctx, fn)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.passes--; f.passes == 0 && err == nil {
		return errLost
	}
	return err
}

func newWorld(t testing.TB, change func(*authority.Config)) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 29, 4, 0, 0, 0, time.UTC), ps: map[string]*provider{}}
	for _, d := range []string{atlanta, biloxi, chicago} {
		st := must(store.Open(store.Options{InMemory: true, Small: true}))(t)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- st.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := errors.Join(<-ended, st.Close(context.Background())); err != nil {
				t.Errorf("closing the store: %v", err)
			}
		})
		p := &provider{w: w, domain: d, sent: new(box), store: &failing{Store: st}}
		p.caller = &peering.Caller{Domain: d, Key: func() ed25519.PrivateKey { return key(d) }, Client: &http.Client{Transport: w}, Now: w.clock}
		p.cfg = authority.Config{Domain: d, Store: p.store, Caller: p.caller, Anchors: w.anchors, ProviderKey: func() crypto.Signer { return key(d) },
			Resolve: func(_ context.Context, domain string) error {
				if w.ps[domain] == nil {
					return overlay.ErrUnknownProvider
				}
				return nil
			}, Now: w.clock}
		if d == chicago {
			p.cfg.Senders, p.cfg.Secrets = map[discovery.Method]authority.Sender{discovery.MethodMail: p.sent}, new(secrets)
			if change != nil {
				change(&p.cfg)
			}
		}
		w.ps[d] = p
		p.restart()
	}
	return w
}

// restart makes a new Service on the same store.
func (p *provider) restart() {
	t := p.w.t
	t.Helper()
	p.Service = must(authority.New(p.cfg))(t)
	p.server = must(peering.NewServer(peering.Config{Domain: p.domain, Routes: p.Routes(), Directory: p.w, Now: p.w.clock, Log: slog.New(slog.DiscardHandler)}))(t)
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) anchors(domain string) []crypto.PublicKey {
	if w.ps[domain] == nil {
		return nil
	}
	return []crypto.PublicKey{key(domain).Public()}
}

// Resolve implements peering.Directory.
func (w *world) Resolve(_ context.Context, domain string) (*peering.Provider, error) {
	if w.ps[domain] == nil {
		return nil, overlay.ErrUnknownProvider
	}
	return &peering.Provider{Key: key(domain).Public().(ed25519.PublicKey)}, nil
}

// RoundTrip carries a request to the provider that its host names.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	p := w.ps[r.URL.Host]
	if p == nil {
		return nil, overlay.ErrUnknownProvider
	}
	rec := httptest.NewRecorder()
	p.server.ServeHTTP(rec, r)
	return rec.Result(), nil
}

type user struct {
	p    *provider
	who  account.Identity
	cert []byte
}

func (w *world) user(name string) *user {
	t := w.t
	t.Helper()
	u := must(uri.ParseShort(name))(t)
	cert := must(x509auth.IssueUser(key(u.Provider().Domain()), u.String(), key(u.String()).Public(), x509auth.ValidFor(w.clock(), x509auth.Lifetime)))(t)
	return &user{p: w.ps[u.Provider().Domain()], who: account.Identity{User: u}, cert: cert}
}

func (u *user) key() ed25519.PrivateKey { return key(u.who.User.String()) }

func sii(t testing.TB, s string) discovery.SII { return must(discovery.ParseSII(s))(t) }

// request makes one, for chicago.
func (u *user) request(identifier string) *verification.Request {
	t := u.p.w.t
	t.Helper()
	s := sii(t, identifier)
	m := must(verification.MethodFor(s.Kind()))(t)
	return must(verification.NewRequest(u.key(), u.cert, verification.Ask{Authority: must(uri.ParseDomain(chicago))(t), Identifier: s, Method: m,
		User: u.who.User, At: u.p.w.clock()}))(t)
}

func (u *user) send(q *verification.Request) error {
	return u.p.Verify(context.Background(), u.who, &clientapi.NewVerification{Authority: chicago, Request: q.Bytes()})
}

func (u *user) answer(q *verification.Request, code string) (*verification.Statement, error) {
	t := u.p.w.t
	t.Helper()
	a := must(verification.NewAnswer(u.key(), q.ID(), code))(t)
	out, err := u.p.AnswerVerification(context.Background(), u.who, &clientapi.VerificationAnswer{Authority: chicago, Answer: a.Bytes()})
	if err != nil {
		return nil, err
	}
	return must(verification.Parse(out.Statement))(t), nil
}

func wantProblem(t testing.TB, err error, code clientapi.Code, what string) {
	t.Helper()
	var p *clientapi.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Errorf("%s: %v, want a problem %q", what, err, code)
	}
}

// records counts what chicago has stored, and checks each.
func (w *world) records() (n int) {
	w.t.Helper()
	err := w.ps[chicago].store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceVerifications.Prefix(nil)}) {
			if err != nil {
				return err
			}
			if err := authority.Check(it); err != nil {
				w.t.Error(err)
			}
			n++
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// stored is all that chicago has stored.
func (w *world) stored() string {
	w.t.Helper()
	var b bytes.Buffer
	err := w.ps[chicago].store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceVerifications.Prefix(nil)}) {
			if err != nil {
				return err
			}
			io.Copy(&b, strings.NewReader(string(it.Value)))
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}
