package mls

import (
	"fmt"
)

// WireFormat says what an MLSMessage holds (section 6).
type WireFormat uint16

// Wire formats.
const (
	WirePublicMessage  WireFormat = 1
	WirePrivateMessage WireFormat = 2
	WireWelcome        WireFormat = 3
	WireGroupInfo      WireFormat = 4
	WireKeyPackage     WireFormat = 5
)

// ContentType says what a framed message carries.
type ContentType uint8

// Content types.
const (
	ContentApplication ContentType = 1
	ContentProposal    ContentType = 2
	ContentCommit      ContentType = 3
)

func (c ContentType) String() string {
	switch c {
	case ContentApplication:
		return "application message"
	case ContentProposal:
		return "proposal"
	case ContentCommit:
		return "commit"
	}
	return fmt.Sprintf("ContentType(%d)", uint8(c))
}

// SenderType says in what role a message was sent.
type SenderType uint8

// Sender types.
const (
	SenderMember            SenderType = 1
	SenderExternal          SenderType = 2
	SenderNewMemberProposal SenderType = 3
	SenderNewMemberCommit   SenderType = 4
)

// Sender names a message's sender:
//
//	struct {
//	    SenderType sender_type;
//	    select (sender_type) {
//	        case member:   uint32 leaf_index;
//	        case external: uint32 sender_index;
//	        case new_member_commit: case new_member_proposal: struct{};
//	    };
//	} Sender;
type Sender struct {
	Type SenderType
	// Leaf is the member's leaf. Of a joiner by external commit it is zero.
	Leaf LeafIndex
	// External is the index in the external_senders extension.
	External uint32
}

func (s *Sender) read(r *reader) {
	switch s.Type = SenderType(r.U8()); s.Type {
	case SenderMember:
		s.Leaf = LeafIndex(r.U32())
	case SenderExternal:
		s.External = r.U32()
	case SenderNewMemberProposal, SenderNewMemberCommit:
	default:
		r.Fail(ErrMalformed, "sender type %d", s.Type)
	}
}

func (s *Sender) append(b []byte) []byte {
	b = append(b, byte(s.Type))
	switch s.Type {
	case SenderMember:
		return appendU32(b, uint32(s.Leaf))
	case SenderExternal:
		return appendU32(b, s.External)
	}
	return b
}

// framedContent is what is signed (section 6):
//
//	struct {
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    Sender sender;
//	    opaque authenticated_data<V>;
//	    ContentType content_type;
//	    select (content_type) {
//	        case application: opaque application_data<V>;
//	        case proposal:    Proposal proposal;
//	        case commit:      Commit commit;
//	    };
//	} FramedContent;
type framedContent struct {
	groupID  []byte
	epoch    uint64
	sender   Sender
	aad      []byte
	kind     ContentType
	data     []byte
	proposal *Proposal
	commit   *commit
}

func (c *framedContent) read(r *reader) {
	c.groupID = r.Opaque()
	c.epoch = r.U64()
	c.sender.read(r)
	c.aad = r.Opaque()
	c.kind = ContentType(r.U8())
	c.readBody(r)
}

func (c *framedContent) readBody(r *reader) {
	switch c.kind {
	case ContentApplication:
		c.data = r.Opaque()
	case ContentProposal:
		c.proposal = new(Proposal)
		c.proposal.read(r)
	case ContentCommit:
		c.commit = new(commit)
		c.commit.read(r)
	default:
		r.Fail(ErrMalformed, "content type %d", c.kind)
	}
}

func (c *framedContent) append(b []byte) []byte {
	b = appendU64(appendOpaque(b, c.groupID), c.epoch)
	b = c.sender.append(b)
	b = appendOpaque(b, c.aad)
	return c.appendBody(append(b, byte(c.kind)))
}

func (c *framedContent) appendBody(b []byte) []byte {
	switch c.kind {
	case ContentProposal:
		return c.proposal.append(b)
	case ContentCommit:
		return c.commit.append(b)
	}
	return appendOpaque(b, c.data)
}

// authContent is a FramedContent with its wire format, signature and, for a
// commit, confirmation tag:
//
//	struct { WireFormat wire_format; FramedContent content; FramedContentAuthData auth; } AuthenticatedContent;
//	struct {
//	    opaque signature<V>;  /* SignWithLabel(., "FramedContentTBS", FramedContentTBS) */
//	    select (content_type) { case commit: MAC confirmation_tag; };
//	} FramedContentAuthData;
type authContent struct {
	wire WireFormat
	framedContent
	signature []byte
	tag       []byte
}

func (a *authContent) readAuth(r *reader) {
	a.signature = r.Opaque()
	if a.kind == ContentCommit {
		a.tag = r.Opaque()
		if r.Err() == nil && len(a.tag) != hashSize {
			r.Fail(ErrMalformed, "confirmation tag of %d bytes", len(a.tag))
		}
	}
}

func (a *authContent) appendAuth(b []byte) []byte {
	b = appendOpaque(b, a.signature)
	if a.kind == ContentCommit {
		b = appendOpaque(b, a.tag)
	}
	return b
}

func (a *authContent) append(b []byte) []byte {
	b = a.framedContent.append(appendU16(b, uint16(a.wire)))
	return a.appendAuth(b)
}

const contentLabel = "FramedContentTBS"

// tbs is FramedContentTBS: {ProtocolVersion version = mls10; WireFormat
// wire_format; FramedContent content;} and, for members and joiners by commit,
// the GroupContext.
func (a *authContent) tbs(ctx *GroupContext) []byte {
	b := make([]byte, 0, 1024)
	b = appendU16(appendU16(b, uint16(MLS10)), uint16(a.wire))
	b = a.framedContent.append(b)
	if a.sender.Type == SenderMember || a.sender.Type == SenderNewMemberCommit {
		b = ctx.append(b)
	}
	return b
}

func (a *authContent) sign(key SignatureKey, ctx *GroupContext) (err error) {
	a.signature, err = key.sign(contentLabel, a.tbs(ctx))
	return err
}

// tbm is AuthenticatedContentTBM: FramedContentTBS and the auth data.
func (a *authContent) tbm(ctx *GroupContext) []byte { return a.appendAuth(a.tbs(ctx)) }

// ref is the ProposalRef of a proposal: RefHash over AuthenticatedContent.
func (a *authContent) ref() []byte {
	return refHash("MLS 1.0 Proposal Reference", a.append(nil))
}

// confirmedTranscript extends the interim transcript hash of the epoch before
// by this commit (section 8.2): Hash(interim || {wire_format, content,
// signature}).
func (a *authContent) confirmedTranscript(interim []byte) []byte {
	b := append(make([]byte, 0, 1024), interim...)
	b = a.framedContent.append(appendU16(b, uint16(a.wire)))
	return hash(appendOpaque(b, a.signature))
}

// interimTranscript is Hash(confirmed || {MAC confirmation_tag}).
func interimTranscript(confirmed, tag []byte) []byte {
	b := append(make([]byte, 0, 80), confirmed...)
	return hash(appendOpaque(b, tag))
}

// PublicMessage is a signed, unencrypted handshake message (section 6.2):
//
//	struct {
//	    FramedContent content;
//	    FramedContentAuthData auth;
//	    select (content.sender.sender_type) { case member: MAC membership_tag; };
//	} PublicMessage;
//
// It is unverified until Process took it.
type PublicMessage struct {
	auth          authContent
	membershipTag []byte
}

func (m *PublicMessage) read(r *reader) {
	m.auth.wire = WirePublicMessage
	m.auth.framedContent.read(r)
	m.auth.readAuth(r)
	if m.auth.sender.Type == SenderMember {
		m.membershipTag = r.Opaque()
	}
}

func (m *PublicMessage) append(b []byte) []byte {
	b = m.auth.framedContent.append(b)
	b = m.auth.appendAuth(b)
	if m.auth.sender.Type == SenderMember {
		b = appendOpaque(b, m.membershipTag)
	}
	return b
}

// GroupID returns the group that the message claims to be for.
func (m *PublicMessage) GroupID() []byte { return m.auth.groupID }

// Epoch returns the epoch that the message claims to be for.
func (m *PublicMessage) Epoch() uint64 { return m.auth.epoch }

// Sender returns the sender that the message claims.
func (m *PublicMessage) Sender() Sender { return m.auth.sender }

// ContentType says what the message carries.
func (m *PublicMessage) ContentType() ContentType { return m.auth.kind }

// CommitLeaf returns the leaf that a commit's path gives its committer, nil for a message without
// one. Like all here it is what the message claims: nothing is verified. It must not be changed.
func (m *PublicMessage) CommitLeaf() *LeafNode {
	if m.auth.kind != ContentCommit || m.auth.commit == nil || m.auth.commit.path == nil {
		return nil
	}
	return &m.auth.commit.path.leaf
}

// ProposalRef returns the reference by which a commit takes up the proposal that the message
// is, and nil if it is none.
func (m *PublicMessage) ProposalRef() []byte {
	if m.auth.kind != ContentProposal {
		return nil
	}
	return m.auth.ref()
}

// AAD returns the message's authenticated data.
func (m *PublicMessage) AAD() []byte { return m.auth.aad }

// PrivateMessage is an encrypted message (section 6.3):
//
//	struct {
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    ContentType content_type;
//	    opaque authenticated_data<V>;
//	    opaque encrypted_sender_data<V>;
//	    opaque ciphertext<V>;
//	} PrivateMessage;
type PrivateMessage struct {
	groupID    []byte
	epoch      uint64
	kind       ContentType
	aad        []byte
	senderData []byte
	ciphertext []byte
}

func (m *PrivateMessage) read(r *reader) {
	m.groupID = r.Opaque()
	m.epoch = r.U64()
	m.kind = ContentType(r.U8())
	if r.Err() == nil && (m.kind < ContentApplication || m.kind > ContentCommit) {
		r.Fail(ErrMalformed, "content type %d", m.kind)
	}
	m.aad = r.Opaque()
	m.senderData = r.Opaque()
	m.ciphertext = r.Opaque()
}

func (m *PrivateMessage) append(b []byte) []byte {
	b = appendU64(appendOpaque(b, m.groupID), m.epoch)
	b = appendOpaque(append(b, byte(m.kind)), m.aad)
	return appendOpaque(appendOpaque(b, m.senderData), m.ciphertext)
}

// GroupID returns the group that the message claims to be for.
func (m *PrivateMessage) GroupID() []byte { return m.groupID }

// Epoch returns the epoch that the message claims to be for.
func (m *PrivateMessage) Epoch() uint64 { return m.epoch }

// ContentType says what the message carries.
func (m *PrivateMessage) ContentType() ContentType { return m.kind }

// AAD returns the message's authenticated data.
func (m *PrivateMessage) AAD() []byte { return m.aad }

// Message is an MLSMessage; one field beside Wire is set:
//
//	struct {
//	    ProtocolVersion version = mls10;
//	    WireFormat wire_format;
//	    select (wire_format) {
//	        case mls_public_message:  PublicMessage;
//	        case mls_private_message: PrivateMessage;
//	        case mls_welcome:         Welcome;
//	        case mls_group_info:      GroupInfo;
//	        case mls_key_package:     KeyPackage;
//	    };
//	} MLSMessage;
type Message struct {
	Wire       WireFormat
	Public     *PublicMessage
	Private    *PrivateMessage
	Welcome    *Welcome
	GroupInfo  *GroupInfo
	KeyPackage *KeyPackage
}

func (m *Message) read(r *reader) {
	if v := ProtocolVersion(r.U16()); v != MLS10 && r.Err() == nil {
		r.Fail(ErrUnsupported, "MLSMessage of version %d", v)
	}
	switch m.Wire = WireFormat(r.U16()); m.Wire {
	case WirePublicMessage:
		m.Public = new(PublicMessage)
		m.Public.read(r)
	case WirePrivateMessage:
		m.Private = new(PrivateMessage)
		m.Private.read(r)
	case WireWelcome:
		m.Welcome = new(Welcome)
		m.Welcome.read(r)
	case WireGroupInfo:
		m.GroupInfo = new(GroupInfo)
		m.GroupInfo.read(r)
	case WireKeyPackage:
		m.KeyPackage = new(KeyPackage)
		m.KeyPackage.read(r)
	default:
		r.Fail(ErrUnsupported, "wire format %d", m.Wire)
	}
}

func (m *Message) append(b []byte) []byte {
	b = appendU16(appendU16(b, uint16(MLS10)), uint16(m.Wire))
	switch {
	case m.Public != nil:
		return m.Public.append(b)
	case m.Private != nil:
		return m.Private.append(b)
	case m.Welcome != nil:
		return m.Welcome.append(b)
	case m.GroupInfo != nil:
		return m.GroupInfo.append(b)
	case m.KeyPackage != nil:
		return m.KeyPackage.append(b)
	}
	return b
}

// ParseMessage reads an MLSMessage. The bytes are copied.
func ParseMessage(b []byte, lim Limits) (*Message, error) {
	m := new(Message)
	if err := parse(b, lim, "MLSMessage", m.read); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the message.
func (m *Message) Bytes() []byte { return m.append(nil) }

// Message wraps the KeyPackage for the wire.
func (k *KeyPackage) Message() *Message { return &Message{Wire: WireKeyPackage, KeyPackage: k} }

// Message wraps the GroupInfo for the wire.
func (g *GroupInfo) Message() *Message { return &Message{Wire: WireGroupInfo, GroupInfo: g} }

// Message wraps the Welcome for the wire.
func (w *Welcome) Message() *Message { return &Message{Wire: WireWelcome, Welcome: w} }

// Message wraps the PublicMessage for the wire.
func (m *PublicMessage) Message() *Message { return &Message{Wire: WirePublicMessage, Public: m} }

// Message wraps the PrivateMessage for the wire.
func (m *PrivateMessage) Message() *Message { return &Message{Wire: WirePrivateMessage, Private: m} }
