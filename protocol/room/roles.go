package room

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// RolesComponent is roles_list's id in the GroupContext (draft-ietf-mimi-room-policy
// section 10.1, the suggested value): what the roles of the participant list mean. An update
// replaces the whole. A room without it has the basic roles.
const RolesComponent mls.ComponentID = 0x0025

// RolesOf returns what a context's roles mean. Error: policy.ErrRoles.
func RolesOf(ctx *mls.GroupContext) (*policy.Roles, error) {
	d, err := ctx.Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	return rolesIn(d)
}

func rolesIn(d mls.Dictionary) (*policy.Roles, error) {
	data, ok := d[RolesComponent]
	if !ok {
		return policy.Basic(), nil
	}
	return policy.ParseRoles(data)
}

// WithRoles returns the GroupContext extensions of a new room whose roles mean this; ext
// are those of Extensions, for the same creator, who gets the highest role. Error:
// policy.ErrRoles, if there is none that could be a creator's.
func WithRoles(ext mls.Extensions, creator uri.User, r *policy.Roles) (mls.Extensions, error) {
	if r.Top() == policy.None {
		return nil, fmt.Errorf("nobody could change a role: %w", policy.ErrRoles)
	}
	list, err := (&wire.ParticipantListData{Participants: []wire.UserRolePair{{User: wire.IdentifierURI(creator.String()), Role: uint32(r.Top())}}}).Bytes()
	if err != nil {
		return nil, err
	}
	return withComponents(ext, mls.Dictionary{wire.ComponentParticipantList: list, RolesComponent: r.Append(nil)})
}

// withComponents returns extensions with more components, or others, in the dictionary.
func withComponents(ext mls.Extensions, more mls.Dictionary) (mls.Extensions, error) {
	d, err := ext.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	maps.Copy(d, more)
	out := slices.Clone(ext)
	for i := range out {
		if out[i].Type == mls.ExtAppDataDictionary {
			out[i] = d.Extension()
		}
	}
	return out, nil
}

// UpdateRoles makes the proposal that replaces the roles of a room.
func UpdateRoles(r *policy.Roles) *mls.Proposal { return updateOf(RolesComponent, r.Append(nil)) }

// redefines judges new meanings of the roles. They come in a commit of their own kind: who
// is on the list stays as it is in it, so that nobody gains a role by the same step that
// says what it means (room-policy section 5).
func (j *judgement) redefines(data []byte, user string, role policy.Role) error {
	deny := func(err error) error {
		return fmt.Errorf("%s says what the roles mean: %w: %w", user, err, ErrPolicy)
	}
	if err := j.was.Rules.Need(role, policy.ChangeRoleDefinitions); err != nil {
		return deny(err)
	}
	next, err := policy.ParseRoles(data)
	if err != nil {
		return deny(err)
	}
	if next.Top() == policy.None {
		return deny(fmt.Errorf("nobody could change a role any more"))
	}
	if j.c.Kind == mls.ContentProposal {
		return nil // what it leads to is judged with its commit
	}
	if len(j.changed) > 0 {
		return deny(fmt.Errorf("the same commit changes who takes part"))
	}
	for _, p := range j.committed.list {
		who, role := string(p.User), policy.Role(p.Role)
		switch {
		case !next.Known(role):
			return deny(fmt.Errorf("%s would have role %d, which there is not", who, role))
		case j.next.Clients(who) > 0 && !next.Active(role):
			return deny(fmt.Errorf("%s, with a device in the room, would be %s", who, next.Name(role)))
		}
	}
	if err := next.Met(j.next.count); err != nil {
		return deny(err)
	}
	if j.was.Base.Fixed {
		if err := next.Fixed(); err != nil {
			return deny(err)
		}
	}
	if j.was.Base.Parent != "" {
		if err := next.Dependent(); err != nil {
			return deny(err)
		}
	}
	for _, e := range j.was.Preauth.Entries {
		if !next.Known(e.Role) {
			return deny(fmt.Errorf("role %d, which there would not be, is preauthorized", e.Role))
		}
	}
	return nil
}

// bounds: a change leaves each role with as many participants as it may have, and the room
// with no more users and clients than its base policy says. A proposal by itself is held to
// it as well: what is pending must be committed, so it must be possible.
func (j *judgement) bounds() error {
	if j.next.Over() {
		return nil
	}
	before, err := j.unbound()
	if err != nil {
		return err
	}
	if err := j.was.Rules.Bounds(before.count, j.next.count); err != nil {
		return fmt.Errorf("%w: %w", err, ErrPolicy)
	}
	if err := j.next.Base.Fits(j.was.load, j.next.load, j.next.Base != j.was.Base); err != nil {
		return fmt.Errorf("%w: %w", err, ErrPolicy)
	}
	return nil
}
