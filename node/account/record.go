package account

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/store"
)

const recordVersion = 1

// Labels of hashes: a token can be no invite and a claim neither.
const (
	tokenLabel  = "mimid device token v1"
	inviteLabel = "mimid invite v1"
	claimLabel  = "mimid key package claim v1"
	shareLabel  = "mimid key package share v1"
)

func hash(label string, parts ...[]byte) [32]byte {
	b := presentation.AppendOpaque(nil, []byte(label))
	for _, p := range parts {
		b = presentation.AppendOpaque(b, p)
	}
	return sha256.Sum256(b)
}

// Keys, see the package documentation.

func accountKey(name string) store.Key {
	return store.SpaceAccounts.Key(append([]byte{1}, name...))
}

func inviteKey(h [32]byte) store.Key {
	return store.SpaceAccounts.Key(append([]byte{2}, h[:]...))
}

// devicePart is NAME 00 DEVICE; with an empty device it begins all of a user's.
func devicePart(kind byte, name, device string) []byte {
	b := append([]byte{kind}, name...)
	return append(append(b, 0), device...)
}

func deviceKey(name, device string) store.Key {
	return store.SpaceDevices.Key(devicePart(1, name, device))
}

func tokenKey(h [32]byte) store.Key {
	return store.SpaceDevices.Key(append([]byte{2}, h[:]...))
}

func packagePrefix(name, device string) []byte { return append(devicePart(1, name, device), 0) }

func packageKey(name, device string, end uint64, ref [32]byte) store.Key {
	b := binary.BigEndian.AppendUint64(packagePrefix(name, device), end)
	return store.SpaceKeyPackages.Key(append(b, ref[:]...))
}

func lastResortKey(name, device string) store.Key {
	return store.SpaceKeyPackages.Key(devicePart(2, name, device))
}

func claimKey(name string, claim [32]byte, device string) store.Key {
	b := append(devicePart(3, name, ""), claim[:]...)
	return store.SpaceKeyPackages.Key(append(b, device...))
}

func usedKey(ref [32]byte) store.Key {
	return store.SpaceKeyPackages.Key(append([]byte{4}, ref[:]...))
}

func bodyKey(ref [32]byte) store.Key {
	return store.SpaceKeyPackages.Key(append([]byte{6}, ref[:]...))
}

// Values.

type accountRecord struct {
	userKey []byte
	created uint64
}

func (a *accountRecord) bytes() []byte {
	b := presentation.AppendOpaque([]byte{recordVersion}, a.userKey)
	return presentation.AppendU64(b, a.created)
}

func parseAccount(v []byte) (a accountRecord, err error) {
	err = parse("account", v, func(r *presentation.Reader) { a = accountRecord{r.Opaque(), r.U64()} })
	return a, err
}

type inviteRecord struct {
	name             string
	created, expires uint64
	replaces         bool
	used             *inviteUse
}

type inviteUse struct {
	userKey []byte
	device  string
	at      uint64
}

func (i *inviteRecord) bytes() []byte {
	b := presentation.AppendOpaque([]byte{recordVersion}, []byte(i.name))
	b = presentation.AppendU64(presentation.AppendU64(b, i.created), i.expires)
	b = presentation.AppendOptional(b, i.replaces)
	b = presentation.AppendOptional(b, i.used != nil)
	if u := i.used; u != nil {
		b = presentation.AppendOpaque(presentation.AppendOpaque(b, u.userKey), []byte(u.device))
		b = presentation.AppendU64(b, u.at)
	}
	return b
}

func parseInvite(v []byte) (i inviteRecord, err error) {
	err = parse("invite", v, func(r *presentation.Reader) {
		i = inviteRecord{name: string(r.Opaque()), created: r.U64(), expires: r.U64(), replaces: r.Optional()}
		if r.Optional() {
			i.used = &inviteUse{r.Opaque(), string(r.Opaque()), r.U64()}
		}
	})
	return i, err
}

type deviceRecord struct {
	created       uint64
	token, invite [32]byte // hashes
}

func (d *deviceRecord) bytes() []byte {
	b := presentation.AppendU64([]byte{recordVersion}, d.created)
	return append(append(b, d.token[:]...), d.invite[:]...)
}

func parseDevice(v []byte) (d deviceRecord, err error) {
	err = parse("device", v, func(r *presentation.Reader) {
		d.created = r.U64()
		copy(d.token[:], r.Fixed(32))
		copy(d.invite[:], r.Fixed(32))
	})
	return d, err
}

// owner is a device as a token names it.
type owner struct{ name, device string }

func (o owner) bytes() []byte {
	b := presentation.AppendOpaque([]byte{recordVersion}, []byte(o.name))
	return presentation.AppendOpaque(b, []byte(o.device))
}

func parseOwner(v []byte) (o owner, err error) {
	err = parse("token", v, func(r *presentation.Reader) { o = owner{string(r.Opaque()), string(r.Opaque())} })
	return o, err
}

type packageRecord struct {
	suite uint16
	kp    []byte
}

func (p *packageRecord) bytes() []byte {
	return append(presentation.AppendU16([]byte{recordVersion}, p.suite), p.kp...)
}

func parsePackage(v []byte) (p packageRecord, err error) {
	err = parse("KeyPackage", v, func(r *presentation.Reader) {
		p.suite = r.U16()
		p.kp = r.Fixed(len(r.Rest()))
	})
	return p, err
}

type lastResortRecord struct {
	end uint64
	kp  []byte
}

func (l *lastResortRecord) bytes() []byte {
	return append(presentation.AppendU64([]byte{recordVersion}, l.end), l.kp...)
}

func parseLastResort(v []byte) (l lastResortRecord, err error) {
	err = parse("last resort", v, func(r *presentation.Reader) {
		l.end = r.U64()
		l.kp = r.Fixed(len(r.Rest()))
	})
	return l, err
}

type claimRecord struct {
	until, created uint64
	ref            [32]byte
	kp             []byte
}

func (c *claimRecord) bytes() []byte {
	b := presentation.AppendU64(presentation.AppendU64([]byte{recordVersion}, c.until), c.created)
	return append(append(b, c.ref[:]...), c.kp...)
}

func parseClaim(v []byte) (c claimRecord, err error) {
	err = parse("claim", v, func(r *presentation.Reader) {
		c.until, c.created = r.U64(), r.U64()
		copy(c.ref[:], r.Fixed(32))
		c.kp = r.Fixed(len(r.Rest()))
	})
	return c, err
}

type usedRecord struct {
	end    uint64
	name   string
	claim  [32]byte
	device string
}

func (u *usedRecord) bytes() []byte {
	b := presentation.AppendU64([]byte{recordVersion}, u.end)
	b = append(presentation.AppendOpaque(b, []byte(u.name)), u.claim[:]...)
	return presentation.AppendOpaque(b, []byte(u.device))
}

func parseUsed(v []byte) (u usedRecord, err error) {
	err = parse("used KeyPackage", v, func(r *presentation.Reader) {
		u.end, u.name = r.U64(), string(r.Opaque())
		copy(u.claim[:], r.Fixed(32))
		u.device = string(r.Opaque())
	})
	return u, err
}

func parse(what string, v []byte, read func(*presentation.Reader)) error {
	r := presentation.NewReader(v)
	if version := r.U8(); version != recordVersion {
		return fmt.Errorf("reading %s of version %d: %w", what, version, ErrRecord)
	}
	read(r)
	if err := r.Done(); err != nil {
		return fmt.Errorf("reading %s: %w: %w", what, ErrRecord, err)
	}
	return nil
}

// get reads a value; found is false where there is none.
func get[T any](tx *store.Tx, k store.Key, parse func([]byte) (T, error)) (t T, found bool, err error) {
	v, err := tx.Get(k)
	if missing(err) {
		return t, false, nil
	}
	if err != nil {
		return t, false, err
	}
	t, err = parse(v)
	return t, err == nil, err
}

// cutPackageKey reads what follows packagePrefix in a key.
func cutPackageKey(key, prefix []byte) (end uint64, ref [32]byte, err error) {
	rest, ok := bytes.CutPrefix(key, prefix)
	if !ok || len(rest) != 8+32 {
		return 0, ref, fmt.Errorf("reading the key of a KeyPackage: %w", ErrRecord)
	}
	return binary.BigEndian.Uint64(rest), [32]byte(rest[8:]), nil
}
