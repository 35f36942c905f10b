package mimihttps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/wire"
)

// Overlay is the other way to providers; *overlay.Overlay is one.
type Overlay interface {
	// Resolve finds a provider whose key is trusted.
	Resolve(ctx context.Context, domain string) (*overlay.Record, error)
	// Client sends requests over streams.
	Client() *http.Client
}

// Transport takes requests to other providers, as package peering makes them, over the
// overlay to those that have nodes there, and to the others by HTTPS: those whose record
// names none, those whose nodes cannot be reached and whose record names a directory, and
// those that have no record at all because they speak MIMI only. Errors are those of
// overlay.Overlay's Client. Safe for concurrent use.
type Transport struct {
	// Overlay may be off (overlay.Config.Offline): then records name the keys, and all
	// goes by HTTPS.
	Overlay Overlay
	// Off says that it is.
	Off bool
	// Directories are how others are reached by HTTPS.
	Directories *Directories

	mu      sync.Mutex
	avoided map[string]time.Time // domains that the overlay could not reach, and till when not to try; guarded by mu
}

// avoidFor is how long HTTPS is tried first after the overlay could not reach a provider,
// which takes it ten seconds to find out.
const avoidFor = time.Minute

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.roundTrip(req)
	if err != nil && req.Body != nil {
		req.Body.Close() // a RoundTripper always does; twice does no harm
	}
	return resp, err
}

func (t *Transport) roundTrip(req *http.Request) (*http.Response, error) {
	domain := strings.ToLower(req.URL.Hostname())
	streams := t.Overlay.Client().Transport
	if strings.HasSuffix(domain, ".peer.invalid") { // one node, which only the overlay knows
		return streams.RoundTrip(req)
	}
	rec, err := t.Overlay.Resolve(req.Context(), domain)
	switch {
	case errors.Is(err, overlay.ErrUnknownProvider), errors.Is(err, overlay.ErrNoPeers):
		// It may speak MIMI and have no record.
		resp, herr := t.byHTTPS(req, domain)
		if errors.Is(herr, ErrDirectory) {
			return nil, err
		}
		return resp, herr
	case err != nil:
		return nil, err
	case t.goes(rec, domain):
		return t.byHTTPS(req, domain)
	}
	resp, err := streams.RoundTrip(req)
	if err == nil || rec.DirectoryURL == "" || !errors.Is(err, overlay.ErrUnreachable) || req.Context().Err() != nil {
		return resp, err
	}
	again := req.Clone(req.Context())
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return nil, err
		}
		if again.Body, err = req.GetBody(); err != nil {
			return nil, fmt.Errorf("rewinding request body: %w", err)
		}
	}
	resp, herr := t.byHTTPS(again, domain)
	if herr != nil {
		return nil, errors.Join(err, herr)
	}
	t.avoid(domain)
	return resp, nil
}

// Proven says that a request to an endpoint of another provider goes by HTTPS, as far as can
// be told before it is sent, to where our certificate is enough: MIMI's endpoints.
func (t *Transport) Proven(ctx context.Context, domain, endpoint string) bool {
	if _, mimi := wire.EndpointNamed(endpoint); !mimi {
		return false
	}
	domain = strings.ToLower(domain)
	rec, err := t.Overlay.Resolve(ctx, domain)
	return err == nil && t.goes(rec, domain)
}

// goes says that what is for a provider with this record goes by HTTPS at first.
func (t *Transport) goes(rec *overlay.Record, domain string) bool {
	return t.Off || len(rec.Nodes) == 0 || rec.DirectoryURL != "" && t.avoids(domain)
}

// byHTTPS sends a request as its target's directory says.
func (t *Transport) byHTTPS(req *http.Request, domain string) (*http.Response, error) {
	e, err := t.Directories.get(req.Context(), domain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", overlay.ErrUnreachable, err)
	}
	u, err := place(e.directory, req.URL, domain)
	if err != nil {
		return nil, err
	}
	out := req.Clone(req.Context())
	out.URL, out.Host = u, domain
	out.Header.Set("From", "mimi@"+t.Directories.cfg.Domain)
	resp, err := t.Directories.http.RoundTrip(out)
	if err != nil {
		return nil, fmt.Errorf("asking %s by HTTPS: %w", domain, err)
	}
	resp.Request = req
	return resp, nil
}

// place finds the URL of a request http://TARGET/v1/ENDPOINT/SUBJECT, with the domain as
// its host: connections are kept, and certificates checked, by domain.
func place(dir *wire.Directory, from *url.URL, domain string) (*url.URL, error) {
	path := from.EscapedPath()
	rest, ok := strings.CutPrefix(path, "/v1/")
	name, encoded, found := strings.Cut(rest, "/")
	if !ok || !found {
		if path != wire.DirectoryPath {
			return nil, fmt.Errorf("%w: no request between providers: %.100q", overlay.ErrName, path)
		}
		return &url.URL{Scheme: "https", Host: domain, Path: path}, nil
	}
	at := ""
	if endpoint, mimi := wire.EndpointNamed(name); mimi {
		subject, err := url.PathUnescape(encoded)
		if err != nil {
			return nil, fmt.Errorf("%w: %.100q: %w", overlay.ErrName, path, err)
		}
		switch dir.Variable(endpoint) {
		case "targetDomain", "requesterDomain": // as section 5.7 has it in its text
			subject = domain
		}
		at = dir.URL(endpoint, subject)
	} else if m, ok := dir.Mimid(); ok {
		at = m.Base + "/" + name + "/" + encoded
	}
	if at == "" {
		return nil, fmt.Errorf("%w: the directory of %s offers no %s", overlay.ErrUnreachable, domain, name)
	}
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("%w: directory of %s: %w", overlay.ErrUnreachable, domain, err)
	}
	u.Host = domain
	return u, nil
}

func (t *Transport) avoids(domain string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.avoided[domain])
}

func (t *Transport) avoid(domain string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.avoided == nil || len(t.avoided) >= maxDirectories {
		t.avoided = map[string]time.Time{}
	}
	t.avoided[domain] = time.Now().Add(avoidFor)
}
