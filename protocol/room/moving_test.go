package room_test

import (
	"crypto/ed25519"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

const (
	atlanta = "atlanta.example"
	biloxi  = "biloxi.example"
	chicago = "chicago.example"
)

func (w *world) replica(domain string) room.Replica {
	x := room.Replica{Domain: domain, FrankingKey: make([]byte, 32)}
	copy(x.ProviderKey[:], w.providers[domain].Public().(ed25519.PublicKey))
	return x
}

func (w *world) replicas(domains ...string) (out []room.Replica) {
	for _, d := range domains {
		out = append(out, w.replica(d))
	}
	return out
}

// refreshed is room_hosting as the log says, with these replicas.
func (w *world) refreshed(domains ...string) *room.Hosting {
	h := *w.hub.Hosting()
	h.Hub, h.Term, h.Replicas = *w.hub.Hub(), w.hub.At().Term, w.replicas(domains...)
	h.Failover = room.FailoverAdmin
	return &h
}

func hostingUpdate(h *room.Hosting) *mls.Proposal {
	return &mls.Proposal{Type: mls.ProposalAppDataUpdate,
		AppData: &mls.AppDataUpdate{Component: room.HostingComponent, Op: mls.AppDataSet, Update: h.Append(nil)}}
}

func (d *device) host(h *room.Hosting) error {
	d.w.t.Helper()
	return d.commit(mls.CommitOptions{Proposals: []*mls.Proposal{hostingUpdate(h)}})
}

// end is the head that ends the log.
func (w *world) end() room.Head { return room.HeadOf(w.log[len(w.log)-1]) }

// certificate is of a head, co-signed by the domains, which are sorted.
func (w *world) certificate(h room.Head, domains ...string) room.Certificate {
	c := room.Certificate{Head: h}
	for _, d := range domains {
		c.Signers = append(c.Signers, room.Signer{Domain: d, CoSignature: room.CoSign(h, w.providers[d])})
	}
	return c
}

// put has hub and follower take an entry that the hub made.
func (w *world) put(e *room.Entry) (*room.Step, error) {
	w.t.Helper()
	st, err := w.hub.Check(e)
	if err != nil {
		return nil, err
	}
	if err := w.hub.Advance(st); err != nil {
		return nil, err
	}
	w.log = append(w.log, e)
	again, err := w.follower.Check(e)
	if err != nil {
		w.t.Fatalf("follower refuses what the hub ordered: %v", err)
	}
	if err := w.follower.Advance(again); err != nil {
		w.t.Fatal(err)
	}
	return st, nil
}

func (w *world) settle(domains ...string) (*room.Step, error) {
	w.t.Helper()
	body := (&room.Settled{Certificate: w.certificate(w.end(), domains...)}).Bytes()
	return w.put(w.hub.NewEntry(room.KindSettled, room.TxnID{}, body, w.now))
}

// change is a hub_change in the making; what a test does not set is as it should
// be for Hub.
type change struct {
	term    room.Term
	vote    room.Vote
	body    room.HubChange
	voters  []string
	signers map[string]ed25519.PrivateKey
}

func (w *world) change(via room.Via, hub string, voters ...string) *change {
	t := w.hub.At().Term
	t.Number++
	c := &change{term: t, voters: voters, body: room.HubChange{Via: via, Hub: w.replica(hub)}, signers: maps.Clone(w.providers)}
	c.vote = room.Vote{Room: w.hub.ID(), Set: room.SetHash(w.hub.Set()), Term: t, Candidate: hub, Head: w.end(), Release: via == room.ByRelease}
	return c
}

func (w *world) entry(c *change) *room.Entry {
	c.body.Votes = nil
	for _, v := range c.voters {
		c.body.Votes = append(c.body.Votes, room.SignVote(c.vote, v, c.signers[v]))
	}
	e := w.hub.NewEntry(room.KindHubChange, room.TxnID{}, c.body.Bytes(), w.now)
	e.Term = c.term
	return e
}

// three makes a room of three providers' users; its hub is a set of one.
func three(t *testing.T) (w *world, alice, bob, carol *device) {
	w = newWorld(t)
	alice, bob, carol = w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	if err := alice.add(bob, carol); err != nil {
		t.Fatal(err)
	}
	return w, alice, bob, carol
}

// settledThree is three with a set of three.
func settledThree(t *testing.T) (w *world, alice, bob, carol *device) {
	w, alice, bob, carol = three(t)
	if err := alice.host(w.refreshed(atlanta, biloxi, chicago)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.settle(atlanta, biloxi); err != nil {
		t.Fatal(err)
	}
	return w, alice, bob, carol
}

// TestMovingStory: a set of one becomes one of three, the hub is taken over by
// votes, the set shrinks to one again, which gives its place away; with a hub that
// is stored and loaded after every step, and a follower.
func TestMovingStory(t *testing.T) {
	w, alice, bob, carol := three(t)
	parts := map[string][]byte{}
	w.reload(parts)
	check := func(what string, err error, hub string, term uint64, set, next []room.Replica) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		w.reload(parts)
		for who, s := range map[string]*room.State{"hub": w.hub, "follower": w.follower} {
			now, then := s.Set()
			same := func(x, y room.Replica) bool {
				return x.Domain == y.Domain && x.ProviderKey == y.ProviderKey && slices.Equal(x.FrankingKey, y.FrankingKey)
			}
			if s.Hub().Domain != hub || !s.HubKey().Equal(w.providers[hub].Public()) || s.At().Term != (room.Term{Number: term}) ||
				!slices.EqualFunc(now, set, same) || !slices.EqualFunc(then, next, same) || s.Changing() != (len(next) > 0) {
				t.Fatalf("%s: at the %s: hub %s in %s, sets %v and %v", what, who, s.Hub().Domain, s.At().Term, now, then)
			}
		}
	}
	one, all := w.replicas(atlanta), w.replicas(atlanta, biloxi, chicago)
	check("it begins", nil, atlanta, 1, one, nil)
	check("alice widens the set", alice.host(w.refreshed(atlanta, biloxi, chicago)), atlanta, 1, one, all)
	if _, ok := w.hub.Replica(chicago); !ok {
		t.Error("a replica of the next set is none")
	}
	check("carol writes meanwhile", carol.send("hello"), atlanta, 1, one, all)
	wantErr(t, "a commit meanwhile", bob.commitAlone(), room.ErrSettling)
	st, err := w.settle(atlanta, chicago)
	check("it settles", err, atlanta, 1, all, nil)
	if c := st.Cites(); len(c) != 1 || c[0] != room.HeadOf(w.log[len(w.log)-2]) {
		t.Errorf("settled cites %v", c)
	}
	_, err = w.put(w.entry(w.change(room.ByVotes, biloxi, biloxi, chicago)))
	check("biloxi takes over", err, biloxi, 2, all, nil)
	check("bob writes", bob.send("still here"), biloxi, 2, all, nil)
	check("carol commits, room_hosting stays behind", carol.commit(mls.CommitOptions{}), biloxi, 2, all, nil)
	if h := w.hub.Hosting(); h.Hub.Domain != atlanta || h.Term != room.FirstTerm {
		t.Errorf("room_hosting says %s in %s", h.Hub.Domain, h.Term)
	}
	// Copying what the log proves takes no capability.
	check("bob, a member, refreshes it", bob.host(w.refreshed(atlanta, biloxi, chicago)), biloxi, 2, all, nil)
	if h := w.hub.Hosting(); h.Hub.Domain != biloxi {
		t.Errorf("room_hosting says %s", h.Hub.Domain)
	}
	check("alice narrows the set", alice.host(w.refreshed(biloxi)), biloxi, 2, all, w.replicas(biloxi))
	// The hub changes while the set does: the old and the new set vote, and the
	// certificate is of the new term.
	_, err = w.put(w.entry(w.change(room.ByVotes, chicago, atlanta, biloxi, chicago)))
	check("chicago takes over", err, chicago, 3, all, w.replicas(biloxi))
	_, err = w.settle(atlanta, biloxi)
	check("it settles", err, chicago, 3, w.replicas(biloxi), nil)
	if x, ok := w.hub.Replica(atlanta); !ok || x.Domain != atlanta {
		t.Error("the set before is forgotten")
	}
	if _, ok := w.hub.Replica("dallas.example"); ok {
		t.Error("a stranger is a replica")
	}
	_, err = w.put(w.entry(w.change(room.ByVotes, atlanta, atlanta, biloxi)))
	check("a replica of the set before becomes hub", err, atlanta, 4, w.replicas(biloxi), nil)
	_, err = w.put(w.entry(w.change(room.ByRelease, carol.user.Provider().Domain(), biloxi)))
	check("biloxi, the set of one, releases it to chicago", err, chicago, 5, w.replicas(chicago), nil)
	if _, ok := w.hub.Replica(biloxi); ok {
		t.Error("who released is still a replica")
	}
	check("alice writes", alice.send("there?"), chicago, 5, w.replicas(chicago), nil)
	check("bob refreshes room_hosting", bob.host(w.refreshed(chicago)), chicago, 5, w.replicas(chicago), nil)

	// A newcomer's provider follows the whole log and stands where the others do.
	late := must(room.Begin(w.log[0], w.rules))(t)
	for _, e := range w.log[1:] {
		if err := late.Advance(must(late.Check(e))(t)); err != nil {
			t.Fatal(err)
		}
	}
	if late.At() != w.hub.At() || late.Hub().Domain != chicago {
		t.Error("the log leads somewhere else")
	}
}

// commitAlone submits an empty commit and does not merge it.
func (d *device) commitAlone() error {
	s := must(d.group.Commit(mls.CommitOptions{}, d.w.now))(d.w.t)
	_, err := d.w.update(bundle(s), d.user.Provider().Domain())
	return err
}

// TestHubChangeAfterCreate: the second entry may already move the room.
func TestHubChangeAfterCreate(t *testing.T) {
	w := newWorld(t)
	w.begin(w.device("alice@atlanta.example", "phone"))
	_, err := w.put(w.entry(w.change(room.ByVotes, atlanta, atlanta)))
	wantErr(t, "a new term of the same hub", err, nil)
	if w.hub.At().Term.Number != 2 {
		t.Errorf("term %s", w.hub.At().Term)
	}
}

// TestHubChangeRefused: entries that do not make anybody hub.
func TestHubChangeRefused(t *testing.T) {
	for _, c := range []struct {
		why  string
		set  func(*testing.T) *world
		via  room.Via
		hub  string
		by   string
		edit func(*world, *change)
		want error
	}{
		{"a majority", ofThree, room.ByVotes, biloxi, "atlanta biloxi", nil, nil},
		{"all", ofThree, room.ByVotes, biloxi, "atlanta biloxi chicago", nil, nil},
		{"the hub hands over with its release for a vote", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.vote.Release = true }, nil},
		{"terms left out", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.term.Number, c.vote.Term.Number = 9, 9 }, nil},
		{"one of three", ofThree, room.ByVotes, biloxi, "biloxi", nil, room.ErrQuorum},
		{"a voter that is no replica", ofThree, room.ByVotes, biloxi, "atlanta biloxi dallas", nil, room.ErrVote},
		{"a vote signed by another", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(w *world, c *change) { c.signers[atlanta] = w.providers[chicago] }, room.ErrSignature},
		{"a voter twice", ofThree, room.ByVotes, biloxi, "biloxi biloxi", nil, room.ErrVote},
		{"voters out of order", ofThree, room.ByVotes, biloxi, "chicago biloxi", nil, room.ErrVote},
		{"votes for another", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.vote.Candidate = chicago }, room.ErrVote},
		{"votes in another term", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.vote.Term.Number++ }, room.ErrVote},
		{"votes in another room", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.vote.Room[0] ^= 1 }, room.ErrVote},
		{"votes for an earlier head", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(w *world, c *change) { c.vote.Head = room.HeadOf(w.log[1]) }, room.ErrVote},
		{"votes for another hash", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.vote.Head.Hash[0] ^= 1 }, room.ErrVote},
		{"votes for a head of another term", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.vote.Head.Term.Number++ }, room.ErrVote},
		{"votes of the set before", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(w *world, c *change) { c.vote.Set = room.SetHash(w.replicas(atlanta), nil) }, room.ErrVote},
		{"a term that is not higher", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.term.Number, c.vote.Term.Number = 1, 1 }, room.ErrChain},
		{"into another era", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.term.Era, c.vote.Term.Era = 1, 1 }, room.ErrVote},
		{"a hub that is no replica", ofThree, room.ByVotes, "dallas.example", "atlanta biloxi", nil, room.ErrVote},
		{"a hub with another key", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.body.Hub.ProviderKey[0] ^= 1 }, room.ErrVote},
		{"a hub with another franking key", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.body.Hub.FrankingKey[0] ^= 1 }, room.ErrVote},
		{"a hub with no franking key", ofThree, room.ByVotes, biloxi, "atlanta biloxi", func(_ *world, c *change) { c.body.Hub.FrankingKey = nil }, room.ErrHosting},
		{"no votes", ofThree, room.ByVotes, biloxi, "", nil, room.ErrVote},
		{"a move", ofThree, room.ByMove, biloxi, "atlanta biloxi", nil, room.ErrVote},
		{"a release by one of three", ofThree, room.ByRelease, biloxi, "atlanta", nil, room.ErrVote},

		{"joint: both majorities", joint, room.ByVotes, biloxi, "atlanta biloxi", nil, nil},
		{"joint: the old set without the new", joint, room.ByVotes, biloxi, "biloxi chicago", nil, room.ErrQuorum},
		{"joint: the new set without the old", joint, room.ByVotes, atlanta, "atlanta", nil, room.ErrQuorum},
		{"joint: votes for the old set alone", joint, room.ByVotes, biloxi, "atlanta biloxi", func(w *world, c *change) {
			now, _ := w.hub.Set()
			c.vote.Set = room.SetHash(now, nil)
		}, room.ErrVote},
		{"joint: a hub of the next set alone", widening, room.ByVotes, chicago, "atlanta chicago", nil, nil},
		{"joint: votes of next replicas without the one of now", widening, room.ByVotes, chicago, "biloxi chicago", nil, room.ErrQuorum},
		{"joint: a release", widening, room.ByRelease, chicago, "atlanta", nil, room.ErrVote},

		{"one: votes for itself", ofOne, room.ByVotes, atlanta, "atlanta", nil, nil},
		{"one: elects another", ofOne, room.ByVotes, biloxi, "atlanta", nil, room.ErrVote},
		{"one: a release among votes", ofOne, room.ByVotes, atlanta, "atlanta", func(_ *world, c *change) { c.vote.Release = true }, room.ErrVote},
		{"one: a release", ofOne, room.ByRelease, biloxi, "atlanta", nil, nil},
		{"one: a release by another", ofOne, room.ByRelease, biloxi, "biloxi", nil, room.ErrVote},
		{"one: a mere vote for a release", ofOne, room.ByRelease, biloxi, "atlanta", func(_ *world, c *change) { c.vote.Release = false }, room.ErrVote},
		{"one: a release with two votes", ofOne, room.ByRelease, biloxi, "atlanta biloxi", nil, room.ErrVote},
		{"one: a release to itself", ofOne, room.ByRelease, atlanta, "atlanta", nil, room.ErrVote},
		{"one: a release to a stranger", ofOne, room.ByRelease, "dallas.example", "atlanta", nil, room.ErrPolicy},
		{"one: a release to a key that is not biloxi's", ofOne, room.ByRelease, biloxi, "atlanta", func(_ *world, c *change) { c.body.Hub.ProviderKey[0] ^= 1 }, room.ErrHosting},
		{"one: a release to a provider not known yet", ofOne, room.ByRelease, biloxi, "atlanta", func(w *world, c *change) { delete(w.providers, biloxi) }, x509auth.ErrUnknownProvider},

		{"shrunk: one of the set before, with its vote", shrunk, room.ByVotes, biloxi, "atlanta biloxi", nil, nil},
		{"shrunk: one of the set before, without it", shrunk, room.ByVotes, biloxi, "atlanta", nil, nil},
		{"shrunk: by its own vote alone", shrunk, room.ByVotes, biloxi, "biloxi", nil, room.ErrQuorum},
		{"shrunk: a third's vote", shrunk, room.ByVotes, biloxi, "atlanta chicago", nil, room.ErrVote},
		{"shrunk, then released: nobody of before", released, room.ByVotes, chicago, "biloxi", nil, room.ErrVote},
	} {
		w := c.set(t)
		w.providers["dallas.example"] = key(77)
		var by []string
		for _, d := range strings.Fields(c.by) {
			by = append(by, d+".example")
		}
		x := w.change(c.via, c.hub, by...)
		if c.edit != nil {
			c.edit(w, x)
		}
		before := w.hub.At()
		_, err := w.put(w.entry(x))
		wantErr(t, c.why, err, c.want)
		if err != nil && (w.hub.At() != before || w.hub.Changing() != w.follower.Changing()) {
			t.Errorf("%s: refused, and yet the room moved", c.why)
		}
	}
}

func ofOne(t *testing.T) *world   { w, _, _, _ := three(t); return w }
func ofThree(t *testing.T) *world { w, _, _, _ := settledThree(t); return w }
func joint(t *testing.T) *world {
	w, alice, _, _ := settledThree(t)
	wantErr(t, "narrowing", alice.host(w.refreshed(atlanta)), nil)
	return w
}
func widening(t *testing.T) *world {
	w, alice, _, _ := three(t)
	wantErr(t, "widening", alice.host(w.refreshed(atlanta, biloxi, chicago)), nil)
	return w
}
func shrunk(t *testing.T) *world {
	w := joint(t)
	_, err := w.settle(atlanta, biloxi)
	wantErr(t, "settling", err, nil)
	return w
}
func released(t *testing.T) *world {
	w := shrunk(t)
	_, err := w.put(w.entry(w.change(room.ByRelease, biloxi, atlanta)))
	wantErr(t, "releasing", err, nil)
	return w
}

// TestSettledRefused: certificates that do not settle a change of the set. The
// log: widening at 2, a message at 3.
func TestSettledRefused(t *testing.T) {
	forged := func(c *room.Certificate, h room.Head, w *world, ds ...string) {
		*c = w.certificate(h, ds...)
	}
	for _, c := range []struct {
		why  string
		edit func(*world, *room.Certificate)
		want error
	}{
		{"as it should be", nil, nil},
		{"of the commit, co-signed later", func(w *world, c *room.Certificate) { c.Head = room.HeadOf(w.log[2]) }, nil},
		{"of the commit itself", func(w *world, c *room.Certificate) { forged(c, room.HeadOf(w.log[2]), w, atlanta, biloxi) }, nil},
		{"of the entry before the commit", func(w *world, c *room.Certificate) { forged(c, room.HeadOf(w.log[1]), w, atlanta, biloxi) }, room.ErrCertificate},
		{"of another commit", func(w *world, c *room.Certificate) {
			h := room.HeadOf(w.log[2])
			h.Hash[0] ^= 1
			forged(c, h, w, atlanta, biloxi)
		}, room.ErrCertificate},
		{"of another end", func(w *world, c *room.Certificate) {
			h := w.end()
			h.Hash[0] ^= 1
			forged(c, h, w, atlanta, biloxi)
		}, room.ErrCertificate},
		{"beyond the end", func(w *world, c *room.Certificate) {
			h := w.end()
			h.Seq++
			forged(c, h, w, atlanta, biloxi)
		}, room.ErrCertificate},
		{"a co-signature beyond the end", func(w *world, c *room.Certificate) {
			h := w.end()
			h.Seq++
			c.Signers[0].CoSignature = room.CoSign(h, w.providers[atlanta])
		}, room.ErrCertificate},
		{"of another term", func(w *world, c *room.Certificate) {
			h := w.end()
			h.Term.Number++
			forged(c, h, w, atlanta, biloxi)
		}, room.ErrCertificate},
		{"of another room", func(w *world, c *room.Certificate) {
			h := w.end()
			h.Room[0] ^= 1
			forged(c, h, w, atlanta, biloxi)
		}, room.ErrWrongRoom},
		{"the old set alone", func(w *world, c *room.Certificate) { forged(c, w.end(), w, atlanta) }, room.ErrQuorum},
		{"the new set alone", func(w *world, c *room.Certificate) { forged(c, w.end(), w, biloxi, chicago) }, room.ErrQuorum},
		{"a stranger among the signers", func(w *world, c *room.Certificate) { forged(c, w.end(), w, atlanta, biloxi, "dallas.example") }, room.ErrCertificate},
		{"signed by another", func(w *world, c *room.Certificate) {
			c.Signers[0].CoSignature = room.CoSign(w.end(), w.providers[chicago])
		}, room.ErrSignature},
	} {
		w, alice, _, carol := three(t)
		w.providers["dallas.example"] = key(77)
		wantErr(t, "widening", alice.host(w.refreshed(atlanta, biloxi, chicago)), nil)
		wantErr(t, "a message", carol.send("x"), nil)
		x := w.certificate(w.end(), atlanta, biloxi)
		if c.edit != nil {
			c.edit(w, &x)
		}
		_, err := w.put(w.hub.NewEntry(room.KindSettled, room.TxnID{}, (&room.Settled{Certificate: x}).Bytes(), w.now))
		wantErr(t, c.why, err, c.want)
		if (err == nil) == w.hub.Changing() {
			t.Errorf("%s: changing is %t", c.why, w.hub.Changing())
		}
	}
	w := ofThree(t)
	_, err := w.settle(atlanta, biloxi)
	wantErr(t, "nothing to settle", err, room.ErrCertificate)
	// What the term before has left is certified under the present one only.
	w = joint(t)
	old := w.certificate(w.end(), atlanta, biloxi)
	_, err = w.put(w.entry(w.change(room.ByVotes, biloxi, atlanta, biloxi)))
	wantErr(t, "take over", err, nil)
	_, err = w.put(w.hub.NewEntry(room.KindSettled, room.TxnID{}, (&room.Settled{Certificate: old}).Bytes(), w.now))
	wantErr(t, "a certificate of the term before", err, room.ErrCertificate)
	_, err = w.settle(atlanta, biloxi)
	wantErr(t, "a certificate of the present term", err, nil)
}

// TestHostingJudged: what a commit may say in room_hosting.
func TestHostingJudged(t *testing.T) {
	for _, c := range []struct {
		why  string
		by   string
		edit func(*world, *room.Hosting)
		want error
	}{
		{"nothing", "alice", func(*world, *room.Hosting) {}, nil},
		{"nothing, by a member", "bob", func(*world, *room.Hosting) {}, nil},
		{"the topic", "alice", func(_ *world, h *room.Hosting) { h.Topic[0]++ }, nil},
		{"the topic, by a member", "bob", func(_ *world, h *room.Hosting) { h.Topic[0]++ }, room.ErrPolicy},
		{"failover", "alice", func(_ *world, h *room.Hosting) { h.Failover = room.FailoverAuto }, nil},
		{"failover, by a member", "bob", func(_ *world, h *room.Hosting) { h.Failover = room.FailoverAuto }, room.ErrPolicy},
		{"the checkpoint as it was", "alice", func(w *world, h *room.Hosting) { h.Hub, h.Term = w.replica(atlanta), room.FirstTerm }, room.ErrPolicy},
		{"the hub as it was", "alice", func(w *world, h *room.Hosting) { h.Hub = w.replica(atlanta) }, room.ErrPolicy},
		{"a term to come", "alice", func(_ *world, h *room.Hosting) { h.Term.Number++ }, room.ErrPolicy},
		{"another key of the hub", "alice", func(_ *world, h *room.Hosting) { h.Hub.ProviderKey[0] ^= 1 }, room.ErrPolicy},
		{"the hub alone", "alice", func(w *world, h *room.Hosting) { h.Replicas = w.replicas(biloxi) }, nil},
		{"the hub alone, by a member", "bob", func(w *world, h *room.Hosting) { h.Replicas = w.replicas(biloxi) }, room.ErrPolicy},
		{"a set without the hub", "alice", func(w *world, h *room.Hosting) { h.Replicas = w.replicas(atlanta) }, room.ErrPolicy},
		{"the set in another order", "alice", func(w *world, h *room.Hosting) { h.Replicas = w.replicas(biloxi, atlanta, chicago) }, nil},
		{"a replica without a participant", "alice", func(w *world, h *room.Hosting) { h.Replicas = w.replicas(atlanta, biloxi, "dallas.example") }, room.ErrPolicy},
		{"a key that is not the provider's", "alice", func(_ *world, h *room.Hosting) { h.Replicas[2].ProviderKey[0] ^= 1 }, room.ErrHosting},
		{"a new franking key", "alice", func(_ *world, h *room.Hosting) { h.Replicas[2].FrankingKey[0] ^= 1 }, nil},
		{"two replicas", "alice", func(w *world, h *room.Hosting) { h.Replicas = w.replicas(atlanta, biloxi) }, room.ErrHosting},
		{"automatic with one", "alice", func(w *world, h *room.Hosting) { h.Replicas, h.Failover = w.replicas(biloxi), room.FailoverAuto }, room.ErrHosting},
	} {
		w, alice, bob, _ := settledThree(t)
		w.providers["dallas.example"] = key(77)
		_, err := w.put(w.entry(w.change(room.ByVotes, biloxi, biloxi, chicago)))
		wantErr(t, "take over", err, nil)
		h := w.refreshed(atlanta, biloxi, chicago)
		c.edit(w, h)
		by := map[string]*device{"alice": alice, "bob": bob}[c.by]
		wantErr(t, c.why, by.host(h), c.want)
		now, next := w.hub.Set()
		if changes := c.want == nil && room.SetHash(h.Replicas, nil) != room.SetHash(now, nil); changes != w.hub.Changing() {
			t.Errorf("%s: changing is %t, next %v", c.why, w.hub.Changing(), next)
		}
	}
}

// TestHostingOfLeavers: a hub whose last user goes with the commit may go with it,
// a new provider's user comes with the commit that makes it a replica, and a
// provider that is not known yet is worth a second look.
func TestHostingOfLeavers(t *testing.T) {
	w, alice, bob, _ := settledThree(t)
	_, err := w.put(w.entry(w.change(room.ByVotes, biloxi, biloxi, chicago)))
	wantErr(t, "take over", err, nil)
	off := must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{bob.user}))(t)
	o := mls.CommitOptions{Remove: []mls.LeafIndex{bob.group.OwnLeaf()},
		Proposals: []*mls.Proposal{off, hostingUpdate(w.refreshed(atlanta))}}
	wantErr(t, "bob and his hub go", alice.commit(o), nil)
	_, err = w.settle(atlanta, chicago)
	wantErr(t, "settling", err, nil)
	h := w.refreshed(atlanta)
	h.Topic[0]++
	wantErr(t, "a new topic under a hub that has left the set", alice.host(h), nil)
	wantErr(t, "another set under it", alice.host(w.refreshed(chicago)), nil)

	// A hub that came from the set before is on its way out, though its users stay.
	w = shrunk(t)
	_, err = w.put(w.entry(w.change(room.ByVotes, biloxi, atlanta, biloxi)))
	wantErr(t, "take over from the set before", err, nil)
	wantErr(t, "a set without it", w.clients[0].host(w.refreshed(chicago)), nil)

	w, alice, _, carol := three(t)
	off = must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{carol.user}))(t)
	wantErr(t, "a provider becomes a replica with the commit that removes its user", alice.commit(mls.CommitOptions{
		Remove:    []mls.LeafIndex{carol.group.OwnLeaf()},
		Proposals: []*mls.Proposal{off, hostingUpdate(w.refreshed(atlanta, biloxi, chicago))}}), room.ErrPolicy)
	k := w.providers[chicago]
	h = w.refreshed(atlanta, biloxi, chicago)
	s := must(alice.group.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{hostingUpdate(h)}}, w.now))(t)
	delete(w.providers, chicago)
	_, err = w.update(bundle(s), atlanta)
	wantErr(t, "a replica whose provider is not known", err, x509auth.ErrUnknownProvider)
	w.providers[chicago] = k
	_, err = w.update(bundle(s), atlanta)
	wantErr(t, "once it is known", err, nil)

	// A banned user is no participant.
	w, alice, _, carol = three(t)
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: carol.user, Role: policy.Banned}}, nil))(t)
	wantErr(t, "ban", alice.commit(mls.CommitOptions{Remove: []mls.LeafIndex{carol.group.OwnLeaf()}, Proposals: []*mls.Proposal{ban}}), nil)
	wantErr(t, "a replica of a banned user's provider", alice.host(w.refreshed(atlanta, biloxi, chicago)), room.ErrPolicy)
	_, err = w.put(w.entry(w.change(room.ByRelease, chicago, atlanta)))
	wantErr(t, "a release to it", err, room.ErrPolicy)
}

// TestRotatedKey: a provider's new key is a change of the set, in which either key
// counts as the one provider, and the new one alone afterwards.
func TestRotatedKey(t *testing.T) {
	w, alice, _, _ := three(t)
	was := w.providers[atlanta]
	h := w.refreshed(atlanta)
	h.Replicas[0].ProviderKey = [32]byte(key(200).Public().(ed25519.PublicKey))
	s := must(alice.group.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{hostingUpdate(h)}}, w.now))(t)
	_, err := w.update(bundle(s), atlanta)
	wantErr(t, "a key that nobody knows", err, room.ErrHosting)
	w.extra = map[string]ed25519.PublicKey{atlanta: key(200).Public().(ed25519.PublicKey)}
	_, err = w.update(bundle(s), atlanta)
	wantErr(t, "a key that the domain is known by too", err, nil)
	if !w.hub.Changing() || !w.hub.HubKey().Equal(was.Public()) {
		t.Fatal("no change of the set, or the hub has the new key at once")
	}
	w.providers[atlanta] = key(200)
	_, err = w.settle(atlanta)
	wantErr(t, "the new key's co-signature", err, nil)
	if x, _ := w.hub.Replica(atlanta); x.ProviderKey != h.Replicas[0].ProviderKey {
		t.Error("the replica has its old key")
	}
	c := w.change(room.ByVotes, atlanta, atlanta)
	c.signers[atlanta] = was
	_, err = w.put(w.entry(c))
	wantErr(t, "the old key's vote", err, room.ErrQuorum)
	_, err = w.put(w.entry(w.change(room.ByVotes, atlanta, atlanta)))
	wantErr(t, "the new key's vote", err, nil)
	if !w.hub.HubKey().Equal(key(200).Public()) {
		t.Error("the hub has its old key in the new term")
	}
}

// TestHandshakeWhileSettling: proposals wait too, messages do not.
func TestHandshakeWhileSettling(t *testing.T) {
	w, alice, bob, carol := three(t)
	wantErr(t, "widening", alice.host(w.refreshed(atlanta, biloxi, chicago)), nil)
	m := must(bob.group.Propose(&mls.Proposal{Type: mls.ProposalSelfRemove}, mls.SendOptions{}, w.now))(t)
	_, err := w.update(&wire.HandshakeBundle{Message: m}, biloxi)
	wantErr(t, "a proposal", err, room.ErrSettling)
	wantErr(t, "a commit", carol.commitAlone(), room.ErrSettling)
	wantErr(t, "a message", carol.send("x"), nil)
	_, err = w.settle(atlanta, biloxi)
	wantErr(t, "settling", err, nil)
	_, err = w.update(&wire.HandshakeBundle{Message: m}, biloxi)
	wantErr(t, "the proposal again", err, nil)
}

// TestLoadLead: a room stored before there was a part h, and damaged ones.
func TestLoadLead(t *testing.T) {
	w, alice, _, _ := three(t)
	parts := map[string][]byte{}
	w.reload(parts)
	if _, ok := parts["h"]; ok {
		t.Error("a room that has not moved stores who leads")
	}
	if w.hub.Hub().Domain != atlanta || w.hub.Changing() {
		t.Error("a room without part h has another hub than its room_hosting says")
	}
	wantErr(t, "widening", alice.host(w.refreshed(atlanta, biloxi, chicago)), nil)
	w.reload(parts)
	load := func(why string, edit func(map[string][]byte), want error) {
		t.Helper()
		p := maps.Clone(parts)
		edit(p)
		_, err := room.Load(w.hub.URI(), w.hub.At(), maps.All(p), w.rules)
		wantErr(t, why, err, want)
	}
	load("as it is", func(map[string][]byte) {}, nil)
	load("cut", func(p map[string][]byte) { p["h"] = p["h"][:len(p["h"])-1] }, mls.ErrState)
	load("a byte more", func(p map[string][]byte) { p["h"] = append(slices.Clone(p["h"]), 0) }, mls.ErrState)
	load("another version", func(p map[string][]byte) { p["h"] = append([]byte{2}, p["h"][1:]...) }, mls.ErrState)
	if got := w.hub.Unsaved(); len(got) != 0 {
		t.Errorf("%d parts are unsaved after loading", len(got))
	}
	_, err := w.settle(atlanta, biloxi)
	wantErr(t, "settling", err, nil)
	_, err = w.put(w.entry(w.change(room.ByVotes, chicago, biloxi, chicago)))
	wantErr(t, "take over", err, nil)
	stale := maps.Clone(parts)
	w.reload(parts)
	parts, stale = stale, parts
	load("of another term than the log", func(map[string][]byte) {}, mls.ErrState)
	parts = stale
	load("missing, in a room that has moved", func(p map[string][]byte) { delete(p, "h") }, mls.ErrState)
}
