package wire

import (
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// GroupInfoRequest asks the hub for what an external commit needs
// (section 5.6):
//
//	struct {
//	    Protocol protocol;
//	    select (protocol) { case mls10:
//	        CipherSuite cipher_suite;
//	        SignaturePublicKey requestingSignatureKey;
//	        Credential requestingCredential;
//	        HPKEPublicKey groupInfoPublicKey;
//	        opaque joiningCode<V>;          /* empty: none */
//	        opaque signature<V>;
//	    };
//	} GroupInfoRequest;
//
// The signature is SignWithLabel(requestingSignatureKey, "GroupInfoRequestTBS",
// GroupInfoRequestTBS). GroupInfoRequestTBS has the fields before it, but
// writes the joining code as optional<opaque<V>>; there an empty one is absent.
type GroupInfoRequest struct {
	Suite        mls.CipherSuite
	SignatureKey []byte
	Credential   mls.Credential
	GroupInfoKey []byte
	JoiningCode  []byte
	Signature    []byte
}

func (m *GroupInfoRequest) read(r *reader) {
	r.protocol()
	m.Suite = mls.CipherSuite(r.U16())
	m.SignatureKey = r.short("requestingSignatureKey")
	m.Credential.Read(r.Reader, r.lim.Limits)
	m.GroupInfoKey = r.short("groupInfoPublicKey")
	m.JoiningCode = r.short("joiningCode")
	m.Signature = r.short("signature")
}

func (m *GroupInfoRequest) appendFront(b []byte) []byte {
	b = presentation.AppendU16(append(b, byte(MLS10)), uint16(m.Suite))
	b = m.Credential.Append(presentation.AppendOpaque(b, m.SignatureKey))
	return presentation.AppendOpaque(b, m.GroupInfoKey)
}

func (m *GroupInfoRequest) append(b []byte) []byte {
	b = presentation.AppendOpaque(m.appendFront(b), m.JoiningCode)
	return presentation.AppendOpaque(b, m.Signature)
}

// tbs is GroupInfoRequestTBS.
func (m *GroupInfoRequest) tbs() []byte {
	b := presentation.AppendOptional(m.appendFront(nil), len(m.JoiningCode) > 0)
	if len(m.JoiningCode) > 0 {
		b = presentation.AppendOpaque(b, m.JoiningCode)
	}
	return b
}

func (m *GroupInfoRequest) check() error { return checkCredential(&m.Credential) }

// ParseGroupInfoRequest reads a request body. The bytes are copied.
func ParseGroupInfoRequest(b []byte, lim Limits) (*GroupInfoRequest, error) {
	m := new(GroupInfoRequest)
	if err := parse(b, lim, "GroupInfoRequest", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the request.
func (m *GroupInfoRequest) Bytes() ([]byte, error) { return encode("GroupInfoRequest", m) }

const groupInfoRequestLabel = "GroupInfoRequestTBS"

// Sign sets the signature key and the signature. The key is one of Suite's.
func (m *GroupInfoRequest) Sign(key mls.SignatureKey) (err error) {
	m.SignatureKey = key.Public()
	if err := m.check(); err != nil {
		return fmt.Errorf("signing GroupInfoRequest: %w", err)
	}
	m.Signature, err = key.Sign(groupInfoRequestLabel, m.tbs())
	return err
}

// VerifiedGroupInfoRequest is a request that the holder of its credential
// signed. The draft binds it neither to a room nor to a time: the envelope
// around it does.
type VerifiedGroupInfoRequest struct{ m *GroupInfoRequest }

// Request returns the request, which must not be changed.
func (v *VerifiedGroupInfoRequest) Request() *GroupInfoRequest { return v.m }

// Verify checks the signature, and by auth that the credential is good for the
// signature key at the given time.
// Errors: ErrBadSignature, ErrUnsupported, or auth's.
func (m *GroupInfoRequest) Verify(auth mls.Authenticator, now time.Time) (*VerifiedGroupInfoRequest, error) {
	err := m.check()
	if err == nil {
		err = m.Suite.Verify(m.SignatureKey, groupInfoRequestLabel, m.tbs(), m.Signature)
	}
	if err == nil {
		err = auth.Authenticate(m.Credential, m.SignatureKey, now)
	}
	if err != nil {
		return nil, fmt.Errorf("verifying GroupInfoRequest: %w", err)
	}
	return &VerifiedGroupInfoRequest{m}, nil
}

// GroupInfoCode says what became of a GroupInfoRequest (one octet).
type GroupInfoCode uint8

// GroupInfo codes. Unlike elsewhere, success is not 0.
const (
	GroupInfoSuccess       GroupInfoCode = 1
	GroupInfoNotAuthorized GroupInfoCode = 2
	GroupInfoNoSuchRoom    GroupInfoCode = 3
)

var groupInfoNames = []string{"", "success", "notAuthorized", "noSuchRoom"}

func (c GroupInfoCode) String() string { return enumName(c, "GroupInfoCode", groupInfoNames) }

// GroupInfoLabel is the label of EncryptWithLabel that makes
// encrypted_groupinfo_and_tree of a GroupInfoRatchetTreeTBE, with the room id
// as its context.
const GroupInfoLabel = "GroupInfo and ratchet_tree encryption"

// GroupInfoResponse answers a GroupInfoRequest (section 5.6):
//
//	struct {
//	    Protocol version;
//	    opaque room_id<V>;
//	    GroupInfoCode status;
//	    select (status) {
//	        case success: select (protocol) { case mls10:
//	            CipherSuite cipher_suite;
//	            ExternalSender hub_sender;
//	            HPKECiphertext encrypted_groupinfo_and_tree;
//	            opaque signature<V>;
//	        };
//	        default: struct {};
//	    };
//	} GroupInfoResponse;
//
// The signature is SignWithLabel(hub_sender.signature_key,
// "GroupInfoResponseTBS", GroupInfoResponseTBS), the content being all fields
// before it. A failure has no signature; only the channel vouches for it.
type GroupInfoResponse struct {
	Room    IdentifierURI
	Status  GroupInfoCode
	Success *GroupInfoSuccessPart // with success, and nowhere else
}

// GroupInfoSuccessPart is what a successful GroupInfoResponse adds.
type GroupInfoSuccessPart struct {
	Suite     mls.CipherSuite
	HubSender mls.ExternalSender
	Encrypted mls.HPKECiphertext
	Signature []byte
}

func (m *GroupInfoResponse) read(r *reader) {
	r.protocol()
	m.Room = r.uri("room_id")
	m.Status = readEnum[GroupInfoCode](r, "GroupInfoCode", groupInfoNames)
	if m.Status != GroupInfoSuccess {
		return
	}
	s := new(GroupInfoSuccessPart)
	s.Suite = mls.CipherSuite(r.U16())
	s.HubSender.Read(r.Reader, r.lim.Limits)
	s.Encrypted.Read(r.Reader, r.lim.Limits)
	s.Signature = r.short("signature")
	m.Success = s
}

// tbs is GroupInfoResponseTBS, or the whole of a failure.
func (m *GroupInfoResponse) tbs(b []byte) []byte {
	b = append(appendURI(append(b, byte(MLS10)), m.Room), byte(m.Status))
	if s := m.Success; s != nil {
		b = presentation.AppendU16(b, uint16(s.Suite))
		b = s.Encrypted.Append(s.HubSender.Append(b))
	}
	return b
}

func (m *GroupInfoResponse) append(b []byte) []byte {
	b = m.tbs(b)
	if m.Success != nil {
		b = presentation.AppendOpaque(b, m.Success.Signature)
	}
	return b
}

func (m *GroupInfoResponse) check() error {
	if err := firstError(checkURI(m.Room, "room_id"),
		checkEnum(m.Status, "GroupInfoCode", groupInfoNames)); err != nil {
		return err
	}
	if (m.Success != nil) != (m.Status == GroupInfoSuccess) {
		return contradiction("%v with a GroupInfo: %t", m.Status, m.Success != nil)
	}
	if m.Success != nil {
		return checkCredential(&m.Success.HubSender.Credential)
	}
	return nil
}

// ParseGroupInfoResponse reads a response body. The bytes are copied.
func ParseGroupInfoResponse(b []byte, lim Limits) (*GroupInfoResponse, error) {
	m := new(GroupInfoResponse)
	if err := parse(b, lim, "GroupInfoResponse", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the response. Error: ErrCombination where success and the
// status disagree.
func (m *GroupInfoResponse) Bytes() ([]byte, error) { return encode("GroupInfoResponse", m) }

const groupInfoResponseLabel = "GroupInfoResponseTBS"

// Sign sets the hub's signature key and the signature of a success.
func (m *GroupInfoResponse) Sign(key mls.SignatureKey) (err error) {
	if m.Success != nil {
		m.Success.HubSender.SignatureKey = key.Public()
	}
	if err = m.check(); err == nil && m.Success == nil {
		err = contradiction("%v is not signed", m.Status)
	}
	if err != nil {
		return fmt.Errorf("signing GroupInfoResponse: %w", err)
	}
	m.Success.Signature, err = key.Sign(groupInfoResponseLabel, m.tbs(nil))
	return err
}

// VerifiedGroupInfoResponse is a success that the named hub signed. Whether it
// is this room's hub shows when the GroupInfo is decrypted: the GroupContext
// lists it in external_senders.
type VerifiedGroupInfoResponse struct{ m *GroupInfoResponse }

// Response returns the response, which must not be changed.
func (v *VerifiedGroupInfoResponse) Response() *GroupInfoResponse { return v.m }

// Verify checks that the response is a success for this room and suite, its
// signature, and by auth that the hub's credential is good for its key.
// Errors: ErrCombination for a failure, ErrWrongTarget for another room or
// suite, ErrBadSignature, ErrUnsupported, or auth's.
func (m *GroupInfoResponse) Verify(room IdentifierURI, suite mls.CipherSuite, auth mls.Authenticator, now time.Time) (*VerifiedGroupInfoResponse, error) {
	if err := m.verify(room, suite, auth, now); err != nil {
		return nil, fmt.Errorf("verifying GroupInfoResponse: %w", err)
	}
	return &VerifiedGroupInfoResponse{m}, nil
}

func (m *GroupInfoResponse) verify(room IdentifierURI, suite mls.CipherSuite, auth mls.Authenticator, now time.Time) error {
	if err := m.check(); err != nil {
		return err
	}
	s := m.Success
	switch {
	case m.Room != room:
		return fmt.Errorf("room %q, not %q: %w", m.Room, room, ErrWrongTarget)
	case s == nil:
		return contradiction("%v is not signed", m.Status)
	case s.Suite != suite:
		return fmt.Errorf("suite %v, not %v: %w", s.Suite, suite, ErrWrongTarget)
	}
	if err := s.Suite.Verify(s.HubSender.SignatureKey, groupInfoResponseLabel, m.tbs(nil), s.Signature); err != nil {
		return err
	}
	return auth.AuthenticateSender(s.HubSender.Credential, s.HubSender.SignatureKey, now)
}

// PendingProposal is a proposal that the hub holds for the present epoch
// (section 5.6):
//
//	struct { MLSMessage proposal; uint64 hub_accepted_time; } PendingProposal;
type PendingProposal struct {
	Proposal   *mls.Message
	AcceptedAt uint64 // ms since 1970
}

// GroupInfoRatchetTreeTBE is what a GroupInfoResponse encrypts (section 5.6):
//
//	struct {
//	    GroupInfo groupInfo;                     /* without ratchet_tree */
//	    RatchetTreeOption ratchetTreeOption;
//	    PendingProposal pending_proposals<V>;
//	} GroupInfoRatchetTreeTBE;
type GroupInfoRatchetTreeTBE struct {
	GroupInfo *mls.GroupInfo
	Tree      RatchetTreeOption
	Pending   []PendingProposal
}

func (m *GroupInfoRatchetTreeTBE) read(r *reader) {
	m.GroupInfo = new(mls.GroupInfo)
	m.GroupInfo.Read(r.Reader, r.lim.Limits)
	m.Tree.read(r)
	r.List(r.lim.PendingProposals, func() {
		m.Pending = append(m.Pending, PendingProposal{r.message(), r.U64()})
	})
}

func (m *GroupInfoRatchetTreeTBE) append(b []byte) []byte {
	b = m.Tree.append(m.GroupInfo.Append(b))
	return appendEach(b, m.Pending, func(b []byte, p PendingProposal) []byte {
		return presentation.AppendU64(p.Proposal.Append(b), p.AcceptedAt)
	})
}

func (m *GroupInfoRatchetTreeTBE) check() error {
	if m.GroupInfo == nil {
		return contradiction("no GroupInfo")
	}
	list := make([]*mls.Message, len(m.Pending))
	for i := range m.Pending {
		list[i] = m.Pending[i].Proposal
	}
	return firstError(checkNoTree(m.GroupInfo.Extensions, "GroupInfo"), m.Tree.check(),
		checkProposals(list, "pending_proposals"))
}

// ParseGroupInfoRatchetTreeTBE reads the decrypted content. The bytes are
// copied.
func ParseGroupInfoRatchetTreeTBE(b []byte, lim Limits) (*GroupInfoRatchetTreeTBE, error) {
	m := new(GroupInfoRatchetTreeTBE)
	if err := parse(b, lim, "GroupInfoRatchetTreeTBE", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the content, to be encrypted.
func (m *GroupInfoRatchetTreeTBE) Bytes() ([]byte, error) {
	return encode("GroupInfoRatchetTreeTBE", m)
}

// Seal encrypts the content to the groupInfoPublicKey of a request, as
// encrypted_groupinfo_and_tree of a response about the room.
// Errors: ErrCombination, and mls.ErrMalformed or mls.ErrUnsupported for a key
// that is none of the suite.
func (m *GroupInfoRatchetTreeTBE) Seal(suite mls.CipherSuite, publicKey []byte, room IdentifierURI) (mls.HPKECiphertext, error) {
	b, err := m.Bytes()
	if err != nil {
		return mls.HPKECiphertext{}, err
	}
	ct, err := suite.Encrypt(publicKey, GroupInfoLabel, []byte(room), b)
	if err != nil {
		return mls.HPKECiphertext{}, fmt.Errorf("sealing GroupInfo: %w", err)
	}
	return ct, nil
}

// Open decrypts what Seal made for the holder of key, and sets m to it.
// Errors: mls.ErrDecrypt for another key or room, and those of
// ParseGroupInfoRatchetTreeTBE.
func (m *GroupInfoRatchetTreeTBE) Open(key mls.HPKEKey, room IdentifierURI, ct mls.HPKECiphertext, lim Limits) error {
	b, err := key.Decrypt(GroupInfoLabel, []byte(room), ct)
	if err != nil {
		return fmt.Errorf("opening GroupInfo: %w", err)
	}
	got, err := ParseGroupInfoRatchetTreeTBE(b, lim)
	if err != nil {
		return fmt.Errorf("opening GroupInfo: %w", err)
	}
	*m = *got
	return nil
}
