package contact_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
)

// BenchmarkLookupCPU is what one lookup costs the searcher's provider and the announcer
// together, with envelopes and claims verified, without wires and the DHT. To it come, in a
// network with evaluators, three times protocol/oprf.BenchmarkEvaluate/1.
func BenchmarkLookupCPU(b *testing.B) {
	w := newWorld(b, biloxi)
	free := ration.Config{PerSecond: 1e9, Burst: 1e9}
	w.add(atlanta, func(c *contact.Config) { c.Limits.Searches = free })
	w.add(chicago, func(c *contact.Config) { c.Limits.Lookups = free })
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@chicago.example")
	bob.p.run()
	if err := bob.publish("handle:bob", nil); err != nil {
		b.Fatal(err)
	}
	w.announcers("handle:bob", discovery.DayOf(w.clock()), 1)
	q := &clientapi.Discover{Secret: secret(b, "handle:bob").Bytes()}
	b.Run("lookup", func(b *testing.B) {
		for b.Loop() {
			d, err := alice.p.Discover(b.Context(), alice.who, q)
			if err != nil || len(d.Found) != 1 {
				b.Fatal(d, err)
			}
		}
	})
	b.Run("bare-p256", func(b *testing.B) { // one multiplication of a point
		k, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := k.ECDH(k.PublicKey()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
