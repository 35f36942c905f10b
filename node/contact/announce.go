package contact

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

const (
	// renewAfter is how old an endorsement gets: user certificates end after 90
	// days.
	renewAfter = 30 * 24 * time.Hour
	// refreshEvery is how often all claims are looked at, besides midnight.
	refreshEvery = time.Hour
)

type dayKey = [discovery.KeySize]byte

// index finds the secret of a day's key. It is made from the store by Run and
// holds three keys for each identifier. Safe for concurrent use.
type index struct {
	signal chan struct{} // that wanted changed

	mu     sync.Mutex
	keys   map[dayKey]discovery.Secret        // that are answered; guarded by mu
	byName map[discovery.SII]discovery.Secret // of the same identifiers; guarded by mu
	wanted map[dayKey]bool                    // that are to be announced; guarded by mu
}

func newIndex() *index {
	return &index{signal: make(chan struct{}, 1), keys: map[dayKey]discovery.Secret{}, byName: map[discovery.SII]discovery.Secret{}, wanted: map[dayKey]bool{}}
}

func (x *index) find(k dayKey) (discovery.Secret, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, ok := x.keys[k]
	return s, ok
}

// handle returns the secret of an identifier that somebody has published here.
func (x *index) handle(sii discovery.SII) (discovery.Secret, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, ok := x.byName[sii]
	return s, ok
}

func (x *index) add(sii discovery.SII, s discovery.Secret, now time.Time) {
	x.mu.Lock()
	x.enter(sii, s, now)
	x.mu.Unlock()
	x.changed()
}

// enter is called with mu held.
func (x *index) enter(sii discovery.SII, s discovery.Secret, now time.Time) {
	x.byName[sii] = s
	for _, d := range discovery.Accepted(now) {
		x.keys[s.DayKey(d)] = s
	}
	for _, d := range discovery.Days(now) {
		x.wanted[s.DayKey(d)] = true
	}
}

func (x *index) remove(sii discovery.SII, s discovery.Secret, now time.Time) {
	x.mu.Lock()
	delete(x.byName, sii)
	for _, d := range discovery.Accepted(now) {
		delete(x.keys, s.DayKey(d))
		delete(x.wanted, s.DayKey(d))
	}
	x.mu.Unlock()
	x.changed()
}

// replace sets all secrets.
func (x *index) replace(all []secretOf, now time.Time) {
	x.mu.Lock()
	clear(x.keys)
	clear(x.byName)
	clear(x.wanted)
	for _, s := range all {
		x.enter(s.sii, s.secret, now)
	}
	x.mu.Unlock()
	x.changed()
}

func (x *index) changed() {
	select {
	case x.signal <- struct{}{}:
	default:
	}
}

// difference tells what to announce and what no longer.
func (x *index) difference(announced map[dayKey]bool) (more, less []dayKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for k := range x.wanted {
		if !announced[k] {
			more = append(more, k)
		}
	}
	for k := range announced {
		if !x.wanted[k] {
			less = append(less, k)
		}
	}
	return more, less
}

// Run announces the own users' identifiers, today's keys and tomorrow's, until
// ctx ends, and renews the provider's part of their claims. Before it has read
// the store, other providers find none of them.
func (s *Service) Run(ctx context.Context) error {
	announced := map[dayKey]bool{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			if err := errors.Join(s.refresh(ctx), s.expire(ctx)); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				if errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFailed) {
					return fmt.Errorf("refreshing claims, and what is in quarantine: %w", err)
				}
				s.cfg.Log.Error("claims, or what is in quarantine, could not be refreshed", "err", err)
			}
			now := s.cfg.Now()
			midnight := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
			timer.Reset(min(refreshEvery, midnight.Sub(now)+time.Second))
		case <-s.index.signal:
			s.announce(ctx, announced)
		}
	}
}

// announce makes the network know what the index wants. The overlay goes on
// announcing what it once was told, so an error is its to repair.
func (s *Service) announce(ctx context.Context, announced map[dayKey]bool) {
	if s.cfg.Announcer == nil {
		return
	}
	more, less := s.index.difference(announced)
	s.cfg.Announcer.Withdraw(less...)
	for _, k := range less {
		delete(announced, k)
	}
	if len(more) == 0 {
		return
	}
	// All at once: the overlay tells each node what it is to hold at one time.
	if err := s.cfg.Announcer.Announce(ctx, more...); err != nil {
		if errors.Is(err, overlay.ErrFull) {
			s.cfg.Log.Error("identifiers are not announced, so that nobody finds their users", "keys", len(more), "err", err)
			return // with the next change it is tried again
		}
		s.cfg.Log.Debug("announcing identifiers", "keys", len(more), "err", err)
	}
	for _, k := range more {
		announced[k] = true
	}
}

// refresh reads all claims, drops those that have ended, renews those whose
// endorsement gets old, and sets the index anew.
func (s *Service) refresh(ctx context.Context) error {
	now := s.cfg.Now()
	var all []secretOf
	var ended, old []*claimRecord
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		return scanClaims(tx, uri.User{}, func(c *claimRecord) error {
			switch {
			case c.ends <= millis(now):
				ended = append(ended, c)
				return nil
			case c.withdrawn:
				return nil
			case c.endorsed+uint64(renewAfter.Milliseconds()) <= millis(now):
				old = append(old, c)
			}
			all = append(all, secretOf{c.sii, c.secret})
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("reading claims: %w", err)
	}
	for _, c := range ended {
		if err := s.change(ctx, c, func(tx *store.Tx) error { return deleteClaim(tx, c) }); err != nil {
			return err
		}
	}
	for _, c := range old {
		if err := s.renew(ctx, c, now); err != nil {
			s.cfg.Log.Warn("a claim could not be renewed", "user", c.user, "err", err)
		}
	}
	s.index.replace(all, now)
	return nil
}

// change does something to a claim, if it is still the same.
func (s *Service) change(ctx context.Context, c *claimRecord, fn func(tx *store.Tx) error) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		was, err := readClaim(tx, c.user, c.secret.ClaimID())
		if err != nil || was == nil || was.issued != c.issued || was.withdrawn != c.withdrawn {
			return err
		}
		return fn(tx)
	})
}

// renew gives a claim a new user certificate and a new endorsement. One whose
// user has another key by now is dropped.
func (s *Service) renew(ctx context.Context, c *claimRecord, now time.Time) error {
	key, err := s.cfg.Accounts.UserKey(ctx, c.user)
	if err != nil {
		return err
	}
	cert, err := x509auth.IssueUser(s.cfg.ProviderKey(), c.user.String(), ed25519.PublicKey(key), x509auth.ValidFor(now, x509auth.Lifetime))
	if err != nil {
		return fmt.Errorf("issuing user certificate: %w", err)
	}
	claim, err := discovery.ParseClaim(c.claim)
	if err == nil {
		claim, err = claim.WithCertificate(cert)
	}
	if err != nil {
		return fmt.Errorf("%w: claim: %w", ErrDamaged, err)
	}
	v, err := claim.Endorse(s.cfg.ProviderKey(), c.secret, s.cfg.Anchors, now)
	if errors.Is(err, discovery.ErrUserSignature) {
		return s.change(ctx, c, func(tx *store.Tx) error { return deleteClaim(tx, c) })
	}
	if err != nil {
		return err
	}
	c.claim, c.endorsed = v.Claim().Bytes(), millis(now)
	return s.change(ctx, c, func(tx *store.Tx) error { return writeClaim(tx, c) })
}

// sameKey compares with an account's key, which is Ed25519.
func sameKey(k crypto.PublicKey, account []byte) bool {
	e, ok := k.(ed25519.PublicKey)
	return ok && e.Equal(ed25519.PublicKey(account))
}
