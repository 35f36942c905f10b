package stock_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/stock"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	domain = "atlanta.example"
	day    = 24 * time.Hour
)

// world is a provider's real accounts on a real store, watched, with a clock that stands still.
type world struct {
	*stock.Watch
	t        testing.TB
	accounts *account.Registry
	now      time.Time
	key      ed25519.PrivateKey
	trusted  []crypto.PublicKey // by who looks from outside
	log      bytes.Buffer
	told     []told
	probes   int
}

type told struct {
	user  string
	level stock.Level
	dry   int
	at    time.Time
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB, change ...func(*stock.Config)) *world {
	t.Helper()
	st, err := store.Open(store.Options{InMemory: true, Small: true})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, st.Close(context.Background())); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	w := &world{t: t, now: time.Unix(1_700_000_000, 0)}
	_, w.key, err = ed25519.GenerateKey(rand.Reader)
	must(t, err)
	w.trusted = []crypto.PublicKey{w.key.Public()}
	own := x509(t, func() []crypto.PublicKey { return []crypto.PublicKey{w.key.Public()} })
	w.accounts, err = account.New(account.Config{Domain: domain, Store: st, ProviderKey: func() crypto.Signer { return w.key }, Authenticator: own,
		Now: func() time.Time { return w.now }, Changed: func(u uri.User) { w.Changed(u) }})
	must(t, err)
	cfg := stock.Config{Accounts: w.accounts, Probe: w.probe, Authenticator: x509(t, func() []crypto.PublicKey { return w.trusted }),
		Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Tell: func(u uri.User, l stock.Level, dry []string) error {
			w.told = append(w.told, told{u.Name(), l, len(dry), w.now})
			return nil
		}}
	for _, c := range change {
		c(&cfg)
	}
	w.Watch, err = stock.New(cfg)
	must(t, err)
	return w
}

func x509(t testing.TB, anchors func() []crypto.PublicKey) mls.Authenticator {
	auth, err := x509auth.New(x509auth.Options{Anchors: func(d string) []crypto.PublicKey {
		if d != domain {
			return nil
		}
		return anchors()
	}})
	must(t, err)
	return auth
}

// probe is what contact.Service.Probe does.
func (w *world) probe(ctx context.Context, u uri.User) ([]byte, error) {
	w.probes++
	got, err := w.accounts.Claim(ctx, account.Claim{Target: u, Probe: true, Suites: []mls.CipherSuite{room.Suite}})
	if err != nil {
		return nil, err
	}
	return (&wire.KeyMaterialResponse{Status: got.Status, User: wire.IdentifierURI(u.String()), Clients: got.Clients}).Bytes()
}

// pass lets time pass with rounds every ten seconds, as Run makes them.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(10 * time.Second)
		must(w.t, w.Look(w.t.Context()))
	}
}

type device struct {
	account.Identity
	signer mls.SignatureKey
	cred   mls.Credential
}

// device registers one; devices of a user share its key.
func (w *world) device(user, name string) *device {
	t := w.t
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte(user[:1]), ed25519.SeedSize))
	_, code, err := w.accounts.CreateInvite(t.Context(), account.NewInvite{Name: user})
	must(t, err)
	n := &clientapi.NewAccount{Invite: code, Device: name, UserKey: key.Public().(ed25519.PublicKey)}
	n.Proof = ed25519.Sign(key, n.ProofTBS(domain))
	acc, err := w.accounts.Register(t.Context(), n)
	must(t, err)
	id, err := w.accounts.Authenticate(t.Context(), acc.Token)
	must(t, err)
	signer, err := mls.GenerateSignatureKey(room.Suite)
	must(t, err)
	cert, err := x509auth.IssueClient(key, acc.Certificate, acc.Client, signer.Public(), x509auth.ValidFor(w.now, x509auth.Lifetime))
	must(t, err)
	return &device{id, signer, mls.X509Credential(cert, acc.Certificate)}
}

func (w *world) packages(d *device, life time.Duration, last bool) []byte {
	w.t.Helper()
	kp, err := mls.NewKeyPackage(mls.LeafParams{Suite: room.Suite, Signer: d.signer, Credential: d.cred, Lifetime: mls.LifetimeOf(w.now, life)}, last, nil)
	must(w.t, err)
	return kp.KeyPackage().Bytes()
}

// publish brings n KeyPackages, and a last resort if its life is not zero.
func (w *world) publish(d *device, n int, life, last time.Duration) {
	w.t.Helper()
	req := new(clientapi.NewKeyPackages)
	for range n {
		req.KeyPackages = append(req.KeyPackages, w.packages(d, life, false))
	}
	if last > 0 {
		req.LastResort = w.packages(d, last, true)
	}
	_, err := w.accounts.PublishKeyPackages(w.t.Context(), d.Identity, req)
	must(w.t, err)
}

// claim takes one of each device of a user.
func (w *world) claim(d *device, room string) {
	w.t.Helper()
	_, err := w.accounts.Claim(w.t.Context(), account.Claim{Target: d.User, Requester: "mimi://biloxi.example/u/bob", Room: room,
		Provider: "biloxi.example", Suites: []mls.CipherSuite{mls.X25519AES128Ed25519}})
	must(w.t, err)
}

func (w *world) wantCounts(want stock.Counts) {
	w.t.Helper()
	if got := w.Counts(); got != want {
		w.t.Errorf("counts are %+v, want %+v", got, want)
	}
}
