package contact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/node/abuse"
	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Hidden keeps rooms from users' devices; *feed.Feed is one.
type Hidden interface {
	// Hidden says whether a user takes part in a room of which its devices hear nothing.
	Hidden(tx *store.Tx, u uri.User, id room.ID) (bool, error)
	// Reveal has the devices hear of it, also of what was there since the user takes part,
	// and says whether it was hidden.
	Reveal(tx *store.Tx, u uri.User, id room.ID) (bool, error)
}

// Reports tells the operator of strangers that users complain of; *abuse.Queue is one.
type Reports interface {
	Put(ctx context.Context, r abuse.Report, v abuse.Voice) (uint64, error)
}

// Enters is called in the transaction in which an own user comes into a room, at an entry of
// its log, because of somebody. It says whether the user's devices are to hear nothing of it: by
// is a stranger, in mode quarantine. Who asked to be let in itself is let in.
func (s *Service) Enters(tx *store.Tx, name uri.Room, u, by uri.User, next uint64) (held bool, err error) {
	if by == u || by == (uri.User{}) {
		return false, nil
	}
	any, err1 := readState(tx, given, scope{requester: by, target: u})
	here, err2 := readState(tx, given, scope{by, u, name})
	mode, err3 := s.modeFor(tx, u, by)
	if err := errors.Join(err1, err2, err3); err != nil || consent.Judge(mode, any.state, here.state) != consent.Hold {
		return false, err
	}
	if s.cfg.Waits != nil {
		if waits, err := s.cfg.Waits(tx, u, name); err != nil || waits {
			return false, err
		}
	}
	h := &heldRoom{target: u, id: room.IDOf([]byte(name.String())), room: name, by: by, since: millis(s.cfg.Now()), next: next}
	old, err := readHeldRoom(tx, u, h.id)
	if err != nil || old != nil {
		return true, err
	}
	placed, err := s.heldPlace(tx, h)
	if err != nil || !placed {
		if err == nil {
			s.cfg.Log.Warn("a room that a stranger has made is dropped: too many are in quarantine", "target", u, "provider", by.Provider().Domain())
		}
		return true, err
	}
	return true, errors.Join(h.count(tx, 1, 0), tx.Set(h.key(), h.bytes()))
}

// heldFull says whether a Welcome of that many octets is too much.
func (s *Service) heldFull(tx *store.Tx, h *heldRoom, octets int) (bool, error) {
	n, err := add(tx, heldOctets, h.target.String(), 0)
	return n+octets > s.cfg.Limits.HeldOctets, err
}

// Welcomed is called in the transaction in which a Welcome for an own user comes, as devices
// are told of it. It says whether the user's devices are to hear nothing of it.
func (s *Service) Welcomed(tx *store.Tx, u uri.User, w *clientapi.Welcome) (held bool, err error) {
	name, err := uri.ParseRoom(w.URI)
	if err != nil {
		return false, err
	}
	id := room.IDOf([]byte(name.String()))
	if held, err = s.cfg.Hidden.Hidden(tx, u, id); err != nil || !held {
		return held, err
	}
	h, err := readHeldRoom(tx, u, id)
	if err != nil || h == nil {
		return true, err // it was dropped, or rejected
	}
	data, err := json.Marshal(w)
	if err != nil {
		return true, err
	}
	if _, err := takeWelcome(tx, h); err != nil { // of a device that was removed and added again
		return true, err
	}
	if err := h.count(tx, 0, -int(h.octets)); err != nil {
		return true, err
	}
	h.octets = 0
	full, err := s.heldFull(tx, h, len(data))
	if err != nil {
		return true, err
	}
	if full {
		s.cfg.Log.Warn("a Welcome by a stranger is dropped: too many octets are in quarantine", "target", u, "provider", h.by.Provider().Domain())
	} else {
		h.octets = uint32(len(data))
		if err := errors.Join(putWelcome(tx, h, data), h.count(tx, 0, len(data))); err != nil {
			return true, err
		}
	}
	h.next = w.At.Next
	return true, tx.Set(h.key(), h.bytes())
}

// Left is called in the transaction in which an own user is in a room no longer.
func (s *Service) Left(tx *store.Tx, u uri.User, id room.ID) error {
	h, err := readHeldRoom(tx, u, id)
	if err != nil || h == nil {
		return err
	}
	_, err = h.forget(tx)
	return err
}

// Comes is called when an own user says that it comes into a room itself: it is held no longer.
func (s *Service) Comes(ctx context.Context, u uri.User, id room.ID) error {
	hidden := false
	err := s.cfg.Store.View(func(tx *store.Tx) (err error) {
		hidden, err = s.cfg.Hidden.Hidden(tx, u, id)
		return err
	})
	if err != nil || !hidden {
		return err
	}
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		h, err := readHeldRoom(tx, u, id)
		if err == nil && h != nil {
			return s.release(tx, h)
		}
		if err == nil {
			_, err = s.cfg.Hidden.Reveal(tx, u, id)
		}
		return err
	})
}

// release lets the user's devices into a held room: the room is among the user's, and the
// Welcome comes, at the place of the log at which it was made. What was said since they read
// from the log, in its order.
func (s *Service) release(tx *store.Tx, h *heldRoom) error {
	data, err := h.forget(tx)
	if err != nil {
		return err
	}
	if _, err := s.cfg.Hidden.Reveal(tx, h.target, h.id); err != nil || data == nil {
		return err
	}
	return s.cfg.Feed.Put(tx, h.target, clientapi.EventWelcome, json.RawMessage(data))
}

// releaseAll releases what somebody has put the user into, who has consent for any room now.
func (s *Service) releaseAll(tx *store.Tx, target, by uri.User) error {
	var list []*heldRoom
	for h, err := range heldRooms(tx, target) {
		if err != nil {
			return err
		}
		if h.by == by {
			list = append(list, h)
		}
	}
	for _, h := range list {
		if err := s.release(tx, h); err != nil {
			return err
		}
	}
	return nil
}

// maxCounted is how many entries of a held room are looked at to count what waits there.
const maxCounted = 1000

// Quarantine lists what strangers want of the user: who, when and how much, and no content.
func (s *Service) Quarantine(_ context.Context, who account.Identity) (*clientapi.Quarantine, error) {
	out := &clientapi.Quarantine{Rooms: []clientapi.HeldRoom{}, Requests: []clientapi.HeldRequest{}}
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		for h, err := range heldRooms(tx, who.User) {
			if err != nil {
				return err
			}
			x := clientapi.HeldRoom{Room: h.id.String(), URI: h.room.String(), By: h.by.String(), At: int64(h.since),
				Until: int64(h.since) + s.cfg.Limits.HeldFor.Milliseconds(), Octets: int64(h.octets), Joins: h.octets > 0}
			if x.Messages, x.Octets, err = countMessages(tx, h); err != nil {
				return err
			}
			out.Rooms = append(out.Rooms, x)
		}
		for r, err := range scopesOf(tx, given, who.User) {
			if err != nil {
				return err
			}
			if r.state == consent.Held {
				out.Requests = append(out.Requests, clientapi.HeldRequest{By: r.requester.String(), Room: r.room.String(), At: int64(r.changed),
					Until: int64(r.changed) + s.cfg.Limits.HeldFor.Milliseconds()})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing quarantine: %w", err)
	}
	return out, nil
}

// countMessages counts what was said in a held room, up to maxCounted entries, and the
// octets of that and the Welcome.
func countMessages(tx *store.Tx, h *heldRoom) (n int, octets int64, err error) {
	octets = int64(h.octets)
	head, err := logstore.ReadHead(tx, h.id)
	if errors.Is(err, store.ErrNotFound) {
		return 0, octets, nil // it is being written
	}
	if err != nil {
		return 0, 0, err
	}
	for seq := h.next; seq < min(head.At.Next, h.next+maxCounted); seq++ {
		e, err := logstore.ReadEntry(tx, h.id, seq)
		if err != nil {
			return 0, 0, err
		}
		if e.Kind == room.KindMessage {
			n, octets = n+1, octets+int64(len(e.Body))
		}
	}
	return n, octets, nil
}

// Judged does what the user says about a held room.
//
// Accepting lets the one who has put the user there add it to this room, and lets the devices in.
//
// Rejecting drops the Welcome and refuses that one for this room, and tells nobody: not even
// that the user has looked. So the user stays on the room's list, as somebody who never answers,
// until somebody takes it off; its devices are not in the group, its provider shows them nothing.
// To leave instead would tell the stranger that it was refused, and when; only a device could
// do it, which would have to join for that, since of the providers none but the hub may propose to
// remove somebody, and the hub is the stranger's.
//
// Reporting is rejecting and blocking, and tells the own operator who it was. The hub's would
// have to be shown messages, and nobody here can read any.
func (s *Service) Judged(ctx context.Context, who account.Identity, id store.RoomID, j *clientapi.JudgeHeld) error {
	now := s.cfg.Now()
	if ok, wait := s.sent.Take(who.User.String(), 1, now); !ok {
		return tooMany(wait, "%s has sent many words on consent: wait", who.User)
	}
	var held *heldRoom
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		h, err := readHeldRoom(tx, who.User, room.ID(id))
		if err != nil {
			return err
		}
		if h == nil {
			return problem(http.StatusNotFound, clientapi.CodeNotFound, "no such room is in quarantine (any more)")
		}
		held = h
		next := consent.Granted
		switch j.Verdict {
		case clientapi.HeldAccept:
			err = s.release(tx, h)
		case clientapi.HeldReject:
			next = consent.Revoked
			_, err = h.forget(tx)
		case clientapi.HeldReport:
			next = consent.Revoked
			_, err = h.forget(tx)
			if err == nil {
				err = s.setGiven(tx, scope{requester: h.by, target: h.target}, consent.Blocked, now)
			}
		default:
			return invalid("%.40q is no verdict: accept, reject or report", j.Verdict)
		}
		if err != nil {
			return err
		}
		return s.setGiven(tx, scope{h.by, h.target, h.room}, next, now)
	})
	if err != nil {
		return fmt.Errorf("judging what is in quarantine: %w", err)
	}
	if j.Verdict != clientapi.HeldReport || s.cfg.Reports == nil {
		return nil
	}
	// What the user wanted has happened; that the operator is told is the lesser part.
	_, err = s.cfg.Reports.Put(ctx, abuse.Report{Room: held.room.String(), RoomID: id, Abuser: held.by.String()},
		abuse.Voice{Provider: s.cfg.Domain, Reporter: who.User.String(), Note: j.Note})
	if errors.Is(err, abuse.ErrFull) || errors.Is(err, abuse.ErrLarge) {
		s.cfg.Log.Warn("a report of what is in quarantine is not kept", "err", err)
		return nil
	}
	return err
}

// setGiven writes a decision of the user that nobody is told.
func (s *Service) setGiven(tx *store.Tx, sc scope, next consent.State, now time.Time) error {
	old, err := readState(tx, given, sc)
	if err != nil || old.state == next || old.state == consent.Blocked {
		return err
	}
	return s.write(tx, given, sc, old, next, nil, now)
}

// expire drops what has been in quarantine for too long: rooms as if they were rejected,
// without a decision about who it was; requests as if they had not been made.
func (s *Service) expire(ctx context.Context) error {
	now := s.cfg.Now()
	before := millis(now.Add(-s.cfg.Limits.HeldFor))
	var rooms []*heldRoom
	var requests []scope
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		for h, err := range heldRooms(tx, uri.User{}) {
			if err != nil {
				return err
			}
			if h.since <= before {
				rooms = append(rooms, h)
			}
		}
		for r, err := range allScopes(tx, given) {
			if err != nil {
				return err
			}
			if r.state == consent.Held && r.changed <= before {
				requests = append(requests, r.scope)
			}
		}
		return nil
	})
	for _, h := range rooms {
		if err != nil {
			break
		}
		err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			h, err := readHeldRoom(tx, h.target, h.id)
			if err != nil || h == nil || h.since > before {
				return err
			}
			_, err = h.forget(tx)
			return err
		})
	}
	for _, sc := range requests {
		if err != nil {
			break
		}
		err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			old, err := readState(tx, given, sc)
			if err != nil || old.state != consent.Held || old.changed > before {
				return err
			}
			return s.write(tx, given, sc, old, consent.None, nil, now)
		})
	}
	if err != nil {
		return fmt.Errorf("ending quarantine: %w", err)
	}
	return nil
}
