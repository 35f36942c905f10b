package rooms

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// Call is a request to another provider.
type Call struct {
	Target   string // domain
	Endpoint string
	Subject  string // what the endpoint is about, for its path
	Room     wire.IdentifierURI
	ID       [16]byte // the request's id; zero: any
	Body     []byte
	Max      int // bytes of the response
}

// Peers are the other providers.
type Peers interface {
	// Call sends a request and returns the response's body. A response that is no
	// success is an error.
	Call(ctx context.Context, c Call) ([]byte, error)
	// Resolve finds a provider and verifies its key, which from then on counts
	// as an anchor of its users' certificates, and returns its nodes.
	Resolve(ctx context.Context, domain string) ([]overlay.PeerID, error)
	// Refresh is Resolve when a certificate says that the provider has a newer key.
	Refresh(ctx context.Context, domain string) ([]overlay.PeerID, error)
	// Envelope is the newest record of a provider that was ever accepted, nil if none was.
	Envelope(domain string) []byte
	// Hear takes such a record of a provider that nobody finds any more, on another one's
	// word: its key is an anchor until a better one is found.
	Hear(ctx context.Context, domain string, envelope []byte) error
}

// Topic is a joined topic.
type Topic interface {
	Publish(ctx context.Context, data []byte) error
	// Mesh are the peers that get at once what is published.
	Mesh() []overlay.PeerID
	Leave()
}

// Gossip joins topics.
type Gossip interface {
	Join(name string, h overlay.TopicHandler) (Topic, error)
}

// Outbox delivers to other providers, sooner or later.
type Outbox interface {
	Put(tx *store.Tx, c Call) error
}

// Config is what the rooms need.
type Config struct {
	Store  *store.Store
	Feed   *feed.Feed
	Domain string
	// Key signs as this provider: new rooms' heads, answers. Signer returns the
	// private half of one of the provider's keys, older ones included, nil if it is
	// none: a room's heads are signed with the key that the room names. Nil means
	// that there is only Key.
	Key    ed25519.PrivateKey
	Signer func(ed25519.PublicKey) ed25519.PrivateKey
	Rules  room.Rules
	Peers  Peers
	Gossip Gossip
	Outbox Outbox
	// Joined is told which KeyPackages a Welcome for local users has used, so that
	// they are not handed out again. May be nil.
	Joined func(tx *store.Tx, refs ...[]byte) error
	// Veil brings messages to hubs over relays, where a user wants that. May be nil: none are.
	Veil Veil
	// Quarantine may be nil: own users hear of every room that they are put into.
	Quarantine Quarantine
	// Pseudonyms may be nil: then no own user takes part in pseudonymous rooms.
	Pseudonyms Pseudonyms
	// Changed is told of every room in which something else than a message was ordered:
	// who takes part, or what roles mean, may have changed. It must not wait. May be nil.
	Changed func(id room.ID)
	// Dead says whether another provider gives no sign of life. Nil: none is dead.
	Dead func(domain string) bool
	// Silence is for how long another provider has given no sign of life, over restarts
	// too, which may be days; 0 if that is not known. Nil: never.
	Silence func(domain string) time.Duration
	// Offer is how many rooms of others this provider offers to be a replica of. The zero
	// value: none.
	Offer Offer
	// Replica is this provider as a replica of a room that it is given.
	Replica func() room.Replica
	// Franker franks what this provider orders. Without one no message is ordered.
	Franker *room.Franker
	// Reports keeps reports of abuse in rooms that this provider orders. Nil: none are taken.
	Reports Reports
	Log     *slog.Logger
	Now     func() time.Time
	// Idle is how long a room without events stays in memory. Default 30 s.
	Idle time.Duration
	// Exchange is how often hubs are asked where their rooms stand, beside every
	// time that a connection to one is made. Default 1 minute.
	Exchange time.Duration
	// Stall is for how long a hub that answers may leave a submission lying before others
	// are asked to see to it, and again until they suspect the hub. Default 5 s.
	Stall time.Duration
	// Commits is how fast one user may change one room: a device that commits in each epoch
	// leaves others none to change anything in. Default 64 at once, and 4 a second.
	Commits ration.Config
	// BatchBytes bounds the entries of one batch. Default 240 KiB, so that a piece
	// fits into a gossip message; less for a small store, which all followers of
	// the rooms must then be content with.
	BatchBytes int
}

// Bounds.
const (
	queueLength  = 4096 // submissions and pieces that wait for one room
	batchEntries = 1024
	rangeBytes   = 512 << 10 // entries of one piece of a range
	pieceLimit   = 2 << 20   // encoded piece in a response: a batch of one large entry fits
	callTimeout  = 20 * time.Second
)

// Rooms is the service. Its methods are safe for concurrent use.
type Rooms struct {
	cfg Config
	log *slog.Logger

	mu    sync.RWMutex
	masks map[mask]uri.User         // guarded by mu: whose pseudonym it is
	rooms map[room.ID]*handle       // guarded by mu
	nodes map[overlay.PeerID]string // guarded by mu: whose node is it

	ctx    context.Context // of Run; nil before, guarded by mu
	ready  chan struct{}   // closed by Run
	wg     sync.WaitGroup  // goroutines of rooms and nudges
	nudges nudges
	talk   talk
	calls  calls

	promises promises
	signals  signals

	reporters, reporting *ration.Ration // of reports of abuse: users here, other providers
	entries              entries
	commits              *ration.Ration // of a user in a room
	hidden               *ration.Ration // messages of nobody in particular, in a room
	bans                 bans
	kin                  kin

	fellowAsked string // by exchangeAll; Run's goroutine owns it

	turns    atomic.Uint64 // counts changes of heads, and of which rooms are loaded
	partners partners
	counts   counters

	searchLimit uint64        // maxSearch, but for tests
	maxNotice   int           // room.MaxNotice, but for tests
	settleIn    time.Duration // settlingIn, but for tests
}

// Open reads the heads of all rooms. It starts nothing.
func Open(cfg Config) (*Rooms, error) {
	if cfg.Idle == 0 {
		cfg.Idle = 30 * time.Second
	}
	if cfg.Commits.PerSecond == 0 {
		cfg.Commits = ration.Config{PerSecond: 4, Burst: 64, MaxKeys: 1 << 14}
	}
	if cfg.Exchange == 0 {
		cfg.Exchange = time.Minute
	}
	if cfg.Stall == 0 {
		cfg.Stall = 5 * time.Second
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = 240 << 10
	}
	if cfg.Signer == nil {
		cfg.Signer = func(pub ed25519.PublicKey) ed25519.PrivateKey {
			if pub.Equal(cfg.Key.Public()) {
				return cfg.Key
			}
			return nil
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dead == nil {
		cfg.Dead = func(string) bool { return false }
	}
	if cfg.Replica == nil {
		cfg.Replica = func() room.Replica { return room.Replica{Domain: cfg.Domain} }
	}
	r := &Rooms{cfg: cfg, log: cfg.Log, rooms: map[room.ID]*handle{}, masks: map[mask]uri.User{}, nodes: map[overlay.PeerID]string{}, ready: make(chan struct{}), searchLimit: maxSearch, settleIn: settlingIn, maxNotice: room.MaxNotice}
	r.signals = newSignals()
	r.reporters, r.reporting = newRations()
	r.entries = newEntries()
	r.commits = ration.New(cfg.Commits)
	r.hidden = ration.New(hiddenEach)
	r.nudges.waiting = map[string]map[room.ID]room.SignedHead{}
	r.talk.waiting = map[string][]*replica.Message{}
	if err := r.readHeads(); err != nil {
		return nil, fmt.Errorf("opening rooms: %w", err)
	}
	return r, nil
}

// Ready is closed when submissions are taken. Topics are joined after that.
func (r *Rooms) Ready() <-chan struct{} { return r.ready }

// Run joins the rooms' topics and serves until ctx ends, and returns when all
// that was being written is written. The overlay must be running. Call it once.
func (r *Rooms) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	r.mu.Unlock()
	close(r.ready)
	defer func() {
		r.mu.Lock()
		r.ctx = nil
		r.mu.Unlock()
		r.wg.Wait()
		r.leaveTopics()
	}()
	err := r.joinTopics(ctx)
	if err == nil {
		err = r.wakeTails(ctx)
	}
	if ctx.Err() != nil {
		return nil // and what was read meanwhile may have been closed
	}
	if err != nil {
		return fmt.Errorf("running rooms: %w", err)
	}
	r.wakeBans()
	r.spawn(r.findDependents)
	r.exchangeAll(ctx)
	tick := time.NewTicker(r.cfg.Exchange)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.exchangeAll(ctx)
		}
	}
}

// spawn runs f in a goroutine that Run waits for.
func (r *Rooms) spawn(f func(ctx context.Context)) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.spawnLocked(f)
}

// spawnLocked is spawn for a caller that holds r.mu.
func (r *Rooms) spawnLocked(f func(ctx context.Context)) bool {
	if r.ctx == nil || r.ctx.Err() != nil {
		return false
	}
	ctx := r.ctx
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		f(ctx)
	}()
	return true
}
