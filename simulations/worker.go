package simulations

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Runs of the stack engine need a process of their own: virtual time holds for a whole
// process, and what whole nodes leave in memory goes with it. The parent starts one for each run
// (Scenario.Worker), writes a Request to it, and reads lines of JSON: one for each progress,
// and the outcome. The child is package virtual.

// A Request is which run a worker is to make.
type Request struct {
	Scenario []byte `json:"scenario"` // the file, with all that was set
	Setting  int    `json:"setting"`
	Seed     uint64 `json:"seed"`
	// Spent is how long the scenario's runs have taken before this one: limits.wall is of all.
	Spent time.Duration `json:"spent,omitempty"`
}

// A Reply is one line of a worker.
type Reply struct {
	VirtualMS float64  `json:"virtual_ms,omitempty"`
	Share     float64  `json:"share,omitempty"`
	Outcome   *Outcome `json:"outcome,omitempty"`
	Error     string   `json:"error,omitempty"` // with the outcome: why the run ended early
	Limit     bool     `json:"limit,omitempty"` // it is a limit
	Graph     *Graph   `json:"graph,omitempty"`
}

// Work makes the run of a request, in the bubble of virtual time that the caller has made. stop
// says whether the run has to end; wall is the clock on the wall, since time.Now is not.
func Work(req Request, known []Simulation, stop func() error, wall func() time.Duration, report func(Reply)) {
	fail := func(err error) { report(Reply{Outcome: &Outcome{Seed: req.Seed}, Error: err.Error()}) }
	s, err := Parse(req.Scenario, "scenario.toml", known)
	if err != nil {
		fail(err)
		return
	}
	if req.Setting < 0 || req.Setting >= len(s.Settings) {
		fail(fmt.Errorf("there is no setting %d", req.Setting))
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	setting := s.Settings[req.Setting]
	r := &Run{Seed: req.Seed, ctx: ctx, stop: stop, wall: wall, limits: s.Limits,
		report: func(virtual time.Duration, share float64) {
			report(Reply{VirtualMS: float64(virtual) / 1e6, Share: share})
		}}
	begun := wall()
	r.begun = begun - req.Spent // the clock's beginning is anything
	err = guarded(s.Simulation, r, setting.Parameters)
	o := &Outcome{setting.Labels, r.Seed, r.observed, r.violations, r.digest, r.events, r.virtual, wall() - begun, nil}
	reply := Reply{Outcome: o, Graph: r.graph, Limit: errors.Is(err, ErrLimit)}
	if err != nil {
		reply.Error = err.Error()
	}
	report(reply)
}

// remote makes a run in a worker process.
func (s *Scenario) remote(ctx context.Context, setting int, seed uint64, spent time.Duration, report func(time.Duration, float64)) (*Outcome, *Graph, error) {
	cmd := s.Worker(ctx)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it says what there is
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("starting a worker: %w", err)
	}
	if err := json.NewEncoder(in).Encode(Request{s.text, setting, seed, spent}); err != nil {
		return nil, nil, errors.Join(err, cmd.Wait())
	}
	reply, err := replies(out, report)
	// What a worker says after its outcome (testing's PASS) is read, so that it can end.
	_, drained := io.Copy(io.Discard, out)
	in.Close()
	ended := cmd.Wait()
	if reply == nil {
		var exit *exec.ExitError
		if errors.As(ended, &exit) || ended == nil {
			return nil, nil, fmt.Errorf("the worker of seed %d ended without a result: %w", seed, errors.Join(ended, err, drained))
		}
		return nil, nil, ended
	}
	switch {
	case reply.Limit:
		err = fmt.Errorf("%w: %s", ErrLimit, strings.TrimPrefix(reply.Error, ErrLimit.Error()+": "))
	case reply.Error != "":
		err = errors.New(reply.Error)
	default:
		err = nil
	}
	return reply.Outcome, reply.Graph, err
}

// replies reads a worker's lines until its outcome.
func replies(out io.Reader, report func(time.Duration, float64)) (*Reply, error) {
	const longest = 1 << 30 // MaxObservations with their labels
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 0, 1<<16), longest)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 || lines.Bytes()[0] != '{' {
			continue
		}
		var r Reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("reading a worker's line: %w", err)
		}
		if r.Outcome != nil {
			return &r, nil
		}
		report(time.Duration(r.VirtualMS*1e6), r.Share)
	}
	return nil, lines.Err()
}
