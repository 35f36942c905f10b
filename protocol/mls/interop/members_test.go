package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls"
)

// member is one client of one group, of whichever implementation. Everything
// it takes and gives has crossed the wire form.
type member interface {
	name() string
	kind() string // ours, ts-mls or mls-go
	// again is the same client, same identity and keys, without its group.
	again() member
	create(groupID []byte, ext []Extension) error
	keyPackage() ([]byte, error)
	// commit makes a commit and enters its epoch.
	commit(commitOptions) (Commit, error)
	propose(p Proposal, private bool, aad []byte) ([]byte, error)
	process(message []byte) (event, error)
	join(welcome, tree []byte) error
	externalJoin(info, tree []byte, o externalOptions) (Commit, error)
	groupInfo(withTree bool) ([]byte, error)
	encrypt(data, aad []byte) ([]byte, error)
	view() (view, error)
	export(label string, context []byte, length int) ([]byte, error)
	addPSK(id, secret []byte) error
}

// commitOptions: pending proposals are always included.
type commitOptions struct {
	proposals []Proposal // by value
	private   bool
	aad       []byte
	noTree    bool // Welcome without the ratchet tree
}

type externalOptions struct {
	replace *uint32 // the client's own old leaf
	psks    []Proposal
	aad     []byte
}

// event is what became of a message.
type event struct {
	kind    string // application, proposal or commit
	data    []byte
	aad     []byte
	sender  Sender
	removed bool
}

// view is what a member sees of its group.
type view struct {
	context, authenticator, tag []byte
	leaf                        uint32
}

// parseOurs reads a message with our decoder, and checks that it encodes to
// the same bytes again: what others write is what we would write.
func parseOurs(b []byte) (*mls.Message, error) {
	m, err := mls.ParseMessage(b, mls.Limits{})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(m.Bytes(), b) {
		return nil, errors.New("message does not encode to what it was decoded from")
	}
	return m, nil
}

func parseTree(b []byte) (*mls.RatchetTree, error) {
	if b == nil {
		return nil, nil
	}
	return mls.ParseRatchetTree(b, mls.Limits{})
}

func toOurs(list []Extension) mls.Extensions {
	out := mls.Extensions{}
	for _, e := range list {
		out = append(out, mls.Extension{Type: mls.ExtensionType(e.Type), Data: e.Data})
	}
	return out
}

// ------------------------------------------------------------------- ours

// ourMember is a client of the engine under test.
type ourMember struct {
	id       string
	params   mls.LeafParams
	packages []*mls.PrivateKeyPackage
	psks     map[string][]byte
	parent   *mls.Group // of a branch or ReInit
	g        *mls.Group
	disk     map[string][]byte
}

func newOurs(name string, suite uint16, opts LeafOptions) (*ourMember, error) {
	key, err := mls.GenerateSignatureKey(mls.CipherSuite(suite))
	if err != nil {
		return nil, err
	}
	c := mls.DefaultCapabilities()
	for _, t := range opts.ExtensionTypes {
		c.Extensions = append(c.Extensions, mls.ExtensionType(t))
	}
	for _, t := range opts.ProposalTypes {
		if !slices.Contains(c.Proposals, mls.ProposalType(t)) {
			c.Proposals = append(c.Proposals, mls.ProposalType(t))
		}
	}
	return &ourMember{id: name, psks: map[string][]byte{}, params: mls.LeafParams{
		Suite: mls.CipherSuite(suite), Signer: key, Credential: mls.BasicCredential([]byte(name)),
		Capabilities: &c, Lifetime: mls.LifetimeOf(time.Now(), 24*time.Hour)}}, nil
}

func (m *ourMember) name() string { return m.id }
func (m *ourMember) kind() string { return "ours" }

func (m *ourMember) again() member {
	n := *m
	n.g, n.disk = nil, nil
	return &n
}

func (m *ourMember) config() mls.Config { return mls.Config{Authenticator: mls.AcceptBasic{}, PSKs: m} }

// ExternalPSK implements mls.PSKSource.
func (m *ourMember) ExternalPSK(id []byte) ([]byte, error) {
	if s, ok := m.psks[string(id)]; ok {
		return s, nil
	}
	return nil, mls.ErrUnknownPSK
}

// ResumptionPSK implements mls.PSKSource.
func (m *ourMember) ResumptionPSK([]byte, uint64) ([]byte, error) { return nil, mls.ErrUnknownPSK }

func (m *ourMember) create(groupID []byte, ext []Extension) (err error) {
	m.g, err = mls.CreateGroup(mls.GroupParams{LeafParams: m.params, GroupID: groupID, Extensions: toOurs(ext)}, m.config())
	return err
}

func (m *ourMember) keyPackage() ([]byte, error) {
	kp, err := mls.NewKeyPackage(m.params, false, nil)
	if err != nil {
		return nil, err
	}
	m.packages = append(m.packages, kp)
	return kp.KeyPackage().Message().Bytes(), nil
}

// proposal builds ours from the common form.
func (m *ourMember) proposal(p Proposal) (*mls.Proposal, error) {
	switch {
	case p.Add != nil:
		k, err := parseOurs(p.Add)
		if err != nil {
			return nil, err
		}
		if _, err := k.KeyPackage.Verify(mls.Config{Authenticator: mls.AcceptBasic{}}, time.Now()); err != nil {
			return nil, err
		}
		return &mls.Proposal{Type: mls.ProposalAdd, Add: k.KeyPackage}, nil
	case p.Remove != nil:
		return &mls.Proposal{Type: mls.ProposalRemove, Remove: mls.LeafIndex(*p.Remove)}, nil
	case p.PSK != nil:
		id := mls.PreSharedKeyID{Type: mls.PSKExternal, ID: p.PSK.ID}
		if p.PSK.Epoch != nil {
			id = mls.PreSharedKeyID{Type: mls.PSKResumption, Usage: mls.ResumptionApplication,
				GroupID: m.g.Public().GroupID(), Epoch: *p.PSK.Epoch}
		}
		return mls.NewPSKProposal(id), nil
	case p.GroupContextExtensions != nil:
		return &mls.Proposal{Type: mls.ProposalGroupContextExtensions, Extensions: toOurs(*p.GroupContextExtensions)}, nil
	case p.ReInit != nil:
		return &mls.Proposal{Type: mls.ProposalReInit, ReInit: &mls.ReInit{GroupID: p.ReInit.GroupID, Version: mls.MLS10,
			Suite: mls.CipherSuite(p.ReInit.Suite), Extensions: toOurs(p.ReInit.Extensions)}}, nil
	case p.Custom != nil:
		return &mls.Proposal{Type: mls.ProposalType(p.Custom.Type), Content: p.Custom.Data}, nil
	}
	return nil, errors.New("no such proposal by value")
}

func (m *ourMember) commit(o commitOptions) (Commit, error) {
	opts := mls.CommitOptions{AAD: o.aad, Private: o.private, TreeInWelcome: !o.noTree, PadTo: 64}
	for _, p := range o.proposals {
		x, err := m.proposal(p)
		if err != nil {
			return Commit{}, err
		}
		opts.Proposals = append(opts.Proposals, x)
	}
	s, err := m.g.Commit(opts, time.Now())
	if err != nil {
		return Commit{}, err
	}
	if err := m.g.Merge(s); err != nil {
		return Commit{}, err
	}
	out := Commit{Message: s.Message.Bytes(), GroupInfo: s.GroupInfo.Message().Bytes(), Epoch: m.g.Epoch()}
	if s.Welcome != nil {
		out.Welcome = s.Welcome.Message().Bytes()
	}
	return out, nil
}

func (m *ourMember) propose(p Proposal, private bool, aad []byte) ([]byte, error) {
	o := mls.SendOptions{AAD: aad, Private: private, PadTo: 64}
	var msg *mls.Message
	var err error
	if p.Update {
		msg, err = m.g.ProposeUpdate(mls.LeafChange{}, o, time.Now())
	} else {
		var x *mls.Proposal
		if x, err = m.proposal(p); err == nil {
			msg, err = m.g.Propose(x, o, time.Now())
		}
	}
	if err != nil {
		return nil, err
	}
	return msg.Bytes(), nil
}

func (m *ourMember) process(message []byte) (event, error) {
	msg, err := parseOurs(message)
	if err != nil {
		return event{}, err
	}
	r, err := m.g.Process(msg, time.Now())
	if err != nil {
		return event{}, err
	}
	if err := m.g.Apply(r); err != nil {
		return event{}, err
	}
	s := Sender{Leaf: uint32(r.Sender.Leaf), Index: r.Sender.External, Type: map[mls.SenderType]string{
		mls.SenderMember: "member", mls.SenderExternal: "external",
		mls.SenderNewMemberProposal: "new_member_proposal", mls.SenderNewMemberCommit: "new_member_commit"}[r.Sender.Type]}
	kind := map[mls.ContentType]string{mls.ContentApplication: "application", mls.ContentProposal: "proposal", mls.ContentCommit: "commit"}[r.Kind]
	return event{kind, r.Data, r.AAD, s, m.g.Removed()}, nil
}

func (m *ourMember) join(welcome, tree []byte) error {
	w, err := parseOurs(welcome)
	if err != nil {
		return err
	}
	t, err := parseTree(tree)
	if err != nil {
		return err
	}
	for i, kp := range m.packages {
		if slices.ContainsFunc(w.Welcome.Recipients(), func(ref []byte) bool { return bytes.Equal(ref, kp.KeyPackage().Ref()) }) {
			m.packages = slices.Delete(m.packages, i, i+1)
			m.g, err = mls.JoinWelcome(w.Welcome, kp, mls.JoinOptions{Tree: t, Parent: m.parent}, m.config(), time.Now())
			return err
		}
	}
	return mls.ErrNoKeyPackage
}

func (m *ourMember) externalJoin(info, tree []byte, o externalOptions) (Commit, error) {
	i, err := parseOurs(info)
	if err != nil {
		return Commit{}, err
	}
	t, err := parseTree(tree)
	if err != nil {
		return Commit{}, err
	}
	opts := mls.ExternalOptions{LeafParams: m.params, Tree: t, AAD: o.aad}
	if o.replace != nil {
		leaf := mls.LeafIndex(*o.replace)
		opts.Replace = &leaf
	}
	for _, p := range o.psks {
		x, err := m.proposal(p)
		if err != nil {
			return Commit{}, err
		}
		opts.Proposals = append(opts.Proposals, x)
	}
	s, err := mls.ExternalCommit(i.GroupInfo, opts, m.config(), time.Now())
	if err != nil {
		return Commit{}, err
	}
	out := Commit{Message: s.Message.Bytes(), GroupInfo: s.GroupInfo.Message().Bytes()}
	if m.g, err = s.Join(); err != nil {
		return Commit{}, err
	}
	out.Epoch = m.g.Epoch()
	return out, nil
}

func (m *ourMember) groupInfo(withTree bool) ([]byte, error) {
	i, err := m.g.GroupInfo(withTree)
	if err != nil {
		return nil, err
	}
	return i.Message().Bytes(), nil
}

func (m *ourMember) encrypt(data, aad []byte) ([]byte, error) {
	msg, err := m.g.Encrypt(data, mls.SendOptions{AAD: aad, PadTo: 128})
	if err != nil {
		return nil, err
	}
	return msg.Bytes(), nil
}

func (m *ourMember) view() (view, error) {
	return view{m.g.Public().Context().Bytes(), m.g.EpochAuthenticator(), m.g.Public().ConfirmationTag(), uint32(m.g.OwnLeaf())}, nil
}

func (m *ourMember) export(label string, context []byte, length int) ([]byte, error) {
	return m.g.Export(label, context, length)
}

func (m *ourMember) addPSK(id, secret []byte) error {
	m.psks[string(id)] = secret
	return nil
}

// restart stores what has changed since the last time and goes on with what
// was stored.
func (m *ourMember) restart() error {
	if m.disk == nil {
		m.disk = map[string][]byte{}
	}
	for _, p := range m.g.Unsaved() {
		if p.Value == nil {
			delete(m.disk, p.Key)
		} else {
			m.disk[p.Key] = bytes.Clone(p.Value)
		}
	}
	g, err := mls.LoadGroup(maps.All(m.disk), m.config())
	if err != nil {
		return err
	}
	if n := len(g.Unsaved()); n != 0 {
		return fmt.Errorf("a group just loaded has %d unsaved parts", n)
	}
	m.g = g
	return nil
}

// ----------------------------------------------------------------- ts-mls

type tsMember struct {
	d      *Driver
	client string
	handle string
	suite  uint16
	opts   LeafOptions
	resume string // handle of the group that a branch or ReInit continues
	times  int
}

func newTS(d *Driver, name string, suite uint16, opts LeafOptions) *tsMember {
	return &tsMember{d: d, client: name, handle: name, suite: suite, opts: opts}
}

func (m *tsMember) name() string { return m.client }
func (m *tsMember) kind() string { return "ts-mls" }

func (m *tsMember) again() member {
	n := *m
	n.times++
	n.handle = fmt.Sprintf("%s/%d", m.client, n.times)
	return &n
}

func (m *tsMember) create(groupID []byte, ext []Extension) error {
	return m.d.CreateGroup(context.Background(), CreateGroupRequest{Client: m.client, Group: m.handle, Suite: m.suite,
		GroupID: groupID, Identity: Bytes(m.client), Extensions: ext, LeafOptions: m.opts})
}

func (m *tsMember) keyPackage() ([]byte, error) {
	kp, err := m.d.KeyPackage(context.Background(), KeyPackageRequest{Client: m.client, Suite: m.suite, Identity: Bytes(m.client), LeafOptions: m.opts})
	return kp.Message, err
}

func (m *tsMember) commit(o commitOptions) (Commit, error) {
	return m.d.Commit(context.Background(), CommitRequest{Group: m.handle, Proposals: o.proposals, Private: o.private,
		NoRatchetTree: o.noTree, AuthenticatedData: o.aad, GroupInfo: true})
}

func (m *tsMember) propose(p Proposal, private bool, aad []byte) ([]byte, error) {
	return m.d.Propose(context.Background(), ProposeRequest{Group: m.handle, Private: private, AuthenticatedData: aad, Proposal: p})
}

func (m *tsMember) process(message []byte) (event, error) {
	p, err := m.d.Process(context.Background(), m.handle, message)
	return event{p.Kind, p.Data, p.AAD, p.Sender, p.Removed}, err
}

func (m *tsMember) join(welcome, tree []byte) error {
	_, err := m.d.JoinWelcome(context.Background(), JoinRequest{Client: m.client, Group: m.handle, Welcome: welcome, RatchetTree: tree, ResumeGroup: m.resume})
	return err
}

func (m *tsMember) externalJoin(info, tree []byte, o externalOptions) (Commit, error) {
	if len(o.psks) > 0 {
		return Commit{}, errors.New("ts-mls cannot make external commits with PSKs (X8)")
	}
	j, err := m.d.ExternalJoin(context.Background(), ExternalJoinRequest{Client: m.client, Group: m.handle, Identity: Bytes(m.client),
		GroupInfo: info, RatchetTree: tree, Resync: o.replace != nil, AuthenticatedData: o.aad, LeafOptions: m.opts})
	if err != nil {
		return Commit{}, err
	}
	out, err := m.groupInfo(true)
	return Commit{Message: j.Commit, GroupInfo: out, Epoch: j.Epoch}, err
}

func (m *tsMember) groupInfo(withTree bool) ([]byte, error) {
	return m.d.GroupInfo(context.Background(), GroupInfoRequest{Group: m.handle, WithTree: withTree})
}

func (m *tsMember) encrypt(data, aad []byte) ([]byte, error) {
	return m.d.Encrypt(context.Background(), m.handle, data, aad)
}

func (m *tsMember) view() (view, error) {
	s, err := m.d.State(context.Background(), m.handle)
	return view{s.GroupContext, s.EpochAuthenticator, s.ConfirmationTag, s.OwnLeaf}, err
}

func (m *tsMember) export(label string, ctx []byte, length int) ([]byte, error) {
	return m.d.Export(context.Background(), m.handle, label, ctx, length)
}

func (m *tsMember) addPSK(id, secret []byte) error {
	return m.d.AddPSK(context.Background(), m.client, id, secret)
}

// ----------------------------------------------------------------- mls-go

type goMember struct {
	id string
	m  *MLSGoMember
}

func newGo(name string, suite uint16) (*goMember, error) {
	m, err := NewMLSGoMember(suite, []byte(name))
	return &goMember{name, m}, err
}

func (m *goMember) name() string { return m.id }
func (m *goMember) kind() string { return "mls-go" }

func (m *goMember) again() member {
	n := *m.m
	n.g, n.staged = nil, nil
	return &goMember{m.id, &n}
}

func (m *goMember) create(groupID []byte, _ []Extension) error { return m.m.CreateGroup(groupID) }
func (m *goMember) keyPackage() ([]byte, error)                { return m.m.KeyPackage() }

func (m *goMember) commit(o commitOptions) (Commit, error) {
	var c MLSGoCommit
	for _, p := range o.proposals {
		switch {
		case p.Add != nil:
			c.Add = append(c.Add, p.Add)
		case p.Remove != nil:
			c.Remove = append(c.Remove, *p.Remove)
		case p.PSK != nil && p.PSK.ID != nil:
			c.PSK = append(c.PSK, p.PSK.ID)
		default:
			return Commit{}, errors.New("no such proposal in mls-go")
		}
	}
	msg, welcome, err := m.m.Commit(c)
	if err != nil {
		return Commit{}, err
	}
	info, err := m.m.GroupInfo(true)
	return Commit{Message: msg, Welcome: welcome, GroupInfo: info, Epoch: m.m.Epoch()}, err
}

func (m *goMember) propose(p Proposal, _ bool, _ []byte) ([]byte, error) {
	switch {
	case p.Add != nil:
		return m.m.ProposeAdd(p.Add)
	case p.Remove != nil:
		return m.m.ProposeRemove(*p.Remove)
	case p.Update:
		return m.m.ProposeUpdate()
	}
	return nil, errors.New("no such proposal in mls-go")
}

func (m *goMember) process(message []byte) (event, error) {
	msg, err := parseOurs(message)
	if err != nil {
		return event{}, err
	}
	if msg.Private != nil && msg.Private.ContentType() == mls.ContentApplication {
		data, aad, leaf, err := m.m.Decrypt(message)
		return event{kind: "application", data: data, aad: aad, sender: Sender{Type: "member", Leaf: leaf}}, err
	}
	// It says nothing about a handshake beyond taking it.
	return event{}, m.m.Process(message)
}

func (m *goMember) join(welcome, _ []byte) error { return m.m.JoinWelcome(welcome) }

func (m *goMember) externalJoin(info, _ []byte, o externalOptions) (Commit, error) {
	msg, err := m.m.ExternalJoin(info, o.replace)
	if err != nil {
		return Commit{}, err
	}
	out, err := m.m.GroupInfo(true)
	return Commit{Message: msg, GroupInfo: out, Epoch: m.m.Epoch()}, err
}

func (m *goMember) groupInfo(withTree bool) ([]byte, error)  { return m.m.GroupInfo(withTree) }
func (m *goMember) encrypt(data, aad []byte) ([]byte, error) { return m.m.Encrypt(data, aad) }
func (m *goMember) addPSK(id, secret []byte) error           { m.m.AddPSK(id, secret); return nil }
func (m *goMember) view() (view, error) {
	return view{m.m.GroupContext(), m.m.EpochAuthenticator(), m.m.ConfirmationTag(), m.m.OwnLeaf()}, nil
}
func (m *goMember) export(label string, context []byte, length int) ([]byte, error) {
	return m.m.Export(label, context, length)
}

// ------------------------------------------------------------------ world

type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Logf(string, ...any)
}

// world is a group of such members and our server, which follows them with
// public data alone and is the measure of them all.
type world struct {
	t       tb
	d       *Driver
	suite   uint16
	prefix  string
	opts    LeafOptions
	members []member
	server  *mls.PublicGroup
	// excuse says whether a member's failure is a known defect of its
	// implementation; it is then dropped and its leaf goes to dead.
	excuse func(m member, err error) bool
	dead   []uint32
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// made fails the test where err is set.
func made[T any](w *world) func(v T, err error) T {
	return func(v T, err error) T {
		w.t.Helper()
		w.check(err)
		return v
	}
}

// client makes a client without a group.
func (w *world) client(kind, name string) member {
	w.t.Helper()
	name = w.prefix + name
	switch kind {
	case "ours":
		return made[*ourMember](w)(newOurs(name, w.suite, w.opts))
	case "ts-mls":
		return newTS(w.d, name, w.suite, w.opts)
	}
	return made[*goMember](w)(newGo(name, w.suite))
}

// create lets a member create the group and the server begin to follow it.
func (w *world) create(m member, ext ...Extension) {
	w.t.Helper()
	w.check(m.create([]byte("room "+w.prefix), ext))
	w.members = []member{m}
	w.watch(m)
	w.agree()
}

// watch starts the server anew from a member's GroupInfo.
func (w *world) watch(m member) {
	w.t.Helper()
	info := made[*mls.Message](w)(parseOurs(made[[]byte](w)(m.groupInfo(true))))
	w.server = made[*mls.PublicGroup](w)(mls.NewPublicGroup(info.GroupInfo, nil, mls.Config{Authenticator: mls.AcceptBasic{}}, time.Now()))
}

func (w *world) leaf(m member) *uint32 {
	w.t.Helper()
	leaf := made[view](w)(m.view()).leaf
	return &leaf
}

// failed deals with a member that cannot follow.
func (w *world) failed(m member, err error) {
	w.t.Helper()
	if w.excuse == nil || !w.excuse(m, err) {
		w.t.Fatalf("%s (%s): %v", m.name(), m.kind(), err)
	}
	for x := range w.server.Members() {
		if string(x.Node.Credential.Identity) == m.name() {
			w.dead = append(w.dead, uint32(x.Leaf))
		}
	}
	w.members = slices.DeleteFunc(w.members, func(x member) bool { return x == m })
}

// commit lets a member commit and everybody follow.
func (w *world) commit(by member, o commitOptions) Commit {
	w.t.Helper()
	c := made[Commit](w)(by.commit(o))
	w.committed(by, c, o.aad)
	return c
}

// committed delivers a commit that by has made and entered. A PrivateMessage
// leaves the server blind, so it starts again from the committer's GroupInfo.
func (w *world) committed(by member, c Commit, aad []byte) {
	w.t.Helper()
	m := made[*mls.Message](w)(parseOurs(c.Message))
	external := false
	if m.Public != nil {
		info := made[*mls.Message](w)(parseOurs(c.GroupInfo))
		change, err := w.server.Process(m.Public, info.GroupInfo, time.Now())
		if err != nil {
			w.t.Fatalf("server, commit of %s (%s): %v", by.name(), by.kind(), err)
		}
		if !bytes.Equal(change.AAD, aad) {
			w.t.Fatalf("server reads AAD %q, sent %q", change.AAD, aad)
		}
		external = change.Sender.Type == mls.SenderNewMemberCommit
		w.check(w.server.Apply(change))
	} else {
		w.watch(by)
	}
	in, taken := map[string]int{}, map[uint32]bool{}
	for x := range w.server.Members() {
		in[string(x.Node.Credential.Identity)] = int(x.Leaf)
		taken[uint32(x.Leaf)] = true
	}
	for _, x := range slices.Clone(w.members) {
		if x == by {
			continue
		}
		_, stays := in[x.name()]
		if external && x.name() == by.name() {
			stays = false // the old self of one who came back
		}
		if !stays {
			w.members = slices.DeleteFunc(w.members, func(y member) bool { return x == y })
			if x.kind() == "mls-go" {
				continue // it gives an error, see MLSGoMember
			}
			if x.kind() == "ts-mls" && taken[*w.leaf(x)] { // X14
				if _, err := x.process(c.Message); err == nil {
					w.t.Fatalf("%s (%s) now takes this commit: update limit X14", x.name(), x.kind())
				}
				continue
			}
		}
		e, err := x.process(c.Message)
		if err != nil {
			w.failed(x, err)
			continue
		}
		if x.kind() == "mls-go" {
			continue
		}
		if e.kind != "commit" || !bytes.Equal(e.aad, aad) || e.removed == stays {
			w.t.Fatalf("%s (%s) took the commit as %+v, stays: %v", x.name(), x.kind(), e, stays)
		}
		if want := in[by.name()]; !external && e.sender != (Sender{Type: "member", Leaf: uint32(want)}) {
			w.t.Fatalf("%s (%s): sender %+v, want leaf %d", x.name(), x.kind(), e.sender, want)
		}
	}
	if external {
		w.members = append(w.members, by)
	}
	w.agree()
}

// propose lets a member propose and everybody hear it.
func (w *world) propose(by member, p Proposal, private bool, aad []byte) {
	w.t.Helper()
	w.hear(by, made[[]byte](w)(by.propose(p, private, aad)), aad)
}

// hear delivers a proposal to all but its sender, who may be no member (nil).
func (w *world) hear(by member, message, aad []byte) {
	w.t.Helper()
	m := made[*mls.Message](w)(parseOurs(message))
	if m.Public != nil {
		change, err := w.server.Process(m.Public, nil, time.Now())
		if err != nil {
			w.t.Fatalf("server: %v", err)
		}
		w.check(w.server.Apply(change))
	}
	for _, x := range slices.Clone(w.members) {
		if x == by {
			continue
		}
		e, err := x.process(message)
		if err != nil {
			w.failed(x, err)
			continue
		}
		if x.kind() != "mls-go" && (e.kind != "proposal" || !bytes.Equal(e.aad, aad)) {
			w.t.Fatalf("%s (%s) took the proposal as %+v", x.name(), x.kind(), e)
		}
	}
}

// add lets a member add clients by value; they join with the tree that the
// Welcome holds, or else with the server's.
func (w *world) add(by member, noTree bool, who ...member) {
	w.t.Helper()
	o := commitOptions{noTree: noTree}
	for _, m := range who {
		o.proposals = append(o.proposals, Proposal{Add: made[[]byte](w)(m.keyPackage())})
	}
	w.welcome(w.commit(by, o), noTree, who...)
}

func (w *world) welcome(c Commit, noTree bool, who ...member) {
	w.t.Helper()
	var tree []byte
	if noTree {
		tree = w.server.Tree().Bytes()
	}
	for _, m := range who {
		if err := m.join(c.Welcome, tree); err != nil {
			w.failed(m, err)
			continue
		}
		w.members = append(w.members, m)
	}
	w.agree()
}

// agree compares what there is to compare in an epoch.
func (w *world) agree() {
	w.t.Helper()
	want := view{context: w.server.Context().Bytes(), tag: w.server.ConfirmationTag()}
	var secret []byte
	for i, m := range w.members {
		v := made[view](w)(m.view())
		if i == 0 {
			want.authenticator = v.authenticator
			secret = made[[]byte](w)(m.export("label", []byte("context"), 48))
		}
		if !bytes.Equal(v.context, want.context) {
			w.t.Fatalf("epoch %d, %s (%s): GroupContext %x, server's is %x", w.server.Epoch(), m.name(), m.kind(), v.context, want.context)
		}
		if !bytes.Equal(v.tag, want.tag) {
			w.t.Fatalf("epoch %d, %s (%s): confirmation tag %x, server's is %x", w.server.Epoch(), m.name(), m.kind(), v.tag, want.tag)
		}
		if !bytes.Equal(v.authenticator, want.authenticator) {
			w.t.Fatalf("epoch %d, %s (%s): other epoch authenticator than %s (%s)", w.server.Epoch(), m.name(), m.kind(), w.members[0].name(), w.members[0].kind())
		}
		if x, ok := w.server.Member(mls.LeafIndex(v.leaf)); !ok || string(x.Node.Credential.Identity) != m.name() {
			w.t.Fatalf("epoch %d: leaf %d is not that of %s (%s)", w.server.Epoch(), v.leaf, m.name(), m.kind())
		}
		if got := made[[]byte](w)(m.export("label", []byte("context"), 48)); !bytes.Equal(got, secret) {
			w.t.Fatalf("epoch %d, %s (%s): other exporter", w.server.Epoch(), m.name(), m.kind())
		}
	}
}

// talk lets a member send and all others read.
func (w *world) talk(from member, text string, aad []byte) {
	w.t.Helper()
	w.read(from, made[[]byte](w)(from.encrypt([]byte(text), aad)), text, aad)
}

func (w *world) read(from member, message []byte, text string, aad []byte) {
	w.t.Helper()
	for _, m := range slices.Clone(w.members) {
		if m != from {
			w.readAs(m, from, message, text, aad)
		}
	}
}

func (w *world) readAs(m, from member, message []byte, text string, aad []byte) {
	w.t.Helper()
	e, err := m.process(message)
	if err != nil {
		w.failed(m, err)
		return
	}
	if e.kind != "application" || string(e.data) != text || !bytes.Equal(e.aad, aad) || e.sender.Leaf != *w.leaf(from) {
		w.t.Fatalf("%s (%s) read %+v", m.name(), m.kind(), e)
	}
}

func (w *world) talkAll() {
	w.t.Helper()
	for i, m := range slices.Clone(w.members) {
		w.talk(m, fmt.Sprintf("message %d in epoch %d", i, w.server.Epoch()), []byte("aad"))
	}
}
