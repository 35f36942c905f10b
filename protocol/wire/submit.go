package wire

import (
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// SubmitMessageRequest brings an application message to the hub (section 5.4):
//
//	struct {
//	    Protocol protocol;
//	    select (protocol) { case mls10:
//	        MLSMessage appMessage;        /* PrivateMessage, application */
//	        IdentifierUri sendingUri;
//	    };
//	} SubmitMessageRequest;
//
// SendingURI is the claim of the sender's provider.
type SubmitMessageRequest struct {
	Message    *mls.Message
	SendingURI IdentifierURI
}

func (m *SubmitMessageRequest) read(r *reader) {
	r.protocol()
	m.Message = r.message()
	m.SendingURI = r.uri("sendingUri")
}

func (m *SubmitMessageRequest) append(b []byte) []byte {
	return appendURI(m.Message.Append(append(b, byte(MLS10))), m.SendingURI)
}

func (m *SubmitMessageRequest) check() error {
	return firstError(checkApplication(m.Message, "appMessage"), checkURI(m.SendingURI, "sendingUri"))
}

// ParseSubmitMessageRequest reads a request body. The bytes are copied.
func ParseSubmitMessageRequest(b []byte, lim Limits) (*SubmitMessageRequest, error) {
	m := new(SubmitMessageRequest)
	if err := parse(b, lim, "SubmitMessageRequest", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the request.
func (m *SubmitMessageRequest) Bytes() ([]byte, error) { return encode("SubmitMessageRequest", m) }

// SubmitResponseCode says what became of a submitted message (one octet).
type SubmitResponseCode uint8

// Submit codes.
const (
	SubmitAccepted    SubmitResponseCode = 0 // elsewhere in the draft: success
	SubmitNotAllowed  SubmitResponseCode = 1
	SubmitEpochTooOld SubmitResponseCode = 2
)

var submitNames = []string{"accepted", "notAllowed", "epochTooOld"}

func (c SubmitResponseCode) String() string { return enumName(c, "SubmitResponseCode", submitNames) }

// SubmitMessageResponse answers a SubmitMessageRequest (section 5.4):
//
//	struct {
//	    Protocol protocol;
//	    select (protocol) { case mls10:
//	        SubmitResponseCode statusCode;
//	        select (statusCode) {
//	            case accepted:    uint64 accepted_timestamp; optional<Frank> frank;
//	            case epochTooOld: uint64 currentEpoch;
//	        };
//	    };
//	} SubmitMessageResponse;
//
// A field of another case is zero.
type SubmitMessageResponse struct {
	Code         SubmitResponseCode
	AcceptedAt   uint64 // ms since 1970
	Frank        *Frank
	CurrentEpoch uint64
}

func (m *SubmitMessageResponse) read(r *reader) {
	r.protocol()
	m.Code = readEnum[SubmitResponseCode](r, "SubmitResponseCode", submitNames)
	switch m.Code {
	case SubmitAccepted:
		m.AcceptedAt = r.U64()
		m.Frank = r.optionalFrank()
	case SubmitEpochTooOld:
		m.CurrentEpoch = r.U64()
	}
}

func (m *SubmitMessageResponse) append(b []byte) []byte {
	b = append(b, byte(MLS10), byte(m.Code))
	switch m.Code {
	case SubmitAccepted:
		return appendOptionalFrank(presentation.AppendU64(b, m.AcceptedAt), m.Frank)
	case SubmitEpochTooOld:
		return presentation.AppendU64(b, m.CurrentEpoch)
	}
	return b
}

func (m *SubmitMessageResponse) check() error {
	if err := checkEnum(m.Code, "SubmitResponseCode", submitNames); err != nil {
		return err
	}
	if (m.AcceptedAt != 0 || m.Frank != nil) && m.Code != SubmitAccepted ||
		m.CurrentEpoch != 0 && m.Code != SubmitEpochTooOld {
		return contradiction("%v with timestamp %d, frank %t, epoch %d",
			m.Code, m.AcceptedAt, m.Frank != nil, m.CurrentEpoch)
	}
	return nil
}

// ParseSubmitMessageResponse reads a response body. The bytes are copied.
func ParseSubmitMessageResponse(b []byte, lim Limits) (*SubmitMessageResponse, error) {
	m := new(SubmitMessageResponse)
	if err := parse(b, lim, "SubmitMessageResponse", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the response. Error: ErrCombination where a field does not go
// with the code.
func (m *SubmitMessageResponse) Bytes() ([]byte, error) { return encode("SubmitMessageResponse", m) }
