package rooms

import (
	"context"
	"slices"
	"sync"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// talk is what waits to be said to other replicas. Per provider one goroutine sends
// it, and ends when nothing waits.
type talk struct {
	mu      sync.Mutex
	waiting map[string][]*replica.Message // guarded by mu; a key is there while a goroutine runs
}

func (r *Rooms) dead(domain string) bool { return domain != r.cfg.Domain && r.cfg.Dead(domain) }

// restored says whether the store comes from a backup and the room is not whole yet.
func (r *Rooms) restored(id room.ID) (is bool, err error) {
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		is, err = logstore.Restored(tx, id)
		return err
	})
	return is, err
}

// background is the context of what a room's goroutine must finish.
func (r *Rooms) background() context.Context { return context.Background() }

// wakeTails loads the rooms in which something was under way, and those that came from
// a backup and that this provider has a say in. Of the others it has forgotten nothing
// that anybody relies on.
func (r *Rooms) wakeTails(ctx context.Context) error {
	var ids, whole []room.ID
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		for id, err := range logstore.Tails(tx) {
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		marked, err := tx.RestoredRooms()
		if err != nil || marked == 0 {
			return err
		}
		for _, h := range r.all() {
			switch is, err := logstore.Restored(tx, h.id); {
			case err != nil:
				return err
			case is && (h.head.Hub == r.cfg.Domain || h.head.Member(r.cfg.Domain)):
				ids = append(ids, h.id)
			case is:
				whole = append(whole, h.id)
			}
		}
		return nil
	})
	for page := range slices.Chunk(whole, 1000) {
		if err == nil {
			err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
				for _, id := range page {
					if err := logstore.ClearRestored(tx, id); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	for _, id := range ids {
		if h, lerr := r.lookup(id); lerr == nil {
			r.send(h, task{look: func(*room.State) {}})
		}
	}
	return err
}

// Suspected are the rooms that this provider may help to give another hub to, whose
// hub a provider is: those with traffic first.
func (r *Rooms) Suspected(domain string) (busy, idle []room.ID) {
	for _, h := range r.all() {
		head := h.stand()
		if head == nil || head.Hub != domain || !head.Auto || !head.Member(r.cfg.Domain) || h.stopped() != nil {
			continue
		}
		h.mu.Lock()
		h.moveLocked()
		loaded := h.live != nil
		h.mu.Unlock()
		if loaded {
			busy = append(busy, h.id)
		} else {
			idle = append(idle, h.id)
		}
	}
	return busy, idle
}

// TellHubs tells the users of this provider how the hub of their rooms does.
func (r *Rooms) TellHubs(domain string, silent bool) {
	for _, h := range r.all() {
		head := h.stand()
		if head == nil || head.Hub != domain || h.stopped() != nil {
			continue
		}
		users := r.members(h)
		if !r.cfg.Feed.Listening(users) {
			continue
		}
		ev := clientapi.HubState{Room: h.id.String(), Hub: domain, Silent: silent, Moves: head.Auto && len(head.Set) > 1}
		if err := r.cfg.Feed.Tell(users, clientapi.EventHub, ev); err != nil {
			r.log.Error("telling users of a room's hub", "room", h.id, "err", err)
		}
	}
}

// members are the users of this provider that take part in a room.
func (r *Rooms) members(h *handle) (out []uri.User) {
	for _, u := range r.cfg.Feed.Users() {
		err := r.cfg.Store.View(func(tx *store.Tx) error {
			in, err := r.cfg.Feed.Member(tx, u, h.id)
			if in {
				out = append(out, u)
			}
			return err
		})
		if err != nil {
			r.log.Error("looking up who takes part", "room", h.id, "err", err)
		}
	}
	return out
}

// Suspect has a room look for another hub, if the one that it has is dead.
func (r *Rooms) Suspect(id room.ID) {
	h, err := r.lookup(id)
	if err != nil || !r.dead(h.stand().Hub) {
		return
	}
	if r.send(h, task{event: &hub.Event{Kind: hub.Suspect}}) != nil {
		r.log.Debug("room is too busy to look for another hub", "room", id)
	}
}

// Partners are the providers to watch: the hubs of the rooms that this one follows, and
// the other replicas of those that it decides about. busy are those of rooms in which something happens.
func (r *Rooms) Partners() (busy, idle []string) {
	in := map[string]bool{}
	for _, h := range r.all() {
		h.mu.Lock()
		head, loaded := h.head, h.live != nil
		h.mu.Unlock()
		if head == nil || !slices.Contains(head.Providers, r.cfg.Domain) && !head.Member(r.cfg.Domain) {
			continue
		}
		if d := head.Hub; d != r.cfg.Domain {
			in[d] = in[d] || loaded
		}
		if !head.Member(r.cfg.Domain) {
			continue
		}
		for _, m := range head.Set {
			if m.Domain != r.cfg.Domain {
				in[m.Domain] = in[m.Domain] || loaded
			}
		}
	}
	for d, b := range in {
		if b {
			busy = append(busy, d)
		} else {
			idle = append(idle, d)
		}
	}
	slices.Sort(busy)
	slices.Sort(idle)
	return busy, idle
}

// Move hands a room that this provider orders over to another one. Errors: hub.ErrNotHub,
// hub.ErrTarget.
func (r *Rooms) Move(ctx context.Context, id room.ID, target string) error {
	h, err := r.lookup(id)
	if err != nil {
		return asProblem(err)
	}
	return r.do(ctx, h, task{event: &hub.Event{Kind: hub.HandOver}, target: target})
}

// certifiedOf is what a stored batch proves of its head.
func certifiedOf(b *logstore.Batch) *room.Certified {
	if b.Cert == nil {
		return nil
	}
	return &room.Certified{Head: b.Head, Certificate: *b.Cert}
}

// tailPiece is what is not final: the entries up to the newest head that the hub has
// signed of them.
func (r *Rooms) tailPiece(tx *store.Tx, id room.ID, seq uint64) ([]byte, error) {
	entries, heads, err := logstore.Tail(tx, id, seq)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	for n := len(entries); n > 0; n-- {
		if head, ok := heads[entries[n-1].Seq]; ok {
			p := &room.Piece{Head: head, Entries: entries[:n]}
			return p.Append(nil), nil
		}
	}
	return nil, nil
}
