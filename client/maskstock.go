package client

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/ohttp"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// KeyPackages under pseudonyms: this device's, which it brings to its provider, and others',
// which it claims.

// packageMask is what a KeyPackage is under, and the key of its identity link.
type packageMask struct {
	User, Client string
	Key          []byte
}

// maxMasks bounds how many KeyPackages are made at once; the rest is asked for later.
const maxMasks = 64

// topUpMasks brings a KeyPackage for each pseudonym that the provider wants one for.
func (c *Client) topUpMasks() {
	c.async("publishing KeyPackages under pseudonyms", &c.maskStock, func(ctx context.Context) (func() error, error) {
		want := new(clientapi.WantedPseudonyms)
		err := c.api.call(ctx, "GET", "/v1/pseudonyms/keypackages", nil, want)
		if p, ok := errors.AsType[*clientapi.Problem](err); ok && p.Status == http.StatusNotFound {
			want.Pseudonyms, err = nil, nil // a provider that gives out none
		}
		if err != nil {
			return nil, err
		}
		return func() error {
			c.maskStock.at = c.cfg.Now().Add(packageCheck + jitter(packageCheck/4))
			c.heardRestored(want.Restored)
			if len(want.Pseudonyms) == 0 {
				return nil
			}
			return c.bringMasks(want.Pseudonyms[:min(len(want.Pseudonyms), maxMasks)])
		}, nil
	})
}

func (c *Client) bringMasks(names []string) error {
	b, now := new(batch), c.cfg.Now()
	req := new(clientapi.PseudonymousKeyPackages)
	for _, name := range names {
		p, err := uri.ParsePseudonym(name)
		if err == nil {
			err = pseudonym.Check(p)
		}
		if err == nil && p.Provider() != c.user.Provider() {
			err = errors.New("it is at another provider")
		}
		if err != nil {
			c.emit(Problem{Err: fmt.Errorf("pseudonym %.100q: %w: %w", name, ErrProtocol, err)})
			return nil
		}
		client, err := pseudonym.New(c.user.Provider())
		if err != nil {
			return err
		}
		leaf, k, err := c.me.masked(p, client, now)
		if err != nil {
			return err
		}
		kp, err := mls.NewKeyPackage(leaf, false, nil)
		if err != nil {
			return err
		}
		b.put(tableKeyPackage, string(kp.KeyPackage().Ref()), &packageRecord{Private: kp.Bytes(), Expires: now.Add(keyPackageLifetime).Unix(), Made: now.Unix(),
			Mask: &packageMask{User: p.String(), Client: client.String(), Key: k.Secret()}})
		req.KeyPackages = append(req.KeyPackages, clientapi.PseudonymousKeyPackage{KeyPackage: kp.KeyPackage().Bytes(), Key: k.Secret()})
		if len(b.writes) >= 10 { // no transaction needs to be large
			if err := c.commit(b); err != nil {
				return err
			}
			b = new(batch)
		}
	}
	if err := c.commit(b); err != nil {
		return err
	}
	c.async("publishing KeyPackages under pseudonyms", &c.maskStock, func(ctx context.Context) (func() error, error) {
		if err := c.api.call(ctx, "POST", "/v1/pseudonyms/keypackages", req, nil); err != nil {
			return nil, err
		}
		return func() error {
			c.maskStock.at = c.cfg.Now().Add(packageCheck + jitter(packageCheck/4))
			return nil
		}, nil
	})
	return nil
}

// claimed is what a claim has given.
type claimed struct {
	KeyPackages [][]byte
	As          string   // the pseudonym, in a pseudonymous room
	Masks       [][]byte // the keys of the identity links, likewise
}

// claimFrom claims KeyPackages of a user for a room of either kind.
func (c *Client) claimFrom(ctx context.Context, u uri.Room, who uri.User) (out claimed, err error) {
	masked := false
	var here claimed
	err = c.do(ctx, func() (error, error) {
		c.untouched()
		r := c.roomOf(u)
		if masked = r != nil && r.mask != nil; !masked || r.roster == nil {
			return nil, nil
		}
		at, unknown := c.goesBy(r, who.String())
		if unknown != nil {
			return nil, nil
		}
		switch p, err := uri.ParseParticipant(at); {
		case err != nil:
			return err, nil
		case r.roster.Clients(p) > 0:
			here = claimed{As: at}
		case c.roleIn(r, p) == policy.Banned:
			return fmt.Errorf("%s is banned: %w", who, ErrRefused), nil
		}
		return nil, nil
	})
	if err != nil {
		return out, err
	}
	switch {
	case !masked:
		out.KeyPackages, err = c.claim(ctx, u, who)
		return out, err
	case here.As != "": // there is nothing to add
		return here, nil
	}
	return c.claimMasked(ctx, u, who)
}

// claimMasked claims KeyPackages under a pseudonym. The request is encrypted to the user's
// provider: the own one, which may order the room, learns which provider is asked and no more.
func (c *Client) claimMasked(ctx context.Context, u uri.Room, who uri.User) (out claimed, err error) {
	m, api, err := c.self(ctx)
	if err != nil {
		return out, err
	}
	if _, is := who.Pseudonym(); is {
		return out, fmt.Errorf("%s is a pseudonym; users are added by their names: %w", who, ErrRefused)
	}
	domain := who.Provider().Domain()
	if err := c.know(ctx, domain); err != nil {
		return out, err
	}
	req := &wire.KeyMaterialRequest{RequestingUser: uriOf(m.user), TargetUser: uriOf(who), Room: wire.IdentifierURI(u.String()),
		Suites: []mls.CipherSuite{room.Suite}, Credential: m.credential()}
	if err := req.Sign(m.signer); err != nil {
		return out, fmt.Errorf("asking for KeyPackages: %w", err)
	}
	body, err := req.Bytes()
	if err != nil {
		return out, fmt.Errorf("asking for KeyPackages: %w", err)
	}
	content, err := c.askSealed(ctx, api, domain, body)
	if err != nil {
		return out, err
	}
	got := new(clientapi.PseudonymousClaim)
	if err := json.Unmarshal(content, got); err != nil {
		return out, fmt.Errorf("KeyPackages: %w: %w", ErrProtocol, err)
	}
	switch got.Status {
	case clientapi.ClaimGiven:
	case clientapi.ClaimNoConsent:
		return out, fmt.Errorf("%s: %w", who, ErrNoConsent)
	default:
		return out, fmt.Errorf("%s, under a pseudonym: %w", who, ErrNoKeyPackage)
	}
	out.As = got.Pseudonym
	for _, x := range got.KeyPackages {
		if _, err := c.checkMasked(x.KeyPackage, x.Key, out.As, who); err != nil {
			c.log.Warn("KeyPackage is of no use", "error", err)
			continue
		}
		out.KeyPackages, out.Masks = append(out.KeyPackages, x.KeyPackage), append(out.Masks, x.Key)
	}
	if len(out.KeyPackages) == 0 {
		return out, fmt.Errorf("%s: none of %d devices: %w", who, len(got.KeyPackages), ErrNoKeyPackage)
	}
	return out, nil
}

// checkMasked verifies a KeyPackage under a pseudonym: who it is says its identity link.
func (c *Client) checkMasked(raw, secret []byte, as string, who uri.User) (*mls.ValidKeyPackage, error) {
	kp, err := mls.ParseKeyPackage(raw, mls.Limits{})
	if err != nil {
		return nil, err
	}
	now := c.cfg.Now()
	v, err := kp.Verify(c.config(), now)
	if err != nil {
		return nil, err
	}
	cred, err := pseudonym.Of(kp.Leaf.Credential, kp.Leaf.SignatureKey)
	if err != nil {
		return nil, err
	}
	k, err := pseudonym.OwnKey(secret)
	if err != nil {
		return nil, err
	}
	claim, err := cred.Open(k, uri.Room{})
	if err != nil {
		return nil, err
	}
	link, err := claim.Verify(c.judgeOfNames(), now)
	switch {
	case err != nil:
		return nil, err
	case link.User() != who:
		return nil, fmt.Errorf("KeyPackage of %s for %s: %w", link.User(), who, ErrProtocol)
	case cred.User.String() != as:
		return nil, fmt.Errorf("KeyPackage of %s under %.100q: %w", cred.User, as, ErrProtocol)
	case kp.Suite != room.Suite:
		return nil, fmt.Errorf("suite %d: %w", kp.Suite, mls.ErrUnsupported)
	}
	return v, nil
}

// claimPath and claimField are where a provider's gateway takes claims (package oblivious).
const claimPath, claimField = "/v1/pseudonyms/claim", "mimid-claim"

// askSealed asks another provider through the own one, which learns neither what is asked nor
// the answer. Errors: *clientapi.Problem of either.
func (c *Client) askSealed(ctx context.Context, api *provider, domain string, body []byte) ([]byte, error) {
	for _, anew := range []bool{false, true} {
		b, err := c.askSealedWith(ctx, api, domain, body, anew)
		if !hasCode(err, clientapi.CodeKeySet) || anew {
			return b, err
		}
	}
	panic("client: unreachable")
}

func (c *Client) askSealedWith(ctx context.Context, api *provider, domain string, body []byte, anew bool) ([]byte, error) {
	bad := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("asking %s through the own provider: %w: %w", domain, ErrProtocol, err)
	}
	var keys clientapi.GatewayKeys
	if err := api.call(ctx, http.MethodPost, "/v1/oblivious/keys", &clientapi.ObliviousKeys{Gateway: domain, Anew: anew}, &keys); err != nil {
		return nil, err
	}
	signed, err := ohttp.ParseSigned(keys.Signed)
	if err != nil {
		return bad(err)
	}
	var k ohttp.Key
	err = errors.New("no key of it is known")
	for _, a := range c.trust.anchors(domain) {
		if k, err = signed.Verify(domain, c.cfg.Now(), a.(ed25519.PublicKey)); err == nil {
			break
		}
	}
	if err != nil {
		return bad(err)
	}
	q := &ohttp.Request{Method: http.MethodPost, Scheme: "https", Authority: domain, Path: claimPath,
		Fields: []ohttp.Field{{Name: claimField, Value: base64.RawURLEncoding.EncodeToString(body)}}}
	sealed, asked, err := ohttp.Seal(k, q.Bytes())
	if err != nil {
		return bad(err)
	}
	var got clientapi.ObliviousAnswer
	if err := api.call(ctx, http.MethodPost, "/v1/oblivious", &clientapi.ObliviousRequest{Gateway: domain, Sealed: sealed}, &got); err != nil {
		return nil, err
	}
	raw, err := asked.Open(got.Sealed)
	if err != nil {
		return bad(err)
	}
	a, err := ohttp.ParseAnswer(raw)
	if err != nil {
		return bad(err)
	}
	if a.Status == http.StatusOK {
		return a.Content, nil
	}
	p := new(clientapi.Problem)
	if err := json.Unmarshal(a.Content, p); err != nil || p.Code == "" {
		p = &clientapi.Problem{Code: clientapi.CodeUnreachable, Detail: fmt.Sprintf("%s answered with status %d", domain, a.Status)}
	}
	p.Status = a.Status
	return nil, p
}
