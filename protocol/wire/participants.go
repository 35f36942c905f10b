package wire

import "github.com/mimid/mimid/protocol/presentation"

// UserRolePair is an entry of the participant list (section 7.5):
//
//	struct { opaque user<V>; uint32 role_index; } UserRolePair;
//
// What the roles mean is the room policy's.
type UserRolePair struct {
	User IdentifierURI
	Role uint32
}

func (r *reader) pairs() (out []UserRolePair) {
	r.List(r.lim.Participants, func() { out = append(out, UserRolePair{r.uri("user"), r.U32()}) })
	return out
}

func appendPairs(b []byte, list []UserRolePair) []byte {
	return appendEach(b, list, func(b []byte, p UserRolePair) []byte {
		return presentation.AppendU32(appendURI(b, p.User), p.Role)
	})
}

func checkPairs(list []UserRolePair) error {
	seen := make(map[IdentifierURI]bool, len(list))
	for _, p := range list {
		if err := checkURI(p.User, "user"); err != nil {
			return err
		}
		if seen[p.User] {
			return contradiction("user %q twice", p.User)
		}
		seen[p.User] = true
	}
	return nil
}

// ParticipantListData is the data of the participant_list component
// (section 7.5):
//
//	struct { UserRolePair participants<V>; } ParticipantListData;
//
// No user stands twice. The order counts: updates name users by index.
type ParticipantListData struct {
	Participants []UserRolePair
}

func (d *ParticipantListData) read(r *reader)         { d.Participants = r.pairs() }
func (d *ParticipantListData) append(b []byte) []byte { return appendPairs(b, d.Participants) }
func (d *ParticipantListData) check() error           { return checkPairs(d.Participants) }

// ParseParticipantListData reads the component's data.
func ParseParticipantListData(b []byte, lim Limits) (*ParticipantListData, error) {
	d := new(ParticipantListData)
	if err := parse(b, lim, "ParticipantListData", d); err != nil {
		return nil, err
	}
	return d, nil
}

// Bytes encodes the component's data.
func (d *ParticipantListData) Bytes() ([]byte, error) { return encode("ParticipantListData", d) }

// UserIndexRolePair gives the user at an index of the list a role:
//
//	struct { uint32 user_index; uint32 role_index; } UserindexRolePair;
type UserIndexRolePair struct {
	Index uint32
	Role  uint32
}

// ParticipantListUpdate changes a participant list (section 7.5):
//
//	struct {
//	    UserindexRolePair changedRoleParticipants<V>;
//	    uint32 removedIndices<V>;
//	    UserRolePair addedParticipants<V>;
//	} ParticipantListUpdate;
//
// Indices are those before the update. Nobody is touched twice.
type ParticipantListUpdate struct {
	Changed []UserIndexRolePair
	Removed []uint32
	Added   []UserRolePair
}

func (u *ParticipantListUpdate) read(r *reader) {
	r.List(r.lim.Participants, func() {
		u.Changed = append(u.Changed, UserIndexRolePair{r.U32(), r.U32()})
	})
	r.List(r.lim.Participants, func() { u.Removed = append(u.Removed, r.U32()) })
	u.Added = r.pairs()
}

func (u *ParticipantListUpdate) append(b []byte) []byte {
	b = appendEach(b, u.Changed, func(b []byte, p UserIndexRolePair) []byte {
		return presentation.AppendU32(presentation.AppendU32(b, p.Index), p.Role)
	})
	return appendPairs(appendEach(b, u.Removed, presentation.AppendU32), u.Added)
}

func (u *ParticipantListUpdate) check() error {
	seen := make(map[uint32]bool, len(u.Changed)+len(u.Removed))
	for _, p := range u.Changed {
		if seen[p.Index] {
			return contradiction("user %d changed twice", p.Index)
		}
		seen[p.Index] = true
	}
	for _, i := range u.Removed {
		if seen[i] {
			return contradiction("user %d removed and touched before", i)
		}
		seen[i] = true
	}
	return checkPairs(u.Added)
}

// ParseParticipantListUpdate reads an update.
func ParseParticipantListUpdate(b []byte, lim Limits) (*ParticipantListUpdate, error) {
	u := new(ParticipantListUpdate)
	if err := parse(b, lim, "ParticipantListUpdate", u); err != nil {
		return nil, err
	}
	return u, nil
}

// Bytes encodes the update.
func (u *ParticipantListUpdate) Bytes() ([]byte, error) { return encode("ParticipantListUpdate", u) }
