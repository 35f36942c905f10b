package overlay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kb "github.com/libp2p/go-libp2p-kbucket"
)

const (
	recordValidity = 36 * time.Hour
	republishEvery = 4 * time.Hour // the DHT does not do it for us, and nodes come and go
	settle         = 300 * time.Millisecond
	settleMore     = 3 * time.Second // if others have the record already
	publishWait    = 5 * time.Second // at most, before the node is ready
	retryPublish   = 30 * time.Second
	smallNetwork   = 20 // up to so many peers, every one of them stores every record
)

// A poke wakes the publisher.
type poke uint8

const (
	pokeAddrs poke = 1 << iota // our addresses may have changed
	pokePeer                   // a DHT server has connected
)

// A publisher keeps our own record in the DHT. All but the channels belongs to the
// goroutine in run.
type publisher struct {
	n     *running
	addrs chan struct{}
	peers chan struct{}

	envelope []byte   // as last sealed
	where    []string // the addresses in it
	sealed   time.Time
	stored   bool // by somebody else, at least once
}

func newPublisher(n *running) *publisher {
	return &publisher{n: n, addrs: make(chan struct{}, 1), peers: make(chan struct{}, 1)}
}

func (p *publisher) poke(what poke) {
	ch := p.addrs
	if what == pokePeer {
		ch = p.peers
	}
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run publishes at once, says so to tried, when addresses have changed, when the network was empty or is small
// and a peer comes, and every few hours.
func (p *publisher) run(ctx context.Context, tried func()) {
	for {
		if err := p.publish(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrNoPeers) {
			p.n.o.log.Warn("cannot publish the provider record; trying again", "error", err)
		}
		if tried != nil {
			tried()
			tried = nil
		}
		pause, ok := p.due(ctx)
		if !ok {
			return
		}
		select { // let a burst of events settle
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// due waits until there is a reason to publish again, and returns how long to wait for
// others of the kind; false if ctx has ended.
func (p *publisher) due(ctx context.Context) (pause time.Duration, ok bool) {
	wait := republishEvery
	if !p.stored {
		wait = retryPublish
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0, false
		case <-timer.C:
			return settle, true
		case <-p.addrs:
			if p.stored && !p.moved() {
				continue // libp2p says so at each start, too
			}
			return settle, true
		case <-p.peers:
			switch {
			case !p.stored:
				return settle, true
			case p.n.dht.RoutingTable().Size() <= smallNetwork:
				return settleMore, true
			}
		}
	}
}

// moved says whether our addresses are others than those in the record.
func (p *publisher) moved() bool {
	o := p.n.o
	o.sealing.Lock()
	defer o.sealing.Unlock()
	return !slices.Equal(o.Addrs(), p.where)
}

// publish puts our record into the DHT, sealed anew if it is old or wrong.
func (p *publisher) publish(ctx context.Context) error {
	o := p.n.o
	o.sealing.Lock()
	now := o.cfg.Now()
	where := o.Addrs()
	if p.envelope == nil || !slices.Equal(where, p.where) || now.Sub(p.sealed) >= republishEvery-time.Minute {
		env, err := o.sealOwn(ctx, where)
		if err != nil {
			o.sealing.Unlock()
			return err
		}
		p.envelope, p.where, p.sealed = env, where, now
	}
	o.sealing.Unlock()
	own, _ := o.trust.get(o.cfg.Domain)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, key := range own.places() {
		err := p.n.dht.PutValue(ctx, key, p.envelope)
		if errors.Is(err, kb.ErrLookupFailure) {
			return fmt.Errorf("%w: publishing", ErrNoPeers)
		}
		if err != nil {
			return fmt.Errorf("publishing provider record: %w", err)
		}
	}
	if !p.stored {
		o.log.Info("provider record published", "domain", o.cfg.Domain)
	}
	p.stored = true
	return nil
}

// sealOwn signs a record with the highest sequence number so far. It is durable before
// it is published, so a restart never goes back behind it. The caller holds sealing.
func (o *Overlay) sealOwn(ctx context.Context, addrs []string) ([]byte, error) {
	c := &o.cfg
	now := c.Now()
	seq := uint64(now.UnixMilli())
	if old, _ := o.trust.get(c.Domain); old != nil && old.Seq >= seq {
		seq = old.Seq + 1
	}
	r := &Record{
		Domain: c.Domain, ProviderKey: o.providerKey, Rotations: c.Rotations,
		Nodes:        o.ownNodes(addrs[:min(len(addrs), MaxRecordAddrs)]),
		DirectoryURL: c.DirectoryURL, ReplicaWilling: c.ReplicaWilling, RelayWilling: c.RelayWilling,
		Seq: seq, Expires: now.Add(recordValidity).Truncate(time.Millisecond).UTC(),
	}
	env, err := r.seal(c.ProviderKey)
	if err != nil {
		return nil, fmt.Errorf("sealing own provider record: %w", err)
	}
	if err := o.trust.accept(ctx, r, env, testimony{}); err != nil {
		return nil, fmt.Errorf("keeping own provider record: %w", err)
	}
	return env, nil
}

// ownNodes are the nodes that our record names.
func (o *Overlay) ownNodes(addrs []string) []Node {
	if o.cfg.Offline {
		return nil
	}
	return append([]Node{{ID: o.self, Addrs: addrs}}, o.cfg.Siblings...)
}
