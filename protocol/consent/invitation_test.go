package consent_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/mls"
)

func TestInvitationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zé ]{0,60}`)
		v := &consent.Invitation{RoomName: text.Draw(t, "name"), Role: text.Draw(t, "role"), Note: text.Draw(t, "note")}
		b := v.Append(nil)
		got, err := consent.InvitationOf(mls.Dictionary{consent.InvitationComponent: b})
		if err != nil || *got != *v || len(b) > consent.MaxInvitation {
			t.Fatalf("%+v, %v", got, err)
		}
		if _, err := consent.ParseInvitation(append(bytes.Clone(b), 0)); !errors.Is(err, consent.ErrInvitation) {
			t.Fatal(err)
		}
		if _, err := consent.ParseInvitation(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); !errors.Is(err, consent.ErrInvitation) {
			t.Fatal(err)
		}
	})
	if v, err := consent.InvitationOf(mls.Dictionary{7: {1}}); v != nil || err != nil {
		t.Error(v, err)
	}
	for _, bad := range []string{"a\nb", "\x1b[1m", "a\u202eb", "\xff", strings.Repeat("x", 257)} {
		for _, v := range []consent.Invitation{{RoomName: bad}, {Role: bad}, {Note: bad}} {
			if _, err := consent.ParseInvitation(v.Append(nil)); !errors.Is(err, consent.ErrInvitation) {
				t.Errorf("%q is read: %v", bad, err)
			}
		}
	}
	if _, err := consent.ParseInvitation(append([]byte{2}, (&consent.Invitation{}).Append(nil)[1:]...)); !errors.Is(err, consent.ErrInvitation) {
		t.Error("another version is read")
	}
}

// An invitation differs from other requests in one thing: no is an answer.
func TestStepInvitation(t *testing.T) {
	for _, s := range states {
		for e := consent.Request; e <= consent.Unblock; e++ {
			next, effect, err := consent.Step(consent.Ask, s, e)
			if s == consent.Requested && e == consent.Revoke {
				effect = consent.TellRevoke
			}
			gotNext, gotEffect, gotErr := consent.StepInvitation(consent.Ask, s, e)
			if gotNext != next || gotEffect != effect || (err == nil) != (gotErr == nil) {
				t.Errorf("%s in %s: %s, %s, %v", e, s, gotNext, gotEffect, gotErr)
			}
		}
	}
	for s, hears := range map[consent.State]bool{consent.None: true, consent.Requested: true, consent.Granted: true, consent.Held: true, consent.Revoked: false, consent.Blocked: false} {
		if consent.Hears(s) != hears {
			t.Errorf("%s: %t", s, !hears)
		}
	}
}

func FuzzInvitation(f *testing.F) {
	f.Add((&consent.Invitation{RoomName: "club", Role: "member", Note: "join us"}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := consent.ParseInvitation(b)
		if err == nil && !bytes.Equal(v.Append(nil), b) {
			t.Fatalf("%x", b)
		}
	})
}
