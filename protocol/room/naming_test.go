package room_test

import (
	"bytes"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// masked makes a client that takes part under a pseudonym. Its user is that pseudonym; its
// real name is in the identity link only.
func (w *world) masked(user string) *device {
	t := w.t
	t.Helper()
	real := w.device(user, "phone")
	p := real.user.Provider()
	sig := must(mls.GenerateSignatureKey(room.Suite))(t)
	c := &pseudonym.Credential{Client: must(pseudonym.New(p))(t), User: must(pseudonym.New(p))(t), Key: sig.Public()}
	who := pseudonym.Identity{Suite: room.Suite, Signer: real.leaf.Signer, Credential: real.leaf.Credential}
	if err := c.Seal(pseudonym.NewKey(), uri.Room{}, who); err != nil {
		t.Fatal(err)
	}
	caps := pseudonym.Capabilities()
	d := &device{w: w, user: c.User.Participant(), leaf: mls.LeafParams{Suite: room.Suite, Signer: sig, Credential: c.MLS(),
		Capabilities: &caps, Lifetime: mls.LifetimeOf(w.now, time.Hour)}}
	w.clients[len(w.clients)-1] = d
	return d
}

func asPseudonymous(t testing.TB) func(*mls.GroupParams) {
	return func(p *mls.GroupParams) { p.Extensions = must(room.AsPseudonymous(p.Extensions))(t) }
}

// beginAs is begin for a room that edit has made.
func (w *world) beginAs(d *device, edit func(*mls.GroupParams)) {
	w.t.Helper()
	e := room.FirstEntry(d.create(edit), room.TxnID{1}, w.now)
	w.hub = must(room.Begin(e, w.rules))(w.t)
	w.follower = must(room.Begin(e, w.rules))(w.t)
	w.log = append(w.log, e)
}

// TestPseudonymousRoom: people of two providers come in, speak, get roles and go, under
// pseudonyms; nobody's name is in the log or in what a provider keeps of the room. The same
// search finds every name in an open room where the same happens.
func TestPseudonymousRoom(t *testing.T) {
	for _, masked := range []bool{true, false} {
		w := newWorld(t)
		make := func(user string) *device {
			if masked {
				return w.masked(user)
			}
			return w.device(user, "phone")
		}
		alice, bob, carol := make("alice.liddell@atlanta.example"), make("bob.bobbin@biloxi.example"), make("carol.king@biloxi.example")
		if masked {
			w.beginAs(alice, asPseudonymous(t))
		} else {
			w.begin(alice)
		}
		if got := w.hub.Roster().Pseudonymous(); got != masked {
			t.Errorf("pseudonymous: %v", got)
		}
		if err := errors.Join(alice.add(bob, carol), bob.send("hello"), carol.send("hello")); err != nil {
			t.Fatal(err)
		}
		parts := map[string][]byte{}
		w.reload(parts)
		set := func(p ...room.Participant) *mls.Proposal {
			return must(room.UpdateParticipants(alice.group.Public().Context(), p, nil))(t)
		}
		if err := alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{set(room.Participant{User: bob.user, Role: policy.Moderator})}}); err != nil {
			t.Fatal(err)
		}
		// A ban is of a pseudonym.
		ban := mls.CommitOptions{Remove: w.hub.Roster().Leaves(carol.user), Proposals: []*mls.Proposal{set(room.Participant{User: carol.user, Role: policy.Banned})}}
		if err := alice.commit(ban); err != nil {
			t.Fatal(err)
		}
		var who []uri.User
		for _, p := range w.hub.Participants() {
			who = append(who, p.User)
			if _, hides := p.User.Pseudonym(); hides != masked {
				t.Errorf("%s takes part", p.User)
			}
		}
		if len(who) != 3 || w.hub.Role(bob.user) != policy.Moderator || w.hub.Roster().Clients(bob.user) != 1 {
			t.Errorf("participants %v, bob is %v with %d clients", who, w.hub.Role(bob.user), w.hub.Roster().Clients(bob.user))
		}
		if got := w.hub.Participating(); len(got) != 2 {
			t.Errorf("taking part: %v", got)
		}
		// Who submits for another provider's pseudonym is refused, as for its users.
		m := must(bob.group.Encrypt([]byte("x"), mls.SendOptions{AAD: tagged("x")}))(t)
		req := &wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(bob.user.String())}
		wantErr(t, "submitted by another provider", w.submit(req, "atlanta.example"), room.ErrSubmission)
		req.SendingURI = wire.IdentifierURI(carol.user.String())
		wantErr(t, "sent by who is banned", w.submit(req, "biloxi.example"), room.ErrPolicy)

		w.reload(parts)
		var kept []byte
		for k := range maps.Keys(parts) {
			kept = append(kept, k...)
		}
		for _, v := range parts {
			kept = append(kept, v...)
		}
		for _, e := range w.log {
			kept = e.Append(kept)
		}
		for _, name := range []string{"alice.liddell", "bob.bobbin", "carol.king"} {
			if found := bytes.Contains(kept, []byte(name)); found == masked {
				t.Errorf("pseudonymous %v: %s found %v", masked, name, found)
			}
		}
	}
}

// TestNamingIsForGood: what a room is not begun as it does not become, and in neither kind is
// there a leaf or a participant of the other. Hub and member judge alike.
func TestNamingIsForGood(t *testing.T) {
	for _, masked := range []bool{true, false} {
		w := newWorld(t)
		pair := func(user string) (own, other *device) {
			own, other = w.device(user, "phone"), w.masked(user)
			if masked {
				own, other = other, own
			}
			caps := pseudonym.Capabilities() // so that MLS by itself has nothing against either
			own.leaf.Capabilities, other.leaf.Capabilities = &caps, &caps
			return own, other
		}
		alice, otherAlice := pair("alice@atlanta.example")
		_, bob := pair("bob@biloxi.example")
		edit := func(p *mls.GroupParams) {}
		if masked {
			edit = asPseudonymous(t)
		}
		w.beginAs(alice, edit)
		roster := must(room.RosterOf(alice.group.Public()))(t)
		// refused commits what the hub must refuse, as ErrPolicy, and the members as well.
		refused := func(why string, o mls.CommitOptions) {
			t.Helper()
			s, err := alice.group.Commit(o, w.now)
			if err != nil {
				t.Fatalf("%s: %v", why, err)
			}
			_, err = w.update(bundle(s), "atlanta.example")
			wantErr(t, why+", at the hub", err, room.ErrPolicy)
			lead := w.hub.Lead()
			wantErr(t, why+", at a member", roster.Judge(alice.group.Public(), s.Change, &lead, uint64(w.now.UnixMilli()), w.rules.Anchors), room.ErrPolicy)
		}
		list := func(who *device) *mls.Proposal {
			return must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: who.user, Role: policy.Member}}, nil))(t)
		}
		kp := bob.keyPackage()
		refused("a leaf and a participant of the other kind", mls.CommitOptions{
			Add: []*mls.ValidKeyPackage{must(kp.KeyPackage().Verify(w.config(), w.now))(t)}, Proposals: []*mls.Proposal{list(bob)}})
		refused("a participant of the other kind", mls.CommitOptions{Proposals: []*mls.Proposal{list(bob)}})
		for _, data := range [][]byte{{}, {room.Version}} {
			refused("saying again what it is", mls.CommitOptions{Proposals: []*mls.Proposal{{Type: mls.ProposalAppDataUpdate,
				AppData: &mls.AppDataUpdate{Component: room.PseudonymousComponent, Op: mls.AppDataSet, Update: data}}}})
		}
		_, err := alice.group.Commit(mls.CommitOptions{Leaf: &mls.LeafChange{Signer: otherAlice.leaf.Signer, Credential: &otherAlice.leaf.Credential}}, w.now)
		if err == nil {
			t.Error("a leaf becomes one of the other kind")
		}
		if masked {
			b := policy.DefaultBase()
			refused("forbidding pseudonyms", mls.CommitOptions{Proposals: []*mls.Proposal{must(room.Update(b))(t)}})
		}

		// As the room's beginning.
		begins := func(why string, by *device, edit func(*mls.GroupParams)) {
			t.Helper()
			_, err := room.Begin(room.FirstEntry(by.create(edit), room.TxnID{1}, w.now), w.rules)
			wantErr(t, why, err, room.ErrPolicy)
		}
		begins("the creator of the other kind", otherAlice, edit)
		with := func(more func(d mls.Dictionary)) func(*mls.GroupParams) {
			return func(p *mls.GroupParams) {
				edit(p)
				d := must(p.Extensions.Dictionary(mls.Limits{}))(t)
				more(d)
				p.Extensions = p.Extensions.With(mls.ExtAppDataDictionary, d.Extension().Data)
			}
		}
		begins("the component without the rest, or without the component", alice, with(func(d mls.Dictionary) {
			if delete(d, room.PseudonymousComponent); !masked {
				d[room.PseudonymousComponent] = []byte{room.Version}
			}
		}))
		begins("of an unknown kind", alice, with(func(d mls.Dictionary) { d[room.PseudonymousComponent] = []byte{room.Version + 1} }))
		if !masked {
			continue
		}
		base := func(change func(b *policy.Base)) func(d mls.Dictionary) {
			return func(d mls.Dictionary) {
				b := policy.DefaultBase()
				b.Pseudonyms = true
				change(b)
				d[room.BaseComponent] = b.Append(nil)
			}
		}
		begins("a policy that forbids pseudonyms", alice, with(base(func(b *policy.Base) { b.Pseudonyms = false })))
		begins("fixed membership", alice, with(base(func(b *policy.Base) { b.Fixed = true })))
		begins("a parent", alice, with(base(func(b *policy.Base) { b.Parent = "mimi://atlanta.example/r/parent" })))
		begins("capabilities that are not required", alice, func(p *mls.GroupParams) {
			required, _ := p.Extensions.Get(mls.ExtRequiredCapabilities)
			edit(p)
			p.Extensions = p.Extensions.With(mls.ExtRequiredCapabilities, required)
		})
		begins("a pseudonym that somebody chose", alice, func(p *mls.GroupParams) {
			edit(p)
			d := must(p.Extensions.Dictionary(mls.Limits{}))(t)
			d[wire.ComponentParticipantList] = must((&wire.ParticipantListData{Participants: []wire.UserRolePair{
				{User: "mimi://atlanta.example/p/alice", Role: uint32(policy.Admin)}}}).Bytes())(t)
			p.Extensions = p.Extensions.With(mls.ExtAppDataDictionary, d.Extension().Data)
		})
	}
}
