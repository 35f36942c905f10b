package introduce

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
	"github.com/mimid/mimid/store"
)

// keyBits is the size of the keys of tokens of type 2.
const keyBits = 2048

// issuer is with what tokens are signed in a week; it is made when it is first needed, if new says
// so. Without, it may be nil.
func (s *Service) issuer(ctx context.Context, w introduction.Week, new bool) (*privacypass.Issuer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.issuers[w]; i != nil {
		return i, nil
	}
	var der []byte
	err := s.cfg.Store.View(func(tx *store.Tx) (err error) {
		der, err = readKey(tx, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	if der == nil {
		if !new {
			return nil, nil
		}
		sk, err := rsa.GenerateKey(rand.Reader, keyBits)
		if err != nil {
			return nil, fmt.Errorf("making a key for tokens: %w", err)
		}
		made := x509.MarshalPKCS1PrivateKey(sk)
		// A write whose answer was lost may have happened: then that key is the week's.
		err = s.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
			if der, err = readKey(tx, w); err != nil || der != nil {
				return err
			}
			der = made
			return tx.Set(weekKey(w), append([]byte{recordVersion}, made...))
		})
		if err != nil {
			return nil, fmt.Errorf("keeping a key for tokens: %w", err)
		}
	}
	i, err := parseIssuer(der)
	if err != nil {
		return nil, err
	}
	for old := range s.issuers {
		if old+1 < w {
			delete(s.issuers, old)
		}
	}
	s.issuers[w] = i
	return i, nil
}

func parseIssuer(der []byte) (*privacypass.Issuer, error) {
	sk, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: a key for tokens that is none", ErrDamaged)
	}
	i, err := privacypass.NewIssuer(sk)
	if err != nil {
		return nil, fmt.Errorf("%w: a key for tokens: %w", ErrDamaged, err)
	}
	return i, nil
}

// published are the keys of which tokens are taken.
func (s *Service) published(ctx context.Context, now time.Time) (introduction.Keys, error) {
	w := introduction.WeekOf(now)
	i, err := s.issuer(ctx, w, true)
	if err != nil {
		return nil, err
	}
	out := introduction.Keys{{Week: w, Key: i.Key()}}
	if w > 0 && (w - 1).Takes(now) {
		last, err := s.issuer(ctx, w-1, false)
		if err != nil {
			return nil, err
		}
		if last != nil {
			out = append(out, introduction.Key{Week: w - 1, Key: last.Key()})
		}
	}
	return out, nil
}

// handleKeys tells another provider the keys.
func (s *Service) handleKeys(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	now := s.cfg.Now()
	if ok, wait := s.keys.Take(in.Source, 1, now); !ok {
		return nil, tooMany(wait, "%s asks often for the keys of tokens: wait", in.Source)
	}
	if in.Subject != s.cfg.Domain {
		return nil, invalid("this is %s, and the URL is for %.100q", s.cfg.Domain, in.Subject)
	}
	if s.cfg.Limits.PerDay == 0 {
		return nil, noTokens(s.cfg.Domain)
	}
	keys, err := s.published(ctx, now)
	if err != nil {
		return nil, err
	}
	return &peering.Response{Body: keys.Bytes()}, nil
}

func noTokens(domain string) *clientapi.Problem {
	return problem(http.StatusNotFound, clientapi.CodeNotFound, "%s gives no tokens for anonymous requests: ask by your name, or ask its operator to set introduction.tokens_per_day", domain)
}

// TokenKeys tells a device with which keys tokens are signed, and how many its user gets today.
func (s *Service) TokenKeys(ctx context.Context, who account.Identity) (*clientapi.TokenKeys, error) {
	if s.cfg.Limits.PerDay == 0 {
		return nil, noTokens(s.cfg.Domain)
	}
	now := s.cfg.Now()
	keys, err := s.published(ctx, now)
	if err != nil {
		return nil, err
	}
	var used int
	err = s.cfg.Store.View(func(tx *store.Tx) error {
		l, err := readAsked(tx, dayOf(now), who.User)
		used = len(l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &clientapi.TokenKeys{Keys: keys.Bytes(), Left: max(s.cfg.Limits.PerDay-used, 0)}, nil
}

// NewTokens signs tokens for a user's device: all that it asks for, or none. The same again, on the
// same day, is answered as before and not counted.
func (s *Service) NewTokens(ctx context.Context, who account.Identity, n *clientapi.NewTokens) (*clientapi.Tokens, error) {
	limit := s.cfg.Limits.PerDay
	if limit == 0 {
		return nil, noTokens(s.cfg.Domain)
	}
	if len(n.Requests) == 0 || len(n.Requests) > clientapi.MaxTokens {
		return nil, invalid("%d requests for tokens: 1 to %d", len(n.Requests), clientapi.MaxTokens)
	}
	now := s.cfg.Now()
	issuer, err := s.issuer(ctx, introduction.WeekOf(now), true)
	if err != nil {
		return nil, err
	}
	id := issuer.Key().ID()
	for _, r := range n.Requests {
		if len(r) != privacypass.RequestSize {
			return nil, invalid("a request for a token has %d octets, and this one %d", privacypass.RequestSize, len(r))
		}
		if r[2] != id[len(id)-1] { // the truncated key id
			return nil, otherKey()
		}
	}
	// A repetition is not counted against the day and yet has to be signed.
	if ok, wait := s.users.Take(who.User.String(), float64(len(n.Requests)), now); !ok {
		return nil, tooMany(wait, "%s asks often for tokens: wait", who.User)
	}
	out := &clientapi.Tokens{}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		day := dayOf(now)
		asked, err := readAsked(tx, day, who.User)
		if err != nil {
			return err
		}
		before := len(asked)
		for _, r := range n.Requests {
			if h := sha256.Sum256(r); !slices.Contains(asked, h) {
				asked = append(asked, h)
			}
		}
		if out.Left = limit - len(asked); out.Left < 0 {
			return tooMany(day.ends().Sub(now), "%s has had %d of %d tokens for anonymous requests today, and asks for %d: the next are for tomorrow, UTC", who.User, before, limit, len(asked)-before)
		}
		if len(asked) == before {
			return nil
		}
		return tx.Set(askedKey(day, who.User), appendAsked(asked))
	})
	if err != nil {
		return nil, fmt.Errorf("counting tokens: %w", err)
	}
	for _, r := range n.Requests {
		b, err := issuer.Issue(r)
		switch {
		case errors.Is(err, privacypass.ErrKey):
			return nil, otherKey()
		case errors.Is(err, privacypass.ErrMalformed):
			return nil, invalid("the request for a token: %v", err)
		case err != nil:
			return nil, fmt.Errorf("signing a token: %w", err)
		}
		out.Responses = append(out.Responses, b)
	}
	return out, nil
}

func otherKey() *clientapi.Problem {
	return problem(http.StatusConflict, clientapi.CodeRevision, "the token is to be signed by another key than this week's: read the keys anew")
}
