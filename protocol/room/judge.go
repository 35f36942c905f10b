package room

import (
	"crypto"
	"fmt"
	"maps"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// judgement is one change, and who is who in it.
type judgement struct {
	r *Roster
	g *mls.PublicGroup
	c *mls.Change

	earlier []*mls.UsedProposal // proposals before this one in its entry

	committed *View                  // before the change
	was       *View                  // what it is judged against: committed, or of a proposal effective
	next      *View                  // after the change
	changed   map[string]policy.Role // whose roles a commit changes
	after     mls.Dictionary         // components after a commit but for the list, nil after a proposal

	joiner  uri.User    // of an external commit
	enters  bool        // and it was not on the list
	entryAs policy.Role // the role in which it enters, by the list update
	claims  []policy.Claim

	at      uint64 // ms since 1970: when the hub accepted it
	lead    *Lead
	anchors func(domain string) []crypto.PublicKey
}

// Judge says whether the room's policy allows a change that Process of g has
// verified. g and r are as before the change. Members and providers judge alike,
// so that all refuse the same:
//
//   - Every proposal is allowed to whoever proposed it, by its role before the
//     change. A proposal by itself is judged by what holds when all is committed that
//     is pending: who wants to leave proposes nothing more.
//   - After a commit every client's user is on the participant list, in a role
//     that may have clients; each role has as many participants as it may, and the
//     room no more users and clients than its base policy says. A proposal that could
//     be in no such commit is refused at once, so that what is pending can be committed.
//   - A commit includes the pending removals (see pending).
//   - From outside, a participant joins with a client of its own; somebody else only
//     where the roles or the preauthorization let it, and as what they say, or by a join
//     link, and as what that is for.
//   - room_hosting says what the log says of hub and term. lead is that: who
//     orders the room before the change and who decides. anchors are as in Rules.
//   - Whom a claim to succeed is against ends it (see Succession). at is when the
//     entry was accepted, ms since 1970.
//   - The external senders are the hub that the log names (see enforce.go).
//   - A replica without a participant is one that the room allows and names (see
//     Outside).
//
// Errors: ErrPolicy, ErrPending, ErrHosting, ErrSettling, ErrSuccession, ErrOutside, and for a new
// replica x509auth.ErrUnknownProvider, which may pass.
func (r *Roster) Judge(g *mls.PublicGroup, c *mls.Change, lead *Lead, at uint64, anchors func(domain string) []crypto.PublicKey) error {
	return r.JudgeAll(g, []*mls.Change{c}, lead, at, anchors)
}

// JudgeAll is Judge for the changes of one entry: a commit, or proposals that are allowed
// or refused together, because one who leaves takes its devices out by several.
func (r *Roster) JudgeAll(g *mls.PublicGroup, all []*mls.Change, lead *Lead, at uint64, anchors func(domain string) []crypto.PublicKey) error {
	var earlier []*mls.UsedProposal
	for i, c := range all {
		j := &judgement{r: r, g: g, c: c, lead: lead, at: at, anchors: anchors, earlier: earlier}
		err := j.judge()
		if err == nil && c.Proposal != nil && i == len(all)-1 {
			// Who leaves takes all its devices along by the same entry (room-policy section
			// 10.1.2, canRemoveSelf), or nobody could commit it as it is.
			err = j.agreement()
		}
		if err != nil {
			return fmt.Errorf("judging %s of epoch %d: %w", c.Kind, g.Epoch(), err)
		}
		if c.Proposal != nil {
			earlier = append(earlier, c.Proposal)
		}
	}
	return nil
}

func (j *judgement) judge() (err error) {
	if j.committed, err = j.r.View(j.g); err != nil {
		return err
	}
	j.was = j.committed
	if err := j.readable(); err != nil {
		return err
	}
	if j.c.Kind == mls.ContentProposal {
		if j.lead.move {
			return j.judgeMove()
		}
		return j.judgeProposal()
	}
	if err := j.foresee(); err != nil {
		return err
	}
	if j.lead.move {
		if err := j.judgeMove(); err != nil {
			return err
		}
	}
	if j.c.Sender.Type == mls.SenderNewMemberCommit {
		if err := j.external(); err != nil {
			return err
		}
	}
	for _, p := range j.c.Proposals {
		if err := j.proposal(p); err != nil {
			return err
		}
	}
	if err := j.signOfLife(); err != nil {
		return err
	}
	if err := j.outside(); err != nil {
		return err
	}
	if err := j.agreement(); err != nil {
		return err
	}
	if err := j.bounds(); err != nil {
		return err
	}
	return j.pending()
}

// readable: an update that cannot be read is no question of who may make it. What a commit
// refers to was read when it came.
func (j *judgement) readable() error {
	all := j.c.Proposals
	if j.c.Kind == mls.ContentProposal {
		all = []*mls.UsedProposal{j.c.Proposal}
	}
	for _, p := range all {
		if p.Proposal.Type != mls.ProposalAppDataUpdate || j.c.Kind == mls.ContentCommit && p.ByReference() {
			continue
		}
		if err := readUpdate(p.Proposal.AppData); err != nil {
			return &mls.ProposalError{Ref: p.Ref, Err: fmt.Errorf("component %#04x: %w: %w", uint16(p.Proposal.AppData.Component), err, ErrPolicy)}
		}
	}
	return nil
}

// readUpdate says whether an AppDataUpdate is one that a room could hold at all.
func readUpdate(a *mls.AppDataUpdate) (err error) {
	if a.Op != mls.AppDataSet {
		return fmt.Errorf("a component of a room is never removed: %w", mls.ErrBadProposal)
	}
	switch a.Component {
	case wire.ComponentParticipantList:
		_, err = wire.ParseParticipantListUpdate(a.Update, BodyLimits())
	case MetadataComponent, OperationalComponent, PreauthComponent, BaseComponent, StatusComponent, AssetsComponent, ExpirationComponent:
		_, err = ParseComponent(a.Component, a.Update)
	case TombstoneComponent:
		_, err = ParseTombstone(a.Update)
	case RolesComponent:
		_, err = policy.ParseRoles(a.Update)
	case HostingComponent:
		_, err = ParseHosting(a.Update)
	case SuccessionComponent:
		_, err = ParseSuccession(a.Update)
	case OutsideComponent:
		_, err = ParseOutside(a.Update)
	case JoinLinksComponent:
		_, err = ParseJoinLinksUpdate(a.Update)
	default:
		err = fmt.Errorf("rooms have no such component: %w", mls.ErrBadProposal)
	}
	return err
}

// judgeProposal judges a proposal by itself.
func (j *judgement) judgeProposal() (err error) {
	if j.was, err = j.committed.Effective(j.g, j.r); err != nil {
		return err
	}
	if j.next, err = j.was.with(append(slices.Clone(j.earlier), j.c.Proposal), j.r); err != nil {
		return err
	}
	if err := j.proposal(j.c.Proposal); err != nil {
		return err
	}
	return j.bounds()
}

// foresee makes the view after a commit.
func (j *judgement) foresee() (err error) {
	j.changed = map[string]policy.Role{}
	policies := false
	for _, p := range j.c.Proposals {
		a := p.Proposal.AppData
		switch {
		case p.Proposal.Type != mls.ProposalAppDataUpdate || a.Op != mls.AppDataSet:
		case a.Component == wire.ComponentParticipantList:
			if err := j.committed.listChanges(j.changed, a.Update); err != nil {
				return err
			}
		default:
			// Replaced as a whole, see components. Reading the next context instead would
			// copy the whole list.
			if j.after == nil {
				j.after = maps.Clone(j.committed.components)
			}
			j.after[a.Component] = a.Update
			policies = policies || a.Component == RolesComponent || a.Component == BaseComponent
		}
	}
	if j.after == nil {
		j.after = j.committed.components
	}
	delta, err := j.delta()
	if err != nil {
		return err
	}
	if j.next, err = j.committed.over(j.changed, delta); err != nil {
		return err
	}
	if policies {
		n := *j.next
		n.components = j.after
		if err := n.readPolicy(); err != nil {
			return fmt.Errorf("%w: %w", err, ErrPolicy)
		}
		j.next = &n
	}
	return nil
}

// external: who joins by itself is a participant already, or one of those whom the room
// lets in. In a pseudonymous room its provider vouches for it.
func (j *judgement) external() error {
	if o := j.was.Operational; o != nil && !o.ExternalCommits {
		return fmt.Errorf("nobody joins this room by itself (external_commit_allowed): %w", ErrPolicy)
	}
	for _, m := range j.c.Added {
		if m.Leaf != j.c.Committer {
			continue
		}
		u, err := j.r.naming.user(m.Node)
		if err != nil {
			return err
		}
		if err := j.attested(m.Node); err != nil {
			return err
		}
		j.joiner, j.claims = u, ClaimsOf(m.Node.Credential)
		role := j.was.Role(u.String())
		if role == policy.None {
			j.enters, j.entryAs = true, j.changed[u.String()]
			var use *JoinLinkUse
			if use, err = j.linkUsed(); err == nil && use != nil {
				err = j.joinsBy(use)
			} else if err == nil {
				err = j.was.Rules.Join(j.entryAs, j.was.Preauth.Match(j.claims))
			}
		} else {
			err = j.was.Rules.AddClient(role, true, role)
		}
		if err == nil && j.enters && j.was.Base.Fixed {
			err = errFixed
		}
		if err != nil {
			return fmt.Errorf("%s joins by itself: %w: %w", u, err, ErrPolicy)
		}
		return nil
	}
	return fmt.Errorf("external commit that adds nobody: %w", ErrPolicy)
}

var errFixed = &policy.Refusal{Why: "who takes part in this room was settled when it was made"}

// actor returns who made a proposal and in which role.
func (j *judgement) actor(s mls.Sender) (string, policy.Role, error) {
	switch s.Type {
	case mls.SenderMember:
		u, ok := j.r.users[s.Leaf]
		if !ok {
			return "", 0, fmt.Errorf("proposal by leaf %d, which is nobody's: %w", s.Leaf, ErrPolicy)
		}
		return u.String(), j.was.Role(u.String()), nil
	case mls.SenderNewMemberCommit:
		return j.joiner.String(), j.was.Role(j.joiner.String()), nil
	case mls.SenderExternal:
		return j.enforcer(s)
	}
	return "", 0, fmt.Errorf("proposal by %v: %w", s.Type, ErrPolicy)
}

// proposal checks one proposal against its proposer's role.
func (j *judgement) proposal(p *mls.UsedProposal) error {
	user, role, err := j.actor(p.Sender)
	if err != nil {
		return err
	}
	judged := func(err error, what string, of string) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s %s %s: %w: %w", user, what, of, err, ErrPolicy)
	}
	switch p.Proposal.Type {
	case mls.ProposalAdd:
		u, err := j.r.naming.user(&p.Proposal.Add.Leaf)
		if err != nil {
			return err
		}
		of := j.next.Role(u.String())
		if j.was.Base.Fixed && u.String() != user && j.was.Rules.Active(role) && j.was.Rules.Active(of) {
			return nil // nobody has a capability to add, and those on the list are to come in
		}
		return judged(j.was.Rules.AddClient(role, u.String() == user, of), "adds a client of", u.String())
	case mls.ProposalUpdate, mls.ProposalExternalInit:
		return nil
	case mls.ProposalSelfRemove:
		// With a list update it is the user who leaves, else one of its clients.
		err := j.was.Rules.Need(role, policy.RemoveOwnClient)
		if err != nil && j.was.Rules.May(role, policy.RemoveSelf) {
			err = nil
		}
		return judged(err, "removes a client of", user)
	case mls.ProposalRemove:
		u, ok := j.r.users[p.Proposal.Remove]
		if !ok {
			return fmt.Errorf("%s removes leaf %d, which is nobody's: %w", user, p.Proposal.Remove, ErrPolicy)
		}
		// Who is taken off the list, or banned, in the same commit loses the clients with it:
		// that is judged there.
		is, will := j.was.Role(u.String()), j.next.Role(u.String())
		if own := u.String() == user; own || will == is || j.was.Rules.Active(will) {
			return judged(j.was.Rules.RemoveClient(role, own, is), "removes a client of", u.String())
		}
		return nil
	case mls.ProposalAppDataUpdate:
		return j.component(p, user, role)
	case mls.ProposalGroupContextExtensions:
		return j.namesHub(p, user, role)
	}
	return fmt.Errorf("%s, %s, proposes type %d: %w", user, j.was.Rules.Name(role), p.Proposal.Type, ErrPolicy)
}

func (j *judgement) component(p *mls.UsedProposal, user string, role policy.Role) error {
	a := p.Proposal.AppData
	deny := func(what string) error {
		return fmt.Errorf("%s, %s, %s: %w", user, j.was.Rules.Name(role), what, ErrPolicy)
	}
	if a.Op != mls.AppDataSet {
		return deny(fmt.Sprintf("removes component %#04x", uint16(a.Component)))
	}
	switch a.Component {
	case wire.ComponentParticipantList:
		up, err := wire.ParseParticipantListUpdate(a.Update, BodyLimits())
		if err != nil {
			return err
		}
		if err := j.listUpdate(up, user, role, p.Sender); err != nil {
			return err
		}
		if j.c.Kind == mls.ContentProposal {
			return j.untouched(up)
		}
		return nil
	case MetadataComponent, OperationalComponent, PreauthComponent, BaseComponent, StatusComponent, AssetsComponent, ExpirationComponent:
		return j.policyUpdate(p, user, role)
	case TombstoneComponent:
		return j.ends(p, user, role)
	case RolesComponent:
		return j.redefines(a.Update, user, role)
	case HostingComponent:
		return j.hosting(a.Update, user, role)
	case SuccessionComponent:
		return j.succession(p, user, role)
	case OutsideComponent:
		return j.updatesOutside(p, user, role)
	case JoinLinksComponent:
		return j.changesLinks(p, user, role)
	}
	return deny(fmt.Sprintf("changes component %#04x", uint16(a.Component)))
}

// updatesHosting reports whether a commit replaces room_hosting.
func updatesHosting(c *mls.Change) bool {
	return slices.ContainsFunc(c.Proposals, func(p *mls.UsedProposal) bool {
		a := p.Proposal.AppData
		return p.Proposal.Type == mls.ProposalAppDataUpdate && a != nil && a.Component == HostingComponent
	})
}

// hosting: the hub and term are what the log says, so an update may not make
// them up. Whoever only copies what the log says needs no capability; the rest is
// ChangeHosting's. New replicas are of participating providers, by a key that all
// who judge know for the domain, or the one that the commit recruits, and the hub stays
// in the set while its provider takes part.
func (j *judgement) hosting(data []byte, user string, role policy.Role) error {
	was, err := hostingIn(j.was.components)
	if err != nil {
		return err
	}
	next, err := ParseHosting(data)
	if err != nil {
		return err
	}
	now := j.lead
	if next.Term != now.Term || !next.Hub.equal(&now.Hub) {
		return fmt.Errorf("room_hosting says hub %s in term %s, the log %s in %s, or another key: %w",
			next.Hub.Domain, next.Term, now.Hub.Domain, now.Term, ErrPolicy)
	}
	moves := !sameSet(next.Replicas, now.Now)
	copies := !moves && !now.move && next.Failover == was.Failover && next.Topic == was.Topic
	if !copies && !j.was.Rules.May(role, policy.ChangeHosting) && !(now.move && j.inherits(user)) || !j.was.Rules.Active(role) {
		return fmt.Errorf("%s, %s, changes the room's hosting: %w", user, j.was.Rules.Name(role), ErrPolicy)
	}
	if !moves && !now.move {
		return nil
	}
	if now.Changing() && !now.move {
		return ErrSettling
	}
	for i := range next.Replicas {
		x := &next.Replicas[i]
		if slices.ContainsFunc(now.Now, func(y Replica) bool { return x.equal(&y) }) {
			continue
		}
		if !j.takesPart(x.Domain) && !j.recruits(x.Domain) {
			return fmt.Errorf("replica %s has no participant: %w", x.Domain, ErrPolicy)
		}
		if err := anchoredBy(j.anchors, x); err != nil {
			return fmt.Errorf("replica: %w", err)
		}
	}
	if now.move {
		if !slices.ContainsFunc(next.Replicas, func(y Replica) bool { return next.Hub.equal(&y) }) || !j.takesPart(next.Hub.Domain) {
			return fmt.Errorf("a move to %s, which is no replica or has no participant: %w", next.Hub.Domain, ErrPolicy)
		}
		return nil
	}
	in := func(set []Replica) bool { return len(keysIn(now.Hub.Domain, set)) > 0 }
	if in(now.Now) && !in(next.Replicas) && j.takesPart(now.Hub.Domain) {
		return fmt.Errorf("the hub %s, whose users stay, is not among the new replicas; let it hand over first: %w", now.Hub.Domain, ErrPolicy)
	}
	return nil
}

// takesPart reports whether a provider has a participant after the change. What a
// proposal by itself leads to is not known: it is judged again in its commit.
func (j *judgement) takesPart(domain string) bool {
	if j.c.Kind == mls.ContentProposal {
		return j.committed.Participating(domain)
	}
	return j.next.Participating(domain)
}

func (r *Replica) equal(o *Replica) bool {
	return r.Domain == o.Domain && r.ProviderKey == o.ProviderKey && slices.Equal(r.FrankingKey, o.FrankingKey)
}

func (j *judgement) listUpdate(up *wire.ParticipantListUpdate, user string, role policy.Role, sender mls.Sender) error {
	rules := j.was.Rules
	set := func(who string, from, to policy.Role) error {
		var err error
		switch {
		case j.was.Base.Fixed && (from == policy.None || to == policy.None) && !(to == policy.None && sender.Type == mls.SenderExternal && j.was.Base.Parent != ""):
			err = errFixed
		case sender.Type == mls.SenderNewMemberCommit:
			if who != user || from != policy.None || !j.enters {
				err = &policy.Refusal{Why: "who joins by itself changes nobody's role"}
			} // else external has judged it
		default:
			err = rules.SetRole(role, who == user, from, to)
		}
		if err != nil && who == user && rules.May(role, policy.ChangeOwnRole) && rules.Active(to) && j.was.Preauth.Match(j.claimsOf(sender)) == to {
			return nil
		}
		if err != nil && who == user && rules.Active(from) && to == rules.Top() {
			return j.takes(user)
		}
		if err != nil {
			return fmt.Errorf("%s makes %s %s instead of %s: %w: %w", user, who, rules.Name(to), rules.Name(from), err, ErrPolicy)
		}
		return nil
	}
	for _, a := range up.Added {
		if _, err := j.r.naming.parse(string(a.User)); err != nil {
			return err
		}
		if err := set(string(a.User), policy.None, policy.Role(a.Role)); err != nil {
			return err
		}
	}
	one := func(i uint32, to policy.Role) error {
		list := j.committed.list
		if int64(i) >= int64(len(list)) {
			return fmt.Errorf("participant %d of %d: %w", i, len(list), ErrPolicy)
		}
		who := string(list[i].User)
		return set(who, j.was.Role(who), to)
	}
	for _, c := range up.Changed {
		if err := one(c.Index, policy.Role(c.Role)); err != nil {
			return err
		}
	}
	for _, i := range up.Removed {
		if err := one(i, policy.None); err != nil {
			return err
		}
	}
	return nil
}

// claimsOf returns what the credential of a proposal's sender says.
func (j *judgement) claimsOf(s mls.Sender) []policy.Claim {
	if s.Type == mls.SenderNewMemberCommit {
		return j.claims
	}
	if m, ok := j.g.Member(s.Leaf); ok && s.Type == mls.SenderMember {
		return ClaimsOf(m.Node.Credential)
	}
	return nil
}

// delta is how many clients of each user a commit adds, less those that it removes.
func (j *judgement) delta() (map[string]int, error) {
	delta := map[string]int{}
	for _, m := range j.c.Removed {
		if u, ok := j.r.users[m.Leaf]; ok {
			delta[u.String()]--
		}
	}
	for _, m := range j.c.Added {
		u, err := j.r.naming.user(m.Node)
		if err != nil {
			return nil, err
		}
		delta[u.String()]++
	}
	return delta, nil
}

// agreement: after the commit participants and members agree. Only who is
// touched is looked at; the others agreed before.
func (j *judgement) agreement() error {
	agree := func(who string) error {
		if n, role := j.next.Clients(who), j.next.Role(who); n > 0 && !j.was.Rules.Active(role) {
			return fmt.Errorf("%s has %d clients in the group and is %s in the participant list: %w", who, n, j.was.Rules.Name(role), ErrPolicy)
		}
		return nil
	}
	for who := range j.next.roles {
		if j.next == j.committed {
			break // nobody is touched
		}
		if err := agree(who); err != nil {
			return err
		}
	}
	for who := range j.next.clients {
		if j.next == j.committed {
			break
		}
		if err := agree(who); err != nil {
			return err
		}
	}
	for _, m := range j.c.Updated {
		was, now := j.r.users[m.Leaf], uri.User{}
		var err error
		if now, err = j.r.naming.user(m.New); err != nil {
			return err
		}
		if was != now {
			return fmt.Errorf("leaf %d of %s becomes one of %s: %w", m.Leaf, was, now, ErrPolicy)
		}
	}
	return nil
}

// pending: whoever wants to leave, or was proposed for removal, must not be kept
// by commits that look away. A member's commit has to remove the clients that
// pending Remove and SelfRemove proposals name and the users that pending list
// updates take off, all but its own, which it cannot; a joiner's commit, which
// may hold nothing else, the SelfRemoves.
func (j *judgement) pending() error {
	external := j.c.Sender.Type == mls.SenderNewMemberCommit
	committer := j.joiner
	if !external {
		committer = j.r.users[j.c.Sender.Leaf]
	}
	removed := map[mls.LeafIndex]bool{}
	for _, m := range j.c.Removed {
		removed[m.Leaf] = true
	}
	for _, p := range j.g.Pending() {
		var leaf mls.LeafIndex
		switch {
		case p.Proposal.Type == mls.ProposalSelfRemove:
			leaf = p.Sender.Leaf
		case external:
			continue
		case p.Proposal.Type == mls.ProposalRemove:
			leaf = p.Proposal.Remove
		case p.Proposal.Type == mls.ProposalAppDataUpdate && p.Proposal.AppData.Component == wire.ComponentParticipantList:
			if err := j.pendingList(p.Proposal.AppData.Update, committer.String()); err != nil {
				return err
			}
			continue
		default:
			continue
		}
		own := !external && leaf == j.c.Sender.Leaf
		if !own && !removed[leaf] {
			return fmt.Errorf("leaf %d of %s: %w", leaf, j.r.users[leaf], ErrPending)
		}
	}
	return nil
}

// untouched: of two pending updates for one user a commit could include only
// one, so the second is refused when it comes.
func (j *judgement) untouched(up *wire.ParticipantListUpdate) error {
	indices := func(up *wire.ParticipantListUpdate) map[uint32]bool {
		m := map[uint32]bool{}
		for _, c := range up.Changed {
			m[c.Index] = true
		}
		for _, i := range up.Removed {
			m[i] = true
		}
		return m
	}
	mine := indices(up)
	for _, p := range slices.Concat(j.g.Pending(), j.earlier) {
		if p.Proposal.Type != mls.ProposalAppDataUpdate || p.Proposal.AppData.Component != wire.ComponentParticipantList {
			continue
		}
		old, err := wire.ParseParticipantListUpdate(p.Proposal.AppData.Update, BodyLimits())
		if err != nil {
			return err
		}
		for i := range indices(old) {
			if mine[i] {
				return fmt.Errorf("a change of participant %d is pending already: %w", i, ErrPolicy)
			}
		}
		for _, a := range old.Added {
			if slices.ContainsFunc(up.Added, func(b wire.UserRolePair) bool { return a.User == b.User }) {
				return fmt.Errorf("%s is being added already: %w", a.User, ErrPolicy)
			}
		}
	}
	return nil
}

func (j *judgement) pendingList(update []byte, committer string) error {
	up, err := wire.ParseParticipantListUpdate(update, BodyLimits())
	if err != nil {
		return err
	}
	for _, i := range up.Removed {
		if int64(i) >= int64(len(j.committed.list)) {
			continue
		}
		who := string(j.committed.list[i].User)
		if j.next.Role(who) != policy.None && who != committer {
			return fmt.Errorf("participant %s: %w", who, ErrPending)
		}
	}
	for _, c := range up.Changed {
		if int64(c.Index) >= int64(len(j.committed.list)) || policy.Role(c.Role) != policy.Banned {
			continue
		}
		who := string(j.committed.list[c.Index].User)
		if x := j.next.Role(who); x != policy.None && x != policy.Banned && who != committer {
			return fmt.Errorf("%s, who is to be banned: %w", who, ErrPending)
		}
	}
	return nil
}
