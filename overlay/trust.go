package overlay

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Trust is why a key is believed to speak for a name.
type Trust uint8

// From the weakest to the strongest, but for Told and HTTPS. The numbers are stored.
const (
	Untrusted   Trust = 0 // no key is known yet: pinned, but never met
	FirstUse    Trust = 1 // the first valid record that was seen
	DNS         Trust = 2 // the TXT record at _mimi.<domain> names the key
	SelfProving Trust = 3 // the name contains the key
	Pinned      Trust = 4 // the operator said so
	Told        Trust = 5 // another provider's word, weaker than FirstUse: hear.go
	HTTPS       Trust = 6 // the domain's HTTPS directory names the key, by its certificate; between FirstUse and DNS
)

// weak reports whether a trust gives way to DNS and HTTPS.
func (t Trust) weak() bool { return t <= FirstUse || t == Told }

func (t Trust) String() string {
	switch t {
	case FirstUse:
		return "first use"
	case HTTPS:
		return "https"
	case DNS:
		return "dns"
	case SelfProving:
		return "self-proving"
	case Pinned:
		return "pin"
	case Told:
		return "told"
	}
	return "none"
}

// ProviderInfo is what an operator sees of a known provider.
type ProviderInfo struct {
	Domain       string
	Fingerprint  string // of the key in force; "" if none is known yet
	Trust        Trust
	Pin          string    // the operator's fingerprint, "" if there is none
	Expires      time.Time // of the newest record
	Nodes        []PeerID
	Connected    bool   // to one of its nodes
	Conflicts    uint64 // records refused because another key had signed them
	ConflictKey  string // fingerprint of the last of these
	ConflictTime time.Time
}

// A trustEntry is everything durable about one name.
type trustEntry struct {
	how       Trust
	pin       string              // from Pin; "" if none
	keys      []ed25519.PublicKey // accepted keys, oldest first; the last is in force
	seq       uint64              // of the newest record accepted from keys
	record    *Record             // nil until one was accepted
	envelope  []byte              // of record
	conflicts uint64
	badKey    string // fingerprint of the last conflict
	badTime   time.Time

	said    testimony // what was said when last asked; not stored
	fresh   time.Time // when the record was last looked up, by the real clock; not stored
	noted   time.Time // when a conflict was last logged; not stored
	unsaved bool      // conflicts changed since the entry was stored
}

// trusts reports whether one of the accepted keys has one of the fingerprints.
func (e *trustEntry) trusts(fps ...string) bool {
	return slices.ContainsFunc(e.keys, func(k ed25519.PublicKey) bool { return slices.Contains(fps, Fingerprint(k)) })
}

// withoutKeys is the entry after its keys have lost their trust.
func (e *trustEntry) withoutKeys() *trustEntry {
	next := *e
	next.how, next.keys, next.seq, next.record, next.envelope = Untrusted, nil, 0, nil, nil
	return &next
}

// A trustTable decides which keys speak for which names, and remembers it. It is safe
// for concurrent use. What it grants is durable before anybody sees it.
type trustTable struct {
	kv    KV
	log   *slog.Logger
	now   func() time.Time
	pins  map[string]string // of the configuration; outranks stored pins
	limit int               // number of entries

	writing sync.Mutex // held by whoever changes an entry's durable part, over the write

	mu      sync.RWMutex
	asked   map[string]*asking     // guarded by mu; lookups in progress, one for a name at most
	entries map[string]*trustEntry // guarded by mu; entries are replaced, not changed, but for the unstored fields and conflicts
}

const trustPrefix = "p/"

func newTrustTable(ctx context.Context, c *Config) (*trustTable, error) {
	t := &trustTable{
		kv: c.KV, log: c.Log, now: c.Now, limit: c.Limits.Providers,
		pins: make(map[string]string), entries: make(map[string]*trustEntry), asked: make(map[string]*asking),
	}
	for domain, fp := range c.Pins {
		d, err := Canonical(domain)
		if err != nil {
			return nil, fmt.Errorf("%w: Pins: %v", ErrConfig, err)
		}
		if t.pins[d], err = canonicalFingerprint(fp); err != nil {
			return nil, fmt.Errorf("reading Pins of %s: %w", d, err)
		}
	}
	err := c.KV.Scan(ctx, []byte(trustPrefix), func(k, v []byte) error {
		domain := string(k[len(trustPrefix):])
		e, err := parseTrustEntry(v)
		if err != nil {
			return fmt.Errorf("reading stored provider %q: %w", domain, err)
		}
		t.entries[domain] = e
		return nil
	})
	if err != nil {
		return nil, err
	}
	for domain, pin := range t.pins {
		e := t.entries[domain]
		switch {
		case e == nil:
			t.entries[domain] = &trustEntry{} // so that a pin shows before its provider is met
		case !e.trusts(pin):
			t.entries[domain] = e.withoutKeys()
		}
	}
	return t, nil
}

// CheckStored says whether a key and value of the KV are what an overlay writes there. What
// the DHT keeps of others under d/ is theirs, and verified when it is read.
func CheckStored(key, value []byte) error {
	domain, trust := strings.CutPrefix(string(key), trustPrefix)
	switch {
	case trust && domain != "":
		if _, err := parseTrustEntry(value); err != nil {
			return fmt.Errorf("reading stored provider %q: %w", domain, err)
		}
		return nil
	case strings.HasPrefix(string(key), datastorePrefix+"/"), strings.HasPrefix(string(key), gaterPrefix+"/"):
		return nil
	}
	return fmt.Errorf("a key %.40q, which no part of the overlay writes", key)
}

// own makes our own key the one for our own name, whatever was stored.
func (t *trustTable) own(domain, fp string) error {
	if pin, ok := t.pins[domain]; ok && pin != fp {
		return fmt.Errorf("%w: Pins names another key for %s, which is this provider: %s", ErrConfig, domain, fp)
	}
	t.pins[domain] = fp
	if e := t.entries[domain]; e != nil && !e.trusts(fp) {
		t.entries[domain] = e.withoutKeys()
	}
	return nil
}

// totals counts names and refused records.
func (t *trustTable) totals() (names int, conflicts uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.entries {
		conflicts += e.conflicts
	}
	return len(t.entries), conflicts
}

// get returns the newest accepted record of a name, also an expired one, and when it was
// last looked up.
func (t *trustTable) get(domain string) (r *Record, fresh time.Time) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e := t.entries[domain]; e != nil {
		return e.record, e.fresh
	}
	return nil, time.Time{}
}

func (t *trustTable) keys(domain string) []ed25519.PublicKey {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e := t.entries[domain]; e != nil {
		return slices.Clone(e.keys)
	}
	return nil
}

// doubt makes the next Resolve look for a newer record: the nodes of this one did not
// answer. Asking again is limited by the time between lookups.
func (t *trustTable) doubt(domain string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[domain]; e != nil && time.Since(e.fresh) > 5*time.Second {
		e.fresh = time.Time{}
	}
}

// pinned reports whether the operator has decided about a name.
func (t *trustTable) pinned(domain string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.entries[domain]
	return e != nil && t.pinOf(domain, e) != ""
}

// last returns what was said about a name when it was last asked for.
func (t *trustTable) last(domain string) testimony {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e := t.entries[domain]; e != nil {
		return e.said
	}
	return testimony{}
}

// certifiable reports whether the certificate of an HTTPS directory can add anything to
// the trust in a name: not where something stronger has decided.
func (t *trustTable) certifiable(domain string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.entries[domain]
	return e == nil || t.pinOf(domain, e) == "" && (e.how.weak() || e.how == HTTPS || e.how == Pinned)
}

// testimony is what was found out about a name: fingerprints of the keys that speak for
// it.
type testimony struct {
	dns       []string // by DNS
	certified []string // by the record in its HTTPS directory, whose certificate names it
}

// A verdict is what decide says about a valid record.
type verdict struct {
	how      Trust
	keys     []ed25519.PublicKey
	replaced bool // keys that were trusted before are not any more
}

// decide judges whether the key of a record speaks for its name, in the order of the
// package doc. It reads no clock and does no IO: pin is the operator's fingerprint or "".
func decide(e *trustEntry, r *Record, pin string, said testimony) (verdict, error) {
	dns := said.dns
	claimed := r.keys()
	conflict := func(why string) (verdict, error) {
		return verdict{}, fmt.Errorf("%w: %s with key %s: %s", ErrConflict, r.Domain, Fingerprint(r.ProviderKey), why)
	}
	claims := func(fps []string) bool {
		return slices.ContainsFunc(claimed, func(k ed25519.PublicKey) bool { return slices.Contains(fps, Fingerprint(k)) })
	}

	v := verdict{how: max(e.how, FirstUse)}
	override := false  // may the keys trusted so far be dropped?
	if e.how == Told { // what others said does not stand against the provider itself
		v.how, override = FirstUse, true
	}
	switch {
	case pin != "":
		if !claims([]string{pin}) {
			return conflict("the operator pinned " + pin)
		}
		v.how, override = Pinned, !e.trusts(pin)
	case len(dns) > 0:
		if !claims(dns) {
			return conflict("DNS names " + dns[0])
		}
		v.how = DNS
		// DNS corrects a first use. A key that DNS has confirmed is not dropped on
		// the word of DNS alone.
		override = e.how.weak() && !e.trusts(dns...)
	case len(said.certified) > 0 && (e.how.weak() || e.how == HTTPS || e.how == Pinned):
		if !claims(said.certified) {
			return conflict("its HTTPS directory names " + said.certified[0])
		}
		v.how = HTTPS
		override = e.how.weak() && !e.trusts(said.certified...) // as with DNS
	case e.how == Pinned:
		v.how = FirstUse // a pin that is gone no longer explains the trust
	}
	if isSelfProving(r.Domain) {
		key, err := keyOfName(r.Domain)
		if err != nil {
			return verdict{}, err
		}
		if !slices.ContainsFunc(claimed, func(k ed25519.PublicKey) bool { return k.Equal(key) }) {
			return conflict("the name contains another key")
		}
		v.how = max(v.how, SelfProving)
	}
	if len(e.keys) == 0 {
		v.keys = claimed
		return v, nil
	}
	inForce := e.keys[len(e.keys)-1]
	at := slices.IndexFunc(claimed, func(k ed25519.PublicKey) bool { return k.Equal(inForce) })
	switch {
	case at >= 0:
		v.keys = append(slices.Clone(e.keys), claimed[at+1:]...)
	case override:
		v.keys, v.replaced = claimed, true
	default:
		return conflict("trusted is " + Fingerprint(inForce) + ", which has not signed it as its successor")
	}
	return v, nil
}

// pinOf returns the pin in force. The caller holds mu.
func (t *trustTable) pinOf(domain string, e *trustEntry) string {
	if pin, ok := t.pins[domain]; ok {
		return pin
	}
	return e.pin
}

// check says whether a record might be accepted, without accepting it. It notes a
// conflict with a name that we know. The DHT asks it before it stores for others.
func (t *trustTable) check(r *Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, a := t.entries[r.Domain], t.asked[r.Domain]
	if e == nil {
		e = &trustEntry{} // what is noted in it is lost: we keep nothing about strangers
		if a != nil {
			e.said = a.said
		}
	}
	_, err := decide(e, r, t.pinOf(r.Domain, e), e.said)
	if err != nil {
		t.noteConflict(e, r, err)
		if a != nil {
			a.refused = err
		}
	}
	return err
}

// believes is check without taking notes.
func (t *trustTable) believes(r *Record) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.entries[r.Domain]
	if e == nil {
		return true
	}
	_, err := decide(e, r, t.pinOf(r.Domain, e), e.said)
	return err == nil
}

// noteConflict counts, and logs a key once a minute at most. The caller holds mu.
func (t *trustTable) noteConflict(e *trustEntry, r *Record, err error) {
	fp, now := Fingerprint(r.ProviderKey), t.now()
	e.conflicts++
	if e.noted.IsZero() || now.Sub(e.noted) >= time.Minute {
		e.noted = now
		t.log.Warn("refused a provider record: another key claims the name",
			"domain", r.Domain, "refused", fp, "count", e.conflicts, "reason", err)
	}
	e.badKey, e.badTime, e.unsaved = fp, now, true
}

// places returns the DHT keys to search, in order: those that belong to the keys that
// must or may speak for the name, if any are known, and then that of the name.
func (t *trustTable) places(domain string, said testimony) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	fps := slices.Concat(said.dns, said.certified)
	if e := t.entries[domain]; e != nil {
		if len(e.keys) > 0 {
			fps = append([]string{Fingerprint(e.keys[len(e.keys)-1])}, fps...)
		}
		if pin := t.pinOf(domain, e); pin != "" {
			fps = []string{pin}
		}
	}
	if isSelfProving(domain) {
		if key, err := keyOfName(domain); err == nil {
			fps = append(fps, Fingerprint(key))
		}
	}
	var out []string
	for _, fp := range fps[:min(len(fps), 4)] {
		if key := keyedRecordKey(domain, fp); !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return append(out, recordKey(domain))
}

// An asking is what a lookup in progress has learnt.
type asking struct {
	said    testimony
	refused error // why the last record was refused
}

// ask notes, for a lookup that begins, what was found out about the name.
func (t *trustTable) ask(domain string, said testimony) *asking {
	a := &asking{said: said}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked[domain] = a
	if e := t.entries[domain]; e != nil {
		e.said = said
	}
	return a
}

// answered ends what ask began, and says why a record was refused, if one was.
func (t *trustTable) answered(domain string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.asked[domain]
	delete(t.asked, domain)
	return a.refused
}

// accept judges a valid record, and if its key is trusted and it is not older than what
// we have, makes it the record of its name.
func (t *trustTable) accept(ctx context.Context, r *Record, envelope []byte, said testimony) error {
	t.writing.Lock()
	defer t.writing.Unlock()

	t.mu.Lock()
	e := t.entries[r.Domain]
	if e == nil {
		if len(t.entries) >= t.limit {
			t.mu.Unlock()
			return fmt.Errorf("%w: %d providers are known; raise Limits.Providers or forget some", ErrFull, t.limit)
		}
		e = &trustEntry{}
	}
	v, err := decide(e, r, t.pinOf(r.Domain, e), said)
	if err != nil {
		t.noteConflict(e, r, err)
		t.mu.Unlock()
		return err
	}
	next := *e
	t.mu.Unlock()

	next.said, next.fresh = said, time.Now()
	if !v.replaced && e.record != nil {
		if r.Seq < e.seq || r.Seq == e.seq && v.how == e.how {
			if r.Seq < e.seq { // a replay of an older record: true once, but not news
				return fmt.Errorf("%w: %s: sequence number %d is older than %d", ErrRecord, r.Domain, r.Seq, e.seq)
			}
			t.install(r.Domain, &next, e)
			return nil
		}
	}
	if v.replaced {
		t.log.Warn("replaced the trusted key of a provider", "domain", r.Domain,
			"old", Fingerprint(e.keys[len(e.keys)-1]), "new", Fingerprint(r.ProviderKey), "because", v.how.String())
	} else if len(e.keys) > 0 && len(v.keys) > len(e.keys) {
		t.log.Info("provider rotated its key", "domain", r.Domain, "new", Fingerprint(r.ProviderKey))
	}
	next.how, next.keys, next.seq, next.record, next.envelope = v.how, v.keys, r.Seq, r, envelope
	return t.save(ctx, r.Domain, &next, e)
}

// save stores an entry and then shows it. The caller holds writing.
func (t *trustTable) save(ctx context.Context, domain string, next, old *trustEntry) error {
	value, err := next.append(nil)
	if err != nil {
		return err
	}
	if err := t.kv.Write(ctx, []Write{{[]byte(trustPrefix + domain), value}}); err != nil {
		return fmt.Errorf("storing provider %s: %w", domain, err)
	}
	next.unsaved = false
	t.install(domain, next, old)
	return nil
}

// install shows next in place of old, with the conflicts that were noted meanwhile.
func (t *trustTable) install(domain string, next, old *trustEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old != nil && old.conflicts != next.conflicts {
		next.conflicts, next.badKey, next.badTime, next.unsaved = old.conflicts, old.badKey, old.badTime, true
	}
	t.entries[domain] = next
}

// pin sets the operator's decision. Keys that do not belong to it are dropped at once;
// the record they signed as well.
func (t *trustTable) pin(ctx context.Context, domain, fp string) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.RLock()
	old := t.entries[domain]
	next := trustEntry{}
	if old != nil {
		next = *old
	}
	t.mu.RUnlock()
	if configured, ok := t.pins[domain]; ok && configured != fp {
		return fmt.Errorf("%w: the configuration pins %s to %s; change it there", ErrConfig, domain, configured)
	}
	next.pin, next.how = fp, Pinned
	next.conflicts, next.badKey, next.badTime = 0, "", time.Time{} // decided
	if !next.trusts(fp) {
		next = *next.withoutKeys()
	}
	next.fresh = time.Time{}
	return t.save(ctx, domain, &next, nil)
}

// forget drops everything known about a name, the operator's pin included.
func (t *trustTable) forget(ctx context.Context, domain string) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	if err := t.kv.Write(ctx, []Write{{Key: []byte(trustPrefix + domain)}}); err != nil {
		return fmt.Errorf("forgetting provider %s: %w", domain, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, domain)
	if _, ok := t.pins[domain]; ok {
		t.entries[domain] = &trustEntry{}
	}
	return nil
}

// flush stores the conflicts noted since the last call.
func (t *trustTable) flush(ctx context.Context) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.RLock()
	var dirty []string
	for domain, e := range t.entries {
		if e.unsaved {
			dirty = append(dirty, domain)
		}
	}
	t.mu.RUnlock()
	for _, domain := range dirty {
		t.mu.Lock()
		old := t.entries[domain]
		next := *old
		t.mu.Unlock()
		if err := t.save(ctx, domain, &next, old); err != nil {
			return err
		}
	}
	return nil
}

// known lists all names in order.
func (t *trustTable) known() []ProviderInfo {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]ProviderInfo, 0, len(t.entries))
	for _, domain := range slices.Sorted(maps.Keys(t.entries)) {
		e := t.entries[domain]
		info := ProviderInfo{
			Domain: domain, Trust: e.how, Pin: t.pinOf(domain, e),
			Conflicts: e.conflicts, ConflictKey: e.badKey, ConflictTime: e.badTime,
		}
		if len(e.keys) > 0 {
			info.Fingerprint = Fingerprint(e.keys[len(e.keys)-1])
		}
		if e.record != nil {
			info.Expires = e.record.Expires
			for _, n := range e.record.Nodes {
				info.Nodes = append(info.Nodes, n.ID)
			}
		}
		out = append(out, info)
	}
	return out
}

// The stored form of an entry, integers big-endian:
//
//	u8      version = 1
//	u8      trust, as numbered above
//	u8 n    pin[n], n is 0 or 64
//	u16 k   number of keys, each 32 bytes
//	u64     seq
//	u64     conflicts
//	u8 n    fingerprint of the last conflict[n], n is 0 or 64
//	u64     its time, milliseconds since 1970
//	u16 n   envelope[n] of the newest record, n may be 0
func (e *trustEntry) append(b []byte) ([]byte, error) {
	if len(e.keys) > maxStoredKeys {
		return nil, fmt.Errorf("%w: a provider rotated its key more than %d times", ErrFull, maxStoredKeys)
	}
	b = append(b, 1, byte(e.how), byte(len(e.pin)))
	b = append(b, e.pin...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.keys)))
	for _, k := range e.keys {
		b = append(b, k...)
	}
	b = binary.BigEndian.AppendUint64(b, e.seq)
	b = binary.BigEndian.AppendUint64(b, e.conflicts)
	b = append(b, byte(len(e.badKey)))
	b = append(b, e.badKey...)
	var at uint64
	if !e.badTime.IsZero() {
		at = uint64(e.badTime.UnixMilli())
	}
	b = binary.BigEndian.AppendUint64(b, at)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.envelope)))
	return append(b, e.envelope...), nil
}

const maxStoredKeys = 1024 // rotations of one provider in its life

func parseTrustEntry(b []byte) (*trustEntry, error) {
	d := decoder{rest: b}
	e := &trustEntry{}
	if v := d.u8(); v != 1 {
		return nil, fmt.Errorf("%w: stored version %d", ErrRecord, v)
	}
	e.how = Trust(d.u8())
	e.pin = string(d.take(int(d.u8())))
	for range d.max(int(d.u16()), maxStoredKeys) {
		e.keys = append(e.keys, slices.Clone(d.take(ed25519.PublicKeySize)))
	}
	e.seq, e.conflicts = d.u64(), d.u64()
	e.badKey = string(d.take(int(d.u8())))
	if at := d.u64(); at != 0 {
		e.badTime = time.UnixMilli(int64(at)).UTC()
	}
	e.envelope = slices.Clone(d.take(int(d.u16())))
	if d.failed || len(d.rest) != 0 || e.how > HTTPS {
		return nil, fmt.Errorf("%w: stored entry is damaged", ErrRecord)
	}
	if len(e.envelope) > 0 {
		r, err := openRecord(e.envelope)
		if err != nil {
			return nil, err
		}
		e.record = r
	}
	return e, nil
}
