package rooms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file is about two certificates that contradict each other: whoever is in both of
// their majorities has signed two histories of the room, which may be its hub alone (package
// hub, "Two final histories"). Whoever knows of
// both takes nothing more, keeps the proof, shows both to all who take part, and tells
// operator and users. An administrator's move decides which history goes on, and it is
// the only thing that such a room still takes (move.go): from a provider that has it, on
// that history. Who has the other one reads the chosen history from whoever moves the room,
// judges the commit by it, and acknowledges it; its own history becomes a branch that is
// lost by a move (rejoin.go) once the room has moved.

// errConflict: two histories of the room are final.
var errConflict = fmt.Errorf("an administrator decides which one goes on: %w", ErrBroken)

// conflicted says whether the room stands still because two histories of it are final.
func (h *handle) conflicted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conflict != nil && (h.parting == nil || h.parting.Followed)
}

// stuck says whether the room stands still here because of what its hub, or most of its
// replicas, have signed: only a move by an administrator helps it on.
func (h *handle) stuck() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broken != "" && (h.parting == nil || h.parting.Followed)
}

// A history is a room's log as another provider shows it, checked: what comes after the last
// place that it has in common with what is final here.
type history struct {
	common  room.Head
	entries []*room.Entry
	head    room.SignedHead // of the last entry
	// certified is the newest certificate of an entry of it, nil if none is final.
	certified *room.Certified
	state     *room.State // at its end
}

// parts says whether the history contradicts what is final here.
func (x *history) parts(final room.Position) bool { return x.common.Seq+1 < final.Next }

// errOther: what a provider shows is no history of this room.
var errOther = errors.New("rooms: another provider shows what is no history of the room")

// compareWith reads another provider's log of the room, from the last place on that it has in
// common with the one here. nil: it has nothing more than that, and nothing else. It changes
// nothing. Only final entries here are compared.
func (l *live) compareWith(ctx context.Context, from string) (*history, error) {
	final := l.rep.final
	at := final.Next - 1
	var p *room.Piece
	for step := uint64(1); ; step *= 2 {
		var err error
		if p, err = l.r.fetchAt(ctx, from, l.h, room.Stand{Room: l.h.id, Next: at}); err != nil {
			return nil, err
		}
		if p != nil && len(p.Entries) > 0 && p.Entries[0].Seq == at {
			if h, ok := l.finalHash(at); ok && h == p.Entries[0].Hash() {
				break
			}
		}
		if at == 0 {
			return nil, fmt.Errorf("%s has another first entry: %w", from, errOther)
		}
		at -= min(at, step)
	}
	x := &history{}
	heads := map[uint64]*room.Piece{}
	for size := 0; p != nil && len(p.Entries) > 0; {
		for _, e := range p.Entries {
			if e.Seq != at {
				return nil, fmt.Errorf("entry %d where %d is expected: %w", e.Seq, at, errOther)
			}
			if h, ok := l.finalHash(at); ok && h == e.Hash() && len(x.entries) == 0 {
				x.common = room.HeadOf(e)
			} else {
				x.entries = append(x.entries, e)
			}
			if size += sizeOf(e); size > 2*maxTail {
				return nil, errLong
			}
			at++
		}
		heads[p.Head.Seq] = p
		var err error
		if p, err = l.r.fetchAt(ctx, from, l.h, room.Stand{Room: l.h.id, Next: at}); err != nil {
			return nil, err
		}
	}
	if len(x.entries) == 0 {
		return nil, nil
	}
	if err := l.checkHistory(x, heads); err != nil {
		return nil, fmt.Errorf("the log of %s: %w", from, err)
	}
	return x, nil
}

// finalHash is the hash of an entry that is final here.
func (l *live) finalHash(seq uint64) (room.Hash, bool) {
	switch final := l.rep.final; {
	case seq >= final.Next:
		return room.Hash{}, false
	case seq+1 == final.Next:
		return final.Last, true
	}
	var e *room.Entry
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		e, err = logstore.ReadEntry(tx, l.h.id, seq)
		return err
	})
	if err != nil {
		l.r.log.Error("reading a room's log", "room", l.h.id, "seq", seq, "err", err)
		return room.Hash{}, false
	}
	return e.Hash(), true
}

// checkHistory verifies entries, heads and certificates of another history, as if they came
// now.
func (l *live) checkHistory(x *history, heads map[uint64]*room.Piece) (err error) {
	first := x.entries[0].Seq
	err = l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		x.state, err = l.replay(tx, first, first, func(*room.State) {}, x.entries[0])
		return err
	})
	if err != nil {
		return err
	}
	holds := func(h room.Head) bool {
		if h.Seq < first {
			return l.holds(h)
		}
		return h.Seq-first < uint64(len(x.entries)) && x.entries[h.Seq-first].Hash() == h.Hash
	}
	headed := false
	for _, e := range x.entries {
		st, err := x.state.Check(e)
		if err == nil && slices.ContainsFunc(st.Cites(), func(h room.Head) bool { return !holds(h) }) {
			err = fmt.Errorf("entry %d cites what is not in it: %w", e.Seq, room.ErrBody)
		}
		if err == nil {
			err = x.state.Advance(st)
		}
		if err != nil {
			return err
		}
		p := heads[e.Seq]
		if headed = p != nil; !headed {
			continue
		}
		if p.Head.Head != room.HeadOf(e) {
			return room.ErrHead
		}
		if err := p.Head.Verify(x.state.HubKey()); err != nil {
			return err
		}
		x.head = p.Head
		c := p.Certified
		if c == nil || c.Certificate.Head.Seq < first || slices.ContainsFunc(c.Certificate.Cites(), func(h room.Head) bool { return !holds(h) }) {
			continue
		}
		lead := x.state.Lead()
		err = c.Certificate.Verify(l.h.id, func(domain string) (ed25519.PublicKey, bool) {
			r, ok := lead.Replica(domain)
			if !ok {
				return nil, false
			}
			return r.ProviderKey[:], true
		})
		if err == nil && lead.Quorum(c.Certificate.Domains()) {
			x.certified = c
		}
	}
	if !headed {
		return fmt.Errorf("no head ends it: %w", room.ErrHead)
	}
	return nil
}

// freeze stops the room: another history than ours is final, too.
func (l *live) freeze(ctx context.Context, head *room.SignedHead, low *room.SignedHead, entries []*room.Entry, cert *room.Certificate) {
	if l.h.conflicted() {
		return
	}
	mine, own := l.finalPiece()
	c := &clientapi.Conflict{From: entries[0].Seq}
	for _, d := range cert.Domains() {
		if own != nil && slices.Contains(own.Domains(), d) {
			c.Liars = append(c.Liars, d)
		}
	}
	why := l.conflictText(c, entries[0])
	l.r.log.Error("two histories of a room are final; it takes nothing until an administrator moves it", "room", l.h.id, "why", why)
	l.r.counts.broken.Add(1)
	l.putCondemned(ctx, &logstore.Condemned{Room: l.h.id, Why: why, Head: *head, Low: low, Cert: cert, Entries: entries})
	l.h.mu.Lock()
	l.h.broken, l.h.conflict = why, c
	l.h.mu.Unlock()
	l.contradict(cert)
	// Everybody who takes part is to know of both.
	theirs := &room.Piece{Head: *head, Entries: entries, Certified: &room.Certified{Head: *head, Certificate: *cert}}
	l.showAll(theirs, mine)
	l.tellStopped()
	if err := l.r.refreshTopic(l.h); err != nil {
		l.r.log.Error("leaving topic", "room", l.h.id, "err", err)
	}
}

// finalPiece is the end of what is final here, to be shown, and its certificate.
func (l *live) finalPiece() (p *room.Piece, c *room.Certificate) {
	if l.rep.cert == nil {
		return nil, nil
	}
	c = &l.rep.cert.Certificate
	err := l.r.cfg.Store.View(func(tx *store.Tx) error {
		b, err := logstore.LastBatchBefore(tx, l.h.id, l.rep.final.Next)
		if err != nil || b == nil {
			return err
		}
		first := uint64(0)
		if before, err := logstore.LastBatchBefore(tx, l.h.id, b.Head.Seq); err != nil {
			return err
		} else if before != nil {
			first = before.Head.Seq + 1
		}
		p = &room.Piece{Head: b.Head, Certified: l.rep.cert}
		for seq := first; seq <= b.Head.Seq; seq++ {
			e, err := logstore.ReadEntry(tx, l.h.id, seq)
			if err != nil {
				return err
			}
			p.Entries = append(p.Entries, e)
		}
		return nil
	})
	if err != nil {
		l.r.log.Error("reading the end of a room's log", "room", l.h.id, "err", err)
		return nil, c
	}
	return p, c
}

func (l *live) conflictText(c *clientapi.Conflict, other *room.Entry) string {
	here := "another one"
	if h, ok := l.finalHash(c.From); ok {
		here = h.String()[:16]
	}
	signers := "most of the replicas have certified each"
	if len(c.Liars) > 0 {
		signers = "certified both by " + strings.Join(c.Liars, ", ")
	}
	return fmt.Sprintf("two histories of the room are final: entry %d is %s here and %s elsewhere, %s. Nothing is taken until an administrator moves the room to a provider with the history that is to go on",
		c.From, here, other.Hash().String()[:16], signers)
}

// hearChoice judges a move that continues another history than the one here, and
// acknowledges it with the last place that both have. done is false if it is no other one.
func (l *live) hearChoice(ctx context.Context, m *replica.Message, from string, h *room.Handshake, to *room.Hosting) (done bool, err error) {
	x, err := l.compareWith(ctx, from)
	if err != nil || x == nil {
		return false, err
	}
	if x.parts(l.rep.final) && x.certified == nil {
		return true, fmt.Errorf("%s moves the room on a history that is not final: %w", from, room.ErrCertificate)
	}
	ch, err := x.state.CheckMove(h, to.Hub, to.Term, uint64(max(l.r.cfg.Now().UnixMilli(), 0)), true)
	if err != nil {
		return true, err
	}
	// Who holds no power, or has lost it in what is final here, chooses nothing.
	away, err := x.state.Absent(ch)
	if err != nil {
		return true, err
	}
	who, ok := x.state.Roster().User(ch.Sender.Leaf)
	if len(away) > 0 || !ok || !l.state.Roles().May(l.state.Role(who), policy.ChangeHosting) {
		return true, fmt.Errorf("%s may not move the room by what is final here: %w", who, room.ErrPolicy)
	}
	return true, l.giveAck(m, from, to, false, placeOf(x.common))
}

// chosen sees whether the room was moved, by another provider's log: if that continues the
// history here it is followed, and the conflict is over; if it continues the other one, this
// history is a branch that is lost.
func (l *live) chosen(ctx context.Context, from string) error {
	if !l.h.conflicted() && from == l.state.Hub().Domain {
		return l.h.stopped() // it is what the room is stuck with
	}
	if l.rep == nil {
		if err := l.replicate(ctx); err != nil {
			return err
		}
	}
	x, err := l.compareWith(ctx, from)
	if err != nil || x == nil || x.head.Term.Era <= l.rep.final.Term.Era {
		return err
	}
	if !x.parts(l.rep.final) {
		if err := l.adoptReplicated(ctx, &room.Piece{Head: x.head, Entries: x.entries, Certified: x.certified}, from); err != nil {
			return err
		}
		l.settleUp(ctx)
		return nil
	}
	return l.lose(ctx, x)
}

// follows catches up with a provider after a branch was given up. What is ordered before the
// move comes under heads that this provider is bound to take no more, so it is read to the end
// and taken at once, under the newest head.
func (l *live) follows(ctx context.Context, from string) error {
	if l.rep != nil && l.bound() {
		x, err := l.compareWith(ctx, from)
		if err != nil {
			return err
		}
		if x != nil && !x.parts(l.rep.final) {
			if err := l.adoptReplicated(ctx, &room.Piece{Head: x.head, Entries: x.entries, Certified: x.certified}, from); err != nil {
				return err
			}
			l.settleUp(ctx)
		}
	}
	return l.catchUp(ctx, from)
}

// otherHistory is about a piece whose first entry, at a place, continues another one than is
// here. If what is final here ends before it, the two histories part below: the log of whom it
// came from is compared. It is errGap if nothing is known of it, or nothing comes of it.
func (l *live) otherHistory(ctx context.Context, at uint64, from string) error {
	if from == "" || at != l.rep.final.Next {
		return errGap
	}
	x, err := l.compareWith(ctx, from)
	switch {
	case err != nil:
		return err
	case x == nil || !x.parts(l.rep.final):
		return errGap
	case x.head.Term.Era > l.rep.final.Term.Era:
		if err := l.lose(ctx, x); err != nil {
			return err
		}
		return l.h.stopped()
	case x.certified == nil || x.certified.Certificate.Head.Term.Era < l.state.At().Term.Era:
		return errGap
	}
	c := x.certified
	l.freeze(ctx, &c.Head, nil, x.entries[:c.Certificate.Head.Seq+1-x.entries[0].Seq], &c.Certificate)
	return l.h.stopped()
}

// lose notes that the room was moved on another history than the one here.
func (l *live) lose(ctx context.Context, x *history) error {
	final := l.rep.final
	i, c := movesOn(x.entries, final.Term)
	if c == nil {
		return nil
	}
	parting := &clientapi.Parting{From: x.common.Seq + 1, End: final.Next, Era: x.entries[i].Term.Era, Hub: l.state.Hub().Domain, To: c.Hub.Domain}
	why := fmt.Sprintf("the room was moved to %s, on another history than the one here: %d entries from %d on are not in its log", c.Hub.Domain,
		parting.End-parting.From, parting.From)
	proof := &logstore.Condemned{Room: l.h.id, Why: why, Head: x.head, Entries: x.entries[:i+1]}
	put := func(tx *store.Tx) error {
		return errors.Join(logstore.DeleteCondemned(tx, l.h.id), logstore.PutCondemned(tx, proof))
	}
	ctx = context.WithoutCancel(ctx)
	err := l.r.cfg.Store.Update(ctx, put)
	if errors.Is(err, store.ErrTooLarge) && i > 0 {
		proof.Entries = []*room.Entry{x.entries[0], x.entries[i]} // where it parts, and the move
		err = l.r.cfg.Store.Update(ctx, put)
	}
	if err != nil {
		return fmt.Errorf("keeping that the room was moved: %w", err)
	}
	l.r.log.Warn("a room that stood still was moved, on another history than the one here", "room", l.h.id, "to", c.Hub.Domain, "from", parting.From)
	l.h.mu.Lock()
	l.h.broken, l.h.parting = why, parting
	l.h.mu.Unlock()
	l.tellStopped()
	return nil
}

// movesOn finds the first move into a later era among entries; nil if there is none.
func movesOn(entries []*room.Entry, from room.Term) (int, *room.HubChange) {
	for i, e := range entries {
		if e.Kind != room.KindHubChange || e.Term.Era <= from.Era {
			continue
		}
		if c, err := room.ParseHubChange(e.Body); err == nil && c.Via == room.ByMove {
			return i, c
		}
	}
	return 0, nil
}

// thawed ends the standstill where the machine has: the log goes on in a later era.
func (l *live) thawed() {
	if l.rep == nil || l.rep.m.State().Fork != [2]hub.Head{} || !l.h.stuck() {
		return
	}
	log := l.rep.m.Log()
	l.h.mu.Lock()
	if l.h.conflict == nil && log.Last().Term.Era <= l.h.brokeIn {
		l.h.mu.Unlock()
		return
	}
	l.h.broken, l.h.conflict = "", nil
	l.h.moveLocked()
	l.h.mu.Unlock()
	l.r.log.Info("an administrator has moved a room that stood still: it goes on", "room", l.h.id)
	if err := l.r.refreshTopic(l.h); err != nil {
		l.r.log.Error("joining topic", "room", l.h.id, "err", err)
	}
}

// contradict tells the machine of a certificate of another history.
func (l *live) contradict(other *room.Certificate) {
	ev := hub.Event{Kind: hub.Contradict, Head: placeOf(other.Head)}
	if own := l.rep.cert; own != nil && own.Certificate.Head.Term == other.Head.Term {
		// Nobody honest signs two heads of one term of which neither continues the other.
		for _, d := range other.Domains() {
			if slices.Contains(own.Certificate.Domains(), d) {
				ev.Set = ev.Set.With(l.rep.names.Number(d))
			}
		}
	}
	l.step(ev)
}

// refreeze has the machine of a room that was just loaded know of the conflict, should it
// have been written and no more before a crash; and of who has signed both, if it comes from
// a backup and asks the others.
func (l *live) refreeze() {
	log := l.rep.m.Log()
	st := l.rep.m.State()
	if !l.h.conflicted() || st.Fork != [2]hub.Head{} && !st.Restored && !st.Unsure || log.Last().Term.Era > l.rep.final.Term.Era {
		return
	}
	var c *logstore.Condemned
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		c, err = logstore.ReadCondemned(tx, l.h.id)
		return err
	})
	if err == nil && c.Cert != nil {
		l.contradict(c.Cert)
	}
}

// readConflict reads, when the service starts, that two histories of a room are final.
func (h *handle) readConflict(tx *store.Tx, c *logstore.Condemned) error {
	full, err := logstore.ReadCondemned(tx, h.id)
	if err != nil {
		return err
	}
	x := &clientapi.Conflict{From: c.Cert.Head.Seq}
	if len(full.Entries) > 0 {
		x.From = full.Entries[0].Seq
	}
	for b, err := range logstore.LastBatches(tx, h.id) {
		if err != nil {
			return err
		}
		if b.Cert != nil {
			for _, d := range b.Cert.Domains() {
				if slices.Contains(c.Cert.Domains(), d) {
					x.Liars = append(x.Liars, d)
				}
			}
		}
		break
	}
	h.broken, h.conflict = c.Why, x
	return nil
}
