package interop

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/thomas-vilte/mls-go/ciphersuite"
	"github.com/thomas-vilte/mls-go/credentials"
	"github.com/thomas-vilte/mls-go/framing"
	"github.com/thomas-vilte/mls-go/group"
	"github.com/thomas-vilte/mls-go/keypackages"
)

// MLSGoMember is one client of mls-go 1.6.0 with at most one group, at the
// level of its group package (its Client type hides too much: trees, AAD,
// staging). It is a peer for cross tests and nothing else: its known defects
// rule out any other use, and say how to read a failing cross test.
//
//   - D00 groups it creates have an all-zero epoch 0 secret; a commit without
//     path leaves the next epoch public too. No vector shows it.
//   - D01, D14, D22 short or crafted input makes it allocate without bound, run
//     for seconds, or panic. Never feed it fuzz input inside our process.
//   - D02, D21 it validates nothing in an external commit: forbidden proposals
//     and missing capabilities pass. Acceptance by it proves nothing.
//   - D03 a commit it refuses has already changed it, and the error text holds
//     secrets. After a failed Process throw the member away.
//   - D04 proposals of external senders are not bound to a group or epoch.
//   - D05 a commit that is staged and discarded has overwritten the private keys
//     of the path: it cannot process the winning one. So StageCommit is final in
//     practice, and there is no discard here.
//   - D06 a GroupInfo made by an external joiner has an empty confirmation_tag:
//     nobody can join externally by it, nor can a server follow. Corrected here:
//     GroupInfo puts in the commit's tag and signs again.
//   - D07, D19, D23, D24 custom GroupContext extensions make a group unjoinable,
//     unknown proposals cannot be parsed, leaf extensions vanish at the first own
//     commit, credentials other than basic and X.509 lose their content. Keep
//     cross tests with it to plain groups.
//   - D08 handshake messages carry no authenticated data of the application.
//   - D09 an Update inside a commit is attributed by signature key, and its own
//     self-update commits an Update of the committer by value, which the RFC
//     forbids: others must refuse it. SelfUpdate here is an empty commit instead.
//   - D10, D11, D29 ratchets run forward without limit, and replay protection is
//     not to be relied on.
//   - D16, D26, D30, D31 its member list and its tree disagree after somebody
//     left; Members reads the tree.
//   - D17, D18 a changed identity in a commit's leaf is accepted.
//   - Its epoch 0 confirmation_tag is empty where the RFC has a MAC. Nobody can
//     join externally at epoch 0.
//   - Welcome: the ratchet tree has to be inside, there is no way to hand it in.
//   - A member that is removed gets an error, not a state, from the commit.
//
// The leaf of a member claims suites 1, 2, 3 and 5, basic credentials and one
// random GREASE extension and proposal type.
type MLSGoMember struct {
	suite    ciphersuite.CipherSuite
	cred     *credentials.CredentialWithKey
	sig      *ciphersuite.SignaturePrivateKey
	packages []mlsGoPackage
	psks     map[string][]byte
	g        *group.Group
	staged   *group.StagedCommit
	tag      []byte // of the own external commit, in its epoch (D06)
}

type mlsGoPackage struct {
	kp   *keypackages.KeyPackage
	priv *keypackages.KeyPackagePrivateKeys
}

var errNoGroup = errors.New("mls-go: member has no group")

// NewMLSGoMember makes a client with a fresh signature key.
func NewMLSGoMember(suite uint16, identity []byte) (*MLSGoMember, error) {
	cs := ciphersuite.CipherSuite(suite)
	cred, sig, err := credentials.GenerateCredentialWithKeyForCS(identity, cs)
	if err != nil {
		return nil, fmt.Errorf("mls-go: credential: %w", err)
	}
	return &MLSGoMember{suite: cs, cred: cred, sig: sig, psks: map[string][]byte{}}, nil
}

func (m *MLSGoMember) generate() (mlsGoPackage, error) {
	kp, priv, err := keypackages.Generate(m.cred, m.suite)
	if err != nil {
		return mlsGoPackage{}, fmt.Errorf("mls-go: key package: %w", err)
	}
	return mlsGoPackage{kp, priv}, nil
}

// KeyPackage makes a KeyPackage message; the private part stays here.
func (m *MLSGoMember) KeyPackage() ([]byte, error) {
	p, err := m.generate()
	if err != nil {
		return nil, err
	}
	m.packages = append(m.packages, p)
	return (&framing.MLSMessage{KeyPackage: p.kp.Marshal()}).Marshal(), nil
}

// CreateGroup makes a group at epoch 0.
func (m *MLSGoMember) CreateGroup(groupID []byte) error {
	p, err := m.generate()
	if err != nil {
		return err
	}
	g, err := group.NewGroup(group.NewGroupID(groupID), m.suite, p.kp, p.priv)
	if err != nil {
		return fmt.Errorf("mls-go: new group: %w", err)
	}
	m.enter(g)
	return nil
}

func (m *MLSGoMember) enter(g *group.Group) {
	m.g = g
	m.staged = nil
	m.tag = nil
	for id, secret := range m.psks {
		g.LoadPsk([]byte(id), secret)
	}
}

// AddPSK gives the member an external PSK, for now and for later groups.
func (m *MLSGoMember) AddPSK(id, secret []byte) {
	m.psks[string(id)] = slices.Clone(secret)
	if m.g != nil {
		m.g.LoadPsk(id, slices.Clone(secret))
	}
}

// JoinWelcome joins by a Welcome message that holds the ratchet tree.
func (m *MLSGoMember) JoinWelcome(message []byte) error {
	msg, err := framing.UnmarshalMLSMessage(message)
	if err != nil {
		return fmt.Errorf("mls-go: welcome: %w", err)
	}
	if msg.Welcome == nil {
		return errors.New("mls-go: not a Welcome")
	}
	w, err := group.UnmarshalWelcome(msg.Welcome)
	if err != nil {
		return fmt.Errorf("mls-go: welcome: %w", err)
	}
	err = errors.New("mls-go: no key package")
	for i, p := range m.packages {
		var g *group.Group
		if g, err = group.JoinFromWelcome(w, p.kp, p.priv, m.psks); err == nil {
			m.packages = slices.Delete(m.packages, i, i+1)
			m.enter(g)
			return nil
		}
	}
	return fmt.Errorf("mls-go: join: %w", err)
}

// ExternalJoin joins by an external commit, which it returns as a message. The
// GroupInfo message needs external_pub and the ratchet tree inside. remove is
// the leaf of a former self, or nil.
func (m *MLSGoMember) ExternalJoin(groupInfo []byte, remove *uint32) ([]byte, error) {
	msg, err := framing.UnmarshalMLSMessage(groupInfo)
	if err != nil {
		return nil, fmt.Errorf("mls-go: GroupInfo: %w", err)
	}
	if msg.GroupInfo == nil {
		return nil, errors.New("mls-go: not a GroupInfo")
	}
	info, err := group.UnmarshalGroupInfo(msg.GroupInfo)
	if err != nil {
		return nil, fmt.Errorf("mls-go: GroupInfo: %w", err)
	}
	var prior *group.LeafNodeIndex
	if remove != nil {
		leaf := group.NewLeafNodeIndex(*remove)
		prior = &leaf
	}
	g, staged, err := group.ExternalCommit(info, m.suite, m.sig, m.sig.PublicKey(), prior, m.cred.Credential)
	if err != nil {
		return nil, fmt.Errorf("mls-go: external commit: %w", err)
	}
	m.enter(g)
	ac := staged.AuthenticatedContent()
	m.tag = ac.Auth.ConfirmationTag
	return framing.NewMLSMessagePublic(&framing.PublicMessage{Content: ac.Content, Auth: ac.Auth}).Marshal(), nil
}

// MLSGoCommit says what a commit holds by value. Proposals received or made
// before are included too.
type MLSGoCommit struct {
	Add    [][]byte // KeyPackage messages
	Remove []uint32
	PSK    [][]byte // ids of external PSKs
}

// Commit makes a commit as PublicMessage, applies it, and gives the Welcome
// message (with the tree) if somebody was added.
func (m *MLSGoMember) Commit(c MLSGoCommit) (commit, welcome []byte, err error) {
	if commit, err = m.StageCommit(c); err != nil {
		return nil, nil, err
	}
	welcome, err = m.ApplyCommit()
	return commit, welcome, err
}

// StageCommit makes a commit as PublicMessage without applying it. Only
// ApplyCommit may follow (D05).
func (m *MLSGoMember) StageCommit(c MLSGoCommit) ([]byte, error) {
	if m.g == nil {
		return nil, errNoGroup
	}
	for _, add := range c.Add {
		kp, err := mlsGoKeyPackage(add)
		if err != nil {
			return nil, err
		}
		if _, err := m.g.AddMember(kp); err != nil {
			return nil, fmt.Errorf("mls-go: add: %w", err)
		}
	}
	for _, leaf := range c.Remove {
		if _, err := m.g.RemoveMember(group.NewLeafNodeIndex(leaf)); err != nil {
			return nil, fmt.Errorf("mls-go: remove: %w", err)
		}
	}
	for _, id := range c.PSK {
		p := group.NewPreSharedKeyProposal(1, id)
		p.PreSharedKey.PskID.Nonce = randomNonce(m.suite)
		m.g.Proposals().AddProposal(p, m.g.OwnLeafIndex())
	}
	staged, err := m.g.Commit(m.sig, m.sig.PublicKey(), nil)
	if err != nil {
		return nil, fmt.Errorf("mls-go: commit: %w", err)
	}
	m.staged = staged
	ac := staged.AuthenticatedContent()
	return framing.NewMLSMessagePublic(&framing.PublicMessage{
		Content: ac.Content, Auth: ac.Auth, MembershipTag: staged.MembershipTag(),
	}).Marshal(), nil
}

// ApplyCommit moves to the epoch of the staged commit.
func (m *MLSGoMember) ApplyCommit() (welcome []byte, err error) {
	if m.g == nil || m.staged == nil {
		return nil, errors.New("mls-go: no staged commit")
	}
	staged := m.staged
	m.staged = nil
	joiner := staged.JoinerSecret()
	var added []*keypackages.KeyPackage
	for _, p := range staged.Proposals() {
		if p.Type == group.ProposalTypeAdd && p.Add != nil {
			added = append(added, p.Add.KeyPackage)
		}
	}
	if err := m.g.MergeCommit(staged); err != nil {
		return nil, fmt.Errorf("mls-go: merge: %w", err)
	}
	m.tag = nil
	if len(added) == 0 {
		return nil, nil
	}
	w, err := m.g.CreateWelcomeWithOpts(added, m.sig,
		group.WithJoinerSecret(joiner),
		group.WithPSKIDs(staged.PskIDs()),
		group.WithPSKSecret(staged.RawPskSecret()),
		group.WithStagedCommit(staged))
	if err != nil {
		return nil, fmt.Errorf("mls-go: welcome: %w", err)
	}
	return (&framing.MLSMessage{Welcome: w.Marshal()}).Marshal(), nil
}

// SelfUpdate makes and applies an empty commit with a path.
func (m *MLSGoMember) SelfUpdate() ([]byte, error) {
	commit, _, err := m.Commit(MLSGoCommit{})
	return commit, err
}

// ProposeAdd makes an Add proposal message.
func (m *MLSGoMember) ProposeAdd(keyPackage []byte) ([]byte, error) {
	kp, err := mlsGoKeyPackage(keyPackage)
	if err != nil {
		return nil, err
	}
	return m.propose(func() (*group.Proposal, error) { return m.g.AddMember(kp) })
}

// ProposeRemove makes a Remove proposal message.
func (m *MLSGoMember) ProposeRemove(leaf uint32) ([]byte, error) {
	return m.propose(func() (*group.Proposal, error) { return m.g.RemoveMember(group.NewLeafNodeIndex(leaf)) })
}

// ProposeUpdate makes an Update proposal message, which somebody else has to
// commit.
func (m *MLSGoMember) ProposeUpdate() ([]byte, error) {
	return m.propose(func() (*group.Proposal, error) { return m.g.SelfUpdate(m.sig) })
}

func (m *MLSGoMember) propose(make func() (*group.Proposal, error)) ([]byte, error) {
	if m.g == nil {
		return nil, errNoGroup
	}
	p, err := make()
	if err != nil {
		return nil, fmt.Errorf("mls-go: proposal: %w", err)
	}
	message, err := m.g.SignProposalAsPublicMessage(p, m.sig)
	if err != nil {
		return nil, fmt.Errorf("mls-go: proposal: %w", err)
	}
	return message, nil
}

// Process handles a proposal or commit of somebody else, in either wire format.
func (m *MLSGoMember) Process(message []byte) error {
	if m.g == nil {
		return errNoGroup
	}
	msg, err := framing.UnmarshalMLSMessage(message)
	if err != nil {
		return fmt.Errorf("mls-go: message: %w", err)
	}
	before := m.g.Epoch()
	if pm, ok := msg.AsPublic(); ok {
		err = m.g.ProcessPublicMessage(pm)
	} else if pm, ok := msg.AsPrivate(); ok {
		err = m.g.ProcessPrivateMessage(pm)
	} else {
		return errors.New("mls-go: neither PublicMessage nor PrivateMessage")
	}
	if err != nil {
		return fmt.Errorf("mls-go: process: %w", err)
	}
	if m.g.Epoch() != before {
		m.staged = nil
		m.tag = nil
	}
	return nil
}

// Encrypt makes an application message.
func (m *MLSGoMember) Encrypt(data, aad []byte) ([]byte, error) {
	if m.g == nil {
		return nil, errNoGroup
	}
	pm, err := m.g.SendMessage(data, m.sig, group.WithAAD(aad))
	if err != nil {
		return nil, fmt.Errorf("mls-go: encrypt: %w", err)
	}
	return framing.NewMLSMessagePrivate(pm).Marshal(), nil
}

// Decrypt opens an application message.
func (m *MLSGoMember) Decrypt(message []byte) (data, aad []byte, sender uint32, err error) {
	if m.g == nil {
		return nil, nil, 0, errNoGroup
	}
	msg, err := framing.UnmarshalMLSMessage(message)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("mls-go: message: %w", err)
	}
	pm, ok := msg.AsPrivate()
	if !ok {
		return nil, nil, 0, errors.New("mls-go: not a PrivateMessage")
	}
	data, aad, leaf, err := m.g.ReceiveApplicationMessage(pm)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("mls-go: decrypt: %w", err)
	}
	return data, aad, uint32(leaf), nil
}

// GroupInfo makes a signed GroupInfo message with external_pub, and with the
// ratchet tree if asked for.
func (m *MLSGoMember) GroupInfo(withTree bool) ([]byte, error) {
	if m.g == nil {
		return nil, errNoGroup
	}
	info, err := m.g.GetGroupInfoWithOptions(m.sig, group.WithExternalPub(true), group.WithRatchetTree(withTree))
	if err != nil {
		return nil, fmt.Errorf("mls-go: GroupInfo: %w", err)
	}
	if m.tag != nil {
		info.ConfirmationTag = m.tag
		signature, err := ciphersuite.SignWithLabel(m.sig, "GroupInfoTBS", info.MarshalTBS())
		if err != nil {
			return nil, fmt.Errorf("mls-go: GroupInfo: %w", err)
		}
		info.Signature = signature.AsSlice()
	}
	return (&framing.MLSMessage{GroupInfo: info.Marshal()}).Marshal(), nil
}

// RatchetTree gives the ratchet_tree extension's bytes.
func (m *MLSGoMember) RatchetTree() []byte { return m.g.MarshalRatchetTreeRFC() }

// Epoch gives the current epoch.
func (m *MLSGoMember) Epoch() uint64 { return m.g.Epoch().AsUint64() }

// OwnLeaf gives the own leaf index.
func (m *MLSGoMember) OwnLeaf() uint32 { return uint32(m.g.OwnLeafIndex()) }

// GroupContext gives the encoded GroupContext.
func (m *MLSGoMember) GroupContext() []byte { return m.g.GroupContext().Marshal() }

// ConfirmationTag gives the confirmation_tag of the current epoch.
func (m *MLSGoMember) ConfirmationTag() []byte {
	if m.tag != nil {
		return m.tag
	}
	return m.g.ConfirmationTag()
}

// EpochAuthenticator gives the epoch_authenticator.
func (m *MLSGoMember) EpochAuthenticator() []byte { return m.g.EpochAuthenticator() }

// SignatureKey gives the public signature key of the own leaf.
func (m *MLSGoMember) SignatureKey() []byte { return m.g.MemberSigningKey(m.g.OwnLeafIndex()) }

// Export runs the MLS exporter.
func (m *MLSGoMember) Export(label string, context []byte, length int) ([]byte, error) {
	if m.g == nil {
		return nil, errNoGroup
	}
	return m.g.Export(label, context, length)
}

// MLSGoLeaf is one entry of the member list.
type MLSGoLeaf struct {
	Leaf     uint32
	Identity []byte
}

// Members lists the occupied leaves of the tree with their basic identities.
func (m *MLSGoMember) Members() []MLSGoLeaf {
	var out []MLSGoLeaf
	for _, member := range m.g.GetMembers() {
		// The list may name leaves that are gone, the tree decides (D16, D26).
		node := m.g.GetTreeLeaf(member.LeafIndex)
		if node == nil || node.LeafData == nil || node.LeafData.Credential == nil {
			continue
		}
		out = append(out, MLSGoLeaf{uint32(member.LeafIndex), node.LeafData.Credential.Identity})
	}
	slices.SortFunc(out, func(a, b MLSGoLeaf) int { return cmp.Compare(a.Leaf, b.Leaf) })
	return out
}

func mlsGoKeyPackage(message []byte) (*keypackages.KeyPackage, error) {
	msg, err := framing.UnmarshalMLSMessage(message)
	if err != nil {
		return nil, fmt.Errorf("mls-go: key package: %w", err)
	}
	if msg.KeyPackage == nil {
		return nil, errors.New("mls-go: not a KeyPackage")
	}
	kp, err := keypackages.UnmarshalKeyPackage(msg.KeyPackage)
	if err != nil {
		return nil, fmt.Errorf("mls-go: key package: %w", err)
	}
	return kp, nil
}

func randomNonce(cs ciphersuite.CipherSuite) []byte {
	nonce := make([]byte, cs.HashLength())
	_, _ = rand.Read(nonce) // never fails
	return nonce
}
