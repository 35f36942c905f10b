package interop

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
)

// Cross tests of our engine with ts-mls. Each scenario is written once and run
// in both directions: client "a" acts, in one run it is ours, in the other
// ts-mls; "b" is of the other kind, "c" and "d" alternate again. All are in one
// group, which a created, and our PublicGroup follows. After every commit all
// members and the server must have the same GroupContext bytes and confirmation
// tag, and the members the same epoch authenticator and exporter (world.agree).
//
// What ts-mls cannot do, by the numbers at the top of driver.mjs:
//
//   - X1, X2 it commits no GroupContextExtensions that others could take: see
//     TestOursGroupContextExtensions, where our refusals are checked.
//   - X7, X18 it cannot start a branch or reinitialized group: its PSK lookup
//     in a new group does not know the old one. It joins ours: see
//     TestOursContinue.
//   - X8 it makes no external commit with PSKs: see TestOursExternalCommit.
//   - X10 it reads an unknown proposal as one opaque<V>. SelfRemove (an empty
//     body) and AppDataUpdate have other shapes: a message with one of them
//     does not decode there (TestOursCustomProposals), so groups with ts-mls members
//     must not use them. Capabilities keep such a member out of harm: it does
//     not list the types, so our engine refuses to propose them.
//   - X14 its member that is removed by a commit which gives the leaf to
//     somebody else, by an Add or by its own resync, fails instead of learning
//     that it is out. RFC 9420 section 12.4.2 decides that by the proposals.
//   - It knows no path rule for other proposal types (section 12.4): a commit of an unknown proposal alone comes without a path, which our
//     engine refuses (its doc.go, deviations).
type scene struct {
	*world
	t          *testing.T
	mine       string // kind of a and c
	other      string // kind of b and d
	a, b, c, d member
	hub        member // external sender
}

func opposite(kind string) string {
	if kind == "ours" {
		return "ts-mls"
	}
	return "ours"
}

// unknownExtension and unknownProposal are private-use types that every client
// in a scene claims to know.
const (
	unknownExtension = 0xf0a1
	unknownProposal  = 0xf0b1
)

// both runs a scenario for suites and directions.
func both(t *testing.T, run func(s *scene), ext ...func(s *scene) Extension) {
	for _, suite := range []uint16{1, 2, 3} {
		t.Run(fmt.Sprintf("suite%d", suite), func(t *testing.T) {
			t.Parallel()
			d := sharedDriver(t, suite)
			for _, kind := range []string{"ours", "ts-mls"} {
				t.Run(kind+"-acts", func(t *testing.T) {
					s := &scene{t: t, mine: kind, other: opposite(kind), world: &world{t: t, d: d, suite: suite, prefix: t.Name() + " ",
						opts: LeafOptions{ExtensionTypes: []uint16{unknownExtension}, ProposalTypes: []uint16{unknownProposal}}}}
					s.a, s.b = s.client(s.mine, "a"), s.client(s.other, "b")
					s.c, s.d = s.client(s.mine, "c"), s.client(s.other, "d")
					var list []Extension
					for _, f := range ext {
						list = append(list, f(s))
					}
					s.create(s.a, list...)
					s.add(s.a, false, s.b, s.c, s.d)
					run(s)
				})
			}
		})
	}
}

func (s *scene) count(n int) {
	s.t.Helper()
	if got := s.server.MemberCount(); got != n || len(s.members) != n {
		s.t.Fatalf("server counts %d members, test %d, want %d", got, len(s.members), n)
	}
}

func TestOursWelcome(t *testing.T) {
	both(t, func(s *scene) {
		s.count(4)
		s.talkAll()
		// The tree beside the Welcome, one joiner of each kind.
		s.add(s.b, true, s.client(s.mine, "e"), s.client(s.other, "f"))
		s.talkAll()
		// Proposed by one, committed by another.
		e := s.client(s.mine, "g")
		s.propose(s.a, Proposal{Add: made[[]byte](s.world)(e.keyPackage())}, false, nil)
		s.welcome(s.commit(s.b, commitOptions{}), false, e)
		s.talkAll()
		s.count(7)
		// The tree that a member gives is the server's.
		for _, m := range []member{s.a, s.b} {
			if m, ok := m.(*tsMember); ok {
				tree := must(m.d.RatchetTree(t.Context(), m.handle))(s.t)
				if !bytes.Equal(tree, s.server.Tree().Bytes()) {
					s.t.Fatal("ts-mls has another ratchet tree")
				}
			}
		}
	})
}

func TestOursPath(t *testing.T) {
	both(t, func(s *scene) {
		for range 2 {
			for _, m := range []member{s.a, s.b, s.c, s.d} {
				s.commit(m, commitOptions{aad: []byte("aad of " + m.name())})
			}
			s.talkAll()
		}
	})
}

func TestOursUpdate(t *testing.T) {
	both(t, func(s *scene) {
		s.propose(s.a, Proposal{Update: true}, false, []byte("update"))
		s.commit(s.b, commitOptions{}) // the other kind commits
		s.talkAll()
		s.propose(s.a, Proposal{Update: true}, false, nil)
		s.commit(s.c, commitOptions{}) // the own kind commits, the other receives
		s.talkAll()
		// Several at once.
		s.propose(s.a, Proposal{Update: true}, false, nil)
		s.propose(s.b, Proposal{Update: true}, false, nil)
		s.propose(s.c, Proposal{Update: true}, false, nil)
		s.commit(s.d, commitOptions{})
		s.talkAll()
		for _, m := range []member{s.a, s.b, s.c} {
			s.commit(m, commitOptions{})
		}
		s.talkAll()
	})
}

func TestOursRemove(t *testing.T) {
	both(t, func(s *scene) {
		e := s.client(s.mine, "e")
		s.add(s.a, false, e)
		// A member of the other kind.
		s.commit(s.a, commitOptions{proposals: []Proposal{{Remove: s.leaf(s.b)}}})
		s.count(4)
		s.talkAll()
		// A third: one of the own kind, then by reference.
		s.commit(s.a, commitOptions{proposals: []Proposal{{Remove: s.leaf(s.c)}}})
		s.count(3)
		s.talkAll()
		s.propose(s.a, Proposal{Remove: s.leaf(e)}, false, []byte("remove"))
		s.commit(s.d, commitOptions{})
		s.count(2)
		s.talkAll()
		// The leaf is taken again.
		s.add(s.d, false, s.client(s.mine, "f"), s.client(s.other, "g"))
		s.count(4)
		s.talkAll()
	})
}

func TestOursMixedCommit(t *testing.T) {
	both(t, func(s *scene) {
		e, f := s.client(s.mine, "e"), s.client(s.other, "f")
		s.propose(s.b, Proposal{Update: true}, false, nil)
		s.propose(s.c, Proposal{Remove: s.leaf(s.d)}, false, nil)
		s.propose(s.b, Proposal{Add: made[[]byte](s.world)(e.keyPackage())}, false, nil)
		s.welcome(s.commit(s.a, commitOptions{proposals: []Proposal{{Add: made[[]byte](s.world)(f.keyPackage())}}}), false, e, f)
		s.count(5)
		s.talkAll()
		for _, m := range slices.Clone(s.members) {
			s.commit(m, commitOptions{})
		}
		s.talkAll()
	})
}

func TestOursExternalCommit(t *testing.T) {
	t.Run("join", func(t *testing.T) {
		both(t, func(s *scene) {
			// By the GroupInfo of the other kind, with and without tree, and of
			// the own kind.
			e := s.client(s.mine, "e")
			s.committed(e, made[Commit](s.world)(e.externalJoin(made[[]byte](s.world)(s.b.groupInfo(true)), nil, externalOptions{aad: []byte("join")})), []byte("join"))
			f := s.client(s.mine, "f")
			s.committed(f, made[Commit](s.world)(f.externalJoin(made[[]byte](s.world)(s.b.groupInfo(false)), s.server.Tree().Bytes(), externalOptions{})), nil)
			g := s.client(s.mine, "g")
			s.committed(g, made[Commit](s.world)(g.externalJoin(made[[]byte](s.world)(e.groupInfo(true)), nil, externalOptions{})), nil)
			s.count(7)
			s.talkAll()
			s.commit(s.b, commitOptions{})
			s.commit(g, commitOptions{})
			s.talkAll()
		})
	})
	t.Run("resync", func(t *testing.T) {
		both(t, func(s *scene) {
			leaf := s.leaf(s.a)
			a := s.a.again()
			s.committed(a, made[Commit](s.world)(a.externalJoin(made[[]byte](s.world)(s.b.groupInfo(true)), nil, externalOptions{replace: leaf})), nil)
			s.count(4)
			if got := *s.leaf(a); got != *leaf {
				s.t.Fatalf("came back at leaf %d, was %d", got, *leaf)
			}
			s.talkAll()
			s.commit(s.b, commitOptions{})
			s.commit(a, commitOptions{})
			s.talkAll()
		})
	})
	t.Run("with-psk", func(t *testing.T) {
		both(t, func(s *scene) {
			e := s.client("ours", "e") // X8: ts-mls only receives
			id := Bytes("external id")
			for _, m := range append([]member{e}, s.members...) {
				s.check(m.addPSK(id, bytes.Repeat([]byte{9}, 32)))
			}
			s.committed(e, made[Commit](s.world)(e.externalJoin(made[[]byte](s.world)(s.b.groupInfo(true)), nil,
				externalOptions{psks: []Proposal{{PSK: &PSK{ID: id}}}})), nil)
			s.count(5)
			s.talkAll()
		})
	})
}

func TestOursExternalProposals(t *testing.T) {
	// The sender is a client of a's kind that is no member.
	senders := func(s *scene) Extension {
		hub := s.client(s.mine, "hub")
		if hub, ok := hub.(*ourMember); ok {
			e := mls.ExternalSendersExtension([]mls.ExternalSender{
				{SignatureKey: made[mls.SignatureKey](s.world)(mls.GenerateSignatureKey(mls.CipherSuite(s.suite))).Public(), Credential: mls.BasicCredential([]byte("nobody"))},
				{SignatureKey: hub.params.Signer.Public(), Credential: mls.BasicCredential([]byte("hub"))}})
			s.hub = hub
			return Extension{Type: uint16(e.Type), Data: e.Data}
		}
		s.hub = hub
		key := must(s.world.d.SignatureKey(t.Context(), hub.name(), s.suite))(s.t)
		nobody := must(s.world.d.SignatureKey(t.Context(), s.prefix+"nobody", s.suite))(s.t)
		return must(s.world.d.ExternalSenders(t.Context(), ExternalSender{nobody, Bytes("nobody")}, ExternalSender{key, Bytes("hub")}))(s.t)
	}
	both(t, func(s *scene) {
		send := func(p Proposal) {
			s.t.Helper()
			info := made[[]byte](s.world)(s.b.groupInfo(false))
			var message []byte
			if hub, ok := s.hub.(*ourMember); ok {
				x := made[*mls.Proposal](s.world)(hub.proposal(p))
				i := made[*mls.Message](s.world)(parseOurs(info))
				message = made[*mls.Message](s.world)(mls.ProposeAsExternalSender(&i.GroupInfo.Context, x, 1, hub.params.Signer, []byte("hub"))).Bytes()
			} else {
				message = must(s.world.d.ExternalPropose(s.t.Context(), ExternalProposeRequest{
					Client: s.hub.name(), GroupInfo: info, SenderIndex: 1, AuthenticatedData: Bytes("hub"), Proposal: p}))(s.t)
			}
			s.hear(nil, message, []byte("hub"))
		}
		send(Proposal{Remove: s.leaf(s.c)})
		s.commit(s.b, commitOptions{})
		s.count(3)
		e := s.client(s.other, "e")
		send(Proposal{Add: made[[]byte](s.world)(e.keyPackage())})
		s.welcome(s.commit(s.b, commitOptions{}), false, e)
		s.count(4)
		s.talkAll()
		id := Bytes("psk of the hub")
		for _, m := range s.members {
			s.check(m.addPSK(id, bytes.Repeat([]byte{3}, 32)))
		}
		if s.mine == "ours" {
			send(Proposal{PSK: &PSK{ID: id}})
		} else {
			nonce := bytes.Repeat([]byte{1}, 32)
			send(Proposal{PSK: &PSK{ID: id, Nonce: nonce}})
		}
		s.commit(s.d, commitOptions{})
		s.talkAll()
		// Whoever wants to join proposes that itself.
		f := s.client(s.mine, "f")
		kp := made[[]byte](s.world)(f.keyPackage())
		info := made[[]byte](s.world)(s.b.groupInfo(false))
		var message []byte
		if us, ok := f.(*ourMember); ok {
			i := made[*mls.Message](s.world)(parseOurs(info))
			message = made[*mls.Message](s.world)(mls.ProposeAsNewMember(&i.GroupInfo.Context, us.packages[0], nil)).Bytes()
		} else {
			message = must(s.world.d.NewMemberPropose(s.t.Context(), f.name(), kp, info))(s.t)
		}
		s.hear(nil, message, nil)
		s.welcome(s.commit(s.b, commitOptions{}), false, f)
		s.count(5)
		s.talkAll()
	}, senders)
}

func TestOursPSK(t *testing.T) {
	t.Run("external", func(t *testing.T) {
		both(t, func(s *scene) {
			e := s.client(s.mine, "e")
			f := s.client(s.other, "f")
			for i, id := range []string{"one", "two"} {
				for _, m := range append([]member{e, f}, s.members...) {
					s.check(m.addPSK([]byte(id), bytes.Repeat([]byte{byte(i + 1)}, 16+16*i)))
				}
			}
			one, two := Proposal{PSK: &PSK{ID: Bytes("one")}}, Proposal{PSK: &PSK{ID: Bytes("two")}}
			s.commit(s.a, commitOptions{proposals: []Proposal{one}})
			s.talkAll()
			s.propose(s.a, two, false, nil)
			s.commit(s.b, commitOptions{})
			s.talkAll()
			s.propose(s.b, one, false, nil)
			s.commit(s.a, commitOptions{proposals: []Proposal{two}})
			s.talkAll()
			// With a Welcome: the joiners need the keys as well.
			s.welcome(s.commit(s.a, commitOptions{proposals: []Proposal{two, one,
				{Add: made[[]byte](s.world)(e.keyPackage())}, {Add: made[[]byte](s.world)(f.keyPackage())}}}), false, e, f)
			s.count(6)
			s.talkAll()
		})
	})
	t.Run("resumption", func(t *testing.T) {
		both(t, func(s *scene) {
			s.commit(s.b, commitOptions{})
			for _, back := range []uint64{0, 1} {
				epoch := s.server.Epoch() - back
				p := Proposal{PSK: &PSK{Epoch: &epoch}}
				s.commit(s.a, commitOptions{proposals: []Proposal{p}})
				s.talkAll()
				epoch = s.server.Epoch() - back
				s.propose(s.a, p, false, nil)
				s.commit(s.b, commitOptions{})
				s.talkAll()
			}
		})
	})
}

// TestOursContinue: ts-mls joins groups that our engine branches or
// reinitializes. The other way is X7, X18.
func TestOursContinue(t *testing.T) {
	continued := func(s *scene, by *ourMember, others []member, start func(mls.ContinueParams) (*mls.Group, *mls.StagedCommit, error), id []byte) {
		s.t.Helper()
		p := mls.ContinueParams{LeafParams: by.params, GroupID: id}
		next := &world{t: s.t, d: s.world.d, suite: s.suite, opts: s.opts}
		var joiners []member
		for _, m := range others {
			j := m.again()
			switch x := j.(type) {
			case *tsMember:
				x.resume = m.(*tsMember).handle
			case *ourMember:
				x.parent = m.(*ourMember).g
			}
			k := made[*mls.Message](s.world)(parseOurs(made[[]byte](s.world)(j.keyPackage())))
			p.Members = append(p.Members, made[*mls.ValidKeyPackage](s.world)(k.KeyPackage.Verify(mls.Config{Authenticator: mls.AcceptBasic{}}, time.Now())))
			joiners = append(joiners, j)
		}
		g, staged, err := start(p)
		s.check(err)
		s.check(g.Merge(staged))
		first := by.again().(*ourMember)
		first.g = g
		next.members = []member{first}
		next.watch(first)
		next.welcome(Commit{Welcome: staged.Welcome.Message().Bytes()}, false, joiners...)
		next.talkAll()
		for _, m := range slices.Clone(next.members) {
			next.commit(m, commitOptions{})
		}
		next.talkAll()
	}
	us := func(s *scene) (*ourMember, []member) {
		for i, m := range s.members {
			if m, ok := m.(*ourMember); ok {
				return m, append(slices.Clone(s.members[:i]), s.members[i+1:]...)
			}
		}
		return nil, nil
	}
	t.Run("branch", func(t *testing.T) {
		both(t, func(s *scene) {
			by, others := us(s)
			continued(s, by, others[:2], func(p mls.ContinueParams) (*mls.Group, *mls.StagedCommit, error) {
				return by.g.Branch(p, by.config(), time.Now())
			}, []byte("branch"))
			s.talkAll() // the old group goes on
		})
	})
	t.Run("reinit", func(t *testing.T) {
		both(t, func(s *scene) {
			by, others := us(s)
			// Proposed by a's kind, committed by b's.
			s.propose(s.a, Proposal{ReInit: &ReInit{GroupID: Bytes("new room"), Suite: s.suite}}, false, nil)
			s.commit(s.b, commitOptions{})
			if s.server.ReInit() == nil {
				s.t.Fatal("the server missed the ReInit")
			}
			for _, m := range s.members {
				if _, err := m.encrypt([]byte("late"), nil); err == nil {
					s.t.Errorf("%s sends in a closed group", m.kind())
				}
			}
			continued(s, by, others, func(p mls.ContinueParams) (*mls.Group, *mls.StagedCommit, error) {
				return by.g.Reinit(p, by.config(), time.Now())
			}, nil)
		})
	})
}

func TestOursGroupContextExtensions(t *testing.T) {
	list := func(s *scene, data string) *[]Extension {
		required := must(s.world.d.RequiredCapabilities(s.t.Context(), []uint16{unknownExtension}, []uint16{unknownProposal}, []uint16{1}))(s.t)
		return &[]Extension{required, {Type: unknownExtension, Data: Bytes(data)}}
	}
	has := func(s *scene, data string) {
		s.t.Helper()
		for _, m := range s.members {
			if v := made[view](s.world)(m.view()); !bytes.Contains(v.context, []byte(data)) {
				s.t.Fatalf("%s has not the extension %q", m.kind(), data)
			}
		}
	}
	us := func(s *scene) member { // one of ours that is not a
		if s.mine == "ours" {
			return s.c
		}
		return s.b
	}
	t.Run("committed-by-ours", func(t *testing.T) {
		both(t, func(s *scene) {
			s.propose(s.a, Proposal{GroupContextExtensions: list(s, "by reference")}, false, nil)
			s.commit(us(s), commitOptions{})
			has(s, "by reference")
			s.talkAll()
			s.commit(us(s), commitOptions{proposals: []Proposal{{GroupContextExtensions: list(s, "by value")}}})
			has(s, "by value")
			// Whoever joins learns them; whoever cannot know them stays out.
			s.add(s.a, false, s.client(s.other, "e"))
			s.committedJoin(s.client(s.mine, "f"), s.b)
			s.count(6)
			s.talkAll()
			s.world.opts = LeafOptions{}
			weak := s.client("ts-mls", "weak")
			kp := made[[]byte](s.world)(weak.keyPackage())
			if _, err := us(s).commit(commitOptions{proposals: []Proposal{{Add: kp}}}); !errors.Is(err, mls.ErrCapabilities) {
				s.t.Fatalf("adding a client without the required capabilities: %v", err)
			}
		})
	})
	// X1: a commit of ts-mls with this proposal is no commit that others could
	// take. RFC 9420 section 12.4: a commit "MUST" have a path if a proposal of
	// it requires one (section 17.4); section 12.4.1: path secrets are encrypted
	// to the provisional GroupContext with the new extensions. We refuse both.
	t.Run("committed-by-ts-mls-is-refused", func(t *testing.T) {
		both(t, func(s *scene) {
			ts := slices.IndexFunc(s.members, func(m member) bool { return m.kind() == "ts-mls" })
			by := s.members[ts].(*tsMember)
			refused := func(want error, p ...Proposal) {
				s.t.Helper()
				c := must(by.d.Commit(s.t.Context(), CommitRequest{Group: by.handle, Proposals: p, Stage: true}))(s.t)
				for _, m := range s.members {
					if m, ok := m.(*ourMember); ok {
						if _, err := m.process(c.Message); !errors.Is(err, want) {
							s.t.Fatalf("commit of ts-mls with GroupContextExtensions: %v, want %v", err, want)
						}
					}
				}
				s.check(by.d.DiscardCommit(s.t.Context(), by.handle))
			}
			gce := Proposal{GroupContextExtensions: list(s, "refused")}
			refused(mls.ErrBadPath, gce)
			refused(mls.ErrDecrypt, gce, Proposal{Remove: s.leaf(s.members[ts+2])})
			// By reference it is no better. Refusals have changed nothing, and
			// ours commits the same proposal.
			s.propose(us(s), gce, false, nil)
			refused(mls.ErrBadPath)
			s.commit(us(s), commitOptions{})
			has(s, "refused")
			s.talkAll()
			// X2: an empty list is to ts-mls no change, so it computes another
			// epoch. Section 12.1.7: the list replaces the whole of the old one.
			c := made[*mls.StagedCommit](s.world)(us(s).(*ourMember).g.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{
				{Type: mls.ProposalGroupContextExtensions, Extensions: mls.Extensions{}}}}, time.Now()))
			if _, err := by.process(c.Message.Bytes()); err == nil {
				s.t.Error("ts-mls now takes an empty list of GroupContext extensions: update limit X2")
			}
		})
	})
}

// committedJoin lets a client in by external commit with b's GroupInfo.
func (s *scene) committedJoin(m, from member) {
	s.t.Helper()
	s.committed(m, made[Commit](s.world)(m.externalJoin(made[[]byte](s.world)(from.groupInfo(true)), nil, externalOptions{})), nil)
}

func TestOursApplication(t *testing.T) {
	both(t, func(s *scene) {
		// Sizes around the padding of either side, AAD, nothing at all.
		for _, n := range []int{0, 1, 63, 64, 127, 128, 255, 256, 257, 5000} {
			s.talk(s.a, strings.Repeat("x", n), bytes.Repeat([]byte{7}, n%50))
		}
		// Out of order, one of them never, one of them twice.
		var messages [][]byte
		for i := range 8 {
			messages = append(messages, made[[]byte](s.world)(s.a.encrypt(fmt.Appendf(nil, "%d", i), nil)))
		}
		for _, i := range []int{5, 0, 7, 3, 1, 6, 2} {
			s.read(s.a, messages[i], fmt.Sprint(i), nil)
		}
		for _, m := range []member{s.b, s.c, s.d} {
			if _, err := m.process(messages[3]); err == nil {
				s.t.Errorf("%s read a message twice", m.kind())
			}
		}
		// Later than its epoch.
		late := made[[]byte](s.world)(s.a.encrypt([]byte("late"), []byte("aad")))
		s.commit(s.b, commitOptions{})
		s.commit(s.a, commitOptions{})
		s.read(s.a, late, "late", []byte("aad"))
		s.read(s.a, messages[4], "4", nil)
		s.talkAll()
		// A changed ciphertext is refused, and the honest one still read.
		good := made[[]byte](s.world)(s.a.encrypt([]byte("good"), nil))
		bad := bytes.Clone(good)
		bad[len(bad)-1] ^= 1
		for _, m := range []member{s.b, s.c, s.d} {
			if _, err := m.process(bad); err == nil {
				s.t.Errorf("%s read a changed message", m.kind())
			}
		}
		s.read(s.a, good, "good", nil)
	})
}

// TestOursFraming: every handshake as PublicMessage and as PrivateMessage,
// with authenticated data.
func TestOursFraming(t *testing.T) {
	for _, private := range []bool{false, true} {
		t.Run(map[bool]string{false: "public", true: "private"}[private], func(t *testing.T) {
			both(t, func(s *scene) {
				aad := []byte("handshake aad")
				e := s.client(s.other, "e")
				s.propose(s.a, Proposal{Add: made[[]byte](s.world)(e.keyPackage())}, private, aad)
				if private {
					// The server cannot know what the next commit refers to,
					// so that commit is private too.
					s.welcome(s.commit(s.b, commitOptions{private: true, aad: aad}), false, e)
				} else {
					s.welcome(s.commit(s.b, commitOptions{aad: aad}), false, e)
				}
				s.count(5)
				s.propose(s.a, Proposal{Update: true}, private, aad)
				s.propose(s.b, Proposal{Update: true}, private, nil)
				s.commit(s.c, commitOptions{private: private, aad: aad})
				s.talkAll()
				s.commit(s.a, commitOptions{private: private, aad: aad})
				s.commit(s.a, commitOptions{private: private})
				s.propose(s.a, Proposal{Remove: s.leaf(e)}, private, aad)
				s.commit(s.d, commitOptions{private: private, aad: aad})
				s.count(4)
				s.talkAll()
				s.commit(s.a, commitOptions{private: private, aad: aad, proposals: []Proposal{{Remove: s.leaf(s.d)}}})
				s.count(3)
				s.talkAll()
			})
		})
	}
}

func TestOursCustomProposals(t *testing.T) {
	// A private-use type of our shape, opaque<V>, travels. Beside it goes an
	// Update, so that ts-mls makes a path.
	t.Run("unknown", func(t *testing.T) {
		both(t, func(s *scene) {
			custom := Proposal{Custom: &CustomProposal{Type: unknownProposal, Data: Bytes("custom")}}
			s.propose(s.a, custom, false, []byte("aad"))
			s.propose(s.c, Proposal{Update: true}, false, nil)
			s.commit(s.b, commitOptions{})
			s.talkAll()
			s.propose(s.c, Proposal{Update: true}, false, nil)
			s.commit(s.a, commitOptions{proposals: []Proposal{custom}})
			s.talkAll()
		})
	})
	// ts-mls makes no path for an unknown type alone. Nothing says what such a
	// type does, so ours demands one (doc.go of the engine).
	t.Run("unknown-without-path-is-refused", func(t *testing.T) {
		both(t, func(s *scene) {
			by, us := s.a, s.b
			if s.mine == "ours" {
				by, us = s.b, s.a
			}
			ts := by.(*tsMember)
			c := must(ts.d.Commit(s.t.Context(), CommitRequest{Group: ts.handle, Stage: true,
				Proposals: []Proposal{{Custom: &CustomProposal{Type: unknownProposal, Data: Bytes("custom")}}}}))(s.t)
			if _, err := us.process(c.Message); !errors.Is(err, mls.ErrBadPath) {
				s.t.Fatalf("got %v", err)
			}
			s.check(ts.d.DiscardCommit(s.t.Context(), ts.handle))
			s.commit(by, commitOptions{})
			s.talkAll()
		})
	})
	// X10: SelfRemove, AppDataUpdate and AppEphemeral. ts-mls does not list
	// them, so ours does not propose them.
	t.Run("mls-extensions", func(t *testing.T) {
		both(t, func(s *scene) {
			var us *ourMember
			for _, m := range s.members {
				if m, ok := m.(*ourMember); ok {
					us = m
				}
			}
			proposals := []*mls.Proposal{
				{Type: mls.ProposalSelfRemove},
				{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: 0x8001, Op: mls.AppDataSet, Update: []byte("data")}},
				{Type: mls.ProposalAppEphemeral, Component: 0x8001, Content: []byte("data")},
			}
			for _, p := range proposals {
				if _, err := us.g.Propose(p, mls.SendOptions{}, time.Now()); !errors.Is(err, mls.ErrCapabilities) {
					s.t.Errorf("proposal type %d where ts-mls does not list it: %v", p.Type, err)
				}
			}
			s.commit(s.b, commitOptions{})
		})
	})
	// Where it lists them all the same it cannot read the messages, and stays
	// as it was. SelfRemove is empty: ts-mls takes what follows, the signature,
	// for the content.
	t.Run("mls-extensions-listed", func(t *testing.T) {
		for _, suite := range []uint16{1, 2, 3} {
			w := &world{t: t, d: sharedDriver(t, suite), suite: suite, prefix: fmt.Sprint(t.Name(), suite), opts: LeafOptions{ProposalTypes: []uint16{8, 9, 10}, ExtensionTypes: []uint16{6}}}
			us, ts, third := w.client("ours", "us").(*ourMember), w.client("ts-mls", "ts"), w.client("ours", "third").(*ourMember)
			us.params.Capabilities.Proposals = append(us.params.Capabilities.Proposals, mls.ProposalAppEphemeral)
			w.create(us)
			w.add(us, false, ts, third)
			for _, p := range []*mls.Proposal{
				{Type: mls.ProposalSelfRemove},
				{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: 0x8001, Op: mls.AppDataSet, Update: []byte("data")}},
			} {
				m, err := third.g.Propose(p, mls.SendOptions{}, time.Now())
				w.check(err)
				if _, err := us.process(m.Bytes()); err != nil {
					t.Fatal(err)
				}
				if _, err := ts.process(m.Bytes()); err == nil {
					t.Errorf("suite %d: ts-mls now takes proposal type %d: update limit X10", suite, p.Type)
				}
			}
			for _, m := range []*ourMember{us, third} {
				for _, p := range m.g.Public().Pending() {
					m.g.Drop(p.Ref)
				}
			}
			w.commit(ts, commitOptions{})
			w.commit(us, commitOptions{})
			w.talkAll()
		}
	})
}
