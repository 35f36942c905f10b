package contact_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	p2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	atlanta = "atlanta.example"
	biloxi  = "biloxi.example"
	chicago = "chicago.example"
)

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("contact test " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// world is some providers in one process. What goes between them goes through
// the real caller and server.
type world struct {
	t     testing.TB
	ps    map[string]*provider
	peers map[overlay.PeerID]*provider
	rooms map[string]roomAt
	same  map[string]string // users who have another one's user key

	mu  sync.Mutex
	now time.Time                     // guarded by mu
	dht map[[32]byte][]overlay.PeerID // guarded by mu
}

type roomAt struct {
	hub       string
	providers []string
}

type provider struct {
	*contact.Service
	w      *world
	domain string
	self   overlay.PeerID
	cfg    contact.Config
	store  *store.Store
	server *peering.Server
	caller *peering.Caller
	down   bool
	hidden *feed.Feed // for what is in quarantine
	calls  []string   // endpoints that were called here
	looks  int        // in the DHT; guarded by the world's mu

	mu     sync.Mutex
	users  map[string]*mls.KeyPackage // with what they hand out
	claims int
	events []string // user, state and operation
	waits  []waiting
}

type waiting struct {
	target string
	item   outbox.Item
}

func newWorld(t testing.TB, domains ...string) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC), ps: map[string]*provider{},
		peers: map[overlay.PeerID]*provider{}, rooms: map[string]roomAt{}, dht: map[[32]byte][]overlay.PeerID{}}
	for _, d := range domains {
		w.add(d, nil)
	}
	w.pass(time.Second)
	return w
}

// add makes a provider.
func (w *world) add(domain string, change func(*contact.Config)) *provider {
	t := w.t
	t.Helper()
	st := must(store.Open(store.Options{InMemory: true, Small: true}))(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, st.Close(context.Background())); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	p := &provider{w: w, domain: domain, store: st, users: map[string]*mls.KeyPackage{}, self: peerID(domain)}
	p.caller = &peering.Caller{Domain: domain, Key: func() ed25519.PrivateKey { return key(domain) }, Client: &http.Client{Transport: w}, Now: w.clock}
	auth := must(x509auth.New(x509auth.Options{Anchors: w.anchors}))(t)
	p.hidden = must(feed.Open(ctx, st))(t)
	p.cfg = contact.Config{Domain: domain, Store: st, Hidden: p.hidden, Accounts: p, Caller: p.caller, Outbox: p, Feed: feedOf{p}, Rooms: roomsOf{w},
		Directory: directory{w}, Authenticator: auth, Anchors: w.anchors, ProviderKey: func() crypto.Signer { return key(domain) },
		Announcer: announcer{p}, Salt: "test", Now: w.clock, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&p.cfg)
	}
	w.ps[domain] = p
	w.peers[p.self] = p
	p.restart()
	return p
}

// peerID is that of a node whose key is drawn from a name.
func peerID(name string) overlay.PeerID {
	k, err := p2pcrypto.UnmarshalEd25519PublicKey(key("node of " + name).Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	id, err := peer.IDFromPublicKey(k)
	if err != nil {
		panic(err)
	}
	return overlay.PeerID(id.String())
}

// restart makes a new Service on the same store.
func (p *provider) restart() {
	t := p.w.t
	t.Helper()
	p.Service = must(contact.New(p.cfg))(t)
	host := must(overlay.PeerHost(p.self))(t)
	p.server = must(peering.NewServer(peering.Config{Domain: p.domain, Aliases: []string{host}, Routes: p.Routes(),
		Directory: directory{p.w}, Now: p.w.clock, Log: slog.New(slog.DiscardHandler)}))(t)
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) anchors(domain string) []crypto.PublicKey {
	if w.ps[domain] == nil {
		return nil
	}
	return []crypto.PublicKey{key(domain).Public()}
}

// RoundTrip carries a request to the provider that its host names.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	p := w.ps[r.URL.Host]
	for id, q := range w.peers {
		if host, err := overlay.PeerHost(id); err == nil && host == r.URL.Host {
			p = q
		}
	}
	if p == nil {
		return nil, overlay.ErrUnknownProvider
	}
	if p.down {
		return nil, overlay.ErrUnreachable
	}
	p.mu.Lock()
	p.calls = append(p.calls, r.URL.Path)
	p.mu.Unlock()
	rec := httptest.NewRecorder()
	p.server.ServeHTTP(rec, r)
	return rec.Result(), nil
}

type directory struct{ w *world }

func (d directory) Resolve(_ context.Context, domain string) (*peering.Provider, error) {
	if d.w.ps[domain] == nil {
		return nil, overlay.ErrUnknownProvider
	}
	return &peering.Provider{Key: key(domain).Public().(ed25519.PublicKey), Nodes: []string{string(d.w.ps[domain].self)}}, nil
}

type roomsOf struct{ w *world }

func (r roomsOf) Hub(room string) (string, bool) {
	at, ok := r.w.rooms[room]
	return at.hub, ok
}

func (r roomsOf) TakesPart(room, domain string) bool {
	return slices.Contains(r.w.rooms[room].providers, domain)
}

// Has implements contact.Accounts.
func (p *provider) Has(_ context.Context, u uri.User) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.users[u.String()]
	return ok, nil
}

func (p *provider) UserKey(_ context.Context, u uri.User) ([]byte, error) {
	if ok, _ := p.Has(context.Background(), u); !ok {
		return nil, &clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: "there is no such user"}
	}
	return p.w.userKey(u).Public().(ed25519.PublicKey), nil
}

func (p *provider) Claim(_ context.Context, c account.Claim) (*account.Claimed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims++
	kp, ok := p.users[c.Target.String()]
	if !ok {
		return &account.Claimed{Status: wire.KeyMaterialUserUnknown}, nil
	}
	return &account.Claimed{Status: wire.KeyMaterialSuccess, Clients: []wire.ClientKeyMaterial{
		{Status: wire.ClientSuccess, Client: wire.IdentifierURI(c.Target.String() + "/phone"), KeyPackage: kp}}}, nil
}

// Put implements contact.Outbox.
func (p *provider) Put(tx *store.Tx, target string, it outbox.Item) error {
	tx.OnCommit(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waits = append(p.waits, waiting{target, it})
	})
	return nil
}

type feedOf struct{ p *provider }

func (f feedOf) Put(tx *store.Tx, user uri.User, event string, data any) error {
	if event == clientapi.EventModes {
		return nil
	}
	if event == clientapi.EventWelcome {
		tx.OnCommit(func() {
			f.p.mu.Lock()
			defer f.p.mu.Unlock()
			f.p.events = append(f.p.events, fmt.Sprintf("%s: welcome %s", user.Name(), data))
		})
		return nil
	}
	if e, ok := data.(clientapi.RivalsEvent); ok {
		text := e.SII + ":"
		for _, r := range e.Rivals {
			text += " " + r.User + " " + r.Verified
		}
		tx.OnCommit(func() {
			f.p.mu.Lock()
			defer f.p.mu.Unlock()
			f.p.events = append(f.p.events, user.Name()+": "+text)
		})
		return nil
	}
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	var e clientapi.ConsentEvent
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	entry, err := wire.ParseConsentEntry(e.Entry, wire.Limits{})
	if err != nil {
		return err
	}
	tx.OnCommit(func() {
		f.p.mu.Lock()
		defer f.p.mu.Unlock()
		f.p.events = append(f.p.events, fmt.Sprintf("%s: %s, %s", user.Name(), entry.Operation, e.State))
	})
	return nil
}

// flush delivers what waits everywhere, each item twice, as an outbox may.
func (w *world) flush() {
	w.t.Helper()
	for {
		sent := false
		for _, p := range w.ps {
			p.mu.Lock()
			waits := p.waits
			p.waits = nil
			p.mu.Unlock()
			for _, x := range waits {
				sent = true
				var id peering.ID
				rand.Read(id[:])
				for range 2 {
					resp, err := p.caller.Call(context.Background(), peering.Request{Target: x.target, Endpoint: x.item.Endpoint, Subject: x.item.Subject,
						Room: x.item.Room, ID: id, Body: x.item.Body})
					if errors.Is(err, peering.ErrUnknown) {
						break
					}
					if err != nil {
						w.t.Fatalf("delivering %s: %v", x.item.Endpoint, err)
					}
					if resp.Status != http.StatusCreated || len(resp.Body) != 0 {
						w.t.Errorf("%s answers %d with %d octets", x.item.Endpoint, resp.Status, len(resp.Body))
					}
				}
			}
		}
		if !sent {
			return
		}
	}
}

// seen returns the events since the last call.
func (p *provider) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.events
	p.events = nil
	return out
}

func (p *provider) consents(who account.Identity) string {
	p.w.t.Helper()
	all := must(p.Consents(context.Background(), who))(p.w.t)
	out := ""
	for _, c := range all.Consents {
		r, t := must(uri.ParseUser(c.Requester))(p.w.t), must(uri.ParseUser(c.Target))(p.w.t)
		out += fmt.Sprintf("%s->%s%s %s; ", r.Name(), t.Name(), c.Room, c.State)
	}
	return out
}

// user is a user with a device.
type user struct {
	p    *provider
	who  account.Identity
	sig  mls.SignatureKey
	cred mls.Credential
	cert []byte // user certificate
}

// userKey is the user's own, unless it is said to have another one's.
func (w *world) userKey(u uri.User) ed25519.PrivateKey {
	if other, ok := w.same[u.String()]; ok {
		return key(other)
	}
	return key(u.String())
}

func (w *world) user(short string) *user {
	t := w.t
	t.Helper()
	u := must(uri.ParseShort(short))(t)
	p := w.ps[u.Provider().Domain()]
	v := x509auth.ValidFor(w.clock(), x509auth.Lifetime)
	cert := must(x509auth.IssueUser(key(p.domain), u.String(), w.userKey(u).Public(), v))(t)
	sig := must(mls.GenerateSignatureKey(mls.X25519AES128Ed25519))(t)
	c := must(u.Provider().Client(u.Name(), "phone"))(t)
	leaf := must(x509auth.IssueClient(w.userKey(u), cert, c.String(), sig.Public(), v))(t)
	out := &user{p: p, who: account.Identity{User: u, Client: c, Device: "phone"}, sig: sig, cred: mls.X509Credential(leaf, cert), cert: cert}
	kp := must(mls.NewKeyPackage(mls.LeafParams{Suite: mls.X25519AES128Ed25519, Signer: sig, Credential: out.cred,
		Lifetime: mls.LifetimeOf(w.clock(), 24*time.Hour)}, false, nil))(t)
	p.mu.Lock()
	p.users[u.String()] = kp.KeyPackage()
	p.mu.Unlock()
	return out
}

func (u *user) uri() wire.IdentifierURI { return wire.IdentifierURI(u.who.User.String()) }

func entry(t testing.TB, op wire.ConsentOperation, requester, target wire.IdentifierURI, room string) []byte {
	t.Helper()
	return must((&wire.ConsentEntry{Operation: op, Scope: wire.ConsentScope{Requester: requester, Target: target, Room: wire.IdentifierURI(room)}}).Bytes())(t)
}

// says sends a word on consent about another user.
func (u *user) says(op wire.ConsentOperation, other wire.IdentifierURI, room string) error {
	requester, target := u.uri(), other
	if op == wire.ConsentGrant || op == wire.ConsentRevoke {
		requester, target = target, requester
	}
	return u.p.SendConsent(context.Background(), u.who, &clientapi.SendConsent{Entry: entry(u.p.w.t, op, requester, target, room)})
}

func (u *user) mustSay(op wire.ConsentOperation, other wire.IdentifierURI, room string) {
	u.p.w.t.Helper()
	if err := u.says(op, other, room); err != nil {
		u.p.w.t.Fatal(err)
	}
	u.p.w.flush()
}

func (u *user) request(target wire.IdentifierURI, room string, change func(*wire.KeyMaterialRequest)) []byte {
	t := u.p.w.t
	t.Helper()
	m := &wire.KeyMaterialRequest{RequestingUser: u.uri(), TargetUser: target, Room: wire.IdentifierURI(room),
		Suites: []mls.CipherSuite{mls.X25519AES128Ed25519}, Credential: u.cred}
	if change != nil {
		change(m)
	}
	if err := m.Sign(u.sig); err != nil {
		t.Fatal(err)
	}
	return must(m.Bytes())(t)
}

// claim asks for KeyPackages and returns the status and the octets.
func (u *user) claim(target wire.IdentifierURI, room string) (wire.KeyMaterialUserCode, []byte) {
	t := u.p.w.t
	t.Helper()
	out := must(u.p.ClaimKeyPackages(context.Background(), u.who, &clientapi.ClaimKeyPackages{Request: u.request(target, room, nil)}))(t)
	m := must(wire.ParseKeyMaterialResponse(out.Response, wire.Limits{}))(t)
	return m.Status, out.Response
}

func (p *provider) claimed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claims
}

// wantProblem says whether the error is a problem with this code.
func wantProblem(t testing.TB, err error, code clientapi.Code, what string) {
	t.Helper()
	p, ok := errors.AsType[*clientapi.Problem](err)
	if refused, is := errors.AsType[*peering.Refused](err); is {
		p, ok = &refused.Problem, true
	}
	if !ok || p.Code != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
	if ok && p.Detail == "" {
		t.Errorf("%s: no sentence", what)
	}
}

// announcer is the network's memory of who announces what.
type announcer struct{ p *provider }

func (a announcer) Self() overlay.PeerID { return a.p.self }

func (a announcer) Announce(_ context.Context, keys ...[32]byte) error {
	a.Withdraw(keys...)
	a.p.w.mu.Lock()
	defer a.p.w.mu.Unlock()
	for _, k := range keys {
		a.p.w.dht[k] = append(a.p.w.dht[k], a.p.self)
	}
	return nil
}

func (a announcer) Withdraw(keys ...[32]byte) {
	a.p.w.mu.Lock()
	defer a.p.w.mu.Unlock()
	for _, k := range keys {
		a.p.w.dht[k] = slices.DeleteFunc(slices.Clone(a.p.w.dht[k]), func(id overlay.PeerID) bool { return id == a.p.self })
	}
}

func (a announcer) Announcers(_ context.Context, k [32]byte, limit int) iter.Seq[overlay.PeerID] {
	return func(yield func(overlay.PeerID) bool) {
		a.p.w.mu.Lock()
		a.p.looks++
		ids := a.p.w.dht[k]
		a.p.w.mu.Unlock()
		n := 0
		for _, id := range ids {
			if id == a.p.self {
				continue
			}
			if n++; n > limit || !yield(id) {
				return
			}
		}
	}
}
