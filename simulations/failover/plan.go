package failover

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/simulations/engine"
)

// Times of the model. They are those of a node where a node has them.
const (
	pingAfter    = 400 * time.Millisecond // of silence
	deadAfter    = time.Second            // of silence
	bootGrace    = 2 * time.Second        // who has just started believes all to be alive
	watchEvery   = 100 * time.Millisecond
	lookAgain    = 2 * time.Second // at the rooms of a dead hub
	resendAfter  = 500 * time.Millisecond
	shortWait    = 100 * time.Millisecond
	suspectAgain = 200 * time.Millisecond
	exchange     = time.Second            // heads are compared with each other provider
	unanswered   = 3 * time.Second        // a submission, before the hub is doubted
	retry        = 700 * time.Millisecond // a client looks after what it has submitted
	adminAfter   = 5 * time.Second        // without an answer, an admin of a room acts
	adminAgain   = time.Second            // and asks the next provider
	electRate    = 8                      // rooms that one provider lets elect in a second
	idleRate     = 4                      // of them without traffic
)

// Bound is how long after everything is healed a room may take until what its clients
// say is final again: the dead are found and their rooms queue for election; or a
// client's patience and then a replica's end, or an administrator's, who asks each
// provider in turn.
const Bound = deadAfter + lookAgain + rooms/idleRate*time.Second + 2*unanswered + adminAfter + providers*(adminAgain+retry)

// Times of a run.
const (
	trouble = 22 * time.Second   // how long things go wrong
	rest    = Bound + 2*exchange // and how long the world is watched afterwards
	quiet   = 5 * time.Second    // at the end: nobody elects any more
)

const (
	providers = 5
	rooms     = 20
)

// A plan is what one seed draws: how the world is, and what goes wrong in it.
type plan struct {
	link    engine.Link
	loss    float64 // while there is trouble
	drift   float64 // of the worst clock
	fail    float64 // of commits
	disk    time.Duration
	pause   time.Duration // between two troubles, on average
	window  int           // of the machines; 0: they hold everything
	say     time.Duration // between two submissions of a client, on average
	liar    int           // a provider that forks its rooms; -1: all are honest
	gone    int           // a provider that never comes back; -1: none
	restore bool          // one provider at a time comes back from a backup
	mortal  bool          // clients may die with what they have not told again
	loud    int           // troubles of a kind that this seed likes more than others

	suspect time.Duration // of silence, until a provider is taken for dead
	size    int           // of all replica sets; 0: each room draws its own
	calm    bool          // people say things and do nothing else
}

// ping is after how much silence another provider is asked for a sign of life.
func (p *plan) ping() time.Duration {
	return p.suspect * (pingAfter / time.Millisecond) / (deadAfter / time.Millisecond)
}

// draw makes a seed's plan.
func draw(r *rand.Rand) plan {
	p := plan{
		link:  engine.Link{Latency: ms(r, 2, 30), Jitter: ms(r, 1, 40)},
		drift: r.Float64() * 0.05,
		disk:  ms(r, 1, 15),
		pause: ms(r, 300, 2500),
		say:   ms(r, 1500, 5000),
		liar:  -1, gone: -1,
		loud:    r.IntN(int(kinds)),
		suspect: deadAfter,
	}
	if r.IntN(2) == 0 {
		p.loss = r.Float64() * 0.3
		p.link.Duplicate = r.Float64() * 0.1
	}
	if r.IntN(3) == 0 {
		p.fail = r.Float64() * 0.05
	}
	if r.IntN(2) == 0 {
		p.window = []int{1, 2, 4, 8}[r.IntN(4)]
	}
	switch n := r.IntN(20); {
	case n < 3:
		p.liar, p.window = r.IntN(providers), 0
	case n < 6:
		p.gone = r.IntN(providers)
	case n < 10:
		p.restore, p.loud = true, int(backup)
	case n < 12:
		p.mortal = true
	}
	return p
}

func ms(r *rand.Rand, from, to int) time.Duration {
	return time.Duration(from+r.IntN(to-from)) * time.Millisecond
}

// String says what is special about a plan.
func (p plan) String() string {
	s := fmt.Sprintf("latency %s+%s, loss %.0f%%, twice %.0f%%, drift %.1f%%, disk %s, fails %.1f%%, trouble every %s, says every %s, window %d",
		p.link.Latency, p.link.Jitter, p.loss*100, p.link.Duplicate*100, p.drift*100, p.disk, p.fail*100, p.pause, p.say, p.window)
	if p.liar >= 0 {
		s += fmt.Sprintf(", %s lies", name(p.liar))
	}
	if p.gone >= 0 {
		s += fmt.Sprintf(", %s dies for good", name(p.gone))
	}
	if p.restore {
		s += ", backups"
	}
	if p.mortal {
		s += ", clients die"
	}
	return s
}

func name(i int) hub.Provider { return hub.Provider(i + 1) }

// pickSet draws a replica set of a size among candidates.
func pickSet(r *rand.Rand, among hub.Set, size int) hub.Set {
	list := append(hub.Set(nil), among...)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return hub.SetOf(list[:min(size, len(list))]...)
}
