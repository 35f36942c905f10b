package room_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
)

const frankedAt = 1_700_000_000_123

// franked is bob's message in the clubhouse, and what receivers have of it.
type franked struct {
	w     *world
	by    *room.Franker
	hub   room.Replica
	body  *room.Message
	plain room.Plain
	salt  [16]byte
}

func newFranked(t *testing.T, spoil func(*franked, *mls.SendOptions)) *franked {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	f := &franked{w: w, by: must(room.NewFranker(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))))(t), salt: [16]byte{1, 2, 3}}
	f.hub = room.Replica{Domain: "atlanta.example", FrankingKey: f.by.Key()}
	f.plain = room.Plain{Salt: f.salt, Sender: bob.user.String(), Room: clubhouse(t).String(), Data: []byte("what was said")}
	o := mls.SendOptions{AAD: wire.NewFrankAAD(f.salt[:], f.plain.Data).SafeAAD()}
	if spoil != nil {
		spoil(f, &o)
	}
	m := must(bob.group.Encrypt(f.plain.Data, o))(t)
	f.body = must(w.hub.AdmitMessage(&wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(bob.user.String())}, "biloxi.example"))(t)
	f.frank(t, bob.user.String(), frankedAt)
	return f
}

func (f *franked) frank(t *testing.T, sender string, at uint64) {
	nonce := room.MessageNonce(f.salt, sha256.Sum256(f.body.Message.Bytes()))
	if err := f.by.Frank(f.body, clubhouse(t), wire.IdentifierURI(sender), at, nonce); err != nil {
		t.Fatal(err)
	}
}

func (f *franked) check(t *testing.T) error {
	// As receivers have it: out of an entry.
	m := must(room.ParseMessage(must(f.body.Bytes())(t)))(t)
	_, err := m.CheckFrank(&f.hub, clubhouse(t), "mimi://biloxi.example/u/bob", frankedAt, &f.plain)
	return err
}

// TestFrankReceiverChecks_5_4_1: what a receiver verifies, one thing wrong at a time, and
// whose fault it is said to be.
func TestFrankReceiverChecks_5_4_1(t *testing.T) {
	other := must(room.NewFranker(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))))(t)
	for _, row := range []struct {
		name  string
		at    func(*franked, *mls.SendOptions) // the sender, before it is sent
		after func(*testing.T, *franked)       // the hub, or the receiver
		want  string                           // in the error; "" for none
	}{
		{"as it must be", nil, nil, ""},
		{"the sender commits to other words", func(f *franked, o *mls.SendOptions) {
			o.AAD = wire.NewFrankAAD(f.salt[:], []byte("something harmless")).SafeAAD()
		}, nil, "the commitment is to something else"},
		{"the sender commits under another salt", func(f *franked, o *mls.SendOptions) {
			o.AAD = wire.NewFrankAAD([]byte("salt"), f.plain.Data).SafeAAD()
		}, nil, "the commitment is"},
		{"the content names another sender", func(f *franked, _ *mls.SendOptions) { f.plain.Sender = "mimi://atlanta.example/u/alice" }, nil, "it says that it is by"},
		{"the content names no sender", func(f *franked, _ *mls.SendOptions) { f.plain.Sender = "" }, nil, "it says that it is by"},
		{"the content names another room", func(f *franked, _ *mls.SendOptions) { f.plain.Room += "2" }, nil, "it says that it is for"},
		{"no frank", nil, func(_ *testing.T, f *franked) { f.body.Frank = nil }, "has not franked it"},
		{"another suite", nil, func(_ *testing.T, f *franked) { f.body.Frank.Suite = 3 }, "cipher suite"},
		{"the hub alters the frank", nil, func(_ *testing.T, f *franked) { f.body.Frank.ServerFrank[0] ^= 1 }, "the frank of the hub atlanta.example"},
		{"the hub alters the signature", nil, func(_ *testing.T, f *franked) { f.body.Frank.Signature[0] ^= 1 }, "the frank of the hub"},
		{"the hub franks it as another's", nil, func(t *testing.T, f *franked) { f.frank(t, "mimi://atlanta.example/u/alice", frankedAt) }, "the frank of the hub"},
		{"the hub franks another time", nil, func(t *testing.T, f *franked) { f.frank(t, f.plain.Sender, frankedAt+1) }, "the frank of the hub"},
		{"another hub's key", nil, func(_ *testing.T, f *franked) { f.hub.FrankingKey = other.Key() }, "the frank of the hub"},
		{"a nonce that is not the message's", nil, func(t *testing.T, f *franked) {
			_ = f.by.Frank(f.body, clubhouse(t), wire.IdentifierURI(f.plain.Sender), frankedAt, room.TxnNonce{1})
		}, "the frank of the hub"},
		{"MIMI's own signature", nil, func(t *testing.T, f *franked) {
			_ = f.by.Frank(f.body, clubhouse(t), wire.IdentifierURI(f.plain.Sender), frankedAt, room.TxnNonce{})
		}, ""},
	} {
		f := newFranked(t, row.at)
		if row.after != nil {
			row.after(t, f)
		}
		err := f.check(t)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
		if row.want != "" {
			wantErr(t, row.name, err, room.ErrFrank)
			if errors.Is(err, room.ErrTag) != (row.at != nil) {
				t.Errorf("%s: %v, who is to blame?", row.name, err)
			}
		}
	}
}

// TestFrankNamesNobody: who keeps the log and cannot read it learns nothing about the
// sender by trying the participants; with MIMI's own signature it would.
func TestFrankNamesNobody(t *testing.T) {
	f := newFranked(t, nil)
	try := func(who string, nonce room.TxnNonce) bool {
		return room.VerifyFrank(&f.hub, f.body.Frank, &room.Plain{Sender: who, Room: f.plain.Room}, frankedAt, nonce) == nil
	}
	nonce := room.MessageNonce(f.salt, sha256.Sum256(f.body.Message.Bytes()))
	for _, who := range []string{"mimi://atlanta.example/u/alice", "mimi://biloxi.example/u/bob"} {
		if try(who, room.TxnNonce{}) {
			t.Errorf("the entry shows that it is by %s", who)
		}
	}
	if !try(f.plain.Sender, nonce) || try("mimi://atlanta.example/u/alice", nonce) {
		t.Error("with the nonce, which the receivers have, it does not verify for bob alone")
	}
	if err := f.by.Frank(f.body, clubhouse(t), wire.IdentifierURI(f.plain.Sender), frankedAt, room.TxnNonce{}); err != nil {
		t.Fatal(err)
	}
	if !try(f.plain.Sender, room.TxnNonce{}) {
		t.Error("MIMI's own signature does not verify: the test above shows nothing")
	}
}

// TestFrankMade: the hub knows its own franks by its hub_key, and nobody else's.
func TestFrankMade(t *testing.T) {
	f := newFranked(t, nil)
	other := must(room.NewFranker(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))))(t)
	wantErr(t, "its own", f.by.Made(f.body.Frank, &f.plain, frankedAt), nil)
	wantErr(t, "another hub", other.Made(f.body.Frank, &f.plain, frankedAt), room.ErrFrank)
	for name, spoil := range map[string]func(p *room.Plain, at *uint64){
		"other words":  func(p *room.Plain, _ *uint64) { p.Data = []byte("worse") },
		"another salt": func(p *room.Plain, _ *uint64) { p.Salt[0]++ },
		"another user": func(p *room.Plain, _ *uint64) { p.Sender = "mimi://atlanta.example/u/alice" },
		"another room": func(p *room.Plain, _ *uint64) { p.Room += "x" },
		"another time": func(_ *room.Plain, at *uint64) { *at++ },
	} {
		p, at := f.plain, uint64(frankedAt)
		spoil(&p, &at)
		wantErr(t, name, f.by.Made(f.body.Frank, &p, at), room.ErrFrank)
	}
	if s := fmt.Sprintf("%v %+v %#v %s %x", f.by, f.by, f.by, f.by, f.by); strings.Contains(s, hex.EncodeToString(bytes.Repeat([]byte{7}, 32))) || strings.Contains(s, "7, 7, 7") {
		t.Errorf("a Franker prints its key: %s", s)
	}
}

// TestFrankKnownAnswer writes the derivations out.
func TestFrankKnownAnswer(t *testing.T) {
	f := newFranked(t, nil)
	secret := must(hkdf.Key(sha256.New, bytes.Repeat([]byte{7}, 32), nil, "mimid hub_key v1", 32))(t)
	tag := hmacOf(f.salt[:], f.plain.Data)
	ctx := joined(byte(len(f.plain.Sender)), f.plain.Sender, byte(len(f.plain.Room)), f.plain.Room, []byte{0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x7b})
	want := hmacOf(secret, append(bytes.Clone(tag), ctx...))
	if !bytes.Equal(f.body.Frank.ServerFrank[:], want) {
		t.Errorf("server_frank %x, want %x", f.body.Frank.ServerFrank, want)
	}
	if aad := f.body.Message.Private.AAD(); !bytes.Equal(aad, append([]byte{35, 0x00, 0x20, 32}, tag...)) {
		t.Errorf("authenticated data %x", aad)
	}
	hash := sha256.Sum256(f.body.Message.Bytes())
	nonce := hmacOf(f.salt[:], append([]byte("mimid message nonce v1"), hash[:]...))[:16]
	if n := room.MessageNonce(f.salt, hash); !bytes.Equal(n[:], nonce) {
		t.Errorf("nonce %x, want %x", n, nonce)
	}
	tbs := append(append(append(bytes.Clone(want), 0, 1), ctx...), nonce...)
	if err := room.Suite.Verify(f.by.Key(), "mimid hidden FrankingIntegrityTBS", tbs, f.body.Frank.Signature); err != nil {
		t.Error(err)
	}
}

func hmacOf(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}

func joined(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case byte:
			b = append(b, p)
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

// FuzzFrankAAD: authenticated data is what anybody may send.
func FuzzFrankAAD(f *testing.F) {
	f.Add(tagged("x"))
	f.Add([]byte{})
	f.Add([]byte{0x40, 0x23, 0x00, 0x20, 32})
	f.Fuzz(func(t *testing.T, b []byte) {
		tag, err := wire.FrankAADOf(b, room.BodyLimits())
		if err != nil {
			return
		}
		if again, err := wire.FrankAADOf(tag.SafeAAD(), room.BodyLimits()); err != nil || *again != *tag {
			t.Fatalf("%x: %v, %v", b, again, err)
		}
	})
}

func BenchmarkFrank(b *testing.B) {
	w := newWorld(b)
	alice := w.device("alice@atlanta.example", "phone")
	w.begin(alice)
	m := &room.Message{Message: must(alice.group.Encrypt([]byte("x"), mls.SendOptions{AAD: tagged("x")}))(b)}
	f := must(room.NewFranker(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))))(b)
	r, sender := clubhouse(b), wire.IdentifierURI(alice.user.String())
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Frank(m, r, sender, uint64(time.Second), room.TxnNonce{1}); err != nil {
			b.Fatal(err)
		}
	}
}
