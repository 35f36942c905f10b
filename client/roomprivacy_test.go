package client_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// TestRoomPrivacy: an open room has no other privacy, is shown with it, and what is none is refused.
func TestRoomPrivacy(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	u := alice.create("clubhouse")
	for _, p := range []client.RoomPrivacy{{}, {Level: "pigeon"}, {Level: client.PrivacyOpen, RefuseBelow: 1}, {Level: client.PrivacyOnion, WarnBelow: -1}} {
		if err := alice.c.SetRoomPrivacy(ctx10(t), u, p); !errors.Is(err, client.ErrPrivacy) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, level := range []string{client.PrivacyPseudonymous, client.PrivacyOnion} {
		if err := alice.c.SetRoomPrivacy(ctx10(t), u, client.RoomPrivacy{Level: level}); !errors.Is(err, client.ErrRefused) {
			t.Errorf("%s in an open room: %v", level, err)
		}
	}
	if err := alice.c.SetRoomPrivacy(ctx10(t), u, client.RoomPrivacy{Level: client.PrivacyOpen}); err != nil {
		t.Error(err)
	}
	if r := must(alice.c.FindRoom(ctx10(t), u.String()))(t); r.Privacy != (client.RoomPrivacy{Level: client.PrivacyOpen}) {
		t.Errorf("shown as %+v", r.Privacy)
	}
}

// TestBelievesTheHub: that a message is accepted which went over relays a device takes from the hub alone, by its
// frank: for this message, from somebody in this room.
func TestBelievesTheHub(t *testing.T) {
	by := must(room.NewFranker(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))))(t)
	other := must(room.NewFranker(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))))(t)
	u := must(uri.ParseRoom("mimi://atlanta.example/r/clubhouse"))(t)
	g := must(mls.CreateGroup(mls.GroupParams{LeafParams: mls.LeafParams{Suite: room.Suite, Signer: must(mls.GenerateSignatureKey(room.Suite))(t), Credential: mls.BasicCredential([]byte("x")), Lifetime: mls.LifetimeOf(time.Now(), time.Hour)}, GroupID: []byte("group")}, mls.Config{Authenticator: mls.AcceptBasic{}}))(t)
	m := must(g.Encrypt([]byte("hello"), mls.SendOptions{AAD: wire.NewFrankAAD([]byte("salt"), []byte("hello")).SafeAAD()}))(t)
	nonce := room.TxnNonce{1}
	answer := func(by *room.Franker, sender wire.IdentifierURI, at uint64, n room.TxnNonce) *wire.SubmitMessageResponse {
		x := &room.Message{Message: m}
		if err := by.Frank(x, u, sender, 1000, n); err != nil {
			t.Fatal(err)
		}
		return &wire.SubmitMessageResponse{Code: wire.SubmitAccepted, AcceptedAt: at, Frank: x.Frank}
	}
	here := room.HiddenSender(u)
	for name, c := range map[string]struct {
		a      *wire.SubmitMessageResponse
		hidden bool
		good   bool
	}{
		"the hub's":            {answer(by, here, 1000, nonce), true, true},
		"another provider's":   {answer(other, here, 1000, nonce), true, false},
		"another message's":    {answer(by, here, 1000, room.TxnNonce{2}), true, false},
		"at another time":      {answer(by, here, 1001, nonce), true, false},
		"as somebody's":        {answer(by, "mimi://biloxi.example/u/bob", 1000, nonce), true, false},
		"not signed":           {&wire.SubmitMessageResponse{Code: wire.SubmitAccepted, AcceptedAt: 1000}, true, false},
		"not signed, openly":   {&wire.SubmitMessageResponse{Code: wire.SubmitAccepted, AcceptedAt: 1000}, false, true},
		"no acceptance at all": {&wire.SubmitMessageResponse{Code: wire.SubmitEpochTooOld}, true, true},
	} {
		err := client.Believes(room.Replica{Domain: "atlanta.example", FrankingKey: by.Key()}, u, nonce[:], c.hidden, c.a)
		if (err == nil) != c.good || err != nil && !errors.Is(err, client.ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
