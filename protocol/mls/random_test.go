package mls_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"pgregory.net/rapid"
)

// TestRandomSchedules drives a group through random schedules of joins, leaves,
// races, lost and discarded commits, late and duplicate messages, and restarts
// of members and server from their stored parts. After every epoch all members
// and the server hold the same GroupContext, all members the same secrets, and
// a removed member none of them.
func TestRandomSchedules(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		suite := rapid.SampledFrom(suites).Draw(r, "suite")
		w := newWorld(t, suite)
		steps := rapid.IntRange(5, 40).Draw(r, "steps")
		for range steps {
			w.step(r)
			w.check()
		}
	})
}

type world struct {
	t       *testing.T
	suite   mls.CipherSuite
	members []*citizen
	gone    []*mls.Group
	server  *mls.PublicGroup
	stored  disk
	names   int
	// late messages: delivered whenever it pleases the schedule.
	late []lateMessage
}

type citizen struct {
	g     *mls.Group
	d     disk
	name  string
	heard map[int]bool
}

type lateMessage struct {
	m     *mls.Message
	text  string
	epoch uint64
	from  *citizen
	id    int
}

func newWorld(t *testing.T, suite mls.CipherSuite) *world {
	g := newGroup(t, suite)
	w := &world{t: t, suite: suite, server: g.server, stored: disk{}}
	w.stored.write(w.server.Unsaved())
	w.enter(g.members[0], "member 0")
	return w
}

func (w *world) enter(g *mls.Group, name string) {
	c := &citizen{g: g, d: disk{}, name: name, heard: map[int]bool{}}
	c.d.write(g.Unsaved())
	w.members = append(w.members, c)
}

func (w *world) name() string {
	w.names++
	return fmt.Sprintf("citizen %d", w.names)
}

func (w *world) step(r *rapid.T) {
	pick := func(label string) *citizen { return rapid.SampledFrom(w.members).Draw(r, label) }
	who := pick("who")
	switch op := rapid.SampledFrom([]string{"add", "add", "remove", "commit", "commit", "race", "discard",
		"update", "self-remove", "external", "resync", "restart", "restart", "server", "talk", "talk", "hear"}).Draw(r, "op"); op {
	case "add":
		if len(w.members) > 12 {
			return
		}
		var o mls.CommitOptions
		var ps []*mls.PrivateKeyPackage
		var names []string
		for range rapid.IntRange(1, 3).Draw(r, "count") {
			name := w.name()
			p, v := keyPackage(w.t, w.suite, name)
			o.Add, ps, names = append(o.Add, v), append(ps, p), append(names, name)
		}
		o.OmitPath = rapid.Bool().Draw(r, "without path")
		s, err := who.g.Commit(o, now)
		must(w.t, err)
		w.order(who, s)
		for i, p := range ps {
			g, err := mls.JoinWelcome(reparse(w.t, s.Welcome.Message()).Welcome, p, mls.JoinOptions{Tree: w.server.Tree()}, config(), now)
			must(w.t, err)
			w.enter(g, names[i])
		}
	case "remove":
		victim := pick("victim")
		if victim == who {
			return
		}
		s, err := who.g.Commit(mls.CommitOptions{Remove: []mls.LeafIndex{victim.g.OwnLeaf()}}, now)
		must(w.t, err)
		w.order(who, s)
	case "commit":
		s, err := who.g.Commit(mls.CommitOptions{}, now)
		must(w.t, err)
		w.order(who, s)
	case "race":
		// Two commit, the second is ordered first; the first is dropped.
		other := pick("other")
		s, err := who.g.Commit(mls.CommitOptions{}, now)
		must(w.t, err)
		s2, err := other.g.Commit(mls.CommitOptions{}, now)
		must(w.t, err)
		w.order(other, s2)
		if err := who.g.Merge(s); !errors.Is(err, mls.ErrStale) && !errors.Is(err, mls.ErrRemoved) {
			w.t.Fatalf("merging a lost commit: %v", err)
		}
	case "discard":
		_, err := who.g.Commit(mls.CommitOptions{}, now)
		must(w.t, err)
	case "update":
		m, err := who.g.ProposeUpdate(mls.LeafChange{}, mls.SendOptions{}, now)
		must(w.t, err)
		w.propose(who, m)
	case "self-remove":
		if len(w.members) == 1 {
			return
		}
		m, err := who.g.Propose(&mls.Proposal{Type: mls.ProposalSelfRemove}, mls.SendOptions{}, now)
		must(w.t, err)
		w.propose(who, m)
		for _, c := range w.members {
			if c != who {
				s, err := c.g.Commit(mls.CommitOptions{}, now)
				must(w.t, err)
				w.order(c, s)
				return
			}
		}
	case "external", "resync":
		if op == "external" && len(w.members) > 12 {
			return
		}
		info, err := who.g.GroupInfo(false)
		must(w.t, err)
		o := mls.ExternalOptions{Tree: w.server.Tree()}
		name := w.name()
		if op == "resync" {
			back := pick("back")
			leaf := back.g.OwnLeaf()
			name, o.Replace = back.name, &leaf
		}
		o.LeafParams = leafParams(w.t, w.suite, name)
		s, err := mls.ExternalCommit(reparse(w.t, info.Message()).GroupInfo, o, config(), now)
		must(w.t, err)
		w.order(nil, s)
		g, err := s.Join()
		must(w.t, err)
		w.enter(g, name)
	case "restart":
		who.g = who.d.load(w.t)
	case "server":
		g, err := mls.LoadPublicGroup(maps.All(w.stored), config())
		must(w.t, err)
		w.server = g
	case "talk":
		text := fmt.Sprintf("%s in epoch %d, %d", who.name, who.g.Epoch(), len(w.late))
		m, err := who.g.Encrypt([]byte(text), mls.SendOptions{})
		must(w.t, err)
		who.d.write(who.g.Unsaved())
		w.late = append(w.late, lateMessage{reparse(w.t, m), text, who.g.Epoch(), who, len(w.late)})
	case "hear":
		if len(w.late) == 0 {
			return
		}
		l := rapid.SampledFrom(w.late).Draw(r, "late")
		w.hear(who, l)
	}
}

// hear delivers a message that may be of any epoch, and may have come before.
func (w *world) hear(c *citizen, l lateMessage) {
	got, err := c.g.Process(l.m, now)
	c.d.write(c.g.Unsaved())
	switch {
	case err == nil:
		if string(got.Data) != l.text || c.heard[l.id] {
			w.t.Fatalf("%s read %q, heard before: %v", c.name, got.Data, c.heard[l.id])
		}
		c.heard[l.id] = true
	case errors.Is(err, mls.ErrOwnMessage), errors.Is(err, mls.ErrReplayed) && c.heard[l.id]:
	case errors.Is(err, mls.ErrWrongEpoch):
		// Too old, or of an epoch before this member came: never the present one.
		if l.epoch == c.g.Epoch() {
			w.t.Fatalf("%s cannot read a message of its epoch: %v", c.name, err)
		}
	default:
		w.t.Fatalf("%s, message of epoch %d at %d: %v", c.name, l.epoch, c.g.Epoch(), err)
	}
}

func (w *world) propose(from *citizen, m *mls.Message) {
	m = reparse(w.t, m)
	c, err := w.server.Process(m.Public, nil, now)
	must(w.t, err)
	must(w.t, w.server.Apply(c))
	w.stored.write(w.server.Unsaved())
	for _, x := range w.members {
		if x != from {
			got, err := x.g.Process(m, now)
			must(w.t, err)
			must(w.t, x.g.Apply(got))
		}
		x.d.write(x.g.Unsaved())
	}
}

// order lets the server and all members take the commit.
func (w *world) order(from *citizen, s *mls.StagedCommit) {
	m := reparse(w.t, s.Message)
	c, err := w.server.Process(m.Public, reparse(w.t, s.GroupInfo.Message()).GroupInfo, now)
	must(w.t, err)
	must(w.t, w.server.Apply(c))
	w.stored.write(w.server.Unsaved())
	var left []*citizen
	for _, x := range w.members {
		if x == from {
			must(w.t, x.g.Merge(s))
		} else {
			got, err := x.g.Process(m, now)
			must(w.t, err)
			must(w.t, x.g.Apply(got))
		}
		x.d.write(x.g.Unsaved())
		if x.g.Removed() {
			w.gone = append(w.gone, x.g)
		} else {
			left = append(left, x)
		}
	}
	w.members = left
}

func (w *world) check() {
	want := w.server.Context().Bytes()
	secret := w.members[0].g.EpochAuthenticator()
	for _, c := range w.members {
		if !bytes.Equal(c.g.Public().Context().Bytes(), want) {
			w.t.Fatalf("%s differs from the server at epoch %d", c.name, w.server.Epoch())
		}
		if !bytes.Equal(c.g.EpochAuthenticator(), secret) {
			w.t.Fatalf("%s has another secret at epoch %d", c.name, w.server.Epoch())
		}
	}
	for _, g := range w.gone {
		if bytes.Equal(g.EpochAuthenticator(), secret) {
			w.t.Fatalf("a removed member has the secret of epoch %d", w.server.Epoch())
		}
	}
}
