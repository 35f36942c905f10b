package rooms

import (
	"context"
	"errors"
	"slices"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file keeps votes that this provider has heard and that its log does not hold, as those
// of who was not elected: a second one in the same term may come after a restart. They are
// written with what the room writes anyway, or when it leaves the memory, and an election that
// comes about writes none: its votes are in the hub_change.

// heard notes that a vote is known here, which its term's hub_change may hold or not.
func (l *live) heard(v *room.SignedVote) {
	if l.unkept == nil {
		l.unkept = map[votedIn]bool{}
	}
	l.unkept[votedIn{v.Voter, v.Term}] = true
}

// recallHeard brings to mind which votes of a voter are kept, once.
func (l *live) recallHeard(voter string) {
	if l.recalled[voter] {
		return
	}
	var list []room.Ballot
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		list, err = logstore.ReadHeard(tx, l.h.id, voter)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		l.r.log.Error("looking up how a provider voted", "room", l.h.id, "provider", voter, "err", err)
		return
	}
	for i := range list {
		l.ballots.Note(&list[i].Vote, list[i].Key[:])
	}
	if l.recalled == nil || len(l.recalled) >= logstore.MaxHeard {
		l.recalled = map[string]bool{}
	}
	l.recalled[voter] = true
}

// unlogged are the voters of whom votes are known that are neither kept nor in a hub_change
// of the tail.
func (l *live) unlogged() (out []string) {
	if len(l.unkept) == 0 {
		return nil
	}
	logged := map[votedIn]bool{}
	for _, e := range l.rep.tail {
		for _, v := range l.votesIn(e) {
			logged[v] = true
		}
	}
	for v := range l.unkept {
		if !logged[v] && !slices.Contains(out, v.voter) {
			out = append(out, v.voter)
		}
	}
	slices.Sort(out)
	return out
}

// votesIn are the votes that an entry holds, and that are known by it.
func (l *live) votesIn(e *room.Entry) (out []votedIn) {
	if e.Kind != room.KindHubChange {
		return nil
	}
	c, err := room.ParseHubChange(e.Body)
	if err != nil {
		return nil
	}
	for i := range c.Votes {
		if v := &c.Votes[i]; l.ballots.Has(v) {
			out = append(out, votedIn{v.Voter, v.Term})
		}
	}
	return out
}

// keepHeard writes the votes of these voters.
func (l *live) keepHeard(tx *store.Tx, voters []string) error {
	members := domainsOf(l.members())
	for _, d := range voters {
		if err := logstore.PutHeard(tx, l.h.id, l.ballots.Of(d), members); err != nil {
			return err
		}
	}
	return nil
}

// partWithHeard writes votes that nothing was written with since, before the room leaves the
// memory: seldom, and at no time at which anybody waits.
func (l *live) partWithHeard(ctx context.Context) {
	if l.rep == nil {
		return
	}
	voters := l.unlogged()
	if len(voters) == 0 {
		return
	}
	if err := l.r.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return l.keepHeard(tx, voters) }); err != nil {
		l.r.log.Error("keeping votes", "room", l.h.id, "err", err)
		return
	}
	l.keptHeard(voters)
	l.r.counts.heard.Add(uint64(len(voters)))
}

// keptHeard: the votes of these voters are durable.
func (l *live) keptHeard(voters []string) {
	for v := range l.unkept {
		if slices.Contains(voters, v.voter) {
			delete(l.unkept, v)
		}
	}
}
