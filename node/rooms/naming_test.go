package rooms_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// drawn are the pseudonyms that providers have given their users, each for a room.
type drawn struct {
	mu sync.Mutex
	of map[[2]string]uri.User
}

func (n *drawn) User(_ *store.Tx, p uri.User, name uri.Room) (uri.User, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, x := range n.of {
		if x == p && k[1] == name.String() {
			return uri.ParseUser(k[0])
		}
	}
	return uri.User{}, nil
}

func (n *drawn) In(_ *store.Tx, u uri.User, name uri.Room) (uri.User, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.of[[2]string{u.String(), name.String()}], nil
}

// masked has a device go by a pseudonym in a room, which its provider knows of unless it is
// made up.
func (d *device) masked(n *drawn, u uri.Room, madeUp bool) *device {
	t := d.p.w.t
	t.Helper()
	p := d.who.User.Provider()
	sig := must(mls.GenerateSignatureKey(room.Suite))(t)
	c := &pseudonym.Credential{Client: must(pseudonym.New(p))(t), User: must(pseudonym.New(p))(t), Key: sig.Public()}
	if !madeUp {
		n.mu.Lock()
		n.of[[2]string{d.who.User.String(), u.String()}] = c.User.Participant()
		n.mu.Unlock()
	}
	if err := c.Seal(pseudonym.NewKey(), uri.Room{}, pseudonym.Identity{Suite: room.Suite, Signer: d.leaf.Signer, Credential: d.leaf.Credential}); err != nil {
		t.Fatal(err)
	}
	caps := pseudonym.Capabilities()
	x := *d
	x.as, x.leaf = c.User.Participant(), mls.LeafParams{Suite: room.Suite, Signer: sig, Credential: c.MLS(), Capabilities: &caps, Lifetime: d.leaf.Lifetime}
	return &x
}

// TestEnterUnderPseudonym: the hub gives the GroupInfo to a pseudonym whose provider asks, and
// nobody says a name. The provider lets its user ask, and come in, as what it goes by in that room
// and as nothing else; so who is banned has no other pseudonym to come by.
func TestEnterUnderPseudonym(t *testing.T) {
	ctx := context.Background()
	w, n := prepareWorld(t, false, three...), &drawn{of: map[[2]string]uri.User{}}
	for _, p := range w.ps {
		p.tweak = func(c *rooms.Config) { c.Pseudonyms = n }
	}
	w.start()
	name := must(uri.ParseRoom("mimi://atlanta.example/r/room" + strings.Repeat("x", 20)))(t)
	other := must(uri.ParseRoom("mimi://atlanta.example/r/other" + strings.Repeat("x", 20)))(t)
	alice := w.device("alice@atlanta.example", "phone").masked(n, name, false)
	id, made, err := alice.createWith("room", room.AsPseudonymous)
	if err != nil {
		t.Fatal(err)
	}
	hub, biloxi := w.ps["atlanta.example"], w.ps["biloxi.example"]
	h, l := room.NewLink(name)
	l.Role = policy.Member
	if err := alice.commit(id, mls.CommitOptions{Proposals: []*mls.Proposal{room.ChangeLinks([]room.JoinLink{l})}}); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)

	plain := w.device("bob@biloxi.example", "phone")
	bob, mallory := plain.masked(n, name, false), w.device("mallory@biloxi.example", "phone").masked(n, name, false)
	key := must(mls.GenerateHPKEKey(room.Suite))(t)
	request := func(by *device) []byte {
		t.Helper()
		m := &wire.GroupInfoRequest{Suite: room.Suite, Credential: by.leaf.Credential, GroupInfoKey: key.Public(), JoiningCode: h.Code(by.leaf.Signer.Public(), key.Public())}
		if err := m.Sign(by.leaf.Signer); err != nil {
			t.Fatal(err)
		}
		return must(m.Bytes())(t)
	}
	said := func(raw []byte, err error) string {
		if p, ok := errors.AsType[*clientapi.Problem](err); ok {
			return string(p.Code) + ": " + p.Detail
		}
		if err != nil {
			t.Fatal(err)
		}
		return must(wire.ParseGroupInfoResponse(raw, room.NoticeLimits()))(t).Status.String()
	}
	is := func(why, got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", why, got, want)
		}
	}
	from := &clientapi.Where{URI: made.URI, Hub: "atlanta.example"}
	// Through the own provider, as somebody who may be another.
	word := map[uri.User][]byte{}
	fetch := func(who *device, raw []byte) ([]byte, error) {
		got, err := who.p.rooms.FetchGroupInfo(ctx, who.who, id, &clientapi.FetchGroupInfo{Request: raw, From: from})
		if err != nil {
			return nil, err
		}
		word[who.as] = got.Attestation
		return got.Response, nil
	}
	// As a provider may ask the hub.
	serve := func(source string, u uri.Room, raw []byte) ([]byte, error) {
		r, err := hub.serve(ctx, wire.EndpointGroupInfo.String(), &rooms.Request{Source: source, Subject: u.String(), Body: raw})
		if err != nil {
			return nil, err
		}
		return r.Body, nil
	}
	bobs := request(bob)
	is("as what she does not go by", said(fetch(mallory, bobs)), "forbidden: "+bob.as.String()+" is not what mimi://biloxi.example/u/mallory goes by")
	is("as what nobody goes by", said(fetch(plain, request(plain.masked(n, name, true)))), "is not what mimi://biloxi.example/u/bob goes by")
	if biloxi.called(wire.EndpointGroupInfo.String())+hub.called(wire.EndpointGroupInfo.String()) != 0 {
		t.Error("the hub was asked all the same")
	}
	is("by name, from where nothing is known of the room", said(fetch(plain, request(plain))), "asks under a pseudonym")
	asked := hub.called(wire.EndpointGroupInfo.String())
	ann := w.device("ann@atlanta.example", "phone")
	is("by name, from where the room is", said(fetch(ann, request(ann))), "is pseudonymous")
	is("by another provider's word", said(serve("chicago.example", name, bobs)), "notAuthorized")
	o := w.device("alice@atlanta.example", "phone").masked(n, other, false)
	if _, _, err := o.createWith("other", room.AsPseudonymous); err != nil {
		t.Fatal(err)
	}
	is("what was asked of another room", said(serve("biloxi.example", other, bobs)), "notAuthorized")
	forged := *bob
	forged.leaf.Signer = must(mls.GenerateSignatureKey(room.Suite))(t)
	is("with another key than the credential's", said(serve("biloxi.example", name, request(&forged))), "notAuthorized")
	long := must(wire.ParseGroupInfoRequest(bobs, room.BodyLimits()))(t)
	long.Credential.Identity = append(slices.Clone(long.Credential.Identity), make([]byte, pseudonym.MaxCredential)...)
	is("a credential that is too long", said(fetch(bob, must(long.Bytes())(t))), "invalid")
	if now := hub.called(wire.EndpointGroupInfo.String()); asked != 1 || now != 4 {
		t.Errorf("the hub was asked %d times, and %d in all", asked, now)
	}

	raw, err := fetch(bob, bobs)
	is("as what he goes by", said(raw, err), "success")
	for what, b := range map[string][]byte{"the request": bobs, "the answer": raw} {
		if bytes.Contains(b, []byte("bob")) {
			t.Errorf("%s has his name", what)
		}
	}
	success := must(wire.ParseGroupInfoResponse(raw, room.NoticeLimits()))(t).Success
	open := new(wire.GroupInfoRatchetTreeTBE)
	if err := open.Open(key, wire.IdentifierURI(made.URI), success.Encrypted, room.NoticeLimits()); err != nil {
		t.Fatal(err)
	}
	// A hub that alters it is seen: members have signed it, under the pseudonyms that are in it.
	for what, alter := range map[string]func(*mls.GroupInfo){
		"the key by which who joins encrypts": func(g *mls.GroupInfo) {
			g.Extensions = g.Extensions.With(mls.ExtExternalPub, append([]byte{32}, must(mls.GenerateHPKEKey(room.Suite))(t).Public()...))
		},
		"the epoch": func(g *mls.GroupInfo) { g.Context.Epoch++ },
	} {
		g := must(mls.ParseGroupInfo(open.GroupInfo.Bytes(), room.NoticeLimits().Limits))(t)
		alter(g)
		if _, err := mls.ExternalCommit(g, mls.ExternalOptions{LeafParams: bob.leaf, Tree: open.Tree.Tree}, bob.config(), time.Now()); !errors.Is(err, mls.ErrBadSignature) {
			t.Errorf("the hub alters %s: %v", what, err)
		}
	}

	// enter commits with a leaf, submitted by somebody's identity.
	enter := func(by, who *device, word []byte) string {
		t.Helper()
		list := must(room.UpdateParticipants(&open.GroupInfo.Context, []room.Participant{{User: by.as, Role: policy.Member}}, nil))(t)
		s := must(mls.ExternalCommit(open.GroupInfo, mls.ExternalOptions{LeafParams: by.leaf, Tree: open.Tree.Tree, AAD: room.AttestedAAD(word),
			Proposals: []*mls.Proposal{list, h.Use(open.GroupInfo.Context.GroupID, open.GroupInfo.Context.Epoch, by.as)}}, by.config(), time.Now()))(t)
		raw := must((&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
			Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}}).Bytes())(t)
		got, err := who.p.rooms.SubmitUpdate(ctx, who.who, id, &clientapi.SubmitUpdate{Request: raw, Nonce: nonce(), From: from})
		if err != nil {
			return err.Error()
		}
		return must(wire.ParseUpdateRoomResponse(got.Response, wire.Limits{}))(t).Code.String()
	}
	is("coming in as what she does not go by", enter(bob, mallory, word[bob.as]), "is not what mimi://biloxi.example/u/mallory goes by")
	is("coming in as what nobody goes by", enter(plain.masked(n, name, true), plain, word[bob.as]), "is not what mimi://biloxi.example/u/bob goes by")
	is("coming in with nobody's word", enter(bob, bob, nil), "notAllowed")
	is("coming in as what he goes by", enter(bob, bob, word[bob.as]), "success")
	alice.follow(id, 3)
	if mine := must(hub.rooms.Room(ctx, alice.who, id))(t); mine.As != alice.as.String() || len(mine.Participants) != 2 {
		t.Errorf("alice is told that she goes by %q among %v", mine.As, mine.Participants)
	}

	// Banned for good: his provider gives him no other, and lets him ask under no other.
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: bob.as, Role: policy.Banned}}, nil))(t)
	at, _ := alice.group.Public().Member(1)
	if u := must(room.UserOf(at.Node))(t); u != bob.as {
		t.Fatalf("leaf 1 is of %s", u)
	}
	if err := alice.commit(id, mls.CommitOptions{Remove: []mls.LeafIndex{1}, Proposals: []*mls.Proposal{ban}}); err != nil {
		t.Fatal(err)
	}
	is("banned", said(fetch(bob, bobs)), "you are banned")
	is("banned, as another", said(fetch(plain, request(plain.masked(n, name, true)))), "is not what")
	if ids := must(hub.rooms.Room(ctx, alice.who, id))(t).Participants; !slices.ContainsFunc(ids, func(p clientapi.Participant) bool { return p.User == bob.as.String() && p.Role == "banned" }) {
		t.Errorf("participants %v", ids)
	}
}
