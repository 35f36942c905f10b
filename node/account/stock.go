package account

import (
	"context"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Stock is by what a user can be added, and how long that lasts if nobody takes any of it.
type Stock struct {
	User    uri.User
	Devices []DeviceStock
}

// DeviceStock is that of one device.
type DeviceStock struct {
	Device string
	// Available are KeyPackages that are used once. End is when the last of them is not handed
	// out any more.
	Available int
	End       time.Time
	// LastResort says that there is one, until LastResortEnd.
	LastResort    bool
	LastResortEnd time.Time

	next [32]byte // the reference of the available one that goes first
}

// Stock looks what there is of a user. A user without an account has no devices.
func (r *Registry) Stock(_ context.Context, user uri.User) (*Stock, error) {
	name, ok := r.local(user)
	out := &Stock{User: user}
	if !ok {
		return out, nil
	}
	now := r.cfg.Now()
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		devices, err := r.devices(tx, name)
		if err != nil {
			return err
		}
		for _, d := range devices {
			s, err := r.stockOf(tx, name, d.name, now)
			if err != nil {
				return err
			}
			out.Devices = append(out.Devices, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking at the KeyPackages of %s: %w", user, err)
	}
	return out, nil
}

// Local lists the own users by name: at most limit of them, after the given one if that is
// not zero.
func (r *Registry) Local(_ context.Context, after uri.User, limit int) (out []uri.User, err error) {
	scan := store.Scan{Prefix: store.SpaceAccounts.Prefix([]byte{1}), Limit: max(limit, 1), KeysOnly: true}
	if name, ok := r.local(after); ok {
		scan.From = accountKey(name + "\x00") // the least key behind it
	}
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(scan) {
			if err != nil {
				return err
			}
			key, err := store.SpaceAccounts.Parse(it.Key)
			if err != nil {
				return err
			}
			user, err := r.provider.User(string(key[1:]))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrRecord, err)
			}
			out = append(out, user)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing users: %w", err)
	}
	return out, nil
}

func (r *Registry) stockOf(tx *store.Tx, name, device string, now time.Time) (s DeviceStock, err error) {
	s.Device = device
	prefix := packagePrefix(name, device)
	scan := store.Scan{Prefix: store.SpaceKeyPackages.Prefix(prefix), From: packageKey(name, device, serveFrom(now), [32]byte{}), KeysOnly: true}
	for it, err := range tx.Scan(scan) {
		if err != nil {
			return s, err
		}
		key, err := store.SpaceKeyPackages.Parse(it.Key)
		if err != nil {
			return s, err
		}
		end, ref, err := cutPackageKey(key, prefix)
		if err != nil {
			return s, err
		}
		if s.Available == 0 {
			s.next = ref
		}
		s.Available++
		s.End = servedUntil(end) // they are sorted by it
	}
	last, found, err := get(tx, lastResortKey(name, device), parseLastResort)
	if err == nil && found && last.end >= serveFrom(now) {
		s.LastResort, s.LastResortEnd = true, servedUntil(last.end)
	}
	return s, err
}

// servedUntil is when what ends then is handed out for the last time.
func servedUntil(end uint64) time.Time {
	return time.Unix(int64(min(end, 1<<40)), 0).Add(-serveMargin)
}

// changed tells, once the transaction is durable, that a user's stock may be another.
func (r *Registry) changed(tx *store.Tx, name string) {
	if r.cfg.Changed == nil {
		return
	}
	if user, err := r.provider.User(name); err == nil {
		tx.OnCommit(func() { r.cfg.Changed(user) })
	}
}
