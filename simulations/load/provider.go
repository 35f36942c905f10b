package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

// provider is one provider: `mimid serve` in a process of its own.
type provider struct {
	cfg    Config
	name   string
	domain string
	dir    string
	status admin.Status // as printed when it was ready

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  *tail
}

// usage is what a process has used.
type usage struct {
	cpu             time.Duration
	rss, peak, anon int64
}

// newProvider makes a data directory with the command that an operator uses. Its
// rates are those of a provider whose one user sends as fast as it can.
func newProvider(ctx context.Context, cfg Config, name, dir string, others []*provider) (*provider, error) {
	p := &provider{cfg: cfg, name: name, domain: name + ".example", dir: dir}
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
	for _, o := range others {
		args = append(args, "--bootstrap", o.status.Addresses[0])
	}
	if out, err := exec.CommandContext(ctx, cfg.Program, args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: making %s: %w: %s", ErrProvider, p.domain, err, bytes.TrimSpace(out))
	}
	c, err := node.ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	c.Clients.RequestsPerSecond = 1_000_000
	b, err := c.Bytes()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, node.ConfigName), b, 0o600); err != nil {
		return nil, fmt.Errorf("writing configuration of %s: %w", p.domain, err)
	}
	return p, nil
}

// freePort finds a loopback port that nobody uses. Ports are fixed beforehand, because
// a provider that is started again has to be where it was.
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

// start runs the node and waits until it is ready.
func (p *provider) start(ctx context.Context) error {
	p.log = &tail{limit: 16 << 10}
	p.cmd = exec.Command(p.cfg.Program, "serve", "--json", "--dir", p.dir)
	p.cmd.Stderr = p.log
	if p.cfg.Logs != nil {
		p.cmd.Stderr = io.MultiWriter(p.log, p.cfg.Logs)
	}
	p.cmd.SysProcAttr = childAttr()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.domain, err)
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.domain, err)
	}
	type first struct {
		status admin.Status
		err    error
	}
	ready := make(chan first, 1)
	done := make(chan struct{})
	p.done = done
	cmd := p.cmd
	go func() {
		defer close(done)
		var f first
		line, err := bufio.NewReader(out).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &f.status)
		}
		f.err = err
		ready <- f
		io.Copy(io.Discard, out)
		cmd.Wait()
	}()
	wait := time.NewTimer(2 * time.Minute)
	defer wait.Stop()
	select {
	case f := <-ready:
		if f.err != nil {
			p.stop()
			return fmt.Errorf("%w: %s: %s", ErrProvider, p.domain, p.log)
		}
		p.status = f.status
		return nil
	case <-wait.C:
		p.stop()
		return fmt.Errorf("%w: %s is not ready within two minutes", ErrProvider, p.domain)
	case <-ctx.Done():
		p.stop()
		return ctx.Err()
	}
}

// stop ends the process in order. The second call does nothing.
func (p *provider) stop() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	wait := time.NewTimer(node.StopTimeout + 5*time.Second)
	defer wait.Stop()
	select {
	case <-p.done:
	case <-wait.C:
		p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *provider) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// usage reads what the process has used so far; nothing where that is not known.
func (p *provider) usage() usage {
	u, _ := usageOf(p.cmd.Process.Pid)
	return u
}

// ask opens the operator's socket for one question.
func (p *provider) ask(ctx context.Context, f func(a *admin.Client) error) error {
	a, err := admin.Dial(ctx, p.dir)
	// A node says that it is ready a moment before its operator's socket is there.
	for range 100 {
		if !errors.Is(err, admin.ErrNotRunning) || p.ended() {
			break
		}
		time.Sleep(20 * time.Millisecond)
		a, err = admin.Dial(ctx, p.dir)
	}
	if err != nil {
		return fmt.Errorf("asking %s: %w", p.domain, err)
	}
	defer a.Close()
	if err := f(a); err != nil {
		return fmt.Errorf("asking %s: %w", p.domain, err)
	}
	return nil
}

// commits returns how many commits, each with its fsync, the provider has made.
func (p *provider) commits(ctx context.Context) (n uint64, err error) {
	err = p.ask(ctx, func(a *admin.Client) error {
		s, err := a.Status(ctx)
		if err == nil {
			n = s.Commits
		}
		return err
	})
	return n, err
}

// next returns the sequence number that a room's next entry will have here.
func (p *provider) next(ctx context.Context, room string) (n uint64, err error) {
	err = p.ask(ctx, func(a *admin.Client) error {
		list, err := a.Rooms(ctx, "", 0)
		if err != nil {
			return err
		}
		for _, r := range list.Rooms {
			if r.ID == room {
				n = r.Next
				return nil
			}
		}
		return errNoRoom
	})
	return n, err
}

var errNoRoom = errors.New("it has no such room yet")

// waitNext waits until a provider has a room's log up to next, and says how far it
// is each time that it looks.
func (p *provider) waitNext(ctx context.Context, room string, next uint64, seen func(uint64)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := p.next(ctx, room)
		if err == nil && seen != nil {
			seen(n)
		}
		switch {
		case err == nil && n >= next:
			return nil
		case err != nil && !errors.Is(err, errNoRoom) && ctx.Err() == nil:
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %s has %d of %d entries: %w", ErrLate, p.domain, n, next, ctx.Err())
		}
	}
}

// tail keeps the end of a log. It is read after its process has ended.
type tail struct {
	limit int
	b     []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if n := len(t.b) - t.limit; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(b), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b)) }
