package rooms_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

const delta = "delta.example"

// impatient is a room that three providers decide about, with users of them and of a
// fourth, none of which leaves a submission lying for long.
func impatient(t *testing.T, more ...func(c *rooms.Config)) (w *world, users map[string]*device, id store.RoomID) {
	w = prepareWorld(t, true, append([]string{delta}, three...)...)
	watched(w)
	for _, p := range w.ps {
		tweak := p.tweak
		p.tweak = func(c *rooms.Config) {
			tweak(c)
			c.Stall = 200 * time.Millisecond
			for _, f := range more {
				f(c)
			}
		}
	}
	w.start()
	users = map[string]*device{}
	for _, u := range []string{"alice@atlanta.example", "bob@biloxi.example", "carol@chicago.example", "dave@" + delta} {
		users[strings.SplitN(u, "@", 2)[0]] = w.device(u, "phone")
	}
	alice := users["alice"]
	id, _, err := alice.create("impatient")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, users["bob"], users["carol"], users["dave"]); err != nil {
		t.Fatal(err)
	}
	for _, d := range users {
		d.follow(id, 2)
	}
	if err := alice.rehost(id, w.hosting(alice, three[0], room.FirstTerm, three...)); err != nil {
		t.Fatal(err)
	}
	for _, d := range users {
		d.follow(id, 4)
	}
	return w, users, id
}

// withoutKind hands a provider's messages to a replica on but for those of a kind.
func withoutKind(ctx context.Context, q *rooms.Request, next rooms.Endpoint, kinds ...replica.Kind) (*rooms.Response, error) {
	list, err := replica.Parse(q.Body)
	if err != nil {
		return nil, err
	}
	keep := list[:0]
	for _, m := range list {
		drop := false
		for _, k := range kinds {
			drop = drop || m.Kind == k
		}
		if !drop {
			keep = append(keep, m)
		}
	}
	q.Body = replica.Append(nil, keep)
	return next(ctx, q)
}

// TestLeftLying: a hub that answers pings and everything else, and does not order what a
// member says, in all the ways there are; the others give the room another hub, the
// message comes, and whoever else is in the room goes on.
func TestLeftLying(t *testing.T) {
	accept := func(q *rooms.Request) (*rooms.Response, error) {
		b, err := (&wire.SubmitMessageResponse{AcceptedAt: uint64(time.Now().UnixMilli())}).Bytes()
		return &rooms.Response{Status: 200, Body: b}, err
	}
	refuse := func(code wire.SubmitResponseCode, epoch uint64) func(*rooms.Request) (*rooms.Response, error) {
		return func(*rooms.Request) (*rooms.Response, error) {
			b, err := (&wire.SubmitMessageResponse{Code: code, CurrentEpoch: epoch}).Bytes()
			return &rooms.Response{Status: 200, Body: b}, err
		}
	}
	for _, c := range []struct {
		name   string
		says   string // who wants to say something
		submit func(q *rooms.Request) (*rooms.Response, error)
		drops  []replica.Kind
	}{
		{"leaves a replica's submissions unanswered", "bob", nil, []replica.Kind{replica.Relayed}},
		{"leaves a follower's submissions unanswered", "dave", nil, []replica.Kind{replica.Relayed}},
		{"accepts and does not order", "dave", accept, []replica.Kind{replica.Relayed}},
		{"accepts a replica's and does not order", "bob", accept, []replica.Kind{replica.Relayed}},
		{"refuses", "dave", refuse(wire.SubmitNotAllowed, 0), []replica.Kind{replica.Relayed}},
		{"says that the epoch is another one", "dave", refuse(wire.SubmitEpochTooOld, 99), []replica.Kind{replica.Relayed}},
		{"is always busy", "dave", func(*rooms.Request) (*rooms.Response, error) { return nil, errors.New("busy") }, []replica.Kind{replica.Relayed}},
		{"orders and never lets it be final", "dave", nil, []replica.Kind{replica.CoSign}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, users, id := impatient(t)
			atlanta, victim := w.ps[three[0]], users[c.says]
			domain := victim.p.domain
			atlanta.set(func() {
				atlanta.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
					switch {
					case endpoint == rooms.EndpointReplica:
						return withoutKind(ctx, q, next, c.drops...)
					case endpoint != wire.EndpointSubmitMessage.String() || q.Source != domain || c.drops[0] == replica.CoSign:
						return next(ctx, q)
					case c.submit != nil:
						return c.submit(q)
					}
					<-ctx.Done()
					return nil, ctx.Err()
				}
			})
			other := users["carol"]
			if c.drops[0] != replica.CoSign {
				other.say(id, "others are served")
				victim.read(id, "others are served")
			}
			m := victim.message("left lying")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			// A client submits it again until it is final; here only until the hub has changed.
			for ctx.Err() == nil && other.p.stand(id).Hub == three[0] {
				call, end := context.WithTimeout(ctx, 2*time.Second)
				got, err := victim.p.rooms.SubmitMessage(call, victim.who, id, m)
				end()
				if err == nil && c.name == "refuses" {
					t.Errorf("the client is given the hub's unjust refusal: %x", got.Response)
				}
				time.Sleep(50 * time.Millisecond)
			}
			if hub := other.p.stand(id).Hub; hub == three[0] {
				t.Fatalf("%s still orders the room", hub)
			}
			// The old hub's answers count for nothing: a client submits again to the new one.
			eventually(t, "the sender's provider knows the new hub", func() bool { return victim.p.stand(id).Hub != three[0] })
			r, err := victim.send(id, m)
			for ctx.Err() == nil && (err != nil || r.Code != wire.SubmitAccepted) {
				time.Sleep(50 * time.Millisecond)
				r, err = victim.send(id, m)
			}
			other.read(id, "left lying")
			users["alice"].read(id, "left lying") // the old hub follows
			if s := victim.p.rooms.Stats(); s.Due == 0 {
				t.Errorf("nothing was due at %s: %+v", domain, s)
			}
		})
	}
}

// TestForgiven: what a hub left lying once is not held against it when it is given the
// room again, whether or not somebody submits it again.
func TestForgiven(t *testing.T) {
	w, users, id := impatient(t)
	atlanta, dave := w.ps[three[0]], users["dave"]
	stall := func(yes bool) {
		atlanta.set(func() {
			atlanta.answer = nil
			if yes {
				atlanta.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
					if endpoint == wire.EndpointSubmitMessage.String() {
						return nil, errors.New("busy")
					}
					if endpoint == rooms.EndpointReplica {
						return withoutKind(ctx, q, next, replica.Relayed)
					}
					return next(ctx, q)
				}
			}
		})
	}
	stall(true)
	if _, err := dave.send(id, dave.message("once")); err == nil {
		t.Fatal("it does not stall")
	}
	hub := func() *provider { return w.ps[dave.p.stand(id).Hub] }
	eventually(t, "it is replaced", func() bool { return hub() != atlanta && hub().stand(id).Hub == hub().domain })
	stall(false)
	led := atlanta.rooms.Stats().Led
	eventually(t, "it is given the room again", func() bool {
		_ = hub().rooms.Move(t.Context(), room.ID(id), three[0])
		return atlanta.rooms.Stats().Led > led
	})
	users["alice"].say(id, "again")
	users["carol"].read(id, "again")
	time.Sleep(600 * time.Millisecond)
	for domain, p := range w.ps {
		if h := p.stand(id).Hub; h != three[0] {
			t.Errorf("%s: the room is ordered by %s", domain, h)
		}
	}
}

// TestNotHeard: who has not heard of what the hub has ordered asks it before it blames it.
func TestNotHeard(t *testing.T) {
	w, users, id := impatient(t)
	dave, there := users["dave"], w.ps[delta]
	there.set(func() {
		there.deaf = true
		there.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			if endpoint == rooms.EndpointNudge {
				return nil, errors.New("not now")
			}
			return next(ctx, q)
		}
	})
	dave.say(id, "ordered")
	users["bob"].read(id, "ordered")
	if n := there.stand(id).Next; n != 4 {
		t.Fatalf("it has heard of %d entries", n)
	}
	eventually(t, "it has asked", func() bool { return there.stand(id).Next == 5 })
	if s := there.rooms.Stats(); s.Due > 0 || s.Said > 0 {
		t.Errorf("%+v", s)
	}
}

// TestOnlyHubStalls: where one provider decides alone, people are told, nobody is
// suspected, and a submission is not remembered for ever.
func TestOnlyHubStalls(t *testing.T) {
	w := prepareWorld(t, true, three[:2]...)
	watched(w)
	for _, p := range w.ps {
		tweak := p.tweak
		p.tweak = func(c *rooms.Config) { tweak(c); c.Stall = 100 * time.Millisecond }
	}
	w.start()
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("pair")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)
	atlanta, biloxi := w.ps[three[0]], w.ps[three[1]]
	var stalls atomic.Bool
	stalls.Store(true)
	atlanta.set(func() {
		atlanta.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			if endpoint == wire.EndpointSubmitMessage.String() && stalls.Load() {
				return nil, errors.New("busy")
			}
			return next(ctx, q)
		}
	})
	m := bob.message("hello")
	if _, err := bob.send(id, m); err == nil {
		t.Fatal("it does not stall")
	}
	bob.listen("", func(_, event, data string) bool {
		return event == clientapi.EventHub && strings.Contains(data, `"hub":"atlanta.example"`) &&
			strings.Contains(data, `"moves":false`) && strings.Contains(data, `"stalls":true`)
	})
	stalls.Store(false)
	bob.say(id, "hello")
	alice.read(id, "hello")
	stalls.Store(true)
	if _, err := bob.send(id, bob.message("never again")); err == nil {
		t.Fatal("it does not stall")
	}
	eventually(t, "the room is not in memory any more", func() bool { return biloxi.rooms.Stats().Loaded == 0 })
	if s := biloxi.rooms.Stats(); s.Due == 0 || s.Said > 0 {
		t.Errorf("%+v", s)
	}
}

// TestDetour: whose way to the hub is broken, and only that. Others bring the hub what it
// is to order, it does, and stays.
func TestDetour(t *testing.T) {
	w, users, id := impatient(t)
	atlanta, dave := w.ps[three[0]], users["dave"]
	atlanta.set(func() {
		atlanta.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			if (endpoint == wire.EndpointSubmitMessage.String() || endpoint == wire.EndpointUpdate.String()) && q.Source == delta {
				return nil, errors.New("no way")
			}
			return next(ctx, q)
		}
	})
	m := dave.message("by a detour")
	if _, err := dave.send(id, m); err == nil {
		t.Fatal("the way is not broken")
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		users[name].read(id, "by a detour")
	}
	eventually(t, "its own provider has it, too", func() bool { return dave.p.stand(id).Next == 5 })
	before := dave.p.stand(id)
	if err := dave.commit(id, mls.CommitOptions{}); err == nil {
		t.Fatal("the way is not broken for handshakes")
	}
	for domain, p := range w.ps {
		eventually(t, "the commit is final at "+domain, func() bool { s := p.stand(id); return s.Epoch == before.Epoch+1 && s.Next == before.Next+1 })
	}
	time.Sleep(600 * time.Millisecond) // thrice as long as anybody waits
	for domain, p := range w.ps {
		if s := p.stand(id); s.Hub != three[0] || p.rooms.Stats().Led > 0 {
			t.Errorf("%s: the room is ordered by %s, %+v", domain, s.Hub, p.rooms.Stats())
		}
	}
	if s := atlanta.rooms.Stats(); s.Relayed == 0 {
		t.Errorf("nothing was relayed: %+v", s)
	}
}

// TestFalseRelays: nobody suspects a hub for what it does not owe, and the hub orders
// none of it.
func TestFalseRelays(t *testing.T) {
	w, users, id := impatient(t)
	atlanta, biloxi, dave := w.ps[three[0]], w.ps[three[1]], users["dave"]
	raw := func(d *device, text string) []byte { return d.message(text).Request }
	sign := func(origin string, body []byte, by string) *replica.Relay {
		y, err := replica.SignRelay(room.ID(id), replica.SubmitMessage, origin, room.NewTxnNonce(), body, w.ps[by].key)
		if err != nil {
			t.Fatal(err)
		}
		return y
	}
	good := raw(dave, "never submitted")
	before := atlanta.stand(id).Next
	for _, c := range []struct {
		name string
		to   *provider
		from string
		y    *replica.Relay
	}{
		{"signed by another", biloxi, delta, sign(delta, good, three[2])},
		{"in another's name", biloxi, delta, sign(three[2], good, delta)},
		{"of another's user", biloxi, three[2], sign(three[2], good, three[2])},
		{"handed on by one who is no hub", biloxi, three[2], sign(delta, good, delta)},
		{"by who takes no part", biloxi, "echo.example", sign(delta, good, delta)},
		{"no message at all", biloxi, delta, sign(delta, []byte("junk"), delta)},
		{"signed by another, to the hub", atlanta, three[1], sign(delta, good, three[2])},
		{"of another's user, to the hub", atlanta, three[2], sign(three[2], good, three[2])},
	} {
		q := &rooms.Request{Source: c.from, Subject: c.to.domain, Body: replica.Append(nil, []*replica.Message{{Room: room.ID(id), Kind: replica.Relayed, Relay: c.y}})}
		if _, err := c.to.rooms.Endpoints()[rooms.EndpointReplica](t.Context(), q); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	time.Sleep(600 * time.Millisecond)
	users["bob"].say(id, "goes on")
	users["carol"].read(id, "goes on")
	if got := atlanta.stand(id).Next; got != before+1 {
		t.Errorf("%d entries after %d", got, before)
	}
	for domain, p := range w.ps {
		if s := p.rooms.Stats(); s.Due > 0 || s.Led > 0 || domain != three[0] && s.Relayed > 0 {
			t.Errorf("%s: %+v", domain, s)
		}
	}
}
