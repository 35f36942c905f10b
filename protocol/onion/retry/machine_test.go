package retry_test

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/retry"
)

var start = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)

func id(n int) (id onion.MessageID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

// A script is a Machine whose effects are written down.
type script struct {
	t   *testing.T
	m   *retry.Machine
	now time.Time
}

func text(effects []retry.Effect) (out []string) {
	for _, e := range effects {
		if e.Send != nil {
			out = append(out, fmt.Sprintf("send %d.%d/%d", e.Send.Message[7], e.Send.Index, e.Send.Number))
		} else {
			out = append(out, fmt.Sprintf("%d %v", e.Message[7], e.Verdict))
		}
	}
	return out
}

func (s *script) want(what string, got []retry.Effect, err error, effects ...string) {
	s.t.Helper()
	if d := cmp.Diff(effects, text(got)); d != "" || err != nil {
		s.t.Errorf("%s (- wanted): %v\n%s", what, err, d)
	}
}

// expire lets time go on until the machine asks for it, and says how much that was.
func (s *script) expire(what string, after time.Duration, effects ...string) {
	s.t.Helper()
	if got := s.m.Next().Sub(s.now); got != after {
		s.t.Errorf("%s: after %v, not %v", what, got, after)
	}
	if early := s.m.Expire(s.m.Next().Add(-1)); len(early) > 0 {
		s.t.Errorf("%s: too early: %s", what, text(early))
	}
	s.now = s.m.Next()
	s.want(what, s.m.Expire(s.now), nil, effects...)
}

func (s *script) ack(message, index, number int, status onion.Status) ([]retry.Effect, error) {
	return s.m.Acknowledged(s.now, retry.Try{Message: id(message), Index: uint8(index), Number: number},
		onion.Ack{Message: id(message), Index: uint8(index), Status: status})
}

func newScript(t *testing.T, c retry.Config) *script {
	return &script{t: t, m: retry.New(c), now: start}
}

// TestTimes: each try is waited for as long as its own packets were told to wait, and a margin that
// doubles; after the last one the verdict is that nobody knows.
func TestTimes(t *testing.T) {
	s := newScript(t, retry.Config{})
	got, err := s.m.Begin(s.now, id(1), 1)
	s.want("begin", got, err, "send 1.0/1")
	s.m.Sent(s.now, retry.Try{Message: id(1), Number: 1}, 3*time.Second)
	s.expire("first", 5*time.Second, "send 1.0/2")
	s.m.Failed(s.now, retry.Try{Message: id(1), Number: 2})
	s.m.Sent(s.now, retry.Try{Message: id(1), Number: 1}, time.Hour) // says nothing any more
	s.expire("second", 4*time.Second, "send 1.0/3")
	s.expire("third, of which nothing was said", 8*time.Second, "send 1.0/4")
	s.m.Sent(s.now, retry.Try{Message: id(1), Number: 4}, -time.Hour)
	s.expire("fourth", 16*time.Second, "1 unknown")
	if !s.m.Next().IsZero() || s.m.Len() != 0 {
		t.Errorf("something is left: %v, %d messages", s.m.Next(), s.m.Len())
	}
	got, err = s.ack(1, 0, 2, onion.Complete)
	s.want("an acknowledgement after the verdict", got, err)
}

// TestVerdicts: Complete and Refused end a message at once, by whichever part and try they come.
func TestVerdicts(t *testing.T) {
	for status, want := range map[onion.Status]string{onion.Complete: "1 delivered", onion.Refused: "1 refused"} {
		s := newScript(t, retry.Config{})
		got, err := s.m.Begin(s.now, id(1), 3)
		s.want("begin", got, err, "send 1.0/1", "send 1.1/1", "send 1.2/1")
		got, err = s.ack(1, 2, 1, onion.Held)
		s.want("held", got, err)
		s.expire("the others", 2*time.Second, "send 1.0/2", "send 1.1/2")
		got, err = s.ack(1, 1, 1, status) // the first try, late
		s.want("the end", got, err, want)
		got, err = s.m.Begin(s.now, id(1), 1) // the same id again, with fewer parts than deadlines are left of
		s.want("again", got, err, "send 1.0/1")
		s.expire("again", 2*time.Second, "send 1.0/2")
		s.expire("again, beyond the old deadlines", 4*time.Second, "send 1.0/3")
	}
}

// TestHeldIsGone: where all parts are held and nobody says that the message is complete, all of them
// begin again.
func TestHeldIsGone(t *testing.T) {
	s := newScript(t, retry.Config{Tries: 2})
	got, err := s.m.Begin(s.now, id(1), 2)
	s.want("begin", got, err, "send 1.0/1", "send 1.1/1")
	for i := range 2 {
		got, err = s.ack(1, i, 1, onion.Held)
		s.want("held", got, err)
	}
	s.expire("all are held", 2*time.Second, "send 1.0/2", "send 1.1/2")
	got, err = s.ack(1, 0, 2, onion.Held)
	s.want("held", got, err)
	s.expire("one is held, the other has no tries left", 4*time.Second, "1 unknown")
}

// TestRefusedCalls: what cannot be begun, and acknowledgements that are of no try, change nothing.
func TestRefusedCalls(t *testing.T) {
	s := newScript(t, retry.Config{Messages: 2})
	for _, parts := range []int{0, -1, onion.MaxParts + 1} {
		if _, err := s.m.Begin(s.now, id(1), parts); !errors.Is(err, retry.ErrBegun) {
			t.Errorf("%d parts: %v", parts, err)
		}
	}
	for i := range 2 {
		if _, err := s.m.Begin(s.now, id(i), onion.MaxParts); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.m.Begin(s.now, id(0), 1); !errors.Is(err, retry.ErrBegun) {
		t.Errorf("begun twice: %v", err)
	}
	if _, err := s.m.Begin(s.now, id(3), 1); !errors.Is(err, retry.ErrBusy) {
		t.Errorf("one too many: %v", err)
	}
	good := retry.Try{Message: id(0), Index: 3, Number: 1}
	for name, c := range map[string]struct {
		try retry.Try
		ack onion.Ack
	}{
		"another part":      {good, onion.Ack{Message: id(0), Index: 4, Status: onion.Complete}},
		"another message":   {good, onion.Ack{Message: id(1), Index: 3, Status: onion.Complete}},
		"no status":         {good, onion.Ack{Message: id(0), Index: 3}},
		"a try to come":     {retry.Try{Message: id(0), Index: 3, Number: 2}, onion.Ack{Message: id(0), Index: 3, Status: onion.Complete}},
		"no try":            {retry.Try{Message: id(0), Index: 3}, onion.Ack{Message: id(0), Index: 3, Status: onion.Complete}},
		"a part beyond all": {retry.Try{Message: id(0), Index: 99, Number: 1}, onion.Ack{Message: id(0), Index: 99, Status: onion.Complete}},
	} {
		if got, err := s.m.Acknowledged(s.now, c.try, c.ack); !errors.Is(err, retry.ErrOther) || len(got) > 0 {
			t.Errorf("%s: %v %s", name, err, text(got))
		}
	}
	if s.m.Len() != 2 {
		t.Errorf("%d messages are under way", s.m.Len())
	}
}

// TestAnyOrder: whatever comes in whatever order, each message gets one verdict, no part is tried more
// often than may be, Delivered is said only after Complete, and when nothing comes any more all end.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := retry.Config{Tries: rapid.IntRange(1, 5).Draw(t, "tries"), Messages: 4}
		m := retry.New(c)
		now := start
		verdicts, complete, refused, begun := map[onion.MessageID]retry.Verdict{}, map[onion.MessageID]bool{}, map[onion.MessageID]bool{}, 0
		var tries []retry.Try
		last := map[string]int{}
		apply := func(effects []retry.Effect, err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range effects {
				if e.Send == nil {
					if verdicts[e.Message] != 0 {
						t.Fatalf("a second verdict on %x", e.Message)
					}
					verdicts[e.Message] = e.Verdict
					if e.Verdict == retry.Delivered && !complete[e.Message] || e.Verdict == retry.Refused && !refused[e.Message] || e.Verdict == 0 {
						t.Fatalf("%v was not said of %x", e.Verdict, e.Message)
					}
					continue
				}
				part := fmt.Sprintf("%x %d", e.Send.Message, e.Send.Index)
				if last[part]++; e.Send.Number != last[part] || e.Send.Number > c.Tries || verdicts[e.Send.Message] != 0 {
					t.Fatalf("try %d of %s", e.Send.Number, part)
				}
				tries = append(tries, *e.Send)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				effects, err := m.Begin(now, id(begun), rapid.IntRange(1, 4).Draw(t, "parts"))
				if errors.Is(err, retry.ErrBusy) && m.Len() == 4 {
					return
				}
				begun++
				apply(effects, err)
			},
			"sent": func(t *rapid.T) {
				if len(tries) > 0 {
					m.Sent(now, rapid.SampledFrom(tries).Draw(t, "try"), time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms"))*time.Millisecond)
				}
			},
			"acknowledged": func(t *rapid.T) {
				if len(tries) == 0 {
					return
				}
				x := rapid.SampledFrom(tries).Draw(t, "try")
				status := rapid.SampledFrom([]onion.Status{onion.Held, onion.Held, onion.Complete, onion.Refused}).Draw(t, "status")
				if verdicts[x.Message] == 0 {
					complete[x.Message] = complete[x.Message] || status == onion.Complete
					refused[x.Message] = refused[x.Message] || status == onion.Refused
				}
				apply(m.Acknowledged(now, x, onion.Ack{Message: x.Message, Index: x.Index, Status: status}))
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
				apply(m.Expire(now), nil)
			},
			"": func(t *rapid.T) {
				if m.Len() != begun-len(verdicts) || (m.Len() > 0) == m.Next().IsZero() {
					t.Fatalf("%d begun, %d verdicts, %d under way, next %v", begun, len(verdicts), m.Len(), m.Next())
				}
			},
		})
		for !m.Next().IsZero() {
			now = m.Next()
			apply(m.Expire(now), nil)
		}
		if len(verdicts) != begun {
			t.Fatalf("%d messages, %d verdicts", begun, len(verdicts))
		}
	})
}

// An event of the model network: something arrives, or a deadline passes.
type event struct {
	at     time.Duration
	number int
	try    retry.Try
	status onion.Status // of an acknowledgement; 0: a part arrives
}

// TestDyingRelays is the model of the issue: messages through relays of which 30 % die, and an end that
// forgets what it holds in memory now and then. Each message is delivered, and then kept once, or said
// to be unknown; none is lost silently. The end is the Reassembler.
func TestDyingRelays(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	t.Run("found by nobody", func(t *testing.T) { dyingRelays(t, n, 1, 0.3) })
	t.Run("left out of the next snapshot", func(t *testing.T) { dyingRelays(t, n/5, 10, 0.8) })
}

// dyingRelays sends messages, in a run of some snapshots, each of which has the relays that live when it
// is made. At least a share of them has to be delivered, or the model shows nothing.
func dyingRelays(t *testing.T, messages, snapshots int, share float64) {
	const (
		width = 10 // relays in each of three layers
		every = 2 * time.Millisecond
		mean  = 500 * time.Millisecond
	)
	run := time.Duration(messages) * every
	snapshot := run / time.Duration(snapshots)
	restart := run / 10 // of the end
	random := rand.New(rand.NewPCG(7, 11))
	// Three of each ten relays die within the first half of the run.
	var dies [3][width]time.Duration
	for l := range dies {
		for i := range dies[l] {
			dies[l][i] = time.Duration(1 << 62)
			if i < 3 {
				dies[l][i] = time.Duration(random.Int64N(int64(run) / 2))
			}
		}
	}
	// way is how long a packet takes over three relays, and false if one of them is dead when it comes
	// or dies while it waits.
	way := func(at time.Duration) (took time.Duration, ok bool) {
		ok = true
		for l := range dies {
			took += 20*time.Millisecond + time.Duration(random.ExpFloat64()*float64(mean))
			i := random.IntN(width)
			for dies[l][i] <= at/snapshot*snapshot {
				i = random.IntN(width)
			}
			ok = ok && at+took < dies[l][i]
		}
		return took + 20*time.Millisecond, ok
	}

	m := retry.New(retry.Config{Messages: messages})
	box := onion.Mailbox{1}
	limits := onion.Limits{Messages: 1 << 20}
	end := onion.NewReassembler(limits)
	kept, verdicts := map[onion.MessageID]int{}, map[onion.MessageID]retry.Verdict{}
	parts := func(id onion.MessageID) int { return 1 + int(id[7])%3 }
	var queue events
	packets, restarts, now := 0, 0, time.Duration(0)
	apply := func(effects []retry.Effect) {
		for _, e := range effects {
			if e.Send == nil {
				if verdicts[e.Message] != 0 {
					t.Fatalf("a second verdict on %x", e.Message)
				}
				verdicts[e.Message] = e.Verdict
				continue
			}
			packets++
			took, ok := way(now)
			m.Sent(start.Add(now), *e.Send, 2*took) // and as long for the answer
			if ok {
				heap.Push(&queue, event{at: now + took, number: packets, try: *e.Send})
			}
		}
	}
	step := func(until time.Duration) {
		for {
			at, deadline := until, m.Next()
			if !deadline.IsZero() {
				at = min(at, deadline.Sub(start))
			}
			if len(queue) == 0 || queue[0].at > at {
				now = max(now, at)
				if at == until {
					return
				}
				apply(m.Expire(start.Add(now)))
				continue
			}
			e := heap.Pop(&queue).(event)
			now = e.at
			if e.status != 0 {
				effects, err := m.Acknowledged(start.Add(now), e.try, onion.Ack{Message: e.try.Message, Index: e.try.Index, Status: e.status})
				if err != nil {
					t.Fatal(err)
				}
				apply(effects)
				continue
			}
			f := onion.Fragment{Message: e.try.Message, Index: e.try.Index, Count: uint8(parts(e.try.Message)), Data: []byte{e.try.Index}}
			message, status, err := end.Add(start.Add(now), box, f)
			if err != nil {
				t.Fatal(err)
			}
			if message != nil {
				kept[e.try.Message]++
				end.Stored(start.Add(now), box, e.try.Message)
				status = onion.Complete
			}
			if took, ok := way(now); ok {
				packets++
				heap.Push(&queue, event{at: now + took, number: packets, try: e.try, status: status})
			}
		}
	}
	for i := range messages {
		step(time.Duration(i) * every)
		if now/restart > (now-every)/restart && i > 0 {
			restarts++
			end = onion.NewReassembler(limits)
			for id := range kept {
				end.Stored(start.Add(now), box, id)
			}
		}
		effects, err := m.Begin(start.Add(now), id(i), parts(id(i)))
		if err != nil {
			t.Fatal(err)
		}
		apply(effects)
	}
	for m.Len() > 0 {
		step(now + time.Minute)
	}
	count, arrived, silent, twice := map[retry.Verdict]int{}, 0, 0, 0
	for i := range messages {
		v, k := verdicts[id(i)], kept[id(i)]
		count[v]++
		switch {
		case k > 1:
			twice++
		case v == retry.Delivered && k == 0, v == 0:
			silent++
		case v == retry.Unknown && k == 1:
			arrived++
		}
	}
	t.Logf("%d messages in %d packets, the end began anew %d times: %d delivered, %d unknown, of which %d had arrived", messages, packets, restarts,
		count[retry.Delivered], count[retry.Unknown], arrived)
	if silent != 0 || twice != 0 || count[retry.Delivered]+count[retry.Unknown] != messages {
		t.Errorf("%d messages were lost silently, %d kept twice; verdicts %v", silent, twice, count)
	}
	if restarts == 0 || snapshots == 1 && (count[retry.Unknown] == 0 || arrived == 0) || float64(count[retry.Delivered]) < share*float64(messages) {
		t.Errorf("the model shows nothing: %v, %d of the unknown arrived, %d restarts", count, arrived, restarts)
	}
}

// events implement heap.Interface, in the order of their times.
type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].number < q[j].number
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	e := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return e
}
