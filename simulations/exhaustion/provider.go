package exhaustion

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/store"
)

const (
	domain = "here.example"
	suite  = mls.X25519AES128Ed25519
	// lifetime of a KeyPackage, as package client makes them.
	lifetime = 30 * 24 * time.Hour
)

// epoch is the provider's time when the run begins.
var epoch = time.Unix(1_800_000_000, 0)

// A provider is the one that is attacked: the part of a real node that keeps accounts and KeyPackages.
// It belongs to the run's goroutine, but for the store's own.
type provider struct {
	registry *account.Registry
	store    *store.Store
	cancel   context.CancelFunc
	ended    chan error
	users    []*user
	low      int
	full     int
	now      func() time.Time
}

// A user has one device.
type user struct {
	account.Identity
	index  int
	signer mls.SignatureKey
	cred   mls.Credential
}

func newProvider(e *engine.Engine, p Parameters) (*provider, error) {
	now := func() time.Time { return epoch.Add(e.Now()) }
	st, err := store.Open(store.Options{InMemory: true, Small: true})
	if err != nil {
		return nil, fmt.Errorf("opening a store in memory: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	at := &provider{store: st, cancel: cancel, ended: make(chan error, 1), low: p.Low, full: p.Full, now: now}
	go func() { at.ended <- st.Run(ctx) }()
	if err := at.fill(p); err != nil {
		return nil, errors.Join(err, at.close())
	}
	return at, nil
}

// fill makes the registry, and users with as many KeyPackages as they want to have.
func (at *provider) fill(p Parameters) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	auth, err := x509auth.New(x509auth.Options{Anchors: func(d string) []crypto.PublicKey {
		if d != domain {
			return nil
		}
		return []crypto.PublicKey{key.Public()}
	}})
	if err != nil {
		return err
	}
	cfg := account.Config{Domain: domain, Store: at.store, ProviderKey: func() crypto.Signer { return key }, Authenticator: auth, Now: at.now}
	if !p.Shares {
		all := account.Share{Burst: 1 << 30, Every: time.Millisecond}
		cfg.RequesterShare, cfg.ProviderShare = all, all
	}
	if at.registry, err = account.New(cfg); err != nil {
		return err
	}
	for i := range p.Users {
		u, err := at.register(fmt.Sprintf("u%d", i))
		if err != nil {
			return err
		}
		u.index = i
		at.users = append(at.users, u)
		if err := at.publish(u, p.Full, true); err != nil {
			return err
		}
	}
	return nil
}

func (at *provider) close() error {
	at.cancel()
	return errors.Join(<-at.ended, at.store.Close(context.Background()))
}

func (at *provider) register(name string) (*user, error) {
	ctx := context.Background()
	_, code, err := at.registry.CreateInvite(ctx, account.NewInvite{Name: name})
	if err != nil {
		return nil, err
	}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	q := &clientapi.NewAccount{Invite: code, Device: "phone", UserKey: public}
	q.Proof = ed25519.Sign(key, q.ProofTBS(domain))
	acc, err := at.registry.Register(ctx, q)
	if err != nil {
		return nil, err
	}
	u := new(user)
	if u.Identity, err = at.registry.Authenticate(ctx, acc.Token); err != nil {
		return nil, err
	}
	if u.signer, err = mls.GenerateSignatureKey(suite); err != nil {
		return nil, err
	}
	cert, err := x509auth.IssueClient(key, acc.Certificate, acc.Client, u.signer.Public(), x509auth.ValidFor(at.now(), x509auth.Lifetime))
	if err != nil {
		return nil, err
	}
	u.cred = mls.X509Credential(cert, acc.Certificate)
	return u, nil
}

// publish brings KeyPackages of a user's device, as the device does.
func (at *provider) publish(u *user, n int, lastResort bool) error {
	q := new(clientapi.NewKeyPackages)
	params := mls.LeafParams{Suite: suite, Signer: u.signer, Credential: u.cred, Lifetime: mls.LifetimeOf(at.now(), lifetime)}
	for range n {
		kp, err := mls.NewKeyPackage(params, false, nil)
		if err != nil {
			return err
		}
		q.KeyPackages = append(q.KeyPackages, kp.KeyPackage().Bytes())
	}
	if lastResort {
		kp, err := mls.NewKeyPackage(params, true, nil)
		if err != nil {
			return err
		}
		q.LastResort = kp.KeyPackage().Bytes()
	}
	_, err := at.registry.PublishKeyPackages(context.Background(), u.Identity, q)
	return err
}

// look is a device's look at what is left.
func (at *provider) look(u *user) error {
	n, err := at.left(u)
	if err != nil || n >= at.low {
		return err
	}
	return at.publish(u, at.full-n, false)
}

func (at *provider) left(u *user) (int, error) {
	n, err := at.registry.CountKeyPackages(context.Background(), u.Identity)
	if err != nil {
		return 0, err
	}
	return n.Available, nil
}

// joined says that a Welcome has come, as the node does when it delivers one.
func (at *provider) joined(ref [32]byte) error {
	return at.store.Update(context.Background(), func(tx *store.Tx) error { return at.registry.Joined(tx, ref[:]) })
}

func (at *provider) sweep() error {
	_, err := at.registry.Sweep(context.Background())
	return err
}
