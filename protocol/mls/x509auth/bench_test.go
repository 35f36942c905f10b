package x509auth_test

import (
	"fmt"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
)

// A group of n users with one client each, so that no two share a user
// certificate. "cached" has verified the user certificates before, as a server
// has that follows other rooms of the same people.

func BenchmarkGroup(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		w := newWorld(b)
		auth := authenticator(b, w.trust, 4096)
		cfg := mls.Config{Authenticator: auth}
		creator := w.device(mls.X25519AES128Ed25519, w.atlanta, edKey(b), atlanta, "creator")
		g, err := mls.CreateGroup(mls.GroupParams{LeafParams: creator.leaf()}, cfg)
		must(b, err)
		var o mls.CommitOptions
		var last *mls.PrivateKeyPackage
		for i := 1; i <= n; i++ {
			d := w.device(mls.X25519AES128Ed25519, w.atlanta, edKey(b), atlanta, fmt.Sprintf("user%d", i))
			kp, err := mls.NewKeyPackage(d.leaf(), false, nil)
			must(b, err)
			v, err := kp.KeyPackage().Verify(cfg, now)
			must(b, err)
			o.Add = append(o.Add, v)
			last = kp
		}
		o.TreeInWelcome = true
		s, err := g.Commit(o, now)
		must(b, err)
		must(b, g.Merge(s))
		info, err := g.GroupInfo(true)
		must(b, err)
		wire, welcome := info.Message().Bytes(), s.Welcome.Message().Bytes()
		for name, cache := range map[string]bool{"cached": true, "cold": false} {
			fresh := func(b *testing.B) mls.Config {
				if cache {
					return cfg
				}
				return mls.Config{Authenticator: authenticator(b, w.trust, 4096)}
			}
			b.Run(fmt.Sprintf("PublicInit/n=%d/%s", n, name), func(b *testing.B) {
				for range b.N {
					m, err := mls.ParseMessage(wire, mls.Limits{})
					must(b, err)
					_, err = mls.NewPublicGroup(m.GroupInfo, nil, fresh(b), now)
					must(b, err)
				}
				b.ReportMetric(float64(len(wire)), "groupinfo-bytes")
			})
			b.Run(fmt.Sprintf("Join/n=%d/%s", n, name), func(b *testing.B) {
				for range b.N {
					m, err := mls.ParseMessage(welcome, mls.Limits{})
					must(b, err)
					_, err = mls.JoinWelcome(m.Welcome, last, mls.JoinOptions{}, fresh(b), now)
					must(b, err)
				}
			})
		}
	}
}
