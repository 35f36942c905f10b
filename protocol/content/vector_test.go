package content_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/protocol/content"
)

// Tests against the examples of draft-ietf-mimi-content-08 and
// draft-mahy-mimi-message-status, read from the directory that MIMID_VECTORS
// names; they are no part of this module.

const vectorVariable = "MIMID_VECTORS"

// vectorFile reads a file of the vectors, or skips where there are none.
func vectorFile(t testing.TB, name string) []byte {
	t.Helper()
	dir, set := os.LookupEnv(vectorVariable)
	if !set || dir == "" {
		set, dir = false, filepath.Join("..", "..", "..", "shared", "vectors")
	}
	if _, err := os.Stat(dir); !set && errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no test vectors here: set %s to the directory that holds %s", vectorVariable, name)
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatalf("reading test vectors (%s): %v", vectorVariable, err)
	}
	return b
}

// A vector is one example, with the id that its .edn file states.
type vector struct {
	Name   string `json:"name"`
	Sender string `json:"sender_uri"`
	Room   string `json:"room_uri"`
	Salt   string `json:"salt"`
	CBOR   string `json:"cbor"`
	ID     string `json:"message_id"`
	OldID  string `json:"message_id_pre08"`
	b      []byte
}

// official is how many examples the draft has that are messages.
const official = 14

func vectors(t testing.TB) []vector {
	t.Helper()
	var file struct {
		Source, Verified, Note string
		Vectors                []vector
	}
	d := json.NewDecoder(bytes.NewReader(vectorFile(t, "mimi-content/message-ids.json")))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) != official {
		t.Fatalf("%d examples, not %d", len(file.Vectors), official)
	}
	for i := range file.Vectors {
		file.Vectors[i].b = vectorFile(t, "mimi-content/"+file.Vectors[i].Name+".cbor")
	}
	return file.Vectors
}

func TestVectorMessages(t *testing.T) {
	for _, v := range vectors(t) {
		if hex.EncodeToString(v.b) != v.CBOR {
			t.Errorf("%s: file and message-ids.json differ", v.Name)
		}
		m, err := content.Decode(v.b, content.Limits{})
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if m.Sender != v.Sender || m.Room != v.Room || hex.EncodeToString(m.Salt[:]) != v.Salt {
			t.Errorf("%s: sender %s, room %s, salt %x", v.Name, m.Sender, m.Room, m.Salt)
		}
		again, err := m.Encode(content.Limits{})
		if err != nil || !bytes.Equal(again, v.b) {
			t.Errorf("%s: encoded again to\n%x, %v, want\n%x", v.Name, again, err, v.b)
		}
		if err := m.CheckOrigin(v.Sender, v.Room); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// Section 3.3, against message-ids.json and against the heads of the .edn files.
func TestVectorMessageIDs(t *testing.T) {
	stated := regexp.MustCompile(`(?s)^# [A-Z0-9-]+\n# message ID = h'([0-9a-f]+)\n#\s+([0-9a-f]+)'`)
	for _, v := range vectors(t) {
		id, err := content.DeriveID(v.b, v.Sender, v.Room)
		if err != nil || id.String() != v.ID || v.ID == v.OldID {
			t.Errorf("%s: id %s, %v, want %s", v.Name, id, err, v.ID)
		}
		match := stated.FindSubmatch(vectorFile(t, "mimi-content/"+v.Name+".edn"))
		if match == nil || string(match[1])+string(match[2]) != id.String() {
			t.Errorf("%s: id %s, the .edn file has %s", v.Name, id, match)
		}
	}
}

// Derived values are no message (vectors/README.md), though both are arrays of
// seven.
func TestVectorDerivedValuesRefused(t *testing.T) {
	_, err := content.Decode(vectorFile(t, "mimi-content/implied-original.cbor"), content.Limits{})
	if !errors.Is(err, content.ErrMalformed) {
		t.Error(err)
	}
}

// Nothing but the whole of an example is one: not a piece, not more, and no
// octet of it may be missing.
func TestVectorDamaged(t *testing.T) {
	for _, v := range vectors(t) {
		for i := range v.b {
			if _, err := content.Decode(v.b[:i], content.Limits{}); !errors.Is(err, content.ErrMalformed) {
				t.Errorf("%s cut to %d: %v", v.Name, i, err)
			}
		}
		if _, err := content.Decode(append(bytes.Clone(v.b), 0xf6), content.Limits{}); !errors.Is(err, content.ErrMalformed) {
			t.Errorf("%s and null: %v", v.Name, err)
		}
		for i := range v.b {
			for bit := range 8 {
				b := bytes.Clone(v.b)
				b[i] ^= 1 << bit
				m, err := content.Decode(b, content.Limits{})
				if err != nil {
					continue
				}
				if again, err := m.Encode(content.Limits{}); err != nil || !bytes.Equal(again, b) {
					t.Fatalf("%s with bit %d of %d flipped: %x, %v", v.Name, bit, i, again, err)
				}
			}
		}
	}
}

// The constructors make the draft's examples, given their salts.
func TestVectorConstructors(t *testing.T) {
	made := make(map[string]*content.Message)
	ids := make(map[string]content.MessageID)
	byName := make(map[string]vector)
	for _, v := range vectors(t) {
		byName[v.Name] = v
		var id content.MessageID
		if err := id.UnmarshalText([]byte(v.ID)); err != nil {
			t.Fatal(err)
		}
		ids[v.Name] = id
	}
	const room = "mimi://example.com/r/engineering_team"
	from := func(user string) content.Origin {
		return content.Origin{Sender: "mimi://example.com/u/" + user, Room: room}
	}
	alice, bob, cathy := from("alice-smith"), from("bob-jones"), from("cathy-washington")

	made["original"] = content.New(alice, content.MarkdownText("Hi everyone, we just shipped release 2.0. __Good  work__!"))
	made["reply"] = content.Reply(bob, ids["original"], content.MarkdownText("Right on! _Congratulations_ 'all!"))
	made["reaction"] = content.React(cathy, ids["original"], "\u2764")
	made["mention"] = content.Reply(cathy, ids["original"], content.MarkdownText(
		"Kudos to "+content.Mention("@Alice Smith", user(t, alice.Sender))+" for making the release happen!"))
	made["edit"] = content.Edit(bob, made["reply"], ids["reply"], content.MarkdownText("Right on! _Congratulations_ y'all!"))
	made["delete"] = content.Delete(bob, made["edit"], ids["edit"]) // names the reply, which is the first version
	made["unlike"] = content.Delete(cathy, made["reaction"], ids["reaction"])
	made["expiring"] = content.New(alice, content.MarkdownText("__*VPN GOING DOWN*__ I'm rebooting the VPN in ten minutes unless anyone objects."))
	made["expiring"].Expires = &content.Expiration{Seconds: 1644390004}
	made["attachment"] = content.New(bob, content.Attach(content.ExternalPart{
		MediaType: "video/mp4", URL: "https://example.com/storage/8ksB4bSrrRE.mp4", Size: 708234961,
		EncAlg: content.AES128GCM, Key: unhex(t, "21399320958a6f4c745dde670d95e0d8"), Nonce: unhex(t, "c86cf2c33f21527d1dd76f5b"),
		HashAlg: content.SHA256, ContentHash: unhex(t, "9ab17a8cf0890baaae7ee016c7312fcc080ba46498389458ee44f0276e783163"),
		Description: "2 hours of key signing video", Filename: "bigfile.mp4",
	}))
	made["attachment"].Body.Language = "en"
	made["conferencing"] = content.New(alice, content.Part{Disposition: content.Session, Content: content.ExternalPart{
		URL: "https://example.com/join/12345", Description: "Join the Foo 118 conference"}})
	made["conferencing"].TopicID = []byte("Foo 118")
	made["multipart-1"] = content.New(alice, content.Multi(content.ChooseOne, content.MarkdownText("# Welcome!"),
		content.Part{Disposition: content.Render, Content: content.SinglePart{
			MediaType: "application/vnd.examplevendor-fancy-im-message", Content: unhex(t, "dc861ebaa718fd7c3ca159f71a2001")}}))
	made["multipart-2"] = content.React(alice, content.MessageID{}, "\u2764", "\U0001f973", "\U0001f91e")
	made["multipart-2"].InReplyTo = nil

	for name, m := range made {
		copy(m.Salt[:], unhex(t, byName[name].Salt))
		b, err := m.Encode(content.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(byName[name].CBOR, hex.EncodeToString(b)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		back, err := content.Decode(b, content.Limits{})
		if diff := cmp.Diff(m, back); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestVectorViews(t *testing.T) {
	type view struct {
		action   string
		parts    int
		text     string
		mentions string
	}
	want := map[string]view{
		"original":     {"say", 1, "Hi everyone, we just shipped release 2.0. __Good  work__!", ""},
		"reply":        {"reply", 1, "Right on! _Congratulations_ 'all!", ""},
		"reaction":     {"react", 1, "\u2764", ""},
		"mention":      {"reply", 1, "Kudos to [@Alice Smith](mimi://example.com/u/alice-smith) for making the release happen!", "mimi://example.com/u/alice-smith"},
		"mention-html": {"reply", 1, "[text/html, 106 bytes]", ""},
		"edit":         {"edit", 1, "Right on! _Congratulations_ y'all!", ""},
		"delete":       {"delete", 1, "", ""},
		"unlike":       {"unlike", 1, "", ""},
		"expiring":     {"say", 1, "__*VPN GOING DOWN*__ I'm rebooting the VPN in ten minutes unless anyone objects.", ""},
		"attachment":   {"say", 1, "2 hours of key signing video [bigfile.mp4, video/mp4, 708234961 bytes]", ""},
		"conferencing": {"say", 1, "Join the Foo 118 conference [https://example.com/join/12345]", ""},
		"multipart-1":  {"say", 3, "# Welcome!", ""},
		"multipart-2":  {"say", 4, "\u2764\n\U0001f973\n\U0001f91e", ""},
		"multipart-3":  {"say", 11, "[text/html, 97 bytes]\n[image/gif, 16 bytes]", ""},
	}
	for _, v := range vectors(t) {
		m, err := content.Decode(v.b, content.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got := view{action: m.Action().String(), text: m.Text()}
		for range m.Parts() {
			got.parts++
		}
		for _, u := range m.Mentions() {
			got.mentions += u.String()
		}
		if diff := cmp.Diff(want[v.Name], got, cmp.AllowUnexported(view{})); diff != "" {
			t.Errorf("%s: %s", v.Name, diff)
		}
		if v.Name == "multipart-3" { // appendix B.3 names the parts 5 and 10
			for cid, mediaType := range map[string]string{"cid:5@local.invalid": "image/gif", "cid:10@local.invalid": "image/png"} {
				p, ok := m.PartByContentID(cid)
				if c, _ := p.Content.(content.SinglePart); !ok || c.MediaType != mediaType {
					t.Errorf("%s is %v", cid, p)
				}
			}
			for _, cid := range []string{"cid:0@local.invalid", "cid:11@local.invalid", "cid:05@local.invalid", "cid:5@example.com", ""} {
				if _, ok := m.PartByContentID(cid); ok {
					t.Errorf("%q names a part", cid)
				}
			}
		}
	}
}

func TestVectorStatusReport(t *testing.T) {
	b := vectorFile(t, "mimi-message-status/status.cbor")
	s, err := content.DecodeStatusReport(b, content.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name   string
		status content.Status
	}{
		{"original", content.Read}, {"reply", content.Read}, {"mention", content.Unread}, {"expiring", content.Expired},
	}
	if len(s) != len(want) {
		t.Fatal(s)
	}
	for i, w := range want {
		for _, v := range vectors(t) {
			if v.Name == w.name && (s[i].ID.String() != v.ID || s[i].Status != w.status) {
				t.Errorf("%d: %v, want %s of %s", i, s[i], v.ID, v.Name)
			}
		}
	}
	again, err := s.Encode(content.Limits{})
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("%x, %v", again, err)
	}
	if _, err := content.DecodeStatusReport(vectors(t)[0].b, content.Limits{}); !errors.Is(err, content.ErrMalformed) {
		t.Errorf("a message as report: %v", err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
