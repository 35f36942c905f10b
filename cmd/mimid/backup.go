package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

type backupCommand struct {
	File string `arg:"" help:"File to make, or - for standard output."`
	dataFlag
}

func (c *backupCommand) Help() string {
	return "Works with a running node, which goes on serving, and with a stopped one. The backup is of one\n" +
		"moment. It holds the store, the keys and the configuration, unencrypted: who has it is this\n" +
		"provider. The file is made with mode 0600; it is there when it is whole.\n\n" +
		"Example:\n  mimid backup monday.mimid\n  mimid backup - | age -r KEY > monday.mimid.age"
}

func (c *backupCommand) Run(s *session) error {
	if c.File == "-" {
		r, err := c.write(s, s.out.w)
		if err != nil {
			return err
		}
		// Standard output is the backup.
		return c.show(&output{w: s.errw, json: s.out.json}, r)
	}
	if _, err := os.Lstat(c.File); err == nil {
		return fmt.Errorf("%s is there already: name another file", c.File)
	}
	// Beside it, so that a file of that name is always whole. Mode 0600.
	f, err := os.CreateTemp(filepath.Dir(c.File), ".mimid-backup-*")
	if err != nil {
		return fmt.Errorf("making the file: %w", err)
	}
	defer os.Remove(f.Name())
	r, err := c.write(s, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), c.File); err != nil {
		return fmt.Errorf("naming the file: %w", err)
	}
	if err := syncDir(filepath.Dir(c.File)); err != nil {
		return fmt.Errorf("naming the file: %w", err)
	}
	return c.show(s.out, r)
}

// write has the running node write, or opens the store of a stopped one.
func (c *backupCommand) write(s *session, w io.Writer) (*admin.Backup, error) {
	p := newProgress(s)
	defer p.end()
	a, err := c.dial(s)
	if errors.Is(err, admin.ErrNotRunning) {
		cfg, err := node.ReadConfig(c.Dir)
		if err != nil {
			return nil, err
		}
		return node.Backup(s.ctx, cfg, w, p.at)
	}
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return a.Backup(s.ctx, &counting{w: w, p: p})
}

func (c *backupCommand) show(o *output, r *admin.Backup) error {
	return o.result(r, func(w io.Writer) {
		fmt.Fprintf(w, "backup %s of %s: %s, %d keys, %s\nIt holds the provider's private keys: keep it as safe as those.\n",
			short(r.ID), when(r.Created), plural(int(r.Rooms), "room"), r.Keys, speed(r))
	})
}

type restoreCommand struct {
	File string `arg:"" help:"The backup, or - for standard input."`
	dataFlag
}

func (c *restoreCommand) Help() string {
	return "Makes a new data directory, and never touches one that holds something. Never run the restored\n" +
		"node beside the old one: both would be the same provider.\n\n" +
		"Example:\n  mimid restore monday.mimid --dir /var/lib/mimid\n  age -d -i KEY monday.mimid.age | mimid restore - --dir /var/lib/mimid"
}

func (c *restoreCommand) Run(s *session) error {
	r := s.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("opening the backup: %w", err)
		}
		defer f.Close()
		r = f
	}
	p := newProgress(s)
	defer p.end()
	done, err := node.Restore(s.ctx, r, c.Dir, p.at)
	if err != nil {
		return err
	}
	p.end()
	return s.out.result(done, func(w io.Writer) {
		fmt.Fprintf(w, "restored backup %s of %s into %s: %s, %d keys, %s\n", short(done.ID), when(done.Created), c.Dir,
			plural(int(done.Rooms), "room"), done.Keys, speed(done))
		fmt.Fprintf(w, "Next: see that the old node does not run any more, look through %s, run `mimid verify`,\nthen `mimid serve`.\n", filepath.Join(c.Dir, node.ConfigName))
	})
}

func speed(r *admin.Backup) string {
	return fmt.Sprintf("%.1f MB in %s (%.0f MB/s)", float64(r.Bytes)/1e6, r.Took.Round(time.Millisecond), float64(r.Bytes)/1e6/max(r.Took.Seconds(), 1e-3))
}

// progress shows people how far it is, five times a second at most.
type progress struct {
	w    io.Writer // nil with --json
	last time.Time
	any  bool
}

func newProgress(s *session) *progress {
	if s.out.json {
		return &progress{}
	}
	return &progress{w: s.errw, last: time.Now()}
}

func (p *progress) at(bytes uint64) {
	if p.w == nil || time.Since(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.any = time.Now(), true
	fmt.Fprintf(p.w, "\r%d MB", bytes/1e6)
}

func (p *progress) end() {
	if p.any {
		fmt.Fprintln(p.w)
		p.any = false
	}
}

// counting tells the progress what has gone through it.
type counting struct {
	w io.Writer
	p *progress
	n uint64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += uint64(n)
	c.p.at(c.n)
	return n, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
