package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// identity is the record of who this client is. Before the provider has
// answered, it holds the keys and the request, so that the same registration can
// be made again.
type identity struct {
	URL    string
	Invite string `json:",omitempty"`
	Device string
	// UserKey is the seed of the user's Ed25519 key, SignKey the device's MLS key.
	UserKey, SignKey []byte

	Domain, User, Client string
	Token                string
	UserCert, ClientCert []byte
	// RenewAt is when the certificates are to be renewed, Unix seconds.
	RenewAt int64
	Hosting hostingOf
}

// hostingOf is what a new room's room_hosting takes of the own provider.
type hostingOf struct {
	Key, FrankingKey []byte
	MaxMessage       int
}

// Format implements fmt.Formatter; it prints no key.
func (i identity) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "identity(%s)", i.Client) }

// me is the identity as it is used.
type me struct {
	identity
	user   uri.User
	client uri.Client
	signer mls.SignatureKey
}

// Format implements fmt.Formatter; it prints no key.
func (m me) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "me(%s)", m.Client) }

func (i *identity) open() (*me, error) {
	m := &me{identity: *i}
	var err error
	if m.user, err = uri.ParseUser(i.User); err != nil {
		return nil, fmt.Errorf("reading identity: %w: %w", ErrStorage, err)
	}
	if m.client, err = uri.ParseClient(i.Client); err != nil {
		return nil, fmt.Errorf("reading identity: %w: %w", ErrStorage, err)
	}
	if m.signer, err = mls.ParseSignatureKey(room.Suite, i.SignKey); err != nil {
		return nil, fmt.Errorf("reading identity: %w: %w", ErrStorage, err)
	}
	return m, nil
}

func (m *me) credential() mls.Credential { return mls.X509Credential(m.ClientCert, m.UserCert) }

// leaf is what this client says about itself in groups and KeyPackages.
func (m *me) leaf(now time.Time) mls.LeafParams {
	return mls.LeafParams{Suite: room.Suite, Signer: m.signer, Credential: m.credential(),
		Lifetime: mls.LifetimeOf(now, keyPackageLifetime)}
}

// certify makes the client certificate under a user certificate.
func (i *identity) certify(now time.Time) error {
	sign, err := mls.ParseSignatureKey(room.Suite, i.SignKey)
	if err != nil {
		return err
	}
	i.ClientCert, err = x509auth.IssueClient(ed25519.NewKeyFromSeed(i.UserKey), i.UserCert, i.Client, sign.Public(), x509auth.ValidFor(now, x509auth.Lifetime))
	if err != nil {
		return fmt.Errorf("issuing certificate of %s: %w", i.Client, err)
	}
	i.RenewAt = now.Add(x509auth.Lifetime*2/3 + jitter(x509auth.Lifetime/20)).Unix()
	return nil
}

// Register makes this device known to a provider: the user's first device, with
// an invite of the operator. A second call with the same arguments repeats one
// whose answer got lost. Call it before Run.
//
// Errors: ErrRegistered, ErrUnreachable, ErrProtocol, ErrStorage, and the
// provider's *clientapi.Problem.
func (c *Client) Register(ctx context.Context, providerURL, invite, device string) error {
	if c.me != nil {
		return fmt.Errorf("registering %s: %s: %w", device, c.me.Client, ErrRegistered)
	}
	if err := c.registerAs(ctx, &registration{url: providerURL, invite: invite, device: device}); err != nil {
		return fmt.Errorf("registering at %s: %w", providerURL, err)
	}
	return nil
}

// RegisterFurther makes this client a further device of the user whose device another one
// is, with an invite for the same name, on one machine: it takes the user's key over from
// there. To another machine that comes by a code, see OfferDevice. The
// other client must not be running. It comes into the user's rooms by itself when it runs.
// Errors as Register, and ErrNotRegistered.
func (c *Client) RegisterFurther(ctx context.Context, of *Client, invite, device string) error {
	if of.me == nil {
		return fmt.Errorf("registering a further device: %w", ErrNotRegistered)
	}
	if c.me != nil {
		return fmt.Errorf("registering %s: %s: %w", device, c.me.Client, ErrRegistered)
	}
	if err := c.registerAs(ctx, &registration{url: of.me.URL, invite: invite, device: device, userKey: of.me.UserKey, domain: of.me.Domain, user: of.me.User}); err != nil {
		return fmt.Errorf("registering at %s: %w", of.me.URL, err)
	}
	return nil
}

// registration is what a device registers with.
type registration struct {
	url, invite, device string
	userKey             []byte // nil: a fresh one
	domain, user        string // whose the user key is; empty with a fresh one
}

// Format implements fmt.Formatter; it prints no key and no invite.
func (g *registration) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "registration(%s)", g.device) }

func (c *Client) registerAs(ctx context.Context, g *registration) error {
	providerURL, invite, device, userKey := g.url, g.invite, g.device, g.userKey
	p, err := newProvider(providerURL, c.cfg.HTTP)
	if err != nil {
		return err
	}
	about := new(clientapi.Provider)
	if err := p.call(ctx, "GET", "/v1/provider", nil, about); err != nil {
		return err
	}
	domain, err := uri.ParseDomain(about.Domain)
	if err != nil {
		return fmt.Errorf("domain of the provider: %w: %w", ErrProtocol, err)
	}
	if g.domain != "" && domain.Domain() != g.domain {
		return fmt.Errorf("%s is %s, and the account is at %s: %w", providerURL, domain.Domain(), g.domain, ErrProtocol)
	}
	id := c.started
	if id == nil || id.URL != providerURL || id.Invite != invite || id.Device != device || userKey != nil && !bytes.Equal(userKey, id.UserKey) {
		if id, err = newIdentity(providerURL, invite, device); err != nil {
			return err
		}
		if userKey != nil {
			id.UserKey = slices.Clone(userKey)
		}
	}
	// The keys are durable before the provider learns them.
	b := new(batch)
	b.put(tableSelf, nameIdentity, id)
	if err := c.write(ctx, b); err != nil {
		return err
	}
	c.started = id
	key := ed25519.NewKeyFromSeed(id.UserKey)
	req := &clientapi.NewAccount{Invite: invite, Device: device, UserKey: key.Public().(ed25519.PublicKey)}
	req.Proof = ed25519.Sign(key, req.ProofTBS(domain.Domain()))
	got := new(clientapi.Account)
	if err := p.call(ctx, "POST", "/v1/accounts", req, got); err != nil {
		return err
	}
	user, err := uri.ParseUser(got.User)
	if err == nil && user.Provider() != domain {
		err = errors.New("user of another domain")
	}
	if err == nil && g.user != "" && got.User != g.user {
		err = fmt.Errorf("it is not %s", g.user)
	}
	if err != nil {
		return fmt.Errorf("account %.100q: %w: %w", got.User, ErrProtocol, err)
	}
	done := *id
	done.Invite, done.Domain, done.User, done.Client = "", domain.Domain(), got.User, got.Client
	done.Token, done.UserCert = got.Token, got.Certificate
	done.Hosting = hostingOf{about.Key, about.FrankingKey, about.MaxMessage}
	if err := done.certify(c.cfg.Now()); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	m, err := done.open()
	if err != nil {
		return err
	}
	b = new(batch)
	if err := c.trust.learn(b, about); err != nil {
		return err
	}
	if err := c.auth.Authenticate(m.credential(), m.signer.Public(), c.cfg.Now()); err != nil {
		return fmt.Errorf("own certificate: %w: %w", ErrProtocol, err)
	}
	b.put(tableSelf, nameIdentity, &done)
	if err := c.write(ctx, b); err != nil {
		return err
	}
	p.token = done.Token
	c.me, c.user, c.api, c.started = m, m.user, p, nil
	return nil
}

func newIdentity(providerURL, invite, device string) (*identity, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating user key: %w", err)
	}
	sign, err := mls.GenerateSignatureKey(room.Suite)
	if err != nil {
		return nil, err
	}
	return &identity{URL: providerURL, Invite: invite, Device: device, UserKey: key.Seed(), SignKey: sign.Bytes()}, nil
}

// renew replaces the certificates; the groups follow, each by a commit, and the
// KeyPackages.
func (c *Client) renew() {
	id := c.me.identity
	c.async("renewing the certificate", &c.renewal, func(ctx context.Context) (func() error, error) {
		got := new(clientapi.Certificate)
		if err := c.api.call(ctx, "POST", "/v1/account/certificate", &clientapi.NewCertificate{}, got); err != nil {
			return nil, err
		}
		id.UserCert = got.Certificate
		if err := id.certify(c.cfg.Now()); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		m, err := id.open()
		if err != nil {
			return nil, err
		}
		if err := c.auth.Authenticate(m.credential(), m.signer.Public(), c.cfg.Now()); err != nil {
			return nil, fmt.Errorf("own certificate: %w: %w", ErrProtocol, err)
		}
		return func() error {
			b := new(batch)
			b.put(tableSelf, nameIdentity, &id)
			for _, r := range c.sortedRooms() {
				if r.State == roomJoined {
					c.newWish(b, &wish{Room: r.id, Kind: wishUpdate})
				}
			}
			if err := c.commit(b); err != nil {
				return err
			}
			c.me = m
			c.packages.fresh, c.packages.renew = true, false
			c.packages.at = time.Time{}
			return nil
		}, nil
	})
}
