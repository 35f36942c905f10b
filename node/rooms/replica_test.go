package rooms_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// hosting is what the room's hosting should be for these replicas, the first being
// what the log says is its hub.
func (w *world) hosting(d *device, hub string, term room.Term, domains ...string) *room.Hosting {
	h := must(room.HostingOf(d.group.Public().Context()))(w.t)
	h.Hub, h.Term, h.Replicas = w.replica(hub), term, nil
	for _, x := range domains {
		h.Replicas = append(h.Replicas, w.replica(x))
	}
	if h.Failover = room.FailoverAdmin; len(domains) > 1 {
		h.Failover = room.FailoverAuto
	}
	return h
}

// replica is a provider as rooms name it.
func (w *world) replica(domain string) room.Replica {
	x := room.Replica{Domain: domain, FrankingKey: w.ps[domain].franker().Key()}
	copy(x.ProviderKey[:], w.ps[domain].key.Public().(ed25519.PublicKey))
	return x
}

func (d *device) rehost(id store.RoomID, h *room.Hosting) error {
	p := must(room.UpdateHosting(h))(d.p.w.t)
	return d.commit(id, mls.CommitOptions{Proposals: []*mls.Proposal{p}})
}

// watched has providers take those for dead that are down.
func watched(w *world) {
	for _, p := range w.ps {
		p.tweak = func(c *rooms.Config) {
			c.Dead = func(domain string) bool { o := w.ps[domain]; return o == nil || o.isDown() || w.cut(p.domain, domain) }
			c.Replica = func() room.Replica {
				x := room.Replica{Domain: p.domain, FrankingKey: p.franker().Key()}
				copy(x.ProviderKey[:], p.key.Public().(ed25519.PublicKey))
				return x
			}
		}
	}
}

// trio is a room of three users of three providers, all of them replicas.
func trio(t *testing.T) (w *world, alice, bob, carol *device, id store.RoomID) {
	w = prepareWorld(t, true, three...)
	watched(w)
	w.start()
	alice, bob, carol = w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	id, _, err := alice.create("trio")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob, carol); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 2)
	}
	if err := alice.rehost(id, w.hosting(alice, three[0], room.FirstTerm, three...)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 4) // the commit, and that it is settled
	}
	return w, alice, bob, carol, id
}

// say sends until the room takes it, as a client does, and returns how long that took.
func (d *device) say(id store.RoomID, text string) time.Duration {
	t := d.p.w.t
	t.Helper()
	m := d.message(text)
	start := time.Now()
	var last error
	for time.Since(start) < time.Minute {
		r, err := d.send(id, m)
		if err == nil && r.Code == wire.SubmitAccepted {
			return time.Since(start)
		}
		last = fmt.Errorf("%v, %v", r, err)
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s cannot say %s: %v", d.who.User, text, last)
	return 0
}

// read waits until a device has read all of these, in whatever order.
func (d *device) read(id store.RoomID, texts ...string) {
	t := d.p.w.t
	t.Helper()
	d.listen("", func(_, event, data string) bool {
		d.take(id, event, data)
		return !slices.ContainsFunc(texts, func(s string) bool { return !slices.Contains(d.plain, s) })
	})
}

func (p *provider) stand(id store.RoomID) clientapi.Room {
	for _, s := range p.rooms.List() {
		if s.ID == room.ID(id).String() {
			return s.Room
		}
	}
	return clientapi.Room{}
}

// TestReplicas: three providers decide; what is said is final at all of them.
func TestReplicas(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	var all []string
	for i, d := range []*device{alice, bob, carol, bob, alice} {
		text := fmt.Sprintf("m%d", i)
		d.say(id, text)
		if d != alice {
			all = append(all, text)
		}
	}
	carol.read(id, "m0", "m1", "m3", "m4")
	alice.read(id, all...)
	for _, p := range w.ps {
		eventually(t, "all is final at "+p.domain, func() bool { return p.stand(id).Next == 9 })
		if n := p.rooms.Stats().Decided; n < 7 {
			t.Errorf("%s: %d entries final by certificates, 7 expected", p.domain, n)
		}
	}
	// The same after restarts.
	for _, p := range w.ps {
		p.restart()
	}
	bob.say(id, "again")
	carol.read(id, "again")
}

// TestTakeOver: the hub dies; another one orders; the old one follows when it is back.
func TestTakeOver(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	bob.say(id, "before")
	carol.read(id, "before")
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	atlanta.set(func() { atlanta.down = true })
	for _, p := range []*provider{biloxi, chicago} {
		p.rooms.Suspect(room.ID(id))
	}
	took := bob.say(id, "after")
	t.Logf("taken over after %s", took)
	carol.read(id, "before", "after")
	now := biloxi.stand(id)
	if now.Hub == three[0] || now.Term == "0.1" {
		t.Fatalf("the room is ordered by %s in term %s", now.Hub, now.Term)
	}
	atlanta.set(func() { atlanta.down = false })
	for _, d := range three[1:] {
		atlanta.rooms.Exchange(context.Background(), d)
	}
	eventually(t, "the old hub follows", func() bool { return atlanta.stand(id).Hub == now.Hub })
	alice.say(id, "back")
	carol.read(id, "back")
	alice.read(id, "before", "after")
}

func mlsHosting(t *testing.T, h *room.Hosting) mls.CommitOptions {
	return mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateHosting(h))(t)}}
}

// TestCertificatesShown: whoever reads the log through the API sees by whom it is final.
func TestCertificatesShown(t *testing.T) {
	w, alice, bob, _, id := trio(t)
	alice.say(id, "hello")
	bob.read(id, "hello")
	w.alike(id, 5)
	page := must(w.ps[three[1]].rooms.Log(context.Background(), bob.who, id, 0, 100))(t)
	if len(page.Certificates) == 0 {
		t.Fatal("no certificates")
	}
	for _, b := range page.Certificates {
		c := must(room.ParseCertificate(b))(t)
		e := must(room.ParseEntry(page.Entries[c.Head.Seq]))(t)
		if e.Hash() != c.Head.Hash || len(c.Signers) < 2 {
			t.Errorf("certificate of %d by %v is not of entry %d", c.Head.Seq, c.Domains(), e.Seq)
		}
		err := c.Verify(room.ID(id), func(domain string) (ed25519.PublicKey, bool) {
			return w.ps[domain].key.Public().(ed25519.PublicKey), true
		})
		if err != nil {
			t.Error(err)
		}
	}
	if alone := must(w.ps[three[1]].rooms.Log(context.Background(), bob.who, id, 0, 1))(t); len(alone.Certificates) > 0 {
		t.Error("what the hub decided about alone has a certificate")
	}
}
