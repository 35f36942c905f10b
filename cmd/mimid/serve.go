package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

// defaultData is where a provider's data is unless --dir says otherwise.
func defaultData() string {
	if d := os.Getenv("MIMID_DIR"); d != "" {
		return d
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "mimid-data"
	}
	return filepath.Join(home, ".mimid", "provider")
}

// dataFlag names the data directory of a provider.
type dataFlag struct {
	Dir string `help:"Data directory of the provider." default:"${data}" env:"MIMID_DIR" type:"path"`
}

type initCommand struct {
	Domain string `help:"The provider's name, a DNS domain that you control." required:"" placeholder:"DOMAIN"`
	dataFlag
	Clients   string   `help:"Address of the client API." default:"127.0.0.1:8448"`
	Listen    []string `help:"libp2p addresses for other providers." default:"/ip4/127.0.0.1/tcp/4001,/ip4/127.0.0.1/udp/4001/quic-v1"`
	Bootstrap []string `help:"A node to meet others through, with /p2p/<peer id>. May be repeated."`
	Metrics   string   `help:"Loopback address of metrics and health; empty for none." default:"127.0.0.1:9448"`
	DNS       string   `name:"dns" help:"Check other providers' keys in DNS: system, off, or a resolver's host:port." default:"system"`
	LogLevel  string   `help:"debug, info, warn or error." default:"info"`
}

func (c *initCommand) Help() string {
	return "Example:\n  mimid init --domain atlanta.example\n  mimid serve"
}

func (c *initCommand) Run(s *session) error {
	cfg := node.DefaultConfig(c.Domain)
	cfg.Clients.Listen, cfg.Overlay.Listen, cfg.Metrics.Listen = c.Clients, c.Listen, c.Metrics
	cfg.Overlay.Bootstrap = append(cfg.Overlay.Bootstrap, c.Bootstrap...)
	cfg.Trust.DNS, cfg.Log.Level = c.DNS, c.LogLevel
	keys, err := node.Init(c.Dir, cfg)
	if err != nil {
		return err
	}
	txt := node.TXTRecord(keys)
	return s.out.result(map[string]string{"dir": c.Dir, "domain": c.Domain, "fingerprint": keys.Fingerprint(), "txt": txt}, func(w io.Writer) {
		fmt.Fprintf(w, "Made a provider for %s in %s.\n\n", c.Domain, c.Dir)
		fmt.Fprintf(w, "  key fingerprint  %s\n", keys.Fingerprint())
		fmt.Fprintf(w, "  DNS TXT record   _mimi.%s  \"%s\"\n\n", c.Domain, txt)
		fmt.Fprintf(w, "Publish the DNS record, so that other providers can check the key. Keep a copy of\n%s: whoever has it is this provider.\nNext: look through %s, then run `mimid serve`.\n",
			filepath.Join(c.Dir, "keys"), filepath.Join(c.Dir, node.ConfigName))
	})
}

type serveCommand struct {
	dataFlag
}

func (c *serveCommand) Help() string {
	return "Runs until interrupted (Ctrl-C or SIGTERM), then stops in order.\n\nExample:\n  mimid serve --dir /var/lib/mimid"
}

func (c *serveCommand) Run(s *session) error {
	cfg, err := node.ReadConfig(c.Dir)
	if err != nil {
		return err
	}
	n, err := node.New(cfg, node.Options{Version: version(), LogTo: s.errw})
	if err != nil {
		return err
	}
	if m := int64(cfg.Store.Memory); m > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(m << 20) // the process is this node
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var said sync.WaitGroup
	said.Go(func() {
		select {
		case <-n.Ready():
		case <-ctx.Done():
			return
		}
		st, err := n.Status(ctx)
		if err != nil {
			return
		}
		s.out.result(st, func(w io.Writer) {
			fmt.Fprintf(w, "%s is running.\n  clients   %s\n", st.Domain, st.Clients)
			for _, a := range st.Addresses {
				fmt.Fprintf(w, "  overlay   %s\n", a)
			}
			fmt.Fprintf(w, "Invite a user with: mimid account invite NAME\n")
		})
	})
	err = n.Run(ctx)
	cancel()
	said.Wait()
	if err == nil && s.ctx.Err() != nil && !s.out.json {
		fmt.Fprintln(s.errw, "stopped")
	}
	return err
}

// dial reaches the node that runs on a data directory.
func (c *dataFlag) dial(s *session) (*admin.Client, error) {
	return admin.Dial(s.ctx, c.Dir)
}

type verifyCommand struct {
	dataFlag
	Running bool `help:"Ask the running node to check its store, instead of opening the store of a stopped one."`
}

func (c *verifyCommand) Help() string {
	return "Checks checksums, and every room's log anew from its first entry: hashes, signatures,\ncertificates, MLS, roles, indexes. The node must be stopped, or use --running.\n\nExample:\n  mimid verify"
}

func (c *verifyCommand) Run(s *session) error {
	var v *admin.Verification
	if c.Running {
		a, err := c.dial(s)
		if err != nil {
			return err
		}
		defer a.Close()
		if v, err = a.Verify(s.ctx); err != nil {
			return err
		}
	} else {
		cfg, err := node.ReadConfig(c.Dir)
		if err != nil {
			return err
		}
		v, err = node.Verify(s.ctx, cfg, func(rooms int, entries uint64) {
			if !s.out.json {
				fmt.Fprintf(s.errw, "\r%d rooms, %d entries", rooms, entries)
			}
		})
		if err != nil {
			return err
		}
	}
	err := s.out.result(v, func(w io.Writer) {
		fmt.Fprintf(w, "checked %s, %d entries, %s in %s\n", plural(v.Rooms, "room"), v.Entries, plural(v.Assets, "attachment"), v.Took.Round(time.Millisecond))
		for _, n := range v.Notes {
			fmt.Fprintln(w, "note:", n)
		}
		for _, f := range v.Faults {
			fmt.Fprintln(w, "fault:", f)
		}
		if len(v.Faults) == 0 {
			fmt.Fprintln(w, "no faults")
		}
	})
	if err == nil && len(v.Faults) > 0 {
		return exitCode(1)
	}
	return err
}
