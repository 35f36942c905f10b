package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

func bodies(from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf("%03d", i))
	}
	return list
}

func TestDeliversInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		b := newBox(t, memory(t), n, nil)
		b.put(biloxi, bodies(0, 20)...) // before Run
		b.run()
		b.put(biloxi, bodies(20, 50)...)
		b.put(chicago, "hello")
		synctest.Wait()
		time.Sleep(time.Second)
		if diff := cmp.Diff(bodies(0, 50), n.got(biloxi)); diff != "" {
			t.Error(diff)
		}
		if got := n.got(chicago); len(got) != 1 {
			t.Errorf("chicago got %v", got)
		}
		if w := b.waiting(); w != "" || b.Stats().Delivered != 51 || n.attempts() != 51 {
			t.Errorf("waiting %q, %+v, %d attempts", w, b.Stats(), n.attempts())
		}
	})
}

// A target that is away is tried less and less often, at once when it is back,
// and does not hold up others.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		away := true
		n.answer = func(q peering.Request, _ int) error {
			if away && q.Target == biloxi {
				return peering.ErrUnreachable
			}
			return nil
		}
		b := newBox(t, memory(t), n, nil)
		b.run()
		b.put(biloxi, "1", "2")
		time.Sleep(4 * time.Hour)
		// 12 attempts until the pause is 5 minutes, then one in 2.5 to 5 minutes.
		if a := n.attempts(); a < 48 || a > 12+4*24+1 {
			t.Errorf("%d attempts in 4 hours", a)
		}
		synctest.Wait()
		for i := 1; i < len(n.times); i++ {
			least := min(100*time.Millisecond<<(i-1)/2, 150*time.Second)
			if i < 20 && n.times[i].Sub(n.times[i-1]) < least {
				t.Errorf("attempt %d after %v, want at least %v", i, n.times[i].Sub(n.times[i-1]), least)
			}
		}
		before := n.attempts()
		b.put(chicago, "x")
		synctest.Wait()
		if got := n.got(chicago); len(got) != 1 {
			t.Errorf("another target had to wait: %v", got)
		}
		b.put(biloxi, "3") // more items are no reason to try sooner
		synctest.Wait()
		if a := n.attempts(); a != before+1 {
			t.Errorf("%d attempts after putting, want 1", a-before)
		}
		n.mu.Lock()
		away = false
		n.mu.Unlock()
		start := time.Now()
		b.Wake(biloxi)
		synctest.Wait()
		if diff := cmp.Diff([]string{"1", "2", "3"}, n.got(biloxi)); diff != "" || time.Since(start) > 0 {
			t.Errorf("after waking, %v later: %s", time.Since(start), diff)
		}
	})
}

// The target took it, but the answer got lost: it is sent again with the same id.
func TestFailedAndYetHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.answer = func(_ peering.Request, attempt int) error {
			if attempt < 3 {
				return happened{peering.ErrUnreachable}
			}
			return nil
		}
		b := newBox(t, memory(t), n, nil)
		b.run()
		b.put(biloxi, "1", "2")
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"1", "2"}, n.got(biloxi)); diff != "" {
			t.Error(diff)
		}
		synctest.Wait()
		for id, times := range n.ids[biloxi] {
			if times != 3 {
				t.Errorf("request %x came %d times", id, times)
			}
		}
	})
}

// broken is a store whose writes fail while the test says so.
type broken struct {
	*store.Store
	err error
}

func (b *broken) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	if b.err != nil {
		return b.err
	}
	return b.Store.Update(ctx, fn)
}

// The process dies between the sending and the deletion.
func TestKilledBetweenSendAndDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &broken{Store: memory(t)}
		n := newNetwork()
		b := newBox(t, st, n, nil)
		b.put(biloxi, "1", "2")
		st.err = store.ErrClosed
		err := b.Run(t.Context())
		if !errors.Is(err, store.ErrClosed) {
			t.Fatalf("Run over a dead store: %v", err)
		}
		if w := b.waiting(); w != "biloxi.example 2; " {
			t.Fatalf("waiting: %q", w)
		}
		st.err = nil
		second := newBox(t, st, n, nil)
		second.run()
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"1", "2"}, n.got(biloxi)); diff != "" || n.attempts() != 4 {
			t.Errorf("%d attempts; taken: %s", n.attempts(), diff)
		}
		if w := second.waiting(); w != "" {
			t.Errorf("still waiting: %q", w)
		}
	})
}

// A full disk passes.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &broken{Store: memory(t)}
		n := newNetwork()
		b := newBox(t, st, n, nil)
		b.put(biloxi, "1")
		st.err = store.ErrDiskFull
		b.run()
		time.Sleep(time.Second)
		b.stop() // which orders the write below
		st.err = nil
		b.run()
		time.Sleep(time.Hour)
		if w := b.waiting(); w != "" || len(n.got(biloxi)) != 1 {
			t.Errorf("waiting %q, got %v", w, n.got(biloxi))
		}
	})
}

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.answer = func(q peering.Request, attempt int) error {
			switch body := string(q.Body); {
			case body == "forbidden":
				return fmt.Errorf("wrapped: %w", refused(403, clientapi.CodeForbidden))
			case body == "busy" && attempt == 1:
				return &peering.Refused{Problem: clientapi.Problem{Status: 429, Retry: 60_000}}
			case body == "clock" && attempt == 1:
				return refused(401, peering.CodeClock)
			case body == "large":
				return peering.ErrTooLarge
			}
			return nil
		}
		b := newBox(t, memory(t), n, nil)
		b.run()
		b.put(biloxi, "forbidden", "busy", "clock", "large", "last")
		time.Sleep(59 * time.Second)
		if a := n.attempts(); a != 2 {
			t.Errorf("%d attempts: Retry-After was not kept", a)
		}
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"busy", "clock", "last"}, n.got(biloxi)); diff != "" {
			t.Error(diff)
		}
		if s := b.Stats(); s != (outbox.Stats{Delivered: 4, Dropped: 1}) {
			t.Errorf("%+v", s)
		}
	})
}

// An item that the target cannot take goes to the end and is not lost.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.answer = func(q peering.Request, attempt int) error {
			if string(q.Body) == "poison" && attempt <= 12 {
				return refused(500, clientapi.CodeInternal)
			}
			return nil
		}
		b := newBox(t, memory(t), n, nil)
		b.run()
		b.put(biloxi, "poison", "2", "3")
		time.Sleep(time.Hour)
		if diff := cmp.Diff([]string{"2", "3", "poison"}, n.got(biloxi)); diff != "" {
			t.Error(diff)
		}
		if w := b.waiting(); w != "" {
			t.Errorf("waiting %q", w)
		}
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.answer = func(q peering.Request, _ int) error { return peering.ErrUnreachable }
		b := newBox(t, memory(t), n, func(c *outbox.Config) { c.Lifetime = time.Hour }) // virtual days cost real seconds
		b.run()
		b.put(biloxi, "old", "older")
		time.Sleep(time.Hour + 6*time.Minute)
		if w, s := b.waiting(), b.Stats(); w != "" || s.Expired != 2 {
			t.Errorf("waiting %q, %+v", w, s)
		}
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.answer = func(peering.Request, int) error { return peering.ErrUnreachable }
		b := newBox(t, memory(t), n, func(c *outbox.Config) { c.MaxItems, c.MaxOctets, c.MaxTargets = 3, 2000, 2 })
		b.run()
		b.put(biloxi, "1", "2", "3")
		if err := b.tryPut(biloxi, "4"); !errors.Is(err, outbox.ErrFull) || !strings.Contains(err.Error(), biloxi) {
			t.Errorf("a fourth item: %v", err)
		}
		if err := b.tryPut(chicago, strings.Repeat("x", 1900)); !errors.Is(err, outbox.ErrFull) {
			t.Errorf("too many octets: %v", err)
		}
		if err := b.tryPut(chicago, strings.Repeat("x", 900), strings.Repeat("x", 900)); !errors.Is(err, outbox.ErrFull) {
			t.Errorf("too many octets together: %v", err)
		}
		if w := b.waiting(); w != "biloxi.example 3; " {
			t.Errorf("a refused item left traces: %q", w)
		}
		b.put(chicago, "1")
		synctest.Wait()
		if err := b.tryPut("third.example", "1"); !errors.Is(err, outbox.ErrFull) {
			t.Errorf("a third target: %v", err)
		}
	})
}

func TestBadItems(t *testing.T) {
	b := newBox(t, memory(t), newNetwork(), nil)
	good := outbox.Item{Endpoint: "notify", Subject: "x"}
	for name, x := range map[string]struct {
		target string
		change func(*outbox.Item)
	}{
		"target is no domain": {"Biloxi.example", func(*outbox.Item) {}},
		"target with a zero":  {"a\x00b", func(*outbox.Item) {}},
		"no endpoint":         {biloxi, func(i *outbox.Item) { i.Endpoint = "" }},
		"no subject":          {biloxi, func(i *outbox.Item) { i.Subject = "" }},
		"long subject":        {biloxi, func(i *outbox.Item) { i.Subject = strings.Repeat("x", 4000) }},
		"long body":           {biloxi, func(i *outbox.Item) { i.Body = make([]byte, outbox.MaxBody+1) }},
	} {
		it := good
		x.change(&it)
		err := b.store.Update(t.Context(), func(tx *store.Tx) error { return b.Put(tx, x.target, it) })
		if !errors.Is(err, outbox.ErrItem) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := outbox.New(outbox.Config{}); !errors.Is(err, outbox.ErrConfig) {
		t.Errorf("empty configuration: %v", err)
	}
}

// The caller's transaction fails: nothing is sent.
func TestTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		b := newBox(t, memory(t), n, nil)
		b.run()
		failure := errors.New("caller changed its mind")
		err := b.store.Update(t.Context(), func(tx *store.Tx) error {
			if err := b.Put(tx, biloxi, outbox.Item{Endpoint: "notify", Subject: "x"}); err != nil {
				return err
			}
			return failure
		})
		time.Sleep(time.Minute)
		if !errors.Is(err, failure) || n.attempts() != 0 || b.waiting() != "" {
			t.Errorf("%v, %d attempts, waiting %q", err, n.attempts(), b.waiting())
		}
	})
}

// A store on the disk is closed and opened between putting and delivering.
func TestRestart(t *testing.T) {
	dir := t.TempDir() + "/store"
	n := newNetwork()
	t.Run("before", func(t *testing.T) {
		b := newBox(t, openStore(t, store.Options{Dir: dir, Small: true}), n, nil)
		b.put(biloxi, bodies(0, 40)...)
		b.put(chicago, "x")
	})
	t.Run("after", func(t *testing.T) {
		b := newBox(t, openStore(t, store.Options{Dir: dir, Small: true}), n, nil)
		if w := b.waiting(); w != "biloxi.example 40; chicago.example 1; " {
			t.Fatalf("after the restart: %q", w)
		}
		b.run()
		for i := 0; b.waiting() != "" && i < 1000; i++ {
			time.Sleep(5 * time.Millisecond)
		}
		b.stop()
		if diff := cmp.Diff(bodies(0, 40), n.got(biloxi)); diff != "" || len(n.got(chicago)) != 1 {
			t.Error(diff)
		}
	})
}

// Many targets share a few places, and none waits for ever.
func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		b := newBox(t, memory(t), n, func(c *outbox.Config) { c.Parallel = 3 })
		for i := range 40 {
			b.put(fmt.Sprintf("p%d.example", i), bodies(0, 20)...)
		}
		b.run()
		time.Sleep(time.Minute)
		if w := b.waiting(); w != "" || n.attempts() != 800 {
			t.Errorf("waiting %q, %d attempts", w, n.attempts())
		}
	})
}

// hooked is a store that does something once, right after a write has succeeded.
type hooked struct {
	*store.Store
	after func()
}

func (h *hooked) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	err := h.Store.Update(ctx, fn)
	if f := h.after; f != nil && err == nil {
		h.after = nil
		f()
	}
	return err
}

// An item that comes between a turn's last write and its end is not forgotten.
func TestPutAtTheEndOfATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hooked{Store: memory(t)}
		n := newNetwork()
		b := newBox(t, st, n, nil)
		b.put(biloxi, "1")
		st.after = func() {
			inner := &box{Outbox: b.Outbox, t: t, store: st.Store}
			inner.put(biloxi, "2")
			time.Sleep(time.Second) // Run hears of it while the turn is going on
		}
		b.run()
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"1", "2"}, n.got(biloxi)); diff != "" {
			t.Error(diff)
		}
	})
}

// A target that comes back while a request to it is failing is tried soon.
func TestWakeDuringATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		b := newBox(t, memory(t), n, nil)
		n.answer = func(_ peering.Request, attempt int) error {
			switch {
			case attempt < 15:
				return peering.ErrUnreachable
			case attempt == 15:
				b.Wake(biloxi)
				time.Sleep(time.Second)
				return peering.ErrUnreachable
			}
			return nil
		}
		b.run()
		b.put(biloxi, "1")
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(n.times) != 16 || n.times[15].Sub(n.times[14]) != time.Second+100*time.Millisecond {
			t.Errorf("%d attempts, the last %v after the one before", len(n.times), n.times[len(n.times)-1].Sub(n.times[len(n.times)-2]))
		}
	})
}
