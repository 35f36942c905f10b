package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// What the operator sees of the onion overlay.

// pingWithin is how long a ping over relays is waited for.
const pingWithin = 2 * time.Minute

var errOnionOff = &clientapi.Problem{Status: http.StatusNotFound, Code: clientapi.CodeNotFound,
	Detail: "the onion overlay is off at this node: set onion.enabled and onion.witnesses in the configuration, and start it again"}

func (n *Node) onions() *onions {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.parts == nil {
		return nil
	}
	return n.parts.onion
}

// Onion implements admin.Node.
func (n *Node) Onion(context.Context) (*admin.Onion, error) {
	o := n.onions()
	if o == nil {
		return nil, errOnionOff
	}
	return o.status()
}

// OnionPing implements admin.Node.
func (n *Node) OnionPing(ctx context.Context, domain string) (*admin.OnionPinged, error) {
	o := n.onions()
	if o == nil {
		return nil, errOnionOff
	}
	ctx, cancel := context.WithTimeout(ctx, pingWithin)
	defer cancel()
	began := time.Now()
	err := o.send(ctx, domain, onionPing, nil)
	switch {
	case err == nil:
		return &admin.OnionPinged{Domain: domain, Took: time.Since(began)}, nil
	case errors.Is(err, mix.ErrNoExit):
		return nil, &clientapi.Problem{Status: http.StatusNotFound, Code: clientapi.CodeNotFound, Detail: fmt.Sprintf("%s is not in the list of relays: it does not take part, or since this epoch began only", domain)}
	case errors.Is(err, mix.ErrNoRelays), errors.Is(err, mix.ErrNotRunning):
		return nil, &clientapi.Problem{Status: http.StatusServiceUnavailable, Code: clientapi.CodeUnavailable, Detail: "there is no list of relays: see mimid onion status"}
	}
	return nil, &clientapi.Problem{Status: http.StatusGatewayTimeout, Code: clientapi.CodeUnreachable, Detail: err.Error()}
}

func (o *onions) status() (*admin.Onion, error) {
	o.mu.Lock()
	relay, sender, pings := o.relay, o.sender, o.pings
	o.mu.Unlock()
	if relay == nil {
		return nil, &clientapi.Problem{Status: http.StatusServiceUnavailable, Code: clientapi.CodeUnavailable, Detail: "the onion overlay is starting"}
	}
	r, terms := o.lists.Report(), o.cfg.terms()
	out := &admin.Onion{Relay: o.cfg.Relay, Epoch: uint64(r.Epoch), Ends: terms.Begin(r.Epoch + 1).UTC(), NextList: r.Next, Witness: slices.Contains(o.cfg.Witnesses, o.domain), Pings: pings, Requests: admin.OnionRequests(o.veil.Counts()), Inbox: o.inbox.Waiting()}
	for _, w := range o.cfg.Witnesses {
		out.Witnesses = append(out.Witnesses, admin.OnionWitness{Domain: w, Answers: slices.Contains(r.Heard, w), Liar: slices.Contains(r.Liars, w)})
	}
	c, h := relay.Counts(), sender.Health()
	out.Counts = admin.OnionCounts{Received: c.Received, Forwarded: c.Forwarded, Delivered: c.Delivered, Replies: c.Replies, Replayed: c.Replayed,
		Refused: c.Limited + c.Full + c.Malformed + c.UnknownKey + c.Forged, Lost: c.NotStored + c.Unsent + c.NotTaken}
	out.Loops = admin.OnionLoops{Sent: h.Loops.Sent, Returned: h.Loops.Returned, Lost: h.Loops.Lost, Judged: h.Loops.Judged, Missing: h.Loops.Missing, Bound: h.Loops.Bound, Alarm: h.Loops.Alarm, Suspects: o.providersOf(h.Loops.Suspects)}
	out.Waiting = h.Waiting
	if h.Loops.Alarm {
		out.Warnings = append(out.Warnings, "own packets do not come back: a relay is broken, or somebody keeps packets away to see where single ones go")
	}
	for _, w := range out.Witnesses {
		if w.Liar {
			out.Warnings = append(out.Warnings, w.Domain+" has signed two lists of relays for one epoch, and is not believed any more")
		}
	}
	if r.Force == nil {
		out.Warnings = append(out.Warnings, "there is no list of relays yet, and nothing is sent")
		return out, nil
	}
	o.describe(out, r.Force)
	switch {
	case h.EntryErr != nil:
		out.Warnings = append(out.Warnings, "nothing is sent: "+h.EntryErr.Error())
	case r.Force.Relay(h.Entry) != nil:
		out.Entry = r.Force.Relay(h.Entry).Descriptor().Provider
	default:
		out.Warnings = append(out.Warnings, "there are too few relays for a first hop that stays: each epoch's first layer sees that this provider sends")
	}
	return out, nil
}

// describe says what a list is worth.
func (o *onions) describe(out *admin.Onion, c *relays.Cosigned) {
	list := c.Snapshot()
	hash := c.Hash()
	out.List = &admin.OnionList{Epoch: uint64(list.Epoch), Hash: fmt.Sprintf("%x", hash[:]), Nodes: len(list.Relays)}
	for _, r := range list.Relays {
		if r.Willing() {
			out.List.Willing++
		}
	}
	if uint64(list.Epoch) != out.Epoch {
		out.Warnings = append(out.Warnings, "the list of relays is that of the epoch before: the witnesses have not agreed on another one")
	}
	if c.Relay(o.self) == nil {
		out.Warnings = append(out.Warnings, "this node is not in the list of relays, and neither sends nor receives until it is")
	}
	active, err := c.Active()
	if err != nil {
		out.Warnings = append(out.Warnings, err.Error())
		return
	}
	for _, layer := range active.Layers {
		out.List.Active += len(layer)
		for _, r := range layer {
			out.Mixes = out.Mixes || r.Node() == o.self
		}
	}
	out.List.Occupancy = float64(active.Occupancy) / 1000
	out.AnonymitySet = anonymitySet(&list, active)
	if active.Thin {
		out.Warnings = append(out.Warnings, "there is too little traffic to hide in: who watches the links, or a relay, can tell who sends to whom")
	}
}

// anonymitySet estimates among how many senders a packet hides from somebody who sees all links and runs no
// relay: no more than there are nodes, and by the closed form that was measured for three layers, 2^2.67
// times the packets that a layer holds. It does not hold where relays hold few packets; then it is one,
// which is nobody to hide among.
func anonymitySet(s *relays.Snapshot, a *relays.Active) float64 {
	if a.Thin {
		return 1
	}
	held := float64(s.Rate) / 1000 * s.Delay.Seconds()
	return math.Max(1, math.Min(held*math.Exp2(2.67), float64(len(s.Relays))))
}

// checkOnion says how the onion overlay is.
func (n *Node) checkOnion(context.Context, *parts) []admin.Check {
	const part = "onion"
	o := n.onions()
	if o == nil {
		return []admin.Check{good(part, "the onion overlay is off: other providers see who sends to whom")}
	}
	st, err := o.status()
	if err != nil {
		return []admin.Check{worth(part, "look again", "%v", err)}
	}
	var out []admin.Check
	for _, w := range st.Warnings {
		out = append(out, worth(part, "mimid onion status", "%s", w))
	}
	if st.Loops.Alarm {
		out = append(out, bad(part, "find out which relay it is, and tell its operator; mimid onion status names suspects", "%d of the last %d packets to this node itself are missing", st.Loops.Missing, st.Loops.Judged))
	}
	if len(out) == 0 {
		out = append(out, good(part, "%d relays mix in epoch %d, and a packet hides among %.0f senders", st.List.Active, st.List.Epoch, st.AnonymitySet))
	}
	return out
}

// registerOnion adds the onion overlay's counts to the metrics.
func (n *Node) registerOnion(p *parts, counter, gauge func(name, help string, f func() float64)) {
	o := p.onion
	if o == nil {
		return
	}
	counts := func() mix.Counts {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.relay == nil {
			return mix.Counts{}
		}
		return o.relay.Counts()
	}
	health := func() (h mix.Health) {
		o.mu.Lock()
		sender := o.sender
		o.mu.Unlock()
		if sender != nil {
			h = sender.Health()
		}
		return h
	}
	counter("onion_packets_received_total", "Onion packets that came.", func() float64 { return float64(counts().Received) })
	counter("onion_packets_forwarded_total", "Onion packets that were sent on.", func() float64 { return float64(counts().Forwarded) })
	counter("onion_packets_replayed_total", "Onion packets that had come before.", func() float64 { return float64(counts().Replayed) })
	counter("onion_loops_sent_total", "Packets to this node itself.", func() float64 { return float64(health().Loops.Sent) })
	counter("onion_loops_lost_total", "Packets to this node itself that did not come back.", func() float64 { return float64(health().Loops.Lost) })
	counter("onion_requests_asked_total", "Requests to other providers over relays.", func() float64 { return float64(o.veil.Counts().Asked) })
	counter("onion_requests_answered_total", "Those that were answered.", func() float64 { return float64(o.veil.Counts().Answered) })
	counter("onion_requests_served_total", "Requests over relays that this node has answered.", func() float64 { return float64(o.veil.Counts().Served) })
	counter("onion_requests_shed_total", "Requests over relays that were too many.", func() float64 { return float64(o.veil.Counts().Shed) })
	gauge("onion_alarm", "Whether packets to this node itself do not come back: 1 yes.", func() float64 {
		if health().Loops.Alarm {
			return 1
		}
		return 0
	})
}
