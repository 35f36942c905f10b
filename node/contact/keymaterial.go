package contact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// MaxKeyMaterialRequest is the longest KeyMaterialRequest, in octets.
const MaxKeyMaterialRequest = 32 << 10

// claim is a KeyMaterialRequest with its names read.
type claim struct {
	request           *wire.KeyMaterialRequest
	requester, target uri.User
	room              uri.Room // zero: none
}

// foreign says whether a request is of a protocol that this provider does not speak. The rest
// of such a request cannot be read.
func foreign(b []byte) bool {
	return len(b) > 0 && len(b) <= MaxKeyMaterialRequest && b[0] > byte(wire.MLS10)
}

// incompatible answers a request that nobody could be given anything for. It depends on the
// request alone and not on whom it is for.
func incompatible(target wire.IdentifierURI) ([]byte, error) {
	m := wire.KeyMaterialResponse{Status: wire.KeyMaterialIncompatibleProtocol, User: target}
	b, err := m.Bytes()
	if err != nil {
		return nil, fmt.Errorf("answering a request for KeyPackages: %w", err)
	}
	return b, nil
}

func parseClaim(b []byte) (*claim, *clientapi.Problem) {
	if len(b) > MaxKeyMaterialRequest {
		return nil, problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "a request of %d octets: at most %d", len(b), MaxKeyMaterialRequest)
	}
	m, err := wire.ParseKeyMaterialRequest(b, wire.Limits{})
	if err != nil {
		return nil, invalid("the request for KeyPackages does not decode: %v", err)
	}
	c := &claim{request: m}
	if c.requester, err = uri.ParseUser(string(m.RequestingUser)); err != nil {
		return nil, invalid("the requesting user: %v", err)
	}
	if c.target, err = uri.ParseUser(string(m.TargetUser)); err != nil {
		return nil, invalid("the target user: %v", err)
	}
	if m.Room != "" {
		if c.room, err = uri.ParseRoom(string(m.Room)); err != nil {
			return nil, invalid("the room: %v", err)
		}
	}
	return c, nil
}

// incompatible says whether all cipher suites that are asked for are ones that this provider
// does not know, so that nobody here has KeyPackages of them.
func (c *claim) incompatible() bool {
	return !slices.ContainsFunc(c.request.Suites, mls.CipherSuite.Supported)
}

// verify checks that the requesting user signed the request, now or earlier.
func (s *Service) verify(c *claim) *clientapi.Problem {
	if _, err := c.request.Verify(s.cfg.Authenticator, s.cfg.Now()); err != nil {
		return forbidden("the request for KeyPackages does not verify: %v", err)
	}
	user, err := x509auth.UserURI(c.request.Credential)
	if err != nil {
		return forbidden("the credential of the request: %v", err)
	}
	if user != c.requester.String() {
		return forbidden("the request says that %s asks, and its credential belongs to %s", c.requester, user)
	}
	return nil
}

// ClaimKeyPackages fetches KeyPackages of another user for an own one.
func (s *Service) ClaimKeyPackages(ctx context.Context, who account.Identity, q *clientapi.ClaimKeyPackages) (*clientapi.ClaimedKeyPackages, error) {
	c, bad := parseClaim(q.Request)
	if bad != nil {
		return nil, bad
	}
	if c.requester != who.User {
		return nil, forbidden("the request says that %s asks, and this is %s", c.requester, who.User)
	}
	if client, err := x509auth.ClientURI(c.request.Credential); err != nil || client != who.Client.String() {
		return nil, forbidden("the credential of the request is not that of %s", who.Client)
	}
	if c.incompatible() {
		b, err := incompatible(c.request.TargetUser)
		return &clientapi.ClaimedKeyPackages{Response: b}, err
	}
	if bad := s.verify(c); bad != nil {
		return nil, bad
	}
	if s.local(c.target) {
		b, err := s.answer(ctx, c, s.cfg.Domain)
		return &clientapi.ClaimedKeyPackages{Response: b}, err
	}
	to := c.target.Provider().Domain()
	if hub, ok := s.hub(c.room); ok && hub != s.cfg.Domain {
		to = hub
	}
	b, err := s.fetch(ctx, to, c, q.Request)
	if err != nil {
		return nil, err
	}
	return &clientapi.ClaimedKeyPackages{Response: b}, nil
}

func (s *Service) hub(room uri.Room) (domain string, ok bool) {
	if s.cfg.Rooms == nil || room.IsZero() {
		return "", false
	}
	return s.cfg.Rooms.Hub(room.String())
}

// fetch passes a request on and looks whether the answer is one.
func (s *Service) fetch(ctx context.Context, to string, c *claim, body []byte) ([]byte, error) {
	resp, err := s.cfg.Caller.Call(ctx, peering.Request{Target: to, Endpoint: wire.EndpointKeyMaterial.String(),
		Subject: string(c.request.TargetUser), Room: c.request.Room, Body: body})
	if err != nil {
		if p := peering.Problem(err); p != nil {
			return nil, p
		}
		return nil, fmt.Errorf("fetching KeyPackages: %w", err)
	}
	m, err := wire.ParseKeyMaterialResponse(resp.Body, wire.Limits{})
	if err != nil || m.User != c.request.TargetUser {
		return nil, problem(http.StatusBadGateway, clientapi.CodeUnreachable, "%s answers nonsense when asked for KeyPackages of %s: %v", to, c.target, err)
	}
	return resp.Body, nil
}

// handleKeyMaterial serves keyMaterial (MIMI section 5.2): as the target's
// provider, or as the hub that passes it on.
func (s *Service) handleKeyMaterial(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	if foreign(in.Body) {
		if u, err := uri.ParseUser(in.Subject); err != nil {
			return nil, invalid("%.200q is no user", in.Subject)
		} else if in.Subject != u.String() {
			return nil, invalid("%.200q is not how %s is written", in.Subject, u)
		}
		b, err := incompatible(wire.IdentifierURI(in.Subject))
		return &peering.Response{Body: b}, err
	}
	c, bad := parseClaim(in.Body)
	switch {
	case bad != nil:
		return nil, bad
	case in.Subject != c.target.String():
		return nil, invalid("the request is for %s, the URL for %.200q", c.target, in.Subject)
	case in.Room != c.request.Room && !in.Plain:
		return nil, invalid("the request is for room %q, the envelope for %q", c.request.Room, in.Room)
	}
	if c.incompatible() {
		// Nobody could check the signature either: it is of one of these cipher suites.
		b, err := incompatible(c.request.TargetUser)
		return &peering.Response{Body: b}, err
	}
	own := c.requester.Provider().Domain() == in.Source
	if !s.local(c.target) {
		if hub, ok := s.hub(c.room); !ok || hub != s.cfg.Domain || !own || !s.cfg.Rooms.TakesPart(c.room.String(), in.Source) {
			return nil, forbidden("%s passes requests on for providers of rooms that it is the hub of, and nothing else", s.cfg.Domain)
		}
		b, err := s.fetch(ctx, c.target.Provider().Domain(), c, in.Body)
		return &peering.Response{Body: b}, err
	}
	if !own && c.room.IsZero() {
		return nil, forbidden("%s asks for %s, which only a room's hub may", in.Source, c.requester)
	}
	// The authenticator knows keys of resolved providers only. Of the source that
	// has been done; a hub asks for users of others.
	if domain := c.requester.Provider().Domain(); !own && domain != s.cfg.Domain {
		if _, err := s.cfg.Directory.Resolve(ctx, domain); err != nil {
			p := problem(http.StatusServiceUnavailable, peering.CodeUnresolved, "the requester's provider %s could not be verified: %v", domain, err)
			p.Retry = 5000
			return nil, p
		}
	}
	if bad := s.verify(c); bad != nil {
		return nil, bad
	}
	b, err := s.answer(ctx, c, in.Source)
	return &peering.Response{Body: b}, err
}

// answer is that of the target's provider. Consent comes first: without it
// nothing is looked up that depends on whether the target exists, and the answer
// is always the same. source is the provider that the request came from.
func (s *Service) answer(ctx context.Context, c *claim, source string) ([]byte, error) {
	allowed, err := s.allowed(ctx, c, source)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return encode(&wire.KeyMaterialResponse{Status: wire.KeyMaterialNoConsent, User: c.request.TargetUser})
	}
	return s.take(ctx, account.Claim{Target: c.target, Requester: c.requester.String(), Room: c.room.String(),
		Provider: c.requester.Provider().Domain(), Suites: c.request.Suites, Required: c.request.Required})
}

// Probe is the answer that somebody of another provider would get now who has the user's
// consent and wants to add the user to a room, made by what makes those answers. Nothing is
// used up, and nobody is asked.
func (s *Service) Probe(ctx context.Context, target uri.User) ([]byte, error) {
	return s.take(ctx, account.Claim{Target: target, Probe: true, Suites: []mls.CipherSuite{room.Suite},
		Required: mls.RequiredCapabilities{Extensions: []mls.ExtensionType{mls.ExtAppDataDictionary},
			Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalSelfRemove}}})
}

// take makes a claim and encodes what it got.
func (s *Service) take(ctx context.Context, c account.Claim) ([]byte, error) {
	claimed, err := s.cfg.Accounts.Claim(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("answering a request for KeyPackages: %w", err)
	}
	return encode(&wire.KeyMaterialResponse{Status: claimed.Status, User: wire.IdentifierURI(c.Target.String()), Clients: claimed.Clients})
}

func encode(resp *wire.KeyMaterialResponse) ([]byte, error) {
	b, err := resp.Bytes()
	if err != nil {
		return nil, fmt.Errorf("answering a request for KeyPackages: %w", err)
	}
	return b, nil
}

// allowed reads both scopes and the mode whatever the first says, and then whether the target has asked to
// be let into the room, which is consent, too: one that a block of the requester is above.
func (s *Service) allowed(ctx context.Context, c *claim, source string) (ok bool, err error) {
	if c.requester == c.target {
		return true, nil // a user's own devices
	}
	blocked := false
	err = s.cfg.Store.View(func(tx *store.Tx) error {
		any, err1 := readState(tx, given, scope{requester: c.requester, target: c.target})
		room, err2 := any, error(nil)
		if !c.room.IsZero() {
			room, err2 = readState(tx, given, scope{c.requester, c.target, c.room})
		}
		mode, err3 := s.modeFor(tx, c.target, c.requester)
		ok, blocked = consent.Judge(mode, any.state, room.state) != consent.Refuse, consent.Blocks(any.state, room.state)
		return errors.Join(err1, err2, err3)
	})
	if err != nil || ok || s.cfg.Knocks == nil || c.room.IsZero() {
		return ok, err
	}
	knocks, err := s.cfg.Knocks.Admits(ctx, c.requester, c.target, c.room, source)
	return knocks && !blocked, err
}
