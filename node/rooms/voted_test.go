package rooms_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// patiently waits for what must come on a slow machine, too.
func patiently(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("%s: not within a minute", what)
}

// elected is a room of four providers, three of which decide. Its first hub was away while
// the second of the others was elected with the vote of the first; it is back.
type elected struct {
	w     *world
	users map[string]*device
	id    store.RoomID
	// hub was elected with the vote of voter; away was not there. delta follows.
	hub, voter, away, delta *provider
	change                  *room.Entry
	body                    *room.HubChange
}

func elect(t *testing.T) *elected {
	w, users, id := impatient(t)
	users["bob"].say(id, "before")
	x := &elected{w: w, users: users, id: id, away: w.ps[three[0]], delta: w.ps[delta]}
	x.alike(5)
	x.away.set(func() { x.away.down = true })
	w.suspect(id)
	users["dave"].say(id, "after")
	x.away.set(func() { x.away.down = false })
	w.heal()
	list := x.alike(7)
	i := slices.IndexFunc(list, func(e *room.Entry) bool { return e.Kind == room.KindHubChange })
	if i < 0 {
		t.Fatal("nobody was elected")
	}
	x.change, x.body = list[i], must(room.ParseHubChange(list[i].Body))(t)
	x.hub, x.voter = w.ps[x.body.Hub.Domain], w.ps[three[1]]
	if x.hub == x.voter {
		x.voter = w.ps[three[2]]
	}
	patiently(t, "all know the hub", func() bool {
		return !slices.ContainsFunc([]*provider{x.hub, x.voter, x.away, x.delta}, func(p *provider) bool { return p.stand(id).Hub != x.hub.domain })
	})
	return x
}

// alike waits until all who decide have the same log, of so many entries at least.
func (x *elected) alike(least int) (list []*room.Entry) {
	patiently(x.w.t, "all logs are alike", func() bool {
		list = x.w.ps[three[0]].log(x.id)
		return len(list) >= least && !slices.ContainsFunc(three[1:], func(d string) bool {
			l := x.w.ps[d].log(x.id)
			return len(l) != len(list) || l[len(l)-1].Hash() != list[len(list)-1].Hash()
		})
	})
	return list
}

// vote is that of a voter in the hub's election.
func (x *elected) vote(voter *provider) room.SignedVote {
	i := slices.IndexFunc(x.body.Votes, func(v room.SignedVote) bool { return v.Voter == voter.domain })
	if i < 0 {
		x.w.t.Fatalf("%s has not voted", voter.domain)
	}
	return x.body.Votes[i]
}

// second is another vote in the same term.
func (x *elected) second(voter *provider) room.SignedVote {
	v := x.vote(voter).Vote
	v.Candidate = x.away.domain
	return room.SignVote(v, voter.domain, voter.key)
}

func (x *elected) proof(voter *provider) *room.DoubleVote {
	return &room.DoubleVote{A: x.vote(voter), B: x.second(voter)}
}

func placed(h room.Head) hub.Head { return hub.Head{Term: h.Term, Seq: h.Seq, Hash: h.Hash} }

// hears has a provider hear a message, and waits until the room has taken it.
func (p *provider) hears(from string, id store.RoomID, m *replica.Message) {
	t := p.w.t
	t.Helper()
	m.Room = room.ID(id)
	must(p.serve(context.Background(), rooms.EndpointReplica, &rooms.Request{Source: from, Subject: p.domain, Body: replica.Append(nil, []*replica.Message{m})}))(t)
	must(p.rooms.Standing(context.Background(), room.ID(id)))(t)
}

// voted are the proofs of two votes that a provider keeps.
func (p *provider) voted(id store.RoomID) (out []*logstore.Voted) {
	p.w.t.Helper()
	err := p.st.View(func(tx *store.Tx) error {
		for v, err := range logstore.VotedTwice(tx, room.ID(id)) {
			if err != nil {
				return err
			}
			out = append(out, v)
		}
		return nil
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
	return out
}

// convictedOf says whether a provider keeps one proof, a good one, against a voter, and shows
// it to its operator.
func (p *provider) convictedOf(id store.RoomID, voter *provider) bool {
	t := p.w.t
	t.Helper()
	list := p.voted(id)
	if len(list) == 0 {
		return false
	}
	if v := list[0]; len(list) > 1 || v.Proof.A.Voter != voter.domain || v.Verify() != nil || v.Proof.Verify(voter.key.Public().(ed25519.PublicKey)) != nil {
		t.Fatalf("%s keeps %d proofs, %+v", p.domain, len(list), v)
	}
	st := must(p.rooms.Standing(context.Background(), room.ID(id)))(t)
	want := voter.domain + " has voted twice in term " + list[0].Proof.A.Term.String()
	for _, s := range p.rooms.List() {
		if s.ID == room.ID(id).String() && !strings.Contains(s.Twice, want) || !strings.Contains(st.Proof, want) {
			t.Fatalf("%s shows %q and %q", p.domain, s.Twice, st.Proof)
		}
	}
	return true
}

// failed says whether a provider's machine durably takes another one for failed.
func (p *provider) failed(id store.RoomID, other *provider) bool {
	var st hub.State
	n := new(numbers)
	err := p.st.View(func(tx *store.Tx) (err error) {
		st, _, _, err = logstore.ReadReplica(tx, room.ID(id), n)
		return err
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
	return st.Liars.Has(n.Number(other.domain))
}

// signers are those of the newest certificate.
func (p *provider) signers(id store.RoomID) (out []string) {
	err := p.st.View(func(tx *store.Tx) error {
		for b, err := range logstore.LastBatches(tx, room.ID(id)) {
			if err == nil && b.Cert != nil {
				out = b.Cert.Domains()
			}
			return err
		}
		return nil
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
	return out
}

// goesOn says something, and sees that the voter has no part in making it final.
func (x *elected) goesOn(text string) {
	t := x.w.t
	t.Helper()
	next := x.hub.stand(x.id).Next
	x.users["dave"].say(x.id, text)
	patiently(t, "it is final", func() bool { return x.hub.stand(x.id).Next == next+1 })
	if s := x.hub.signers(x.id); len(s) != 2 || slices.Contains(s, x.voter.domain) {
		t.Errorf("%s is final by %v", text, s)
	}
	for _, p := range []*provider{x.hub, x.away} {
		patiently(t, p.domain+" takes the voter for failed", func() bool { return p.failed(x.id, x.voter) })
	}
}

// TestVotedTwice: of DESIGN section 5, proof of equivocation: two votes in one term. One is in
// the log, which is all that is left of it after a restart, the other one is said to somebody
// else. Who hears both keeps the proof and gives it to all who keep the room, who verify,
// keep and show it. The voter counts as failed, after restarts, too.
func TestVotedTwice(t *testing.T) {
	x := elect(t)
	x.away.restart()
	tells := map[string]func() int32{}
	for name, d := range x.users {
		n := d.states(func(st *clientapi.HubState) bool { return st.Lied && st.Votes && st.Hub == x.voter.domain })
		tells[name] = n.Load
	}
	v := x.second(x.voter)
	grant := &replica.Message{Kind: replica.Grant, Term: v.Term, Head: placed(v.Head), Grant: true, Vote: &v}
	x.away.hears(x.voter.domain, x.id, grant)
	if !x.away.convictedOf(x.id, x.voter) {
		t.Fatal("who has heard both votes has no proof")
	}
	for _, p := range []*provider{x.hub, x.delta} {
		patiently(t, p.domain+" has the proof", func() bool { return x.hub.convictedOf(x.id, x.voter) && p.convictedOf(x.id, x.voter) })
	}
	x.goesOn("on")
	// Again, from everybody to everybody: nothing comes of it.
	for _, p := range []*provider{x.away, x.hub, x.delta} {
		x.away.hears(x.voter.domain, x.id, grant)
		p.hears(x.voter.domain, x.id, &replica.Message{Kind: replica.Voted, Twice: x.proof(x.voter)})
		if n := p.rooms.Stats().Convicted; n != 1 {
			t.Errorf("%s: %d convictions", p.domain, n)
		}
	}
	for _, d := range x.users {
		if d.p == x.voter {
			continue
		}
		name := strings.SplitN(strings.TrimPrefix(d.who.User.String(), "mimi://"+d.p.domain+"/u/"), "/", 2)[0]
		patiently(t, name+" is told", func() bool { return tells[name]() > 0 })
		if n := tells[name](); n != 1 {
			t.Errorf("%s is told %d times", name, n)
		}
	}
	for _, p := range []*provider{x.away, x.hub, x.delta} {
		p.restart()
	}
	for _, p := range []*provider{x.away, x.hub, x.delta} {
		if !p.convictedOf(x.id, x.voter) {
			t.Errorf("%s has lost the proof", p.domain)
		}
	}
	x.goesOn("still on")
	if list := x.voter.voted(x.id); len(list) > 0 {
		t.Errorf("the voter was told of %d proofs", len(list))
	}
}

// TestVotedForBoth: two hubs were elected in one term, with the vote of one provider each. The
// piece by which the second one begins its term shows it, whatever else becomes of it.
func TestVotedForBoth(t *testing.T) {
	x := elect(t)
	own := x.vote(x.voter).Vote
	own.Candidate = x.away.domain
	body := &room.HubChange{Via: room.ByVotes, Hub: x.w.replica(x.away.domain),
		Votes: []room.SignedVote{room.SignVote(own, x.away.domain, x.away.key), x.second(x.voter)}}
	e := *x.change
	e.Body = body.Bytes()
	p := &room.Piece{Head: room.SignHead(room.HeadOf(&e), x.away.key), Entries: []*room.Entry{&e}}
	if v := x.hub.gossip(x.away.domain, p.Append(nil)); v != overlay.Accept {
		t.Fatalf("verdict %v", v)
	}
	for _, p := range []*provider{x.hub, x.away, x.delta} {
		patiently(t, p.domain+" has the proof", func() bool { return p.convictedOf(x.id, x.voter) })
	}
	x.goesOn("on")
}

// TestHubVotedTwice: a hub that has voted for itself and for another is replaced.
func TestHubVotedTwice(t *testing.T) {
	x := elect(t)
	x.away.hears(x.voter.domain, x.id, &replica.Message{Kind: replica.Voted, Twice: x.proof(x.hub)})
	for _, p := range []*provider{x.away, x.voter, x.delta} {
		patiently(t, p.domain+" has the proof", func() bool { return p.convictedOf(x.id, x.hub) })
		patiently(t, "another provider orders the room at "+p.domain, func() bool { return p.stand(x.id).Hub != x.hub.domain })
	}
	x.users["dave"].say(x.id, "under another")
	patiently(t, "it is final", func() bool { return x.delta.stand(x.id).Next >= 9 })
	if now := x.delta.stand(x.id).Term; now == x.change.Term.String() {
		t.Errorf("still in term %s", now)
	}
}

// TestKeptAndNotYetActedOn: a crash came after the proof was kept, and before anything else.
func TestKeptAndNotYetActedOn(t *testing.T) {
	x := elect(t)
	kept := &logstore.Voted{Key: [32]byte(x.voter.key.Public().(ed25519.PublicKey)), Proof: *x.proof(x.voter)}
	for _, p := range []*provider{x.hub, x.away} {
		if err := p.st.Update(context.Background(), func(tx *store.Tx) error { return logstore.PutVoted(tx, kept) }); err != nil {
			t.Fatal(err)
		}
		p.restart()
		if !p.convictedOf(x.id, x.voter) {
			t.Fatal("nothing is kept")
		}
	}
	x.goesOn("on")
	// Who was away then is told when it connects.
	x.hub.rooms.Exchange(context.Background(), delta)
	patiently(t, "delta is told", func() bool { return x.delta.convictedOf(x.id, x.voter) })
}

// TestFalseVotes: what proves nothing against anybody who may vote is refused, and changes
// nothing.
func TestFalseVotes(t *testing.T) {
	x := elect(t)
	edit := func(voter *provider, signer *provider, f func(v *room.Vote)) *room.DoubleVote {
		v := x.second(x.voter).Vote
		f(&v)
		return &room.DoubleVote{A: room.SignVote(v, voter.domain, signer.key), B: func() room.SignedVote {
			v.Candidate = x.hub.domain
			return room.SignVote(v, voter.domain, signer.key)
		}()}
	}
	same := func(*room.Vote) {}
	later := func(v *room.Vote) { v.Term.Number += 5 }
	half := x.proof(x.voter)
	half.B.Signature[5] ^= 1
	for _, c := range []struct {
		why   string
		from  string
		proof *room.DoubleVote
	}{
		{"one of the votes is forged", x.away.domain, half},
		{"both are another's", x.away.domain, edit(x.voter, x.away, same)},
		{"by who follows and has no vote", x.away.domain, edit(x.delta, x.delta, same)},
		{"the same in a term that has not come", x.away.domain, edit(x.delta, x.delta, later)},
		{"of a provider that takes no part", x.away.domain, func() *room.DoubleVote {
			p := edit(x.delta, x.delta, same)
			p.A.Voter, p.B.Voter = "evil.example", "evil.example"
			return p
		}()},
		{"by a stranger, though true", "stranger.example", x.proof(x.voter)},
	} {
		x.hub.hears(c.from, x.id, &replica.Message{Kind: replica.Voted, Twice: c.proof})
		if list := x.hub.voted(x.id); len(list) != 0 || x.hub.rooms.Stats().Convicted != 0 {
			t.Fatalf("%s: %d proofs are kept", c.why, len(list))
		}
	}
	// What does not even contradict itself does not get as far as the room.
	one := x.vote(x.voter)
	m := &replica.Message{Room: room.ID(x.id), Kind: replica.Voted, Twice: &room.DoubleVote{A: one, B: one}}
	_, err := x.hub.serve(context.Background(), rooms.EndpointReplica, &rooms.Request{Source: x.away.domain, Subject: x.hub.domain, Body: replica.Append(nil, []*replica.Message{m})})
	var p *clientapi.Problem
	if !errors.As(err, &p) || p.Status != 422 {
		t.Errorf("one vote twice: %v", err)
	}
	// A second vote that is by nobody's key is as if it had not come.
	v := x.second(x.voter)
	v.Signature[0] ^= 1
	x.away.hears(x.voter.domain, x.id, &replica.Message{Kind: replica.Grant, Term: v.Term, Head: placed(v.Head), Grant: true, Vote: &v})
	if list := x.away.voted(x.id); len(list) > 0 {
		t.Errorf("a forged vote convicts")
	}
	if s := x.hub.stand(x.id); s.Hub != x.hub.domain || s.Term != x.change.Term.String() {
		t.Errorf("%s orders the room in term %s", s.Hub, s.Term)
	}
}
