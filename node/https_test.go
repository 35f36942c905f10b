package node_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/uri"
)

// issuer is who certifies providers in a test.
type issuer struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, dir: t.TempDir(), key: key}
	if i.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	i.write("roots.pem", "CERTIFICATE", der)
	return i
}

func (i *issuer) write(name, kind string, der []byte) string {
	path := filepath.Join(i.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return path
}

// issue certifies a provider.
func (i *issuer) issue(domain string) (cert, key string) {
	i.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{domain}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, i.cert, k.Public(), i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		i.t.Fatal(err)
	}
	return i.write(domain+".pem", "CERTIFICATE", der), i.write(domain+".key", "PRIVATE KEY", priv)
}

// places gives each domain an address for HTTPS.
func places(t testing.TB, domains ...string) map[string]string {
	out := map[string]string{}
	for _, d := range domains {
		out[d] = free(t)
	}
	return out
}

// prepareWeb makes a data directory for a provider with HTTPS.
func prepareWeb(t testing.TB, i *issuer, at map[string]string, domain string, edit func(*node.Config), boot ...string) *running {
	t.Helper()
	cert, key := i.issue(domain)
	return prepareWith(t, domain, func(c *node.Config) {
		c.HTTPS = node.HTTPS{Listen: at[domain], Certificate: cert, Key: key, Roots: filepath.Join(i.dir, "roots.pem"), Resolve: maps.Clone(at)}
		if edit != nil {
			edit(c)
		}
	}, boot...)
}

// without takes the overlay away.
func without(c *node.Config) { c.Overlay.Enabled = false }

func (r *running) peers() []admin.Peer {
	r.t.Helper()
	c, err := admin.Dial(r.t.Context(), r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	list, err := c.Peers(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// reads waits until somebody has read a text in a room.
func reads(t testing.TB, c *client.Client, room uri.Room, text string) {
	t.Helper()
	within(t, fmt.Sprintf("%s reads %q", c.User(), text), func() bool {
		list, err := c.Messages(room, 0, 1000)
		return err == nil && slices.ContainsFunc(list, func(m client.Message) bool { return m.Text == text && m.State == client.StateFinal })
	})
}

// TestHTTPSOnly: a provider without libp2p takes part in rooms of one that has it, as a
// follower and as the hub's client, and is the hub of rooms in which the other takes part.
func TestHTTPSOnly(t *testing.T) {
	i, at := newIssuer(t), places(t, "atlanta.example", "biloxi.example")
	a := prepareWeb(t, i, at, "atlanta.example", nil).must()
	b := prepareWeb(t, i, at, "biloxi.example", without).must()
	if s := b.status(); len(s.Addresses) != 0 {
		t.Errorf("a node without the overlay listens on %q", s.Addresses)
	}
	alice, bob, _ := share(t, a, b) // alice's room, three messages of hers at both
	rooms, err := alice.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Send(t.Context(), rooms[0].URI, "by HTTPS"); err != nil {
		t.Fatal(err)
	}
	reads(t, alice, rooms[0].URI, "by HTTPS")

	theirs, err := bob.CreateRoom(t.Context(), "bob's")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.Accept(t.Context(), bob.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "alice can be added", func() bool { return bob.AddUser(t.Context(), theirs, alice.User()) == nil })
	within(t, "alice is in", func() bool { _, err := alice.Verify(t.Context(), theirs); return err == nil })
	if _, err := alice.Send(t.Context(), theirs, "to a hub without libp2p"); err != nil {
		t.Fatal(err)
	}
	reads(t, bob, theirs, "to a hub without libp2p")
	if _, err := bob.Send(t.Context(), theirs, "and back"); err != nil {
		t.Fatal(err)
	}
	reads(t, alice, theirs, "and back")

	for _, r := range []*running{a, b} {
		if p := r.peers(); len(p) != 1 || p[0].Trust != "https" {
			t.Errorf("%s knows %+v", r.cfg.Domain, p)
		}
	}
	for _, r := range []*running{a, b} {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		cfg, _ := node.ReadConfig(r.dir)
		if v, err := node.Verify(t.Context(), cfg, nil); err != nil || len(v.Faults) > 0 || v.Rooms != 2 {
			t.Errorf("%s: %+v, %v", r.cfg.Domain, v, err)
		}
		for line := range strings.Lines(r.log.String()) {
			t.Logf("%s", line)
		}
	}
}
