package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/protocol/policy"
)

// TestWithin_7: room-policy section 7: the participants of a room that depends on a parent are
// a strict subset of the parent's; who is banned is a participant of neither.
func TestWithin_7(t *testing.T) {
	parent := map[string]policy.Role{"a": policy.Admin, "b": policy.Member, "c": policy.Member, "x": policy.Banned}
	for _, x := range []struct {
		added []string
		room  map[string]policy.Role
		why   string
	}{
		{[]string{"b"}, map[string]policy.Role{"a": policy.Admin, "b": policy.Member}, ""},
		{[]string{"d"}, map[string]policy.Role{"a": policy.Admin, "d": policy.Member}, "d does not take part in P"},
		{[]string{"x"}, map[string]policy.Role{"a": policy.Admin, "x": policy.Member}, "x does not take part in P"},
		{[]string{"c"}, map[string]policy.Role{"a": policy.Admin, "b": policy.Member, "c": policy.Member}, "all of P would take part"},
		{[]string{"c"}, map[string]policy.Role{"a": policy.Admin, "b": policy.Banned, "c": policy.Member}, ""},
		{nil, map[string]policy.Role{"a": policy.Admin, "d": policy.Member}, ""}, // nobody is added: who strays is taken out
	} {
		err := policy.Within("P", x.added, x.room, parent)
		if (err == nil) != (x.why == "") || err != nil && !strings.Contains(err.Error(), x.why) {
			t.Errorf("%v added to %v: %v, expected to read %q", x.added, x.room, err, x.why)
		}
	}
	room := map[string]policy.Role{"a": policy.Admin, "d": policy.Member, "c": policy.Member, "x": policy.Moderator, "y": policy.Banned}
	if got := policy.Strays(room, parent); !slices.Equal(got, []string{"d", "x"}) {
		t.Errorf("%q stray", got)
	}
}

// TestDependent_7: roles of a room with a parent let its hub take out everybody, and do no more
// than before for anybody else.
func TestDependent_7(t *testing.T) {
	for name, r := range map[string]*policy.Roles{"group": policy.Basic(), "channel": policy.Channel()} {
		if err := r.Dependent(); err == nil {
			t.Errorf("%s: the hub may take out everybody", name)
		}
		d, err := policy.Dependent(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := d.Dependent(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		again, err := policy.Dependent(d)
		if err != nil || string(again.Append(nil)) != string(d.Append(nil)) {
			t.Errorf("%s: made dependent twice it is another: %v", name, err)
		}
		hub, _ := d.Enforcer()
		others := func(r *policy.Roles) (out []policy.Definition) {
			return slices.DeleteFunc(slices.Clone(r.All()), func(d policy.Definition) bool { return d.Index == hub })
		}
		if diff := cmp.Diff(others(r), others(d)); diff != "" {
			t.Errorf("%s: the others' roles are not the same: %s", name, diff)
		}
		if d.SetRole(hub, false, policy.Admin, policy.Banned) == nil && r.SetRole(hub, false, policy.Admin, policy.Banned) != nil {
			t.Errorf("%s: the hub may ban administrators", name)
		}
	}
	if err := policy.Direct().Dependent(); err == nil || !strings.Contains(err.Error(), "policy_enforcer") {
		t.Errorf("roles without the hub's: %v", err)
	}
}
