// Package virtual makes runs of the stack engine: whole nodes in virtual time
// (testing/synctest) inside an ordinary program. Time goes on when every goroutine of the run
// waits for something, so an hour in which little happens takes a second.
//
// synctest gives virtual time only to a test, so Serve pretends to be one, and ends the
// process. The runs' code must not wait for anything from outside, such as sockets and signals.
package virtual

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/simulations"
)

var errInterrupted = errors.New("interrupted")

// Serve reads one Request, makes the run, writes replies as lines of JSON, and ends the
// process. It returns only if the request cannot be read.
func Serve(in io.Reader, out io.Writer, known []simulations.Simulation) error {
	var req simulations.Request
	if err := json.NewDecoder(bufio.NewReader(io.LimitReader(in, 4*simulations.MaxScenario))).Decode(&req); err != nil {
		return fmt.Errorf("reading the request of a run: %w", err)
	}
	var stopped atomic.Bool
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go func() {
		<-signals
		stopped.Store(true)
	}()
	stop := func() error {
		if stopped.Load() {
			return errInterrupted
		}
		return nil
	}
	var limits simulations.Limits
	if s, err := simulations.Parse(req.Scenario, "scenario.toml", known); err == nil { // else the run says so
		limits = s.Limits
	}
	var writing sync.Mutex
	enc := json.NewEncoder(out)
	say := func(r simulations.Reply) error {
		writing.Lock()
		defer writing.Unlock()
		return enc.Encode(r)
	}
	go watch(limits, req.Spent, func(why string) {
		say(simulations.Reply{Outcome: &simulations.Outcome{Seed: req.Seed}, Error: why, Limit: true}) // it ends either way
		os.Exit(0)
	})
	testing.Init()
	if err := flag.CommandLine.Parse(nil); err != nil {
		return err
	}
	if err := flag.Set("test.timeout", "0"); err != nil {
		return err
	}
	run := func(t *testing.T) {
		Bubble(t, func() {
			simulations.Work(req, known, stop, Wall, func(r simulations.Reply) {
				if err := say(r); err != nil {
					stopped.Store(true) // nobody listens any more
				}
			})
		})
	}
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "run", F: run}}, nil, nil)
	return nil
}

// watch looks at limits from outside of the run, and ends it by over: one in which virtual time goes on while nobody
// calls Run.At, as it waits for what never comes, would not notice. Runs have a while to end by themselves, with what they have.
func watch(l simulations.Limits, spent time.Duration, over func(why string)) {
	begun, above := Wall(), 0
	for {
		time.Sleep(200 * time.Millisecond)
		if wall := l.Wall.D(); wall > 0 && Wall()-begun+spent > wall+max(time.Second, wall/10) {
			over(fmt.Sprintf("limits.wall = %s is over, and the run did not end by itself: it waits for something in virtual time", wall))
			return
		}
		m := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		if metrics.Read(m); l.Memory > 0 && m[0].Value.Uint64()>>20 > uint64(l.Memory) {
			above++
		} else {
			above = 0
		}
		if above > 10 { // two seconds
			over(fmt.Sprintf("more than limits.memory = %d MiB of heap are in use, and the run did not end by itself", l.Memory))
			return
		}
	}
}

// Bubble runs something in virtual time, in a test. All goroutines that it starts must
// end before it does.
func Bubble(t *testing.T, run func()) {
	synctest.Test(t, func(*testing.T) { run() })
}

// Wall is a clock that virtual time does not move.
func Wall() time.Duration { return wall() }
