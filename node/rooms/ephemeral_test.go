package rooms_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/ephemeral"
	"github.com/mimid/mimid/protocol/room"
)

// hearing collects what ephemeral messages come to a device while it listens.
type hearing struct {
	mu  sync.Mutex
	got []clientapi.Ephemeral
	ids []string
}

func (h *hearing) count() int { h.mu.Lock(); defer h.mu.Unlock(); return len(h.got) }

func (d *device) hear(t *testing.T) *hearing {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := must(d.p.feed.Open(ctx, d.who.User, d.who.Client, ""))(t)
	h := new(hearing)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer s.Close()
		for {
			frames, err := s.Next(ctx)
			if err != nil {
				return
			}
			for _, f := range frames {
				if !strings.Contains(string(f), "event: "+clientapi.EventEphemeral+"\n") {
					continue
				}
				var x clientapi.Ephemeral
				_, data, _ := strings.Cut(string(f), "data: ")
				if err := json.Unmarshal([]byte(data), &x); err != nil {
					t.Errorf("%s: %v", f, err)
				}
				h.mu.Lock()
				if h.got = append(h.got, x); strings.Contains(string(f), "id: ") {
					h.ids = append(h.ids, string(f))
				}
				h.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return h
}

func (d *device) signal(id [32]byte, data []byte) error {
	return d.p.rooms.Signal(context.Background(), d.who, id, &clientapi.NewEphemeral{Data: data})
}

func refusedWith(err error) int {
	var p *clientapi.Problem
	switch {
	case err == nil:
		return 0
	case errors.As(err, &p):
		return p.Status
	}
	return -1
}

// TestEphemeral: what a device tells the others comes to those who listen, at the other
// provider too, and nothing of it is on any disk, in a log or in a cursor.
func TestEphemeral(t *testing.T) {
	clock := time.Now()
	var mu sync.Mutex
	pass := func(d time.Duration) { mu.Lock(); clock = clock.Add(d); mu.Unlock() }
	w, alice, bob, id := pair(t, func(w *world) {
		for _, p := range w.ps {
			p.tweak = func(c *rooms.Config) {
				c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return clock }
			}
		}
	})
	a, b := alice.hear(t), bob.hear(t)
	commits := func() (n uint64) {
		for _, p := range w.ps {
			n += p.st.Stats().Commits
		}
		return n
	}
	// The rooms may still be settling what came before.
	before, still := commits(), 0
	eventually(t, "the stores are still", func() bool {
		was := before
		if before = commits(); was != before {
			still = 0
		}
		still++
		return still > 40
	})
	head := alice.p.rooms.List()[0].Head
	text := bytes.Repeat([]byte{7}, ephemeral.MaxSize)
	for i := range 3 {
		if err := alice.signal(id, text); err != nil {
			t.Fatal(err)
		}
		eventually(t, "both hear", func() bool { return a.count() == i+1 && b.count() == i+1 })
	}
	if got := b.got[0]; got.Room != room.ID(id).String() || !bytes.Equal(got.Data, text) {
		t.Errorf("bob hears %+v", got)
	}
	if len(a.ids)+len(b.ids) > 0 {
		t.Errorf("they move the cursor: %q", append(a.ids, b.ids...))
	}
	if after := commits(); after != before {
		t.Errorf("the stores had %d commits before and %d after", before, after)
	}
	if got := alice.p.rooms.List()[0].Head; got != head {
		t.Error("the log went on")
	}
	late := bob.hear(t) // whoever comes later hears nothing
	if err := alice.signal(id, []byte{1}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both of bob's streams hear", func() bool { return late.count() > 0 && b.count() == 4 })
	if late.count() != 1 {
		t.Errorf("the late one hears %d", late.count())
	}

	// What is refused, and a device that sends too many.
	carol, bobs := w.device("carol@chicago.example", "phone"), w.device("dave@biloxi.example", "phone")
	for _, x := range []struct {
		why  string
		err  error
		want int
	}{
		{"nothing", alice.signal(id, nil), 413},
		{"too much", alice.signal(id, append(text, 0)), 413},
		{"another room", alice.signal([32]byte{1}, text), 404}, // the last of the burst
		{"the sixth at once", alice.signal(id, text), 429},
		{"by somebody who takes no part", carol.signal(id, text), 404},
		{"by somebody of a provider that does", bobs.signal(id, text), 404},
	} {
		if got := refusedWith(x.err); got != x.want {
			t.Errorf("%s: %d (%v), expected %d", x.why, got, x.err, x.want)
		}
	}
	pass(2 * time.Second)
	if err := alice.signal(id, text); err != nil {
		t.Errorf("two seconds later: %v", err)
	}
	// A provider that is gone holds up nobody.
	eventually(t, "all have come", func() bool { return b.count() == 5 })
	bob.p.set(func() { bob.p.down = true })
	pass(2 * time.Second)
	if err := alice.signal(id, text); err != nil {
		t.Errorf("while the other provider is gone: %v", err)
	}
	eventually(t, "alice's own streams hear", func() bool { return a.count() == 6 })
	eventually(t, "it is counted as lost", func() bool { return alice.p.rooms.Stats().SignalsLost == 1 })
	if s := alice.p.rooms.Stats(); s.Signals != 5 {
		t.Errorf("%d brought to others", s.Signals)
	}
}

// TestEphemeralProvider: what a provider may tell another, and how often.
func TestEphemeralProvider(t *testing.T) {
	clock := time.Now()
	_, _, bob, _ := pair(t, func(w *world) {
		w.ps["biloxi.example"].tweak = func(c *rooms.Config) { c.Now = func() time.Time { return clock } }
	})
	name := bob.p.rooms.List()[0].URI
	b := bob.hear(t)
	call := func(from, subject string, data []byte) error {
		_, err := bob.p.serve(context.Background(), rooms.EndpointEphemeral, &rooms.Request{Source: from, Subject: subject, Body: data})
		return err
	}
	for _, x := range []struct {
		why           string
		from, subject string
		data          []byte
		want          int
	}{
		{"by a provider in the room", "atlanta.example", name, []byte{1}, 0},
		{"by one that takes no part", "chicago.example", name, []byte{1}, 404},
		{"in a room that is not here", "atlanta.example", name + "y", []byte{1}, 404},
		{"nothing", "atlanta.example", name, nil, 413},
		{"too much", "atlanta.example", name, make([]byte, ephemeral.MaxSize+1), 413},
	} {
		if err := call(x.from, x.subject, x.data); refusedWith(err) != x.want {
			t.Errorf("%s: %v, expected %d", x.why, err, x.want)
		}
	}
	before := bob.p.st.Stats().Commits
	taken := 1
	for range 1000 {
		switch err := call("atlanta.example", name, []byte{2}); refusedWith(err) {
		case 0:
			taken++
		case 429:
		default:
			t.Fatal(err)
		}
	}
	if taken != 30 { // the room's budget; the clock stands still
		t.Errorf("%d of a flood are passed on", taken)
	}
	eventually(t, "bob hears them", func() bool { return b.count() == taken })
	if after := bob.p.st.Stats().Commits; after != before {
		t.Errorf("%d commits by a flood", after-before)
	}
	// The flood took the source's budget: of other rooms it is not heard either, and other
	// sources are.
	if err := call("atlanta.example", "mimi://atlanta.example/r/other", []byte{1}); refusedWith(err) != 429 {
		t.Errorf("after a flood: %v", err)
	}
	if err := call("chicago.example", name, []byte{1}); refusedWith(err) != 404 {
		t.Errorf("another source: %v", err)
	}
}
