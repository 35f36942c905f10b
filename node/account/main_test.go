package account_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "atlanta.example"

// ctx is for calls that have nothing to wait for.
var ctx = context.Background()

// world is a provider with a registry on a real store, a clock that stands still,
// and a layer between them that fails on demand.
type world struct {
	*account.Registry
	t     testing.TB
	cfg   account.Config
	key   ed25519.PrivateKey
	store *fallible
	now   time.Time
}

// fallible is a store whose next Update fails on demand: before it has happened, or
// after, which is what a process that dies then looks like from outside.
type fallible struct {
	*store.Store
	mu                    sync.Mutex
	failBefore, failAfter error
}

func (f *fallible) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	f.mu.Lock()
	before, after := f.failBefore, f.failAfter
	f.failBefore, f.failAfter = nil, nil
	f.mu.Unlock()
	if before != nil {
		// As a crash does that comes when fn has run and nothing is durable.
		return f.Store.Update(ctx, func(tx *store.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			return before
		})
	}
	if err := f.Store.Update(ctx, fn); err != nil {
		return err
	}
	return after
}

func newWorld(t testing.TB, change ...func(*account.Config)) *world {
	t.Helper()
	st, err := store.Open(store.Options{InMemory: true, Small: true})
	must(t, err)
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- st.Run(runCtx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, st.Close(ctx)); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	w := &world{t: t, key: key, store: &fallible{Store: st}, now: time.Unix(1_700_000_000, 0)}
	auth, err := x509auth.New(x509auth.Options{Anchors: func(d string) []crypto.PublicKey {
		if d != domain {
			return nil
		}
		return []crypto.PublicKey{w.key.Public()}
	}})
	must(t, err)
	w.cfg = account.Config{
		Domain:        domain,
		Store:         w.store,
		ProviderKey:   func() crypto.Signer { return w.key },
		Authenticator: auth,
		Now:           func() time.Time { return w.now },
	}
	for _, c := range change {
		c(&w.cfg)
	}
	w.restart()
	return w
}

// restart makes a new Registry on the same store, as a new process would.
func (w *world) restart() {
	w.t.Helper()
	r, err := account.New(w.cfg)
	must(w.t, err)
	w.Registry = r
}

// device is a user's device as the client has it.
type device struct {
	account.Identity
	user     ed25519.PrivateKey
	token    string
	userCert []byte
	signer   mls.SignatureKey
	cred     mls.Credential
}

func (w *world) invite(name string) string {
	w.t.Helper()
	_, code, err := w.CreateInvite(ctx, account.NewInvite{Name: name})
	must(w.t, err)
	return code
}

func registration(invite, name string, user ed25519.PrivateKey) *clientapi.NewAccount {
	n := &clientapi.NewAccount{Invite: invite, Device: name, UserKey: user.Public().(ed25519.PublicKey)}
	n.Proof = ed25519.Sign(user, n.ProofTBS(domain))
	return n
}

func userKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return k
}

func (w *world) register(name, dev string, user ed25519.PrivateKey) *device {
	w.t.Helper()
	acc, err := w.Register(ctx, registration(w.invite(name), dev, user))
	must(w.t, err)
	return w.device(acc, user)
}

// device makes the client's side of an account.
func (w *world) device(acc *clientapi.Account, user ed25519.PrivateKey) *device {
	w.t.Helper()
	id, err := w.Authenticate(ctx, acc.Token)
	must(w.t, err)
	d := &device{Identity: id, user: user, token: acc.Token, userCert: acc.Certificate}
	d.signer, err = mls.GenerateSignatureKey(mls.X25519AES128Ed25519)
	must(w.t, err)
	cert, err := x509auth.IssueClient(user, acc.Certificate, acc.Client, d.signer.Public(), x509auth.ValidFor(w.now, x509auth.Lifetime))
	must(w.t, err)
	d.cred = mls.X509Credential(cert, acc.Certificate)
	return d
}

// keyPackage makes one that ends after d.
func (w *world) keyPackage(d *device, life time.Duration, lastResort bool, change ...func(*mls.LeafParams)) []byte {
	w.t.Helper()
	p := mls.LeafParams{Suite: mls.X25519AES128Ed25519, Signer: d.signer, Credential: d.cred, Lifetime: mls.LifetimeOf(w.now, life)}
	for _, c := range change {
		c(&p)
	}
	kp, err := mls.NewKeyPackage(p, lastResort, nil)
	must(w.t, err)
	return kp.KeyPackage().Bytes()
}

func (w *world) publish(d *device, n int, lastResort bool) {
	w.t.Helper()
	req := &clientapi.NewKeyPackages{}
	for i := range n {
		req.KeyPackages = append(req.KeyPackages, w.keyPackage(d, time.Duration(i+1)*24*time.Hour, false))
	}
	if lastResort {
		req.LastResort = w.keyPackage(d, 80*24*time.Hour, true)
	}
	got, err := w.PublishKeyPackages(ctx, d.Identity, req)
	must(w.t, err)
	if got.Available < n || got.LastResort != lastResort {
		w.t.Fatalf("published %d and last resort %t, count says %+v", n, lastResort, got)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantProblem checks that an error is a problem with the code.
func wantProblem(t testing.TB, err error, code clientapi.Code) {
	t.Helper()
	var p *clientapi.Problem
	switch {
	case !errors.As(err, &p):
		t.Errorf("got %v, want a problem with code %s", err, code)
	case p.Code != code:
		t.Errorf("got %v, want code %s", p, code)
	case p.Status < 400 || p.Detail == "":
		t.Errorf("problem without a status or text: %+v", p)
	}
}
