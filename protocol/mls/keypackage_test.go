package mls_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
)

// TestKeyPackageLifetime: both ends count, and a lifetime may be too long
// (RFC 9420 section 7.2), for who verifies it and for a group.
func TestKeyPackageLifetime(t *testing.T) {
	year := 366 * 24 * time.Hour
	for _, c := range []struct {
		why  string
		life mls.Lifetime
		lim  time.Duration
		want error
	}{
		{"a day", mls.LifetimeOf(now, 24*time.Hour), 0, nil},
		{"begins this second", mls.Lifetime{NotBefore: uint64(now.Unix()), NotAfter: uint64(now.Unix()) + 9}, 0, nil},
		{"ends this second", mls.Lifetime{NotBefore: uint64(now.Unix()) - 9, NotAfter: uint64(now.Unix())}, 0, nil},
		{"begins next second", mls.Lifetime{NotBefore: uint64(now.Unix()) + 1, NotAfter: uint64(now.Unix()) + 9}, 0, mls.ErrExpired},
		{"ended last second", mls.Lifetime{NotBefore: 0, NotAfter: uint64(now.Unix()) - 1}, 0, mls.ErrExpired},
		{"as long as allowed", mls.LifetimeOf(now, year-time.Hour), 0, nil},
		{"a second longer", mls.LifetimeOf(now, year-time.Hour+time.Second), 0, mls.ErrTooLarge},
		{"longer, by configuration", mls.LifetimeOf(now, 10*year), 20 * year, nil},
		{"for ever", mls.Lifetime{NotBefore: 0, NotAfter: math.MaxUint64}, 0, mls.ErrTooLarge},
		{"for ever, by configuration", mls.Lifetime{NotBefore: 0, NotAfter: math.MaxUint64}, math.MaxInt64, nil},
		{"backwards", mls.Lifetime{NotBefore: math.MaxUint64, NotAfter: 0}, 0, mls.ErrExpired},
	} {
		p := leafParams(t, suites[0], "x")
		p.Lifetime = c.life
		kp, err := mls.NewKeyPackage(p, false, nil)
		must(t, err)
		cfg := config()
		cfg.Limits.Lifetime = c.lim
		if _, err := kp.KeyPackage().Verify(cfg, now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", c.why, err, c.want)
		}
		g, err := mls.CreateGroup(mls.GroupParams{LeafParams: leafParams(t, suites[0], "creator")}, cfg)
		must(t, err)
		_, err = g.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{{Type: mls.ProposalAdd, Add: kp.KeyPackage()}}}, now)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: adding: %v, expected %v", c.why, err, c.want)
		}
	}
}
