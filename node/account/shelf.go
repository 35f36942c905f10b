package account

import (
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/store"
)

// maxShelves bounds of how many users the shelf is remembered.
const maxShelves = 4096

// item is a KeyPackage of a device that is used once, as its key and record have it.
type item struct {
	end   uint64
	ref   [32]byte
	suite uint16
	// inline is the KeyPackage, if it lies in the record as in stores of before; only of one
	// that was chosen.
	inline []byte
}

// shelf remembers which KeyPackages and devices users have, so that a claim need not scan for
// them, which takes longer than all else that it does. The Registry is the only writer of
// them, and its transactions run one after the other: each that changes something says so as
// it runs. What it says may not have happened, if the transaction fails in the end: so KeyPackages
// are looked at before they are believed (errGone), and devices are remembered only once
// what was read is durable and nothing has changed meanwhile. Safe for concurrent use.
type shelf struct {
	mu    sync.Mutex
	users map[string]*shelved // guarded by mu, by name
	// changes counts changes of anybody's devices; guarded by mu.
	changes uint64
}

type shelved struct {
	devices  []namedDevice     // nil: not known
	packages map[string][]item // by device, sorted by end
}

func newShelf() *shelf { return &shelf{users: map[string]*shelved{}} }

// user is what is remembered of one. The mutex is held.
func (s *shelf) user(name string) *shelved {
	u := s.users[name]
	if u == nil {
		if len(s.users) >= maxShelves {
			clear(s.users)
		}
		u = &shelved{packages: map[string][]item{}}
		s.users[name] = u
	}
	return u
}

// front is the device's list, which is not to be changed.
func (s *shelf) front(name, device string) (list []item, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[name]
	if u == nil {
		return nil, false
	}
	list, known = u.packages[device]
	return list, known && len(list) > 0 // an empty one is looked at again: nothing is gained by it
}

func (s *shelf) put(name, device string, list []item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user(name).packages[device] = list
}

// took says that one is not there any more.
func (s *shelf) took(name, device string, ref [32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[name]
	if u == nil {
		return
	}
	list := u.packages[device]
	i := slices.IndexFunc(list, func(x item) bool { return x.ref == ref })
	switch {
	case i == 0:
		u.packages[device] = list[1:]
	case i > 0:
		u.packages[device] = slices.Concat(list[:i], list[i+1:]) // others may read the old one
	}
}

// forget says that a device's KeyPackages are others.
func (s *shelf) forget(name, device string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u != nil {
		delete(u.packages, device)
	}
}

// forgetUser says that a user's devices are others.
func (s *shelf) forgetUser(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, name)
	s.changes++
}

func (s *shelf) devices(name string) (list []namedDevice, at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u != nil {
		list = u.devices
	}
	return list, s.changes
}

// keep remembers devices that were read when changes was at.
func (s *shelf) keep(name string, list []namedDevice, at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == at {
		s.user(name).devices = list
	}
}

// claimable lists the devices that a claim asks, which is not to be changed.
func (r *Registry) claimable(tx *store.Tx, c *Claim, name string) ([]namedDevice, error) {
	if c.Probe {
		return r.devices(tx, name)
	}
	list, at := r.shelf.devices(name)
	if list != nil {
		return list, nil
	}
	list, err := r.devices(tx, name)
	if err == nil && list != nil {
		tx.OnCommit(func() { r.shelf.keep(name, list, at) })
	}
	return list, err
}

// onShelf reads a device's KeyPackages.
func (r *Registry) onShelf(tx *store.Tx, name, device string, now time.Time) (out []item, err error) {
	prefix := packagePrefix(name, device)
	scan := store.Scan{Prefix: store.SpaceKeyPackages.Prefix(prefix), From: packageKey(name, device, serveFrom(now), [32]byte{})}
	for it, err := range tx.Scan(scan) {
		if err != nil {
			return nil, err
		}
		key, err := store.SpaceKeyPackages.Parse(it.Key)
		if err != nil {
			return nil, err
		}
		var x item
		if x.end, x.ref, err = cutPackageKey(key, prefix); err != nil {
			return nil, err
		}
		rec, err := parsePackage(it.Value)
		if err != nil {
			return nil, err
		}
		x.suite = rec.suite
		out = append(out, x)
	}
	return out, nil
}
