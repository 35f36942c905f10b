package room

import (
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
)

// A room may depend on a parent (policy.Within). What its own log shows is judged here, by
// everybody: that its roles let its hub take out who has left the parent, and that the hub may
// do that whatever else the room demands, be it an administrator or a fixed membership. Who
// takes part in the parent, its hub looks up (package node/rooms), and nobody else can be asked.

// Parent returns the room that this one depends on; zero: none.
func (s *State) Parent() uri.Room { return parentOf(s.view) }

// PresentPart is the key of the part of a state that ParentIn reads.
const PresentPart = partInfo

// ParentIn returns the parent that a stored state has, without the rest of it. Error: ErrState
// of mls.
func ParentIn(part []byte) (uri.Room, error) {
	info, err := mls.ParseGroupInfo(part, BodyLimits().Limits)
	if err != nil {
		return uri.Room{}, fmt.Errorf("%w: %w", mls.ErrState, err)
	}
	p, err := PoliciesOf(&info.Context)
	if err != nil {
		return uri.Room{}, fmt.Errorf("%w: %w", mls.ErrState, err)
	}
	return parentOf(&View{Base: p.Base}), nil
}

func parentOf(v *View) uri.Room {
	if v.Base.Parent == "" {
		return uri.Room{}
	}
	u, err := uri.ParseRoom(v.Base.Parent)
	if err != nil {
		return uri.Room{} // judged when the room began
	}
	return u
}

// beginsWithin: with which parent a room may begin.
func (s *State) beginsWithin(v *View) error {
	if v.Base.Parent == "" {
		return nil
	}
	u, err := uri.ParseRoom(v.Base.Parent)
	switch {
	case err != nil:
		return fmt.Errorf("parent room: %w: %w", err, ErrPolicy)
	case u == s.room:
		return fmt.Errorf("a room that depends on itself: %w", ErrPolicy)
	}
	if err := v.Rules.Dependent(); err != nil {
		return fmt.Errorf("%w: %w", err, ErrPolicy)
	}
	return nil
}

// strayed says whether a proposal is the hub's word that somebody has left the parent.
func (j *judgement) strayed(p *mls.UsedProposal) bool {
	return p.Sender.Type == mls.SenderExternal && j.was.Base.Parent != ""
}

// unbound is the view from which bounds on roles are judged: as before, but without those who
// have left the parent, who need not stay to keep a role filled.
func (j *judgement) unbound() (*View, error) {
	if j.was.Base.Parent == "" {
		return j.was, nil
	}
	all := j.c.Proposals
	if j.c.Kind == mls.ContentProposal {
		all = append(j.earlier[:len(j.earlier):len(j.earlier)], j.c.Proposal)
	}
	var out []*mls.UsedProposal
	for _, p := range all {
		if j.strayed(p) {
			out = append(out, p)
		}
	}
	return j.was.with(out, j.r)
}

// Joining returns who takes part by a checked entry and did not before, and the roles of all on
// the list after it.
func (s *State) Joining(st *Step) (added []string, after map[string]policy.Role, err error) {
	v, ps := s.view, []*mls.UsedProposal(nil)
	for _, c := range st.Changes {
		if c.Proposal != nil {
			ps = append(ps, c.Proposal)
		}
		ps = append(ps, c.Proposals...)
	}
	if st.Commit() == nil {
		if v, err = s.Effective(); err != nil {
			return nil, nil, err
		}
	}
	next, err := v.with(ps, s.roster)
	if err != nil {
		return nil, nil, err
	}
	before := s.view.Roles()
	after = next.Roles()
	return policy.Strays(after, before), after, nil
}
