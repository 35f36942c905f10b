package overlay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/routing"
)

const (
	freshFor      = 15 * time.Minute // a record is used without asking again
	lookupTimeout = 20 * time.Second
	dnsTimeout    = 5 * time.Second
	missFor       = time.Second // a failed lookup or dial is not repeated
	maxMisses     = 4096
	firstAnswers  = 7 // nodes that have a record of a name that is new here
)

// Resolve returns the newest record of a provider whose key is trusted: from memory if
// it is less than 15 minutes old; an older one that has not expired at once, while a new
// one is looked up; else from its HTTPS directory or the DHT. Simultaneous calls for one name do one lookup.
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
		l := o.lookups.Load()
		if l == nil {
			return nil, ErrNotRunning
		}
		return l.lookup(d)
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
	l := o.lookups.Load()
	if l == nil {
		return nil, ErrNotRunning
	}
	if d != o.cfg.Domain && l.refreshed.get(d) == nil {
		ch := o.flight.DoChan(d, func() (any, error) {
			// Noted afterwards: who comes meanwhile waits for the same answer.
			defer l.refreshed.put(d, errRefreshed)
			return l.lookup(d)
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

// lookups looks names up while Run runs. It is safe for concurrent use.
type lookups struct {
	o         *Overlay
	ctx       context.Context // ends when Run begins to stop
	net       *running        // nil if Offline
	misses    misses          // names
	refreshed misses          // names, see Refresh

	mu       sync.Mutex
	stopping bool           // guarded by mu
	work     sync.WaitGroup // lookups; Add under mu only, and not when stopping
}

// begin counts a piece of background work that Run waits for. It returns false if Run is
// ending.
func (l *lookups) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping {
		return false
	}
	l.work.Add(1)
	return true
}

func (l *lookups) end() { l.work.Done() }

func (l *lookups) wait() {
	l.mu.Lock()
	l.stopping = true
	l.mu.Unlock()
	l.work.Wait()
}

// lookup asks DNS, the HTTPS directory and the DHT. It runs at most once for a name at a
// time, and outlives the caller that began it, because others may wait for it.
func (l *lookups) lookup(domain string) (*Record, error) {
	o := l.o
	if !l.begin() {
		return nil, ErrNotRunning
	}
	defer l.end()
	if err := l.misses.get(domain); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(l.ctx, lookupTimeout)
	defer cancel()
	r, err := l.search(ctx, domain)
	o.counters.lookups.Inc()
	if errors.Is(err, ErrUnknownProvider) || errors.Is(err, ErrConflict) || errors.Is(err, ErrDNS) {
		l.misses.put(domain, err) // others say something about us, not about the name
	}
	return r, err
}

func (l *lookups) search(ctx context.Context, domain string) (*Record, error) {
	o := l.o
	dns, err := o.askDNS(ctx, domain)
	if err != nil {
		if len(o.trust.keys(domain)) == 0 && !o.trust.pinned(domain) {
			return nil, err
		}
		// Trust was established before, and the silence of DNS takes nothing away.
		o.log.Warn("DNS does not answer; keeping the trusted key", "domain", domain, "error", err)
		dns = o.trust.last(domain).dns
	}
	said := testimony{dns: dns}
	// Before any record is believed: the certificate corrects a first use, and it is
	// better not to have one. Where it adds nothing it is still a place to look.
	asked := l.net == nil || len(dns) == 0 && o.trust.certifiable(domain)
	var dir directory
	if asked {
		if dir = o.askDirectory(ctx, domain); dir.record != nil {
			said.certified = []string{Fingerprint(dir.record.ProviderKey)}
		}
	}
	o.trust.ask(domain, said)
	found, failed := o.acceptDirectory(ctx, dir, said)
	if l.net != nil && !found {
		for _, key := range o.trust.places(domain, said) {
			if found, failed = l.net.searchAt(ctx, domain, key, said); found {
				break
			}
		}
		if !found && !asked {
			dir = o.askDirectory(ctx, domain)
			if _, err := o.acceptDirectory(ctx, dir, said); err != nil {
				failed = err
			}
		}
	}
	refused := o.trust.answered(domain)
	if r, _ := o.trust.get(domain); r != nil && r.Expires.After(o.cfg.Now()) {
		return r, nil // new, or an older one that is still good
	}
	if err := cmp.Or(failed, refused); err != nil {
		return nil, err
	}
	if l.net == nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnknownProvider, domain, cmp.Or(dir.err, errNoRecord))
	}
	if l.net.dht.RoutingTable().Size() == 0 {
		return nil, fmt.Errorf("%w: looking up %s", ErrNoPeers, domain)
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownProvider, domain)
}

// searchAt accepts records that the DHT has under one key.
func (n *running) searchAt(ctx context.Context, domain, key string, said testimony) (found bool, err error) {
	// Of a name that is new here the first record that is found will be believed, and what
	// comes after it can only be refused: it is enough that some nodes have it. Who waits
	// for an answer waits for less than half as long.
	answers := 0 // all that there are
	if len(n.o.trust.keys(domain)) == 0 {
		answers = firstAnswers
	}
	values, err := n.dht.SearchValue(ctx, key, dht.Quorum(answers))
	if err != nil {
		return false, lookupError(ctx, domain, err)
	}
	for value := range values {
		r, openErr := openRecord(value)
		if openErr == nil {
			openErr = n.o.trust.accept(ctx, r, value, said)
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
