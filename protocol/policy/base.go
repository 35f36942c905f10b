package policy

import (
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
)

// Base is the component base_room_policy (draft-ietf-mimi-room-policy section 7):
//
//	enum { false(0), true(1) } bool;
//
//	struct {
//	    bool fixed_membership;
//	    bool parent_dependant;
//	    Uri parent_room<V>;              /* one if parent_dependant, else none */
//	    bool multi_device;
//	    optional uint32 max_clients;
//	    optional uint32 max_users;
//	    bool pseudonyms_allowed;
//	    bool persistent_room;
//	    bool discoverable;
//	    ComponentID policy_component_ids<V>;   /* uint16 */
//	} BaseRoomPolicy;
//
// The draft's "Component" is taken for MLS's ComponentID.
type Base struct {
	// Fixed: who takes part is settled when the room is made.
	Fixed bool
	// Parent is the URI of the room whose participants alone may take part; empty: none.
	Parent string
	// MultiDevice: a user may have more than one client in the group.
	MultiDevice bool
	// MaxClients bounds the clients in the group, MaxUsers the participants that are not
	// banned.
	MaxClients, MaxUsers Bound
	// Persistent: the room outlives its last client; else it ends with it (Over).
	Persistent bool
	// Pseudonyms and Discoverable are for people and programs to read. Nothing here acts
	// on them: whether a room is pseudonymous is settled when it is made (package room), and
	// there is no search.
	Pseudonyms, Discoverable bool
	// Components lists the other policy components of the room.
	Components []uint16
}

// DefaultBase is what holds in a room without base_room_policy.
func DefaultBase() *Base { return &Base{MultiDevice: true, Persistent: true} }

func (p *Base) check() error {
	switch {
	case !asciiURI(p.Parent):
		return invalid("parent room %.64q", p.Parent)
	case p.MaxClients == AtMost(0) || p.MaxUsers == AtMost(0):
		return invalid("a room for nobody")
	case !slices.IsSorted(p.Components) || repeated(p.Components):
		return invalid("policy components %v, not each once and in order", p.Components)
	case len(p.Components) > maxList:
		return invalid("%d policy components, at most %d", len(p.Components), maxList)
	}
	return nil
}

// Check says whether a policy can be written. Error: ErrComponent.
func (p *Base) Check() error {
	if err := p.check(); err != nil {
		return fmt.Errorf("base policy: %w", err)
	}
	return nil
}

// ParseBase reads base_room_policy. Error: ErrComponent.
func ParseBase(b []byte) (*Base, error) {
	p := new(Base)
	err := parse("base policy", b, func(r reader) {
		p.Fixed = r.bool()
		dependant := r.bool()
		r.List(1, func() {
			if p.Parent = r.text(); p.Parent == "" {
				r.Fail(presentation.ErrMalformed, "a parent room without a name")
			}
		})
		if dependant != (p.Parent != "") {
			r.Fail(presentation.ErrMalformed, "parent_dependant %v and parent room %.64q", dependant, p.Parent)
		}
		p.MultiDevice = r.bool()
		p.MaxClients, p.MaxUsers = readBound(r.Reader), readBound(r.Reader)
		p.Pseudonyms, p.Persistent, p.Discoverable = r.bool(), r.bool(), r.bool()
		p.Components = readList(r, r.U16)
	}, p.check)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Append appends the encoding.
func (p *Base) Append(b []byte) []byte {
	b = appendBool(appendBool(b, p.Fixed), p.Parent != "")
	b = presentation.AppendList(b, func(b []byte) []byte {
		if p.Parent != "" {
			b = appendText(b, p.Parent)
		}
		return b
	})
	b = appendBound(appendBound(appendBool(b, p.MultiDevice), p.MaxClients), p.MaxUsers)
	b = appendBool(appendBool(appendBool(b, p.Pseudonyms), p.Persistent), p.Discoverable)
	return appendEach(b, p.Components, presentation.AppendU16)
}

// Follows says whether a policy may take the place of another. How people come to take
// part is settled when the room is made. Error: *Refusal.
func (p *Base) Follows(old *Base) error {
	switch {
	case p.Fixed != old.Fixed:
		return &Refusal{Why: "whether the membership is fixed is settled when the room is made"}
	case p.Parent != old.Parent:
		return &Refusal{Why: "a room's parent is settled when the room is made"}
	}
	return nil
}

// Load is how full a room is.
type Load struct {
	Users   int // participants that are not banned
	Clients int // in the group
	Several int // users with more than one client
}

// Over says whether a room ends with a change after which it is so full: it is not persistent,
// and no client is left (room-policy section 7). What there would be too few of then, as
// administrators, is nothing to ask any more.
func (p *Base) Over(after Load) bool { return !p.Persistent && after.Clients == 0 }

// Fits says whether a change from one load to another is within the policy's bounds. What
// is over a bound may have been so before, and no less; strict: not even that. Error:
// *Refusal.
func (p *Base) Fits(before, after Load, strict bool) error {
	for _, x := range []struct {
		what     string
		was, now int
		max      Bound
	}{{"participants", before.Users, after.Users, p.MaxUsers}, {"devices", before.Clients, after.Clients, p.MaxClients}} {
		if over := x.max.exceeds(x.now); over > 0 && (strict || over > x.max.exceeds(x.was)) {
			return &Refusal{Why: fmt.Sprintf("there would be %d %s, the room is for at most %d", x.now, x.what, x.max.N)}
		}
	}
	if !p.MultiDevice && after.Several > 0 && (strict || after.Several > before.Several) {
		return &Refusal{Why: "each user may have one device in this room, and not more"}
	}
	return nil
}

// Fixed says whether roles are those of a room with fixed membership: nobody may add
// others, whoever it is (room-policy section 7). Error: *Refusal.
func (r *Roles) Fixed() error {
	for i := range r.defs {
		if d := &r.defs[i]; d.Index > Banned && r.May(d.Index, AddParticipant) {
			return r.refuse(d.Index, AddParticipant, "the role %s has %s, in a room whose membership is fixed", d.Name, AddParticipant)
		}
	}
	return nil
}
