package room

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// The hub as enforcer (MIMI protocol section 7.5, room-policy appendix A): it is in no
// group, so it proposes, as an external sender, what the role policy_enforcer allows, and
// a member's device commits it. From the entry with the proposals on the user counts as
// banned (View.Effective): the hub takes nothing more from it. Members must take up what is
// pending with their next commit (judgement.pending), and do so by themselves.
//
// A room names its hub as its one external sender. When the hub is another one, a member's
// next commit names that: by a GroupContextExtensions proposal that changes this extension to
// what the log says and nothing else. Everybody who judges can compute it, so that whoever may
// commit may say it, and nobody can say anything else (judgement.namesHub); that the key is its
// provider's is judged as for members' credentials (x509auth.AuthenticateSender). Until then
// the new hub can ban nobody; the old one can ban nobody from the moment on at which the log
// says that it is replaced, whatever the extension says.

// ErrNotEnforcer: the hub may not propose anything in this room.
var ErrNotEnforcer = errors.New("room: the hub can ban nobody in this room")

// enforcer returns who an external sender is, and its role: the hub that the log names, if
// the room has a role for it.
func (j *judgement) enforcer(s mls.Sender) (string, policy.Role, error) {
	hub := &j.lead.Hub
	at, err := externalSender(j.g.Context(), hub)
	// In a commit it is a proposal that the log holds: it was judged there, and the hub may
	// be another one by now.
	if j.c.Kind == mls.ContentProposal && (err != nil || at != s.External) {
		return "", 0, fmt.Errorf("proposal by external sender %d, which is not the hub %s: %w", s.External, hub.Domain, ErrPolicy)
	}
	role, ok := j.was.Rules.Enforcer()
	if !ok {
		return "", 0, fmt.Errorf("proposal by the hub %s: there is no role %s: %w", hub.Domain, policy.EnforcerName, ErrPolicy)
	}
	return "the hub " + hub.Domain, role, nil
}

// withSender returns the extensions of a context in which hub is the one external sender, and
// whether that changes anything.
func withSender(ctx *mls.GroupContext, hub *Replica) (mls.Extensions, bool) {
	x := mls.ExternalSendersExtension(senders(&Hosting{Replicas: []Replica{*hub}}))
	old, ok := ctx.Extensions.Get(x.Type)
	if ok && bytes.Equal(old, x.Data) {
		return ctx.Extensions, false
	}
	return ctx.Extensions.With(x.Type, x.Data), true
}

// UpdateSenders makes the proposal that names hub, who orders the room as the log says, as its
// external sender; nil if it is that.
func UpdateSenders(ctx *mls.GroupContext, hub *Replica) *mls.Proposal {
	ext, changes := withSender(ctx, hub)
	if !changes {
		return nil
	}
	return &mls.Proposal{Type: mls.ProposalGroupContextExtensions, Extensions: ext}
}

// namesHub judges a change of the GroupContext's extensions: a member's own commit makes it,
// and it says who orders the room, after the commit, and nothing else.
func (j *judgement) namesHub(p *mls.UsedProposal, user string, role policy.Role) error {
	deny := func(why string) error {
		return fmt.Errorf("%s, %s, changes the group's extensions: %s: %w", user, j.was.Rules.Name(role), why, ErrPolicy)
	}
	if j.c.Kind != mls.ContentCommit || p.Sender.Type != mls.SenderMember || p.Sender != j.c.Sender || p.ByReference() {
		return deny("only by an own commit")
	}
	want, changes := withSender(j.g.Context(), &j.lead.Hub)
	if !changes || !slices.EqualFunc(want, p.Proposal.Extensions, func(a, b mls.Extension) bool { return a.Type == b.Type && bytes.Equal(a.Data, b.Data) }) {
		return deny("only to name its hub, " + j.lead.Hub.Domain + ", as its external sender, where another one is named")
	}
	return nil
}

// externalSender returns the place of a hub among the external senders. Error:
// ErrNotEnforcer.
func externalSender(ctx *mls.GroupContext, hub *Replica) (uint32, error) {
	data, ok := ctx.Extensions.Get(mls.ExtExternalSenders)
	if !ok {
		return 0, ErrNotEnforcer
	}
	found, at := -1, 0
	r := presentation.NewReader(data)
	r.List(maxSenders, func() {
		var x mls.ExternalSender
		x.Read(r, BodyLimits().Limits)
		if slices.Equal(x.SignatureKey, hub.ProviderKey[:]) && found < 0 {
			found = at
		}
		at++
	})
	if err := r.Done(); err != nil {
		return 0, fmt.Errorf("reading external senders: %w", err)
	}
	if found < 0 {
		return 0, fmt.Errorf("%w: it has moved to %s, which no member's commit has named as its external sender yet; an administrator's device does so by itself", ErrNotEnforcer, hub.Domain)
	}
	return uint32(found), nil
}

const maxSenders = 64

// Banning reports whether a user's ban is pending or done.
func (s *State) Banning(u uri.User) (bool, error) {
	v, err := s.Effective()
	if err != nil {
		return false, err
	}
	return v.Role(u.String()) == policy.Banned, nil
}

// Leaving reports whether a user is off the list, or is going to be.
func (s *State) Leaving(u uri.User) (bool, error) {
	v, err := s.Effective()
	if err != nil {
		return false, err
	}
	return v.Role(u.String()) == policy.None, nil
}

// PendingBans returns whose bans the hub has proposed and nobody has committed.
func (s *State) PendingBans() (out []uri.User) {
	for _, p := range s.group.Pending() {
		a := p.Proposal.AppData
		if p.Sender.Type != mls.SenderExternal || p.Proposal.Type != mls.ProposalAppDataUpdate || a.Component != wire.ComponentParticipantList {
			continue
		}
		up, err := wire.ParseParticipantListUpdate(a.Update, BodyLimits())
		if err != nil {
			continue // it was judged, so it does not happen
		}
		for _, c := range up.Changed {
			if list := s.Participants(); int64(c.Index) < int64(len(list)) && policy.Role(c.Role) == policy.Banned {
				out = append(out, list[c.Index].User)
			}
		}
	}
	return out
}

// ProposeBan makes what the hub proposes, with its provider key, to have a user banned: the
// list entry, and the removal of each of its clients. Whether the room allows it is judged
// when it is ordered. Errors: ErrNotEnforcer, ErrPolicy (the user is not on the list).
func (s *State) ProposeBan(u uri.User, key mls.SignatureKey) (*Handshake, error) {
	return s.proposeRole(u, policy.Banned, key)
}

// ProposeRemoval is ProposeBan to have a user taken off the list.
func (s *State) ProposeRemoval(u uri.User, key mls.SignatureKey) (*Handshake, error) {
	return s.proposeRole(u, policy.None, key)
}

func (s *State) proposeRole(u uri.User, to policy.Role, key mls.SignatureKey) (*Handshake, error) {
	ctx := s.group.Context()
	index, err := externalSender(ctx, s.Hub())
	if err != nil {
		return nil, err
	}
	role, ok := s.Roles().Enforcer()
	if !ok {
		return nil, fmt.Errorf("%w: its roles have no %s", ErrNotEnforcer, policy.EnforcerName)
	}
	if s.Role(u) == policy.None {
		return nil, fmt.Errorf("%s is not in the room: %w", u, ErrPolicy)
	}
	set, off := []Participant{{User: u, Role: to}}, []uri.User(nil)
	if to == policy.None {
		set, off = nil, []uri.User{u}
	}
	list, err := UpdateParticipants(ctx, set, off)
	if err != nil {
		return nil, err
	}
	if list == nil {
		return nil, fmt.Errorf("%s is banned already: %w", u, ErrPolicy)
	}
	if err := s.Roles().SetRole(role, false, s.Role(u), to); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrPolicy)
	}
	var proposals []*mls.Proposal
	for _, l := range s.roster.Leaves(u) {
		proposals = append(proposals, &mls.Proposal{Type: mls.ProposalRemove, Remove: l})
	}
	proposals = append(proposals, list) // last: nobody who is banned has a client
	var ms []*mls.Message
	for _, p := range proposals {
		m, err := mls.ProposeAsExternalSender(ctx, p, index, key, nil)
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return HandshakeOf(&wire.HandshakeBundle{Message: ms[0], MoreProposals: ms[1:]}), nil
}
