package compromise

import (
	"math"
	"time"

	"github.com/mimid/mimid/protocol/onion/relays"
)

// together is how likely k relays that are drawn from n, no one twice, are all among the hostile ones: f to the power of k, if there
// are many.
func together(k, hostile, n int) float64 {
	p := 1.0
	for i := range k {
		p *= float64(max(hostile-i, 0)) / float64(n-i)
	}
	return p
}

// chance is how likely a packet meets hostile relays only.
func chance(entry string, hostile, n int) float64 {
	if entry == none {
		return together(relays.Layers, hostile, n)
	}
	return together(relays.Layers+1, hostile, n)
}

// repeated is how likely something happens in one of n independent attempts.
func repeated(p float64, n int) float64 {
	if p >= 1 {
		return 1
	}
	return -math.Expm1(float64(n) * math.Log1p(-p))
}

// ever is how likely a user has a packet with hostile relays only, after all packets: 1-(1-p)^n where relays are drawn anew. Where
// the entry stays, it has to be hostile first: f (1-(1-f^3)^n), in each time for which an entry stays.
//
// It takes packets to be independent. Those of one epoch are drawn among the same relays, of which by chance more are hostile or fewer, so that with few
// epochs it is a little less.
func ever(entry string, hostile int, p Parameters) float64 {
	if entry != pinned {
		return repeated(chance(entry, hostile, p.Relays), p.Messages)
	}
	first := float64(hostile) / float64(p.Relays)
	if first == 0 {
		return 0
	}
	given := chance(pinned, hostile, p.Relays) / first
	never, each := 1.0, p.Messages/p.Epochs
	sent, since := 0, time.Duration(0)
	for k := range p.Epochs {
		at := p.Lasts.D() * time.Duration(k) / time.Duration(p.Epochs)
		if at-since >= relays.PinFor {
			never *= 1 - first*repeated(given, sent)
			sent, since = 0, at
		}
		sent += each
	}
	return 1 - never*(1-first*repeated(given, sent))
}
