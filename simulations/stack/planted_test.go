package stack

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
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
