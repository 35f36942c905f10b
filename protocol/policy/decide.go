package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Refusal says why somebody may not do something, in words that users are shown.
type Refusal struct {
	Role  string     // what the actor's role is called
	Lacks Capability // what it would take; with Why, if that is there
	Why   string     // empty: the capability is missing
}

func (e *Refusal) Error() string {
	if e.Why != "" {
		return e.Why
	}
	return fmt.Sprintf("the role %s lacks %s", e.Role, e.Lacks)
}

// May says whether a role has a capability. Nobody who is banned has any.
func (r *Roles) May(x Role, c Capability) bool {
	d := r.find(x)
	if d == nil || x == Banned {
		return false
	}
	if slices.Contains(d.Capabilities, c) {
		return true
	}
	s, ok := standIn(c)
	return ok && slices.Contains(d.Capabilities, s) && !slices.ContainsFunc(r.defs, func(d Definition) bool {
		return slices.Contains(d.Capabilities, c)
	})
}

// standIn returns the capability that stands for one which sets of roles made by others do
// not have: ChangeHosting is ours, and the draft only reserves the other two.
func standIn(c Capability) (Capability, bool) {
	switch c {
	case ChangeHosting:
		return DestroyRoom, true
	case ChangeOtherPolicyAttribute, ChangeMlsOperationalPolicies:
		return ChangeRoomMembershipStyle, true
	}
	return 0, false
}

// posting are the capabilities that it takes a message to make use of.
var posting = []Capability{SendMessage, ReplyToMessage, ReactToMessage, EditReaction, DeleteOwnReaction, DeleteOtherReaction,
	EditOwnMessage, DeleteOwnMessage, DeleteOtherMessage, StartTopic, ReplyInTopic, EditOwnTopic, EditOtherTopic}

// Posts says whether a role may send messages of any kind: a hub, which sees no more than
// that there is one, lets those through. What kind it is, devices judge.
func (r *Roles) Posts(x Role) bool {
	return slices.ContainsFunc(posting, func(c Capability) bool { return r.May(x, c) })
}

// Need returns nil if a role has a capability, else why not: *Refusal.
func (r *Roles) Need(x Role, c Capability) error {
	if r.May(x, c) {
		return nil
	}
	return &Refusal{Role: r.Name(x), Lacks: c}
}

// changes says whether a role's table leads from one role to another.
func (r *Roles) changes(actor, from, to Role) bool {
	d := r.find(actor)
	return d != nil && slices.ContainsFunc(d.Changes, func(c Changes) bool { return c.From == from && slices.Contains(c.To, to) })
}

// touches says whether a role's table has anything about another role.
func (r *Roles) touches(actor, from Role) bool {
	d := r.find(actor)
	return d != nil && slices.ContainsFunc(d.Changes, func(c Changes) bool { return c.From == from && len(c.To) > 0 })
}

func (r *Roles) refuse(actor Role, c Capability, format string, args ...any) error {
	return &Refusal{Role: r.Name(actor), Lacks: c, Why: fmt.Sprintf(format, args...)}
}

// both: a capability and an entry in the table.
func (r *Roles) both(actor Role, c Capability, from, to Role) error {
	if err := r.Need(actor, c); err != nil {
		return err
	}
	if !r.changes(actor, from, to) {
		return r.refuse(actor, c, "the role %s may not make %s of %s", r.Name(actor), r.Name(to), r.Name(from))
	}
	return nil
}

// SetRole says whether somebody may give a user another role: self the own user, else
// another one. None is for being off the list: from None is an addition, to None a removal
// or, for oneself, leaving. Error: *Refusal.
func (r *Roles) SetRole(actor Role, self bool, from, to Role) error {
	switch {
	case from == to || from != None && !r.Known(from) || to != None && !r.Known(to):
		return r.refuse(actor, ChangeUserRole, "%s to %s is no change between two roles of this room", r.Name(from), r.Name(to))
	case self && to == None:
		return r.Need(actor, RemoveSelf)
	case self && from == actor && r.Active(to) && r.May(actor, ChangeUserRole) && r.less(to, from):
		return nil
	case self:
		return r.refuse(actor, ChangeOwnRole, "the role %s may not make itself %s", r.Name(actor), r.Name(to))
	case to == Banned:
		return r.both(actor, Ban, from, to)
	case from == None:
		return r.both(actor, AddParticipant, from, to)
	case to == None:
		return r.both(actor, RemoveParticipant, from, to)
	case from == Banned:
		return r.both(actor, Unban, from, to)
	}
	return r.both(actor, ChangeUserRole, from, to)
}

// less says whether a role may do nothing that another may not.
func (r *Roles) less(a, b Role) bool {
	x, y := r.find(a), r.find(b)
	for _, c := range x.Capabilities {
		if !slices.Contains(y.Capabilities, c) {
			return false
		}
	}
	for _, c := range x.Changes {
		for _, to := range c.To {
			if !r.changes(b, c.From, to) {
				return false
			}
		}
	}
	return true
}

// AddClient says whether somebody may add a client of a user who has, or gets by the same
// change, the role of. Error: *Refusal.
func (r *Roles) AddClient(actor Role, self bool, of Role) error {
	switch {
	case self:
		return r.Need(actor, AddOwnClient)
	case !r.Active(of):
		return r.refuse(actor, AddParticipant, "nobody who is %s may have a device in this room", r.Name(of))
	}
	return r.Need(actor, AddParticipant)
}

// RemoveClient says whether somebody may take a client of a user out of the group while
// the user's role stays. Error: *Refusal.
func (r *Roles) RemoveClient(actor Role, self bool, of Role) error {
	if self {
		return r.Need(actor, RemoveOwnClient)
	}
	if err := r.Need(actor, Kick); err != nil {
		return err
	}
	if !r.touches(actor, of) {
		return r.refuse(actor, Kick, "the role %s may not remove the devices of %s", r.Name(actor), r.Name(of))
	}
	return nil
}

// Newcomer returns the role that somebody gives to users who are added: the lowest that
// may have clients among those that the table leads to from none. Error: *Refusal.
func (r *Roles) Newcomer(actor Role) (Role, error) {
	if err := r.Need(actor, AddParticipant); err != nil {
		return None, err
	}
	best := None
	for _, c := range r.find(actor).Changes {
		for _, to := range c.To {
			if c.From == None && r.Active(to) && (best == None || to < best) {
				best = to
			}
		}
	}
	if best == None {
		return None, r.refuse(actor, AddParticipant, "the role %s has no role to give to whom it adds", r.Name(actor))
	}
	return best, nil
}

// MayKnock says whether who is not on the list may ask to be let in.
func (r *Roles) MayKnock() bool { return r.May(None, Knock) }

// MayAnswer says whether a role may answer those who knock: it has canAcceptKnock, or
// canAddParticipant where no role has that. Letting somebody in is adding it, which takes what
// adding takes.
func (r *Roles) MayAnswer(x Role) bool {
	if r.May(x, AcceptKnock) {
		return true
	}
	return r.May(x, AddParticipant) && !slices.ContainsFunc(r.defs, func(d Definition) bool { return slices.Contains(d.Capabilities, AcceptKnock) })
}

// Top returns the highest role that may have clients and changes roles: that of a room's
// creator, and of who succeeds the administrators. None: there is none.
func (r *Roles) Top() Role {
	for _, d := range slices.Backward(r.defs) {
		if r.Active(d.Index) && r.May(d.Index, ChangeUserRole) {
			return d.Index
		}
	}
	return None
}

// Count is how many participants of a role there are, and how many of them have clients.
type Count struct{ Users, Active int }

// Bounds says whether a change keeps the participants of each role within its bounds: a
// count that is outside may have been so before, and no nearer. Error: *Refusal.
func (r *Roles) Bounds(before, after map[Role]Count) error { return r.bounds(before, after, false) }

// Met says whether the participants of each role are within its bounds. Error: *Refusal.
func (r *Roles) Met(now map[Role]Count) error { return r.bounds(nil, now, true) }

func (r *Roles) bounds(before, after map[Role]Count, strict bool) error {
	for i := range r.defs {
		d := &r.defs[i]
		if d.Index == None {
			continue
		}
		was, is := before[d.Index], after[d.Index]
		for _, x := range []struct {
			what     string
			was, now int
			min      uint32
			max      Bound
		}{{"", was.Users, is.Users, d.Min, d.Max}, {" with a device", was.Active, is.Active, d.MinActive, d.MaxActive}} {
			if over := x.max.exceeds(x.now); over > 0 && (strict || over > x.max.exceeds(x.was)) {
				return &Refusal{Role: d.Name, Why: fmt.Sprintf("there would be %d of the role %s%s, at most %d are allowed", x.now, d.Name, x.what, x.max.N)}
			}
			if under := int(x.min) - x.now; under > 0 && (strict || under > int(x.min)-x.was) {
				return &Refusal{Role: d.Name, Why: fmt.Sprintf("there would be %d of the role %s%s, at least %d are demanded", x.now, d.Name, x.what, x.min)}
			}
		}
	}
	return nil
}

func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
