package knocks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Store is what a Service needs of a *store.Store, which is one.
type Store interface {
	Update(ctx context.Context, fn func(tx *store.Tx) error) error
	View(fn func(tx *store.Tx) error) error
}

// Caller asks other providers; *peering.Caller is one.
type Caller interface {
	Call(ctx context.Context, q peering.Request) (*peering.Response, error)
}

// Outbox asks other providers, however long it takes; *outbox.Outbox is one.
type Outbox interface {
	Put(tx *store.Tx, target string, it outbox.Item) error
}

// Feed tells users' devices; *feed.Feed is one.
type Feed interface {
	Put(tx *store.Tx, user uri.User, event string, data any) error
}

// Rooms knows the rooms that this provider takes part in; *rooms.Rooms is one.
type Rooms interface {
	// Door looks at a room; an error with CodeNotFound if it is not here.
	Door(ctx context.Context, id room.ID, user, by uri.User) (*rooms.Door, error)
	// Orders says whether a provider is the hub of a room, and whether that is sure.
	Orders(ctx context.Context, id room.ID, domain string) (is, sure bool)
	// Hub returns the domain of a room's hub; false for a room that is not known.
	Hub(room string) (domain string, ok bool)
}

// Limits bounds what users and other providers may ask for. A zero field means its default.
type Limits struct {
	// Sent is how many words an own user may say. Default one in 10 seconds, 20 at once.
	Sent ration.Config
	// Words is how many words of one other provider are taken, Users how many of one of
	// its users. Defaults 2 per second and 200 at once; one in a minute and 20 at once.
	Words, Users ration.Config
	// PerUser, PerRoom, PerShare, PerProvider and Total bound what is kept, see the package
	// documentation. Defaults 50, 200, 50, 500 and 10,000.
	PerUser, PerRoom, PerShare, PerProvider, Total int
	// Told is how many own users a knock is shown to by an event; further ones see it
	// when they look. Default 64.
	Told int
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Sent.PerSecond, 0.1)
	setDefault(&l.Sent.Burst, 20)
	setDefault(&l.Words.PerSecond, 2)
	setDefault(&l.Words.Burst, 200)
	setDefault(&l.Users.PerSecond, 1.0/60)
	setDefault(&l.Users.Burst, 20)
	setDefault(&l.PerUser, 50)
	setDefault(&l.PerRoom, 200)
	setDefault(&l.PerShare, 50)
	setDefault(&l.PerProvider, 500)
	setDefault(&l.Total, 10_000)
	setDefault(&l.Told, 64)
	return l
}

func setDefault[T int | float64 | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// Config configures a Service.
type Config struct {
	// Domain is the own provider's.
	Domain string
	Store  Store
	Caller Caller
	Outbox Outbox
	Feed   Feed
	Rooms  Rooms
	// Authenticator judges the credentials in words.
	Authenticator mls.Authenticator
	// Hubs asks the network who says that it orders a room, the likeliest first. Nobody is
	// no error. May be nil.
	Hubs   func(ctx context.Context, u uri.Room) []string
	Limits Limits
	// Repeat is how often a hub that has taken a knock is told of it again. Default 1 hour.
	Repeat time.Duration
	// Retry is the first wait after an attempt that found no hub; it doubles up to Repeat.
	// Default 2 seconds.
	Retry time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log receives what an operator may want to know. Default: nothing.
	Log *slog.Logger
}

// Bounds of time.
const (
	keep      = 7 * 24 * time.Hour // a user's knock that came to an end
	sweep     = 15 * time.Minute   // between two looks for what has expired
	callTime  = 15 * time.Second   // for one provider to answer
	firstTime = 8 * time.Second    // for the first attempt, for which the user waits
	attempts  = 8                  // at one time
	maxHubs   = 5                  // providers that are asked in one attempt
)

// Service lets users knock and answer. Safe for concurrent use. What a client or another
// provider did wrong is returned as a *clientapi.Problem; other errors went wrong here.
type Service struct {
	cfg   Config
	sent  *ration.Ration // by own user
	words *ration.Ration // by other provider
	users *ration.Ration // by its user

	mu      sync.Mutex
	due     map[ownKey]*attempt  // guarded by mu: what is to be brought to hubs
	rooms   map[room.ID]int      // guarded by mu: how many records of it there are
	changed map[room.ID]struct{} // guarded by mu: rooms to be looked at
	wake    chan struct{}        // capacity 1
}

// attempt is when an own knock is brought to its hub next.
type attempt struct {
	at      time.Time
	busy    bool
	fails   int
	trouble string // why the last one did not succeed
}

// Open reads what is pending. It starts nothing. Error: ErrConfig, or the store's.
func Open(cfg Config) (*Service, error) {
	if _, err := uri.ParseDomain(cfg.Domain); err != nil {
		return nil, fmt.Errorf("%w: domain %.100q: %w", ErrConfig, cfg.Domain, err)
	}
	if cfg.Store == nil || cfg.Caller == nil || cfg.Outbox == nil || cfg.Feed == nil || cfg.Rooms == nil || cfg.Authenticator == nil {
		return nil, fmt.Errorf("%w: of interfaces and functions only Hubs, Now and Log may be nil", ErrConfig)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Hubs == nil {
		cfg.Hubs = func(context.Context, uri.Room) []string { return nil }
	}
	setDefault(&cfg.Repeat, time.Hour)
	setDefault(&cfg.Retry, 2*time.Second)
	cfg.Limits = cfg.Limits.withDefaults()
	s := &Service{cfg: cfg, sent: ration.New(cfg.Limits.Sent), words: ration.New(cfg.Limits.Words), users: ration.New(cfg.Limits.Users),
		due: map[ownKey]*attempt{}, rooms: map[room.ID]int{}, changed: map[room.ID]struct{}{}, wake: make(chan struct{}, 1)}
	err := cfg.Store.View(func(tx *store.Tx) error {
		for k, o := range ownsOf(tx, uri.User{}) {
			if o.state.pending() {
				s.due[k] = &attempt{}
			}
		}
		for k := range heldOf(tx, room.ID{}) {
			s.rooms[k.room]++
			s.changed[k.room] = struct{}{} // it may have gone on without us
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening knocks: %w", err)
	}
	return s, nil
}

// Routes are the endpoints that other providers call.
func (s *Service) Routes() []peering.Route {
	return []peering.Route{
		{Endpoint: knock.EndpointKnock, Handler: s.serveKnock, MaxBody: knock.MaxWord, InRoom: true, Idempotent: true},
		{Endpoint: knock.EndpointShow, Handler: s.serveShow, MaxBody: knock.MaxMessage, InRoom: true, Idempotent: true},
		{Endpoint: knock.EndpointRefuse, Handler: s.serveRefuse, MaxBody: knock.MaxMessage, InRoom: true},
		{Endpoint: knock.EndpointStatus, Handler: s.serveStatus, MaxBody: knock.MaxMessage, InRoom: true, Idempotent: true},
	}
}

// Changed notes that who takes part in a room, or what roles mean, may have changed. It does
// not wait.
func (s *Service) Changed(id room.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[id] == 0 {
		return
	}
	s.changed[id] = struct{}{}
	s.poke()
}

// poke wakes Run.
func (s *Service) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// counted keeps how many records there are of a room, for Changed.
func (s *Service) counted(id room.ID, change int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[id] += change; s.rooms[id] <= 0 {
		delete(s.rooms, id)
	}
}

// Run brings own users' knocks to hubs and looks after what is kept for rooms, until ctx
// ends; it returns when nothing of it is under way any more. Call it once.
func (s *Service) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	places := make(chan struct{}, attempts)
	timer := time.NewTimer(0)
	defer timer.Stop()
	swept := s.cfg.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		now := s.cfg.Now()
		for _, id := range s.takeChanged() {
			if err := s.look(ctx, id); err != nil {
				s.cfg.Log.Error("looking after who knocks at a room", "room", id, "err", err)
			}
		}
		if now.Sub(swept) >= sweep {
			swept = now
			s.sweepAll(ctx)
		}
		next := swept.Add(sweep)
		list, at := s.takeDue(now, cap(places)-len(places))
		if at.Before(next) {
			next = at
		}
		for _, k := range list {
			places <- struct{}{} // there are as many free
			workers.Go(func() {
				s.bring(ctx, k)
				<-places
				s.poke() // another may have waited for the place
			})
		}
		timer.Reset(max(next.Sub(now), 0))
	}
}

// takeDue returns own knocks that are due and makes them busy, so many at most, and when the
// next one will be that is not due yet.
func (s *Service) takeDue(now time.Time, limit int) (list []ownKey, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = now.Add(sweep)
	for k, a := range s.due {
		switch {
		case a.busy:
		case a.at.After(now):
			if a.at.Before(next) {
				next = a.at
			}
		case len(list) < limit:
			a.busy = true
			list = append(list, k)
		}
	}
	return list, next
}

func (s *Service) takeChanged() []room.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []room.ID
	for id := range s.changed {
		out = append(out, id)
		delete(s.changed, id)
	}
	return out
}

// sweepAll looks at all rooms that have records, and forgets own knocks that came to an end.
func (s *Service) sweepAll(ctx context.Context) {
	s.mu.Lock()
	var ids []room.ID
	for id := range s.rooms {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, s.look(ctx, id))
	}
	errs = append(errs, s.forgetOwn(ctx))
	if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
		s.cfg.Log.Error("forgetting old knocks", "err", err)
	}
}
