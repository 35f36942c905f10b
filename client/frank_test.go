package client_test

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// TestFrankHostileHub_5_4_1: what the hub has not franked as it must is shown by nobody,
// the sender is told that it has come to nothing, and what comes after is read.
func TestFrankHostileHub_5_4_1(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(m *room.Message)
	}{
		{"it leaves the frank out", func(m *room.Message) { m.Frank = nil }},
		{"it alters the frank", func(m *room.Message) { m.Frank.ServerFrank[3] ^= 1 }},
		{"it alters the signature", func(m *room.Message) { m.Frank.Signature[3] ^= 1 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFake(t)
			alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
			u := alice.create("clubhouse")
			alice.add(u, bob)
			bob.send(u, "before")
			alice.hears(u, "bob: before")
			f.set(func() { f.spoil = row.spoil })
			i, err := bob.c.Send(ctx10(t), u, "spoiled")
			if err != nil {
				t.Fatal(err)
			}
			p := await(alice, func(p client.Problem) bool { return errors.Is(p.Err, room.ErrFrank) })
			if errors.Is(p.Err, room.ErrTag) || !strings.Contains(p.Err.Error(), "atlanta.example") {
				t.Errorf("told %v: the hub is to blame", p.Err)
			}
			s := await(bob, func(s client.SendState) bool { return s.Index == i && s.State == client.StateFailed })
			if s.Err == nil || !strings.Contains(s.Err.Error(), "atlanta.example spoiled it") {
				t.Errorf("the sender is told %v", s.Err)
			}
			f.set(func() { f.spoil = nil })
			bob.send(u, "after")
			alice.hears(u, "bob: before", "bob: after")
		})
	}
}

// TestFrankCopy: the plaintext goes by the hash of the ciphertext, and of several copies
// the one is taken whose frank verifies.
func TestFrankCopy(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	var whole room.Message
	f.set(func() { f.spoil = func(m *room.Message) { whole, m.Frank = *m, nil } })
	if _, err := bob.c.Send(ctx10(t), u, "twice"); err != nil {
		t.Fatal(err)
	}
	await(alice, func(p client.Problem) bool { return errors.Is(p.Err, room.ErrFrank) })
	alice.restart() // what was read is kept
	again := func(m room.Message) {
		f.set(func() {
			x := f.rooms[room.IDOf([]byte(u.String()))]
			e := x.state.NewEntry(room.KindMessage, room.TxnID{byte(len(x.entries))}, nil, f.now())
			by := must(room.NewFranker(x.key))(t)
			if m.Frank != nil {
				nonce := room.MessageNonce(saltOf(t, bob, u), hashOf(m.Message))
				if err := by.Frank(&m, u, "mimi://biloxi.example/u/bob", e.AcceptedAt, nonce); err != nil {
					t.Error(err)
				}
			}
			e.Body = must(m.Bytes())(t)
			st := must(x.state.Check(e))(t)
			if err := x.state.Advance(st); err != nil {
				t.Error(err)
			}
			f.order(x, e)
		})
	}
	f.set(func() { f.spoil = nil })
	again(room.Message{Message: whole.Message})
	await(alice, func(p client.Problem) bool { return errors.Is(p.Err, room.ErrFrank) })
	again(whole)
	again(whole)
	bob.send(u, "after")
	alice.hears(u, "bob: twice", "bob: after")
}

// TestFrankHostileSender: who commits to something else than it says is read by nobody.
func TestFrankHostileSender_5_4_1(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	agree(u, alice, bob)
	if err := bob.c.SendMiscommitted(ctx10(t), u, "insult"); err != nil {
		t.Fatal(err)
	}
	await(alice, func(p client.Problem) bool { return errors.Is(p.Err, room.ErrTag) })
	alice.send(u, "what was that?")
	if got := alice.texts(u); len(got) != 1 {
		t.Errorf("alice reads %q", got)
	}
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func hashOf(m *mls.Message) [sha256.Size]byte { return sha256.Sum256(m.Bytes()) }

// saltOf is that of the first message.
func saltOf(t *testing.T, p *person, u uri.Room) [16]byte {
	return must(p.c.Messages(u, 0, 1))(t)[0].Content.Salt
}
