package peering

import "sync"

// gate bounds what is in work: requests per key, and octets over all. It holds
// only keys with requests in work. Safe for concurrent use.
type gate struct {
	perKey int
	memory int64

	mu     sync.Mutex
	open   map[string]int // guarded by mu
	octets int64          // guarded by mu
}

func newGate(perKey int, memory int64) *gate {
	return &gate{perKey: perKey, memory: memory, open: map[string]int{}}
}

// enter takes a place for the key; leave gives it back.
func (g *gate) enter(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[key] >= g.perKey {
		return false
	}
	g.open[key]++
	return true
}

func (g *gate) leave(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[key]--; g.open[key] <= 0 {
		delete(g.open, key)
	}
}

// reserve takes octets of the memory; release gives them back.
func (g *gate) reserve(n int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.octets+n > g.memory {
		return false
	}
	g.octets += n
	return true
}

func (g *gate) release(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.octets -= n
}
