package uri_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/uri"
)

const self = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"

var (
	label63    = strings.Repeat("a", 63)
	domain253  = strings.Repeat(label63+".", 3) + strings.Repeat("b", 61)
	segment128 = strings.Repeat("s", uri.MaxSegment)
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		in           string
		kind         uri.Kind
		domain, name string
		why          string
	}{
		{"mimi://a.example", uri.KindProvider, "a.example", "", "protocol-06 section 3"},
		{"mimi://a.example/u/alice", uri.KindUser, "a.example", "alice", "protocol-06 section 3"},
		{"mimi://a.example/d/ClientA1", uri.KindClient, "a.example", "ClientA1", "protocol-06: one segment"},
		{"mimi://example.com/d/3b52249d-68f9-45ce-8bf5-c799f3cad7ec/0003", uri.KindClient, "example.com",
			"3b52249d-68f9-45ce-8bf5-c799f3cad7ec/0003", "content-08 section 5.1: two segments"},
		{"mimi://a.example/d/a/b/c/d", uri.KindClient, "a.example", "a/b/c/d", "the most segments"},
		{"mimi://a.example/r/clubhouse", uri.KindRoom, "a.example", "clubhouse", "protocol-06 section 3"},
		{"mimi://example.com/r/engineering_team", uri.KindRoom, "example.com", "engineering_team", "content-08 section 5.1"},
		{"mimi://a.example/g/clubhouse", uri.KindGroup, "a.example", "clubhouse", "protocol-06 section 3"},
		{"mimi://a.example/p/crazykoala75", uri.KindPseudonym, "a.example", "crazykoala75", "identity-05"},
		{"mimi://a.example/t/engineering", uri.KindTeam, "a.example", "engineering", "identity-05"},
		{"mimi://local.invalid/u/alice", uri.KindUser, "local.invalid", "alice", "identity-05: no domain"},
		{"mimi://localhost", uri.KindProvider, "localhost", "", "one label"},
		{"mimi://xn--bcher-kva.example/u/a", uri.KindUser, "xn--bcher-kva.example", "a", "an A-label, as given"},
		{"mimi://3com.1.example", uri.KindProvider, "3com.1.example", "", "digits anywhere but at the start of the last label"},
		{"mimi://" + self + ".p2p.invalid/u/alice", uri.KindUser, self + ".p2p.invalid", "alice", "a provider named by its key"},
		{"mimi://a.example/u/A-Z_a.z~09", uri.KindUser, "a.example", "A-Z_a.z~09", "every kind of letter"},
		{"mimi://a.example/u/...", uri.KindUser, "a.example", "...", "three dots are a name like any other"},
		{"mimi://" + domain253 + "/d/" + strings.Repeat(segment128+"/", 3) + segment128, uri.KindClient, domain253,
			strings.Repeat(segment128+"/", 3) + segment128, "the longest URI"},
	} {
		u, err := uri.Parse(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.why, err)
			continue
		}
		if u.String() != tc.in || u.Kind() != tc.kind || u.Provider().Domain() != tc.domain {
			t.Errorf("%s: %q is a %s of %q", tc.why, u, u.Kind(), u.Provider().Domain())
		}
		if name, ok := nameOf(u); ok && name != tc.name {
			t.Errorf("%s: name %q, want %q", tc.why, name, tc.name)
		}
	}
}

// nameOf reads u once more with the function for its kind, and returns the
// name. A provider has none.
func nameOf(u uri.URI) (name string, ok bool) {
	var n interface {
		Name() string
		String() string
	}
	var err error
	switch u.Kind() {
	case uri.KindUser:
		n, err = uri.ParseUser(u.String())
	case uri.KindPseudonym:
		n, err = uri.ParsePseudonym(u.String())
	case uri.KindClient:
		n, err = uri.ParseClient(u.String())
	case uri.KindRoom:
		n, err = uri.ParseRoom(u.String())
	case uri.KindGroup:
		n, err = uri.ParseGroup(u.String())
	case uri.KindTeam:
		n, err = uri.ParseTeam(u.String())
	default:
		_, err = uri.ParseProvider(u.String())
		return "", err != nil
	}
	if err != nil {
		return err.Error(), true
	}
	if n.String() != u.String() {
		return n.String(), true
	}
	return n.Name(), true
}

func TestMalformed(t *testing.T) {
	long := "mimi://a.example/u/" + strings.Repeat("a", uri.MaxLength)
	for _, tc := range []struct {
		in   string
		want error
		why  string
	}{
		{"", uri.ErrScheme, "nothing"},
		{"mimi:", uri.ErrScheme, "no authority"},
		{"mimi:/a.example", uri.ErrScheme, "one slash"},
		{"MIMI://a.example", uri.ErrScheme, "RFC 3986 would make the scheme lower case; we do not normalise"},
		{"im:alice@a.example", uri.ErrScheme, "another scheme"},
		{"https://a.example/u/alice", uri.ErrScheme, "another scheme"},
		{"alice@a.example", uri.ErrScheme, "the short form is not for the wire"},
		{" mimi://a.example", uri.ErrScheme, "space before"},
		{long, uri.ErrLength, "longer than MaxLength"},
		{long[:uri.MaxLength], uri.ErrLength, "as long as MaxLength, but the segment is too long"},
		{"mimi://a.example/u/" + segment128 + "s", uri.ErrLength, "segment"},
		{"mimi://" + label63 + "a.example", uri.ErrLength, "label"},
		{"mimi://" + domain253 + "b", uri.ErrLength, "domain"},
		{"mimi://a.example:443/u/alice", uri.ErrAuthority, "a port makes a host"},
		{"mimi://alice@a.example", uri.ErrAuthority, "user information"},
		{"mimi://[::1]/u/alice", uri.ErrAuthority, "IPv6 literal"},
		{"mimi://A.example/u/alice", uri.ErrUppercase, "two spellings of one domain"},
		{"mimi://a.EXAMPLE", uri.ErrUppercase, "two spellings of one domain"},
		{"mimi://", uri.ErrDomain, "no domain"},
		{"mimi:///u/alice", uri.ErrDomain, "no domain"},
		{"mimi://a.example./u/alice", uri.ErrDomain, "the root's dot is a second spelling"},
		{"mimi://a..example", uri.ErrDomain, "empty label"},
		{"mimi://.example", uri.ErrDomain, "empty label"},
		{"mimi://-a.example", uri.ErrDomain, "hyphen first"},
		{"mimi://a-.example", uri.ErrDomain, "hyphen last"},
		{"mimi://xn--/u/a", uri.ErrDomain, "hyphen last, whatever prefix that is"},
		{"mimi://a_b.example", uri.ErrDomain, "underscores are not in host names"},
		{"mimi://b\u00fccher.example", uri.ErrDomain, "a U-label; only A-labels are accepted"},
		{"mimi://\u212aom.example", uri.ErrDomain, "the Kelvin sign, which strings.ToLower makes a k"},
		{"mimi://a\xff.example", uri.ErrDomain, "not UTF-8"},
		{"mimi://%61.example", uri.ErrDomain, "percent-encoding in a domain"},
		{"mimi://a.example\x00/u/a", uri.ErrDomain, "NUL"},
		{"mimi://127.0.0.1/u/alice", uri.ErrDomain, "IPv4 address"},
		{"mimi://0x7f000001", uri.ErrDomain, "IPv4 address as some resolvers read it"},
		{"mimi://p2p.invalid/u/alice", uri.ErrSelfName, "no key"},
		{"mimi://a.k51.p2p.invalid", uri.ErrSelfName, "two labels"},
		{"mimi://k5-1.p2p.invalid", uri.ErrSelfName, "no base36 digit"},
		{"mimi://a.example/", uri.ErrEmptySegment, "a provider with a slash is a second spelling"},
		{"mimi://a.example//u/alice", uri.ErrEmptySegment, "two slashes"},
		{"mimi://a.example/u/", uri.ErrEmptySegment, "no name"},
		{"mimi://a.example/u/alice/", uri.ErrEmptySegment, "a slash at the end is a second spelling"},
		{"mimi://a.example/d/alice//phone", uri.ErrEmptySegment, "two slashes"},
		{"mimi://a.example/x/alice", uri.ErrKind, "no such kind"},
		{"mimi://a.example/U/alice", uri.ErrKind, "kinds are lower case"},
		{"mimi://a.example/user/alice", uri.ErrKind, "kinds are one letter"},
		{"mimi://a.example/../u/alice", uri.ErrKind, "no path is resolved"},
		{"mimi://a.example/u", uri.ErrSegments, "a kind alone"},
		{"mimi://a.example/u/alice/phone", uri.ErrSegments, "only clients have several"},
		{"mimi://a.example/d/a/b/c/d/e", uri.ErrSegments, "clients have four at most"},
		{"mimi://a.example/u/.", uri.ErrDotSegment, "resolves to another path"},
		{"mimi://a.example/d/alice/..", uri.ErrDotSegment, "resolves to another path"},
		{"mimi://a.example/u/%61lice", uri.ErrEscape, "a second spelling of alice"},
		{"mimi://a.example/u/alice?x", uri.ErrSuffix, "query"},
		{"mimi://a.example?x", uri.ErrSuffix, "query"},
		{"mimi://a.example/r/club#x", uri.ErrSuffix, "fragment"},
		{"mimi://a.example/u/al ice", uri.ErrCharacter, "space"},
		{"mimi://a.example/u/alice\n", uri.ErrCharacter, "line break at the end"},
		{"mimi://a.example/u/a\u0131ice", uri.ErrCharacter, "outside ASCII"},
		{"mimi://a.example/u/a\xff", uri.ErrCharacter, "not UTF-8"},
		{"mimi://a.example/u/alice@b.example", uri.ErrCharacter, "would make the short form ambiguous"},
		{"mimi://a.example/u/a:b", uri.ErrCharacter, "reserved in RFC 3986"},
		{"mimi://a.example/u/a\\b", uri.ErrCharacter, "some programs read a backslash as a slash"},
	} {
		u, err := uri.Parse(tc.in)
		if !errors.Is(err, tc.want) || !u.IsZero() {
			t.Errorf("%s: %.80q: got %q, %v; want %v", tc.why, tc.in, u, err, tc.want)
		}
	}
}

// Who sends a malformed URI chooses what the error quotes.
func TestErrorsSafeForTerminals(t *testing.T) {
	const hostile = "mimi://a.example/u/\x1b[31m\u202egnp.\u00e9\n"
	_, err := uri.Parse(hostile)
	if err == nil {
		t.Fatal("no error")
	}
	for _, c := range err.Error() {
		if c < ' ' || c > '~' {
			t.Errorf("%q holds %q", err.Error(), c)
		}
	}
	_, err = uri.Parse("mimi://" + strings.Repeat("\U0001f600", 1<<16))
	if n := len(err.Error()); n > 4096 {
		t.Errorf("error of %d bytes", n)
	}
	_, err = uri.Parse("mimi://a.example/u/a b")
	want := `parsing MIMI URI "mimi://a.example/u/a b": " b": uri: character not allowed in a name`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestOtherKind(t *testing.T) {
	const room = "mimi://a.example/r/club"
	for kind, parse := range map[uri.Kind]func(string) error{
		uri.KindProvider:  func(s string) error { _, err := uri.ParseProvider(s); return err },
		uri.KindUser:      func(s string) error { _, err := uri.ParseUser(s); return err },
		uri.KindPseudonym: func(s string) error { _, err := uri.ParsePseudonym(s); return err },
		uri.KindClient:    func(s string) error { _, err := uri.ParseClient(s); return err },
		uri.KindGroup:     func(s string) error { _, err := uri.ParseGroup(s); return err },
		uri.KindTeam:      func(s string) error { _, err := uri.ParseTeam(s); return err },
	} {
		if err := parse(room); !errors.Is(err, uri.ErrOtherKind) || !strings.Contains(err.Error(), kind.String()) {
			t.Errorf("a room as %s: %v", kind, err)
		}
		if err := parse("mimi://a.example/r/"); !errors.Is(err, uri.ErrEmptySegment) {
			t.Errorf("malformed, as %s: %v", kind, err)
		}
	}
	if _, err := uri.ParseRoom("mimi://a.example/u/alice"); !errors.Is(err, uri.ErrOtherKind) {
		t.Errorf("a user as room: %v", err)
	}
}

func TestShort(t *testing.T) {
	for _, tc := range []struct {
		in, want string
		err      error
		why      string
	}{
		{"alice@atlanta.example", "mimi://atlanta.example/u/alice", nil, "the form of the design"},
		{"Alice@Atlanta.Example", "mimi://atlanta.example/u/Alice", nil, "people write domains in upper case; names are the provider's"},
		{"a.b_c~d-e@localhost", "mimi://localhost/u/a.b_c~d-e", nil, "every letter"},
		{"alice", "", uri.ErrShort, "no domain"},
		{"", "", uri.ErrShort, "nothing"},
		{"alice@b@a.example", "", uri.ErrShort, "two"},
		{"@a.example", "", uri.ErrEmptySegment, "no name"},
		{"alice@", "", uri.ErrDomain, "no domain"},
		{"alice@a.example:443", "", uri.ErrAuthority, "a port"},
		{"alice/x@a.example", "", uri.ErrCharacter, "would be a path"},
		{"alice@a.example/u/bob", "", uri.ErrDomain, "would be a path"},
		{"mimi://a.example/u/alice", "", uri.ErrShort, "the long form"},
		{" alice@a.example", "", uri.ErrCharacter, "space is not cut off"},
		{strings.Repeat("a", 2000) + "@a.example", "", uri.ErrLength, "too long"},
		{segment128 + "s@a.example", "", uri.ErrLength, "name too long"},
	} {
		u, err := uri.ParseShort(tc.in)
		if !errors.Is(err, tc.err) || u.String() != tc.want {
			t.Errorf("%s: %q: %q, %v", tc.why, tc.in, u, err)
		}
		if err != nil {
			continue
		}
		if again, err := uri.ParseShort(u.Short()); again != u || err != nil {
			t.Errorf("%s: short form %q is %q, %v", tc.why, u.Short(), again, err)
		}
	}
}

func TestProvider(t *testing.T) {
	p, err := uri.ParseDomain("atlanta.example")
	if err != nil || p.String() != "mimi://atlanta.example" {
		t.Fatal(p, err)
	}
	made := func(u fmt.Stringer, err error) string { return fmt.Sprint(u, err) }
	for _, tc := range [][2]string{
		{made(p.User("alice")), "mimi://atlanta.example/u/alice<nil>"},
		{made(p.Pseudonym("x")), "mimi://atlanta.example/p/x<nil>"},
		{made(p.Client("alice", "phone")), "mimi://atlanta.example/d/alice/phone<nil>"},
		{made(p.Room("club")), "mimi://atlanta.example/r/club<nil>"},
		{made(p.Group("club")), "mimi://atlanta.example/g/club<nil>"},
		{made(p.Team("ops")), "mimi://atlanta.example/t/ops<nil>"},
	} {
		if got := strings.ReplaceAll(tc[0], " ", ""); got != tc[1] {
			t.Errorf("got %s, want %s", got, tc[1])
		}
	}
	for _, err := range []error{
		second(p.User("a/b")), second(p.User("")), second(p.User("a?b")), second(p.Room("..")),
		second(p.Client()), second(p.Client("alice", "")), second(p.Client("alice/phone", "x")),
		second(p.Client("a", "b", "c", "d", "e")),
		second(uri.Provider{}.User("alice")), second(uri.ParseDomain("A.example")), second(uri.ParseDomain("a.example/u/x")),
		second(uri.ParseDomain("")),
	} {
		if err == nil {
			t.Error("made a name out of what is none")
		}
	}

	if _, ok := p.SelfNamed(); ok {
		t.Error("atlanta.example is named by DNS")
	}
	p, err = uri.ParseDomain(self + ".p2p.invalid")
	if label, ok := p.SelfNamed(); err != nil || !ok || label != self {
		t.Errorf("%q, %v, %v", label, ok, err)
	}
	if p, err = uri.ParseDomain("xp2p.invalid"); err != nil {
		t.Errorf("not under p2p.invalid: %v", err)
	}
	if _, ok := p.SelfNamed(); ok {
		t.Error("xp2p.invalid is not under p2p.invalid")
	}
}

func second[T any](_ T, err error) error { return err }

// Equal octets and nothing else: message ids and franks hash them.
func TestCompare(t *testing.T) {
	a, _ := uri.ParseUser("mimi://a.example/u/alice")
	b, _ := uri.ParseUser(strings.Join([]string{"mimi:", "", "a.example", "u", "alice"}, "/"))
	c, _ := uri.ParseUser("mimi://a.example/u/Alice")
	if a != b || a == c || a.URI() != b.URI() || a.Provider() != c.Provider() {
		t.Error("comparison is not by octets")
	}
	var zero uri.User
	if !zero.IsZero() || zero.String() != "" || zero.Short() != "" || zero.Name() != "" || !zero.Provider().IsZero() ||
		zero.URI().Kind() != 0 || zero.URI().Kind().String() != "nothing" {
		t.Error("the zero user names something")
	}
}

func TestText(t *testing.T) {
	type all struct {
		U uri.URI
		P uri.Provider
		A uri.User
		N uri.Pseudonym
		D uri.Client
		R uri.Room
		G uri.Group
		T uri.Team
	}
	const text = `{"U":"mimi://a.example/r/x","P":"mimi://a.example","A":"mimi://a.example/u/x","N":"mimi://a.example/p/x",` +
		`"D":"mimi://a.example/d/x/y","R":"mimi://a.example/r/x","G":"mimi://a.example/g/x","T":"mimi://a.example/t/x"}`
	for _, in := range []string{text, `{"U":"","P":"","A":"","N":"","D":"","R":"","G":"","T":""}`} {
		var v all
		if err := json.Unmarshal([]byte(in), &v); err != nil {
			t.Fatal(err)
		}
		out, err := json.Marshal(v)
		if diff := cmp.Diff(in, string(out)); diff != "" || err != nil {
			t.Error(err, diff)
		}
	}
	room, _ := uri.ParseRoom("mimi://a.example/r/x")
	if err := room.UnmarshalText([]byte("mimi://a.example/u/x")); !errors.Is(err, uri.ErrOtherKind) || room.Name() != "x" {
		t.Errorf("%v, and the room is now %q", err, room)
	}
	if err := room.UnmarshalText(make([]byte, 1<<20)); !errors.Is(err, uri.ErrLength) {
		t.Error(err)
	}
}

// What the methods of Provider make is what Parse takes apart.
func TestMadeOfParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domain := rapid.StringMatching(`([a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\.){0,4}[a-z][a-z0-9]{0,9}`).
			Filter(func(s string) bool { return !strings.HasSuffix(s, "p2p.invalid") }).Draw(t, "domain")
		segment := rapid.StringMatching(`[A-Za-z0-9._~-]{1,20}`).Filter(func(s string) bool { return s != "." && s != ".." })
		segments := rapid.SliceOfN(segment, 1, 4).Draw(t, "segments")
		p, err := uri.ParseDomain(domain)
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Client(segments...)
		if err != nil {
			t.Fatal(err)
		}
		back, err := uri.ParseClient(c.String())
		if err != nil || back != c || back.Provider() != p || back.Name() != strings.Join(segments, "/") {
			t.Fatal(back, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"mimi://a.example", "mimi://a.example/u/alice", "mimi://a.example/d/alice/phone", "mimi://a.example/r/club",
		"mimi://a.example/g/club", "mimi://a.example/p/x", "mimi://a.example/t/x", "mimi://" + self + ".p2p.invalid/u/a",
		"alice@atlanta.example", "mimi://A.example", "mimi://a.example/u/%61", "mimi://a.example/u/.", "mimi://127.0.0.1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := uri.ParseShort(s); err == nil {
			if again, err := uri.ParseUser(u.String()); err != nil || again != u {
				t.Fatalf("short form %q is no user: %v", s, err)
			}
			if again, err := uri.ParseShort(u.Short()); err != nil || again != u {
				t.Fatalf("%q: short form %q: %v", s, u.Short(), err)
			}
		}
		u, err := uri.Parse(s)
		if err != nil {
			for _, c := range err.Error() {
				if c < ' ' || c > '~' {
					t.Fatalf("%q is not safe to print", err.Error())
				}
			}
			return
		}
		if u.String() != s || len(s) > uri.MaxLength || u.Kind() == 0 {
			t.Fatalf("%q became %q", s, u)
		}
		if again, err := uri.Parse(u.String()); err != nil || again != u {
			t.Fatalf("%q: %v", s, err)
		}
		for _, c := range []byte(s) {
			if c <= ' ' || c > '~' || strings.IndexByte("%?#@[]\\\"<>", c) >= 0 {
				t.Fatalf("%q holds %q", s, c)
			}
		}
		// Canonical: the parts make the same octets again.
		p, err := uri.ParseDomain(u.Provider().Domain())
		if err != nil || p != u.Provider() {
			t.Fatalf("%q: provider %q, %v", s, p, err)
		}
		name, ok := nameOf(u)
		if !ok {
			if p.URI() != u {
				t.Fatalf("%q is not %q", s, p)
			}
			return
		}
		var made fmt.Stringer
		switch u.Kind() {
		case uri.KindUser:
			made, err = p.User(name)
		case uri.KindPseudonym:
			made, err = p.Pseudonym(name)
		case uri.KindClient:
			made, err = p.Client(strings.Split(name, "/")...)
		case uri.KindRoom:
			made, err = p.Room(name)
		case uri.KindGroup:
			made, err = p.Group(name)
		case uri.KindTeam:
			made, err = p.Team(name)
		}
		if err != nil || made.String() != s {
			t.Fatalf("%q made again is %v, %v", s, made, err)
		}
	})
}
