package room_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// A circle is a pseudonymous room of alice, bob and carol, and its hub's franking key.
type circle struct {
	w                 *world
	alice, bob, carol *device
	by                *room.Franker
	hub               room.Replica
}

func newCircle(t *testing.T) *circle {
	w := newWorld(t)
	c := &circle{w: w, alice: w.masked("alice@atlanta.example"), bob: w.masked("bob@biloxi.example"), carol: w.masked("carol@biloxi.example")}
	w.beginAs(c.alice, asPseudonymous(t))
	if err := c.alice.add(c.bob, c.carol); err != nil {
		t.Fatal(err)
	}
	c.by = must(room.NewFranker(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))))(t)
	c.hub = room.Replica{Domain: "atlanta.example", FrankingKey: c.by.Key()}
	return c
}

var hiddenSalt = [16]byte{1, 2, 3}

// request is a message of a device, as it goes to the hub without a sender.
func (c *circle) request(t *testing.T, d *device, text string) ([]byte, room.TxnNonce) {
	m := must(d.group.Encrypt([]byte(text), mls.SendOptions{AAD: wire.NewFrankAAD(hiddenSalt[:], []byte(text)).SafeAAD()}))(t)
	b := must((&wire.SubmitMessageRequest{Message: m, SendingURI: room.HiddenSender(clubhouse(t))}).Bytes())(t)
	return b, room.MessageNonce(hiddenSalt, sha256.Sum256(m.Bytes()))
}

func (c *circle) hide(t *testing.T, d *device, text string) *room.Hidden {
	b, nonce := c.request(t, d, text)
	return must(room.Hide(d.group, &c.hub, nonce, b))(t)
}

// admit gives the hub what came over relays.
func (c *circle) admit(t *testing.T, h *room.Hidden) (*room.Message, error) {
	h = must(room.ParseHidden(h.Bytes()))(t)
	return c.w.hub.AdmitHidden(h, must(wire.ParseSubmitMessageRequest(h.Request, room.BodyLimits()))(t), c.by)
}

// TestHiddenProof: the hub takes what a member of the present epoch has proved, whoever that is, and nothing else.
func TestHiddenProof(t *testing.T) {
	c := newCircle(t)
	for _, d := range []*device{c.alice, c.bob, c.carol} {
		if _, err := c.admit(t, c.hide(t, d, "hello")); err != nil {
			t.Errorf("%s: %v", d.user, err)
		}
	}
	// Every member makes the same proof of a submission, and so does the hub: it names nobody.
	b, nonce := c.request(t, c.bob, "hello")
	of := func(d *device) room.Proof { return must(room.Hide(d.group, &c.hub, nonce, b))(t).Proof }
	if of(c.alice) != of(c.bob) || of(c.bob) != of(c.carol) {
		t.Error("the proof tells members apart")
	}
	for name, spoil := range map[string]func(h *room.Hidden){
		"another proof": func(h *room.Hidden) { h.Proof[31] ^= 1 },
		"no proof":      func(h *room.Hidden) { h.Proof = room.Proof{} },
		"another nonce": func(h *room.Hidden) { h.Nonce[0] ^= 1 },
		"another request under an old proof": func(h *room.Hidden) {
			h.Request, _ = c.request(t, c.bob, "something else")
		},
	} {
		h := c.hide(t, c.bob, "hello")
		spoil(h)
		_, err := c.admit(t, h)
		wantErr(t, name, err, room.ErrSubmission)
	}
	// For another hub it is no proof.
	other := must(room.NewFranker(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))))(t)
	h := must(room.Hide(c.bob.group, &room.Replica{FrankingKey: other.Key()}, nonce, b))(t)
	_, err := c.admit(t, h)
	wantErr(t, "for another hub", err, room.ErrSubmission)
	if _, err := c.w.hub.AdmitHidden(h, must(wire.ParseSubmitMessageRequest(b, room.BodyLimits()))(t), other); err != nil {
		t.Errorf("the hub that it is for refuses it: %v", err)
	}
	for _, key := range [][]byte{nil, make([]byte, 31), append([]byte{1}, make([]byte, 31)...)} {
		if _, err := room.Hide(c.bob.group, &room.Replica{FrankingKey: key}, nonce, b); !errors.Is(err, mls.ErrMalformed) {
			t.Errorf("franking key %x: %v", key, err)
		}
	}
	// Who names itself goes the other way, and cannot be brought by nobody.
	m := must(c.bob.group.Encrypt([]byte("x"), mls.SendOptions{AAD: tagged("x")}))(t)
	named := must((&wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(c.bob.user.String())}).Bytes())(t)
	_, err = c.admit(t, must(room.Hide(c.bob.group, &c.hub, nonce, named))(t))
	wantErr(t, "it names itself", err, room.ErrSubmission)
}

// TestHiddenRemoved: who was removed has no proof any more, and what was made before is of an old epoch.
func TestHiddenRemoved(t *testing.T) {
	c := newCircle(t)
	before := c.hide(t, c.carol, "of the epoch before")
	ban := mls.CommitOptions{Remove: c.w.hub.Roster().Leaves(c.carol.user), Proposals: []*mls.Proposal{
		must(room.UpdateParticipants(c.alice.group.Public().Context(), []room.Participant{{User: c.carol.user, Role: policy.Banned}}, nil))(t)}}
	if err := c.alice.commit(ban); err != nil {
		t.Fatal(err)
	}
	_, err := c.admit(t, before)
	wantErr(t, "of the epoch before", err, room.ErrEpoch)
	// Carol has what she had: she makes a message that says that it is of the present epoch.
	h := c.hide(t, c.bob, "hello")
	forged := must(room.Hide(c.carol.group, &c.hub, h.Nonce, h.Request))(t)
	_, err = c.admit(t, forged)
	wantErr(t, "by who was removed", err, room.ErrSubmission)
	if _, err := c.admit(t, h); err != nil {
		t.Errorf("by who is there: %v", err)
	}
}

// TestHiddenWhereAllMaySend: where somebody in the group may not send, the hub has to know who does.
func TestHiddenWhereAllMaySend(t *testing.T) {
	c := newCircle(t)
	// Carol has said that she leaves, and is in the group until that is committed.
	if err := c.carol.propose(must(room.UpdateParticipants(c.carol.group.Public().Context(), nil, []uri.User{c.carol.user}))(t), &mls.Proposal{Type: mls.ProposalSelfRemove}); err != nil {
		t.Fatal(err)
	}
	_, err := c.admit(t, c.hide(t, c.bob, "hello"))
	wantErr(t, "somebody is about to go", err, room.ErrLeaving)
	if err := c.alice.commit(mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.admit(t, c.hide(t, c.bob, "hello")); err != nil {
		t.Errorf("when she has gone: %v", err)
	}
	defs := append([]policy.Definition{}, policy.Basic().All()...)
	i := slices.IndexFunc(defs, func(d policy.Definition) bool { return d.Index == policy.Member })
	defs[i].Capabilities = []policy.Capability{policy.AddOwnClient, policy.RemoveOwnClient, policy.RemoveSelf}
	if err := c.alice.define(must(policy.NewRoles(defs))(t)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{c.alice, c.bob} {
		_, err = c.admit(t, c.hide(t, d, "hello"))
		wantErr(t, "members may only read", err, room.ErrHidden)
	}
}

// TestHiddenInOpenRoom: there the hub knows everybody by name, and there are no hidden messages.
func TestHiddenInOpenRoom(t *testing.T) {
	w := newWorld(t)
	alice := w.device("alice@atlanta.example", "phone")
	w.begin(alice)
	c := &circle{w: w, alice: alice, by: must(room.NewFranker(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))))(t)}
	c.hub = room.Replica{FrankingKey: c.by.Key()}
	_, err := c.admit(t, c.hide(t, alice, "hello"))
	wantErr(t, "open room", err, room.ErrHidden)
}

// TestHiddenFrank: a hidden message's frank is good for members of a pseudonymous room, says so, and does not
// show who said it to anybody who judges a report: every member could have submitted it.
func TestHiddenFrank(t *testing.T) {
	c := newCircle(t)
	m := must(c.admit(t, c.hide(t, c.bob, "hello")))(t)
	nonce := room.MessageNonce(hiddenSalt, sha256.Sum256(m.Message.Bytes()))
	if err := c.by.Frank(m, clubhouse(t), room.HiddenSender(clubhouse(t)), frankedAt, nonce); err != nil {
		t.Fatal(err)
	}
	bob := c.bob.user.String()
	p := &room.Plain{Salt: hiddenSalt, Sender: bob, Room: clubhouse(t).String(), Data: []byte("hello")}
	got, hidden, err := m.CheckHidden(&c.hub, clubhouse(t), bob, frankedAt, p)
	if err != nil || !hidden || got != nonce {
		t.Errorf("hidden %v, %v", hidden, err)
	}
	_, err = m.CheckFrank(&c.hub, clubhouse(t), bob, frankedAt, p)
	wantErr(t, "in an open room", err, room.ErrFrank)
	_, _, err = m.CheckHidden(&c.hub, clubhouse(t), bob, frankedAt+1, p)
	wantErr(t, "at another time", err, room.ErrFrank)
	for _, sender := range []string{bob, c.alice.user.String()} {
		x := &room.Reported{Frank: m.Frank, AcceptedAt: frankedAt, Plain: &room.Plain{Salt: hiddenSalt, Sender: sender, Room: p.Room, Data: p.Data}, Nonce: nonce, Logged: true}
		_, err := x.Judge(c.by, "atlanta.example", []room.Replica{c.hub})
		wantErr(t, "a report against "+sender, err, room.ErrFrank)
	}
	// One that names its sender is not taken for a hidden one.
	if err := c.by.Frank(m, clubhouse(t), wire.IdentifierURI(bob), frankedAt, nonce); err != nil {
		t.Fatal(err)
	}
	if _, hidden, err := m.CheckHidden(&c.hub, clubhouse(t), bob, frankedAt, p); err != nil || hidden {
		t.Errorf("named: hidden %v, %v", hidden, err)
	}
}

// FuzzHidden: what is read is written as it was, and nothing panics.
func FuzzHidden(f *testing.F) {
	f.Add((&room.Hidden{Nonce: room.TxnNonce{1}, Request: []byte("request")}).Bytes())
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := room.ParseHidden(b)
		if err == nil && !bytes.Equal(h.Bytes(), b) {
			t.Errorf("%x became %x", b, h.Bytes())
		}
	})
}
