package mimihttps

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrName: a certificate does not name the provider that it is shown for.
var ErrName = errors.New("mimihttps: certificate names another provider")

// names says whether a certificate speaks for a domain, which is canonical.
func names(c *x509.Certificate, domain string) error {
	for _, n := range c.DNSNames {
		if strings.EqualFold(strings.TrimSuffix(n, "."), domain) {
			return nil
		}
	}
	return fmt.Errorf("%w: it is for %.200q, not for %s", ErrName, c.DNSNames, domain)
}

// usages are those that either side may have, see the package documentation.
var usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

// verifyClient is what a server holds a client's certificate to, at every handshake, also
// one that continues an earlier connection.
func verifyClient(cs *tls.ConnectionState, roots *x509.CertPool, now time.Time) error {
	if len(cs.PeerCertificates) == 0 {
		return nil // the directory is for everybody
	}
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: usages})
	if err != nil {
		return fmt.Errorf("verifying the client's certificate: %w", err)
	}
	return nil
}

// source reads the header From, "mimi@" and a domain.
func source(from string) (domain string, ok bool) {
	domain, ok = strings.CutPrefix(strings.TrimSpace(from), "mimi@")
	if !ok || domain == "" || len(domain) > 253 || strings.ContainsAny(domain, "@, \t<>") {
		return "", false
	}
	return strings.ToLower(strings.TrimSuffix(domain, ".")), true
}
