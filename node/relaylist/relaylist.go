package relaylist

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/store"
)

// ErrConfig says that a Service cannot be made of its configuration.
var ErrConfig = errors.New("relaylist: wrong configuration")

// MaxWitnesses bounds the witnesses of a network.
const MaxWitnesses = 64

const (
	callTime    = 20 * time.Second
	acquaintAt  = 30 * time.Minute // addresses are remembered for an hour
	acquaintPar = 8
)

// Caller asks another provider; *peering.Caller is one.
type Caller interface {
	Call(ctx context.Context, q peering.Request) (*peering.Response, error)
}

// Config says what a Service works on.
type Config struct {
	Domain string
	// Key is the provider key, with which this provider signs if it is a witness.
	Key ed25519.PrivateKey
	// Witnesses are domains, in the order that all nodes have.
	Witnesses []string
	Terms     relays.Terms
	Caller    Caller
	// KeyOf is the provider key of a witness, as it is trusted here.
	KeyOf func(ctx context.Context, domain string) (ed25519.PublicKey, error)
	// Vouch says whether a descriptor is of the provider that it names: whether its record names the node
	// and the address.
	Vouch func(ctx context.Context, r *relays.Relay) error
	// Acquaint looks up the addresses of a provider's nodes.
	Acquaint func(ctx context.Context, domain string) error
	// Own is this node's descriptor, whose first key is of an epoch. It is called with each epoch once,
	// unless it fails, and before the epoch's list is asked for.
	Own func(ctx context.Context, e onion.Epoch) (*relays.Relay, error)
	// Use is told which list is in force from now on; nil: none any more.
	Use   func(ctx context.Context, c *relays.Cosigned) error
	Store *store.Store
	// Restored says that the store may be older than what this provider has signed: as a witness it
	// signs nothing then before the second epoch from now.
	Restored bool
	Step     time.Duration // between two looks. Default 1/240 of an epoch, 250 ms at least
	Now      func() time.Time
	Log      *slog.Logger // nil discards
}

// A Service is a node's part in agreeing on lists. Its methods may be called from any goroutine.
type Service struct {
	cfg     Config
	witness bool
	rate    *ration.Ration
	peers   atomic.Pointer[map[onion.NodeID]overlay.PeerID]
	from    onion.Epoch // of the first one that may be signed

	mu      sync.Mutex
	changed time.Time                          // guarded by mu: when a node came into the pool
	pool    pool                               // guarded by mu
	epochs  map[onion.Epoch]*state             // guarded by mu
	liars   map[string]onion.Epoch             // guarded by mu: witnesses that have signed two lists
	signed  map[onion.Epoch]relays.Cosignature // guarded by mu: what this witness has signed, and is on disk
	force   *relays.Cosigned                   // guarded by mu: the list in force
	told    map[string]bool                    // guarded by mu: who has the descriptor of the present epoch
	heard   map[string]time.Time               // guarded by mu: when a witness answered last

	// Of Run.
	own        *relays.Relay
	acquainted time.Time
}

// A state is what is known about the list of an epoch.
type state struct {
	signatures map[string][]relays.Cosignature // verified, of each witness, two at most
	octets     map[[32]byte][]byte             // lists that this witness has signed, or that were agreed on
	list       *relays.Cosigned
	told       []*relays.Relay // what this witness has named when it was first asked, if hasTold
	hasTold    bool
}

// New makes a Service. Errors: ErrConfig, and those of the store's records.
func New(c Config) (*Service, error) {
	if c.Caller == nil || c.KeyOf == nil || c.Vouch == nil || c.Acquaint == nil || c.Own == nil || c.Use == nil || c.Store == nil || len(c.Key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: something is missing", ErrConfig)
	}
	if err := c.Terms.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if n := len(c.Witnesses); n < 1 || n > MaxWitnesses {
		return nil, fmt.Errorf("%w: %d witnesses, where 1 to %d are possible", ErrConfig, n, MaxWitnesses)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Step <= 0 {
		c.Step = max(c.Terms.Length/240, 250*time.Millisecond)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: c, witness: slices.Contains(c.Witnesses, c.Domain), rate: ration.New(ration.Config{PerSecond: 5, Burst: 100}),
		pool: pool{}, epochs: map[onion.Epoch]*state{}, told: map[string]bool{}, heard: map[string]time.Time{}}
	if c.Restored {
		s.from = c.Terms.Epoch(c.Now()) + 2
	}
	var err error
	if s.liars, err = readLiars(c.Store); err != nil {
		return nil, err
	}
	if s.signed, err = readSigned(c.Store, c.Domain, c.Key); err != nil {
		return nil, err
	}
	s.peers.Store(&map[onion.NodeID]overlay.PeerID{})
	return s, nil
}

// Peer says which peer a node of the last lists is: mix.Peers.
func (s *Service) Peer(n onion.NodeID) (overlay.PeerID, bool) {
	p, ok := (*s.peers.Load())[n]
	return p, ok
}

// Run publishes, follows and, for a witness, makes lists until ctx ends, which is no error.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Step)
	defer tick.Stop()
	for {
		s.Look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Look does once what is to be done now. Run calls it; it must not be called twice at once.
func (s *Service) Look(ctx context.Context) {
	now := s.cfg.Now()
	e := s.cfg.Terms.Epoch(now)
	s.forget(e)
	s.publish(ctx, e)
	for _, want := range s.wanted(now, e) {
		if s.List(want) != nil {
			continue
		}
		s.follow(ctx, want)
		if s.witness && s.List(want) == nil && s.turn(now, want) {
			s.propose(ctx, want)
		}
	}
	s.adopt(ctx, e)
}

// wanted are the epochs whose lists may be asked for: the present one, and the next one when it may be made.
func (s *Service) wanted(now time.Time, e onion.Epoch) []onion.Epoch {
	if now.Before(s.freeze(e + 1)) {
		return []onion.Epoch{e}
	}
	return []onion.Epoch{e, e + 1}
}

// freeze is from when on an epoch's list may be made.
func (s *Service) freeze(e onion.Epoch) time.Time {
	return s.cfg.Terms.Begin(e).Add(-s.cfg.Terms.Length / 4)
}

// turn says whether this witness may make the list of an epoch now.
func (s *Service) turn(now time.Time, e onion.Epoch) bool {
	n := len(s.cfg.Witnesses)
	slot := max(s.cfg.Terms.Length/4/time.Duration(n), time.Millisecond)
	k := int(now.Sub(s.freeze(e))/slot) + int(e%onion.Epoch(n))
	return s.cfg.Witnesses[k%n] == s.cfg.Domain
}

// forget drops what is of epochs that are over.
func (s *Service) forget(e onion.Epoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.epochs {
		if k+2 < e {
			delete(s.epochs, k)
		}
	}
	for k := range s.signed {
		if k+2 < e {
			delete(s.signed, k)
		}
	}
	s.pool.drop(e)
}

// of is the state of an epoch. The caller holds mu.
func (s *Service) of(e onion.Epoch) *state {
	x := s.epochs[e]
	if x == nil {
		x = &state{signatures: map[string][]relays.Cosignature{}, octets: map[[32]byte][]byte{}}
		s.epochs[e] = x
	}
	return x
}

// List is the list of an epoch, nil if there is none yet.
func (s *Service) List(e onion.Epoch) *relays.Cosigned {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.epochs[e]; x != nil {
		return x.list
	}
	return nil
}

// publish sends this node's descriptor to those witnesses that do not have it yet.
func (s *Service) publish(ctx context.Context, e onion.Epoch) {
	if s.own == nil || s.own.Descriptor().First != e {
		own, err := s.cfg.Own(ctx, e)
		if err != nil {
			s.cfg.Log.Warn("this node cannot describe itself as a relay", "err", err)
			return
		}
		s.own = own
		s.mu.Lock()
		clear(s.told)
		s.mu.Unlock()
	}
	s.ask(ctx, func(ctx context.Context, w string) error {
		s.mu.Lock()
		done := s.told[w]
		s.mu.Unlock()
		if done {
			return nil
		}
		var err error
		if w == s.cfg.Domain {
			err = s.take(s.own, e)
		} else {
			_, err = s.call(ctx, w, EndpointDescriptor, s.cfg.Domain, s.own.Bytes(), 1)
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.told[w] = true
		s.mu.Unlock()
		return nil
	})
}

// ask calls a function for each witness, this provider included, at once.
func (s *Service) ask(ctx context.Context, each func(ctx context.Context, witness string) error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range s.cfg.Witnesses {
		wg.Go(func() {
			if err := each(ctx, w); err != nil {
				s.cfg.Log.Debug("a witness was asked in vain", "witness", w, "err", err)
			}
		})
	}
	wg.Wait()
}

func (s *Service) call(ctx context.Context, witness, endpoint, subject string, body []byte, limit int) ([]byte, error) {
	res, err := s.cfg.Caller.Call(ctx, peering.Request{Target: witness, Endpoint: endpoint, Subject: subject, Body: body, MaxResponse: limit})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.heard[witness] = s.cfg.Now()
	s.mu.Unlock()
	return res.Body, nil
}

// adopt puts a list in force: that of the present epoch, or of the one before while there is none.
func (s *Service) adopt(ctx context.Context, e onion.Epoch) {
	s.mu.Lock()
	var lists []*relays.Cosigned
	for _, k := range []onion.Epoch{e - 1, e, e + 1} {
		if x := s.epochs[k]; x != nil && x.list != nil {
			lists = append(lists, x.list)
		}
	}
	var best *relays.Cosigned
	for _, c := range lists {
		if c.Snapshot().Epoch <= e {
			best = c
		}
	}
	changed := best != s.force
	s.mu.Unlock()
	s.meet(ctx, lists)
	if !changed {
		return
	}
	if err := s.cfg.Use(ctx, best); err != nil {
		if ctx.Err() == nil {
			s.cfg.Log.Warn("the list of relays cannot be used", "epoch", e, "err", err)
		}
	}
	s.mu.Lock()
	s.force = best
	s.mu.Unlock()
	if best == nil {
		s.cfg.Log.Warn("there is no list of relays any more, and nothing is sent over the onion overlay", "epoch", e)
		return
	}
	s.cfg.Log.Info("a list of relays is in force", "epoch", best.Snapshot().Epoch, "relays", len(best.Snapshot().Relays))
}

// meet makes known which peers the nodes of lists are, and looks up the addresses of all.
func (s *Service) meet(ctx context.Context, lists []*relays.Cosigned) {
	peers, domains, news := map[onion.NodeID]overlay.PeerID{}, map[string]bool{}, false
	old := *s.peers.Load()
	for _, c := range lists {
		for _, r := range c.Snapshot().Relays {
			p, err := overlay.PeerOf(r.NodeKey())
			if err != nil {
				continue // vouched for, and yet no key of a node
			}
			if peers[r.Node()] = p; old[r.Node()] == "" {
				news = true
			}
			if d := r.Descriptor().Provider; d != s.cfg.Domain {
				domains[d] = true
			}
		}
	}
	s.peers.Store(&peers)
	if !news && s.cfg.Now().Sub(s.acquainted) < acquaintAt {
		return
	}
	s.acquainted = s.cfg.Now()
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	slots := make(chan struct{}, acquaintPar)
	var wg sync.WaitGroup
	for d := range domains {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := s.cfg.Acquaint(ctx, d); err != nil {
				s.cfg.Log.Debug("the addresses of a relay are not known", "provider", d, "err", err)
			}
		})
	}
	wg.Wait()
}

// A Report says how things are.
type Report struct {
	Epoch  onion.Epoch      // now
	Force  *relays.Cosigned // nil: none
	Next   bool             // whether the list of the next epoch is there
	Told   int              // witnesses that have this node's descriptor of this epoch
	Heard  []string         // witnesses that answered within the last epoch
	Liars  []string         // witnesses that have signed two lists
	Waits  int              // descriptors that this witness has
	Signed bool             // whether this witness has signed the list of this epoch
}

// Report says how things are.
func (s *Service) Report() Report {
	now := s.cfg.Now()
	e := s.cfg.Terms.Epoch(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Report{Epoch: e, Force: s.force, Next: s.epochs[e+1] != nil && s.epochs[e+1].list != nil, Told: len(s.told), Waits: len(s.pool)}
	for _, w := range s.cfg.Witnesses {
		if at, ok := s.heard[w]; w == s.cfg.Domain || ok && now.Sub(at) < s.cfg.Terms.Length {
			r.Heard = append(r.Heard, w)
		}
		if _, ok := s.liars[w]; ok {
			r.Liars = append(r.Liars, w)
		}
	}
	_, r.Signed = s.signed[e]
	return r
}
