package overlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Providers by HTTPS: what their directories say, and a node that has nothing else.

// directoryTimeout bounds the asking of one directory, which is done before the DHT.
const directoryTimeout = 5 * time.Second

var errNoRecord = errors.New("its HTTPS directory holds no provider record")

// directory is what a provider's HTTPS directory says: a valid record of that name, or
// why there is none.
type directory struct {
	record   *Record
	envelope []byte
	err      error
}

// askDirectory reads the record in a provider's HTTPS directory and checks all but
// whether its key is trusted.
func (o *Overlay) askDirectory(ctx context.Context, domain string) directory {
	if o.cfg.Certified == nil || isSelfProving(domain) || domain == o.cfg.Domain {
		return directory{}
	}
	ctx, cancel := context.WithTimeout(ctx, directoryTimeout)
	defer cancel()
	envelope, err := o.cfg.Certified(ctx, domain)
	if err != nil {
		o.log.Debug("cannot read a provider's HTTPS directory", "domain", domain, "error", err)
		return directory{err: err}
	}
	if envelope == nil {
		return directory{}
	}
	envelope = bytes.Clone(envelope)
	r, err := openRecord(envelope)
	if err == nil {
		err = r.checkTime(o.cfg.Now())
	}
	if err == nil && r.Domain != domain {
		err = fmt.Errorf("%w: it is of %s", ErrRecord, r.Domain)
	}
	if err != nil {
		o.log.Warn("a provider's HTTPS directory holds a record that is not valid", "domain", domain, "error", err)
		return directory{err: err}
	}
	return directory{record: r, envelope: envelope}
}

// acceptDirectory makes a directory's record the one of its name, if its key is trusted.
func (o *Overlay) acceptDirectory(ctx context.Context, d directory, said testimony) (found bool, err error) {
	if d.record == nil {
		return false, nil
	}
	if err := o.trust.accept(ctx, d.record, d.envelope, said); err != nil {
		return false, err
	}
	return true, nil
}

// OwnRecord returns this provider's record, sealed, for its HTTPS directory. It is the
// one that lies in the DHT, or for an Offline node one that is sealed for the directory.
// Error: ErrNotRunning, or the storage's.
func (o *Overlay) OwnRecord(ctx context.Context) ([]byte, error) {
	o.sealing.Lock()
	defer o.sealing.Unlock()
	r, envelope := o.trust.envelope(o.cfg.Domain)
	now := o.cfg.Now()
	switch {
	case !o.cfg.Offline && (r == nil || !r.Expires.After(now) || o.net.Load() == nil):
		return nil, fmt.Errorf("%w: the provider record is not sealed yet", ErrNotRunning)
	case !o.cfg.Offline:
		return envelope, nil // its publisher keeps it fresh
	case r != nil && r.ProviderKey.Equal(o.providerKey) && len(r.Nodes) == 0 && r.DirectoryURL == o.cfg.DirectoryURL &&
		len(r.Rotations) == len(o.cfg.Rotations) && r.Expires.Sub(now) > recordValidity-republishEvery:
		return envelope, nil
	}
	return o.sealOwn(ctx, nil)
}

// envelope returns the newest accepted record of a name as it was sealed.
func (t *trustTable) envelope(domain string) (*Record, []byte) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e := t.entries[domain]; e != nil && e.record != nil {
		return e.record, bytes.Clone(e.envelope)
	}
	return nil, nil
}

// runOffline is Run of a node that is reached by HTTPS only: it looks names up, and no
// more.
func (o *Overlay) runOffline(ctx context.Context) error {
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &lookups{o: o, ctx: runCtx}
	var tasks sync.WaitGroup
	defer func() {
		o.lookups.Store(nil)
		cancel()
		tasks.Wait()
		l.wait()
	}()
	o.lookups.Store(l)
	tasks.Go(func() { o.tidy(runCtx) })
	o.log.Info("overlay is off; other providers are found and reached by HTTPS only", "domain", o.cfg.Domain)
	close(o.ready)
	<-ctx.Done()
	return nil
}
