package rooms_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// relayed is a rooms.Veil: requests arrive from nobody. lose takes the answer to one away.
type relayed struct {
	p     *provider
	asked atomic.Int64
	lose  atomic.Int64 // how many answers are still lost
	shut  atomic.Bool
}

func (v *relayed) Check(p *clientapi.Privacy) error {
	if v.shut.Load() || p.Floor > 3 {
		return &clientapi.Problem{Status: 503, Code: clientapi.CodePrivacy, Detail: "nothing was sent"}
	}
	return nil
}

func (v *relayed) Call(ctx context.Context, c rooms.Call) ([]byte, error) {
	v.asked.Add(1)
	res, err := v.p.w.ps[c.Target].serve(ctx, c.Endpoint, &rooms.Request{Subject: c.Subject, Body: c.Body})
	if v.lose.Add(-1) >= 0 {
		return nil, &clientapi.Problem{Status: 502, Code: clientapi.CodeUnreachable, Detail: "no answer"}
	}
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// names are the pseudonyms of users, one for each.
type names map[uri.User]uri.User

func (n names) User(_ *store.Tx, p uri.User, _ uri.Room) (uri.User, error) {
	for u, x := range n {
		if x == p {
			return u, nil
		}
	}
	return uri.User{}, nil
}

func (n names) In(_ *store.Tx, u uri.User, _ uri.Room) (uri.User, error) {
	return n[u], nil
}

// masked is device for one that takes part under a pseudonym. Its identity stays what it is.
func (w *world) masked(n names, short, name string) *device {
	t := w.t
	t.Helper()
	d := w.device(short, name)
	sig := must(mls.GenerateSignatureKey(room.Suite))(t)
	p := d.who.User.Provider()
	c := &pseudonym.Credential{Client: must(pseudonym.New(p))(t), User: must(pseudonym.New(p))(t), Key: sig.Public()}
	if err := c.Seal(pseudonym.NewKey(), uri.Room{}, pseudonym.Identity{Suite: room.Suite, Signer: d.leaf.Signer, Credential: d.leaf.Credential}); err != nil {
		t.Fatal(err)
	}
	caps := pseudonym.Capabilities()
	d.as = c.User.Participant()
	n[d.who.User] = d.as
	d.leaf = mls.LeafParams{Suite: room.Suite, Signer: sig, Credential: c.MLS(), Capabilities: &caps, Lifetime: mls.LifetimeOf(time.Now(), time.Hour)}
	return d
}

// hidden is a message of the device that is to go over relays.
func (d *device) hidden(hub *provider, name, text string) *clientapi.SubmitMessage {
	t := d.p.w.t
	t.Helper()
	m := must(d.group.Encrypt([]byte(text), mls.SendOptions{AAD: tagged(text)}))(t)
	u := must(uri.ParseRoom(name))(t)
	req := must((&wire.SubmitMessageRequest{Message: m, SendingURI: room.HiddenSender(u)}).Bytes())(t)
	n := room.MessageNonce([16]byte{}, sha256.Sum256(m.Bytes()))
	h, err := room.Hide(d.group, &room.Replica{FrankingKey: hub.franker().Key()}, n, req)
	if err != nil {
		t.Fatal(err)
	}
	return &clientapi.SubmitMessage{Request: req, Nonce: n[:], Proof: h.Proof[:], Privacy: &clientapi.Privacy{Over: "onion", Floor: 2}}
}

// TestHiddenMessages: messages of a pseudonymous room come over relays, from nobody; each is ordered once, however
// often it is brought; and nothing goes another way.
func TestHiddenMessages(t *testing.T) {
	w, n := prepareWorld(t, false, "atlanta.example", "biloxi.example"), names{}
	veils := map[string]*relayed{}
	for d, p := range w.ps {
		v := &relayed{p: p}
		veils[d] = v
		p.tweak = func(cfg *rooms.Config) { cfg.Veil, cfg.Pseudonyms = v, n }
	}
	w.start()
	atlanta, biloxi := w.ps["atlanta.example"], w.ps["biloxi.example"]
	v := veils[biloxi.domain]
	alice, bob := w.masked(n, "alice@atlanta.example", "phone"), w.masked(n, "bob@biloxi.example", "phone")
	id, r, err := alice.createWith("circle", room.AsPseudonymous)
	if err != nil {
		t.Fatal(err)
	}
	name := r.URI
	real := bob.who.User // the helper adds whom a device is
	bob.who.User = bob.as
	err = alice.add(id, bob)
	if bob.who.User = real; err != nil {
		t.Fatal(err)
	}
	bob.follow(id, 2)
	alice.follow(id, 2)
	privately := func(what string, err error) {
		t.Helper()
		if p, ok := errors.AsType[*clientapi.Problem](err); !ok || p.Code != clientapi.CodePrivacy {
			t.Errorf("%s: %v", what, err)
		}
	}

	// The answer is lost twice, and the message comes again each time.
	m := bob.hidden(atlanta, name, "one")
	v.lose.Store(2)
	for range 2 {
		if _, err := bob.send(id, m); err == nil {
			t.Error("it is accepted, and no answer came")
		}
	}
	accepted := m
	first, err := bob.send(id, m)
	if err != nil || first.Code != wire.SubmitAccepted || first.Frank == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	second, err := bob.send(id, bob.hidden(atlanta, name, "two"))
	if err != nil || second.Code != wire.SubmitAccepted {
		t.Fatalf("%+v, %v", second, err)
	}
	alice.follow(id, 4)
	if got := alice.plain; len(got) != 2 || got[0] != "one" || got[1] != "two" {
		t.Errorf("alice reads %q", got)
	}
	if got := v.asked.Load(); got != 4 || atlanta.called(wire.EndpointSubmitMessage.String()) != 0 {
		t.Errorf("asked %d times over relays, %d times otherwise", got, atlanta.called(wire.EndpointSubmitMessage.String()))
	}
	if got := atlanta.rooms.Stats(); got.Duplicates != 2 {
		t.Errorf("%d duplicates", got.Duplicates)
	}

	// The frank says that it is of the room, and of nobody in it.
	tag := func(sender string) *room.Plain { return &room.Plain{Sender: sender, Room: name} }
	blind := room.TxnNonce(m.Nonce)
	hub := &room.Replica{FrankingKey: atlanta.franker().Key()}
	if err := room.VerifyFrank(hub, first.Frank, tag(name), first.AcceptedAt, blind); err != nil {
		t.Errorf("the frank is not of the room: %v", err)
	}
	for _, u := range n {
		if room.VerifyFrank(hub, first.Frank, tag(u.String()), first.AcceptedAt, blind) == nil {
			t.Errorf("the frank names %s", u)
		}
	}

	// What does not go over relays does not go.
	asked := v.asked.Load()
	high := bob.hidden(atlanta, name, "three")
	high.Privacy.Floor = 4
	_, err = bob.send(id, high)
	privately("below the floor", err)
	v.shut.Store(true)
	_, err = bob.send(id, bob.hidden(atlanta, name, "three"))
	privately("no way", err)
	v.shut.Store(false)
	_, err = alice.send(id, alice.hidden(atlanta, name, "three"))
	privately("her own provider is the hub", err)
	if v.asked.Load() != asked || veils[atlanta.domain].asked.Load() != 0 {
		t.Error("something was asked")
	}
	// What was made for the open way, and what has no proof, does not go over relays, and the other way round.
	for what, spoil := range map[string]func(*clientapi.SubmitMessage){
		"named":          func(m *clientapi.SubmitMessage) { m.Request = bob.message("x").Request },
		"no proof":       func(m *clientapi.SubmitMessage) { m.Proof = nil },
		"sent by nobody": func(m *clientapi.SubmitMessage) { m.Privacy = nil },
	} {
		m := bob.hidden(atlanta, name, "three")
		spoil(m)
		if _, err := bob.send(id, m); err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
	if v.asked.Load() != asked || atlanta.called(wire.EndpointSubmitMessage.String()) != 0 {
		t.Error("something was asked that could not be right")
	}
	// A wrong proof, and an old epoch.
	m = bob.hidden(atlanta, name, "three")
	m.Proof[0] ^= 1
	if _, err := bob.send(id, m); err == nil {
		t.Error("without a member's proof it is taken")
	}
	old := bob.hidden(atlanta, name, "four")
	if err := alice.commit(id, mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	bob.follow(id, 5)
	if got, err := bob.send(id, old); err != nil || got.Code != wire.SubmitEpochTooOld {
		t.Errorf("of an old epoch: %+v, %v", got, err)
	}
	// What was accepted in it is known still.
	if got, err := bob.send(id, accepted); err != nil || got.Code != wire.SubmitAccepted || got.AcceptedAt != first.AcceptedAt {
		t.Errorf("brought again in a later epoch: %+v, %v", got, err)
	}
}
