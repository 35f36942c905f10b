package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/policy"
)

type exampleRole struct {
	Name         string   `json:"role"`
	Index        uint32   `json:"role_index"`
	Capabilities []string `json:"capabilities"`
	Include      string   `json:"include"`
	Bounds       struct {
		Min       uint32  `json:"minimum_participants_constraint"`
		Max       *uint32 `json:"maximum_participants_constraint"`
		MinActive uint32  `json:"minimum_active_participants_constraint"`
		MaxActive *uint32 `json:"maximum_active_participants_constraint"`
	} `json:"constraints"`
	Changes [][2]json.RawMessage `json:"authorized_role_changes"`
}

type examples struct {
	Registry map[string]struct {
		Value    string `json:"value"`
		Reserved bool   `json:"reserved"`
	} `json:"capability_registry"`
	Rooms []struct {
		Title string        `json:"title"`
		Roles []exampleRole `json:"roles"`
	} `json:"rooms"`
}

func readExamples(t testing.TB) *examples {
	t.Helper()
	dir := os.Getenv("MIMID_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			t.Skip("no test vectors here: set MIMID_VECTORS to the directory that holds room-policy")
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "room-policy", "role-examples.json"))
	if err != nil {
		t.Fatal(err)
	}
	out := new(examples)
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// included resolves what the examples say in prose, by the role's name in the room. The
// moderated room's moderator includes "an ordinary_user", of which there is none in it, and
// its speaker itself; both mean the role before.
var included = map[string]string{
	"include all the capabilities authorized for an ordinary_user": "ordinary_user",
	"include all the capabilities authorized for a group_admin":    "group_admin",
	"include all the capabilities authorized for a guest":          "guest",
	"include all the capabilities authorized for a speaker":        "speaker",
	"include all the capabilities authorized for a moderator":      "moderator",
	"include all the capabilities authorized for org_a_admin":      "org_a_admin",
	"all capabilities of org_b_user":                               "org_b_user",
	"same capabilities as org_b_user":                              "org_b_user",
	"all capabilities of org_b_admin":                              "org_b_admin",
	"does not include any other capabilities":                      "",
	"": "",
}

// resolved returns an example's roles with all that they include, as names.
func resolved(t testing.TB, title string, roles []exampleRole) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	var find func(i int) []string
	find = func(i int) []string {
		x := roles[i]
		from, ok := included[x.Include]
		if !ok {
			t.Fatalf("%s: %s: %q is not resolved", title, x.Name, x.Include)
		}
		all := slices.Clone(x.Capabilities)
		if from != "" {
			at := slices.IndexFunc(roles, func(r exampleRole) bool { return r.Name == from })
			if at < 0 || at == i {
				at = i - 1
			}
			all = append(all, find(at)...)
		}
		return all
	}
	for i, x := range roles {
		out[x.Name] = find(i)
	}
	return out
}

// rolesOf makes a set of roles of an example. Capabilities that the draft does not
// register are left out.
func rolesOf(t testing.TB, title string, roles []exampleRole) (*policy.Roles, map[policy.Role]map[policy.Role][]policy.Role) {
	t.Helper()
	all := resolved(t, title, roles)
	bound := func(n *uint32) policy.Bound {
		if n == nil {
			return policy.Bound{}
		}
		return policy.AtMost(*n)
	}
	tables := map[policy.Role]map[policy.Role][]policy.Role{}
	var defs []policy.Definition
	for _, x := range roles {
		d := policy.Definition{Index: policy.Role(x.Index), Name: x.Name, Min: x.Bounds.Min, Max: bound(x.Bounds.Max), MinActive: x.Bounds.MinActive, MaxActive: bound(x.Bounds.MaxActive)}
		for _, n := range all[x.Name] {
			if n == "canRevokeVoice" || n == "canGrantVoice" {
				continue
			}
			c, err := policy.ParseCapability(n)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(d.Capabilities, c) {
				d.Capabilities = append(d.Capabilities, c)
			}
		}
		tables[d.Index] = map[policy.Role][]policy.Role{}
		for _, raw := range x.Changes {
			var c policy.Changes
			if err := errors.Join(json.Unmarshal(raw[0], &c.From), json.Unmarshal(raw[1], &c.To)); err != nil {
				t.Fatal(err)
			}
			d.Changes = append(d.Changes, c)
			tables[d.Index][c.From] = c.To
		}
		defs = append(defs, d)
	}
	r, err := policy.NewRoles(defs)
	if err != nil {
		t.Fatalf("%s: %v", title, err)
	}
	return r, tables
}

// TestVectorRegistry: room-policy section 10.2, names and numbers.
func TestVectorRegistry(t *testing.T) {
	reg := readExamples(t).Registry
	if len(reg) != 77 {
		t.Errorf("%d capabilities", len(reg))
	}
	for name, x := range reg {
		n, err := strconv.ParseUint(strings.TrimPrefix(x.Value, "0x"), 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		c, err := policy.ParseCapability(name)
		if err != nil || uint64(c) != n || c.String() != name {
			t.Errorf("%s is %v, %v; the draft has %s", name, c, err, x.Value)
		}
	}
	if s := policy.Capability(0x7777).String(); s != "capability 0x7777" {
		t.Error(s)
	}
}

// TestVectorRoles: room-policy appendix A. For each of the four rooms, each role, and each
// action about a user of each role: allowed or refused, and for which reason. What is
// expected is made of the examples as they are written, by the sentences about each
// capability (section 6): none of the code under test.
func TestVectorRoles(t *testing.T) {
	asked := 0
	for _, room := range readExamples(t).Rooms {
		r, tables := rolesOf(t, room.Title, room.Roles)
		caps := resolved(t, room.Title, room.Roles)
		has := func(x exampleRole, names ...string) bool {
			return x.Name != "banned" && slices.ContainsFunc(names, func(n string) bool { return slices.Contains(caps[x.Name], n) })
		}
		check := func(what string, err error, capable, listed bool, capability ...string) {
			t.Helper()
			asked++
			x := new(policy.Refusal)
			switch {
			case capable && listed && err != nil, !(capable && listed) && !errors.As(err, &x):
				t.Errorf("%s: %s: %v", room.Title, what, err)
			case !capable && !slices.ContainsFunc(capability, func(c string) bool { return strings.HasSuffix(err.Error(), "lacks "+c) }):
				t.Errorf("%s: %s, for want of %s, is refused as: %v", room.Title, what, capability, err)
			case capable && !listed && strings.Contains(err.Error(), "lacks"):
				t.Errorf("%s: %s, which no table leads to, is refused as: %v", room.Title, what, err)
			}
		}
		for _, actor := range room.Roles {
			a := policy.Role(actor.Index)
			table := tables[a]
			for _, from := range room.Roles {
				f := policy.Role(from.Index)
				for _, to := range room.Roles {
					to := policy.Role(to.Index)
					if f == to {
						continue
					}
					need := []string{"canChangeUserRole"}
					switch {
					case to == banned:
						need = []string{"canBan"}
					case f == none:
						need = []string{"canAddParticipant"}
					case to == none:
						need = []string{"canRemoveParticipant"}
					case f == banned:
						need = []string{"canUnBan", "canUnban"}
					}
					what := fmt.Sprintf("%s makes %s role %d", actor.Name, from.Name, to)
					check(what, r.SetRole(a, false, f, to), has(actor, need...), slices.Contains(table[f], to), need...)
				}
				// No change of a role: the table has to have something about the other's.
				check(actor.Name+" kicks "+from.Name, r.RemoveClient(a, false, f), has(actor, "canKick"), len(table[f]) > 0, "canKick")
				if f > banned && from.Bounds.MaxActive == nil {
					check(actor.Name+" adds a device of "+from.Name, r.AddClient(a, false, f), has(actor, "canAddParticipant"), true, "canAddParticipant")
				} else if r.AddClient(a, false, f) == nil {
					t.Errorf("%s: %s adds a device of %s", room.Title, actor.Name, from.Name)
				}
			}
			if a != none {
				check(actor.Name+" leaves", r.SetRole(a, true, a, none), has(actor, "canRemoveSelf"), true, "canRemoveSelf")
			}
			check(actor.Name+" adds an own device", r.AddClient(a, true, a), has(actor, "canAddOwnClient"), true, "canAddOwnClient")
			check(actor.Name+" removes an own device", r.RemoveClient(a, true, a), has(actor, "canRemoveOwnClient"), true, "canRemoveOwnClient")
			for name := range readExamples(t).Registry {
				c, _ := policy.ParseCapability(name)
				if c == policy.ChangeOtherPolicyAttribute && !slices.ContainsFunc(room.Roles, func(x exampleRole) bool { return has(x, name) }) {
					// The draft only reserves it: who may change the membership style has it where
					// nobody has it.
					check(actor.Name+" and "+name, r.Need(a, c), has(actor, "canChangeRoomMembershipStyle"), true, name)
					continue
				}
				check(actor.Name+" and "+name, r.Need(a, c), has(actor, name, strings.Replace(name, "UnBan", "Unban", 1)), true, name)
			}
		}
	}
	if asked < 2000 {
		t.Errorf("only %d questions", asked)
	}
}

// TestVectorStories: what the examples are for, by hand.
func TestVectorStories(t *testing.T) {
	rooms := map[string]*policy.Roles{}
	for _, x := range readExamples(t).Rooms {
		rooms[strings.Fields(x.Title)[0]], _ = rolesOf(t, x.Title, x.Roles)
	}
	for _, x := range []struct {
		room, actor, from, to string
		why                   string // empty: allowed
	}{
		{"Cooperatively", "ordinary_user", "no_role", "ordinary_user", ""},
		{"Cooperatively", "ordinary_user", "ordinary_user", "no_role", ""},
		{"Cooperatively", "ordinary_user", "group_admin", "no_role", "the role ordinary_user may not make no_role of group_admin"},
		{"Cooperatively", "group_admin", "super_admin", "banned", "the role group_admin may not make banned of super_admin"},
		{"Cooperatively", "super_admin", "group_admin", "banned", ""},
		{"Cooperatively", "policy_enforcer", "super_admin", "banned", ""},
		{"Cooperatively", "policy_enforcer", "banned", "no_role", ""},
		{"Cooperatively", "policy_enforcer", "banned", "ordinary_user", "the role policy_enforcer may not make ordinary_user of banned"},
		{"Strictly", "ordinary_user", "no_role", "ordinary_user", "the role ordinary_user lacks canAddParticipant"},
		{"Strictly", "group_admin", "no_role", "ordinary_user", ""},
		{"Moderated", "speaker", "attendee", "speaker", "the role speaker lacks canChangeUserRole"},
		{"Moderated", "moderator", "attendee", "speaker", ""},
		{"Moderated", "moderator", "super_admin", "banned", "the role moderator may not make banned of super_admin"},
		{"Multi-organization", "org_b_admin", "org_b_user", "org_b_admin", ""},
		{"Multi-organization", "org_b_admin", "org_c_user", "banned", "the role org_b_admin may not make banned of org_c_user"},
		{"Multi-organization", "org_b_admin", "banned", "org_b_user", "the role org_b_admin lacks canUnBan"},
	} {
		r := rooms[x.room]
		role := func(name string) policy.Role {
			if name == "no_role" {
				return none
			}
			n, err := r.Named(name)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		err := r.SetRole(role(x.actor), false, role(x.from), role(x.to))
		if (err == nil) != (x.why == "") || err != nil && err.Error() != x.why {
			t.Errorf("%s: %s makes %s %s: %v", x.room, x.actor, x.from, x.to, err)
		}
	}
	// Guests of the moderated room react and do not write; its newcomers by a moderator are guests.
	m := rooms["Moderated"]
	if m.May(2, policy.SendMessage) || !m.Posts(2) || m.Top() != 6 {
		t.Error("the moderated room")
	}
	if n, err := m.Newcomer(5); n != 2 || err != nil {
		t.Error("newcomers of the moderated room", n, err)
	}
	if s := rooms["Strictly"]; s.Top() != 4 || s.Active(5) || !s.Known(5) {
		t.Error("the policy enforcer of the strict room")
	}
	if !m.May(6, policy.ChangeHosting) || m.May(5, policy.ChangeHosting) {
		t.Error("who ends a room may move it")
	}
}
