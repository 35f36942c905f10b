package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Config is what a client needs from outside.
type Config struct {
	// Storage keeps everything. Required, and for this client alone.
	Storage Storage
	// Spool keeps attachments on their way; nil if there are to be none.
	Spool Spool
	// HTTP makes the calls; the default client if nil.
	HTTP *http.Client
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Log gets what an operator of many clients wants to see; nobody if nil.
	Log *slog.Logger
	// CommitDelay is how much longer each next member waits before it commits
	// what others proposed. Default 2 s.
	CommitDelay time.Duration
	// Notices is how many notices wait for the application before they are
	// dropped. Default 1,024.
	Notices int
	// Retry is the first wait after a failure; it doubles up to 5 minutes.
	// Default 1 s.
	Retry time.Duration
	// ReportDelay is for how long receipts are gathered into one report, in a room of two;
	// longer where more take part. Default 3 s.
	ReportDelay time.Duration
	// ReceiptRoom is how many participants a room has at most in which receipts are sent
	// without its policy's demanding them: each message may cost as many entries in the
	// log, which all providers keep.
	// Default 10.
	ReceiptRoom int
	// RecruitLook is how often an administrator's device has its provider see to a replica
	// that keeps a room in which nobody of it takes part. Where none was found it is looked
	// for after a tenth of that, and later and later. Default 10 minutes.
	RecruitLook time.Duration
}

// Client is one device of a user. Methods are safe for concurrent use unless
// they say otherwise; Run does the work.
type Client struct {
	cfg     Config
	log     *slog.Logger
	trust   *trust
	auth    *x509auth.Authenticator
	notices chan Notice

	// Into the loop.
	commands chan func() error // a non-nil error ends Run
	stopped  chan struct{}     // closed when Run has ended
	ran      sync.Once

	hearAgain atomic.Pointer[func()] // has the stream that is open opened anew

	// Set by Open and Register; from then on owned by the loop.
	me          *me
	api         *provider
	started     *identity // a registration without an answer
	user        uri.User  // constant
	cursor      string    // where the stream began
	users       map[string]mls.Credential
	rooms       map[room.ID]*roomState
	outbox      map[uint64]*outItem
	wishes      map[uint64]*wish
	attachments map[uint64]*attachment
	welcome     map[room.ID]*clientapi.Welcome
	invites     map[uint64]*invitation
	receipts    Receipts
	next        uint64 // number of the next outbox item or wish

	// Owned by the loop.
	ctx       context.Context
	workers   sync.WaitGroup
	missed    bool
	packages  packageStock
	maskStock task // KeyPackages under pseudonyms
	held      heldRooms
	renewal   task
	unknown   task             // looking for rooms that this device is not in
	unwelcome map[room.ID]bool // those that did not let it in, since it runs
	uninvited map[room.ID]bool // those that it does not come into by itself: its user was told
	crowded   bool             // told of too many direct rooms, since it runs
	lookups   map[string]*task
	waiters   map[uint64][]chan error
	looks     looks
	// attaching waits for the end of attachments.
	attaching map[uint64]chan attached
	maxAsset  int64 // content that the provider keeps; 0 if it was not asked yet

	fetching names // of files in the Spool that are being fetched
}

// Open reads a client's state. It starts nothing; errors are those of the
// storage and ErrStorage.
func Open(cfg Config) (*Client, error) {
	if cfg.HTTP == nil {
		cfg.HTTP = http.DefaultClient
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.RecruitLook = cmp.Or(cfg.RecruitLook, 10*time.Minute)
	cfg.ReportDelay = cmp.Or(cfg.ReportDelay, 3*time.Second)
	cfg.ReceiptRoom = cmp.Or(cfg.ReceiptRoom, 10)
	cfg.CommitDelay = cmp.Or(cfg.CommitDelay, 2*time.Second)
	cfg.Retry = cmp.Or(cfg.Retry, time.Second)
	cfg.Notices = cmp.Or(cfg.Notices, 1024)
	c := &Client{cfg: cfg, log: cfg.Log,
		trust:   &trust{known: map[string]*providerRecord{}, wanted: map[string]bool{}},
		notices: make(chan Notice, cfg.Notices), commands: make(chan func() error), stopped: make(chan struct{}),
		users: map[string]mls.Credential{}, rooms: map[room.ID]*roomState{}, unwelcome: map[room.ID]bool{}, uninvited: map[room.ID]bool{}, outbox: map[uint64]*outItem{},
		wishes: map[uint64]*wish{}, welcome: map[room.ID]*clientapi.Welcome{}, invites: map[uint64]*invitation{},
		attachments: map[uint64]*attachment{}, attaching: map[uint64]chan attached{}, lookups: map[string]*task{}, waiters: map[uint64][]chan error{}, next: 1,
		receipts: Receipts{Delivered: true}, looks: looks{touched: map[room.ID]bool{}}}
	var err error
	if c.auth, err = x509auth.New(x509auth.Options{Anchors: c.trust.anchors}); err != nil {
		return nil, fmt.Errorf("opening client: %w", err)
	}
	if err := cfg.Storage.View(c.load); err != nil {
		return nil, fmt.Errorf("opening client: %w", storageError(err))
	}
	return c, nil
}

// load reads everything but messages and KeyPackages.
func (c *Client) load(tx Tx) error {
	b, err := tx.Get(tableSelf, nameIdentity)
	if err != nil {
		return err
	}
	if b != nil {
		id := new(identity)
		if err := unmarshal("identity", b, id); err != nil {
			return err
		}
		if id.Token == "" {
			c.started = id
		} else {
			if c.me, err = id.open(); err != nil {
				return err
			}
			c.user = c.me.user
			if c.api, err = newProvider(id.URL, c.cfg.HTTP); err != nil {
				return err
			}
			c.api.token = id.Token
		}
	}
	if b, err = tx.Get(tableSelf, nameCursor); err != nil {
		return err
	} else if b != nil {
		if err := unmarshal("cursor", b, &c.cursor); err != nil {
			return err
		}
	}
	if b, err = tx.Get(tableSelf, nameReceipts); err != nil {
		return err
	} else if b != nil {
		if err := unmarshal("receipts", b, &c.receipts); err != nil {
			return err
		}
	}
	if b, err = tx.Get(tableSelf, nameRestored); err != nil {
		return err
	} else if b != nil {
		if err := unmarshal("the provider's backup", b, &c.held.said); err != nil {
			return err
		}
	}
	return errors.Join(
		scan(tx, tableProvider, func(name string, p *providerRecord) error { c.trust.known[p.Domain] = p; return nil }),
		scan(tx, tableUser, func(name string, chain *[][]byte) error {
			c.users[name] = mls.X509Credential(*chain...)
			return nil
		}),
		scan(tx, tableWelcome, func(name string, w *clientapi.Welcome) error {
			id, err := parseRoomID(w.Room)
			c.welcome[id] = w
			return err
		}),
		scan(tx, tableOutbox, func(name string, o *outItem) error {
			n, err := nameNumber(name)
			o.n = n
			c.outbox[n], c.next = o, max(c.next, n+1)
			return err
		}),
		scan(tx, tableWish, func(name string, w *wish) error {
			n, err := nameNumber(name)
			w.n = n
			c.wishes[n], c.next = w, max(c.next, n+1)
			return err
		}),
		scan(tx, tableAttach, func(name string, a *attachment) error {
			n, err := nameNumber(name)
			a.n = n
			c.attachments[n], c.next = a, max(c.next, n+1)
			if err == nil && a.read() != nil {
				err = fmt.Errorf("reading an attachment: what it goes with does not decode: %w", ErrStorage)
			}
			return err
		}),
		scan(tx, tableInvite, func(name string, v *invitation) error {
			n, err := nameNumber(name)
			v.n = n
			c.invites[n], c.next = v, max(c.next, n+1)
			return err
		}),
		scan(tx, tableRoom, func(name string, rec *roomRecord) error { return c.loadRoom(tx, rec) }),
	)
}

func scan[T any](tx Tx, table string, take func(name string, v *T) error) error {
	for it, err := range tx.Scan(table, "") {
		if err != nil {
			return err
		}
		v := new(T)
		if err := unmarshal(table, it.Value, v); err != nil {
			return err
		}
		if err := take(it.Name, v); err != nil {
			return fmt.Errorf("reading %s: %w", table, err)
		}
	}
	return nil
}

// Run does the client's work until ctx ends, and then returns nil: it follows the
// stream, sends what is in the outbox, and keeps rooms, KeyPackages and
// certificates in order. It may be called once. ErrNotRegistered, and ErrStorage
// when the storage failed: open the client again then.
func (c *Client) Run(ctx context.Context) error {
	err := fmt.Errorf("running twice: %w", ErrStopped)
	c.ran.Do(func() { err = c.run(ctx) })
	return err
}

func (c *Client) run(ctx context.Context) error {
	defer close(c.stopped)
	if c.me == nil {
		return ErrNotRegistered
	}
	ctx, cancel := context.WithCancel(ctx)
	defer c.workers.Wait()
	defer cancel()
	c.ctx = ctx
	if err := c.startAttachments(); err != nil {
		return err
	}
	c.workers.Go(c.follow)
	for _, r := range c.rooms {
		r.fetch = true // what came while we were not listening
	}
	c.looks.all = true
	c.unknown.at = c.cfg.Now().Add(selfJoinDelay)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case f := <-c.commands:
			if err := c.looks.run(f); err != nil {
				return err
			}
		}
		at, err := c.pump()
		if err != nil {
			return err
		}
		timer.Reset(max(at.Sub(c.cfg.Now()), 0))
	}
}

// pump starts what is due and returns when something will be.
func (c *Client) pump() (time.Time, error) {
	now := c.cfg.Now()
	at := now.Add(time.Minute)
	soonBy := func(at *time.Time) func(t *task) bool { // is it to be started now?
		return func(t *task) bool {
			if t.busy {
				return false
			}
			if t.at.After(now) {
				*at = earlier(*at, t.at)
				return false
			}
			return true
		}
	}
	soon := soonBy(&at)
	for _, d := range c.trust.missing() {
		t := c.lookups[d]
		if t == nil {
			t = new(task)
			c.lookups[d] = t
		}
		if soon(t) {
			c.async("looking up "+d, t, func(ctx context.Context) (func() error, error) {
				p, err := c.lookUp(ctx, d)
				return func() error { return c.learn(p) }, err
			})
		}
	}
	if soon(&c.maskStock) {
		c.topUpMasks()
	}
	if c.held.mark != "" && soon(&c.held.task) {
		if err := c.sayHeld(); err != nil {
			return at, err
		}
	}
	if soon(&c.packages.task) {
		if c.packages.request != nil {
			c.bring()
		} else {
			c.topUp()
		}
	}
	if !c.packages.renew {
		c.renewal.at = later(c.renewal.at, time.Unix(c.me.RenewAt, 0))
	}
	if soon(&c.renewal) {
		c.renew()
	}
	c.pumpAttachments(soon)
	if soon(&c.unknown) {
		c.lookForRooms()
	}
	if err := c.joinWelcomed(); err != nil {
		return at, err
	}
	if err := c.pumpInvitations(soon); err != nil {
		return at, err
	}
	due, err := c.pumpRooms(now, soonBy)
	return earlier(at, due), err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// task is something that is done in a goroutine, once at a time, and again after
// a while if it failed.
type task struct {
	busy  bool
	fails int
	at    time.Time // not before
}

// failed sets when to try again.
func (t *task) failed(now time.Time, first, least time.Duration) {
	wait := min(first<<min(t.fails, 16), 5*time.Minute)
	t.fails++
	t.at = now.Add(max(least, wait/2+jitter(wait/2)))
}

// async runs the part of something that waits for the network in a goroutine,
// and then what follows from it on the loop. Errors that may pass lead to
// another attempt; others are told, and tried again seldom.
func (c *Client) async(what string, t *task, do func(ctx context.Context) (func() error, error)) {
	c.asyncAs(what, t, func() {}, do)
}

// asyncAs is async; touches says on the loop what it is about.
func (c *Client) asyncAs(what string, t *task, touches func(), do func(ctx context.Context) (func() error, error)) {
	t.busy = true
	ctx := c.ctx
	c.workers.Go(func() {
		then, err := do(ctx)
		c.enter(ctx, func() error {
			touches()
			t.busy = false
			if err != nil {
				passing, wait := transient(err)
				t.failed(c.cfg.Now(), c.cfg.Retry, wait)
				c.log.Debug("attempt failed", "what", what, "error", err, "again_at", t.at)
				if !passing {
					c.emit(Problem{Err: fmt.Errorf("%s: %w", what, err)})
				}
				return nil
			}
			t.fails, t.at = 0, time.Time{}
			return then()
		})
	})
}

// enter runs f on the loop; not at all if the loop ends.
func (c *Client) enter(ctx context.Context, f func() error) {
	select {
	case c.commands <- f:
	case <-ctx.Done():
	case <-c.stopped:
	}
}

// do runs a method's function on the loop and waits for it. fatal is the error
// that ends Run.
func (c *Client) do(ctx context.Context, f func() (err, fatal error)) error {
	done := make(chan error, 1)
	select {
	case c.commands <- func() error {
		err, fatal := f()
		done <- errors.Join(err, fatal)
		return fatal
	}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopped:
		return ErrStopped
	}
	return <-done // f does not wait
}

// write makes a batch durable.
func (c *Client) write(ctx context.Context, b *batch) error {
	if err := c.cfg.Storage.Update(ctx, b.write); err != nil {
		return storageError(err)
	}
	return nil
}

// commit makes a batch durable and then tells of it. An error ends Run: what is
// in memory may be ahead of the storage.
func (c *Client) commit(b *batch) error {
	if len(b.writes) > 0 {
		if err := c.write(context.WithoutCancel(c.ctx), b); err != nil {
			return err
		}
	}
	for _, f := range b.after {
		f()
	}
	c.emit(b.notices...)
	return nil
}

func storageError(err error) error {
	if errors.Is(err, ErrStorage) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}

// silentAfter is how often a stream must end in a row, without the provider's having
// answered, before the user is told that the provider is gone: it may just start anew.
const silentAfter = 2

// follow keeps the stream open.
func (c *Client) follow() {
	ctx := c.ctx
	var t task
	cursor := c.cursor
	alone := 0 // attempts in a row that found no provider
	tell := func(silent bool) {
		c.enter(ctx, func() error {
			c.emit(ProviderSilent{Silent: silent})
			return nil
		})
	}
	for ctx.Err() == nil {
		err := c.hear(ctx, cursor, func() {
			if alone >= silentAfter {
				tell(false)
			}
			if alone > 0 { // it may have been put back to a backup meanwhile
				c.enter(ctx, func() error { c.untouched(); c.maskStock.at = c.cfg.Now(); return nil })
			}
			alone = 0
		}, func(f frame) error {
			t.fails = 0
			handled := make(chan struct{})
			c.enter(ctx, func() error {
				defer close(handled)
				return c.handle(f)
			})
			select {
			case <-handled:
			case <-ctx.Done():
				return ctx.Err()
			}
			if f.id != "" {
				cursor = f.id
			}
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		passing, wait := transient(err)
		t.failed(c.cfg.Now(), c.cfg.Retry, wait)
		c.log.Debug("stream ended", "error", err)
		if alone++; alone == silentAfter && passing {
			tell(true)
		}
		if !passing {
			c.enter(ctx, func() error {
				c.emit(Problem{Err: fmt.Errorf("following the stream: %w", err)})
				return nil
			})
		}
		timer := time.NewTimer(t.at.Sub(c.cfg.Now()))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// handle takes one event of the stream: what follows from it and its cursor are
// one transaction.
func (c *Client) handle(f frame) error {
	b := new(batch)
	if f.id != "" {
		b.put(tableSelf, nameCursor, f.id)
	}
	var err error
	bad := func(err error) error {
		b.tell(Problem{Err: fmt.Errorf("event %.40q: %w: %w", f.event, ErrProtocol, err)})
		return c.commit(b)
	}
	switch f.event {
	case clientapi.EventEntries:
		v := new(clientapi.Entries)
		if err = json.Unmarshal(f.data, v); err != nil {
			return bad(err)
		}
		id, err := parseRoomID(v.Room)
		if err != nil {
			return bad(err)
		}
		c.within(id)
		return c.take(b, id, v.Entries, v.Head)
	case clientapi.EventWelcome:
		v := new(clientapi.Welcome)
		if err = json.Unmarshal(f.data, v); err != nil {
			return bad(err)
		}
		return c.welcomed(b, v)
	case clientapi.EventConsent:
		v := new(clientapi.ConsentEvent)
		if err = json.Unmarshal(f.data, v); err != nil {
			return bad(err)
		}
		if err := c.consented(b, v); err != nil {
			return bad(err)
		}
	case clientapi.EventIntroduction:
		if err := c.introduced(b, f.data); err != nil {
			return bad(err)
		}
	case clientapi.EventModes:
		if len(c.uninvited) > 0 {
			c.unknown.at = c.cfg.Now() // one of these rooms may be one to come into now
		}
	case clientapi.EventRivals:
		if err := c.rivaled(b, f.data); err != nil {
			return bad(err)
		}
	case clientapi.EventKnock:
		if err := c.knocked(b, f.data); err != nil {
			return bad(err)
		}
	case clientapi.EventHub:
		v := new(clientapi.HubState)
		if err = json.Unmarshal(f.data, v); err != nil {
			return bad(err)
		}
		id, err := parseRoomID(v.Room)
		if err != nil {
			return bad(err)
		}
		c.hubState(b, id, v)
	case clientapi.EventEphemeral:
		v := new(clientapi.Ephemeral)
		if err = json.Unmarshal(f.data, v); err != nil {
			return bad(err)
		}
		id, err := parseRoomID(v.Room)
		if err != nil {
			return bad(err)
		}
		c.within(id)
		if n, tell := c.signalled(c.rooms[id], v.Data); tell {
			b.tell(n)
		}
	case clientapi.EventStock:
		if err := c.stocked(f.data); err != nil {
			return bad(err)
		}
	case clientapi.EventHello:
		v := new(clientapi.Hello)
		if err = json.Unmarshal(f.data, v); err != nil {
			return bad(err)
		}
		if !v.Resumed && c.cursor != "" {
			c.log.Info("stream begins anew, the provider does not know the cursor")
		}
	}
	return c.commit(b)
}

func (c *Client) sortedRooms() []*roomState {
	out := make([]*roomState, 0, len(c.rooms))
	for _, r := range c.rooms {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *roomState) int { return slices.Compare(a.id[:], b.id[:]) })
	return out
}

// jitter returns a random duration below d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	var b [8]byte
	rand.Read(b[:]) // never fails
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d))
}
