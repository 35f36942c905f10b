package client

import (
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
)

// Rooms that depend on a parent: see policy.Within. Who may take part, the hub knows; devices
// say what it has said.

// within returns the room with the roles and the base policy of one that has a parent.
func (n NewRoom) within() (NewRoom, error) {
	roles := n.Roles
	if roles == nil {
		roles = policy.Basic()
	}
	roles, err := policy.Dependent(roles)
	if err != nil {
		return n, fmt.Errorf("%w: %w", err, ErrRefused)
	}
	base := policy.DefaultBase()
	n.Roles, n.Policies = roles, slices.DeleteFunc(slices.Clone(n.Policies), func(p room.Component) bool {
		b, ok := p.(*policy.Base)
		if ok {
			base = b
		}
		return ok
	})
	with := *base
	with.Parent = n.Parent.String()
	n.Policies = append(n.Policies, &with)
	return n, nil
}

// strayed says, of a commit that takes this device out of a room, that the hub has it done since
// the user does not take part in the parent any more; "" if that is not so.
func (r *roomState) strayed(ch *mls.Change) string {
	p, err := room.PoliciesOf(ch.Context)
	if err != nil || p.Base.Parent == "" {
		return ""
	}
	own := r.group.OwnLeaf()
	if !slices.ContainsFunc(ch.Proposals, func(p *mls.UsedProposal) bool {
		return p.Sender.Type == mls.SenderExternal && p.Proposal.Type == mls.ProposalRemove && p.Proposal.Remove == own
	}) {
		return ""
	}
	return fmt.Sprintf("taken out of the room by %s, the provider that orders it: who is in it must be in %s, too", r.Lead.Hub.Domain, p.Base.Parent)
}
