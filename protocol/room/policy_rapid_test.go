package room_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// chaos is a room with a random policy in which devices do what comes to their mind.
type chaos struct {
	*world
	t        *rapid.T
	parts    map[*device]map[string][]byte
	accepted map[string]int
	refused  map[string]int
	ended    bool // nothing is to be accepted any more
}

// capable are the capabilities that a random role may have.
var capable = []policy.Capability{policy.AddParticipant, policy.RemoveParticipant, policy.AddOwnClient, policy.RemoveOwnClient, policy.RemoveSelf,
	policy.Ban, policy.Unban, policy.Kick, policy.ChangeUserRole, policy.JoinIfPreauthorized, policy.ChangeOwnRole, policy.SendMessage}

// randomRoles are roles in which the creator can change roles, and no more is certain.
func randomRoles(t *rapid.T) *policy.Roles {
	indices := []policy.Role{policy.None, policy.Banned, 2, 3, 4}
	changes := func(i policy.Role) (out []policy.Changes) {
		for _, from := range indices {
			var to []policy.Role
			for _, x := range indices {
				if x != from && rapid.IntRange(0, 2).Draw(t, "may") > 0 {
					to = append(to, x)
				}
			}
			if len(to) > 0 {
				out = append(out, policy.Changes{From: from, To: to})
			}
		}
		return out
	}
	none := policy.Definition{Index: policy.None, Name: "none", MaxActive: policy.AtMost(0)}
	if rapid.Bool().Draw(t, "open") {
		none.Capabilities, none.Changes = []policy.Capability{policy.OpenJoin}, []policy.Changes{{From: policy.None, To: []policy.Role{2}}}
	}
	defs := []policy.Definition{none, {Index: policy.Banned, Name: policy.BannedName, MaxActive: policy.AtMost(0)}}
	for i := policy.Role(2); i < 5; i++ {
		d := policy.Definition{Index: i, Name: fmt.Sprintf("role %d", i), Changes: changes(i)}
		for _, c := range capable {
			if rapid.IntRange(0, 2).Draw(t, "capability") > 0 || i == 4 && c == policy.ChangeUserRole {
				d.Capabilities = append(d.Capabilities, c)
			}
		}
		if rapid.IntRange(0, 2).Draw(t, "bounded") == 0 {
			d.Max = policy.AtMost(uint32(rapid.IntRange(1, 2).Draw(t, "max")))
		}
		if i == 2 && rapid.IntRange(0, 3).Draw(t, "idle") == 0 {
			d.MaxActive = policy.AtMost(1)
		}
		if i == 4 {
			d.Min, d.MinActive = 1, uint32(rapid.IntRange(0, 1).Draw(t, "least"))
		}
		defs = append(defs, d)
	}
	r, err := policy.NewRoles(defs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func randomBase(t *rapid.T) *policy.Base {
	b := &policy.Base{MultiDevice: rapid.Bool().Draw(t, "several"), Persistent: rapid.IntRange(0, 3).Draw(t, "temporary") > 0}
	if rapid.Bool().Draw(t, "bounded") {
		b.MaxUsers = policy.AtMost(uint32(rapid.IntRange(1, 4).Draw(t, "users")))
	}
	if rapid.Bool().Draw(t, "bounded") {
		b.MaxClients = policy.AtMost(uint32(rapid.IntRange(1, 5).Draw(t, "clients")))
	}
	return b
}

// did notes what became of an action. A refusal changes nothing.
func (c *chaos) did(what string, before room.Position, err error) {
	switch {
	case err == nil:
		c.accepted[what]++
		if c.ended {
			c.t.Fatalf("%s in a room that has ended", what)
		}
	case c.ended && !errors.Is(err, room.ErrEnded):
		c.t.Fatalf("%s in a room that has ended: %v", what, err)
	case errors.Is(err, room.ErrPolicy) || errors.Is(err, room.ErrPending) || c.ended:
		c.refused[what]++
		if c.hub.At() != before {
			c.t.Fatalf("%s is refused, and yet the room moved: %v", what, err)
		}
	default:
		c.t.Fatalf("%s: %v", what, err)
	}
}

// copyOf returns a device's group as if it were read from its storage.
func (c *chaos) copyOf(d *device) *mls.Group {
	for _, p := range d.group.Unsaved() {
		if c.parts[d] == nil {
			c.parts[d] = map[string][]byte{}
		}
		if p.Value == nil {
			delete(c.parts[d], p.Key)
		} else {
			c.parts[d][p.Key] = p.Value
		}
	}
	g, err := mls.LoadGroup(maps.All(c.parts[d]), c.config())
	if err != nil {
		c.t.Fatal(err)
	}
	return g
}

// pick draws a device by its place, so that a failure can be read.
func pick(t *rapid.T, list []*device, what string) *device {
	return list[rapid.IntRange(0, len(list)-1).Draw(t, what)]
}

// step does one random thing.
func (c *chaos) step() {
	t := c.t
	var in, out []*device
	for _, d := range c.clients {
		if d.group != nil && d.group.Removed() {
			d.group, c.parts[d] = nil, nil
		}
		if d.group != nil {
			in = append(in, d)
		} else {
			out = append(out, d)
		}
	}
	if len(in) == 0 {
		return
	}
	by := pick(t, in, "by")
	whom := pick(t, c.clients, "whom")
	role := policy.Role(rapid.IntRange(0, 4).Draw(t, "role"))
	before := c.hub.At()
	ctx := by.group.Public().Context()
	list := func(set []room.Participant, remove []uri.User) (o mls.CommitOptions) {
		if p := must(room.UpdateParticipants(ctx, set, remove))(c.world.t); p != nil {
			o.Proposals = append(o.Proposals, p)
		}
		return o
	}
	others := slices.DeleteFunc(c.hub.Roster().Leaves(whom.user), func(l mls.LeafIndex) bool { return l == by.group.OwnLeaf() })
	commit := func(what string, o mls.CommitOptions) {
		s, err := by.group.Commit(o, c.now)
		if err != nil { // what MLS alone refuses, such as a leaf that is removed twice
			c.refused["mls"]++
			return
		}
		if _, err = c.update(bundle(s), by.user.Provider().Domain()); err == nil {
			if err := by.group.Merge(s); err != nil {
				t.Fatal(err)
			}
			c.others(by, s.Message)
		}
		c.did(what, before, err)
	}
	switch what := rapid.SampledFrom([]string{"add", "add", "join", "join", "remove", "kick", "role", "own role", "ban", "leave", "leave", "propose", "commit", "base", "roles"}).Draw(t, "what"); what {
	case "add":
		if len(out) == 0 {
			return
		}
		d := pick(t, out, "new")
		kp := d.keyPackage()
		o := list(nil, nil)
		if c.hub.Role(d.user) == policy.None {
			o = list([]room.Participant{{User: d.user, Role: role}}, nil)
		}
		o.Add = append(o.Add, must(kp.KeyPackage().Verify(c.config(), c.now))(c.world.t))
		s, err := by.group.Commit(o, c.now)
		if err != nil {
			c.refused["mls"]++
			return
		}
		if _, err = c.update(bundle(s), by.user.Provider().Domain()); err == nil {
			if err := by.group.Merge(s); err != nil {
				t.Fatal(err)
			}
			c.others(by, s.Message)
			d.group = must(mls.JoinWelcome(s.Welcome, kp, mls.JoinOptions{Tree: c.hub.Group().Tree()}, c.config(), c.now))(c.world.t)
		}
		c.did(what, before, err)
	case "join":
		if len(out) == 0 {
			return
		}
		d := pick(t, out, "new")
		o := mls.ExternalOptions{LeafParams: d.leaf, Tree: c.hub.Group().Tree()}
		if p := must(room.UpdateParticipants(ctx, []room.Participant{{User: d.user, Role: role}}, nil))(c.world.t); p != nil && (c.hub.Role(d.user) == policy.None || role == 3) {
			o.Proposals = append(o.Proposals, p)
		}
		s, err := mls.ExternalCommit(c.hub.GroupInfo(), o, c.config(), c.now)
		if err != nil {
			c.refused["mls"]++
			return
		}
		if _, err = c.update(bundle(s), d.user.Provider().Domain()); err == nil {
			c.others(d, s.Message)
			d.group = must(s.Join())(c.world.t)
		}
		c.did(what, before, err)
	case "remove":
		o := list(nil, []uri.User{whom.user})
		o.Remove = others
		commit(what, o)
	case "kick":
		commit(what, mls.CommitOptions{Remove: others})
	case "role":
		commit(what, list([]room.Participant{{User: whom.user, Role: role}}, nil))
	case "own role":
		commit(what, list([]room.Participant{{User: by.user, Role: role}}, nil))
	case "ban":
		o := list([]room.Participant{{User: whom.user, Role: policy.Banned}}, nil)
		o.Remove = others
		commit(what, o)
	case "leave":
		ps := []*mls.Proposal{{Type: mls.ProposalSelfRemove}}
		for _, l := range c.hub.Roster().Leaves(by.user) {
			if l != by.group.OwnLeaf() {
				ps = append(ps, &mls.Proposal{Type: mls.ProposalRemove, Remove: l})
			}
		}
		if rapid.Bool().Draw(t, "list") {
			ps = append(ps, list(nil, []uri.User{by.user}).Proposals...)
		}
		c.did(what, before, c.propose(by, ps))
	case "propose":
		ps := list([]room.Participant{{User: whom.user, Role: role}}, nil).Proposals
		if len(ps) > 0 {
			c.did(what, before, c.propose(by, ps))
		}
	case "commit":
		commit(what, mls.CommitOptions{})
	case "base":
		commit(what, mls.CommitOptions{Proposals: []*mls.Proposal{must(room.Update(randomBase(t)))(c.world.t)}})
	case "roles":
		commit(what, mls.CommitOptions{Proposals: []*mls.Proposal{room.UpdateRoles(randomRoles(t))}})
	}
}

// propose submits proposals made on a copy of the group; if they are taken, all keep them.
func (c *chaos) propose(by *device, ps []*mls.Proposal) error {
	g := c.copyOf(by)
	var ms []*mls.Message
	for _, p := range ps {
		m, err := g.Propose(p, mls.SendOptions{}, c.now)
		if err != nil {
			return fmt.Errorf("%w: %w", err, room.ErrPolicy) // MLS refuses it by itself
		}
		ms = append(ms, m)
	}
	if _, err := c.update(&wire.HandshakeBundle{Message: ms[0], MoreProposals: ms[1:]}, by.user.Provider().Domain()); err != nil {
		return err
	}
	for _, m := range ms {
		c.others(nil, m)
	}
	return nil
}

// others have all members but one follow a message.
func (c *chaos) others(but *device, m *mls.Message) {
	for _, d := range c.clients {
		if d != but && d.group != nil && !d.group.Removed() {
			d.follow(m)
		}
	}
}

// holds checks what must hold after each change: (a) to (f) of what a server has to keep.
func (c *chaos) holds() {
	t, s := c.t, c.hub
	fresh, err := room.RosterOf(s.Group())
	if err != nil {
		t.Fatal(err)
	}
	v, err := room.ViewOf(s.Group().Context(), fresh)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Met(); err != nil { // (a) and (b): each leaf's user is on the list, in a role that may have clients
		t.Fatal(err)
	}
	// (c) The view that was followed is the one that the GroupContext and the tree tell.
	if d := cmp.Diff(v.Roles(), s.View().Roles()); d != "" {
		t.Fatal(d)
	}
	leaves := map[string]int{}
	for m := range s.Group().Members() {
		u, ok := s.Roster().User(m.Leaf)
		if !ok {
			t.Fatalf("leaf %d is nobody's", m.Leaf)
		}
		leaves[u.String()]++
	}
	counts := map[policy.Role]policy.Count{}
	load := policy.Load{Clients: s.Group().MemberCount()}
	providers := map[string]bool{}
	for who, role := range v.Roles() {
		if v.Clients(who) != leaves[who] || s.View().Clients(who) != leaves[who] {
			t.Fatalf("%s has %d leaves, the view says %d", who, leaves[who], v.Clients(who))
		}
		n := counts[role]
		n.Users++
		if leaves[who] > 0 {
			n.Active++
		}
		counts[role] = n
		if role != policy.Banned {
			load.Users++
		}
		if leaves[who] > 1 {
			load.Several++
		}
		if v.Rules.Active(role) {
			u := must(uri.ParseUser(who))(c.world.t)
			providers[u.Provider().Domain()] = true
		}
	}
	if err := v.Rules.Met(counts); err != nil { // (d)
		t.Fatal(err)
	}
	if err := v.Base.Fits(policy.Load{}, load, true); err != nil { // (e)
		t.Fatal(err)
	}
	if v.Load() != load || s.View().Load() != load {
		t.Fatalf("load %+v, the view says %+v", load, s.View().Load())
	}
	for r := range policy.Role(5) {
		if s.View().Count(r) != counts[r] {
			t.Fatalf("role %d: %+v, the view says %+v", r, counts[r], s.View().Count(r))
		}
	}
	if got := slices.Sorted(maps.Keys(providers)); !slices.Equal(got, s.Participating()) || !slices.Equal(got, s.View().Providers()) { // (f)
		t.Fatalf("providers %v, it is delivered to %v", got, s.Participating())
	}
	// What is pending can be: by itself it would leave a room that is as it must be, or nobody in
	// one that is not persistent, and then it has ended.
	e := must(s.Effective())(c.world.t)
	over := !e.Base.Persistent && e.Load().Clients == 0
	if (s.Ended() != nil) != over {
		t.Fatalf("%+v are in it, persistent: %v, ended: %v", e.Load(), e.Base.Persistent, !over)
	}
	if c.ended = over; over {
		c.accepted["nothing more"]++
		return
	}
	if err := e.Met(); err != nil {
		t.Fatalf("with what is pending: %v", err)
	}
	effective := map[policy.Role]policy.Count{}
	for r := range policy.Role(5) {
		effective[r] = e.Count(r)
	}
	if err := e.Rules.Met(effective); err != nil {
		t.Fatalf("with what is pending: %v", err)
	}
}

// TestRandomPolicies: whatever a room's policy says and whoever does what, the hub takes
// nothing that leaves a room which breaks its constraints, or whose list differs from its
// tree; the follower agrees, and every member can follow.
func TestRandomPolicies(t *testing.T) {
	// A check takes some 0.3 s. More with -rapid.checks=N, from elsewhere with -rapid.seed=N.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		flag.Set("rapid.checks", "30")
		defer flag.Set("rapid.checks", f.DefValue)
	}
	accepted, refused := map[string]int{}, map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		c := &chaos{world: w, t: rt, parts: map[*device]map[string][]byte{}, accepted: accepted, refused: refused}
		alice := w.device("alice@atlanta.example", "phone")
		for _, x := range [][2]string{{"alice@atlanta.example", "laptop"}, {"bob@biloxi.example", "phone"}, {"bob@biloxi.example", "laptop"}, {"carol@biloxi.example", "phone"}, {"dan@chicago.example", "phone"}} {
			w.device(x[0], x[1])
		}
		roles, base := randomRoles(rt), randomBase(rt)
		// The creator changes what the roles mean and the base policy, which no role need to.
		defs := append([]policy.Definition{}, roles.All()...)
		defs[4].Capabilities = append([]policy.Capability{policy.ChangeRoleDefinitions, policy.ChangeRoomMembershipStyle}, defs[4].Capabilities...)
		roles = must(policy.NewRoles(defs))(t)
		all := &policy.Preauth{Entries: []policy.Preauthorized{{Claims: []policy.Claim{{Credential: policy.CredentialX509, ID: room.ClaimIssuer, Value: []byte("mimi://biloxi.example")}}, Role: 3}}}
		err := w.beginWith(alice, func(ext mls.Extensions) mls.Extensions {
			ext = must(room.WithRoles(ext, alice.user, roles))(t)
			return must(room.WithPolicy(must(room.WithPolicy(ext, base))(t), all))(t)
		})
		if err != nil {
			rt.Fatal(err)
		}
		for range 25 {
			c.step()
			c.holds()
		}
	})
	t.Logf("accepted %v, refused %v", accepted, refused)
	for _, what := range []string{"add", "join", "remove", "kick", "role", "ban", "leave", "propose", "commit", "base"} {
		if !testing.Short() && accepted[what] == 0 || refused[what] == 0 && what != "commit" && what != "base" {
			t.Errorf("%s: %d accepted and %d refused; this test shows nothing about it", what, accepted[what], refused[what])
		}
	}
}
