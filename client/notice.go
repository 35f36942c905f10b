package client

import (
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
)

// Notice tells an application what has happened; it is one of the types below.
// Notices are hints: what they tell is in the storage before, and an application
// that reads them too slowly gets Missed instead and looks for itself.
type Notice interface{ notice() }

// State of a message or room, as texts for people and programs.
type State string

// States of a message that this user sent, in their order, and of the others,
// which are Final.
const (
	// StateQueued: durable here, not yet taken by the hub.
	StateQueued State = "queued"
	// StateAccepted: durable at the hub.
	StateAccepted State = "accepted"
	// StateFinal: in the room's log for good: a majority of the replicas has stored
	// it. In a replica set of one this rests on the hub's word.
	StateFinal State = "final"
	// StateLost: in the log of a branch of the room that was lost when an administrator moved
	// the room away. It was final here, and is not in the room as far as this device has read
	// it: when its sender comes back and sends it again it is final, unless that was before
	// this device has entered the group anew, which cannot read it then.
	StateLost State = "lost"
	// StateFailed: refused, or the room was left before it went out.
	StateFailed State = "failed"
)

// MessageReceived: another user's message, or one of an own other device.
type MessageReceived struct {
	Room    uri.Room
	Message Message
}

// SendState: an own message reached another state.
type SendState struct {
	Room  uri.Room
	Index uint64 // as Send returned it
	State State
	Err   error // of StateFailed; and of StateQueued, why it does not go over relays now, and so not at all
}

// ReceiptsChanged: somebody has reported of messages that this user sent. They are listed
// by index, only what is new: who has read a message had it delivered.
type ReceiptsChanged struct {
	Room            uri.Room
	From            uri.User
	Delivered, Read []uint64
}

// MessagesExpired: these messages have ended and are gone from this device.
type MessagesExpired struct {
	Room     uri.Room
	Messages []uint64
}

// Typing: somebody is typing, or no more. It stands for TypingFor, unless a message of the
// same user comes before. It is in no storage, and may be missing.
type Typing struct {
	Room uri.Room
	User uri.User
	On   bool
}

// StockChanged: by what others can add this user to rooms is another than it was; see
// Stock.Level. At "none" nobody can add the user until some device of it has connected.
type StockChanged struct{ Level string }

// ProviderSeen: whether strangers can claim KeyPackages at this user's provider is known again, see
// Stock.Outside. At "unseen" nobody elsewhere can add any of its users, and its operator has to do something.
type ProviderSeen struct{ Outside string }

// AttachFailed: a file that was to be attached did not go out, and will not.
type AttachFailed struct {
	Room uri.Room
	Name string
	Err  error
}

// RoomJoined: this device is in the room's group: it created it, was added, or
// came back.
type RoomJoined struct{ Room uri.Room }

// RoomLeft: this device is in the room no more.
type RoomLeft struct {
	Room   uri.Room
	Reason string
}

// RoomMerged: a direct room has yielded to another one of the same two users. What was said
// in it is there now, under new indexes, and what was on its way is sent there.
type RoomMerged struct{ Room, Into uri.Room }

// MembersChanged: users came into the room or left it.
type MembersChanged struct {
	Room           uri.Room
	Added, Removed []uri.User
}

// Rival is somebody else who claims an identifier of this user.
type Rival = clientapi.Rival

// RivalsChanged: others claim an identifier of this user by now, other ones than before, or
// nobody any more. Who looks it up sees all of them.
type RivalsChanged struct {
	SII    string
	Rivals []Rival
}

// ConsentChanged: somebody asked for consent, gave it, or took it back. State is
// as in clientapi.Consent.
type ConsentChanged struct {
	Requester, Target uri.User
	Room              string
	State             string
	// Signed says that the word is signed by the user whose it is, with a key that its
	// provider, as this device knows it, has certified. Others come on providers' words.
	Signed bool
}

// Introduced: somebody asks for first contact and does not say who it is; see Introductions.
type Introduced struct{ Introduction Introduction }

// KnockChanged: an own knock got further, or somebody waits at a room whom this user may let
// in, or does no more (KnockGone). Who it is the provider says; RoomKnocks checks it.
type KnockChanged struct{ Knock Knock }

// UserKeyChanged: a user in this room has another user key than before. Either
// it lost all its devices and began anew, or its provider put in somebody else.
// Ask the user by another way.
type UserKeyChanged struct {
	Room uri.Room
	User uri.User
}

// HubChanged: another provider orders the room now. What was sent and not final is
// sent to it again by itself.
type HubChanged struct {
	Room uri.Room
	Hub  string
}

// HubSilent: the provider that orders the room gives no sign of life, or does again.
// What is sent waits. Moves says that other providers can take over, and try to; it
// is false where the room rests on this one provider.
type HubSilent struct {
	Room   uri.Room
	Hub    string
	Silent bool
	Moves  bool
}

// ProviderSilent: the user's own provider does not answer, or does again. Nothing comes
// meanwhile, what is sent waits here, and who orders the rooms cannot be known.
type ProviderSilent struct{ Silent bool }

// HubStalls: the provider that orders the room gives signs of life and leaves lying what
// is sent, or does its work again. Moves says that other providers can take over, if
// they see the same.
type HubStalls struct {
	Room   uri.Room
	Hub    string
	Stalls bool
	Moves  bool
}

// HubLied: the provider has proof that the one that orders the room has signed what
// cannot be, or two histories of it. What is final stays; another one is looked for.
//
// With Votes the proof is of two votes in one term for who is to order the room, and the
// provider is one of those that decide about that, not always the hub.
type HubLied struct {
	Room  uri.Room
	Hub   string
	Votes bool
}

// RoomParted: an administrator has moved the room away from before the end of what this
// device has had in it. Entries from From on, Entries of them, are not in the room that goes
// on at To. This device stands still there until its user comes back into it (Rejoin).
type RoomParted struct {
	Room    uri.Room
	From    uint64
	Entries uint64
	To      string // empty if that is not known
}

// Rejoining: this device lost the thread of the room and enters it again by
// itself. What was said in between cannot be read.
type Rejoining struct {
	Room uri.Room
	Err  error
}

// Problem: something a person should know, with what to do.
type Problem struct {
	Room uri.Room // zero: of no room
	Err  error
}

// Missed: notices were dropped because nobody read them.
type Missed struct{}

func (MessageReceived) notice() {}
func (SendState) notice()       {}
func (ReceiptsChanged) notice() {}
func (MessagesExpired) notice() {}
func (Typing) notice()          {}
func (StockChanged) notice()    {}
func (ProviderSeen) notice()    {}
func (AttachFailed) notice()    {}
func (RoomJoined) notice()      {}
func (RoomLeft) notice()        {}
func (RoomMerged) notice()      {}
func (MembersChanged) notice()  {}
func (RivalsChanged) notice()   {}
func (ConsentChanged) notice()  {}
func (Introduced) notice()      {}
func (KnockChanged) notice()    {}
func (UserKeyChanged) notice()  {}
func (HubChanged) notice()      {}
func (HubSilent) notice()       {}
func (ProviderSilent) notice()  {}
func (HubStalls) notice()       {}
func (HubLied) notice()         {}
func (RoomParted) notice()      {}
func (Rejoining) notice()       {}
func (Problem) notice()         {}
func (Missed) notice()          {}

// Events returns the notices. The channel stays open; see Run for the end.
func (c *Client) Events() <-chan Notice { return c.notices }

// emit hands notices out, never waiting for the application.
func (c *Client) emit(ns ...Notice) {
	for _, n := range ns {
		if c.missed {
			select {
			case c.notices <- Missed{}:
				c.missed = false
			default:
				continue
			}
		}
		select {
		case c.notices <- n:
		default:
			c.missed = true
		}
	}
}
