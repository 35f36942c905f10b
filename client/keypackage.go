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
	packageCheck = time.Hour
)

// packageRecord is a KeyPackage of this client with its private keys.
type packageRecord struct {
	Private    []byte
	LastResort bool
	Expires    int64 // Unix seconds
}

// packageStock is the state of the top-up.
type packageStock struct {
	task
	fresh   bool                      // replace all, the credential has changed
	request *clientapi.NewKeyPackages // made, and not at the provider yet
}

// topUp looks how many KeyPackages are left at the provider and brings more.
// Their private keys are durable before the provider sees them.
func (c *Client) topUp() {
	fresh := c.packages.fresh
	c.async("publishing KeyPackages", &c.packages.task, func(ctx context.Context) (func() error, error) {
		count := new(clientapi.KeyPackageCount)
		if err := c.api.call(ctx, "GET", "/v1/keypackages", nil, count); err != nil {
			return nil, err
		}
		return func() error {
			c.packages.at = c.cfg.Now().Add(packageCheck + jitter(packageCheck/4))
			n := 0
			if count.Available < lowPackages || fresh {
				n = fullPackages - min(count.Available, fullPackages-lowPackages)
			}
			if n == 0 && count.LastResort {
				return c.dropExpired()
			}
			return c.publish(n, !count.LastResort || fresh)
		}, nil
	})
}

func (c *Client) publish(n int, lastResort bool) error {
	req := &clientapi.NewKeyPackages{KeyPackages: [][]byte{}}
	b := new(batch)
	now := c.cfg.Now()
	make := func(last bool) ([]byte, error) {
		kp, err := mls.NewKeyPackage(c.me.leaf(now), last, nil)
		if err != nil {
			return nil, err
		}
		b.put(tableKeyPackage, string(kp.KeyPackage().Ref()), &packageRecord{kp.Bytes(), last, now.Add(keyPackageLifetime).Unix()})
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
			return nil
		}, nil
	})
}

// dropExpired deletes private keys that nobody can use any more. Expired ones
// stay for a week, for a Welcome that took long.
func (c *Client) dropExpired() error {
	b := new(batch)
	limit := c.cfg.Now().Add(-7 * 24 * time.Hour).Unix()
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
