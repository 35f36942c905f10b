package mls_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
)

// Benchmarks of BENCHMARKS.md. A group of n members is made by one commit that
// adds all; then every 32nd member commits ("warm"), as in a group that lives.
// Sizes beyond 1,000 show the growth; -short leaves them out.

var benchSizes = []int{2, 10, 100, 1000, 10000}

type benchGroup struct {
	creator *mls.Group // leaf 0
	other   *mls.Group // the last leaf
	server  *mls.PublicGroup
}

var (
	benchMu     sync.Mutex
	benchGroups = map[int]*benchGroup{}
)

// warmGroup returns the group of n members; it is shared between benchmarks,
// which must leave it as it was.
func warmGroup(b *testing.B, n int) *benchGroup {
	b.Helper()
	if n > 1000 && testing.Short() {
		b.Skip("large group left out by -short")
	}
	benchMu.Lock()
	defer benchMu.Unlock()
	if g := benchGroups[n]; g != nil {
		return g
	}
	suite := mls.X25519AES128Ed25519
	creator, err := mls.CreateGroup(mls.GroupParams{LeafParams: leafParams(b, suite, "creator")}, benchConfig())
	must(b, err)
	info, err := creator.GroupInfo(true)
	must(b, err)
	server, err := mls.NewPublicGroup(info, nil, benchConfig(), now)
	must(b, err)
	g := &benchGroup{creator: creator, server: server}
	var o mls.CommitOptions
	privs := make([]*mls.PrivateKeyPackage, n)
	for i := 1; i < n; i++ {
		p, v := keyPackage(b, suite, fmt.Sprintf("member %d", i))
		o.Add = append(o.Add, v)
		privs[i] = p
	}
	s, err := creator.Commit(o, now)
	must(b, err)
	g.follow(b, s)
	must(b, creator.Merge(s))
	if n <= 1000 {
		g.other, err = mls.JoinWelcome(s.Welcome, privs[n-1], mls.JoinOptions{Tree: server.Tree()}, benchConfig(), now)
		must(b, err)
	} else {
		g.other = mls.MemberFrom(creator, privs[n-1])
	}
	g.commitAs(b, g.other)
	g.commitAs(b, creator)
	for i := 32; i < n-1; i += 32 {
		g.commitAs(b, mls.MemberFrom(creator, privs[i]))
	}
	benchGroups[n] = g
	return g
}

// commitAs lets a member commit, and creator, other and server follow.
func (g *benchGroup) commitAs(b *testing.B, m *mls.Group) {
	b.Helper()
	c, err := m.Commit(mls.CommitOptions{}, now)
	must(b, err)
	g.follow(b, c)
	for _, x := range []*mls.Group{g.creator, g.other} {
		if x == m {
			must(b, x.Merge(c))
			continue
		}
		r, err := x.Process(c.Message, now)
		must(b, err)
		must(b, x.Apply(r))
	}
}

func (g *benchGroup) follow(b *testing.B, s *mls.StagedCommit) {
	b.Helper()
	c, err := g.server.Process(s.Message.Public, s.GroupInfo, now)
	must(b, err)
	must(b, g.server.Apply(c))
}

func benchConfig() mls.Config {
	c := config()
	c.Limits.Proposals = 1 << 14
	return c
}

func sizes(b *testing.B, f func(b *testing.B, g *benchGroup)) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) { f(b, warmGroup(b, n)) })
	}
}

// BenchmarkPublicCommit: what a server does for one warm commit, from bytes to
// the applied change. Applying is part of it, so every iteration has a server
// of its own, loaded outside the clock.
func BenchmarkPublicCommit(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		s, err := g.creator.Commit(mls.CommitOptions{}, now)
		must(b, err)
		msg, info := s.Message.Bytes(), s.GroupInfo.Message().Bytes()
		parts := disk{}
		srv := g.server
		parts.write(mls.PublicParts(srv))
		b.ResetTimer()
		b.ReportMetric(float64(len(msg)), "commit-bytes")
		for range b.N {
			m, err := mls.ParseMessage(msg, mls.Limits{})
			must(b, err)
			i, err := mls.ParseMessage(info, mls.Limits{})
			must(b, err)
			c, err := srv.Process(m.Public, i.GroupInfo, now)
			must(b, err)
			undo := mls.Snapshot(srv)
			must(b, srv.Apply(c))
			b.StopTimer()
			undo()
			b.StartTimer()
		}
	})
}

// BenchmarkPublicInit: start following from a GroupInfo with its tree.
func BenchmarkPublicInit(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		i, err := g.creator.GroupInfo(true)
		must(b, err)
		info := i.Message().Bytes()
		b.ResetTimer()
		b.ReportMetric(float64(len(info)), "groupinfo-bytes")
		for range b.N {
			m, err := mls.ParseMessage(info, mls.Limits{})
			must(b, err)
			_, err = mls.NewPublicGroup(m.GroupInfo, nil, benchConfig(), now)
			must(b, err)
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		for range b.N {
			_, err := g.creator.Commit(mls.CommitOptions{}, now)
			must(b, err)
		}
	})
}

// BenchmarkMergeOwn: enter the epoch of an own commit.
func BenchmarkMergeOwn(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		s, err := g.creator.Commit(mls.CommitOptions{}, now)
		must(b, err)
		parts := disk{}
		parts.write(mls.AllParts(g.creator))
		staged, err := s.Bytes()
		must(b, err)
		b.ResetTimer()
		for range b.N {
			b.StopTimer()
			m, err := mls.LoadGroup(maps.All(parts), benchConfig())
			must(b, err)
			s, err := m.LoadStaged(staged)
			must(b, err)
			b.StartTimer()
			must(b, m.Merge(s))
		}
	})
}

// BenchmarkReceiveCommit: verify and decrypt another's warm commit, up to the
// point where it could be merged.
func BenchmarkReceiveCommit(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		s, err := g.creator.Commit(mls.CommitOptions{}, now)
		must(b, err)
		msg := s.Message.Bytes()
		b.ResetTimer()
		for range b.N {
			m, err := mls.ParseMessage(msg, mls.Limits{})
			must(b, err)
			_, err = g.other.Process(m, now)
			must(b, err)
		}
	})
}

func BenchmarkAddCommit(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		_, v := keyPackage(b, mls.X25519AES128Ed25519, "new")
		for range b.N {
			_, err := g.creator.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{v}}, now)
			must(b, err)
		}
	})
}

func BenchmarkRemoveCommit(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		for range b.N {
			_, err := g.creator.Commit(mls.CommitOptions{Remove: []mls.LeafIndex{g.other.OwnLeaf()}}, now)
			must(b, err)
		}
	})
}

// BenchmarkJoin: by Welcome, with the tree inside.
func BenchmarkJoin(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		p, v := keyPackage(b, mls.X25519AES128Ed25519, "new")
		s, err := g.creator.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{v}, TreeInWelcome: true}, now)
		must(b, err)
		w := s.Welcome.Message().Bytes()
		b.ResetTimer()
		b.ReportMetric(float64(len(w)), "welcome-bytes")
		for range b.N {
			m, err := mls.ParseMessage(w, mls.Limits{})
			must(b, err)
			_, err = mls.JoinWelcome(m.Welcome, p, mls.JoinOptions{}, benchConfig(), now)
			must(b, err)
		}
	})
}

func BenchmarkExternalCommit(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		i, err := g.creator.GroupInfo(true)
		must(b, err)
		info := i.Message().Bytes()
		p := leafParams(b, mls.X25519AES128Ed25519, "joiner")
		b.ResetTimer()
		for range b.N {
			m, err := mls.ParseMessage(info, mls.Limits{})
			must(b, err)
			_, err = mls.ExternalCommit(m.GroupInfo, mls.ExternalOptions{LeafParams: p}, benchConfig(), now)
			must(b, err)
		}
	})
}

func BenchmarkReceiveExternal(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		i, err := g.creator.GroupInfo(true)
		must(b, err)
		s, err := mls.ExternalCommit(i, mls.ExternalOptions{LeafParams: leafParams(b, mls.X25519AES128Ed25519, "joiner")}, benchConfig(), now)
		must(b, err)
		b.ResetTimer()
		for range b.N {
			_, err := g.creator.Process(s.Message, now)
			must(b, err)
		}
	})
}

// BenchmarkEncrypt and BenchmarkDecrypt: 1 KiB application messages.
func BenchmarkEncrypt(b *testing.B) {
	data := make([]byte, 1024)
	sizes(b, func(b *testing.B, g *benchGroup) {
		// A member of its own: others could not follow so many generations.
		parts := disk{}
		parts.write(mls.AllParts(g.creator))
		m, err := mls.LoadGroup(maps.All(parts), benchConfig())
		must(b, err)
		b.SetBytes(int64(len(data)))
		b.ResetTimer()
		for range b.N {
			_, err := m.Encrypt(data, mls.SendOptions{})
			must(b, err)
		}
	})
}

func BenchmarkDecrypt(b *testing.B) {
	data := make([]byte, 1024)
	sizes(b, func(b *testing.B, g *benchGroup) {
		b.SetBytes(int64(len(data)))
		for range b.N {
			b.StopTimer()
			m, err := g.creator.Encrypt(data, mls.SendOptions{})
			must(b, err)
			wire := m.Bytes()
			b.StartTimer()
			m, err = mls.ParseMessage(wire, mls.Limits{})
			must(b, err)
			_, err = g.other.Process(m, now)
			must(b, err)
		}
	})
}

// BenchmarkBareSeal and BenchmarkBareOpen are what Encrypt and Decrypt cannot
// do without: one AES-128-GCM operation over 1 KiB and one Ed25519 signature or
// verification of as much.
func BenchmarkBareSeal(b *testing.B) {
	data := make([]byte, 1024)
	_, priv, err := ed25519.GenerateKey(nil)
	must(b, err)
	b.SetBytes(int64(len(data)))
	for range b.N {
		sig := ed25519.Sign(priv, data)
		bareAEAD(b).Seal(nil, make([]byte, 12), append(data, sig...), nil)
	}
}

func BenchmarkBareOpen(b *testing.B) {
	data := make([]byte, 1024)
	pub, priv, err := ed25519.GenerateKey(nil)
	must(b, err)
	sig := ed25519.Sign(priv, data)
	ct := bareAEAD(b).Seal(nil, make([]byte, 12), data, nil)
	b.SetBytes(int64(len(data)))
	for range b.N {
		pt, err := bareAEAD(b).Open(nil, make([]byte, 12), ct, nil)
		must(b, err)
		if !ed25519.Verify(pub, pt, sig) {
			b.Fatal("signature")
		}
	}
}

func bareAEAD(b *testing.B) cipher.AEAD {
	block, err := aes.NewCipher(make([]byte, 16))
	must(b, err)
	a, err := cipher.NewGCM(block)
	must(b, err)
	return a
}

func BenchmarkSaveLoad(b *testing.B) {
	sizes(b, func(b *testing.B, g *benchGroup) {
		parts := disk{}
		n := parts.write(mls.AllParts(g.creator))
		b.ResetTimer()
		b.ReportMetric(float64(n), "state-bytes")
		for range b.N {
			_, err := mls.LoadGroup(maps.All(parts), benchConfig())
			must(b, err)
		}
	})
}

func BenchmarkKeyPackage(b *testing.B) {
	for _, suite := range suites {
		p := leafParams(b, suite, "client")
		b.Run(fmt.Sprintf("suite=%d/generate", suite), func(b *testing.B) {
			for range b.N {
				_, err := mls.NewKeyPackage(p, false, nil)
				must(b, err)
			}
		})
		kp, err := mls.NewKeyPackage(p, false, nil)
		must(b, err)
		wire := kp.KeyPackage().Bytes()
		b.Run(fmt.Sprintf("suite=%d/verify", suite), func(b *testing.B) {
			for range b.N {
				k, err := mls.ParseKeyPackage(wire, mls.Limits{})
				must(b, err)
				_, err = k.Verify(mls.Config{Authenticator: mls.AcceptBasic{}}, now)
				must(b, err)
			}
		})
	}
}
