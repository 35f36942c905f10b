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
	enc := json.NewEncoder(out)
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
				if err := enc.Encode(r); err != nil {
					stopped.Store(true) // nobody listens any more
				}
			})
		})
	}
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "run", F: run}}, nil, nil)
	return nil
}

// Bubble runs something in virtual time, in a test. All goroutines that it starts must
// end before it does.
func Bubble(t *testing.T, run func()) {
	synctest.Test(t, func(*testing.T) { run() })
}

// Wall is a clock that virtual time does not move.
func Wall() time.Duration { return wall() }
