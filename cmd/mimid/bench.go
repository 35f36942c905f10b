package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mimid/mimid/simulations/load"
)

type benchCommand struct {
	Load     benchLoadCommand     `cmd:"" default:"withargs" help:"Put a load on one room (the default)."`
	Failover benchFailoverCommand `cmd:"" help:"Kill the provider that orders a room, again and again."`
}

type benchLoadCommand struct {
	Providers   int           `help:"Provider processes: the hub, the receivers' and perhaps a third." default:"2"`
	Replicas    bool          `help:"The three providers decide together what is final; else the hub decides alone."`
	Receivers   int           `help:"Users at the second provider, each with a stream." default:"50"`
	Body        int           `help:"Size of a message's text in bytes." default:"1024"`
	Rate        float64       `help:"Messages per second of the first load; 0 for none." default:"20"`
	Duration    time.Duration `help:"How long the first load goes on." default:"15s"`
	Saturate    bool          `help:"Send --messages as fast as they are taken." default:"true" negatable:""`
	Messages    int           `help:"Messages of the saturated load." default:"20000"`
	Connections int           `help:"Connections of the sender." default:"256"`
	CatchUp     int           `help:"Stop the second provider, send so many messages, start it, and see how fast it catches up."`
	Dir         string        `help:"Keep the providers' data in this new directory. Without it, all is deleted at the end." type:"path"`
	Verbose     bool          `help:"Show the nodes' logs." short:"v"`
}

func (c *benchLoadCommand) Help() string {
	return `Starts providers as processes of this program, on this machine only, makes one room with
a sender at the first and receivers at the second, and measures what they carry. The load
takes its share of the machine: figures of different machines do not compare.

Example:
  mimid bench
  mimid bench load --providers 3 --receivers 1 --rate 0 --messages 1000000
  mimid bench load --providers 3 --replicas
  mimid bench load --rate 0 --no-saturate --catch-up 100000`
}

func (c *benchLoadCommand) Run(s *session) error {
	cfg := load.Config{Providers: c.Providers, Replicas: c.Replicas, Receivers: c.Receivers, Body: c.Body, Rate: c.Rate, Duration: c.Duration, Messages: c.Messages,
		Connections: c.Connections, CatchUp: c.CatchUp, Log: slog.New(slog.NewTextHandler(s.errw, nil))}
	if !c.Saturate {
		cfg.Messages = 0
	}
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
	report, err := load.Run(s.ctx, cfg)
	if err != nil {
		return err
	}
	return s.out.result(report, report.Print)
}

// benchDir makes the directory that is named, or one that is removed at the end.
func benchDir(dir string) (made string, remove func(), err error) {
	remove = func() {}
	if dir == "" {
		tmp, err := os.MkdirTemp("", "mimid-bench-")
		if err != nil {
			return "", nil, fmt.Errorf("making a directory: %w", err)
		}
		dir, remove = filepath.Join(tmp, "p"), func() { os.RemoveAll(tmp) }
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		remove()
		return "", nil, fmt.Errorf("--dir must name a directory that does not exist yet: %w", err)
	}
	return dir, remove, nil
}
