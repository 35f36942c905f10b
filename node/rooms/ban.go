package rooms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Ban has a user banned from a room that this provider orders, by what the room's role
// policy_enforcer allows (room, enforce.go). It returns when the proposal stands in the
// log: from then on nothing of the user is ordered. A user that is banned already, or is
// going to be, stays so.
func (r *Rooms) Ban(ctx context.Context, id room.ID, user string) error {
	u, err := uri.ParseUser(user)
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
	_, err = r.submission(ctx, h, &submission{from: r.cfg.Domain, txn: room.TxnIDOf(room.NewTxnNonce(), []byte(user)), ban: u})
	switch {
	case errors.Is(err, room.ErrNotEnforcer), errors.Is(err, room.ErrPolicy):
		return problem(409, clientapi.CodeForbidden, "%s cannot be banned: %s", u.Short(), err)
	}
	return asProblem(err)
}

// orderBan orders what the hub itself proposes.
func (l *live) orderBan(s *submission) (result, error) {
	done, err := l.state.Banning(s.ban)
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
	h, err := l.state.ProposeBan(s.ban, key)
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

// Bans that were lost are proposed again until they stand in the log, for so long. If this
// provider stops meanwhile its operator has to ban again.
const (
	banTries = 60
	banPause = time.Second
)

// banAgain proposes bans in the new epoch.
func (l *live) banAgain(users []uri.User) {
	for _, u := range users {
		l.r.spawn(func(ctx context.Context) {
			for range banTries {
				err := l.r.Ban(ctx, l.h.id, u.String())
				var p *clientapi.Problem
				if err == nil || ctx.Err() != nil || errors.As(err, &p) && p.Status < 500 && p.Status != 429 {
					if err != nil && ctx.Err() == nil {
						l.r.log.Warn("a ban came to nothing", "room", l.h.id, "err", err)
					}
					return
				}
				select {
				case <-time.After(banPause):
				case <-ctx.Done():
					return
				}
			}
			l.r.log.Warn("a ban came to nothing: the room takes no proposal", "room", l.h.id)
		})
	}
}
