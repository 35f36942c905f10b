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
	data, err := component(ctx, RolesComponent)
	if err != nil {
		return nil, err
	}
	if data == nil {
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
	if err := j.rules.Need(role, policy.ChangeRoleDefinitions); err != nil {
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
	if len(j.before) != len(j.after) {
		return deny(fmt.Errorf("the same commit changes who takes part"))
	}
	for i, p := range j.after {
		u, err := uri.ParseUser(string(p.User))
		switch {
		case p.User != j.before[i].User || p.Role != j.before[i].Role:
			return deny(fmt.Errorf("the same commit changes who takes part"))
		case !next.Known(policy.Role(p.Role)):
			return deny(fmt.Errorf("%s would have role %d, which there is not", p.User, p.Role))
		case err != nil:
			return deny(err)
		case j.r.Clients(u) > 0 && !next.Active(policy.Role(p.Role)):
			return deny(fmt.Errorf("%s, with a device in the room, would be %s", p.User, next.Name(policy.Role(p.Role))))
		}
	}
	if err := next.Met(j.counts(j.roles, nil)); err != nil {
		return deny(err)
	}
	return nil
}

// counts returns how many users have each role, and how many of them have clients, of
// which a commit adds or removes so many.
func (j *judgement) counts(roles map[string]policy.Role, delta map[string]int) map[policy.Role]policy.Count {
	out := map[policy.Role]policy.Count{}
	for who, role := range roles {
		c := out[role]
		c.Users++
		if u, err := uri.ParseUser(who); err == nil && j.r.Clients(u)+delta[who] > 0 {
			c.Active++
		}
		out[role] = c
	}
	return out
}

// bounds: a commit leaves each role with as many participants as it may have. Where no role
// has bounds, which is so with the basic ones, nobody is counted.
func (j *judgement) bounds() error {
	if !j.rules.Bounded() {
		return nil
	}
	delta, err := j.delta()
	if err != nil {
		return err
	}
	if err := j.rules.Bounds(j.counts(j.roles, nil), j.counts(j.next, delta)); err != nil {
		return fmt.Errorf("%w: %w", err, ErrPolicy)
	}
	return nil
}
