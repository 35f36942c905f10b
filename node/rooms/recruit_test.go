package rooms_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

const (
	atlanta = "atlanta.example"
	biloxi  = "biloxi.example"
	chicago = "chicago.example"
	dover   = "dover.example"
)

// offering has providers be willing, beside what watched does.
func offering(w *world, o rooms.Offer, domains ...string) {
	for _, d := range domains {
		before := w.ps[d].tweak
		w.ps[d].tweak = func(c *rooms.Config) { before(c); c.Offer = o }
	}
}

// outside makes the proposals of a commit that names a replica set and a recruit.
func (w *world) outside(d *device, hub string, term room.Term, recruit string, domains ...string) mls.CommitOptions {
	return mls.CommitOptions{Proposals: []*mls.Proposal{
		must(room.UpdateHosting(w.hosting(d, hub, term, domains...)))(w.t),
		must(room.UpdateOutside(&room.Outside{Allowed: true, Recruit: recruit}))(w.t)}}
}

// duo is a room of two providers' users, in a world with willing ones.
func duo(t *testing.T, offer rooms.Offer) (w *world, alice, bob *device, id store.RoomID) {
	w = prepareWorld(t, true, atlanta, biloxi, chicago, dover)
	watched(w)
	offering(w, offer, chicago, dover)
	w.start()
	alice, bob = w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("pair")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)
	if err := alice.commit(id, mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateOutside(&room.Outside{Allowed: true}))(t)}}); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 3)
	bob.follow(id, 3)
	return w, alice, bob, id
}

// ask has a provider ask another one to be a replica.
func (p *provider) ask(domain string, id store.RoomID) *replica.RecruitAnswer {
	p.w.t.Helper()
	return must(p.rooms.AskRecruit(context.Background(), domain, id))(p.w.t)
}

// recruited is a duo that has recruited chicago.
func recruited(t *testing.T) (w *world, alice, bob *device, id store.RoomID) {
	w, alice, bob, id = duo(t, rooms.Offer{Rooms: 10, PerProvider: 10})
	if a := w.ps[atlanta].ask(chicago, id); !a.Willing {
		t.Fatal(a.Why)
	}
	if err := alice.commit(id, w.outside(alice, atlanta, room.FirstTerm, chicago, atlanta, biloxi, chicago)); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 5) // the commit, and that it is settled
	bob.follow(id, 5)
	eventually(t, "the recruit has it", func() bool { return w.ps[chicago].stand(id).Next == 5 })
	return w, alice, bob, id
}

func (p *provider) summary(id store.RoomID) (out rooms.Summary) {
	for _, s := range p.rooms.List() {
		if s.ID == room.ID(id).String() {
			out = s
		}
	}
	return out
}

// TestRecruit: a room of two providers outlives its hub, because a third one keeps it, in
// which nobody takes part.
func TestRecruit(t *testing.T) {
	w, alice, bob, id := recruited(t)
	alice.say(id, "one")
	bob.say(id, "two")
	alice.read(id, "two")
	bob.read(id, "one")
	for _, d := range []string{atlanta, biloxi, chicago} {
		p := w.ps[d]
		eventually(t, "all is final at "+d, func() bool { return p.stand(id).Next == 7 })
		if s := p.summary(id); !slices.Equal(s.Outside, []string{chicago}) || !slices.Equal(s.Providers, []string{atlanta, biloxi, chicago}) {
			t.Errorf("%s: %v follow, %v from outside", d, s.Providers, s.Outside)
		}
		if p.rooms.TakesPart(p.summary(id).URI, chicago) {
			t.Errorf("%s: the recruit takes part", d)
		}
	}
	if s := w.ps[dover].summary(id); s.ID != "" {
		t.Error("a provider that nobody has recruited has the room")
	}
	w.ps[chicago].restart()

	// The hub dies. Nothing that was final is lost, and the other participant's provider
	// orders, by the recruit's vote.
	w.ps[atlanta].set(func() { w.ps[atlanta].down = true })
	w.suspect(id)
	bob.say(id, "three")
	eventually(t, "another hub", func() bool { return w.ps[biloxi].stand(id).Hub != atlanta && w.ps[chicago].stand(id).Hub != atlanta })
	w.ps[atlanta].set(func() { w.ps[atlanta].down = false })
	w.heal()
	alice.read(id, "two", "three")
	w.alike(id, 9)
	show := must(w.ps[chicago].rooms.Show(context.Background(), id))(t)
	for _, p := range show.Participants {
		if strings.Contains(p.User, chicago) {
			t.Errorf("the recruit is shown as a participant: %v", show.Participants)
		}
	}
	if all, kept := w.ps[chicago].rooms.Promised(); all != 1 || kept != 1 {
		t.Errorf("%d promises, %d kept", all, kept)
	}
}

// TestRecruitWithTheHub: the hub and the recruit are enough where the other participant's
// provider is away, for the very commit that recruits it, too.
func TestRecruitWithTheHub(t *testing.T) {
	w, alice, bob, id := duo(t, rooms.Offer{Rooms: 10, PerProvider: 10})
	w.ps[biloxi].set(func() { w.ps[biloxi].down = true })
	if a := w.ps[atlanta].ask(dover, id); !a.Willing {
		t.Fatal(a.Why)
	}
	if err := alice.commit(id, w.outside(alice, atlanta, room.FirstTerm, dover, atlanta, biloxi, dover)); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 5)
	alice.say(id, "hello")
	w.ps[biloxi].set(func() { w.ps[biloxi].down = false })
	w.heal()
	bob.read(id, "hello")
}

// TestRecruitGoes: when a third provider takes part the recruit is dropped; it helps to
// settle that, and reads nothing that is said after.
func TestRecruitGoes(t *testing.T) {
	w, alice, bob, id := recruited(t)
	dora := w.device("dora@dover.example", "phone")
	if err := alice.add(id, dora); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, dora} {
		d.follow(id, 6)
	}
	if err := alice.commit(id, w.outside(alice, atlanta, room.FirstTerm, "", atlanta, biloxi, dover)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, dora} {
		d.follow(id, 8)
	}
	alice.say(id, "among us")
	bob.read(id, "among us")
	dora.read(id, "among us")
	c := w.ps[chicago]
	eventually(t, "it has what ended it", func() bool { s := c.summary(id); return s.Next == 8 && !slices.Contains(s.Providers, chicago) })
	if all, kept := c.rooms.Promised(); all+kept != 0 {
		t.Errorf("%d promises, %d kept", all, kept)
	}
	c.mu.Lock()
	topics := len(c.topics)
	c.mu.Unlock()
	if topics != 0 {
		t.Error("it listens to the room's topic")
	}
	for _, d := range []string{atlanta, biloxi, dover} {
		body := room.AppendStands(nil, []room.Stand{{Room: room.ID(id), Next: 8}})
		res, err := w.ps[d].serve(context.Background(), rooms.EndpointLog, &rooms.Request{Source: chicago, Subject: room.ID(id).String(), Body: body})
		if err != nil || len(res.Body) > 0 {
			t.Errorf("%s shows what came after: %v, %v", d, res, err)
		}
	}
	if a := w.ps[atlanta].ask(chicago, id); !a.Willing {
		t.Errorf("asked again: %s", a.Why)
	}
}

// TestRecruitEndKept: a replica that was away while the recruit was dropped reads the log
// up to there and has a head to show the recruit its end with.
func TestRecruitEndKept(t *testing.T) {
	w, alice, bob, id := recruited(t)
	dora := w.device("dora@dover.example", "phone")
	if err := alice.add(id, dora); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, dora} {
		d.follow(id, 6)
	}
	away := w.ps[dover]
	away.set(func() { away.down = true })
	if err := alice.commit(id, w.outside(alice, atlanta, room.FirstTerm, "", atlanta, biloxi, dover)); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 8)
	alice.say(id, "among us")
	bob.read(id, "among us")
	if s := away.summary(id); s.Next > 7 {
		t.Fatalf("it was not away: it has %d entries", s.Next)
	}
	away.set(func() { away.down = false })
	bob.say(id, "once more")
	eventually(t, "it has what came meanwhile", func() bool { return away.summary(id).Next >= 10 })
	body := room.AppendStands(nil, []room.Stand{{Room: room.ID(id), Next: 6}})
	res, err := away.serve(context.Background(), rooms.EndpointLog, &rooms.Request{Source: chicago, Subject: room.ID(id).String(), Body: body})
	if err != nil || len(res.Body) == 0 {
		t.Fatalf("it shows the recruit nothing: %v, %v", res, err)
	}
	p, err := room.ParsePiece(res.Body, 1<<20)
	if err != nil || p.Head.Seq != 7 {
		t.Fatalf("it shows up to %d: %v", p.Head.Seq, err)
	}
}

// TestRecruitForbidden: the room allows it no more, and its hub decides alone again.
func TestRecruitForbidden(t *testing.T) {
	w, alice, bob, id := recruited(t)
	o := mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateHosting(w.hosting(alice, atlanta, room.FirstTerm, atlanta)))(t),
		must(room.UpdateOutside(&room.Outside{}))(t)}}
	if err := alice.commit(id, o); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 7)
	bob.say(id, "alone")
	alice.read(id, "alone")
	c := w.ps[chicago]
	eventually(t, "it is told", func() bool { s := c.summary(id); return s.Next == 7 && len(s.Outside) == 0 })
}

// TestRecruitUnasked: a provider that has promised nothing follows no room that recruits
// it, and one that was asked follows when it is.
func TestRecruitUnasked(t *testing.T) {
	w, alice, bob, id := duo(t, rooms.Offer{Rooms: 10, PerProvider: 10})
	if err := alice.commit(id, w.outside(alice, atlanta, room.FirstTerm, chicago, atlanta, biloxi, chicago)); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 5) // the two of them are enough
	bob.say(id, "without it")
	alice.read(id, "without it")
	c := w.ps[chicago]
	if s := c.summary(id); s.Next > 3 {
		t.Errorf("it has followed to entry %d", s.Next)
	}
	c.mu.Lock()
	n := len(c.topics)
	c.mu.Unlock()
	if n != 0 {
		t.Errorf("it listens to %d topics", n)
	}
	if s := c.summary(id); s.Broken != "" || s.Accused != "" {
		t.Errorf("it holds that against the hub: %+v", s)
	}
	if a := w.ps[atlanta].ask(chicago, id); !a.Willing {
		t.Fatal(a.Why)
	}
	bob.say(id, "with it")
	eventually(t, "it follows", func() bool { return c.stand(id).Next == 7 })
}

// TestRecruitUnaskedAgain: one that was a recruit and was replaced follows no further when
// it is recruited again and was not asked again, and holds that against nobody.
func TestRecruitUnaskedAgain(t *testing.T) {
	w, alice, bob, id := recruited(t)
	c := w.ps[chicago]
	if a := w.ps[atlanta].ask(dover, id); !a.Willing {
		t.Fatal(a.Why)
	}
	if err := alice.commit(id, w.outside(alice, atlanta, room.FirstTerm, dover, atlanta, biloxi, dover)); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 7)
	eventually(t, "it is dismissed", func() bool { return c.stand(id).Next == 7 && !slices.Contains(c.summary(id).Outside, chicago) })
	if err := alice.commit(id, w.outside(alice, atlanta, room.FirstTerm, chicago, atlanta, biloxi, chicago)); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 9)
	bob.say(id, "without it")
	alice.read(id, "without it")
	eventually(t, "it waits before what recruits it", func() bool { return c.summary(id).Held != "" })
	if s := c.summary(id); s.Next > 7 || s.Broken != "" || s.Accused != "" {
		t.Errorf("%+v", s)
	}
	if a := w.ps[biloxi].ask(chicago, id); !a.Willing {
		t.Fatal(a.Why)
	}
	bob.say(id, "with it")
	eventually(t, "it follows", func() bool { return c.stand(id).Next == 11 })
}

// TestRecruitLimits: what a provider offers is in total, for one asker, and only if it
// offers anything; promises that nobody takes up end.
func TestRecruitLimits(t *testing.T) {
	w, _, _, id := duo(t, rooms.Offer{Rooms: 3, PerProvider: 2})
	var late time.Duration
	c := w.ps[chicago]
	before := c.tweak
	c.tweak = func(x *rooms.Config) { before(x); x.Now = func() time.Time { return time.Now().Add(late) } }
	c.restart()
	refused := func(a *replica.RecruitAnswer, why string) {
		t.Helper()
		if a.Willing || !strings.Contains(a.Why, why) {
			t.Errorf("%+v, expected a refusal because of %q", a, why)
		}
	}
	promised := func(p, room string) {
		t.Helper()
		if a := w.ps[p].ask(chicago, store.RoomID{room[0]}); !a.Willing || a.ProviderKey != w.replica(chicago).ProviderKey || len(a.FrankingKey) != 32 ||
			a.Until.Before(time.Now().Add(late+30*time.Minute)) {
			t.Errorf("%+v", a)
		}
	}
	promised(atlanta, "1")
	promised(atlanta, "2")
	promised(atlanta, "2") // the same again is no other
	refused(w.ps[atlanta].ask(chicago, store.RoomID{'3'}), "one provider")
	promised(biloxi, "4")
	refused(w.ps[biloxi].ask(chicago, store.RoomID{'5'}), "as many rooms of others")
	c.restart()
	refused(w.ps[biloxi].ask(chicago, store.RoomID{'5'}), "as many rooms of others")
	c.close()
	late = 2 * time.Hour
	c.start()
	if all, _ := c.rooms.Promised(); all != 0 {
		t.Errorf("%d promises after their time", all)
	}
	promised(biloxi, "5")
	refused(w.ps[biloxi].ask(atlanta, store.RoomID{'5'}), "offers to keep no rooms")
	w.ps[biloxi].close()
	for _, d := range []string{atlanta, biloxi} {
		offering(w, rooms.Offer{Rooms: 1, PerProvider: 1}, d)
	}
	w.ps[biloxi].start()
	refused(w.ps[atlanta].ask(biloxi, id), "takes part")
	if _, err := c.serve(context.Background(), rooms.EndpointRecruit, &rooms.Request{Source: atlanta, Body: make([]byte, 5000)}); err == nil {
		t.Error("a question of 5,000 bytes")
	}
	if _, err := w.ps[atlanta].serve(context.Background(), rooms.EndpointWilling, &rooms.Request{Source: biloxi}); err == nil {
		t.Error("who offers nothing says that it does")
	}
	if res, err := c.serve(context.Background(), rooms.EndpointWilling, &rooms.Request{Source: biloxi}); err != nil || string(res.Body) != chicago {
		t.Errorf("%v, %v", res, err)
	}
}

// TestVacancy: who may have a recruit looked for, and among whom not.
func TestVacancy(t *testing.T) {
	w, alice, bob, id := recruited(t)
	v, err := w.ps[atlanta].rooms.Vacancy(context.Background(), alice.who, id)
	if err != nil || v.Present != chicago || !slices.Equal(v.Taken, []string{atlanta, biloxi, chicago}) {
		t.Errorf("%+v, %v", v, err)
	}
	refused := func(d *device, why string) {
		t.Helper()
		_, err := d.p.rooms.Vacancy(context.Background(), d.who, id)
		var p *clientapi.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Detail, why) {
			t.Errorf("%v, expected %q", err, why)
		}
	}
	refused(bob, "only an administrator")
	dora := w.device("dora@dover.example", "phone")
	refused(dora, "no such room")
	if err := alice.add(id, dora); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 6)
	refused(alice, "3 providers")
	if err := alice.commit(id, mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateOutside(&room.Outside{}))(t)}}); err == nil {
		t.Error("forbidden, and it stays")
	}
	other := must3(alice.create("alone"))(t)
	if _, err := w.ps[atlanta].rooms.Vacancy(context.Background(), alice.who, other); err == nil || !strings.Contains(fmt.Sprint(err), "allow") {
		t.Error(err)
	}
}

func must3[A, B any](a A, _ B, err error) func(t testing.TB) A {
	return func(t testing.TB) A {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// TestHeirsBeforeRecruits: a room is handed over to who takes part before it is to a recruit.
func TestHeirsBeforeRecruits(t *testing.T) {
	s := rooms.Summary{Replicas: []string{atlanta, chicago, biloxi}, Providers: []string{atlanta, biloxi, chicago}, Outside: []string{chicago}}
	for self, want := range map[string][]string{atlanta: {biloxi, chicago}, biloxi: {atlanta, chicago}, chicago: {biloxi, atlanta}} {
		if got := s.Heirs(self); !slices.Equal(got, want) {
			t.Errorf("%s: %v, expected %v", self, got, want)
		}
	}
}

// TestRecruitIsHub: a recruit that has come to order the room is dropped like any other
// when a third provider takes part, and when it is forbidden: one who takes part orders it
// then.
func TestRecruitIsHub(t *testing.T) {
	for _, forbidden := range []bool{false, true} {
		w, alice, bob, id := recruited(t)
		if err := w.ps[atlanta].rooms.Move(context.Background(), room.ID(id), chicago); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the recruit orders it", func() bool { return w.ps[chicago].stand(id).Hub == chicago && w.ps[biloxi].stand(id).Hub == chicago })
		bob.say(id, "at the recruit's")
		alice.read(id, "at the recruit's")
		term := must(room.HostingOf(alice.group.Public().Context()))(t).Term
		term.Number++
		var o mls.CommitOptions
		if forbidden {
			o = w.outside(alice, chicago, term, "", atlanta)
			o.Proposals[1] = must(room.UpdateOutside(&room.Outside{}))(t)
		} else {
			dora := w.device("dora@dover.example", "phone")
			if err := alice.add(id, dora); err != nil {
				t.Fatal(err)
			}
			alice.follow(id, alice.at+1)
			o = w.outside(alice, chicago, term, "", atlanta, biloxi, dover)
		}
		if err := alice.commit(id, o); err != nil {
			t.Fatal(err)
		}
		eventually(t, "somebody who takes part orders it", func() bool {
			s := w.ps[biloxi].summary(id)
			return s.Hub != chicago && len(s.Outside) == 0
		})
		bob.say(id, "among us")
		alice.read(id, "among us")
		c := w.ps[chicago]
		eventually(t, "it knows", func() bool { s := c.summary(id); return len(s.Outside) == 0 && s.Tail == 0 })
		if all, kept := c.rooms.Promised(); all+kept != 0 {
			t.Errorf("%d promises, %d kept", all, kept)
		}
	}
}
