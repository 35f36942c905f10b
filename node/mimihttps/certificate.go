package mimihttps

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// ErrConfig: what an operator has set cannot work.
var ErrConfig = errors.New("mimihttps: unusable configuration")

// lookEvery is how often the files of a certificate are looked at.
const lookEvery = time.Minute

// Certificate is the own one, read from files anew when they change: a certificate is
// renewed every few weeks, and a node runs longer. Safe for concurrent use.
type Certificate struct {
	cert, key string
	domain    string
	now       func() time.Time
	log       *slog.Logger

	mu     sync.Mutex
	have   *tls.Certificate // guarded by mu
	looked time.Time        // guarded by mu
	stamp  [2]time.Time     // of the files when they were read; guarded by mu
}

// ReadCertificate reads a certificate and its key from PEM files. The certificate must
// name the domain. Error: ErrConfig.
func ReadCertificate(cert, key, domain string, now func() time.Time, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{cert: cert, key: key, domain: domain, now: now, log: log}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c.looked = now()
	if end := c.have.Leaf.NotAfter; end.Before(now()) {
		log.Error("the HTTPS certificate has expired: other providers refuse it until it is renewed", "file", cert, "end", end)
	}
	return c, nil
}

// read is called with mu held.
func (c *Certificate) read() error {
	var stamp [2]time.Time
	for i, name := range []string{c.cert, c.key} {
		fi, err := os.Stat(name)
		if err != nil {
			return err
		}
		stamp[i] = fi.ModTime()
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("reading %s and %s: %w", c.cert, c.key, err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return fmt.Errorf("reading %s: %w", c.cert, err)
		}
	}
	if err := names(pair.Leaf, c.domain); err != nil {
		return fmt.Errorf("%s: %w", c.cert, err)
	}
	c.have, c.stamp = &pair, stamp
	return nil
}

// Ends is when the certificate that is shown now ends.
func (c *Certificate) Ends() time.Time { return c.current().Leaf.NotAfter }

// current returns the certificate to show now. Files that cannot be used leave the
// former one in place.
func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if d := now.Sub(c.looked); d >= 0 && d < lookEvery {
		return c.have
	}
	c.looked = now
	for i, name := range []string{c.cert, c.key} {
		fi, err := os.Stat(name)
		if err == nil && fi.ModTime().Equal(c.stamp[i]) {
			continue
		}
		if err == nil {
			err = c.read()
		}
		if err != nil {
			c.log.Error("cannot read the new HTTPS certificate; going on with the old one", "error", err)
		} else {
			c.log.Info("read a new HTTPS certificate", "end", c.have.Leaf.NotAfter)
		}
		break
	}
	return c.have
}

// Roots reads the certificates of those who may issue to other providers from a PEM file;
// nil, the system's, for no file. Error: ErrConfig.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%w: %s holds no certificate in PEM", ErrConfig, file)
	}
	return pool, nil
}
