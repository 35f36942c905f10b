package content_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/uri"
)

var origin = content.Origin{Sender: "mimi://a.example/u/alice", Room: "mimi://a.example/r/club"}

func user(t testing.TB, s string) uri.User {
	t.Helper()
	u, err := uri.ParseUser(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Section 4.1: "the per-message unique salt which MUST be cryptographically
// random".
func TestSaltIsNew(t *testing.T) {
	a, b := content.New(origin, content.Text("x")), content.New(origin, content.Text("x"))
	if a.Salt == b.Salt || a.Salt == (content.Salt{}) {
		t.Errorf("%x, %x", a.Salt, b.Salt)
	}
}

func TestDeriveID(t *testing.T) {
	b, err := content.New(origin, content.Text("x")).Encode(content.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := content.DeriveID(b, origin.Sender, origin.Room)
	if err != nil || id[0] != content.SHA256 {
		t.Fatal(id, err)
	}
	// The lengths keep the URIs apart.
	moved, err := content.DeriveID(b, origin.Sender+"m", origin.Room[1:])
	if err != nil || moved == id {
		t.Error(moved, err)
	}
	for why, err := range map[string]error{
		"no message":     second(content.DeriveID(nil, "a", "b")),
		"short":          second(content.DeriveID(b[:17], "a", "b")),
		"another":        second(content.DeriveID(append([]byte{0x88}, b[1:]...), "a", "b")),
		"no sender":      second(content.DeriveID(b, "", "b")),
		"no room":        second(content.DeriveID(b, "a", "")),
		"length in 16 b": second(content.DeriveID(b, strings.Repeat("a", 1<<16), "b")),
	} {
		if !errors.Is(err, content.ErrMalformed) {
			t.Errorf("%s: %v", why, err)
		}
	}

	text, _ := id.MarshalText()
	var back content.MessageID
	if err := back.UnmarshalText(text); err != nil || back != id {
		t.Error(back, err)
	}
	for _, tc := range []struct {
		in   string
		want error
	}{
		{"", content.ErrMalformed}, {strings.ToUpper("ab" + string(text[2:])), content.ErrMalformed},
		{strings.Repeat("x", 64), content.ErrMalformed}, {"02" + string(text[2:]), content.ErrHash},
	} {
		if err := back.UnmarshalText([]byte(tc.in)); !errors.Is(err, tc.want) || back != id {
			t.Errorf("%q: %v", tc.in, err)
		}
	}
}

func TestOrigin(t *testing.T) {
	m := content.New(origin, content.Text("x"))
	for _, tc := range []struct {
		m            *content.Message
		sender, room string
		want         error
		why          string
	}{
		{m, origin.Sender, origin.Room, nil, "as it says"},
		{m, "mimi://a.example/u/bob", origin.Room, content.ErrOrigin, "sent again by another"},
		{m, origin.Sender, "mimi://a.example/r/other", content.ErrOrigin, "sent again in another room"},
		{m, "mimi://A.example/u/alice", origin.Room, content.ErrOrigin, "octets are compared"},
		{m, "", "", content.ErrOrigin, "caller does not know"},
		{&content.Message{}, origin.Sender, origin.Room, nil, "says nothing"},
	} {
		if err := tc.m.CheckOrigin(tc.sender, tc.room); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.why, err)
		}
	}
}

// Section 5.5: "the replaces data field refers to the message ID of the first
// instance of the message". Section 9.3: nothing else changes.
func TestEditKeepsTheRest(t *testing.T) {
	ext, err := content.NewExtension(content.Key{Text: "x"}, 7)
	if err != nil {
		t.Fatal(err)
	}
	first, answered := content.MessageID{1, 1}, content.MessageID{1, 2}
	old := content.Reply(origin, answered, content.Text("one"))
	old.TopicID, old.Extensions = []byte("topic"), []content.Extension{ext}
	old.Expires = &content.Expiration{Seconds: 5}

	edit := content.Edit(origin, old, first, content.Text("two"))
	edit = content.Edit(origin, edit, content.MessageID{1, 3}, content.Text("three"))
	want := *old
	want.Salt, want.Replaces, want.Body = edit.Salt, &first, content.Text("three")
	if diff := cmp.Diff(&want, edit); diff != "" {
		t.Error(diff)
	}
	// Values are copies: changing the edit leaves the original alone.
	edit.TopicID[0], edit.Expires.Seconds, edit.InReplyTo[1], edit.Extensions[0].Value[0] = 'T', 6, 9, 8
	if string(old.TopicID) != "topic" || old.Expires.Seconds != 5 || *old.InReplyTo != answered || old.Extensions[0].Value[0] != 7 {
		t.Error("the edit shares memory with the original")
	}

	gone := content.Delete(origin, old, first)
	if gone.Action() != content.ActionDelete || *gone.Replaces != first || gone.Text() != "" {
		t.Error(gone)
	}
}

func TestReactions(t *testing.T) {
	to := content.MessageID{1}
	m := content.React(origin, to, "+1", "\u2764")
	if got := m.Reactions(); m.Action() != content.ActionReact || !slices.Equal(got, []string{"+1", "\u2764"}) {
		t.Error(m.Action(), got)
	}
	if _, err := content.React(origin, to).Encode(content.Limits{}); !errors.Is(err, content.ErrMalformed) {
		t.Error("no reaction:", err)
	}
	if got := content.Reply(origin, to, content.Text("+1")).Reactions(); got != nil {
		t.Error("a reply is no reaction:", got)
	}
	image := content.Reply(origin, to, content.Part{Disposition: content.Reaction, Content: content.SinglePart{MediaType: "image/png"}})
	if got := image.Reactions(); got != nil {
		t.Error("an image is no text:", got)
	}
}

func TestExtensionsSorted(t *testing.T) {
	m := content.New(origin, content.Text("x"))
	// Bytewise order of the encoded keys (RFC 8949 section 4.2.1).
	keys := []content.Key{{Int: 0}, {Int: 3}, {Int: 23}, {Int: 24}, {Int: 256}, {Int: 1<<53 - 1}, {Int: -1}, {Int: -25}, {Int: -(1<<53 - 1)}, {Text: "b"}, {Text: "aa"}}
	for _, k := range keys {
		ext, err := content.NewExtension(k, "v")
		if err != nil {
			t.Fatal(err)
		}
		m.Extensions = append([]content.Extension{ext}, m.Extensions...)
	}
	b, err := m.Encode(content.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := content.Decode(b, content.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got []content.Key
	for _, e := range back.Extensions {
		got = append(got, e.Key)
	}
	if diff := cmp.Diff(keys, got); diff != "" {
		t.Error(diff)
	}
}

func TestExpiry(t *testing.T) {
	now := time.Date(2026, 7, 4, 12, 0, 0, 5e8, time.UTC)
	at := func(d time.Duration) *content.Expiration {
		e, err := content.ExpireAt(now.Add(d))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	const day = 24 * time.Hour
	for _, tc := range []struct {
		e    *content.Expiration
		want error
		why  string
	}{
		{nil, nil, "never"},
		{at(10 * time.Minute), nil, "soon"},
		{at(365 * day), nil, "in a year"},
		{at(-365 * day), nil, "a year ago"},
		{at(367 * day), content.ErrExpiry, "section 9.1: more than a year in the future"},
		{at(-367 * day), content.ErrExpiry, "section 9.1: more than a year in the past"},
		{&content.Expiration{}, content.ErrExpiry, "1970"},
		{&content.Expiration{Relative: true}, nil, "as soon as read"},
		{&content.Expiration{Relative: true, Seconds: 366 * 86400}, nil, "a year after reading"},
		{&content.Expiration{Relative: true, Seconds: 367 * 86400}, content.ErrExpiry, "more than a year after reading"},
		{&content.Expiration{Relative: true, Seconds: 1<<32 - 1}, content.ErrExpiry, "the most"},
	} {
		m := content.Message{Expires: tc.e}
		if err := m.CheckExpiry(now); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.why, err)
		}
	}
	if e := at(0); !e.At(now.Add(day)).Equal(now.Truncate(time.Second)) {
		t.Error("an absolute expiration depends on reading:", e.At(now))
	}
	e, err := content.ExpireAfterReading(1500 * time.Millisecond)
	if err != nil || !e.Relative || e.Seconds != 2 || !e.At(now).Equal(now.Add(2*time.Second)) {
		t.Error(e, err)
	}
	for why, err := range map[string]error{
		"1969":        second(content.ExpireAt(time.Unix(-1, 0))),
		"2106":        second(content.ExpireAt(time.Unix(1<<32, 0))),
		"the past":    second(content.ExpireAfterReading(-1)),
		"a long time": second(content.ExpireAfterReading(367 * day)),
	} {
		if !errors.Is(err, content.ErrExpiry) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestMentions(t *testing.T) {
	alice, bob := user(t, origin.Sender), user(t, "mimi://b.example/u/bob")
	text := content.Mention("Alice", alice) + ", <" + bob.String() + "> and " + content.Mention("again", alice) +
		" but not mimi://c.example/u/bare, [a room](mimi://a.example/r/club), [bad](mimi://A.example/u/x) or [open](mimi://a.example/u/open"
	m := content.New(origin, content.Multi(content.ProcessAll, content.MarkdownText(text), content.Text("<mimi://d.example/u/plain>")))
	if got := m.Mentions(); !slices.Equal(got, []uri.User{alice, bob}) {
		t.Error(got)
	}
	// What people call themselves is no Markdown and no HTML.
	got := content.Mention("a](https://evil.example) <b>*_`\\\nx", alice)
	want := "[a\\](https://evil.example) &lt;b\\>\\*\\_\\`\\\\ x](" + alice.String() + ")"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestText(t *testing.T) {
	part := func(mediaType, s string) content.Part {
		return content.Part{Disposition: content.Render, Content: content.SinglePart{MediaType: mediaType, Content: []byte(s)}}
	}
	html := part("text/html", "<p>x")
	deep := content.Text("bottom")
	for range 10 {
		deep = content.Multi(content.ProcessAll, deep, content.Text("x"))
	}
	for _, tc := range []struct {
		body content.Part
		want string
		why  string
	}{
		{content.Text("hi"), "hi", "plain"},
		{part("TEXT/Plain; charset=UTF-8", "hi"), "hi", "media types do not depend on case"},
		{part("text/plain;charset=utf-16", "hi"), "[text/plain, 2 bytes]", "another charset"},
		{part("", "hi"), "[unknown type, 2 bytes]", "no type"},
		{content.Text("a\x1b[31m\r\nb\x00\xff\tc"), "a\ufffd[31m\nb\ufffd\ufffd\tc", "nothing a terminal obeys"},
		{part("x/\x1b", ""), "[x/\ufffd, 0 bytes]", "nor in a type"},
		{content.Multi(content.ChooseOne, html, content.MarkdownText("*m*"), content.Text("t")), "t", "plain text first"},
		{content.Multi(content.ChooseOne, html, content.MarkdownText("1"), content.MarkdownText("2")), "1", "the sender's first"},
		{content.Multi(content.ChooseOne, content.Multi(content.SingleUnit, content.Text("a"), html), content.MarkdownText("b")), "b",
			"a unit is as good as its worst part"},
		{content.Multi(content.SingleUnit, content.Text("a"), html), "a\n[text/html, 4 bytes]", "both"},
		{content.Attach(content.ExternalPart{Filename: "../x"}), "[x, unknown type]", "file names without folders"},
		{content.Part{}, "", "no content"},
	} {
		m := content.New(origin, tc.body)
		if got := m.Text(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.why, got, tc.want)
		}
	}
	// A message made by hand can be deeper than one that was sent.
	if m := content.New(origin, deep); m.Text() != "x\nx\nx" {
		t.Errorf("%q", m.Text())
	}
}

func TestSafeFilename(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "attachment",
		"bigfile.mp4":                       "bigfile.mp4",
		"../../etc/passwd":                  "passwd",
		`C:\Windows\x.exe`:                  "x.exe",
		"..":                                "attachment",
		"dir/":                              "attachment",
		".bashrc":                           "bashrc",
		"a\x00\n\u202egpj.exe":              "agpj.exe",
		"what?.txt":                         "what.txt",
		"x. ":                               "x",
		"\xffa":                             "a",
		strings.Repeat("\u00e9", 150):       strings.Repeat("\u00e9", 100),
		"a" + strings.Repeat("\u00e9", 150): "a" + strings.Repeat("\u00e9", 99),
	} {
		if got := (content.ExternalPart{Filename: in}).SafeFilename(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }
