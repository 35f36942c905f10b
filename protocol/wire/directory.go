package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// DirectoryPath is where a provider's directory is (section 5.1).
const DirectoryPath = "/.well-known/mimi-protocol-directory"

// Endpoint is one of MIMI's endpoints.
type Endpoint uint8

// Endpoints, in the order of the draft's directory.
const (
	EndpointKeyMaterial Endpoint = iota
	EndpointUpdate
	EndpointNotify
	EndpointSubmitMessage
	EndpointGroupInfo
	EndpointRequestConsent
	EndpointUpdateConsent
	EndpointIdentifierQuery
	EndpointReportAbuse
	EndpointProxyDownload
	endpointCount
)

type endpointText struct {
	name      string
	variables []string
}

// endpoints holds the names of the endpoints and of the variables that their
// templates may have; ours is the first.
var endpoints = [endpointCount]endpointText{
	{"keyMaterial", []string{"targetUser"}},
	{"update", []string{"roomId"}},
	{"notify", []string{"roomId"}},
	{"submitMessage", []string{"roomId"}},
	{"groupInfo", []string{"roomId"}},
	{"requestConsent", []string{"targetUser", "targetDomain"}},
	{"updateConsent", []string{"requesterUser", "requesterDomain"}},
	{"identifierQuery", []string{"domain"}},
	{"reportAbuse", []string{"roomId"}},
	{"proxyDownload", []string{"downloadUrl"}},
}

// String returns the endpoint's name in a directory, which is also the one in
// an Envelope.
func (e Endpoint) String() string {
	if e < endpointCount {
		return endpoints[e].name
	}
	return fmt.Sprintf("Endpoint(%d)", uint8(e))
}

// Directory says where a provider's endpoints are (section 5.1). It is a JSON
// object of URL templates, each https and with one variable after the host:
//
//	{"keyMaterial": "https://mimi.example.com/v1/keyMaterial/{targetUser}", ...}
//
// A provider need not have all endpoints. Members with other names are skipped,
// whatever they hold, since the draft does not say that there will be no more.
// Endpoints that stand twice or are not a string are refused. A Directory is
// immutable.
//
// Providers that run mimid add a member of their own, see Mimid:
//
//	"mimid": {"base": "https://mimi.example.com/v1", "record": "CiQ..."}
type Directory struct {
	templates [endpointCount]string // empty: not offered
	base      string                // of Mimid
	record    string                // of Mimid
}

// Mimid is what a directory says beyond MIMI, for other providers that run
// mimid.
type Mimid struct {
	// Base is the URL below which the endpoints lie that are not MIMI's:
	// Base/ENDPOINT/SUBJECT.
	Base string
	// Record is the provider record, as the provider signed it (package overlay
	// reads it); in JSON it is base64 with padding.
	Record []byte
}

const (
	mimidName = "mimid"
	// maxProviderRecord bounds Mimid.Record.
	maxProviderRecord = 4096
)

// NewDirectory lists endpoints, all if none is named, below a base URL such as
// "https://mimi.example.com/v1".
func NewDirectory(base string, offered ...Endpoint) (*Directory, error) {
	d := new(Directory)
	// Without a host, the first endpoint's name would become one.
	if u, err := url.Parse(base); err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("building directory: base %.80q has no host: %w", base, ErrMalformed)
	}
	for e := range endpointCount {
		if len(offered) > 0 && !slices.Contains(offered, e) {
			continue
		}
		x := &endpoints[e]
		d.templates[e] = strings.TrimSuffix(base, "/") + "/" + x.name + "/{" + x.variables[0] + "}"
		if _, err := checkTemplate(e, d.templates[e]); err != nil {
			return nil, fmt.Errorf("building directory: %w", err)
		}
	}
	return d, nil
}

// ParseDirectory reads a directory document.
func ParseDirectory(b []byte, lim Limits) (*Directory, error) {
	lim = lim.withDefaults()
	d := new(Directory)
	if err := d.parse(b, &lim); err != nil {
		return nil, fmt.Errorf("reading directory: %w", err)
	}
	return d, nil
}

func (d *Directory) parse(b []byte, lim *Limits) error {
	if len(b) > lim.DirectorySize {
		return fmt.Errorf("%d bytes (limit %d): %w", len(b), lim.DirectorySize, ErrTooLarge)
	}
	if !utf8.Valid(b) {
		return fmt.Errorf("not UTF-8: %w", ErrMalformed)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	token := func() (json.Token, error) {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return t, nil
	}
	t, err := token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return fmt.Errorf("not an object: %w", ErrMalformed)
	}
	for {
		key, err := token()
		if err != nil {
			return err
		}
		if key == json.Delim('}') {
			break
		}
		name, _ := key.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if err := d.member(name, value, lim); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("after the object: %w", ErrTrailing)
	}
	if d.templates == (Directory{}).templates {
		return fmt.Errorf("no endpoint: %w", ErrMalformed)
	}
	return nil
}

// member reads one member of the object. Names are compared as they are, not as
// package json compares them.
func (d *Directory) member(name string, value json.RawMessage, lim *Limits) error {
	if name == mimidName {
		return d.setMimid(value, lim)
	}
	if !slices.ContainsFunc(endpoints[:], func(x endpointText) bool { return x.name == name }) {
		return nil
	}
	if len(value) == 0 || value[0] != '"' {
		return fmt.Errorf("%.40q is not a string: %w", name, ErrMalformed)
	}
	var template string
	if err := json.Unmarshal(value, &template); err != nil {
		return fmt.Errorf("%.40q: %w: %w", name, ErrMalformed, err)
	}
	return d.set(name, template, lim)
}

func (d *Directory) setMimid(value json.RawMessage, lim *Limits) error {
	if d.base != "" {
		return fmt.Errorf("%s twice: %w", mimidName, ErrNonCanonical)
	}
	// Members that a later version adds are skipped here, too.
	var m struct {
		Base   string `json:"base"`
		Record []byte `json:"record"`
	}
	if err := json.Unmarshal(value, &m); err != nil {
		return fmt.Errorf("%s: %w: %w", mimidName, ErrMalformed, err)
	}
	switch {
	case len(m.Base) > lim.URI || len(m.Record) > maxProviderRecord:
		return fmt.Errorf("%s: base of %d bytes (limit %d), record of %d (limit %d): %w",
			mimidName, len(m.Base), lim.URI, len(m.Record), maxProviderRecord, ErrTooLarge)
	case len(m.Record) == 0:
		return fmt.Errorf("%s: no record: %w", mimidName, ErrMalformed)
	}
	if err := checkBase(m.Base); err != nil {
		return err
	}
	d.base, d.record = m.Base, string(m.Record)
	return nil
}

func checkBase(base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery ||
		strings.ContainsAny(base, "{}#") || strings.HasSuffix(base, "/") {
		return fmt.Errorf("%s: base %.80q is not https://host/path without a final slash: %w", mimidName, base, ErrMalformed)
	}
	for _, c := range []byte(base) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("%s: base %.80q is not printable ASCII: %w", mimidName, base, ErrMalformed)
		}
	}
	return nil
}

// Mimid returns what the directory says beyond MIMI, if it does.
func (d *Directory) Mimid() (m Mimid, ok bool) {
	return Mimid{Base: d.base, Record: []byte(d.record)}, d.base != ""
}

// WithMimid returns the directory with what it is to say beyond MIMI. Errors:
// ErrMalformed, ErrTooLarge.
func (d *Directory) WithMimid(m Mimid) (*Directory, error) {
	value, err := json.Marshal(struct {
		Base   string `json:"base"`
		Record []byte `json:"record"`
	}{m.Base, m.Record})
	if err != nil {
		return nil, fmt.Errorf("building directory: %w", err)
	}
	lim := Limits{}.withDefaults()
	out := &Directory{templates: d.templates}
	if err := out.setMimid(value, &lim); err != nil {
		return nil, fmt.Errorf("building directory: %w", err)
	}
	return out, nil
}

func (d *Directory) set(name, template string, lim *Limits) error {
	i := slices.IndexFunc(endpoints[:], func(x endpointText) bool { return x.name == name })
	switch {
	case i < 0:
		return fmt.Errorf("unknown endpoint %.40q: %w", name, ErrMalformed)
	case d.templates[i] != "":
		return fmt.Errorf("%s twice: %w", name, ErrNonCanonical)
	case len(template) > lim.URI:
		return fmt.Errorf("template for %s of %d bytes (limit %d): %w", name, len(template), lim.URI, ErrTooLarge)
	}
	if _, err := checkTemplate(Endpoint(i), template); err != nil {
		return err
	}
	d.templates[i] = template
	return nil
}

// checkTemplate returns the name of the template's variable.
func checkTemplate(e Endpoint, template string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("template for %v %s: %w", e, why, ErrMalformed)
	}
	for _, c := range []byte(template) {
		if c <= ' ' || c >= 0x7f {
			return bad("is not printable ASCII")
		}
	}
	before, rest, ok := strings.Cut(template, "{")
	name, after, closed := strings.Cut(rest, "}")
	if !ok || !closed || strings.ContainsAny(before+name+after, "{}") {
		return bad("has not one variable")
	}
	if !slices.Contains(endpoints[e].variables, name) {
		return bad(fmt.Sprintf("has variable %.40q", name))
	}
	u, err := url.Parse(before + "x" + after)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Contains(before+after, "#") {
		return bad("is not an https URL")
	}
	host, ok := strings.CutPrefix(before, "https://")
	if !ok || !strings.Contains(host, "/") {
		return bad("has its variable in the host")
	}
	return name, nil
}

// Template returns an endpoint's template, or "" if it is not offered.
func (d *Directory) Template(e Endpoint) string {
	if e >= endpointCount {
		return ""
	}
	return d.templates[e]
}

// Variable returns the name of the variable in an endpoint's template, which
// tells what the value is: consent endpoints may take a user or a domain.
func (d *Directory) Variable(e Endpoint) string {
	_, rest, _ := strings.Cut(d.Template(e), "{")
	name, _, _ := strings.Cut(rest, "}")
	return name
}

// URL returns the endpoint's URL for a value of its variable, with all but the
// unreserved characters (RFC 3986 section 2.3) percent-encoded; "" if the
// endpoint is not offered.
func (d *Directory) URL(e Endpoint, value string) string {
	before, rest, ok := strings.Cut(d.Template(e), "{")
	_, after, _ := strings.Cut(rest, "}")
	if !ok {
		return ""
	}
	var b strings.Builder
	b.WriteString(before)
	for _, c := range []byte(value) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	b.WriteString(after)
	return b.String()
}

// EndpointNamed finds an endpoint by its name.
func EndpointNamed(name string) (e Endpoint, ok bool) {
	i := slices.IndexFunc(endpoints[:], func(x endpointText) bool { return x.name == name })
	return Endpoint(max(i, 0)), i >= 0
}

// Bytes writes the directory document, endpoints in the draft's order.
func (d *Directory) Bytes() ([]byte, error) {
	b := []byte("{")
	for e := range endpointCount {
		if d.templates[e] == "" {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		// A checked template is printable ASCII; Marshal escapes what JSON must.
		v, err := json.Marshal(d.templates[e])
		if err != nil {
			return nil, fmt.Errorf("writing directory: %w", err)
		}
		b = append(fmt.Appendf(b, "\n  %q: ", endpoints[e].name), v...)
	}
	if len(b) == 1 {
		return nil, fmt.Errorf("writing directory: no endpoint: %w", ErrMalformed)
	}
	if d.base != "" {
		base, err := json.Marshal(d.base)
		if err != nil {
			return nil, fmt.Errorf("writing directory: %w", err)
		}
		b = fmt.Appendf(b, ",\n  %q: {\"base\": %s, \"record\": %q}", mimidName, base, base64.StdEncoding.EncodeToString([]byte(d.record)))
	}
	return append(b, "\n}\n"...), nil
}
