package policy_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/protocol/policy"
)

// component is what all policy components have.
type component interface {
	Append([]byte) []byte
	Check() error
}

// parsers are the codecs, by name.
var parsers = map[string]func([]byte) (component, error){
	"base":        func(b []byte) (component, error) { return policy.ParseBase(b) },
	"status":      func(b []byte) (component, error) { return policy.ParseStatus(b) },
	"expiration":  func(b []byte) (component, error) { return policy.ParseExpiration(b) },
	"assets":      func(b []byte) (component, error) { return policy.ParseAssets(b) },
	"preauth":     func(b []byte) (component, error) { return policy.ParsePreauth(b) },
	"operational": func(b []byte) (component, error) { return policy.ParseOperational(b) },
	"metadata":    func(b []byte) (component, error) { return policy.ParseMetadata(b) },
}

var parserNames = []string{"base", "status", "expiration", "assets", "preauth", "operational", "metadata"}

var png = policy.MediaType{Type: "image/png"}

// written are components with their encodings. These were written by hand from the draft's
// layouts: no vectors by others are known.
var written = []struct {
	codec string
	v     component
	hex   string
}{
	{"base", policy.DefaultBase(), "00 00 00 01 00 00 00 01 00 00"},
	{"base", &policy.Base{Fixed: true, Parent: "mimi://a/r/b", MaxClients: policy.AtMost(5), MaxUsers: policy.AtMost(258), Pseudonyms: true, Discoverable: true, Components: []uint16{0x25, 0x26}},
		"01 01 0d0c 6d696d693a2f2f612f722f62 00 01 00000005 01 00000102 01 00 01 04 0025 0026"},
	{"status", &policy.Status{Delivery: policy.Required, Read: policy.Forbidden}, "01 02"},
	{"expiration", &policy.Expiration{Expiring: policy.Forbidden}, "02"},
	{"expiration", &policy.Expiration{Expiring: policy.Required, Min: 1, Max: 60, Default: policy.AtMost(30)}, "01 00000001 0000003c 01 0000001e"},
	{"expiration", &policy.Expiration{Max: 60}, "00 00000000 0000003c 00"},
	{"assets", &policy.Assets{Upload: policy.UploadLocal, Domains: []policy.UploadDomains{{"a", []string{"b", "c"}}},
		Allowed: []policy.Download{policy.DownloadProxy}, Refused: []policy.Download{policy.DownloadDirect}, Default: policy.DownloadProxy,
		MaxImage: 1, MaxAudio: 2, MaxVideo: 3, MaxAttached: 4, Forbidden: []policy.MediaType{{"a/b", []policy.Parameter{{"c", "d"}}}},
		Permitted: []policy.MediaType{png}, PermitSet: true},
		"01 07 01 61 04 01 62 01 63 01 01 01 00 01 0000000000000001 0000000000000002 0000000000000003 0000000000000004" +
			"09 03 612f62 04 01 63 01 64 01 0b 09 696d6167652f706e67 00"},
	{"preauth", &policy.Preauth{Entries: []policy.Preauthorized{{[]policy.Claim{{policy.CredentialX509, []byte{6, 3, 0x55, 0x1d, 0x11}, []byte("x")}}, 4}}},
		"0f 0a 0002 05 0603551d11 01 78 00000004"},
	{"metadata", &policy.Metadata{URI: "mimi://a/r/b", Name: "n", Descriptions: []policy.Description{{"", "en", "d"}}, Avatar: "https://a", Subject: "s", Mood: "m"},
		"0c 6d696d693a2f2f612f722f62 01 6e 06 00 02 656e 01 64 09 68747470733a2f2f61 01 73 01 6d"},
	{"operational", &policy.Operational{Mandatory: policy.Extended{Suites: []uint16{1}}, ExternalCommits: true, Pending: policy.PendingDelayed, MinDelay: 1, MaxDelay: 2, MaxSkip: 7},
		"00 02 0001 00 00 00 00 00 00 00 00" + strings.Repeat("00", 20) + "00 00 01 02 0000000000000001 0000000000000002" +
			strings.Repeat("00", 24) + "00 0000 00000007" + strings.Repeat("00", 24) + strings.Repeat("00", 24) + "00000000" + strings.Repeat("00", 24) + "00000000"},
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestComponentsAreWrittenAsTheDraftHasThem: field by field, and read back.
func TestComponentsAreWrittenAsTheDraftHasThem(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range written {
		seen[w.codec] = true
		if err := w.v.Check(); err != nil {
			t.Errorf("%s %+v: %v", w.codec, w.v, err)
		}
		want := unhex(t, w.hex)
		if got := w.v.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s is written\n%x, expected\n%x", w.codec, got, want)
		}
		got, err := parsers[w.codec](want)
		if err != nil {
			t.Errorf("%s: %v", w.codec, err)
		} else if d := cmp.Diff(w.v, got); d != "" {
			t.Errorf("%s is read otherwise: %s", w.codec, d)
		}
		for i := range want {
			if _, err := parsers[w.codec](want[:i]); !errors.Is(err, policy.ErrComponent) {
				t.Errorf("%s cut off after %d octets: %v", w.codec, i, err)
			}
		}
		if _, err := parsers[w.codec](append(want, 0)); !errors.Is(err, policy.ErrComponent) {
			t.Errorf("%s with an octet too many: %v", w.codec, err)
		}
	}
	for _, n := range parserNames {
		if !seen[n] {
			t.Errorf("no encoding of %s", n)
		}
	}
}

// TestComponentsThatContradictThemselves are neither written nor read.
func TestComponentsThatContradictThemselves(t *testing.T) {
	claim := policy.Claim{2, []byte{1}, []byte{2}}
	for name, v := range map[string]component{
		"base of nobody":         &policy.Base{MaxUsers: policy.AtMost(0)},
		"base of no device":      &policy.Base{MaxClients: policy.AtMost(0)},
		"base twice":             &policy.Base{Components: []uint16{3, 3}},
		"base out of order":      &policy.Base{Components: []uint16{4, 3}},
		"base with a space":      &policy.Base{Parent: "mimi://a/ b"},
		"status 3":               &policy.Status{Read: 3},
		"expiration backwards":   &policy.Expiration{Min: 2, Max: 1},
		"expiration never":       &policy.Expiration{Max: 0},
		"expiration default":     &policy.Expiration{Min: 2, Max: 5, Default: policy.AtMost(6)},
		"assets both":            &policy.Assets{Allowed: []policy.Download{1}, Refused: []policy.Download{1}, Default: 1},
		"assets default refused": &policy.Assets{Refused: []policy.Download{0}},
		"assets default missing": &policy.Assets{Allowed: []policy.Download{1}},
		"assets two hubs":        &policy.Assets{Upload: policy.UploadHub, Domains: []policy.UploadDomains{{"a", nil}, {"b", nil}}},
		"assets one twice":       &policy.Assets{Domains: []policy.UploadDomains{{"a", nil}, {"a", nil}}},
		"assets upper case":      &policy.Assets{Domains: []policy.UploadDomains{{"A", nil}}},
		"assets no type":         &policy.Assets{Forbidden: []policy.MediaType{{Type: "png"}}},
		"assets star slash":      &policy.Assets{Forbidden: []policy.MediaType{{Type: "image/"}}},
		"preauth everybody":      &policy.Preauth{Entries: []policy.Preauthorized{{nil, 4}}},
		"preauth banned":         &policy.Preauth{Entries: []policy.Preauthorized{{[]policy.Claim{claim}, policy.Banned}}},
		"preauth none":           &policy.Preauth{Entries: []policy.Preauthorized{{[]policy.Claim{claim}, policy.None}}},
		"preauth of nothing":     &policy.Preauth{Entries: []policy.Preauthorized{{[]policy.Claim{{}}, 4}}},
		"metadata null":          &policy.Metadata{URI: "mimi://a/r/b", Name: "a\x00"},
		"metadata no text":       &policy.Metadata{URI: "mimi://a/r/b", Subject: "\xff"},
		"metadata long":          &policy.Metadata{URI: "mimi://a/r/b", Name: strings.Repeat("x", policy.MaxRoomName+1)},
		"metadata http":          &policy.Metadata{URI: "mimi://a/r/b", Avatar: "http://a"},
		"metadata of nothing":    &policy.Metadata{},
		"operational backwards":  &policy.Operational{LeafUpdate: policy.Times{Min: 2, Default: 1, Max: 3}},
		"operational delay":      &policy.Operational{Pending: policy.PendingDelayed, MinDelay: 2, MaxDelay: 1},
	} {
		if err := v.Check(); !errors.Is(err, policy.ErrComponent) {
			t.Errorf("%s is written: %v", name, err)
		}
		codec, _, _ := strings.Cut(name, " ")
		if _, err := parsers[codec](v.Append(nil)); !errors.Is(err, policy.ErrComponent) {
			t.Errorf("%s is read: %v", name, err)
		}
	}
	for name, in := range map[string]string{
		"base dependant without a parent":  "00 01 00 01 00 00 00 01 00 00",
		"base parent and not dependant":    "00 00 0d0c 6d696d693a2f2f612f722f62 01 00 00 00 01 00 00",
		"base two parents":                 "00 01 04 01 61 01 62 01 00 00 00 01 00 00",
		"base bool of 2":                   "02 00 00 01 00 00 00 01 00 00",
		"expiration forbidden with bounds": "02 00000001 0000003c 00",
		"assets upload to nowhere":         "03 00 00 00 00" + strings.Repeat("00", 32) + "00 00",
		"operational strategy 3":           strings.Repeat("00", 30) + "00 00 00 03",
	} {
		codec, _, _ := strings.Cut(name, " ")
		if _, err := parsers[codec](unhex(t, in)); !errors.Is(err, policy.ErrComponent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range parserNames {
		if v, err := parsers[n](make([]byte, policy.MaxSize+1)); !errors.Is(err, policy.ErrComponent) || !reflect.ValueOf(v).IsNil() {
			t.Errorf("%s that is too large: %v", n, err)
		}
	}
}

// FuzzComponents: the first octet chooses the codec. What is read is written as it was
// read, and can be written.
func FuzzComponents(f *testing.F) {
	for _, w := range written {
		for i, n := range parserNames {
			if n == w.codec {
				f.Add(append([]byte{byte(i)}, w.v.Append(nil)...))
			}
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 || int(in[0]) >= len(parserNames) {
			return
		}
		name, in := parserNames[in[0]], in[1:]
		v, err := parsers[name](in)
		if err != nil {
			if !errors.Is(err, policy.ErrComponent) {
				t.Fatal(err)
			}
			return
		}
		if b := v.Append(nil); !bytes.Equal(b, in) {
			t.Errorf("%s: read\n%x, wrote\n%x", name, in, b)
		}
		if err := v.Check(); err != nil {
			t.Errorf("%s was read and cannot be written: %v", name, err)
		}
	})
}

// TestExpirationAllows: room-policy section 8.7.
func TestExpirationAllows(t *testing.T) {
	limits := &policy.Expiration{Min: 10, Max: 20}
	must := &policy.Expiration{Expiring: policy.Required, Min: 10, Max: 20}
	never := &policy.Expiration{Expiring: policy.Forbidden}
	for _, x := range []struct {
		p       *policy.Expiration
		expires bool
		after   uint64
		ok      bool
		why     string
	}{
		{limits, false, 0, true, "optional"}, {limits, true, 10, true, "the least"}, {limits, true, 20, true, "the most"},
		{limits, true, 9, false, "too short"}, {limits, true, 21, false, "too long"}, {limits, true, 1 << 40, false, "beyond 32 bits"},
		{must, false, 0, false, "must expire"}, {must, true, 15, true, "expires"},
		{never, true, 15, false, "must not"}, {never, false, 0, true, "does not"},
	} {
		if err := x.p.Allows(x.expires, x.after); (err == nil) != x.ok {
			t.Errorf("%s: %v", x.why, err)
		}
	}
}

// TestAssetsAllow: room-policy section 8.4.
func TestAssetsAllow(t *testing.T) {
	p := &policy.Assets{Upload: policy.UploadLocal, Domains: []policy.UploadDomains{{"a.example", []string{"up.a.example"}}},
		MaxImage: 10, MaxAudio: 11, MaxVideo: 12, MaxAttached: 13,
		Forbidden: []policy.MediaType{{Type: "image/gif"}, {"text/plain", []policy.Parameter{{"charset", "x"}}}}}
	for _, x := range []struct {
		m      string
		render bool
		size   uint64
		ok     bool
	}{
		{"image/png", true, 10, true}, {"image/png", true, 11, false}, {"image/png", false, 13, true}, {"image/png", false, 14, false},
		{"audio/ogg", true, 11, true}, {"audio/ogg", true, 12, false}, {"VIDEO/mp4", true, 12, true}, {"VIDEO/mp4", true, 13, false},
		{"application/pdf", true, 13, true}, {"application/pdf", true, 14, false},
		{"image/gif", true, 1, false}, {"image/GIF", false, 1, false}, {"text/plain", false, 1, true},
	} {
		if err := p.Allows(policy.MediaType{Type: x.m}, x.render, x.size); (err == nil) != x.ok {
			t.Errorf("%+v: %v", x, err)
		}
	}
	with := policy.MediaType{"image/gif", []policy.Parameter{{"a", "b"}}}
	if p.Allows(with, true, 1) == nil {
		t.Error("a type without parameters in the list is about those with parameters, too")
	}
	if p.Allows(policy.MediaType{"text/plain", []policy.Parameter{{"charset", "x"}}}, false, 1) == nil {
		t.Error("forbidden with these parameters")
	}
	p.Permitted, p.PermitSet = []policy.MediaType{png}, true
	if p.Allows(png, true, 1) != nil || p.Allows(policy.MediaType{Type: "audio/ogg"}, true, 1) == nil {
		t.Error("only what is permitted, if that is said")
	}
	if p.From("a.example", "hub.example", "UP.a.example") != nil || p.From("a.example", "hub.example", "b.example") == nil ||
		p.From("b.example", "a.example", "up.a.example") == nil {
		t.Error("at the sender's provider")
	}
	if p.From("b.example", "a.example", "b.example") != nil || p.From("a.example", "a.example", "a.example") == nil || p.From("b.example", "a.example", "x.b.example") == nil {
		t.Error("a provider that is not named keeps assets at its own domain, and one that is where it is said")
	}
	both := []string{"a.example", "b.example"}
	if p.Passes(both, "a.example", "b.example") != nil || p.Passes(both, "a.example", "up.a.example") != nil || p.Passes(both, "a.example", "c.example") == nil ||
		p.Passes(both[:1], "a.example", "b.example") == nil {
		t.Error("what may be passed on is what somebody in the room may keep")
	}
	if p.Largest() != 13 {
		t.Errorf("the largest has %d", p.Largest())
	}
	p.Upload = policy.UploadHub
	if p.Passes(both, "b.example", "a.example") == nil || p.Passes(both, "b.example", "b.example") != nil {
		t.Error("passed on from the hub alone")
	}
	if p.From("b.example", "a.example", "up.a.example") != nil || p.From("a.example", "b.example", "up.a.example") == nil {
		t.Error("at the hub")
	}
	p.Upload = policy.UploadAnywhere
	if p.From("b.example", "b.example", "anywhere") != nil {
		t.Error("anywhere")
	}
}

func TestParseMediaType(t *testing.T) {
	m, err := policy.ParseMediaType(" Text/Plain; format=flowed; charset=\"utf-8\" ")
	if want := (policy.MediaType{"text/plain", []policy.Parameter{{"charset", "utf-8"}, {"format", "flowed"}}}); err != nil || !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, %v", m, err)
	}
	for _, bad := range []string{"", "png", "image/", "/png", "image/png; x", "image/*/x", "image/png\x00", "a b/c"} {
		if m, err := policy.ParseMediaType(bad); !errors.Is(err, policy.ErrComponent) {
			t.Errorf("%q is %+v, %v", bad, m, err)
		}
	}
}

// TestPreauthorizationsAreReadInOrder: room-policy section 6: all claims of an entry, and
// the first entry that matches.
func TestPreauthorizationsAreReadInOrder(t *testing.T) {
	say := func(id, value string) policy.Claim {
		return policy.Claim{policy.CredentialX509, []byte(id), []byte(value)}
	}
	p := &policy.Preauth{Entries: []policy.Preauthorized{
		{[]policy.Claim{say("team", "staff"), say("land", "no")}, 4},
		{[]policy.Claim{say("team", "staff")}, 3},
		{[]policy.Claim{say("land", "no")}, 2},
	}}
	for _, x := range []struct {
		says []policy.Claim
		want policy.Role
	}{
		{[]policy.Claim{say("land", "no"), say("team", "staff")}, 4},
		{[]policy.Claim{say("team", "staff"), say("land", "se")}, 3},
		{[]policy.Claim{say("team", "guest"), say("land", "no")}, 2},
		{[]policy.Claim{say("team", "staff "), say("land", "NO")}, policy.None},
		{[]policy.Claim{{1, []byte("team"), []byte("staff")}}, policy.None},
		{nil, policy.None},
	} {
		if got := p.Match(x.says); got != x.want {
			t.Errorf("%v gets %d, %d expected", x.says, got, x.want)
		}
	}
}

// TestJoin: room-policy section 10.1, canOpenJoin and canJoinIfPreauthorized.
func TestJoin(t *testing.T) {
	roles := func(open bool) *policy.Roles {
		out := policy.Definition{Index: none, Name: "none", Changes: []policy.Changes{{none, []policy.Role{2, 5}}}}
		if open {
			out.Capabilities = []policy.Capability{policy.OpenJoin}
		}
		r, err := policy.NewRoles([]policy.Definition{out,
			{Index: banned, Name: "banned", MaxActive: policy.AtMost(0)},
			{Index: 2, Name: "guest"},
			{Index: 3, Name: "staff", Capabilities: []policy.Capability{policy.JoinIfPreauthorized, policy.ChangeUserRole}},
			{Index: 4, Name: "boss", Capabilities: []policy.Capability{policy.ChangeUserRole}},
			{Index: 5, Name: "robot", MaxActive: policy.AtMost(0)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, x := range []struct {
		open          bool
		to, preauthor policy.Role
		ok            bool
		why           string
	}{
		{true, 2, none, true, "open"}, {false, 2, none, false, "not open"},
		{true, 3, none, false, "open, but not this role"}, {false, 3, 3, true, "preauthorized"},
		{false, 2, 3, false, "preauthorized for another"}, {false, 4, 4, false, "preauthorized for a role that lacks the capability"},
		{true, 5, none, false, "a role without devices"}, {true, banned, none, false, "banned"}, {true, none, none, false, "no role"},
		{true, 2, 3, true, "open, though preauthorized for more"},
	} {
		if err := roles(x.open).Join(x.to, x.preauthor); (err == nil) != x.ok {
			t.Errorf("%s: %v", x.why, err)
		}
	}
	for _, x := range []struct {
		open bool
		pre  policy.Role
		want policy.Role
	}{{true, none, 2}, {true, 3, 3}, {false, 3, 3}, {false, none, none}, {false, 4, none}, {true, 4, 2}} {
		if got, err := roles(x.open).Entrant(x.pre); got != x.want || (err == nil) != (x.want != none) {
			t.Errorf("open %v, preauthorized for %d: enters as %d, %v", x.open, x.pre, got, err)
		}
	}
	if _, err := policy.NewRoles([]policy.Definition{{Index: 2, Name: "member", Capabilities: []policy.Capability{policy.OpenJoin}}}); err == nil {
		t.Error("room-policy: canOpenJoin MUST NOT appear in any non-zero role")
	}
}

// TestBaseFits: what the base policy bounds, and that a room that is over a bound may only
// come nearer to it.
func TestBaseFits(t *testing.T) {
	p := &policy.Base{MaxUsers: policy.AtMost(3), MaxClients: policy.AtMost(4)}
	for _, x := range []struct {
		before, after policy.Load
		strict, ok    bool
		why           string
	}{
		{policy.Load{3, 4, 0}, policy.Load{3, 4, 0}, true, true, "full"},
		{policy.Load{3, 3, 0}, policy.Load{4, 4, 0}, false, false, "a user too many"},
		{policy.Load{3, 4, 0}, policy.Load{3, 5, 0}, false, false, "a device too many"},
		{policy.Load{9, 4, 0}, policy.Load{8, 4, 0}, false, true, "one less"},
		{policy.Load{9, 4, 0}, policy.Load{9, 4, 0}, false, true, "no more"},
		{policy.Load{9, 4, 0}, policy.Load{8, 4, 0}, true, false, "a policy that the room breaks"},
		{policy.Load{2, 2, 0}, policy.Load{2, 3, 1}, false, false, "a second device"},
		{policy.Load{2, 3, 1}, policy.Load{2, 3, 1}, false, true, "as before"},
	} {
		if err := p.Fits(x.before, x.after, x.strict); (err == nil) != x.ok {
			t.Errorf("%s: %v", x.why, err)
		}
	}
	if policy.DefaultBase().Fits(policy.Load{}, policy.Load{100000, 200000, 100000}, true) != nil {
		t.Error("a room without base policy has bounds")
	}
	for over, x := range map[bool][]struct {
		p     *policy.Base
		after policy.Load
	}{
		true:  {{p, policy.Load{Users: 3}}, {p, policy.Load{}}},
		false: {{p, policy.Load{Users: 1, Clients: 1}}, {policy.DefaultBase(), policy.Load{}}, {&policy.Base{Persistent: true}, policy.Load{Users: 3}}},
	} {
		for _, x := range x {
			if x.p.Over(x.after) != over {
				t.Errorf("over: %v, persistent: %v, with %+v", !over, x.p.Persistent, x.after)
			}
		}
	}
	if (&policy.Base{Fixed: true}).Follows(&policy.Base{}) == nil || (&policy.Base{Parent: "mimi://a/r/b"}).Follows(&policy.Base{}) == nil ||
		(&policy.Base{MultiDevice: true, MaxUsers: policy.AtMost(3)}).Follows(&policy.Base{}) != nil {
		t.Error("what may change in a room's base policy")
	}
}

// TestMetadataHasACapabilityForEachField: room-policy section 10.2.
func TestMetadataHasACapabilityForEachField(t *testing.T) {
	was := policy.Metadata{URI: "mimi://a/r/b", Name: "n"}
	for c, change := range map[policy.Capability]func(*policy.Metadata){
		policy.ChangeRoomName:        func(m *policy.Metadata) { m.Name = "x" },
		policy.ChangeRoomDescription: func(m *policy.Metadata) { m.Descriptions = []policy.Description{{Content: "x"}} },
		policy.ChangeRoomAvatar:      func(m *policy.Metadata) { m.Avatar = "https://x" },
		policy.ChangeRoomSubject:     func(m *policy.Metadata) { m.Subject = "x" },
		policy.ChangeRoomMood:        func(m *policy.Metadata) { m.Mood = "x" },
	} {
		all := []policy.Capability{policy.ChangeRoomName, policy.ChangeRoomDescription, policy.ChangeRoomAvatar, policy.ChangeRoomSubject, policy.ChangeRoomMood}
		only := policy.Definition{Index: 2, Name: "one", Capabilities: []policy.Capability{c}}
		but := policy.Definition{Index: 3, Name: "others"}
		for _, x := range all {
			if x != c {
				but.Capabilities = append(but.Capabilities, x)
			}
		}
		r, err := policy.NewRoles([]policy.Definition{only, but})
		if err != nil {
			t.Fatal(err)
		}
		now := was
		change(&now)
		if err := r.ChangeMetadata(2, &was, &now); err != nil {
			t.Errorf("%s: %v", c, err)
		}
		refused := new(policy.Refusal)
		if err := r.ChangeMetadata(3, &was, &now); !errors.As(err, &refused) || refused.Lacks != c {
			t.Errorf("without %s: %v", c, err)
		}
	}
	other := was
	other.URI = "mimi://a/r/c"
	if policy.Basic().ChangeMetadata(admin, &was, &other) == nil {
		t.Error("the room is another")
	}
	if policy.Basic().ChangeMetadata(admin, nil, &was) != nil || policy.Basic().ChangeMetadata(member, nil, &was) == nil {
		t.Error("where there is none yet")
	}
}
