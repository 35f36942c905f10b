package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/memnet"
)

// A world is whole providers, each a node with all its parts, and people with a client each. It belongs
// to the run's goroutine.
type world struct {
	seed      uint64
	model     *links.Model
	path      *path
	fabric    *memnet.Fabric
	dir       string // for what providers keep in files: attachments, of which there are none
	providers []*provider
	people    []*person
	log       io.Writer // what nodes have to say
	files     bool      // stores lie in dir, so that providers can be begun again; they are in memory else
}

// provider is one, and its node while it runs.
type provider struct {
	index  int
	domain string
	config *node.Config
	n      *node.Node
	admin  *admin.Client
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done
	dead   bool  // it was killed
	faulty faulty

	mu      sync.Mutex
	clients *memnet.Local // of the node that runs; guarded by mu
}

// listener is where clients of the provider come now.
func (p *provider) listener() *memnet.Local {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clients
}

// person is a user with one device.
type person struct {
	*client.Client
	at      *provider
	web     *http.Transport
	running context.Context // of the device
	cancel  context.CancelFunc
	ended   sync.WaitGroup
	ran     error // once ended: why the device stopped by itself
}

// newWorld makes some providers, who all know the first one, and waits until they are ready.
func newWorld(ctx context.Context, seed uint64, count int, spec links.Spec, edit func(*node.Config), log io.Writer) (*world, error) {
	return newWorldOn(ctx, seed, count, spec, edit, log, false)
}

// newWorldOn is newWorld, with stores in files if the providers are to be begun again.
func newWorldOn(ctx context.Context, seed uint64, count int, spec links.Spec, edit func(*node.Config), log io.Writer, files bool) (*world, error) {
	source := rand.New(rand.NewPCG(seed, 1))
	w := &world{seed: seed, model: links.New(spec, count, source), log: log, files: files}
	w.path = &path{model: w.model, rand: source}
	w.fabric = memnet.New(w.path)
	var err error
	if w.dir, err = os.MkdirTemp("", "mimid-sim-"); err != nil {
		return w, err
	}
	var boot []string
	for i := range count {
		p, err := w.add(ctx, i, boot, edit)
		if err != nil {
			return w, err
		}
		select {
		case <-p.n.Ready():
		case <-p.done:
			return w, fmt.Errorf("%s has ended: %w", p.domain, p.err)
		case <-time.After(time.Minute):
			return w, fmt.Errorf("%s is not ready after a minute of its time", p.domain)
		}
		if i == 0 {
			s, err := p.n.Status(ctx)
			if err != nil {
				return w, err
			}
			boot = s.Addresses
		}
	}
	return w, nil
}

// add makes a provider and starts it.
func (w *world) add(ctx context.Context, i int, boot []string, edit func(*node.Config)) (*provider, error) {
	p := &provider{index: i, domain: fmt.Sprintf("p%d.example", i)}
	c := node.DefaultConfig(p.domain)
	c.Overlay.Look = 0 // each look makes a libp2p host
	c.Dir = filepath.Join(w.dir, p.domain)
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		return nil, err
	}
	c.Overlay.Listen, c.Overlay.Bootstrap = []string{memnet.Addr(i).String()}, boot
	c.Trust.DNS, c.Metrics.Listen, c.Log.Level, c.Store.Small = "off", "", "warn", true
	if edit != nil {
		edit(&c)
	}
	p.config = &c
	if err := w.begin(ctx, p); err != nil {
		return nil, err
	}
	w.providers = append(w.providers, p)
	return p, nil
}

// begin has a provider run, for the first time or after it has ended.
func (w *world) begin(ctx context.Context, p *provider) error {
	i, clients, operator := p.index, memnet.NewLocal(8448), memnet.NewLocal(1)
	var err error
	p.n, err = node.New(p.config, node.Options{Version: "simulated", LogTo: w.log, Now: p.faulty.now, Memory: &node.Memory{
		Keys:      node.NewKeys(key(w.seed, i, "provider"), key(w.seed, i, "node"), key(w.seed, i, "franking")),
		Transport: w.fabric.Node(i), Clients: clients, Operator: operator, Files: w.files, Disk: p.faulty.disk}})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.clients = clients
	p.mu.Unlock()
	p.admin, p.done = admin.NewClient(operator.Dial), make(chan struct{})
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	n, done := p.n, p.done
	go func() {
		defer close(done)
		p.err = n.Run(run)
	}()
	return nil
}

// again has a provider that was struck down run again, on what its store has, and waits until it is ready.
func (w *world) again(ctx context.Context, p *provider) error {
	if err := p.stop(); err != nil {
		return fmt.Errorf("the node of %s that was killed: %w", p.domain, err)
	}
	if err := w.begin(ctx, p); err != nil {
		return err
	}
	return await(ctx, p.domain+" being ready again", func() bool {
		select {
		case <-p.n.Ready():
			return true
		default:
			return false
		}
	})
}

// enter registers somebody at a provider and runs the device.
func (w *world) enter(ctx context.Context, p *provider, name string) (*person, error) {
	inv, err := p.admin.CreateInvite(ctx, admin.NewInvite{Name: name})
	if err != nil {
		return nil, err
	}
	x := &person{at: p, web: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.listener().Dial(ctx) }}}
	if x.Client, err = client.Open(client.Config{Storage: newStorage(), HTTP: &http.Client{Transport: x.web}, Notices: 1 << 14, Log: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, err
	}
	x.running, x.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.people = append(w.people, x)
	if err := x.Register(ctx, "http://"+p.listener().Addr().String(), inv.Code, "device"); err != nil {
		return nil, fmt.Errorf("registering %s at %s: %w", name, p.domain, err)
	}
	x.ended.Go(func() { x.ran = x.Client.Run(x.running) })
	return x, nil
}

// stop ends a provider in order.
func (p *provider) stop() error {
	p.cancel()
	<-p.done
	p.admin.Close()
	return p.err
}

// close ends everything, which virtual time needs.
func (w *world) close() (err error) {
	for _, p := range w.providers {
		w.thaw(p) // it could not end else
	}
	for _, x := range w.people {
		x.cancel()
		x.ended.Wait()
		x.web.CloseIdleConnections()
		err = errors.Join(err, x.ran)
	}
	for _, p := range w.providers {
		err = errors.Join(err, p.stop())
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// await asks every few milliseconds of virtual time until something is so.
func await(ctx context.Context, what string, is func() bool) error {
	const patience = 2 * time.Minute
	begun := time.Now()
	for !is() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(begun) > patience {
			return fmt.Errorf("%s: not within %s of virtual time", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}
