package mls_test

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
)

// disk stores parts as a client would.
type disk map[string][]byte

// write returns the number of bytes, keys included.
func (d disk) write(parts []mls.Part) (n int) {
	for _, p := range parts {
		n += len(p.Key) + len(p.Value)
		if p.Value == nil {
			delete(d, p.Key)
		} else {
			d[p.Key] = bytes.Clone(p.Value)
		}
	}
	return n
}

func (d disk) load(t testing.TB) *mls.Group {
	t.Helper()
	g, err := mls.LoadGroup(maps.All(d), config())
	must(t, err)
	return g
}

// TestRestartAnywhere stores incrementally after every step and goes on with
// what was loaded: the state in parts is the state.
func TestRestartAnywhere(t *testing.T) {
	for _, suite := range suites {
		t.Run(fmt.Sprint(uint16(suite)), func(t *testing.T) {
			g := newGroup(t, suite)
			disks := map[*mls.Group]disk{}
			serverDisk := disk{}
			restart := func() {
				for i, m := range g.members {
					d := disks[m]
					if d == nil {
						d = disk{}
					}
					delete(disks, m)
					d.write(m.Unsaved())
					n := d.load(t)
					full := disk{}
					full.write(d.load(t).Unsaved())
					if len(full) != 0 {
						t.Fatalf("a loaded group has %d unsaved parts", len(full))
					}
					g.members[i], disks[n] = n, d
				}
				serverDisk.write(g.server.Unsaved())
				var err error
				g.server, err = mls.LoadPublicGroup(maps.All(serverDisk), config())
				must(t, err)
				g.agree()
			}
			restart()
			g.add(g.members[0], "a", "b", "c")
			restart()
			g.talk()
			restart()
			g.talk()
			m, err := g.members[2].ProposeUpdate(mls.LeafChange{}, mls.SendOptions{}, now)
			must(t, err)
			g.send(g.members[2], m)
			restart()
			s, err := g.members[1].Commit(mls.CommitOptions{Remove: []mls.LeafIndex{3}}, now)
			must(t, err)
			b, err := s.Bytes()
			must(t, err)
			restart()
			s, err = g.members[1].LoadStaged(b)
			must(t, err)
			g.commit(g.members[1], s)
			restart()
			g.talk()
			for range 6 {
				s, err := g.members[2].Commit(mls.CommitOptions{}, now)
				must(t, err)
				g.commit(g.members[2], s)
				restart()
			}
			g.talk()
			// What is stored in small steps is what would be stored at once.
			for _, m := range g.members {
				disks[m].write(m.Unsaved())
				again := disk{}
				whole := disks[m].load(t)
				again.write(mls.AllParts(whole))
				if !maps.EqualFunc(again, disks[m], bytes.Equal) {
					t.Fatalf("incremental store has %d parts, a whole one %d", len(disks[m]), len(again))
				}
			}
		})
	}
}

func TestBytesPerMessage(t *testing.T) {
	g := newGroup(t, suites[0])
	names := make([]string, 999)
	for i := range names {
		names[i] = fmt.Sprint("m", i)
	}
	var o mls.CommitOptions
	for _, n := range names {
		_, v := keyPackage(t, g.suite, n)
		o.Add = append(o.Add, v)
	}
	s, err := g.members[0].Commit(o, now)
	must(t, err)
	g.commit(g.members[0], s)
	d := disk{}
	d.write(g.members[0].Unsaved())
	for i, limit := range []int{1024, 256, 256} {
		_, err := g.members[0].Encrypt(make([]byte, 1024), mls.SendOptions{})
		must(t, err)
		if n := d.write(g.members[0].Unsaved()); n == 0 || n > limit {
			t.Errorf("message %d stores %d bytes, at most %d expected", i, n, limit)
		} else {
			t.Logf("message %d stores %d bytes", i, n)
		}
	}
}
