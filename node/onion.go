package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/relaylist"
	"github.com/mimid/mimid/node/veil"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/overlay/link"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/onion/retry"
	"github.com/mimid/mimid/store"
)

// onionName is the folder of the onion keys in the data directory. It is in no backup: a key that is in one
// is not gone when its epoch is over.
const onionName = "onion"

// onionPing is the kind of messages that say nothing, and whose acknowledgement says that the way is open.
const onionPing = "ping"

// healthEvery is how often the loops are looked at.
const healthEvery = 5 * time.Second

// onions is a node's part in the onion overlay: what node/mix and node/relaylist are wired to.
type onions struct {
	cfg      Onion
	domain   string
	nodeKey  ed25519.PrivateKey
	self     onion.NodeID
	overlay  *overlay.Overlay
	store    *store.Store
	now      func() time.Time
	log      *slog.Logger
	lists    *relaylist.Service
	keys     *mix.KeyFiles // of the goroutine in lists.Run
	inbox    *mix.StoreInbox
	veil     *veil.Service
	announce []string

	mu     sync.Mutex
	relay  *mix.Relay  // guarded by mu: nil before run
	sender *mix.Sender // guarded by mu: nil before run
	exit   *mix.Exit   // guarded by mu: nil before run
	link   *link.Link  // guarded by mu: nil before run
	pings  uint64      // guarded by mu
}

// makeOnion makes the parts of the onion overlay; nil: it is off.
func (n *Node) makeOnion(p *parts) (*onions, error) {
	if !n.cfg.Onion.Enabled {
		return nil, nil
	}
	o := &onions{cfg: n.cfg.Onion, domain: n.cfg.Domain, nodeKey: n.keys.node, overlay: p.overlay, store: p.store, now: n.now, log: n.log.With("part", "onion"), announce: n.cfg.Overlay.Announce}
	o.self = relays.NodeOf(o.nodeKey.Public().(ed25519.PublicKey))
	dir := filepath.Join(n.cfg.Dir, onionName)
	if n.memory != nil && !n.memory.Files {
		dir = ""
	}
	var err error
	if o.keys, err = mix.OpenKeyFiles(dir, o.cfg.format().Suite); err != nil {
		return nil, err
	}
	if o.veil, err = veil.New(veil.Config{Net: onionNet{o}, Format: o.cfg.format(), Margin: o.margin(), Log: o.log}); err != nil {
		return nil, err
	}
	if o.inbox, err = mix.OpenInbox(mix.InboxConfig{Store: p.store, Log: o.log, Consumers: map[string]mix.Consumer{
		onionPing: func(context.Context, mix.Message) (func(*store.Tx) error, error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.pings++
			return nil, nil
		},
		veil.Kind: o.veil.Consume,
	}}); err != nil {
		return nil, err
	}
	restored, err := restoredWithin(p.store, n.now().Add(-3*time.Duration(o.cfg.Epoch)))
	if err != nil {
		return nil, err
	}
	o.lists, err = relaylist.New(relaylist.Config{
		Domain: o.domain, Key: n.keys.present(), Witnesses: o.cfg.Witnesses, Terms: o.cfg.terms(), Caller: p.caller, Store: p.store, Restored: restored, Now: n.now, Log: o.log,
		KeyOf: func(ctx context.Context, domain string) (ed25519.PublicKey, error) {
			rec, err := p.overlay.Resolve(ctx, domain)
			if err != nil {
				return nil, err
			}
			return rec.ProviderKey, nil
		},
		Vouch: o.vouch, Own: o.own, Use: o.use,
		Acquaint: func(ctx context.Context, domain string) error {
			_, err := p.overlay.Acquaint(ctx, domain)
			return err
		},
	})
	return o, err
}

// restoredWithin says whether a store was restored from a backup since a time.
func restoredWithin(st *store.Store, since time.Time) (yes bool, err error) {
	err = st.View(func(tx *store.Tx) error {
		mark, err := tx.Restored()
		yes = err == nil && mark != nil && mark.When.After(since)
		return err
	})
	return yes, err
}

func (o *onions) routes() []peering.Route {
	if o == nil {
		return nil
	}
	return o.lists.Routes()
}

// addressOf is the IP address in a multiaddr; false if it has none.
func addressOf(multiaddr string) (netip.Addr, bool) {
	f := strings.Split(multiaddr, "/")
	if len(f) < 3 || f[0] != "" || f[1] != "ip4" && f[1] != "ip6" {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(f[2])
	return a, err == nil && a.Zone() == "" && !a.Is4In6()
}

// errNoAddress: the overlay has no IP address that relays could be told apart by.
var errNoAddress = errors.New("the overlay has no IP address, by which relays of one network are told apart: set overlay.announce")

// own describes this node in an epoch, with keys of it and the next. They are on disk before, and the relay has
// them before anybody can build a packet for them.
func (o *onions) own(ctx context.Context, e onion.Epoch) (*relays.Relay, error) {
	keys, err := o.keys.Roll(e)
	if err != nil {
		return nil, err
	}
	d := relays.Descriptor{Suite: o.cfg.format().Suite, Provider: o.domain, Operator: o.cfg.Operator, Network: uint32(o.cfg.Network), First: e}
	if d.Operator == "" {
		d.Operator = o.domain
	}
	if o.cfg.Relay {
		d.Capacity = uint32(o.cfg.Capacity)
	}
	for _, k := range keys {
		if err := o.relay.SetKey(ctx, k); err != nil {
			return nil, err
		}
		if k.Epoch >= e {
			d.Keys = append(d.Keys, k.Key.Public())
		}
	}
	addrs := o.announce
	if len(addrs) == 0 {
		addrs = o.overlay.Addrs()
	}
	// One on the Internet rather than one of a local network, and that rather than loopback.
	best := -1
	for _, text := range addrs {
		a, ok := addressOf(text)
		rank := 0
		switch {
		case !ok || a.IsUnspecified():
			continue
		case a.IsGlobalUnicast() && !a.IsPrivate():
			rank = 2
		case a.IsPrivate():
			rank = 1
		}
		if rank > best {
			best, d.Address = rank, a
		}
	}
	if best < 0 {
		return nil, errNoAddress
	}
	return d.Sign(o.nodeKey)
}

// vouch says whether the record of the provider that a descriptor names speaks for its node and address.
func (o *onions) vouch(ctx context.Context, r *relays.Relay) error {
	d := r.Descriptor()
	peer, err := overlay.PeerOf(r.NodeKey())
	if err != nil {
		return err
	}
	rec, err := o.overlay.Resolve(ctx, d.Provider)
	if err == nil && !speaksFor(rec, peer, d.Address) {
		rec, err = o.overlay.Refresh(ctx, d.Provider)
	}
	if err != nil {
		return fmt.Errorf("looking for the record of %s: %w", d.Provider, err)
	}
	if !speaksFor(rec, peer, d.Address) {
		return fmt.Errorf("the record of %s does not name the node %s at %s", d.Provider, peer, d.Address)
	}
	return nil
}

// speaksFor says whether a record names a node at an address. Where it names no IP address, as behind a DNS
// name, any is believed.
func speaksFor(rec *overlay.Record, peer overlay.PeerID, at netip.Addr) bool {
	for _, n := range rec.Nodes {
		if n.ID != peer {
			continue
		}
		some := false
		for _, text := range n.Addrs {
			a, ok := addressOf(text)
			if ok && a == at {
				return true
			}
			some = some || ok
		}
		return !some
	}
	return false
}

// use takes a list, or none.
func (o *onions) use(ctx context.Context, c *relays.Cosigned) error {
	err := o.sender.Use(ctx, c)
	if err != nil && c != nil {
		// Not the old one any longer: its keys are gone soon.
		return errors.Join(err, o.sender.Use(ctx, nil))
	}
	return err
}

// run takes part until ctx ends. The overlay runs before and after.
func (o *onions) run(ctx context.Context) error {
	host := o.overlay.Host()
	if host == nil {
		return overlay.ErrNotRunning
	}
	keys, err := o.keys.Roll(o.cfg.terms().Epoch(o.now()))
	if err != nil {
		return err
	}
	var relay *mix.Relay
	l, err := link.New(link.Config{Host: host, Size: o.cfg.format().PacketSize(), Dial: o.overlay.Dial,
		Receive: func(ctx context.Context, from overlay.PeerID, packet []byte) { relay.Receive(ctx, from, packet) }})
	if err != nil {
		return err
	}
	exit, err := mix.NewExit(mix.ExitConfig{Format: o.cfg.format(), Link: l, Peers: o.lists, Inbox: o.inbox, Delay: time.Duration(o.cfg.Delay), Log: o.log})
	if err != nil {
		return err
	}
	pin := mix.StorePin{Store: o.store, Now: o.now}
	sender, err := mix.NewSender(mix.SenderConfig{Format: o.cfg.format(), Self: o.self, Link: l, Peers: o.lists, Log: o.log, Retry: retry.Config{Margin: o.margin()},
		Cover: mix.Cover{Every: time.Duration(float64(time.Second) / o.cfg.Rate)},
		Entry: func(c *relays.Cosigned, among []*relays.Relay) (*relays.Relay, error) {
			return pin.Entry(ctx, c, among)
		}})
	if err != nil {
		return err
	}
	if relay, err = mix.NewRelay(mix.RelayConfig{Format: o.cfg.format(), Keys: keys, Link: l, Peers: o.lists, Journal: mix.NewStoreJournal(o.store), Log: o.log, Reply: sender.Reply,
		Deliver: func(to onion.Mailbox, payload []byte) bool { return sender.Loop(to) || exit.Deliver(to, payload) },
		Limits:  mix.Limits{TotalRate: o.limit(), TotalBurst: 2 * o.limit()}}); err != nil {
		return err
	}
	o.mu.Lock()
	o.relay, o.sender, o.exit, o.link = relay, sender, exit, l
	o.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	runs := []func(context.Context) error{l.Run, relay.Run, exit.Run, sender.Run, o.inbox.Run, o.veil.Run, o.lists.Run, o.watch}
	ended := make(chan error, len(runs))
	for _, run := range runs {
		go func() {
			defer cancel() // one that fails ends all
			ended <- run(ctx)
		}()
	}
	for range runs {
		err = errors.Join(err, <-ended)
	}
	return err
}

// onionMargin is what a packet and its acknowledgement have beside their delays, and what the far end
// keeps the acknowledgement for.
const onionMargin = 5 * time.Second

// farDelays is how many mean delays the far end is given to keep an acknowledgement: it keeps one of 50 longer.
const farDelays = 4

func (o *onions) margin() time.Duration { return onionMargin + farDelays*time.Duration(o.cfg.Delay) }

// limit is how many packets a second are taken of all peers together: what the node relays, and its own
// loops and messages.
func (o *onions) limit() int {
	own := int(4*o.cfg.Rate) + 20
	if o.cfg.Relay {
		return o.cfg.Capacity + own
	}
	return own
}

// watch tells the operator when own packets do not come back, and when they do again.
func (o *onions) watch(ctx context.Context) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	alarm := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		l := o.sender.Health().Loops
		if l.Alarm == alarm {
			continue
		}
		if alarm = l.Alarm; alarm {
			o.log.Warn("packets that this node sends to itself over relays do not come back: a relay is broken, or somebody keeps packets away to see where single ones go; see mimid onion status",
				"missing", l.Missing, "of", l.Judged, "expected at most", l.Bound, "suspects", o.providersOf(l.Suspects))
			continue
		}
		o.log.Info("packets that this node sends to itself over relays come back again", "missing", l.Missing, "of", l.Judged)
	}
}

// providersOf are the providers of relays of the list in force.
func (o *onions) providersOf(nodes []onion.NodeID) []string {
	c := o.lists.Report().Force
	var out []string
	for _, n := range nodes {
		if c != nil && c.Relay(n) != nil {
			out = append(out, c.Relay(n).Descriptor().Provider)
		}
	}
	return out
}

// nodeOf is the node of a provider in the list in force.
func (o *onions) nodeOf(domain string) (onion.NodeID, bool) {
	c := o.lists.Report().Force
	if c == nil {
		return onion.NodeID{}, false
	}
	for _, r := range c.Snapshot().Relays {
		if r.Descriptor().Provider == domain {
			return r.Node(), true
		}
	}
	return onion.NodeID{}, false
}

// send sends a message of a kind to another provider over relays, and returns when that has said that it is on its
// disk. Errors: mix's.
func (o *onions) send(ctx context.Context, domain, kind string, message []byte) error {
	o.mu.Lock()
	sender := o.sender
	o.mu.Unlock()
	if sender == nil {
		return mix.ErrNotRunning
	}
	to, ok := o.nodeOf(domain)
	if !ok {
		return fmt.Errorf("%w: %s", mix.ErrNoExit, domain)
	}
	var id onion.MessageID
	rand.Read(id[:])
	return sender.Send(ctx, to, mix.MailboxOf(kind), id, message)
}
