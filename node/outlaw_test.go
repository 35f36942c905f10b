package node_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// TestOutlaw: a client without a policy of its own does all that its user may not, by MLS
// messages that are good, at the hub and at another provider. Each is refused for its own
// reason, and the room is as it was: those who are in it talk on, in the same epoch. What a
// complicit hub would let through the others refuse: TestComplicitHub of node/rooms, and of
// client.
func TestOutlaw(t *testing.T) {
	ctx := t.Context()
	a := prepareWith(t, "atlanta.example", func(c *node.Config) { c.Clients.RequestsPerSecond = 1e4 }).must()
	b := prepareWith(t, "biloxi.example", func(c *node.Config) { c.Clients.RequestsPerSecond = 1e4 }, a.status().Addresses[0]).must()
	defer http.DefaultClient.CloseIdleConnections()
	alice, bob := a.user("alice"), b.user("bob")
	if err := bob.Accept(ctx, alice.User()); err != nil {
		t.Fatal(err)
	}
	u, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return alice.AddUser(ctx, u, bob.User()) == nil })
	w := outlaws(t, a, b)
	joins := func(r *running, name string) *outlaw {
		t.Helper()
		d := w.outlaw(r, name, u)
		d.friend(alice)
		within(t, name+" is on the list", func() bool {
			got, err := alice.AddUsers(ctx, u, []uri.User{d.user}) // without a device: she has published no KeyPackage
			return err == nil && got[0].State == client.AddListed
		})
		var open *wire.GroupInfoRatchetTreeTBE
		within(t, name+" gets the GroupInfo", func() (ok bool) { open, err = d.groupInfo(nil); return err == nil })
		if err := d.enter(open); err != nil {
			t.Fatalf("%s comes in: %v", name, err)
		}
		return d
	}
	// Oscar is at the hub, and mallory at a provider that passes on what she does.
	oscar, mallory := joins(a, "oscar"), joins(b, "mallory")
	eve := w.outlaw(b, "eve", u)
	within(t, "bob is in", func() bool { _, err := bob.Verify(ctx, u); return err == nil })
	var base policy.Base
	base.MultiDevice, base.MaxUsers = true, policy.AtMost(4)
	if err := alice.SetPolicy(ctx, u, &base); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Send(ctx, u, "said by alice"); err != nil {
		t.Fatal(err)
	}

	epoch := func() uint64 {
		s, err := alice.Verify(ctx, u)
		if err != nil {
			t.Fatal(err)
		}
		return s.Epoch
	}
	refused := func(who *outlaw, what string, err error, why ...string) {
		t.Helper()
		ok := err != nil
		for _, x := range why {
			ok = ok && strings.Contains(err.Error(), x)
		}
		if !ok {
			t.Errorf("%s %s: %v; expected %q", who.user, what, err, why)
		}
	}
	leaf := func(d *outlaw, of uri.User) []mls.LeafIndex {
		return crashMust(room.RosterOf(d.group.Public()))(t).Leaves(of)
	}
	list := func(d *outlaw, set []room.Participant, remove ...uri.User) *mls.Proposal {
		t.Helper()
		return crashMust(room.UpdateParticipants(d.group.Public().Context(), set, remove))(t)
	}
	component := func(c room.Component) *mls.Proposal { return crashMust(room.Update(c))(t) }

	before := epoch()
	for _, d := range []*outlaw{oscar, mallory} {
		within(t, "reads what alice says", func() bool { d.follow(); return d.said[alice.User().String()] != nil })
		h := crashMust(room.HostingOf(d.group.Public().Context()))(t)
		h.Hub = room.Replica{Domain: d.user.Provider().Domain(), ProviderKey: [32]byte{1}, FrankingKey: h.Hub.FrankingKey}
		h.Replicas = []room.Replica{h.Hub}
		eve.kp = crashMust(mls.NewKeyPackage(eve.leaf, false, nil))(t)
		evesKey := crashMust(eve.kp.KeyPackage().Verify(d.config(), time.Now()))(t)
		channel := policy.Channel()
		for _, x := range []struct {
			what string
			o    mls.CommitOptions
			why  []string
		}{
			{"kicks an administrator", mls.CommitOptions{Remove: leaf(d, alice.User())}, []string{"notAllowed", "member", "canKick"}},
			{"removes an administrator", mls.CommitOptions{Remove: leaf(d, alice.User()), Proposals: []*mls.Proposal{list(d, nil, alice.User())}}, []string{"notAllowed", "canRemoveParticipant"}},
			{"removes a member", mls.CommitOptions{Remove: leaf(d, bob.User()), Proposals: []*mls.Proposal{list(d, nil, bob.User())}}, []string{"notAllowed", "canRemoveParticipant"}},
			{"bans a member", mls.CommitOptions{Remove: leaf(d, bob.User()), Proposals: []*mls.Proposal{list(d, []room.Participant{{User: bob.User(), Role: policy.Banned}})}}, []string{"notAllowed", "canBan"}},
			{"becomes an administrator", mls.CommitOptions{Proposals: []*mls.Proposal{list(d, []room.Participant{{User: d.user, Role: policy.Admin}})}}, []string{"notAllowed", "admin"}},
			{"makes an administrator a member", mls.CommitOptions{Proposals: []*mls.Proposal{list(d, []room.Participant{{User: alice.User(), Role: policy.Member}})}}, []string{"notAllowed"}},
			{"changes the policy", mls.CommitOptions{Proposals: []*mls.Proposal{component(&policy.Base{MultiDevice: true})}}, []string{"notAllowed", "canChangeRoomMembershipStyle"}},
			{"preauthorizes everybody", mls.CommitOptions{Proposals: []*mls.Proposal{component(&policy.Preauth{})}}, []string{"notAllowed", "canChangePreauthorizedUserList"}},
			{"says what roles mean", mls.CommitOptions{Proposals: []*mls.Proposal{room.UpdateRoles(channel)}}, []string{"notAllowed", "canChangeRoleDefinitions"}},
			{"ends the room", mls.CommitOptions{Proposals: []*mls.Proposal{room.Ends(uri.Room{})}}, []string{"notAllowed", "canDestroyRoom"}},
			{"makes the own provider hub", mls.CommitOptions{Proposals: []*mls.Proposal{crashMust(room.UpdateHosting(h))(t)}}, []string{"notAllowed", "room_hosting"}},
			{"adds more users than may be", mls.CommitOptions{Add: []*mls.ValidKeyPackage{evesKey}, Proposals: []*mls.Proposal{list(d, []room.Participant{{User: eve.user, Role: policy.Member}})}}, []string{"notAllowed", "4"}},
			{"adds a device of who is not on the list", mls.CommitOptions{Add: []*mls.ValidKeyPackage{evesKey}}, []string{"notAllowed", "eve"}},
			{"changes what the group requires", mls.CommitOptions{Proposals: []*mls.Proposal{{Type: mls.ProposalGroupContextExtensions, Extensions: d.group.Public().Context().Extensions.Without(mls.ExtExternalSenders)}}}, []string{"notAllowed", "only to name its hub"}},
			{"writes what cannot be read", mls.CommitOptions{Proposals: []*mls.Proposal{{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: room.RolesComponent, Op: mls.AppDataSet, Update: []byte{7}}}}}, []string{"invalidProposal"}},
		} {
			refused(d, x.what, d.commit(x.o), x.why...)
		}
		refused(d, "proposes the removal of another", d.propose(&mls.Proposal{Type: mls.ProposalRemove, Remove: leaf(d, alice.User())[0]}), "notAllowed", "canKick")
		refused(d, "proposes itself as administrator", d.propose(list(d, []room.Participant{{User: d.user, Role: policy.Admin}})), "notAllowed", "admin")

		hello := func() *content.Message { return content.New(d.origin(), content.Text("by "+d.user.String())) }
		refused(d, "sends as alice", d.say(hello(), alice.User(), nil), "alice")
		refused(d, "sends as nobody of the room", d.say(hello(), eve.user, nil), "eve")
		refused(d, "sends without a franking tag", d.say(hello(), d.user, func([]byte) []byte { return nil }), "422")
	}
	if now := epoch(); now != before {
		t.Errorf("the room went from epoch %d to %d by what was refused", before, now)
	}

	// A stranger, with what she was given by somebody who is in.
	if _, err := eve.groupInfo(nil); err == nil || err.Error() != "notAuthorized" {
		t.Errorf("eve asks for the GroupInfo: %v", err)
	}
	if _, err := eve.groupInfo(func(_, _ []byte) []byte { return []byte("open sesame") }); err == nil || err.Error() != "notAuthorized" {
		t.Errorf("eve asks with a joining code that is none: %v", err)
	}
	stolen := &wire.GroupInfoRatchetTreeTBE{GroupInfo: crashMust(mallory.group.GroupInfo(false))(t), Tree: wire.RatchetTreeOption{Representation: wire.TreeFull, Tree: mallory.group.Public().Tree()}}
	refused(eve, "joins a closed room", eve.enter(stolen, list(mallory, []room.Participant{{User: eve.user, Role: policy.Member}})), "notAllowed", "joins by itself")
	refused(eve, "joins without being on the list", eve.enter(stolen), "notAllowed")

	// What the hub cannot see: others leave it out.
	id := content.MessageID{}
	said := crashMust(content.Decode(mallory.said[alice.User().String()], content.Limits{}))(t)
	if id, err = content.DeriveID(mallory.said[alice.User().String()], said.Sender, said.Room); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*content.Message{
		content.Edit(mallory.origin(), said, id, content.Text("never said by alice")),
		content.Delete(mallory.origin(), said, id),
		content.New(content.Origin{Sender: alice.User().String(), Room: u.String()}, content.Text("in alice's name")),
	} {
		if err := mallory.say(m, mallory.user, nil); err != nil {
			t.Fatalf("the hub sees a message and no more: %v", err)
		}
	}
	if err := mallory.say(content.New(mallory.origin(), content.Text("done")), mallory.user, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client.Client{alice, bob} {
		within(t, "what mallory said last is read", func() bool {
			list, err := c.Messages(u, 0, 100)
			return err == nil && slices.ContainsFunc(list, func(m client.Message) bool { return m.Text == "done" })
		})
		all, err := c.Conversation(u)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, x := range all {
			texts = append(texts, fmt.Sprintf("%s, %t, %t", x.Text, x.Edited, x.Deleted))
		}
		if got := fmt.Sprint(texts); got != "[said by alice, false, false done, false, false]" {
			t.Errorf("%s reads %s", c.User(), got)
		}
	}

	// A report of what alice has said, and of what she has not.
	forged := &wire.AbuseReport{Abuser: wire.IdentifierURI(alice.User().String()),
		Messages: []wire.AbusiveMessage{{Content: crashMust(content.New(content.Origin{Sender: alice.User().String(), Room: u.String()}, content.Text("an insult")).Encode(content.Limits{}))(t),
			Frank: wire.Frank{Suite: room.Suite, Signature: make([]byte, 64)}, AcceptedAt: uint64(time.Now().UnixMilli())}}}
	forged.SetBlinds([]wire.Blind{{}})
	n := room.NewTxnNonce()
	err = mallory.call("POST", "/v1/rooms/"+mallory.id.String()+"/reports", &clientapi.ReportAbuse{Request: crashMust(forged.Bytes())(t), Nonce: n[:]}, new(struct{}))
	var p *clientapi.Problem
	if !errors.As(err, &p) || p.Status != 422 {
		t.Errorf("a report with a forged frank: %v", err)
	}
	if all, err := a.operator().Reports(ctx, 0, false); err != nil || len(all.Reports) != 0 {
		t.Errorf("the operator sees %+v, %v", all, err)
	}

	// Banned, she has the keys of this epoch still.
	if err := alice.Ban(ctx, u, mallory.user); err != nil {
		t.Fatal(err)
	}
	last := mallory.next
	within(t, "her provider knows", func() bool {
		r, err := b.operator().Room(ctx, u.String())
		return err == nil && r.Epoch == epoch()
	})
	refused(mallory, "sends after the ban", mallory.say(content.New(mallory.origin(), content.Text("still here")), mallory.user, nil))
	refused(mallory, "commits after the ban", mallory.commit(mls.CommitOptions{}))
	refused(mallory, "proposes after the ban", mallory.propose(&mls.Proposal{Type: mls.ProposalSelfRemove}))
	if _, err := mallory.groupInfo(nil); err == nil || err.Error() != "notAuthorized" {
		t.Errorf("mallory wants to come back: %v", err)
	}
	refused(mallory, "comes back with what she has", mallory.enter(stolen), "wrongEpoch")
	if _, err := alice.Send(ctx, u, "without her"); err != nil {
		t.Fatal(err)
	}
	within(t, "bob reads on", func() bool {
		list, err := bob.Messages(u, 0, 100)
		return err == nil && slices.ContainsFunc(list, func(m client.Message) bool { return m.Text == "without her" })
	})
	mallory.next = last
	if entries, err := mallory.log(); err == nil {
		for _, e := range entries {
			if e.Kind == room.KindMessage && mallory.take(e) == nil {
				t.Errorf("mallory reads entry %d", e.Seq)
			}
		}
	}

	// A link for one, used up. Oscar, an administrator by now, makes it.
	base.MaxUsers = policy.AtMost(9)
	if err := errors.Join(alice.SetPolicy(ctx, u, &base), alice.SetRole(ctx, u, oscar.user, "admin")); err != nil {
		t.Fatal(err)
	}
	held, link := room.NewLink(u)
	link.Role, link.Uses = policy.Member, policy.AtMost(1)
	oscar.follow()
	if err := oscar.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.ChangeLinks([]room.JoinLink{link})}}); err != nil {
		t.Fatal(err)
	}
	uses := func(d *outlaw, open *wire.GroupInfoRatchetTreeTBE) []*mls.Proposal {
		ctx := &open.GroupInfo.Context
		return []*mls.Proposal{crashMust(room.UpdateParticipants(ctx, []room.Participant{{User: d.user, Role: policy.Member}}, nil))(t), held.Use(ctx.GroupID, ctx.Epoch, d.user)}
	}
	fred := w.outlaw(b, "fred", u)
	open, err := eve.groupInfo(held.Code)
	if err != nil {
		t.Fatal(err)
	}
	if err := eve.enter(open, uses(eve, open)...); err != nil {
		t.Fatalf("eve comes in by the link: %v", err)
	}
	_, err = fred.groupInfo(held.Code)
	refused(fred, "asks by a link that is used up", err, "the link was used as often as it could be")
	open = &wire.GroupInfoRatchetTreeTBE{GroupInfo: crashMust(eve.group.GroupInfo(false))(t), Tree: wire.RatchetTreeOption{Representation: wire.TreeFull, Tree: eve.group.Public().Tree()}}
	refused(fred, "comes in by a link that is used up", fred.enter(open, uses(fred, open)[0]), "notAllowed", "joins by itself")
	fred.lawless = true
	refused(fred, "uses a link that is used up", fred.enter(open, uses(fred, open)...), "link")
	oscar.follow()
	refused(oscar, "removes the last right of alice", oscar.commit(mls.CommitOptions{Remove: leaf(oscar, alice.User()),
		Proposals: []*mls.Proposal{list(oscar, []room.Participant{{User: alice.User(), Role: policy.Banned}, {User: oscar.user, Role: policy.Member}})}}), "notAllowed")
	if _, err := bob.Send(ctx, u, "we are still here"); err != nil {
		t.Fatal(err)
	}
	within(t, "alice reads on", func() bool {
		list, err := alice.Messages(u, 0, 100)
		return err == nil && slices.ContainsFunc(list, func(m client.Message) bool { return m.Text == "we are still here" })
	})
}

// TestRacer: a member commits in each epoch as fast as it can, so that whoever else changes the
// room finds it changed already. What two others change gets through all the same, each of it
// once, with a bounded number of attempts; nobody is kept out of the talk, and when the racer
// has gone nothing goes on by itself.
func TestRacer(t *testing.T) {
	ctx := t.Context()
	a := prepareWith(t, "atlanta.example", func(c *node.Config) { c.Clients.RequestsPerSecond = 1e4 }).must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	defer http.DefaultClient.CloseIdleConnections()
	atA, atB := new(updates), new(updates)
	alice, bob := a.userBy("alice", &http.Client{Transport: atA}), b.userBy("bob", &http.Client{Transport: atB})
	if err := bob.Accept(ctx, alice.User()); err != nil {
		t.Fatal(err)
	}
	u, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return alice.AddUser(ctx, u, bob.User()) == nil })
	if err := alice.SetRole(ctx, u, bob.User(), "admin"); err != nil {
		t.Fatal(err)
	}
	racer := outlaws(t, a, b).outlaw(a, "racer", u)
	racer.friend(alice)
	within(t, "the racer is on the list", func() bool {
		got, err := alice.AddUsers(ctx, u, []uri.User{racer.user})
		return err == nil && got[0].State == client.AddListed
	})
	within(t, "bob hears that he is an administrator", func() bool {
		r, err := bob.FindRoom(ctx, u.String())
		return err == nil && slices.ContainsFunc(r.Participants, func(x client.Participant) bool { return x.User == bob.User() && x.Role == "admin" })
	})
	open, err := racer.groupInfo(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := racer.enter(open); err != nil {
		t.Fatal(err)
	}
	stop, raced := make(chan struct{}), make(chan [2]int, 1)
	began := time.Now()
	go func() {
		won, held := 0, 0
		defer func() { raced <- [2]int{won, held} }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			racer.follow()
			err := racer.commit(mls.CommitOptions{})
			switch p := (*clientapi.Problem)(nil); {
			case err == nil:
				won++
			case errors.As(err, &p) && p.Status == 429:
				held++
				time.Sleep(time.Millisecond) // and not as long as it is told to
			}
		}
	}()
	const each = 3
	atA.n.Store(0)
	atB.n.Store(0)
	done := make(chan error, 2*each)
	limited, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for i := range each {
		go func() {
			text := fmt.Sprintf("alice's topic %d", i)
			done <- alice.Describe(limited, u, client.Describing{Topic: &text})
		}()
		go func() {
			text := fmt.Sprintf("bob's mood %d", i)
			done <- bob.Describe(limited, u, client.Describing{Mood: &text})
		}()
	}
	for range 2 * each {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := bob.Send(ctx, u, "in between"); err != nil {
		t.Fatal(err)
	}
	within(t, "alice reads", func() bool {
		list, err := alice.Messages(u, 0, 100)
		return err == nil && slices.ContainsFunc(list, func(m client.Message) bool { return m.Text == "in between" })
	})
	close(stop)
	race := <-raced
	won := race[0]
	m, err := alice.Metadata(ctx, u)
	if err != nil || m.Subject == "" || m.Mood == "" {
		t.Errorf("%+v, %v", m, err)
	}
	tries := atA.n.Load() + atB.n.Load()
	t.Logf("the racer won %d epochs and was held back %d times; %d attempts for %d changes", won, race[1], tries, 2*each)
	if most := 64 + 4*int(time.Since(began).Seconds()+1); won == 0 || won > most {
		t.Errorf("the racer won %d epochs, at least one and at most %d expected", won, most)
	}
	// A device has one attempt at a time, and loses it to an epoch that another has won; the
	// racer wins no more of these than its hub lets it, 64 and 4 a second.
	if most := int64(2*(won+2*each) + 2*each); tries < 2*each || tries > most {
		t.Errorf("%d attempts for %d changes, %d at most", tries, 2*each, most)
	}
	// Nothing goes on when there is nothing more to change.
	var s client.Summary
	within(t, "alice has followed to the end", func() bool {
		x, err := a.operator().Room(ctx, u.String())
		if err != nil {
			return false
		}
		s, err = alice.Verify(ctx, u)
		return err == nil && s.Epoch == x.Epoch
	})
	before := atA.n.Load() + atB.n.Load()
	time.Sleep(500 * time.Millisecond)
	if now := atA.n.Load() + atB.n.Load(); now != before {
		t.Errorf("%d attempts to change something when all was done", now-before)
	}
	if after, err := alice.Verify(ctx, u); err != nil || after.Epoch != s.Epoch {
		t.Errorf("from epoch %d to %d by itself, %v", s.Epoch, after.Epoch, err)
	}
}

// updates counts the handshakes that a client submits.
type updates struct{ n atomic.Int64 }

func (x *updates) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/updates") {
		x.n.Add(1)
	}
	return http.DefaultTransport.RoundTrip(r)
}
