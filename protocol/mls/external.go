package mls

import (
	"fmt"
	"time"
)

// ExternalOptions say how a client joins by itself.
type ExternalOptions struct {
	LeafParams
	// Tree is the ratchet tree; nil if the GroupInfo holds it.
	Tree *RatchetTree
	// Replace is the joiner's own former leaf, if it comes back after losing
	// its state; its credential must allow the new one.
	Replace *LeafIndex
	// SelfRemoves are pending SelfRemove messages that came with the
	// GroupInfo; the joiner must commit them. Their membership tags cannot be
	// checked by a joiner.
	SelfRemoves []*PublicMessage
	// Proposals are further PSK and application data proposals.
	Proposals []*Proposal
	AAD       []byte
}

// ExternalCommit makes a commit by which a client joins a group without being
// invited (RFC 9420 section 12.4.3.2), from a GroupInfo that has an
// external_pub. When the group accepts it, Join enters. now judges the
// members' credentials.
//
// Errors: those of NewPublicGroup, and ErrBadGroupInfo without external_pub.
func ExternalCommit(info *GroupInfo, o ExternalOptions, cfg Config, now time.Time) (*StagedCommit, error) {
	s, err := externalCommit(info, o, cfg, now)
	if err != nil {
		return nil, fmt.Errorf("making external commit: %w", err)
	}
	return s, nil
}

func externalCommit(info *GroupInfo, o ExternalOptions, cfg Config, now time.Time) (*StagedCommit, error) {
	if o.Suite != info.Context.Suite {
		return nil, fmt.Errorf("group of suite %d, client of suite %d: %w", info.Context.Suite, o.Suite, ErrUnsupported)
	}
	pub, err := openGroupInfo(info, o.Tree, cfg, now)
	if err != nil {
		return nil, err
	}
	externalPub, ok, err := info.Extensions.externalPub(cfg.Limits)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("no external_pub: %w", ErrBadGroupInfo)
	}
	kem, init, err := pub.ctx.Suite.exportExternal(externalPub)
	if err != nil {
		return nil, err
	}
	cm := &commit{}
	for _, m := range o.SelfRemoves {
		if m.auth.kind != ContentProposal || m.auth.proposal.Type != ProposalSelfRemove {
			return nil, fmt.Errorf("only SelfRemoves go into an external commit by reference: %w", ErrProposalList)
		}
		c, err := pub.process(&m.auth, now)
		if err != nil {
			return nil, err
		}
		if err := pub.Apply(c); err != nil {
			return nil, err
		}
		cm.proposals = append(cm.proposals, proposalOrRef{ref: c.Proposal.Ref})
	}
	inline := []*Proposal{{Type: ProposalExternalInit, KEMOutput: kem}}
	if o.Replace != nil {
		inline = append(inline, &Proposal{Type: ProposalRemove, Remove: *o.Replace})
	}
	for _, p := range append(inline, o.Proposals...) {
		if err := p.complete(); err != nil {
			return nil, err
		}
		cm.proposals = append(cm.proposals, proposalOrRef{proposal: p})
	}
	leaf, _, err := o.newLeaf()
	if err != nil {
		return nil, err
	}
	a := &authContent{wire: WirePublicMessage, framedContent: framedContent{
		groupID: pub.ctx.GroupID, epoch: pub.ctx.Epoch, sender: Sender{Type: SenderNewMemberCommit},
		aad: nonNil(o.AAD), kind: ContentCommit, commit: cm}}
	b := builder{pub: pub, auth: a, signer: o.Signer, oldSigner: o.Signer, leaf: *leaf, init: init, withPath: true}
	s, err := b.build(now)
	if err != nil {
		return nil, err
	}
	s.external = true
	s.Message = publicMessage(a, &pub.ctx, nil).Message()
	return s, nil
}

// Join enters the group with an external commit that it has accepted. The
// staged commit is used up.
func (s *StagedCommit) Join() (*Group, error) {
	if !s.external || s.secrets == nil {
		return nil, fmt.Errorf("joining with a commit that is not external, or was used: %w", ErrStale)
	}
	c := s.Change
	pub := c.base
	if err := pub.Apply(c); err != nil {
		return nil, err
	}
	g := newMember(pub, c.Committer, s.signer, s.path, s.secrets)
	s.secrets, s.path = nil, nil
	return g, nil
}

// ProposeAsNewMember makes a proposal by which a client asks to be added
// (section 12.1.8), for the epoch of a GroupInfo.
func ProposeAsNewMember(ctx *GroupContext, kp *PrivateKeyPackage, aad []byte) (*Message, error) {
	return propose(ctx, &Proposal{Type: ProposalAdd, Add: kp.kp}, Sender{Type: SenderNewMemberProposal}, kp.signer, aad)
}

// ProposeAsExternalSender makes a proposal of the external sender that the
// context's external_senders lists at index (section 12.1.8.1).
func ProposeAsExternalSender(ctx *GroupContext, p *Proposal, index uint32, key SignatureKey, aad []byte) (*Message, error) {
	return propose(ctx, p, Sender{Type: SenderExternal, External: index}, key, aad)
}

func propose(ctx *GroupContext, p *Proposal, from Sender, key SignatureKey, aad []byte) (*Message, error) {
	if err := p.complete(); err != nil {
		return nil, err
	}
	a := &authContent{wire: WirePublicMessage, framedContent: framedContent{groupID: ctx.GroupID, epoch: ctx.Epoch,
		sender: from, aad: nonNil(aad), kind: ContentProposal, proposal: p}}
	if err := a.sign(key, ctx); err != nil {
		return nil, fmt.Errorf("proposing: %w", err)
	}
	return publicMessage(a, ctx, nil).Message(), nil
}
