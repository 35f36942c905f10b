package rooms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file is about hubs of several replicas that sign what cannot be, or two histories.
// What proves it are pieces of the log, as anybody may show them: so a proof is kept,
// shared by showing the pieces, and each replica judges it by what it holds itself. Then
// another hub is elected.

// errLied: a piece that shows that its hub has signed two histories.
var errLied = errors.New("rooms: the hub has signed two histories")

// twoHistories makes the proof that the hub of a term has signed another log than the
// one that is here: entries, of a piece, are the first that differ and what follows. nil
// if that proves nothing: a later hub's log may differ.
func (l *live) twoHistories(p *room.Piece, entries []*room.Entry) (*room.Equivocation, ed25519.PublicKey) {
	key := l.rep.keys[p.Head.Term]
	if key == nil || p.Head.Verify(key) != nil {
		return nil, nil
	}
	if eq := l.against(&room.Piece{Head: p.Head, Entries: entries}, key); eq != nil {
		return eq, key
	}
	return nil, nil
}

// against is twoHistories of a piece whose head is signed with key, and whose entries all
// differ from those here.
func (l *live) against(p *room.Piece, key ed25519.PublicKey) *room.Equivocation {
	mine, log := l.ownHead(p.Head.Term, p.Entries[0].Seq)
	if mine == nil {
		return nil
	}
	eq := &room.Equivocation{Low: *mine, High: p.Head, Entries: p.Entries}
	if mine.Seq > p.Head.Seq {
		eq.Low, eq.High, eq.Entries = p.Head, *mine, log
	}
	for len(eq.Entries) > 0 && eq.Entries[0].Seq < eq.Low.Seq {
		eq.Entries = eq.Entries[1:]
	}
	if eq.Low.Seq == eq.High.Seq {
		eq.Entries = nil
	}
	if eq.Verify(key) != nil {
		return nil
	}
	return eq
}

// shownHead judges a head that is shown without entries: it may be of another history than
// the one that is here.
func (l *live) shownHead(ctx context.Context, p *room.Piece) {
	key := l.rep.keys[p.Head.Term]
	if key == nil || p.Head.Verify(key) != nil {
		return
	}
	mine, log := l.ownHead(p.Head.Term, p.Head.Seq)
	if mine == nil {
		return
	}
	eq := &room.Equivocation{Low: p.Head, High: *mine, Entries: log}
	for len(eq.Entries) > 0 && eq.Entries[0].Seq < eq.Low.Seq {
		eq.Entries = eq.Entries[1:]
	}
	if eq.Low.Seq == eq.High.Seq {
		eq.Entries = nil
	}
	if eq.Verify(key) == nil {
		l.convict(ctx, eq, key, p)
	}
}

// ownHead is a head of a term, at a place or beyond it, that is signed and of the log
// that is here, with what of that log is in memory.
func (l *live) ownHead(t room.Term, from uint64) (*room.SignedHead, []*room.Entry) {
	rep := l.rep
	for i := len(rep.tail) - 1; i >= 0 && rep.tail[i].Seq >= from; i-- {
		if h, ok := rep.heads[rep.tail[i].Seq]; ok && h.Term == t && h.Hash == rep.tail[i].Hash() {
			return &h, rep.tail
		}
	}
	if from >= rep.final.Next {
		return nil, nil
	}
	var head *room.SignedHead
	var entries []*room.Entry
	err := l.r.cfg.Store.View(func(tx *store.Tx) error {
		// The first one does: the longer log needs no more entries to lead to it.
		var b *logstore.Batch
		for x, err := range logstore.Batches(tx, l.h.id, from) {
			if err != nil {
				return err
			}
			b = &x
			break
		}
		if b == nil || b.Head.Term != t {
			return nil
		}
		list, err := logstore.Entries(tx, l.h.id, from, b.Head.Seq)
		if err != nil {
			return err
		}
		for _, raw := range list {
			e, err := room.ParseEntry(raw)
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
		head = &b.Head
		return nil
	})
	if err != nil {
		return nil, nil
	}
	return head, entries
}

// convict keeps the proof that a hub has signed two histories, and shares it.
func (l *live) convict(ctx context.Context, eq *room.Equivocation, key ed25519.PublicKey, p *room.Piece) {
	liar := l.keyOf(key)
	why := fmt.Sprintf("%s has signed two histories in term %s: entry %d is %.8s in the one, and %d is %.8s in the other", liar,
		eq.Low.Term, eq.Low.Seq, eq.Low.Hash, eq.High.Seq, eq.High.Hash)
	c := &logstore.Condemned{Room: l.h.id, Why: why, Head: eq.High, Low: &eq.Low, Entries: eq.Entries}
	from := p.Head.Seq
	if len(p.Entries) > 0 {
		from = p.Entries[0].Seq
	}
	mine, _ := l.ownHead(p.Head.Term, from)
	pieces := []*room.Piece{p}
	if n := len(l.rep.tail); mine != nil && n > 0 && mine.Seq >= l.rep.final.Next {
		pieces = append(pieces, &room.Piece{Head: *mine, Entries: l.rep.tail[:mine.Seq+1-l.rep.final.Next]})
	}
	l.lied(ctx, liar, c, pieces...)
}

func (l *live) keyOf(key ed25519.PublicKey) string {
	if l.state.HubKey().Equal(key) {
		return l.state.Hub().Domain
	}
	for _, m := range l.members() {
		if key.Equal(ed25519.PublicKey(m.ProviderKey[:])) {
			return m.Domain
		}
	}
	return fmt.Sprintf("the provider with key %x...", key[:8])
}

// lied draws the consequences of a proof against a hub: it is kept, others are shown what
// it rests on, the operator and the users see it, and another hub is looked for.
func (l *live) lied(ctx context.Context, liar string, c *logstore.Condemned, pieces ...*room.Piece) {
	l.h.mu.Lock()
	known := l.h.accused == liar
	l.h.mu.Unlock()
	if known {
		return
	}
	// Before anybody can see the accusation: who sees it may ask for the proof.
	l.putCondemned(ctx, c)
	l.h.mu.Lock()
	l.h.accused = liar
	l.h.mu.Unlock()
	l.r.log.Error("a provider has signed what cannot be; if it orders the room, another one is looked for", "room", l.h.id, "provider", liar, "why", c.Why)
	l.r.counts.convicted.Add(1)
	for _, p := range pieces {
		m := &replica.Message{Room: l.h.id, Kind: replica.Show, Piece: p.Append(nil)}
		if len(m.Piece) > replica.MaxBytes-4<<10 {
			continue // too large to show: who has it not will not be told by us
		}
		for _, x := range l.members() {
			if x.Domain != l.r.cfg.Domain && x.Domain != liar {
				l.r.say(x.Domain, m)
			}
		}
	}
	ev := clientapi.HubState{Room: l.h.id.String(), Hub: liar, Lied: true, Moves: true}
	if err := l.r.cfg.Feed.Tell(l.r.cfg.Feed.Hearing(l.h.id, l.r.localUsers(l.state.URI(), l.state.Participants())), clientapi.EventHub, ev); err != nil {
		l.r.log.Error("telling users of a room's hub", "room", l.h.id, "err", err)
	}
	l.alarm(shortWait)
}

// repeatLies shows a provider again what proves that the hub of a room that both keep has
// lied: it may have been away when that was found out, or was taken for dead.
func (r *Rooms) repeatLies(domain string) {
	n := 0
	for _, h := range r.all() {
		h.mu.Lock()
		told := h.head != nil && h.accused != "" && h.accused == h.head.Hub && h.accused != domain && h.head.Member(domain)
		h.mu.Unlock()
		if !told {
			continue
		}
		pieces, err := r.evidence(h.id)
		if err != nil {
			r.log.Error("reading the proof against a hub", "room", h.id, "err", err)
		}
		for _, p := range pieces {
			if m := (&replica.Message{Room: h.id, Kind: replica.Show, Piece: p.Append(nil)}); len(m.Piece) <= replica.MaxBytes-4<<10 {
				r.say(domain, m)
			}
		}
		if n += len(pieces); n >= maxRepeated {
			return
		}
	}
}

// evidence is what a kept proof against a hub rests on: pieces of the log as it has signed
// them, for each replica to judge by what it holds itself.
func (r *Rooms) evidence(id room.ID) (out []*room.Piece, err error) {
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		c, err := logstore.ReadCondemned(tx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if n := len(c.Entries); n > 0 && c.Entries[n-1].Hash() == c.Head.Hash {
			out = append(out, &room.Piece{Head: c.Head, Entries: c.Entries})
		}
		if c.Low == nil {
			return nil
		}
		// Whoever has a log of the room beyond that place has the rest of the proof, of
		// whichever of the two heads is not in it.
		out = append(out, &room.Piece{Head: *c.Low})
		if len(c.Entries) == 0 {
			out = append(out, &room.Piece{Head: c.Head})
		}
		return nil
	})
	return out, err
}

// putCondemned stores a proof, with its first entry at least.
func (l *live) putCondemned(ctx context.Context, c *logstore.Condemned) {
	put := func(tx *store.Tx) error { return logstore.PutCondemned(tx, c) }
	err := l.r.cfg.Store.Update(context.WithoutCancel(ctx), put)
	if errors.Is(err, store.ErrTooLarge) && len(c.Entries) > 1 {
		c.Entries = c.Entries[:1]
		err = l.r.cfg.Store.Update(context.WithoutCancel(ctx), put)
	}
	if err != nil {
		l.r.log.Error("keeping the proof against a hub", "room", l.h.id, "err", err)
	}
}

// twoHeads sees, where the hub decides alone, whether it has signed another history than the
// one that is here: an entry of a piece at a place that is here is another one, or the piece
// continues another entry than the last one; then what is before it is asked for. The room is
// stopped, with both heads as the proof.
func (l *live) twoHeads(ctx context.Context, p *room.Piece, from string) error {
	at, key := l.state.At(), ed25519.PublicKey(l.state.HubKey())
	if l.state.Hub().Domain == l.r.cfg.Domain {
		return nil // what it has forgotten, it may come from a backup, it reads from others
	}
	if len(p.Entries) > 0 && p.Entries[0].Seq == at.Next && p.Entries[0].Prev != at.Last && from != "" && p.Head.Term == at.Term && at.Next > 0 {
		q, err := l.r.fetchAt(ctx, from, l.h, room.Stand{Room: l.h.id, Next: at.Next - 1})
		if err != nil || q == nil {
			return err
		}
		p = q
	}
	if len(p.Entries) == 0 || p.Head.Term != at.Term || p.Head.Room != l.h.id {
		return nil
	}
	last := p.Entries[0]
	if last.Seq >= at.Next {
		return nil
	}
	for _, e := range p.Entries {
		if e.Seq < at.Next {
			last = e
		}
	}
	if last.Seq+1 == at.Next && last.Hash() == at.Last || p.Head.Verify(key) != nil {
		return nil
	}
	var mine *room.SignedHead
	var own []*room.Entry
	err := l.r.cfg.Store.View(func(tx *store.Tx) error {
		for b, err := range logstore.LastBatches(tx, l.h.id) {
			if err != nil {
				return err
			}
			mine = &b.Head
			break
		}
		for seq := min(p.Entries[0].Seq, p.Head.Seq); seq < at.Next; seq++ {
			e, err := logstore.ReadEntry(tx, l.h.id, seq)
			if err != nil {
				return err
			}
			own = append(own, e)
		}
		return nil
	})
	if err != nil || mine == nil {
		return err
	}
	i := slices.IndexFunc(p.Entries, func(e *room.Entry) bool {
		return slices.ContainsFunc(own, func(o *room.Entry) bool { return o.Seq == e.Seq && o.Hash() != e.Hash() })
	})
	if i < 0 {
		return nil // it is here
	}
	eq := &room.Equivocation{Low: *mine, High: p.Head, Entries: p.Entries}
	if mine.Seq > p.Head.Seq {
		eq.Low, eq.High, eq.Entries = p.Head, *mine, own
	}
	for len(eq.Entries) > 0 && eq.Entries[0].Seq < eq.Low.Seq {
		eq.Entries = eq.Entries[1:]
	}
	if eq.Low.Seq == eq.High.Seq {
		eq.Entries = nil
	}
	if eq.Verify(key) != nil {
		return nil
	}
	err = fmt.Errorf("%s has signed two histories in term %s, which differ from entry %d on: %w", l.state.Hub().Domain, at.Term, p.Entries[i].Seq, errLied)
	l.halt(ctx, &logstore.Condemned{Room: l.h.id, Why: err.Error(), Head: eq.High, Low: &eq.Low, Entries: eq.Entries})
	l.showAll(p, &room.Piece{Head: *mine, Entries: own})
	return l.h.stopped()
}

// showAll shows pieces to all who take part.
func (l *live) showAll(pieces ...*room.Piece) {
	members := domainsOf(l.members())
	for _, p := range pieces {
		if p == nil {
			continue
		}
		m := &replica.Message{Room: l.h.id, Kind: replica.Show, Piece: p.Append(nil)}
		if len(m.Piece) > replica.MaxBytes-4<<10 {
			continue // too large to show: they are told by reading our log
		}
		for _, d := range append(members, without(l.state.Providers(), members)...) {
			if d != l.r.cfg.Domain {
				l.r.say(d, m)
			}
		}
	}
}
