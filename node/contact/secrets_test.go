package contact_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/mimid/mimid/node/contact"
)

// The memory of secrets is bounded, and what was forgotten is derived again.
func TestSecretsAreBounded(t *testing.T) {
	w := newWorld(t)
	p := w.add(atlanta, func(c *contact.Config) { c.Limits.Secrets = 2 })
	alice := w.user("alice@atlanta.example")
	if err := alice.publish("handle:h0", nil); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		alice.discover(fmt.Sprintf("handle:h%d", i))
		if n := p.KnownSecrets(); n > 2 {
			t.Errorf("%d secrets are kept, at most 2", n)
		}
	}
	if got := alice.discover("handle:h0"); got != "mimi://atlanta.example/u/alice (atlanta.example, assigned) 0/0" {
		t.Errorf("after it was forgotten: %s", got)
	}
}

// Who does not wait for a place gets its context's error.
func TestPublishEnds(t *testing.T) {
	w := newWorld(t, atlanta)
	alice := w.user("alice@atlanta.example")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := alice.p.TakeDerivations()
	defer release()
	if _, err := alice.p.PublishClaim(ctx, alice.who, alice.claims("handle:x", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestConfig(t *testing.T) {
	good := newWorld(t, atlanta).ps[atlanta].cfg
	for name, change := range map[string]func(*contact.Config){
		"domain":      func(c *contact.Config) { c.Domain = "Atlanta" },
		"store":       func(c *contact.Config) { c.Store = nil },
		"feed":        func(c *contact.Config) { c.Feed = nil },
		"directory":   func(c *contact.Config) { c.Directory = nil },
		"anchors":     func(c *contact.Config) { c.Anchors = nil },
		"providerKey": func(c *contact.Config) { c.ProviderKey = nil },
	} {
		cfg := good
		change(&cfg)
		if _, err := contact.New(cfg); !errors.Is(err, contact.ErrConfig) {
			t.Errorf("without a good %s: %v", name, err)
		}
	}
}
