package account

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/store"
)

// Register makes an account with its first device, adds a device to an account,
// or repeats a registration whose answer was lost: see the package documentation.
//
// Problems: CodeInvalid, CodeBadInvite, CodeNameTaken, CodeTooMany (devices).
func (r *Registry) Register(ctx context.Context, n *clientapi.NewAccount) (*clientapi.Account, error) {
	h, err := r.checkRegistration(n)
	if err != nil {
		return nil, err
	}
	invite, err := r.openInvite(h)
	if err != nil {
		return nil, err
	}
	who, err := r.newDevice(invite.name, n.Device)
	if err != nil {
		return nil, err
	}
	// Made before the transaction, whose function has to be quick. Nobody gets to
	// see it if the transaction fails.
	cert, err := r.issue(who, n.UserKey)
	if err != nil {
		return nil, err
	}
	token, tokenHash := newToken()
	err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error { return r.register(tx, n, h, tokenHash) })
	if err != nil {
		return nil, fmt.Errorf("registering %s: %w", who.Client, err)
	}
	r.cfg.Log.Info("device registered", "client", who.Client)
	return &clientapi.Account{User: who.User.String(), Client: who.Client.String(), Token: token, Certificate: cert}, nil
}

// checkRegistration judges what needs no look at the store, the proof included, so
// that nobody learns about invites without holding the key of the request.
func (r *Registry) checkRegistration(n *clientapi.NewAccount) (invite [32]byte, err error) {
	if len(n.UserKey) != ed25519.PublicKeySize {
		return invite, invalid("user_key of %d octets: an Ed25519 public key has %d", len(n.UserKey), ed25519.PublicKeySize)
	}
	if len(n.Proof) != ed25519.SignatureSize || !ed25519.Verify(n.UserKey, n.ProofTBS(r.cfg.Domain), n.Proof) {
		return invite, invalid("proof is not the user key's signature over this registration at %s", r.cfg.Domain)
	}
	invite, ok := parseInviteCode(n.Invite)
	if !ok {
		return invite, badInvite("that is no invite: it has 26 letters and digits; check that it was copied whole")
	}
	return invite, nil
}

// openInvite reads an invite that may be used, or may have been.
func (r *Registry) openInvite(h [32]byte) (rec inviteRecord, err error) {
	err = r.cfg.Store.View(func(tx *store.Tx) (err error) {
		rec, err = r.validInvite(tx, h)
		return err
	})
	if err != nil {
		return rec, fmt.Errorf("reading invite: %w", err)
	}
	return rec, nil
}

func (r *Registry) validInvite(tx *store.Tx, h [32]byte) (inviteRecord, error) {
	rec, found, err := get(tx, inviteKey(h), parseInvite)
	if err != nil {
		return rec, err
	}
	if !found || rec.expires <= millis(r.cfg.Now()) {
		return rec, badInvite("this provider does not know the invite, or it has expired: ask the operator for another")
	}
	return rec, nil
}

func (r *Registry) newDevice(name, device string) (Identity, error) {
	if len(device) > MaxName {
		return Identity{}, invalid("a device's name of %d octets: at most %d", len(device), MaxName)
	}
	if _, err := r.provider.Client(name, device); err != nil {
		return Identity{}, invalid("%.100q cannot be a device's name: letters, digits, and - . _ ~ inside", device)
	}
	return r.identity(name, device)
}

func (r *Registry) issue(who Identity, userKey []byte) ([]byte, error) {
	cert, err := x509auth.IssueUser(r.cfg.ProviderKey(), who.User.String(), ed25519.PublicKey(userKey),
		x509auth.ValidFor(r.cfg.Now(), r.cfg.CertificateLifetime))
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate for %s: %w", who.User, err)
	}
	return cert, nil
}

// register is the one transaction of a registration.
func (r *Registry) register(tx *store.Tx, n *clientapi.NewAccount, h, token [32]byte) error {
	// Read again: it may have been used since.
	invite, err := r.validInvite(tx, h)
	if err != nil {
		return err
	}
	if invite.used != nil {
		return r.repeat(tx, n, &invite, token)
	}
	now := millis(r.cfg.Now())
	name := invite.name
	acc, found, err := get(tx, accountKey(name), parseAccount)
	switch {
	case err != nil:
		return err
	case found && invite.replaces:
		if err := r.removeDevices(tx, name); err != nil {
			return err
		}
	case found && !bytes.Equal(acc.userKey, n.UserKey):
		return problem(http.StatusConflict, clientapi.CodeNameTaken,
			"%q has an account with another user key: register this device with that key, or ask the operator for an invite that replaces the account", name)
	case !found:
		acc.created = now
	}
	devices, err := r.devices(tx, name)
	if err != nil {
		return err
	}
	if len(devices) >= MaxDevices {
		return problem(http.StatusTooManyRequests, clientapi.CodeTooMany,
			"%q has %d devices, the most there can be: remove one first", name, len(devices))
	}
	for _, d := range devices {
		if d.name == n.Device {
			return problem(http.StatusConflict, clientapi.CodeNameTaken,
				"%q has a device %q already: choose another name for this one, or remove that", name, n.Device)
		}
	}
	acc.userKey = n.UserKey
	invite.used = &inviteUse{n.UserKey, n.Device, now}
	if err := tx.Set(accountKey(name), acc.bytes()); err != nil {
		return err
	}
	if err := tx.Set(inviteKey(h), invite.bytes()); err != nil {
		return err
	}
	return r.putDevice(tx, name, n.Device, &deviceRecord{now, token, h})
}

// repeat answers the registration that has used the invite with a new token. The
// device is there: removing it would have removed the invite.
func (r *Registry) repeat(tx *store.Tx, n *clientapi.NewAccount, invite *inviteRecord, token [32]byte) error {
	if !bytes.Equal(invite.used.userKey, n.UserKey) || invite.used.device != n.Device {
		return badInvite("the invite has been used: ask the operator for another")
	}
	d, found, err := get(tx, deviceKey(invite.name, n.Device), parseDevice)
	if err != nil {
		return err
	}
	if !found {
		return badInvite("the device has been removed: ask the operator for another invite")
	}
	if err := r.dropToken(tx, d.token); err != nil {
		return err
	}
	d.token = token
	return r.putDevice(tx, invite.name, n.Device, &d)
}

func (r *Registry) putDevice(tx *store.Tx, name, device string, d *deviceRecord) error {
	if err := tx.Set(tokenKey(d.token), owner{name, device}.bytes()); err != nil {
		return err
	}
	r.changed(tx, name)
	r.shelf.forgetUser(name)
	return tx.Set(deviceKey(name, device), d.bytes())
}

// RenewCertificate issues a new certificate for the account's user key.
func (r *Registry) RenewCertificate(_ context.Context, who Identity) (*clientapi.Certificate, error) {
	var acc accountRecord
	err := r.cfg.Store.View(func(tx *store.Tx) (err error) {
		var found bool
		acc, found, err = get(tx, accountKey(who.User.Name()), parseAccount)
		if err == nil && !found {
			return unauthorized()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the account of %s: %w", who.User, err)
	}
	cert, err := r.issue(who, acc.userKey)
	if err != nil {
		return nil, err
	}
	return &clientapi.Certificate{Certificate: cert}, nil
}
