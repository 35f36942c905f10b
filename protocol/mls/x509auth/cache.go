package x509auth

import (
	"container/list"
	"crypto"
	"crypto/sha256"
	"sync"
)

// cacheKey names the fact that one key signed one certificate.
type cacheKey [sha256.Size]byte

// cacheKeyOf computes the key:
//
//	SHA-256(kind || anchor key || SHA-256(DER))
//
// kind is 'e' or 'p' and fixes the length of the anchor key, 32 or 65 bytes, so
// no two facts have the same input. It returns false for an anchor that can
// sign nothing here.
func cacheKeyOf(anchor crypto.PublicKey, certificate [sha256.Size]byte) (cacheKey, bool) {
	raw, ok := keyBytes(anchor)
	if !ok {
		return cacheKey{}, false
	}
	var buf [1 + 65 + sha256.Size]byte
	kind := byte('p')
	if len(raw) == 32 {
		kind = 'e'
	}
	b := append(append(append(buf[:0], kind), raw...), certificate[:]...)
	return sha256.Sum256(b), true
}

// cache remembers user certificates that were verified, a bounded number, the
// most recently used ones. Statements in it are never changed.
type cache struct {
	limit int

	mu    sync.Mutex // held for a map access, never for a signature
	items map[cacheKey]*list.Element
	order list.List // of cached, most recently used first
}

type cached struct {
	key cacheKey
	s   *statement
}

func newCache(limit int) *cache {
	return &cache{limit: limit, items: map[cacheKey]*list.Element{}}
}

// get returns nil if the fact is not known.
func (c *cache) get(k cacheKey) *statement {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[k]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(cached).s
}

// put remembers a fact. Two goroutines may have found the same one out at the
// same time; the second changes nothing.
func (c *cache) put(k cacheKey, s *statement) {
	if c.limit == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items[k] != nil {
		return
	}
	if c.order.Len() >= c.limit {
		last := c.order.Back()
		delete(c.items, c.order.Remove(last).(cached).key)
	}
	c.items[k] = c.order.PushFront(cached{k, s})
}

func (c *cache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
