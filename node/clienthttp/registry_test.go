package clienthttp_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/store"
)

var (
	_ clienthttp.Accounts    = (*account.Registry)(nil)
	_ clienthttp.KeyPackages = (*account.Registry)(nil)
)

// call makes a call that must succeed and decodes its answer.
func (s *site) call(tok, method, path string, body, out any) {
	s.f.t.Helper()
	res := s.do(method, path, body, "Authorization", "Bearer "+tok)
	b := s.body(res)
	if res.StatusCode/100 != 2 {
		s.f.t.Fatalf("%s %s: status %d, %s", method, path, res.StatusCode, b)
	}
	if out != nil {
		must(s.f.t, json.Unmarshal(b, out))
	}
}

// The whole way of a device over the wire, with the registry and the store behind it.
func TestDeviceOverHTTP(t *testing.T) {
	st, err := store.Open(store.Options{InMemory: true, Small: true})
	must(t, err)
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- st.Run(runCtx) }()
	defer func() {
		cancel()
		must(t, errors.Join(<-ended, st.Close(ctx)))
	}()
	_, provider, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	auth, err := x509auth.New(x509auth.Options{Anchors: func(string) []crypto.PublicKey { return []crypto.PublicKey{provider.Public()} }})
	must(t, err)
	reg, err := account.New(account.Config{Domain: "atlanta.example", Store: st, Authenticator: auth,
		ProviderKey: func() crypto.Signer { return provider }})
	must(t, err)
	_, invite, err := reg.CreateInvite(ctx, account.NewInvite{Name: "alice"})
	must(t, err)
	s := serve(t, func(c *clienthttp.Config) { c.Services.Accounts, c.Services.KeyPackages = reg, reg })

	pub, user, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	n := clientapi.NewAccount{Invite: invite, Device: "phone", UserKey: pub}
	n.Proof = ed25519.Sign(user, n.ProofTBS("atlanta.example"))
	var acc clientapi.Account
	s.call("", "POST", "/v1/accounts", n, &acc)

	signer, err := mls.GenerateSignatureKey(mls.X25519AES128Ed25519)
	must(t, err)
	now := time.Now()
	cert, err := x509auth.IssueClient(user, acc.Certificate, acc.Client, signer.Public(), x509auth.ValidFor(now, time.Hour))
	must(t, err)
	var all clientapi.NewKeyPackages
	for i := range 3 {
		kp, err := mls.NewKeyPackage(mls.LeafParams{Suite: mls.X25519AES128Ed25519, Signer: signer,
			Credential: mls.X509Credential(cert, acc.Certificate), Lifetime: mls.LifetimeOf(now, time.Hour)}, i == 2, nil)
		must(t, err)
		if b := kp.KeyPackage().Bytes(); i == 2 {
			all.LastResort = b
		} else {
			all.KeyPackages = append(all.KeyPackages, b)
		}
	}
	var count clientapi.KeyPackageCount
	s.call(acc.Token, "POST", "/v1/keypackages", all, &count)
	if count.Available != 2 || !count.LastResort || count.Ends == 0 || count.LastResortEnds == 0 {
		t.Errorf("published: %+v", count)
	}
	s.call(acc.Token, "GET", "/v1/keypackages", nil, &count)
	var devices clientapi.Devices
	s.call(acc.Token, "GET", "/v1/devices", nil, &devices)
	if len(devices.Devices) != 1 || devices.Devices[0].KeyPackages != 2 || devices.Devices[0].Client != acc.Client {
		t.Errorf("devices: %+v", devices)
	}
	var renewed clientapi.Certificate
	s.call(acc.Token, "POST", "/v1/account/certificate", clientapi.NewCertificate{}, &renewed)
	if len(renewed.Certificate) == 0 {
		t.Error("no certificate")
	}
	n.Invite = "no invite"
	n.Proof = ed25519.Sign(user, n.ProofTBS("atlanta.example"))
	s.wantProblem(s.do("POST", "/v1/accounts", n), 403, clientapi.CodeBadInvite)
	s.call(acc.Token, "DELETE", "/v1/devices/phone", nil, nil)
	s.wantProblem(s.do("GET", "/v1/devices", nil, "Authorization", "Bearer "+acc.Token), 401, clientapi.CodeUnauthorized)
}
