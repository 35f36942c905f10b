package overlay

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Providers that offer to be replicas of others' rooms announce one key that all know.
// The twenty nodes next to it hold all announcements, and a search ends with the first so
// many that it meets, which differ from search to search.

const (
	willingAsked  = 8                // nodes at once that are asked whose they are
	willingWithin = 5 * time.Second  // each
	willingSearch = 12 * time.Second // altogether
)

// willingKey is what willing providers announce: SHA-256 of a label.
func willingKey() [32]byte { return sha256.Sum256([]byte("mimid willing replica v1")) }

// Willing finds providers, up to limit, that offer to be replicas of others' rooms. Any
// node can announce that; name asks one whose it is, and an error of it leaves the node
// out. What is returned are records as Resolve returns them, which say that the provider
// offers it and that the node is one of its own, by name, each once, and without this one.
// It takes about 12 seconds at most; where nobody announces it, less.
func (o *Overlay) Willing(ctx context.Context, limit int, name func(ctx context.Context, node PeerID) (domain string, err error)) []*Record {
	ctx, cancel := context.WithTimeout(ctx, willingSearch)
	defer cancel()
	var mu sync.Mutex
	var out []*Record
	var wg sync.WaitGroup
	slots := make(chan struct{}, willingAsked)
	for id := range o.Announcers(ctx, willingKey(), limit) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, willingWithin)
			defer cancel()
			rec := o.offers(ctx, id, name)
			mu.Lock()
			defer mu.Unlock()
			if rec != nil && !slices.ContainsFunc(out, func(r *Record) bool { return r.Domain == rec.Domain }) {
				out = append(out, rec)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(out, func(a, b *Record) int { return strings.Compare(a.Domain, b.Domain) })
	return out
}

// offers returns the record of the provider whose node this is, if that offers it.
func (o *Overlay) offers(ctx context.Context, id PeerID, name func(ctx context.Context, node PeerID) (string, error)) *Record {
	domain, err := name(ctx, id)
	if err == nil {
		domain, err = Canonical(domain)
	}
	if err != nil || domain == o.cfg.Domain {
		o.log.Debug("a node that offers to be a replica does not say whose it is", "peer", id, "domain", domain, "error", err)
		return nil
	}
	rec, err := o.Resolve(ctx, domain)
	if err == nil && !(rec.ReplicaWilling && rec.HasNode(id)) {
		rec, err = o.Refresh(ctx, domain) // it may have changed its mind
	}
	if err != nil || !rec.ReplicaWilling || !rec.HasNode(id) {
		o.log.Debug("a node offers to be a replica, and the record of its provider does not say so", "peer", id, "domain", domain, "error", err)
		return nil
	}
	return rec
}

// announceWilling announces that this provider offers it, until ctx ends.
func (n *running) announceWilling(ctx context.Context) {
	// Soon after a start a node knows few others, and those next to the key not yet.
	first := []time.Duration{time.Minute, 10 * time.Minute}
	retry := time.Second
	for {
		wait := announceEvery - rand.N(announceEvery/4)
		switch err := n.provide(ctx, willingKey()); {
		case err != nil:
			wait, retry = retry, min(2*retry, announceRetry)
		case len(first) > 0:
			wait, first = first[0], first[1:]
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
