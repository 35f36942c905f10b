package overlay_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

// claim is a provider that says it is biloxi.example, with a key of its own.
func claim(who string) overlay.Config {
	c := config("biloxi.example")
	c.ProviderKey, c.NodeKey = key("provider "+who), key("node "+who)
	return c
}

func fingerprint(who string) string { return overlay.Fingerprint(pub(key("provider " + who))) }

// info is what o shows of a name.
func info(t testing.TB, o *overlay.Overlay, domain string) overlay.ProviderInfo {
	t.Helper()
	for _, i := range o.Known() {
		if i.Domain == domain {
			return i
		}
	}
	t.Fatalf("%s is not known", domain)
	return overlay.ProviderInfo{}
}

// A clock can be moved.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time      { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) add(d time.Duration) { c.ahead.Add(int64(d)) }

// Another key claims a name that was seen before: everybody who knew the name refuses
// it, keeps the old record, and shows what happened.
func TestAnotherKeyClaimsAName(t *testing.T) {
	kv := &overlay.MemoryKV{}
	atlanta := config("atlanta.example")
	atlanta.KV = kv
	a, stopA := start(t, atlanta)

	real := claim("biloxi")
	real.Bootstrap = boot(a)
	_, stopReal := start(t, real)
	before := resolves(t, a, "biloxi.example")

	fake := claim("mallory")
	fake.Bootstrap = boot(a)
	fake.Now = func() time.Time { return time.Now().Add(5 * time.Minute) } // a higher sequence number
	mallory, _ := start(t, fake)

	eventually(t, "the conflict is shown", func() error {
		if i := info(t, a, "biloxi.example"); i.Conflicts == 0 || i.ConflictKey != fingerprint("mallory") || i.ConflictTime.IsZero() {
			return fmt.Errorf("%+v", i)
		}
		return nil
	})
	if r, err := a.Resolve(context.Background(), "biloxi.example"); err != nil || !r.ProviderKey.Equal(before.ProviderKey) {
		t.Errorf("%+v %v", r, err)
	}
	if i := info(t, a, "biloxi.example"); i.Fingerprint != fingerprint("biloxi") || i.Trust != overlay.FirstUse {
		t.Errorf("%+v", i)
	}
	if keys := a.Keys("biloxi.example"); len(keys) != 1 || !keys[0].Equal(pub(real.ProviderKey)) {
		t.Errorf("%x", keys)
	}

	// The decision, and that there was a conflict, survive a restart, and the claimant
	// gains nothing from the real provider's absence.
	stopReal()
	stopA()
	atlanta.Bootstrap = boot(mallory)
	var clk clock
	atlanta.Now = clk.now
	a, _ = start(t, atlanta)
	if i := info(t, a, "biloxi.example"); i.Fingerprint != fingerprint("biloxi") || i.Conflicts == 0 || i.ConflictKey != fingerprint("mallory") {
		t.Errorf("after restart: %+v", i)
	}
	clk.add(37 * time.Hour)
	_, err := a.Resolve(context.Background(), "biloxi.example")
	if !errors.Is(err, overlay.ErrExpired) {
		t.Errorf("the real record has expired, the other is refused: %v", err)
	}

	// The operator decides otherwise: then it is the other key.
	clk.add(-37 * time.Hour)
	if err := a.Pin(context.Background(), "biloxi.example", strings.ToUpper(fingerprint("mallory"))); err != nil {
		t.Fatal(err)
	}
	if keys := a.Keys("biloxi.example"); len(keys) != 0 {
		t.Errorf("after the pin: %x", keys)
	}
	if r := resolves(t, a, "biloxi.example"); !r.ProviderKey.Equal(pub(fake.ProviderKey)) {
		t.Errorf("after the pin: %+v", r)
	}
	if i := info(t, a, "biloxi.example"); i.Trust != overlay.Pinned || i.Pin != fingerprint("mallory") {
		t.Errorf("after the pin: %+v", i)
	}
}

// Nodes that know nothing of a name keep the record that they stored first, whatever
// sequence number another key's has; somebody new finds the first as well.
func TestStoredRecordIsNotDisplaced(t *testing.T) {
	hub, _ := start(t, config("hub.example"))
	real := claim("biloxi")
	real.Bootstrap = boot(hub)
	_, stopReal := start(t, real)
	fake := claim("mallory")
	fake.Bootstrap = boot(hub)
	fake.Now = func() time.Time { return time.Now().Add(5 * time.Minute) }
	_, stopFake := start(t, fake)
	stopReal()
	stopFake()
	if len(hub.Keys("biloxi.example")) != 0 {
		t.Fatal("the hub was not to know the name")
	}
	c := config("new.example")
	c.Bootstrap = boot(hub)
	o, _ := start(t, c)
	if r, err := o.Resolve(t.Context(), "biloxi.example"); err != nil || !r.ProviderKey.Equal(pub(real.ProviderKey)) {
		t.Errorf("%+v %v", r, err)
	}
}

// A stranger was first to claim a name and everybody has stored that. Whoever knows the
// right key finds the right record all the same, though its provider is not there.
func TestSquatter(t *testing.T) {
	nodes := providers(t, 3, nil)
	fake := claim("mallory")
	fake.Bootstrap = boot(nodes[0])
	start(t, fake)
	real := claim("biloxi")
	real.Bootstrap = boot(nodes[0])
	_, stop := start(t, real)
	stop()

	c := config("new.example")
	c.Bootstrap = boot(nodes[0])
	o, _ := start(t, c)
	if r, err := o.Resolve(t.Context(), "biloxi.example"); err != nil || !r.ProviderKey.Equal(pub(fake.ProviderKey)) {
		t.Errorf("by first use: %v", err)
	}
	if err := o.Pin(t.Context(), "biloxi.example", fingerprint("biloxi")); err != nil {
		t.Fatal(err)
	}
	if r, err := o.Resolve(t.Context(), "biloxi.example"); err != nil || !r.ProviderKey.Equal(pub(real.ProviderKey)) {
		t.Errorf("by pin: %v", err)
	}
}

// Two keys claim a name that nobody has met: the pin, or else DNS, chooses.
func TestPinAndDNSChooseAmongClaims(t *testing.T) {
	dns := newDNS(t)
	dns.set("_mimi.biloxi.example.", "v=spf1 -all", overlay.TXTRecord(fingerprint("biloxi")))
	hub, _ := start(t, config("hub.example"))
	for _, who := range []string{"mallory", "biloxi"} { // the hub trusts the first
		c := claim(who)
		c.Bootstrap = boot(hub)
		start(t, c)
	}
	resolves(t, hub, "biloxi.example")

	pinned := config("pinned.example")
	pinned.Bootstrap = boot(hub)
	pinned.Pins = map[string]string{"Biloxi.example": fingerprint("biloxi")}
	asks := config("asks.example")
	asks.Bootstrap = boot(hub)
	asks.TXT = dns.resolver().LookupTXT
	for _, c := range []struct {
		config overlay.Config
		want   overlay.Trust
	}{{pinned, overlay.Pinned}, {asks, overlay.DNS}} {
		o, _ := start(t, c.config)
		eventually(t, "resolving by "+c.want.String(), func() error {
			r, err := o.Resolve(context.Background(), "biloxi.example")
			if err == nil && !r.ProviderKey.Equal(pub(key("provider biloxi"))) {
				t.Fatalf("%s: trusts %s", c.want, overlay.Fingerprint(r.ProviderKey))
			}
			return err
		})
		if i := info(t, o, "biloxi.example"); i.Trust != c.want || i.Fingerprint != fingerprint("biloxi") {
			t.Errorf("%+v", i)
		}
	}
}

func TestDNS(t *testing.T) {
	dns := newDNS(t)
	nodes := providers(t, 2, func(i int, c *overlay.Config) {
		if i == 0 {
			c.TXT = dns.resolver().LookupTXT
		}
	})
	a := nodes[0]
	name := "_mimi.p1.example."
	good := overlay.TXTRecord(overlay.Fingerprint(pub(key("provider p1.example"))))
	for _, c := range []struct {
		why   string
		set   func()
		want  error
		trust overlay.Trust
	}{
		{"a server failure is not an absent record", func() { dns.fail(name) }, overlay.ErrDNS, 0},
		{"nor is a record of ours that is damaged", func() { dns.set(name, "v=mimi1; fp=123") }, overlay.ErrDNS, 0},
		{"nor one without a fingerprint", func() { dns.set(name, "v=mimi1") }, overlay.ErrDNS, 0},
		{"another key", func() { dns.set(name, overlay.TXTRecord(fingerprint("mallory"))) }, overlay.ErrConflict, 0},
		{"no such name", func() { dns.set(name) }, nil, overlay.FirstUse},
		{"only TXT of others", func() { dns.set(name, "v=spf1 -all", "", "v=mimi2; x") }, nil, overlay.FirstUse},
		{"the key", func() { dns.set(name, good) }, nil, overlay.DNS},
		{"two keys", func() { dns.set(name, overlay.TXTRecord(fingerprint("mallory")), good+"; note=new") }, nil, overlay.DNS},
		{"other spelling", func() { dns.set(name, " v=mimi1 ;fp="+strings.ToUpper(good[len("v=mimi1; fp="):])) }, nil, overlay.DNS},
	} {
		a.Forget(context.Background(), "p1.example")
		c.set()
		r, err := a.Resolve(context.Background(), "p1.example")
		if !errors.Is(err, c.want) || (err == nil) != (r != nil) {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
		if err == nil {
			if i := info(t, a, "p1.example"); i.Trust != c.trust {
				t.Errorf("%s: trusted by %s, want %s", c.why, i.Trust, c.trust)
			}
		}
	}

	// What was established before is kept while DNS is disturbed, and DNS alone does
	// not take back what DNS has confirmed.
	dns.fail(name)
	overlay.Stale(a, "p1.example")
	if _, err := overlay.Lookup(a, "p1.example"); err != nil {
		t.Errorf("DNS fails later: %v", err)
	}
	dns.set(name, overlay.TXTRecord(fingerprint("mallory")))
	if r, err := overlay.Lookup(a, "p1.example"); err != nil || !r.ProviderKey.Equal(pub(key("provider p1.example"))) {
		t.Errorf("DNS names another key later: %v", err)
	}
	if i := info(t, a, "p1.example"); i.Conflicts == 0 || i.Trust != overlay.DNS {
		t.Errorf("DNS names another key later: %+v", i)
	}
	if n := dns.asked(name); n < 10 {
		t.Errorf("%d queries for %s", n, name)
	}
}

func TestDNSCorrectsFirstUse(t *testing.T) {
	dns := newDNS(t)
	hub := config("hub.example")
	hub.TXT = dns.resolver().LookupTXT
	a, _ := start(t, hub)
	fake := claim("mallory")
	fake.Bootstrap = boot(a)
	start(t, fake)
	if r := resolves(t, a, "biloxi.example"); !r.ProviderKey.Equal(pub(fake.ProviderKey)) {
		t.Fatal("first use")
	}
	dns.set("_mimi.biloxi.example.", overlay.TXTRecord(fingerprint("biloxi")))
	overlay.Lookup(a, "biloxi.example") // learns what DNS says, so that the DHT stores the real record
	real := claim("biloxi")
	real.Bootstrap = boot(a)
	start(t, real)
	eventually(t, "DNS corrects", func() error {
		r, err := overlay.Lookup(a, "biloxi.example")
		if err == nil && !r.ProviderKey.Equal(pub(real.ProviderKey)) {
			err = errors.New("still the first key")
		}
		return err
	})
	if keys := a.Keys("biloxi.example"); len(keys) != 1 {
		t.Errorf("%d keys: the first must be gone", len(keys))
	}
}

func TestExpiredRecord(t *testing.T) {
	t.Parallel() // it waits most of the time
	var clk clock
	nodes := providers(t, 2, func(i int, c *overlay.Config) { c.Now = clk.now })
	a := nodes[0]
	first := resolves(t, a, "p1.example")
	if left := time.Until(first.Expires); left > overlay.MaxValidity || left < 24*time.Hour {
		t.Errorf("valid for %s", left)
	}
	stranger := config("gone.example")
	stranger.Bootstrap, stranger.Now = boot(a), clk.now
	_, stop := start(t, stranger)
	resolves(t, a, "gone.example")
	stop()

	clk.add(37 * time.Hour)
	if _, err := a.Resolve(context.Background(), "gone.example"); !errors.Is(err, overlay.ErrExpired) || !errors.Is(err, overlay.ErrUnknownProvider) {
		t.Errorf("expired: %v", err)
	}
	if keys := a.Keys("gone.example"); len(keys) != 1 {
		t.Error("the key must stay trusted when a record expires, or the next comer gets the name")
	}
	// The provider publishes again, and is found again.
	overlay.Republish(nodes[1])
	eventually(t, "a new record", func() error {
		r, err := a.Resolve(context.Background(), "p1.example")
		if err == nil && r.Seq <= first.Seq {
			t.Fatalf("sequence number %d after %d", r.Seq, first.Seq)
		}
		return err
	})
}

// The key changes three times; somebody who knew only the first follows.
func TestKeyRotation(t *testing.T) {
	kv := &overlay.MemoryKV{}
	hub := config("hub.example")
	hub.KV = kv
	a, _ := start(t, hub)

	c := config("biloxi.example")
	keys := []ed25519.PrivateKey{key("k0"), key("k1"), key("k2"), key("k3")}
	c.ProviderKey, c.Bootstrap = keys[0], boot(a)
	_, stop := start(t, c)
	resolves(t, a, "biloxi.example")
	stop()
	for i, old := range keys[:3] {
		rot, err := overlay.SignRotation("Biloxi.example", old, pub(keys[i+1]))
		if err != nil {
			t.Fatal(err)
		}
		c.Rotations = append(c.Rotations, rot)
	}
	c.ProviderKey = keys[3]
	_, stop = start(t, c)
	eventually(t, "the new key", func() error {
		r, err := overlay.Lookup(a, "biloxi.example")
		if err == nil && !r.ProviderKey.Equal(pub(keys[3])) {
			err = errors.New("still the old key")
		}
		return err
	})
	got := a.Keys("biloxi.example")
	if len(got) != 4 {
		t.Fatalf("%d keys", len(got))
	}
	for i := range keys {
		if !got[i].Equal(pub(keys[i])) {
			t.Errorf("key %d is %s", i, overlay.Fingerprint(got[i]))
		}
	}
	if i := info(t, a, "biloxi.example"); i.Conflicts != 0 || i.Fingerprint != overlay.Fingerprint(pub(keys[3])) {
		t.Errorf("%+v", i)
	}
	stop()

	// Whoever has only an old key cannot go back.
	c.ProviderKey, c.Rotations, c.Now = keys[1], nil, func() time.Time { return time.Now().Add(time.Minute) }
	c.KV = &overlay.MemoryKV{}
	start(t, c)
	eventually(t, "the old key is refused", func() error {
		if i := info(t, a, "biloxi.example"); i.ConflictKey != overlay.Fingerprint(pub(keys[1])) {
			return fmt.Errorf("%+v", i)
		}
		return nil
	})
	if r, err := overlay.Lookup(a, "biloxi.example"); err != nil || !r.ProviderKey.Equal(pub(keys[3])) {
		t.Errorf("%v", err)
	}
}

func TestSelfProvingName(t *testing.T) {
	name, err := overlay.SelfProvingName(pub(key("k0")))
	if err != nil {
		t.Fatal(err)
	}
	if len(strings.TrimSuffix(name, ".p2p.invalid")) != 62 {
		t.Errorf("%s", name)
	}
	a, _ := start(t, config("hub.example"))
	c := config(name)
	c.ProviderKey, c.Bootstrap = key("k0"), boot(a)
	_, stop := start(t, c)
	resolves(t, a, name)
	if i := info(t, a, name); i.Trust != overlay.SelfProving {
		t.Errorf("%+v", i)
	}
	stop()

	rot, err := overlay.SignRotation(name, key("k0"), pub(key("k1")))
	if err != nil {
		t.Fatal(err)
	}
	c.ProviderKey = key("k1")
	if _, err := overlay.New(c); !errors.Is(err, overlay.ErrConfig) {
		t.Errorf("a name of another key: %v", err)
	}
	c.Rotations = []overlay.Rotation{rot}
	b, err := overlay.New(c)
	if err != nil {
		t.Fatal(err)
	}
	_ = b
	if _, err := a.Resolve(context.Background(), "hello.p2p.invalid"); !errors.Is(err, overlay.ErrName) {
		t.Errorf("a name without a key: %v", err)
	}
}

// A node that is restarted, and whose clock has gone back, still publishes a record that
// is newer than its last.
func TestSequenceSurvivesRestart(t *testing.T) {
	a, _ := start(t, config("hub.example"))
	c := config("biloxi.example")
	c.Bootstrap = boot(a)
	_, stop := start(t, c)
	first := resolves(t, a, "biloxi.example")
	stop()
	c.Now = func() time.Time { return time.Now().Add(-5 * time.Minute) }
	c.RelayWilling = true
	start(t, c)
	eventually(t, "the newer record", func() error {
		r, err := overlay.Lookup(a, "biloxi.example")
		if err == nil && (!r.RelayWilling || r.Seq <= first.Seq) {
			err = fmt.Errorf("relay %t seq %d after %d", r.RelayWilling, r.Seq, first.Seq)
		}
		return err
	})
}

func TestPinErrors(t *testing.T) {
	c := config("hub.example")
	c.Pins = map[string]string{"x.example": fingerprint("x")}
	o, err := overlay.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, c := range []struct {
		domain, fp string
		want       error
	}{
		{"no name", fingerprint("x"), overlay.ErrName},
		{"y.example", "abc", overlay.ErrConfig},
		{"y.example", strings.Repeat("x", 1000), overlay.ErrConfig},
		{"x.example", fingerprint("other"), overlay.ErrConfig},
		{"hub.example", fingerprint("other"), overlay.ErrConfig},
		{"y.example", fingerprint("y"), nil},
	} {
		if err := o.Pin(ctx, c.domain, c.fp); !errors.Is(err, c.want) {
			t.Errorf("Pin(%q, %.20q): %v, want %v", c.domain, c.fp, err, c.want)
		}
	}
	if i := info(t, o, "x.example"); i.Pin != fingerprint("x") || i.Trust != overlay.Untrusted || i.Trust.String() != "none" {
		t.Errorf("%+v", i)
	}
	if err := o.Forget(ctx, "hub.example"); !errors.Is(err, overlay.ErrConfig) {
		t.Errorf("forgetting oneself: %v", err)
	}
	if err := o.Forget(ctx, "no name"); !errors.Is(err, overlay.ErrName) {
		t.Errorf("%v", err)
	}
	if err := o.Forget(ctx, "y.example"); err != nil {
		t.Error(err)
	}
	if err := o.Forget(ctx, "x.example"); err != nil {
		t.Error(err)
	}
	if known := o.Known(); len(known) != 1 || known[0].Pin != fingerprint("x") {
		t.Errorf("%+v", known)
	}
}

// Who gets a name, step by step. Keys are k0 to k2; "k0>k1" is a record of k1 that says k0
// made it its successor.
func TestTrustDecisions(t *testing.T) {
	type step struct {
		pin    string // "", or a key to pin first
		record string
		seq    uint64
		told   bool // another provider shows the record
		dns    []string
		web    []string // what the HTTPS directory's record is by
		want   error
		keys   string // afterwards
		trust  overlay.Trust
	}
	conflict, old := overlay.ErrConflict, overlay.ErrRecord
	for _, c := range []struct {
		why   string
		steps []step
	}{
		{"first come", []step{
			{record: "k0", seq: 5, keys: "k0", trust: overlay.FirstUse},
			{record: "k1", seq: 6, want: conflict, keys: "k0", trust: overlay.FirstUse}}},
		{"an older record is not news", []step{
			{record: "k0", seq: 5, keys: "k0", trust: overlay.FirstUse},
			{record: "k0", seq: 4, want: old, keys: "k0", trust: overlay.FirstUse},
			{record: "k0", seq: 5, keys: "k0", trust: overlay.FirstUse}}},
		{"a successor", []step{
			{record: "k0", seq: 5, keys: "k0", trust: overlay.FirstUse},
			{record: "k0>k1", seq: 6, keys: "k0 k1", trust: overlay.FirstUse},
			{record: "k0", seq: 7, want: conflict, keys: "k0 k1", trust: overlay.FirstUse},
			{record: "k0>k2", seq: 8, want: conflict, keys: "k0 k1", trust: overlay.FirstUse},
			{record: "k1>k2", seq: 9, keys: "k0 k1 k2", trust: overlay.FirstUse}}},
		{"a stranger lets the key sign him as its predecessor", []step{
			{record: "k1", seq: 5, keys: "k1", trust: overlay.FirstUse},
			{record: "k0>k1", seq: 6, keys: "k1", trust: overlay.FirstUse}}},
		{"pin before first use", []step{
			{pin: "k1", record: "k0", seq: 5, want: conflict, trust: overlay.Untrusted},
			{record: "k1", seq: 5, keys: "k1", trust: overlay.Pinned},
			{record: "k1>k2", seq: 6, keys: "k1 k2", trust: overlay.Pinned},
			{record: "k1", seq: 7, want: conflict, keys: "k1 k2", trust: overlay.Pinned}}},
		{"pin corrects, and the sequence begins anew", []step{
			{record: "k0", seq: 9, keys: "k0", trust: overlay.FirstUse},
			{pin: "k1", record: "k0", seq: 10, want: conflict, trust: overlay.Untrusted},
			{record: "k1", seq: 5, keys: "k1", trust: overlay.Pinned}}},
		{"pin of an older key keeps the newer", []step{
			{record: "k0>k1", seq: 5, keys: "k0 k1", trust: overlay.FirstUse},
			{pin: "k0", record: "k0>k1", seq: 6, keys: "k0 k1", trust: overlay.Pinned}}},
		{"pin outranks DNS", []step{
			{pin: "k0", record: "k0", seq: 5, dns: []string{"k1"}, keys: "k0", trust: overlay.Pinned},
			{record: "k1", seq: 6, dns: []string{"k1"}, want: conflict, keys: "k0", trust: overlay.Pinned}}},
		{"DNS refuses", []step{
			{record: "k0", seq: 5, dns: []string{"k1"}, want: conflict},
			{record: "k1", seq: 5, dns: []string{"k1"}, keys: "k1", trust: overlay.DNS}}},
		{"DNS confirms, with the same record", []step{
			{record: "k0", seq: 5, keys: "k0", trust: overlay.FirstUse},
			{record: "k0", seq: 5, dns: []string{"k0"}, keys: "k0", trust: overlay.DNS}}},
		{"DNS corrects a first use", []step{
			{record: "k0", seq: 9, keys: "k0", trust: overlay.FirstUse},
			{record: "k1", seq: 5, dns: []string{"k1"}, keys: "k1", trust: overlay.DNS}}},
		{"DNS does not take back what it confirmed", []step{
			{record: "k0", seq: 5, dns: []string{"k0"}, keys: "k0", trust: overlay.DNS},
			{record: "k1", seq: 6, dns: []string{"k1"}, want: conflict, keys: "k0", trust: overlay.DNS},
			{record: "k0", seq: 7, dns: []string{"k1"}, want: conflict, keys: "k0", trust: overlay.DNS},
			{record: "k0", seq: 8, keys: "k0", trust: overlay.DNS}}},
		{"DNS names the old key or the new", []step{
			{record: "k0", seq: 5, dns: []string{"k0"}, keys: "k0", trust: overlay.DNS},
			{record: "k0>k1", seq: 6, dns: []string{"k0"}, keys: "k0 k1", trust: overlay.DNS},
			{record: "k0>k1", seq: 7, dns: []string{"k1"}, keys: "k0 k1", trust: overlay.DNS},
			{record: "k0>k1>k2", seq: 8, dns: []string{"k1", "k2"}, keys: "k0 k1 k2", trust: overlay.DNS}}},
		{"who is told keeps what was told first", []step{
			{told: true, record: "k0", seq: 9, keys: "k0", trust: overlay.Told},
			{told: true, record: "k1", seq: 10, keys: "k0", trust: overlay.Told},
			{told: true, record: "k0>k1", seq: 10, keys: "k0", trust: overlay.Told}}},
		{"what was told gives way to the provider itself", []step{
			{told: true, record: "k0", seq: 9, keys: "k0", trust: overlay.Told},
			{record: "k1", seq: 5, keys: "k1", trust: overlay.FirstUse},
			{told: true, record: "k0", seq: 10, keys: "k1", trust: overlay.FirstUse}}},
		{"what was told is confirmed", []step{
			{told: true, record: "k0", seq: 5, keys: "k0", trust: overlay.Told},
			{record: "k0>k1", seq: 6, keys: "k0 k1", trust: overlay.FirstUse},
			{record: "k2", seq: 7, want: conflict, keys: "k0 k1", trust: overlay.FirstUse}}},
		{"nobody is told what DNS denies", []step{
			{told: true, record: "k0", seq: 5, dns: []string{"k1"}, want: conflict},
			{told: true, record: "k1", seq: 5, dns: []string{"k1"}, keys: "k1", trust: overlay.DNS}}},
		{"DNS corrects what was told", []step{
			{told: true, record: "k0", seq: 9, keys: "k0", trust: overlay.Told},
			{record: "k1", seq: 5, dns: []string{"k1"}, keys: "k1", trust: overlay.DNS}}},
		{"nor what the operator denies", []step{
			{pin: "k1", told: true, record: "k0", seq: 5, want: conflict, trust: overlay.Untrusted},
			{told: true, record: "k1", seq: 5, keys: "k1", trust: overlay.Pinned}}},
		{"HTTPS refuses", []step{
			{record: "k0", seq: 5, web: []string{"k1"}, want: conflict},
			{record: "k1", seq: 5, web: []string{"k1"}, keys: "k1", trust: overlay.HTTPS}}},
		{"HTTPS confirms a first use, and stays when it is silent", []step{
			{record: "k0", seq: 5, keys: "k0", trust: overlay.FirstUse},
			{record: "k0", seq: 5, web: []string{"k0"}, keys: "k0", trust: overlay.HTTPS},
			{record: "k0", seq: 6, keys: "k0", trust: overlay.HTTPS}}},
		{"HTTPS corrects a first use", []step{
			{record: "k0", seq: 9, keys: "k0", trust: overlay.FirstUse},
			{record: "k1", seq: 5, web: []string{"k1"}, keys: "k1", trust: overlay.HTTPS},
			{record: "k0", seq: 10, want: conflict, keys: "k1", trust: overlay.HTTPS}}},
		{"HTTPS does not take back what it confirmed", []step{
			{record: "k0", seq: 5, web: []string{"k0"}, keys: "k0", trust: overlay.HTTPS},
			{record: "k1", seq: 6, web: []string{"k1"}, want: conflict, keys: "k0", trust: overlay.HTTPS}}},
		{"nor does DNS", []step{
			{record: "k0", seq: 5, web: []string{"k0"}, keys: "k0", trust: overlay.HTTPS},
			{record: "k1", seq: 6, dns: []string{"k1"}, want: conflict, keys: "k0", trust: overlay.HTTPS},
			{record: "k0", seq: 7, dns: []string{"k0"}, keys: "k0", trust: overlay.DNS}}},
		{"DNS outranks HTTPS", []step{
			{record: "k1", seq: 5, dns: []string{"k0"}, web: []string{"k1"}, want: conflict},
			{record: "k0", seq: 5, dns: []string{"k0"}, web: []string{"k1"}, keys: "k0", trust: overlay.DNS},
			{record: "k0", seq: 6, web: []string{"k1"}, keys: "k0", trust: overlay.DNS}}},
		{"a pin outranks HTTPS", []step{
			{pin: "k0", record: "k0", seq: 5, web: []string{"k1"}, keys: "k0", trust: overlay.Pinned},
			{record: "k1", seq: 6, web: []string{"k1"}, want: conflict, keys: "k0", trust: overlay.Pinned}}},
		{"HTTPS corrects what was told", []step{
			{told: true, record: "k0", seq: 9, keys: "k0", trust: overlay.Told},
			{record: "k1", seq: 5, web: []string{"k1"}, keys: "k1", trust: overlay.HTTPS},
			{told: true, record: "k0", seq: 10, keys: "k1", trust: overlay.HTTPS}}},
		{"HTTPS follows a rotation", []step{
			{record: "k0", seq: 5, web: []string{"k0"}, keys: "k0", trust: overlay.HTTPS},
			{record: "k0>k1", seq: 6, web: []string{"k1"}, keys: "k0 k1", trust: overlay.HTTPS}}},
	} {
		t.Run(c.why, func(t *testing.T) {
			cfg := config("hub.example")
			o, err := overlay.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range c.steps {
				if s.pin != "" {
					if err := o.Pin(t.Context(), "biloxi.example", overlay.Fingerprint(pub(key(s.pin)))); err != nil {
						t.Fatal(err)
					}
				}
				r, k := chain(s.record, s.seq)
				prints := func(names []string) (out []string) {
					for _, name := range names {
						out = append(out, overlay.Fingerprint(pub(key(name))))
					}
					return out
				}
				accept := func() error { return overlay.AcceptCertified(o, r, k, prints(s.dns), prints(s.web)) }
				if s.told {
					accept = func() error { return overlay.HearRecord(o, r, k, prints(s.dns)...) }
				}
				if err := accept(); !errors.Is(err, s.want) {
					t.Fatalf("step %d: %v, want %v", i, err, s.want)
				}
				for range 2 { // now, and after a restart
					var keys []string
					for _, k := range o.Keys("biloxi.example") {
						for _, name := range []string{"k0", "k1", "k2"} {
							if k.Equal(pub(key(name))) {
								keys = append(keys, name)
							}
						}
					}
					if got := strings.Join(keys, " "); got != s.keys {
						t.Fatalf("step %d: keys %s, want %s", i, got, s.keys)
					}
					for _, known := range o.Known() {
						if known.Domain == "biloxi.example" && known.Trust != s.trust {
							t.Fatalf("step %d: trusted by %s, want %s", i, known.Trust, s.trust)
						}
					}
					if o, err = overlay.New(cfg); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// chain makes the record that "k0>k1" stands for, and returns the key that signs it.
func chain(names string, seq uint64) (*overlay.Record, ed25519.PrivateKey) {
	parts := strings.Split(names, ">")
	r := sample()
	r.Rotations, r.Seq = nil, seq
	for i, name := range parts[:len(parts)-1] {
		rot, err := overlay.SignRotation(r.Domain, key(name), pub(key(parts[i+1])))
		if err != nil {
			panic(err)
		}
		r.Rotations = append(r.Rotations, rot)
	}
	last := key(parts[len(parts)-1])
	r.ProviderKey = pub(last)
	return r, last
}

// A provider more than the limit is not trusted, and nothing else is lost.
func TestKnownProvidersAreBounded(t *testing.T) {
	c := config("hub.example")
	c.Limits.Providers = 2
	o, err := overlay.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, nil, overlay.ErrFull} {
		r := sample()
		r.Rotations, r.Domain = nil, fmt.Sprintf("p%d.example", i)
		if err := overlay.AcceptRecord(o, r, key("provider")); !errors.Is(err, want) {
			t.Errorf("%d: %v", i, err)
		}
	}
	r := sample()
	r.Rotations, r.Domain, r.Seq = nil, "p1.example", r.Seq+1
	if err := overlay.AcceptRecord(o, r, key("provider")); err != nil {
		t.Errorf("a newer record of a known provider: %v", err)
	}
}
