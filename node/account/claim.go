package account

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// Claim asks for a KeyPackage of each of a user's clients.
type Claim struct {
	// Target is the user, of this provider.
	Target uri.User
	// Requester is the URI of the user who asks, Room that of the room, or empty.
	// Both are compared as octets: a claim with the same ones is the same claim.
	Requester, Room string
	// Provider is the domain that is rationed.
	Provider string
	// Suites are acceptable, in order of preference.
	Suites []mls.CipherSuite
	// Required is what the room requires of its members.
	Required mls.RequiredCapabilities
	// Probe asks what the claim would get: nothing is taken, and nobody's ration or share is
	// looked at.
	Probe bool
}

// Claimed is the result. Status and Clients go together as in a
// KeyMaterialResponse.
type Claimed struct {
	Status  wire.KeyMaterialUserCode
	Clients []wire.ClientKeyMaterial
}

// Claim hands out one KeyPackage per client of the target, durably, or the same
// ones again; see the package documentation. An unknown user is no error but the
// status userUnknown. Consent is the caller's to check, before.
func (r *Registry) Claim(ctx context.Context, c Claim) (*Claimed, error) {
	if name, ok := r.local(c.Target); !ok || len(c.Suites) == 0 {
		return nil, invalid("a claim of %q with %d cipher suites: a user of %s and at least one", name, len(c.Suites), r.cfg.Domain)
	}
	now := r.cfg.Now()
	var out *Claimed
	spent := 0
	if c.Probe {
		err := r.cfg.Store.View(func(tx *store.Tx) (err error) {
			out, err = r.claim(tx, &c, now, &spent)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("looking what a claim of %s would get: %w", c.Target, err)
		}
		return out, nil
	}
	err := r.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		r.claims.Return(c.Provider, spent) // a second run begins anew
		spent = 0
		out, err = r.claim(tx, &c, now, &spent)
		return err
	})
	if err != nil {
		r.claims.Return(c.Provider, spent)
		return nil, fmt.Errorf("claiming KeyPackages of %s: %w", c.Target, err)
	}
	return out, nil
}

func (r *Registry) claim(tx *store.Tx, c *Claim, now time.Time, spent *int) (*Claimed, error) {
	name := c.Target.Name()
	if _, found, err := get(tx, accountKey(name), parseAccount); err != nil {
		return nil, err
	} else if !found {
		return &Claimed{Status: wire.KeyMaterialUserUnknown}, nil
	}
	devices, err := r.claimable(tx, c, name)
	if err != nil {
		return nil, err
	}
	share := r.shareOf(c, name)
	out := &Claimed{Status: wire.KeyMaterialNoCompatible}
	good := 0
	for i := range devices {
		m, err := r.claimDevice(tx, c, name, &devices[i], share, now, spent)
		if err != nil {
			return nil, err
		}
		if m.Status == wire.ClientSuccess {
			good++
		}
		out.Clients = append(out.Clients, *m)
	}
	if err := share.spend(tx, now); err != nil {
		return nil, err
	}
	switch {
	case good == 0:
	case good == len(out.Clients):
		out.Status = wire.KeyMaterialSuccess
	default:
		out.Status = wire.KeyMaterialPartialSuccess
	}
	return out, nil
}

func (r *Registry) claimDevice(tx *store.Tx, c *Claim, name string, d *namedDevice, share *share, now time.Time, spent *int) (*wire.ClientKeyMaterial, error) {
	id, err := r.identity(name, d.name)
	if err != nil {
		return nil, err
	}
	out := &wire.ClientKeyMaterial{Client: wire.IdentifierURI(id.Client.String())}
	success := func(kp *mls.KeyPackage) (*wire.ClientKeyMaterial, error) {
		out.Status, out.KeyPackage = wire.ClientSuccess, kp
		return out, nil
	}
	claim := hash(claimLabel, []byte(c.Requester), []byte(c.Room))
	kp, ended, err := r.claimedBefore(tx, c, claimKey(name, claim, d.name), d, now)
	if err != nil {
		return nil, err
	}
	if kp != nil {
		return success(kp)
	}
	// Whether the ration allows one is asked when there is one to take.
	kp, other, err := r.takeOne(tx, c, name, d, claim, ended, now, func() (bool, error) {
		if c.Probe {
			return true, nil
		}
		if ok, err := share.allows(tx, d.name, now); err != nil || !ok {
			return false, err
		}
		if r.claims.TakeUpTo(c.Provider, 1, now) == 0 {
			return false, nil
		}
		*spent++
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if kp != nil {
		share.took = true
		return success(kp)
	}
	last, found, err := get(tx, lastResortKey(name, d.name), parseLastResort)
	if err != nil {
		return nil, err
	}
	if found && last.end >= serveFrom(now) {
		if kp, err = r.parseStored(last.kp); err != nil {
			return nil, err
		}
		if c.fits(kp) {
			return success(kp)
		}
		other = kp
	}
	if out.Status = wire.ClientExhausted; other != nil {
		out.Status, out.Capabilities = wire.ClientNothingCompatible, &other.Leaf.Capabilities
	}
	return out, nil
}

// claimedBefore returns what the same claim got, while it is still of use; and otherwise
// whether there is a claim that is not.
func (r *Registry) claimedBefore(tx *store.Tx, c *Claim, k store.Key, d *namedDevice, now time.Time) (kp *mls.KeyPackage, ended bool, err error) {
	rec, found, err := get(tx, k, parseClaim)
	// A claim on an earlier device of that name is void.
	if err != nil || !found || rec.until <= millis(now) || rec.created != d.created {
		return nil, found, err
	}
	b, err := body(tx, rec.kp, rec.ref)
	if err != nil {
		return nil, false, err
	}
	if kp, err = r.parseStored(b); err != nil || !c.fits(kp) {
		return nil, true, err
	}
	return kp, false, nil
}

// body is a KeyPackage that lies beside its record, or, as before, in it.
func body(tx *store.Tx, in []byte, ref [32]byte) ([]byte, error) {
	if len(in) > 0 {
		return in, nil
	}
	b, err := tx.Get(bodyKey(ref))
	if missing(err) {
		return nil, fmt.Errorf("%w: the KeyPackage %x is not there", ErrRecord, ref[:8])
	}
	return b, err
}

// takeOne removes the device's first KeyPackage that fits, of the first cipher
// suite that has one, and remembers the claim. Without one, other is any that is
// there and does not fit.
func (r *Registry) takeOne(tx *store.Tx, c *Claim, name string, d *namedDevice, claim [32]byte, ended bool, now time.Time, allowed func() (bool, error)) (kp, other *mls.KeyPackage, err error) {
	best, list, kp, other, err := r.choose(tx, c, name, d.name, now)
	if err != nil || kp == nil {
		return nil, other, err
	}
	if ok, err := allowed(); err != nil || !ok {
		return nil, other, err
	}
	if c.Probe {
		return kp, nil, nil
	}
	until := min(millis(now.Add(r.cfg.ClaimLifetime)), (best.end-uint64(serveMargin/time.Second))*1000)
	claimed := claimRecord{until: until, created: d.created, ref: best.ref, kp: best.inline}
	k := claimKey(name, claim, d.name)
	if ended { // and was not swept yet
		if err := dropClaim(tx, k); err != nil {
			return nil, nil, err
		}
	}
	if err := tx.Set(k, claimed.bytes()); err != nil {
		return nil, nil, err
	}
	r.changed(tx, name)
	used := usedRecord{best.end, name, claim, d.name}
	if err := tx.Set(usedKey(best.ref), used.bytes()); err != nil {
		return nil, nil, err
	}
	if at := r.shelf.took(name, d.name, best.ref); list != nil {
		list = slices.DeleteFunc(list, func(x item) bool { return x.ref == best.ref })
		tx.OnCommit(func() { r.shelf.put(name, d.name, list, at) })
	}
	return kp, nil, tx.Delete(packageKey(name, d.name, best.end, best.ref))
}

// choose finds the KeyPackage that takeOne takes. It changes nothing. list is what the device
// has, if that had to be read.
func (r *Registry) choose(tx *store.Tx, c *Claim, name, device string, now time.Time) (best item, list []item, kp, other *mls.KeyPackage, err error) {
	if !c.Probe { // in a View the shelf is of another time than the transaction
		if list, known := r.shelf.front(name, device); known {
			best, kp, other, err = r.among(tx, c, name, device, list, now)
			return best, nil, kp, other, err
		}
	}
	at := uint64(0)
	if !c.Probe {
		at = r.shelf.at(name, device)
	}
	if list, err = r.onShelf(tx, name, device, now); err != nil {
		return item{}, nil, nil, nil, err
	}
	if !c.Probe && len(list) == 0 {
		tx.OnCommit(func() { r.shelf.empty(name, device, at) })
	}
	best, kp, other, err = r.among(tx, c, name, device, list, now)
	return best, list, kp, other, err
}

// among chooses from a list that is sorted by end.
func (r *Registry) among(tx *store.Tx, c *Claim, name, device string, list []item, now time.Time) (best item, kp, other *mls.KeyPackage, err error) {
	rank := len(c.Suites)
	for _, x := range list {
		if x.end < serveFrom(now) {
			continue
		}
		at := slices.Index(c.Suites, mls.CipherSuite(x.suite))
		if kp != nil && (at < 0 || at >= rank) || at < 0 && other != nil {
			continue // not better
		}
		var rec packageRecord
		if x.inside {
			found := false
			if rec, found, err = get(tx, packageKey(name, device, x.end, x.ref), parsePackage); err == nil && !found {
				err = fmt.Errorf("%w: the KeyPackage %x is not there", ErrRecord, x.ref[:8])
			}
			if err != nil {
				return item{}, nil, nil, err
			}
		}
		b, err := body(tx, rec.kp, x.ref)
		if err != nil {
			return item{}, nil, nil, err
		}
		one, err := r.parseStored(b)
		if err != nil {
			return item{}, nil, nil, err
		}
		if !c.fits(one) {
			other = one
			continue
		}
		best, kp, rank = x, one, at
		best.inline = rec.kp
		if rank == 0 {
			break
		}
	}
	return best, kp, other, nil
}

// parseStored reads a KeyPackage that was verified when it was published.
func (r *Registry) parseStored(b []byte) (*mls.KeyPackage, error) {
	kp, err := mls.ParseKeyPackage(b, r.mls.Limits)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return kp, nil
}

// fits says whether the KeyPackage can join a group with the claim's demands.
func (c *Claim) fits(kp *mls.KeyPackage) bool {
	has := &kp.Leaf.Capabilities
	if !slices.Contains(c.Suites, kp.Suite) {
		return false
	}
	for _, x := range c.Required.Extensions {
		// Those of RFC 9420 itself are implied (section 7.2).
		if x > mls.ExtExternalSenders && !slices.Contains(has.Extensions, x) {
			return false
		}
	}
	for _, p := range c.Required.Proposals {
		if p > mls.ProposalGroupContextExtensions && !slices.Contains(has.Proposals, p) {
			return false
		}
	}
	for _, t := range c.Required.Credentials {
		if !slices.Contains(has.Credentials, t) {
			return false
		}
	}
	return true
}

// Joined says, in the caller's transaction, that a Welcome to KeyPackages with
// these references (the KeyPackageRefs in its secrets) is on its way to their
// devices: their private keys will be gone, so that a repeated claim gets others.
// References of other providers' KeyPackages, and of last resorts, are ignored.
func (r *Registry) Joined(tx *store.Tx, refs ...[]byte) error {
	for _, ref := range refs {
		if len(ref) != 32 {
			continue
		}
		u, found, err := get(tx, usedKey([32]byte(ref)), parseUsed)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		k := claimKey(u.name, u.claim, u.device)
		c, found, err := get(tx, k, parseClaim)
		if err != nil {
			return err
		}
		if found && c.ref == [32]byte(ref) {
			if err := dropClaim(tx, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropClaim forgets a claim and what it got.
func dropClaim(tx *store.Tx, k store.Key) error {
	c, found, err := get(tx, k, parseClaim)
	if err != nil || !found {
		return err
	}
	if err := tx.Delete(bodyKey(c.ref)); err != nil {
		return err
	}
	return tx.Delete(k)
}
