package knock_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

const carolURI, roomURI = "mimi://chicago.example/u/carol", "mimi://atlanta.example/r/aaaaaaaaaaaaaaaaaaaa"

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("knock test " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	carol  = must(uri.ParseUser(carolURI))
	bob    = must(uri.ParseUser("mimi://biloxi.example/u/bob"))
	theURI = must(uri.ParseRoom(roomURI))
	device = must(mls.ParseSignatureKey(room.Suite, key("device").Seed()))
)

// credential is carol's device's.
func credential(t testing.TB) mls.Credential {
	t.Helper()
	valid := x509auth.ValidFor(start, x509auth.Lifetime)
	user, err := x509auth.IssueUser(key("chicago"), carolURI, key("carol").Public(), valid)
	if err != nil {
		t.Fatal(err)
	}
	client, err := x509auth.IssueClient(key("carol"), user, "mimi://chicago.example/d/carol/phone", device.Public(), valid)
	if err != nil {
		t.Fatal(err)
	}
	return mls.X509Credential(client, user)
}

func authenticator(t testing.TB) mls.Authenticator {
	t.Helper()
	return must(x509auth.New(x509auth.Options{Anchors: func(domain string) []crypto.PublicKey {
		if domain == "chicago.example" {
			return []crypto.PublicKey{key("chicago").Public()}
		}
		return nil
	}}))
}

func word(t testing.TB, edit func(*knock.Word)) *knock.Word {
	t.Helper()
	w := &knock.Word{What: knock.Ask, Room: theURI, Issued: start, Note: "it is me", Credential: credential(t)}
	if edit != nil {
		edit(w)
	}
	if err := w.Sign(device); err != nil {
		t.Fatal(err)
	}
	return w
}

// A word that anything of was changed is nobody's.
func TestWordIsSigned(t *testing.T) {
	auth := authenticator(t)
	w := word(t, nil)
	v, err := w.Verify(auth, start)
	if err != nil || v.User() != carol || v.Word().Note != "it is me" {
		t.Fatal(v, err)
	}
	b := w.Append(nil)
	got, err := knock.ParseWord(b)
	if err != nil || !bytes.Equal(got.Append(nil), b) {
		t.Fatal(err)
	}
	if len(b) > knock.MaxWord/2 {
		t.Errorf("a usual word has %d octets", len(b))
	}
	for i := range b {
		x := bytes.Clone(b)
		x[i] ^= 1
		if w, err := knock.ParseWord(x); err == nil {
			if _, err := w.Verify(auth, start); err == nil {
				t.Fatalf("verifies with octet %d changed", i)
			}
		}
	}
	if _, err := w.Verify(auth, start.Add(-knock.Ahead-time.Second)); !errors.Is(err, knock.ErrMessage) {
		t.Errorf("said in the future: %v", err)
	}
	if _, err := w.Verify(auth, start.Add(10*24*time.Hour)); err != nil {
		t.Errorf("ten days later: %v", err)
	}
	early := word(t, func(w *knock.Word) { w.Issued = start.Add(-48 * time.Hour) })
	if _, err := early.Verify(auth, start); err == nil {
		t.Error("verifies though said before there was the credential")
	}
	none := must(x509auth.New(x509auth.Options{Anchors: func(string) []crypto.PublicKey { return nil }}))
	if _, err := w.Verify(none, start); err == nil {
		t.Error("verifies by nobody's key")
	}
}

// What people are shown is one line in which nothing is hidden.
func TestNotes(t *testing.T) {
	for _, good := range []string{"", "it is me", "Grüße, 你好 🙂", strings.Repeat("x", knock.MaxNote)} {
		if err := knock.CheckNote(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"a\nb", "a\tb", "\x1b[31m", "a\u202eb", "a\u200bb", "\xff", "a\u2028b", "a\x00", "a\x7f", strings.Repeat("x", knock.MaxNote+1)} {
		if err := knock.CheckNote(bad); !errors.Is(err, knock.ErrMessage) {
			t.Errorf("%q: %v", bad, err)
		}
		w := &knock.Word{What: knock.Ask, Room: theURI, Issued: start, Note: bad, Credential: credential(t)}
		if err := w.Sign(device); !errors.Is(err, knock.ErrMessage) {
			t.Errorf("%q is signed: %v", bad, err)
		}
		if _, err := knock.ParseWord(w.Append(nil)); !errors.Is(err, knock.ErrMessage) {
			t.Errorf("%q is read: %v", bad, err)
		}
		x := &knock.Refusal{User: carol, By: bob, Text: bad}
		if _, err := knock.ParseRefusal(x.Append(nil)); !errors.Is(err, knock.ErrMessage) {
			t.Errorf("%q is read as a refusal's: %v", bad, err)
		}
	}
	for why, w := range map[string]*knock.Word{
		"a word of no kind":    {What: knock.Refuse, Room: theURI},
		"a word at no room":    {What: knock.Ask},
		"a cancel with a note": {What: knock.Cancel, Room: theURI, Note: "x"},
	} {
		w.Issued, w.Credential = start, credential(t)
		if err := w.Sign(device); !errors.Is(err, knock.ErrMessage) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	w := word(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-z ]{0,40}`).Draw(t, "text")
		check := func(what string, b []byte, parse func([]byte) (any, error), want any) {
			got, err := parse(b)
			if err != nil || !cmp.Equal(got, want, cmp.Comparer(func(a, b uri.User) bool { return a == b }), cmp.Comparer(func(a, b *knock.Word) bool {
				return (a == nil) == (b == nil) && (a == nil || bytes.Equal(a.Append(nil), b.Append(nil)))
			})) {
				t.Fatalf("%s: %+v, %v", what, got, err)
			}
			if _, err := parse(append(bytes.Clone(b), 0)); !errors.Is(err, knock.ErrMessage) {
				t.Fatalf("%s with something behind: %v", what, err)
			}
			if _, err := parse(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); !errors.Is(err, knock.ErrMessage) {
				t.Fatalf("a piece of %s: %v", what, err)
			}
		}
		x := &knock.Refusal{User: carol, By: bob, Text: text}
		check("a refusal", x.Append(nil), func(b []byte) (any, error) { return knock.ParseRefusal(b) }, x)
		s := &knock.Status{Answer: knock.Answer(rapid.IntRange(1, 6).Draw(t, "answer")), User: carol}
		if s.Answer == knock.IsRefused {
			s.Text = text
		}
		check("a status", s.Append(nil), func(b []byte) (any, error) { return knock.ParseStatus(b) }, s)
		show := &knock.Showing{User: carol}
		if rapid.Bool().Draw(t, "show") {
			show.Word = w
		}
		check("a showing", show.Append(nil), func(b []byte) (any, error) { return knock.ParseShowing(b) }, show)
	})
	for why, b := range map[string][]byte{
		"no answer":                  (&knock.Status{User: carol}).Append(nil),
		"an unknown answer":          (&knock.Status{Answer: 7, User: carol}).Append(nil),
		"a text without a refusal":   (&knock.Status{Answer: knock.IsWaiting, User: carol, Text: "x"}).Append(nil),
		"a status of another format": append([]byte{2}, (&knock.Status{Answer: knock.IsWaiting, User: carol}).Append(nil)[1:]...),
	} {
		if _, err := knock.ParseStatus(b); !errors.Is(err, knock.ErrMessage) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// Whatever comes from the network is read without a panic, and what is read is written back
// octet for octet.
func FuzzMessages(f *testing.F) {
	w := word(f, nil)
	f.Add(byte(0), w.Append(nil))
	f.Add(byte(1), (&knock.Showing{Word: w, User: carol}).Append(nil))
	f.Add(byte(1), (&knock.Showing{User: carol}).Append(nil))
	f.Add(byte(2), (&knock.Refusal{User: carol, By: bob, Text: "no"}).Append(nil))
	f.Add(byte(3), (&knock.Status{Answer: knock.IsRefused, User: carol, Text: "no"}).Append(nil))
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		var back []byte
		var err error
		switch which % 4 {
		case 0:
			var x *knock.Word
			if x, err = knock.ParseWord(b); err == nil {
				back = x.Append(nil)
			}
		case 1:
			var x *knock.Showing
			if x, err = knock.ParseShowing(b); err == nil {
				back = x.Append(nil)
			}
		case 2:
			var x *knock.Refusal
			if x, err = knock.ParseRefusal(b); err == nil {
				back = x.Append(nil)
			}
		case 3:
			var x *knock.Status
			if x, err = knock.ParseStatus(b); err == nil {
				back = x.Append(nil)
			}
		}
		if err == nil && !bytes.Equal(b, back) {
			t.Fatalf("read and written back: %s", fmt.Sprintf("%x, %x", b, back))
		}
	})
}
