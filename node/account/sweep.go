package account

import (
	"context"
	"fmt"
	"time"

	"github.com/mimid/mimid/store"
)

const (
	sweepEvery = time.Hour
	sweepPage  = 1000 // keys looked at in one View, and at most deleted in one Update
)

// Run removes what has expired, once an hour, until ctx ends. Nothing depends on
// it but disk space: what has expired is passed over anyway.
func (r *Registry) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if n, err := r.Sweep(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("removing expired invites and KeyPackages, will try again", "error", err)
		} else if n > 0 {
			r.cfg.Log.Debug("removed expired invites and KeyPackages", "records", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep removes expired invites, KeyPackages, claims and the memory of used
// KeyPackages, and returns how many records that were.
func (r *Registry) Sweep(ctx context.Context) (removed int, err error) {
	for _, space := range []struct {
		prefix  store.Prefix
		expired func(it store.Item, now time.Time) (bool, error)
	}{
		{store.SpaceAccounts.Prefix([]byte{2}), expiredInvite},
		{store.SpaceKeyPackages.Prefix([]byte{1}), expiredPackage},
		{store.SpaceKeyPackages.Prefix([]byte{2}), expiredLastResort},
		{store.SpaceKeyPackages.Prefix([]byte{3}), expiredClaim},
		{store.SpaceKeyPackages.Prefix([]byte{4}), expiredUse},
		{store.SpaceKeyPackages.Prefix([]byte{5}), expiredShare},
	} {
		n, err := r.sweep(ctx, space.prefix, space.expired)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("removing what has expired: %w", err)
		}
	}
	return removed, nil
}

func (r *Registry) sweep(ctx context.Context, prefix store.Prefix, expired func(store.Item, time.Time) (bool, error)) (removed int, err error) {
	now := r.cfg.Now()
	scan := store.Scan{Prefix: prefix, Limit: sweepPage}
	for {
		var dead []store.Key
		seen := 0
		err := r.cfg.Store.View(func(tx *store.Tx) error {
			for it, err := range tx.Scan(scan) {
				if err != nil {
					return err
				}
				is, err := expired(it, now)
				if err != nil {
					return err
				}
				if is {
					dead = append(dead, it.Key)
				}
				seen++
				scan.From = it.Key
			}
			return nil
		})
		if err != nil {
			return removed, err
		}
		if len(dead) > 0 {
			if err := r.cfg.Store.Update(ctx, func(tx *store.Tx) error { return deleteExpired(tx, dead, expired, now) }); err != nil {
				return removed, err
			}
			removed += len(dead)
		}
		if seen < sweepPage {
			return removed, nil
		}
	}
}

// deleteExpired looks again, since a value may have been renewed since.
func deleteExpired(tx *store.Tx, keys []store.Key, expired func(store.Item, time.Time) (bool, error), now time.Time) error {
	for _, k := range keys {
		v, err := tx.Get(k)
		if missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		if is, err := expired(store.Item{Key: k, Value: v}, now); err != nil || !is {
			if err != nil {
				return err
			}
			continue
		}
		if err := drop(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// drop deletes a record and, of KeyPackages and claims, what lies beside it.
func drop(tx *store.Tx, k store.Key) error {
	switch {
	case store.SpaceKeyPackages.Prefix([]byte{1}).Has(k):
		return dropPackage(tx, k)
	case store.SpaceKeyPackages.Prefix([]byte{3}).Has(k):
		return dropClaim(tx, k)
	}
	return tx.Delete(k)
}

func expiredInvite(it store.Item, now time.Time) (bool, error) {
	i, err := parseInvite(it.Value)
	return i.expires <= millis(now), err
}

func expiredPackage(it store.Item, now time.Time) (bool, error) {
	key, err := store.SpaceKeyPackages.Parse(it.Key)
	if err != nil || len(key) < 8+32 {
		return false, fmt.Errorf("reading the key of a KeyPackage: %w", ErrRecord)
	}
	at := len(key) - 8 - 32
	end, _, err := cutPackageKey(key, key[:at])
	return end < serveFrom(now), err
}

func expiredLastResort(it store.Item, now time.Time) (bool, error) {
	l, err := parseLastResort(it.Value)
	return l.end < serveFrom(now), err
}

func expiredClaim(it store.Item, now time.Time) (bool, error) {
	c, err := parseClaim(it.Value)
	return c.until <= millis(now), err
}

// expiredUse: a KeyPackage whose end has passed cannot be published again.
func expiredUse(it store.Item, now time.Time) (bool, error) {
	u, err := parseUsed(it.Value)
	return u.end < uint64(max(now.Unix(), 0)), err
}
