package policy_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/policy"
)

const (
	none   = policy.None
	banned = policy.Banned
	member = policy.Member
	mod    = policy.Moderator
	admin  = policy.Admin
)

// TestCapabilities is the table of the package documentation.
func TestCapabilities(t *testing.T) {
	for c, who := range map[policy.Capability][5]bool{
		policy.AddParticipant:        {admin: true, mod: true, member: true},
		policy.RemoveParticipant:     {admin: true, mod: true},
		policy.Kick:                  {admin: true, mod: true},
		policy.Ban:                   {admin: true, mod: true},
		policy.Unban:                 {admin: true, mod: true},
		policy.ChangeUserRole:        {admin: true},
		policy.AddOwnClient:          {admin: true, mod: true, member: true},
		policy.RemoveOwnClient:       {admin: true, mod: true, member: true},
		policy.RemoveSelf:            {admin: true, mod: true, member: true},
		policy.SendMessage:           {admin: true, mod: true, member: true},
		policy.ChangeRoomName:        {admin: true, mod: true},
		policy.ChangeHosting:         {admin: true},
		policy.ChangeRoleDefinitions: {admin: true},
		policy.DestroyRoom:           {admin: true},
		policy.OpenJoin:              {},
	} {
		for r, want := range who {
			if got := policy.Basic().May(policy.Role(r), c); got != want {
				t.Errorf("%s, %s: %v", policy.Basic().Name(policy.Role(r)), c, got)
			}
			if err := policy.Basic().Need(policy.Role(r), c); (err == nil) != want {
				t.Errorf("%s, %s: %v", policy.Basic().Name(policy.Role(r)), c, err)
			}
		}
	}
	if policy.Basic().May(5, policy.SendMessage) || policy.Basic().Active(5) {
		t.Error("a role that does not exist may do something")
	}
}

// TestSetRole: who gives whom which of the basic roles; all that is not here is refused.
func TestSetRole(t *testing.T) {
	allowed := map[[3]policy.Role]string{
		{member, none, member}: "adds", {mod, none, member}: "adds", {admin, none, member}: "adds",
		{admin, none, mod}: "adds with a rank", {admin, none, admin}: "adds with a rank",
		{mod, none, banned}: "bans an outsider", {admin, none, banned}: "bans an outsider",
		{mod, member, none}: "removes", {admin, member, none}: "removes",
		{mod, mod, none}: "removes a peer", {admin, mod, none}: "removes", {admin, admin, none}: "removes a peer",
		{mod, member, banned}: "bans", {admin, member, banned}: "bans", {mod, mod, banned}: "bans a peer",
		{admin, mod, banned}: "bans", {admin, admin, banned}: "bans a peer",
		{mod, banned, none}: "unbans", {mod, banned, member}: "unbans", {admin, banned, none}: "unbans", {admin, banned, member}: "unbans",
		{admin, member, mod}: "promotes", {admin, member, admin}: "promotes", {admin, mod, admin}: "promotes",
		{admin, mod, member}: "demotes", {admin, admin, mod}: "demotes a peer", {admin, admin, member}: "demotes a peer",
	}
	for r := none; r <= admin+1; r++ {
		for from := none; from <= admin+1; from++ {
			for to := none; to <= admin+1; to++ {
				_, want := allowed[[3]policy.Role{r, from, to}]
				err := policy.Basic().SetRole(r, false, from, to)
				if (err == nil) != want {
					t.Errorf("%d makes %d %d: %v", r, from, to, err)
				}
				if x := new(policy.Refusal); err != nil && !errors.As(err, &x) {
					t.Errorf("%d makes %d %d: %T", r, from, to, err)
				}
			}
		}
	}
	own := map[[2]policy.Role]bool{
		{member, none}: true, {mod, none}: true, {admin, none}: true, // leaves
		{admin, mod}: true, {admin, member}: true, // steps down
	}
	for r := none; r <= admin+1; r++ {
		for to := none; to <= admin+1; to++ {
			if err := policy.Basic().SetRole(r, true, r, to); (err == nil) != own[[2]policy.Role{r, to}] {
				t.Errorf("%d makes itself %d: %v", r, to, err)
			}
		}
	}
	if err := policy.Basic().SetRole(admin, true, mod, member); err == nil {
		t.Error("steps down from a role that it does not have")
	}
}

// TestClients: adding and removing devices without changing the list.
func TestClients(t *testing.T) {
	b, c := policy.Basic(), policy.Channel()
	for name, err := range map[string]error{
		"own": b.AddClient(member, true, member), "another's": b.AddClient(member, false, admin),
		"removes own": b.RemoveClient(member, true, member), "kicks": b.RemoveClient(mod, false, member), "kicks a peer": b.RemoveClient(mod, false, mod),
		"channel: own": c.AddClient(2, true, 2), "channel: kicks a reader": c.RemoveClient(4, false, 2),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, x := range map[string]struct {
		err error
		why string
	}{
		"of the banned":            {b.AddClient(admin, false, banned), "nobody who is banned may have a device"},
		"of nobody":                {b.AddClient(admin, false, none), "nobody who is none may have a device"},
		"by an outsider":           {b.AddClient(none, true, none), "the role none lacks canAddOwnClient"},
		"by the banned":            {b.AddClient(banned, true, banned), "the role banned lacks canAddOwnClient"},
		"a member kicks":           {b.RemoveClient(member, false, member), "the role member lacks canKick"},
		"kicks somebody above":     {b.RemoveClient(mod, false, admin), "may not remove the devices of admin"},
		"channel: reader adds":     {c.AddClient(2, false, 2), "the role reader lacks canAddParticipant"},
		"channel: kicks a writer":  {c.RemoveClient(4, false, 3), "may not remove the devices of writer"},
		"channel: writer promotes": {c.SetRole(3, false, 2, 3), "the role writer lacks canChangeUserRole"},
		"channel: mod adds writer": {c.SetRole(4, false, 0, 3), "the role moderator may not make writer of none"},
	} {
		if x.err == nil || !strings.Contains(x.err.Error(), x.why) {
			t.Errorf("%s: %v", name, x.err)
		}
	}
	if c.Posts(2) || !c.Posts(3) || c.Posts(none) || c.Posts(banned) {
		t.Error("who writes in a channel")
	}
}

// TestOddities: what sets of roles made by others may say and does not count.
func TestOddities(t *testing.T) {
	r, err := policy.NewRoles([]policy.Definition{
		{Index: 1, Name: "banned", MaxActive: policy.AtMost(0), Capabilities: []policy.Capability{policy.SendMessage, policy.AddOwnClient, policy.ChangeUserRole}},
		{Index: 2, Name: "herald", Capabilities: []policy.Capability{policy.SendMessage}},
		{Index: 3, Name: "mute", Capabilities: []policy.Capability{policy.AddParticipant}, Changes: []policy.Changes{{From: 0, To: []policy.Role{1}}}},
		{Index: 4, Name: "judge", Capabilities: []policy.Capability{policy.ChangeUserRole}},
		{Index: 6, Name: "guest"},
		{Index: 5, Name: "elder", Capabilities: []policy.Capability{policy.ChangeUserRole}, Changes: []policy.Changes{{From: 2, To: []policy.Role{3}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.May(banned, policy.SendMessage) || r.Posts(banned) || r.AddClient(banned, true, banned) == nil || r.Top() != 5 {
		t.Error("the banned may do what their role says")
	}
	if _, err := r.Newcomer(3); err == nil || err.Error() != "the role mute has no role to give to whom it adds" {
		t.Errorf("who adds only banned users: %v", err)
	}
	for to, ok := range map[policy.Role]bool{2: false, 3: false, 5: false, 6: true} {
		if err := r.SetRole(4, true, 4, to); (err == nil) != ok {
			t.Errorf("a judge makes itself %s: %v", r.Name(to), err)
		}
	}
	if err := r.SetRole(5, true, 5, 4); err != nil {
		t.Errorf("an elder steps down to judge: %v", err)
	}
	// In order of the indices, and no other encoding.
	two := func(a, b byte) []byte {
		var out []byte
		for _, i := range []byte{a, b} {
			out = append(out, 0, 0, 0, i, 1, 'a'+i, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		}
		return append([]byte{byte(len(out))}, out...)
	}
	if _, err := policy.ParseRoles(two(2, 3)); err != nil {
		t.Error(err)
	}
	for _, b := range [][]byte{two(3, 2), two(2, 2), two(2, 3)[:30], append(two(2, 3), 0)} {
		if _, err := policy.ParseRoles(b); !errors.Is(err, policy.ErrRoles) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

// TestPresets: both decode to themselves, and who founds, succeeds and enters a room.
func TestPresets(t *testing.T) {
	for name, x := range map[string]struct {
		roles         *policy.Roles
		top, newcomer policy.Role
	}{"group": {policy.Basic(), admin, member}, "channel": {policy.Channel(), 5, 2}} {
		b := x.roles.Append(nil)
		got, err := policy.ParseRoles(b)
		if err != nil || !bytes.Equal(got.Append(nil), b) {
			t.Errorf("%s: %v", name, err)
		}
		if got := x.roles.Top(); got != x.top {
			t.Errorf("%s: a founder is %s", name, x.roles.Name(got))
		}
		if got, err := x.roles.Newcomer(x.top); got != x.newcomer || err != nil {
			t.Errorf("%s: a newcomer is %s, %v", name, x.roles.Name(got), err)
		}
		for _, d := range x.roles.All() {
			got, err := x.roles.Named(d.Name)
			if (err == nil) != (d.Index != none) || got != d.Index {
				t.Errorf("%s: %s is %d: %v", name, d.Name, got, err)
			}
			for _, c := range d.Capabilities {
				if got, err := policy.ParseCapability(c.String()); err != nil || got != c {
					t.Errorf("%s: %d, %v", c, got, err)
				}
			}
		}
		for _, d := range x.roles.All() {
			if x.roles.May(d.Index, policy.ChangeHosting) != (d.Index == x.top) {
				t.Errorf("%s: %s and the hosting", name, d.Name)
			}
		}
	}
	if _, err := policy.Basic().Named("owner"); err == nil || !strings.Contains(err.Error(), "there are banned, member, moderator and admin") {
		t.Error(err)
	}
	if _, err := policy.Channel().Newcomer(2); err == nil || err.Error() != "the role reader lacks canAddParticipant" {
		t.Errorf("a reader adds: %v", err)
	}
	if policy.Basic().Name(9) != "role 9" {
		t.Error("names of no role")
	}
}

// TestContradictions: sets of roles that make no sense.
func TestContradictions(t *testing.T) {
	ok := func() []policy.Definition {
		return []policy.Definition{
			{Index: 1, Name: "banned", MaxActive: policy.AtMost(0)},
			{Index: 2, Name: "member", Capabilities: []policy.Capability{policy.SendMessage}, Changes: []policy.Changes{{From: 0, To: []policy.Role{2}}}},
		}
	}
	if _, err := policy.NewRoles(ok()); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(d []policy.Definition){
		"twice":                    func(d []policy.Definition) { d[0] = d[1] },
		"no name":                  func(d []policy.Definition) { d[1].Name = "" },
		"a long name":              func(d []policy.Definition) { d[1].Name = strings.Repeat("x", 65) },
		"a name over two lines":    func(d []policy.Definition) { d[1].Name = "a\nb" },
		"a name that is no text":   func(d []policy.Definition) { d[1].Name = "a\xff" },
		"another's name":           func(d []policy.Definition) { d[1].Name = "banned" },
		"1 is not banned":          func(d []policy.Definition) { d[0].Name = "admin" },
		"the banned have devices":  func(d []policy.Definition) { d[0].MaxActive = policy.Bound{} },
		"less than the least":      func(d []policy.Definition) { d[1].Min, d[1].Max = 3, policy.AtMost(2) },
		"fewer active":             func(d []policy.Definition) { d[1].MinActive, d[1].MaxActive = 3, policy.AtMost(2) },
		"demands outsiders":        func(d []policy.Definition) { d[1].Index, d[1].Min, d[1].Changes = 0, 1, nil },
		"a capability twice":       func(d []policy.Definition) { d[1].Capabilities = append(d[1].Capabilities, policy.SendMessage) },
		"leads to no role":         func(d []policy.Definition) { d[1].Changes[0].To = []policy.Role{7} },
		"leads from no role":       func(d []policy.Definition) { d[1].Changes[0].From = 7 },
		"leads to itself":          func(d []policy.Definition) { d[1].Changes[0].From = 2 },
		"leads to the same twice":  func(d []policy.Definition) { d[1].Changes[0].To = []policy.Role{2, 2} },
		"two lists of one role":    func(d []policy.Definition) { d[1].Changes = append(d[1].Changes, d[1].Changes[0]) },
		"a description of no text": func(d []policy.Definition) { d[1].Description = "\xff" },
	} {
		d := ok()
		f(d)
		if _, err := policy.NewRoles(d); !errors.Is(err, policy.ErrRoles) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := ok()
	for i := range 62 {
		long = append(long, policy.Definition{Index: policy.Role(10 + i), Name: fmt.Sprint("r", i), Description: strings.Repeat("x", 512)})
	}
	if _, err := policy.NewRoles(long[:50]); err != nil {
		t.Error(err)
	}
	if _, err := policy.NewRoles(long); !errors.Is(err, policy.ErrRoles) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("roles that are too long: %v", err)
	}
	if _, err := policy.ParseRoles(make([]byte, policy.MaxRolesSize+1)); !errors.Is(err, policy.ErrRoles) || !strings.Contains(err.Error(), "at most") {
		t.Errorf("roles that are too long: %v", err)
	}
	many := ok()
	for i := range 70 {
		many = append(many, policy.Definition{Index: policy.Role(10 + i), Name: strings.Repeat("y", i%60+1) + string(rune('a'+i/60))})
	}
	if _, err := policy.NewRoles(many); !errors.Is(err, policy.ErrRoles) {
		t.Errorf("70 roles: %v", err)
	}
}

// TestBounds: counts of a role's participants before and after a change.
func TestBounds(t *testing.T) {
	r, err := policy.NewRoles([]policy.Definition{
		{Index: 2, Name: "member", Max: policy.AtMost(3)},
		{Index: 3, Name: "chair", Min: 1, Max: policy.AtMost(2), MinActive: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	type counts = map[policy.Role]policy.Count
	for name, x := range map[string]struct {
		before, after counts
		why           string
	}{
		"within":                         {counts{3: {1, 1}}, counts{2: {3, 0}, 3: {2, 1}}, ""},
		"one more than allowed":          {counts{2: {3, 3}, 3: {1, 1}}, counts{2: {4, 3}, 3: {1, 1}}, "there would be 4 of the role member, at most 3"},
		"the last chair goes":            {counts{3: {1, 1}}, counts{}, "there would be 0 of the role chair, at least 1"},
		"the last chair's device":        {counts{3: {2, 1}}, counts{3: {2, 0}}, "there would be 0 of the role chair with a device, at least 1"},
		"too many, as before":            {counts{2: {5, 0}, 3: {1, 1}}, counts{2: {5, 1}, 3: {1, 1}}, ""},
		"too many, fewer":                {counts{2: {5, 0}, 3: {1, 1}}, counts{2: {4, 0}, 3: {1, 1}}, ""},
		"too many, and one more":         {counts{2: {5, 0}, 3: {1, 1}}, counts{2: {6, 0}, 3: {1, 1}}, "6 of the role member"},
		"none, as before":                {counts{2: {1, 1}}, counts{2: {2, 1}}, ""},
		"a room that begins with nobody": {counts{}, counts{2: {1, 1}}, ""},
	} {
		if strings.Contains(name, "as before") && r.Met(x.after) == nil {
			t.Errorf("%s: met", name)
		}
		if name == "within" && r.Met(x.after) != nil {
			t.Errorf("%s: not met", name)
		}
		err := r.Bounds(x.before, x.after)
		if x.why == "" && err != nil || x.why != "" && (err == nil || !strings.Contains(err.Error(), x.why)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
