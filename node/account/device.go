package account

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

type namedDevice struct {
	name string
	deviceRecord
}

// devices returns a user's devices by name.
func (r *Registry) devices(tx *store.Tx, name string) ([]namedDevice, error) {
	prefix := devicePart(1, name, "")
	var out []namedDevice
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceDevices.Prefix(prefix)}) {
		if err != nil {
			return nil, err
		}
		key, err := store.SpaceDevices.Parse(it.Key)
		if err != nil {
			return nil, err
		}
		d, err := parseDevice(it.Value)
		if err != nil {
			return nil, err
		}
		device, _ := bytes.CutPrefix(key, prefix)
		out = append(out, namedDevice{string(device), d})
	}
	return out, nil
}

// Devices lists the user's devices.
func (r *Registry) Devices(_ context.Context, who Identity) (*clientapi.Devices, error) {
	out := &clientapi.Devices{Devices: []clientapi.Device{}}
	now := r.cfg.Now()
	name := who.User.Name()
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		devices, err := r.devices(tx, name)
		if err != nil {
			return err
		}
		for _, d := range devices {
			id, err := r.identity(name, d.name)
			if err != nil {
				return err
			}
			n, err := r.count(tx, name, d.name, now)
			if err != nil {
				return err
			}
			out.Devices = append(out.Devices, clientapi.Device{Name: d.name, Client: id.Client.String(),
				CreatedAt: int64(d.created), KeyPackages: n.Available, LastResort: n.LastResort})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing devices of %s: %w", who.User, err)
	}
	return out, nil
}

// RemoveDevice removes a device of the user, the asking one too: its token is
// unknown from then on, its KeyPackages are gone, and nobody can repeat its
// registration. Problem: CodeNotFound.
//
// It does not remove the device from groups: that takes a commit.
func (r *Registry) RemoveDevice(ctx context.Context, who Identity, device string) error {
	name := who.User.Name()
	err := r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		d, found, err := get(tx, deviceKey(name, device), parseDevice)
		if err != nil {
			return err
		}
		if !found {
			return notFound("%s has no device %.100q", who.User, device)
		}
		return r.removeDevice(tx, name, &namedDevice{device, d})
	})
	if err != nil {
		return fmt.Errorf("removing device: %w", err)
	}
	r.cfg.Log.Info("device removed", "user", who.User, "device", device)
	return nil
}

func (r *Registry) removeDevices(tx *store.Tx, name string) error {
	devices, err := r.devices(tx, name)
	if err != nil {
		return err
	}
	for i := range devices {
		if err := r.removeDevice(tx, name, &devices[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Registry) removeDevice(tx *store.Tx, name string, d *namedDevice) error {
	if err := r.dropToken(tx, d.token); err != nil {
		return err
	}
	r.changed(tx, name)
	r.shelf.forgetUser(name)
	if err := r.withdraw(tx, name, d.name); err != nil {
		return err
	}
	// Claims on the device are void without it, see claim.
	for _, k := range []store.Key{lastResortKey(name, d.name), inviteKey(d.invite), deviceKey(name, d.name)} {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// withdraw deletes a device's KeyPackages that are used once.
func (r *Registry) withdraw(tx *store.Tx, name, device string) error {
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceKeyPackages.Prefix(packagePrefix(name, device)), KeysOnly: true}) {
		if err != nil {
			return err
		}
		if err := dropPackage(tx, it.Key); err != nil {
			return err
		}
	}
	r.shelf.forget(name, device)
	return nil
}

// dropPackage deletes a KeyPackage that nobody has claimed, by its key.
func dropPackage(tx *store.Tx, k store.Key) error {
	key, err := store.SpaceKeyPackages.Parse(k)
	if err != nil {
		return err
	}
	if len(key) < 32 {
		return fmt.Errorf("reading the key of a KeyPackage: %w", ErrRecord)
	}
	if err := tx.Delete(bodyKey([32]byte(key[len(key)-32:]))); err != nil {
		return err
	}
	return tx.Delete(k)
}

// User is an account as an operator sees it.
type User struct {
	Name    string
	URI     string
	Created time.Time
	Devices []clientapi.Device
	// Stock is how the user can be added to rooms (package stock), for whoever knows; else empty.
	Stock string
}

// Users lists accounts by name: at most limit of them (at least 1), after the
// given name.
func (r *Registry) Users(_ context.Context, after string, limit int) ([]User, error) {
	scan := store.Scan{Prefix: store.SpaceAccounts.Prefix([]byte{1}), Limit: max(limit, 1)}
	if after != "" {
		if len(after) > uri.MaxSegment {
			return nil, invalid("a user's name of %d octets", len(after))
		}
		scan.From = accountKey(after + "\x00") // the least key behind it
	}
	now := r.cfg.Now()
	var out []User
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(scan) {
			if err != nil {
				return err
			}
			u, err := r.user(tx, it, now)
			if err != nil {
				return err
			}
			out = append(out, *u)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing users: %w", err)
	}
	return out, nil
}

func (r *Registry) user(tx *store.Tx, it store.Item, now time.Time) (*User, error) {
	key, err := store.SpaceAccounts.Parse(it.Key)
	if err != nil {
		return nil, err
	}
	acc, err := parseAccount(it.Value)
	if err != nil {
		return nil, err
	}
	u := &User{Name: string(key[1:]), Created: fromMillis(acc.created)}
	devices, err := r.devices(tx, u.Name)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		id, err := r.identity(u.Name, d.name)
		if err != nil {
			return nil, err
		}
		n, err := r.count(tx, u.Name, d.name, now)
		if err != nil {
			return nil, err
		}
		u.URI = id.User.String()
		u.Devices = append(u.Devices, clientapi.Device{Name: d.name, Client: id.Client.String(),
			CreatedAt: int64(d.created), KeyPackages: n.Available, LastResort: n.LastResort})
	}
	if u.URI == "" {
		user, err := r.provider.User(u.Name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRecord, err)
		}
		u.URI = user.String()
	}
	return u, nil
}

// CountUsers returns how many accounts there are.
func (r *Registry) CountUsers(context.Context) (n int, err error) {
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		for _, err := range tx.Scan(store.Scan{Prefix: store.SpaceAccounts.Prefix([]byte{1}), KeysOnly: true}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("counting users: %w", err)
	}
	return n, nil
}

// Has says whether the user has an account here.
func (r *Registry) Has(_ context.Context, user uri.User) (found bool, err error) {
	name, ok := r.local(user)
	if !ok {
		return false, nil
	}
	err = r.cfg.Store.View(func(tx *store.Tx) (err error) {
		_, found, err = get(tx, accountKey(name), parseAccount)
		return err
	})
	return found, err
}

// UserKey returns the key of a user of this provider, by which its devices and
// its claims are signed. Problem: CodeNotFound.
func (r *Registry) UserKey(_ context.Context, user uri.User) (key []byte, err error) {
	name, ok := r.local(user)
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		acc, found, err := get(tx, accountKey(name), parseAccount)
		if err == nil && !(found && ok) {
			return notFound("there is no user %s here", user)
		}
		key = acc.userKey
		return err
	})
	return key, err
}
