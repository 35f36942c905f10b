package account

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/store"
)

// serveMargin is how long a KeyPackage must still be good to be handed out: the
// commit that uses it has to arrive before its end.
const serveMargin = time.Minute

// A published KeyPackage has passed all checks.
type published struct {
	suite uint16
	end   uint64 // Unix seconds
	ref   [32]byte
	kp    []byte
}

// PublishKeyPackages stores KeyPackages of the device, all or none, and its last
// resort. What is there already, or has been handed out, changes nothing, so that
// a repeat is harmless.
//
// Problems: CodeInvalid, CodeTooLarge, CodeTooMany (more than MaxKeyPackages).
func (r *Registry) PublishKeyPackages(ctx context.Context, who Identity, n *clientapi.NewKeyPackages) (*clientapi.KeyPackageCount, error) {
	if len(n.KeyPackages) > MaxKeyPackages {
		return nil, problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge,
			"%d KeyPackages at once: at most %d", len(n.KeyPackages), MaxKeyPackages)
	}
	now := r.cfg.Now()
	all := make([]*published, len(n.KeyPackages))
	for i, b := range n.KeyPackages {
		var err error
		if all[i], err = r.check(who, b, false, now); err != nil {
			return nil, named(fmt.Sprintf("key_packages[%d]", i), err)
		}
	}
	var last *published
	if len(n.LastResort) > 0 {
		var err error
		if last, err = r.check(who, n.LastResort, true, now); err != nil {
			return nil, named("last_resort", err)
		}
	}
	var out clientapi.KeyPackageCount
	err := r.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		out, err = r.publish(tx, who, all, last, n.Replace, now)
		return err
	})
	if errors.Is(err, store.ErrTooLarge) {
		return nil, problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge,
			"%d KeyPackages are too much for one transaction: publish fewer at a time", len(all))
	}
	if err != nil {
		return nil, fmt.Errorf("publishing KeyPackages of %s: %w", who.Client, err)
	}
	return &out, nil
}

// named puts the place in front of a problem's text.
func named(where string, err error) error {
	var p *clientapi.Problem
	if errors.As(err, &p) {
		return problem(p.Status, p.Code, "%s: %s", where, p.Detail)
	}
	return fmt.Errorf("%s: %w", where, err)
}

func (r *Registry) check(who Identity, b []byte, lastResort bool, now time.Time) (*published, error) {
	if len(b) > MaxKeyPackage {
		return nil, problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge,
			"a KeyPackage of %d octets: at most %d", len(b), MaxKeyPackage)
	}
	kp, err := mls.ParseKeyPackage(b, r.mls.Limits)
	if err != nil {
		return nil, invalid("%v", err)
	}
	// The cheap questions before the signatures.
	if kp.LastResort(r.mls.Limits) != lastResort {
		if lastResort {
			return nil, invalid("not marked as a last resort, so clients would take it for one that is used once")
		}
		return nil, invalid("marked as a last resort: publish it as last_resort")
	}
	if client, err := x509auth.ClientURI(kp.Leaf.Credential); err != nil {
		return nil, invalid("%v", err)
	} else if client != who.Client.String() {
		return nil, invalid("the credential is that of %s, and the token that of %s", client, who.Client)
	}
	valid, err := kp.Verify(r.mls, now)
	if err != nil {
		return nil, invalid("%v", err)
	}
	end, err := endOf(kp)
	if err != nil {
		return nil, err
	}
	return &published{suite: uint16(kp.Suite), end: end, ref: [32]byte(valid.Ref()), kp: b}, nil
}

// endOf is when the first thing that a verified KeyPackage needs ceases to be
// valid: its lifetime, or a certificate of its chain.
func endOf(kp *mls.KeyPackage) (uint64, error) {
	end := kp.Leaf.Lifetime.NotAfter
	for _, der := range kp.Leaf.Credential.Certificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return 0, fmt.Errorf("reading a verified certificate: %w", err)
		}
		end = min(end, uint64(max(cert.NotAfter.Unix(), 0)))
	}
	return end, nil
}

func (r *Registry) publish(tx *store.Tx, who Identity, all []*published, last *published, replace bool, now time.Time) (n clientapi.KeyPackageCount, err error) {
	name := who.User.Name()
	// A device that is removed meanwhile must not leave KeyPackages behind.
	if _, found, err := get(tx, deviceKey(name, who.Device), parseDevice); err != nil || !found {
		if err == nil {
			err = unauthorized()
		}
		return n, err
	}
	if replace {
		if err := r.withdraw(tx, name, who.Device); err != nil {
			return n, err
		}
	}
	for _, p := range all {
		_, used, err := get(tx, usedKey(p.ref), parseUsed)
		if err != nil {
			return n, err
		}
		if used {
			continue
		}
		if err := tx.Set(bodyKey(p.ref), p.kp); err != nil {
			return n, err
		}
		rec := packageRecord{suite: p.suite}
		if err := tx.Set(packageKey(name, who.Device, p.end, p.ref), rec.bytes()); err != nil {
			return n, err
		}
	}
	if last != nil {
		rec := lastResortRecord{last.end, last.kp}
		if err := tx.Set(lastResortKey(name, who.Device), rec.bytes()); err != nil {
			return n, err
		}
	}
	if err := r.dropExpired(tx, name, who.Device, now); err != nil {
		return n, err
	}
	r.shelf.forget(name, who.Device)
	r.changed(tx, name)
	if n, err = r.count(tx, name, who.Device, now); err != nil {
		return n, err
	}
	if n.Available > MaxKeyPackages {
		return n, problem(http.StatusTooManyRequests, clientapi.CodeTooMany,
			"with these the device would have %d KeyPackages here: at most %d", n.Available, MaxKeyPackages)
	}
	return n, nil
}

// CountKeyPackages says how many of the device's KeyPackages can be handed out.
func (r *Registry) CountKeyPackages(_ context.Context, who Identity) (*clientapi.KeyPackageCount, error) {
	var out clientapi.KeyPackageCount
	now := r.cfg.Now()
	err := r.cfg.Store.View(func(tx *store.Tx) (err error) {
		if out, err = r.count(tx, who.User.Name(), who.Device, now); err != nil {
			return err
		}
		return r.describe(tx, who, &out)
	})
	if err != nil {
		return nil, fmt.Errorf("counting KeyPackages of %s: %w", who.Client, err)
	}
	return &out, nil
}

// serveFrom is the end that a KeyPackage must have to be handed out now.
func serveFrom(now time.Time) uint64 { return uint64(max(now.Add(serveMargin).Unix()+1, 0)) }

func (r *Registry) count(tx *store.Tx, name, device string, now time.Time) (n clientapi.KeyPackageCount, err error) {
	s, err := r.stockOf(tx, name, device, now)
	if err != nil {
		return n, err
	}
	n.Available, n.LastResort = s.Available, s.LastResort
	if s.Available > 0 {
		n.Ends = s.End.Unix()
		n.Next = s.next[:]
	}
	if s.LastResort {
		n.LastResortEnds = s.LastResortEnd.Unix()
	}
	return n, nil
}

// describe adds to a count what only the device itself is told.
func (r *Registry) describe(tx *store.Tx, who Identity, n *clientapi.KeyPackageCount) error {
	if !n.LastResort {
		return nil
	}
	last, found, err := get(tx, lastResortKey(who.User.Name(), who.Device), parseLastResort)
	if err != nil || !found {
		return err
	}
	kp, err := r.parseStored(last.kp)
	if err != nil {
		return err
	}
	n.LastResortRef = kp.Ref()
	if n.Next == nil {
		n.Next = n.LastResortRef
	}
	return nil
}

// dropExpired deletes a device's KeyPackages that will not be handed out any more.
// They lie in front.
func (r *Registry) dropExpired(tx *store.Tx, name, device string, now time.Time) error {
	prefix := packagePrefix(name, device)
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceKeyPackages.Prefix(prefix), KeysOnly: true}) {
		if err != nil {
			return err
		}
		key, err := store.SpaceKeyPackages.Parse(it.Key)
		if err != nil {
			return err
		}
		end, _, err := cutPackageKey(key, prefix)
		if err != nil {
			return err
		}
		if end >= serveFrom(now) {
			return nil
		}
		if err := dropPackage(tx, it.Key); err != nil {
			return err
		}
	}
	return nil
}
