package rooms

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
)

// changesSet says whether an entry is a commit that changes the replica set.
func changesSet(s *room.State, st *room.Step) bool { return len(s.NewSet(st)) > 0 }

// maxTail is how many bytes a hub orders that are not final. While no majority of the
// replicas answers, all of it is in memory. A follower takes up to twice as much: what
// it has set aside for another hub's log may be as long.
const maxTail = 16 << 20

// errLong: more waits for a majority of the replicas than may.
var errLong = errors.New("rooms: too much of the room is waiting for a majority of its replicas: try again later")

// orderReplicated orders a checked submission, if the machine takes it.
func (l *live) orderReplicated(s *submission, st *room.Step, up *wire.HandshakeBundle) (result, error) {
	rep := l.rep
	if rep.size+sizeOf(st.Entry) > maxTail {
		return result{}, fmt.Errorf("%d bytes are not final: %w", rep.size, errLong)
	}
	ev := hub.Event{Kind: hub.Submit, Txn: s.txn, Handshake: up != nil}
	if set := l.state.NewSet(st); set != nil {
		ev.Set = rep.names.set(domainsOf(set))
	}
	rep.pending, rep.made = st.Entry, nil
	m, effects := rep.m.Step(ev)
	for _, e := range effects {
		if e.Kind == hub.Rejected {
			rep.pending, rep.made = nil, nil
			return result{}, fmt.Errorf("the room cannot take it now: %w", e.Why)
		}
	}
	var providers []string
	if up != nil {
		providers = l.state.Providers()
	}
	l.adoptStep(m, effects)
	if err := l.own(nil, st); err != nil {
		l.r.log.Error("ordering", "room", l.h.id, "err", err)
		l.failReplica(err)
		return result{}, err
	}
	if up != nil {
		if w := l.welcomeOf(st, up, providers); w != nil && (w.w != nil || len(w.gone)+len(w.fresh) > 0) {
			for i := range rep.turns {
				if rep.turns[i].seq == st.Entry.Seq {
					w.at = rep.position(st.Entry.Seq + 1)
					rep.turns[i].welcomes = append(rep.turns[i].welcomes, *w)
				}
			}
		}
	}
	return result{seq: st.Entry.Seq, acceptedAt: st.Entry.AcceptedAt, epoch: l.state.Epoch(), frank: s.frank}, nil
}

// ordered finds a submission in the tail.
func (rep *replicaState) ordered(txn room.TxnID) (result, bool) {
	for _, e := range rep.tail {
		if e.Txn == txn {
			return result{seq: e.Seq, acceptedAt: e.AcceptedAt, frank: frankOf(e)}, true
		}
	}
	return result{}, false
}

// full says that what is not written yet is enough for one write.
func (rep *replicaState) full(limit int) bool {
	if n := len(rep.turns); n > 0 && rep.turns[n-1].cut && rep.turns[n-1].seq+1 == rep.end() && rep.fresh < rep.end() {
		return true
	}
	bytes := 0
	for seq := rep.fresh; seq < rep.end(); seq++ {
		bytes += sizeOf(rep.tail[seq-rep.final.Next])
	}
	return bytes+4<<10 > limit || rep.end()-rep.fresh >= batchEntries
}

func (rep *replicaState) unwritten() bool {
	return rep.dirty || len(rep.effects) > 0 || len(rep.orders) > 0
}

// Times of the machine. What is unanswered is said again after resendAfter; who is to
// wait for a random time waits about shortWait; a hub that stays dead is suspected
// again after about suspectAgain, and so is repeated whatever else is to give a room a
// hub. They differ so that not all stand at once.
//
// As long as nothing moves in the room the pauses double, up to longestPause: whom it
// has not reached twice in a second it reaches no sooner by saying it more often, and
// thousands of rooms that do so are what keeps their providers from answering. When the
// way is free again, the exchange of a new connection is what tells; the bound is for
// whatever that misses.
const (
	resendAfter  = 500 * time.Millisecond
	shortWait    = 100 * time.Millisecond
	suspectAgain = 200 * time.Millisecond
	longestPause = 8 * time.Second
	// waitedPause is the longest of a room without a hub in which people wait.
	waitedPause = 500 * time.Millisecond
	// idlePause is the longest of a room without a hub in which nobody says anything: its
	// provider lets it look for one anew in its turn (Rooms.Suspected).
	idlePause = time.Minute
)

func about(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// progress is what moves when others answer, or have something new to answer.
type progress struct {
	role       hub.Role
	seen       room.Term
	final, end uint64
	heard      uint64
}

func (rep *replicaState) progress() progress {
	return progress{rep.m.Role(), rep.m.State().Seen, rep.final.Next, rep.end(), rep.m.Heard()}
}

// again sets when to say again what nobody answers: soon, and later and later as long as
// nothing moves.
func (l *live) again() {
	rep := l.rep
	if rep == nil {
		l.alarm(resendAfter)
		return
	}
	if now := rep.progress(); now != rep.moved || rep.pause == 0 {
		rep.moved, rep.pause = now, resendAfter
		if role := rep.m.Role(); role != hub.Hub && (role != hub.Follower || l.lost(l.state.Hub().Domain)) {
			rep.pause = suspectAgain // nobody orders the room
		}
	}
	l.alarm(rep.pause)
}

// unanswered notes, when it is time to say something again, whether nothing has moved.
func (l *live) unanswered() {
	rep, longest := l.rep, longestPause
	if l.lost(l.state.Hub().Domain) {
		// The others may find the hub dead later than this provider, and only this one may
		// have a log that they can vote for.
		if longest = waitedPause; len(rep.tail) == 0 && !l.r.spoken(l.h) {
			longest = idlePause
		}
	}
	if rep.pause > 0 && rep.progress() == rep.moved {
		rep.pause = min(2*rep.pause, longest)
	}
}

// alarm has the machine looked at after some time, or earlier, if it is to be looked
// at earlier already: others' messages must not put it off for ever.
func (l *live) alarm(d time.Duration) { l.alarmAfter(about(d)) }

// alarmAfter is alarm without chance.
func (l *live) alarmAfter(d time.Duration) {
	at := time.Now().Add(d)
	if l.alarmAt.IsZero() || at.Before(l.alarmAt) {
		l.alarmAt = at
		l.timer.Reset(time.Until(at))
	}
}

// tick is the machine's sense of time.
func (l *live) tick(ctx context.Context) {
	l.alarmAt = time.Time{}
	if l.h.stopped() != nil && (l.rep == nil || l.rep.m.Role() != hub.Mover) {
		l.remit()
		l.askStopped(ctx)
		return
	}
	if l.load(ctx) != nil || l.state == nil {
		return
	}
	if l.collect(ctx); l.rep == nil || l.state == nil {
		return
	}
	l.moveOverdue()
	rep, hubOf := l.rep, l.state.Hub().Domain
	l.unanswered()
	switch role := rep.m.Role(); {
	case (role == hub.Follower || role == hub.Canvasser || role == hub.Candidate) && l.lost(hubOf):
		l.contend()
		l.ownOrFail()
		l.settleUp(ctx)
		l.again()
		return
	case role == hub.Waiting && l.contest.open(time.Now()):
		l.alarmAfter(time.Until(l.contest.until))
		return
	case role == hub.Follower && (rep.m.State().Restored || rep.m.State().Unsure):
		l.step(hub.Event{Kind: hub.Resend})
	case role == hub.Follower && hubOf == l.r.cfg.Domain && !replicated(l.state):
		// Whole again, and alone: a new term begins, since of the old one it may have
		// forgotten what it signed.
		l.step(hub.Event{Kind: hub.Request})
		l.ownOrFail()
	case role == hub.Follower:
		if from := l.source(); from != "" && len(rep.tail) > 0 {
			l.catchUp(ctx, from)
		}
	default:
		ev := hub.Event{Kind: hub.Resend}
		if role == hub.Releasing && l.abandoned(rep.names.Name(rep.m.State().Vote.For)) {
			ev.Kind = hub.Suspect
		}
		l.step(ev)
		l.ownOrFail()
		if role == hub.Releasing && l.rep != nil {
			// The successor may be at work already.
			l.settleUp(ctx)
			if to := rep.names.Name(rep.m.State().Vote.For); to != "" && l.rep == rep {
				l.catchUp(ctx, to)
			}
		}
	}
	l.settleUp(ctx)
	if l.occupied() {
		l.again()
	} else if l.rep != nil && l.rep.m.State().Unsure {
		l.alarm(longestPause) // who does not answer does not keep the room in memory
	}
}

// askStopped has a machine that comes from a backup ask again, where the room stands still:
// before that is answered it acknowledges no move.
func (l *live) askStopped(ctx context.Context) {
	if l.rep == nil || l.state == nil || !l.rep.m.State().Restored && !l.rep.m.State().Unsure {
		return
	}
	l.unanswered()
	l.step(hub.Event{Kind: hub.Resend})
	l.settleUp(ctx)
	if l.occupied() {
		l.again()
	}
}

// patience is for how long a successor that answers may not begin to order the room.
const patience = 10 * time.Second

// abandoned says that nobody will order a room that was released to a provider, or not
// soon: it is dead, or it has had its time.
func (l *live) abandoned(to string) bool {
	rep, term := l.rep, l.rep.m.State().Vote.Term
	if rep.released != term {
		rep.released, rep.releasedAt = term, time.Now()
	}
	return l.r.dead(to) || time.Since(rep.releasedAt) > patience
}

func (l *live) ownOrFail() {
	if err := l.own(nil, nil); err != nil {
		l.r.log.Error("leading a room", "room", l.h.id, "err", err)
		l.failReplica(err)
	}
}

// occupied says whether the room must stay in memory.
func (l *live) occupied() bool {
	if len(l.debts) > 0 {
		return true
	}
	if l.rep != nil && l.state != nil && !replicated(l.state) && l.unsettled() {
		return true
	}
	return l.rep != nil && l.state != nil && (l.rep.busy() || l.rep.m.Role() == hub.Follower && l.lost(l.state.Hub().Domain))
}

// doubt has the machine vote for whoever stands, if the hub is gone. This provider asks for
// votes itself when it is the room's turn (Rooms.Suspect), or after a while.
func (l *live) doubt() {
	if l.lost(l.state.Hub().Domain) && l.rep.m.Role() == hub.Follower {
		l.step(hub.Event{Kind: hub.Doubt})
		l.alarm(resendAfter)
	}
}

// happen gives the machine an event that does not come from another replica.
func (l *live) happen(ctx context.Context, ev hub.Event, target string) error {
	if l.state == nil {
		return ErrUnknown
	}
	if l.rep == nil {
		if ev.Kind == hub.Suspect {
			return nil
		}
		if l.state.Hub().Domain != l.r.cfg.Domain {
			return hub.ErrNotHub
		}
		if err := l.replicate(ctx); err != nil {
			return err
		}
	}
	if ev.Kind == hub.HandOver && l.rep.m.Role() != hub.Hub {
		return fmt.Errorf("the room is ordered by %s: %w", l.state.Hub().Domain, hub.ErrNotHub)
	}
	if target != "" {
		ev.Target = l.rep.names.Number(target)
	}
	var why error
	var effects []hub.Effect
	if ev.Kind == hub.Suspect {
		effects = l.contend()
	} else {
		effects = l.step(ev)
	}
	for _, e := range effects {
		if e.Kind == hub.Rejected {
			why = e.Why
		}
	}
	l.ownOrFail()
	l.settleUp(ctx)
	if l.occupied() {
		l.again()
	}
	return why
}
