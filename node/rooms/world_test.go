package rooms_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// world is some providers' rooms and the network between them, which can be cut.
type world struct {
	t testing.TB
	// large takes stores as providers have them, and batches to go with them.
	large bool
	// lazy providers know others' keys only after they have looked them up.
	lazy bool
	ps   map[string]*provider

	delay atomic.Int64 // of each request, and of each answer, in nanoseconds

	mu   sync.Mutex
	side map[string]bool // guarded by mu: who of these does not reach the others
}

// split cuts some providers off from the others; with none the network is whole again.
func (w *world) split(domains ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.side = map[string]bool{}
	for _, d := range domains {
		w.side[d] = true
	}
}

// cut says whether two providers do not reach each other.
func (w *world) cut(a, b string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.side[a] != w.side[b]
}

// provider is one provider's rooms over a real store.
type provider struct {
	w      *world
	domain string
	key    ed25519.PrivateKey
	dir    string
	st     *store.Store
	feed   *feed.Feed
	rooms  *rooms.Rooms
	auth   *x509auth.Authenticator
	stop   func()

	mu     sync.Mutex
	topics map[string]overlay.TopicHandler
	down   bool           // answers nobody and hears nothing
	deaf   bool           // hears no gossip
	mute   bool           // what it says to other replicas is lost
	spoke  map[string]int // what it said to others: calls by endpoint, and "gossip"
	toldTo map[string]int // calls by target and endpoint, and what was published by topic
	bare   bool           // has no nodes: HTTPS only
	calls  map[string]int
	known  map[string]int // domains that were looked up, and how often
	ctx    context.Context
	wg     *sync.WaitGroup

	// old are keys that this provider has of others whose newest ones it would find;
	// lost says that it cannot look.
	old  map[string]crypto.PublicKey
	lost bool

	// gone are domains that are not found, and why; missed how often that happened, asks
	// what was asked of others, and told the domains that this provider knows by their word.
	gone   map[string]error
	missed int
	asks   map[string]int
	told   map[string]bool

	// What tests change; set before start, or under mu.
	tweak   func(*rooms.Config)
	answer  func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error)
	alter   func(data []byte) []byte               // what comes by gossip
	deliver func(tx *store.Tx, c rooms.Call) error // before the outbox takes a call
}

func (p *provider) isDown() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.down }

func (p *provider) set(f func()) { p.mu.Lock(); defer p.mu.Unlock(); f() }

func newWorld(t testing.TB, domains ...string) *world { return makeWorld(t, false, domains...) }

func makeWorld(t testing.TB, large bool, domains ...string) *world {
	w := prepareWorld(t, large, domains...)
	w.start()
	return w
}

// prepareWorld makes a world that has not started, so that it can be changed.
func prepareWorld(t testing.TB, large bool, domains ...string) *world {
	w := &world{t: t, large: large, ps: map[string]*provider{}}
	for i, d := range domains {
		p := &provider{w: w, domain: d, key: ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(i+1))), dir: t.TempDir() + "/store",
			topics: map[string]overlay.TopicHandler{}, calls: map[string]int{}, asks: map[string]int{}, known: map[string]int{}, told: map[string]bool{}, spoke: map[string]int{}, toldTo: map[string]int{}}
		w.ps[d] = p
	}
	return w
}

func (w *world) start() {
	for _, p := range w.ps {
		p.start()
	}
	w.t.Cleanup(func() {
		for _, p := range w.ps {
			p.close()
		}
	})
}

func (w *world) anchors(domain string) []crypto.PublicKey {
	if p, ok := w.ps[domain]; ok {
		return []crypto.PublicKey{p.key.Public()}
	}
	return nil
}

func (p *provider) anchors(domain string) []crypto.PublicKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w.lazy && domain != p.domain && p.known[domain] == 0 && !p.told[domain] {
		return nil
	}
	if k := p.old[domain]; k != nil {
		return []crypto.PublicKey{k}
	}
	return p.w.anchors(domain)
}

func (p *provider) start() {
	t := p.w.t
	t.Helper()
	var err error
	if p.st, err = store.Open(store.Options{Dir: p.dir, Small: !p.w.large}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.st.Run(context.Background()) })
	if p.feed, err = feed.Open(ctx, p.st); err != nil {
		t.Fatal(err)
	}
	if p.auth, err = x509auth.New(x509auth.Options{Anchors: p.anchors}); err != nil {
		t.Fatal(err)
	}
	batch := 24 << 10
	if p.w.large {
		batch = 0
	}
	p.ctx, p.wg = ctx, &wg
	cfg := rooms.Config{Franker: p.franker(), Store: p.st, Feed: p.feed, Domain: p.domain, Key: p.key, Rules: room.Rules{Auth: p.auth, Anchors: p.anchors},
		Peers: peers{p}, Gossip: gossip{p}, Outbox: outbox{p}, Idle: 50 * time.Millisecond, Exchange: time.Hour,
		BatchBytes: batch}
	if p.tweak != nil {
		p.tweak(&cfg)
	}
	service, err := rooms.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.rooms = service }) // others may be calling
	wg.Go(func() {
		if err := service.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	<-service.Ready()
	p.stop = sync.OnceFunc(func() {
		cancel()
		p.st.Close(context.Background())
		wg.Wait()
	})
}

func (p *provider) close() { p.stop() }

// restart ends the provider and begins it again on the same store.
func (p *provider) restart() {
	p.close()
	p.set(func() { p.topics = map[string]overlay.TopicHandler{} })
	p.start()
}

type peers struct{ p *provider }

func (n peers) Call(ctx context.Context, c rooms.Call) ([]byte, error) {
	var mute bool
	n.p.set(func() {
		n.p.asks[c.Endpoint]++
		n.p.spoke[c.Endpoint]++
		n.p.toldTo[c.Target+" "+c.Endpoint]++
		mute = n.p.mute && (c.Endpoint == rooms.EndpointReplica || c.Endpoint == rooms.EndpointNudge)
	})
	to := n.p.w.ps[c.Target]
	if to == nil || to.isDown() || n.p.isDown() || mute || n.p.w.cut(n.p.domain, c.Target) {
		return nil, &clientapi.Problem{Status: 502, Code: clientapi.CodeUnreachable, Detail: "down"}
	}
	time.Sleep(time.Duration(n.p.w.delay.Load()))
	res, err := to.serve(ctx, c.Endpoint, &rooms.Request{Source: n.p.domain, Subject: c.Subject, Room: c.Room, ID: c.ID, Body: c.Body})
	time.Sleep(time.Duration(n.p.w.delay.Load()))
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// serve answers a call as the network would bring it.
func (p *provider) serve(ctx context.Context, endpoint string, q *rooms.Request) (*rooms.Response, error) {
	p.mu.Lock()
	p.calls[endpoint]++
	h, answer := p.rooms.Endpoints()[endpoint], p.answer
	p.mu.Unlock()
	if answer != nil {
		return answer(ctx, q, endpoint, h)
	}
	return h(ctx, q)
}

func (p *provider) called(endpoint string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[endpoint]
}

// said is how often the provider has said something to others.
func (p *provider) said() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.spoke {
		n += x
	}
	return n
}

// gossip gives data to the provider as if from a peer, and returns the verdict.
func (p *provider) gossip(from string, data []byte) overlay.Verdict {
	p.mu.Lock()
	var h overlay.TopicHandler
	for _, x := range p.topics {
		h = x
	}
	p.mu.Unlock()
	return h.Receive(overlay.PeerID(from), slices.Clone(data))
}

func (n peers) Resolve(_ context.Context, domain string) ([]overlay.PeerID, error) {
	n.p.mu.Lock()
	gone := n.p.gone[domain]
	if gone == nil {
		n.p.known[domain]++
	} else {
		n.p.missed++
	}
	n.p.mu.Unlock()
	if gone != nil {
		return nil, fmt.Errorf("%w: %s", gone, domain)
	}
	if strings.HasPrefix(domain, "many") {
		return nil, nil
	}
	if n.p.w.ps[domain] == nil {
		return nil, fmt.Errorf("no provider %s", domain)
	}
	other := n.p.w.ps[domain]
	other.mu.Lock()
	defer other.mu.Unlock()
	if other.bare {
		return nil, nil
	}
	return []overlay.PeerID{overlay.PeerID(domain)}, nil
}

func (n peers) Refresh(ctx context.Context, domain string) ([]overlay.PeerID, error) {
	n.p.mu.Lock()
	lost := n.p.lost
	if !lost {
		delete(n.p.old, domain)
	}
	n.p.mu.Unlock()
	if lost {
		return nil, errors.New("not found")
	}
	return n.Resolve(ctx, domain)
}

func (n peers) Envelope(domain string) []byte {
	n.p.mu.Lock()
	defer n.p.mu.Unlock()
	if domain == n.p.domain || !n.p.w.lazy || n.p.known[domain] > 0 || n.p.told[domain] {
		return []byte("record of " + domain)
	}
	return nil
}

func (n peers) Hear(_ context.Context, domain string, envelope []byte) error {
	if string(envelope) != "record of "+domain {
		return overlay.ErrRecord
	}
	n.p.set(func() { n.p.told[domain] = true })
	return nil
}

type gossip struct{ p *provider }

type topic struct {
	p    *provider
	name string
}

func (g gossip) Join(name string, h overlay.TopicHandler) (rooms.Topic, error) {
	g.p.set(func() { g.p.topics[name] = h })
	h.Allow("nobody") // gossip asks back while a topic is joined
	return topic{g.p, name}, nil
}

func (t topic) others() []*provider {
	var out []*provider
	if t.p.isDown() {
		return nil
	}
	t.p.mu.Lock()
	own := t.p.topics[t.name]
	t.p.mu.Unlock()
	for _, o := range t.p.w.ps {
		if o == t.p || t.p.w.cut(t.p.domain, o.domain) {
			continue
		}
		o.mu.Lock()
		h, ok := o.topics[t.name]
		ok = ok && !o.down && !o.deaf
		o.mu.Unlock()
		// Who may not take part gets nothing, and who sends it is not heard.
		if ok && h.Allow(overlay.PeerID(t.p.domain)) && own.Allow != nil && own.Allow(overlay.PeerID(o.domain)) {
			out = append(out, o)
		}
	}
	return out
}

func (t topic) Publish(_ context.Context, data []byte) error {
	t.p.set(func() { t.p.spoke["gossip"]++; t.p.toldTo["gossip "+t.name]++ })
	for _, o := range t.others() {
		o.mu.Lock()
		h, alter := o.topics[t.name], o.alter
		o.mu.Unlock()
		if h.Receive == nil {
			continue // it is just starting anew
		}
		data := slices.Clone(data)
		if alter != nil {
			data = alter(data)
		}
		h.Receive(overlay.PeerID(t.p.domain), data)
	}
	return nil
}

func (t topic) Mesh() []overlay.PeerID {
	var out []overlay.PeerID
	for _, o := range t.others() {
		out = append(out, overlay.PeerID(o.domain))
	}
	return out
}

func (t topic) Leave() { t.p.set(func() { delete(t.p.topics, t.name) }) }

// outbox delivers after the commit, again and again.
type outbox struct{ p *provider }

func (o outbox) Put(tx *store.Tx, c rooms.Call) error {
	o.p.mu.Lock()
	hook := o.p.deliver
	o.p.mu.Unlock()
	if hook != nil {
		if err := hook(tx, c); err != nil {
			return err
		}
	}
	tx.OnCommit(func() {
		o.p.wg.Go(func() {
			for range 200 {
				if _, err := peers(o).Call(o.p.ctx, c); err == nil || o.p.ctx.Err() != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	})
	return nil
}

// device is a client that has its MLS group and nothing else of a client.
type device struct {
	p     *provider
	auth  *x509auth.Authenticator
	who   account.Identity
	as    uri.User // what its user goes by in the room; zero: who.User
	leaf  mls.LeafParams
	group *mls.Group
	at    uint64 // entries processed
	kp    *mls.PrivateKeyPackage
	plain []string
	own   map[string]*mls.StagedCommit
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) device(short, name string) *device {
	t := w.t
	t.Helper()
	u := must(uri.ParseShort(short))(t)
	p := w.ps[u.Provider().Domain()]
	pub, priv := must2(ed25519.GenerateKey(nil))(t)
	v := x509auth.ValidFor(time.Now(), x509auth.Lifetime)
	cert := must(x509auth.IssueUser(p.key, u.String(), pub, v))(t)
	sig := must(mls.GenerateSignatureKey(room.Suite))(t)
	c := must(u.Provider().Client(u.Name(), name))(t)
	leaf := must(x509auth.IssueClient(priv, cert, c.String(), sig.Public(), v))(t)
	auth := must(x509auth.New(x509auth.Options{Anchors: w.anchors}))(t)
	return &device{p: p, auth: auth, who: account.Identity{User: u, Client: c, Device: name}, own: map[string]*mls.StagedCommit{},
		leaf: mls.LeafParams{Suite: room.Suite, Signer: sig, Credential: mls.X509Credential(leaf, cert), Lifetime: mls.LifetimeOf(time.Now(), 30*24*time.Hour)}}
}

func must2[A, B any](a A, b B, err error) func(t testing.TB) (A, B) {
	return func(t testing.TB) (A, B) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
}

func (d *device) config() mls.Config { return room.Config(d.auth) }

func nonce() []byte { n := room.NewTxnNonce(); return n[:] }

// create makes a room and returns its id.
func (d *device) create(name string) (store.RoomID, *clientapi.NewRoom, error) {
	return d.createWith(name, func(ext mls.Extensions) (mls.Extensions, error) { return ext, nil })
}

// createWith is create for a room that begins otherwise.
func (d *device) createWith(name string, edit func(mls.Extensions) (mls.Extensions, error)) (store.RoomID, *clientapi.NewRoom, error) {
	t := d.p.w.t
	t.Helper()
	h := &room.Hosting{Term: room.FirstTerm, Failover: room.FailoverAdmin, Topic: [16]byte(nonce()),
		Hub: room.Replica{Domain: d.p.domain, FrankingKey: d.p.franker().Key()}}
	copy(h.Hub.ProviderKey[:], d.p.key.Public().(ed25519.PublicKey))
	h.Replicas = []room.Replica{h.Hub}
	r := must(uri.ParseRoom("mimi://" + d.p.domain + "/r/" + name + strings.Repeat("x", 20)))(t)
	creator := d.who.User
	if !d.as.IsZero() {
		creator = d.as
	}
	g := must(mls.CreateGroup(mls.GroupParams{LeafParams: d.leaf, GroupID: must(room.GroupID(r))(t), Extensions: must(edit(must(room.Extensions(creator, h, nil))(t)))(t)}, d.config()))(t)
	n := &clientapi.NewRoom{URI: r.String(), GroupInfo: must(g.GroupInfo(false))(t).Bytes(), Tree: g.Public().Tree().Bytes(), Nonce: nonce()}
	d.group, d.at = g, 1
	_, err := d.p.rooms.CreateRoom(context.Background(), d.who, n)
	return store.RoomID(room.IDOf([]byte(r.String()))), n, err
}

// add commits the addition of others' clients.
func (d *device) add(id store.RoomID, others ...*device) error {
	return d.commit(id, d.adding(others...))
}

// adding is what a commit is made of that adds others' clients.
func (d *device) adding(others ...*device) mls.CommitOptions {
	t := d.p.w.t
	t.Helper()
	var o mls.CommitOptions
	var set []room.Participant
	for _, x := range others {
		x.kp = must(mls.NewKeyPackage(x.leaf, false, nil))(t)
		o.Add = append(o.Add, must(x.kp.KeyPackage().Verify(d.config(), time.Now()))(t))
		set = append(set, room.Participant{User: x.who.User, Role: policy.Member})
	}
	p := must(room.UpdateParticipants(d.group.Public().Context(), set, nil))(t)
	if p != nil {
		o.Proposals = append(o.Proposals, p)
	}
	return o
}

func (d *device) commit(id store.RoomID, o mls.CommitOptions) error {
	return d.update(id, d.handshake(o))
}

// handshake makes a commit, to be submitted.
func (d *device) handshake(o mls.CommitOptions) []byte {
	t := d.p.w.t
	t.Helper()
	s := must(d.group.Commit(o, time.Now()))(t)
	raw := must((&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: s.Message, Welcome: s.Welcome, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}}).Bytes())(t)
	d.own[string(s.Message.Bytes())] = s
	return raw
}

func (d *device) update(id store.RoomID, raw []byte) error {
	t := d.p.w.t
	t.Helper()
	got, err := d.p.rooms.SubmitUpdate(context.Background(), d.who, id, &clientapi.SubmitUpdate{Request: raw, Nonce: nonce()})
	if err != nil {
		return err
	}
	res := must(wire.ParseUpdateRoomResponse(got.Response, wire.Limits{}))(t)
	if res.Code != wire.UpdateSuccess {
		return fmt.Errorf("%s %s", res.Code, res.Description)
	}
	return nil
}

// tagged is the authenticated data of a message, with a franking tag.
func tagged(text string) []byte { return wire.NewFrankAAD([]byte("salt"), []byte(text)).SafeAAD() }

// franker is the provider's, made of its key.
func (p *provider) franker() *room.Franker { return must(room.NewFranker(p.key))(p.w.t) }

// message encrypts a message for the room.
func (d *device) message(text string) *clientapi.SubmitMessage {
	t := d.p.w.t
	t.Helper()
	m := must(d.group.Encrypt([]byte(text), mls.SendOptions{AAD: tagged(text)}))(t)
	return &clientapi.SubmitMessage{Nonce: nonce(), Request: must((&wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(d.who.User.String())}).Bytes())(t)}
}

func (d *device) send(id store.RoomID, m *clientapi.SubmitMessage) (*wire.SubmitMessageResponse, error) {
	got, err := d.p.rooms.SubmitMessage(context.Background(), d.who, id, m)
	if err != nil {
		return nil, err
	}
	return wire.ParseSubmitMessageResponse(got.Response, wire.Limits{})
}

// listen opens the device's stream and reads frames until f is content.
func (d *device) listen(cursor string, f func(id, event, data string) bool) {
	t := d.p.w.t
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := must(d.p.feed.Open(ctx, d.who.User, d.who.Client, cursor))(t)
	defer s.Close()
	for {
		frames, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("%s hears no more: %v", d.who.User, err)
		}
		for _, fr := range frames {
			var id, event, data string
			for line := range strings.Lines(string(fr)) {
				line = strings.TrimSuffix(line, "\n")
				switch k, v, _ := strings.Cut(line, ": "); k {
				case "id":
					id = v
				case "event":
					event = v
				case "data":
					data = v
				}
			}
			if f(id, event, data) {
				return
			}
		}
	}
}

// follow reads the stream from the beginning until the device has processed n
// entries and joins on the way if it can.
func (d *device) follow(id store.RoomID, n uint64) {
	t := d.p.w.t
	t.Helper()
	d.listen("", func(_, event, data string) bool {
		d.take(id, event, data)
		return d.at >= n
	})
}

// take processes one event of the stream.
func (d *device) take(id store.RoomID, event, data string) {
	t := d.p.w.t
	t.Helper()
	switch event {
	case clientapi.EventWelcome:
		var w clientapi.Welcome
		if err := json.Unmarshal([]byte(data), &w); err != nil {
			t.Fatal(err)
		}
		d.join(&w)
	case clientapi.EventEntries:
		var es clientapi.Entries
		if err := json.Unmarshal([]byte(data), &es); err != nil {
			t.Fatal(err)
		}
		if es.Room == room.ID(id).String() {
			for _, b := range es.Entries {
				d.entry(must(room.ParseEntry(b))(t))
			}
		}
	}
}

func (d *device) join(w *clientapi.Welcome) {
	t := d.p.w.t
	t.Helper()
	if d.group != nil || d.kp == nil {
		return
	}
	m := must(mls.ParseMessage(append([]byte{0, 1, 0, 3}, w.Welcome...), mls.Limits{}))(t)
	tree := must(mls.ParseRatchetTree(w.Tree, mls.Limits{}))(t)
	g, err := mls.JoinWelcome(m.Welcome, d.kp, mls.JoinOptions{Tree: tree}, d.config(), time.Now())
	if errors.Is(err, mls.ErrNoKeyPackage) {
		return
	}
	d.group, d.at = must(g, err)(t), w.At.Next
}

func (d *device) entry(e *room.Entry) {
	t := d.p.w.t
	t.Helper()
	if d.group == nil || e.Seq < d.at {
		return
	}
	if e.Seq != d.at {
		t.Fatalf("%s: entry %d after %d", d.who.User, e.Seq, d.at)
	}
	d.at++
	var ms []*mls.Message
	switch e.Kind {
	case room.KindMessage:
		ms = append(ms, must(room.ParseMessage(e.Body))(t).Message)
	case room.KindHandshake:
		b := must(room.ParseHandshake(e.Body))(t).Bundle
		ms = append([]*mls.Message{b.Message}, b.MoreProposals...)
	case room.KindHubChange:
		if c := must(room.ParseHubChange(e.Body))(t); c.Via == room.ByMove {
			ms = []*mls.Message{must(c.Handshake())(t).Bundle.Message}
		}
	}
	for _, m := range ms {
		if s, ok := d.own[string(m.Bytes())]; ok {
			if err := d.group.Merge(s); err != nil {
				t.Fatal(err)
			}
			continue
		}
		r, err := d.group.Process(m, time.Now())
		if errors.Is(err, mls.ErrOwnMessage) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: entry %d: %v", d.who.User, e.Seq, err)
		}
		if r.Kind == mls.ContentApplication {
			d.plain = append(d.plain, string(r.Data))
		} else if err := d.group.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
}
