// Package policy says what a participant of a room may do: roles, and the
// capabilities that each has (draft-ietf-mimi-room-policy).
//
// Today there is one set of roles, the basic one, the same in every room and
// known to everybody, so no room stores it. Role indices and capability numbers
// are the draft's, so that rooms which define their own roles (component
// roles_list) come as an addition.
//
//	capability             none  banned  member  moderator  admin
//	add participants                       x        x         x
//	remove participants                             x         x
//	kick clients                                    x         x
//	ban, unban                                      x         x
//	change roles                                              x
//	add, remove own clients                x        x         x
//	leave                                  x        x         x
//	send messages                          x        x         x
//	change name, topic, ...                         x         x
//	change hosting                                            x
//	end the room                                              x
//
// Who succeeds the admins when they are gone is the room's own rule: see Succession in
// package room. Nobody acts on somebody of a higher rank; see MaySetRole. Which change needs
// which capability is decided where changes are looked at, in package room.
// Pure tables and functions.
package policy

import "fmt"

// Role is a role's index in the participant list (role_index). Index 0 and 1
// have these meanings in every set of roles.
type Role uint32

// The basic roles.
const (
	None      Role = 0 // not on the list
	Banned    Role = 1 // on the list in order to be kept out
	Member    Role = 2
	Moderator Role = 3
	Admin     Role = 4
)

var roleNames = [...]string{"none", "banned", "member", "moderator", "admin"}

// Known says whether the role exists.
func (r Role) Known() bool { return r <= Admin }

// Active says whether somebody of this role may have clients in the group.
func (r Role) Active() bool { return r >= Member && r <= Admin }

func (r Role) String() string {
	if !r.Known() {
		return fmt.Sprintf("Role(%d)", uint32(r))
	}
	return roleNames[r]
}

// ParseRole is the inverse of String.
func ParseRole(s string) (Role, error) {
	for i, n := range roleNames {
		if n == s {
			return Role(i), nil
		}
	}
	return None, fmt.Errorf("policy: no role %q; there are banned, member, moderator and admin", s)
}

// Capability is something that a role may allow (CapabilityType, the draft's
// numbers).
type Capability uint16

// Capabilities of the draft that are in use.
const (
	AddParticipant    Capability = 0x0000
	RemoveParticipant Capability = 0x0001 // off the list, with all clients
	AddOwnClient      Capability = 0x0002
	RemoveOwnClient   Capability = 0x0003
	RemoveSelf        Capability = 0x0006 // leave
	Ban               Capability = 0x000a
	Unban             Capability = 0x000b
	Kick              Capability = 0x000c // clients only, the list stays
	ChangeUserRole    Capability = 0x000f
	SendMessage       Capability = 0x0100
	ChangeRoomName    Capability = 0x0300
	DestroyRoom       Capability = 0x0501
	// ChangeHosting covers component room_hosting; ours, from the private range.
	ChangeHosting Capability = 0xf001
)

// lowest is the lowest role that has a capability; those above have it too.
var lowest = map[Capability]Role{
	AddParticipant: Member, AddOwnClient: Member, RemoveOwnClient: Member, RemoveSelf: Member, SendMessage: Member,
	RemoveParticipant: Moderator, Kick: Moderator, Ban: Moderator, Unban: Moderator, ChangeRoomName: Moderator,
	ChangeUserRole: Admin, DestroyRoom: Admin, ChangeHosting: Admin,
}

// May says whether the role has the capability.
func (r Role) May(c Capability) bool {
	low, ok := lowest[c]
	return ok && r.Active() && r >= low
}

// MaySetRole says whether somebody of role r may give another user, of role
// from, the role to. None stands for being off the list: from None is an
// addition, to None a removal.
func (r Role) MaySetRole(from, to Role) bool {
	switch {
	case from == to || !from.Known() || !to.Known() || !r.Active():
		return false
	case from > r || to > r:
		return false // nobody lifts above, or acts on somebody above, their own rank
	case from == None && to == Banned:
		return r.May(Ban)
	case from == None:
		// A newcomer is a member; only who may change roles gives another.
		return r.May(AddParticipant) && (to == Member || r.May(ChangeUserRole))
	case from == Banned:
		return r.May(Unban) && to <= Member
	case to == Banned:
		return r.May(Ban)
	case to == None:
		return r.May(RemoveParticipant)
	}
	return r.May(ChangeUserRole)
}
