package mls_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
)

var now = time.Unix(1_700_000_000, 0)

var suites = []mls.CipherSuite{mls.X25519AES128Ed25519, mls.P256AES128P256, mls.X25519ChaChaEd25519}

func config() mls.Config { return mls.Config{Authenticator: mls.AcceptBasic{}} }

func leafParams(t testing.TB, suite mls.CipherSuite, name string) mls.LeafParams {
	t.Helper()
	key, err := mls.GenerateSignatureKey(suite)
	must(t, err)
	return mls.LeafParams{Suite: suite, Signer: key, Credential: mls.BasicCredential([]byte(name)),
		Lifetime: mls.LifetimeOf(now, 90*24*time.Hour)}
}

func keyPackage(t testing.TB, suite mls.CipherSuite, name string) (*mls.PrivateKeyPackage, *mls.ValidKeyPackage) {
	t.Helper()
	kp, err := mls.NewKeyPackage(leafParams(t, suite, name), false, nil)
	must(t, err)
	parsed, err := mls.ParseMessage(kp.KeyPackage().Message().Bytes(), mls.Limits{})
	must(t, err)
	v, err := parsed.KeyPackage.Verify(mls.Config{Authenticator: mls.AcceptBasic{}}, now)
	must(t, err)
	return kp, v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// group is a test's set of members and a server that follows them. Everything
// crosses the wire as bytes.
type group struct {
	t       testing.TB
	suite   mls.CipherSuite
	members []*mls.Group
	server  *mls.PublicGroup
}

func newGroup(t testing.TB, suite mls.CipherSuite, ext ...mls.Extension) *group {
	t.Helper()
	g, err := mls.CreateGroup(mls.GroupParams{LeafParams: leafParams(t, suite, "member 0"), Extensions: ext}, config())
	must(t, err)
	info, err := g.GroupInfo(true)
	must(t, err)
	server, err := mls.NewPublicGroup(reparse(t, info.Message()).GroupInfo, nil, config(), now)
	must(t, err)
	return &group{t: t, suite: suite, members: []*mls.Group{g}, server: server}
}

func reparse(t testing.TB, m *mls.Message) *mls.Message {
	t.Helper()
	b := m.Bytes()
	out, err := mls.ParseMessage(b, mls.Limits{})
	must(t, err)
	if !bytes.Equal(out.Bytes(), b) {
		t.Fatalf("wire format %d does not survive decoding", m.Wire)
	}
	return out
}

// commit lets the server and everybody take a staged commit.
func (g *group) commit(from *mls.Group, s *mls.StagedCommit) {
	g.t.Helper()
	m := reparse(g.t, s.Message)
	if m.Public != nil {
		c, err := g.server.Process(m.Public, reparse(g.t, s.GroupInfo.Message()).GroupInfo, now)
		must(g.t, err)
		must(g.t, g.server.Apply(c))
	}
	var left []*mls.Group
	for _, x := range g.members {
		if x == from {
			must(g.t, x.Merge(s))
		} else {
			r, err := x.Process(m, now)
			must(g.t, err)
			must(g.t, x.Apply(r))
		}
		if !x.Removed() {
			left = append(left, x)
		}
	}
	g.members = left
	g.agree()
}

// send lets the server and everybody but the sender take a proposal.
func (g *group) send(from *mls.Group, msg *mls.Message) {
	g.t.Helper()
	m := reparse(g.t, msg)
	c, err := g.server.Process(m.Public, nil, now)
	must(g.t, err)
	must(g.t, g.server.Apply(c))
	for _, x := range g.members {
		if x == from {
			continue
		}
		r, err := x.Process(m, now)
		must(g.t, err)
		must(g.t, x.Apply(r))
	}
}

func (g *group) agree() {
	g.t.Helper()
	want := g.server.Context().Bytes()
	for i, x := range g.members {
		if !bytes.Equal(x.Public().Context().Bytes(), want) {
			g.t.Fatalf("member %d differs from the server at epoch %d", i, g.server.Epoch())
		}
		if !bytes.Equal(x.EpochAuthenticator(), g.members[0].EpochAuthenticator()) {
			g.t.Fatalf("member %d has another epoch secret", i)
		}
	}
}

func (g *group) add(from *mls.Group, names ...string) {
	g.t.Helper()
	var priv []*mls.PrivateKeyPackage
	var o mls.CommitOptions
	for _, n := range names {
		p, v := keyPackage(g.t, g.suite, n)
		priv = append(priv, p)
		o.Add = append(o.Add, v)
	}
	s, err := from.Commit(o, now)
	must(g.t, err)
	g.commit(from, s)
	w := reparse(g.t, s.Welcome.Message())
	for _, p := range priv {
		m, err := mls.JoinWelcome(w.Welcome, p, mls.JoinOptions{Tree: g.server.Tree()}, config(), now)
		must(g.t, err)
		g.members = append(g.members, m)
	}
	g.agree()
}

func (g *group) talk() {
	g.t.Helper()
	for i, from := range g.members {
		text := fmt.Sprintf("message of member %d in epoch %d", i, from.Epoch())
		m, err := from.Encrypt([]byte(text), mls.SendOptions{AAD: []byte("aad"), PadTo: 64})
		must(g.t, err)
		m = reparse(g.t, m)
		for j, to := range g.members {
			if i == j {
				continue
			}
			r, err := to.Process(m, now)
			must(g.t, err)
			if string(r.Data) != text || string(r.AAD) != "aad" {
				g.t.Fatalf("member %d read %q", j, r.Data)
			}
		}
	}
}

func TestStory(t *testing.T) {
	for _, suite := range suites {
		t.Run(fmt.Sprint(uint16(suite)), func(t *testing.T) {
			g := newGroup(t, suite)
			g.add(g.members[0], "member 1")
			g.talk()
			g.add(g.members[1], "member 2", "member 3", "member 4")
			g.talk()
			for _, m := range g.members {
				s, err := m.Commit(mls.CommitOptions{}, now)
				must(t, err)
				g.commit(m, s)
			}
			g.talk()
			// Update by reference, committed by another.
			m, err := g.members[3].ProposeUpdate(mls.LeafChange{}, mls.SendOptions{}, now)
			must(t, err)
			g.send(g.members[3], m)
			s, err := g.members[2].Commit(mls.CommitOptions{}, now)
			must(t, err)
			g.commit(g.members[2], s)
			g.talk()
			// Remove, and SelfRemove.
			s, err = g.members[4].Commit(mls.CommitOptions{Remove: []mls.LeafIndex{1}}, now)
			must(t, err)
			g.commit(g.members[4], s)
			g.talk()
			m, err = g.members[1].Propose(&mls.Proposal{Type: mls.ProposalSelfRemove}, mls.SendOptions{}, now)
			must(t, err)
			g.send(g.members[1], m)
			s, err = g.members[0].Commit(mls.CommitOptions{}, now)
			must(t, err)
			g.commit(g.members[0], s)
			if len(g.members) != 3 {
				t.Fatalf("%d members", len(g.members))
			}
			g.talk()
			// External join.
			info, err := g.members[0].GroupInfo(false)
			must(t, err)
			s, err = mls.ExternalCommit(reparse(t, info.Message()).GroupInfo, mls.ExternalOptions{
				LeafParams: leafParams(t, suite, "joiner"), Tree: g.server.Tree()}, config(), now)
			must(t, err)
			g.commit(nil, s)
			j, err := s.Join()
			must(t, err)
			g.members = append(g.members, j)
			g.agree()
			g.talk()
			// Commit in a PrivateMessage.
			s, err = j.Commit(mls.CommitOptions{Private: true}, now)
			must(t, err)
			msg := reparse(t, s.Message)
			for _, x := range g.members[:3] {
				r, err := x.Process(msg, now)
				must(t, err)
				must(t, x.Apply(r))
			}
			must(t, j.Merge(s))
		})
	}
}
