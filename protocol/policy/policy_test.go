package policy_test

import (
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
		policy.AddParticipant:    {admin: true, mod: true, member: true},
		policy.RemoveParticipant: {admin: true, mod: true},
		policy.Kick:              {admin: true, mod: true},
		policy.Ban:               {admin: true, mod: true},
		policy.Unban:             {admin: true, mod: true},
		policy.ChangeUserRole:    {admin: true},
		policy.AddOwnClient:      {admin: true, mod: true, member: true},
		policy.RemoveOwnClient:   {admin: true, mod: true, member: true},
		policy.RemoveSelf:        {admin: true, mod: true, member: true},
		policy.SendMessage:       {admin: true, mod: true, member: true},
		policy.ChangeRoomName:    {admin: true, mod: true},
		policy.ChangeHosting:     {admin: true},
		policy.DestroyRoom:       {admin: true},
		0x0004:                   {}, // canOpenJoin: no basic role has it
	} {
		for r, want := range who {
			if got := policy.Role(r).May(c); got != want {
				t.Errorf("%s, capability %#04x: %v", policy.Role(r), uint16(c), got)
			}
		}
	}
	if policy.Role(5).May(policy.SendMessage) || policy.Role(5).Active() {
		t.Error("a role that does not exist may do something")
	}
}

func TestMaySetRole(t *testing.T) {
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
				if got := r.MaySetRole(from, to); got != want {
					t.Errorf("%s sets %s to %s: %v", r, from, to, got)
				}
			}
		}
	}
}

func TestNames(t *testing.T) {
	for r := none; r <= admin; r++ {
		if got, err := policy.ParseRole(r.String()); err != nil || got != r {
			t.Errorf("%s: %v, %v", r, got, err)
		}
	}
	if _, err := policy.ParseRole("owner"); err == nil {
		t.Error("role owner parses")
	}
	if s := policy.Role(9).String(); s != "Role(9)" {
		t.Error(s)
	}
}
