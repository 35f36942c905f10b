package interop

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// peer is one member of a mixed group of the two foreign implementations. They
// check each other here, so that a cross test of our engine with both of them
// that fails with one only can be judged.
type peer struct {
	name string
	ts   *Driver // exactly one of ts and mg is set
	mg   *MLSGoMember
}

func (p *peer) process(t testing.TB, message []byte) error {
	if p.mg != nil {
		return p.mg.Process(message)
	}
	_, err := p.ts.Process(t.Context(), p.name, message)
	return err
}

func (p *peer) view(t testing.TB) (groupContext, authenticator []byte, leaf uint32, err error) {
	if p.mg != nil {
		return p.mg.GroupContext(), p.mg.EpochAuthenticator(), p.mg.OwnLeaf(), nil
	}
	s, err := p.ts.State(t.Context(), p.name)
	return s.GroupContext, s.EpochAuthenticator, s.OwnLeaf, err
}

func (p *peer) keyPackage(t testing.TB, suite uint16) ([]byte, error) {
	if p.mg != nil {
		return p.mg.KeyPackage()
	}
	kp, err := p.ts.KeyPackage(t.Context(), KeyPackageRequest{Client: p.name, Suite: suite, Identity: Bytes(p.name)})
	return kp.Message, err
}

func (p *peer) commit(t testing.TB, adds [][]byte, removes []uint32) (commit, welcome []byte, err error) {
	if p.mg != nil {
		return p.mg.Commit(MLSGoCommit{Add: adds, Remove: removes})
	}
	r := CommitRequest{Group: p.name}
	for _, a := range adds {
		r.Proposals = append(r.Proposals, Proposal{Add: a})
	}
	for _, leaf := range removes {
		r.Proposals = append(r.Proposals, Proposal{Remove: &leaf})
	}
	c, err := p.ts.Commit(t.Context(), r)
	return c.Message, c.Welcome, err
}

func (p *peer) join(t testing.TB, welcome []byte) error {
	if p.mg != nil {
		return p.mg.JoinWelcome(welcome)
	}
	_, err := p.ts.JoinWelcome(t.Context(), JoinRequest{Client: p.name, Group: p.name, Welcome: welcome})
	return err
}

func (p *peer) externalJoin(t testing.TB, groupInfo []byte) ([]byte, error) {
	if p.mg != nil {
		return p.mg.ExternalJoin(groupInfo, nil)
	}
	j, err := p.ts.ExternalJoin(t.Context(), ExternalJoinRequest{
		Client: p.name, Group: p.name, Identity: Bytes(p.name), GroupInfo: groupInfo,
	})
	return j.Commit, err
}

func (p *peer) groupInfo(t testing.TB) ([]byte, error) {
	if p.mg != nil {
		return p.mg.GroupInfo(true)
	}
	return p.ts.GroupInfo(t.Context(), GroupInfoRequest{Group: p.name, WithTree: true})
}

func (p *peer) proposeUpdate(t testing.TB) ([]byte, error) {
	if p.mg != nil {
		return p.mg.ProposeUpdate()
	}
	return p.ts.Propose(t.Context(), ProposeRequest{Group: p.name, Proposal: Proposal{Update: true}})
}

func (p *peer) encrypt(t testing.TB, data []byte) ([]byte, error) {
	if p.mg != nil {
		return p.mg.Encrypt(data, nil)
	}
	return p.ts.Encrypt(t.Context(), p.name, data, nil)
}

func (p *peer) decrypt(t testing.TB, message []byte) ([]byte, error) {
	if p.mg != nil {
		data, _, _, err := p.mg.Decrypt(message)
		return data, err
	}
	r, err := p.ts.Process(t.Context(), p.name, message)
	return r.Data, err
}

// TestMain bounds the number of random group lives: each of them is slow. In CI
// they are the same ones each time. Flags on the command line still rule.
func TestMain(m *testing.M) {
	set := map[string]string{"rapid.checks": "12"}
	if os.Getenv("CI") != "" {
		set["rapid.seed"] = "9420"
		set["rapid.nofailfile"] = "true"
	}
	for name, value := range set {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	for _, d := range shared.drivers {
		if err := d.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// shared holds one Node process for each suite, since starting one costs more
// than most tests. Whoever uses it names clients and groups after the test.
var shared struct {
	sync.Mutex
	drivers map[uint16]*Driver
}

func sharedDriver(t testing.TB, suite uint16) *Driver {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if d := shared.drivers[suite]; d != nil {
		return d
	}
	d, err := StartDriver(context.Background())
	if errors.Is(err, ErrUnavailable) && os.Getenv("CI") == "" {
		t.Skipf("no cross test with ts-mls: %v", err)
	}
	if err != nil {
		t.Fatalf("StartDriver: %v", err)
	}
	if shared.drivers == nil {
		shared.drivers = map[uint16]*Driver{}
	}
	shared.drivers[suite] = d
	return d
}

func TestForeignPeersTogether(t *testing.T) {
	for _, suite := range []uint16{1, 2, 3} {
		t.Run(fmt.Sprintf("suite%d", suite), func(t *testing.T) {
			t.Parallel()
			d := startDriver(t)
			n := 0
			rapid.Check(t, func(rt *rapid.T) {
				n++
				ok := func(err error) {
					rt.Helper()
					if err == nil {
						return
					}
					if strings.Contains(err.Error(), "unmerged_leaves") {
						rt.Skip("limit X4 of ts-mls: " + err.Error())
					}
					rt.Fatal(err)
				}
				count := 0
				fresh := func() *peer {
					count++
					p := &peer{name: fmt.Sprintf("run %d peer %d", n, count)}
					if rapid.Bool().Draw(rt, "mls-go") {
						m, err := NewMLSGoMember(suite, []byte(p.name))
						ok(err)
						p.mg = m
					} else {
						p.ts = d
					}
					return p
				}
				// ts-mls creates: the epoch 0 of mls-go is deviant (D00).
				first := &peer{name: fmt.Sprintf("run %d peer 0", n), ts: d}
				ok(d.CreateGroup(t.Context(), CreateGroupRequest{
					Client: first.name, Group: first.name, Suite: suite, GroupID: Bytes("room"), Identity: Bytes(first.name),
				}))
				members := []*peer{first}
				any := func(label string) *peer { return members[rapid.IntRange(0, len(members)-1).Draw(rt, label)] }
				deliver := func(from *peer, message []byte) {
					rt.Helper()
					for _, m := range members {
						if m != from {
							ok(m.process(t, message))
						}
					}
				}
				steps := rapid.SliceOfN(rapid.SampledFrom([]string{"add", "add", "commit", "update", "remove", "external"}), 3, 8).Draw(rt, "steps")
				for _, step := range steps {
					by := any("by")
					switch step {
					case "add":
						p := fresh()
						kp, err := p.keyPackage(t, suite)
						ok(err)
						commit, welcome, err := by.commit(t, [][]byte{kp}, nil)
						ok(err)
						deliver(by, commit)
						ok(p.join(t, welcome))
						members = append(members, p)
					case "commit":
						commit, _, err := by.commit(t, nil, nil)
						ok(err)
						deliver(by, commit)
					case "update":
						if len(members) < 2 {
							continue
						}
						of := members[(slices.Index(members, by)+1)%len(members)]
						message, err := of.proposeUpdate(t)
						ok(err)
						deliver(of, message)
						commit, _, err := by.commit(t, nil, nil)
						ok(err)
						deliver(by, commit)
					case "remove":
						if len(members) < 3 {
							continue
						}
						of := members[(slices.Index(members, by)+1)%len(members)]
						_, _, leaf, err := of.view(t)
						ok(err)
						members = slices.DeleteFunc(members, func(m *peer) bool { return m == of })
						commit, _, err := by.commit(t, nil, []uint32{leaf})
						ok(err)
						deliver(by, commit)
					case "external":
						info, err := by.groupInfo(t)
						ok(err)
						p := fresh()
						commit, err := p.externalJoin(t, info)
						ok(err)
						deliver(p, commit)
						members = append(members, p)
					}
					gc, secret, _, err := members[0].view(t)
					ok(err)
					for _, m := range members[1:] {
						gc2, secret2, _, err := m.view(t)
						ok(err)
						if !bytes.Equal(gc, gc2) || !bytes.Equal(secret, secret2) {
							rt.Fatalf("after %s: %s (mls-go %v) disagrees", step, m.name, m.mg != nil)
						}
					}
					from := any("speaker")
					message, err := from.encrypt(t, []byte(step))
					ok(err)
					for _, m := range members {
						if m == from {
							continue
						}
						data, err := m.decrypt(t, message)
						ok(err)
						if string(data) != step {
							rt.Fatalf("%s reads %q", m.name, data)
						}
					}
				}
			})
		})
	}
}
