package policy

import (
	"fmt"
	"maps"
	"slices"
)

// Rooms that depend on a parent (room-policy section 7): "the list of participants of the room
// MUST be a strict subset of the participants of the parent room", and who is off the parent's
// list is taken off the other one, too. A banned user is no participant of either.
//
// Two rooms have two logs, and no entry of one says where the other stood. So this is not for
// everybody who follows a log to judge: whoever orders the dependent room asks it of its copy
// of the parent's log, before it takes anybody in (Within) and whenever one of the two changes
// (Strays). It takes out who strays as policy_enforcer, and what that may do stands in the
// room's roles (Dependent), by which everybody judges.

// Within says whether participants may be added to a room that depends on a parent. The roles
// are all users' that are on the lists, those of the room as they are afterwards. Error:
// *Refusal.
func Within(parent string, added []string, room, of map[string]Role) error {
	for _, who := range added {
		if !takesPart(of[who]) {
			return &Refusal{Why: fmt.Sprintf("%s does not take part in %s, on whose participants this room depends", who, parent)}
		}
	}
	if len(added) == 0 {
		return nil
	}
	for who, role := range of {
		if takesPart(role) && !takesPart(room[who]) {
			return nil
		}
	}
	return &Refusal{Why: fmt.Sprintf("all of %s would take part, and this room is for fewer", parent)}
}

// Strays returns who takes part in a room and not in the parent that it depends on, in order.
func Strays(room, of map[string]Role) (out []string) {
	for _, who := range slices.Sorted(maps.Keys(room)) {
		if takesPart(room[who]) && !takesPart(of[who]) {
			out = append(out, who)
		}
	}
	return out
}

func takesPart(x Role) bool { return x != None && x != Banned }

// Dependent returns roles for a room that depends on a parent: whoever orders it may take off
// the list who has left the parent, administrators, too. Error: ErrRoles.
func Dependent(r *Roles) (*Roles, error) {
	var defs []Definition
	at := -1
	for _, d := range r.defs {
		if d.Name == EnforcerName {
			at = len(defs)
		}
		defs = append(defs, d)
	}
	if at < 0 {
		at = len(defs)
		defs = append(defs, enforcer())
	}
	e := defs[at]
	e.Capabilities = slices.Clone(e.Capabilities)
	for _, c := range []Capability{RemoveParticipant, Kick} {
		if !slices.Contains(e.Capabilities, c) {
			e.Capabilities = append(e.Capabilities, c)
		}
	}
	slices.Sort(e.Capabilities)
	changes := map[Role][]Role{}
	for _, c := range e.Changes {
		changes[c.From] = c.To
	}
	for i, d := range defs {
		if i != at && takesPart(d.Index) && !slices.Contains(changes[d.Index], None) {
			changes[d.Index] = append([]Role{None}, changes[d.Index]...)
		}
	}
	e.Changes = nil
	for _, from := range slices.Sorted(maps.Keys(changes)) {
		e.Changes = append(e.Changes, Changes{from, changes[from]})
	}
	defs[at] = e
	return NewRoles(defs)
}

// Dependent says whether whoever orders the room may take off the list everybody who may be on
// it, as a room with a parent demands. Error: *Refusal.
func (r *Roles) Dependent() error {
	hub, ok := r.Enforcer()
	if !ok {
		return &Refusal{Why: "a room with a parent needs the role " + EnforcerName + ", by which who leaves the parent is taken out"}
	}
	for i := range r.defs {
		d := &r.defs[i]
		if !takesPart(d.Index) || d.Index == hub {
			continue
		}
		if err := r.SetRole(hub, false, d.Index, None); err != nil {
			return err
		}
		if err := r.RemoveClient(hub, false, d.Index); err != nil {
			return err
		}
	}
	return nil
}
