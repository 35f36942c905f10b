package outside

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// probeLifetime is how long certificates and KeyPackage of a probe are good: others' clocks may be off.
const probeLifetime = time.Hour

// probe is a user that is made up for one look.
type probe struct {
	user    uri.User
	client  uri.Client
	room    uri.Room
	request []byte // KeyMaterialRequest, signed
	pkg     *mls.KeyPackage
	ref     []byte
	given   bool // guarded by Watch.mu: the KeyPackage has been handed out
}

// newProbe makes one. Its private keys are forgotten: nobody shall open a Welcome.
func (w *Watch) newProbe(now time.Time) (*probe, error) {
	var random [16]byte
	rand.Read(random[:]) // never fails
	name := "look-" + hex.EncodeToString(random[:])
	provider, err := uri.ParseDomain(w.cfg.Domain)
	if err != nil {
		return nil, err
	}
	p := new(probe)
	if p.user, err = provider.User(name); err != nil {
		return nil, err
	}
	if p.client, err = provider.Client(name, "look"); err != nil {
		return nil, err
	}
	if p.room, err = provider.Room(name); err != nil {
		return nil, err
	}
	_, userKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := mls.GenerateSignatureKey(room.Suite)
	if err != nil {
		return nil, err
	}
	valid := x509auth.ValidFor(now, probeLifetime)
	userCert, err := x509auth.IssueUser(w.cfg.ProviderKey(), p.user.String(), userKey.Public(), valid)
	if err != nil {
		return nil, err
	}
	clientCert, err := x509auth.IssueClient(userKey, userCert, p.client.String(), signer.Public(), valid)
	if err != nil {
		return nil, err
	}
	credential := mls.X509Credential(clientCert, userCert)
	made, err := mls.NewKeyPackage(mls.LeafParams{Suite: room.Suite, Signer: signer, Credential: credential,
		Lifetime: mls.Lifetime{NotBefore: uint64(valid.NotBefore.Unix()), NotAfter: uint64(valid.NotAfter.Unix())}}, false, nil)
	if err != nil {
		return nil, err
	}
	p.pkg = made.KeyPackage()
	p.ref = p.pkg.Ref()
	request := &wire.KeyMaterialRequest{RequestingUser: wire.IdentifierURI(p.user.String()), TargetUser: wire.IdentifierURI(p.user.String()),
		Room: wire.IdentifierURI(p.room.String()), Suites: []mls.CipherSuite{room.Suite}, Credential: credential}
	if err := request.Sign(signer); err != nil {
		return nil, err
	}
	p.request, err = request.Bytes()
	return p, err
}

// Claim answers a claim for a user that was made up for a look, and false for any other. Its
// KeyPackage is handed out once.
func (w *Watch) Claim(c account.Claim) (out *account.Claimed, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.probes[c.Target]
	if p == nil {
		return nil, false
	}
	m := wire.ClientKeyMaterial{Client: wire.IdentifierURI(p.client.String()), Status: wire.ClientExhausted}
	out = &account.Claimed{Status: wire.KeyMaterialNoCompatible}
	if !p.given && c.Requester == p.user.String() && slices.Contains(c.Suites, p.pkg.Suite) {
		p.given = true
		m.Status, m.KeyPackage, out.Status = wire.ClientSuccess, p.pkg, wire.KeyMaterialSuccess
	}
	out.Clients = []wire.ClientKeyMaterial{m}
	return out, true
}

// check says whether an answer holds the probe's KeyPackage.
func (w *Watch) check(p *probe, answer []byte, now time.Time) error {
	m, err := wire.ParseKeyMaterialResponse(answer, wire.Limits{})
	if err != nil {
		return err
	}
	if m.User != wire.IdentifierURI(p.user.String()) || len(m.Clients) != 1 || m.Clients[0].Status != wire.ClientSuccess ||
		!slices.Equal(m.Clients[0].KeyPackage.Ref(), p.ref) {
		return errors.New("it is not the answer that was given")
	}
	_, err = m.Clients[0].KeyPackage.Verify(mls.Config{Authenticator: w.cfg.Authenticator}, now)
	return err
}
