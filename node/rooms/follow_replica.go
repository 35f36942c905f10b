package rooms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file takes pieces of a replicated room's log. A piece may contradict the tail,
// never what is final: then the tail's end is replaced, if the machine says so.

// errOld: a head of a term that a newer one has ended. Its hub has been told.
var errOld = errors.New("rooms: head of an ended term")

// adoptReplicated verifies a piece, and lets the machine decide about it.
func (l *live) adoptReplicated(ctx context.Context, p *room.Piece, from string) error {
	err := l.adoptPiece(ctx, p, from)
	if errors.Is(err, errGap) && l.rep != nil && p.Head.Term.Compare(l.state.At().Term) > 0 {
		// Whoever has signed this has what is missing; the hub that we know has not.
		for _, m := range l.members() {
			if m.Domain != l.r.cfg.Domain && p.Head.Verify(m.ProviderKey[:]) == nil {
				l.newer = m.Domain
			}
		}
		if l.newer == "" && p.Head.Term.Era > l.state.At().Term.Era {
			l.newer = l.mover(&p.Head) // moved to somebody who was no replica
		}
	}
	return err
}

// mover is who of those that take part has signed a head; "" if nobody has.
func (l *live) mover(head *room.SignedHead) string {
	for _, d := range without(l.state.Providers(), []string{l.r.cfg.Domain}) {
		for _, k := range l.r.cfg.Rules.Anchors(d) {
			if pub, ok := k.(ed25519.PublicKey); ok && head.Verify(pub) == nil {
				return d
			}
		}
	}
	return ""
}

func (l *live) adoptPiece(ctx context.Context, p *room.Piece, from string) error {
	rep := l.rep
	if p.Head.Room != l.h.id {
		return room.ErrWrongRoom
	}
	entries := p.Entries
	n := 0
	for n < len(entries) && entries[n].Seq < rep.final.Next {
		n++
	}
	if i := l.differs(entries[:n]); i < n {
		entries = entries[i:]
		if err := l.contradicted(ctx, p, entries); l.h.stopped() != nil || p.Head.Term.Compare(rep.m.State().Seen) >= 0 {
			return err
		}
		// What a former hub ordered at last, and nobody has made final.
	} else {
		entries = entries[n:]
	}
	if p.Head.Term.Compare(rep.m.State().Seen) < 0 && !l.lacks(p, entries) {
		return l.fence(p)
	}
	if len(entries) == 0 && p.Head.Seq+1 < rep.final.Next {
		return nil // known
	}
	entries = l.unknown(entries)
	if len(entries) > 0 && entries[0].Seq > rep.end() {
		return errGap
	}
	if n := len(entries); n > 0 && entries[n-1].AcceptedAt > uint64(l.r.cfg.Now().Add(maxSkew).UnixMilli()) {
		return fmt.Errorf("hub dates entry %d more than %s into the future", entries[n-1].Seq, maxSkew)
	}
	if len(entries) == 0 {
		return l.known(p)
	}
	if rep.size > 2*maxTail {
		return fmt.Errorf("%d bytes are not final here: %w", rep.size, errLong)
	}
	if at := entries[0].Seq; at < rep.end() {
		if eq, key := l.twoHistories(p, entries); eq != nil {
			l.convict(ctx, eq, key, p)
			return errLied
		}
		if entries[0].Prev != rep.position(at).Last {
			return l.otherHistory(ctx, at, from)
		}
		if err := l.rewind(at); err != nil {
			return err
		}
	}
	if entries[0].Prev != l.state.At().Last {
		return l.otherHistory(ctx, entries[0].Seq, from)
	}
	if err := l.extend(ctx, p, entries, from); err != nil {
		l.drop() // the state is ahead of the store
		if l.accusedHub() != "" {
			l.alarm(shortWait)
		}
		return err
	}
	return nil
}

// differs finds the first of entries, all at places that are final here, that is another one
// than the log's. Entries name the ones before them, so mostly only the last is looked at.
func (l *live) differs(entries []*room.Entry) int {
	other := func(e *room.Entry) bool {
		h, ok := l.finalHash(e.Seq)
		return ok && h != e.Hash()
	}
	n := len(entries)
	if n == 0 || !other(entries[n-1]) {
		return n
	}
	return slices.IndexFunc(entries, other)
}

// lacks says whether entries of an ended term continue this log. They are stored, not
// co-signed: who has voted in a newer term, and lacks what was final before, could not
// get it otherwise.
func (l *live) lacks(p *room.Piece, entries []*room.Entry) bool {
	rep := l.rep
	rest := l.unknown(entries)
	role := rep.m.Role()
	era := p.Head.Term.Era
	return (role == hub.Follower || role == hub.Canvasser) && (era == rep.m.State().Seen.Era || era > l.state.At().Term.Era) &&
		len(rest) > 0 && rest[0].Seq == rep.end() && rest[0].Prev == l.state.At().Last
}

// unknown leaves out what is here already, in the log or the tail.
func (l *live) unknown(entries []*room.Entry) []*room.Entry {
	rep := l.rep
	for len(entries) > 0 && (entries[0].Seq < rep.final.Next || entries[0].Seq < rep.end() && entries[0].Hash() == rep.tail[entries[0].Seq-rep.final.Next].Hash()) {
		entries = entries[1:]
	}
	return entries
}

// accusedHub is the hub that this provider does not believe any more, if it still
// orders the room.
func (l *live) accusedHub() string {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.h.head == nil || l.h.head.Hub != l.h.accused {
		return ""
	}
	return l.h.accused
}

// lost says whether the hub is dead, or has lied.
func (l *live) lost(hub string) bool {
	return l.r.dead(hub) || l.accusedHub() == hub || l.failed(hub) || l.stalled(hub)
}

// fence tells a hub whose term has ended so.
func (l *live) fence(p *room.Piece) error {
	for _, m := range l.members() {
		if p.Head.Verify(m.ProviderKey[:]) == nil {
			l.step(hub.Event{Kind: hub.Deliver, Message: &hub.Message{Kind: hub.Append, From: l.rep.names.Number(m.Domain), To: l.rep.cfg.Self,
				Term: p.Head.Term, Head: placeOf(p.Head.Head)}})
			return errOld
		}
	}
	return fmt.Errorf("head of term %s: %w", p.Head.Term, room.ErrSignature)
}

func (l *live) members() []room.Replica {
	now, next := l.state.Set()
	return slices.Concat(now, next)
}

// known takes a head, and perhaps a certificate, of entries that are here.
func (l *live) known(p *room.Piece) error {
	rep := l.rep
	head := placeOf(p.Head.Head)
	if p.Head.Seq >= rep.end() {
		return errGap
	}
	if !l.holds(p.Head.Head) {
		return errGap // another log: it is asked for from our final entry on
	}
	if key := rep.keys[p.Head.Term]; key == nil || l.r.verify(l.h, &p.Head, key) != nil {
		return fmt.Errorf("head %d of term %s: %w", p.Head.Seq, p.Head.Term, room.ErrSignature)
	}
	if p.Head.Seq >= rep.final.Next {
		if _, ok := rep.heads[p.Head.Seq]; !ok {
			rep.heads[p.Head.Seq] = p.Head
		}
	}
	final := l.finality(p)
	m := &hub.Message{Kind: hub.Append, From: rep.names.Number(l.state.Hub().Domain), To: rep.cfg.Self, Term: p.Head.Term, Head: head, Final: final}
	l.step(hub.Event{Kind: hub.Deliver, Message: m})
	return nil
}

// lay checks entries that a hub has signed, and lays them over the state.
func (l *live) lay(ctx context.Context, p *room.Piece, entries []*room.Entry) ([]*hub.Entry, error) {
	var list []*hub.Entry
	for _, e := range entries {
		st, err := l.check(ctx, e)
		if err == nil {
			err = l.cited(st)
		}
		if err != nil {
			// Signed by its hub, or by nobody?
			if p.Head.Verify(l.state.HubKey()) == nil {
				l.accuse(ctx, err, e, entries, &p.Head)
			}
			return nil, err
		}
		h, err := l.advanceTail(st, nil)
		if err != nil {
			return nil, err
		}
		list = append(list, h)
	}
	at := l.state.At()
	if want := (room.Head{Room: l.h.id, Term: at.Term, Seq: at.Next - 1, Hash: at.Last}); p.Head.Head != want {
		return nil, fmt.Errorf("head %d of term %s over entries up to %d: %w", p.Head.Seq, p.Head.Term, want.Seq, room.ErrHead)
	}
	if err := l.r.verify(l.h, &p.Head, l.state.HubKey()); err != nil {
		return nil, err
	}
	return list, nil
}

// extend lays entries over the state and gives them to the machine.
func (l *live) extend(ctx context.Context, p *room.Piece, entries []*room.Entry, from string) error {
	rep := l.rep
	first := entries[0].Seq
	list, err := l.lay(ctx, p, entries)
	if err != nil {
		return err
	}
	final := l.finality(p)
	head := placeOf(p.Head.Head)
	m := &hub.Message{Kind: hub.Append, From: rep.names.Number(l.state.Hub().Domain), To: rep.cfg.Self, Term: p.Head.Term, Head: head,
		Entries: list, Final: final}
	if m.From == rep.cfg.Self {
		// What this provider ordered and has forgotten, since it comes from a backup.
		if from == "" || !rep.m.State().Restored {
			return fmt.Errorf("head %d is of this provider, and it is not known here", p.Head.Seq)
		}
		m.Kind, m.From, m.Term = hub.Answer, rep.names.Number(from), room.Term{}
	}
	next, effects := rep.m.Step(hub.Event{Kind: hub.Deliver, Message: m})
	log := next.Log()
	l.adoptStep(next, effects)
	if log.Last() != head {
		// Refused. What the machine wants to say about it is as lost.
		return errOld
	}
	rep.heads[p.Head.Seq] = p.Head
	rep.fresh = min(rep.fresh, first)
	l.r.counts.followed.Add(uint64(len(entries)))
	return nil
}

// cited says whether the log holds what an entry's proof speaks of.
func (l *live) cited(st *room.Step) error {
	for _, h := range st.Cites() {
		if !l.holds(h) {
			return fmt.Errorf("entry %d cites head %d of term %s, which is not in the log: %w", st.Entry.Seq, h.Seq, h.Term, room.ErrBody)
		}
	}
	return nil
}

// holds says whether a place is in the log or the tail.
func (l *live) holds(h room.Head) bool {
	rep := l.rep
	switch {
	case h.Seq >= rep.end():
		return false
	case h.Seq >= rep.final.Next:
		return rep.tail[h.Seq-rep.final.Next].Hash() == h.Hash
	case h.Seq+1 == rep.final.Next:
		return rep.final.Last == h.Hash
	}
	var e *room.Entry
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		e, err = logstore.ReadEntry(tx, l.h.id, h.Seq)
		return err
	})
	return err == nil && e.Hash() == h.Hash
}

// finality verifies the certificate that came with a piece. Without one, the hub's
// head is the word of a set of one; where there are more, the machine takes no notice.
func (l *live) finality(p *room.Piece) hub.Certificate {
	rep := l.rep
	c := p.Certified
	if c == nil {
		return hub.Certificate{Head: placeOf(p.Head.Head), Signers: hub.SetOf(rep.names.Number(l.state.Hub().Domain))}
	}
	if c.Certificate.Head.Seq < rep.final.Next {
		return hub.Certificate{} // known
	}
	for _, h := range c.Certificate.Cites() {
		if !l.holds(h) {
			return hub.Certificate{} // cannot be linked yet
		}
	}
	// Only the piece's head is under its hub's signature: whoever passed it on may have
	// put another certificate beside it. A false one is none.
	key := rep.keys[c.Head.Term]
	if err := c.Certificate.Verify(l.h.id, l.replicaKey); err != nil || c.Head.Head != c.Certificate.Head || key == nil || l.r.verify(l.h, &c.Head, key) != nil {
		l.r.log.Debug("false certificate", "room", l.h.id, "seq", c.Head.Seq, "term", c.Head.Term, "err", err)
		return hub.Certificate{}
	}
	rep.heads[c.Head.Seq] = c.Head
	rep.offer = c
	out := hub.Certificate{Head: placeOf(c.Certificate.Head)}
	for _, s := range c.Certificate.Signers {
		out.Signers = out.Signers.With(rep.names.Number(s.Domain))
	}
	return out
}

// rewind takes the state back to before a place of the tail. The stored tail stays
// until the machine has decided.
func (l *live) rewind(seq uint64) error {
	rep := l.rep
	keep := slices.Clone(rep.tail[:seq-rep.final.Next])
	was := rep.tail
	var s *room.State
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		s, _, err = logstore.Load(tx, l.h.id, l.r.cfg.Rules)
		return err
	})
	if err != nil {
		return err
	}
	l.state = s
	turns := rep.turns
	rep.tail, rep.turns, rep.size = nil, nil, 0
	for _, e := range keep {
		st, err := l.state.Check(e)
		if err == nil {
			_, err = l.advanceTail(st, nil)
		}
		if err != nil {
			l.drop()
			return err
		}
	}
	for i := range rep.turns { // what goes with them is not in the log
		rep.turns[i].welcomes = turns[i].welcomes
	}
	for _, e := range was[seq-rep.final.Next:] {
		delete(rep.heads, e.Seq)
		if e.Seq < rep.fresh {
			rep.gone = append(rep.gone, e.Seq)
		}
	}
	rep.fresh = min(rep.fresh, seq)
	return nil
}

// contradicted: a piece whose entry at the end of our log, the first of entries, is
// another one. If it is proven to be final, too, the room stands still, because nobody
// rolls back what it has told people is final.
func (l *live) contradicted(ctx context.Context, p *room.Piece, entries []*room.Entry) error {
	err := fmt.Errorf("piece up to %d of term %s contradicts what is final here: %w", p.Head.Seq, p.Head.Term, room.ErrChain)
	var low *room.SignedHead
	if eq, key := l.twoHistories(p, entries); eq != nil {
		low = &eq.Low
		l.convict(ctx, eq, key, p)
	}
	c, lead := p.Certified, l.state.Lead()
	if c == nil || !continues(entries, c.Certificate.Cites()) || c.Certificate.Verify(l.h.id, l.replicaKey) != nil || !lead.Quorum(c.Certificate.Domains()) {
		return err
	}
	if c.Certificate.Head.Term.Era < l.state.At().Term.Era {
		return err // an administrator has chosen since
	}
	l.freeze(ctx, &c.Head, low, entries, &c.Certificate)
	return l.h.stopped()
}

// continues says whether all heads are places of a chain that begins with the first of
// entries. A certificate of what came before says nothing about them: a hub sends the
// newest that it has along with all that it orders.
func continues(entries []*room.Entry, heads []room.Head) bool {
	for _, h := range heads {
		first := entries[0].Seq
		if h.Seq < first || h.Seq-first >= uint64(len(entries)) {
			return false
		}
		if e := entries[h.Seq-first]; e.Seq != h.Seq || e.Term != h.Term || e.Hash() != h.Hash {
			return false
		}
	}
	for i, e := range entries[1:] {
		if e.Prev != entries[i].Hash() {
			return false
		}
	}
	return true
}

// replicaKey is by which key a replica signs in this room.
func (l *live) replicaKey(domain string) (ed25519.PublicKey, bool) {
	x, ok := l.state.Replica(domain)
	if !ok {
		return nil, false
	}
	return x.ProviderKey[:], true
}

// accuse keeps the proof that the hub has signed what cannot be, and suspects it: the
// room goes on under another hub, from before the lie.
func (l *live) accuse(ctx context.Context, err error, bad *room.Entry, entries []*room.Entry, head *room.SignedHead) {
	if keyless(err) || errors.Is(err, errUnasked) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		l.condemn(ctx, err, bad, entries, head) // which only waits
		return
	}
	c := &logstore.Condemned{Room: l.h.id, Why: err.Error(), Head: *head}
	for _, e := range entries {
		if e.Seq >= bad.Seq {
			c.Entries = append(c.Entries, e)
		}
	}
	l.lied(ctx, l.state.Hub().Domain, c, &room.Piece{Head: *head, Entries: entries})
}
