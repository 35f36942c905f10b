package room

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// A direct room is the conversation of two users. What makes a room one is its policy, and
// nothing else (Pair): its membership is fixed, its two participants have the one role of
// policy.Direct, and its roles are exactly those. None of that can change, so it is one from
// its first entry to its end. A fixed room of two with other roles is an ordinary room, and a
// pair may have any number of those.
//
// There is to be one for each pair. No provider could see to that: the two may each make one
// at the same moment, at two hubs that know nothing of each other. So devices do. Of several
// direct rooms of one pair, the one with the lowest id (ID, a hash of the name, which favours
// no provider) is the pair's; whoever knows two ends the other one by a tombstone that names
// the lower one as its successor. The order is a property of the names alone, so both sides
// come to the same result without a word between them, whoever of them sees it first, and
// both may do it: the second tombstone finds the room ended. And it is the same to everybody
// who judges a commit: a tombstone in a direct room that names a room with a higher id is
// refused. Hence no two rooms end towards each other, and a chain of successors ends.
//
// Whether the successor is a direct room of the same pair, no hub can see. Devices look before
// they follow (package client).
//
// A name can be chosen until its hash is low. Who does that can move the conversation to a
// provider of his choice; either of the two could do that anyway, by ending the room. Devices
// bound how often they follow.

// Pair are the two users of a direct room, in order of their URIs.
type Pair [2]uri.User

// PairOf returns the pair of two users.
func PairOf(a, b uri.User) Pair {
	if b.String() < a.String() {
		a, b = b, a
	}
	return Pair{a, b}
}

// Other returns the one of the two who is not u; false if u is none of them.
func (p Pair) Other(u uri.User) (uri.User, bool) {
	switch u {
	case p[0]:
		return p[1], true
	case p[1]:
		return p[0], true
	}
	return uri.User{}, false
}

// DirectOf returns whose direct room a context is of; false if it is none.
func DirectOf(ctx *mls.GroupContext) (Pair, bool) {
	d, err := ctx.Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return Pair{}, false
	}
	return directIn(d)
}

func directIn(d mls.Dictionary) (Pair, bool) {
	if !bytes.Equal(d[RolesComponent], policy.Direct().Append(nil)) {
		return Pair{}, false
	}
	base, err := baseIn(d)
	if err != nil || !base.Fixed {
		return Pair{}, false
	}
	list, err := participantsIn(d)
	if err != nil || len(list) != 2 || policy.Role(list[0].Role) != policy.Peer || policy.Role(list[1].Role) != policy.Peer {
		return Pair{}, false
	}
	a, erra := uri.ParseUser(string(list[0].User))
	b, errb := uri.ParseUser(string(list[1].User))
	if erra != nil || errb != nil {
		return Pair{}, false
	}
	return PairOf(a, b), true
}

// Direct returns the GroupContext extensions of a new direct room with another user; ext are
// those of Extensions, for the same creator. Error: ErrPolicy, of one user.
func Direct(ext mls.Extensions, creator, other uri.User) (mls.Extensions, error) {
	if creator == other {
		return nil, fmt.Errorf("a direct room of %s alone: %w", creator, ErrPolicy)
	}
	list, err := (&wire.ParticipantListData{Participants: []wire.UserRolePair{
		{User: wire.IdentifierURI(creator.String()), Role: uint32(policy.Peer)},
		{User: wire.IdentifierURI(other.String()), Role: uint32(policy.Peer)}}}).Bytes()
	if err != nil {
		return nil, err
	}
	base := &policy.Base{Fixed: true, MultiDevice: true, MaxUsers: policy.AtMost(2), Persistent: true}
	return withComponents(ext, mls.Dictionary{wire.ComponentParticipantList: list,
		RolesComponent: policy.Direct().Append(nil), BaseComponent: base.Append(nil)})
}

// Precedes says whether a direct room is the pair's rather than another one.
func Precedes(a, b uri.Room) bool {
	x, y := IDOf([]byte(a.String())), IDOf([]byte(b.String()))
	return bytes.Compare(x[:], y[:]) < 0
}

// succeeds judges the successor that the tombstone of a direct room names.
func (j *judgement) succeeds(t *Tombstone) error {
	if t.Successor.IsZero() {
		return nil
	}
	if _, ok := directIn(j.committed.components); !ok {
		return nil
	}
	name, err := roomOf(j.g.GroupID())
	if err != nil {
		return err
	}
	own, err := uri.ParseRoom(name)
	if err != nil {
		return err
	}
	if !Precedes(t.Successor, own) {
		return errors.New("of two direct rooms the one with the lower id goes on, and this is it")
	}
	return nil
}
