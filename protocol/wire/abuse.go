package wire

import (
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// AbuseType is the kind of an abuse (one octet). The draft has no values yet:
//
//	enum { reserved(0), (255) } AbuseType;
type AbuseType uint8

// AbuseUnspecified is reserved(0), the only octet that can stand there.
const AbuseUnspecified AbuseType = 0

var abuseNames = []string{"reserved"}

func (t AbuseType) String() string { return enumName(t, "AbuseType", abuseNames) }

// AbusiveMessage is one message of an AbuseReport (section 5.9):
//
//	struct {
//	    opaque message_content<V>;
//	    Frank frank;
//	    uint64 accepted_timestamp;         /* ms */
//	} AbusiveMessage;
type AbusiveMessage struct {
	Content    []byte
	Frank      Frank
	AcceptedAt uint64
}

func (m *AbusiveMessage) read(r *reader) {
	m.Content = r.Opaque() // bounded by the report
	m.Frank.read(r)
	m.AcceptedAt = r.U64()
}

func (m *AbusiveMessage) append(b []byte) []byte {
	return presentation.AppendU64(m.Frank.append(presentation.AppendOpaque(b, m.Content)), m.AcceptedAt)
}

// AbuseReport tells a hub about a user (section 5.9):
//
//	struct {
//	    IdentifierUri reportingUser;       /* may be empty */
//	    IdentifierUri allegedAbuserUri;
//	    AbuseType reasonCode;
//	    opaque note<V>;                    /* UTF-8 */
//	    AbusiveMessage messages<V>;
//	    AppDataDictionary abuse_extensions;
//	} AbuseReport;
type AbuseReport struct {
	Reporter   IdentifierURI
	Abuser     IdentifierURI
	Reason     AbuseType
	Note       string
	Messages   []AbusiveMessage
	Extensions mls.Dictionary
}

// ComponentFrankBlinds is, among the extensions of a report, what the signatures of its
// messages' franks hide the sender with (see Blind), one after another: whoever did not
// make a frank itself needs it to verify it. Private to this implementation; a report
// without it is of plain MIMI's franks.
//
//	opaque blinds[16 * number of messages];
const ComponentFrankBlinds mls.ComponentID = 0x8010

// SetBlinds puts blinds into the extensions, one for each message.
func (m *AbuseReport) SetBlinds(blinds []Blind) {
	var b []byte
	for _, x := range blinds {
		b = append(b, x[:]...)
	}
	if m.Extensions == nil {
		m.Extensions = mls.Dictionary{}
	}
	m.Extensions[ComponentFrankBlinds] = b
}

// Blinds returns one for each message, zero where there is none. Error: ErrMalformed.
func (m *AbuseReport) Blinds() ([]Blind, error) {
	out := make([]Blind, len(m.Messages))
	b, ok := m.Extensions[ComponentFrankBlinds]
	if ok && len(b) != len(out)*len(Blind{}) {
		return nil, fmt.Errorf("%d octets of blinds for %d messages: %w", len(b), len(out), ErrMalformed)
	}
	for i := range out {
		b = b[copy(out[i][:], b):]
	}
	return out, nil
}

func (m *AbuseReport) read(r *reader) {
	m.Reporter = r.uri("reportingUser")
	m.Abuser = r.uri("allegedAbuserUri")
	m.Reason = readEnum[AbuseType](r, "AbuseType", abuseNames)
	m.Note = r.text("note")
	r.List(r.lim.AbusiveMessages, func() {
		var x AbusiveMessage
		x.read(r)
		m.Messages = append(m.Messages, x)
	})
	m.Extensions = r.dictionary()
}

func (m *AbuseReport) append(b []byte) []byte {
	b = appendURI(appendURI(b, m.Reporter), m.Abuser)
	b = appendText(append(b, byte(m.Reason)), m.Note)
	b = appendEach(b, m.Messages, func(b []byte, x AbusiveMessage) []byte { return x.append(b) })
	return m.Extensions.Append(b)
}

func (m *AbuseReport) check() error {
	return firstError(checkURI(m.Abuser, "allegedAbuserUri"),
		checkEnum(m.Reason, "AbuseType", abuseNames), checkText(m.Note, "note"))
}

// ParseAbuseReport reads a request body. The bytes are copied.
func ParseAbuseReport(b []byte, lim Limits) (*AbuseReport, error) {
	m := new(AbuseReport)
	if err := parse(b, lim, "AbuseReport", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the report.
func (m *AbuseReport) Bytes() ([]byte, error) { return encode("AbuseReport", m) }
