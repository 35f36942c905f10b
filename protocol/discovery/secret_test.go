package discovery_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/mimid/mimid/protocol/discovery"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// secretOf derives a secret of the public network.
func secretOf(t testing.TB, s string) discovery.Secret {
	t.Helper()
	out, err := discovery.Network{}.Secret(sii(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSecretDependsOnIdentifierAndNetwork(t *testing.T) {
	a := secretOf(t, "handle:ekr")
	named, err := discovery.Network{Salt: discovery.DefaultSalt}.Secret(sii(t, "handle:EKR"))
	if err != nil || !a.Equal(named) {
		t.Error("the same identifier and salt give another secret", err)
	}
	other, err := discovery.Network{Salt: "lab"}.Secret(sii(t, "handle:ekr"))
	if err != nil || a.Equal(other) {
		t.Error("another network has the same secret", err)
	}
	if a.Equal(secretOf(t, "handle:ekr2")) {
		t.Error("another identifier has the same secret")
	}
	if _, err := (discovery.Network{}).Secret(discovery.SII{}); !errors.Is(err, discovery.ErrNoIdentifier) {
		t.Error(err)
	}
}

// What is announced in one version has to be found by the next.
func TestKeysStayTheSame(t *testing.T) {
	s, err := discovery.ParseSecret(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	day, handle, id := s.DayKey(discovery.DayOf(now)), s.Handle(), s.ClaimID()
	got := fmt.Sprintf("%x %x %x", day[:4], handle[:4], id[:4])
	if want := "7769f3ba bb9efb3a 2c0dbfc4"; got != want {
		t.Errorf("keys are %s, were %s", got, want)
	}
	e := secretOf(t, "handle:ekr").Bytes()
	if got, want := hex.EncodeToString(e[:4]), "86bd9072"; got != want {
		t.Errorf("secret of handle:ekr begins with %s, was %s", got, want)
	}
}

func TestDerivedKeysAreApart(t *testing.T) {
	s := secretOf(t, "handle:ekr")
	seen := map[[32]byte]string{[32]byte(s.Bytes()): "secret"}
	add := func(name string, k [32]byte) {
		if was := seen[k]; was != "" {
			t.Errorf("%s and %s are the same key", name, was)
		}
		seen[k] = name
	}
	add("handle", s.Handle())
	add("claim id", s.ClaimID())
	for d := discovery.Day(0); d < 300; d++ {
		add(d.String(), s.DayKey(d))
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := secretOf(t, "handle:ekr")
	type holder struct {
		s discovery.Secret
		p *discovery.Secret
	}
	h := holder{s, &s}
	out := fmt.Sprintf("%v %+v %#v %s %x %q %d %v %+v %#v %x %v", s, s, s, s, s, s, s, h, h, h, &s, &h)
	j, err := json.Marshal([]any{s})
	if err != nil {
		t.Fatal(err)
	}
	out += string(j)
	b := s.Bytes()
	for _, form := range []string{string(b[:8]), hex.EncodeToString(b[:4]), fmt.Sprint(b[:4])[1:8], fmt.Sprintf("%#v", b[:2])[7:15]} {
		if strings.Contains(out, form) {
			t.Errorf("printed: %s", out)
		}
	}
}

func TestSecretIsStored(t *testing.T) {
	s := secretOf(t, "handle:ekr")
	b := s.Bytes()
	again, err := discovery.ParseSecret(b)
	if err != nil || !again.Equal(s) {
		t.Fatal("another secret", err)
	}
	b[0]++
	if !again.Equal(s) {
		t.Error("the secret changes with the caller's bytes")
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := discovery.ParseSecret(make([]byte, n)); !errors.Is(err, discovery.ErrStored) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	var zero discovery.Secret
	if !zero.IsZero() || zero.Bytes() != nil || zero.Equal(s) || s.Equal(zero) || !zero.Equal(zero) {
		t.Error("the zero secret is something")
	}
}

func TestDays(t *testing.T) {
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	d := discovery.DayOf(now)
	for _, c := range []struct {
		why  string
		at   time.Time
		want [3]discovery.Day
	}{
		{"noon", now, [3]discovery.Day{d - 1, d, d + 1}},
		{"just before midnight", midnight.Add(-time.Nanosecond), [3]discovery.Day{d - 1, d, d + 1}},
		{"midnight", midnight, [3]discovery.Day{d, d + 1, d + 2}},
		{"midnight elsewhere", midnight.In(time.FixedZone("", -8*3600)), [3]discovery.Day{d, d + 1, d + 2}},
		{"the first day", time.Unix(0, 0), [3]discovery.Day{0, 0, 1}},
		{"before the first day", time.Unix(-1e9, 0), [3]discovery.Day{0, 0, 1}},
		{"after the last day", time.Unix(1<<50, 0), [3]discovery.Day{1<<32 - 2, 1<<32 - 1, 1<<32 - 1}},
	} {
		if got := discovery.Accepted(c.at); got != c.want {
			t.Errorf("%s: accepted %v, want %v", c.why, got, c.want)
		}
		if got := discovery.Days(c.at); got != [2]discovery.Day(c.want[1:]) {
			t.Errorf("%s: announced %v, want %v", c.why, got, c.want[1:])
		}
	}
	if d.String() != "2026-11-23" {
		t.Error(d)
	}
}

// The second is what one guess costs; the first is how much of that is argon2id,
// on purpose, and how little everything else.
func BenchmarkArgon2id(b *testing.B) {
	for b.Loop() {
		argon2.IDKey([]byte("tel:+16505551000"), make([]byte, 32), 2, 19<<10, 1, 32)
	}
}

func BenchmarkFromTextToDayKeys(b *testing.B) {
	for b.Loop() {
		s := secretOf(b, "tel:+1-650-555-1000")
		s.Handle()
		s.ClaimID()
		for _, d := range discovery.Days(now) {
			s.DayKey(d)
		}
	}
}
