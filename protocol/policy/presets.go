package policy

import (
	"fmt"
	"slices"
)

// Capabilities that come together in the presets.
var (
	// reading is what everybody who may have a device in the room may do with what is there.
	reading = []Capability{
		RemoveSelf, AddOwnClient, RemoveOwnClient, ReceiveMessage, CopyMessage, ReportAbuse,
		DownloadImage, DownloadAudio, DownloadVideo, DownloadAttachment, FollowLink, CopyLink,
	}
	writing = []Capability{
		SendMessage, ReplyToMessage, ReactToMessage, EditReaction, DeleteOwnReaction, EditOwnMessage, DeleteOwnMessage,
		StartTopic, ReplyInTopic, EditOwnTopic,
		UploadImage, UploadAudio, UploadVideo, UploadAttachment, SendLink, SendLinkPreview,
	}
	moderating = []Capability{
		AcceptKnock, CreateJoinCode, DeleteJoinCode, RemoveParticipant, Kick, Ban, Unban,
		DeleteOtherReaction, DeleteOtherMessage, EditOtherTopic,
		ChangeRoomName, ChangeRoomDescription, ChangeRoomAvatar, ChangeRoomSubject, ChangeRoomMood,
	}
	administering = []Capability{
		ChangeUserRole,
		DestroyRoom, ChangeRoomMembershipStyle, ChangeRoleDefinitions, ChangePreauthorizedUserList, ChangeHosting,
	}
)

// Basic returns the roles of a room that stores none: the preset "group". The last admin
// makes another one before it leaves or steps down.
func Basic() *Roles { return basic }

var basic = func() *Roles {
	return must(
		Definition{Index: None, Name: "none", Capabilities: []Capability{Knock, UseJoinCode}, MaxActive: AtMost(0)},
		Definition{Index: Banned, Name: BannedName, MaxActive: AtMost(0)},
		Definition{Index: Member, Name: "member", Capabilities: slices.Concat([]Capability{AddParticipant}, reading, writing),
			Changes: []Changes{{None, []Role{Member}}}},
		Definition{Index: Moderator, Name: "moderator", Capabilities: slices.Concat([]Capability{AddParticipant}, reading, writing, moderating),
			Changes: []Changes{{None, []Role{Banned, Member}}, {Banned, []Role{None, Member}}, {Member, []Role{None, Banned}}, {Moderator, []Role{None, Banned}}}},
		Definition{Index: Admin, Name: "admin", Min: 1, Capabilities: slices.Concat([]Capability{AddParticipant}, reading, writing, moderating, administering),
			Changes: []Changes{{None, []Role{Banned, Member, Moderator, Admin}}, {Banned, []Role{None, Member}}, {Member, []Role{None, Banned, Moderator, Admin}},
				{Moderator, []Role{None, Banned, Member, Admin}}, {Admin, []Role{None, Banned, Member, Moderator}}}},
		enforcer(Member, Moderator),
	)
}()

// Channel returns the roles of a room that many read and few write in: newcomers read.
// Readers add nobody and send nothing, not even a reaction, so that the hub can tell; writers
// and moderators are made by admins.
func Channel() *Roles { return channel }

var channel = func() *Roles {
	const reader, writer, moderator, admin Role = 2, 3, 4, 5
	return must(
		Definition{Index: None, Name: "none", Capabilities: []Capability{Knock, UseJoinCode}, MaxActive: AtMost(0)},
		Definition{Index: Banned, Name: BannedName, MaxActive: AtMost(0)},
		Definition{Index: reader, Name: "reader", Capabilities: reading},
		Definition{Index: writer, Name: "writer", Capabilities: slices.Concat(reading, writing)},
		Definition{Index: moderator, Name: "moderator", Capabilities: slices.Concat([]Capability{AddParticipant}, reading, writing, moderating),
			Changes: []Changes{{None, []Role{Banned, reader}}, {Banned, []Role{None, reader}}, {reader, []Role{None, Banned}}}},
		Definition{Index: admin, Name: "admin", Min: 1, Capabilities: slices.Concat([]Capability{AddParticipant}, reading, writing, moderating, administering),
			Changes: []Changes{{None, []Role{Banned, reader, writer, moderator, admin}}, {Banned, []Role{None, reader}}, {reader, []Role{None, Banned, writer, moderator, admin}},
				{writer, []Role{None, Banned, reader, moderator, admin}}, {moderator, []Role{None, Banned, reader, writer, admin}},
				{admin, []Role{None, Banned, reader, writer, moderator}}}},
		enforcer(reader, writer, moderator),
	)
}()

// Direct returns the roles of a room of two: one role, which both have. Nobody is added,
// removed, banned, or gets another role, and what the role means does not change, so that
// what was settled when the room was made stays so. Either of the two may end the room.
//
// The role has canChangeUserRole, because the creator of a room must have the role of who
// has that; but its table leads nowhere. There is no policy_enforcer: a hub bans nobody from a
// conversation of two. Who is pestered in it ends it and takes the consent back.
func Direct() *Roles { return direct }

// Peer is the role of both participants of a direct room.
const Peer Role = 2

var direct = func() *Roles {
	return must(
		Definition{Index: None, Name: "none", MaxActive: AtMost(0)},
		Definition{Index: Banned, Name: BannedName, Max: AtMost(0), MaxActive: AtMost(0)},
		Definition{Index: Peer, Name: "peer", Min: 2, Max: AtMost(2), Capabilities: slices.Concat(reading, writing,
			[]Capability{ChangeUserRole, DestroyRoom, ChangeHosting, ChangeRoomDescription, ChangeRoomSubject, ChangeRoomMood})},
	)
}()

// must: the presets are constants, and a test reads them all.
func must(defs ...Definition) *Roles {
	r, err := NewRoles(defs)
	if err != nil {
		panic(err)
	}
	return r
}

// OpenTo returns roles that let anybody join by itself as a role, and are otherwise as
// before. Error: ErrRoles.
func (r *Roles) OpenTo(to Role) (*Roles, error) {
	if !r.Active(to) {
		return nil, invalidRole(to)
	}
	var defs []Definition
	for _, d := range r.defs {
		if d.Index != None {
			defs = append(defs, d)
		}
	}
	return NewRoles(append(defs, Definition{Index: None, Name: "none", Capabilities: []Capability{OpenJoin}, MaxActive: AtMost(0),
		Changes: []Changes{{None, []Role{to}}}}))
}

func invalidRole(to Role) error {
	return fmt.Errorf("nobody of role %d may have a device in the room: %w", to, ErrRoles)
}
