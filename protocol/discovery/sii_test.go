package discovery_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/discovery"
)

func TestIdentifiersHaveOneSpelling(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct {
		why, in, want string
		kind          discovery.Kind
	}{
		{"canonical", "tel:+16505551000", "tel:+16505551000", discovery.KindTel},
		{"visual separators", "tel:+1-(650)-555.1000", "tel:+16505551000", discovery.KindTel},
		{"upper-case scheme", "TEL:+16505551000", "tel:+16505551000", discovery.KindTel},
		{"shortest", "tel:+2901234", "tel:+2901234", discovery.KindTel},
		{"longest", "tel:+123456789012345", "tel:+123456789012345", discovery.KindTel},
		{"canonical", "mailto:ekr@rtfm.example", "mailto:ekr@rtfm.example", discovery.KindMail},
		{"everything folded", "MailTo:EKR@RTFM.Example", "mailto:ekr@rtfm.example", discovery.KindMail},
		{"dots and tags are the owner's business", "mailto:e.k.r+ietf@rtfm.example", "mailto:e.k.r+ietf@rtfm.example", discovery.KindMail},
		{"Unicode domain", "mailto:a@Bücher.example", "mailto:a@xn--bcher-kva.example", discovery.KindMail},
		{"A-label", "mailto:a@XN--BCHER-kva.example", "mailto:a@xn--bcher-kva.example", discovery.KindMail},
		{"sharp s is not ss", "mailto:a@faß.example", "mailto:a@xn--fa-hia.example", discovery.KindMail},
		{"ideographic full stop", "mailto:a@rtfm。example", "mailto:a@rtfm.example", discovery.KindMail},
		{"longest local part", "mailto:" + long + "@b.example", "mailto:" + long + "@b.example", discovery.KindMail},
		{"canonical", "handle:ekr", "handle:ekr", discovery.KindHandle},
		{"folded", "Handle:Ekr.The_2-nd", "handle:ekr.the_2-nd", discovery.KindHandle},
		{"one letter", "handle:x", "handle:x", discovery.KindHandle},
		{"longest", "handle:" + long, "handle:" + long, discovery.KindHandle},
		{"Cyrillic letter, which is shown as none of ASCII", "handle:\u0435kr", "handle:xn--kr-mlc", discovery.KindHandle},
		{"another script", "handle:Bücher", "handle:xn--bcher-kva", discovery.KindHandle},
		{"its A-label", "handle:XN--bcher-KVA", "handle:xn--bcher-kva", discovery.KindHandle},
		{"composed of two", "handle:bu\u0308cher", "handle:xn--bcher-kva", discovery.KindHandle},
		{"sharp s is not ss", "handle:Faß.x_y", "handle:xn--fa-hia.x_y", discovery.KindHandle},
		{"an emoji, which UTS 46 allows", "handle:\U0001f600", "handle:xn--e28h", discovery.KindHandle},
		{"full-width letters", "handle:\uff25\uff2b\uff32", "handle:ekr", discovery.KindHandle},
	} {
		got, err := discovery.ParseSII(c.in)
		if err != nil || got.String() != c.want || got.Kind() != c.kind {
			t.Errorf("%s: ParseSII(%q) = %q (%s), %v; want %q (%s)", c.why, c.in, got, got.Kind(), err, c.want, c.kind)
		}
		if again, err := discovery.ParseSII(got.String()); err != nil || again != got {
			t.Errorf("%s: the canonical form %q parses as %q, %v", c.why, got, again, err)
		}
	}
}

func TestNoIdentifiers(t *testing.T) {
	for _, c := range []struct {
		why, in string
		want    error
	}{
		{"empty", "", discovery.ErrLength},
		{"too long", "handle:" + strings.Repeat("a", 512), discovery.ErrLength},
		{"no scheme", "ekr", discovery.ErrScheme},
		{"a user's URI", "mimi://rtfm.example/u/ekr", discovery.ErrScheme},
		{"space before", " tel:+16505551000", discovery.ErrScheme},
		{"national number", "tel:6505551000", discovery.ErrNumber},
		{"00 for +", "tel:0016505551000", discovery.ErrNumber},
		{"country code 0", "tel:+06505551000", discovery.ErrNumber},
		{"too short", "tel:+123456", discovery.ErrNumber},
		{"too long", "tel:+1234567890123456", discovery.ErrNumber},
		{"space inside, which RFC 3966 has not", "tel:+1 650 555 1000", discovery.ErrNumber},
		{"letters", "tel:+1650CALLME1", discovery.ErrNumber},
		{"other digits", "tel:+١٦٥٠٥٥٥١٠٠٠", discovery.ErrNumber},
		{"percent-encoding", "tel:%2B16505551000", discovery.ErrNumber},
		{"second +", "tel:++16505551000", discovery.ErrNumber},
		{"extension", "tel:+16505551000;ext=1", discovery.ErrParameter},
		{"subject", "mailto:ekr@rtfm.example?subject=x", discovery.ErrParameter},
		{"no @", "mailto:ekr", discovery.ErrAddress},
		{"two @", "mailto:ekr@rtfm@example", discovery.ErrDomain},
		{"no local part", "mailto:@rtfm.example", discovery.ErrAddress},
		{"dot first", "mailto:.ekr@rtfm.example", discovery.ErrAddress},
		{"two dots", "mailto:e..kr@rtfm.example", discovery.ErrAddress},
		{"quoted", `mailto:"e kr"@rtfm.example`, discovery.ErrAddress},
		{"percent-encoding", "mailto:e%6br@rtfm.example", discovery.ErrAddress},
		{"Unicode local part", "mailto:bücher@rtfm.example", discovery.ErrAddress},
		{"Kelvin sign", "mailto:e\u212ar@rtfm.example", discovery.ErrAddress},
		{"local part of 65", "mailto:" + strings.Repeat("a", 65) + "@b.example", discovery.ErrAddress},
		{"no domain", "mailto:ekr@", discovery.ErrDomain},
		{"IP literal", "mailto:ekr@[127.0.0.1]", discovery.ErrDomain},
		{"IP address", "mailto:ekr@127.0.0.1", discovery.ErrDomain},
		{"trailing dot", "mailto:ekr@rtfm.example.", discovery.ErrDomain},
		{"underscore", "mailto:ekr@rt_fm.example", discovery.ErrDomain},
		{"not a valid A-label", "mailto:ekr@xn--a.example", discovery.ErrDomain},
		{"label of 64", "mailto:ekr@" + strings.Repeat("a", 64) + ".example", discovery.ErrDomain},
		{"bad UTF-8", "mailto:ekr@\xff.example", discovery.ErrDomain},
		{"empty", "handle:", discovery.ErrHandle},
		{"65 letters", "handle:" + strings.Repeat("a", 65), discovery.ErrHandle},
		{"@ before", "handle:@ekr", discovery.ErrFullName},
		{"with a domain", "handle:ekr@rtfm.example", discovery.ErrFullName},
		{"dot at the end", "handle:ekr.", discovery.ErrHandle},
		{"underscore first", "handle:_ekr", discovery.ErrHandle},
		{"space, other script", "handle:\u0435 kr", discovery.ErrHandle},
		{"symbol, other script", "handle:\u0435!kr", discovery.ErrHandle},
		{"colon, other script", "handle:\u0435:kr", discovery.ErrHandle},
		{"not a valid A-label", "handle:xn--a", discovery.ErrHandle},
		{"bad UTF-8", "handle:\xff", discovery.ErrHandle},
		{"right to left and a digit first", "handle:1\u05d0", discovery.ErrHandle},
		{"invisible letter", "handle:e\u200dkr", discovery.ErrHandle},
		{"A-labels of more than 64", "handle:" + strings.Repeat("\u0435", 30) + "." + strings.Repeat("\u0436", 30), discovery.ErrHandle},
		{"space", "handle:e kr", discovery.ErrHandle},
	} {
		got, err := discovery.ParseSII(c.in)
		if !errors.Is(err, c.want) || !got.IsZero() {
			t.Errorf("%s: ParseSII(%.80q) = %q, %v; want %v", c.why, c.in, got, err, c.want)
		}
	}
}

func TestIdentifierAsText(t *testing.T) {
	in := struct{ A, B discovery.SII }{A: sii(t, "handle:Ekr")}
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"A":"handle:ekr","B":""}` {
		t.Fatalf("%s, %v", b, err)
	}
	out := in
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Fatalf("%v, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"nobody"}`), &out); !errors.Is(err, discovery.ErrScheme) {
		t.Fatal(err)
	}
}

// Whatever is typed has no canonical form, or one in ASCII that is parsed as itself; letters of
// other scripts meet in either case, in domains and handles.
func TestScriptsMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		any := rapid.StringOfN(rapid.Rune(), 0, 20, -1).Draw(t, "any")
		for _, scheme := range []string{"tel:+", "mailto:a@", "mailto:", "handle:"} {
			got, err := discovery.ParseSII(scheme + any)
			if err != nil {
				continue
			}
			again, err := discovery.ParseSII(got.String())
			if err != nil || again != got || strings.Trim(got.String(), "abcdefghijklmnopqrstuvwxyz0123456789-._~!$'*+:@") != "" {
				t.Fatalf("%q gives %q, and that %q, %v", scheme+any, got, again, err)
			}
		}
		label := rapid.StringMatching(`[a-zäéñжпяλ]{1,8}`)
		a, b := label.Draw(t, "one"), label.Draw(t, "other")
		for _, scheme := range []string{"mailto:x@", "handle:"} {
			small, err1 := discovery.ParseSII(scheme + a + "." + b)
			large, err2 := discovery.ParseSII(scheme + strings.ToUpper(a) + "\u3002" + strings.ToUpper(b))
			if err1 != nil || err2 != nil || small != large {
				t.Fatalf("%q: %q, %v; in capitals %q, %v", a+"."+b, small, err1, large, err2)
			}
		}
	})
}

// Whatever separators and case people choose, the name is the same.
func TestSpellingsMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[1-9][0-9]{6,14}`).Draw(t, "digits")
		separators := rapid.StringMatching(`[-.()]{16}`).Draw(t, "separators")
		written := "tel:+"
		for i, c := range digits {
			written += string(c)
			if rapid.Bool().Draw(t, "here") {
				written += separators[i : i+1]
			}
		}
		if got, err := discovery.ParseSII(written); err != nil || got.String() != "tel:+"+digits {
			t.Fatalf("%q gives %q, %v", written, got, err)
		}
		handle := rapid.StringMatching(`[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?`).Draw(t, "handle")
		if got, err := discovery.ParseSII("handle:" + strings.ToUpper(handle)); err != nil || got.String() != "handle:"+handle {
			t.Fatalf("%q gives %q, %v", handle, got, err)
		}
	})
}

func FuzzParseSII(f *testing.F) {
	for _, s := range []string{"tel:+1(650)555-1000", "mailto:E+x@Bücher.example", "mailto:a@xn--fa-hia.example", "handle:a.b", "handle:a@b.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := discovery.ParseSII(s)
		if err != nil {
			if !a.IsZero() {
				t.Fatalf("%q: an error and %q", s, a)
			}
			return
		}
		b, err := discovery.ParseSII(a.String())
		if err != nil || a != b || a.Kind() == 0 || len(a.String()) > discovery.MaxSII {
			t.Fatalf("%q: canonical form %q parses as %q, %v", s, a, b, err)
		}
	})
}

func sii(t testing.TB, s string) discovery.SII {
	t.Helper()
	out, err := discovery.ParseSII(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
