package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mimid/mimid/node/admin"
)

// provider is a provider of the demo: `mimid serve` in a process of its own.
type provider struct {
	d      *demo
	name   string
	domain string
	dir    string
	status admin.Status // as printed when it was ready

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  *tail
}

// newProvider makes the data directory with the command that an operator uses.
func (d *demo) newProvider(name, bootstrap string) (*provider, error) {
	p := &provider{d: d, name: name, domain: name + ".example", dir: filepath.Join(d.dir, name)}
	clients, err := freePort()
	if err != nil {
		return nil, err
	}
	overlay, err := freePort()
	if err != nil {
		return nil, err
	}
	args := []string{"init", "--domain", p.domain, "--dir", p.dir, "--clients", fmt.Sprintf("127.0.0.1:%d", clients),
		"--listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", overlay), "--metrics", "", "--dns", "off", "--log-level", "warn"}
	if d.verbose {
		args[len(args)-1] = "info"
	}
	if bootstrap != "" {
		args = append(args, "--bootstrap", bootstrap)
	}
	if out, err := d.run(d.ctx, args...); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return p, nil
}

// freePort finds a loopback port that nobody uses. Ports are fixed beforehand,
// because a provider that is started again has to be where it was.
func freePort() (int, error) {
	// Below the ports that connections get by themselves: one of those may be taken before
	// the provider comes, or comes back.
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000))); err == nil {
			defer l.Close()
			return l.Addr().(*net.TCPAddr).Port, nil
		}
	}
	return 0, errors.New("finding a free port: none of 100 between 10000 and 32000 is")
}

// run runs a command of this program and returns what it prints.
func (d *demo) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, d.program, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("mimid %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out, nil
}

// start runs the node and waits until it is ready.
func (p *provider) start() (time.Duration, error) {
	begin := time.Now()
	p.log = &tail{limit: 64 << 10}
	p.cmd = exec.Command(p.d.program, "serve", "--json", "--dir", p.dir)
	p.cmd.Stderr = p.log
	if p.d.verbose {
		p.cmd.Stderr = io.MultiWriter(p.log, p.d.s.errw)
	}
	p.cmd.SysProcAttr = childAttr()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := p.cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting %s: %w", p.domain, err)
	}
	ready := make(chan error, 1)
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		line, err := bufio.NewReader(out).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &p.status)
		}
		ready <- err
		io.Copy(io.Discard, out)
		p.cmd.Wait()
	}()
	select {
	case err := <-ready:
		if err != nil {
			<-p.done
			return 0, fmt.Errorf("%s does not start: %s", p.domain, p.log)
		}
	case <-time.After(30 * time.Second):
		return 0, fmt.Errorf("%s is not ready within 30 seconds: %s", p.domain, p.log)
	case <-p.d.ctx.Done():
		return 0, p.d.ctx.Err()
	}
	return time.Since(begin), nil
}

func (p *provider) pid() int { return p.cmd.Process.Pid }

// kill ends the process as a power cut would.
func (p *provider) kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	return err
}

// stop ends the process in order. The second call does nothing.
func (p *provider) stop() {
	if p == nil || p.cmd == nil || p.cmd.Process == nil {
		return
	}
	select {
	case <-p.done:
		return
	default:
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// room asks the operator's socket for a room.
func (p *provider) room(uri string) (*admin.Room, error) {
	a, err := admin.Dial(p.d.ctx, p.dir)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	list, err := a.Rooms(p.d.ctx, "", 0)
	if err != nil {
		return nil, err
	}
	for _, r := range list.Rooms {
		if r.URI == uri {
			return a.Room(p.d.ctx, r.ID)
		}
	}
	return nil, fmt.Errorf("%s has no room %s", p.domain, uri)
}

// tail keeps the end of a log.
type tail struct {
	limit int
	b     []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if n := len(t.b) - t.limit; n > 0 {
		t.b = t.b[n:]
	}
	return len(b), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b)) }

// grep counts the files below a directory that contain something.
func grep(dir string, what []byte) (n int, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a compaction took it away
		}
		if bytes.Contains(b, what) {
			n++
		}
		return err
	})
	return n, err
}
