package policy

// EnforcerName is what the draft's example rooms call the role of the hub as the external
// sender of proposals (room-policy appendix A). Nobody in the room has it.
const EnforcerName = "policy_enforcer"

// enforcing is the index of that role in the presets.
const enforcing Role = 100

// enforcer is that role as the presets have it: the hub, for its operator, has users banned
// that it finds abusive. It has no power over administrators, who must be able to move the
// room away from a hub that misuses it, and lifts no ban.
func enforcer(over ...Role) Definition {
	d := Definition{Index: enforcing, Name: EnforcerName, Description: "the provider that orders the room, for its operator",
		Capabilities: []Capability{Kick, Ban}, MaxActive: AtMost(0)}
	for _, x := range over {
		d.Changes = append(d.Changes, Changes{x, []Role{Banned}})
	}
	return d
}

// Enforcer returns the role by which a room's hub proposes changes; false if it may propose
// none, because there is no role of this name, or one that users could have a device in.
func (r *Roles) Enforcer() (Role, bool) {
	for i := range r.defs {
		if d := &r.defs[i]; d.Name == EnforcerName && d.MaxActive == AtMost(0) {
			return d.Index, true
		}
	}
	return None, false
}
