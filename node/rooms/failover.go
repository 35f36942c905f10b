package rooms

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

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

// calls are those under way to other providers, which end when the provider called is
// found dead: a room's goroutine may be waiting for the answer, with an election to see to.
type calls struct {
	mu  sync.Mutex
	all map[string]map[*context.CancelFunc]struct{} // guarded by mu, by domain
}

// begin returns a context that ends when a provider dies, and what to call at last.
func (c *calls) begin(ctx context.Context, domain string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]map[*context.CancelFunc]struct{}{}
	}
	if c.all[domain] == nil {
		c.all[domain] = map[*context.CancelFunc]struct{}{}
	}
	c.all[domain][&cancel] = struct{}{}
	return ctx, func() {
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.all[domain], &cancel)
		if len(c.all[domain]) == 0 {
			delete(c.all, domain)
		}
	}
}

// end ends the calls to a provider.
func (c *calls) end(domain string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cancel := range c.all[domain] {
		(*cancel)()
	}
}

// silence is for how long another provider has given no sign of life.
func (r *Rooms) silence(domain string) time.Duration {
	if r.cfg.Silence == nil || domain == r.cfg.Domain {
		return 0
	}
	return r.cfg.Silence(domain)
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
// a backup and that this provider has a say in. Of the others it may have forgotten that it
// has acknowledged a move, and asks when it hears of one; where besides the hub nobody takes
// part who could have asked for that, there is nothing to ask.
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
			head := h.stand()
			if head == nil {
				continue
			}
			switch is, err := logstore.Restored(tx, h.id); {
			case err != nil:
				return err
			case is && (head.Hub == r.cfg.Domain || head.Member(r.cfg.Domain)):
				ids = append(ids, h.id)
			case is && len(without(head.Providers, []string{head.Hub, r.cfg.Domain})) == 0:
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

// spoken says whether somebody has said something in a room lately. That it is in memory says
// less: so is one whose election has failed, and thousands of those must not go as fast as
// rooms in which people wait.
func (r *Rooms) spoken(h *handle) bool {
	at := h.traffic.Load()
	return at > 0 && r.cfg.Now().Sub(time.UnixMilli(at)) < 2*r.cfg.Idle
}

// Suspected are the rooms that this provider may help to give another hub to, whose
// hub a provider is: those with traffic first. Nobody waits any longer for an answer of
// that provider.
func (r *Rooms) Suspected(domain string) (busy, idle []room.ID) {
	r.calls.end(domain)
	for _, h := range r.all() {
		head := h.stand()
		if head == nil || head.Hub != domain || !head.Auto || !head.Member(r.cfg.Domain) || h.stopped() != nil {
			continue
		}
		h.mu.Lock()
		h.moveLocked()
		h.mu.Unlock()
		if r.spoken(h) {
			busy = append(busy, h.id)
		} else {
			idle = append(idle, h.id)
		}
	}
	return busy, idle
}

// TellHubs tells the users of this provider who listen how the hub of their rooms does, or,
// of those, only who has begun to listen since others had: told is what an earlier call
// returned, or 0 for all. What it costs is in the number of their rooms, once each.
func (r *Rooms) TellHubs(domain string, silent bool, told uint64) uint64 {
	listeners, opened := r.cfg.Feed.Users(told)
	if len(listeners) == 0 {
		return opened
	}
	users := map[room.ID][]uri.User{}
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		for _, u := range listeners {
			ids, err := r.cfg.Feed.Rooms(tx, u)
			if err != nil {
				return err
			}
			for _, id := range ids {
				users[id] = append(users[id], u)
			}
		}
		return nil
	})
	if err != nil {
		r.log.Error("looking up who is to be told of a hub", "hub", domain, "err", err)
		return told
	}
	for id, list := range users {
		h, err := r.lookup(id)
		if err != nil {
			continue
		}
		head := h.stand()
		if head.Hub != domain || h.stopped() != nil {
			continue
		}
		ev := clientapi.HubState{Room: id.String(), Hub: domain, Silent: silent, Moves: head.Auto && len(head.Set) > 1}
		if err := r.cfg.Feed.Tell(list, clientapi.EventHub, ev); err != nil {
			r.log.Error("telling users of a room's hub", "room", id, "err", err)
		}
	}
	return opened
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
//
// Asked again when nothing has changed in any room, it does not look at them again.
func (r *Rooms) Partners() (busy, idle []string) {
	r.partners.mu.Lock()
	defer r.partners.mu.Unlock()
	now := r.turns.Load() // before looking: what changes meanwhile is seen the next time
	if r.partners.known && r.partners.at == now {
		return slices.Clone(r.partners.busy), slices.Clone(r.partners.idle)
	}
	busy, idle = r.lookAtPartners()
	r.counts.partners.Add(1)
	r.partners.known, r.partners.at, r.partners.busy, r.partners.idle = true, now, slices.Clone(busy), slices.Clone(idle)
	return busy, idle
}

// partners is what Partners has found.
type partners struct {
	mu         sync.Mutex
	known      bool // guarded by mu, as what follows
	at         uint64
	busy, idle []string
}

func (r *Rooms) lookAtPartners() (busy, idle []string) {
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

// tailPiece is what is not final: the entries up to a head that the hub has signed of
// them, no more than one piece takes, if a head is there in time.
func (r *Rooms) tailPiece(tx *store.Tx, id room.ID, seq uint64) ([]byte, error) {
	entries, heads, err := logstore.Tail(tx, id, seq)
	if err != nil {
		return nil, err
	}
	p := new(room.Piece)
	for n, size := range tailSizes(entries) {
		head, ok := heads[entries[n].Seq]
		if ok && (p.Entries == nil || size <= rangeBytes) {
			p.Head, p.Entries = head, entries[:n+1]
		}
	}
	if p.Entries == nil {
		return nil, nil
	}
	return p.Append(nil), nil
}

// overTail is a range that ends the log, and the tail after it, under a head of a later
// term: who has voted in that term takes nothing under an older head any more, and could
// not learn what became final before. nil if there is no such head, or it is too much for
// one piece.
func (r *Rooms) overTail(tx *store.Tx, id room.ID, entries [][]byte, b *logstore.Batch) ([]byte, error) {
	end, err := logstore.ReadHead(tx, id)
	if err != nil || b.Head.Seq+1 != end.At.Next {
		return nil, err
	}
	tail, heads, err := logstore.Tail(tx, id, end.At.Next)
	if err != nil || len(tail) == 0 {
		return nil, err
	}
	head, ok := heads[tail[len(tail)-1].Seq]
	if !ok || head.Term.Compare(b.Head.Term) <= 0 {
		return nil, nil
	}
	size := 0
	for _, e := range entries {
		size += len(e)
	}
	for _, e := range tail {
		entries, size = append(entries, e.Append(nil)), size+sizeOf(e)
	}
	if size > 2*rangeBytes {
		return nil, nil
	}
	return room.AppendPiece(nil, &head, entries, certifiedOf(b)), nil
}

// tailSizes counts up about how many bytes entries are.
func tailSizes(entries []*room.Entry) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		size := 0
		for i, e := range entries {
			if size += sizeOf(e); !yield(i, size) {
				return
			}
		}
	}
}

// sizeOf is about how many bytes an entry is, rather more.
func sizeOf(e *room.Entry) int { return len(e.Body) + 192 }
