package onion_test

import (
	"crypto/ecdh"
	"crypto/hpke"
	"testing"

	"github.com/mimid/mimid/protocol/onion"
)

// BenchmarkUnwrap is one hop's work for a packet of 8 KiB, beside what HPKE alone costs, which no
// packet can do without.
func BenchmarkUnwrap(b *testing.B) {
	for _, c := range []struct {
		suite onion.Suite
		kem   hpke.KEM
	}{{onion.X25519, hpke.DHKEM(ecdh.X25519())}, {onion.XWing, hpke.MLKEM768X25519()}} {
		b.Run(c.suite.String()+"/HPKE", func(b *testing.B) {
			key, err := c.kem.GenerateKey()
			if err != nil {
				b.Fatal(err)
			}
			enc, _, err := hpke.NewSender(key.PublicKey(), hpke.HKDFSHA256(), hpke.ExportOnly(), nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				r, err := hpke.NewRecipient(enc, key, hpke.HKDFSHA256(), hpke.ExportOnly(), nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := r.Export("hop", 32); err != nil {
					b.Fatal(err)
				}
			}
		})
		f := onion.Format{Suite: c.suite, Class: onion.Class8K}
		nodes := newNodes(b, c.suite, 4)
		packet := must[[]byte](b)(f.Build(epoch, path(nodes), onion.Mailbox{}, make([]byte, 8000)))
		b.Run(c.suite.String()+"/8K", func(b *testing.B) {
			b.SetBytes(int64(len(packet)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Unwrap(nodes[0].ring, packet); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBuild is the sender's work for four hops and 8 KiB.
func BenchmarkBuild(b *testing.B) {
	for _, s := range []onion.Suite{onion.X25519, onion.XWing} {
		b.Run(s.String(), func(b *testing.B) {
			f, nodes := onion.Format{Suite: s, Class: onion.Class8K}, path(newNodes(b, s, 4))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Build(epoch, nodes, onion.Mailbox{}, make([]byte, 8000)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestAllocations: Unwrap allocates beside HPKE's own a bounded number of times, none of which a
// peer can make larger; and a packet that is refused early costs none but its error.
func TestAllocations(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 4)
	packet := must[[]byte](t)(medium.Build(epoch, path(nodes), onion.Mailbox{}, make([]byte, 8000)))
	good := testing.AllocsPerRun(20, func() {
		if _, err := medium.Unwrap(nodes[0].ring, packet); err != nil {
			t.Fatal(err)
		}
	})
	bad := append([]byte(nil), packet...)
	bad[100] ^= 1
	forged := testing.AllocsPerRun(20, func() {
		if _, err := medium.Unwrap(nodes[0].ring, bad); err == nil {
			t.Fatal("unwrapped")
		}
	})
	short := testing.AllocsPerRun(20, func() {
		if _, err := medium.Unwrap(nodes[0].ring, packet[1:]); err == nil {
			t.Fatal("unwrapped")
		}
	})
	kem := hpke.DHKEM(ecdh.X25519())
	key := must[hpke.PrivateKey](t)(kem.GenerateKey())
	enc, _, err := hpke.NewSender(key.PublicKey(), hpke.HKDFSHA256(), hpke.ExportOnly(), nil)
	if err != nil {
		t.Fatal(err)
	}
	bare := testing.AllocsPerRun(20, func() {
		if _, err := must[*hpke.Recipient](t)(hpke.NewRecipient(enc, key, hpke.HKDFSHA256(), hpke.ExportOnly(), nil)).Export("hop", 32); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("beside HPKE's %v: %v allocations for a good packet, %v for a forged one; %v in all for a short one", bare, good-bare, forged-bare, short)
	if good-bare > 80 || forged > good || short > 8 {
		t.Errorf("beside HPKE's %v: %v allocations for a good packet, %v for a forged one; %v in all for a short one", bare, good-bare, forged-bare, short)
	}
}
