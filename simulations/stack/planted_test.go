package stack

import (
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/churn"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/udpnet"
	"github.com/mimid/mimid/simulations/virtual"
)

// What each run of room checks finds what it is to find: whole providers and devices, and one thing that is not as promised.
func TestPlantedInRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("whole providers; some seconds of CPU time")
	}
	for _, c := range []struct {
		name, want string // of a violation; empty: none
		plant      func(ctx context.Context, w *world, e *ear, say func(*person, string))
	}{
		{"nothing", "", func(context.Context, *world, *ear, func(*person, string)) {}},
		{"a final message that everybody has lost", "has it 0 times", func(_ context.Context, w *world, e *ear, _ func(*person, string)) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.said[messageOf{w.people[0], 1 << 20}] = &saying{text: "lost", sent: time.Now(), final: time.Now()}
		}},
		{"a message that comes twice", "has it 2 times", func(ctx context.Context, w *world, e *ear, say func(*person, string)) {
			say(w.people[0], "twice")
			say(w.people[0], "twice")
			if err := await(ctx, "both being read", func() bool { return e.settled(w.people) }); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second) // the second has the same text, so that nobody waits for it
		}},
		{"a provider that has not all of the log", "logs ending alike", func(_ context.Context, w *world, _ *ear, say func(*person, string)) {
			w.fabric.Isolate(1, 2, true)
			say(w.people[0], "only here") // in a room about which its hub decides alone
			time.Sleep(time.Second)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Stack}, struct{}{}, func(r *simulations.Run, _ struct{}) (err error) {
				ctx := r.Context()
				w, err := newWorld(ctx, 1, 2, links.Spec{Model: "fixed", Low: simulations.Duration(20 * time.Millisecond)}, nil, io.Discard)
				defer func() {
					if closed := w.close(); err == nil {
						err = closed
					}
				}()
				if err != nil {
					return err
				}
				e := newEar()
				u, err := w.room(ctx, e)
				if err != nil {
					return err
				}
				say := func(x *person, text string) { e.say(ctx, x, u, text) }
				say(w.people[0], "hello")
				say(w.people[1], "hello yourself")
				if err := await(ctx, "all being read", func() bool { return e.settled(w.people) }); err != nil {
					return err
				}
				c.plant(ctx, w, e, say)
				e.check(r, w.people, u)
				w.alike(r, w.people, u)
				return nil
			})
			s, err := simulations.Parse([]byte("simulation = \"planted\"\n"), "x", []simulations.Simulation{sim})
			if err != nil {
				t.Fatal(err)
			}
			var r *simulations.Result
			virtual.Bubble(t, func() { r = s.Execute(context.Background(), nil) })
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			v := strings.Join(r.Violations(), "\n")
			if c.want == "" && v != "" || !strings.Contains(v, c.want) {
				t.Errorf("found %q, want %q", v, c.want)
			}
		})
	}
}

// What runs of gossip and discovery check finds what it is to find, among real nodes.
func TestPlantedInOverlay(t *testing.T) {
	if testing.Short() {
		t.Skip("real nodes; some seconds of CPU time")
	}
	fixed := links.Spec{Model: "fixed", Low: simulations.Duration(20 * time.Millisecond)}
	for _, c := range []struct {
		name, want string // of a violation; empty: none
		gossip     func(h *heard, node int, data []byte) overlay.Verdict
		discovery  func(ctx context.Context, n *network) error
	}{
		{name: "nothing", gossip: (*heard).receive, discovery: func(context.Context, *network) error { return nil }},
		{name: "a message that comes twice", want: "twice", gossip: func(h *heard, node int, data []byte) overlay.Verdict {
			h.receive(node, data)
			return h.receive(node, data)
		}},
		{name: "a message with an octet that is another", want: "that nobody has published", gossip: func(h *heard, node int, data []byte) overlay.Verdict {
			data[len(data)-1]++
			return h.receive(node, data)
		}},
		{name: "a message of nobody", want: "that nobody has published", gossip: func(h *heard, node int, data []byte) overlay.Verdict {
			binary.BigEndian.PutUint64(data, 1<<40)
			return h.receive(node, data)
		}},
		{name: "a message that is faster than its link", want: "and the way takes 20ms", gossip: func(h *heard, node int, data []byte) overlay.Verdict {
			h.mu.Lock()
			h.sent[binary.BigEndian.Uint64(data)] = time.Now()
			h.mu.Unlock()
			return h.receive(node, data)
		}},
		{name: "a key that another announces, too", want: "that only", discovery: func(ctx context.Context, n *network) error {
			for _, x := range n.nodes { // one is named before the true one, wherever somebody looks
				if err := x.Announce(ctx, keyOf(1, 0)); err != nil {
					return err
				}
			}
			return nil
		}},
		{name: "a key that is said to be nobody's", want: "that nobody has announced", discovery: func(ctx context.Context, n *network) error {
			return n.nodes[0].Announce(ctx, keyOf(1, 1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Stack}, struct{}{}, func(r *simulations.Run, _ struct{}) error {
				r.Seed = 1
				if c.gossip != nil {
					p := Parameters{Nodes: 4, Transport: overMemory, Messages: 2, Every: simulations.Duration(time.Second), Size: 64, Settle: simulations.Duration(10 * time.Second), Links: fixed}
					if err := plantedGossip(r, p, c.gossip); err != nil {
						return err
					}
				}
				if c.discovery == nil {
					return nil
				}
				p := Searching{Nodes: 5, Transport: overMemory, Keys: 1, Searches: 6, Settle: simulations.Duration(5 * time.Second), Timeout: simulations.Duration(10 * time.Second),
					Churn: churn.Spec{Model: "none"}, Links: fixed}
				return plantedDiscovery(r, p, c.discovery)
			})
			s, err := simulations.Parse([]byte("simulation = \"planted\"\n"), "x", []simulations.Simulation{sim})
			if err != nil {
				t.Fatal(err)
			}
			var r *simulations.Result
			virtual.Bubble(t, func() { r = s.Execute(context.Background(), nil) })
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			v := strings.Join(r.Violations(), "\n")
			if c.want == "" && v != "" || !strings.Contains(v, c.want) {
				t.Errorf("found %q, want %q", v, c.want)
			}
		})
	}
}

func TestPlantedPackets(t *testing.T) {
	for _, c := range []struct {
		counts udpnet.Counts
		want   int
	}{
		{udpnet.Counts{Packets: 10, Arrived: 6, Lost: 2, Cut: 1}, 0}, // one is on its way
		{udpnet.Counts{Packets: 10, Arrived: 8, Lost: 2, Cut: 1}, 1},
	} {
		sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Stack}, struct{}{}, func(r *simulations.Run, _ struct{}) error {
			checkPackets(r, c.counts)
			return nil
		})
		s, err := simulations.Parse([]byte("simulation = \"planted\"\n"), "x", []simulations.Simulation{sim})
		if err != nil {
			t.Fatal(err)
		}
		if v := s.Execute(context.Background(), nil).Violations(); len(v) != c.want {
			t.Errorf("%+v: found %q", c.counts, v)
		}
	}
}
