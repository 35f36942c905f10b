package contact

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Endpoints of discovery between providers; they are not MIMI's. The subject is
// the day key in hexadecimal. Those who ask know the node and not whose it is,
// so they name the node as the target.
const (
	EndpointLookup = "lookup" // discovery.Query -> discovery.Challenge
	EndpointReveal = "reveal" // discovery.Reveal -> discovery.Answer
)

const (
	maxAnnouncers = 64               // that are asked about one identifier, all at once
	askWithin     = 5 * time.Second  // one of them
	findWithin    = 6 * time.Second  // until the last is found
	searchWithin  = 12 * time.Second // altogether
	foundWithin   = 2 * time.Second  // after a claim is found, and no announcer any more: the rest are slow or lie
	maxMessage    = 1 << 10          // Query, Challenge, Reveal
)

// Discover asks all providers that announce an identifier who owns it.
func (s *Service) Discover(ctx context.Context, who account.Identity, q *clientapi.Discover) (*clientapi.Discovered, error) {
	secret, err := discovery.ParseSecret(q.Secret)
	if err != nil {
		return nil, invalid("the secret has %d octets, not %d", len(q.Secret), discovery.KeySize)
	}
	if ok, wait := s.searches.Take(who.User.String(), 1, s.cfg.Now()); !ok {
		return nil, tooMany(wait, "%s has used many identifiers: wait", who.User)
	}
	began, now := time.Now(), s.cfg.Now()
	found, err := s.verified(secret, now)
	if err != nil {
		return nil, err
	}
	how, over := s.named(), ""
	if q.Privacy != nil {
		if how, err = s.veiled(q.Privacy); err != nil {
			return nil, err
		}
		over = q.Privacy.Over
	}
	more, asked, failed, err := s.search(ctx, how, secret, now)
	if err != nil {
		return nil, err
	}
	out := &clientapi.Discovered{Found: []clientapi.Found{}, Asked: asked, Failed: failed, Over: over}
	group := discovery.Group(append(found, more...))
	out.Conflict = group.Conflict()
	for i, o := range group.Owners {
		for _, v := range o.Claims {
			standing, by := s.judge(ctx, v, now)
			out.Found = append(out.Found, clientapi.Found{User: v.User().String(), Provider: v.Provider().Domain(), Method: string(v.Method()),
				Verified: string(standing), Authority: by.Authority(), VerifiedAt: by.At(), Owner: i + 1,
				Tags: v.Tags(), Issued: v.Issued().UnixMilli(), Expires: v.Expires().UnixMilli(), Claim: v.Claim().Bytes()})
		}
	}
	out.TookMS = time.Since(began).Milliseconds()
	return out, nil
}

// search asks announcers as they are found, all at once. One that does not answer costs
// no other's time, and once a claim is there, little of the searcher's.
func (s *Service) search(ctx context.Context, how way, secret discovery.Secret, now time.Time) (found []*discovery.VerifiedClaim, asked, failed int, err error) {
	if how.announcers == nil {
		return nil, 0, 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, how.searchWithin)
	defer cancel()
	day := discovery.DayOf(now)
	type answer struct {
		claims []*discovery.VerifiedClaim
		err    error
	}
	answers := make(chan answer, maxAnnouncers) // nobody who asks waits for us
	finding, stop := context.WithTimeout(ctx, how.findWithin)
	defer stop()
	for id, err := range how.announcers(finding, secret.DayKey(day), maxAnnouncers) {
		if err != nil {
			return nil, asked, failed, err
		}
		asked++
		go func() {
			ctx, cancel := context.WithTimeout(ctx, how.askWithin)
			defer cancel()
			claims, err := s.askAnnouncer(ctx, how, id, secret, day, now)
			if err != nil {
				s.cfg.Log.Debug("asking an announcer", "peer", id, "err", err)
			}
			answers <- answer{claims, err}
		}()
	}
	var enough <-chan time.Time
	for left := asked; left > 0; left-- {
		select {
		case a := <-answers:
			found = append(found, a.claims...)
			if a.err != nil {
				failed++
			}
			if len(found) > 0 && enough == nil {
				enough = time.After(how.foundWithin)
			}
		case <-enough:
			return found, asked, failed + left, nil
		}
	}
	return found, asked, failed, nil
}

var errNotItsNode = errors.New("contact: the node that announces is not one of the provider's that it names")

// askAnnouncer asks one announcer. It may return claims and an error, if some were bad.
func (s *Service) askAnnouncer(ctx context.Context, how way, id overlay.PeerID, secret discovery.Secret, day discovery.Day, now time.Time) ([]*discovery.VerifiedClaim, error) {
	host, err := overlay.PeerHost(id)
	if err != nil {
		return nil, fmt.Errorf("naming announcer: %w", err)
	}
	search, err := discovery.NewSearcher(secret, day, how.as, []byte(id))
	if err != nil {
		return nil, err
	}
	k := secret.DayKey(day)
	subject := hex.EncodeToString(k[:])
	resp, err := how.caller.Call(ctx, peering.Request{Target: host, Endpoint: EndpointLookup, Subject: subject, Body: search.Query().Bytes(), MaxResponse: maxMessage})
	if err != nil {
		return nil, err
	}
	challenge, err := discovery.ParseChallenge(resp.Body)
	if err != nil {
		return nil, err
	}
	reveal, err := search.Reveal(challenge)
	if err != nil {
		return nil, err
	}
	// Before the handle goes out: is it the provider that it says? This also
	// makes its keys known.
	domain, its := search.Announcer().Domain(), false
	if how.speaks != nil {
		its = how.speaks(domain, id)
	} else {
		p, err := s.cfg.Directory.Resolve(ctx, domain)
		if err != nil {
			return nil, fmt.Errorf("resolving announcer: %w", err)
		}
		its = slices.Contains(p.Nodes, string(id))
	}
	if !its {
		return nil, errNotItsNode
	}
	resp, err = how.caller.Call(ctx, peering.Request{Target: host, Endpoint: EndpointReveal, Subject: subject, Body: reveal.Bytes(), MaxResponse: discovery.MaxAnswer})
	if err != nil {
		return nil, err
	}
	answer, err := discovery.ParseAnswer(resp.Body)
	if err != nil {
		return nil, err
	}
	found, refused, err := search.Claims(answer, s.cfg.Anchors, now)
	return found, errors.Join(append(refused, err)...)
}

// admitLookup counts what one provider asks for, or all together who are not named, whatever comes of it.
func (s *Service) admitLookup(in *peering.Incoming) (uri.Provider, *clientapi.Problem) {
	if ok, wait := s.lookups.Take(in.Source, 1, s.cfg.Now()); !ok {
		return uri.Provider{}, tooMany(wait, "%s looks up many identifiers: wait", cmp.Or(in.Source, "who is not named"))
	}
	if in.Source == "" {
		return discovery.Unnamed(), nil
	}
	from, err := uri.ParseDomain(in.Source)
	if err != nil {
		return from, invalid("source %.100q: %v", in.Source, err)
	}
	return from, nil
}

// notAnnounced is the answer to everything that does not fit: a searcher that is
// honest has found us in the DHT, and a guess must not cost less than a look
// there.
func notAnnounced() *clientapi.Problem {
	return problem(http.StatusNotFound, clientapi.CodeNotFound, "this node does not announce the key, or not any more")
}

// announcerSide is who we are in a lookup. The node is known only while the
// overlay runs, so it is made at the first lookup.
func (s *Service) announcerSide() (*discovery.Announcer, error) {
	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	if s.side == nil {
		if s.cfg.Announcer == nil {
			return nil, notAnnounced()
		}
		side, err := discovery.NewAnnouncer(s.provider, []byte(s.cfg.Announcer.Self()))
		if err != nil {
			return nil, err
		}
		s.side = side
	}
	return s.side, nil
}

func (s *Service) handleLookup(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
	from, bad := s.admitLookup(in)
	if bad != nil {
		return nil, bad
	}
	q, err := discovery.ParseQuery(in.Body)
	if err != nil {
		return nil, invalid("the query does not decode: %v", err)
	}
	if in.Subject != hex.EncodeToString(q.DayKey[:]) {
		return nil, invalid("the query is for another key than the URL")
	}
	secret, ok := s.index.find(q.DayKey)
	if !ok {
		return nil, notAnnounced()
	}
	side, err := s.announcerSide()
	if err != nil {
		return nil, err
	}
	c, err := side.Challenge(q, from, secret, s.cfg.Now())
	if err != nil {
		return nil, refusedLookup(err)
	}
	return &peering.Response{Body: c.Bytes()}, nil
}

func (s *Service) handleReveal(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
	from, bad := s.admitLookup(in)
	if bad != nil {
		return nil, bad
	}
	m, err := discovery.ParseReveal(in.Body)
	if err != nil {
		return nil, invalid("the reveal does not decode: %v", err)
	}
	if in.Subject != hex.EncodeToString(m.Query.DayKey[:]) {
		return nil, invalid("the reveal is for another key than the URL")
	}
	secret, ok := s.index.find(m.Query.DayKey)
	if !ok {
		return nil, notAnnounced()
	}
	side, err := s.announcerSide()
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	// Verified first without claims, so that who cannot prove costs no reading.
	if _, err := side.Answer(m, from, secret, nil, now); err != nil {
		return nil, refusedLookup(err)
	}
	claims, err := s.verified(secret, now)
	if err != nil {
		return nil, err
	}
	a, err := side.Answer(m, from, secret, claims, now)
	if err != nil {
		return nil, refusedLookup(err)
	}
	return &peering.Response{Body: a.Bytes()}, nil
}

func refusedLookup(err error) error {
	switch {
	case errors.Is(err, discovery.ErrDay):
		return notAnnounced()
	case errors.Is(err, discovery.ErrParty), errors.Is(err, discovery.ErrNonce), errors.Is(err, discovery.ErrPause), errors.Is(err, discovery.ErrProof):
		return forbidden("%v", err)
	}
	return err
}

// handleQuery serves identifierQuery (MIMI section 5.8): handles, all of one user who has
// published them, and where the operator says so names of users who want to be found by them; notFound is whatever else is wrong with them. Any other code depends on
// the query and this provider's configuration alone, so that it says nothing of users:
//
//   - forbidden: this provider answers no queries
//   - unsupportedField: one of the fields is not kept here: nick, email, phone, OIDC claims
//     and vCard properties
//   - ambiguous: one of the elements is a part of a name or profile, and nobody is found
//     here but by what matches exactly; where users may be found by names, it is shorter than
//     three characters or of a profile, or matches more than 16 users who want to be found so
func (s *Service) handleQuery(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
	if _, bad := s.admitLookup(in); bad != nil {
		return nil, bad
	}
	m, err := wire.ParseIdentifierRequest(in.Body, wire.Limits{})
	switch {
	case err != nil:
		return nil, invalid("the query does not decode: %v", err)
	case in.Subject != s.cfg.Domain:
		return nil, invalid("this is %s, and the URL is for %.100q", s.cfg.Domain, in.Subject)
	}
	more := min(len(m.Elements), maxHandles) - 1
	if slices.ContainsFunc(m.Elements, func(e wire.QueryElement) bool { return e.Type != wire.SearchHandle }) && s.cfg.Names {
		more += nameCost
	}
	if more > 0 {
		if ok, wait := s.lookups.Take(in.Source, float64(more), s.cfg.Now()); !ok {
			return nil, tooMany(wait, "%s looks up many identifiers: wait", in.Source)
		}
	}
	out := wire.IdentifierResponse{Code: wire.QueryForbidden}
	if !s.cfg.NoQueries {
		out.Code = codeOf(m.Elements)
		if s.cfg.Names {
			out.Code = codeOfNames(m.Elements)
		}
	}
	if out.Code == wire.QuerySuccess {
		if out, err = s.answerQuery(m.Elements); err != nil {
			return nil, err
		}
	}
	b, err := out.Bytes()
	if err != nil {
		return nil, fmt.Errorf("answering identifier query: %w", err)
	}
	return &peering.Response{Body: b}, nil
}

// codeOf is what can be said of a query without looking anybody up; success: it can be
// answered.
func codeOf(q []wire.QueryElement) wire.IdentifierQueryCode {
	out := wire.QuerySuccess
	for i := range q {
		switch q[i].Type {
		case wire.SearchHandle:
		case wire.SearchPartialName, wire.SearchWholeProfile:
			out = wire.QueryAmbiguous
		default:
			return wire.QueryUnsupportedField
		}
	}
	return out
}

// maxHandles bounds the handles of one query: each costs a look-up.
const maxHandles = 4

// userOfAll finds the one user who has published all these handles.
func (s *Service) userOfAll(q []wire.QueryElement) (user uri.User, found bool, err error) {
	if len(q) > maxHandles {
		return user, false, nil
	}
	found = true
	for i := range q {
		sii, err := discovery.ParseSII("handle:" + strings.TrimPrefix(q[i].Value, "handle:"))
		// A handle that is published here is in the index: nothing is derived for who asks.
		secret, known := s.index.handle(sii)
		if err != nil || !known {
			found = false
			continue
		}
		who, ok, err := s.userOf(secret, s.cfg.Now())
		if err != nil {
			return user, false, err
		}
		found = found && ok && (i == 0 || who == user)
		if i == 0 {
			user = who
		}
	}
	return user, found, nil
}
