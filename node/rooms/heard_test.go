package rooms_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// heard are the votes of another provider that are kept.
func (p *provider) heard(id store.RoomID, voter string) (list []room.Ballot) {
	p.w.t.Helper()
	err := p.st.View(func(tx *store.Tx) (err error) {
		list, err = logstore.ReadHeard(tx, room.ID(id), voter)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		p.w.t.Fatal(err)
	}
	return list
}

// lost is a vote of the voter for the one who was away, in a term that has passed and has no
// hub in the log.
func (x *elected) lost(candidate *provider) *replica.Message {
	v := x.vote(x.voter).Vote
	v.Term, v.Candidate = room.FirstTerm, candidate.domain
	s := room.SignVote(v, x.voter.domain, x.voter.key)
	return &replica.Message{Kind: replica.Grant, Term: s.Term, Head: placed(s.Head), Grant: true, Vote: &s}
}

// TestVoteOfLoserKept: a vote for somebody who was not elected stands in no log. Who has heard it is
// convinced by a second one in its term after a restart, too; and no transaction is made for
// it: it is written when the room next writes.
func TestVoteOfLoserKept(t *testing.T) {
	x := elect(t)
	tweak := x.away.tweak
	x.away.tweak = func(c *rooms.Config) { tweak(c); c.Idle = time.Hour } // it stays in memory
	x.away.restart()
	x.users["dave"].say(x.id, "between")
	logged := map[room.Vote]bool{}
	for _, e := range x.alike(8) {
		if e.Kind == room.KindHubChange {
			for _, v := range must(room.ParseHubChange(e.Body))(t).Votes {
				logged[v.Vote] = true
			}
		}
	}
	for _, p := range []*provider{x.away, x.hub, x.voter} {
		for _, d := range three { // of an election that came about nothing is kept twice
			if list := p.heard(x.id, d); len(list) > 0 && !slices.ContainsFunc(list, func(b room.Ballot) bool { return !logged[b.Vote.Vote] }) {
				t.Errorf("%s keeps %d votes of %s, which are in its log", p.domain, len(list), d)
			}
		}
	}
	still := 0
	before := x.away.st.Stats()
	patiently(t, "nothing is written", func() bool {
		now := x.away.st.Stats()
		if still++; now != before {
			still, before = 0, now
		}
		return still > 20
	})
	x.away.hears(x.voter.domain, x.id, x.lost(x.away))
	if now := x.away.st.Stats(); now != before || len(x.away.heard(x.id, x.voter.domain)) > 0 {
		t.Errorf("a vote was written by itself: %+v, then %+v", before, now)
	}
	written := x.away.rooms.Stats().Heard
	for i, text := range []string{"on", "and on"} {
		x.users["dave"].say(x.id, text)
		x.alike(9 + i)
	}
	if n := x.away.rooms.Stats().Heard - written; n != 1 {
		t.Errorf("one vote was written %d times", n)
	}
	if len(x.away.heard(x.id, x.voter.domain)) == 0 {
		t.Fatal("the vote is not kept")
	}
	// Where the room writes nothing more, the vote is written when it leaves the memory.
	x.hub.hears(x.voter.domain, x.id, x.lost(x.hub))
	patiently(t, "it is kept", func() bool { return len(x.hub.heard(x.id, x.voter.domain)) > 0 })
	x.away.restart()
	x.away.hears(x.voter.domain, x.id, x.lost(x.away)) // the same once more is no second one
	if len(x.away.voted(x.id)) > 0 {
		t.Fatal("convicted by one vote")
	}
	x.away.restart()
	x.away.hears(x.voter.domain, x.id, x.lost(x.hub))
	if !x.away.convictedOf(x.id, x.voter) {
		t.Error("the first of the votes is forgotten")
	}
}
