package mimihttps

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/wire"
)

// ErrDirectory: a provider's directory could not be read, or is none.
var ErrDirectory = errors.New("mimihttps: no usable directory")

const (
	directoryFor     = 15 * time.Minute // a directory is used without reading it again
	noDirectoryFor   = 2 * time.Second  // nor is one that could not be read
	directoryTimeout = 10 * time.Second
	dialTimeout      = 10 * time.Second
	maxDirectory     = 64 << 10 // octets of one
	maxDirectories   = 4096     // that are kept
	readingAtOnce    = 32       // directories being read at one time
	clientIdle       = 45 * time.Second
	connsPerProvider = 128
)

// ClientConfig says how other providers are reached.
type ClientConfig struct {
	// Domain is the own provider's.
	Domain string
	// Certificate is the own one, shown to servers that ask for it.
	Certificate *Certificate
	// Roots vouch for the certificates of servers; nil: the system's.
	Roots *x509.CertPool
	// Resolve names addresses, host:port, of domains that are not to be looked up in DNS.
	Resolve map[string]string
	// Public refuses addresses that are not of the Internet, but for those in Resolve: a
	// domain is whatever somebody says, and could name something inside.
	Public bool
	Now    func() time.Time
	Log    *slog.Logger
}

// Directories reads what other providers say about themselves, and keeps it for a while.
// Safe for concurrent use; nothing runs between calls but idle connections.
type Directories struct {
	cfg    ClientConfig
	http   *http.Transport
	flight singleflight.Group
	slots  chan struct{}
	rate   *ration.Ration // of reading, by all

	mu   sync.Mutex
	have map[string]*entry // by domain, at most maxDirectories; guarded by mu; entries are replaced, not changed
}

// entry is a directory, or why there is none.
type entry struct {
	directory *wire.Directory
	authority string // host:port of its URLs
	err       error
	until     time.Time // by the real clock
}

// NewDirectories makes Directories. It starts nothing.
func NewDirectories(cfg ClientConfig) *Directories {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Directories{cfg: cfg, slots: make(chan struct{}, readingAtOnce), have: map[string]*entry{},
		rate: ration.New(ration.Config{PerSecond: 20, Burst: 200})}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	d.http = &http.Transport{
		Protocols:              &protocols,
		DialContext:            d.dial,
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    connsPerProvider,
		MaxConnsPerHost:        connsPerProvider,
		IdleConnTimeout:        clientIdle, // before the server closes it
		ResponseHeaderTimeout:  responseTimeout,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			NextProtos: []string{"http/1.1"},
			RootCAs:    cfg.Roots,
			Time:       cfg.Now,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return cfg.Certificate.current(), nil
			},
			// Beside what is always checked, which lets wildcards pass.
			VerifyConnection: func(cs tls.ConnectionState) error { return names(cs.PeerCertificates[0], cs.ServerName) },
		},
	}
	return d
}

// Close closes idle connections.
func (d *Directories) Close() { d.http.CloseIdleConnections() }

// dial connects to a provider; addr is its domain and port 443.
func (d *Directories) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	domain, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	to, given := d.cfg.Resolve[domain]
	if !given {
		d.mu.Lock()
		if e := d.have[domain]; e != nil && e.authority != "" {
			addr = e.authority
		}
		d.mu.Unlock()
		to = addr
		if d.cfg.Public {
			dialer.Control = onlyPublic
		}
	}
	c, err := dialer.DialContext(ctx, network, to)
	if err != nil {
		return nil, fmt.Errorf("%w: %s by HTTPS: %w", overlay.ErrUnreachable, domain, err)
	}
	return c, nil
}

// onlyPublic refuses an address that was found for a name, before it is connected to.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := a.Addr().Unmap(); !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return fmt.Errorf("%s is no address of the Internet", ip)
	}
	return nil
}

// Record reads a provider's directory anew and returns the provider record in it; nil if
// it has none, of a provider that speaks MIMI only. It is overlay.Config.Certified.
func (d *Directories) Record(ctx context.Context, domain string) ([]byte, error) {
	e, err := d.read(ctx, domain)
	if err != nil {
		return nil, err
	}
	m, ok := e.directory.Mimid()
	if !ok {
		return nil, nil
	}
	return m.Record, nil
}

// get returns a provider's directory.
func (d *Directories) get(ctx context.Context, domain string) (*entry, error) {
	d.mu.Lock()
	e := d.have[domain]
	d.mu.Unlock()
	if e != nil && time.Now().Before(e.until) {
		return e, e.err
	}
	return d.read(ctx, domain)
}

// read reads a directory. Simultaneous calls for one domain read once.
func (d *Directories) read(ctx context.Context, domain string) (*entry, error) {
	if d.cfg.Resolve[domain] == "" && (strings.HasSuffix(domain, ".invalid") || !strings.Contains(domain, ".")) {
		return nil, fmt.Errorf("%w: %s is no name in DNS", ErrDirectory, domain)
	}
	ch := d.flight.DoChan(domain, func() (any, error) {
		// Who began it may leave; others wait for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), directoryTimeout)
		defer cancel()
		e := &entry{until: time.Now().Add(directoryFor)}
		if e.directory, e.authority, e.err = d.fetch(ctx, domain); e.err != nil {
			e.err = fmt.Errorf("%w of %s: %w", ErrDirectory, domain, e.err)
			e.until = time.Now().Add(noDirectoryFor)
		}
		d.keep(domain, e)
		return e, nil
	})
	select {
	case res := <-ch:
		e := res.Val.(*entry)
		return e, e.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// keep replaces what is known of a domain, but nothing that is good by nothing.
func (d *Directories) keep(domain string, e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.have[domain]; old != nil && old.err == nil && e.err != nil && time.Now().Before(old.until) {
		return
	}
	if _, ok := d.have[domain]; !ok && len(d.have) >= maxDirectories {
		for other := range d.have { // any: it is read again if it is needed
			delete(d.have, other)
			break
		}
	}
	d.have[domain] = e
}

func (d *Directories) fetch(ctx context.Context, domain string) (*wire.Directory, string, error) {
	if ok, wait := d.rate.Take("", 1, d.cfg.Now()); !ok {
		return nil, "", fmt.Errorf("too many directories were read; again in %v", wait)
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return nil, "", context.Cause(ctx)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+domain+wire.DirectoryPath, nil)
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("From", "mimi@"+d.cfg.Domain)
	resp, err := d.http.RoundTrip(r) // which follows no redirect
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("status %d", resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDirectory+1))
	if err != nil {
		return nil, "", err
	}
	dir, err := wire.ParseDirectory(b, wire.Limits{DirectorySize: maxDirectory})
	if err != nil {
		return nil, "", err
	}
	to, err := authority(dir, domain)
	return dir, to, err
}

// authority returns the one host:port that all URLs of a directory lead to.
func authority(dir *wire.Directory, domain string) (string, error) {
	var list []string
	for e := wire.EndpointKeyMaterial; e <= wire.EndpointProxyDownload; e++ {
		if s := dir.URL(e, "x"); s != "" {
			list = append(list, s)
		}
	}
	if m, ok := dir.Mimid(); ok {
		list = append(list, m.Base)
	}
	found := ""
	for _, s := range list {
		u, err := url.Parse(s)
		if err != nil {
			return "", err
		}
		host := strings.ToLower(u.Hostname())
		if host != domain && !strings.HasSuffix(host, "."+domain) {
			return "", fmt.Errorf("URL %.200q leads away from %s", s, domain)
		}
		port := u.Port()
		if port == "" {
			port = "443"
		}
		if to := net.JoinHostPort(host, port); found == "" {
			found = to
		} else if found != to {
			return "", fmt.Errorf("URLs lead to %.200q and %.200q: one place is needed", found, to)
		}
	}
	return found, nil
}
