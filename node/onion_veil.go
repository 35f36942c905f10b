package node

import (
	"context"
	"crypto/rand"
	"math"
	"math/big"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/node/veil"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// What users have of the onion overlay: requests to other providers that do not show which provider asks.

// makeVeil is what asks over relays; without the onion overlay, what says that it is off.
func (o *onions) makeVeil() (*veil.Service, error) {
	if o == nil {
		return veil.New(veil.Config{})
	}
	return o.veil, nil
}

// privacyReports implements clienthttp.Privacy.
type privacyReports struct{ s *veil.Service }

// Privacy implements clienthttp.Privacy.
func (p privacyReports) Privacy(_ context.Context, _ account.Identity, to string) (*clientapi.PrivacyReport, error) {
	r := p.s.PrivacyTo(to)
	return &r, nil
}

// veiled implements contact.Veil; without the onion overlay, too.
type veiled struct {
	*veil.Service
	o *onions
}

// Others implements contact.Veil.
func (v veiled) Others(n int) (out []string) {
	for _, i := range v.list() {
		if r := i.Descriptor(); r.Provider != v.o.domain {
			out = append(out, r.Provider)
		}
	}
	for i := range out { // Fisher and Yates, from crypto/rand: whom a node asks says something
		j, err := rand.Int(rand.Reader, big.NewInt(int64(len(out)-i)))
		if err != nil {
			return nil
		}
		k := i + int(j.Int64())
		out[i], out[k] = out[k], out[i]
	}
	return out[:min(n, len(out))]
}

// Speaks implements contact.Veil: as the list of relays says, which its witnesses have checked.
func (v veiled) Speaks(domain string, peer overlay.PeerID) bool {
	for _, r := range v.list() {
		if p, err := overlay.PeerOf(r.NodeKey()); err == nil && p == peer && r.Descriptor().Provider == domain {
			return true
		}
	}
	return false
}

func (v veiled) list() []*relays.Relay {
	if v.o == nil {
		return nil
	}
	c := v.o.lists.Report().Force
	if c == nil {
		return nil
	}
	return c.Snapshot().Relays
}

// onionNet implements veil.Net.
type onionNet struct{ o *onions }

// Node implements veil.Net.
func (n onionNet) Node(target string) (onion.NodeID, bool) {
	if id, ok := n.o.nodeOf(target); ok {
		return id, true
	}
	c := n.o.lists.Report().Force
	if c == nil {
		return onion.NodeID{}, false
	}
	for _, r := range c.Snapshot().Relays {
		peer, err := overlay.PeerOf(r.NodeKey())
		if err != nil {
			continue
		}
		if host, err := overlay.PeerHost(peer); err == nil && host == target {
			return r.Node(), true
		}
	}
	return onion.NodeID{}, false
}

func (n onionNet) running() (*mix.Sender, *mix.Exit, error) {
	n.o.mu.Lock()
	defer n.o.mu.Unlock()
	if n.o.sender == nil {
		return nil, nil, mix.ErrNotRunning
	}
	return n.o.sender, n.o.exit, nil
}

// Send implements veil.Net.
func (n onionNet) Send(ctx context.Context, exit onion.NodeID, to onion.Mailbox, id onion.MessageID, message []byte) error {
	sender, _, err := n.running()
	if err != nil {
		return err
	}
	return sender.Send(ctx, exit, to, id, message)
}

// Blocks implements veil.Net.
func (n onionNet) Blocks(ctx context.Context, far onion.NodeID, count int) (*mix.Blocks, error) {
	sender, _, err := n.running()
	if err != nil {
		return nil, err
	}
	return sender.Blocks(ctx, far, count)
}

// Answer implements veil.Net.
func (n onionNet) Answer(block onion.SURB, payload []byte) error {
	_, exit, err := n.running()
	if err != nil {
		return err
	}
	return exit.Answer(block, payload)
}

// Privacy implements veil.Net.
func (n onionNet) Privacy() (r clientapi.PrivacyReport) {
	sender, _, err := n.running()
	if err != nil {
		r.Why = "the onion overlay is starting at this provider"
		return r
	}
	c := n.o.lists.Report().Force
	if c == nil {
		r.Why = "there is no list of relays now: too few providers relay, or their witnesses do not agree"
		return r
	}
	if c.Relay(n.o.self) == nil {
		r.Why = "this provider is not in the list of relays yet, and is in one of the next epochs"
		return r
	}
	active, err := c.Active()
	if err != nil {
		r.Why = "there are too few relays now"
		return r
	}
	list, loops := c.Snapshot(), sender.Health().Loops
	r.Onion, r.Providers = true, len(list.Relays)
	r.AnonymitySet = math.Floor(anonymitySet(&list, active)) // nobody hides among a part of one
	if loops.Alarm {
		r.AnonymitySet = 1
		r.Warnings = append(r.Warnings, "packets are kept away from this provider, as somebody does who wants to see where single ones go")
	}
	if active.Thin {
		r.Warnings = append(r.Warnings, "there is too little traffic to hide in: who watches the links, or a relay, can tell who asks whom")
	}
	computed, measured := tripTimes(n.o.cfg.Rate, time.Duration(n.o.cfg.Delay), loops.Trip)
	r.ComputedMS, r.MeasuredMS = computed.Milliseconds(), measured.Milliseconds()
	return r
}

// tripTimes is how long a request and its answer take on average, if each fits into a packet: the request waits for
// its time to leave, goes over relays, waits at the other end, and the answer goes over relays. Loops go over
// the same relays one way; where their median is known, it is taken for both ways.
func tripTimes(rate float64, delay, loop time.Duration) (computed, measured time.Duration) {
	ends := time.Duration(float64(time.Second)/rate) + delay
	computed = ends + 2*relays.Layers*delay
	if loop > 0 {
		measured = ends + 2*loop
	}
	return computed, measured
}
