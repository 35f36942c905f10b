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
	end    uint64
	ref    [32]byte
	suite  uint16
	inside bool // the KeyPackage lies in the record, as in stores of before
	// inline is then the KeyPackage, in the one that was chosen.
	inline []byte
}

// shelf remembers which KeyPackages and devices users have, so that a claim need not scan for
// them, which takes longer than all else that it does. The Registry is the only writer of
// them, and its transactions run one after the other: each that takes one away or brings
// others says so as it runs. What was read is remembered only once it is durable that it was
// so, and if nobody has said anything in between: so that whatever is remembered is stored,
// and nobody has taken it. What a transaction took that failed in the end is only left out until
// the rest is used up, and all is read again. Safe for concurrent use.
type shelf struct {
	mu    sync.Mutex
	users map[string]*shelved // guarded by mu, by name
	// changes counts what was said; guarded by mu.
	changes uint64
	// moved is that count at the last change of anybody's devices; guarded by mu.
	moved uint64
}

type shelved struct {
	devices  []namedDevice        // nil: not known
	packages map[string]*packages // by device
}

type packages struct {
	list  []item // sorted by end; empty: not known, if not dry
	since uint64 // shelf.changes at the last change
	// dry: there were none when it was read, and none has come since. Who has taken a user's
	// last one asks again, and reading over what is deleted is the dearest part of a claim.
	dry bool
}

func newShelf() *shelf { return &shelf{users: map[string]*shelved{}} }

// user is what is remembered of one. The mutex is held.
func (s *shelf) user(name string) *shelved {
	u := s.users[name]
	if u == nil {
		if len(s.users) >= maxShelves {
			clear(s.users)
		}
		u = &shelved{packages: map[string]*packages{}}
		s.users[name] = u
	}
	return u
}

// front is the device's list, which is not to be changed.
func (s *shelf) front(name, device string) (list []item, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u != nil && u.packages[device] != nil {
		p := u.packages[device]
		return p.list, len(p.list) > 0 || p.dry
	}
	return nil, false
}

// at is when something was said last of a device whose list is about to be read.
func (s *shelf) at(name, device string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u != nil && u.packages[device] != nil {
		return u.packages[device].since
	}
	return s.change(name, device).since
}

// empty remembers that a list was read, when at had been said, and there was nothing in it.
func (s *shelf) empty(name, device string, at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u != nil && u.packages[device] != nil && u.packages[device].since == at {
		u.packages[device].list, u.packages[device].dry = nil, true
	}
}

// put remembers what is left of a list that was read, after took had said at.
func (s *shelf) put(name, device string, list []item, at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u != nil && u.packages[device] != nil && u.packages[device].since == at {
		u.packages[device].list = list
	}
}

// took says that one is not there any more.
func (s *shelf) took(name, device string, ref [32]byte) (at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.change(name, device)
	i := slices.IndexFunc(p.list, func(x item) bool { return x.ref == ref })
	switch {
	case i == 0:
		p.list = p.list[1:]
	case i > 0:
		p.list = slices.Concat(p.list[:i], p.list[i+1:]) // others may read the old one
	}
	return p.since
}

// forget says that a device's KeyPackages are others.
func (s *shelf) forget(name, device string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(name, device).list = nil
}

// change notes that something was said of a device. The mutex is held.
func (s *shelf) change(name, device string) *packages {
	s.changes++
	u := s.user(name)
	p := u.packages[device]
	if p == nil {
		p = new(packages)
		u.packages[device] = p
	}
	p.since, p.dry = s.changes, false
	return p
}

// forgetUser says that a user's devices are others.
func (s *shelf) forgetUser(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, name)
	s.changes++
	s.moved = s.changes
}

func (s *shelf) devices(name string) (list []namedDevice, at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u != nil {
		list = u.devices
	}
	return list, s.moved
}

// keep remembers devices that were read when moved was at.
func (s *shelf) keep(name string, list []namedDevice, at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved == at {
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
		x.suite, x.inside = rec.suite, len(rec.kp) > 0
		out = append(out, x)
	}
	return out, nil
}
