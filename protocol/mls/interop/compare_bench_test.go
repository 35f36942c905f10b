package interop

import (
	"bytes"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/thomas-vilte/mls-go/framing"
	"github.com/thomas-vilte/mls-go/group"

	"github.com/mimid/mimid/protocol/mls"
)

// Benchmarks beside mls-go, suite 1, on the same groups and the same bytes. A
// group of n has two mls-go members, leaves 1 and n-1; the others are ours. All
// were added in one commit; then up to 32 members spread over the tree and the
// four that are measured committed ("warm").
//
// What is measured goes from message bytes to message bytes on both sides,
// with the work that the other side leaves to a second call. mls-go has no
// public observer to compare our PublicGroup with.

const benchSuite = 1

type benchPair struct {
	ours, ourOther map[string][]byte // parts of leaves 0 and n-2
	gos, goOther   *goState          // leaves 1 and n-1
	info           []byte            // GroupInfo with tree
}

// goState is an mls-go member that can be copied.
type goState struct {
	m     *MLSGoMember
	state []byte
}

func (s *goState) load(b *testing.B) *MLSGoMember {
	b.Helper()
	g, err := group.UnmarshalGroupState(s.state)
	benchCheck(b, err)
	m := *s.m
	m.g = g
	return &m
}

func benchCheck(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func benchConfig() mls.Config { return mls.Config{Authenticator: mls.AcceptBasic{}} }

func loadOurs(b *testing.B, parts map[string][]byte) *mls.Group {
	b.Helper()
	g, err := mls.LoadGroup(maps.All(parts), benchConfig())
	benchCheck(b, err)
	return g
}

var benchPairs = map[int]*benchPair{}

// pairOf makes the group of n, once.
func pairOf(b *testing.B, n int) *benchPair {
	b.Helper()
	if p := benchPairs[n]; p != nil {
		return p
	}
	creator, err := newOurs("creator", benchSuite, LeafOptions{})
	benchCheck(b, err)
	benchCheck(b, creator.create([]byte("bench"), nil))
	gos := map[int]*goMember{}
	ours := map[int]*ourMember{}
	var o commitOptions
	for i := 1; i < n; i++ {
		var m member
		if i == 1 || i == n-1 {
			g, err := newGo(fmt.Sprint(i), benchSuite)
			benchCheck(b, err)
			gos[i], m = g, g
		} else {
			x, err := newOurs(fmt.Sprint(i), benchSuite, LeafOptions{})
			benchCheck(b, err)
			ours[i], m = x, x
		}
		kp, err := m.keyPackage()
		benchCheck(b, err)
		o.proposals = append(o.proposals, Proposal{Add: kp})
	}
	c, err := creator.commit(o)
	benchCheck(b, err)
	tree := creator.g.Public().Tree()
	present := []member{creator}
	enter := func(m member) {
		b.Helper()
		if x, ok := m.(*ourMember); ok {
			// Not through bytes: parsing the tree for everybody takes long.
			w, err := parseOurs(c.Welcome)
			benchCheck(b, err)
			x.g, err = mls.JoinWelcome(w.Welcome, x.packages[0], mls.JoinOptions{Tree: tree}, x.config(), time.Now())
			benchCheck(b, err)
		} else {
			benchCheck(b, m.join(c.Welcome, nil))
		}
		present = append(present, m)
	}
	enter(gos[1])
	enter(ours[n-2])
	enter(gos[n-1])
	for k := range 32 {
		i := k*n/32 + n/64
		if m := ours[i]; m != nil && m.g == nil {
			enter(m)
		}
	}
	for _, m := range present {
		c, err := m.commit(commitOptions{})
		benchCheck(b, err)
		for _, x := range present {
			if x != m {
				_, err := x.process(c.Message)
				benchCheck(b, err)
			}
		}
	}
	p := &benchPair{}
	save := func(m *ourMember) map[string][]byte {
		benchCheck(b, m.restart())
		return m.disk
	}
	p.ours, p.ourOther = save(creator), save(ours[n-2])
	for to, m := range map[**goState]*goMember{&p.gos: gos[1], &p.goOther: gos[n-1]} {
		if !bytes.Equal(m.m.GroupContext(), creator.g.Public().Context().Bytes()) {
			b.Fatal("the members of the benchmark disagree")
		}
		state, err := m.m.g.MarshalState()
		benchCheck(b, err)
		*to = &goState{m.m, state}
	}
	p.info, err = creator.groupInfo(true)
	benchCheck(b, err)
	benchPairs[n] = p
	return p
}

// compare runs both sides for every size. What a side prepares before the
// function it returns is not measured.
func compare(b *testing.B, ours, theirs func(b *testing.B, p *benchPair)) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			p := pairOf(b, n)
			b.Run("mimid", func(b *testing.B) { ours(b, p) })
			b.Run("mls-go", func(b *testing.B) { theirs(b, p) })
		})
	}
}

// BenchmarkCommit: a commit with a path and no proposals, up to its bytes. Ours
// signs a GroupInfo for it as well.
func BenchmarkCommit(b *testing.B) {
	compare(b, func(b *testing.B, p *benchPair) {
		g := loadOurs(b, p.ours)
		b.ResetTimer()
		for range b.N {
			s, err := g.Commit(mls.CommitOptions{}, time.Now())
			benchCheck(b, err)
			s.Message.Bytes()
		}
	}, func(b *testing.B, p *benchPair) {
		m := p.gos.load(b)
		b.ResetTimer()
		for range b.N {
			_, err := m.StageCommit(MLSGoCommit{})
			benchCheck(b, err)
			b.StopTimer()
			benchCheck(b, m.g.DiscardPendingCommit())
			b.StartTimer()
		}
	})
}

// BenchmarkReceiveCommit: another's commit with a path, from its bytes to the
// new epoch. The committer is ours in both cases.
func BenchmarkReceiveCommit(b *testing.B) {
	run := func(b *testing.B, p *benchPair, receive func(message []byte) error) {
		from := loadOurs(b, p.ours)
		b.ResetTimer()
		for range b.N {
			b.StopTimer()
			s, err := from.Commit(mls.CommitOptions{}, time.Now())
			benchCheck(b, err)
			benchCheck(b, from.Merge(s))
			message := s.Message.Bytes()
			b.StartTimer()
			benchCheck(b, receive(message))
		}
	}
	compare(b, func(b *testing.B, p *benchPair) {
		g := loadOurs(b, p.ourOther)
		run(b, p, func(message []byte) error {
			m, err := mls.ParseMessage(message, mls.Limits{})
			if err != nil {
				return err
			}
			r, err := g.Process(m, time.Now())
			if err != nil {
				return err
			}
			return g.Apply(r)
		})
	}, func(b *testing.B, p *benchPair) {
		run(b, p, p.goOther.load(b).Process)
	})
}

// BenchmarkAdd: a commit that adds one member, merged, and the Welcome with the
// tree for it.
func BenchmarkAdd(b *testing.B) {
	newcomer := func(b *testing.B) []byte {
		m, err := newOurs("newcomer", benchSuite, LeafOptions{})
		benchCheck(b, err)
		kp, err := m.keyPackage()
		benchCheck(b, err)
		return kp
	}
	compare(b, func(b *testing.B, p *benchPair) {
		kp := newcomer(b)
		b.ResetTimer()
		for range b.N {
			b.StopTimer()
			g := loadOurs(b, p.ours)
			b.StartTimer()
			m, err := mls.ParseMessage(kp, mls.Limits{})
			benchCheck(b, err)
			k, err := m.KeyPackage.Verify(mls.Config{Authenticator: mls.AcceptBasic{}}, time.Now())
			benchCheck(b, err)
			s, err := g.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{k}, TreeInWelcome: true}, time.Now())
			benchCheck(b, err)
			s.Message.Bytes()
			s.Welcome.Message().Bytes()
			benchCheck(b, g.Merge(s))
		}
	}, func(b *testing.B, p *benchPair) {
		kp := newcomer(b)
		b.ResetTimer()
		for range b.N {
			b.StopTimer()
			m := p.gos.load(b)
			b.StartTimer()
			_, welcome, err := m.Commit(MLSGoCommit{Add: [][]byte{kp}})
			benchCheck(b, err)
			if welcome == nil {
				b.Fatal("no Welcome")
			}
		}
	})
}

// BenchmarkJoin: by a Welcome with the tree inside, made by ours. Both engines
// get the same bytes.
func BenchmarkJoin(b *testing.B) {
	type joiner struct {
		welcome []byte
		ours    *mls.PrivateKeyPackage
		gos     *MLSGoMember
	}
	joiners := map[*benchPair]*joiner{}
	prepare := func(b *testing.B, p *benchPair) *joiner {
		b.Helper()
		if j := joiners[p]; j != nil {
			return j
		}
		us, err := newOurs("joiner", benchSuite, LeafOptions{})
		benchCheck(b, err)
		they, err := newGo("other joiner", benchSuite)
		benchCheck(b, err)
		var o mls.CommitOptions
		o.TreeInWelcome = true
		for _, m := range []member{us, they} {
			kp, err := m.keyPackage()
			benchCheck(b, err)
			k, err := parseOurs(kp)
			benchCheck(b, err)
			v, err := k.KeyPackage.Verify(mls.Config{Authenticator: mls.AcceptBasic{}}, time.Now())
			benchCheck(b, err)
			o.Add = append(o.Add, v)
		}
		s, err := loadOurs(b, p.ours).Commit(o, time.Now())
		benchCheck(b, err)
		joiners[p] = &joiner{s.Welcome.Message().Bytes(), us.packages[0], they.m}
		return joiners[p]
	}
	compare(b, func(b *testing.B, p *benchPair) {
		j := prepare(b, p)
		b.ResetTimer()
		for range b.N {
			m, err := mls.ParseMessage(j.welcome, mls.Limits{})
			benchCheck(b, err)
			_, err = mls.JoinWelcome(m.Welcome, j.ours, mls.JoinOptions{}, benchConfig(), time.Now())
			benchCheck(b, err)
		}
	}, func(b *testing.B, p *benchPair) {
		j := prepare(b, p)
		kp := j.gos.packages[0]
		b.ResetTimer()
		for range b.N {
			m, err := framing.UnmarshalMLSMessage(j.welcome)
			benchCheck(b, err)
			w, err := group.UnmarshalWelcome(m.Welcome)
			benchCheck(b, err)
			_, err = group.JoinFromWelcome(w, kp.kp, kp.priv, nil)
			benchCheck(b, err)
		}
	})
}

// BenchmarkExternalJoin: making an external commit from a GroupInfo's bytes,
// and the state of the new member.
func BenchmarkExternalJoin(b *testing.B) {
	compare(b, func(b *testing.B, p *benchPair) {
		m, err := newOurs("joiner", benchSuite, LeafOptions{})
		benchCheck(b, err)
		b.ResetTimer()
		for range b.N {
			i, err := mls.ParseMessage(p.info, mls.Limits{})
			benchCheck(b, err)
			s, err := mls.ExternalCommit(i.GroupInfo, mls.ExternalOptions{LeafParams: m.params}, benchConfig(), time.Now())
			benchCheck(b, err)
			s.Message.Bytes()
			_, err = s.Join()
			benchCheck(b, err)
		}
	}, func(b *testing.B, p *benchPair) {
		m, err := NewMLSGoMember(benchSuite, []byte("joiner"))
		benchCheck(b, err)
		b.ResetTimer()
		for range b.N {
			_, err := m.ExternalJoin(p.info, nil)
			benchCheck(b, err)
		}
	})
}

// BenchmarkEncrypt: an application message of 1 KiB, up to its bytes.
func BenchmarkEncrypt(b *testing.B) {
	data := make([]byte, 1024)
	compare(b, func(b *testing.B, p *benchPair) {
		g := loadOurs(b, p.ours)
		b.ResetTimer()
		for range b.N {
			m, err := g.Encrypt(data, mls.SendOptions{})
			benchCheck(b, err)
			m.Bytes()
		}
	}, func(b *testing.B, p *benchPair) {
		m := p.gos.load(b)
		b.ResetTimer()
		for range b.N {
			_, err := m.Encrypt(data, nil)
			benchCheck(b, err)
		}
	})
}

// BenchmarkDecrypt: reading such a message of ours.
func BenchmarkDecrypt(b *testing.B) {
	data := make([]byte, 1024)
	run := func(b *testing.B, p *benchPair, read func(message []byte) ([]byte, error)) {
		from := loadOurs(b, p.ours)
		b.ResetTimer()
		for range b.N {
			b.StopTimer()
			m, err := from.Encrypt(data, mls.SendOptions{})
			benchCheck(b, err)
			message := m.Bytes()
			b.StartTimer()
			got, err := read(message)
			benchCheck(b, err)
			if len(got) != len(data) {
				b.Fatalf("%d bytes", len(got))
			}
		}
	}
	compare(b, func(b *testing.B, p *benchPair) {
		g := loadOurs(b, p.ourOther)
		run(b, p, func(message []byte) ([]byte, error) {
			m, err := mls.ParseMessage(message, mls.Limits{})
			if err != nil {
				return nil, err
			}
			r, err := g.Process(m, time.Now())
			if err != nil {
				return nil, err
			}
			return r.Data, nil
		})
	}, func(b *testing.B, p *benchPair) {
		m := p.goOther.load(b)
		run(b, p, func(message []byte) ([]byte, error) {
			data, _, _, err := m.Decrypt(message)
			return data, err
		})
	})
}
