package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/client/disk"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/store"
)

// running is a node in this process.
type running struct {
	t     testing.TB
	cfg   node.Config
	dir   string
	n     *node.Node
	log   *lockedBuffer
	now   func() time.Time // the node's clock; nil: the real one
	stop  func() error     // ends Run and returns its error
	atEnd func(func())     // when users leave; nil: at the test's end
	large bool             // users' devices have stores as people's devices do
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// prepare makes a data directory for a provider on free ports.
func prepare(t testing.TB, domain string, boot ...string) *running {
	t.Helper()
	return prepareWith(t, domain, nil, boot...)
}

// prepareWith is prepare with a configuration of its own.
func prepareWith(t testing.TB, domain string, edit func(*node.Config), boot ...string) *running {
	t.Helper()
	c := node.DefaultConfig(domain)
	c.Clients.Listen, c.Metrics.Listen = free(t), free(t)
	c.Overlay.Listen = []string{"/ip4/127.0.0.1/tcp/" + port(free(t))}
	c.Overlay.Bootstrap = append(c.Overlay.Bootstrap, boot...)
	c.Trust.DNS, c.Log.Level = "off", "warn"
	if edit != nil {
		edit(&c)
	}
	r := &running{t: t, cfg: c, dir: filepath.Join(t.TempDir(), domain), log: new(lockedBuffer)}
	if _, err := node.Init(r.dir, c); err != nil {
		t.Fatal(err)
	}
	return r
}

// given are the ports that free has handed out: each once, since a node may come to it much later.
var given sync.Map

// free is an address with a port below those that connections get by themselves: one of
// those may be taken before the node comes, or comes back.
func free(t testing.TB) string {
	t.Helper()
	for range 1000 {
		p := 10_000 + rand.IntN(22_000)
		if _, taken := given.LoadOrStore(p, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p)); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

func port(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }

// run starts the node and waits until it is ready or has ended.
func (r *running) run() error {
	r.t.Helper()
	cfg, err := node.ReadConfig(r.dir)
	if err != nil {
		return err
	}
	if r.n, err = node.New(cfg, node.Options{LogTo: r.log, Version: "test", Now: r.now}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.n.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	select {
	case <-r.n.Ready():
		r.t.Cleanup(func() { r.stop() })
		return nil
	case err := <-ended:
		cancel()
		r.stop = func() error { return err }
		return err
	case <-time.After(20 * time.Second):
		r.t.Fatalf("not ready: %s", r.log)
		return nil
	}
}

func (r *running) must() *running {
	r.t.Helper()
	if err := r.run(); err != nil {
		r.t.Fatal(err)
	}
	return r
}

func (r *running) status() *admin.Status {
	r.t.Helper()
	s, err := r.n.Status(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// user registers somebody and runs the client until the test ends.
func (r *running) user(name string) *client.Client { return r.userBy(name, nil) }

// userBy is user, over a given HTTP client.
func (r *running) userBy(name string, over *http.Client) *client.Client {
	t := r.t
	t.Helper()
	a, err := admin.Dial(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	inv, err := a.CreateInvite(t.Context(), admin.NewInvite{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), name)
	st, err := disk.Open(disk.Options{Dir: dir, Small: !r.large})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { st.Run(ctx) })
	spool, err := disk.OpenSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Open(client.Config{Storage: st, Spool: spool, HTTP: over, Retry: 50 * time.Millisecond, CommitDelay: 50 * time.Millisecond, RecruitLook: time.Second, Now: r.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Register(t.Context(), r.status().Clients, inv.Code, "phone"); err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(run) })
	end := t.Cleanup
	if r.atEnd != nil {
		end = r.atEnd
	}
	end(func() {
		stop()
		running.Wait()
		cancel()
		wg.Wait()
		st.Close(context.Background())
	})
	return c
}

func within(t testing.TB, what string, f func() bool) {
	t.Helper()
	for range 4000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: not within 40 s", what)
}

// room has alice at a and bob at b share a room and say something.
func share(t *testing.T, a, b *running) (alice, bob *client.Client, said func(n int)) {
	t.Helper()
	ctx := t.Context()
	alice, bob = a.user("alice"), b.user("bob")
	if err := bob.Accept(ctx, alice.User()); err != nil { // a grant needs no request
		t.Fatal(err)
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return alice.AddUser(ctx, room, bob.User()) == nil })
	within(t, "bob is in", func() bool { _, err := bob.Verify(ctx, room); return err == nil })
	said = func(n int) {
		t.Helper()
		for _, c := range []*client.Client{alice, bob} {
			within(t, fmt.Sprintf("%s has %d messages", c.User(), n), func() bool {
				list, err := c.Messages(room, 0, 1000)
				return err == nil && len(list) == n && list[n-1].State == client.StateFinal
			})
		}
	}
	for i := range 3 {
		if _, err := alice.Send(ctx, room, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	said(3)
	return alice, bob, said
}

// TestTwoNodes: two providers in one process, a room over both, restarts, a rotated
// key, and stores without faults.
func TestTwoNodes(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, said := share(t, a, b)
	rooms, err := alice.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	// Health, readiness and metrics.
	get := func(path string) (int, string) {
		res, err := http.Get("http://" + a.cfg.Metrics.Listen + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": "mimid_room_entries_ordered_total 5"} {
		if code, body := get(path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, no %q", path, code, want)
		}
	}

	// The hub changes its provider key and starts again: the follower sees
	// no conflict, and the room goes on under the old one, which it names.
	rotated, err := node.Rotate(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatalf("stopping with open streams: %v", err)
	}
	a.must()
	if s := a.status(); s.KeyFingerprint != rotated.New || rotated.New == rotated.Old {
		t.Errorf("key %s, %+v", s.KeyFingerprint, rotated)
	}
	if _, err := alice.Send(t.Context(), rooms[0].URI, "after the change"); err != nil {
		t.Fatal(err)
	}
	said(4)
	peers := func() []admin.Peer {
		c, err := admin.Dial(t.Context(), b.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		list, err := c.Peers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	// Biloxi looks a provider up anew after a quarter of an hour; until then it may
	// know the old key, and in no case sees a conflict.
	known := func() bool {
		p := peers()
		return len(p) == 1 && (p[0].Fingerprint == rotated.New || p[0].Fingerprint == rotated.Old)
	}
	if !known() || len(peers()[0].Conflicts) > 0 {
		t.Errorf("biloxi knows %+v", peers())
	}

	// Somebody else claims to be atlanta.
	c := prepare(t, "atlanta.example", b.status().Addresses[0]).must()
	mallory := c.user("mallory")
	if err := mallory.RequestContact(t.Context(), bob.User()); err != nil { // it goes out, and is refused there
		t.Fatal(err)
	}
	claim := c.status().KeyFingerprint
	within(t, "biloxi's operator is shown the other claim", func() bool {
		p := peers()
		return len(p) == 1 && slices.Contains(p[0].Conflicts, claim)
	})
	if list, err := bob.Requests(t.Context()); err != nil || slices.Contains(list, mallory.User()) {
		t.Errorf("bob is asked by an impostor's user: %+v, %v", list, err)
	}
	if !known() {
		t.Errorf("biloxi believes an impostor: %+v", peers())
	}
	c.stop()

	v, err := a.n.Verify(t.Context())
	if err != nil || len(v.Faults) > 0 || v.Rooms != 1 || v.Entries != 6 {
		t.Errorf("%+v, %v", v, err)
	}
	for _, r := range []*running{a, b} {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		cfg, _ := node.ReadConfig(r.dir)
		v, err := node.Verify(t.Context(), cfg, nil)
		if err != nil || len(v.Faults) > 0 || v.Entries != 6 {
			t.Errorf("%s: %+v, %v", r.cfg.Domain, v, err)
		}
	}
	damage(t, b)
}

// damage spoils a stopped store in one way after the other, each in a copy, and has
// every one found.
func damage(t *testing.T, r *running) {
	edit := func(fn func(tx *store.Tx) error) func(dir string) error {
		return func(dir string) error {
			st, err := store.Open(store.Options{Dir: filepath.Join(dir, "store")})
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(context.Background())
			go st.Run(ctx)
			err = st.Update(ctx, fn)
			cancel()
			return errors.Join(err, st.Close(context.Background()))
		}
	}
	var id store.RoomID
	if err := edit(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.RoomHeads()}) {
			if err != nil {
				return err
			}
			id, err = store.ParseRoomHead(it.Key)
			return err
		}
		return errors.New("no room")
	})(r.dir); err != nil {
		t.Fatal(err)
	}
	flip := func(k store.Key, at int) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			v, err := tx.Get(k)
			if err != nil {
				return err
			}
			if at < 0 {
				at += len(v)
			}
			v[at] ^= 1
			return tx.Set(k, v)
		}
	}
	first := func(p store.Prefix, fn func(tx *store.Tx, k store.Key) error) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			for it, err := range tx.Scan(store.Scan{Prefix: p, KeysOnly: true}) {
				if err != nil {
					return err
				}
				return fn(tx, it.Key)
			}
			return errors.New("nothing there")
		}
	}
	remove := func(tx *store.Tx, k store.Key) error { return tx.Delete(k) }
	for why, fn := range map[string]func(tx *store.Tx) error{
		"an entry is missing":              func(tx *store.Tx) error { return tx.Delete(store.RoomEntryKey(id, 3)) },
		"an entry's contents changed":      flip(store.RoomEntryKey(id, 3), -1),
		"the first entry changed":          flip(store.RoomEntryKey(id, 0), -1),
		"a head's signature changed":       flip(store.RoomBatchKey(id, 5), -1),
		"the last batch is missing":        func(tx *store.Tx) error { return tx.Delete(store.RoomBatchKey(id, 5)) },
		"a batch's place changed":          flip(store.RoomBatchKey(id, 5), 8),
		"the room's head changed":          flip(store.RoomHeadKey(id), -1),
		"an index entry is missing":        first(store.RoomTxns(id), remove),
		"a part of the group is missing":   first(store.RoomParts(id), remove),
		"there is an entry behind the end": func(tx *store.Tx) error { return tx.Set(store.RoomBatchKey(id, 6), []byte{1}) },
	} {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"provider-1.pem", "node.pem", "franking.pem"} {
			if err := os.Chmod(filepath.Join(dir, "keys", f), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := edit(fn)(dir); err != nil {
			t.Errorf("%s: %v", why, err)
			continue
		}
		cfg, err := node.ReadConfig(dir)
		if err != nil {
			t.Fatal(err)
		}
		v, err := node.Verify(t.Context(), cfg, nil)
		if err != nil || len(v.Faults) == 0 {
			t.Errorf("%s: not found (%+v, %v)", why, v, err)
		}
	}
}

// TestStartRefused: what keeps a node from starting is said before anything is
// changed, and the node that runs is not disturbed.
func TestStartRefused(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	second := *a
	if err := second.run(); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second node on the directory: %v", err)
	}
	cfg, _ := node.ReadConfig(a.dir)
	if _, err := node.Verify(t.Context(), cfg, nil); !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "--running") {
		t.Errorf("verifying under a running node: %v", err)
	}
	for _, c := range []struct {
		what string
		edit func(*node.Config)
		want string
	}{
		{"clients' port in use", func(c *node.Config) { c.Clients.Listen = a.cfg.Clients.Listen }, "clients.listen"},
		{"metrics' port in use", func(c *node.Config) { c.Metrics.Listen = a.cfg.Metrics.Listen }, "metrics.listen"},
		{"overlay's port in use", func(c *node.Config) { c.Overlay.Listen = a.cfg.Overlay.Listen }, "cannot listen"},
		{"no certificate", func(c *node.Config) { c.Clients.TLSCertificate, c.Clients.TLSKey = "none.pem", "none.pem" }, "tls_certificate"},
		{"plain HTTP beyond this machine", func(c *node.Config) { c.Clients.Listen = "0.0.0.0:0" }, "loopback"},
	} {
		b := prepare(t, "biloxi.example")
		c.edit(&b.cfg)
		text, err := b.cfg.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.dir, node.ConfigName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := b.run(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.what, err, c.want)
			if err == nil {
				b.stop()
			}
		}
	}
	if s := a.status(); s.Ready != "" {
		t.Errorf("the node that ran before: %s", s.Ready)
	}
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	// A store whose files were cut.
	tables, err := filepath.Glob(filepath.Join(a.dir, "store", "*.mem"))
	if err != nil || len(tables) == 0 {
		tables, _ = filepath.Glob(filepath.Join(a.dir, "store", "*.sst"))
	}
	if len(tables) == 0 {
		t.Fatal("the store has no files")
	}
	for _, f := range tables {
		if err := os.Truncate(f, 20); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.run(); !errors.Is(err, store.ErrLost) && !errors.Is(err, store.ErrCorrupted) {
		t.Errorf("a store that was cut: %v", err)
		a.stop()
	}
}

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	k, err := node.Init(dir, node.DefaultConfig("atlanta.example"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Init(dir, node.DefaultConfig("atlanta.example")); !errors.Is(err, node.ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	again, err := node.ReadKeys(dir)
	if err != nil || again.Fingerprint() != k.Fingerprint() {
		t.Errorf("%v, %v", again, err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", k, k, *k, k); strings.Count(s, k.Fingerprint()[:16]) != 4 || len(s) > 200 {
		t.Errorf("keys print as %s", s)
	}
	r, err := node.Rotate(dir)
	if err != nil || r.Old != k.Fingerprint() || len(r.Todo) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if again, err = node.ReadKeys(dir); err != nil || again.Fingerprint() != r.New {
		t.Errorf("%v, %v", again, err)
	}
	file := filepath.Join(dir, "keys", "node.pem")
	good, _ := os.ReadFile(file)
	for why, spoil := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(file, 0o644) },
		"no PEM":             func() error { return os.WriteFile(file, []byte("key"), 0o600) },
		"two keys":           func() error { return os.WriteFile(file, append(good, good...), 0o600) },
		"another type": func() error {
			return os.WriteFile(file, bytes.ReplaceAll(good, []byte("PRIVATE"), []byte("PUBLIC")), 0o600)
		},
		"missing": func() error { return os.Remove(file) },
	} {
		if err := errors.Join(os.WriteFile(file, good, 0o600), os.Chmod(file, 0o600), spoil()); err != nil {
			t.Fatal(err)
		}
		if _, err := node.ReadKeys(dir); !errors.Is(err, node.ErrKeys) {
			t.Errorf("%s: %v", why, err)
		}
	}
}
