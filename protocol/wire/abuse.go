package wire

import (
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
