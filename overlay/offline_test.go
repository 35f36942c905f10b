package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

// web is what HTTPS directories hold, for Config.Certified; it counts who asks.
type web struct {
	records sync.Map // domain to func(context.Context) ([]byte, error)
	asked   atomic.Int64
}

func (w *web) put(domain string, f func(context.Context) ([]byte, error)) { w.records.Store(domain, f) }

func (w *web) read(ctx context.Context, domain string) ([]byte, error) {
	w.asked.Add(1)
	if f, ok := w.records.Load(domain); ok {
		return f.(func(context.Context) ([]byte, error))(ctx)
	}
	return nil, errors.New("connection refused")
}

func offline(domain string, w *web) overlay.Config {
	c := config(domain)
	c.Offline, c.Certified = true, w.read
	c.DirectoryURL = "https://" + domain + "/.well-known/mimi-protocol-directory"
	return c
}

// Two providers without libp2p know each other by what their directories hold.
func TestOffline(t *testing.T) {
	w := new(web)
	a, _ := start(t, offline("atlanta.example", w))
	kv := &overlay.MemoryKV{}
	cb := offline("biloxi.example", w)
	cb.KV = kv
	b, stop := start(t, cb)
	w.put("atlanta.example", a.OwnRecord)
	w.put("biloxi.example", b.OwnRecord)

	r := resolves(t, a, "biloxi.example")
	if len(r.Nodes) != 0 || !r.ProviderKey.Equal(pub(cb.ProviderKey)) || len(a.Addrs()) != 0 {
		t.Errorf("%+v", r)
	}
	if i := info(t, a, "biloxi.example"); i.Trust != overlay.HTTPS || i.Fingerprint != overlay.Fingerprint(pub(cb.ProviderKey)) {
		t.Errorf("%+v", i)
	}
	asked := w.asked.Load()
	for range 10 {
		resolves(t, a, "biloxi.example")
	}
	if n := w.asked.Load(); n != asked {
		t.Errorf("a fresh record was looked up %d times again", n-asked)
	}
	if _, err := a.Resolve(t.Context(), "chicago.example"); !errors.Is(err, overlay.ErrUnknownProvider) {
		t.Errorf("a provider without a directory: %v", err)
	}
	w.put("denver.example", func(context.Context) ([]byte, error) { return nil, nil })
	if _, err := a.Resolve(t.Context(), "denver.example"); !errors.Is(err, overlay.ErrUnknownProvider) {
		t.Errorf("a provider whose directory holds no record: %v", err)
	}
	w.put("elgin.example", b.OwnRecord)
	if _, err := a.Resolve(t.Context(), "elgin.example"); !errors.Is(err, overlay.ErrUnknownProvider) || len(a.Keys("elgin.example")) != 0 {
		t.Errorf("another provider's record: %v", err)
	}
	if _, err := a.Join("topic", overlay.TopicHandler{}); !errors.Is(err, overlay.ErrNotRunning) {
		t.Errorf("gossip: %v", err)
	}

	// The record is sealed anew when it gets old, and never goes back behind itself.
	before, err := b.OwnRecord(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.OwnRecord(t.Context()); err != nil || string(again) != string(before) {
		t.Errorf("sealed for every reader: %v", err)
	}
	stop()
	cb.Now = func() time.Time { return time.Now().Add(20 * time.Hour) }
	b, _ = start(t, cb)
	after, err := b.OwnRecord(t.Context())
	if err != nil || string(after) == string(before) {
		t.Fatalf("not renewed: %v", err)
	}
	x, _ := overlay.Open(before)
	y, err := overlay.Open(after)
	if err != nil || y.Seq <= x.Seq || y.Expires.Sub(x.Expires) < 19*time.Hour {
		t.Errorf("%+v, %v", y, err)
	}
}

func TestOfflineConfig(t *testing.T) {
	for why, edit := range map[string]func(*overlay.Config){
		"no reader of directories": func(c *overlay.Config) { c.Certified = nil },
		"no directory":             func(c *overlay.Config) { c.DirectoryURL = "" },
		"other nodes":              func(c *overlay.Config) { c.Siblings = []overlay.Node{{ID: nodeID(key("x"))}} },
	} {
		c := offline("atlanta.example", new(web))
		edit(&c)
		if _, err := overlay.New(c); !errors.Is(err, overlay.ErrConfig) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// A stranger was first to claim a name in the DHT; the directory of the domain names
// another key. So nobody who can ask it is taken in, and who was before is corrected.
func TestDirectoryBeforeFirstUse(t *testing.T) {
	hub, _ := start(t, config("hub.example"))
	fake := claim("mallory")
	fake.Bootstrap = boot(hub)
	start(t, fake)

	real := claim("biloxi") // reached by HTTPS only
	w := new(web)
	real.Offline, real.Certified, real.DirectoryURL = true, w.read, "https://biloxi.example/.well-known/mimi-protocol-directory"
	b, _ := start(t, real)

	c := config("new.example")
	c.Bootstrap, c.Certified = boot(hub), w.read
	o, _ := start(t, c)
	if r := resolves(t, o, "biloxi.example"); !r.ProviderKey.Equal(pub(fake.ProviderKey)) {
		t.Fatalf("no directory answers, so the first is believed: %+v", r)
	}
	if i := info(t, o, "biloxi.example"); i.Trust != overlay.FirstUse {
		t.Errorf("%+v", i)
	}
	w.put("biloxi.example", b.OwnRecord)
	eventually(t, "the directory corrects it", func() error {
		r, err := overlay.Lookup(o, "biloxi.example")
		if err != nil {
			return err
		}
		if !r.ProviderKey.Equal(pub(real.ProviderKey)) {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	if i := info(t, o, "biloxi.example"); i.Trust != overlay.HTTPS {
		t.Errorf("%+v", i)
	}
	// Silence takes nothing back.
	w.records.Delete("biloxi.example")
	if r, err := overlay.Lookup(o, "biloxi.example"); err != nil || !r.ProviderKey.Equal(pub(real.ProviderKey)) {
		t.Errorf("%+v, %v", r, err)
	}
}

// A provider without nodes is known and kept, and nobody tries to join by it.
func TestKnownWithoutNodes(t *testing.T) {
	w := new(web)
	b, _ := start(t, offline("biloxi.example", w))
	w.put("biloxi.example", b.OwnRecord)
	c := config("atlanta.example")
	c.KV, c.Certified = &overlay.MemoryKV{}, w.read
	a, stop := start(t, c)
	resolves(t, a, "biloxi.example")
	if _, err := a.Client().Get("http://biloxi.example/x"); !errors.Is(err, overlay.ErrUnreachable) {
		t.Errorf("over streams: %v", err)
	}
	stop()
	a, _ = start(t, c)
	if r := resolves(t, a, "biloxi.example"); len(r.Nodes) != 0 {
		t.Errorf("%+v", r)
	}
}
