package room

import (
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Suite is the cipher suite of rooms.
const Suite = mls.X25519AES128Ed25519

// PastEpochs is how many epochs before the present one the hub still takes
// messages of, and clients keep keys for.
const PastEpochs = 5

// Config returns the MLS configuration with which all who follow a room must
// judge it, members and providers alike.
func Config(auth mls.Authenticator) mls.Config {
	return mls.Config{
		Limits:        mls.Limits{PastEpochs: PastEpochs},
		Authenticator: authenticator{auth},
		ImportExpired: true, // a room's state comes from its verified log
		Components:    components,
	}
}

// GroupID returns the id of a room's MLS group: the group URI of the same name.
func GroupID(r uri.Room) ([]byte, error) {
	g, err := r.Provider().Group(r.Name())
	if err != nil {
		return nil, err
	}
	return []byte(g.String()), nil
}

// Extensions returns the GroupContext extensions of a new room: its creator is
// its only participant and admin, and h.Hub orders it. metadata may be nil.
// Errors: ErrHosting, policy.ErrComponent, or that of the participant list.
func Extensions(creator uri.User, h *Hosting, metadata *policy.Metadata) (mls.Extensions, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	list, err := (&wire.ParticipantListData{Participants: []wire.UserRolePair{
		{User: wire.IdentifierURI(creator.String()), Role: uint32(policy.Admin)}}}).Bytes()
	if err != nil {
		return nil, err
	}
	d := mls.Dictionary{wire.ComponentParticipantList: list, HostingComponent: h.Append(nil)}
	if metadata != nil {
		if err := metadata.Check(); err != nil {
			return nil, err
		}
		d[MetadataComponent] = metadata.Append(nil)
	}
	return mls.Extensions{
		required(open).Extension(),
		mls.ExternalSendersExtension(senders(h)),
		d.Extension(),
	}, nil
}

// required is what every client in a room must be able to do.
func required(n naming) mls.RequiredCapabilities {
	c := mls.RequiredCapabilities{
		Extensions: []mls.ExtensionType{mls.ExtAppDataDictionary},
		Proposals:  []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalSelfRemove},
	}
	if n == pseudonymous {
		c.Credentials = []mls.CredentialType{pseudonym.CredentialType}
	}
	return c
}

// senders lists the replicas as MLS external senders.
func senders(h *Hosting) []mls.ExternalSender {
	var out []mls.ExternalSender
	for _, r := range h.Replicas {
		out = append(out, mls.ExternalSender{SignatureKey: slices.Clone(r.ProviderKey[:]),
			Credential: mls.BasicCredential([]byte("mimi://" + r.Domain))})
	}
	return out
}

// component returns one component's data, nil if it is absent.
func component(ctx *mls.GroupContext, id mls.ComponentID) ([]byte, error) {
	d, err := ctx.Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	return d[id], nil
}

// HostingOf returns a context's room_hosting. Error: ErrHosting.
func HostingOf(ctx *mls.GroupContext) (*Hosting, error) {
	d, err := ctx.Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	return hostingIn(d)
}

func hostingIn(d mls.Dictionary) (*Hosting, error) {
	data, ok := d[HostingComponent]
	if !ok {
		return nil, fmt.Errorf("group has no room_hosting: %w", ErrHosting)
	}
	return ParseHosting(data)
}

// ParticipantsOf returns a context's participant list, in its order, banned
// users and users without clients included.
func ParticipantsOf(ctx *mls.GroupContext) ([]wire.UserRolePair, error) {
	dict, err := ctx.Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	return participantsIn(dict)
}

func participantsIn(dict mls.Dictionary) ([]wire.UserRolePair, error) {
	data, ok := dict[wire.ComponentParticipantList]
	if !ok {
		return nil, fmt.Errorf("group has no participant_list: %w", ErrPolicy)
	}
	d, err := wire.ParseParticipantListData(data, BodyLimits())
	if err != nil {
		return nil, err
	}
	return d.Participants, nil
}

// Participant is a user that a change of the participant list concerns.
type Participant struct {
	User uri.User
	Role policy.Role
	// Active says, in State.Participants, whether the role may have clients.
	Active bool
}

// UpdateParticipants makes the proposal that adds users to the list or gives
// them another role (set), and takes users off it (remove). A change that
// changes nothing is left out, as is a user that was named before; if nothing is
// left the proposal is nil.
func UpdateParticipants(ctx *mls.GroupContext, set []Participant, remove []uri.User) (*mls.Proposal, error) {
	list, err := ParticipantsOf(ctx)
	if err != nil {
		return nil, err
	}
	at := func(u uri.User) int {
		return slices.IndexFunc(list, func(p wire.UserRolePair) bool { return string(p.User) == u.String() })
	}
	var up wire.ParticipantListUpdate
	for n, p := range set {
		i := at(p.User)
		switch {
		case slices.ContainsFunc(set[:n], func(o Participant) bool { return o.User == p.User }):
			// named before
		case i < 0:
			up.Added = append(up.Added, wire.UserRolePair{User: wire.IdentifierURI(p.User.String()), Role: uint32(p.Role)})
		case list[i].Role != uint32(p.Role):
			up.Changed = append(up.Changed, wire.UserIndexRolePair{Index: uint32(i), Role: uint32(p.Role)})
		}
	}
	for _, u := range remove {
		if i := at(u); i >= 0 {
			up.Removed = append(up.Removed, uint32(i))
		}
	}
	if len(up.Added)+len(up.Changed)+len(up.Removed) == 0 {
		return nil, nil
	}
	b, err := up.Bytes()
	if err != nil {
		return nil, err
	}
	return updateOf(wire.ComponentParticipantList, b), nil
}

func updateOf(id mls.ComponentID, data []byte) *mls.Proposal {
	return &mls.Proposal{Type: mls.ProposalAppDataUpdate,
		AppData: &mls.AppDataUpdate{Component: id, Op: mls.AppDataSet, Update: data}}
}

// components is the rooms' mls.ComponentLogic. An update of participant_list is
// a ParticipantListUpdate; those of one commit all count indices in the list
// before the commit, so that proposals of several people go together in any
// order, and may not touch one user twice. One of join_links makes, revokes or uses links.
// Other components are replaced.
func components(id mls.ComponentID, present []byte, updates [][]byte) ([]byte, error) {
	if id == JoinLinksComponent {
		return joinLinks(present, updates)
	}
	if id != wire.ComponentParticipantList {
		if len(updates) > 1 {
			return nil, fmt.Errorf("component %#04x is replaced %d times in one commit: %w", uint16(id), len(updates), ErrPolicy)
		}
		return updates[0], nil
	}
	old, err := wire.ParseParticipantListData(present, BodyLimits())
	if err != nil {
		return nil, err
	}
	out := slices.Clone(old.Participants)
	touched, gone := map[uint32]bool{}, map[uint32]bool{}
	touch := func(i uint32) error {
		if int64(i) >= int64(len(old.Participants)) {
			return fmt.Errorf("participant %d of %d: %w", i, len(old.Participants), ErrPolicy)
		}
		if touched[i] {
			return fmt.Errorf("participant %d is changed twice in one commit: %w", i, ErrPolicy)
		}
		touched[i] = true
		return nil
	}
	var added []wire.UserRolePair
	for _, b := range updates {
		up, err := wire.ParseParticipantListUpdate(b, BodyLimits())
		if err != nil {
			return nil, err
		}
		for _, c := range up.Changed {
			if err := touch(c.Index); err != nil {
				return nil, err
			}
			out[c.Index].Role = c.Role
		}
		for _, i := range up.Removed {
			if err := touch(i); err != nil {
				return nil, err
			}
			gone[i] = true
		}
		added = append(added, up.Added...)
	}
	kept := out[:0]
	for i, p := range out {
		if !gone[uint32(i)] {
			kept = append(kept, p)
		}
	}
	// Bytes refuses a user that stands on the list twice.
	return (&wire.ParticipantListData{Participants: append(kept, added...)}).Bytes()
}

// roomOf returns the URI of the room of a group.
func roomOf(gid []byte) (string, error) {
	g, err := uri.ParseGroup(string(gid))
	if err != nil {
		return "", err
	}
	r, err := g.Provider().Room(g.Name())
	return r.String(), err
}
