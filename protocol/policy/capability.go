package policy

import "fmt"

// Capability is something that a role may allow.
//
//	uint16 CapabilityType;
//
// Names and numbers are the draft's (draft-ietf-mimi-room-policy section 10.2).
type Capability uint16

// The registered capabilities, and ChangeHosting. Those that the draft only reserves are
// in the registry, too, so that they have names; of them only those with a meaning of ours
// allow anything here.
const (
	// Membership.
	AddParticipant      Capability = 0x0000
	RemoveParticipant   Capability = 0x0001
	AddOwnClient        Capability = 0x0002
	RemoveOwnClient     Capability = 0x0003
	OpenJoin            Capability = 0x0004
	JoinIfPreauthorized Capability = 0x0005
	RemoveSelf          Capability = 0x0006
	CreateJoinCode      Capability = 0x0007 // reserved; see room.JoinLink
	DeleteJoinCode      Capability = 0x0008 // reserved
	UseJoinCode         Capability = 0x0009
	Ban                 Capability = 0x000a
	Unban               Capability = 0x000b
	Kick                Capability = 0x000c
	Knock               Capability = 0x000d // reserved; of role 0, see Roles.MayKnock
	AcceptKnock         Capability = 0x000e // reserved; see Roles.MayAnswer
	ChangeUserRole      Capability = 0x000f
	ChangeOwnRole       Capability = 0x0010
	CreateSubgroup      Capability = 0x0011 // reserved
	// Messages.
	SendMessage         Capability = 0x0100
	ReceiveMessage      Capability = 0x0101
	CopyMessage         Capability = 0x0102
	ReportAbuse         Capability = 0x0103
	ReplyToMessage      Capability = 0x0104
	ReactToMessage      Capability = 0x0105
	EditReaction        Capability = 0x0106
	DeleteOwnReaction   Capability = 0x0107
	DeleteOtherReaction Capability = 0x0108
	EditOwnMessage      Capability = 0x0109
	DeleteOwnMessage    Capability = 0x010a
	DeleteOtherMessage  Capability = 0x010b
	StartTopic          Capability = 0x010c
	ReplyInTopic        Capability = 0x010d
	EditOwnTopic        Capability = 0x010e
	EditOtherTopic      Capability = 0x010f
	SendDirectMessage   Capability = 0x0110 // reserved
	TargetMessage       Capability = 0x0111 // reserved
	// Assets and links.
	UploadImage        Capability = 0x0200
	UploadAudio        Capability = 0x0201
	UploadVideo        Capability = 0x0202
	UploadAttachment   Capability = 0x0203
	DownloadImage      Capability = 0x0204
	DownloadAudio      Capability = 0x0205
	DownloadVideo      Capability = 0x0206
	DownloadAttachment Capability = 0x0207
	SendLink           Capability = 0x0208
	SendLinkPreview    Capability = 0x0209
	FollowLink         Capability = 0x020a
	CopyLink           Capability = 0x020b
	// Metadata.
	ChangeRoomName        Capability = 0x0300
	ChangeRoomDescription Capability = 0x0301
	ChangeRoomAvatar      Capability = 0x0302
	ChangeRoomSubject     Capability = 0x0303
	ChangeRoomMood        Capability = 0x0304
	ChangeOwnName         Capability = 0x0380 // reserved
	ChangeOwnPresence     Capability = 0x0381 // reserved
	ChangeOwnMood         Capability = 0x0382 // reserved
	ChangeOwnAvatar       Capability = 0x0383 // reserved
	// Calls.
	StartCall        Capability = 0x0400
	JoinCall         Capability = 0x0401
	SendAudio        Capability = 0x0402
	ReceiveAudio     Capability = 0x0403
	SendVideo        Capability = 0x0404
	ReceiveVideo     Capability = 0x0405
	ShareScreen      Capability = 0x0406
	ViewSharedScreen Capability = 0x0407
	// The room itself.
	CreateRoom                  Capability = 0x0500 // reserved
	DestroyRoom                 Capability = 0x0501
	ChangeRoomMembershipStyle   Capability = 0x0502
	ChangeRoleDefinitions       Capability = 0x0503
	ChangePreauthorizedUserList Capability = 0x0504
	ChangeOtherPolicyAttribute  Capability = 0x0505 // reserved
	// MLS.
	ChangeMlsOperationalPolicies Capability = 0x0600 // reserved
	SendMLSReinitProposal        Capability = 0x0601
	SendMLSUpdateProposal        Capability = 0x0602 // reserved
	SendMLSPSKProposal           Capability = 0x0603 // reserved
	SendMLSExternalProposal      Capability = 0x0604 // reserved
	SendMLSExternalCommit        Capability = 0x0605 // reserved

	// ChangeHosting covers the components room_hosting, succession and outside; ours,
	// from the private range. In a room none of whose roles has it, DestroyRoom stands
	// for it: who may end a room may move it.
	ChangeHosting Capability = 0xf001
)

var capabilityNames = map[Capability]string{
	AddParticipant:               "canAddParticipant",
	RemoveParticipant:            "canRemoveParticipant",
	AddOwnClient:                 "canAddOwnClient",
	RemoveOwnClient:              "canRemoveOwnClient",
	OpenJoin:                     "canOpenJoin",
	JoinIfPreauthorized:          "canJoinIfPreauthorized",
	RemoveSelf:                   "canRemoveSelf",
	CreateJoinCode:               "canCreateJoinCode",
	DeleteJoinCode:               "canDeleteJoinCode",
	UseJoinCode:                  "canUseJoinCode",
	Ban:                          "canBan",
	Unban:                        "canUnBan",
	Kick:                         "canKick",
	Knock:                        "canKnock",
	AcceptKnock:                  "canAcceptKnock",
	ChangeUserRole:               "canChangeUserRole",
	ChangeOwnRole:                "canChangeOwnRole",
	CreateSubgroup:               "canCreateSubgroup",
	SendMessage:                  "canSendMessage",
	ReceiveMessage:               "canReceiveMessage",
	CopyMessage:                  "canCopyMessage",
	ReportAbuse:                  "canReportAbuse",
	ReplyToMessage:               "canReplyToMessage",
	ReactToMessage:               "canReactToMessage",
	EditReaction:                 "canEditReaction",
	DeleteOwnReaction:            "canDeleteOwnReaction",
	DeleteOtherReaction:          "canDeleteOtherReaction",
	EditOwnMessage:               "canEditOwnMessage",
	DeleteOwnMessage:             "canDeleteOwnMessage",
	DeleteOtherMessage:           "canDeleteOtherMessage",
	StartTopic:                   "canStartTopic",
	ReplyInTopic:                 "canReplyInTopic",
	EditOwnTopic:                 "canEditOwnTopic",
	EditOtherTopic:               "canEditOtherTopic",
	SendDirectMessage:            "canSendDirectMessage",
	TargetMessage:                "canTargetMessage",
	UploadImage:                  "canUploadImage",
	UploadAudio:                  "canUploadAudio",
	UploadVideo:                  "canUploadVideo",
	UploadAttachment:             "canUploadAttachment",
	DownloadImage:                "canDownloadImage",
	DownloadAudio:                "canDownloadAudio",
	DownloadVideo:                "canDownloadVideo",
	DownloadAttachment:           "canDownloadAttachment",
	SendLink:                     "canSendLink",
	SendLinkPreview:              "canSendLinkPreview",
	FollowLink:                   "canFollowLink",
	CopyLink:                     "canCopyLink",
	ChangeRoomName:               "canChangeRoomName",
	ChangeRoomDescription:        "canChangeRoomDescription",
	ChangeRoomAvatar:             "canChangeRoomAvatar",
	ChangeRoomSubject:            "canChangeRoomSubject",
	ChangeRoomMood:               "canChangeRoomMood",
	ChangeOwnName:                "canChangeOwnName",
	ChangeOwnPresence:            "canChangeOwnPresence",
	ChangeOwnMood:                "canChangeOwnMood",
	ChangeOwnAvatar:              "canChangeOwnAvatar",
	StartCall:                    "canStartCall",
	JoinCall:                     "canJoinCall",
	SendAudio:                    "canSendAudio",
	ReceiveAudio:                 "canReceiveAudio",
	SendVideo:                    "canSendVideo",
	ReceiveVideo:                 "canReceiveVideo",
	ShareScreen:                  "canShareScreen",
	ViewSharedScreen:             "canViewSharedScreen",
	CreateRoom:                   "canCreateRoom",
	DestroyRoom:                  "canDestroyRoom",
	ChangeRoomMembershipStyle:    "canChangeRoomMembershipStyle",
	ChangeRoleDefinitions:        "canChangeRoleDefinitions",
	ChangePreauthorizedUserList:  "canChangePreauthorizedUserList",
	ChangeOtherPolicyAttribute:   "canChangeOtherPolicyAttribute",
	ChangeMlsOperationalPolicies: "canChangeMlsOperationalPolicies",
	SendMLSReinitProposal:        "canSendMLSReinitProposal",
	SendMLSUpdateProposal:        "canSendMLSUpdateProposal",
	SendMLSPSKProposal:           "canSendMLSPSKProposal",
	SendMLSExternalProposal:      "canSendMLSExternalProposal",
	SendMLSExternalCommit:        "canSendMLSExternalCommit",
	ChangeHosting:                "canChangeHosting",
}

// String returns the capability's registered name.
func (c Capability) String() string {
	if n, ok := capabilityNames[c]; ok {
		return n
	}
	return fmt.Sprintf("capability %#04x", uint16(c))
}

// ParseCapability is the inverse of String for registered names. The draft writes
// canUnBan and canUnban; both are read.
func ParseCapability(s string) (Capability, error) {
	if s == "canUnban" {
		return Unban, nil
	}
	for c, n := range capabilityNames {
		if n == s {
			return c, nil
		}
	}
	return 0, fmt.Errorf("no capability is called %q", s)
}
