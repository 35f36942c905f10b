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

func (c *benchCommand) Help() string {
	return `Starts providers as processes of this program, on this machine only, makes one room with
a sender at the first and receivers at the second, and measures what they carry. The load
takes its share of the machine: figures of different machines do not compare.

Example:
  mimid bench
  mimid bench --providers 3 --receivers 1 --rate 0 --messages 1000000
  mimid bench --providers 3 --replicas
  mimid bench --rate 0 --no-saturate --catch-up 100000`
}

func (c *benchCommand) Run(s *session) error {
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
	if cfg.Dir = c.Dir; cfg.Dir == "" {
		if cfg.Dir, err = os.MkdirTemp("", "mimid-bench-"); err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
		defer os.RemoveAll(cfg.Dir)
		cfg.Dir = filepath.Join(cfg.Dir, "p")
	}
	if err := os.Mkdir(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("--dir must name a directory that does not exist yet: %w", err)
	}
	report, err := load.Run(s.ctx, cfg)
	if err != nil {
		return err
	}
	return s.out.result(report, report.Print)
}
