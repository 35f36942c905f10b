package overlay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/multiformats/go-multihash"
)

const (
	announceEvery   = 12 * time.Hour // well within announceValidity
	announceRetry   = time.Minute
	announceTick    = time.Second
	announceWorkers = 4
	announceTimeout = time.Minute
)

// Announce says in the DHT that this node has something to do with a key, and goes on
// saying so until Withdraw or the end of Run. The error is that of the first attempt,
// for example ErrNoPeers; the next one follows in a minute. The set is not stored: after
// a restart, announce again.
func (o *Overlay) Announce(ctx context.Context, key [32]byte) error {
	n := o.net.Load()
	if n == nil {
		return ErrNotRunning
	}
	if err := n.announcer.add(key); err != nil {
		return err
	}
	err := n.provide(ctx, key)
	n.announcer.done(key, err)
	return err
}

// Withdraw ends saying so. Others may return this node until a day after the last
// announcement.
func (o *Overlay) Withdraw(key [32]byte) {
	if n := o.net.Load(); n != nil {
		n.announcer.remove(key)
	}
}

func announceCID(key [32]byte) cid.Cid {
	mh, err := multihash.Encode(key[:], multihash.SHA2_256)
	if err != nil {
		panic("overlay: " + err.Error()) // 32 bytes are a SHA-256
	}
	return cid.NewCidV1(cid.Raw, mh)
}

func (n *running) provide(ctx context.Context, key [32]byte) error {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	err := n.dht.Provide(ctx, announceCID(key), true)
	if errors.Is(err, kb.ErrLookupFailure) {
		return fmt.Errorf("%w: announcing", ErrNoPeers)
	}
	if err != nil {
		return fmt.Errorf("announcing: %w", err)
	}
	return nil
}

// An announcer repeats announcements. It is safe for concurrent use.
type announcer struct {
	limit int

	mu  sync.Mutex
	due map[[32]byte]time.Time // guarded by mu; when to announce again
}

func newAnnouncer(limit int) *announcer {
	return &announcer{limit: limit, due: make(map[[32]byte]time.Time)}
}

func (a *announcer) add(key [32]byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.due[key]; !ok && len(a.due) >= a.limit {
		return fmt.Errorf("%w: %d keys are announced", ErrFull, a.limit)
	}
	a.due[key] = time.Now().Add(announceEvery)
	return nil
}

func (a *announcer) remove(key [32]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.due, key)
}

// done sets the next time, spread so that keys announced together do not stay together.
func (a *announcer) done(key [32]byte, err error) {
	next := announceEvery - rand.N(announceEvery/4)
	if err != nil {
		next = announceRetry
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.due[key]; ok {
		a.due[key] = time.Now().Add(next)
	}
}

// take returns up to max keys that are due, and puts them off so that they are not taken
// twice.
func (a *announcer) take(now time.Time, max int) [][32]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out [][32]byte
	for key, due := range a.due {
		if len(out) >= max {
			break
		}
		if !due.After(now) {
			a.due[key] = now.Add(2 * announceTimeout)
			out = append(out, key)
		}
	}
	return out
}

// announce works off what is due, a few at a time.
func (n *running) announce(ctx context.Context) {
	tick := time.NewTicker(announceTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var wg sync.WaitGroup
		keys := make(chan [32]byte)
		due := n.announcer.take(time.Now(), 256)
		for range min(announceWorkers, len(due)) {
			wg.Go(func() {
				for key := range keys {
					n.announcer.done(key, n.provide(ctx, key))
				}
			})
		}
		for _, key := range due {
			keys <- key
		}
		close(keys)
		wg.Wait()
	}
}
