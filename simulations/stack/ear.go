package stack

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/simulations"
)

// An ear notes what is said in a room, and when whom is told of it. Its methods may be called from any
// goroutine.
type ear struct {
	mu   sync.Mutex
	said map[messageOf]*saying
	read map[string]map[*person]time.Time // by text
	told map[*person]time.Time            // when a device was told last that the hub is another one
	err  map[*person]error                // what devices had to complain of
}

// messageOf names a message by who sent it, and its number there.
type messageOf struct {
	by    *person
	index uint64
}

// saying is a message. Times are zero before it is so.
type saying struct {
	text                  string
	sent, accepted, final time.Time
	failed                error
}

func newEar() *ear {
	return &ear{said: map[messageOf]*saying{}, read: map[string]map[*person]time.Time{}, told: map[*person]time.Time{}, err: map[*person]error{}}
}

// listen notes what a person's device tells, as long as it runs.
func (e *ear) listen(x *person) {
	x.ended.Go(func() {
		for {
			select {
			case <-x.running.Done():
				return
			case n := <-x.Events():
				e.hear(x, n, time.Now())
			}
		}
	})
}

func (e *ear) hear(x *person, n client.Notice, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch n := n.(type) {
	case client.MessageReceived:
		m := e.read[n.Message.Text]
		if m == nil {
			m = map[*person]time.Time{}
			e.read[n.Message.Text] = m
		}
		if m[x].IsZero() {
			m[x] = at
		}
	case client.SendState:
		s := e.saying(messageOf{x, n.Index})
		switch n.State {
		case client.StateAccepted:
			if s.accepted.IsZero() {
				s.accepted = at
			}
		case client.StateFinal:
			s.final = at
			if s.accepted.IsZero() {
				s.accepted = at // the stream was faster than the answer
			}
		case client.StateFailed, client.StateLost:
			s.failed = errors.Join(fmt.Errorf("it is %s", n.State), n.Err)
		}
	case client.HubChanged:
		e.told[x] = at
	case client.Problem:
		e.err[x] = errors.Join(e.err[x], n.Err)
	case client.Missed:
		e.err[x] = errors.Join(e.err[x], errors.New("notices were missed"))
	}
}

// saying returns one, of which a notice may tell before Send has returned. e.mu is held.
func (e *ear) saying(k messageOf) *saying {
	s := e.said[k]
	if s == nil {
		s = new(saying)
		e.said[k] = s
	}
	return s
}

// forgive forgets what devices had to complain of: while they come into a room, they may lack keys that
// they ask for then.
func (e *ear) forgive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = map[*person]error{}
}

// settled says whether all that some people have said is final, and all of them have read it.
func (e *ear) settled(people []*person) bool { return e.open(people) == "" }

// open names something that is not so; empty if all is.
func (e *ear) open(people []*person) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := map[*person]bool{}
	for _, x := range people {
		left[x] = true
	}
	for k, s := range e.said {
		if !left[k.by] {
			continue
		}
		if s.failed != nil || s.final.IsZero() {
			return fmt.Sprintf("%q of %s is not final (%v)", s.text, k.by.User(), s.failed)
		}
		for _, x := range people {
			if x != k.by && e.read[s.text][x].IsZero() {
				return fmt.Sprintf("%s has not read %q", x.User(), s.text)
			}
		}
	}
	return ""
}

// check sees to it that everybody has each message that was final once, and nobody had to complain.
func (e *ear) check(r *simulations.Run, people []*person, u uri.Room) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range people {
		if err := e.err[x]; err != nil {
			r.Violate("%s: %v", x.User(), err)
		}
		list, err := x.Messages(u, 0, math.MaxInt)
		if err != nil {
			r.Violate("%s: %v", x.User(), err)
			continue
		}
		have := map[string]int{}
		for _, m := range list {
			if m.State == client.StateFinal {
				have[m.Text]++
			}
		}
		for k, s := range e.said {
			if n := have[s.text]; n > 1 || n == 0 && !s.final.IsZero() {
				r.Violate("%q of %s was final, and %s has it %d times", s.text, k.by.User(), x.User(), n)
			}
		}
	}
}

// observe observes what was sent and became final between two moments, and returns how many that are.
// shortest are the ways between providers, if the hub was one all the time.
func (e *ear) observe(r *simulations.Run, shortest [][]time.Duration, hub int, from, to time.Time) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, s := range e.said {
		if s.sent.Before(from) || s.final.IsZero() || s.final.After(to) {
			continue
		}
		n++
		r.ObserveTime("accepted", s.accepted.Sub(s.sent))
		r.ObserveTime("final", s.final.Sub(s.sent))
		for x, at := range e.read[s.text] {
			if at.After(to) {
				continue
			}
			took := at.Sub(s.sent)
			r.ObserveTime("read", took)
			if shortest == nil {
				continue
			}
			if least := shortest[k.by.at.index][hub] + shortest[hub][x.at.index]; least > 0 {
				if took < least {
					r.Violate("%s read %q after %s, and the way takes %s", x.User(), s.text, took, least)
				}
				r.Observe("stretch", "1", float64(took)/float64(least))
			}
		}
	}
	return n
}

// observeService observes how long people waited who are to be served while the fault lasts.
func (e *ear) observeService(r *simulations.Run, people []*person, struck, healed time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := map[*person]time.Time{}
	for k, s := range e.said {
		if s.sent.IsZero() || s.sent.Before(struck) || s.final.IsZero() || s.final.After(healed) {
			continue
		}
		if f := first[k.by]; f.IsZero() || s.final.Before(f) {
			first[k.by] = s.final
		}
	}
	served, all := 0, 0
	for _, x := range people {
		all++
		if t := e.told[x]; t.After(struck) {
			r.ObserveTime("told", t.Sub(struck))
		}
		if f := first[x]; !f.IsZero() {
			r.ObserveTime("service", f.Sub(struck))
			served++
		}
	}
	r.Observe("served", "1", float64(served)/float64(all))
}

// observeReturn waits until a message is final that the member of a provider has sent after it came back, and observes how
// long that took.
func (e *ear) observeReturn(r *simulations.Run, provider int, back time.Time) error {
	var final time.Time
	if err := await(r.Context(), "the member of the provider that has come back being served", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for k, s := range e.said {
			if k.by.at.index == provider && s.sent.After(back) && !s.final.IsZero() && (final.IsZero() || s.final.Before(final)) {
				final = s.final
			}
		}
		return !final.IsZero()
	}); err != nil {
		return err
	}
	r.ObserveTime("back", final.Sub(back))
	return nil
}

// talk is people who say something now and then.
type talk struct {
	stop  map[*person]context.CancelFunc
	ended sync.WaitGroup
}

// startTalk has people talk until they are to be quiet.
func startTalk(r *simulations.Run, people []*person, u uri.Room, e *ear, every time.Duration) *talk {
	t := &talk{stop: map[*person]context.CancelFunc{}}
	for i, x := range people {
		ctx, cancel := context.WithCancel(r.Context())
		t.stop[x] = cancel
		draw := rand.New(rand.NewPCG(r.Seed, uint64(100+i)))
		t.ended.Go(func() { e.talk(ctx, x, u, every, draw) })
	}
	return t
}

// talk says something again and again, at times of a Poisson process.
func (e *ear) talk(ctx context.Context, x *person, u uri.Room, every time.Duration, draw *rand.Rand) {
	for n := 0; ; n++ {
		next := time.NewTimer(time.Duration(draw.ExpFloat64() * float64(every)))
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
		e.say(ctx, x, u, fmt.Sprintf("%s says %d%s", x.User(), n, strings.Repeat(".", draw.IntN(100))))
	}
}

// say has somebody say something.
func (e *ear) say(ctx context.Context, x *person, u uri.Room, text string) {
	sent := time.Now()
	index, err := x.Send(context.WithoutCancel(ctx), u, text)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.err[x] = errors.Join(e.err[x], err)
		return
	}
	s := e.saying(messageOf{x, index})
	s.text, s.sent = text, sent
}

// ask has people say something at once: who says nothing for long would else be served late.
func (t *talk) ask(ctx context.Context, e *ear, people []*person, u uri.Room) {
	for _, x := range people {
		t.ended.Go(func() { e.say(ctx, x, u, fmt.Sprintf("%s asks whether anybody is there", x.User())) })
	}
}

// hush ends one person's talk.
func (t *talk) hush(x *person) { t.stop[x]() }

// end returns when nobody talks any more. The second call does nothing.
func (t *talk) end() {
	for _, stop := range t.stop {
		stop()
	}
	t.ended.Wait()
}
