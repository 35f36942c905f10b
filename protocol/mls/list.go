package mls

import (
	"fmt"
	"time"
)

// Rules for a commit's whole list of proposals (section 12.2), and their
// effect on tree and context (section 12.3): GroupContextExtensions first,
// then Updates, SelfRemoves and Removes, Adds, and AppDataUpdates last.

// applyProposals verifies the list and computes the provisional tree and the
// next context. It sets c.tree and c.provisional to the same tree.
func (g *PublicGroup) applyProposals(c *Change, now time.Time) error {
	if c.path == nil {
		for _, p := range c.Proposals {
			if p.Proposal.Type.needsPath() {
				return fmt.Errorf("proposal type %d needs a path: %w", p.Proposal.Type, ErrBadPath)
			}
		}
		if len(c.Proposals) == 0 {
			return fmt.Errorf("commit with neither proposals nor path: %w", ErrBadPath)
		}
	}
	var err error
	if c.Sender.Type == SenderNewMemberCommit {
		err = g.checkExternalList(c)
	} else {
		err = g.checkMemberList(c)
	}
	if err != nil {
		return invalid(nil, err)
	}
	// Those by reference were checked when they came, in this same epoch, but
	// judged by that time's clock; only new ones are checked now. Many adds are
	// many signatures.
	if err := onAllCores(len(c.Proposals), func(i int) error {
		if p := c.Proposals[i]; !p.ByReference() {
			return invalid(nil, g.checkProposal(p, now))
		}
		return nil
	}); err != nil {
		return err
	}
	return g.computeProvisional(c)
}

// checkMemberList: section 12.2 for commits of members.
func (g *PublicGroup) checkMemberList(c *Change) error {
	c.Committer = c.Sender.Leaf
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrProposalList)
	}
	touched := map[LeafIndex]bool{}
	var extensions, reinits int
	psks := map[string]bool{}
	for _, p := range c.Proposals {
		x := p.Proposal
		switch x.Type {
		case ProposalUpdate:
			if !p.ByReference() || p.Sender.Leaf == c.Committer {
				return bad("Update by the committer")
			}
			if touched[p.Sender.Leaf] {
				return bad("leaf %d is updated or removed twice", p.Sender.Leaf)
			}
			touched[p.Sender.Leaf] = true
		case ProposalRemove, ProposalSelfRemove:
			leaf := x.Remove
			if x.Type == ProposalSelfRemove {
				if leaf = p.Sender.Leaf; !p.ByReference() {
					return bad("SelfRemove inside a commit")
				}
			}
			if leaf == c.Committer {
				return bad("committer removes itself")
			}
			if touched[leaf] {
				return bad("leaf %d is updated or removed twice", leaf)
			}
			touched[leaf] = true
		case ProposalPSK:
			id := string(x.PSK.append(nil))
			if psks[id] {
				return bad("PSK twice")
			}
			psks[id] = true
		case ProposalGroupContextExtensions:
			extensions++
		case ProposalReInit:
			reinits++
		case ProposalExternalInit:
			return bad("ExternalInit in a member's commit")
		}
	}
	switch {
	case extensions > 1:
		return bad("%d GroupContextExtensions", extensions)
	case reinits > 0 && len(c.Proposals) > 1:
		return bad("ReInit beside other proposals")
	}
	return nil
}

// checkExternalList: section 12.2 for commits of joiners. One ExternalInit, at
// most one Remove (of the joiner's own former leaf), PSKs; after
// draft-ietf-mls-extensions also SelfRemoves by reference and application data.
func (g *PublicGroup) checkExternalList(c *Change) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s in an external commit: %w", fmt.Sprintf(format, args...), ErrProposalList)
	}
	inits := 0
	removed := map[LeafIndex]bool{}
	psks := map[string]bool{}
	resync := false
	for _, p := range c.Proposals {
		x := p.Proposal
		if p.ByReference() != (x.Type == ProposalSelfRemove) {
			return bad("proposal type %d, by reference: %v,", x.Type, p.ByReference())
		}
		switch x.Type {
		case ProposalExternalInit:
			inits++
			c.externalKEM = x.KEMOutput
			// Servers cannot decapsulate; that it is a key at all, they can see.
			if err := g.ctx.Suite.checkHPKEKey(x.KEMOutput); err != nil {
				return fmt.Errorf("ExternalInit: %w: %w", ErrBadProposal, err)
			}
		case ProposalRemove:
			if resync {
				return bad("two Removes")
			}
			resync = true
			old := g.tree.leaf(x.Remove)
			if old == nil {
				return fmt.Errorf("removing leaf %d, which is no member: %w", x.Remove, ErrBadProposal)
			}
			if err := g.cfg.Authenticator.Succeeds(old.Credential, c.path.leaf.Credential); err != nil {
				return fmt.Errorf("joiner removes leaf %d, which is not its own: %w: %w", x.Remove, ErrBadCredential, err)
			}
			if removed[x.Remove] {
				return bad("leaf %d removed twice", x.Remove)
			}
			removed[x.Remove] = true
		case ProposalSelfRemove:
			if removed[p.Sender.Leaf] {
				return bad("leaf %d removed twice", p.Sender.Leaf)
			}
			removed[p.Sender.Leaf] = true
		case ProposalPSK:
			id := string(x.PSK.append(nil))
			if psks[id] {
				return bad("PSK twice")
			}
			psks[id] = true
		case ProposalAppDataUpdate, ProposalAppEphemeral:
		default:
			return bad("proposal type %d", x.Type)
		}
	}
	if inits != 1 {
		return bad("%d ExternalInits", inits)
	}
	return nil
}

func (g *PublicGroup) computeProvisional(c *Change) error {
	next := g.ctx
	next.Epoch++
	c.required, c.senders = g.required, g.senders
	var updates, removes, adds []*UsedProposal
	var appData []*AppDataUpdate
	for _, p := range c.Proposals {
		switch x := p.Proposal; x.Type {
		case ProposalGroupContextExtensions:
			next.Extensions = x.Extensions
		case ProposalUpdate:
			updates = append(updates, p)
		case ProposalRemove, ProposalSelfRemove:
			removes = append(removes, p)
		case ProposalAdd:
			adds = append(adds, p)
		case ProposalPSK:
			c.psks = append(c.psks, *x.PSK)
		case ProposalReInit:
			c.ReInit = x.ReInit
		case ProposalAppDataUpdate:
			appData = append(appData, x.AppData)
		}
	}
	t := g.tree
	for _, p := range updates {
		c.Updated = append(c.Updated, MemberUpdate{p.Sender.Leaf, t.leaf(p.Sender.Leaf), p.Proposal.Update})
		t = t.update(p.Sender.Leaf, p.Proposal.Update)
	}
	for _, p := range removes {
		leaf := p.Proposal.Remove
		if p.Proposal.Type == ProposalSelfRemove {
			leaf = p.Sender.Leaf
		}
		c.Removed = append(c.Removed, Member{leaf, t.leaf(leaf)})
		t = t.remove(leaf)
	}
	if t.root.leaves+len(adds) > g.cfg.Limits.Leaves {
		return fmt.Errorf("more than %d members: %w", g.cfg.Limits.Leaves, ErrTooLarge)
	}
	if len(adds) > 0 {
		c.newLeaves = make(map[LeafIndex]bool, len(adds))
	}
	for _, p := range adds {
		leaf := &p.Proposal.Add.Leaf
		var at LeafIndex
		t, at = t.add(leaf)
		c.newLeaves[at] = true
		c.Added = append(c.Added, Member{at, leaf})
	}
	if c.Sender.Type == SenderNewMemberCommit {
		// The joiner takes the leftmost blank leaf, like an added one.
		if t.root.leaves+1 > g.cfg.Limits.Leaves {
			return fmt.Errorf("more than %d members: %w", g.cfg.Limits.Leaves, ErrTooLarge)
		}
		t, c.Committer = t.add(&c.path.leaf)
	}
	if len(appData) > 0 {
		d, err := next.Extensions.Dictionary(g.cfg.Limits)
		if err != nil {
			return err
		}
		if err := applyAppData(d, appData, g.cfg.Components); err != nil {
			return invalid(nil, err)
		}
		if len(d) > g.cfg.Limits.ListEntries {
			return fmt.Errorf("more than %d components: %w", g.cfg.Limits.ListEntries, ErrTooLarge)
		}
		next.Extensions = next.Extensions.With(ExtAppDataDictionary, d.append(nil))
	}
	if c.ContextChanged = !next.Extensions.equal(g.ctx.Extensions); c.ContextChanged {
		var err error
		if c.required, err = next.Extensions.requiredCapabilities(g.cfg.Limits); err != nil {
			return err
		}
		if c.senders, err = next.Extensions.externalSenders(g.cfg.Limits); err != nil {
			return err
		}
	}
	c.Context = &next
	c.tree, c.provisional = t, t
	return nil
}
