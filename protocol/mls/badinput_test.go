package mls

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// wantOne checks that an error is the one sentinel asked for and no other.
func wantOne(t testing.TB, what string, err error, want ...error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %v", what, want)
		return
	}
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("%s: error is %q, want %v", what, err, w)
		}
	}
	if names := sentinelsOf(err); len(names) != len(want) {
		t.Errorf("%s: error %q is %d sentinels: %v", what, err, len(names), names)
	}
}

// TestSentinelsListed: the tests' list of sentinels is that of errors.go.
func TestSentinelsListed(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(x ast.Node) bool {
		if v, ok := x.(*ast.ValueSpec); ok {
			for _, name := range v.Names {
				n++
				if sentinels[name.Name] == nil {
					t.Errorf("%s is not in the list", name)
				}
			}
		}
		return true
	})
	if n != len(sentinels) {
		t.Errorf("%d errors in errors.go, %d in the list", n, len(sentinels))
	}
}

// plainRoom is a group of n members under given limits.
func plainRoom(t *testing.T, lim Limits, n int) *fuzzRoom {
	t.Helper()
	r := &fuzzRoom{suite: X25519AES128Ed25519, cfg: fuzzConfig()}
	r.cfg.Limits = lim
	g := fuzzGot(CreateGroup(GroupParams{LeafParams: r.params("m0"), GroupID: []byte("plain room")}, r.cfg))
	r.server = fuzzGot(NewPublicGroup(fuzzGot(g.GroupInfo(true)), nil, r.cfg, fuzzTime))
	r.members = []*Group{g}
	var names []string
	for i := 1; i < n; i++ {
		names = append(names, fmt.Sprint("m", i))
	}
	if n > 1 {
		r.add(0, CommitOptions{}, names...)
	}
	return r
}

// badInput is a message that must be refused. Where decoding refuses it, parse
// says how; otherwise server (nil for a PrivateMessage) and member do.
type badInput struct {
	name                  string
	raw                   []byte
	info                  *GroupInfo
	from                  int
	lim                   Limits
	parse, server, member error
}

func badInputs(r *fuzzRoom) []badInput {
	m := r.members
	h := r.honest[0]
	raw, pm := h.raw, fuzzGot(ParseMessage(h.raw, Limits{})).Public // a commit
	change := func(at int, with ...byte) []byte {
		b := slices.Clone(raw)
		copy(b[at:], with)
		return b
	}
	// {uint16 version; uint16 wire; opaque group_id<V>; uint64 epoch; ...
	groupAt := 4
	epochAt := groupAt + 1 + len(r.server.ctx.GroupID)
	senderAt := epochAt + 8
	kindAt := senderAt + 5 + 1
	pathless := pm.auth.framedContent
	pathless.commit = &commit{proposals: pm.auth.commit.proposals}
	pathAt := 4 + len(pathless.append(nil)) - 1

	// content as a member signs and tags it
	signed := func(from int, change func(*authContent), p *Proposal, as WireFormat) []byte {
		a := m[from].frame(ContentProposal, as, nil)
		if a.proposal = p; p == nil {
			a.kind, a.data = ContentApplication, []byte("data")
		}
		change(a)
		fuzzOK(a.sign(m[from].signer, &r.server.ctx))
		return sealedContent(m[from], a).Bytes()
	}
	as := func(*authContent) {}
	remove := &Proposal{Type: ProposalRemove, Remove: m[0].own}
	extensions := func(x ...Extension) []byte {
		return signed(1, as, &Proposal{Type: ProposalGroupContextExtensions, Extensions: x}, WirePublicMessage)
	}
	nobody := func(a *authContent) { a.sender.Leaf = 1 }
	far := func(a *authContent) { a.sender.Leaf = 1 << 31 }
	ahead := func(n int) []byte {
		step := fuzzGot(m[1].keys.find(ratchetID{m[1].own, false}, m[1].nextGeneration(false), &r.cfg.Limits))
		step.gen += uint32(n)
		a := m[1].frame(ContentApplication, WirePrivateMessage, nil)
		fuzzOK(a.sign(m[1].signer, &r.server.ctx))
		return r.suite.sealPrivate(a, m[1].epoch.senderData, step, 0).Message().Bytes()
	}
	blankLeaf := func() []byte {
		step := fuzzGot(m[1].keys.find(ratchetID{1, false}, 0, &r.cfg.Limits))
		a := m[1].frame(ContentApplication, WirePrivateMessage, nil)
		fuzzOK(a.sign(m[1].signer, &r.server.ctx))
		return r.suite.sealPrivate(a, m[1].epoch.senderData, step, 0).Message().Bytes()
	}
	edited := func(p *Proposal, old, with []byte) []byte {
		b := signed(1, as, p, WirePublicMessage)
		out := bytes.Replace(b, old, with, 1)
		if bytes.Equal(out, b) {
			panic("mls: nothing replaced")
		}
		return out
	}
	twice := Extensions{{ExtApplicationID, []byte{1}}, {ExtApplicationID, []byte{2}}}
	update := *r.server.tree.leaf(m[1].own)
	update.Source, update.ParentHash = LeafFromUpdate, nil
	_, update.EncryptionKey = r.suite.generateHPKE()
	fuzzOK(update.sign(m[1].signer, r.server.ctx.GroupID, m[1].own))
	x509 := Proposal{Type: ProposalUpdate, Update: &update}

	return []badInput{
		{name: "empty", raw: []byte{}, parse: ErrTruncated},
		{name: "truncated", raw: raw[:len(raw)-1], parse: ErrTruncated},
		{name: "a length beyond the end", raw: change(groupAt, 0x3f|0x80, 0xff, 0xff, 0xff), parse: ErrTruncated},
		{name: "trailing byte", raw: append(slices.Clone(raw), 0), parse: ErrTrailing},
		{name: "oversized", raw: raw, lim: Limits{MessageSize: len(raw) - 1}, parse: ErrTooLarge},

		{name: "version 2", raw: change(0, 0, 2), parse: ErrUnsupported},
		{name: "wire format 6", raw: change(2, 0, 6), parse: ErrUnsupported},
		{name: "length prefix 11", raw: change(groupAt, 0xc0), parse: ErrMalformed},
		{name: "sender type 0", raw: change(senderAt, 0), parse: ErrMalformed},
		{name: "sender type 5", raw: change(senderAt, 5), parse: ErrMalformed},
		{name: "content type 0", raw: change(kindAt, 0), parse: ErrMalformed},
		{name: "content type 4", raw: change(kindAt, 4), parse: ErrMalformed},
		{name: "proposal type 0", raw: edited(remove, []byte{2, 0, 3, 0, 0}, []byte{2, 0, 0, 0, 0}), parse: ErrMalformed},
		{name: "leaf node source 4", raw: edited(&x509, append(update.Capabilities.append(nil), 2), append(update.Capabilities.append(nil), 4)), parse: ErrMalformed},
		{name: "credential type 0", raw: edited(&x509, update.Credential.append(nil), append([]byte{0, 0}, update.Credential.append(nil)[2:]...)), parse: ErrMalformed},
		{name: "extension twice", raw: extensions(twice...), parse: ErrMalformed},
		{name: "application message in the open", raw: signed(1, as, nil, WirePublicMessage), server: ErrMalformed, member: ErrMalformed},

		{name: "length in two bytes", raw: slices.Concat(raw[:groupAt], []byte{0x40}, raw[groupAt:]), parse: ErrNonCanonical},
		{name: "length in four bytes", raw: slices.Concat(raw[:groupAt], []byte{0x80, 0, 0}, raw[groupAt:]), parse: ErrNonCanonical},
		{name: "presence octet 2", raw: change(pathAt, 2), parse: ErrNonCanonical},

		{name: "past epoch", raw: signed(1, func(a *authContent) { a.epoch-- }, remove, WirePublicMessage), from: 1,
			server: ErrWrongEpoch, member: ErrWrongEpoch},
		{name: "future epoch", raw: signed(1, func(a *authContent) { a.epoch++ }, remove, WirePublicMessage), from: 1,
			server: ErrWrongEpoch, member: ErrWrongEpoch},
		{name: "commit of a past epoch", raw: change(epochAt, 0, 0, 0, 0, 0, 0, 0, 1), info: h.info, from: 1,
			server: ErrWrongEpoch, member: ErrWrongEpoch},
		{name: "private proposal of a past epoch", raw: signed(1, func(a *authContent) { a.epoch-- }, remove, WirePrivateMessage), from: 1,
			member: ErrWrongEpoch},
		{name: "application message of a future epoch", raw: signed(1, func(a *authContent) { a.epoch++ }, nil, WirePrivateMessage), from: 1,
			member: ErrWrongEpoch},
		{name: "application message of a forgotten epoch", raw: signed(1, func(a *authContent) { a.epoch = 2 }, nil, WirePrivateMessage), from: 1,
			member: ErrWrongEpoch},
		{name: "another group", raw: signed(1, func(a *authContent) { a.groupID = []byte("other") }, remove, WirePublicMessage), from: 1,
			server: ErrWrongGroup, member: ErrWrongGroup},
		{name: "application message of another group", raw: signed(1, func(a *authContent) { a.groupID = []byte("other") }, nil, WirePrivateMessage), from: 1,
			member: ErrWrongGroup},

		{name: "blank leaf", raw: signed(1, nobody, remove, WirePublicMessage), from: 1, server: ErrUnknownSender, member: ErrUnknownSender},
		{name: "leaf beyond the tree", raw: signed(1, far, remove, WirePublicMessage), from: 1, server: ErrUnknownSender, member: ErrUnknownSender},
		{name: "application message of a blank leaf", raw: blankLeaf(), from: 1, member: ErrUnknownSender},
		{name: "external sender 1 of 1", raw: signed(1, func(a *authContent) { a.sender = Sender{Type: SenderExternal, External: 1} },
			remove, WirePublicMessage), from: -1, server: ErrUnknownSender, member: ErrUnknownSender},
		{name: "Remove of a stranger", raw: signed(1, func(a *authContent) { a.sender = Sender{Type: SenderNewMemberProposal} },
			remove, WirePublicMessage), from: -1, server: ErrUnknownSender, member: ErrUnknownSender},
		{name: "too far ahead", raw: ahead(17), from: 1, member: ErrTooFarAhead},
		{name: "far too far ahead", raw: ahead(-2), from: 1, member: ErrTooFarAhead},
		{name: "key package", raw: r.spare[0].kp.Message().Bytes(), member: ErrUnsupported},
	}
}

// TestBadInput: every kind of bad input has its own error, changes nothing and
// costs bounded memory, in servers and members alike.
func TestBadInput(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256} {
		r := fuzzRoomOf(t, suite)
		for _, in := range badInputs(r) {
			t.Run(fmt.Sprintf("%d/%s", suite, in.name), func(t *testing.T) { r.refuse(t, in) })
		}
	}
}

func (r *fuzzRoom) refuse(t *testing.T, in badInput) {
	t.Helper()
	var m *Message
	var err error
	bounded(t, "decoding", 64<<10, 200, len(in.raw), func() { m, err = ParseMessage(in.raw, in.lim) })
	if in.parse != nil {
		wantOne(t, "decoding", err, in.parse)
	} else if err != nil {
		t.Fatalf("decoding: %v", err)
	}
	if err == nil && m.Public != nil {
		before, c := publicPrint(r.server), *r.server.Context()
		bounded(t, "server", processBase, processPerByte, len(in.raw), func() { _, err = r.server.Process(m.Public, in.info, fuzzTime) })
		wantOne(t, "server", err, in.server)
		if publicPrint(r.server) != before || !c.Equal(r.server.Context()) {
			t.Error("server has changed")
		}
	}
	for i, x := range r.members {
		if m == nil || i == in.from {
			continue
		}
		before, authenticator := memberPrint(x), x.EpochAuthenticator()
		bounded(t, "member", processBase, processPerByte, len(in.raw), func() { _, err = x.Process(m, fuzzTime) })
		wantOne(t, fmt.Sprint("member ", i), err, in.member)
		if memberPrint(x) != before || !bytes.Equal(x.EpochAuthenticator(), authenticator) {
			t.Errorf("member %d has changed", i)
		}
	}
	// A next honest message is accepted by all.
	h := r.honest[0]
	if n := r.offer(t, fuzzGot(ParseMessage(h.raw, Limits{})), h.info, h.from); n != len(r.members) {
		t.Errorf("afterwards an honest commit is accepted by %d", n)
	}
}

// TestBadReplay: what was taken once is not taken again.
func TestBadReplay(t *testing.T) {
	r := plainRoom(t, Limits{}, 3)
	m := r.members
	hello := fuzzGot(m[0].Encrypt([]byte("hello"), SendOptions{}))
	fuzzGot(m[1].Process(hello, fuzzTime))
	late := fuzzGot(m[0].Encrypt([]byte("late"), SendOptions{}))
	proposal := sealedProposal(m[0], &Proposal{Type: ProposalRemove, Remove: 2}, WirePublicMessage)
	private := fuzzGot(m[0].Propose(&Proposal{Type: ProposalRemove, Remove: 2}, SendOptions{Private: true}, fuzzTime))
	got := fuzzGot(m[1].Process(private, fuzzTime))
	fuzzOK(m[1].Apply(got))

	refused := func(what string, x *Group, msg *Message, want error) {
		t.Helper()
		before := memberPrint(x)
		_, err := x.Process(msg, fuzzTime)
		wantOne(t, what, err, want)
		if memberPrint(x) != before {
			t.Errorf("%s: member has changed", what)
		}
	}
	refused("application message", m[1], hello, ErrReplayed)
	refused("private proposal", m[1], private, ErrReplayed)
	refused("own message", m[0], hello, ErrOwnMessage)

	// A public proposal may come again: it is the same proposal.
	for range 2 {
		fuzzOK(r.server.Apply(fuzzGot(r.server.Process(proposal.Public, nil, fuzzTime))))
		fuzzOK(m[1].Apply(fuzzGot(m[1].Process(proposal, fuzzTime))))
	}
	if len(r.server.Pending()) != 1 || len(m[1].pub.Pending()) != 2 {
		t.Errorf("%d and %d pending proposals", len(r.server.Pending()), len(m[1].pub.Pending()))
	}
	s := r.commit(1, CommitOptions{WithoutPending: true})
	before := publicPrint(r.server)
	_, err := r.server.Process(s.Message.Public, s.GroupInfo, fuzzTime)
	wantOne(t, "commit", err, ErrWrongEpoch)
	_, err = r.server.Process(proposal.Public, nil, fuzzTime)
	wantOne(t, "proposal", err, ErrWrongEpoch)
	if publicPrint(r.server) != before {
		t.Error("server has changed")
	}
	refused("commit", m[2], s.Message, ErrWrongEpoch)
	refused("private proposal of the epoch before", m[1], private, ErrWrongEpoch)
	refused("application message of the epoch before", m[1], hello, ErrReplayed)
	fuzzGot(m[1].Process(late, fuzzTime))
	refused("late application message", m[1], late, ErrReplayed)
	r.commit(0, CommitOptions{})
}

// TestBadReplayBetweenProcessAndApply: a private proposal that is applied after
// other messages of its sender were read does not bring their keys back.
func TestBadReplayBetweenProcessAndApply(t *testing.T) {
	r := plainRoom(t, Limits{}, 3)
	from, to := r.members[0], r.members[1]
	proposal := fuzzGot(from.Propose(&Proposal{Type: ProposalRemove, Remove: 2}, SendOptions{Private: true}, fuzzTime))
	hello := fuzzGot(from.Encrypt([]byte("hello"), SendOptions{}))
	got := fuzzGot(to.Process(proposal, fuzzTime))
	again := fuzzGot(to.Process(proposal, fuzzTime))
	fuzzGot(to.Process(hello, fuzzTime))
	for range 2 {
		fuzzOK(to.Apply(got))
		fuzzOK(to.Apply(again))
		_, err := to.Process(hello, fuzzTime)
		wantOne(t, "application message", err, ErrReplayed)
		_, err = to.Process(proposal, fuzzTime)
		wantOne(t, "proposal", err, ErrReplayed)
	}
	if n := len(to.pub.Pending()); n != 1 {
		t.Errorf("%d pending proposals", n)
	}
	fuzzGot(to.Process(fuzzGot(from.Encrypt([]byte("more"), SendOptions{})), fuzzTime))
	if to.keys.seeds[0] != nil || to.keys.seeds[rootOf(to.keys.depth)] != nil {
		t.Error("a consumed seed is back")
	}
}

// TestBadExtensions: extensions are read when a GroupInfo or a proposal brings
// them. In a proposal the cause stands beside ErrBadProposal.
func TestBadExtensions(t *testing.T) {
	r := fuzzRoomOf(t, X25519AES128Ed25519)
	g := r.members[1]
	dictionary := func(b ...byte) Extension { return Extension{ExtAppDataDictionary, append([]byte{byte(len(b))}, b...)} }
	for _, c := range []struct {
		name string
		ext  Extension
		want error
	}{
		{"unsorted dictionary", dictionary(0, 9, 1, 'n', 0, 1, 1, 'o'), ErrNonCanonical},
		{"component twice", dictionary(0, 9, 1, 'n', 0, 9, 1, 'o'), ErrNonCanonical},
		{"dictionary with a long length", Extension{ExtAppDataDictionary, []byte{0x40, 4, 0, 9, 1, 'n'}}, ErrNonCanonical},
		{"truncated dictionary", Extension{ExtAppDataDictionary, []byte{4, 0, 9, 1}}, ErrTruncated},
		{"dictionary and more", Extension{ExtAppDataDictionary, []byte{0, 0}}, ErrTrailing},
		{"truncated required capabilities", Extension{ExtRequiredCapabilities, []byte{0, 0}}, ErrTruncated},
		{"odd required capabilities", Extension{ExtRequiredCapabilities, []byte{1, 0, 0, 0}}, ErrTruncated},
		{"required capabilities and more", Extension{ExtRequiredCapabilities, []byte{0, 0, 0, 0}}, ErrTrailing},
		{"external sender without a credential", Extension{ExtExternalSenders, []byte{2, 1, 1}}, ErrTruncated},
		{"external sender of credential type 0", Extension{ExtExternalSenders, []byte{5, 1, 1, 0, 0, 0}}, ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := r.server.ctx
			ctx.Extensions = Extensions{c.ext}
			info := fuzzGot(g.GroupInfo(true))
			info.Context = ctx
			fuzzOK(info.sign(g.signer))
			_, err := NewPublicGroup(info, nil, r.cfg, fuzzTime)
			wantOne(t, "GroupInfo", err, c.want)

			m := sealedProposal(g, &Proposal{Type: ProposalGroupContextExtensions, Extensions: ctx.Extensions}, WirePublicMessage)
			before := publicPrint(r.server)
			_, err = r.server.Process(m.Public, nil, fuzzTime)
			wantOne(t, "server", err, ErrBadProposal, c.want)
			if publicPrint(r.server) != before {
				t.Error("server has changed")
			}
			before = memberPrint(r.members[0])
			_, err = r.members[0].Process(m, fuzzTime)
			wantOne(t, "member", err, ErrBadProposal, c.want)
			if memberPrint(r.members[0]) != before {
				t.Error("member has changed")
			}
		})
	}
}

// TestBadTrees: encodings of a tree that are not the tree's own.
func TestBadTrees(t *testing.T) {
	r := fuzzRoomOf(t, X25519AES128Ed25519)
	good := r.server.Tree().Bytes()
	lim := Limits{}.withDefaults()
	content := newReader(good, &lim).Opaque()
	unmerged := func(list ...LeafIndex) []byte {
		t := r.server.tree
		return t.edit(0, t.leaf(0), func(_ int, p *parentNode) *parentNode {
			if p == nil {
				return nil
			}
			c := *p
			c.unmerged = list
			return &c
		}).append(nil)
	}
	leaf := r.spare[0].kp.Leaf.append([]byte{1, 1})
	for _, c := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"empty", []byte{0}, ErrNonCanonical},
		{"all blank", []byte{3, 0, 0, 0}, ErrNonCanonical},
		{"ending in a blank leaf", appendOpaque(nil, slices.Concat(content, []byte{0, 0})), ErrNonCanonical},
		{"ending in a blank parent", appendOpaque(nil, slices.Concat(leaf, []byte{0})), ErrNonCanonical},
		{"presence octet 2", appendOpaque(nil, slices.Concat([]byte{2}, content[1:])), ErrNonCanonical},
		{"unsorted unmerged leaves", unmerged(4, 2), ErrNonCanonical},
		{"unmerged leaf twice", unmerged(2, 2), ErrNonCanonical},
		{"a leaf where a parent belongs", appendOpaque(nil, slices.Concat(leaf, leaf, leaf)), ErrMalformed},
		{"a parent where a leaf belongs", appendOpaque(nil, []byte{1, 2, 0, 0, 0}), ErrMalformed},
		{"node type 3", appendOpaque(nil, []byte{1, 3}), ErrMalformed},
		{"a parent above nobody", orphanTree(), ErrMalformed},
		{"truncated", good[:len(good)-1], ErrTruncated},
		{"trailing byte", append(slices.Clone(good), 0), ErrTrailing},
	} {
		t.Run(c.name, func(t *testing.T) {
			bounded(t, "tree", 64<<10, 1000, len(c.raw), func() {
				_, err := ParseRatchetTree(c.raw, r.cfg.Limits)
				wantOne(t, "ParseRatchetTree", err, c.want)
			})
			info := fuzzGot(r.members[0].GroupInfo(false))
			info.Extensions = info.Extensions.With(ExtRatchetTree, c.raw)
			fuzzOK(info.sign(r.members[0].signer))
			_, err := NewPublicGroup(info, nil, r.cfg, fuzzTime)
			wantOne(t, "NewPublicGroup", err, c.want)
		})
	}
}

// TestBadLengths: every prefix of every value is truncated, and every byte
// beyond its end is trailing.
func TestBadLengths(t *testing.T) {
	check := func(name string, b []byte, decode func([]byte) error) {
		also := []error(nil)
		if name == "private key package" {
			also = []error{ErrState}
		}
		for n := range b {
			wantOne(t, fmt.Sprintf("%s, %d of %d bytes", name, n, len(b)), decode(b[:n:n]), append(also, ErrTruncated)...)
		}
		wantOne(t, name+" and a byte", decode(append(slices.Clone(b), 0)), append(also, ErrTrailing)...)
	}
	seeds := fuzzSeeds()
	for _, d := range fuzzDecoders {
		for _, b := range seeds[d.name] {
			check(d.name, b, func(b []byte) error { _, err := d.decode(b); return err })
		}
	}
	for _, h := range fuzzRoomOf(t, X25519AES128Ed25519).honest {
		check(h.name, h.raw, func(b []byte) error { _, err := ParseMessage(b, Limits{}); return err })
	}
}
