package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file is the return of a provider whose branch of a room has lost: it has told people
// of entries that they are final, and an administrator has moved the room away from before
// them. It stands still until somebody who is in the room, or its operator, says that it is
// to follow the room as it goes on. Nothing is thrown away: the branch is kept, is checked
// with the rest of the store, and those who were in it can read it.
//
// What a crash leaves at each step, all of which a later start or wish goes on from:
//
//  1. the branch is copied, batch by batch: a copy that no record names
//  2. in one write: the record, the log's head and the room's state before the branch, and
//     that nothing of the eras before the move's is signed any more. From here on the room
//     is the one before the branch.
//  3. the branch is taken out of the log: what is left of it there is beyond the log's end,
//     and goes when the room is loaded (cutBranch)
//  4. the room is followed from there on, as by any follower

// errWhole: there is no lost branch to come back from.
var errWhole = errors.New("rooms: this provider has not lost a branch of the room")

// partingOf is what a proof that the room was moved away says, if it is one: its first entry
// is at a place that the log has another entry at, and it is the move, or with it comes the
// move that chose this history (conflict.go).
func partingOf(c *logstore.Condemned, head *logstore.Head) (*clientapi.Parting, bool) {
	i, h := movesOn(c.Entries, head.At.Term)
	if h == nil || c.Entries[0].Seq >= head.At.Next {
		return nil, false
	}
	return &clientapi.Parting{From: c.Entries[0].Seq, End: head.At.Next, Era: c.Entries[i].Term.Era, Hub: head.Hub, To: h.Hub.Domain}, true
}

func partingBy(b *logstore.Branch) *clientapi.Parting {
	return &clientapi.Parting{From: b.Parts, End: b.End, Era: b.Era, Hub: b.Hub, To: b.To, Followed: true}
}

// readParting reads, when the service starts, whether a room has a lost branch.
func (h *handle) readParting(tx *store.Tx) error {
	list, err := logstore.Branches(tx, h.id)
	if err == nil && len(list) > 0 {
		h.parting = partingBy(list[len(list)-1])
	}
	return err
}

// branchFor returns a room of which the user is, or was in a branch that is lost, a
// participant, with that branch; nil if there is none.
func (r *Rooms) branchFor(who account.Identity, id store.RoomID) (*handle, *logstore.Branch, error) {
	h, err := r.lookup(room.ID(id))
	if err != nil {
		return nil, nil, asProblem(err)
	}
	var b *logstore.Branch
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		list, err := logstore.Branches(tx, h.id)
		if err != nil {
			return err
		}
		for _, x := range list {
			if slices.Contains(x.Users, who.User) {
				b = x
			}
		}
		return nil
	})
	if err == nil && b == nil {
		_, err = r.mine(who, id)
	}
	return h, b, asProblem(err)
}

// Rejoin has this provider follow a room again that was moved away from before the end of
// its log, and says from where on that was lost. It can be repeated. A room that has no lost
// branch is a Problem with CodeNotFound.
func (r *Rooms) Rejoin(ctx context.Context, who account.Identity, id store.RoomID) (*clientapi.Parting, error) {
	h, _, err := r.branchFor(who, id)
	if err != nil {
		return nil, err
	}
	return r.rejoin(ctx, h)
}

// RejoinRoom is Rejoin for the operator.
func (r *Rooms) RejoinRoom(ctx context.Context, id store.RoomID) (*clientapi.Parting, error) {
	h, err := r.lookup(room.ID(id))
	if err != nil {
		return nil, asProblem(err)
	}
	return r.rejoin(ctx, h)
}

func (r *Rooms) rejoin(ctx context.Context, h *handle) (*clientapi.Parting, error) {
	err := r.do(ctx, h, task{rejoin: true})
	h.mu.Lock()
	out := h.parting
	h.mu.Unlock()
	switch {
	case errors.Is(err, errWhole) && out != nil && out.Followed:
		return out, nil
	case errors.Is(err, errWhole):
		return nil, problem(404, clientapi.CodeNotFound, "%s has lost no branch of the room: there is nothing to come back from", r.cfg.Domain)
	case err != nil:
		return nil, asProblem(err)
	}
	return out, nil
}

// rejoin gives the branch up that the room was moved away from, and follows the room.
func (l *live) rejoin(ctx context.Context) error {
	head := l.h.stand()
	if head == nil || l.state == nil {
		return ErrUnknown
	}
	var c *logstore.Condemned
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		c, err = logstore.ReadCondemned(tx, l.h.id)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return errWhole
	}
	if err != nil {
		return err
	}
	parting, ok := partingOf(c, head)
	if !ok {
		return errWhole
	}
	b, back, err := l.before(c, parting, head)
	if err != nil {
		return fmt.Errorf("coming back from before entry %d: %w", parting.From, err)
	}
	if err := l.abandon(ctx, b, back, c.Entries); err != nil {
		return fmt.Errorf("coming back from before entry %d: %w", parting.From, err)
	}
	l.r.log.Warn("a branch of the room is lost and kept; this provider follows the room as it was moved", "room", l.h.id, "branch", b.Number,
		"from", b.Parts, "entries", b.End-b.Parts, "hub", b.To)
	if err := l.load(ctx); err != nil {
		return err
	}
	if err := l.r.refreshTopic(l.h); err != nil {
		l.r.log.Error("joining topic", "room", l.h.id, "err", err)
	}
	err = l.follows(ctx, b.To)
	if err != nil {
		// It is asked for again, by whoever takes part and knows more.
		l.r.log.Warn("following a room that was moved", "room", l.h.id, "from", b.To, "err", err)
		l.r.spawn(func(ctx context.Context) {
			for _, d := range without(l.h.stand().Providers, []string{l.r.cfg.Domain}) {
				l.r.Exchange(ctx, d)
			}
		})
	}
	return nil
}

// past is a room as it was at a place of its log.
type past struct {
	state *room.State
	now   standing // with all parts
	batch *logstore.Batch
}

// before makes the branch that is to be kept and the room as it was before it. The move is
// judged as if it came now: whoever cannot follow it stays where it is.
func (l *live) before(c *logstore.Condemned, p *clientapi.Parting, head *logstore.Head) (*logstore.Branch, *past, error) {
	b := &logstore.Branch{Room: l.h.id, Parts: p.From, End: p.End, Era: p.Era, Time: uint64(max(l.r.cfg.Now().UnixMilli(), 0)), Hub: p.Hub, To: p.To,
		Why: c.Why, Head: c.Head, Cutting: true}
	back := new(past)
	err := l.r.cfg.Store.View(func(tx *store.Tx) error {
		list, err := logstore.Branches(tx, l.h.id)
		if err != nil {
			return err
		}
		b.Number = uint32(len(list)) + 1
		// A signed head has to end the log.
		if back.batch, err = logstore.LastBatchBefore(tx, l.h.id, p.From); err != nil {
			return err
		}
		if back.batch == nil {
			return fmt.Errorf("no head ends before entry %d: %w", p.From, logstore.ErrDamaged)
		}
		b.From = back.batch.Head.Seq + 1
		back.state, err = l.replay(tx, b.From, p.From, func(s *room.State) { back.now = standingOf(s) }, c.Entries[0])
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	b.Users = union(l.r.localUsers(l.state.URI(), l.state.Participants()), l.r.localUsers(l.state.URI(), back.now.participants))
	return b, back, nil
}

// replay makes a room's state anew as of the place at, and then sees whether next, an entry
// of another log that parts from this one at the place parts, continues it there.
func (l *live) replay(tx *store.Tx, at, parts uint64, then func(*room.State), next *room.Entry) (*room.State, error) {
	var s *room.State
	seq := uint64(0)
	for batch, err := range logstore.Batches(tx, l.h.id, 0) {
		if err != nil {
			return nil, err
		}
		raw, err := logstore.Entries(tx, l.h.id, seq, min(batch.Head.Seq, parts-1))
		if err != nil {
			return nil, err
		}
		for _, x := range raw {
			e, err := room.ParseEntry(x)
			if err != nil {
				return nil, err
			}
			if s == nil {
				if s, err = room.Begin(e, l.r.cfg.Rules); err != nil {
					return nil, err
				}
			} else {
				st, err := s.Check(e)
				if err == nil {
					err = s.Advance(st)
				}
				if err != nil {
					return nil, err
				}
			}
			if seq++; seq == at {
				then(s)
			}
		}
		if seq >= parts {
			break
		}
	}
	if seq != parts {
		return nil, fmt.Errorf("the log has %d entries, and %d are needed: %w", seq, parts, logstore.ErrDamaged)
	}
	if _, err := s.Check(next); err != nil {
		return nil, fmt.Errorf("the move cannot be followed: %w", err)
	}
	return s, nil
}

// abandon keeps the branch and makes the log end before it.
func (l *live) abandon(ctx context.Context, b *logstore.Branch, back *past, move []*room.Entry) error {
	ctx = context.WithoutCancel(ctx)
	for seq := b.From; seq < b.End; {
		err := l.r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			next, err := logstore.CopyBranch(tx, b, seq)
			if err == nil {
				tx.OnCommit(func() { seq = next })
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := l.r.cfg.Store.Update(ctx, func(tx *store.Tx) error { return logstore.PutMove(tx, b, move) }); err != nil {
		return err
	}
	now, id := &back.now, l.h.id
	last := back.batch.Head
	head := &logstore.Head{URI: l.state.URI(), At: room.Position{Term: last.Term, Next: last.Seq + 1, Last: last.Hash}, Topic: now.topic, Hub: now.hub.Domain,
		HubKey: now.hub.ProviderKey, Providers: now.providers, Feed: back.batch.Feed, Epoch: now.epoch, Set: now.set, Auto: now.auto, Outside: now.outside}
	had, has := l.r.localUsers(l.state.URI(), l.state.Participants()), l.r.localUsers(l.state.URI(), now.participants)
	err := l.r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		e, err := logstore.ReadEntry(tx, id, last.Seq)
		if err != nil {
			return err
		}
		head.At.AcceptedAt = e.AcceptedAt
		i, _ := movesOn(move, room.Term{Era: b.Era - 1})
		if err := l.bind(tx, b, back, e, move[i].Term); err != nil {
			return err
		}
		f := l.r.cfg.Feed
		pos, err := f.Next(tx)
		if err != nil {
			return err
		}
		for _, u := range without(has, had) {
			if err := f.Join(tx, u, id, pos); err != nil {
				return err
			}
		}
		if err := l.r.goOut(tx, without(had, has), id, pos); err != nil {
			return err
		}
		return errors.Join(logstore.ReplaceParts(tx, id, now.parts), logstore.DeleteCondemned(tx, id), logstore.PutHead(tx, head), logstore.PutBranch(tx, b))
	})
	if err != nil {
		return err
	}
	l.drop()
	l.h.mu.Lock()
	l.h.head, l.h.broken, l.h.held, l.h.ended, l.h.parting, l.h.conflict = head, "", "", ended{}, partingBy(b), nil
	l.h.moveLocked()
	l.r.turns.Add(1)
	l.h.mu.Unlock()
	l.h.tip.Store(head.At.Next)
	return l.cutBranch(ctx)
}

// bind writes that this provider signs nothing any more of the eras before the move's: what
// it has signed beyond the place to which its log goes back must stay the only thing that it
// has signed there.
func (l *live) bind(tx *store.Tx, b *logstore.Branch, back *past, last *room.Entry, era room.Term) error {
	n := new(names)
	var st hub.State
	var voted logstore.VotedSet
	var marks []hub.Mark
	if rep := l.rep; rep != nil {
		n, st, voted, marks = rep.names, rep.m.State(), rep.voted, rep.m.Log().Marks()
		for i := range rep.tail {
			if err := logstore.DeleteTail(tx, l.h.id, rep.final.Next+uint64(i)); err != nil {
				return err
			}
		}
	}
	lead := back.state.Lead()
	base := hub.Head{Term: last.Term, Seq: last.Seq, Hash: last.Hash()}
	set := n.set(domainsOf(lead.Now))
	marks = slices.DeleteFunc(marks, func(m hub.Mark) bool { return m.From > last.Seq || m.Handshake.Seq > last.Seq })
	if len(marks) == 0 {
		marks = []hub.Mark{{From: last.Seq, Old: set, Hub: n.Number(lead.Hub.Domain), Handshake: base}}
	}
	if st.Seen.Compare(era) < 0 {
		st.Seen = era
	}
	st.Final, st.Fork = hub.Certificate{Head: base, Signers: set}, [2]hub.Head{}
	return logstore.PutReplica(tx, l.h.id, st, voted, marks, n)
}

// cutBranch takes a branch that is kept out of the log, if that is still to be done.
func (l *live) cutBranch(ctx context.Context) error {
	var b *logstore.Branch
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		b, err = logstore.Cutting(tx, l.h.id)
		return err
	})
	if err != nil || b == nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for seq := b.From; seq < b.End; seq += cutAtOnce {
		err := l.r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			for at := seq; at < min(seq+cutAtOnce, b.End); at++ {
				if err := logstore.CutEntry(tx, b.Room, at); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	b.Cutting = false
	return l.r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(logstore.PutBranch(tx, b), l.r.cfg.Feed.Untold(tx, b.Room, b.From))
	})
}

// cutAtOnce is how many entries are taken out of a log in one write.
const cutAtOnce = 256

// Branch returns a piece of what the user had in a room's log before it was moved away from
// there, from a sequence number on: what comes before the branch is the room's log. A room
// without a lost branch is a Problem with CodeNotFound.
func (r *Rooms) Branch(ctx context.Context, who account.Identity, id store.RoomID, from uint64, limit int) (*clientapi.Log, error) {
	h, b, err := r.branchFor(who, id)
	if err == nil && b == nil {
		err = ErrUnknown
	}
	if err != nil {
		return nil, asProblem(err)
	}
	return r.branchPage(h, b, from, limit)
}

// BranchPage is a piece of a branch, by its number, for the operator.
func (r *Rooms) BranchPage(id store.RoomID, number uint32, from uint64, limit int) (*clientapi.Log, error) {
	h, err := r.lookup(room.ID(id))
	if err != nil {
		return nil, asProblem(err)
	}
	list, err := r.BranchesOf(id)
	if err != nil {
		return nil, err
	}
	if number == 0 || uint64(number) > uint64(len(list)) {
		return nil, problem(404, clientapi.CodeNotFound, "the room has %d lost branches here, none of them is number %d", len(list), number)
	}
	return r.branchPage(h, list[number-1], max(from, list[number-1].Parts), limit)
}

// BranchesOf lists the lost branches of a room, for the operator.
func (r *Rooms) BranchesOf(id store.RoomID) (out []*logstore.Branch, err error) {
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		out, err = logstore.Branches(tx, room.ID(id))
		return err
	})
	return out, asProblem(err)
}

func (r *Rooms) branchPage(h *handle, b *logstore.Branch, from uint64, limit int) (*clientapi.Log, error) {
	if from < b.From {
		out, err := r.page(h, from, int(min(uint64(limit), b.From-from)))
		if err != nil || len(out.Entries) == 0 {
			return out, err
		}
		if n := b.From - from; uint64(len(out.Entries)) > n {
			out.Entries = out.Entries[:n]
		}
		return out, nil
	}
	out := &clientapi.Log{Entries: [][]byte{}}
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		for batch, err := range logstore.BranchBatches(tx, b, from) {
			if err != nil {
				return err
			}
			if len(out.Entries) > 0 && len(out.Entries)+len(batch.Entries) > limit {
				break
			}
			out.Entries, out.Head = append(out.Entries, batch.Entries...), batch.Head.Append(nil)
		}
		return nil
	})
	return out, asProblem(err)
}
