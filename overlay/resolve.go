package overlay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/routing"
)

const (
	freshFor      = 15 * time.Minute // a record is used without asking again
	lookupTimeout = 20 * time.Second
	dnsTimeout    = 5 * time.Second
	missFor       = time.Second // a failed lookup or dial is not repeated
	maxMisses     = 4096
)

// Resolve returns the newest record of a provider whose key is trusted: from memory if
// it is less than 15 minutes old; an older one that has not expired at once, while a new
// one is looked up; else from the DHT. Simultaneous calls for one name do one lookup.
// Errors are ErrName, ErrUnknownProvider, ErrExpired, ErrConflict, ErrDNS, ErrNoPeers,
// ErrNotRunning, ErrFull, the context's, or the storage's.
func (o *Overlay) Resolve(ctx context.Context, domain string) (*Record, error) {
	d, err := Canonical(domain)
	if err != nil {
		return nil, err
	}
	r, fresh := o.trust.get(d)
	valid := r != nil && r.Expires.After(o.cfg.Now())
	if valid && (d == o.cfg.Domain || time.Since(fresh) < freshFor) {
		return r, nil
	}
	ch := o.flight.DoChan(d, func() (any, error) {
		n := o.net.Load()
		if n == nil {
			return nil, ErrNotRunning
		}
		return n.lookup(d)
	})
	if valid {
		return r, nil
	}
	select {
	case res := <-ch:
		if res.Err != nil {
			if r != nil {
				return nil, fmt.Errorf("%w: %s at %s, and no newer one: %w", ErrExpired, d, r.Expires.Format(time.RFC3339), res.Err)
			}
			return nil, res.Err
		}
		return res.Val.(*Record), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Refresh is Resolve for who has a reason to think that a record is out of date, such as
// a signature by another key: it looks for a newer one first and waits for that, at most
// once a second for one name.
func (o *Overlay) Refresh(ctx context.Context, domain string) (*Record, error) {
	d, err := Canonical(domain)
	if err != nil {
		return nil, err
	}
	n := o.net.Load()
	if n == nil {
		return nil, ErrNotRunning
	}
	if d != o.cfg.Domain && n.refreshed.get(d) == nil {
		ch := o.flight.DoChan(d, func() (any, error) {
			// Noted afterwards: who comes meanwhile waits for the same answer.
			defer n.refreshed.put(d, errRefreshed)
			return n.lookup(d)
		})
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return o.Resolve(ctx, d)
}

var errRefreshed = errors.New("overlay: looked up a moment ago")

// lookup asks DNS and the DHT. It runs at most once for a name at a time, and outlives
// the caller that began it, because others may wait for it.
func (n *running) lookup(domain string) (*Record, error) {
	o := n.o
	if !n.begin() {
		return nil, ErrNotRunning
	}
	defer n.end()
	if err := n.misses.get(domain); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(n.ctx, lookupTimeout)
	defer cancel()
	r, err := n.search(ctx, domain)
	o.counters.lookups.Inc()
	if errors.Is(err, ErrUnknownProvider) || errors.Is(err, ErrConflict) || errors.Is(err, ErrDNS) {
		n.misses.put(domain, err) // others say something about us, not about the name
	}
	return r, err
}

func (n *running) search(ctx context.Context, domain string) (*Record, error) {
	o := n.o
	dns, err := o.askDNS(ctx, domain)
	if err != nil {
		if len(o.trust.keys(domain)) == 0 && !o.trust.pinned(domain) {
			return nil, err
		}
		// Trust was established before, and the silence of DNS takes nothing away.
		o.log.Warn("DNS does not answer; keeping the trusted key", "domain", domain, "error", err)
		dns = o.trust.lastDNS(domain)
	}
	o.trust.ask(domain, dns)
	var failed error
	for _, key := range o.trust.places(domain, dns) {
		var found bool
		if found, failed = n.searchAt(ctx, domain, key, dns); found {
			break
		}
	}
	refused := o.trust.answered(domain)
	if r, _ := o.trust.get(domain); r != nil && r.Expires.After(o.cfg.Now()) {
		return r, nil // new, or an older one that is still good
	}
	if err := cmp.Or(failed, refused); err != nil {
		return nil, err
	}
	if n.dht.RoutingTable().Size() == 0 {
		return nil, fmt.Errorf("%w: looking up %s", ErrNoPeers, domain)
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownProvider, domain)
}

// searchAt accepts records that the DHT has under one key.
func (n *running) searchAt(ctx context.Context, domain, key string, dns []string) (found bool, err error) {
	values, err := n.dht.SearchValue(ctx, key)
	if err != nil {
		return false, lookupError(ctx, domain, err)
	}
	for value := range values {
		r, openErr := openRecord(value)
		if openErr == nil {
			openErr = n.o.trust.accept(ctx, r, value, dns)
		}
		if openErr != nil {
			err = openErr
			continue
		}
		found = true
	}
	return found, err
}

func lookupError(ctx context.Context, domain string, err error) error {
	switch {
	case errors.Is(err, kb.ErrLookupFailure):
		return fmt.Errorf("%w: looking up %s", ErrNoPeers, domain)
	case errors.Is(err, routing.ErrNotFound):
		return fmt.Errorf("%w: %s", ErrUnknownProvider, domain)
	case ctx.Err() != nil:
		return fmt.Errorf("looking up %s: %w", domain, context.Cause(ctx))
	}
	return fmt.Errorf("looking up %s: %w", domain, err)
}

// The TXT record at _mimi.<domain> that names a provider key is
//
//	v=mimi1; fp=<Fingerprint of the key>
//
// Tags come in this order, spaces around semicolons do not matter, tags after these two
// are ignored, and so is TXT that does not begin with v=mimi1. Several records name
// several keys, for example both during a rotation. A record of ours that cannot be read
// counts as no answer, not as no record: a typing error must not weaken the check.
const (
	txtName    = "_mimi."
	txtVersion = "v=mimi1"
	maxTXT     = 32
)

// askDNS returns the fingerprints that DNS names, none if there is no such record, or
// ErrDNS if that could not be found out.
func (o *Overlay) askDNS(ctx context.Context, domain string) ([]string, error) {
	if o.cfg.TXT == nil || strings.HasSuffix(domain, ".invalid") {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	texts, err := o.cfg.TXT(ctx, txtName+domain)
	if err != nil {
		var dnsErr *net.DNSError
		if errors.As(err, &dnsErr) && dnsErr.IsNotFound {
			return nil, nil
		}
		return nil, fmt.Errorf("%w: %s%s: %v", ErrDNS, txtName, domain, err)
	}
	var fps []string
	for _, text := range texts[:min(len(texts), maxTXT)] {
		fp, ours, err := parseTXT(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %s%s holds %.100q: %v", ErrDNS, txtName, domain, text, err)
		}
		if ours {
			fps = append(fps, fp)
		}
	}
	return fps, nil
}

func parseTXT(text string) (fp string, ours bool, err error) {
	tags := strings.SplitN(text, ";", 3)
	if strings.TrimSpace(tags[0]) != txtVersion {
		return "", false, nil
	}
	if len(tags) < 2 {
		return "", false, errors.New("no fp tag")
	}
	value, ok := strings.CutPrefix(strings.TrimSpace(tags[1]), "fp=")
	if !ok {
		return "", false, errors.New("the tag after v is not fp")
	}
	fp, err = canonicalFingerprint(value)
	return fp, err == nil, err
}

// TXTRecord is what the operator of a provider writes into DNS at _mimi.<domain>.
func TXTRecord(fingerprint string) string { return txtVersion + "; fp=" + fingerprint }
