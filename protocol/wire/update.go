package wire

import (
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// RatchetTreeRepresentation says how a ratchet tree is conveyed (one octet).
type RatchetTreeRepresentation uint8

// Representations of a ratchet tree.
const (
	TreeFull                RatchetTreeRepresentation = 1
	TreeHTTPS               RatchetTreeRepresentation = 2
	TreeOutOfBand           RatchetTreeRepresentation = 3
	TreeDistributionService RatchetTreeRepresentation = 4
)

var treeNames = []string{"", "full", "httpsUri", "outOfBand", "distributionService"}

func (t RatchetTreeRepresentation) String() string {
	return enumName(t, "RatchetTreeRepresentation", treeNames)
}

// RatchetTreeOption conveys a ratchet tree, or says where it is
// (draft-mahy-mls-ratchet-tree-options-03 section 3):
//
//	struct {
//	    RatchetTreeRepresentation representation;
//	    select (representation) {
//	        case full:                Node ratchet_tree<V>;
//	        case httpsUri:            opaque ratchet_tree_url<V>; opaque tree_signature<V>;
//	        case outOfBand:           opaque tree_signature<V>;
//	        case distributionService: struct {};
//	    };
//	} RatchetTreeOption;
//
// What tree_signature covers is not defined. Nothing needs it: the tree hash
// in the GroupInfo authenticates a tree.
type RatchetTreeOption struct {
	Representation RatchetTreeRepresentation
	Tree           *mls.RatchetTree // full
	URL            string           // httpsUri
	Signature      []byte           // httpsUri, outOfBand
}

func (o *RatchetTreeOption) read(r *reader) {
	o.Representation = readEnum[RatchetTreeRepresentation](r, "RatchetTreeRepresentation", treeNames)
	if r.Err() != nil {
		return
	}
	switch o.Representation {
	case TreeFull:
		o.Tree = new(mls.RatchetTree)
		o.Tree.Read(r.Reader, r.lim.Limits)
	case TreeHTTPS:
		o.URL = string(r.bounded(r.lim.URI, "ratchet_tree_url"))
		o.Signature = r.short("tree_signature")
	case TreeOutOfBand:
		o.Signature = r.short("tree_signature")
	}
}

func (o *RatchetTreeOption) append(b []byte) []byte {
	b = append(b, byte(o.Representation))
	switch o.Representation {
	case TreeFull:
		return o.Tree.Append(b)
	case TreeHTTPS:
		return presentation.AppendOpaque(appendText(b, o.URL), o.Signature)
	case TreeOutOfBand:
		return presentation.AppendOpaque(b, o.Signature)
	}
	return b
}

func (o *RatchetTreeOption) check() error {
	p := o.Representation
	if err := checkEnum(p, "RatchetTreeRepresentation", treeNames); err != nil {
		return err
	}
	if (o.Tree != nil) != (p == TreeFull) || (o.URL != "") != (p == TreeHTTPS) ||
		len(o.Signature) > 0 && p != TreeHTTPS && p != TreeOutOfBand {
		return contradiction("ratchet tree %v with tree %t, URL %t, signature of %d bytes",
			p, o.Tree != nil, o.URL != "", len(o.Signature))
	}
	return nil
}

// RatchetTreePresence says where a group's GroupInfos have a tree (one octet).
type RatchetTreePresence uint8

// Presence of the ratchet_tree extension, in this epoch and the one before.
const (
	TreeInNeither RatchetTreePresence = 0 // no_ratchet_tree
	TreeInBoth    RatchetTreePresence = 1 // present
	TreeRemoved   RatchetTreePresence = 2
	TreeAdded     RatchetTreePresence = 3
)

var presenceNames = []string{"no_ratchet_tree", "present", "removed", "added"}

func (p RatchetTreePresence) String() string {
	return enumName(p, "RatchetTreePresence", presenceNames)
}

// PartialGroupInfo is what a hub cannot work out of a GroupInfo by itself
// (draft-mahy-mls-ratchet-tree-options-03 section 4):
//
//	struct {
//	    RatchetTreePresence ratchet_tree_presence;
//	    Extension group_info_extensions<V>;   /* without ratchet_tree */
//	    opaque signature<V>;
//	} PartialGroupInfo;
type PartialGroupInfo struct {
	Presence   RatchetTreePresence
	Extensions mls.Extensions
	Signature  []byte
}

func (p *PartialGroupInfo) read(r *reader) {
	p.Presence = readEnum[RatchetTreePresence](r, "RatchetTreePresence", presenceNames)
	p.Extensions.Read(r.Reader, r.lim.Limits)
	p.Signature = r.short("signature")
}

func (p *PartialGroupInfo) append(b []byte) []byte {
	b = p.Extensions.Append(append(b, byte(p.Presence)))
	return presentation.AppendOpaque(b, p.Signature)
}

func (p *PartialGroupInfo) check() error {
	return firstError(checkEnum(p.Presence, "RatchetTreePresence", presenceNames),
		checkNoTree(p.Extensions, "PartialGroupInfo"))
}

func checkNoTree(e mls.Extensions, what string) error {
	if _, ok := e.Get(mls.ExtRatchetTree); ok {
		return contradiction("%s with a ratchet_tree extension", what)
	}
	return nil
}

// GroupInfoOption conveys a GroupInfo whole or in part (section 5.3):
//
//	enum { reserved(0), full(1), partial(2), (255) } GroupInfoRepresentation;
//	struct {
//	    GroupInfoRepresentation representation;
//	    select (representation) {
//	        case full:    GroupInfo groupInfo;     /* without ratchet_tree */
//	        case partial: PartialGroupInfo partialGroupInfo;
//	    };
//	} GroupInfoOption;
//
// One of the two is set.
type GroupInfoOption struct {
	Full    *mls.GroupInfo
	Partial *PartialGroupInfo
}

const (
	groupInfoFull    = 1
	groupInfoPartial = 2
)

var representationNames = []string{"", "full", "partial"}

func (o *GroupInfoOption) read(r *reader) {
	switch readEnum[uint8](r, "GroupInfoRepresentation", representationNames) {
	case groupInfoFull:
		o.Full = new(mls.GroupInfo)
		o.Full.Read(r.Reader, r.lim.Limits)
	case groupInfoPartial:
		o.Partial = new(PartialGroupInfo)
		o.Partial.read(r)
	}
}

func (o *GroupInfoOption) append(b []byte) []byte {
	if o.Full != nil {
		return o.Full.Append(append(b, groupInfoFull))
	}
	return o.Partial.append(append(b, groupInfoPartial))
}

func (o *GroupInfoOption) check() error {
	if (o.Full != nil) == (o.Partial != nil) {
		return contradiction("GroupInfo full %t, partial %t", o.Full != nil, o.Partial != nil)
	}
	if o.Partial != nil {
		return o.Partial.check()
	}
	return checkNoTree(o.Full.Extensions, "GroupInfo")
}

// HandshakeBundle is a change of a room (section 5.3):
//
//	struct {
//	    MLSMessage proposalOrCommit;
//	    select (proposalOrCommit.content.content_type) {
//	        case commit:
//	            optional<Welcome> welcome;
//	            GroupInfoOption groupInfoOption;
//	            RatchetTreeOption ratchetTreeOption;
//	        case proposal:
//	            MLSMessage moreProposals<V>;
//	    };
//	} HandshakeBundle;
//
// All messages are PublicMessages. GroupInfo and Tree are set with a commit,
// and only there; a hub accepts or refuses all proposals of a bundle together.
type HandshakeBundle struct {
	Message       *mls.Message
	Welcome       *mls.Welcome
	GroupInfo     *GroupInfoOption
	Tree          *RatchetTreeOption
	MoreProposals []*mls.Message
}

func (h *HandshakeBundle) read(r *reader) {
	h.Message = r.message()
	if r.Err() != nil {
		return
	}
	p, err := handshake(h.Message, "proposalOrCommit")
	if err != nil {
		r.Fail(err, "HandshakeBundle")
		return
	}
	if p.ContentType() == mls.ContentProposal {
		h.MoreProposals = r.proposals()
		return
	}
	if r.Optional() {
		h.Welcome = new(mls.Welcome)
		h.Welcome.Read(r.Reader, r.lim.Limits)
	}
	h.GroupInfo, h.Tree = new(GroupInfoOption), new(RatchetTreeOption)
	h.GroupInfo.read(r)
	h.Tree.read(r)
}

func (h *HandshakeBundle) append(b []byte) []byte {
	b = h.Message.Append(b)
	if h.Message.Public.ContentType() == mls.ContentProposal {
		return appendEach(b, h.MoreProposals, appendMessage)
	}
	b = presentation.AppendOptional(b, h.Welcome != nil)
	if h.Welcome != nil {
		b = h.Welcome.Append(b)
	}
	return h.Tree.append(h.GroupInfo.append(b))
}

func (h *HandshakeBundle) check() error {
	p, err := handshake(h.Message, "proposalOrCommit")
	if err != nil {
		return err
	}
	if p.ContentType() == mls.ContentProposal {
		if h.Welcome != nil || h.GroupInfo != nil || h.Tree != nil {
			return contradiction("proposal with the Welcome, GroupInfo or tree of a commit")
		}
		return checkProposals(h.MoreProposals, "moreProposals")
	}
	if h.GroupInfo == nil || h.Tree == nil || len(h.MoreProposals) > 0 {
		return contradiction("commit with GroupInfo %t, tree %t, %d more proposals",
			h.GroupInfo != nil, h.Tree != nil, len(h.MoreProposals))
	}
	return firstError(h.GroupInfo.check(), h.Tree.check())
}

// UpdateRequest asks a hub to change a room (section 5.3):
//
//	struct { select (room.protocol) { case mls10: HandshakeBundle bundle; }; } UpdateRequest;
//
// The protocol is the room's and not in the bytes.
type UpdateRequest struct {
	Bundle HandshakeBundle
}

func (m *UpdateRequest) read(r *reader)         { m.Bundle.read(r) }
func (m *UpdateRequest) append(b []byte) []byte { return m.Bundle.append(b) }
func (m *UpdateRequest) check() error           { return m.Bundle.check() }

// ParseUpdateRequest reads a request body. The bytes are copied.
func ParseUpdateRequest(b []byte, lim Limits) (*UpdateRequest, error) {
	m := new(UpdateRequest)
	if err := parse(b, lim, "UpdateRequest", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the request.
func (m *UpdateRequest) Bytes() ([]byte, error) { return encode("UpdateRequest", m) }

// UpdateResponseCode says what became of an UpdateRequest (one octet).
type UpdateResponseCode uint8

// Update codes.
const (
	UpdateSuccess         UpdateResponseCode = 0
	UpdateWrongEpoch      UpdateResponseCode = 1
	UpdateNotAllowed      UpdateResponseCode = 2
	UpdateInvalidProposal UpdateResponseCode = 3
)

var updateNames = []string{"success", "wrongEpoch", "notAllowed", "invalidProposal"}

func (c UpdateResponseCode) String() string { return enumName(c, "UpdateResponseCode", updateNames) }

// UpdateRoomResponse answers an UpdateRequest (section 5.3):
//
//	struct {
//	    UpdateResponseCode responseCode;
//	    string errorDescription;               /* opaque<V>, UTF-8 */
//	    select (responseCode) {
//	        case success:         uint64 accepted_timestamp;  /* ms */
//	        case wrongEpoch:      uint64 currentEpoch;
//	        case invalidProposal: ProposalRef invalidProposals<V>;
//	    };
//	} UpdateRoomResponse;
//
// A field of another case is zero. The list may be empty: a proposal that
// stands in a commit by value has no reference.
type UpdateRoomResponse struct {
	Code             UpdateResponseCode
	Description      string
	AcceptedAt       uint64
	CurrentEpoch     uint64
	InvalidProposals [][]byte
}

func (m *UpdateRoomResponse) read(r *reader) {
	m.Code = readEnum[UpdateResponseCode](r, "UpdateResponseCode", updateNames)
	m.Description = r.text("errorDescription")
	switch m.Code {
	case UpdateSuccess:
		m.AcceptedAt = r.U64()
	case UpdateWrongEpoch:
		m.CurrentEpoch = r.U64()
	case UpdateInvalidProposal:
		r.List(r.lim.PendingProposals, func() {
			m.InvalidProposals = append(m.InvalidProposals, r.short("ProposalRef"))
		})
	}
}

func (m *UpdateRoomResponse) append(b []byte) []byte {
	b = appendText(append(b, byte(m.Code)), m.Description)
	switch m.Code {
	case UpdateSuccess:
		return presentation.AppendU64(b, m.AcceptedAt)
	case UpdateWrongEpoch:
		return presentation.AppendU64(b, m.CurrentEpoch)
	case UpdateInvalidProposal:
		return appendEach(b, m.InvalidProposals, presentation.AppendOpaque)
	}
	return b
}

func (m *UpdateRoomResponse) check() error {
	if err := firstError(checkEnum(m.Code, "UpdateResponseCode", updateNames),
		checkText(m.Description, "errorDescription")); err != nil {
		return err
	}
	if m.AcceptedAt != 0 && m.Code != UpdateSuccess || m.CurrentEpoch != 0 && m.Code != UpdateWrongEpoch ||
		len(m.InvalidProposals) > 0 && m.Code != UpdateInvalidProposal {
		return contradiction("%v with timestamp %d, epoch %d, %d invalid proposals",
			m.Code, m.AcceptedAt, m.CurrentEpoch, len(m.InvalidProposals))
	}
	return nil
}

// ParseUpdateRoomResponse reads a response body. The bytes are copied.
func ParseUpdateRoomResponse(b []byte, lim Limits) (*UpdateRoomResponse, error) {
	m := new(UpdateRoomResponse)
	if err := parse(b, lim, "UpdateRoomResponse", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the response. Error: ErrCombination where a field does not go
// with the code.
func (m *UpdateRoomResponse) Bytes() ([]byte, error) { return encode("UpdateRoomResponse", m) }
