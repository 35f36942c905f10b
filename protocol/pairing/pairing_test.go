package pairing_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/pairing"
)

const url = "https://mimi.atlanta.example:8448"

var account = pairing.Account{Domain: "atlanta.example", User: "mimi://atlanta.example/u/alice", Invite: "ohsave7eskkvhxqberkz74epoe", UserKey: [32]byte{1, 2, 3}}

func ask(t testing.TB, c *pairing.Code) *pairing.Newcomer {
	t.Helper()
	n, err := pairing.Ask(c, "tablet")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The account comes across, to who has the code.
func TestPairing(t *testing.T) {
	c := pairing.NewCode(url)
	there, err := pairing.ParseCode(" " + c.Reveal() + "\n")
	if err != nil || there.URL() != url || there.Box() != c.Box() || len(c.Box()) != 32 {
		t.Fatal(there, err)
	}
	n := ask(t, there)
	answer, device, err := pairing.Answer(c, n.Hello(), &account)
	if err != nil || device != "tablet" {
		t.Fatal(device, err)
	}
	got, err := n.Open(answer)
	if err != nil || *got != account {
		t.Fatalf("%v, %v", got, err)
	}
	if len(n.Hello()) > pairing.MaxHello || len(answer) > pairing.MaxAnswer {
		t.Error("longer than is taken")
	}
	for _, b := range [][]byte{n.Hello(), answer} {
		if bytes.Contains(b, account.UserKey[:]) || bytes.Contains(b, []byte(account.Invite)) {
			t.Error("the provider can read the account")
		}
	}
}

// What the provider can do with the two messages: put its own key in the place of the new
// device's, answer by itself, change or repeat what was said. None of it is taken.
func TestHostileProvider(t *testing.T) {
	c := pairing.NewCode(url)
	n := ask(t, c)
	answer, _, err := pairing.Answer(c, n.Hello(), &account)
	if err != nil {
		t.Fatal(err)
	}
	guess := pairing.NewCode(url) // the provider's own
	own := ask(t, guess)
	refuses := func(why string, hello []byte) {
		t.Helper()
		if a, _, err := pairing.Answer(c, hello, &account); err == nil || a != nil {
			t.Errorf("%s is answered", why)
		}
	}
	refuses("a hello that was made with another code", own.Hello())
	swapped := n.Hello()
	copy(swapped[1:33], own.Hello()[1:33])
	refuses("a hello with another key in it", swapped)
	mine := ask(t, guess)
	forged, _, err := pairing.Answer(guess, mine.Hello(), &account)
	if err != nil {
		t.Fatal(err)
	}
	disbelieves := func(why string, n *pairing.Newcomer, answer []byte) {
		t.Helper()
		if a, err := n.Open(answer); err == nil || a != nil {
			t.Errorf("%s is believed: %v", why, a)
		}
	}
	disbelieves("an answer that was made with another code", n, forged)
	disbelieves("the answer to another hello", ask(t, c), answer)
	for i := range answer {
		bad := bytes.Clone(answer)
		bad[i] ^= 1
		if _, err := n.Open(bad); err == nil {
			t.Fatalf("an answer with another octet %d is believed", i)
		}
	}
	for i := range n.Hello() {
		bad := n.Hello()
		bad[i] ^= 1
		if _, _, err := pairing.Answer(c, bad, &account); !errors.Is(err, pairing.ErrForged) {
			t.Fatalf("a hello with another octet %d: %v", i, err)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 32), n.Hello()[:40], make([]byte, pairing.MaxHello+1)} {
		refuses("what is no hello", b)
		disbelieves("what is no answer", n, b)
	}
}

// A code is carried as text; nothing else that is printed has its secret.
func TestCodeText(t *testing.T) {
	c := pairing.NewCode(url)
	text := c.Reveal()
	_, secret, _ := strings.Cut(text, "=")
	n := ask(t, c)
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %s %x", c, c, c, c), fmt.Sprintf("%+v %#v %v", n, *n, *n), fmt.Sprintf("%+v %#v", account, account)} {
		if strings.Contains(s, secret) || strings.Contains(s, account.Invite) {
			t.Errorf("printed as %q", s)
		}
	}
	for _, bad := range []string{"", url, "#device=" + secret, text[:len(text)-1], text + "A", text + "=", strings.Replace(text, "#device", "#devise", 1), strings.Repeat("x", 2000) + text} {
		if _, err := pairing.ParseCode(bad); !errors.Is(err, pairing.ErrCode) || strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := pairing.Ask(c, strings.Repeat("x", 65)); !errors.Is(err, pairing.ErrMessage) {
		t.Errorf("a long name: %v", err)
	}
	if _, err := pairing.Ask(c, ""); !errors.Is(err, pairing.ErrMessage) {
		t.Errorf("no name: %v", err)
	}
	long := account
	long.User = strings.Repeat("x", 256)
	if _, _, err := pairing.Answer(c, n.Hello(), &long); !errors.Is(err, pairing.ErrMessage) {
		t.Errorf("a long account: %v", err)
	}
}

func FuzzMessages(f *testing.F) {
	c := pairing.NewCode(url)
	n := ask(f, c)
	answer, _, err := pairing.Answer(c, n.Hello(), &account)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(n.Hello())
	f.Add(answer)
	f.Add([]byte(c.Reveal()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, _, err := pairing.Answer(c, b, &account); err == nil && a != nil && !bytes.Equal(b, n.Hello()) {
			t.Fatal("a hello of nobody's is answered")
		}
		if a, err := n.Open(b); err == nil && *a != account {
			t.Fatal("an answer of nobody's is believed")
		}
		// What is inside comes from who has the code, and does no harm all the same.
		pairing.Inside(c, b)
		if x, err := pairing.ParseCode(string(b)); err == nil {
			if again, err := pairing.ParseCode(x.Reveal()); err != nil || again.Box() != x.Box() {
				t.Fatal(err)
			}
		}
	})
}
