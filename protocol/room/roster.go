package room

import (
	"crypto"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Roster is who has clients in a group, user by user, derived from the
// credentials in the ratchet tree and from nothing else. It saves reading a
// thousand certificates for each change. One goroutine owns it, with the group.
type Roster struct {
	users   map[mls.LeafIndex]uri.User
	clients map[uri.User]int
}

// RosterOf reads the whole tree. Error: a member without a user's credential,
// ErrPolicy.
func RosterOf(g *mls.PublicGroup) (*Roster, error) {
	r := &Roster{users: map[mls.LeafIndex]uri.User{}, clients: map[uri.User]int{}}
	for m := range g.Members() {
		u, err := userOf(m.Node)
		if err != nil {
			return nil, err
		}
		r.users[m.Leaf] = u
		r.clients[u]++
	}
	return r, nil
}

func userOf(n *mls.LeafNode) (uri.User, error) {
	s, err := x509auth.UserURI(n.Credential)
	if err != nil {
		return uri.User{}, fmt.Errorf("member without a user: %w: %w", err, ErrPolicy)
	}
	u, err := uri.ParseUser(s)
	if err != nil {
		return uri.User{}, fmt.Errorf("member of user %q: %w: %w", s, err, ErrPolicy)
	}
	return u, nil
}

// User returns whose client a leaf is.
func (r *Roster) User(leaf mls.LeafIndex) (uri.User, bool) { u, ok := r.users[leaf]; return u, ok }

// Clients returns how many clients a user has in the group.
func (r *Roster) Clients(u uri.User) int { return r.clients[u] }

// Leaves returns a user's leaves in order.
func (r *Roster) Leaves(u uri.User) []mls.LeafIndex {
	var out []mls.LeafIndex
	for l, who := range r.users {
		if who == u {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out
}

// Apply follows a change that the group has adopted.
func (r *Roster) Apply(c *mls.Change) error {
	type move struct {
		leaf mls.LeafIndex
		user uri.User
	}
	var added []move
	for _, m := range c.Added {
		u, err := userOf(m.Node)
		if err != nil {
			return err
		}
		added = append(added, move{m.Leaf, u})
	}
	for _, m := range c.Removed {
		r.drop(m.Leaf)
	}
	for _, m := range added {
		r.users[m.leaf] = m.user
		r.clients[m.user]++
	}
	return nil
}

func (r *Roster) drop(leaf mls.LeafIndex) {
	u, ok := r.users[leaf]
	if !ok {
		return
	}
	delete(r.users, leaf)
	if r.clients[u]--; r.clients[u] == 0 {
		delete(r.clients, u)
	}
}

// judgement is one change, and who is who in it.
type judgement struct {
	r      *Roster
	g      *mls.PublicGroup
	c      *mls.Change
	before []wire.UserRolePair
	after  []wire.UserRolePair // of a commit
	roles  map[string]policy.Role
	next   map[string]policy.Role // after a commit
	rules  *policy.Roles          // what the roles mean, before the change
	joiner uri.User               // of an external commit

	at      uint64 // ms since 1970: when the hub accepted it
	lead    *Lead
	anchors func(domain string) []crypto.PublicKey
}

// Judge says whether the room's policy allows a change that Process of g has
// verified. g and r are as before the change. Members and providers judge alike,
// so that all refuse the same:
//
//   - Every proposal is allowed to whoever proposed it, by its role before the
//     change.
//   - After a commit every client's user is on the participant list, in a role
//     that may have clients.
//   - A commit includes the pending removals (see judgePending).
//   - From outside, only a participant joins with a client of its own.
//   - room_hosting says what the log says of hub and term. lead is that: who
//     orders the room before the change and who decides. anchors are as in Rules.
//   - Whom a claim to succeed is against ends it (see Succession). at is when the
//     entry was accepted, ms since 1970.
//   - A replica without a participant is one that the room allows and names (see
//     Outside).
//
// Errors: ErrPolicy, ErrPending, ErrHosting, ErrSettling, ErrSuccession, ErrOutside, and for a new
// replica x509auth.ErrUnknownProvider, which may pass.
func (r *Roster) Judge(g *mls.PublicGroup, c *mls.Change, lead *Lead, at uint64, anchors func(domain string) []crypto.PublicKey) error {
	j := &judgement{r: r, g: g, c: c, lead: lead, at: at, anchors: anchors}
	if err := j.judge(); err != nil {
		return fmt.Errorf("judging %s of epoch %d: %w", c.Kind, g.Epoch(), err)
	}
	return nil
}

func (j *judgement) judge() (err error) {
	if j.before, err = ParticipantsOf(j.g.Context()); err != nil {
		return err
	}
	if j.rules, err = RolesOf(j.g.Context()); err != nil {
		return err
	}
	j.roles = rolesOf(j.before)
	if j.c.Kind == mls.ContentProposal {
		if j.lead.move {
			return j.judgeMove()
		}
		return j.proposal(j.c.Proposal)
	}
	if j.after, err = ParticipantsOf(j.c.Context); err != nil {
		return err
	}
	j.next = rolesOf(j.after)
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

func rolesOf(list []wire.UserRolePair) map[string]policy.Role {
	m := make(map[string]policy.Role, len(list))
	for _, p := range list {
		m[string(p.User)] = policy.Role(p.Role)
	}
	return m
}

// external: who joins by itself is a participant already. Who may be let in
// from outside otherwise (join links, open rooms) is not decided by basic roles.
func (j *judgement) external() error {
	for _, m := range j.c.Added {
		if m.Leaf == j.c.Committer {
			u, err := userOf(m.Node)
			if err != nil {
				return err
			}
			j.joiner = u
			if err := j.rules.AddClient(j.roles[u.String()], true, j.roles[u.String()]); err != nil {
				return fmt.Errorf("%s joins by itself: %w: %w", u, err, ErrPolicy)
			}
			return nil
		}
	}
	return fmt.Errorf("external commit that adds nobody: %w", ErrPolicy)
}

// actor returns who made a proposal and in which role.
func (j *judgement) actor(s mls.Sender) (string, policy.Role, error) {
	switch s.Type {
	case mls.SenderMember:
		u, ok := j.r.users[s.Leaf]
		if !ok {
			return "", 0, fmt.Errorf("proposal by leaf %d, which is nobody's: %w", s.Leaf, ErrPolicy)
		}
		return u.String(), j.roles[u.String()], nil
	case mls.SenderNewMemberCommit:
		return j.joiner.String(), j.roles[j.joiner.String()], nil
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
		u, err := userOf(&p.Proposal.Add.Leaf)
		if err != nil {
			return err
		}
		of := j.roles[u.String()]
		if j.next != nil {
			of = j.next[u.String()]
		}
		return judged(j.rules.AddClient(role, u.String() == user, of), "adds a client of", u.String())
	case mls.ProposalUpdate, mls.ProposalExternalInit:
		return nil
	case mls.ProposalSelfRemove:
		return judged(j.rules.Need(role, policy.RemoveSelf), "removes a client of", user)
	case mls.ProposalRemove:
		u, ok := j.r.users[p.Proposal.Remove]
		if !ok {
			return fmt.Errorf("%s removes leaf %d, which is nobody's: %w", user, p.Proposal.Remove, ErrPolicy)
		}
		// Who is taken off the list, or banned, in the same commit loses the clients with it:
		// that is judged there.
		if own := u.String() == user; own || j.next == nil || j.next[u.String()] == j.roles[u.String()] || j.rules.Active(j.next[u.String()]) {
			return judged(j.rules.RemoveClient(role, own, j.roles[u.String()]), "removes a client of", u.String())
		}
		return nil
	case mls.ProposalAppDataUpdate:
		return j.component(p, user, role)
	}
	return fmt.Errorf("%s, %s, proposes type %d: %w", user, j.rules.Name(role), p.Proposal.Type, ErrPolicy)
}

func (j *judgement) component(p *mls.UsedProposal, user string, role policy.Role) error {
	a := p.Proposal.AppData
	deny := func(what string) error {
		return fmt.Errorf("%s, %s, %s: %w", user, j.rules.Name(role), what, ErrPolicy)
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
		if err := j.listUpdate(up, user, role); err != nil {
			return err
		}
		if j.c.Kind == mls.ContentProposal {
			return j.untouched(up)
		}
		return nil
	case MetadataComponent:
		if len(a.Update) > maxMetadata {
			return deny(fmt.Sprintf("sets metadata of %d bytes (limit %d)", len(a.Update), maxMetadata))
		}
		if err := j.rules.Need(role, policy.ChangeRoomName); err != nil {
			return fmt.Errorf("%s changes the room's metadata: %w: %w", user, err, ErrPolicy)
		}
		return nil
	case RolesComponent:
		return j.redefines(a.Update, user, role)
	case HostingComponent:
		return j.hosting(a.Update, user, role)
	case SuccessionComponent:
		return j.succession(p, user, role)
	case OutsideComponent:
		return j.updatesOutside(p, user, role)
	}
	return deny(fmt.Sprintf("changes component %#04x", uint16(a.Component)))
}

const maxMetadata = 16 << 10

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
	was, err := HostingOf(j.g.Context())
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
	if !copies && !j.rules.May(role, policy.ChangeHosting) && !(now.move && j.inherits(user)) || !j.rules.Active(role) {
		return fmt.Errorf("%s, %s, changes the room's hosting: %w", user, j.rules.Name(role), ErrPolicy)
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
	list := j.after
	if j.c.Kind == mls.ContentProposal {
		list = j.before
	}
	return slices.ContainsFunc(list, func(p wire.UserRolePair) bool {
		u, err := uri.ParseUser(string(p.User))
		return err == nil && j.rules.Active(policy.Role(p.Role)) && u.Provider().Domain() == domain
	})
}

func (r *Replica) equal(o *Replica) bool {
	return r.Domain == o.Domain && r.ProviderKey == o.ProviderKey && slices.Equal(r.FrankingKey, o.FrankingKey)
}

func (j *judgement) listUpdate(up *wire.ParticipantListUpdate, user string, role policy.Role) error {
	set := func(who string, from, to policy.Role) error {
		err := j.rules.SetRole(role, who == user, from, to)
		if err != nil && who == user && j.rules.Active(from) && to == j.rules.Top() {
			return j.takes(user)
		}
		if err != nil {
			return fmt.Errorf("%s makes %s %s instead of %s: %w: %w", user, who, j.rules.Name(to), j.rules.Name(from), err, ErrPolicy)
		}
		return nil
	}
	for _, a := range up.Added {
		if _, err := uri.ParseUser(string(a.User)); err != nil {
			return fmt.Errorf("participant %q: %w: %w", a.User, err, ErrPolicy)
		}
		if err := set(string(a.User), policy.None, policy.Role(a.Role)); err != nil {
			return err
		}
	}
	one := func(i uint32, to policy.Role) error {
		if int64(i) >= int64(len(j.before)) {
			return fmt.Errorf("participant %d of %d: %w", i, len(j.before), ErrPolicy)
		}
		return set(string(j.before[i].User), policy.Role(j.before[i].Role), to)
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

// delta is how many clients of each user a commit adds, less those that it removes.
func (j *judgement) delta() (map[string]int, error) {
	delta := map[string]int{}
	for _, m := range j.c.Removed {
		if u, ok := j.r.users[m.Leaf]; ok {
			delta[u.String()]--
		}
	}
	for _, m := range j.c.Added {
		u, err := userOf(m.Node)
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
	delta, err := j.delta()
	if err != nil {
		return err
	}
	touched := map[string]bool{}
	for who := range delta {
		touched[who] = true
	}
	for who, role := range j.roles {
		if j.next[who] != role {
			touched[who] = true
		}
	}
	for who := range touched {
		u, err := uri.ParseUser(who)
		if err != nil {
			return err
		}
		if n := j.r.clients[u] + delta[who]; n > 0 && !j.rules.Active(j.next[who]) {
			return fmt.Errorf("%s has %d clients in the group and is %s in the participant list: %w", who, n, j.rules.Name(j.next[who]), ErrPolicy)
		}
	}
	for _, m := range j.c.Updated {
		was, now := j.r.users[m.Leaf], uri.User{}
		var err error
		if now, err = userOf(m.New); err != nil {
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
	for _, p := range j.g.Pending() {
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
		if int64(i) >= int64(len(j.before)) {
			continue
		}
		who := string(j.before[i].User)
		if _, there := j.next[who]; there && who != committer {
			return fmt.Errorf("participant %s: %w", who, ErrPending)
		}
	}
	return nil
}
