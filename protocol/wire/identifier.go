package wire

import (
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// SearchIdentifierType says what a QueryElement compares (one octet).
type SearchIdentifierType uint8

// Search types.
const (
	SearchHandle       SearchIdentifierType = 1
	SearchNick         SearchIdentifierType = 2
	SearchEmail        SearchIdentifierType = 3
	SearchPhone        SearchIdentifierType = 4
	SearchPartialName  SearchIdentifierType = 5
	SearchWholeProfile SearchIdentifierType = 6
	SearchOIDCStdClaim SearchIdentifierType = 7
	SearchVCardField   SearchIdentifierType = 8
)

var searchNames = []string{"", "handle", "nick", "email", "phone", "partialName", "wholeProfile",
	"oidcStdClaim", "vcardField"}

func (t SearchIdentifierType) String() string {
	return enumName(t, "SearchIdentifierType", searchNames)
}

func (t SearchIdentifierType) named() bool { return t == SearchOIDCStdClaim || t == SearchVCardField }

// QueryElement is one condition (section 5.8):
//
//	struct {
//	    SearchIdentifierType searchType;
//	    select (searchType) {
//	        case oidcStdClaim: opaque claimName<V>;
//	        case vcardField:   opaque propertyName<V>;
//	    };
//	    opaque searchValue<V>;              /* UTF-8 */
//	} QueryElement;
//
// Field is the claim's or property's name, with the last two types only.
type QueryElement struct {
	Type  SearchIdentifierType
	Field string
	Value string
}

func (q *QueryElement) read(r *reader) {
	q.Type = readEnum[SearchIdentifierType](r, "SearchIdentifierType", searchNames)
	if q.Type.named() {
		q.Field = r.text("name of a field")
	}
	q.Value = r.text("searchValue")
}

func (q *QueryElement) append(b []byte) []byte {
	b = append(b, byte(q.Type))
	if q.Type.named() {
		b = appendText(b, q.Field)
	}
	return appendText(b, q.Value)
}

func (q *QueryElement) check() error {
	if err := checkEnum(q.Type, "SearchIdentifierType", searchNames); err != nil {
		return err
	}
	if (q.Field != "") != q.Type.named() {
		return contradiction("search by %v with field %q", q.Type, q.Field)
	}
	return checkText(q.Value, "searchValue")
}

// IdentifierRequest looks for users (section 5.8):
//
//	struct {
//	    QueryElement query_elements<V>;           /* at least one; all must match */
//	    AppDataDictionary id_request_extensions;
//	} IdentifierRequest;
type IdentifierRequest struct {
	Elements   []QueryElement
	Extensions mls.Dictionary
}

func (m *IdentifierRequest) read(r *reader) {
	r.List(r.lim.QueryElements, func() {
		var q QueryElement
		q.read(r)
		m.Elements = append(m.Elements, q)
	})
	m.Extensions = r.dictionary()
}

func (m *IdentifierRequest) append(b []byte) []byte {
	b = appendEach(b, m.Elements, func(b []byte, q QueryElement) []byte { return q.append(b) })
	return m.Extensions.Append(b)
}

func (m *IdentifierRequest) check() error {
	if len(m.Elements) == 0 {
		return fmt.Errorf("no query element, which everybody would match: %w", ErrMalformed)
	}
	for i := range m.Elements {
		if err := m.Elements[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// ParseIdentifierRequest reads a request body. The bytes are copied.
func ParseIdentifierRequest(b []byte, lim Limits) (*IdentifierRequest, error) {
	m := new(IdentifierRequest)
	if err := parse(b, lim, "IdentifierRequest", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the request.
func (m *IdentifierRequest) Bytes() ([]byte, error) { return encode("IdentifierRequest", m) }

// IdentifierQueryCode says what became of an IdentifierRequest (one octet).
type IdentifierQueryCode uint8

// Query codes.
const (
	QuerySuccess          IdentifierQueryCode = 0
	QueryNotFound         IdentifierQueryCode = 1
	QueryAmbiguous        IdentifierQueryCode = 2
	QueryForbidden        IdentifierQueryCode = 3
	QueryUnsupportedField IdentifierQueryCode = 4
)

var queryNames = []string{"success", "notFound", "ambiguous", "forbidden", "unsupportedField"}

func (c IdentifierQueryCode) String() string { return enumName(c, "IdentifierQueryCode", queryNames) }

// FieldSource says whose name a profile field has (one octet).
type FieldSource uint8

// Sources of field names.
const (
	FieldOIDCStdClaim FieldSource = 7
	FieldVCard        FieldSource = 8
)

var fieldNames = []string{"", "", "", "", "", "", "", "oidcStdClaim", "vcardField"}

func (s FieldSource) String() string { return enumName(s, "FieldSource", fieldNames) }

// ProfileField is one field of a found user (section 5.8):
//
//	struct {
//	    FieldSource fieldSource;
//	    string fieldName;              /* opaque<V>, UTF-8, not empty */
//	    opaque fieldValue<V>;
//	} ProfileField;
type ProfileField struct {
	Source FieldSource
	Name   string
	Value  []byte
}

func (f *ProfileField) read(r *reader) {
	f.Source = readEnum[FieldSource](r, "FieldSource", fieldNames)
	f.Name = r.text("fieldName")
	f.Value = r.short("fieldValue")
}

func (f *ProfileField) append(b []byte) []byte {
	return presentation.AppendOpaque(appendText(append(b, byte(f.Source)), f.Name), f.Value)
}

func (f *ProfileField) check() error {
	if f.Name == "" {
		return fmt.Errorf("empty fieldName: %w", ErrMalformed)
	}
	return firstError(checkEnum(f.Source, "FieldSource", fieldNames), checkText(f.Name, "fieldName"))
}

// UserProfile is a found user (section 5.8):
//
//	struct { IdentifierUri stableUri; ProfileField fields<V>; } UserProfile;
type UserProfile struct {
	StableURI IdentifierURI
	Fields    []ProfileField
}

func (p *UserProfile) read(r *reader) {
	p.StableURI = r.uri("stableUri")
	r.List(r.lim.ProfileFields, func() {
		var f ProfileField
		f.read(r)
		p.Fields = append(p.Fields, f)
	})
}

func (p *UserProfile) append(b []byte) []byte {
	return appendEach(appendURI(b, p.StableURI), p.Fields,
		func(b []byte, f ProfileField) []byte { return f.append(b) })
}

func (p *UserProfile) check() error {
	for i := range p.Fields {
		if err := p.Fields[i].check(); err != nil {
			return err
		}
	}
	return checkURI(p.StableURI, "stableUri")
}

// IdentifierResponse answers an IdentifierRequest (section 5.8):
//
//	struct {
//	    IdentifierQueryCode responseCode;
//	    IdentifierUri uri<V>;
//	    UserProfile foundProfiles<V>;
//	    AppDataDictionary id_response_extensions;
//	} IdentifierResponse;
//
// success has a URI or a profile, any other code has neither.
type IdentifierResponse struct {
	Code       IdentifierQueryCode
	URIs       []IdentifierURI
	Profiles   []UserProfile
	Extensions mls.Dictionary
}

func (m *IdentifierResponse) read(r *reader) {
	m.Code = readEnum[IdentifierQueryCode](r, "IdentifierQueryCode", queryNames)
	r.List(r.lim.Profiles, func() { m.URIs = append(m.URIs, r.uri("uri")) })
	r.List(r.lim.Profiles, func() {
		var p UserProfile
		p.read(r)
		m.Profiles = append(m.Profiles, p)
	})
	m.Extensions = r.dictionary()
}

func (m *IdentifierResponse) append(b []byte) []byte {
	b = appendEach(append(b, byte(m.Code)), m.URIs, appendURI)
	b = appendEach(b, m.Profiles, func(b []byte, p UserProfile) []byte { return p.append(b) })
	return m.Extensions.Append(b)
}

func (m *IdentifierResponse) check() error {
	if err := checkEnum(m.Code, "IdentifierQueryCode", queryNames); err != nil {
		return err
	}
	if found := len(m.URIs) + len(m.Profiles); (found > 0) != (m.Code == QuerySuccess) {
		return contradiction("%v with %d URIs and %d profiles", m.Code, len(m.URIs), len(m.Profiles))
	}
	for _, u := range m.URIs {
		if err := checkURI(u, "uri"); err != nil {
			return err
		}
	}
	for i := range m.Profiles {
		if err := m.Profiles[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// ParseIdentifierResponse reads a response body. The bytes are copied.
func ParseIdentifierResponse(b []byte, lim Limits) (*IdentifierResponse, error) {
	m := new(IdentifierResponse)
	if err := parse(b, lim, "IdentifierResponse", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the response. Error: ErrCombination where what was found does
// not go with the code.
func (m *IdentifierResponse) Bytes() ([]byte, error) { return encode("IdentifierResponse", m) }
