package mix

import (
	"time"

	"github.com/mimid/mimid/overlay"
)

// A bucket holds tokens, which come back at a rate. The zero value has none.
type bucket struct {
	tokens float64
	at     time.Time // of which tokens is true
}

// fill adds what has come back since it was looked at.
func (b *bucket) fill(now time.Time, rate, burst float64) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(burst, b.tokens+rate*d.Seconds())
		b.at = now
	}
}

// buckets say which packets are looked at: each costs a token of its peer and one of all. They cost
// no more than a look into a map, so that a flood costs its sender more than the relay.
type buckets struct {
	limits Limits
	all    bucket
	peers  map[overlay.PeerID]*bucket
	swept  time.Time
}

func newBuckets(l Limits, now time.Time) *buckets {
	return &buckets{limits: l, all: bucket{float64(l.TotalBurst), now}, peers: map[overlay.PeerID]*bucket{}}
}

// take takes a token of each, or says that there is none. A peer without tokens does not take those
// of all.
func (b *buckets) take(now time.Time, from overlay.PeerID) bool {
	rate, burst := float64(b.limits.PeerRate), float64(b.limits.PeerBurst)
	p := b.peers[from]
	if p == nil {
		if len(b.peers) >= b.limits.Peers {
			b.sweep(now)
		}
		if len(b.peers) >= b.limits.Peers {
			return false
		}
		p = &bucket{burst, now}
		b.peers[from] = p
	}
	p.fill(now, rate, burst)
	b.all.fill(now, float64(b.limits.TotalRate), float64(b.limits.TotalBurst))
	if p.tokens < 1 || b.all.tokens < 1 {
		return false
	}
	p.tokens--
	b.all.tokens--
	return true
}

// sweep forgets the peers whose buckets are full again, which is the same as never having seen them;
// once a second at most, since it looks at all.
func (b *buckets) sweep(now time.Time) {
	if now.Sub(b.swept) < time.Second {
		return
	}
	b.swept = now
	for id, p := range b.peers {
		p.fill(now, float64(b.limits.PeerRate), float64(b.limits.PeerBurst))
		if p.tokens >= float64(b.limits.PeerBurst) {
			delete(b.peers, id)
		}
	}
}
