package mls

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Rules that an insider may try to break, with valid signatures, tags and path.

// update is an Update of the member's leaf, with a change, signed.
func (r *room) update(of *Group, change func(*LeafNode)) *Proposal {
	r.t.Helper()
	u := *r.server.tree.leaf(of.own)
	u.Source, u.ParentHash = LeafFromUpdate, nil
	_, u.EncryptionKey = r.suite.generateHPKE()
	if change != nil {
		change(&u)
	}
	noErr(r.t, u.sign(of.signer, r.server.ctx.GroupID, of.own))
	return &Proposal{Type: ProposalUpdate, Update: &u}
}

// keyPackage is a KeyPackage with a change, signed by its owner all the same.
func (r *room) keyPackage(name string, change func(*KeyPackage)) *Proposal {
	r.t.Helper()
	kp, _ := attackKeyPackage(r.t, attackParams(r.t, r.suite, name))
	k := *kp.kp
	change(&k)
	noErr(r.t, k.Leaf.sign(kp.signer, nil, 0))
	var err error
	k.Signature, err = kp.signer.sign(keyPackageLabel, k.appendContent(nil))
	noErr(r.t, err)
	return &Proposal{Type: ProposalAdd, Add: &k}
}

func TestInsiderAdds(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256} {
		r := newRoom(t, 3, roomParams{suite: suite})
		from := r.members[1]
		bad := map[string]struct {
			p    *Proposal
			want error
			// alone says that the KeyPackage is bad whatever the tree.
			alone bool
		}{
			"member's encryption key": {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.EncryptionKey = r.server.tree.leaf(2).EncryptionKey }), ErrDuplicateKey, false},
			"init key as leaf key":    {r.keyPackage("x", func(k *KeyPackage) { k.InitKey = k.Leaf.EncryptionKey }), ErrMalformed, true},
			"no init key":             {r.keyPackage("x", func(k *KeyPackage) { k.InitKey = []byte{} }), ErrMalformed, true},
			"bad leaf key":            {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.EncryptionKey = []byte{4, 1, 2} }), ErrBadLeaf, true},
			"expired":                 {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.Lifetime.NotAfter = uint64(attackTime.Unix()) - 1 }), ErrExpired, true},
			"not yet valid":           {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.Lifetime.NotBefore = uint64(attackTime.Unix()) + 1 }), ErrExpired, true},
			"leaf of an Update":       {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.Source = LeafFromUpdate }), ErrBadLeaf, true},
			"leaf of a commit":        {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.Source, k.Leaf.ParentHash = LeafFromCommit, []byte{} }), ErrBadLeaf, true},
			"other suite":             {r.keyPackage("x", func(k *KeyPackage) { k.Suite = k.Suite%3 + 1 }), ErrBadProposal, true},
			"without mls10":           {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.Capabilities.Versions = nil }), ErrCapabilities, true},
			"without its suite":       {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.Capabilities.Suites = nil }), ErrCapabilities, true},
			"without its credential":  {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.Capabilities.Credentials = nil }), ErrCapabilities, true},
			"unlisted leaf extension": {r.keyPackage("x", func(k *KeyPackage) { k.Leaf.Extensions = Extensions{{0xf001, nil}} }), ErrCapabilities, true},
		}
		if suite != P256AES128P256 {
			for _, x := range []string{"init", "leaf"} {
				bad["low order "+x] = struct {
					p     *Proposal
					want  error
					alone bool
				}{r.keyPackage("x", func(k *KeyPackage) {
					if x == "init" {
						k.InitKey = make([]byte, 32)
					} else {
						k.Leaf.EncryptionKey = make([]byte, 32)
					}
				}), ErrMalformed, true}
			}
		}
		for what, x := range bad {
			m, info := forgeOrSkip(t, forgery{from: from, proposals: byValue(x.p)})
			if m != nil {
				r.refuses(what, from, m, info, x.want, x.want)
			}
			if x.alone {
				r.refuses(what+" by reference", from, forgedProposal(t, from, x.p, nil), nil, x.want, x.want)
			}
		}
		// The root's key; a path would replace it there.
		m, info := forgery{from: from, noPath: true, proposals: byValue(
			r.keyPackage("x", func(k *KeyPackage) { k.Leaf.EncryptionKey = r.server.tree.root.parent.key }))}.build(t)
		r.refuses("root's key", from, m, info, ErrDuplicateKey, ErrDuplicateKey)
		// The KeyPackage's own signature.
		p := r.keyPackage("x", func(*KeyPackage) {})
		p.Add.Signature[4] ^= 1
		m, info = forgery{from: from, proposals: byValue(p)}.build(t)
		r.refuses("KeyPackage signature", from, m, info, ErrBadSignature, ErrBadSignature)
		// A member's signature key again, by its owner; the same client twice.
		lp := LeafParams{Suite: suite, Signer: r.members[2].signer, Credential: BasicCredential([]byte("m2")), Lifetime: LifetimeOf(attackTime, time.Hour)}
		_, v := attackKeyPackage(t, lp)
		m, info = forgery{from: from, proposals: byValue(&Proposal{Type: ProposalAdd, Add: v.kp})}.build(t)
		r.refuses("signature key of a member", from, m, info, ErrDuplicateKey, ErrDuplicateKey)
		p = r.keyPackage("x", func(*KeyPackage) {})
		m, info = forgery{from: from, proposals: byValue(p, p)}.build(t)
		r.refuses("twice", from, m, info, ErrDuplicateKey, ErrDuplicateKey)
		m, info = forgery{from: from, proposals: byValue(p)}.build(t)
		r.accepts("control", from, m, info)
	}
}

// forgeOrSkip builds a forgery, or nothing where its key cannot be encrypted
// to, so that nobody could make such a commit.
func forgeOrSkip(t *testing.T, f forgery) (*Message, *GroupInfo) {
	t.Helper()
	for _, p := range f.proposals {
		if p.Type == ProposalAdd {
			_, err := f.from.pub.ctx.Suite.seal(p.Add.Leaf.EncryptionKey, "", nil, nil)
			if err != nil {
				f.noPath = true
			}
		}
	}
	return f.build(t)
}

func TestInsiderLeaves(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	from := r.members[1]
	victim := r.server.tree.leaf(2)
	for what, x := range map[string]struct {
		change func(*LeafNode)
		commit error
		update error
	}{
		"stale key":              {func(l *LeafNode) { l.EncryptionKey = r.server.tree.leaf(1).EncryptionKey }, ErrBadLeaf, ErrBadLeaf},
		"victim's signature key": {func(l *LeafNode) { l.SignatureKey = victim.SignatureKey }, ErrBadSignature, ErrBadSignature},
		"low order key":          {func(l *LeafNode) { l.EncryptionKey = make([]byte, 32) }, ErrBadLeaf, ErrBadLeaf},
		"no encryption key":      {func(l *LeafNode) { l.EncryptionKey = []byte{} }, ErrBadLeaf, ErrBadLeaf},
		"no signature key":       {func(l *LeafNode) { l.SignatureKey = []byte{} }, ErrBadLeaf, ErrBadLeaf},
		"from a KeyPackage":      {func(l *LeafNode) { l.Source, l.Lifetime = LeafFromKeyPackage, Lifetime{0, 1 << 40} }, ErrBadLeaf, ErrBadProposal},
		"without mls10":          {func(l *LeafNode) { l.Capabilities.Versions = nil }, ErrCapabilities, ErrCapabilities},
	} {
		m, info := forgery{from: from, leaf: x.change}.build(t)
		r.refuses(what, from, m, info, x.commit, x.commit)
		p := forgedProposal(t, from, r.update(from, x.change), nil)
		r.refuses(what+" in an Update", from, p, nil, x.update, x.update)
	}
	for what, key := range map[string][]byte{
		"victim's key": victim.EncryptionKey,
		"root's key":   r.server.tree.root.parent.key,
	} {
		m, info := forgery{from: from, leaf: func(l *LeafNode) { l.EncryptionKey = key }}.build(t)
		r.refuses(what+" as leaf key", from, m, info, ErrDuplicateKey, ErrDuplicateKey)
		for k := range 2 {
			m, info = forgery{from: from, keys: func(ks [][]byte) { ks[k] = key }}.build(t)
			r.refuses(what+" as path key", from, m, info, ErrDuplicateKey, ErrDuplicateKey)
		}
	}
	m, info := forgery{from: from, keys: func(ks [][]byte) { ks[0] = ks[1] }}.build(t)
	r.refuses("two path keys the same", from, m, info, ErrDuplicateKey, ErrDuplicateKey)
	m, info = forgery{from: from, keys: func(ks [][]byte) { ks[0] = make([]byte, 32) }}.build(t)
	r.refuses("path key of low order", from, m, info, ErrMalformed, ErrMalformed)
	m, info = forgery{from: from, leaf: func(l *LeafNode) { l.Source, l.ParentHash = LeafFromUpdate, nil }}.build(t)
	r.refuses("path leaf from an Update", from, m, info, ErrBadLeaf, ErrBadLeaf)
	p := forgedProposal(t, from, r.update(from, func(l *LeafNode) { l.Source, l.ParentHash = LeafFromCommit, []byte{} }), nil)
	r.refuses("Update from a commit", from, p, nil, ErrBadProposal, ErrBadProposal)
	// A leaf for another place or another group: its signature is over both.
	for _, x := range []struct {
		group []byte
		at    LeafIndex
	}{{r.server.ctx.GroupID, 2}, {[]byte("elsewhere"), 1}} {
		u := r.update(from, nil)
		noErr(t, u.Update.sign(from.signer, x.group, x.at))
		r.refuses("signed for elsewhere", from, forgedProposal(t, from, u, nil), nil, ErrBadSignature, ErrBadSignature)
	}
	// One key in two Updates: each is fine, a commit of both is not.
	_, shared := r.suite.generateHPKE()
	var refs [][]byte
	for _, i := range []int{1, 2} {
		m := forgedProposal(t, r.members[i], r.update(r.members[i], func(l *LeafNode) { l.EncryptionKey = shared }), nil)
		refs = append(refs, r.propose(nil, m))
	}
	m, info = forgery{from: r.members[0], refs: refs}.build(t)
	r.refuses("two Updates to one key", r.members[0], m, info, ErrDuplicateKey, ErrDuplicateKey)
}

func TestInsiderRemoves(t *testing.T) {
	r := newRoom(t, 5, roomParams{})
	r.commit(r.members[0], CommitOptions{Remove: []LeafIndex{1}})
	from := r.members[0]
	remove := func(l LeafIndex) *Proposal { return &Proposal{Type: ProposalRemove, Remove: l} }
	for _, leaf := range []LeafIndex{1, 5, 8, 1 << 30, ^LeafIndex(0)} {
		f := forgery{from: from, proposals: byValue(remove(leaf)), hasApplied: true}
		m, info := f.build(t)
		r.refuses("nobody", from, m, info, ErrBadProposal, ErrBadProposal)
		r.refuses("nobody by reference", from, forgedProposal(t, from, remove(leaf), nil), nil, ErrBadProposal, ErrBadProposal)
	}
	one := []*UsedProposal{{Proposal: remove(4), Sender: Sender{Type: SenderMember}}}
	m, info := forgery{from: from, proposals: byValue(remove(4), remove(4)), hasApplied: true, applied: one}.build(t)
	r.refuses("two Removes", from, m, info, ErrProposalList, ErrProposalList)
	// SelfRemove: beside a Remove, by value, encrypted.
	leaver := r.members[3] // at leaf 4
	self := &Proposal{Type: ProposalSelfRemove}
	m = forgedProposal(t, leaver, self, nil)
	ref := r.propose(nil, m)
	m, info = forgery{from: from, refs: [][]byte{ref}, proposals: byValue(remove(4)), hasApplied: true, applied: one}.build(t)
	r.refuses("Remove and SelfRemove", from, m, info, ErrProposalList, ErrProposalList)
	again := r.propose(nil, forgedProposal(t, leaver, self, func(a *authContent) { a.aad = []byte("again") }))
	m, info = forgery{from: from, refs: [][]byte{ref, again}, hasApplied: true, applied: one}.build(t)
	r.refuses("two SelfRemoves", from, m, info, ErrProposalList, ErrProposalList)
	m, info = forgery{from: leaver, proposals: byValue(self), hasApplied: true}.build(t)
	r.refuses("SelfRemove by value", leaver, m, info, ErrProposalList, ErrProposalList)
	m = forgedProposal(t, leaver, self, func(a *authContent) { a.wire = WirePrivateMessage })
	r.refuses("encrypted SelfRemove", leaver, m, nil, nil, ErrBadProposal)
	upd := r.propose(nil, forgedProposal(t, leaver, r.update(leaver, nil), nil))
	m, info = forgery{from: from, refs: [][]byte{upd, ref}}.build(t)
	r.refuses("SelfRemove and Update", from, m, info, ErrProposalList, ErrProposalList)
	m, info = forgery{from: from, refs: [][]byte{upd}, proposals: byValue(remove(4))}.build(t)
	r.refuses("Remove and Update", from, m, info, ErrProposalList, ErrProposalList)
	upd2 := r.propose(nil, forgedProposal(t, leaver, r.update(leaver, nil), nil))
	m, info = forgery{from: from, refs: [][]byte{upd, upd2}}.build(t)
	r.refuses("two Updates", from, m, info, ErrProposalList, ErrProposalList)
	m, info = forgery{from: from, refs: [][]byte{ref}}.build(t)
	r.accepts("control", from, m, info)
	// Not supported by all: not proposed.
	caps := DefaultCapabilities()
	caps.Proposals = nil
	r = newRoom(t, 3, roomParams{caps: &caps})
	r.refuses("SelfRemove unsupported", r.members[1], forgedProposal(t, r.members[1], self, nil), nil, ErrCapabilities, ErrCapabilities)
}

func TestInsiderCommitShape(t *testing.T) {
	r := newRoom(t, 3, roomParams{})
	from := r.members[1]
	m, info := forgery{from: from, noPath: true}.build(t)
	r.refuses("nothing at all", from, m, info, ErrBadPath, ErrBadPath)
	gce := &Proposal{Type: ProposalGroupContextExtensions, Extensions: Extensions{}}
	m, info = forgery{from: from, noPath: true, proposals: byValue(gce)}.build(t)
	r.refuses("GroupContextExtensions without a path", from, m, info, ErrBadPath, ErrBadPath)
	m, info = forgery{from: from, proposals: byValue(gce, gce)}.build(t)
	r.refuses("two GroupContextExtensions", from, m, info, ErrProposalList, ErrProposalList)
	for what, x := range map[string]Extension{
		"required_capabilities": {ExtRequiredCapabilities, []byte{1}},
		"external_senders":      {ExtExternalSenders, []byte{9, 9}},
		"app_data_dictionary":   {ExtAppDataDictionary, []byte{8, 0, 7, 1, 0, 0, 7, 1, 0}},
		"external sender's key": ExternalSendersExtension([]ExternalSender{{SignatureKey: []byte{1}, Credential: BasicCredential(nil)}}),
	} {
		p := &Proposal{Type: ProposalGroupContextExtensions, Extensions: Extensions{x}}
		m, info = forgery{from: from, proposals: byValue(p)}.build(t)
		r.refuses("unreadable "+what, from, m, info, ErrBadProposal, ErrBadProposal)
		r.refuses("unreadable "+what+" by reference", from, forgedProposal(t, from, p, nil), nil, ErrBadProposal, ErrBadProposal)
	}
	p := &Proposal{Type: ProposalGroupContextExtensions, Extensions: Extensions{{ExtApplicationID, nil}, {ExtApplicationID, nil}}}
	_, err := ParseMessage(forgedProposal(t, from, p, nil).Bytes(), Limits{})
	wantErr(t, "extension twice", err, ErrMalformed)
	p = &Proposal{Type: ProposalAppEphemeral, Component: 7, Content: []byte("x")}
	m, info = forgery{from: from, proposals: byValue(p)}.build(t)
	r.refuses("AppEphemeral that not all support", from, m, info, ErrCapabilities, ErrCapabilities)
	// GroupInfo beside the commit.
	server := func(what string, m *Message, info *GroupInfo) {
		t.Helper()
		_, err := r.server.Process(wire(t, m).Public, info, attackTime)
		wantErr(t, what, err, ErrBadGroupInfo)
	}
	m, info = forgery{from: from}.build(t)
	server("no GroupInfo", m, nil)
	prop := forgedProposal(t, from, &Proposal{Type: ProposalRemove, Remove: 2}, nil)
	server("GroupInfo with a proposal", prop, info)
	for what, change := range map[string]func(*GroupInfo){
		"no external_pub":         func(i *GroupInfo) { i.Extensions = Extensions{} },
		"unreadable external_pub": func(i *GroupInfo) { i.Extensions = Extensions{{ExtExternalPub, []byte{0x40}}} },
		"other group":             func(i *GroupInfo) { i.Context.GroupID = []byte("other") },
		"other transcript":        func(i *GroupInfo) { i.Context.ConfirmedTranscriptHash = hash(nil) },
		"other extensions":        func(i *GroupInfo) { i.Context.Extensions = Extensions{{0xf001, nil}} },
		"other tag":               func(i *GroupInfo) { i.ConfirmationTag = hash(nil) },
		"no tag":                  func(i *GroupInfo) { i.ConfirmationTag = nil },
	} {
		m, info = forgery{from: from, info: change}.build(t)
		server(what, m, info)
	}
	m, info = forgery{from: from}.build(t)
	info.Signature[3] ^= 1
	_, err = r.server.Process(m.Public, info, attackTime)
	wantErr(t, "GroupInfo's signature", err, ErrBadSignature)
	r.goesOn("GroupInfos")
}

// wholeValue refuses updates of one byte.
func wholeValue(_ ComponentID, _ []byte, updates [][]byte) ([]byte, error) {
	last := updates[len(updates)-1]
	if len(last) == 1 || len(updates) > 2 {
		return nil, errors.New("not an update")
	}
	return last, nil
}

func TestAppDataUpdateRules(t *testing.T) {
	r := newRoom(t, 3, roomParams{cfg: Config{Components: wholeValue}, group: Extensions{
		Dictionary{7: []byte("seven"), 9: []byte("nine")}.Extension(),
		RequiredCapabilities{Extensions: []ExtensionType{ExtAppDataDictionary}, Proposals: []ProposalType{ProposalAppDataUpdate}}.Extension()}})
	from := r.members[1]
	set := func(id ComponentID, v string) *Proposal {
		return &Proposal{Type: ProposalAppDataUpdate, AppData: &AppDataUpdate{Component: id, Op: AppDataSet, Update: []byte(v)}}
	}
	remove := func(id ComponentID) *Proposal {
		return &Proposal{Type: ProposalAppDataUpdate, AppData: &AppDataUpdate{Component: id, Op: AppDataRemove}}
	}
	gce := func(ext ...Extension) *Proposal {
		req, _ := r.server.ctx.Extensions.Get(ExtRequiredCapabilities)
		return &Proposal{Type: ProposalGroupContextExtensions, Extensions: append(Extensions{{ExtRequiredCapabilities, req}}, ext...)}
	}
	same, _ := r.server.ctx.Extensions.Get(ExtAppDataDictionary)
	for what, x := range map[string]struct {
		list   []*Proposal
		want   error
		lonely bool
	}{
		"update and remove":                            {byValue(set(7, "xx"), remove(7)), ErrProposalList, false},
		"remove and update":                            {byValue(remove(7), set(7, "xx")), ErrProposalList, false},
		"two removes":                                  {byValue(remove(7), remove(7)), ErrProposalList, false},
		"remove absent":                                {byValue(remove(8)), ErrBadProposal, true},
		"logic refuses":                                {byValue(set(7, "x")), ErrBadProposal, true},
		"logic refuses the second":                     {byValue(set(7, "xx"), set(7, "x")), ErrBadProposal, false},
		"GCE changes the dictionary":                   {byValue(gce(Dictionary{7: []byte("seven")}.Extension())), ErrBadProposal, true},
		"GCE drops the dictionary":                     {byValue(gce()), ErrBadProposal, true},
		"GCE drops the requirement and the dictionary": {byValue(&Proposal{Type: ProposalGroupContextExtensions, Extensions: Extensions{}}), ErrBadProposal, true},
	} {
		for _, noPath := range []bool{false, true} {
			if noPath && x.list[0].Type == ProposalGroupContextExtensions {
				continue
			}
			m, info := forgery{from: from, proposals: x.list, noPath: noPath}.build(t)
			r.refuses(what, from, m, info, x.want, x.want)
		}
		if x.lonely {
			r.refuses(what+" by reference", from, forgedProposal(t, from, x.list[0], nil), nil, x.want, x.want)
		}
	}
	m, info := forgery{from: from, proposals: byValue(gce(Extension{ExtAppDataDictionary, same}))}.build(t)
	r.accepts("GCE keeps the dictionary", from, m, info)
	lp := attackParams(t, r.suite, "joiner")
	m, info = forgery{from: from, joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit}, remove(7), set(5, "five"))}.build(t)
	ch := r.accepts("in an external commit", nil, m, info)
	d, err := ch.Context.Extensions.Dictionary(Limits{})
	noErr(t, err)
	if len(d) != 2 || string(d[5]) != "five" || string(d[9]) != "nine" || !ch.ContextChanged {
		t.Errorf("dictionary %v", map[ComponentID][]byte(d))
	}
	m, info = forgery{from: from, joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit}, remove(8))}.build(t)
	r.refuses("remove absent in an external commit", nil, m, info, ErrBadProposal, ErrBadProposal)
	// Members that do not know it.
	caps := DefaultCapabilities()
	caps.Proposals = nil
	r = newRoom(t, 3, roomParams{caps: &caps})
	m, info = forgery{from: r.members[1], proposals: byValue(set(7, "xx"))}.build(t)
	r.refuses("unsupported proposal", r.members[1], m, info, ErrCapabilities, ErrCapabilities)
	caps = DefaultCapabilities()
	caps.Extensions = nil
	r = newRoom(t, 3, roomParams{caps: &caps})
	m, info = forgery{from: r.members[1], proposals: byValue(set(7, "xx"))}.build(t)
	r.refuses("unsupported dictionary", r.members[1], m, info, ErrCapabilities, ErrCapabilities)
}

type onePSK struct{ id, key []byte }

func (p onePSK) ExternalPSK(id []byte) ([]byte, error) {
	if !bytes.Equal(id, p.id) {
		return nil, ErrUnknownPSK
	}
	return p.key, nil
}

func (onePSK) ResumptionPSK([]byte, uint64) ([]byte, error) { return nil, ErrUnknownPSK }

func TestPSKRules(t *testing.T) {
	r := newRoom(t, 3, roomParams{cfg: Config{PSKs: onePSK{[]byte("known"), []byte("secret")}}})
	from := r.members[1]
	psk := func(id PreSharedKeyID, nonce int) *Proposal {
		id.Nonce = randomBytes(nonce)
		return &Proposal{Type: ProposalPSK, PSK: &id}
	}
	known := PreSharedKeyID{Type: PSKExternal, ID: []byte("known")}
	own := PreSharedKeyID{Type: PSKResumption, Usage: ResumptionApplication, GroupID: r.server.ctx.GroupID, Epoch: r.server.ctx.Epoch - 1}
	for _, n := range []int{0, 1, 31, 33, 64} {
		m, info := forgery{from: from, proposals: byValue(psk(known, n))}.build(t)
		r.refuses(fmt.Sprintf("nonce of %d bytes", n), from, m, info, ErrBadProposal, ErrBadProposal)
		r.refuses(fmt.Sprintf("nonce of %d bytes by reference", n), from, forgedProposal(t, from, psk(known, n), nil), nil, ErrBadProposal, ErrBadProposal)
	}
	for _, u := range []ResumptionUsage{ResumptionReInit, ResumptionBranch} {
		id := own
		id.Usage = u
		m, info := forgery{from: from, proposals: byValue(psk(id, 32)), noPath: true}.build(t)
		r.refuses(fmt.Sprint("usage ", u), from, m, info, ErrBadProposal, ErrBadProposal)
	}
	twice := psk(known, 32)
	m, info := forgery{from: from, proposals: byValue(twice, twice)}.build(t)
	r.refuses("twice", from, m, info, ErrProposalList, ErrProposalList)
	// One that nobody has: servers cannot know, members are not harmed.
	for _, id := range []PreSharedKeyID{{Type: PSKExternal, ID: []byte("none")}, {Type: PSKResumption, Usage: ResumptionApplication,
		GroupID: r.server.ctx.GroupID, Epoch: 1 << 40}} {
		m, _ = forgery{from: from, proposals: byValue(psk(id, 32)), noPath: true}.build(t)
		for i, x := range r.members {
			if i != 1 {
				r.memberRefuses("unknown", x, m, ErrUnknownPSK)
			}
		}
	}
	for _, id := range []PreSharedKeyID{known, own} {
		m, info = forgery{from: from, proposals: byValue(psk(id, 32)), noPath: true}.build(t)
		r.accepts("control", from, m, info)
	}
	// A wrong key gives another epoch.
	x := cloneMember(t, r.members[0])
	x.pub.cfg.PSKs = onePSK{[]byte("known"), []byte("another")}
	m, _ = forgery{from: from, proposals: byValue(psk(known, 32)), noPath: true}.build(t)
	r.memberRefuses("wrong key", x, m, ErrBadMAC)
}

func TestReInitRules(t *testing.T) {
	r := newRoom(t, 3, roomParams{})
	from := r.members[1]
	re := &Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("next"), Version: MLS10, Suite: P256AES128P256, Extensions: Extensions{}}}
	for what, list := range map[string][]*Proposal{
		"beside a Remove": byValue(re, &Proposal{Type: ProposalRemove, Remove: 2}),
		"beside an Add":   byValue(r.keyPackage("x", func(*KeyPackage) {}), re),
		"twice":           byValue(re, re),
	} {
		m, info := forgery{from: from, proposals: list}.build(t)
		r.refuses(what, from, m, info, ErrProposalList, ErrProposalList)
	}
	old := *re.ReInit
	old.Version = 0
	m, info := forgery{from: from, proposals: byValue(&Proposal{Type: ProposalReInit, ReInit: &old})}.build(t)
	r.refuses("older version", from, m, info, ErrBadProposal, ErrBadProposal)
	open := r.clone()
	r.commit(from, CommitOptions{Proposals: byValue(re), OmitPath: true})
	m, info = forgery{from: from}.build(t)
	r.refuses("commit after ReInit", from, m, info, ErrRemoved, ErrRemoved)
	r.refuses("proposal after ReInit", from, forgedProposal(t, from, &Proposal{Type: ProposalRemove, Remove: 2}, nil), nil, ErrRemoved, ErrRemoved)
	lp := attackParams(t, r.suite, "joiner")
	m, info = forgery{from: from, joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit})}.build(t)
	r.refuses("external commit after ReInit", nil, m, info, ErrRemoved, ErrRemoved)
	m, _ = forgery{from: from, private: true}.build(t)
	r.refuses("private commit after ReInit", from, m, nil, nil, ErrRemoved)
	_, err := from.Commit(CommitOptions{}, attackTime)
	wantErr(t, "own commit after ReInit", err, ErrRemoved)
	_, err = from.Encrypt(nil, SendOptions{})
	wantErr(t, "message after ReInit", err, ErrRemoved)

	// The new group, and Welcomes to others than the one agreed on.
	type invited struct {
		kp *PrivateKeyPackage
		v  *ValidKeyPackage
	}
	invite := func(suite CipherSuite, names ...string) (out []invited, vs []*ValidKeyPackage) {
		for _, n := range names {
			kp, v := attackKeyPackage(t, attackParams(t, suite, n))
			out, vs = append(out, invited{kp, v}), append(vs, v)
		}
		return out, vs
	}
	join := func(what string, s *StagedCommit, kp *PrivateKeyPackage, parent *Group, cfg Config, want error) {
		t.Helper()
		_, err := JoinWelcome(s.Welcome, kp, JoinOptions{Parent: parent}, cfg, attackTime)
		if want == nil {
			noErr(t, err)
			return
		}
		wantErr(t, what, err, want)
	}
	psk, err := from.ResumptionPSK(from.Epoch())
	noErr(t, err)
	insider := r.cfg
	insider.PSKs = anyResumption{psk}
	other := newRoom(t, 2, roomParams{})

	in, vs := invite(P256AES128P256, "m0", "m2")
	params := func(suite CipherSuite, vs []*ValidKeyPackage) ContinueParams {
		return ContinueParams{LeafParams: attackParams(t, suite, "m1"), Members: vs}
	}
	_, s, err := from.Reinit(params(P256AES128P256, vs), r.cfg, attackTime)
	noErr(t, err)
	join("control", s, in[0].kp, r.members[0], r.cfg, nil)
	join("no parent", s, in[0].kp, nil, r.cfg, ErrUnknownPSK)
	join("no parent, PSK known", s, in[0].kp, nil, insider, ErrBadGroupInfo)
	join("wrong parent", s, in[0].kp, other.members[0], r.cfg, ErrUnknownPSK)
	join("wrong parent, PSK known", s, in[0].kp, other.members[0], insider, ErrBadGroupInfo)
	join("parent that is still open", s, in[0].kp, open.members[0], insider, ErrBadGroupInfo)
	again := func(what string, change func(*ContinueParams), usage ResumptionUsage, want error, names ...string) {
		t.Helper()
		in, vs := invite(P256AES128P256, names...)
		p := params(P256AES128P256, vs)
		p.GroupID, p.Extensions = re.ReInit.GroupID, re.ReInit.Extensions
		if change != nil {
			change(&p)
		}
		_, s, err := from.continueAs(p, usage, r.cfg, attackTime)
		noErr(t, err)
		join(what, s, in[0].kp, r.members[0], r.cfg, want)
	}
	again("control", nil, ResumptionReInit, nil, "m0", "m2")
	again("other group id", func(p *ContinueParams) { p.GroupID = []byte("mine") }, ResumptionReInit, ErrBadGroupInfo, "m0", "m2")
	again("other extensions", func(p *ContinueParams) { p.Extensions = Extensions{Dictionary{}.Extension()} }, ResumptionReInit, ErrBadGroupInfo, "m0", "m2")
	again("a member left out", nil, ResumptionReInit, ErrBadGroupInfo, "m0")
	again("a stranger", nil, ResumptionReInit, ErrBadCredential, "m0", "mallory")
	again("branch with another suite", nil, ResumptionBranch, ErrBadGroupInfo, "m0", "m2")

	// Branches of an open group.
	from = open.members[1]
	in, vs = invite(r.suite, "m0", "mallory")
	_, s, err = from.Branch(params(r.suite, vs), r.cfg, attackTime)
	noErr(t, err)
	join("branch with a stranger", s, in[0].kp, open.members[0], r.cfg, ErrBadCredential)
	_, s, err = from.Branch(params(r.suite, vs[:1]), r.cfg, attackTime)
	noErr(t, err)
	join("branch", s, in[0].kp, open.members[0], r.cfg, nil)
	join("branch of another group", s, in[0].kp, other.members[0], r.cfg, ErrUnknownPSK)
	// A Welcome that continues nothing, for one who expects a continuation.
	plain, err := CreateGroup(GroupParams{LeafParams: attackParams(t, r.suite, "m1")}, r.cfg)
	noErr(t, err)
	s, err = plain.Commit(CommitOptions{Add: vs[:1], TreeInWelcome: true}, attackTime)
	noErr(t, err)
	join("no continuation", s, in[0].kp, open.members[0], r.cfg, ErrBadGroupInfo)
	special := PreSharedKeyID{Type: PSKResumption, Usage: ResumptionBranch, GroupID: open.server.ctx.GroupID}
	ctx := GroupContext{Suite: r.suite, Epoch: 2}
	wantErr(t, "later epoch", checkParent(&ctx, []PreSharedKeyID{special}, from), ErrBadGroupInfo)
	ctx.Epoch = 1
	wantErr(t, "two of them", checkParent(&ctx, []PreSharedKeyID{special, special}, from), ErrBadGroupInfo)
}

type anyResumption struct{ key []byte }

func (anyResumption) ExternalPSK([]byte) ([]byte, error)             { return nil, ErrUnknownPSK }
func (p anyResumption) ResumptionPSK([]byte, uint64) ([]byte, error) { return p.key, nil }

func TestInsiderFraming(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, X25519ChaChaEd25519} {
		r := newRoom(t, 3, roomParams{suite: suite})
		from := r.members[1]
		app := func() *authContent {
			a := from.frame(ContentApplication, WirePrivateMessage, nil)
			a.data = []byte("hello")
			noErr(t, a.sign(from.signer, &from.pub.ctx))
			return a
		}
		// Application data in the clear, by a member and by those outside.
		a := app()
		a.wire = WirePublicMessage
		noErr(t, a.sign(from.signer, &from.pub.ctx))
		m := publicMessage(a, &from.pub.ctx, from.epoch.membership).Message()
		r.refuses("application data in the clear", from, m, nil, ErrMalformed, ErrMalformed)
		for _, s := range []Sender{{Type: SenderExternal}, {Type: SenderNewMemberProposal}, {Type: SenderNewMemberCommit}} {
			a.sender = s
			noErr(t, a.sign(from.signer, &from.pub.ctx))
			m = publicMessage(a, &from.pub.ctx, from.epoch.membership).Message()
			r.refuses("application data from outside", nil, m, nil, ErrUnknownSender, ErrUnknownSender)
		}
		// Membership tag.
		m, info := forgery{from: from}.build(t)
		m.Public.membershipTag[0] ^= 1
		for _, x := range []*Group{r.members[0], r.members[2]} {
			r.memberRefuses("membership tag", x, m, ErrBadMAC)
		}
		m.Public.membershipTag = nil
		r.memberRefuses("no membership tag", r.members[0], m, ErrBadMAC)
		if _, err := r.server.Process(m.Public, info, attackTime); err != nil {
			t.Errorf("servers cannot check membership tags: %v", err)
		}
		// Padding.
		seal := func(a *authContent, tail ...byte) *Message {
			lim := Limits{}.withDefaults()
			step, err := from.keys.find(ratchetID{from.own, a.kind != ContentApplication}, 0, &lim)
			noErr(t, err)
			m := &PrivateMessage{groupID: a.groupID, epoch: a.epoch, kind: a.kind, aad: a.aad}
			plain := append(a.appendAuth(a.appendBody(nil)), tail...)
			var guard [4]byte
			m.ciphertext = suite.aead(step.key.key).Seal(nil, guarded(step.key.nonce, guard), plain, m.contentAAD())
			sd := append(appendU32(appendU32(nil, uint32(from.own)), 0), guard[:]...)
			key, nonce := suite.senderDataKeys(from.epoch.senderData, m.ciphertext)
			m.senderData = suite.aead(key).Seal(nil, nonce, sd, m.senderDataAAD())
			return m.Message()
		}
		r.refuses("padding", from, seal(app(), 0, 0, 1), nil, nil, ErrMalformed)
		r.refuses("padding", from, seal(app(), 1), nil, nil, ErrMalformed)
		// Content signed for another wire format, kind or epoch.
		a = app()
		a.signature[0] ^= 1
		r.refuses("signature", from, seal(a), nil, nil, ErrBadSignature)
		a = app()
		a.wire = WirePublicMessage
		noErr(t, a.sign(from.signer, &from.pub.ctx))
		a.wire = WirePrivateMessage
		r.refuses("signed for a PublicMessage", from, seal(a), nil, nil, ErrBadSignature)
		old := from.pub.ctx
		old.ConfirmedTranscriptHash = hash(nil)
		a = app()
		noErr(t, a.sign(from.signer, &old))
		r.refuses("signed for another history", from, seal(a), nil, nil, ErrBadSignature)
		m = seal(app())
		m.Private.kind = ContentProposal
		r.refuses("content type changed", from, m, nil, nil, ErrDecrypt)
		m = seal(app())
		m.Private.aad = []byte("x")
		r.refuses("AAD changed", from, m, nil, nil, ErrDecrypt)
		for _, leaf := range []LeafIndex{3, 4, 1 << 20, ^LeafIndex(0)} {
			r.refuses("sender that is no member", from, claim(from, leaf, 0), nil, nil, ErrUnknownSender)
		}
		got, err := r.clone().members[0].Process(seal(app(), 0, 0, 0), attackTime)
		noErr(t, err)
		if string(got.Data) != "hello" {
			t.Errorf("read %q", got.Data)
		}
	}
}

func TestForgedWelcome(t *testing.T) {
	r := newRoom(t, 3, roomParams{})
	from := r.members[1]
	kp, v := attackKeyPackage(t, attackParams(t, r.suite, "joiner"))
	other, _ := attackKeyPackage(t, attackParams(t, r.suite, "other"))
	s, err := from.Commit(CommitOptions{Add: []*ValidKeyPackage{v}, TreeInWelcome: true}, attackTime)
	noErr(t, err)
	join := func(what string, w *Welcome, kp *PrivateKeyPackage, want error) {
		t.Helper()
		_, err := JoinWelcome(w, kp, JoinOptions{}, r.cfg, attackTime)
		wantErr(t, what, err, want)
	}
	join("another's", s.Welcome, other, ErrNoKeyPackage)
	w := wire(t, s.Welcome.Message()).Welcome
	w.encryptedGroupInfo[9] ^= 1
	join("GroupInfo changed", w, kp, ErrDecrypt)
	// By an insider, with changed content.
	lim := Limits{}.withDefaults()
	gs, err := s.Welcome.open(kp, lim)
	noErr(t, err)
	member := memberSecret(gs.joiner, make(secret, hashSize))
	key, nonce := r.suite.welcomeKeys(member)
	plain, err := r.suite.aead(key).Open(nil, nonce, s.Welcome.encryptedGroupInfo, nil)
	noErr(t, err)
	again := func(secrets *groupSecrets, change func(*GroupInfo)) *Welcome {
		info, err := ParseGroupInfo(plain, Limits{})
		noErr(t, err)
		if change != nil {
			change(info)
			noErr(t, info.sign(from.signer))
		}
		out := &Welcome{Suite: r.suite, encryptedGroupInfo: r.suite.aead(key).Seal(nil, nonce, info.append(nil), nil)}
		ct, err := r.suite.seal(kp.kp.InitKey, "Welcome", out.encryptedGroupInfo, secrets.append(nil))
		noErr(t, err)
		out.secrets = []encryptedGroupSecrets{{newMember: kp.kp.Ref(), secrets: ct}}
		return out
	}
	if _, err := JoinWelcome(again(gs, nil), kp, JoinOptions{}, r.cfg, attackTime); err != nil {
		t.Fatal(err)
	}
	bad := *gs
	bad.path = randomBytes(hashSize)
	join("path secret", again(&bad, nil), kp, ErrBadPath)
	bad.path = randomBytes(hashSize - 1)
	join("short path secret", again(&bad, nil), kp, ErrMalformed)
	join("confirmation tag", again(gs, func(i *GroupInfo) { i.ConfirmationTag = hash(nil) }), kp, ErrBadMAC)
	join("extensions", again(gs, func(i *GroupInfo) { i.Context.Extensions = Extensions{{ExtApplicationID, nil}} }), kp, ErrBadMAC)
	join("tree hash", again(gs, func(i *GroupInfo) { i.Context.TreeHash = hash(nil) }), kp, ErrBadTree)
	join("signer", again(gs, func(i *GroupInfo) { i.Signer = 0 }), kp, ErrBadSignature)
	join("no signer", again(gs, func(i *GroupInfo) { i.Signer = 77 }), kp, ErrBadGroupInfo)
	join("suite", again(gs, func(i *GroupInfo) { i.Context.Suite = X25519ChaChaEd25519 }), kp, ErrBadGroupInfo)
	join("tree without the joiner", again(gs, func(i *GroupInfo) {
		i.Extensions = i.Extensions.With(ExtRatchetTree, r.server.tree.append(nil))
		i.Context.TreeHash = r.server.tree.root.hash
	}), kp, ErrBadTree)
}

// TestPendingProposalsBlockNobody: proposals that are valid one by one and
// exclude each other must not keep a member from committing; anyone can send
// such.
func TestPendingProposalsBlockNobody(t *testing.T) {
	r := newRoom(t, 4, roomParams{cfg: Config{Components: wholeValue}, owner: true})
	shared := randomBytes(32)
	set := func(v string) *Proposal {
		return &Proposal{Type: ProposalAppDataUpdate, AppData: &AppDataUpdate{Component: 7, Op: AppDataSet, Update: []byte(v)}}
	}
	for i := range 5 {
		// Strangers with one encryption key.
		p := r.keyPackage(fmt.Sprint("stranger ", i), func(k *KeyPackage) {
			if i%2 == 0 {
				k.Leaf.EncryptionKey = shared
			}
		})
		m, err := ProposeAsExternalSender(r.server.Context(), p, 0, r.owner, nil)
		noErr(t, err)
		r.propose(nil, m)
	}
	for _, v := range []string{"one", "two", "three"} {
		r.propose(nil, forgedProposal(t, r.members[2], set(v), nil))
	}
	r.propose(nil, forgedProposal(t, r.members[2], NewPSKProposal(PreSharedKeyID{Type: PSKExternal, ID: []byte("none")}), nil))
	// A member that announces another's key.
	r.propose(nil, forgedProposal(t, r.members[3], r.update(r.members[3], func(l *LeafNode) {
		l.EncryptionKey = r.server.tree.leaf(2).EncryptionKey
	}), nil))
	r.propose(nil, forgedProposal(t, r.members[2], &Proposal{Type: ProposalRemove, Remove: 1}, nil))
	s := r.commit(r.members[0], CommitOptions{})
	count := map[ProposalType]int{}
	for _, p := range s.Change.Proposals {
		count[p.Proposal.Type]++
	}
	if count[ProposalAdd] != 3 || count[ProposalAppDataUpdate] != 2 || count[ProposalPSK] != 0 || count[ProposalUpdate] != 0 || count[ProposalRemove] != 1 {
		t.Errorf("committed %v", count)
	}
	r.talk()
}

func TestLowOrderPoints(t *testing.T) {
	priv, err := ecdh.X25519().NewPrivateKey(randomBytes(32))
	noErr(t, err)
	for _, p := range lowOrderPoints {
		for _, high := range []byte{0, 0x80} {
			k := slices.Clone(p[:])
			k[31] |= high
			pub, err := ecdh.X25519().NewPublicKey(k)
			noErr(t, err)
			if _, err := priv.ECDH(pub); err == nil {
				t.Errorf("%x is not of low order", k)
			}
			wantErr(t, fmt.Sprintf("%x", k), X25519AES128Ed25519.checkHPKEKey(k), ErrMalformed)
		}
	}
	_, pub := X25519AES128Ed25519.generateHPKE()
	noErr(t, X25519AES128Ed25519.checkHPKEKey(pub))
}
