package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// This file moves a room here by an administrator's commit, whose hub is gone for good
// or hostile: the commit goes to all participating providers, and takes effect when the
// majority of those that are left has acknowledged it.

// moving is a move that this provider, named as the new hub, has begun.
type moving struct {
	txn     room.TxnID
	hub     room.Replica
	term    room.Term
	commit  []byte // a Handshake
	hash    room.Hash
	begun   time.Time // when those who wait were told last whom it waits for
	absence bool      // its committer holds no power: all who do have to be silent
	acks    map[hub.Provider]room.SignedAck
	lies    []room.Lie    // whose word it does not need
	waiting []*submission // the same one, as often as its client has repeated it
}

// errLater: a submission is answered when more is known.
var errLater = errors.New("rooms: answered later")

// maxRepeats bounds how many requests wait for one move.
const maxRepeats = 16

// moveOf reads the hosting of a commit that moves a room, from a term to a new era.
func moveOf(b *wire.HandshakeBundle, from room.Term) (*room.Hosting, bool) {
	if b == nil || b.GroupInfo == nil || b.GroupInfo.Full == nil {
		return nil, false
	}
	h, err := room.HostingOf(&b.GroupInfo.Full.Context)
	if err != nil || h.Term.Era <= from.Era {
		return nil, false
	}
	return h, true
}

// beginMove begins a move whose commit an administrator submits here.
func (l *live) beginMove(s *submission, to *room.Hosting) (result, error) {
	h := room.HandshakeOf(s.update)
	body, err := h.Bytes()
	if err != nil {
		return result{}, err
	}
	if rep := l.rep; rep != nil && rep.moving != nil && rep.moving.txn == s.txn {
		if mv := rep.moving; len(mv.waiting) < maxRepeats {
			mv.waiting = append(mv.waiting, s)
			return result{}, errLater
		}
		return result{}, errMoving
	}
	switch {
	case to.Hub.Domain != l.r.cfg.Domain || string(to.Hub.ProviderKey[:]) != string(l.r.publicKey()):
		return result{}, fmt.Errorf("a move to %s, or to a key that is not its present one: %w", to.Hub.Domain, room.ErrHosting)
	case len(body) > replica.MaxBytes-4<<10:
		return result{}, fmt.Errorf("a move by a commit of %d bytes: %w", len(body), errLarge)
	}
	lies := l.liars(to.Hub.Domain, len(body))
	if l.state.Hub().Domain == l.r.cfg.Domain && (len(lies) == 0 || !l.h.conflicted()) {
		// An election was faster than the wish, whoever of the set is gone since: its client looks again.
		return result{}, fmt.Errorf("the room is here: %w", mls.ErrWrongEpoch)
	}
	alive := l.mayMove()
	if _, ok := l.state.Replica(l.r.cfg.Domain); alive != nil && !ok {
		return result{}, alive
	}
	ch, err := l.state.CheckMove(h, to.Hub, to.Term, uint64(max(l.r.cfg.Now().UnixMilli(), 0)), len(lies) > 0)
	if err == nil {
		err = l.state.AdmitUpdate(s.update, &room.Step{Changes: []*mls.Change{ch}}, s.from)
	}
	if err != nil {
		return result{}, err
	}
	away, err := l.state.Absent(ch)
	if err != nil {
		return result{}, err
	}
	if len(away) > 0 {
		lies = nil // they are left out by their silence
	}
	if alive != nil && len(away) > 0 {
		return result{}, alive // they decide without the wish of somebody who holds no power
	}
	if alive != nil {
		return result{}, l.request(body)
	}
	if err := l.silent(l.r.background(), away); err != nil {
		return result{}, err
	}
	if l.rep == nil {
		if err := l.replicate(l.r.background()); err != nil {
			return result{}, err
		}
	}
	rep := l.rep
	if seen := rep.m.State().Seen; to.Term.Era <= seen.Era {
		return result{}, fmt.Errorf("a move to era %d, and %d was begun before: make it anew in a later one: %w", to.Term.Era, seen.Era, room.ErrSubmission)
	}
	l.failMove(errMoving)
	rep.moving = &moving{begun: time.Now(), txn: s.txn, hub: to.Hub, term: to.Term, commit: body, hash: room.CommitHash(body), absence: len(away) > 0, lies: lies,
		acks: map[hub.Provider]room.SignedAck{}, waiting: []*submission{s}}
	rep.voted = logstore.VotedSet{Term: to.Term, Set: rep.moving.hash}
	l.moved(l.step(hub.Event{Kind: hub.MoveHere, Set: rep.names.set(domainsOf(to.Replicas)), Term: to.Term, Liars: numbers(rep.names, lies)}))
	return result{}, errLater
}

// request stands for hub because an administrator wants it: her commit, which says so and
// is not ordered, is what the other replicas go by in place of suspecting the hub. Whoever
// submitted it is told that the room is moving, and asks again until it has.
func (l *live) request(commit []byte) error {
	rep := l.rep
	if rep == nil {
		return errMoving
	}
	switch rep.m.Role() {
	case hub.Follower, hub.Canvasser:
		rep.request = commit
		l.step(hub.Event{Kind: hub.Request})
		l.ownOrFail()
	case hub.Candidate, hub.Waiting:
		rep.request = commit // it may be of a later epoch than the one before
	}
	return errMoving
}

// requested says whether a commit is an administrator's, on the room as it stands, that
// wants a provider as the hub.
func (l *live) requested(commit []byte, by string) bool {
	h, err := room.ParseHandshake(commit)
	if err != nil || h.Info() == nil || len(h.Messages()) != 1 {
		return false
	}
	to, err := room.HostingOf(&h.Info().Context)
	if err != nil || to.Hub.Domain != by {
		return false
	}
	ch, err := l.state.CheckMove(h, to.Hub, to.Term, uint64(max(l.r.cfg.Now().UnixMilli(), 0)), false)
	if err != nil {
		return false
	}
	away, err := l.state.Absent(ch)
	return err == nil && len(away) == 0
}

// lookTimeout is how long a provider has that is asked whether it is still there.
const lookTimeout = 2 * time.Second

// silent says whether these providers have given no sign of life here for as long as the
// room's administrators have set, nor do when they are asked now. None has to: nil.
func (l *live) silent(ctx context.Context, away []string) error {
	if len(away) == 0 {
		return nil
	}
	patience, err := l.state.Patience()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, d := range away {
		if l.r.silence(d) >= patience {
			// An answer, a refusal too, is a sign of life, and noted as such.
			all.Go(func() {
				l.r.cfg.Peers.Call(ctx, Call{Target: d, Endpoint: EndpointReplica, Subject: d, Body: replica.Append(nil, nil)})
			})
		}
	}
	all.Wait()
	for _, d := range away {
		if s := l.r.silence(d); patience == 0 || s < patience {
			return fmt.Errorf("%s, where administrators of the room or its hub are, was heard %s ago, and others may act for them after %s: %w",
				d, s.Round(time.Second), patience, room.ErrSubmission)
		}
	}
	return nil
}

// mayMove: while a majority of several replicas answers, they decide who orders the room.
func (l *live) mayMove() error {
	now, _ := l.state.Set()
	if len(now) < 3 || l.h.conflicted() { // or they have decided twice
		return nil
	}
	var alive []string
	for _, x := range now {
		if !l.r.dead(x.Domain) && x.Domain != l.state.Hub().Domain {
			alive = append(alive, x.Domain)
		}
	}
	if 2*len(alive) > len(now) {
		return fmt.Errorf("%s answer, which are most of the room's replicas: they decide who orders it: %w", strings.Join(alive, ", "), room.ErrSubmission)
	}
	return nil
}

// moved draws the consequences of a step for the move that is under way.
func (l *live) moved(effects []hub.Effect) {
	rep := l.rep
	l.ownOrFail()
	if l.rep != rep || rep.moving == nil {
		return
	}
	for _, e := range effects {
		if e.Kind == hub.Rejected && errors.Is(e.Why, hub.ErrMove) {
			l.failMove(fmt.Errorf("others came first: %w", mls.ErrWrongEpoch))
			return
		}
	}
	if rep.m.Role() != hub.Hub {
		return
	}
	mv := rep.moving
	rep.moving = nil
	res, ok := rep.ordered(mv.txn)
	for _, s := range mv.waiting {
		if !ok {
			s.fail(errMoving)
			continue
		}
		res.epoch = l.state.Epoch()
		rep.orders = append(rep.orders, order{s, res})
	}
}

// moveWait is how long a move is waited for before it is said what it waits for, and between
// that and the next time. It goes on.
const moveWait = 5 * time.Second

// moveOverdue tells those who wait for a move which providers have not acknowledged it: a
// move that can never come about looks like one that takes long, and only people know
// which of those providers are gone for good.
func (l *live) moveOverdue() {
	mv := l.rep.moving
	if mv == nil || len(mv.waiting) == 0 || time.Since(mv.begun) < moveWait {
		return
	}
	mv.begun = time.Now()
	err := l.lacking(mv)
	for _, s := range mv.waiting {
		s.result <- result{epoch: l.state.Epoch(), err: err}
	}
	mv.waiting = nil
}

// lacking says whom a move waits for, and what people can do.
func (l *live) lacking(mv *moving) error {
	hub, own := l.state.Hub().Domain, l.r.cfg.Domain
	others := without(l.state.Participating(), []string{hub})
	if n := len(without(others, providersOf(mv.lies))); len(mv.lies) > 0 && (hub == own || 2*n <= len(others)) {
		return l.lackingOf(mv) // most of the others cannot be had
	}
	need, have := len(others)/2+1, 0
	var silent []string
	for _, d := range others {
		if _, ok := mv.acks[l.rep.names.Number(d)]; ok || d == own {
			have++
		} else {
			silent = append(silent, d)
		}
	}
	text := fmt.Sprintf("moving the room here needs the word of %d of the %d providers that take part beside its hub %s, and has that of %d; no word of %s. If the room was moved to one of these before, unheard here, it orders the room", need, len(others), hub, have, strings.Join(silent, ", "))
	return fmt.Errorf("%s. Bring those up that can be; nothing is lost meanwhile, and the move goes on when they answer. If so many of them are gone for good, nobody can move this room: what is in it can be read, and who is left makes a new one: %w", text, errMoving)
}

// lackingOf is lacking where liars are left out: then the word of all others is enough, and
// that of most, the hub not counted, as ever.
func (l *live) lackingOf(mv *moving) error {
	liars := providersOf(mv.lies)
	var silent []string
	hub := l.state.Hub().Domain // which may be a recruit
	for _, d := range append(without(l.state.Participating(), append(liars, hub)), without([]string{hub}, liars)...) {
		if _, ok := mv.acks[l.rep.names.Number(d)]; !ok && d != l.r.cfg.Domain {
			silent = append(silent, d)
		}
	}
	return fmt.Errorf("moving the room here needs the word of all who take part but %s, which provably lied, and lacks that of %s. Bring those up that can be; nothing is lost meanwhile, and the move goes on when they answer: %w",
		strings.Join(liars, ", "), strings.Join(silent, ", "), errMoving)
}

// failMove answers those who wait for a move that comes to nothing.
func (l *live) failMove(err error) {
	if rep := l.rep; rep != nil && rep.moving != nil {
		for _, s := range rep.moving.waiting {
			res := result{err: err}
			if l.state != nil {
				res.epoch = l.state.Epoch()
			}
			s.result <- res
		}
		rep.moving = nil
	}
}

// moveBody is the proof of a move: the commit, and who has acknowledged it.
func (l *live) moveBody(e *hub.Entry) []byte {
	rep, mv := l.rep, l.rep.moving
	c := &room.HubChange{Via: room.ByMove, Hub: mv.hub, Commit: mv.commit}
	if len(e.Liars) > 0 {
		c.Lies = mv.lies
	}
	for _, p := range e.Voters {
		if p == rep.cfg.Self {
			if a, err := l.acknowledge(mv.term, mv.hub.Domain, mv.hash, mv.absence, hub.Head{Term: l.state.At().Term, Seq: e.Seq - 1, Hash: e.Prev}); err == nil {
				c.Acks = append(c.Acks, *a)
			}
		} else if a, ok := mv.acks[p]; ok && (a.Provider != l.state.Hub().Domain || len(c.Lies) > 0) {
			c.Acks = append(c.Acks, a)
		}
	}
	slices.SortFunc(c.Acks, func(a, b room.SignedAck) int { return strings.Compare(a.Provider, b.Provider) })
	return c.Bytes()
}

func (l *live) acknowledge(t room.Term, to string, commit room.Hash, absence bool, head hub.Head) (*room.SignedAck, error) {
	key, err := l.key()
	if err != nil { // no replica
		if key, err = l.r.signer(l.r.publicKey()); err != nil {
			return nil, err
		}
	}
	a := room.SignAck(room.Ack{Room: l.h.id, Term: t, Hub: to, Commit: commit, Head: l.placed(head)}, absence, l.r.cfg.Domain, key)
	return &a, nil
}

// hearMove judges a move by another provider, and acknowledges it.
func (l *live) hearMove(ctx context.Context, m *replica.Message, from string) error {
	h, err := room.ParseHandshake(m.Commit)
	if err != nil {
		return err
	}
	if h.Info() == nil || len(h.Messages()) != 1 {
		return fmt.Errorf("a move without a commit: %w", room.ErrBody)
	}
	to, err := room.HostingOf(&h.Info().Context)
	switch {
	case err != nil:
		return err
	case to.Hub.Domain != from || to.Term != m.Term:
		return fmt.Errorf("a move to %s in term %s, said by %s in %s: %w", to.Hub.Domain, to.Term, from, m.Term, room.ErrVote)
	case m.Term.Compare(l.state.At().Term) <= 0:
		return nil // done long ago
	}
	if l.rep != nil && l.h.conflicted() && !l.holds(l.placed(m.Final)) {
		if done, err := l.hearChoice(ctx, m, from, h, to); done || err != nil {
			return err
		}
	}
	epoch := h.Messages()[0].Epoch()
	if epoch > l.state.Epoch() {
		if err := l.catchUp(ctx, from); err != nil {
			return err
		}
		if l.state == nil {
			return errGap
		}
	}
	if at := l.state.At(); epoch < l.state.Epoch() {
		// What we know of the room this commit does not: no part of it could be judged.
		l.r.say(from, &replica.Message{Room: l.h.id, Kind: replica.Ack, Term: m.Term, Seen: at.Term,
			Head: hub.Head{Term: at.Term, Seq: at.Next - 1, Hash: at.Last}})
		return nil
	}
	var ch *mls.Change
	check := func() (err error) {
		ch, err = l.state.CheckMove(h, to.Hub, to.Term, uint64(max(l.r.cfg.Now().UnixMilli(), 0)), l.h.conflicted())
		return err
	}
	if err := check(); err != nil {
		if !keyless(err) {
			return err
		}
		if lerr := l.r.learnParticipants(ctx, &h.Info().Context, maxLookups, true, l.toldOf); lerr != nil {
			return fmt.Errorf("%w (%w)", err, lerr)
		}
		if err := check(); err != nil {
			return err
		}
	}
	if l.rep == nil {
		if err := l.replicate(ctx); err != nil {
			return err
		}
	}
	away, err := l.state.Absent(ch)
	if err == nil {
		err = l.silent(ctx, away)
	}
	if err != nil {
		return err
	}
	return l.giveAck(m, from, to, len(away) > 0, hub.Head{})
}

// giveAck acknowledges a move that was judged, unless another one has this provider's word.
// common is the last place that the log here has in common with the one that the move
// continues, if that is another one.
func (l *live) giveAck(m *replica.Message, from string, to *room.Hosting, absence bool, common hub.Head) error {
	rep := l.rep
	hash := room.CommitHash(m.Commit)
	if v := rep.voted; v.Term == m.Term && v.Set != hash {
		return fmt.Errorf("%s moves the room by another commit in the same era: %w", from, room.ErrVote)
	}
	before := rep.m
	m2, effects := rep.m.Step(hub.Event{Kind: hub.Deliver, Message: &hub.Message{Kind: hub.Move, From: rep.names.Number(from), To: rep.cfg.Self,
		Term: m.Term, Head: m.Head, Set: rep.names.set(domainsOf(to.Replicas)), Final: hub.Certificate{Head: m.Final}, Common: common}})
	grants := slices.ContainsFunc(effects, func(e hub.Effect) bool {
		return e.Kind == hub.Send && e.Message.Kind == hub.Ack && e.Message.Grant
	})
	if before.State().Seen.Compare(m.Term) < 0 || grants {
		rep.voted = logstore.VotedSet{Term: m.Term, Set: hash}
	}
	rep.absence = absence
	l.adoptStep(m2, effects)
	return nil
}

// hearAck counts an acknowledgement, or takes what speaks against the move.
func (l *live) hearAck(ctx context.Context, m *replica.Message, from string) error {
	rep := l.rep
	if rep == nil || rep.moving == nil || m.Term != rep.moving.term {
		return nil // late
	}
	mv, p := rep.moving, rep.names.Number(from)
	if a := m.Ack; a != nil {
		if a.Provider != from || a.Hub != l.r.cfg.Domain || a.Commit != mv.hash {
			return fmt.Errorf("acknowledgement of %s for something else: %w", from, room.ErrVote)
		}
		// As those who follow the move will check it.
		lead := l.state.Lead()
		if err := lead.CheckAck(a, mv.absence, l.r.cfg.Rules.Anchors); err != nil {
			return err
		}
		mv.acks[p] = *a
	}
	in := &hub.Message{Kind: hub.Ack, From: p, To: rep.cfg.Self, Term: m.Term, Seen: m.Seen, Head: m.Head, Grant: m.Ack != nil}
	log := rep.m.Log()
	if log.Last().Behind(m.Head) {
		var err error
		if in.Entries, in.Final, err = l.gather(ctx, from, m.Head); err != nil {
			l.drop() // the state is ahead of the store; the client repeats its wish
			return err
		}
	}
	effects := l.step(hub.Event{Kind: hub.Deliver, Message: in})
	log = rep.m.Log()
	if at := l.state.At(); rep.m.Role() == hub.Mover && log.Last().Hash != at.Last {
		l.drop() // the machine did not take what was gathered
		return errGap
	}
	l.moved(effects)
	return nil
}

// gather lays over the state what another provider holds beyond this log, up to a head:
// of a lower term than this provider has bound itself to, so it comes by no other way.
// The machine stores it without co-signing it. final is what the other shows to be so.
func (l *live) gather(ctx context.Context, from string, to hub.Head) (out []*hub.Entry, final hub.Certificate, err error) {
	rep := l.rep
	next := rep.final.Next
	for next <= to.Seq {
		if rep.size > 2*maxTail {
			return nil, final, errLong
		}
		p, err := l.r.fetch(ctx, from, l.h, next)
		if err != nil {
			return nil, final, err
		}
		if p == nil || p.Head.Seq < next {
			return nil, final, errGap
		}
		next = p.Head.Seq + 1
		entries := l.unknown(p.Entries)
		if len(entries) == 0 {
			continue
		}
		if at := entries[0].Seq; at > rep.end() || entries[0].Prev != rep.position(at).Last {
			return nil, final, errGap
		} else if at < rep.end() {
			if err := l.rewind(at); err != nil {
				return nil, final, err
			}
			out = slices.DeleteFunc(out, func(e *hub.Entry) bool { return e.Seq >= at })
		}
		rep.fresh = min(rep.fresh, entries[0].Seq)
		list, err := l.lay(ctx, p, entries)
		if err != nil {
			return nil, final, err
		}
		out = append(out, list...)
		rep.heads[p.Head.Seq] = p.Head
		if c := l.finality(p); c.Head.Seq > final.Head.Seq {
			final = c
		}
	}
	if at := l.state.At(); at.Last != to.Hash {
		return nil, final, fmt.Errorf("%s shows another log than it has acknowledged: %w", from, errGap)
	}
	return out, final, nil
}

// parting is from where on to show the log to another provider: from where it stands,
// or from the first entry of a higher term than its last one has, if that is earlier.
func parting(tx *store.Tx, id room.ID, s room.Stand) (uint64, error) {
	if s.Term == (room.Term{}) || s.Next == 0 {
		return s.Next, nil
	}
	head, err := logstore.ReadHead(tx, id)
	if err != nil || head.At.Term.Compare(s.Term) <= 0 {
		return s.Next, err
	}
	// Terms rise along the log.
	low, high := uint64(0), min(s.Next, head.At.Next)
	for low < high {
		mid := low + (high-low)/2
		e, err := logstore.ReadEntry(tx, id, mid)
		if err != nil {
			return 0, err
		}
		if e.Term.Compare(s.Term) > 0 {
			high = mid
		} else {
			low = mid + 1
		}
	}
	if low < min(s.Next, head.At.Next) {
		return low, nil
	}
	return s.Next, nil
}

// parted says whether a piece shows that the room was moved away from before the end of
// what is final here: those who moved it did not know of that. Nobody rolls back what it
// has told people is final, so the room stands still here, its operator and its users are
// told why, and they decide (rejoin.go).
func (l *live) parted(ctx context.Context, p *room.Piece) bool {
	e := p.Entries[0]
	if l.state == nil || e.Kind != room.KindHubChange {
		return false
	}
	at := l.state.At()
	if l.rep != nil {
		at = l.rep.final // what is beyond nobody was told is final
	}
	if e.Seq >= at.Next || e.Term.Era <= at.Term.Era {
		return false
	}
	c, err := room.ParseHubChange(e.Body)
	if err != nil || c.Via != room.ByMove {
		return false
	}
	lead := l.state.Lead()
	n := at.Next - e.Seq
	parting := &clientapi.Parting{From: e.Seq, End: at.Next, Era: e.Term.Era, Hub: lead.Hub.Domain, To: c.Hub.Domain}
	at.Next = e.Seq
	// Whether its committer held power is not known here, where the state has gone on.
	err = lead.Acknowledged(e, at, c, l.state.Participating(), nil, l.r.cfg.Rules.Anchors)
	if err != nil {
		err = lead.Acknowledged(e, at, c, l.state.Participating(), []string{lead.Hub.Domain}, l.r.cfg.Rules.Anchors)
	}
	if err != nil {
		l.r.log.Debug("a move without its acknowledgements", "room", l.h.id, "err", err)
		return false
	}
	err = fmt.Errorf("the room was moved to %s from entry %d on, and %d entries here are not in its log: %w", c.Hub.Domain, e.Seq, n, room.ErrChain)
	l.h.mu.Lock()
	l.h.parting = parting
	l.h.mu.Unlock()
	l.condemn(ctx, err, e, p.Entries, &p.Head)
	return true
}
