package rooms

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Rooms that depend on a parent (room-policy section 7; policy.Within). Whoever orders such a
// room lets nobody in who does not take part in the parent, by its own copy of the parent's
// log. It has one while anybody is in both rooms: all who are in the one are in the other. It
// need not order the parent; only to begin such a room it must. And it takes out who has left
// the parent: whenever one of the two rooms changes, and when it starts, it compares them, and
// proposes what is to be done; nothing is kept of that, since the rooms tell it.
//
// The parent's log may be behind here by what it is behind elsewhere. Who has just come into
// the parent may be told to wait, and who has just left it stays as long.

// kin knows which rooms depend on others.
type kin struct {
	compared bans // rooms with their parents
	mu       sync.Mutex
	of       map[room.ID]map[*handle]bool // guarded by mu: by parent
}

// relation is what has to be the same for nobody to have come or gone.
type relation struct {
	begun   bool
	epoch   uint64
	pending int
	hub     string
}

// relate compares rooms after a change of this one: it with its parent, and with it those that
// depend on it.
func (l *live) relate() {
	if l.state == nil {
		return
	}
	now := relation{true, l.state.Epoch(), len(l.state.Group().Pending()), l.state.Hub().Domain}
	if now == l.related {
		return
	}
	l.related = now
	if p := l.state.Parent(); !p.IsZero() {
		l.r.kin.note(p, l.h)
		l.r.seeToParent(l.h)
	}
	for _, h := range l.r.kin.on(l.h.id) {
		l.r.seeToParent(h)
	}
}

func (k *kin) note(parent uri.Room, h *handle) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := room.IDOf([]byte(parent.String()))
	if k.of == nil {
		k.of = map[room.ID]map[*handle]bool{}
	}
	if k.of[id] == nil {
		k.of[id] = map[*handle]bool{}
	}
	k.of[id][h] = true
}

// on returns the rooms that depend on one.
func (k *kin) on(parent room.ID) (out []*handle) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := range k.of[parent] {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *handle) int { return slices.Compare(a.id[:], b.id[:]) })
	return out
}

// findDependents reads which of the rooms that are ordered here depend on others.
func (r *Rooms) findDependents(ctx context.Context) {
	for _, h := range r.all() {
		head := h.stand()
		if head == nil || head.Hub != r.cfg.Domain {
			continue
		}
		var parent uri.Room
		err := r.cfg.Store.View(func(tx *store.Tx) (err error) {
			parent, err = logstore.ReadParent(tx, h.id)
			return err
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.log.Error("reading which room another depends on", "room", h.id, "err", err)
		}
		if err == nil && !parent.IsZero() {
			r.kin.note(parent, h)
			r.seeToParent(h)
		}
	}
}

// seeToParent takes out of a room who does not take part in its parent. It does not wait.
func (r *Rooms) seeToParent(h *handle) {
	r.kin.compared.note(h.id)
	r.seeTo(&r.kin.compared, h, "parent", r.takeOut)
}

// takeOut returns how many are still to be taken out, and whether somebody could not be just now.
func (r *Rooms) takeOut(ctx context.Context, h *handle) (left int, retry bool, err error) {
	var parent uri.Room
	var roles map[string]policy.Role
	err = r.view(ctx, h, func(s *room.State) {
		v, err := s.Effective()
		if err == nil && s.Hub().Domain == r.cfg.Domain && s.Ended() == nil {
			parent, roles = s.Parent(), v.Roles()
		}
	})
	if err != nil || parent.IsZero() {
		return 0, false, err
	}
	of, err := r.participants(ctx, parent)
	if err != nil {
		return 0, false, nil // others' word would be no better; when it comes, it changes
	}
	for _, who := range policy.Strays(roles, of) {
		u, err := uri.ParseUser(who)
		if err != nil {
			return left, false, err
		}
		_, err = r.submission(ctx, h, &submission{from: r.cfg.Domain, txn: room.TxnIDOf(room.NewTxnNonce(), []byte(who)), ban: u, off: true})
		if err != nil {
			r.log.Warn("taking out of a room who has left its parent", "room", h.id, "err", err)
			left, retry = left+1, true
		}
	}
	return left, retry, nil
}

// participants returns the roles of all who are on a room's list, or will be when what is
// pending is committed. Error: ErrUnknown, and what may pass.
func (r *Rooms) participants(ctx context.Context, u uri.Room) (out map[string]policy.Role, err error) {
	h, err := r.lookup(room.IDOf([]byte(u.String())))
	if err != nil {
		return nil, err
	}
	var bad error
	err = r.view(ctx, h, func(s *room.State) {
		var v *room.View
		if v, bad = s.Effective(); bad == nil {
			out = v.Roles()
		}
	})
	if err == nil {
		err = bad
	}
	return out, err
}

// parentPatience is how long a room waits for what its parent's log says.
const parentPatience = 2 * time.Second

// within asks whether participants may be added to a room.
func (r *Rooms) within(parent uri.Room, added []string, after map[string]policy.Role) error {
	ctx, cancel := context.WithTimeout(r.background(), parentPatience)
	defer cancel()
	of, err := r.participants(ctx, parent)
	if err != nil {
		return &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Retry: 1000,
			Detail: fmt.Sprintf("who takes part in %s, on which the room depends, is not known at %s now: %s; try again in a second", parent, r.cfg.Domain, err)}
	}
	if err := policy.Within(parent.String(), added, after, of); err != nil {
		return fmt.Errorf("%w: %w", err, room.ErrPolicy)
	}
	return nil
}

// ofParent says whether those may come in whom an entry adds.
func (l *live) ofParent(st *room.Step) error {
	parent := l.state.Parent()
	if parent.IsZero() {
		return nil
	}
	added, after, err := l.state.Joining(st)
	if err != nil || len(added) == 0 {
		return err
	}
	return l.r.within(parent, added, after)
}

// parentAllows says whether a room may begin as one that depends on another: that is ordered
// here, too.
func (r *Rooms) parentAllows(s *room.State) error {
	parent := s.Parent()
	if parent.IsZero() {
		return nil
	}
	h, err := r.lookup(room.IDOf([]byte(parent.String())))
	if err != nil {
		return fmt.Errorf("%s, on which the room is to depend, is not known here: %w", parent, room.ErrPolicy)
	}
	if hub := h.stand().Hub; hub != r.cfg.Domain {
		return fmt.Errorf("%s orders %s, and a room that depends on it has the same hub: begin it there: %w", hub, parent, room.ErrPolicy)
	}
	roles := s.View().Roles()
	return r.within(parent, policy.Strays(roles, nil), roles)
}
