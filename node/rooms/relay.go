package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// This file finds a hub that answers and does not order, or not from everybody. Its
// provider is alive, so nobody suspects it; whose messages it leaves lying sees that, and
// must be able to make others see it, without being believed.
//
// What a local user submits to another provider's hub is a debt of that hub until it is
// final here. When it has not been paid for Config.Stall, and as far as this provider can
// see nothing is wrong with it, it goes to the room's other replicas. Each of these brings
// it to the hub, too, and has a debt of its own from then on. A replica that is owed for
// too long suspects the hub, and a majority of them gives the room another one. A hub that
// is honest is asked once more, and orders it.
//
// Who is wrong: a submission that does not fit the room as it stands here is owed by
// nobody; it may be older than a commit. A hub that refuses what fits owes it all the same.
// In a room that its hub decides about alone, its users are told, and that is all.

// debt is a submission that the hub owes an entry for.
type debt struct {
	relay *replica.Relay
	txn   room.TxnID
	mine  bool // a local user's, and not relayed to us
	hub   string
	term  room.Term // that the hub had
	since time.Time
	said  time.Time // when it was last relayed; zero: not yet
	due   bool      // it has been owed for too long
	told  bool      // and the users know
}

const (
	// maxDebts is how many submissions of one room are looked after at a time: some are
	// enough to see whether the hub orders.
	maxDebts = 8
	// oldDebts is after how many times Config.Stall one is forgotten. Whoever still wants
	// it in the room submits it again.
	oldDebts = 10
	// pullBeforeBlame is for how long the hub is asked for what it has ordered, before it
	// is blamed.
	pullBeforeBlame = 2 * time.Second
)

// owe notes what a local user submits. It costs little, and the room's goroutine sees to
// the rest: nothing at all while enough is noted already.
func (r *Rooms) owe(h *handle, what replica.Request, nonce room.TxnNonce, body []byte) {
	if h.owed.Add(1) > maxDebts/2 {
		h.owed.Add(-1)
		return
	}
	d := &debt{txn: room.TxnIDOf(nonce, body), mine: true, relay: &replica.Relay{Request: what, Origin: r.cfg.Domain, Nonce: nonce, Body: body}}
	if r.send(h, task{owe: d}) != nil {
		h.owed.Add(-1)
	}
}

// lend begins to look after a debt, if there is room for it and it is not there.
func (l *live) lend(d *debt) bool {
	if l.state == nil || len(l.debts) >= maxDebts || slices.ContainsFunc(l.debts, func(o *debt) bool { return o.txn == d.txn }) {
		l.released(d)
		return false
	}
	d.hub, d.term, d.since = l.state.Hub().Domain, l.state.At().Term, time.Now()
	if d.hub == l.r.cfg.Domain {
		l.released(d)
		return false
	}
	l.debts = append(l.debts, d)
	l.alarm(l.r.cfg.Stall)
	return true
}

// released: a debt is looked after no more.
func (l *live) released(d *debt) {
	if d.mine {
		l.h.owed.Add(-1)
	}
}

// remit forgets all debts.
func (l *live) remit() {
	for _, d := range l.debts {
		l.released(d)
	}
	l.debts = nil
}

// collect looks which debts are paid, and draws the consequences of those that are due.
func (l *live) collect(ctx context.Context) {
	if len(l.debts) == 0 {
		return
	}
	now := time.Now()
	late := func(d *debt) bool { return now.Sub(d.since) >= l.r.cfg.Stall }
	if hub := l.state.Hub().Domain; slices.ContainsFunc(l.debts, func(d *debt) bool { return late(d) && !d.due }) && hub != l.r.cfg.Domain {
		pull, cancel := context.WithTimeout(ctx, pullBeforeBlame)
		err := l.catchUp(pull, hub)
		cancel()
		if l.load(ctx) != nil || l.state == nil {
			return
		}
		if err != nil {
			l.r.log.Debug("asking a hub that is late", "room", l.h.id, "hub", hub, "err", err)
		}
	}
	keep := l.debts[:0]
	for _, d := range l.debts {
		if !l.owes(d) || now.Sub(d.since) > oldDebts*l.r.cfg.Stall {
			l.released(d)
			continue
		}
		keep = append(keep, d)
		if !late(d) {
			continue
		}
		if !d.due {
			d.due = true
			l.r.counts.due.Add(1)
			l.r.log.Warn("the room's hub leaves a submission lying", "room", l.h.id, "hub", d.hub, "origin", d.relay.Origin, "for", now.Sub(d.since))
		}
		if d.mine {
			l.relay(d, now)
			l.tellStalled(d, true)
		}
	}
	l.debts = keep
	if len(l.debts) > 0 {
		l.alarm(l.r.cfg.Stall / 2)
	}
}

// owes says whether the hub still owes an entry.
func (l *live) owes(d *debt) bool {
	if l.state.At().Term != d.term {
		return false // its origin brings it to the new hub
	}
	var seq uint64
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		seq, err = logstore.SeqOf(tx, l.h.id, d.txn)
		return err
	})
	if err == nil && seq > 0 {
		l.tellStalled(d, false)
		return false
	}
	if l.rep != nil {
		if _, ok := l.rep.ordered(d.txn); ok {
			return true // and is not final
		}
	}
	err = admissible(l.state, d.relay, l.r.cfg.Now())
	if err != nil {
		l.r.log.Debug("a submission is owed by nobody any more", "room", l.h.id, "origin", d.relay.Origin, "err", err)
	}
	return err == nil
}

// admissible says whether this provider, as the hub, would order a submission now.
func admissible(s *room.State, y *replica.Relay, now time.Time) error {
	m, up, err := parseRelay(y)
	if err != nil {
		return err
	}
	kind := room.KindMessage
	var body []byte
	if m != nil {
		var admitted *room.Message
		if admitted, err = s.AdmitMessage(m, y.Origin); err == nil {
			body, err = admitted.Bytes()
		}
	} else {
		kind = room.KindHandshake
		body, err = room.HandshakeOf(up).Bytes()
	}
	if err != nil {
		return err
	}
	st, err := s.Check(s.NewEntry(kind, y.Txn(), body, now))
	if err == nil && up != nil {
		err = s.AdmitUpdate(up, st, y.Origin)
	}
	return err
}

// contest holds back a hub's refusal of what this provider would order: it has not heard
// yet what the hub goes by, or the hub does not do its work, and another one will.
func (r *Rooms) contest(ctx context.Context, id store.RoomID, what replica.Request, nonce room.TxnNonce, body []byte) error {
	h, err := r.lookup(room.ID(id))
	if err != nil {
		return asProblem(err)
	}
	if head := h.stand(); !head.Auto || len(head.Set) < 2 || head.Hub == r.cfg.Domain {
		return nil
	}
	var why error
	err = r.view(ctx, h, func(s *room.State) {
		why = admissible(s, &replica.Relay{Request: what, Origin: r.cfg.Domain, Nonce: nonce, Body: body}, r.cfg.Now())
	})
	if err == nil && why == nil {
		err = fmt.Errorf("%s refuses what the room allows: %w", h.stand().Hub, errMoving)
	}
	return asProblem(err)
}

// owedFor is what a request to a hub is as a debt; 0 if it is none.
func owedFor(ep wire.Endpoint) replica.Request {
	switch ep {
	case wire.EndpointSubmitMessage:
		return replica.SubmitMessage
	case wire.EndpointUpdate:
		return replica.Update
	}
	return 0
}

// relaySize is about how long it is on the wire.
func relaySize(y *replica.Relay) int {
	if y == nil {
		return 0
	}
	return len(y.Body)
}

func parseRelay(y *replica.Relay) (*wire.SubmitMessageRequest, *wire.HandshakeBundle, error) {
	if y.Request == replica.SubmitMessage {
		m, err := wire.ParseSubmitMessageRequest(y.Body, room.BodyLimits())
		return m, nil, err
	}
	u, err := wire.ParseUpdateRequest(y.Body, room.BodyLimits())
	if err != nil {
		return nil, nil, err
	}
	return nil, &u.Bundle, nil
}

// relay gives a submission to the other replicas, again while it is owed: one may have
// been busy.
func (l *live) relay(d *debt, now time.Time) {
	if !l.replaceable() || now.Sub(d.said) < l.r.cfg.Stall {
		return
	}
	y, err := replica.SignRelay(l.h.id, d.relay.Request, l.r.cfg.Domain, d.relay.Nonce, d.relay.Body, l.r.cfg.Key)
	if err != nil {
		l.r.log.Warn("asking other replicas to bring a submission to the hub", "room", l.h.id, "err", err)
		return
	}
	d.said = now
	for _, m := range l.members() {
		if m.Domain != l.r.cfg.Domain && m.Domain != d.hub {
			l.r.say(m.Domain, &replica.Message{Room: l.h.id, Kind: replica.Relayed, Relay: y})
		}
	}
}

// replaceable says whether others may give the room another hub by themselves.
func (l *live) replaceable() bool {
	now, next := l.state.Set()
	return l.rep != nil && (len(now) > 1 || len(next) > 1) && l.state.Hosting().Failover == room.FailoverAuto
}

// stalled says whether a hub has owed something here for too long.
func (l *live) stalled(hub string) bool {
	return l.state != nil && l.replaceable() && slices.ContainsFunc(l.debts, func(d *debt) bool { return d.due && d.hub == hub && d.term == l.state.At().Term })
}

// tellStalled tells the local users that their room's hub does not do its work, or does
// again.
func (l *live) tellStalled(d *debt, stalls bool) {
	if d.told == stalls || !d.mine {
		return
	}
	d.told = stalls
	ev := clientapi.HubState{Room: l.h.id.String(), Hub: d.hub, Stalls: stalls, Moves: l.replaceable()}
	if err := l.r.cfg.Feed.Tell(l.r.cfg.Feed.Hearing(l.h.id, l.r.localUsers(l.state.URI(), l.state.Participants())), clientapi.EventHub, ev); err != nil {
		l.r.log.Error("telling users of a room's hub", "room", l.h.id, "err", err)
	}
}

// orderRelayed orders what somebody brings for its origin, as if that had brought it. It
// does not wait: keys may have to be looked up.
func (r *Rooms) orderRelayed(h *handle, y *replica.Relay) error {
	if h.relayed.Add(1) > maxDebts {
		h.relayed.Add(-1)
		return ErrBusy
	}
	if !r.spawn(func(ctx context.Context) {
		defer h.relayed.Add(-1)
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		order := r.update
		if y.Request == replica.SubmitMessage {
			order = r.message
		}
		if _, err := order(ctx, h.id, y.Origin, y.Nonce, y.Body); err != nil {
			r.log.Debug("ordering what was relayed", "room", h.id, "origin", y.Origin, "err", err)
		}
	}) {
		h.relayed.Add(-1)
		return ErrStopped
	}
	r.counts.relayed.Add(1)
	return nil
}

// hearRelay takes a submission that its origin says the hub leaves lying. The hub orders
// it; another replica brings it to the hub, and looks what becomes of it.
func (l *live) hearRelay(y *replica.Relay, from string) error {
	hub := l.state.Hub().Domain
	if hub != l.r.cfg.Domain && y.Origin != from {
		return fmt.Errorf("%s relays what %s submits, to one who is not the hub", from, y.Origin)
	}
	if err := y.Verify(l.h.id, l.r.cfg.Rules.Anchors(y.Origin)); err != nil {
		return err
	}
	if hub == l.r.cfg.Domain {
		_, up, err := parseRelay(y)
		if err != nil {
			return err
		}
		if _, moves := moveOf(up, l.state.At().Term); moves {
			return errors.New("a move is no hub's business")
		}
		return l.r.orderRelayed(l.h, y)
	}
	if _, ok := l.state.Replica(l.r.cfg.Domain); !ok || !l.replaceable() {
		return errors.New("only who helps to decide about the room looks after its hub")
	}
	d := &debt{relay: y, txn: y.Txn()}
	if !l.lend(d) {
		return nil
	}
	if !l.owes(d) {
		l.debts = l.debts[:len(l.debts)-1]
		return nil
	}
	l.r.counts.relayed.Add(1)
	l.r.say(hub, &replica.Message{Room: l.h.id, Kind: replica.Relayed, Relay: y})
	return nil
}
