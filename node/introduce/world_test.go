package introduce_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/introduce"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

const (
	atlanta = "atlanta.example"
	biloxi  = "biloxi.example"
	chicago = "chicago.example"
)

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("introduce test " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func user(t testing.TB, s string) uri.User { return must(uri.ParseUser("mimi://" + s))(t) }

func identity(t testing.TB, s string) account.Identity { return account.Identity{User: user(t, s)} }

// world is three providers. What goes between them goes through the real caller and server.
type world struct {
	t  testing.TB
	ps map[string]*provider

	mu  sync.Mutex
	now time.Time // guarded by mu
}

type provider struct {
	*introduce.Service
	w      *world
	domain string
	cfg    introduce.Config
	server *peering.Server
	caller *peering.Caller
	store  *failing

	mu    sync.Mutex
	modes map[string]consent.Mode // guarded by mu: by user, and user and provider
	told  []string                // likewise: events
	onHas func()                  // likewise: called when an account is looked for
	hides bool                    // likewise: calls get no answer
	calls map[string]int          // likewise: calls that have come, by endpoint
}

// users are those of each provider.
var users = []string{"alice", "bob", "carol"}

// Has implements introduce.Accounts.
func (p *provider) Has(_ context.Context, u uri.User) (bool, error) {
	p.mu.Lock()
	f := p.onHas
	p.mu.Unlock()
	if f != nil {
		f()
	}
	return u.Provider().Domain() == p.domain && slices.Contains(users, u.Name()), nil
}

// ModeFor implements introduce.Contacts.
func (p *provider) ModeFor(_ *store.Tx, target uri.User, domain string) (consent.Mode, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return consent.Resolve(consent.Unset, p.modes[target.Name()+" "+domain], max(p.modes[target.Name()], consent.Ask)), nil
}

// Put implements introduce.Feed.
func (p *provider) Put(tx *store.Tx, u uri.User, event string, data any) error {
	line := fmt.Sprintf("%s %s %s", u.Name(), event, data.(clientapi.Introduction).Text)
	tx.OnCommit(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.told = append(p.told, line)
	})
	return nil
}

func (p *provider) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

func (p *provider) setMode(who string, m consent.Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.modes[who] = m
}

// failing is a store whose writes can fail, and can fail and yet have happened.
type failing struct {
	*store.Store
	mu     sync.Mutex
	before int // writes, from now on, of which the last fails and has not happened; guarded by mu
	after  int // likewise, and it has happened
}

var errLost = errors.New("the answer of the disk is lost")

func (f *failing) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	f.mu.Lock()
	f.before--
	f.after--
	before, after := f.before == 0, f.after == 0
	f.mu.Unlock()
	if before {
		return errLost
	}
	if err := f.Store.Update(ctx, fn); err != nil || !after {
		return err
	}
	return errLost
}

func (f *failing) fail(before, after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func newWorld(t testing.TB, l introduce.Limits) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 30, 4, 0, 0, 0, time.UTC), ps: map[string]*provider{}}
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
		p := &provider{w: w, domain: d, store: &failing{Store: st}, modes: map[string]consent.Mode{}, calls: map[string]int{}}
		p.caller = &peering.Caller{Domain: d, Key: func() ed25519.PrivateKey { return key(d) }, Client: &http.Client{Transport: w}, Now: w.clock}
		p.cfg = introduce.Config{Domain: d, Store: p.store, Limits: l, Accounts: p, Contacts: p, Feed: p, Caller: p.caller, Now: w.clock}
		p.start()
		w.ps[d] = p
	}
	return w
}

// start makes the service anew on its store, as after a crash.
func (p *provider) start() {
	p.w.t.Helper()
	p.Service = must(introduce.New(p.cfg))(p.w.t)
	p.server = must(peering.NewServer(peering.Config{Domain: p.domain, Routes: p.Routes(), Directory: p.w, Now: p.w.clock}))(p.w.t)
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
	p.mu.Lock()
	p.calls[strings.Split(r.URL.Path, "/")[2]]++
	hides := p.hides
	p.mu.Unlock()
	rec := httptest.NewRecorder()
	p.server.ServeHTTP(rec, r)
	if hides {
		return nil, errors.New("the answer is lost")
	}
	return rec.Result(), nil
}

func wantProblem(t testing.TB, err error, code clientapi.Code, what string) *clientapi.Problem {
	t.Helper()
	var p *clientapi.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Fatalf("%s: %v, want a problem %q", what, err, code)
	}
	return p
}

// stored counts a provider's records and their octets, and checks each.
func (p *provider) stored() (records, octets int) {
	p.w.t.Helper()
	err := p.store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceTokens.Prefix(nil)}) {
			if err != nil {
				return err
			}
			if err := introduce.Check(it); err != nil {
				p.w.t.Error(err)
			}
			records++
			octets += len(it.Key.Bytes()) + len(it.Value)
		}
		return nil
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
	return records, octets
}

// asked is what a device has while it waits for a token.
type asked struct {
	request []byte
	pending *privacypass.Pending
	week    introduction.Week
}

// ask makes a request for a token with the issuer's newest key.
func (p *provider) ask(who account.Identity, origin string) asked {
	t := p.w.t
	t.Helper()
	keys := must(introduction.ParseKeys(must(p.TokenKeys(t.Context(), who))(t).Keys))(t)
	a := asked{week: keys[0].Week}
	var err error
	if a.request, a.pending, err = privacypass.Ask(keys[0].Key, introduction.Challenge(p.domain, origin, a.week)); err != nil {
		t.Fatal(err)
	}
	return a
}

func newTokens(l ...asked) *clientapi.NewTokens {
	n := new(clientapi.NewTokens)
	for _, a := range l {
		n.Requests = append(n.Requests, a.request)
	}
	return n
}

// token gets a token.
func (p *provider) token(who account.Identity, origin string) *privacypass.Token {
	t := p.w.t
	t.Helper()
	a := p.ask(who, origin)
	out := must(p.NewTokens(t.Context(), who, newTokens(a)))(t)
	return must(a.pending.Finish(out.Responses[0]))(t)
}
