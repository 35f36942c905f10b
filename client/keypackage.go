package client

import (
	"context"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
)

const (
	keyPackageLifetime = 30 * 24 * time.Hour
	// Below lowPackages, fullPackages are brought to the provider.
	lowPackages  = 20
	fullPackages = 50
	// packageCheck is the time between two looks at what is left, with up to a quarter more.
	// Looks do not come earlier because somebody has taken some: whoever takes them would see
	// that this device is there.
	packageCheck = time.Hour
	// renewBefore is how long before the last of them ends others are brought: a device that is
	// off at times looks often enough in it.
	renewBefore = 7 * 24 * time.Hour
	// lastResortAge is when the last resort is replaced that nobody has used; one that was
	// used is at the next look.
	lastResortAge = 7 * 24 * time.Hour
	// keepKeys is how long the private keys of what is not handed out any more are kept, for a
	// Welcome that took long.
	keepKeys = 7 * 24 * time.Hour
)

// packageRecord is a KeyPackage of this client with its private keys.
type packageRecord struct {
	Private    []byte
	LastResort bool
	Expires    int64 // Unix seconds
	Made       int64 `json:",omitempty"` // likewise; zero: by an earlier version
	Used       bool  `json:",omitempty"` // of a last resort: a Welcome to it has come
	// Mask is what it is under, for pseudonymous rooms.
	Mask *packageMask `json:",omitempty"`
}

// packageStock is the state of the top-up.
type packageStock struct {
	task
	fresh    bool                      // replace all: the credential has changed, or others do not take them
	replaced time.Time                 // when that was begun last because others do not take them
	request  *clientapi.NewKeyPackages // made, and not at the provider yet
	dry      bool                      // the provider says that there is nothing of this device
	renew    bool                      // the certificates are to be renewed before their time
	level    string                    // how the user can be added, as the provider last said
}

// topUp looks how many KeyPackages are left at the provider and brings more.
// Their private keys are durable before the provider sees them.
func (c *Client) topUp() {
	c.async("publishing KeyPackages", &c.packages.task, func(ctx context.Context) (func() error, error) {
		count := new(clientapi.KeyPackageCount)
		if err := c.api.call(ctx, "GET", "/v1/keypackages", nil, count); err != nil {
			return nil, err
		}
		return func() error {
			c.packages.at = c.cfg.Now().Add(packageCheck + jitter(packageCheck/4))
			c.level(count.Level)
			n, last, replace, err := c.wanting(count)
			if err != nil {
				return err
			}
			if n == 0 && !last {
				return c.dropExpired()
			}
			return c.publish(n, last, replace)
		}, nil
	})
}

// wanting says what is to be brought: how many that are used once, in place of the others or
// beside them, and whether a last resort.
func (c *Client) wanting(count *clientapi.KeyPackageCount) (n int, last, replace bool, err error) {
	soon := c.cfg.Now().Add(renewBefore).Unix()
	next, err := c.packageOf(count.Next)
	if err != nil {
		return 0, false, false, err
	}
	final, err := c.packageOf(count.LastResortRef)
	if err != nil {
		return 0, false, false, err
	}
	dry, now := c.packages.dry, c.cfg.Now()
	c.packages.dry = false
	switch {
	case dry && next != nil && now.Sub(c.packages.replaced) >= packageCheck:
		// There are some, and others would not take them: the certificates in them may be of
		// another provider key. New ones bring new KeyPackages.
		c.packages.replaced, c.packages.renew, c.renewal.at = now, true, now
	case c.packages.fresh || len(count.Next) > 0 && next == nil:
		// Of what others would get this device has no key, such as when its storage is an older copy.
		return fullPackages, true, true, nil
	case count.Available < lowPackages:
		n = fullPackages - count.Available
	case count.Ends != 0 && count.Ends < soon:
		n = fullPackages
	}
	last = !count.LastResort || count.LastResortEnds != 0 && count.LastResortEnds < soon
	if len(count.LastResortRef) > 0 {
		last = last || final == nil || final.Used || c.cfg.Now().Unix()-final.Made > int64(lastResortAge/time.Second)
	}
	return n, last, false, nil
}

// packageOf is the record of a KeyPackage, nil if there is none.
func (c *Client) packageOf(ref []byte) (rec *packageRecord, err error) {
	if len(ref) == 0 {
		return nil, nil
	}
	err = c.cfg.Storage.View(func(tx Tx) error {
		raw, err := tx.Get(tableKeyPackage, string(ref))
		if err != nil || raw == nil {
			return err
		}
		rec = new(packageRecord)
		return unmarshal("KeyPackage", raw, rec)
	})
	if err != nil {
		return nil, storageError(err)
	}
	return rec, nil
}

func (c *Client) publish(n int, lastResort, replace bool) error {
	req := &clientapi.NewKeyPackages{KeyPackages: [][]byte{}, Replace: replace}
	b := new(batch)
	now := c.cfg.Now()
	make := func(last bool) ([]byte, error) {
		kp, err := mls.NewKeyPackage(c.me.leaf(now), last, nil)
		if err != nil {
			return nil, err
		}
		b.put(tableKeyPackage, string(kp.KeyPackage().Ref()), &packageRecord{Private: kp.Bytes(), LastResort: last, Expires: now.Add(keyPackageLifetime).Unix(), Made: now.Unix()})
		return kp.KeyPackage().Bytes(), nil
	}
	for range n {
		kp, err := make(false)
		if err != nil {
			return err
		}
		if len(b.writes) >= 10 { // no transaction needs to be large
			if err := c.commit(b); err != nil {
				return err
			}
			b = new(batch)
		}
		req.KeyPackages = append(req.KeyPackages, kp)
	}
	if lastResort {
		kp, err := make(true)
		if err != nil {
			return err
		}
		req.LastResort = kp
	}
	if err := c.commit(b); err != nil {
		return err
	}
	c.packages.request = req
	c.bring()
	return nil
}

// bring publishes the KeyPackages that were made, the same ones until there is an
// answer.
func (c *Client) bring() {
	req := c.packages.request
	c.async("publishing KeyPackages", &c.packages.task, func(ctx context.Context) (func() error, error) {
		err := c.api.call(ctx, "POST", "/v1/keypackages", req, nil)
		if passing, _ := transient(err); passing {
			return nil, err
		}
		return func() error {
			c.packages.request = nil
			c.packages.at = c.cfg.Now().Add(packageCheck + jitter(packageCheck/4))
			if err != nil {
				c.emit(Problem{Err: fmt.Errorf("publishing KeyPackages: %w", err)})
				return nil
			}
			c.packages.fresh = false
			if err := c.retireLastResorts(req.LastResort); err != nil {
				return err
			}
			return c.dropExpired()
		}, nil
	})
}

// retireLastResorts lets the time of all last resorts end but the present one's: they are
// not handed out any more.
func (c *Client) retireLastResorts(present []byte) error {
	if len(present) == 0 {
		return nil
	}
	kp, err := mls.ParseKeyPackage(present, mls.Limits{})
	if err != nil {
		return fmt.Errorf("reading an own KeyPackage: %w: %w", ErrStorage, err)
	}
	b, now := new(batch), c.cfg.Now().Unix()
	err = c.cfg.Storage.View(func(tx Tx) error {
		return scan(tx, tableKeyPackage, func(name string, rec *packageRecord) error {
			if rec.LastResort && rec.Expires > now && name != string(kp.Ref()) {
				rec.Expires = now
				b.put(tableKeyPackage, name, rec)
			}
			return nil
		})
	})
	if err != nil {
		return storageError(err)
	}
	return c.commit(b)
}

// dropExpired deletes private keys that nobody can use any more.
func (c *Client) dropExpired() error {
	b := new(batch)
	limit := c.cfg.Now().Add(-keepKeys).Unix()
	err := c.cfg.Storage.View(func(tx Tx) error {
		for it, err := range tx.Scan(tableKeyPackage, "") {
			if err != nil {
				return err
			}
			rec := new(packageRecord)
			if err := unmarshal("KeyPackage", it.Value, rec); err != nil {
				return err
			}
			if rec.Expires < limit {
				b.del(tableKeyPackage, it.Name)
			}
		}
		return nil
	})
	if err != nil {
		return storageError(err)
	}
	if len(b.writes) == 0 {
		return nil
	}
	return c.commit(b)
}
