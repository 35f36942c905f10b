//go:build linux

package node_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// BenchmarkManyRooms: two providers share 10,000 rooms of 100 entries, each the hub
// of half of them. How long one takes to start, alone, and then to listen to all
// rooms; and when both run and nobody says anything, what one takes in memory and
// time, a minute long, in which it asks once where the other's rooms stand. Each node
// is a process of its own.
func BenchmarkManyRooms(b *testing.B) {
	if testing.Short() {
		b.Skip("takes minutes")
	}
	const rooms, entries, starts, idle = 10_000, 100, 5, time.Minute
	for range b.N {
		a, z := pairOfRooms(b, rooms, entries)
		introduce(a, z)
		// What has just been written is put in order first, as it is while a provider
		// works. That takes memory, too.
		p := together(a, z)
		b.ReportMetric(p.quiet().Anonymous.mib(), "compacting-anon-MiB")
		p.end()

		var ready, joined []float64
		for range starts {
			c := a.child()
			r := c.listening(rooms)
			ready, joined = append(ready, r.ReadyMS), append(joined, r.JoinedMS)
			c.end()
		}
		slices.Sort(ready)
		slices.Sort(joined)
		b.ReportMetric(ready[starts/2], "ready-ms")
		b.ReportMetric(ready[starts-1], "ready-worst-ms")
		b.ReportMetric(joined[starts/2], "joined-ms")

		p = together(a, z)
		from := p.quiet()
		time.Sleep(idle)
		to := p.a.ask("")
		b.ReportMetric(100*(to.CPU-from.CPU).Seconds()/idle.Seconds(), "idle-cpu-%")
		b.ReportMetric(to.Anonymous.mib(), "idle-anon-MiB")
		clean := p.a.ask("collect")
		b.ReportMetric(clean.Anonymous.mib(), "collected-anon-MiB")
		if clean.Rooms != rooms || clean.Topics != rooms || clean.Peers != 1 {
			b.Errorf("%+v", clean)
		}
		p.end()
	}
}

// TestRoomsOfBenchmark: the rooms of the benchmark are rooms.
func TestRoomsOfBenchmark(t *testing.T) {
	a, z := pairOfRooms(t, 6, 9)
	introduce(a, z)
	for _, r := range []*running{a, z} {
		cfg, err := node.ReadConfig(r.dir)
		if err != nil {
			t.Fatal(err)
		}
		v, err := node.Verify(t.Context(), cfg, nil)
		if err != nil || len(v.Faults) > 0 || v.Rooms != 6 || v.Entries != 6*9 {
			t.Errorf("%s: %+v, %v", r.cfg.Domain, v, err)
		}
	}
}

// founder is a provider whose store is filled without a node.
type founder struct {
	*running
	key   ed25519.PrivateKey
	st    *store.Store
	feed  *feed.Feed
	leaf  mls.LeafParams
	user  uri.User
	other *founder
}

// pairOfRooms makes two data directories with the same rooms, of which either
// provider orders half. Rooms are real, only what their messages hold is nothing.
func pairOfRooms(t testing.TB, rooms, entries int) (a, z *running) {
	t.Helper()
	a, z = prepare(t, "atlanta.example"), prepare(t, "biloxi.example")
	fs := []*founder{{running: a}, {running: z}}
	fs[0].other, fs[1].other = fs[1], fs[0]
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, f := range fs {
		f.open(ctx, &wg)
	}
	auth := check(x509auth.New(x509auth.Options{Anchors: func(domain string) []crypto.PublicKey {
		for _, f := range fs {
			if f.cfg.Domain == domain {
				return []crypto.PublicKey{f.key.Public()}
			}
		}
		return nil
	}}))(t)
	rules := room.Rules{Auth: auth, Anchors: func(domain string) []crypto.PublicKey {
		if domain == fs[0].cfg.Domain {
			return []crypto.PublicKey{fs[0].key.Public()}
		}
		return []crypto.PublicKey{fs[1].key.Public()}
	}}
	next := make(chan int)
	var work sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for i := range next {
				if err := fs[i%2].found(ctx, i, entries, rules); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range rooms {
		next <- i
	}
	close(next)
	work.Wait()
	for _, f := range fs {
		if err := f.st.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return a, z
}

func (f *founder) open(ctx context.Context, wg *sync.WaitGroup) {
	t := f.t
	f.key = readPEM(t, filepath.Join(f.dir, "keys", "provider-1.pem"))
	f.st = check(store.Open(store.Options{Dir: filepath.Join(f.dir, "store")}))(t)
	wg.Go(func() { f.st.Run(ctx) })
	f.feed = check(feed.Open(ctx, f.st))(t)
	f.user = check(uri.ParseShort("alice@" + f.cfg.Domain))(t)
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := x509auth.ValidFor(time.Now(), x509auth.Lifetime)
	cert := check(x509auth.IssueUser(f.key, f.user.String(), pub, v))(t)
	sig := check(mls.GenerateSignatureKey(room.Suite))(t)
	client := check(f.user.Provider().Client(f.user.Name(), "phone"))(t)
	leaf := check(x509auth.IssueClient(priv, cert, client.String(), sig.Public(), v))(t)
	f.leaf = mls.LeafParams{Suite: room.Suite, Signer: sig, Credential: mls.X509Credential(leaf, cert), Lifetime: mls.LifetimeOf(time.Now(), 30*24*time.Hour)}
}

// found makes the room with a number at this hub, adds the other provider's user,
// and fills the log up with messages of both providers' users, seven to a batch.
func (f *founder) found(ctx context.Context, i, entries int, rules room.Rules) error {
	h := &room.Hosting{Term: room.FirstTerm, Failover: room.FailoverAdmin, Topic: [16]byte(room.NewTxnNonce()),
		Hub: room.Replica{Domain: f.cfg.Domain, ProviderKey: [32]byte(f.key.Public().(ed25519.PublicKey)), FrankingKey: make([]byte, 32)}}
	h.Replicas = []room.Replica{h.Hub}
	name, err := uri.ParseRoom(fmt.Sprintf("mimi://%s/r/room%022d", f.cfg.Domain, i))
	if err != nil {
		return err
	}
	ext, err := room.Extensions(f.user, h, nil)
	if err != nil {
		return err
	}
	id, err := room.GroupID(name)
	if err != nil {
		return err
	}
	conf := room.Config(rules.Auth)
	g, err := mls.CreateGroup(mls.GroupParams{LeafParams: f.leaf, GroupID: id, Extensions: ext}, conf)
	if err != nil {
		return err
	}
	info, err := g.GroupInfo(false)
	if err != nil {
		return err
	}
	now := time.Now()
	first := room.FirstEntry(&room.Create{URI: name, GroupInfo: info, Tree: g.Public().Tree()}, txn(i, 0), now)
	s, err := room.Begin(first, rules)
	if err != nil {
		return err
	}
	w := &writing{f: f, s: s}
	if err := w.seal([]*room.Entry{first}); err != nil {
		return err
	}

	kp, err := mls.NewKeyPackage(f.other.leaf, false, nil)
	if err != nil {
		return err
	}
	good, err := kp.KeyPackage().Verify(conf, now)
	if err != nil {
		return err
	}
	add, err := room.UpdateParticipants(g.Public().Context(), []room.Participant{{User: f.other.user, Role: policy.Member}}, nil)
	if err != nil {
		return err
	}
	staged, err := g.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{good}, Proposals: []*mls.Proposal{add}}, now)
	if err != nil {
		return err
	}
	body, err := room.HandshakeOf(&wire.HandshakeBundle{Message: staged.Message, Welcome: staged.Welcome, GroupInfo: &wire.GroupInfoOption{Full: staged.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}).Bytes()
	if err != nil {
		return err
	}
	if err := w.add(room.KindHandshake, txn(i, 1), body, now); err != nil {
		return err
	}
	for seq := 2; seq < entries; seq++ {
		if body, err = emptyMessage(id, s.Epoch(), 512); err != nil {
			return err
		}
		if seq%7 == 2 {
			if err := w.seal(nil); err != nil {
				return err
			}
		}
		if err := w.add(room.KindMessage, txn(i, seq), body, now); err != nil {
			return err
		}
	}
	if err := w.seal(nil); err != nil {
		return err
	}
	parts := s.Unsaved()
	for _, to := range []*founder{f, f.other} {
		if err := w.write(ctx, to, parts); err != nil {
			return err
		}
	}
	return nil
}

// writing is a log that is being made.
type writing struct {
	f       *founder
	s       *room.State
	at      room.Position
	waiting []*room.Entry
	batches []*room.Batch
}

func (w *writing) add(k room.Kind, txn room.TxnID, body []byte, now time.Time) error {
	e := w.s.NewEntry(k, txn, body, now)
	st, err := w.s.Check(e)
	if err != nil {
		return err
	}
	w.waiting = append(w.waiting, e)
	return w.s.Advance(st)
}

// seal ends a batch with the entries given, or those that wait.
func (w *writing) seal(es []*room.Entry) error {
	if es == nil {
		es, w.waiting = w.waiting, nil
	}
	if len(es) == 0 {
		return nil
	}
	b, err := room.Seal(w.s.ID(), w.at, es, w.f.key)
	if err != nil {
		return err
	}
	w.at = b.After()
	w.batches = append(w.batches, b)
	return nil
}

// write writes the log to a provider, as its rooms would.
func (w *writing) write(ctx context.Context, to *founder, parts []room.Part) error {
	s, id := w.s, w.s.ID()
	h := s.Hosting()
	var last uint64                                   // the feed's
	for piece := range slices.Chunk(w.batches, 100) { // what one transaction holds
		if err := to.st.Update(ctx, func(tx *store.Tx) error {
			for _, b := range piece {
				pos, err := to.feed.Next(tx)
				if err != nil {
					return err
				}
				if err := logstore.Append(tx, id, b, nil, pos); err != nil {
					return err
				}
				last = pos
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return to.st.Update(ctx, func(tx *store.Tx) error {
		head := &logstore.Head{URI: s.URI(), At: s.At(), Topic: h.Topic, Hub: h.Hub.Domain, HubKey: h.Hub.ProviderKey, Providers: s.Providers(), Epoch: s.Epoch(), Feed: last}
		return errors.Join(logstore.PutParts(tx, id, parts), logstore.PutHead(tx, head), to.feed.Join(tx, to.user, id, head.Feed))
	})
}

func txn(i, seq int) room.TxnID {
	return room.TxnIDOf(room.TxnNonce{}, fmt.Appendf(nil, "%d/%d", i, seq))
}

// emptyMessage is the body of a message entry that a hub would take: what nobody
// but members could see is zeros.
func emptyMessage(group []byte, epoch uint64, size int) ([]byte, error) {
	b := presentation.AppendOpaque([]byte{0, 1, 0, 2}, group)
	b = append(presentation.AppendU64(b, epoch), byte(mls.ContentApplication))
	b = presentation.AppendOpaque(b, nil)
	b = presentation.AppendOpaque(b, make([]byte, 28))
	m, err := mls.ParseMessage(presentation.AppendOpaque(b, make([]byte, size)), mls.Limits{})
	if err != nil {
		return nil, err
	}
	return (&room.Message{Message: m}).Bytes()
}

func readPEM(t testing.TB, file string) ed25519.PrivateKey {
	t.Helper()
	block, _ := pem.Decode(check(os.ReadFile(file))(t))
	return check(x509.ParsePKCS8PrivateKey(block.Bytes))(t).(ed25519.PrivateKey)
}

// configure writes the configuration anew.
func (r *running) configure() {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, node.ConfigName), check(r.cfg.Bytes())(r.t), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// introduce runs two providers until each has the other's key and where it is.
func introduce(a, z *running) {
	t := a.t
	t.Helper()
	a.must()
	z.cfg.Overlay.Bootstrap = a.status().Addresses[:1]
	z.configure()
	z.must()
	for _, r := range []*running{a, z} {
		within(t, "they know each other", func() bool { return r.status().Peers == 1 })
	}
	for _, r := range []*running{z, a} {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func check[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// report is what a child says of itself.
type report struct {
	ReadyMS, JoinedMS    float64 // since its start; JoinedMS after listening
	Rooms, Topics, Peers int
	Led                  int           // times that it became a hub
	Said, Writes, Syncs  int           // to other replicas; functions and transactions of the store
	CPU                  time.Duration // user and system
	Anonymous            size          // RssAnon
}

// size counts bytes.
type size uint64

func (s size) mib() float64 { return float64(s) / (1 << 20) }

// child is a node in a process of its own: this test's program.
type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err bytes.Buffer
}

const childDir = "MIMID_TEST_NODE"

func (r *running) child() *child {
	t := r.t
	t.Helper()
	c := &child{t: t, cmd: exec.Command(check(os.Executable())(t), "-test.run=^TestNodeProcess$", "-test.timeout=0")}
	c.cmd.Env = append(os.Environ(), childDir+"="+r.dir)
	c.cmd.Stderr = &c.err
	if dir := os.Getenv("MIMID_TEST_PROFILES"); dir != "" {
		f := check(os.Create(filepath.Join(dir, r.cfg.Domain+".log")))(t)
		t.Cleanup(func() { f.Close() })
		c.cmd.Stderr = f
	}
	c.in = check(c.cmd.StdinPipe())(t)
	c.out = bufio.NewReader(check(c.cmd.StdoutPipe())(t))
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.in.Close() // ends it, unless it has ended
		c.cmd.Wait()
	})
	return c
}

func (c *child) ask(what string) (r report) {
	c.t.Helper()
	fmt.Fprintln(c.in, what)
	line, err := c.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		c.t.Fatalf("node process: %v, %s %s", err, line, c.err.String())
	}
	return r
}

// listening waits until the node has joined the topics of so many rooms.
func (c *child) listening(rooms int) report {
	c.t.Helper()
	return c.ask(fmt.Sprintf("listening %d", rooms))
}

func (c *child) end() {
	c.t.Helper()
	c.in.Close()
	io.Copy(io.Discard, c.out)
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("node process: %v, %s", err, c.err.String())
	}
}

// children are two nodes that are connected.
type children struct{ a, z *child }

func together(a, z *running) *children {
	p := &children{a.child(), z.child()}
	for _, c := range []*child{p.a, p.z} {
		for c.ask("").Peers == 0 {
			time.Sleep(100 * time.Millisecond)
		}
	}
	return p
}

// quiet waits until neither does anything to speak of for some seconds, and reports
// on the first.
func (p *children) quiet() (r report) {
	for quiet := 0; quiet < 3; {
		was, other := p.a.ask(""), p.z.ask("")
		time.Sleep(2 * time.Second)
		r = p.a.ask("")
		if quiet++; max(r.CPU-was.CPU, p.z.ask("").CPU-other.CPU) > 200*time.Millisecond {
			quiet = 0
		}
	}
	return r
}

func (p *children) end() {
	p.a.end()
	p.z.end()
}

// TestNodeProcess is what a child runs: a node that answers each line with a report,
// until there are no more.
func TestNodeProcess(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only as a child of a benchmark")
	}
	began := time.Now()
	since := func() float64 { return float64(time.Since(began).Microseconds()) / 1000 }
	cfg := check(node.ReadConfig(dir))(t)
	n := check(node.New(cfg, node.Options{LogTo: os.Stderr}))(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	out := report{ReadyMS: since()}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch verb, arg, _ := strings.Cut(lines.Text(), " "); verb {
		case "collect":
			debug.FreeOSMemory()
		case "listening":
			for metric(t, cfg, "overlay_topics") < check(strconv.Atoi(arg))(t) {
				time.Sleep(10 * time.Millisecond)
			}
			out.JoinedMS = since()
		case "profile":
			pprof.StopCPUProfile()
			if arg == "" {
				break
			}
			if err := pprof.StartCPUProfile(check(os.Create(arg))(t)); err != nil {
				t.Fatal(err)
			}
		}
		s := check(n.Status(ctx))(t)
		out.Rooms, out.Peers, out.Topics = s.Rooms, s.Peers, metric(t, cfg, "overlay_topics")
		out.Led, out.Said = metric(t, cfg, "room_hub_terms_total"), metric(t, cfg, "replica_messages_total")
		out.Writes, out.Syncs = metric(t, cfg, "store_functions_total"), metric(t, cfg, "store_commits_total")
		out.CPU, out.Anonymous = usedCPU(t), anonymous(t)
		fmt.Printf("%s\n", check(json.Marshal(out))(t))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// metric reads a number that a node shows.
func metric(t testing.TB, cfg *node.Config, name string) int {
	t.Helper()
	res := check(http.Get("http://" + cfg.Metrics.Listen + "/metrics"))(t)
	defer res.Body.Close()
	for line := range strings.Lines(string(check(io.ReadAll(res.Body))(t))) {
		if n, ok := strings.CutPrefix(line, "mimid_"+name+" "); ok {
			return int(check(strconv.ParseFloat(strings.TrimSpace(n), 64))(t))
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func usedCPU(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// anonymous is the memory that is nobody else's and in no file.
func anonymous(t testing.TB) size {
	for line := range strings.Lines(string(check(os.ReadFile("/proc/self/status"))(t))) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb := check(strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64))(t)
			return size(kb << 10)
		}
	}
	t.Fatal("no RssAnon")
	return 0
}
