package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// Rooms are handed over by the operator's wish, one or all of them. A release binds: if
// the target is dead, nobody orders the room until several replicas have elected this
// provider again, or, where it alone decided, until the target is back. So the target is
// asked for a sign of life first.

const (
	// drainWidth is how many rooms are handed over at a time.
	drainWidth = 64
	// handOverTime is how long a drain waits for one room. The release is repeated after
	// that, too.
	handOverTime = 10 * time.Second
	// answerTime is how long a target may take to give a sign of life, freshAnswer how
	// long one counts, and freshSilence that there was none: all rooms wait while one asks.
	answerTime   = 3 * time.Second
	freshAnswer  = time.Second
	freshSilence = 10 * time.Second
	// sayAgain is how often somebody is told how far a drain is.
	sayAgain = 200 * time.Millisecond
)

func refused(code clientapi.Code, format string, args ...any) error {
	return &clientapi.Problem{Status: 409, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// MoveRoom implements admin.Rooms: it hands a room over and waits until the target
// orders it, as far as this provider knows.
func (o operatorRooms) MoveRoom(ctx context.Context, id, target string) (*admin.Moved, error) {
	list := o.r.List()
	full, err := roomID(list, id)
	if err != nil {
		return nil, err
	}
	s := &list[slices.IndexFunc(list, func(s rooms.Summary) bool { return s.ID == room.ID(full).String() })]
	heirs := s.Heirs(o.domain)
	switch {
	case s.Hub != o.domain:
		return nil, refused(clientapi.CodeForbidden, "the room is ordered by %s: its operator can move it", s.Hub)
	case target == o.domain:
		return nil, refused(clientapi.CodeInvalid, "%s orders the room already", target)
	case len(heirs) == 0:
		return nil, refused(clientapi.CodeInvalid, "the room cannot go to %s: no other provider takes part in it", target)
	case !slices.Contains(heirs, target):
		return nil, refused(clientapi.CodeInvalid, "the room cannot go to %s; it can go to %s", target, strings.Join(heirs, ", "))
	}
	if err := o.ask(ctx, target); err != nil {
		return nil, &clientapi.Problem{Status: 502, Code: clientapi.CodeUnreachable, Detail: fmt.Sprintf("nothing was released, because %s does not answer: %s", target, plain(err))}
	}
	begin := time.Now()
	to, err := o.handOver(ctx, room.ID(full), target)
	if err != nil {
		return nil, err
	}
	out := &admin.Moved{Pause: time.Since(begin)}
	if to != target {
		return nil, refused(clientapi.CodeInvalid, "the room is ordered by %s now: it was elected meanwhile", to)
	}
	r, err := o.ShowRoom(ctx, id)
	if err != nil {
		return nil, err
	}
	out.Room = *r
	return out, nil
}

func (o operatorRooms) ask(ctx context.Context, domain string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("not within %s", answerTime))
	defer cancel()
	return o.answers(ctx, domain)
}

// handOver releases a room and waits until somebody else orders it. A room that was
// released before is only waited for.
func (o operatorRooms) handOver(ctx context.Context, id room.ID, target string) (string, error) {
	before, err := o.r.Standing(ctx, id)
	if err != nil {
		return "", err
	}
	waits := "it was released to " + target + ", which has not begun to order it yet; it is told again until it does"
	if err = o.r.Move(ctx, id, target); errors.Is(err, hub.ErrNotHub) {
		st, err := o.r.Standing(ctx, id)
		switch {
		case err != nil:
			return "", err
		case st.Role == rooms.RoleRestored:
			return "", &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable,
				Detail: "it comes from a backup, and not all who decide about it have answered yet what they hold of it"}
		case st.Role == rooms.RoleReleasing:
			waits = "it was released to " + st.To + " before, which has not begun to order it yet; it is told again until it does"
		default:
			waits = "others are deciding who orders it"
		}
	} else if errors.Is(err, hub.ErrTarget) {
		return "", refused(clientapi.CodeInvalid, "it cannot go to %s, which is none of those that decide about it", target)
	} else if err != nil && ctx.Err() == nil {
		return "", err
	}
	to, err := o.r.Moved(ctx, id, before.Term)
	if ctx.Err() != nil {
		return "", &clientapi.Problem{Status: 504, Code: clientapi.CodeUnavailable, Detail: waits}
	}
	if err == nil && to == o.domain {
		return "", &clientapi.Problem{Status: 502, Code: clientapi.CodeUnreachable,
			Detail: fmt.Sprintf("%s did not take it, so %s orders it again", target, o.domain)}
	}
	return to, err
}

// DrainRooms implements admin.Rooms. It keeps nothing: who begins again finds the rooms
// that are left.
func (o operatorRooms) DrainRooms(ctx context.Context, progress func(admin.Draining)) (*admin.Drained, error) {
	d := &drain{o: o, began: time.Now(), asked: map[string]*asked{}}
	return d.run(ctx, progress)
}

// drain is one under way.
type drain struct {
	o     operatorRooms
	began time.Time

	mu    sync.Mutex
	asked map[string]*asked // guarded by mu, by domain
}

// asked is whether a provider answers.
type asked struct {
	mu  sync.Mutex // held while it is asked
	at  time.Time  // zero: never
	err error
}

type handedOver struct {
	room *rooms.Summary
	err  error // why it stayed
}

// run goes over the rooms until it finds none that it has not tried: new ones may come
// while it is at work.
func (d *drain) run(ctx context.Context, progress func(admin.Draining)) (*admin.Drained, error) {
	out := new(admin.Drained)
	tell := func() {
		out.Took = time.Since(d.began)
		if progress != nil {
			progress(out.Draining)
		}
	}
	tick := time.NewTicker(sayAgain)
	defer tick.Stop()
	tried := map[string]bool{}
	for ctx.Err() == nil {
		var todo []rooms.Summary
		for _, s := range d.o.r.List() {
			if s.Hub == d.o.domain && !tried[s.ID] {
				tried[s.ID] = true
				todo = append(todo, s)
			}
		}
		if len(todo) == 0 {
			break
		}
		out.Rooms += len(todo)
		tell()
		todoC, doneC := make(chan *rooms.Summary), make(chan handedOver)
		var workers sync.WaitGroup
		for range min(drainWidth, len(todo)) {
			workers.Go(func() {
				for s := range todoC {
					doneC <- handedOver{s, d.one(ctx, s)}
				}
			})
		}
		next, under := 0, 0
		for next < len(todo) && ctx.Err() == nil || under > 0 {
			give := todoC
			var s *rooms.Summary
			if next < len(todo) && ctx.Err() == nil {
				s = &todo[next]
			} else {
				give = nil
			}
			select {
			case give <- s:
				next++
				under++
			case h := <-doneC:
				under--
				note(out, h)
			case <-tick.C:
				tell()
			}
		}
		close(todoC)
		workers.Wait()
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("draining: %w", err)
	}
	for _, s := range d.o.r.List() {
		if s.Hub != d.o.domain && slices.Contains(s.Replicas, d.o.domain) {
			out.Voter++
		}
	}
	tell()
	return out, nil
}

// note counts a room.
func note(out *admin.Drained, h handedOver) {
	if h.err == nil {
		out.Moved++
		return
	}
	out.Stayed++
	if len(out.Left) < admin.MaxLeft {
		out.Left = append(out.Left, admin.LeftRoom{ID: h.room.ID, URI: h.room.URI, Why: detail(h.err)})
	}
}

// detail is what a person needs of an error.
func detail(err error) string {
	var p *clientapi.Problem
	if errors.As(err, &p) {
		return p.Detail
	}
	return err.Error()
}

// one hands one room over to the next in its set that answers.
func (d *drain) one(ctx context.Context, s *rooms.Summary) error {
	if s.Broken != "" {
		return errors.New("it stands still: " + s.Broken)
	}
	heirs := s.Heirs(d.o.domain)
	if len(heirs) == 0 {
		return errors.New("no other provider takes part in it")
	}
	id, err := roomID([]rooms.Summary{*s}, s.ID)
	if err != nil {
		return err
	}
	for _, target := range heirs {
		if d.answers(ctx, target) != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, handOverTime)
		defer cancel()
		_, err := d.o.handOver(ctx, room.ID(id), target)
		return err
	}
	return errors.New("no answer from " + strings.Join(heirs, ", ") + ", who could order it")
}

// answers asks a provider, but not for every room anew.
func (d *drain) answers(ctx context.Context, domain string) error {
	d.mu.Lock()
	a := d.asked[domain]
	if a == nil {
		a = new(asked)
		d.asked[domain] = a
	}
	d.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh := freshAnswer
	if a.err != nil {
		fresh = freshSilence
	}
	if a.at.IsZero() || time.Since(a.at) > fresh {
		a.err = d.o.ask(ctx, domain)
		a.at = time.Now()
	}
	return a.err
}
