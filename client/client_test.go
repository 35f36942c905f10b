package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/uri"
)

// person is a user with one device.
type person struct {
	t           testing.TB
	f           *fake
	name        string
	domain      string
	store       *memory
	http        *http.Client
	c           *client.Client
	stop        context.CancelFunc
	ended       chan error
	seen        []client.Notice
	few         int           // notices that may wait
	late        time.Duration // the clock runs ahead by this
	ahead       atomic.Int64  // and by this, which may change
	receiptRoom int
	clock       func() time.Time // in place of all that, if it is not nil
	patient     bool             // receipts are gathered for hours
	spool       *spool
}

func (f *fake) person(name, domain string) *person {
	f.t.Helper()
	p := &person{t: f.t, f: f, name: name, domain: domain, store: newMemory(), http: &http.Client{Transport: &http.Transport{}}}
	p.open()
	if err := p.c.Register(context.Background(), f.url(domain), name, "phone"); err != nil {
		f.t.Fatal(err)
	}
	p.run()
	f.t.Cleanup(func() {
		p.kill()
		p.http.CloseIdleConnections()
	})
	return p
}

func (p *person) open() {
	p.t.Helper()
	var log *slog.Logger
	if os.Getenv("CLIENT_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("who", p.name)
	}
	gather := 10 * time.Millisecond
	if p.patient {
		gather = time.Hour
	}
	now := p.clock
	if now == nil {
		now = func() time.Time { return time.Now().Add(p.late + time.Duration(p.ahead.Load())) }
	}
	var err error
	var files client.Spool
	if p.spool != nil {
		files = p.spool
	}
	p.c, err = client.Open(client.Config{Storage: p.store, Spool: files, HTTP: p.http, Log: log, Notices: p.few,
		Now: now, CommitDelay: 20 * time.Millisecond, Retry: 5 * time.Millisecond, ReportDelay: gather, ReceiptRoom: p.receiptRoom})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) run() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.ended = stop, make(chan error, 1)
	c := p.c
	ended := p.ended
	go func() { ended <- c.Run(ctx) }()
}

// kill ends the process; what it had in memory is gone.
func (p *person) kill() error {
	if p.stop == nil {
		return nil
	}
	p.stop()
	p.stop = nil
	return <-p.ended
}

// restart kills and opens again on what the storage holds.
func (p *person) restart() {
	p.t.Helper()
	p.kill()
	p.store = p.store.reopened()
	if p.spool != nil {
		p.spool = p.spool.reopened()
	}
	p.open()
	p.run()
}

func (p *person) user() uri.User {
	d, err := uri.ParseDomain(p.domain)
	if err != nil {
		p.t.Fatal(err)
	}
	u, err := d.User(p.name)
	if err != nil {
		p.t.Fatal(err)
	}
	return u
}

func ctx10(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// await waits for a notice that fits, and remembers all that came.
func await[T client.Notice](p *person, fits func(T) bool) T {
	p.t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case n := <-p.c.Events():
			p.seen = append(p.seen, n)
			if x, ok := n.(client.Problem); ok {
				p.t.Logf("%s: problem: %v", p.name, x.Err)
			}
			if x, ok := n.(T); ok && (fits == nil || fits(x)) {
				return x
			}
		case <-limit:
			var zero T
			p.t.Fatalf("%s: no %T within a minute; there were %v", p.name, zero, p.seen)
		}
	}
}

func (p *person) create(name string) uri.Room {
	p.t.Helper()
	u, err := p.c.CreateRoom(ctx10(p.t), name)
	if err != nil {
		p.t.Fatal(err)
	}
	return u
}

func (p *person) add(u uri.Room, who *person) {
	p.t.Helper()
	p.f.ready(who)
	if err := p.c.AddUser(ctx10(p.t), u, who.user()); err != nil {
		p.t.Fatalf("%s adds %s: %v", p.name, who.name, err)
	}
	eventually(p.t, who.name+" joins", func() bool { return who.state(u) == "joined" })
}

func (p *person) state(u uri.Room) client.State {
	list, err := p.c.Rooms(ctx10(p.t))
	if err != nil {
		return client.State("error: " + err.Error())
	}
	for _, r := range list {
		if r.URI == u {
			return r.State
		}
	}
	return ""
}

func (p *person) send(u uri.Room, text string) uint64 {
	p.t.Helper()
	i, err := p.c.Send(ctx10(p.t), u, text)
	if err != nil {
		p.t.Fatalf("%s sends: %v", p.name, err)
	}
	return i
}

// texts lists what is said in a room, as this device has it.
func (p *person) texts(u uri.Room) []string {
	p.t.Helper()
	ms, err := p.c.Messages(u, 0, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for _, m := range ms {
		s := m.Sender.Name() + ": " + m.Text
		if m.State != client.StateFinal {
			s += " (" + string(m.State) + ")"
		}
		out = append(out, s)
	}
	return out
}

func (p *person) hears(u uri.Room, want ...string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s hears %q", p.name, want), func() bool {
		got := p.texts(u)
		for _, w := range want {
			if !slices.Contains(got, w) {
				return false
			}
		}
		return true
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	if os.Getenv("CLIENT_TEST_STACKS") != "" {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	}
	t.Fatalf("not within a minute: %s", what)
}

// ready waits until somebody's KeyPackages are published.
func (f *fake) ready(p *person) {
	f.t.Helper()
	eventually(f.t, p.name+"'s KeyPackages", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		u := f.users[p.user().String()]
		return u != nil && u.last != nil && len(u.packages) > 0
	})
}

// agree waits until all stand at the same place in a room.
func agree(u uri.Room, ps ...*person) { agreeWhile(u, func() {}, ps...) }

// agreeWhile does something before each look.
func agreeWhile(u uri.Room, do func(), ps ...*person) {
	ps[0].t.Helper()
	var all []client.Summary
	var last error
	defer func() {
		if ps[0].t.Failed() {
			ps[0].t.Logf("they have %+v, %v", all, last)
		}
	}()
	eventually(ps[0].t, "agreement", func() bool {
		all, last = nil, nil
		do()
		for _, p := range ps {
			s, err := p.c.Verify(ctx10(p.t), u)
			if err != nil {
				last = fmt.Errorf("%s: %w", p.name, err)
				return false
			}
			all = append(all, s)
		}
		for _, s := range all {
			if s != all[0] {
				return false
			}
		}
		return true
	})
}

func TestTalk(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "chicago.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "hello")
	bob.hears(u, "alice: hello")
	bob.send(u, "hi")
	alice.hears(u, "alice: hello", "bob: hi")
	bob.add(u, carol)
	carol.send(u, "good morning")
	alice.hears(u, "carol: good morning")
	bob.hears(u, "carol: good morning", "bob: hi")
	agree(u, alice, bob, carol)
	rooms, err := carol.c.Rooms(ctx10(t))
	if err != nil || len(rooms) != 1 || rooms[0].Name != "clubhouse" || len(rooms[0].Participants) != 3 {
		t.Errorf("carol's rooms: %+v, %v", rooms, err)
	}
	if got := carol.texts(u); !slices.Equal(got, []string{"carol: good morning"}) {
		t.Errorf("carol reads %q, only what came after she did was expected", got)
	}
	if err := alice.c.Sync(ctx10(t)); err != nil {
		t.Error(err)
	}
}

func TestNotRegistered(t *testing.T) {
	c, err := client.Open(client.Config{Storage: newMemory()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(context.Background()); !errors.Is(err, client.ErrNotRegistered) {
		t.Errorf("Run: %v", err)
	}
	if _, err := c.CreateRoom(context.Background(), "x"); !errors.Is(err, client.ErrStopped) {
		t.Errorf("CreateRoom: %v", err)
	}
}
