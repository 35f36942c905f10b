package contact

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
)

// Secret derives an identifier's secret, for this provider itself.
func (s *Service) Secret(ctx context.Context, sii discovery.SII) (discovery.Secret, error) {
	return s.secrets.of(ctx, sii)
}

// standsUp says whether somebody stands for it that a user holds what it claims, as far as
// this provider asks for that: for numbers and addresses an authority that is believed, or
// nobody if the operator allows that.
func (s *Service) standsUp(ctx context.Context, sii discovery.SII, v *discovery.VerifiedClaim, now time.Time) error {
	stated := len(v.Statement()) > 0
	switch {
	case sii.Kind() == discovery.KindHandle && stated:
		return invalid("a handle is assigned by its provider, and no authority states anything of it")
	case sii.Kind() == discovery.KindHandle:
		return nil // what else it needs was looked at
	case stated:
		st, err := verification.Parse(v.Statement())
		if err != nil {
			return invalid("the statement in the claim does not decode: %v", err)
		}
		domain := st.Authority().Domain()
		if !slices.Contains(s.cfg.Authorities, domain) {
			return forbidden("this provider does not believe the authority %s, but these: %q", domain, s.cfg.Authorities)
		}
		if err := s.knowKeys(ctx, st.Authority()); err != nil {
			return unreachable("the authority %s cannot be found now: try again", domain)
		}
		good, err := st.Verify(v, s.cfg.Anchors, now)
		if err != nil {
			return forbidden("%v", err)
		}
		if end := good.Facts().Expires; v.Expires().After(end) {
			return invalid("the claim is to last until %s, and what %s states until %s", v.Expires().Format(time.RFC3339), domain, end.Format(time.RFC3339))
		}
		return nil
	case !s.cfg.Unverified && len(s.cfg.Authorities) > 0:
		return forbidden("this provider publishes a %s only if one of these has verified it: %q", sii.Kind(), s.cfg.Authorities)
	case !s.cfg.Unverified:
		return forbidden("this provider has no way to verify a %s: publish a handle", sii.Kind())
	case v.Method() != discovery.MethodUnverified:
		return invalid("nobody has verified the %s, so the claim's method has to be %q, not %q", sii.Kind(), discovery.MethodUnverified, v.Method())
	}
	return nil
}

// knowKeys makes a provider's keys known to Anchors.
func (s *Service) knowKeys(ctx context.Context, p uri.Provider) error {
	if p == s.provider || len(s.cfg.Anchors(p.Domain())) > 0 {
		return nil
	}
	_, err := s.cfg.Directory.Resolve(ctx, p.Domain())
	return err
}

// judge says who stands for a claim, and what the authority states if it is one.
func (s *Service) judge(ctx context.Context, v *discovery.VerifiedClaim, now time.Time) (verification.Standing, *verification.Verified) {
	if a, ok := verification.AuthorityOf(v); ok && slices.Contains(s.cfg.Authorities, a.Domain()) {
		if err := s.knowKeys(ctx, a); err != nil && !errors.Is(err, context.Canceled) {
			s.cfg.Log.Debug("an authority cannot be found", "provider", a.Domain(), "err", err)
		}
	}
	return verification.Judge(v, s.cfg.Authorities, s.cfg.Anchors, now)
}
