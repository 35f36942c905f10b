package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// startDriver gives a driver that ends with the test. Where node or its
// packages are absent the test is skipped, but not under CI.
func startDriver(t testing.TB) *Driver {
	t.Helper()
	d, err := StartDriver(context.Background())
	if errors.Is(err, ErrUnavailable) && os.Getenv("CI") == "" {
		t.Skipf("no cross test with ts-mls: %v", err)
	}
	if err != nil {
		t.Fatalf("StartDriver: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

// room is a set of driver clients in one group; the handle of a client's state
// is the client's name.
type room struct {
	t     *testing.T
	d     *Driver
	suite uint16
	opts  LeafOptions
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (r *room) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *room) keyPackage(client string) KeyPackage {
	r.t.Helper()
	return must(r.d.KeyPackage(r.t.Context(), KeyPackageRequest{
		Client: client, Suite: r.suite, Identity: Bytes(client), LeafOptions: r.opts,
	}))(r.t)
}

func (r *room) process(message []byte, at ...string) {
	r.t.Helper()
	for _, h := range at {
		if _, err := r.d.Process(r.t.Context(), h, message); err != nil {
			r.t.Fatalf("%s: %v", h, err)
		}
	}
}

func (r *room) commit(c CommitRequest, others ...string) Commit {
	r.t.Helper()
	out := must(r.d.Commit(r.t.Context(), c))(r.t)
	r.process(out.Message, others...)
	return out
}

func (r *room) agree(handles ...string) State {
	r.t.Helper()
	ctx := r.t.Context()
	first := must(r.d.State(ctx, handles[0]))(r.t)
	secret := must(r.d.Export(ctx, handles[0], "label", []byte{1}, 48))(r.t)
	for _, h := range handles[1:] {
		s := must(r.d.State(ctx, h))(r.t)
		if !bytes.Equal(s.GroupContext, first.GroupContext) {
			r.t.Fatalf("%s: GroupContext %x, want %x", h, s.GroupContext, first.GroupContext)
		}
		if !bytes.Equal(s.EpochAuthenticator, first.EpochAuthenticator) || !bytes.Equal(s.ConfirmationTag, first.ConfirmationTag) {
			r.t.Fatalf("%s: other secrets", h)
		}
		if !reflect.DeepEqual(s.Members, first.Members) {
			r.t.Fatalf("%s: members %v, want %v", h, s.Members, first.Members)
		}
		if got := must(r.d.Export(ctx, h, "label", []byte{1}, 48))(r.t); !bytes.Equal(got, secret) {
			r.t.Fatalf("%s: other exporter", h)
		}
	}
	return first
}

func (r *room) talk(handles ...string) {
	r.t.Helper()
	for _, from := range handles {
		m := must(r.d.Encrypt(r.t.Context(), from, []byte("from "+from), []byte("aad")))(r.t)
		for _, to := range handles {
			if to == from {
				continue
			}
			p := must(r.d.Process(r.t.Context(), to, m))(r.t)
			if p.Kind != "application" || string(p.Data) != "from "+from || string(p.AAD) != "aad" {
				r.t.Fatalf("%s to %s: %+v", from, to, p)
			}
		}
	}
}

func TestTSMLSWithItself(t *testing.T) {
	for _, suite := range []uint16{1, 2, 3} {
		for _, private := range []bool{false, true} {
			t.Run(fmt.Sprintf("suite%d/private=%v", suite, private), func(t *testing.T) {
				t.Parallel()
				d := startDriver(t)
				ctx := t.Context()
				r := &room{t: t, d: d, suite: suite}

				r.check(d.CreateGroup(ctx, CreateGroupRequest{
					Client: "alice", Group: "alice", Suite: suite, GroupID: Bytes("room"), Identity: Bytes("alice"),
				}))
				c := r.commit(CommitRequest{Group: "alice", Private: private, Proposals: []Proposal{{Add: r.keyPackage("bob").Message}}})
				j := must(d.JoinWelcome(ctx, JoinRequest{Client: "bob", Group: "bob", Welcome: c.Welcome}))(t)
				if j.OwnLeaf != 1 || j.Epoch != 1 {
					t.Fatalf("joined %+v", j)
				}
				r.agree("alice", "bob")
				r.talk("alice", "bob")

				// Add by proposal, tree beside the Welcome.
				m := must(d.Propose(ctx, ProposeRequest{Group: "bob", Private: private, Proposal: Proposal{Add: r.keyPackage("carol").Message}}))(t)
				r.process(m, "alice")
				c = r.commit(CommitRequest{Group: "alice", Private: private, NoRatchetTree: true, GroupInfo: true}, "bob")
				tree := must(d.RatchetTree(ctx, "alice"))(t)
				must(d.JoinWelcome(ctx, JoinRequest{Client: "carol", Group: "carol", Welcome: c.Welcome, RatchetTree: tree}))(t)
				r.agree("alice", "bob", "carol")

				// Update by reference in a staged commit; one discarded commit.
				m = must(d.Propose(ctx, ProposeRequest{Group: "bob", Private: private, Proposal: Proposal{Update: true}}))(t)
				r.process(m, "alice", "carol")
				c = r.commit(CommitRequest{Group: "carol", Private: private, Stage: true}, "alice", "bob")
				r.check(d.ApplyCommit(ctx, "carol"))
				if s := r.agree("alice", "bob", "carol"); s.Members[1].Source != "update" {
					t.Fatalf("leaf of bob comes from %s", s.Members[1].Source)
				}
				r.commit(CommitRequest{Group: "bob", Stage: true})
				r.check(d.DiscardCommit(ctx, "bob"))
				r.commit(CommitRequest{Group: "bob", Private: private}, "alice", "carol")
				r.agree("alice", "bob", "carol")
				r.talk("alice", "bob", "carol")

				// PSKs: external and resumption.
				for _, n := range []string{"alice", "bob", "carol"} {
					r.check(d.AddPSK(ctx, n, []byte("id"), bytes.Repeat([]byte{7}, 32)))
				}
				epoch := r.agree("alice", "bob", "carol").Epoch
				r.commit(CommitRequest{Group: "alice", Private: private, Proposals: []Proposal{
					{PSK: &PSK{ID: Bytes("id")}}, {PSK: &PSK{Epoch: &epoch}},
				}}, "bob", "carol")
				r.agree("alice", "bob", "carol")

				// External join, resync, remove.
				gi := must(d.GroupInfo(ctx, GroupInfoRequest{Group: "bob", WithTree: true}))(t)
				j = must(d.ExternalJoin(ctx, ExternalJoinRequest{Client: "dave", Group: "dave", Identity: Bytes("dave"), GroupInfo: gi}))(t)
				r.process(j.Commit, "alice", "bob", "carol")
				r.agree("alice", "bob", "carol", "dave")
				gi = must(d.GroupInfo(ctx, GroupInfoRequest{Group: "dave"}))(t)
				tree = must(d.RatchetTree(ctx, "dave"))(t)
				j = must(d.ExternalJoin(ctx, ExternalJoinRequest{
					Client: "bob", Group: "bob again", Identity: Bytes("bob"), GroupInfo: gi, RatchetTree: tree, Resync: true,
				}))(t)
				if j.OwnLeaf != 1 {
					t.Fatalf("resync took leaf %d", j.OwnLeaf)
				}
				r.process(j.Commit, "alice", "carol", "dave")
				r.agree("alice", "bob again", "carol", "dave")
				leaf := uint32(0)
				c = r.commit(CommitRequest{Group: "carol", Private: private, Proposals: []Proposal{{Remove: &leaf}}}, "bob again", "dave")
				if p := must(d.Process(ctx, "alice", c.Message))(t); !p.Removed {
					t.Fatalf("alice after her removal: %+v", p)
				}
				r.agree("bob again", "carol", "dave")
				r.talk("bob again", "carol", "dave")
			})
		}
	}
}

func TestTSMLSExtensionsAndExternalProposals(t *testing.T) {
	for _, suite := range []uint16{1, 2, 3} {
		t.Run(fmt.Sprintf("suite%d", suite), func(t *testing.T) {
			t.Parallel()
			d := startDriver(t)
			ctx := t.Context()
			r := &room{t: t, d: d, suite: suite, opts: LeafOptions{ExtensionTypes: []uint16{0xf0a1}, ProposalTypes: []uint16{0xf0b1}}}
			hub := must(d.SignatureKey(ctx, "hub", suite))(t)
			senders := must(d.ExternalSenders(ctx, ExternalSender{SignatureKey: hub, Identity: Bytes("hub")}))(t)
			r.check(d.CreateGroup(ctx, CreateGroupRequest{
				Client: "alice", Group: "alice", Suite: suite, GroupID: Bytes("room"), Identity: Bytes("alice"),
				Extensions: []Extension{senders}, LeafOptions: r.opts,
			}))
			c := r.commit(CommitRequest{Group: "alice", Proposals: []Proposal{
				{Add: r.keyPackage("bob").Message}, {Add: r.keyPackage("carol").Message},
			}})
			for _, n := range []string{"bob", "carol"} {
				must(d.JoinWelcome(ctx, JoinRequest{Client: n, Group: n, Welcome: c.Welcome}))(t)
			}

			// An external sender removes carol.
			gi := must(d.GroupInfo(ctx, GroupInfoRequest{Group: "alice"}))(t)
			leaf := uint32(2)
			m := must(d.ExternalPropose(ctx, ExternalProposeRequest{Client: "hub", GroupInfo: gi, Proposal: Proposal{Remove: &leaf}}))(t)
			r.process(m, "alice", "bob", "carol")
			r.commit(CommitRequest{Group: "bob"}, "alice", "carol")
			r.agree("alice", "bob")

			// Somebody proposes to be added.
			gi = must(d.GroupInfo(ctx, GroupInfoRequest{Group: "bob"}))(t)
			kp := r.keyPackage("dave")
			m = must(d.NewMemberPropose(ctx, "dave", kp.Message, gi))(t)
			r.process(m, "alice", "bob")
			c = r.commit(CommitRequest{Group: "alice"}, "bob")
			must(d.JoinWelcome(ctx, JoinRequest{Client: "dave", Group: "dave", Welcome: c.Welcome}))(t)

			// New group extensions, then an unknown proposal.
			required := must(d.RequiredCapabilities(ctx, []uint16{0xf0a1}, []uint16{0xf0b1}, []uint16{1}))(t)
			list := []Extension{senders, required, {Type: 0xf0a1, Data: Bytes("custom")}}
			m = must(d.Propose(ctx, ProposeRequest{Group: "dave", Proposal: Proposal{GroupContextExtensions: &list}}))(t)
			r.process(m, "alice", "bob")
			c = r.commit(CommitRequest{Group: "bob"}, "alice", "dave")
			if i := must(d.Inspect(ctx, c.Message))(t); i.HasPath == nil || *i.HasPath {
				t.Errorf("the library now adds a path to such commits: %+v; update limit X1", i)
			}
			m = must(d.Propose(ctx, ProposeRequest{Group: "alice", Proposal: Proposal{Custom: &CustomProposal{Type: 0xf0b1, Data: Bytes("x")}}}))(t)
			r.process(m, "bob", "dave")
			r.commit(CommitRequest{Group: "dave"}, "alice", "bob")
			if s := r.agree("alice", "bob", "dave"); !bytes.Contains(s.GroupContext, []byte("custom")) {
				t.Fatal("the custom extension is not in the GroupContext")
			}
		})
	}
}

func TestDriverFailures(t *testing.T) {
	d := startDriver(t)
	var refused *PeerError
	if err := d.Call(t.Context(), "no such thing", nil, nil); !errors.As(err, &refused) {
		t.Fatalf("unknown operation: %v", err)
	}
	if _, err := d.State(t.Context(), "nowhere"); !errors.As(err, &refused) || !strings.Contains(err.Error(), "unknown") {
		t.Fatalf("unknown group: %v", err)
	}
	if v := must(d.Version(t.Context()))(t); v.Implementation != "ts-mls" || v.Version != "1.6.4" {
		t.Fatalf("version %+v", v)
	}

	// A call that misses its deadline makes the driver unusable, without hanging.
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if err := d.Call(ctx, "version", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("late call: %v", err)
	}
	if _, err := d.Version(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("call after a late one: %v", err)
	}
}

func TestDriverEndsWithItsContext(t *testing.T) {
	startDriver(t) // skips where there is none
	ctx, cancel := context.WithCancel(t.Context())
	d, err := StartDriver(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := d.Version(t.Context()); err == nil {
		t.Error("the process outlived its context")
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
