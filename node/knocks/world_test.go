package knocks_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/knocks"
	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	atlanta = "atlanta.example" // the hub, of alice
	biloxi  = "biloxi.example"  // of bob, who may answer
	chicago = "chicago.example" // of carol, who knocks
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("knocks test " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

var theRoom = must(uri.ParseRoom("mimi://atlanta.example/r/aaaaaaaaaaaaaaaaaaaa"))

func user(name, domain string) uri.User {
	return must(uri.ParseUser("mimi://" + domain + "/u/" + name))
}

var alice, bob, carol = user("alice", atlanta), user("bob", biloxi), user("carol", chicago)

// world is some providers and one room, which all but chicago have. What goes between them
// is carried by call and deliver.
type world struct {
	t     *testing.T
	mu    sync.Mutex
	now   time.Time                // guarded by mu
	ps    map[string]*site         // constant
	hub   string                   // guarded by mu
	place map[uri.User]knock.Place // guarded by mu: outside if missing
	may   map[uri.User]bool        // guarded by mu: who answers, and adds
	hints []string                 // guarded by mu: who says that it orders the room
}

// site is one provider.
type site struct {
	*knocks.Service
	w      *world
	domain string
	store  *store.Store

	mu      sync.Mutex
	down    bool           // guarded by mu: nobody gets through
	lost    bool           // guarded by mu: answers get lost
	events  []string       // guarded by mu
	waiting []waiting      // guarded by mu: its outbox
	calls   map[string]int // guarded by mu: what came in, by endpoint
	full    bool           // guarded by mu: of its outbox
}

type waiting struct {
	target string
	item   outbox.Item
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), ps: map[string]*site{}, hub: atlanta,
		place: map[uri.User]knock.Place{alice: knock.Inside, bob: knock.Inside}, may: map[uri.User]bool{alice: true, bob: true}}
	for _, d := range []string{atlanta, biloxi, chicago} {
		w.add(d)
	}
	return w
}

func (w *world) add(domain string) *site {
	t := w.t
	st := must(store.Open(store.Options{InMemory: true, Small: true}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, st.Close(context.Background())); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	p := &site{w: w, domain: domain, store: st, calls: map[string]int{}}
	w.ps[domain] = p
	p.restart()
	return p
}

// restart makes a new Service on the same store. It is not run: tests say when what is due.
func (p *site) restart() {
	p.Service = must(knocks.Open(knocks.Config{Domain: p.domain, Store: p.store, Caller: p, Outbox: boxOf{p}, Feed: feedOf{p}, Rooms: p,
		Authenticator: must(x509auth.New(x509auth.Options{Anchors: func(d string) []crypto.PublicKey { return []crypto.PublicKey{key(d).Public()} }})),
		Hubs: func(context.Context, uri.Room) []string {
			p.w.mu.Lock()
			defer p.w.mu.Unlock()
			return p.w.hints
		},
		Now: p.w.clock, Log: slog.New(slog.DiscardHandler)}))
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// word is one that a user's device says now.
func (w *world) word(u uri.User, what knock.What, note string) []byte {
	now := w.clock()
	client, signer := device(u)
	valid := x509auth.ValidFor(time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC), x509auth.Lifetime)
	ud := must(x509auth.IssueUser(key(u.Provider().Domain()), u.String(), key(u.String()).Public(), valid))
	cd := must(x509auth.IssueClient(key(u.String()), ud, client.String(), signer.Public(), valid))
	x := &knock.Word{What: what, Room: theRoom, Issued: now, Note: note, Credential: mls.X509Credential(cd, ud)}
	if err := x.Sign(signer); err != nil {
		w.t.Fatal(err)
	}
	return x.Append(nil)
}

func device(u uri.User) (uri.Client, mls.SignatureKey) {
	return must(u.Provider().Client(u.Name(), "phone")), must(mls.ParseSignatureKey(room.Suite, key("device of "+u.String()).Seed()))
}

func identity(u uri.User) account.Identity {
	c, _ := device(u)
	return account.Identity{User: u, Client: c, Device: "phone"}
}

// says has a user say a word to its provider.
func (w *world) says(u uri.User, what knock.What, note string) (*clientapi.Knock, error) {
	w.pass(time.Second)
	return w.ps[u.Provider().Domain()].SendKnock(context.Background(), identity(u), &clientapi.SendKnock{Word: w.word(u, what, note)})
}

func (w *world) must(k *clientapi.Knock, err error) *clientapi.Knock {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// state is where a user's knock stands, by its provider.
func (w *world) state(u uri.User) string {
	w.t.Helper()
	list, err := w.ps[u.Provider().Domain()].Knocks(context.Background(), identity(u))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(list.Knocks) == 0 {
		return ""
	}
	return list.Knocks[0].State
}

// sees lists the notes that somebody who may answer sees.
func (w *world) sees(u uri.User) (out []string) {
	w.t.Helper()
	list, err := w.ps[u.Provider().Domain()].RoomKnocks(context.Background(), identity(u), store.RoomID(room.IDOf([]byte(theRoom.String()))))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range list.Knocks {
		out = append(out, k.Note)
	}
	return out
}

func (w *world) want(u uri.User, notes ...string) {
	w.t.Helper()
	if got := w.sees(u); !slices.Equal(got, notes) {
		w.t.Errorf("%s sees %q, not %q", u, got, notes)
	}
}

func (w *world) refuse(by, u uri.User, text string) error {
	return w.ps[by.Provider().Domain()].RefuseKnock(context.Background(), identity(by), store.RoomID(room.IDOf([]byte(theRoom.String()))),
		&clientapi.RefuseKnock{User: u.String(), Text: text})
}

// moves says where a user is in the room from now on, and has all look.
func (w *world) moves(u uri.User, p knock.Place) {
	w.mu.Lock()
	w.place[u] = p
	w.mu.Unlock()
	w.look()
}

func (w *world) look() {
	for _, p := range w.ps {
		p.Changed(room.IDOf([]byte(theRoom.String())))
		p.turn()
	}
}

// turn runs the Service until nothing is due any more.
func (p *site) turn() {
	p.w.t.Helper()
	if err := p.Turn(context.Background()); err != nil {
		p.w.t.Fatal(err)
	}
}

// deliver empties the outboxes, but for those that are down.
func (w *world) deliver() {
	for range 10 {
		busy := false
		for _, p := range w.ps {
			p.mu.Lock()
			list := p.waiting
			p.waiting = nil
			p.mu.Unlock()
			stuck := map[string]bool{}
			for _, x := range list {
				var err error
				if !stuck[x.target] {
					_, err = p.Call(context.Background(), peering.Request{Target: x.target, Endpoint: x.item.Endpoint, Subject: x.item.Subject, Room: x.item.Room, Body: x.item.Body})
				}
				if stuck[x.target] || err != nil && peering.Retry(err) {
					stuck[x.target] = true
					p.set(func() { p.waiting = append(p.waiting, x) })
					continue
				}
				busy = true
			}
		}
		if !busy {
			return
		}
	}
}

// Call implements knocks.Caller: through the routes of the target, and what peering would
// refuse before.
func (p *site) Call(ctx context.Context, q peering.Request) (*peering.Response, error) {
	to := p.w.ps[q.Target]
	if to == nil {
		return nil, fmt.Errorf("%s: %w", q.Target, peering.ErrUnknown)
	}
	to.mu.Lock()
	down, lost := to.down, to.lost
	to.calls[q.Endpoint]++
	to.mu.Unlock()
	p.mu.Lock()
	down = down || p.down
	p.mu.Unlock()
	if down {
		return nil, fmt.Errorf("%s: %w", q.Target, peering.ErrUnreachable)
	}
	for _, r := range to.Routes() {
		if r.Endpoint != q.Endpoint {
			continue
		}
		if len(q.Body) > r.MaxBody || r.InRoom && q.Subject != string(q.Room) {
			p.w.t.Errorf("%s calls %s with %d octets for %s in %s", p.domain, q.Endpoint, len(q.Body), q.Subject, q.Room)
		}
		res, err := r.Handler(ctx, &peering.Incoming{Source: p.domain, Endpoint: q.Endpoint, Subject: q.Subject, Room: q.Room, Body: q.Body})
		if lost {
			return nil, fmt.Errorf("%s: %w", q.Target, peering.ErrUnreachable)
		}
		if pr, ok := errors.AsType[*clientapi.Problem](err); ok {
			return nil, &peering.Refused{Target: q.Target, Endpoint: q.Endpoint, Problem: *pr}
		}
		return res, err
	}
	return nil, errors.New("no such endpoint")
}

// What was put in a transaction that is taken back must not count.
type (
	boxOf  struct{ *site }
	feedOf struct{ *site }
)

// Put implements knocks.Outbox.
func (p boxOf) Put(tx *store.Tx, target string, it outbox.Item) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return outbox.ErrFull
	}
	tx.OnCommit(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waiting = append(p.waiting, waiting{target, it})
	})
	return nil
}

// Put implements knocks.Feed.
func (p feedOf) Put(tx *store.Tx, u uri.User, event string, data any) error {
	if u.Provider().Domain() != p.domain || event != clientapi.EventKnock {
		return fmt.Errorf("%s tells %s of %s", p.domain, u, event)
	}
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	k := new(clientapi.Knock)
	if err := json.Unmarshal(b, k); err != nil {
		return err
	}
	tx.OnCommit(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, u.Name()+" "+k.State)
	})
	return nil
}

// Door implements knocks.Rooms.
func (p *site) Door(_ context.Context, id room.ID, u, by uri.User) (*rooms.Door, error) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if id != room.IDOf([]byte(theRoom.String())) || p.domain == chicago {
		return nil, &clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: "there is no such room here"}
	}
	d := &rooms.Door{URI: theRoom, Hub: w.hub, Place: w.place[u], Answers: w.may[by], Adds: w.may[by]}
	for _, m := range []uri.User{alice, bob} {
		if !w.may[m] {
			continue
		}
		if m.Provider().Domain() == p.domain {
			d.Here = append(d.Here, m)
		} else {
			d.Others = append(d.Others, m.Provider().Domain())
		}
	}
	return d, nil
}

func (p *site) Orders(_ context.Context, id room.ID, domain string) (is, sure bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.w.hub == domain, true
}

func (p *site) Hub(string) (string, bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.w.hub, p.domain != chicago
}

func (p *site) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}
