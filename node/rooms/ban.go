package rooms

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Ban has a user banned from a room that this provider orders, by what the room's role
// policy_enforcer allows (room, enforce.go). It returns when the proposal stands in the
// log: from then on nothing of the user is ordered. A user that is banned already, or is
// going to be, stays so.
//
// The wish is written before the proposal is made, and stays until the ban is in force: a
// commit that ends the epoch without the ban (an external one can do that) makes the proposal
// worth nothing, and it is made anew, also after a restart.
func (r *Rooms) Ban(ctx context.Context, id room.ID, user string) error {
	u, err := uri.ParseParticipant(user)
	if err != nil {
		return problem(422, clientapi.CodeInvalid, "%.200q is no user", user)
	}
	h, err := r.lookup(id)
	if err != nil {
		return asProblem(err)
	}
	if hub := h.stand().Hub; hub != r.cfg.Domain {
		return problem(409, clientapi.CodeForbidden, "%s orders the room now: its operator can ban somebody", hub)
	}
	if err := r.noteBans(ctx, id, u); err != nil {
		return asProblem(err)
	}
	err = r.proposeBan(ctx, h, u)
	switch {
	case err == nil:
		r.seeToBans(h)
		return nil
	case ctx.Err() != nil: // it may have happened
		return asProblem(err)
	}
	if gone := r.forgetBans(context.WithoutCancel(ctx), id, u); gone != nil {
		r.log.Error("forgetting a ban that came to nothing", "room", id, "err", gone)
	}
	switch {
	case errors.Is(err, room.ErrNotEnforcer), errors.Is(err, room.ErrPolicy):
		return problem(409, clientapi.CodeForbidden, "%s cannot be banned: %s", u.Short(), err)
	}
	return asProblem(err)
}

func (r *Rooms) proposeBan(ctx context.Context, h *handle, u uri.User) error {
	_, err := r.submission(ctx, h, &submission{from: r.cfg.Domain, txn: room.TxnIDOf(room.NewTxnNonce(), []byte(u.String())), ban: u})
	return err
}

// orderBan orders what the hub itself proposes.
func (l *live) orderBan(s *submission) (result, error) {
	done, err := l.state.Banning(s.ban)
	propose := l.state.ProposeBan
	if s.off {
		done, err = l.state.Leaving(s.ban)
		propose = l.state.ProposeRemoval
	}
	if err != nil || done {
		return result{stored: l.rep == nil && l.batch == nil}, err
	}
	signer, err := l.r.signer(l.state.HubKey())
	if err != nil {
		return result{}, err
	}
	key, err := mls.ParseSignatureKey(room.Suite, signer.Seed())
	if err != nil {
		return result{}, fmt.Errorf("provider key as a signature key: %w", err)
	}
	h, err := propose(s.ban, key)
	if err != nil {
		return result{}, err
	}
	body, err := h.Bytes()
	if err != nil {
		return result{}, err
	}
	return l.advance(s, l.state.NewEntry(room.KindHandshake, s.txn, body, l.r.cfg.Now()), h.Bundle)
}

// lostBans returns whose bans a commit from outside leaves behind: it ends the epoch that
// the proposals are of, and cannot take them up.
func (l *live) lostBans(st *room.Step) []uri.User {
	if c := st.Commit(); c != nil && c.Sender.Type == mls.SenderNewMemberCommit {
		return l.state.PendingBans()
	}
	return nil
}

// afterCommit sees to the room's bans: lost are those that a commit has left behind, one of a
// former hub among them perhaps, that nothing is written of here.
func (l *live) afterCommit(lost []uri.User) {
	if len(lost) == 0 {
		l.r.seeToBans(l.h)
		return
	}
	l.r.spawn(func(ctx context.Context) {
		if err := l.r.noteBans(ctx, l.h.id, lost...); err != nil && ctx.Err() == nil {
			l.r.log.Error("keeping bans that a commit has left behind", "room", l.h.id, "err", err)
		}
		l.r.seeToBans(l.h)
	})
}

// bans are the rooms that somebody is to be banned from, and in which that is being seen to.
type bans struct {
	mu    sync.Mutex
	rooms map[room.ID]*seeing // guarded by mu
	held  bool                // guarded by mu: for tests
}

type seeing struct{ busy, again bool }

func (b *bans) note(id room.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rooms == nil {
		b.rooms = map[room.ID]*seeing{}
	}
	if s := b.rooms[id]; s == nil {
		b.rooms[id] = new(seeing)
	} else {
		s.again = s.busy // it may have been read before this one was written
	}
}

// begin says whether nobody sees to the room's bans yet and somebody has to.
func (b *bans) begin(id room.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.rooms[id]
	if s == nil || b.held {
		return false
	}
	if s.busy {
		s.again = true
		return false
	}
	s.busy = true
	return true
}

// end says whether to begin again; none: there are no bans left.
func (b *bans) end(id room.ID, none bool) (again bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.rooms[id]
	if again, s.again = s.again, false; again {
		return true
	}
	if s.busy = false; none {
		delete(b.rooms, id)
	}
	return false
}

// noteBans writes that users are to be banned.
func (r *Rooms) noteBans(ctx context.Context, id room.ID, users ...uri.User) error {
	err := r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, u := range users {
			if err := logstore.PutBan(tx, id, u, r.cfg.Now()); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		r.bans.note(id)
	}
	return err
}

func (r *Rooms) forgetBans(ctx context.Context, id room.ID, users ...uri.User) error {
	return r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, u := range users {
			if err := logstore.DeleteBan(tx, id, u); err != nil {
				return err
			}
		}
		return nil
	})
}

// readBans remembers, when the service starts, in which rooms somebody is to be banned.
func (r *Rooms) readBans(tx *store.Tx) error {
	for b, err := range logstore.Bans(tx, nil) {
		if err != nil {
			return err
		}
		r.bans.note(b.Room)
	}
	return nil
}

// wakeBans sees to the bans that were under way when the service stopped.
func (r *Rooms) wakeBans() {
	r.bans.mu.Lock()
	ids := slices.Collect(maps.Keys(r.bans.rooms))
	r.bans.mu.Unlock()
	for _, id := range ids {
		if h, err := r.lookup(id); err == nil {
			r.seeToBans(h)
		}
	}
}

// Bans that were lost are proposed again until they stand in the log, for so long; then with
// the room's next commit, or when this provider starts again.
const (
	banTries = 60
	banPause = time.Second
)

// seeToBans proposes again what was lost, and forgets what is in force. It does not wait.
func (r *Rooms) seeToBans(h *handle) { r.seeTo(&r.bans, h, "bans", r.seeOnce) }

// seeTo does once what a room is noted for, and again while that says so. It does not wait.
func (r *Rooms) seeTo(b *bans, h *handle, what string, once func(context.Context, *handle) (left int, retry bool, err error)) {
	if !b.begin(h.id) {
		return
	}
	if !r.spawn(func(ctx context.Context) {
		for tries := 0; ; {
			left, retry, err := once(ctx, h)
			if err != nil && ctx.Err() == nil {
				r.log.Warn("seeing to a room's "+what, "room", h.id, "err", err)
			}
			if retry = retry || err != nil; retry && tries < banTries && ctx.Err() == nil {
				tries++
				select {
				case <-time.After(banPause):
					continue
				case <-ctx.Done():
				}
			}
			if !b.end(h.id, left == 0 && err == nil) || ctx.Err() != nil {
				return
			}
		}
	}) {
		b.end(h.id, false)
	}
}

// seeOnce returns how many bans are left to see to, and whether one of them could not be
// proposed just now.
func (r *Rooms) seeOnce(ctx context.Context, h *handle) (left int, retry bool, err error) {
	var users []uri.User
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		users = nil
		for b, err := range logstore.Bans(tx, &h.id) {
			if err != nil {
				return err
			}
			users = append(users, b.User)
		}
		return nil
	})
	if err != nil || len(users) == 0 {
		return 0, false, err
	}
	var over, lost []uri.User
	err = r.view(ctx, h, func(s *room.State) {
		over, lost = nil, nil
		pending := s.PendingBans()
		for _, u := range users {
			switch role := s.Role(u); {
			case role == policy.Banned, role == policy.None, s.Hub().Domain != r.cfg.Domain, s.Ended() != nil:
				over = append(over, u) // in force, or not this provider's business any more
			case !slices.Contains(pending, u):
				lost = append(lost, u)
			}
		}
	})
	if err != nil {
		return len(users), false, err
	}
	for _, u := range lost {
		err := r.proposeBan(ctx, h, u)
		var p *clientapi.Problem
		switch {
		case err == nil, errors.Is(err, room.ErrNotEnforcer): // until a commit has named this hub
		case errors.Is(err, room.ErrPolicy), errors.As(asProblem(err), &p) && p.Status < 500 && p.Status != 429:
			r.log.Warn("a ban came to nothing", "room", h.id, "err", err)
			over = append(over, u)
		default:
			retry = true
		}
	}
	if len(over) > 0 {
		err = r.forgetBans(ctx, h.id, over...)
	}
	return len(users) - len(over), retry, err
}
