package account

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"github.com/mimid/mimid/store"
)

// A token is tokenPrefix, by which scanners of published code recognise it, and 32
// random octets.
const (
	tokenPrefix = "mimid1_"
	tokenSize   = 32
)

func newToken() (token string, h [32]byte) {
	b := make([]byte, tokenSize)
	rand.Read(b)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b), hash(tokenLabel, b)
}

func parseToken(token string) (h [32]byte, ok bool) {
	s, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(s) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return h, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return h, false
	}
	return hash(tokenLabel, b), true
}

// Authenticate says whose token it is. Problem: CodeUnauthorized.
func (r *Registry) Authenticate(_ context.Context, token string) (Identity, error) {
	h, ok := parseToken(token)
	if !ok {
		return Identity{}, unauthorized()
	}
	id, at, ok := r.tokens.get(h)
	if ok {
		return id, nil
	}
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		o, found, err := get(tx, tokenKey(h), parseOwner)
		if err != nil {
			return err
		}
		if !found {
			return unauthorized()
		}
		id, err = r.identity(o.name, o.device)
		return err
	})
	if err != nil {
		return Identity{}, fmt.Errorf("authenticating: %w", err)
	}
	r.tokens.put(h, id, at)
	return id, nil
}

// dropToken makes a token unknown: in the store with the transaction, and in
// memory before the transaction is acknowledged.
func (r *Registry) dropToken(tx *store.Tx, h [32]byte) error {
	tx.OnCommit(func() { r.tokens.drop(h) })
	return tx.Delete(tokenKey(h))
}

// tokenCache remembers recently used tokens in two generations of at most half
// the size each: what is used moves to the young one, and when that is full the
// old one goes.
type tokenCache struct {
	mu         sync.Mutex
	half       int
	young, old map[[32]byte]Identity
	drops      uint64
}

func newTokenCache(size int) *tokenCache {
	return &tokenCache{half: max(size/2, 1), young: map[[32]byte]Identity{}, old: map[[32]byte]Identity{}}
}

// get also returns the moment of the look-up, to be handed to put.
func (c *tokenCache) get(h [32]byte) (id Identity, at uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok = c.young[h]; ok {
		return id, c.drops, true
	}
	if id, ok = c.old[h]; ok {
		c.insert(h, id)
	}
	return id, c.drops, ok
}

// put remembers what was read from the store, unless any token was dropped since:
// the read may have been of the state before that.
func (c *tokenCache) put(h [32]byte, id Identity, at uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drops == at {
		c.insert(h, id)
	}
}

func (c *tokenCache) insert(h [32]byte, id Identity) {
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[[32]byte]Identity, c.half)
	}
	c.young[h] = id
}

func (c *tokenCache) drop(h [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, h)
	delete(c.old, h)
	c.drops++
}
