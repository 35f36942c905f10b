package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file performs what a replicated room's machine wants done: first one write,
// of everything since the last, and then what others may hear of it.

// settleUp writes and performs. It is called when nothing more waits that could share
// the write.
func (l *live) settleUp(ctx context.Context) {
	rep := l.rep
	if rep != nil && rep.moving != nil && rep.m.Role() != hub.Mover {
		// Another move came, to a higher era, or a hub; or this provider comes from a
		// backup and asks the others first.
		l.failMove(errMoving)
	}
	if rep == nil || !rep.dirty && len(rep.effects) == 0 && len(rep.orders) == 0 {
		return
	}
	head, err := l.signTail()
	var news []*room.Entry // that others have not heard of
	if head != nil {
		news = slices.Clone(rep.tail[rep.fresh-rep.final.Next:])
	}
	var d *decided
	if err == nil {
		d, err = l.decide()
	}
	// What one transaction does not hold goes first, with the same say of the machine:
	// that more is final than is in the log yet is nothing that a crash makes untrue.
	for err == nil && d != nil && d.more {
		if err = l.commit(ctx, d, l.putReplica(d)); err == nil {
			l.written(d)
			d, err = l.decide()
		}
	}
	if err == nil && (rep.dirty || d != nil) {
		err = l.commit(ctx, d, l.putReplica(d))
	}
	if err != nil {
		l.r.log.Error("writing a room that is decided about with others", "room", l.h.id, "err", err)
		l.failReplica(err)
		return
	}
	l.written(d)
	l.thawed()
	effects, orders := rep.effects, rep.orders
	rep.effects, rep.orders = nil, nil
	l.answerOrders(orders)
	l.perform(ctx, effects, head, news)
	if l.rep == rep && rep.m.Role() != hub.Hub {
		l.failWaiting(errMoving)
	}
	if l.rep == rep && !replicated(l.state) && len(rep.tail) == 0 && !l.unsettled() && !l.bound() {
		l.single(ctx)
	}
}

// unsettled says that the machine of a room that one provider decides about still has
// something to do: it hands the room over, or comes from a backup and asks first.
func (l *live) unsettled() bool {
	switch l.rep.m.Role() {
	case hub.Releasing, hub.Mover, hub.Waiting:
		return true
	case hub.Hub:
		return false
	}
	st := l.rep.m.State()
	return st.Restored || st.Unsure || l.state.Hub().Domain == l.r.cfg.Domain
}

// bound says that this provider has acknowledged a move that is not in its log yet: to
// forget that would be to acknowledge another one.
func (l *live) bound() bool { return l.rep.m.State().Seen.Era > l.state.At().Term.Era }

// signTail signs, as the hub, the end of the tail, if it is new.
func (l *live) signTail() (*room.SignedHead, error) {
	rep := l.rep
	if rep.m.Role() != hub.Hub || len(rep.tail) == 0 || rep.fresh == rep.end() {
		return nil, nil
	}
	e := rep.tail[len(rep.tail)-1]
	key, err := l.r.signer(l.state.HubKey())
	if err != nil {
		return nil, err
	}
	head := room.SignHead(room.HeadOf(e), key)
	rep.heads[e.Seq] = head
	return &head, nil
}

// decide takes what has become final out of the tail, as much as one write takes.
func (l *live) decide() (*decided, error) {
	rep := l.rep
	st := rep.m.State()
	if st.Final.Head.Seq < rep.final.Next || st.Final.Head.Seq >= rep.end() {
		return nil, nil
	}
	var n uint64
	more := false
	for i, size := range tailSizes(rep.tail[:st.Final.Head.Seq+1-rep.final.Next]) {
		// A head that the hub signed has to end what is stored.
		if _, ok := rep.heads[rep.final.Next+uint64(i)]; !ok {
			continue
		}
		if more = n > 0 && size > rangeBytes; more {
			break
		}
		n = uint64(i) + 1
		if rep.cut(rep.final.Next + uint64(i)) {
			more = rep.final.Next+n <= st.Final.Head.Seq
			break
		}
	}
	if n == 0 {
		return nil, nil
	}
	final := rep.final.Next + n - 1
	head := rep.heads[final]
	key := rep.keys[head.Term]
	if key == nil {
		key = l.state.HubKey()
	}
	b, err := room.Verify(l.h.id, rep.final, rep.tail[:n], &head, key)
	if err != nil {
		return nil, err
	}
	d := &decided{batch: b, now: rep.now, before: rep.now.participants, more: more}
	for _, t := range rep.turns {
		if t.seq > final {
			break
		}
		parts := append(d.now.parts, t.now.parts...)
		d.now = t.now
		d.now.parts = parts
		d.welcomes = append(d.welcomes, t.welcomes...)
	}
	if st.Final.Head.Seq == final {
		if c := l.certificate(st.Final); c != nil {
			d.cert = &c.Certificate
			rep.cert = c
			rep.cert.Head = head
		}
	} else if rep.cut(final) && rep.m.Role() == hub.Hub {
		// Who reads no further cannot be shown what signs a later place.
		at := hub.Head{Term: head.Term, Seq: head.Seq, Hash: head.Hash}
		if c := l.signedBy(at, st.Final.Signers); len(c.Signers) == len(st.Final.Signers) && !slices.ContainsFunc(c.Cites(), func(h room.Head) bool { return h.Seq != final }) {
			d.cert = c
		}
	}
	return d, nil
}

// cut says whether a provider stops following with a place of the tail.
func (rep *replicaState) cut(seq uint64) bool {
	return slices.ContainsFunc(rep.turns, func(t turn) bool { return t.seq == seq && t.cut })
}

// putReplica writes the machine's state and the tail.
func (l *live) putReplica(d *decided) func(tx *store.Tx) error {
	rep := l.rep
	st, marks := rep.m.State(), rep.m.Log().Marks()
	rep.keeping = l.unlogged()
	return func(tx *store.Tx) error {
		if err := l.keepHeard(tx, rep.keeping); err != nil {
			return err
		}
		from := rep.final.Next
		if d != nil {
			from = d.batch.After().Next
		}
		for _, seq := range rep.gone {
			if err := logstore.DeleteTail(tx, l.h.id, seq); err != nil {
				return err
			}
		}
		for seq := rep.final.Next; seq < min(from, rep.fresh); seq++ {
			if err := logstore.DeleteTail(tx, l.h.id, seq); err != nil {
				return err
			}
		}
		for seq := max(from, rep.fresh); seq < rep.end(); seq++ {
			var head *room.SignedHead
			if h, ok := rep.heads[seq]; ok {
				head = &h
			}
			if err := logstore.PutTail(tx, rep.tail[seq-rep.final.Next], head); err != nil {
				return err
			}
		}
		if !st.Restored {
			if err := logstore.ClearRestored(tx, l.h.id); err != nil {
				return err
			}
		}
		return logstore.PutReplica(tx, l.h.id, st, rep.voted, marks, rep.names)
	}
}

// written: all is durable that was not, and d is in the log, if it is not nil.
func (l *live) written(d *decided) {
	rep := l.rep
	rep.dirty, rep.gone, rep.fresh = false, nil, rep.end()
	l.keptHeard(rep.keeping)
	l.r.counts.heard.Add(uint64(len(rep.keeping)))
	rep.keeping = nil
	l.h.tip.Store(rep.end())
	if d != nil {
		l.settled(d)
	}
}

// settled forgets what is final now, and answers who waited for it.
func (l *live) settled(d *decided) {
	rep := l.rep
	after := d.batch.After()
	rep.tail = append([]*room.Entry(nil), rep.tail[after.Next-rep.final.Next:]...)
	for _, e := range d.batch.Entries() {
		rep.size -= sizeOf(e)
		for _, v := range l.votesIn(e) {
			delete(l.unkept, v)
		}
	}
	for len(rep.turns) > 0 && rep.turns[0].seq < after.Next {
		rep.turns = rep.turns[1:]
	}
	for seq := range rep.heads {
		if seq < after.Next {
			delete(rep.heads, seq)
		}
	}
	for t := range rep.keys {
		if t.Compare(after.Term) < 0 {
			delete(rep.keys, t)
		}
	}
	rep.final, rep.now = after, d.now
	rep.now.parts = nil
	rep.fresh = max(rep.fresh, after.Next)
	l.r.counts.decided.Add(uint64(len(d.batch.Entries())))
	keep := rep.waiting[:0]
	for _, o := range rep.waiting {
		if o.res.seq < after.Next {
			o.s.result <- o.res
		} else {
			keep = append(keep, o)
		}
	}
	rep.waiting = keep
}

// answerOrders answers submissions that are durable. A handshake waits until it is
// final, because its client merges it then.
func (l *live) answerOrders(list []order) {
	rep := l.rep
	for _, o := range list {
		if o.s.message == nil && o.res.seq >= rep.final.Next {
			if len(rep.waiting) >= maxWaiting { // whoever came first has given up
				rep.waiting[0].s.fail(errMoving)
				rep.waiting = slices.Delete(rep.waiting, 0, 1)
			}
			rep.waiting = append(rep.waiting, o)
			continue
		}
		o.s.result <- o.res
	}
}

// maxWaiting bounds the handshakes that wait until they are final. While no majority
// answers, each of them may come again and again.
const maxWaiting = 64

var errMoving = errors.New("rooms: the room is moving to another hub")

func (l *live) failWaiting(err error) {
	for _, o := range l.rep.waiting {
		o.s.fail(err)
	}
	l.rep.waiting = nil
}

// failReplica answers everybody who waits, and forgets what is ahead of the store.
func (l *live) failReplica(err error) {
	if rep := l.rep; rep != nil {
		for _, o := range rep.orders {
			o.s.fail(err)
		}
		rep.orders = nil
	}
	l.drop()
}

// single ends the machine: the room's hub decides alone again.
func (l *live) single(ctx context.Context) {
	err := l.commit(ctx, nil, func(tx *store.Tx) error { return logstore.DeleteReplica(tx, l.h.id) })
	if err != nil {
		l.r.log.Error("ending a room's replication", "room", l.h.id, "err", err)
		return
	}
	l.rep = nil
}

// perform does what the machine wants others to hear, in its order. head, if it is not
// nil, is a new one, and ends entries that nobody has heard of.
func (l *live) perform(ctx context.Context, effects []hub.Effect, head *room.SignedHead, entries []*room.Entry) {
	rep := l.rep
	var again, certified bool
	for _, e := range effects {
		switch e.Kind {
		case hub.Send:
			if e.Message.Kind == hub.Append {
				again = true
				continue
			}
			if e.Message.Kind == hub.Certify {
				continue // goes with Final
			}
			l.say(e.Message)
		case hub.Final:
			certified = true
		case hub.SetAside:
			l.r.counts.aside.Add(uint64(len(e.Entries)))
			l.r.log.Warn("entries of a former hub were set aside; who submitted them will do so again", "room", l.h.id, "entries", len(e.Entries))
		case hub.Leads:
			l.r.counts.led.Add(1)
			l.r.log.Info("this provider orders the room now", "room", l.h.id, "term", e.Head.Term)
		case hub.Stopped:
			if l.h.conflicted() {
				continue // told already
			}
			why := fmt.Sprintf("two histories claim to be final: entry %d is %x here and %x elsewhere", e.Proof.A.Seq, e.Proof.A.Hash[:8], e.Proof.B.Hash[:8])
			l.r.log.Error("room is stopped", "room", l.h.id, "why", why)
			l.h.mu.Lock()
			l.h.broken = why
			l.h.mu.Unlock()
			l.tellStopped()
		case hub.Convicted:
			if e.Proof.Votes && l.h.twoVotes(rep.names.Name(e.Proof.Liar)) {
				continue // told already
			}
			l.r.counts.convicted.Add(1)
			l.r.log.Error("a provider has signed what contradicts itself", "room", l.h.id, "provider", rep.names.Name(e.Proof.Liar),
				"term", e.Proof.Term, "one", e.Proof.A.Hash, "other", e.Proof.B.Hash)
		case hub.Wait:
			l.contest.later(time.Now())
			l.alarm(shortWait)
		}
	}
	switch {
	case head != nil:
		l.publishPiece(ctx, &room.Piece{Head: *head, Entries: entries, Certified: rep.cert})
	case (again || certified) && rep.m.Role() == hub.Hub:
		// News of a certificate, or said again: whoever lacks entries asks for them.
		l.publishPiece(ctx, &room.Piece{Head: l.newestHead(), Certified: rep.cert})
	}
	if rep.busy() {
		l.again()
	}
}

// newestHead is the head of the end of the log, which is signed here.
func (l *live) newestHead() room.SignedHead {
	rep := l.rep
	if n := len(rep.tail); n > 0 {
		if h, ok := rep.heads[rep.tail[n-1].Seq]; ok {
			return h
		}
	}
	if rep.cert != nil {
		return rep.cert.Head
	}
	return room.SignedHead{}
}
