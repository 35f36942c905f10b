package client

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Who decides about a room is what its members have agreed on by commit. With three
// providers or more, three of them decide, with five or more five, so that the room
// survives each of them; with fewer its hub decides alone. Administrators' devices
// see to it by themselves, and to another topic of the gossip when a provider knows it that takes
// part no more.

// providers returns the domains of the participants that are not banned, in the
// order of the list.
func (r *roomState) providers() []string {
	return providersIn(r.group.Public().Context(), r.roles())
}

// providersIn is that of a GroupContext.
func providersIn(ctx *mls.GroupContext, roles *policy.Roles) []string {
	list, err := room.ParticipantsOf(ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, p := range list {
		u, err := uri.ParseParticipant(string(p.User))
		if err != nil || !roles.Active(roleOf(p)) {
			continue
		}
		if d := u.Provider().Domain(); !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// setSize is how many of n providers decide.
func setSize(n int) int {
	switch {
	case n >= 5:
		return 5
	case n >= 3:
		return 3
	}
	return 1
}

// replicasFor returns the replica set as it should be, with recruit in it if that is not
// empty; false if a provider has to be looked up first. The hub comes first, unless it was
// recruited and is to be no more, and who decides already stays.
func (c *Client) replicasFor(r *roomState, recruit string) ([]room.Replica, bool) {
	return c.replicasAmong(r, r.providers(), recruit)
}

// replicasAmong is replicasFor where these providers take part.
func (c *Client) replicasAmong(r *roomState, providers []string, recruit string) ([]room.Replica, bool) {
	out := []room.Replica{r.Lead.Hub}
	if r.Lead.Hub.Domain == r.recruited() && r.Lead.Hub.Domain != recruit {
		out = nil
	}
	if recruit != "" {
		providers = append(providers, recruit)
	}
	n := setSize(len(providers))
	has := func(d string) bool {
		return slices.ContainsFunc(out, func(x room.Replica) bool { return x.Domain == d })
	}
	for _, x := range r.Lead.Now {
		if len(out) < n && !has(x.Domain) && slices.Contains(providers, x.Domain) {
			out = append(out, x)
		}
	}
	for _, d := range providers {
		if len(out) == n {
			break
		}
		if has(d) {
			continue
		}
		x, ok := c.trust.replica(d)
		if !ok {
			return nil, false
		}
		out = append(out, x)
	}
	return out, len(out) == n
}

// sameReplicas says whether two sets are of the same providers.
func sameReplicas(a, b []room.Replica) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !slices.ContainsFunc(b, func(x room.Replica) bool { return x.Domain == a[i].Domain && x.ProviderKey == a[i].ProviderKey }) {
			return false
		}
	}
	return true
}

// mayHost says whether this device could change who decides about a room, as it stands.
func (c *Client) mayHost(r *roomState) bool {
	return !r.Lead.Changing() && len(c.wishesOf(r)) == 0 && !c.leaving(r) && c.admin(r)
}

// watchHosting wishes for another replica set when it is not as it should be. The
// lowest leaf of an administrator does it first, each next one later.
func (c *Client) watchHosting(r *roomState, now time.Time) error {
	if r.hostingAt.After(now) || !c.mayHost(r) {
		return nil
	}
	want, ok := c.replicasFor(r, r.recruitFor())
	if !ok {
		r.hostingAt = now.Add(c.cfg.CommitDelay) // when its keys are known
		return nil
	}
	if sameReplicas(want, r.Lead.Now) && !r.misnamed() && !r.overheard() && room.UpdateSenders(r.group.Public().Context(), &r.Lead.Hub) == nil {
		r.hostingAt = time.Time{} // as it should be
		return nil
	}
	if r.hostingAt.IsZero() {
		r.hostingAt = now.Add(time.Duration(c.adminsBefore(r))*c.cfg.CommitDelay + jitter(c.cfg.CommitDelay/4))
		return nil
	}
	r.hostingAt = now.Add(time.Minute) // if it comes to nothing
	b := new(batch)
	c.newWish(b, &wish{Room: r.id, Kind: wishHosting})
	return c.commit(b)
}

func (c *Client) roleIn(r *roomState, u uri.User) policy.Role {
	list, err := room.ParticipantsOf(r.group.Public().Context())
	if err != nil {
		return policy.None
	}
	for _, p := range list {
		if string(p.User) == u.String() {
			return roleOf(p)
		}
	}
	return policy.None
}

// roles returns what the room's roles mean. That they can be read was seen when the
// component was judged.
func (r *roomState) roles() *policy.Roles {
	roles, err := room.RolesOf(r.group.Public().Context())
	if err != nil {
		return policy.Basic()
	}
	return roles
}

func (c *Client) admin(r *roomState) bool {
	return r.roles().May(c.roleIn(r, c.as(r)), policy.ChangeHosting)
}

// stageHosting returns the proposal that makes room_hosting say what the log says, nil
// if it does, and for a wish for another replica set the one that makes that. done:
// there is nothing left to wish for.
func (c *Client) stageHosting(r *roomState, w *wish) (p *mls.Proposal, done bool, err error) {
	if r.Lead.Changing() {
		return nil, false, nil // the context is ahead of the log; the hub takes nothing before it is settled
	}
	before, err := room.HostingOf(r.group.Public().Context())
	if err != nil {
		return nil, false, err
	}
	h, stale := r.Lead.Refreshed(before)
	if w.Kind == wishHosting || w.Kind == wishOutside && !w.Allow && r.recruited() != "" {
		recruit := ""
		if w.Kind == wishHosting {
			recruit = r.recruitFor()
		}
		want, ok := c.replicasFor(r, recruit)
		same := sameReplicas(want, r.Lead.Now)
		unnamed := room.UpdateSenders(r.group.Public().Context(), &r.Lead.Hub) != nil
		if !ok || same && !r.misnamed() && !unnamed && !r.overheard() || !c.admin(r) {
			return nil, true, nil
		}
		if same {
			want = r.Lead.Now
		}
		h.Replicas, h.Failover = want, failoverOf(want)
		providers := r.providers()
		if r.overheard() || slices.ContainsFunc(r.Lead.Now, func(x room.Replica) bool {
			return !slices.Contains(providers, x.Domain) && !slices.ContainsFunc(want, func(y room.Replica) bool { return x.Domain == y.Domain })
		}) {
			rand.Read(h.Topic[:]) // who reads no more listens no more
		}
		stale = true
	}
	if !stale {
		return nil, false, nil
	}
	p, err = room.UpdateHosting(h)
	return p, false, err
}

// replacing returns room_hosting as it should be after a commit of an administrator that
// takes a provider's last participant away, nil if it takes nobody's: the provider is
// replaced in the set, and the room's gossip gets another topic, which that provider does
// not know. after is the context that the commit makes.
func (c *Client) replacing(r *roomState, after *mls.GroupContext) *mls.Proposal {
	if r.Lead.Changing() || !c.admin(r) {
		return nil
	}
	left := providersIn(after, r.roles())
	gone := slices.DeleteFunc(r.providers(), func(d string) bool { return slices.Contains(left, d) })
	// A hub without participants is asked to hand the room over first.
	if len(gone) == 0 || slices.Contains(gone, r.Lead.Hub.Domain) {
		return nil
	}
	h, err := room.HostingOf(after)
	if err != nil {
		return nil
	}
	h, _ = r.Lead.Refreshed(h)
	rand.Read(h.Topic[:])
	// Where one is recruited, which is named by the same commit, an own one sees to it.
	if slices.ContainsFunc(r.Lead.Now, func(x room.Replica) bool { return slices.Contains(gone, x.Domain) }) && r.recruited() == "" {
		if set, ok := c.replicasAmong(r, left, ""); ok {
			h.Replicas, h.Failover = set, failoverOf(set)
		}
	}
	p, err := room.UpdateHosting(h)
	if err != nil {
		return nil
	}
	return p
}

// overhears notes, before the group has merged a commit, whether it takes a provider's last
// participant away and leaves the gossip's topic as that provider knows it. So does who is no
// administrator and commits a departure; an administrator's device draws another topic then.
func (r *roomState) overhears(ch *mls.Change) {
	before, after := r.group.Public().Context(), ch.Context
	was, err := room.HostingOf(before)
	if err != nil {
		return
	}
	is, err := room.HostingOf(after)
	if err != nil {
		return
	}
	if is.Topic != was.Topic {
		r.Overheard = false
		return
	}
	roles, err := room.RolesOf(after)
	if r.Overheard || err != nil {
		return
	}
	left := providersIn(after, roles)
	r.Overheard = slices.ContainsFunc(r.providers(), func(d string) bool { return !slices.Contains(left, d) })
}

// overheard says whether the gossip needs another topic: a provider knows it that takes part
// no more. While that one orders the room it knows any.
func (r *roomState) overheard() bool {
	return r.Overheard && slices.Contains(r.providers(), r.Lead.Hub.Domain)
}

// failoverOf says how a set replaces its hub.
func failoverOf(set []room.Replica) room.Failover {
	if len(set) > 1 {
		return room.FailoverAuto
	}
	return room.FailoverAdmin
}

// namesHub returns the proposal that names the room's hub as the group's external sender, so
// that it can propose bans; nil if it is named, or if others might not know its key. A change
// that was refused with it is made anew without it.
func (c *Client) namesHub(r *roomState, w *wish, lead *room.Lead) *mls.Proposal {
	if lead.Changing() || w.Tries > 0 && w.Kind != wishHosting {
		return nil
	}
	if !c.trust.is(lead.Hub.Domain, lead.Hub.ProviderKey[:]) {
		return nil
	}
	return room.UpdateSenders(r.group.Public().Context(), &lead.Hub)
}

// hubState tells, when that changes, how the provider does that orders a room.
func (c *Client) hubState(b *batch, id room.ID, v *clientapi.HubState) {
	r := c.rooms[id]
	if v.Lied && r != nil && r.State == roomJoined {
		b.tell(HubLied{Room: r.uri, Hub: v.Hub, Votes: v.Votes})
		return
	}
	if v.Parting != nil && r != nil {
		c.told(b, r, v.Parting)
		return
	}
	if v.Conflict != nil && r != nil && r.State == roomJoined {
		by := "most of those that decide about it"
		if len(v.Conflict.Liars) > 0 {
			by = strings.Join(v.Conflict.Liars, ", ")
		}
		b.tell(Problem{Room: r.uri, Err: fmt.Errorf("%s certified two histories, which differ from entry %d on: %w", by, v.Conflict.From, ErrConflict)})
		return
	}
	if v.Stopped && r != nil && r.State == roomJoined {
		b.tell(Problem{Room: r.uri, Err: fmt.Errorf("%s orders it: %w", v.Hub, ErrProviderStopped)})
		return
	}
	if r != nil && r.State == roomJoined && r.stalls != v.Stalls && r.Lead.Hub.Domain == v.Hub {
		r.stalls = v.Stalls
		b.tell(HubStalls{Room: r.uri, Hub: v.Hub, Stalls: v.Stalls, Moves: v.Moves})
	}
	if r == nil || r.silent == v.Silent || r.State == roomLeft || r.State == roomStopped || r.Lead.Hub.Domain != v.Hub {
		return
	}
	r.silent = v.Silent
	b.tell(HubSilent{Room: r.uri, Hub: v.Hub, Silent: v.Silent, Moves: v.Moves})
	if !v.Silent { // what waited goes out now
		r.sending.at, r.changing.at = time.Time{}, time.Time{}
	}
}
