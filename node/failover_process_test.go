//go:build unix

package node_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The story of issue 4, with whole processes: three providers that decide together about
// a room in which three people talk all the time. The hub is killed, five times in a row,
// while the one killed before has only just come back; then it is stopped and let go on,
// five times. Whatever was sent is there at the end, once, with everybody.
func TestHubsDie(t *testing.T) {
	rounds := 5
	if testing.Short() {
		rounds = 1
	}
	rnd := rand.New(rand.NewPCG(4, 0))
	w := newTrio(t)
	var hushes []func()
	for _, k := range w.talkers {
		hush := k.talk()
		defer hush()
		hushes = append(hushes, hush)
	}
	w.until("all are heard", func() bool {
		return !slices.ContainsFunc(w.talkers, func(k *talker) bool { _, ok := k.served(time.Time{}); return !ok })
	})

	// die has the hub go, and returns when both others are served by another one.
	witness := w.talkers[0]
	die := func(how string, end func(*crashNode)) (old *talker) {
		t.Helper()
		time.Sleep(time.Duration(rnd.Int64N(int64(500 * time.Millisecond))))
		old, others := w.hub(witness)
		before := time.Now()
		end(old.at)
		after := time.Now()
		var told, served []time.Duration
		for _, k := range others {
			w.until(k.User().String()+" is served again", func() bool { _, ok := k.served(after); return ok })
			at, _ := k.served(after)
			served = append(served, at.Sub(before).Round(time.Millisecond))
			if at, ok := k.toldSince(before); ok {
				told = append(told, at.Sub(before).Round(time.Millisecond))
			} else {
				t.Errorf("%s was not told anything", k.User())
			}
		}
		witness = others[0]
		now, _ := w.hub(witness)
		if now == old {
			t.Errorf("the room is still ordered by %s", old.at.domain)
		}
		t.Logf("%s is %s: others are told after %v, and heard by %s after %v", old.at.domain, how, told, now.at.domain, served)
		return old
	}

	for range rounds {
		die("killed", (*crashNode).kill).at.start()
	}
	for range rounds {
		old := die("stopped", (*crashNode).freeze)
		time.Sleep(time.Duration(rnd.Int64N(int64(500 * time.Millisecond))))
		back := time.Now()
		old.at.thaw()
		w.until(old.User().String()+" is served again", func() bool { _, ok := old.served(back); return ok })
	}
	for _, hush := range hushes {
		hush()
	}
	entries := w.level()

	var sent, accepted, final int
	all := map[string]bool{}
	for _, k := range w.talkers {
		for _, s := range k.said {
			all[s.text] = true
			sent++
			if !s.accepted.IsZero() {
				accepted++
			}
			if !s.final.IsZero() {
				final++
			}
		}
		if v, err := k.Verify(t.Context(), w.room); err != nil || len(k.hubs) == 0 || k.hubs[len(k.hubs)-1] != v.Hub {
			t.Errorf("%s was told of these hubs: %v; it is %s, %v", k.User(), k.hubs, v.Hub, err)
		}
	}
	if accepted != sent || final != sent || len(all) != sent {
		t.Errorf("%d messages sent, %d accepted, %d final", sent, accepted, final)
	}
	for _, k := range w.talkers {
		has := k.has()
		for text, n := range has {
			if n != 1 || !all[text] {
				t.Errorf("%q is there %d times with %s, it was sent: %v", text, n, k.User(), all[text])
			}
		}
		if len(has) != sent {
			t.Errorf("%s has %d of %d messages", k.User(), len(has), sent)
		}
	}
	t.Logf("%d messages sent, accepted, final, and with everybody; %d entries", sent, entries)
	w.end(entries)
}
