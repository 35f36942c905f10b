package mls

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Attack tests: forged and malicious messages, those of insiders included, and
// the defects that were found in a library which passes every official vector.
//
// Defects are numbered as in the study that listed them, D00 to D32; the test
// of D03 is TestD03..., and so on. The study names the five extensibility
// defects together, D07/D19/D08/D23/D24, and they are taken in its order. Not
// described in the source, and covered by nothing by that name: D12, D13, D20,
// D25, D27.
//
// An insider's message here is right in all but the one rule it breaks: the
// path is encrypted to whom the broken rule leaves, signature, membership tag,
// confirmation tag and GroupInfo verify. So only the check in question refuses
// it, and without that check it would be accepted.

var attackTime = time.Unix(1_700_000_000, 0)

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want %v", what, err, want)
	}
}

func attackParams(t testing.TB, suite CipherSuite, name string) LeafParams {
	t.Helper()
	key, err := GenerateSignatureKey(suite)
	noErr(t, err)
	return LeafParams{Suite: suite, Signer: key, Credential: BasicCredential([]byte(name)),
		Lifetime: LifetimeOf(attackTime, 24*time.Hour)}
}

func attackKeyPackage(t testing.TB, p LeafParams) (*PrivateKeyPackage, *ValidKeyPackage) {
	t.Helper()
	kp, err := NewKeyPackage(p, false, nil)
	noErr(t, err)
	v, err := kp.kp.Verify(Config{Authenticator: anyone{}}, attackTime)
	noErr(t, err)
	return kp, v
}

// anyone is an Authenticator that takes every credential type.
type anyone struct{}

func (anyone) Authenticate(Credential, []byte, time.Time) error       { return nil }
func (anyone) AuthenticateSender(Credential, []byte, time.Time) error { return nil }
func (anyone) Succeeds(old, new Credential) error                     { return AcceptBasic{}.Succeeds(old, new) }

// room is a group, all its members and a server that follows it.
type room struct {
	t       testing.TB
	suite   CipherSuite
	cfg     Config
	server  *PublicGroup
	members []*Group
	// owned: the last external sender's key, where the room has one.
	owner SignatureKey
}

type roomParams struct {
	suite CipherSuite // default X25519AES128Ed25519
	cfg   Config
	caps  *Capabilities
	leaf  Extensions
	group Extensions
	owner bool // the group has an external sender
}

// newRoom makes a group of n members, each of whom has committed, so that all
// nodes of the tree have keys.
func newRoom(t testing.TB, n int, p roomParams) *room {
	t.Helper()
	if p.suite == 0 {
		p.suite = X25519AES128Ed25519
	}
	if p.cfg.Authenticator == nil {
		p.cfg.Authenticator = AcceptBasic{}
	}
	r := &room{t: t, suite: p.suite, cfg: p.cfg}
	params := func(i int) LeafParams {
		lp := attackParams(t, p.suite, fmt.Sprint("m", i))
		lp.Capabilities, lp.Extensions = p.caps, p.leaf
		return lp
	}
	ext := p.group
	if p.owner {
		var err error
		r.owner, err = GenerateSignatureKey(p.suite)
		noErr(t, err)
		ext = append(slices.Clone(ext), ExternalSendersExtension([]ExternalSender{
			{SignatureKey: r.owner.Public(), Credential: BasicCredential([]byte("owner"))}}))
	}
	g, err := CreateGroup(GroupParams{LeafParams: params(0), Extensions: ext}, p.cfg)
	noErr(t, err)
	info, err := g.GroupInfo(true)
	noErr(t, err)
	r.server, err = NewPublicGroup(info, nil, p.cfg, attackTime)
	noErr(t, err)
	r.members = []*Group{g}
	var o CommitOptions
	var joiners []*PrivateKeyPackage
	for i := 1; i < n; i++ {
		kp, v := attackKeyPackage(t, params(i))
		joiners, o.Add = append(joiners, kp), append(o.Add, v)
	}
	if n > 1 {
		r.invite(g, joiners, o)
		for _, m := range r.members {
			r.commit(m, CommitOptions{})
		}
	}
	return r
}

func (r *room) invite(from *Group, joiners []*PrivateKeyPackage, o CommitOptions) {
	r.t.Helper()
	s := r.commit(from, o)
	for _, kp := range joiners {
		m, err := JoinWelcome(s.Welcome, kp, JoinOptions{Tree: r.server.Tree()}, r.cfg, attackTime)
		noErr(r.t, err)
		r.members = append(r.members, m)
	}
}

// commit makes an honest commit that everybody takes.
func (r *room) commit(from *Group, o CommitOptions) *StagedCommit {
	r.t.Helper()
	s, err := from.Commit(o, attackTime)
	noErr(r.t, err)
	r.deliver(from, s)
	return s
}

func (r *room) deliver(from *Group, s *StagedCommit) {
	r.t.Helper()
	c, err := r.server.Process(wire(r.t, s.Message).Public, s.GroupInfo, attackTime)
	noErr(r.t, err)
	noErr(r.t, r.server.Apply(c))
	left := r.members[:0:0]
	for _, m := range r.members {
		if m == from {
			noErr(r.t, m.Merge(s))
		} else {
			got, err := m.Process(wire(r.t, s.Message), attackTime)
			noErr(r.t, err)
			noErr(r.t, m.Apply(got))
		}
		if !m.Removed() {
			left = append(left, m)
		}
	}
	r.members = left
	r.agree()
}

func (r *room) agree() {
	r.t.Helper()
	for i, m := range r.members {
		if !m.pub.ctx.Equal(&r.server.ctx) || !bytes.Equal(m.EpochAuthenticator(), r.members[0].EpochAuthenticator()) {
			r.t.Fatalf("member %d is in another epoch than the others or the server", i)
		}
		if !bytes.Equal(m.pub.Tree().Bytes(), r.server.Tree().Bytes()) {
			r.t.Fatalf("member %d has another tree than the server", i)
		}
	}
}

// propose delivers a proposal message to everybody but its sender, who made it
// with Propose, and returns its reference.
func (r *room) propose(from *Group, m *Message) []byte {
	r.t.Helper()
	c, err := r.server.Process(wire(r.t, m).Public, nil, attackTime)
	noErr(r.t, err)
	noErr(r.t, r.server.Apply(c))
	for _, x := range r.members {
		if x == from {
			continue
		}
		got, err := x.Process(wire(r.t, m), attackTime)
		noErr(r.t, err)
		noErr(r.t, x.Apply(got))
	}
	return c.Proposal.Ref
}

// talk sends one application message from everybody to everybody.
func (r *room) talk() {
	r.t.Helper()
	for _, from := range r.members {
		m, err := from.Encrypt([]byte("hello"), SendOptions{})
		noErr(r.t, err)
		for _, to := range r.members {
			if to == from {
				continue
			}
			got, err := to.Process(wire(r.t, m), attackTime)
			noErr(r.t, err)
			if string(got.Data) != "hello" {
				r.t.Fatalf("read %q", got.Data)
			}
		}
	}
}

// wire encodes and decodes.
func wire(t testing.TB, m *Message) *Message {
	t.Helper()
	out, err := ParseMessage(m.Bytes(), Limits{})
	noErr(t, err)
	return out
}

// state is all there is to a group, in the order of its names.
type state map[string]string

func publicState(g *PublicGroup, parts []Part) state {
	s := state{
		"context": string(g.ctx.Bytes()), "tree": string(g.Tree().Bytes()), "tag": string(g.tag),
		"interim": string(g.interim), "support": fmt.Sprint(g.support), "senders": fmt.Sprint(g.senders),
		"required": fmt.Sprint(g.required), "closed": fmt.Sprint(g.closed),
		"keys": strings.Join(slices.Sorted(maps.Keys(g.keys)), "|"),
	}
	for _, p := range g.pending {
		s["pending"] += string(p.Ref)
	}
	s["references"] = strings.Join(slices.Sorted(maps.Keys(g.byRef)), "|")
	for _, p := range parts {
		s["part "+p.Key] = string(p.Value)
	}
	return s
}

func memberState(t testing.TB, g *Group) state {
	t.Helper()
	s := publicState(g.pub, AllParts(g))
	s["authenticator"] = string(g.EpochAuthenticator())
	exported, err := g.Export("attack test", []byte("context"), 32)
	noErr(t, err)
	s["exporter"] = string(exported)
	s["removed"] = fmt.Sprint(g.removed)
	return s
}

func (s state) differs(o state) string {
	for k := range s {
		if s[k] != o[k] {
			return k
		}
	}
	for k := range o {
		if _, ok := s[k]; !ok {
			return k
		}
	}
	return ""
}

// clone returns an independent copy of the room, by way of its stored state.
func (r *room) clone() *room {
	r.t.Helper()
	c := &room{t: r.t, suite: r.suite, cfg: r.cfg}
	var err error
	c.server, err = LoadPublicGroup(partSeq(PublicParts(r.server)), r.cfg)
	noErr(r.t, err)
	for _, m := range r.members {
		c.members = append(c.members, cloneMember(r.t, m))
	}
	return c
}

func cloneMember(t testing.TB, g *Group) *Group {
	t.Helper()
	c, err := LoadGroup(partSeq(AllParts(g)), g.pub.cfg)
	noErr(t, err)
	return c
}

func partSeq(parts []Part) func(func(string, []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for _, p := range parts {
			if !yield(p.Key, bytes.Clone(p.Value)) {
				return
			}
		}
	}
}

// refuses hands a message to the server (unless it is private) and to every
// member but the sender. All must refuse it with the given errors, none may
// change, and the group must be able to go on.
func (r *room) refuses(what string, from *Group, m *Message, info *GroupInfo, server, member error) {
	r.t.Helper()
	if m.Public != nil {
		before := publicState(r.server, PublicParts(r.server))
		_, err := r.server.Process(wire(r.t, m).Public, info, attackTime)
		wantErr(r.t, what+": server", err, server)
		if d := before.differs(publicState(r.server, PublicParts(r.server))); d != "" {
			r.t.Errorf("%s: server's %s changed", what, d)
		}
	}
	for i, x := range r.members {
		if x == from {
			continue
		}
		r.memberRefuses(fmt.Sprintf("%s: member %d", what, i), x, m, member)
	}
	r.goesOn(what)
}

func (r *room) memberRefuses(what string, x *Group, m *Message, want error) {
	r.t.Helper()
	before := memberState(r.t, x)
	_, err := x.Process(wire(r.t, m), attackTime)
	wantErr(r.t, what, err, want)
	if d := before.differs(memberState(r.t, x)); d != "" {
		r.t.Errorf("%s: %s changed", what, d)
	}
}

// goesOn lets a copy of the room commit and talk.
func (r *room) goesOn(what string) {
	r.t.Helper()
	if r.server.closed != nil {
		return
	}
	c := r.clone()
	last := c.members[len(c.members)-1]
	s, err := last.Commit(CommitOptions{WithoutPending: true}, attackTime)
	if err != nil {
		r.t.Fatalf("%s: afterwards: %v", what, err)
	}
	c.deliver(last, s)
	m, err := last.Encrypt([]byte("still here"), SendOptions{})
	noErr(r.t, err)
	for _, x := range c.members {
		if x == last {
			continue
		}
		if got, err := x.Process(wire(r.t, m), attackTime); err != nil || string(got.Data) != "still here" {
			r.t.Fatalf("%s: afterwards: %v", what, err)
		}
	}
}

// accepts is the positive control: a forgery that breaks no rule is taken by
// all, so that the others are refused for the rule they break. It runs in a
// copy of the room.
func (r *room) accepts(what string, from *Group, m *Message, info *GroupInfo) *Change {
	r.t.Helper()
	c := r.clone()
	ch, err := c.server.Process(wire(r.t, m).Public, info, attackTime)
	if err != nil {
		r.t.Fatalf("%s: server: %v", what, err)
	}
	noErr(r.t, c.server.Apply(ch))
	for i, x := range c.members {
		if r.members[i] == from {
			continue
		}
		got, err := x.Process(wire(r.t, m), attackTime)
		if err != nil {
			r.t.Fatalf("%s: member %d: %v", what, i, err)
		}
		noErr(r.t, x.Apply(got))
		if !x.removed && !x.pub.ctx.Equal(&c.server.ctx) {
			r.t.Fatalf("%s: member %d and the server part ways", what, i)
		}
	}
	return ch
}

// forgery is a commit that keeps every rule except where its fields say
// otherwise.
type forgery struct {
	from      *Group      // the insider whose secrets and keys are used
	joiner    *LeafParams // or the outsider who joins
	proposals []*Proposal
	refs      [][]byte // references, before the proposals
	raw       []proposalOrRef
	noPath    bool
	private   bool
	// applied, where set, are the proposals whose effect the commit computes.
	applied    []*UsedProposal
	hasApplied bool
	leaf       func(*LeafNode)    // before the path leaf is signed
	keys       func([][]byte)     // before parent hashes are computed
	path       func(*updatePath)  // when the path is complete
	content    func(*authContent) // before it is signed
	signed     func(*authContent) // before tags are computed
	context    func(*GroupContext)
	info       func(*GroupInfo) // before it is signed
	signer     *SignatureKey    // of the frame and GroupInfo, instead of from's
}

func byValue(ps ...*Proposal) []*Proposal { return ps }

func (f forgery) build(t testing.TB) (*Message, *GroupInfo) {
	t.Helper()
	g := f.from
	pub := g.pub
	signer, init := g.signer, g.epoch.nextInit
	a := &authContent{wire: WirePublicMessage, framedContent: framedContent{
		groupID: pub.ctx.GroupID, epoch: pub.ctx.Epoch, sender: Sender{Type: SenderMember, Leaf: g.own},
		aad: []byte{}, kind: ContentCommit, commit: &commit{}}}
	if f.private {
		a.wire = WirePrivateMessage
	}
	var leaf LeafNode
	if f.joiner != nil {
		l, _, err := f.joiner.newLeaf()
		noErr(t, err)
		leaf, signer = *l, f.joiner.Signer
		a.sender = Sender{Type: SenderNewMemberCommit}
		_, external := pub.ctx.Suite.deriveHPKE(g.epoch.external)
		var kem []byte
		kem, init, err = pub.ctx.Suite.exportExternal(external)
		noErr(t, err)
		f.proposals = slices.Clone(f.proposals)
		for i, p := range f.proposals {
			if p.Type == ProposalExternalInit && p.KEMOutput == nil {
				f.proposals[i] = &Proposal{Type: ProposalExternalInit, KEMOutput: kem}
			}
		}
	} else {
		leaf = *pub.tree.leaf(g.own)
	}
	if f.signer != nil {
		signer = *f.signer
	}
	for _, ref := range f.refs {
		a.commit.proposals = append(a.commit.proposals, proposalOrRef{ref: ref})
	}
	for _, p := range f.proposals {
		a.commit.proposals = append(a.commit.proposals, proposalOrRef{proposal: p})
	}
	a.commit.proposals = append(a.commit.proposals, f.raw...)
	c := pub.newChange(a)
	c.Committer = g.own
	if f.hasApplied {
		c.Proposals = f.applied
	} else {
		for _, p := range a.commit.proposals {
			switch q := pub.byRef[string(p.ref)]; {
			case p.proposal != nil:
				c.Proposals = append(c.Proposals, &UsedProposal{Proposal: p.proposal, Sender: a.sender})
			case q != nil:
				c.Proposals = append(c.Proposals, q)
			}
		}
	}
	for _, p := range c.Proposals {
		if p.Proposal.Type == ProposalExternalInit {
			c.externalKEM = p.Proposal.KEMOutput
		}
	}
	suite := pub.ctx.Suite
	if !f.noPath {
		leaf.Source, leaf.ParentHash = LeafFromCommit, []byte{}
		_, leaf.EncryptionKey = suite.generateHPKE()
		if f.leaf != nil && f.joiner != nil {
			f.leaf(&leaf) // it goes into the provisional tree
		}
		c.path = &updatePath{leaf: leaf}
		a.commit.path = c.path
	}
	if err := pub.computeProvisional(c); err != nil {
		// The rule that is broken is in the computation itself, so nobody can
		// compute what follows: an honest looking rest.
		next := pub.ctx
		next.Epoch++
		c.Context, c.tree, c.provisional = &next, pub.tree, pub.tree
	}
	commitKey := make(secret, hashSize)
	if c.path != nil {
		c.provisional.seal()
		steps := c.provisional.filteredPath(c.Committer)
		ps := suite.climb(randomBytes(hashSize), 0, len(steps))
		keys := slices.Clone(ps.publics)
		if f.keys != nil {
			f.keys(keys)
		}
		to := make([][]resolved, len(steps))
		for k, st := range steps {
			to[k] = st.recipients(c.newLeaves)
			c.path.nodes = append(c.path.nodes, pathNode{key: keys[k], secrets: make([]HPKECiphertext, len(to[k]))})
		}
		l := &c.path.leaf
		var parents map[int]*parentNode
		parents, l.ParentHash = pathParents(steps, keys)
		if f.leaf != nil && f.joiner == nil {
			f.leaf(l)
		}
		noErr(t, l.sign(signer, pub.ctx.GroupID, c.Committer))
		commitKey = ps.commit
		c.tree = c.provisional.withPath(c.Committer, l, parents)
		c.tree.seal()
		c.Context.TreeHash = c.tree.root.hash
		noErr(t, suite.encryptPath(c.path, ps, to, c.Context.Bytes()))
		if f.path != nil {
			f.path(c.path)
		}
	}
	c.tree.seal()
	c.Context.TreeHash = c.tree.root.hash
	if f.context != nil {
		f.context(c.Context)
	}
	if f.content != nil {
		f.content(a)
	}
	noErr(t, a.sign(signer, &pub.ctx))
	if f.signed != nil {
		f.signed(a)
	}
	c.Context.ConfirmedTranscriptHash = a.confirmedTranscript(pub.interim)
	psk, err := lookupPSKs(c.psks, g.ownPSK, pub.cfg.PSKs)
	if err != nil {
		psk = make(secret, hashSize)
	}
	e, _, _ := nextEpoch(c, init, commitKey, psk)
	a.tag = mac(e.confirmation, c.Context.ConfirmedTranscriptHash)
	info, err := newGroupInfo(c.Context, c.tree, a.tag, e, c.Committer, signer, false, true, nil)
	noErr(t, err)
	if f.info != nil {
		f.info(info)
		noErr(t, info.sign(signer))
	}
	if f.private {
		return encryptAs(t, g, a, 0), nil
	}
	return publicMessage(a, &pub.ctx, g.epoch.membership).Message(), info
}

// encryptAs frames signed content as a PrivateMessage from the own leaf without
// moving the sender's ratchet. padTo rounds up as PadTo does.
func encryptAs(t testing.TB, g *Group, a *authContent, padTo int) *Message {
	t.Helper()
	handshake := a.kind != ContentApplication
	step, err := g.keys.find(ratchetID{g.own, handshake}, g.nextGeneration(handshake), &g.pub.cfg.Limits)
	noErr(t, err)
	return g.pub.ctx.Suite.sealPrivate(a, g.epoch.senderData, step, padTo).Message()
}

// forgedProposal is a proposal signed and tagged by an insider, who does not
// ask whether it is allowed.
func forgedProposal(t testing.TB, g *Group, p *Proposal, change func(*authContent)) *Message {
	t.Helper()
	a := g.frame(ContentProposal, WirePublicMessage, nil)
	a.proposal = p
	if change != nil {
		change(a)
	}
	noErr(t, a.sign(g.signer, &g.pub.ctx))
	if a.wire == WirePrivateMessage {
		return encryptAs(t, g, a, 0)
	}
	return publicMessage(a, &g.pub.ctx, g.epoch.membership).Message()
}

// allocated returns bytes and objects that f allocates.
func allocated(f func()) (size, objects uint64) {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc, b.Mallocs - a.Mallocs
}
