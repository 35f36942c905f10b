package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/mimid/mimid/simulations/load"
)

type benchFailoverCommand struct {
	Kills     int           `help:"How often the room's hub dies." default:"10"`
	Frozen    bool          `help:"Stop its process (SIGSTOP) instead of killing it, and let it go on later."`
	Providers int           `help:"Provider processes: 3 or 5. All of them decide about the room." default:"3"`
	Interval  time.Duration `help:"How long each user waits between two messages." default:"100ms"`
	Calm      time.Duration `help:"How long all are well before the next death." default:"4s"`
	Dir       string        `help:"Keep the providers' and users' data in this new directory. Without it, all is deleted at the end." type:"path"`
	Verbose   bool          `help:"Show the nodes' logs." short:"v"`
}

func (c *benchFailoverCommand) Help() string {
	return `Starts providers as processes of this program, on this machine only, with one user each, who
talk in one room all the time. The provider that orders the room is killed, the others go on
without it, and it comes back; so again and again. Measured are, from each death: when the
members at the other providers are told, and when a message that they sent after it is
accepted. At the end all messages are looked for with everybody, and the stores verified;
if anything is lost or wrong, the exit code is 1.

Example:
  mimid bench failover --kills 100
  mimid bench failover --kills 100 --frozen
  mimid bench failover --providers 5`
}

var errNotWhole = errors.New("something was lost, doubled or wrong: see the result")

func (c *benchFailoverCommand) Run(s *session) error {
	cfg := load.FailoverConfig{Providers: c.Providers, Kills: c.Kills, Frozen: c.Frozen, Interval: c.Interval, Calm: c.Calm,
		Log: slog.New(slog.NewTextHandler(s.errw, nil))}
	if c.Verbose {
		cfg.Logs = s.errw
	}
	var err error
	if cfg.Program, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	dir, remove, err := benchDir(c.Dir)
	if err != nil {
		return err
	}
	defer remove()
	cfg.Dir = dir
	report, err := load.RunFailover(s.ctx, cfg)
	if err != nil {
		return err
	}
	if err := s.out.result(report, report.Print); err != nil {
		return err
	}
	if !report.Whole() {
		return errNotWhole
	}
	return nil
}
