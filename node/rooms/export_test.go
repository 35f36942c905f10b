package rooms

import (
	"context"
	"crypto/ed25519"
	"slices"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Handles is how many rooms there are handles of, those included that never came
// to be.
func (r *Rooms) Handles() int { return len(r.all()) }

// Queued is how many tasks wait for a room.
func (r *Rooms) Queued(id room.ID) int {
	h, err := r.lookup(id)
	if err != nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.live == nil {
		return 0
	}
	return len(h.live.in)
}

// Searched is how many entries were read in search of commits.
func (r *Rooms) Searched() uint64 { return r.counts.searched.Load() }

// HoldBans leaves lost bans alone, as if the provider stopped before it could see to them.
func (r *Rooms) HoldBans() {
	r.bans.mu.Lock()
	defer r.bans.mu.Unlock()
	r.bans.held = true
}

// HoldParents leaves alone who has left a parent, as if the provider stopped before it could see
// to that. What is under way ends first.
func (r *Rooms) HoldParents() {
	b := &r.kin.compared
	for busy := true; busy; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		b.held, busy = true, false
		for _, s := range b.rooms {
			busy = busy || s.busy
		}
		b.mu.Unlock()
	}
}

// Bans are written of how many bans that are not in force yet.
func (r *Rooms) Bans() (n int) {
	r.cfg.Store.View(func(tx *store.Tx) error {
		n = 0
		for _, err := range logstore.Bans(tx, nil) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n
}

// LimitNotice makes the longest notice shorter.
func (r *Rooms) LimitNotice(n int) { r.maxNotice = n }

// LimitSearch makes searches shorter.
func (r *Rooms) LimitSearch(n uint64) { r.searchLimit = n }

// SettleIn sets how long after a room has begun it is asked for once more.
func (r *Rooms) SettleIn(d time.Duration) { r.settleIn = d }

// SearchCommit searches a room's log.
func (r *Rooms) SearchCommit(ctx context.Context, id room.ID, tree []byte, at uint64) (room.Position, bool, error) {
	h, err := r.lookup(id)
	if err != nil {
		return room.Position{}, false, err
	}
	return r.searchCommit(ctx, h, tree, at)
}

// TakePart has what is in memory of a room say that a provider takes part, as it
// does for a moment when the store knows better already.
func (r *Rooms) TakePart(id room.ID, domain string) {
	h, err := r.lookup(id)
	if err != nil {
		panic(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	head := *h.head
	head.Providers = append(slices.Clone(head.Providers), domain)
	h.head = &head
}

// NudgeAll has a provider told of heads, all at once.
func (r *Rooms) NudgeAll(domain string, heads []room.SignedHead) {
	r.nudges.mu.Lock()
	w := map[room.ID]room.SignedHead{}
	for _, h := range heads[1:] {
		w[h.Room] = h
	}
	r.nudges.waiting[domain] = w
	r.nudges.mu.Unlock()
	if !r.spawn(func(ctx context.Context) { r.runNudges(ctx, domain) }) {
		panic("rooms are not running")
	}
	r.nudge(domain, heads[0])
}

const (
	QueueLength = queueLength
	MaxLookups  = maxLookups
	MaxTail     = maxTail
)

// PartnerLooks is how often all rooms were looked at for whom to watch.
func (r *Rooms) PartnerLooks() uint64 { return r.counts.partners.Load() }

// Hold keeps a room's goroutine busy until release is called: what comes meanwhile waits in
// its queue, and is done together.
func (r *Rooms) Hold(id room.ID) (release func(), err error) {
	h, err := r.lookup(id)
	if err != nil {
		return nil, err
	}
	free := make(chan struct{})
	err = r.send(h, task{look: func(*room.State) { <-free }, done: make(chan error, 1)})
	return func() { close(free) }, err
}

// View runs f over a room's state.
func (r *Rooms) View(ctx context.Context, id room.ID, f func(*room.State)) error {
	h, err := r.lookup(id)
	if err != nil {
		return err
	}
	return r.view(ctx, h, f)
}

// Verified is how many signatures of heads were computed.
func (r *Rooms) Verified() uint64 { return r.counts.verified.Load() }

// VerifyHead verifies a head of a room that is here.
func (r *Rooms) VerifyHead(head *room.SignedHead, key ed25519.PublicKey) error {
	h, err := r.lookup(head.Room)
	if err != nil {
		return err
	}
	return r.verify(h, head, key)
}

// Without and Union are sets' operations on lists.
var (
	Without = without[int]
	Union   = union
)

// Tick has time pass for a room's machine.
func (r *Rooms) Tick(ctx context.Context, id room.ID) error {
	h, err := r.lookup(id)
	if err != nil {
		return err
	}
	return r.do(ctx, h, task{look: func(*room.State) {
		h.mu.Lock()
		l := h.live // whose goroutine this is
		h.mu.Unlock()
		l.tick(ctx)
	}})
}

// Round is how long a candidacy has at least, after so many and if an answer took so long.
func Round(rounds int, answer time.Duration) time.Duration {
	return (&contest{rounds: rounds, answer: answer}).round()
}
