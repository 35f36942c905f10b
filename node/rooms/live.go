package rooms

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// live is a loaded room. Its goroutine owns the fields below the line.
type live struct {
	r  *Rooms
	h  *handle
	in chan *task
	// ---
	state *room.State // nil: to be loaded, or before the first entry
	batch *batch      // what is not written yet, at the hub
	adds  recentAdds  // whom the last commits added, for their Welcomes
	// entrants are own users who have come in, and by whose doing, until that is written.
	entrants map[uri.User]uri.User
	rep      *replicaState // nil where the hub decides alone
	timer    *time.Timer   // of rep
	contest  contest       // while nobody orders the room

	ballots  room.Ballots     // votes that are known here, see voted.go
	unkept   map[votedIn]bool // of these, those that are neither kept nor in the log for good, see heard.go
	recalled map[string]bool  // voters of whom it is in mind what is kept

	debts   []*debt   // what the hub owes, see relay.go
	newer   string    // whose head of a higher term did not connect; "" if nobody's
	reading string    // who the log is being read from; "" if nobody
	alarmAt time.Time // when timer is due; zero: nobody needs it

	related relation // what those were told of the room that depend on it, see parent.go
}

// task is something to do with a room: one of a submission, a piece of its log, a
// replica's message, a wish about its hub, or a function over its state.
type task struct {
	submit *submission
	piece  *room.Piece
	from   string // who a piece came from; "" for gossip
	catch  string // a provider to catch up from
	other  string // a provider that has another entry at the end of this log
	say    *replica.Message
	event  *hub.Event // for the machine; Target is set from target
	target string
	look   func(s *room.State)
	owe    *debt
	rejoin bool       // give up a branch that is lost, see rejoin.go
	done   chan error // capacity 1; nil if nobody waits
}

func (t *task) reply(err error) {
	if t.done != nil {
		t.done <- err
	}
}

// send gives a task to the room's goroutine, which is started if need be.
func (r *Rooms) send(h *handle, t task) error {
	r.mu.RLock() // before h.mu, as everywhere
	defer r.mu.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.live == nil {
		l := &live{r: r, h: h, in: make(chan *task, queueLength)}
		if !r.spawnLocked(l.run) {
			return ErrStopped
		}
		h.live = l
		r.turns.Add(1)
		r.counts.live.Add(1)
	}
	if t.submit != nil || t.owe != nil || t.piece != nil && len(t.piece.Entries) > 0 {
		h.traffic.Store(r.cfg.Now().UnixMilli())
	}
	select {
	case h.live.in <- &t:
		return nil
	default:
		return ErrBusy
	}
}

// do gives a task to the room and waits until it is done.
func (r *Rooms) do(ctx context.Context, h *handle, t task) error {
	t.done = make(chan error, 1)
	if err := r.send(h, t); err != nil {
		return err
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// view runs f over the room's state as it is written. When it returns, f neither runs nor will: what it has
// written to is the caller's, also if ctx has ended before its turn came.
func (r *Rooms) view(ctx context.Context, h *handle, f func(s *room.State)) error {
	var mu sync.Mutex
	left := false
	err := r.do(ctx, h, task{look: func(s *room.State) {
		mu.Lock()
		defer mu.Unlock()
		if !left {
			f(s)
		}
	}})
	mu.Lock()
	defer mu.Unlock()
	left = true
	return err
}

func (l *live) run(ctx context.Context) {
	idle := time.NewTimer(l.r.cfg.Idle)
	defer idle.Stop()
	l.timer = time.NewTimer(time.Hour)
	defer l.timer.Stop()
	for {
		select {
		case t := <-l.in:
			l.all(ctx, t)
			if l.state == nil && l.h.stand() == nil && l.retire(false) {
				return // nothing came of it: a name that somebody made up
			}
			idle.Reset(l.r.cfg.Idle)
		case <-l.timer.C:
			l.tick(ctx)
		case <-idle.C:
			if !l.occupied() {
				l.partWithHeard(ctx)
				if l.retire(false) {
					return
				}
			}
			idle.Reset(l.r.cfg.Idle)
		case <-ctx.Done():
			l.retire(true)
			return
		}
	}
}

// retire ends the goroutine if nothing waits; always, when the service stops.
func (l *live) retire(always bool) bool {
	if !l.leave(always) {
		return false
	}
	l.r.forget(l.h)
	return true
}

func (l *live) leave(always bool) bool {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if !always && len(l.in) > 0 {
		return false // and nobody sends while mu is held
	}
	l.drop()
	l.remit()
	for {
		select {
		case t := <-l.in:
			t.reply(ErrStopped)
			if t.submit != nil {
				t.submit.fail(ErrStopped)
			}
			if t.owe != nil {
				l.released(t.owe)
			}
			continue
		default:
		}
		l.h.live, l.h.proved = nil, nil
		l.r.turns.Add(1)
		l.r.counts.live.Add(-1)
		return true
	}
}

// all does a task and all that wait behind it, submissions together.
func (l *live) all(ctx context.Context, t *task) {
	for {
		l.one(ctx, t)
		if ctx.Err() != nil {
			break
		}
		if l.batch != nil && l.batch.full(l.r.cfg.BatchBytes) || l.rep != nil && l.rep.full(l.r.cfg.BatchBytes) {
			l.flush(ctx)
			l.settleUp(ctx)
		}
		select {
		case t = <-l.in:
			continue
		default:
		}
		if l.batch == nil && (l.rep == nil || !l.rep.unwritten()) {
			break
		}
		l.flush(ctx)
		l.settleUp(ctx)
		// While that was written, more may have come.
		select {
		case t = <-l.in:
			continue
		default:
		}
		break
	}
	l.flush(ctx)
	l.settleUp(ctx)
	l.relate()
	if l.h.behind.Load() && ctx.Err() == nil {
		if from := l.source(); from != "" {
			l.catchUp(ctx, from)
			l.settleUp(ctx)
		} else {
			l.h.behind.Store(false)
		}
	}
}

// source is whom to ask for what is missing: the hub, or another replica if the hub
// is dead or we are it. "" if there is nobody.
func (l *live) source() string {
	head := l.h.stand()
	if head == nil {
		return ""
	}
	self := l.r.cfg.Domain
	if d := l.newer; d != "" && !l.r.dead(d) {
		l.newer = ""
		return d
	}
	hub := head.Hub
	if l.rep != nil && l.state != nil {
		hub = l.state.Hub().Domain
	}
	if hub != self && !l.lost(hub) {
		return hub
	}
	for _, m := range head.Set {
		if m.Domain != self && m.Domain != hub && !l.r.dead(m.Domain) {
			return m.Domain
		}
	}
	if hub != self {
		return hub
	}
	return ""
}

func (l *live) one(ctx context.Context, t *task) {
	if t.submit == nil {
		l.flush(ctx)
	}
	if t.submit == nil && t.say == nil {
		l.settleUp(ctx)
	}
	if t.catch != "" || t.other != "" {
		l.h.asked.Store(false)
	}
	if err := l.load(ctx); err != nil {
		t.reply(err)
		if t.submit != nil {
			t.submit.fail(err)
		}
		if t.owe != nil {
			l.released(t.owe)
		}
		return
	}
	switch {
	case t.owe != nil:
		l.lend(t.owe)
	case t.submit != nil:
		l.submit(t.submit)
	case t.look != nil:
		if l.state == nil {
			t.reply(ErrUnknown)
			return
		}
		t.look(l.state)
		t.reply(nil)
	case t.piece != nil:
		t.reply(l.ingest(ctx, t.piece, t.from))
	case t.say != nil:
		if l.state == nil {
			return
		}
		if err := l.hear(ctx, t.say, t.from); err != nil {
			l.r.log.Debug("message of a replica", "room", l.h.id, "what", t.say.Kind, "from", t.from, "err", err)
		}
	case t.event != nil:
		t.reply(l.happen(ctx, *t.event, t.target))
	case t.rejoin:
		t.reply(l.rejoin(ctx))
	case t.catch != "":
		t.reply(l.catchUp(ctx, t.catch))
	case t.other != "":
		t.reply(l.otherHead(ctx, t.other))
	}
}

// load reads the room's state, if there is one and it is not in memory.
func (l *live) load(ctx context.Context) error {
	if l.state != nil || l.h.stand() == nil {
		return nil
	}
	if err := l.cutBranch(ctx); err != nil {
		return fmt.Errorf("taking a lost branch out of the log: %w", err)
	}
	var s *room.State
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		s, _, err = logstore.Load(tx, l.h.id, l.r.cfg.Rules)
		return err
	})
	if err != nil {
		if !errors.Is(err, store.ErrClosed) {
			l.r.log.Error("loading room", "room", l.h.id, "err", err)
		}
		return fmt.Errorf("loading room: %w", err)
	}
	l.state = s
	l.r.counts.loaded.Add(1)
	err = l.openReplica(ctx)
	if err == nil && l.rep == nil && l.state.Hub().Domain == l.r.cfg.Domain {
		// A hub that comes from a backup asks what it has forgotten before it orders.
		var restored bool
		if restored, err = l.r.restored(l.h.id); err == nil && restored {
			err = l.replicate(ctx)
			l.alarm(shortWait)
		}
	}
	if err != nil {
		l.drop()
		l.r.log.Error("loading room", "room", l.h.id, "err", err)
		return fmt.Errorf("loading room: %w", err)
	}
	return nil
}

// drop forgets the state, which is ahead of the store or of unknown worth.
func (l *live) drop() {
	l.failMove(errMoving)
	if rep := l.rep; rep != nil {
		for _, o := range append(rep.orders, rep.waiting...) {
			o.s.fail(errMoving)
		}
	}
	l.state, l.batch, l.rep = nil, nil, nil
}
