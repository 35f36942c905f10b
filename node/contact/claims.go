package contact

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// secretOf reads an identifier that an own user typed, and derives its secret.
func (s *Service) secretOf(ctx context.Context, who account.Identity, text string) (discovery.SII, discovery.Secret, error) {
	sii, err := discovery.ParseSII(text)
	if err != nil {
		return sii, discovery.Secret{}, invalid("%v", err)
	}
	if ok, wait := s.searches.Take(who.User.String(), 1, s.cfg.Now()); !ok {
		return sii, discovery.Secret{}, tooMany(wait, "%s has used many identifiers: wait", who.User)
	}
	secret, err := s.secrets.of(ctx, sii)
	return sii, secret, err
}

// PublishClaim endorses an own user's claim to an identifier, and announces it.
// A handle belongs to whoever comes first. The same claim again is answered like
// the first time.
func (s *Service) PublishClaim(ctx context.Context, who account.Identity, n *clientapi.NewClaim) (*clientapi.Claim, error) {
	sii, secret, err := s.secretOf(ctx, who, n.SII)
	if err != nil {
		return nil, err
	}
	claim, err := discovery.ParseClaim(n.Claim)
	if err != nil {
		return nil, invalid("the claim does not decode: %v", err)
	}
	now := s.cfg.Now()
	v, err := claim.Endorse(s.cfg.ProviderKey(), secret, s.cfg.Anchors, now)
	if err != nil {
		return nil, forbidden("the claim does not verify: %v", err)
	}
	switch {
	case v.User() != who.User:
		return nil, forbidden("the claim is of %s, and this is %s", v.User(), who.User)
	case sii.Kind() == discovery.KindHandle && v.Method() != discovery.MethodAssigned:
		return nil, invalid("a handle is assigned by its provider, so the claim's method has to be %q, not %q", discovery.MethodAssigned, v.Method())
	}
	if err := s.standsUp(ctx, sii, v, now); err != nil {
		return nil, err
	}
	if bad, err := s.ownKey(ctx, v); err != nil || bad != nil {
		if bad != nil {
			return nil, bad
		}
		return nil, err
	}
	rec := &claimRecord{user: who.User, sii: sii, secret: secret, issued: millis(v.Issued()), ends: millis(v.Expires()),
		endorsed: millis(now), claim: v.Claim().Bytes()}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error { return s.putClaim(tx, rec, now) })
	if err != nil {
		return nil, fmt.Errorf("storing claim: %w", err)
	}
	s.index.add(sii, secret, now)
	return showClaim(rec), nil
}

// ownKey says whether the claim rests on the user key that the account has: a
// certificate lives on after its user key was replaced.
func (s *Service) ownKey(ctx context.Context, v *discovery.VerifiedClaim) (*clientapi.Problem, error) {
	key, err := s.cfg.Accounts.UserKey(ctx, v.User())
	if err != nil {
		return nil, err
	}
	if !sameKey(v.UserKey(), key) {
		return forbidden("the claim is signed by another key than %s has now", v.User()), nil
	}
	return nil, nil
}

// putClaim stores a claim or withdrawal, if it is new and may stand.
func (s *Service) putClaim(tx *store.Tx, rec *claimRecord, now time.Time) error {
	old, err := readClaim(tx, rec.user, rec.secret.ClaimID())
	if err != nil {
		return err
	}
	if old != nil && (old.issued > rec.issued || old.issued == rec.issued && old.withdrawn) {
		return problem(http.StatusConflict, clientapi.CodeExists, "there is a newer word of %s on this identifier: make the claim anew", rec.user)
	}
	if rec.withdrawn {
		return writeClaim(tx, rec)
	}
	if rec.sii.Kind() == discovery.KindHandle {
		others, err := claimers(tx, rec.secret, now)
		if err != nil {
			return err
		}
		for _, o := range others {
			if o.user != rec.user {
				return problem(http.StatusConflict, clientapi.CodeExists, "the handle is taken: choose another")
			}
		}
	}
	n := 0
	if err := scanClaims(tx, rec.user, func(*claimRecord) error { n++; return nil }); err != nil {
		return err
	}
	if old == nil && n >= s.cfg.Limits.Claims {
		return problem(http.StatusTooManyRequests, clientapi.CodeTooMany,
			"%s has claimed %d identifiers, which is the limit; withdrawn ones count until their claims would have ended", rec.user, n)
	}
	return writeClaim(tx, rec)
}

func showClaim(c *claimRecord) *clientapi.Claim {
	return &clientapi.Claim{SII: c.sii.String(), Claim: c.claim, Expires: int64(c.ends)}
}

// Claims lists the user's published identifiers.
func (s *Service) Claims(_ context.Context, who account.Identity) (*clientapi.Claims, error) {
	out := &clientapi.Claims{Claims: []clientapi.Claim{}}
	now := millis(s.cfg.Now())
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		return scanClaims(tx, who.User, func(c *claimRecord) error {
			if !c.withdrawn && c.ends > now {
				x := showClaim(c)
				list, err := readRivals(tx, c.user, c.secret.ClaimID())
				if err != nil {
					return err
				}
				x.Rivals = showRivals(list)
				out.Claims = append(out.Claims, *x)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing claims: %w", err)
	}
	return out, nil
}

// WithdrawClaim ends a claim of an own user.
func (s *Service) WithdrawClaim(ctx context.Context, who account.Identity, w *clientapi.WithdrawClaim) error {
	sii, secret, err := s.secretOf(ctx, who, w.SII)
	if err != nil {
		return err
	}
	claim, err := discovery.ParseClaim(w.Withdrawal)
	if err != nil {
		return invalid("the withdrawal does not decode: %v", err)
	}
	now := s.cfg.Now()
	v, err := claim.Verify(secret, s.cfg.Anchors, now)
	if err != nil {
		return forbidden("the withdrawal does not verify: %v", err)
	}
	if v.User() != who.User || !v.Withdrawn() {
		return invalid("that is no withdrawal by %s", who.User)
	}
	if bad, err := s.ownKey(ctx, v); err != nil || bad != nil {
		if bad != nil {
			return bad
		}
		return err
	}
	rec := &claimRecord{user: who.User, sii: sii, secret: secret, withdrawn: true, issued: millis(v.Issued()), ends: millis(v.Expires()),
		claim: v.Claim().Bytes()}
	left := 0
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		old, err := readClaim(tx, rec.user, secret.ClaimID())
		if err != nil {
			return err
		}
		if old == nil {
			return problem(http.StatusNotFound, clientapi.CodeNotFound, "%s has not claimed this identifier here", rec.user)
		}
		if old.withdrawn && old.issued == rec.issued {
			return nil // the same again: its answer got lost
		}
		if err := s.putClaim(tx, rec, now); err != nil {
			return err
		}
		others, err := claimers(tx, secret, now)
		left = len(others)
		return err
	})
	if err != nil {
		return fmt.Errorf("storing withdrawal: %w", err)
	}
	if left == 0 {
		s.index.remove(sii, secret, now)
	}
	return nil
}

// verified are the claims of own users for an identifier, as searchers will
// verify them.
func (s *Service) verified(secret discovery.Secret, now time.Time) (out []*discovery.VerifiedClaim, err error) {
	var list []*claimRecord
	err = s.cfg.Store.View(func(tx *store.Tx) (err error) {
		list, err = claimers(tx, secret, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading claims: %w", err)
	}
	for _, c := range list {
		claim, err := discovery.ParseClaim(c.claim)
		if err != nil {
			return nil, fmt.Errorf("%w: claim: %w", ErrDamaged, err)
		}
		// One that has become invalid, by a change of keys, waits for its renewal.
		if v, err := claim.Verify(secret, s.cfg.Anchors, now); err == nil && len(out) < discovery.MaxClaims {
			out = append(out, v)
		}
	}
	return out, nil
}

// userOf is whom a handle leads to at this provider.
func (s *Service) userOf(secret discovery.Secret, now time.Time) (u uri.User, found bool, err error) {
	list, err := s.verified(secret, now)
	if err != nil || len(list) == 0 {
		return u, false, err
	}
	return list[0].User(), true, nil
}
