package overlay

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Envelope returns the newest record of a provider that was accepted here, as the
// provider has signed it, even if it has expired, and nil if there is none. It is what
// another provider can be told with: Hear. Nobody may change it.
func (o *Overlay) Envelope(domain string) []byte {
	d, err := Canonical(domain)
	if err != nil {
		return nil
	}
	o.trust.mu.RLock()
	defer o.trust.mu.RUnlock()
	if e := o.trust.entries[d]; e != nil {
		return e.envelope
	}
	return nil
}

// Hear takes the record of a provider on the word of another one, which has shown its
// envelope. It is for names that nobody finds any more, because their provider is gone
// for good: who reads the log of a room that it was in needs its key.
//
// That its key signed the record proves as little about the name as ever, and here not
// even that anybody is there with that key. So a record that is told counts only while
// nothing else is known of the name; a pin and DNS must agree with it; its trust is Told;
// and the first record of the name that is found in the DHT, or proven otherwise, takes
// its place, whatever key it is by. What was told again changes nothing.
//
// Errors are ErrName, ErrRecord, ErrConflict, ErrDNS, ErrFull, or the storage's. Safe for
// concurrent use.
func (o *Overlay) Hear(ctx context.Context, domain string, envelope []byte) error {
	d, err := Canonical(domain)
	if err != nil {
		return err
	}
	r, err := openRecord(envelope)
	if err != nil {
		return err
	}
	now := o.cfg.Now()
	switch {
	case r.Domain != d:
		return fmt.Errorf("%w: told of %s, the record is of %s", ErrRecord, d, r.Domain)
	case r.Expires.After(now.Add(MaxValidity + ClockSkew)), r.Seq > uint64(now.Add(ClockSkew).UnixMilli()):
		return fmt.Errorf("%w: %s: dated into the future", ErrRecord, d)
	}
	dns, err := o.askDNS(ctx, d)
	if err != nil {
		return err
	}
	return o.trust.hear(ctx, r, slices.Clone(envelope), dns)
}

// hear stores what was told of a name unless more is known.
func (t *trustTable) hear(ctx context.Context, r *Record, envelope []byte, dns []string) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.RLock()
	old, full := t.entries[r.Domain], len(t.entries) >= t.limit
	var e trustEntry
	if old != nil {
		e = *old
	}
	pin := t.pinOf(r.Domain, &e)
	t.mu.RUnlock()
	if len(e.keys) > 0 {
		return nil
	}
	if old == nil && full {
		return fmt.Errorf("%w: %d providers are known; raise Limits.Providers or forget some", ErrFull, t.limit)
	}
	v, err := decide(&e, r, pin, testimony{dns: dns})
	if err != nil {
		return err
	}
	next := e
	next.how, next.keys, next.seq, next.record, next.envelope = v.how, v.keys, r.Seq, r, envelope
	next.said, next.fresh = testimony{dns: dns}, time.Time{} // nobody has looked it up
	if v.how == FirstUse {
		next.how = Told
	}
	t.log.Info("took a provider's key on another's word", "domain", r.Domain, "key", Fingerprint(r.ProviderKey), "trust", next.how.String())
	return t.save(ctx, r.Domain, &next, old)
}
