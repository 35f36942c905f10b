package policy

import (
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/mimid/mimid/protocol/presentation"
)

// Role is a role's index in the participant list (role_index). What it means is said by
// the room's Roles, but for 0 and 1.
type Role uint32

// The basic roles. None and Banned have these meanings in every set of roles.
const (
	None      Role = 0 // not on the list
	Banned    Role = 1 // on the list in order to be kept out
	Member    Role = 2
	Moderator Role = 3
	Admin     Role = 4
)

// BannedName is what the draft demands that role 1 is called.
const BannedName = "banned"

// Bounds of a set of roles, which a device receives from others.
const (
	MaxRoles        = 64
	maxCapabilities = 256
	maxName         = 64
	maxDescription  = 512
	// MaxRolesSize bounds the whole encoding in bytes: a set is read for each change.
	MaxRolesSize = 32 << 10
)

// ErrRoles: a set of roles that does not decode or contradicts itself.
var ErrRoles = errors.New("no valid set of roles")

// Bound is an upper bound that may be absent (optional uint32).
type Bound struct {
	Set bool
	N   uint32
}

// AtMost is a bound that is there.
func AtMost(n uint32) Bound { return Bound{Set: true, N: n} }

func (b Bound) exceeds(n int) int {
	if !b.Set {
		return 0
	}
	return max(0, n-int(b.N))
}

// Changes are the roles that somebody may give to users of one role.
//
//	struct { uint32 from_role_index; uint32 target_role_indexes<V>; } SingleSourceRoleChangeTargets;
type Changes struct {
	From Role
	To   []Role
}

// Definition is what one role means (draft-ietf-mimi-room-policy section 5).
//
//	struct {
//	    uint32 role_index;
//	    opaque role_name<V>;
//	    opaque role_description<V>;
//	    CapabilityType role_capabilities<V>;
//	    uint32 minimum_participants_constraint;
//	    optional uint32 maximum_participants_constraint;
//	    uint32 minimum_active_participants_constraint;
//	    optional uint32 maximum_active_participants_constraint;
//	    SingleSourceRoleChangeTargets authorized_role_changes<V>;
//	} Role;
//
// Active participants are those with a client in the group; a bound of 0 means that
// nobody of this role may have one.
type Definition struct {
	Index        Role
	Name         string // 1 to 64 bytes, printable
	Description  string // at most 512 bytes
	Capabilities []Capability
	Min          uint32
	Max          Bound
	MinActive    uint32
	MaxActive    Bound
	Changes      []Changes
}

// Roles is a set of roles that makes sense. It is never changed, so many goroutines may
// use it.
type Roles struct {
	defs []Definition // by index
}

// NewRoles checks definitions. Error: ErrRoles.
func NewRoles(defs []Definition) (*Roles, error) {
	r := &Roles{}
	for i := range defs {
		d := defs[i]
		d.Capabilities = slices.Clone(d.Capabilities)
		d.Changes = slices.Clone(d.Changes)
		for n := range d.Changes {
			d.Changes[n].To = slices.Clone(d.Changes[n].To)
		}
		r.defs = append(r.defs, d)
	}
	slices.SortStableFunc(r.defs, func(a, b Definition) int { return int(int64(a.Index) - int64(b.Index)) })
	if n := len(r.Append(nil)); n > MaxRolesSize {
		return nil, fmt.Errorf("roles of %d bytes, at most %d: %w", n, MaxRolesSize, ErrRoles)
	}
	return r, r.check()
}

func (r *Roles) check() error {
	bad := func(d *Definition, format string, args ...any) error {
		return fmt.Errorf("role %d, %.64q, %s: %w", d.Index, d.Name, fmt.Sprintf(format, args...), ErrRoles)
	}
	if len(r.defs) > MaxRoles {
		return fmt.Errorf("%d roles, at most %d: %w", len(r.defs), MaxRoles, ErrRoles)
	}
	names := map[string]bool{}
	for i := range r.defs {
		d := &r.defs[i]
		switch {
		case i > 0 && r.defs[i-1].Index == d.Index:
			return bad(d, "is defined twice")
		case len(d.Name) == 0 || len(d.Name) > maxName || !printable(d.Name):
			return bad(d, "needs a name of 1 to %d printable bytes", maxName)
		case len(d.Description) > maxDescription || !utf8.ValidString(d.Description):
			return bad(d, "has a description that is no text of at most %d bytes", maxDescription)
		case names[d.Name]:
			return bad(d, "has another's name")
		case (d.Index == Banned) != (d.Name == BannedName):
			return bad(d, "must be called %q if, and only if, it is role %d", BannedName, Banned)
		case d.Max.Set && d.Max.N < d.Min || d.MaxActive.Set && d.MaxActive.N < d.MinActive:
			return bad(d, "allows fewer participants than it demands")
		case d.Index == Banned && d.MaxActive != AtMost(0):
			return bad(d, "lets the banned have clients")
		case d.Index == None && (d.Min > 0 || d.MinActive > 0):
			return bad(d, "demands participants that are none")
		case repeated(d.Capabilities):
			return bad(d, "has a capability twice")
		case d.Index != None && slices.Contains(d.Capabilities, OpenJoin):
			return bad(d, "has %s, which is for who has no role", OpenJoin)
		}
		names[d.Name] = true
	}
	for i := range r.defs {
		d := &r.defs[i]
		var from []Role
		for _, c := range d.Changes {
			from = append(from, c.From)
			for _, x := range append([]Role{c.From}, c.To...) {
				if x != None && r.find(x) == nil {
					return bad(d, "changes role %d, which is none", x)
				}
			}
			if repeated(c.To) || slices.Contains(c.To, c.From) {
				return bad(d, "changes role %d to the same twice, or to itself", c.From)
			}
		}
		if repeated(from) {
			return bad(d, "has two lists of changes of one role")
		}
	}
	return nil
}

func printable(s string) bool {
	for _, c := range s {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return false
		}
	}
	return utf8.ValidString(s)
}

func repeated[T comparable](list []T) bool {
	for i, x := range list {
		if slices.Contains(list[:i], x) {
			return true
		}
	}
	return false
}

// ParseRoles reads the component roles_list. Error: ErrRoles.
//
//	struct { Role roles<V>; } RoleData;
func ParseRoles(b []byte) (*Roles, error) {
	if len(b) > MaxRolesSize {
		return nil, fmt.Errorf("roles of %d bytes, at most %d: %w", len(b), MaxRolesSize, ErrRoles)
	}
	r := presentation.NewReader(b)
	var defs []Definition
	r.List(MaxRoles, func() {
		d := Definition{Index: Role(r.U32()), Name: string(r.Opaque()), Description: string(r.Opaque())}
		r.List(maxCapabilities, func() { d.Capabilities = append(d.Capabilities, Capability(r.U16())) })
		d.Min, d.Max = r.U32(), readBound(r)
		d.MinActive, d.MaxActive = r.U32(), readBound(r)
		r.List(MaxRoles, func() {
			c := Changes{From: Role(r.U32())}
			r.List(MaxRoles, func() { c.To = append(c.To, Role(r.U32())) })
			d.Changes = append(d.Changes, c)
		})
		if n := len(defs); n > 0 && defs[n-1].Index >= d.Index {
			r.Fail(presentation.ErrNonCanonical, "role %d after role %d", d.Index, defs[n-1].Index)
		}
		defs = append(defs, d)
	})
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading roles: %w: %w", err, ErrRoles)
	}
	out := &Roles{defs: defs}
	return out, out.check()
}

func readBound(r *presentation.Reader) Bound {
	if !r.Optional() {
		return Bound{}
	}
	return AtMost(r.U32())
}

// Append appends the encoding of roles_list.
func (r *Roles) Append(b []byte) []byte {
	bound := func(b []byte, x Bound) []byte {
		if b = presentation.AppendOptional(b, x.Set); x.Set {
			b = presentation.AppendU32(b, x.N)
		}
		return b
	}
	return presentation.AppendList(b, func(b []byte) []byte {
		for i := range r.defs {
			d := &r.defs[i]
			b = presentation.AppendU32(b, uint32(d.Index))
			b = presentation.AppendOpaque(b, []byte(d.Name))
			b = presentation.AppendOpaque(b, []byte(d.Description))
			b = presentation.AppendList(b, func(b []byte) []byte {
				for _, c := range d.Capabilities {
					b = presentation.AppendU16(b, uint16(c))
				}
				return b
			})
			b = bound(presentation.AppendU32(b, d.Min), d.Max)
			b = bound(presentation.AppendU32(b, d.MinActive), d.MaxActive)
			b = presentation.AppendList(b, func(b []byte) []byte {
				for _, c := range d.Changes {
					b = presentation.AppendU32(b, uint32(c.From))
					b = presentation.AppendList(b, func(b []byte) []byte {
						for _, to := range c.To {
							b = presentation.AppendU32(b, uint32(to))
						}
						return b
					})
				}
				return b
			})
		}
		return b
	})
}

// find returns a role's definition, nil if there is none.
func (r *Roles) find(x Role) *Definition {
	i, ok := slices.BinarySearchFunc(r.defs, x, func(d Definition, x Role) int { return int(int64(d.Index) - int64(x)) })
	if !ok {
		return nil
	}
	return &r.defs[i]
}

// All returns the definitions in order of their indices. They are not to be changed.
func (r *Roles) All() []Definition { return r.defs }

// Known says whether a user on the list may have a role.
func (r *Roles) Known(x Role) bool { return x != None && r.find(x) != nil }

// Active says whether somebody of this role may have clients in the group.
func (r *Roles) Active(x Role) bool {
	d := r.find(x)
	return d != nil && x != None && x != Banned && d.MaxActive != AtMost(0)
}

// Bounded says whether any role but None and Banned has a bound on its participants, or on
// those with clients other than that nobody may have one.
func (r *Roles) Bounded() bool {
	return slices.ContainsFunc(r.defs, func(d Definition) bool {
		return d.Index > Banned && (d.Min > 0 || d.Max.Set || d.MinActive > 0 || d.MaxActive.Set && d.MaxActive.N > 0)
	}) || slices.ContainsFunc(r.defs, func(d Definition) bool { return d.Index == Banned && (d.Min > 0 || d.Max.Set) })
}

// Name returns what a role is called.
func (r *Roles) Name(x Role) string {
	if d := r.find(x); d != nil {
		return d.Name
	}
	if x == None {
		return "none"
	}
	return fmt.Sprintf("role %d", uint32(x))
}

// Named returns the role of a name. Its error says which there are.
func (r *Roles) Named(name string) (Role, error) {
	var all []string
	for i := range r.defs {
		if r.defs[i].Name == name && r.defs[i].Index != None {
			return r.defs[i].Index, nil
		}
		if r.defs[i].Index != None && r.defs[i].Name != EnforcerName { // nobody is given that one
			all = append(all, r.defs[i].Name)
		}
	}
	return None, fmt.Errorf("no role is called %.64q; there are %s", name, list(all))
}
