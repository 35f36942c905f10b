package client

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"slices"
	"sync"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// providerRecord is what was seen first of a provider, or followed from it.
type providerRecord struct {
	Domain string
	Keys   [][]byte
	Trust  string
	// Franking is the key of the provider's franks, if it has told.
	Franking []byte `json:",omitempty"`
}

// trust knows the providers' keys. The first one seen counts; later ones only if
// one that is known stands beside them, so that an exchange of all keys at once
// is shown and not believed. Safe for concurrent use, because certificates are
// verified on all cores.
type trust struct {
	mu     sync.Mutex
	known  map[string]*providerRecord
	wanted map[string]bool // domains that were asked for in vain
}

// anchors is the x509auth.Anchors.
func (t *trust) anchors(domain string) []crypto.PublicKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.known[domain]
	if p == nil {
		if len(t.wanted) < 256 {
			t.wanted[domain] = true
		}
		return nil
	}
	var out []crypto.PublicKey
	for _, k := range p.Keys {
		out = append(out, ed25519.PublicKey(k))
	}
	return out
}

func (t *trust) knows(domain string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[domain] != nil
}

// is says whether a key is one of the domain's.
func (t *trust) is(domain string, key []byte) bool {
	return slices.ContainsFunc(t.anchors(domain), func(k crypto.PublicKey) bool {
		return bytes.Equal(k.(ed25519.PublicKey), key)
	})
}

// replica returns a provider as a replica of a room; false if too little is known of
// it, and then it is looked up.
func (t *trust) replica(domain string) (room.Replica, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.known[domain]
	if p == nil || len(p.Franking) == 0 {
		if len(t.wanted) < 256 {
			t.wanted[domain] = true
		}
		return room.Replica{}, false
	}
	x := room.Replica{Domain: domain, FrankingKey: p.Franking}
	copy(x.ProviderKey[:], p.Keys[0])
	return x, true
}

// missing returns the domains to look up, in order.
func (t *trust) missing() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for d := range t.wanted {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}

// refresh has all providers looked up again: one may have a new key.
func (t *trust) refresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for d := range t.known {
		t.wanted[d] = true
	}
}

// drop gives up looking a domain up until it is asked for again.
func (t *trust) drop(domain string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.wanted, domain)
}

// learn takes what the own provider says of another. Error: ErrProviderKey.
func (t *trust) learn(b *batch, p *clientapi.Provider) error {
	keys := [][]byte{p.Key}
	for _, k := range p.Keys {
		if !slices.ContainsFunc(keys, func(o []byte) bool { return bytes.Equal(o, k) }) {
			keys = append(keys, k)
		}
	}
	if len(keys) > 16 {
		return fmt.Errorf("provider %.100q has %d keys: %w", p.Domain, len(keys), ErrProtocol)
	}
	for _, k := range keys {
		if len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("key of provider %.100q has %d octets: %w", p.Domain, len(k), ErrProtocol)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.known[p.Domain]; old != nil && !slices.ContainsFunc(old.Keys, func(o []byte) bool {
		return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(o, k) })
	}) {
		return fmt.Errorf("%s has key %x now, %x was seen before: ask its operator: %w", p.Domain, keys[0][:8], old.Keys[0][:8], ErrProviderKey)
	}
	rec := &providerRecord{Domain: p.Domain, Keys: keys, Trust: p.Trust, Franking: p.FrankingKey}
	t.known[p.Domain] = rec
	delete(t.wanted, p.Domain)
	b.put(tableProvider, "provider "+p.Domain, rec)
	return nil
}

// lookUp fetches the keys of a domain.
func (c *Client) lookUp(ctx context.Context, domain string) (*clientapi.Provider, error) {
	d, err := uri.ParseDomain(domain)
	if err != nil {
		return nil, fmt.Errorf("looking up provider: %w", err)
	}
	p := new(clientapi.Provider)
	if err := c.api.call(ctx, "GET", "/v1/providers/"+d.Domain(), nil, p); err != nil {
		return nil, fmt.Errorf("looking up provider %s: %w", d.Domain(), err)
	}
	if p.Domain != d.Domain() {
		return nil, fmt.Errorf("asked for provider %s, got %.100q: %w", d.Domain(), p.Domain, ErrProtocol)
	}
	return p, nil
}

// know looks a provider up unless it is known.
func (c *Client) know(ctx context.Context, domain string) error {
	if c.trust.knows(domain) {
		return nil
	}
	return c.knowAgain(ctx, domain)
}

// knowAgain looks a provider up, known or not. One that is lost is an error, although its
// keys are known then: whoever asks wants something of it.
func (c *Client) knowAgain(ctx context.Context, domain string) error {
	p, err := c.lookUp(ctx, domain)
	if err != nil {
		return err
	}
	err = c.do(ctx, func() (error, error) { return nil, c.learn(p) })
	if err == nil && p.Lost != "" {
		return &clientapi.Problem{Status: 502, Code: clientapi.CodeUnknownProvider, Detail: p.Lost}
	}
	return err
}

// learn makes what lookUp found count, on the loop.
func (c *Client) learn(p *clientapi.Provider) error {
	b := new(batch)
	if err := c.trust.learn(b, p); err != nil {
		c.trust.drop(p.Domain)
		c.emit(Problem{Err: err})
		return nil
	}
	// Nothing has been stored yet, but what rests on it is only stored later.
	return c.commit(b)
}

// noteUsers compares the users' keys in leaves with those seen before.
func (c *Client) noteUsers(b *batch, r *roomState, leaves []*mls.LeafNode) {
	for _, l := range leaves {
		c.noteCredential(b, r, l.Credential)
	}
}

func (c *Client) noteCredential(b *batch, r *roomState, cred mls.Credential) {
	name, err := x509auth.UserURI(cred)
	if err != nil {
		return
	}
	old, known := c.users[name]
	if known {
		changed, err := x509auth.UserKeyChanged(old, cred)
		if err != nil || !changed {
			return
		}
		if u, err := uri.ParseUser(name); err == nil {
			b.tell(UserKeyChanged{Room: r.uri, User: u})
		}
	}
	c.users[name] = cred
	b.put(tableUser, name, cred.Certificates)
}

func (c *Client) config() mls.Config { return room.Config(c.auth) }
