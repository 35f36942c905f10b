package rooms

import (
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/hub"
)

// contest keeps the replicas of a room without a hub out of each other's way. Each
// candidacy raises the term and with that ends every other's, so one that is begun anew
// before its votes can have come back ends itself: where a message takes longer than the
// pause between two attempts nobody would ever be elected. Who has voted, for itself or
// for another, therefore begins nothing before that candidacy has had its time; that is
// longer with each one that has led to nothing, as long as messages may take, and random,
// so that not all begin at once.
type contest struct {
	rounds int           // candidacies voted for since somebody ordered the room
	until  time.Time     // until then the last one has its time
	asked  time.Time     // when this provider has asked last who would vote for it
	answer time.Duration // how long a majority took to say so, as measured last
}

const (
	firstRound   = 100 * time.Millisecond
	longestRound = 5 * time.Second
)

// round is how long the present candidacy has at least: it takes as long as the question
// before it took, and a vote is written before it is sent. It has a bound, since between
// question and answer this process may have stood still.
func (c *contest) round() time.Duration {
	d := min(max(firstRound, 3*min(c.answer, longestRound)), longestRound)
	for i := 1; i < c.rounds && d < longestRound; i++ {
		d = min(2*d, longestRound)
	}
	return d
}

// follow notes what the machine has come to: it voted, or somebody orders the room.
func (c *contest) follow(old, new *hub.Machine, now time.Time) {
	was, is := old.State().Vote, new.State().Vote
	before, after := old.Log(), new.Log()
	if new.Role() == hub.Candidate && old.Role() == hub.Canvasser {
		c.answer = now.Sub(c.asked)
	}
	switch {
	case new.Role() == hub.Hub || after.Last().Term.Compare(before.Last().Term) > 0:
		c.rounds, c.until = 0, time.Time{}
	case is.Term.Compare(was.Term) > 0 && !is.Release:
		c.rounds++
		c.until = now.Add(c.round() + rand.N(c.round()))
	}
}

// later puts off the next candidacy of one that was in another's way, by a random time.
func (c *contest) later(now time.Time) {
	c.until = now.Add(shortWait/2 + rand.N(max(shortWait, c.round()/2)))
}

// open says whether a candidacy still has its time.
func (c *contest) open(now time.Time) bool { return now.Before(c.until) }

// contend has the machine look for another hub, or, while a candidacy has its time, help that
// along: it votes for whoever stands, and asks those again that have not answered its own.
func (l *live) contend() []hub.Effect {
	role := l.rep.m.Role()
	if now := time.Now(); !l.contest.open(now) {
		l.contest.asked = now
		return l.step(hub.Event{Kind: hub.Suspect})
	}
	l.alarmAfter(time.Until(l.contest.until))
	if role == hub.Candidate {
		return l.step(hub.Event{Kind: hub.Resend})
	}
	return l.step(hub.Event{Kind: hub.Doubt})
}
