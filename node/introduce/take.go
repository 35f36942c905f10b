package introduce

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// askAgain is for how long an issuer is not asked for its keys again.
const askAgain = time.Minute

// maxIssuers is of how many issuers keys are remembered.
const maxIssuers = 1024

// Introduce passes on a request of somebody who says to be an own user by a token only: whoever
// calls has not said who it is. It says whether the target has said yes.
func (s *Service) Introduce(ctx context.Context, n *clientapi.Introduce) (*clientapi.Introduced, error) {
	now := s.cfg.Now()
	r, bad := parse(n.Request)
	if bad != nil {
		return nil, bad
	}
	if r.Issuer != s.self {
		return nil, invalid("the token is of %s, and this is %s: have it passed on there", r.Issuer.Domain(), s.cfg.Domain)
	}
	if s.cfg.Limits.PerDay == 0 {
		return nil, noTokens(s.cfg.Domain)
	}
	// Else this were a relay for anybody.
	keys, err := s.published(ctx, now)
	if err != nil {
		return nil, err
	}
	c, bad := check(r, keys, now)
	if bad != nil {
		return nil, bad
	}
	out, caller := new(clientapi.Introduced), s.cfg.Caller
	if n.Privacy != nil {
		if s.cfg.Veil == nil {
			return nil, problem(http.StatusServiceUnavailable, clientapi.CodePrivacy, "this provider asks nobody over relays; nothing was sent")
		}
		if err := s.cfg.Veil.Check(n.Privacy); err != nil {
			return nil, err
		}
		out.Over, caller = n.Privacy.Over, s.cfg.Veil
	}
	if r.Target.Provider() == s.self {
		out.Granted, err = s.take(ctx, c, n.Request)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
	domain := r.Target.Provider().Domain()
	res, err := caller.Call(ctx, peering.Request{Target: domain, Endpoint: EndpointIntroduce, Subject: domain, Body: n.Request, MaxResponse: 16})
	if err != nil {
		if p := peering.Problem(err); p != nil {
			return nil, p
		}
		return nil, fmt.Errorf("introducing somebody at %s: %w", domain, err)
	}
	if len(res.Body) != 1 || res.Body[0] > 1 {
		return nil, problem(http.StatusBadGateway, clientapi.CodeUnreachable, "%s answers nonsense to an anonymous request", domain)
	}
	out.Granted = res.Body[0] == 1
	return out, nil
}

func parse(b []byte) (*introduction.Request, *clientapi.Problem) {
	r, err := introduction.ParseRequest(b)
	if err != nil {
		return nil, invalid("the anonymous request: %v", err)
	}
	return r, nil
}

func check(r *introduction.Request, keys introduction.Keys, now time.Time) (*introduction.Checked, *clientapi.Problem) {
	c, err := r.Check(keys, now)
	if err != nil {
		return nil, problem(http.StatusForbidden, clientapi.CodeForbidden, "the token of the anonymous request: %v", err)
	}
	return c, nil
}

// handleIntroduce takes a request of another provider's user. If it came over relays, the token says whose.
// Whatever is refused is refused for
// what the source and the request are; of the target the answer says only that it has said yes.
func (s *Service) handleIntroduce(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	now := s.cfg.Now()
	if ok, wait := s.requests.Take(in.Source, 1, now); !ok {
		return nil, tooMany(wait, "%s brings many anonymous requests: wait", cmp.Or(in.Source, "who is not named"))
	}
	r, bad := parse(in.Body)
	switch {
	case bad != nil:
		return nil, bad
	case in.Source != "" && r.Issuer.Domain() != in.Source:
		return nil, problem(http.StatusForbidden, clientapi.CodeForbidden, "%s brings a token of another provider", in.Source)
	case r.Issuer == s.self: // own users' come from here
		return nil, problem(http.StatusForbidden, clientapi.CodeForbidden, "somebody brings a token of %s to it itself", s.cfg.Domain)
	case r.Target.Provider() != s.self || in.Subject != s.cfg.Domain:
		return nil, invalid("the anonymous request is not for users of %s", s.cfg.Domain)
	}
	keys, err := s.keysOf(ctx, r.Issuer.Domain(), r.Token.KeyID, now)
	if err != nil {
		return nil, err
	}
	c, bad := check(r, keys, now)
	if bad != nil {
		return nil, bad
	}
	granted, err := s.take(ctx, c, in.Body)
	if err != nil {
		return nil, err
	}
	body := []byte{0}
	if granted {
		body[0] = 1
	}
	return &peering.Response{Body: body}, nil
}

// remembered are an issuer's keys.
type remembered struct {
	keys introduction.Keys
	at   time.Time // when it was asked last
}

// keysOf are another issuer's keys, asked of it when there is a token of another one.
func (s *Service) keysOf(ctx context.Context, issuer string, id [32]byte, now time.Time) (introduction.Keys, error) {
	s.known.Lock()
	k := s.others[issuer]
	_, ok := k.keys.ByID(id)
	since := now.Sub(k.at)
	ask := !ok && (since >= askAgain || since < 0)
	if ask { // only one asks
		if len(s.others) >= maxIssuers && s.others[issuer].at.IsZero() {
			s.forgetIssuer()
		}
		s.others[issuer] = remembered{k.keys, now}
	}
	s.known.Unlock()
	switch {
	case ok:
		return k.keys, nil
	case !ask:
		return nil, tooMany(askAgain-since, "%s was asked for its keys just now, and the token is not of these: come again", issuer)
	}
	res, err := s.cfg.Caller.Call(ctx, peering.Request{Target: issuer, Endpoint: EndpointKeys, Subject: issuer, MaxResponse: introduction.MaxKeysSize})
	if err != nil {
		s.cfg.Log.Debug("asking for the keys of tokens", "issuer", issuer, "err", err)
		return nil, problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "%s could not be asked for the keys of its tokens: come again in a minute", issuer)
	}
	keys, err := introduction.ParseKeys(res.Body)
	if err != nil {
		return nil, invalid("the keys of %s: %v", issuer, err)
	}
	s.known.Lock()
	defer s.known.Unlock()
	s.others[issuer] = remembered{keys, now}
	return keys, nil
}

// forgetIssuer forgets the issuer that was asked the longest ago. The caller holds known.
func (s *Service) forgetIssuer() {
	oldest := ""
	for d, k := range s.others {
		if oldest == "" || k.at.Before(s.others[oldest].at) {
			oldest = d
		}
	}
	delete(s.others, oldest)
}

func spent() *clientapi.Problem {
	return problem(http.StatusForbidden, clientapi.CodeSpent, "the token was spent for another request: get a new one")
}

// take spends a token and shows its request to the target, in one transaction: if it was kept
// nothing more is to be done, and if it was not nothing has happened. The same request again only
// says whether the answer is yes.
func (s *Service) take(ctx context.Context, c *introduction.Checked, body []byte) (granted bool, err error) {
	spends := sha256.Sum256(body)
	known := false
	err = s.cfg.Store.View(func(tx *store.Tx) (err error) {
		known, granted, err = s.again(tx, c, spends)
		return err
	})
	if err != nil || known {
		return granted, err
	}
	exists, err := s.cfg.Accounts.Has(ctx, c.Target)
	if err != nil {
		return false, fmt.Errorf("looking for an account: %w", err)
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		now := s.cfg.Now() // anew: what was spent may have been forgotten since the check
		if !c.Week.Takes(now) {
			return problem(http.StatusForbidden, clientapi.CodeForbidden, "the token of the anonymous request: %v", introduction.ErrWeek)
		}
		if known, granted, err = s.again(tx, c, spends); err != nil || known {
			return err
		}
		n, err := readCount(tx, c.Week, c.Issuer.Domain())
		if err != nil {
			return err
		}
		if n >= s.cfg.Limits.PerIssuer {
			return tooMany(c.Week.Over().Sub(now), "users of %s have sent %d anonymous requests, the limit of a week: come by name", c.Issuer.Domain(), n)
		}
		err = errors.Join(
			tx.Set(spentKey(c), append([]byte{recordVersion}, spends[:]...)),
			tx.Set(countKey(c.Week, c.Issuer.Domain()), appendCount(n+1)))
		if err != nil {
			return err
		}
		return s.show(tx, c, exists, now)
	})
	if err != nil {
		return false, fmt.Errorf("taking an anonymous request: %w", err)
	}
	return granted, nil
}

// again says whether the request came before, and then what the answer is.
func (s *Service) again(tx *store.Tx, c *introduction.Checked, spends hash) (known, granted bool, err error) {
	b, err := get(tx, spentKey(c))
	if err != nil || b == nil {
		return false, false, err
	}
	if len(b) != len(spends) {
		return false, false, fmt.Errorf("%w: a spent token of %d octets", ErrDamaged, len(b))
	}
	if hash(b) != spends {
		return false, false, spent()
	}
	p, err := readPending(tx, c.Handle)
	return true, err == nil && p != nil && p.granted && p.target == c.Target && p.issuer == c.Issuer.Domain(), err
}

// show keeps a request for its target to see, or as much for nobody.
func (s *Service) show(tx *store.Tx, c *introduction.Checked, exists bool, now time.Time) error {
	p := &pending{until: now.Add(s.cfg.Limits.Keep), at: now, target: c.Target, issuer: c.Issuer.Domain(), text: c.Text}
	mode, err := s.cfg.Contacts.ModeFor(tx, c.Target, p.issuer)
	if err != nil {
		return err
	}
	other, err := readPending(tx, c.Handle)
	if err != nil {
		return err
	}
	placed := exists && mode != consent.Closed && other == nil
	if placed {
		if placed, err = s.place(tx, p); err != nil {
			return err
		}
		if !placed {
			s.cfg.Log.Warn("an anonymous request vanishes: too many wait", "target", c.Target, "issuer", p.issuer)
		}
	}
	if !placed {
		return tx.Set(decoyKey(), p.bytes())
	}
	if err := p.write(tx, c.Handle); err != nil {
		return err
	}
	if mode == consent.Quarantine { // who looks for such finds it
		return nil
	}
	return s.cfg.Feed.Put(tx, c.Target, clientapi.EventIntroduction, p.shown(c.Handle))
}

// place finds a place for a request among its target's. If all are taken, one of an issuer that has more of them
// goes, as package consent has it for requests by name. Its token stays spent, and whoever sent it hears
// nothing, as of any that has no answer.
func (s *Service) place(tx *store.Tx, p *pending) (bool, error) {
	waiting, err := waitingFor(tx, p.target)
	if err != nil {
		return false, err
	}
	ok, yields := consent.Places{User: s.cfg.Limits.PerTarget, Provider: s.cfg.Limits.PerPair}.Take(p.issuer, waiting)
	if !ok || yields == "" {
		return ok, nil
	}
	s.cfg.Log.Warn("an anonymous request goes for that of another issuer: too many wait", "target", p.target, "issuer", yields)
	return displace(tx, p.target, yields)
}

// Redeem is called in the transaction in which a user of an issuer asks the target by name, with a
// secret. It says whether that is who was told yes, which is so once.
func (s *Service) Redeem(tx *store.Tx, target, requester uri.User, secret introduction.Secret) (bool, error) {
	h := secret.Handle()
	p, err := readPending(tx, h)
	if err != nil || p == nil || !p.granted || p.target != target || p.issuer != requester.Provider().Domain() || !s.cfg.Now().Before(p.until) {
		return false, err
	}
	return true, p.drop(tx, h)
}
