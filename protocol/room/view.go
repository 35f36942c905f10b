package room

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/wire"
)

// View is who takes part in a room, and what its policy says, at one point: as the
// GroupContext and the tree have it (ViewOf, the committed view), after a change, or as it
// will be when all that is pending is committed (Effective). It is never changed, so many
// goroutines may use it.
type View struct {
	Rules       *policy.Roles
	Base        *policy.Base
	Preauth     *policy.Preauth     // empty, if the room has none
	Operational *policy.Operational // nil, if the room has none

	naming     naming
	components mls.Dictionary
	list       []wire.UserRolePair // the committed list, which indices count in

	// What differs from below, or all there is: a user that is off the list in it is None,
	// one without clients has 0.
	below   *View
	roles   map[string]policy.Role
	clients map[string]int
	domains map[string]int // participants in roles that may have clients, by provider
	count   map[policy.Role]policy.Count
	load    policy.Load
}

// ViewOf reads the committed view of a group. Errors: ErrPolicy, policy.ErrRoles,
// policy.ErrComponent.
func ViewOf(ctx *mls.GroupContext, r *Roster) (*View, error) {
	v := &View{naming: r.naming, roles: map[string]policy.Role{}, clients: make(map[string]int, len(r.clients)), domains: map[string]int{}, count: map[policy.Role]policy.Count{}}
	var err error
	if v.components, err = ctx.Extensions.Dictionary(BodyLimits().Limits); err != nil {
		return nil, err
	}
	if err := v.readPolicy(); err != nil {
		return nil, err
	}
	if v.list, err = participantsIn(v.components); err != nil {
		return nil, err
	}
	for u, n := range r.clients {
		v.clients[u.String()] = n
		v.load.Clients += n
		if n > 1 {
			v.load.Several++
		}
	}
	for _, p := range v.list {
		role := policy.Role(p.Role)
		v.roles[string(p.User)] = role
		if err := v.counted(string(p.User), role, v.clients[string(p.User)], 1); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// readPolicy reads what the components say of policy.
func (v *View) readPolicy() (err error) {
	if v.Rules, err = rolesIn(v.components); err != nil {
		return err
	}
	if v.Base, err = baseIn(v.components); err != nil {
		return err
	}
	v.Preauth = new(policy.Preauth)
	if b := v.components[PreauthComponent]; b != nil {
		if v.Preauth, err = policy.ParsePreauth(b); err != nil {
			return err
		}
	}
	if b := v.components[OperationalComponent]; b != nil {
		if v.Operational, err = policy.ParseOperational(b); err != nil {
			return err
		}
	}
	return nil
}

// counted counts a participant once more, or once less.
func (v *View) counted(who string, role policy.Role, clients, by int) error {
	if role == policy.None {
		return nil
	}
	c := v.count[role]
	c.Users += by
	if clients > 0 {
		c.Active += by
	}
	v.count[role] = c
	if role != policy.Banned {
		v.load.Users += by
	}
	if v.Rules.Active(role) {
		u, err := v.naming.parse(who)
		if err != nil {
			return err
		}
		d := u.Provider().Domain()
		v.domains[d] = v.active(d) + by
	}
	return nil
}

func (v *View) active(domain string) int {
	if n, ok := v.domains[domain]; ok || v.below == nil {
		return n
	}
	return v.below.active(domain)
}

// Role returns a user's role, None if it is not on the list.
func (v *View) Role(who string) policy.Role {
	if r, ok := v.roles[who]; ok || v.below == nil {
		return r
	}
	return v.below.Role(who)
}

// Clients returns how many clients a user has in the group.
func (v *View) Clients(who string) int {
	if n, ok := v.clients[who]; ok || v.below == nil {
		return n
	}
	return v.below.Clients(who)
}

// Count returns how many participants of a role there are.
func (v *View) Count(role policy.Role) policy.Count { return v.count[role] }

// Load returns how full the room is.
func (v *View) Load() policy.Load { return v.load }

// Over says whether the room has ended because nobody is in it; see policy.Base.Over. A commit
// leaves its committer in the group, so this comes true of an effective view only: all who
// are left have proposed to go.
func (v *View) Over() bool { return v.Base.Over(v.load) }

// Participating says whether a provider has a participant in a role that may have clients.
func (v *View) Participating(domain string) bool { return v.active(domain) > 0 }

// Providers returns the domains of participants in roles that may have clients, sorted.
func (v *View) Providers() []string {
	all := map[string]int{}
	for x := v; x != nil; x = x.below {
		for d := range x.domains {
			all[d] = 0
		}
	}
	var out []string
	for _, d := range slices.Sorted(maps.Keys(all)) {
		if v.Participating(d) {
			out = append(out, d)
		}
	}
	return out
}

// Roles returns all on the list, banned users included, with their roles. It is the
// caller's.
func (v *View) Roles() map[string]policy.Role {
	out := map[string]policy.Role{}
	if v.below != nil {
		out = v.below.Roles()
	}
	for who, role := range v.roles {
		if out[who] = role; role == policy.None {
			delete(out, who)
		}
	}
	return out
}

// over returns the view after users got other roles (None: off the list) and so many
// clients more. Policy is as before.
func (v *View) over(changed map[string]policy.Role, delta map[string]int) (*View, error) {
	if len(changed)+len(delta) == 0 {
		return v, nil
	}
	n := &View{naming: v.naming, Rules: v.Rules, Base: v.Base, Preauth: v.Preauth, Operational: v.Operational, components: v.components, list: v.list,
		below: v, roles: changed, clients: map[string]int{}, domains: map[string]int{}, count: maps.Clone(v.count), load: v.load}
	touch := func(who string) error {
		was, now := v.Clients(who), v.Clients(who)+delta[who]
		if delta[who] != 0 {
			n.clients[who] = now
			n.load.Clients += delta[who]
		}
		if was > 1 {
			n.load.Several--
		}
		if now > 1 {
			n.load.Several++
		}
		if err := n.counted(who, v.Role(who), was, -1); err != nil {
			return err
		}
		return n.counted(who, n.Role(who), now, 1)
	}
	for who := range changed {
		if err := touch(who); err != nil {
			return nil, err
		}
	}
	for who := range delta {
		if _, done := changed[who]; !done {
			if err := touch(who); err != nil {
				return nil, err
			}
		}
	}
	return n, nil
}

// listChanges adds to changed what an update of the list does to whom. Indices count in
// the committed list.
func (v *View) listChanges(changed map[string]policy.Role, data []byte) error {
	up, err := wire.ParseParticipantListUpdate(data, BodyLimits())
	if err != nil {
		return err
	}
	at := func(i uint32, to policy.Role) error {
		if int64(i) >= int64(len(v.list)) {
			return fmt.Errorf("participant %d of %d: %w", i, len(v.list), ErrPolicy)
		}
		changed[string(v.list[i].User)] = to
		return nil
	}
	for _, c := range up.Changed {
		if err := at(c.Index, policy.Role(c.Role)); err != nil {
			return err
		}
	}
	for _, i := range up.Removed {
		if err := at(i, policy.None); err != nil {
			return err
		}
	}
	for _, a := range up.Added {
		changed[string(a.User)] = policy.Role(a.Role)
	}
	return nil
}

// with returns the view after proposals, as far as they are about who takes part: each
// leaf is removed once, whoever proposes it.
func (v *View) with(list []*mls.UsedProposal, r *Roster) (*View, error) {
	changed, delta := map[string]policy.Role{}, map[string]int{}
	gone := map[mls.LeafIndex]bool{}
	for _, p := range list {
		switch p.Proposal.Type {
		case mls.ProposalAppDataUpdate:
			if a := p.Proposal.AppData; a.Component == wire.ComponentParticipantList && a.Op == mls.AppDataSet {
				if err := v.listChanges(changed, a.Update); err != nil {
					return nil, err
				}
			}
		case mls.ProposalAdd:
			u, err := r.naming.user(&p.Proposal.Add.Leaf)
			if err != nil {
				return nil, err
			}
			delta[u.String()]++
		case mls.ProposalRemove, mls.ProposalSelfRemove:
			leaf := p.Proposal.Remove
			if p.Proposal.Type == mls.ProposalSelfRemove {
				leaf = p.Sender.Leaf
			}
			if u, ok := r.users[leaf]; ok && !gone[leaf] {
				gone[leaf] = true
				delta[u.String()]--
			}
		}
	}
	return v.over(changed, delta)
}

// Effective returns the view as it will be when all proposals are committed that the log
// holds: what somebody who wants to leave may still do is judged by it (MIMI protocol
// section 7.5 leaves open when a proposal counts).
func (v *View) Effective(g *mls.PublicGroup, r *Roster) (*View, error) { return v.with(g.Pending(), r) }

// Met says whether a room is as it must be, apart from bounds on counts, which a commit may
// leave broken where they were: participants and clients agree. Error: ErrPolicy.
func (v *View) Met() error {
	all := map[string]bool{}
	for x := v; x != nil; x = x.below {
		for who := range x.clients {
			all[who] = true
		}
	}
	for _, who := range slices.Sorted(maps.Keys(all)) {
		if n := v.Clients(who); n < 0 || n > 0 && !v.Rules.Active(v.Role(who)) {
			return fmt.Errorf("%s has %d clients in the group and is %s: %w", who, n, v.Rules.Name(v.Role(who)), ErrPolicy)
		}
	}
	for who, role := range v.Roles() {
		if !v.Rules.Known(role) {
			return fmt.Errorf("%s has role %d, which there is not: %w", who, role, ErrPolicy)
		}
	}
	return nil
}
