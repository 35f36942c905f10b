package mls

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/cryptotest"
	"time"
)

// What the fuzz targets share: a small group built the same way every time, a
// reader of decisions from fuzz input, and the properties that hold for any
// message whatever.

var fuzzTime = time.Unix(1_700_000_000, 0)

func fuzzGot[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func fuzzOK(err error) {
	if err != nil {
		panic(err)
	}
}

// fuzzPSKs knows one external PSK.
type fuzzPSKs struct{}

func (fuzzPSKs) ExternalPSK(id []byte) ([]byte, error) {
	if string(id) != "psk" {
		return nil, ErrUnknownPSK
	}
	return []byte("a pre-shared key of the tests...."), nil
}

func (fuzzPSKs) ResumptionPSK([]byte, uint64) ([]byte, error) { return nil, ErrUnknownPSK }

// fuzzMessage is an honest message for the room's present epoch.
type fuzzMessage struct {
	name string
	raw  []byte
	info *GroupInfo
	from int // position among the members, -1 for strangers
}

// fuzzRoom is a group of five in a tree of eight leaves, with a hole, unmerged
// leaves, an external sender, a dictionary and one pending proposal of nearly
// every kind. Nothing a fuzz target does changes it for good.
type fuzzRoom struct {
	suite   CipherSuite
	cfg     Config
	server  *PublicGroup
	members []*Group
	owner   SignatureKey         // external sender 0
	spare   []*PrivateKeyPackage // clients outside
	joiner  *PrivateKeyPackage   // whom welcome lets in
	joined  *Group               // a member of the epoch that welcome is for
	welcome *Welcome
	secrets groupSecrets // what welcome tells joiner
	info    *GroupInfo   // what welcome holds
	tree    *RatchetTree // of that epoch
	honest  []fuzzMessage
	parts   [][]Part
}

var fuzzRooms = map[CipherSuite]*fuzzRoom{}

// fuzzRoomOf returns the process's room of a suite, made from fixed randomness,
// and sets the randomness of the present test to a fixed stream.
func fuzzRoomOf(t *testing.T, suite CipherSuite) *fuzzRoom {
	r := fuzzRooms[suite]
	if r == nil {
		cryptotest.SetGlobalRandom(t, 9420+uint64(suite))
		r = newFuzzRoom(suite)
		fuzzRooms[suite] = r
	}
	cryptotest.SetGlobalRandom(t, 1)
	return r
}

func (r *fuzzRoom) params(name string) LeafParams {
	return LeafParams{Suite: r.suite, Signer: fuzzGot(GenerateSignatureKey(r.suite)),
		Credential: BasicCredential([]byte(name)), Lifetime: LifetimeOf(fuzzTime, 24*time.Hour)}
}

func (r *fuzzRoom) keyPackage(name string) (*PrivateKeyPackage, *ValidKeyPackage) {
	kp := fuzzGot(NewKeyPackage(r.params(name), false, nil))
	return kp, fuzzGot(kp.kp.Verify(Config{Authenticator: AcceptBasic{}}, fuzzTime))
}

func fuzzConfig() Config {
	return Config{Authenticator: AcceptBasic{}, PSKs: fuzzPSKs{},
		Limits: Limits{ForwardGenerations: 16, SkippedKeys: 8, PendingProposals: 32, Leaves: 64}}
}

func newFuzzRoom(suite CipherSuite) *fuzzRoom {
	r := &fuzzRoom{suite: suite, cfg: fuzzConfig()}
	r.owner = fuzzGot(GenerateSignatureKey(suite))
	g := fuzzGot(CreateGroup(GroupParams{LeafParams: r.params("m0"), GroupID: []byte("fuzz room"), Extensions: Extensions{
		ExternalSendersExtension([]ExternalSender{{r.owner.Public(), BasicCredential([]byte("owner"))}}),
		RequiredCapabilities{Extensions: []ExtensionType{ExtAppDataDictionary}, Credentials: []CredentialType{CredentialBasic}}.Extension(),
		Dictionary{1: []byte("one"), 9: {}}.Extension(),
	}}, r.cfg))
	r.server = fuzzGot(NewPublicGroup(fuzzGot(g.GroupInfo(true)), nil, r.cfg, fuzzTime))
	r.members = []*Group{g}
	r.add(0, CommitOptions{}, "m1", "m2", "m3", "m4", "m5")
	for i := range r.members {
		r.commit(i, CommitOptions{})
	}
	r.commit(0, CommitOptions{Remove: []LeafIndex{4}})
	r.add(0, CommitOptions{OmitPath: true}, "m6") // unmerged at leaf 4
	r.commit(1, CommitOptions{Remove: []LeafIndex{2}})
	r.add(3, CommitOptions{OmitPath: true}, "m7") // unmerged at leaf 2
	late := fuzzGot(r.members[1].Encrypt([]byte("late"), SendOptions{}))
	r.commit(2, CommitOptions{Remove: []LeafIndex{1}})
	for i := range 4 {
		kp, _ := r.keyPackage(fmt.Sprint("spare ", i))
		r.spare = append(r.spare, kp)
	}

	// Pending proposals, one of nearly every kind.
	m := r.members
	r.hear(2, fuzzGot(m[2].ProposeUpdate(LeafChange{}, SendOptions{}, fuzzTime)))
	for _, p := range []struct {
		from int
		p    *Proposal
	}{
		{0, &Proposal{Type: ProposalRemove, Remove: m[3].own}},
		{4, &Proposal{Type: ProposalSelfRemove}},
		{0, &Proposal{Type: ProposalAdd, Add: r.spare[0].kp}},
		{1, NewPSKProposal(PreSharedKeyID{Type: PSKExternal, ID: []byte("psk")})},
		{1, &Proposal{Type: ProposalAppDataUpdate, AppData: &AppDataUpdate{Component: 7, Op: AppDataSet, Update: []byte("seven")}}},
		{0, &Proposal{Type: ProposalGroupContextExtensions, Extensions: r.server.ctx.Extensions}},
		{3, &Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("next"), Version: MLS10, Suite: r.suite, Extensions: Extensions{}}}},
	} {
		r.hear(p.from, fuzzGot(m[p.from].Propose(p.p, SendOptions{}, fuzzTime)))
	}

	// Honest messages that nobody has taken.
	note := func(name string, from int, msg *Message, info *GroupInfo) {
		r.honest = append(r.honest, fuzzMessage{name, msg.Bytes(), info, from})
	}
	kp, v := r.keyPackage("joiner")
	s := fuzzGot(m[1].Commit(CommitOptions{Add: []*ValidKeyPackage{v}, WithoutPending: true}, fuzzTime))
	note("commit", 1, s.Message, s.GroupInfo)
	note("welcome", -1, s.Welcome.Message(), nil)
	note("group info", -1, s.GroupInfo.Message(), nil)
	r.joiner, r.welcome = kp, s.Welcome
	r.openWelcome(s)
	s = fuzzGot(m[0].Commit(CommitOptions{}, fuzzTime))
	note("commit of all pending", 0, s.Message, s.GroupInfo)
	remove := &Proposal{Type: ProposalRemove, Remove: m[1].own}
	note("proposal", 2, sealedProposal(m[2], remove, WirePublicMessage), nil)
	note("private proposal", 2, sealedProposal(m[2], remove, WirePrivateMessage), nil)
	note("application message", 1, fuzzGot(m[1].Encrypt([]byte("hello"), SendOptions{AAD: []byte("aad"), PadTo: 32})), nil)
	note("late application message", 1, late, nil)
	s = fuzzGot(m[3].Commit(CommitOptions{Private: true, WithoutPending: true}, fuzzTime))
	note("private commit", 3, s.Message, s.GroupInfo)
	s = fuzzGot(ExternalCommit(fuzzGot(m[0].GroupInfo(true)), ExternalOptions{LeafParams: r.params("stranger")}, r.cfg, fuzzTime))
	note("external commit", -1, s.Message, s.GroupInfo)
	note("new member proposal", -1, fuzzGot(ProposeAsNewMember(&r.server.ctx, r.spare[1], nil)), nil)
	note("external proposal", -1, fuzzGot(ProposeAsExternalSender(&r.server.ctx, remove, 0, r.owner, nil)), nil)
	note("key package", -1, r.spare[2].kp.Message(), nil)
	for i, m := range r.members {
		r.parts = append(r.parts, AllParts(m))
		r.reload(i)
	}
	return r
}

// openWelcome notes the secrets inside the Welcome of s.
func (r *fuzzRoom) openWelcome(s *StagedCommit) {
	gs := fuzzGot(r.welcome.open(r.joiner, r.cfg.Limits))
	r.secrets = *gs
	r.tree = &RatchetTree{s.Change.tree}
	key, nonce := r.suite.welcomeKeys(memberSecret(gs.joiner, fuzzGot(lookupPSKs(gs.psks, nil, r.cfg.PSKs))))
	r.info = fuzzGot(ParseGroupInfo(fuzzGot(r.suite.aead(key).Open(nil, nonce, r.welcome.encryptedGroupInfo, nil)), Limits{}))
	r.joined = fuzzGot(JoinWelcome(r.welcome, r.joiner, JoinOptions{Tree: r.tree}, r.cfg, fuzzTime))
}

func partsOf(parts []Part) func(func(string, []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for _, p := range parts {
			if !yield(p.Key, bytes.Clone(p.Value)) {
				return
			}
		}
	}
}

// reload makes member i what it was when the room was finished.
func (r *fuzzRoom) reload(i int) { r.members[i] = fuzzGot(LoadGroup(partsOf(r.parts[i]), r.cfg)) }

// reparsed encodes and decodes.
func reparsed(m *Message) *Message { return fuzzGot(ParseMessage(m.Bytes(), Limits{})) }

func (r *fuzzRoom) commit(from int, o CommitOptions) *StagedCommit {
	s := fuzzGot(r.members[from].Commit(o, fuzzTime))
	fuzzOK(r.deliver(from, s))
	return s
}

func (r *fuzzRoom) deliver(from int, s *StagedCommit) error {
	m := reparsed(s.Message)
	c, err := r.server.Process(m.Public, s.GroupInfo, fuzzTime)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	fuzzOK(r.server.Apply(c))
	var left []*Group
	for i, x := range r.members {
		if i == from {
			fuzzOK(x.Merge(s))
		} else {
			got, err := x.Process(m, fuzzTime)
			if err != nil {
				return fmt.Errorf("member %d: %w", i, err)
			}
			fuzzOK(x.Apply(got))
		}
		if !x.removed {
			left = append(left, x)
		}
	}
	r.members = left
	return nil
}

func (r *fuzzRoom) add(from int, o CommitOptions, names ...string) {
	var kps []*PrivateKeyPackage
	for _, n := range names {
		kp, v := r.keyPackage(n)
		kps, o.Add = append(kps, kp), append(o.Add, v)
	}
	s := r.commit(from, o)
	for _, kp := range kps {
		r.members = append(r.members, fuzzGot(JoinWelcome(s.Welcome, kp, JoinOptions{Tree: r.server.Tree()}, r.cfg, fuzzTime)))
	}
}

func (r *fuzzRoom) hear(from int, msg *Message) {
	m := reparsed(msg)
	fuzzOK(r.server.Apply(fuzzGot(r.server.Process(m.Public, nil, fuzzTime))))
	for i, x := range r.members {
		if i != from {
			fuzzOK(x.Apply(fuzzGot(x.Process(m, fuzzTime))))
		}
	}
}

// copied returns an independent room in the same state. Only what delivering
// needs is copied.
func (r *fuzzRoom) copied() *fuzzRoom {
	c := &fuzzRoom{suite: r.suite, cfg: r.cfg, server: fuzzGot(LoadPublicGroup(partsOf(PublicParts(r.server)), r.cfg))}
	for _, m := range r.members {
		c.members = append(c.members, fuzzGot(LoadGroup(partsOf(AllParts(m)), r.cfg)))
	}
	return c
}

// sealedProposal frames a proposal without asking whether it is allowed and
// without changing the sender.
func sealedProposal(g *Group, p *Proposal, as WireFormat) *Message {
	a := g.frame(ContentProposal, as, nil)
	a.proposal = p
	fuzzOK(a.sign(g.signer, &g.pub.ctx))
	return sealedContent(g, a)
}

// sealedContent frames signed content, with a key that the sender keeps.
func sealedContent(g *Group, a *authContent) *Message {
	if a.wire == WirePublicMessage {
		return publicMessage(a, &g.pub.ctx, g.epoch.membership).Message()
	}
	handshake := a.kind != ContentApplication
	step := fuzzGot(g.keys.find(ratchetID{g.own, handshake}, g.nextGeneration(handshake), &g.pub.cfg.Limits))
	return g.pub.ctx.Suite.sealPrivate(a, g.epoch.senderData, step, 0).Message()
}

// publicPrint and memberPrint are equal for equal states.
func publicPrint(g *PublicGroup) string {
	h := sha256.New()
	fmt.Fprintf(h, "%x %x %x %v %v %v %v %d %d %d\n", g.ctx.append(nil), g.tag, g.interim, g.support, g.senders,
		g.required, g.closed, len(g.keys), len(g.byRef), len(g.pending))
	for _, p := range g.pending {
		h.Write(p.Ref)
	}
	for _, p := range PublicParts(g) {
		fmt.Fprintf(h, "%s %x\n", p.Key, p.Value)
	}
	return string(h.Sum(nil))
}

func memberPrint(g *Group) string {
	h := sha256.New()
	fmt.Fprintf(h, "%x %v %d\n", publicPrint(g.pub), g.removed, len(g.updates))
	for _, p := range AllParts(g) {
		fmt.Fprintf(h, "%s %x\n", p.Key, p.Value)
	}
	return string(h.Sum(nil))
}

// allocatedBytes returns what f allocates, garbage included.
func allocatedBytes(f func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc
}

// bounded fails if f allocates more than base and per bytes for each of n.
func bounded(t testing.TB, what string, base, per, n int, f func()) {
	t.Helper()
	if got, limit := allocatedBytes(f), uint64(base+per*n); got > limit {
		t.Fatalf("%s of %d bytes: %d bytes allocated, limit %d", what, n, got, limit)
	}
}

// Processing a message costs signatures and HPKE besides the bytes of the
// message; the group is small, so both are bounded by constants here.
const (
	processBase    = 1 << 20
	processPerByte = 400
)

// script reads decisions from fuzz input. Where the input ends every decision
// is zero.
type script struct{ b []byte }

func (s *script) more() bool { return len(s.b) > 0 }

func (s *script) u8() int {
	if len(s.b) == 0 {
		return 0
	}
	v := s.b[0]
	s.b = s.b[1:]
	return int(v)
}

func (s *script) u16() int { return s.u8()<<8 | s.u8() }

func (s *script) pick(n int) int { return s.u8() % n }

func (s *script) flag() bool { return s.u8()&1 == 1 }

func (s *script) bytes(n int) []byte {
	n = min(n, len(s.b))
	out := bytes.Clone(s.b[:n])
	s.b = s.b[n:]
	return out
}

// edit changes bytes until the script ends, but sixteen times at most.
func (s *script) edit(b []byte) []byte {
	b = bytes.Clone(b)
	for n := 0; n < 16 && s.more(); n++ {
		op, at := s.pick(8), 0
		if v := s.u16(); len(b) > 0 {
			at = v % len(b)
		}
		rest := bytes.Clone(b[at:])
		switch op {
		case 0:
			b = append(b[:at], s.bytes(1)...)
			b = append(b, rest[min(1, len(rest)):]...)
		case 1:
			if at < len(b) {
				b[at] ^= 1 << s.pick(8)
			}
		case 2:
			b = append(append(b[:at], s.bytes(s.pick(16))...), rest...)
		case 3:
			b = append(b[:at], rest[min(s.pick(64), len(rest)):]...)
		case 4:
			b = b[:at]
		case 5:
			b = append(b, s.bytes(1+s.pick(8))...)
		case 6:
			b = append(append(b[:at], rest[:min(s.u8(), len(rest))]...), rest...)
		case 7:
			for i := range s.pick(8) {
				if at+i < len(b) {
					b[at+i] = 0xff
				}
			}
		}
	}
	return b
}

// offer hands a message to the server and to every member but the sender, and
// checks what holds for any message: nothing changes by Process, save that an
// application message that is read consumes its key; memory is bounded; and
// those who accept a commit agree on what follows, and can go on. It returns
// how many accepted.
func (r *fuzzRoom) offer(t testing.TB, m *Message, info *GroupInfo, from int) (accepted int) {
	t.Helper()
	size := len(m.Bytes())
	if info != nil {
		size += len(info.Bytes())
	}
	var next *GroupContext
	agree := func(who string, c *Change) {
		accepted++
		if c == nil || c.Kind != ContentCommit {
			return
		}
		if next != nil && !next.Equal(c.Context) {
			t.Fatalf("%s accepts the commit with another GroupContext", who)
		}
		next = c.Context
	}
	var change *Change
	if m.Public != nil {
		before := publicPrint(r.server)
		var err error
		bounded(t, "server: message", processBase, processPerByte, size, func() {
			change, err = r.server.Process(m.Public, info, fuzzTime)
		})
		if publicPrint(r.server) != before {
			t.Fatalf("server has changed by Process (error %v)", err)
		}
		if err == nil {
			agree("server", change)
		}
	}
	got := make([]*Received, len(r.members))
	for i, x := range r.members {
		if i == from {
			continue
		}
		before := memberPrint(x)
		var err error
		bounded(t, "member: message", processBase, processPerByte, size, func() {
			got[i], err = x.Process(m, fuzzTime)
		})
		if err == nil {
			agree(fmt.Sprint("member ", i), got[i].Change)
		}
		if err == nil && got[i].Kind == ContentApplication {
			if _, err := x.Process(m, fuzzTime); err == nil {
				t.Fatalf("member %d reads a message twice", i)
			}
			r.reload(i)
		} else if memberPrint(x) != before {
			t.Fatalf("member %d has changed by Process (error %v)", i, err)
		}
	}
	if accepted > 0 && change != nil {
		r.goOn(t, m, info, from)
	}
	return accepted
}

// goOn lets a copy of the room take a message that the server accepted: those
// members who accept it too are in one epoch, and can commit.
func (r *fuzzRoom) goOn(t testing.TB, m *Message, info *GroupInfo, from int) {
	t.Helper()
	c := r.copied()
	ch := fuzzGot(c.server.Process(m.Public, info, fuzzTime))
	if err := c.server.Apply(ch); err != nil {
		t.Fatalf("server refuses to apply what it accepted: %v", err)
	}
	var in []*Group
	for i, x := range c.members {
		if i == from && ch.Kind == ContentCommit {
			continue // its part in its own forged commit is lost
		}
		got, err := x.Process(m, fuzzTime)
		if err != nil {
			continue
		}
		if err := x.Apply(got); err != nil {
			t.Fatalf("member %d refuses to apply what it accepted: %v", i, err)
		}
		if !x.removed {
			in = append(in, x)
		}
	}
	for _, x := range in {
		if !x.pub.ctx.Equal(&c.server.ctx) || !bytes.Equal(x.EpochAuthenticator(), in[0].EpochAuthenticator()) {
			t.Fatalf("leaf %d is in another epoch than leaf %d or the server", x.own, in[0].own)
		}
	}
	if c.server.closed != nil || len(in) == 0 {
		return
	}
	c.members = in
	// A newcomer accepts the tree that the members have come to.
	if _, err := NewPublicGroup(fuzzGot(in[0].GroupInfo(true)), nil, c.cfg, fuzzTime); err != nil {
		t.Fatalf("after an accepted %s nobody can join: %v", ch.Kind, err)
	}
	// Who lacks a PSK that another proposed must commit without it.
	if _, err := in[0].Commit(CommitOptions{}, fuzzTime); err != nil && !errors.Is(err, ErrUnknownPSK) {
		t.Fatalf("after an accepted %s no honest commit is possible: %v", ch.Kind, err)
	}
	s, err := in[0].Commit(CommitOptions{WithoutPending: true}, fuzzTime)
	if err != nil {
		t.Fatalf("after an accepted %s not even a commit without proposals is possible: %v", ch.Kind, err)
	}
	if err := c.deliver(0, s); err != nil {
		t.Fatalf("after an accepted %s an honest commit is refused: %v", ch.Kind, err)
	}
}
