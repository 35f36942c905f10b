package node

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// The pace at which rooms that have moved here are announced in the DHT. Those that store
// an announcement forget it after two days, so each is repeated after 20 to 24 hours; an
// announcement goes to some twenty nodes. 900 in an hour are below what nodes take from
// one peer (overlay.Limits.RoomsPerPeer, 1200), and enough to repeat 19,000 rooms in
// time. A provider that becomes the hub of 10,000 rooms at once has told of the first
// twenty at once and of all after 11 hours, and repeats them spread over the day. With
// more than 40,000, some are forgotten for a while.
const (
	noticeEvery  = 4 * time.Second
	noticeBurst  = 20
	noticeAgain  = 20 * time.Hour
	noticeSpread = 4 * time.Hour
	noticeRetry  = time.Minute // after a failure
	noticeLook   = time.Second // for rooms that have come or gone

	// So many are under way at once: nodes that do not answer hold one up for half a
	// minute.
	noticeWorkers = 20
)

// notices decides which room is announced next, and when. It does no IO and reads no
// clock. One goroutine owns it.
type notices struct {
	rooms  map[room.ID]notice
	fresh  []rooms.Here // in the order in which they came
	later  noticeHeap
	tokens int
	filled time.Time // when the last token came
}

// notice is a room to announce. What the queues hold counts only if it agrees with it.
type notice struct {
	term room.Term
	due  time.Time // zero while it is in fresh
}

// sync makes the rooms those of the list, and returns those that are gone. One in a new
// term is a new one.
func (n *notices) sync(list []rooms.Here) (gone []room.ID) {
	if n.rooms == nil {
		n.rooms, n.tokens = map[room.ID]notice{}, noticeBurst
	}
	here := make(map[room.ID]bool, len(list))
	for _, h := range list {
		here[h.Room] = true
		if old, ok := n.rooms[h.Room]; !ok || old.term != h.Term {
			n.rooms[h.Room] = notice{term: h.Term}
			n.fresh = append(n.fresh, h)
		}
	}
	for id := range n.rooms {
		if !here[id] {
			gone = append(gone, id)
			delete(n.rooms, id)
		}
	}
	return gone
}

// next returns the room to announce now, if there is one and the pace allows it: new ones
// first, then the one that has waited longest. done follows.
func (n *notices) next(now time.Time) (h rooms.Here, ok bool) {
	if n.filled.IsZero() || n.filled.After(now) {
		n.filled = now
	}
	if k := now.Sub(n.filled) / noticeEvery; k > 0 {
		n.filled = n.filled.Add(k * noticeEvery)
		n.tokens = int(min(int64(n.tokens)+int64(k), noticeBurst))
	}
	if n.tokens == 0 {
		return h, false
	}
	for len(n.fresh) > 0 {
		h, n.fresh = n.fresh[0], n.fresh[1:]
		if n.rooms[h.Room] == (notice{term: h.Term}) {
			n.tokens--
			return h, true
		}
	}
	for len(n.later) > 0 && !n.later[0].due.After(now) {
		x := heap.Pop(&n.later).(dueNotice)
		if n.rooms[x.Room] == (notice{x.Term, x.due}) {
			n.tokens--
			return x.Here, true
		}
	}
	return rooms.Here{}, false
}

// done says that a room was announced, or was not.
func (n *notices) done(h rooms.Here, now time.Time, spread time.Duration, err error) {
	if x, ok := n.rooms[h.Room]; !ok || x.term != h.Term {
		return
	}
	due := now.Add(noticeAgain + spread)
	if err != nil {
		due = now.Add(noticeRetry)
	}
	n.rooms[h.Room] = notice{h.Term, due}
	heap.Push(&n.later, dueNotice{h, due})
}

type dueNotice struct {
	rooms.Here
	due time.Time
}

// noticeHeap is a heap.Interface, the first one due on top.
type noticeHeap []dueNotice

func (h noticeHeap) Len() int           { return len(h) }
func (h noticeHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h noticeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *noticeHeap) Push(x any)        { *h = append(*h, x.(dueNotice)) }
func (h *noticeHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// movedRooms announces the rooms that have moved here, and finds others that have moved
// elsewhere.
type movedRooms struct {
	rooms   *rooms.Rooms
	overlay *overlay.Overlay
	log     *slog.Logger
}

// run announces until ctx ends.
func (m *movedRooms) run(ctx context.Context) error {
	type outcome struct {
		rooms.Here
		err error
	}
	var n notices
	var at uint64
	var busy int
	said := make(chan outcome)
	failing := false
	tick := time.NewTicker(noticeLook)
	defer tick.Stop()
	for {
		list, now, changed := m.rooms.MovedHere(at)
		if at = now; changed {
			for _, id := range n.sync(list) {
				m.overlay.WithdrawRoom(id)
			}
		}
		for busy < noticeWorkers && ctx.Err() == nil {
			h, ok := n.next(time.Now())
			if !ok {
				break
			}
			busy++
			go func() { // awaited below
				said <- outcome{h, m.overlay.AnnounceRoom(ctx, overlay.RoomRecord{Room: h.Room, Era: h.Term.Era, Number: h.Term.Number})}
			}()
		}
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				for range busy {
					<-said
				}
				return nil
			case x := <-said:
				busy--
				n.done(x.Here, time.Now(), rand.N(noticeSpread), x.err)
				if x.err != nil && ctx.Err() == nil && !failing {
					m.log.Warn("cannot tell the network that this provider orders a room; trying again", "room", x.Room, "error", x.err)
				}
				failing = x.err != nil
			case <-tick.C:
				wait = false
			}
		}
	}
}

// FindRoom implements clienthttp.Finder. What the own log says is proven; what the DHT
// says is a hint.
func (m *movedRooms) FindRoom(ctx context.Context, who account.Identity, u uri.Room) (*clientapi.FoundRoom, error) {
	id := room.IDOf([]byte(u.String()))
	out := &clientapi.FoundRoom{Room: id.String(), URI: u.String(), Hubs: []clientapi.RoomHub{}}
	if hub, term, err := m.rooms.HubFor(who, id); err == nil {
		out.Proven = true
		out.Hubs = append(out.Hubs, clientapi.RoomHub{Provider: hub, Term: term.String()})
		return out, nil
	}
	list, err := m.overlay.FindRoom(ctx, id)
	for _, r := range list {
		out.Hubs = append(out.Hubs, clientapi.RoomHub{Provider: r.Hub, Term: room.Term{Era: r.Era, Number: r.Number}.String(), Said: r.Made.UnixMilli()})
	}
	return out, findProblem(err, u)
}

// findProblem says to a person why nobody was found.
func findProblem(err error, u uri.Room) error {
	namer := u.Provider().Domain()
	why := func() string { return strings.ReplaceAll(err.Error(), "overlay: ", "") }
	switch {
	case err == nil:
		return nil
	case errors.Is(err, overlay.ErrRoomUnknown):
		return &clientapi.Problem{Status: http.StatusNotFound, Code: clientapi.CodeNotFound,
			Detail: fmt.Sprintf("nobody says that it orders %s: either it never moved away from %s, which is then the one to ask, or its hub has been away for two days, or the address is mistyped", u, namer)}
	case errors.Is(err, overlay.ErrRoomRecord):
		return &clientapi.Problem{Status: http.StatusNotFound, Code: clientapi.CodeNotFound,
			Detail: fmt.Sprintf("nobody who could be verified says that it orders %s (%s); ask %s, or whoever gave you the address", u, why(), namer)}
	case errors.Is(err, overlay.ErrNoPeers), errors.Is(err, overlay.ErrNotRunning):
		return &clientapi.Problem{Status: http.StatusServiceUnavailable, Code: clientapi.CodeUnavailable,
			Detail: why() + ": this provider cannot ask others now; try again later"}
	}
	return err
}
