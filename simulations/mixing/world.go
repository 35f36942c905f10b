package mixing

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/retry"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/mixnet"
)

// start is when the machine for retries thinks that runs begin.
var start = time.Unix(1_800_000_000, 0)

// A message is one that a user has written.
type message struct {
	id       onion.MessageID
	from, to int
	parts    int
	got      uint16 // parts at the far end, a bit each
	written  time.Duration
	took     time.Duration // until it was there
	known    time.Duration // until the sender knew
	arrived  bool
	verdict  retry.Verdict
}

// A load is what a packet carries: a part, or an acknowledgement of one.
type load struct {
	m   *message
	try retry.Try
	ack onion.Ack // if answer
	// back is the way of the acknowledgement, which the sender has drawn.
	back   []mixnet.Hop
	answer bool
}

// world is the providers.
type world struct {
	e      *engine.Engine
	p      Parameters
	format onion.Format
	parts  int
	net    *mixnet.Network
	paths  paths
	layers [][]int
	rand   *rand.Rand

	retries  *retry.Machine
	messages map[onion.MessageID]*message
	order    []*message
	loads    []*load       // by Packet.Tag, from 1; 0 is a loop
	queues   [][]*load     // of each provider, what waits for a slot
	woken    time.Duration // when the machine for retries is called next, 0: never

	targets []*mixnet.Packet
	follow  time.Duration // from when on the next packet is followed
	watched time.Duration // until when packets are followed and messages counted
	quiet   time.Duration // when nobody writes any more
	stopped time.Duration // when nobody uses slots any more
	entered int           // packets until it is quiet
	sent    int           // tries
	hidden  [2]float64    // sum of the entropies of targets, of message and provider
	found   float64       // targets whose provider was guessed
	err     error
	octets  int // of messages that have arrived
	passed  int // links that packets were sent over until it was quiet
	carried int // octets until then

	check *check
	plant planted
}

func newWorld(e *engine.Engine, p Parameters, c *check, plant planted) (*world, error) {
	f, err := p.format()
	if err != nil {
		return nil, err
	}
	w := &world{e: e, p: p, check: c, plant: plant, format: f, rand: e.Rand("providers"), messages: map[onion.MessageID]*message{}, loads: []*load{nil}, queues: make([][]*load, p.Providers),
		retries: retry.New(retry.Config{Tries: p.Tries, Margin: p.Margin.D(), Messages: 1 << 22})}
	parts, err := f.Split(onion.MessageID{}, make([]byte, p.Size), p.Acks)
	if err != nil {
		return nil, err
	}
	w.parts = len(parts)
	// What is announced as traffic is what it is on average: slots, or messages and their acknowledgements.
	rate := p.Slots
	if rate == 0 {
		rate = p.Rate * float64(w.parts)
		if p.Acks {
			rate *= 2
		}
	}
	if p.Choice == "relays" {
		w.paths, err = newActive(e, e.Rand("keys").Uint64(), p, f, rate*float64(p.Providers))
	} else {
		w.paths = newUniform(p, e.Rand("paths"))
	}
	if err != nil {
		return nil, err
	}
	w.layers = w.paths.mixes()
	mixes := p.Providers
	if p.Choice == "uniform" {
		mixes = p.Layers * p.Width
	}
	model := links.New(p.Links, mixes+p.Providers, e.Rand("links"))
	place := func(i int) int {
		switch {
		case i >= 0:
			return i
		case p.Choice == "relays": // a provider is where its relay is
			return -1 - i
		default:
			return mixes - 1 - i
		}
	}
	jitter := e.Rand("jitter")
	bad := make([]bool, mixes)
	dice := e.Rand("bad")
	for _, layer := range w.layers {
		for _, i := range dice.Perm(len(layer))[:int(p.Bad*float64(len(layer))+.5)] {
			bad[layer[i]] = true
		}
	}
	w.net = mixnet.New(e, mixnet.Config{Layers: w.layers, Bad: bad,
		Way:     func(a, b int) time.Duration { return model.Transit(place(a), place(b), f.PacketSize(), jitter) },
		Arrived: w.arrived, Lost: func(*mixnet.Packet, time.Duration) { c.lost++ }})
	return w, nil
}

// begin has everything that happens by itself happen.
func (w *world) begin() {
	p := w.p
	w.follow = p.settle()
	w.watched = w.follow + p.Lasts.D()
	// Traffic goes on until nothing of what is followed is in a mix any more (a sum of so many delays is longer in one
	// case of a million), and slots until all messages that count have a verdict.
	w.quiet = w.watched + time.Duration(14+5*p.Layers/2)*p.Delay.D() + time.Duration(p.Layers+1)*time.Second/2
	if p.Dummies.Rate > 0 { // what dropped dummies may have been waits for the next packet that leaves their mix
		w.quiet += time.Duration(15 * float64(len(w.layers[0])) / (p.Rate * float64(p.Providers)) * float64(time.Second))
	}
	w.stopped = w.quiet
	if p.Acks {
		w.stopped += p.Margin.D()<<p.Tries + time.Duration(p.Tries*2*p.Layers*8)*p.Delay.D()
	}
	w.e.After(w.quiet, func() { w.passed, w.carried = w.net.Passed(), w.octets })
	for i := range p.Providers {
		w.each(p.Rate, w.quiet, func() { w.write(i) })
		if p.Slots > 0 {
			w.each(p.Slots, w.stopped, func() { w.slot(i) })
		}
	}
	if p.Dummies.Rate > 0 {
		w.net.Dummies(mixnet.Cover{Rate: p.Dummies.Rate, Delay: p.Delay.D(), Far: p.Dummies.Far, Early: p.Dummies.Early}, w.quiet)
	}
	dice := w.e.Rand("dying")
	for _, layer := range w.layers {
		for _, mix := range layer {
			if dies, at := dice.Float64() < p.Dying, dice.Float64(); dies {
				w.e.After(time.Duration(at*float64(w.quiet)), func() { w.net.Kill(mix) })
			}
		}
	}
}

// each has something done so often in a second, at times that have no memory, until a time.
func (w *world) each(rate float64, until time.Duration, do func()) {
	gap := func() time.Duration { return time.Duration(w.rand.ExpFloat64() * float64(time.Second) / rate) }
	var again func()
	again = func() {
		if w.e.Now() > until {
			return
		}
		do()
		w.e.After(gap(), again)
	}
	w.e.After(gap(), again)
}

// write is a user's message to one of another provider.
func (w *world) write(from int) {
	to := w.rand.IntN(w.p.Providers - 1)
	if to >= from {
		to++
	}
	m := &message{from: from, to: to, parts: w.parts, written: w.e.Now()}
	binary.BigEndian.PutUint64(m.id[:], uint64(len(w.order)+1))
	w.order = append(w.order, m)
	if !w.p.Acks {
		for i := range m.parts {
			w.offer(m.from, &load{m: m, try: retry.Try{Message: m.id, Index: uint8(i), Number: 1}})
		}
		return
	}
	w.messages[m.id] = m
	effects, err := w.retries.Begin(w.now(), m.id, m.parts)
	w.keep(err)
	w.do(effects)
}

func (w *world) keep(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *world) now() time.Time { return start.Add(w.e.Now()) }

// do does what the machine for retries says, and has it called when it wants to be.
func (w *world) do(effects []retry.Effect) {
	for _, x := range effects {
		if x.Send != nil {
			m := w.messages[x.Send.Message]
			w.offer(m.from, &load{m: m, try: *x.Send})
			continue
		}
		m := w.messages[x.Message]
		m.verdict, m.known = x.Verdict, w.e.Now()-m.written
		w.check.verdict(m)
	}
	next := w.retries.Next()
	if next.IsZero() || w.plant.asleep {
		return
	}
	at := max(next.Sub(start), w.e.Now())
	if w.woken > w.e.Now() && w.woken <= at {
		return
	}
	w.woken = at
	w.e.After(at-w.e.Now(), func() {
		if w.woken == w.e.Now() {
			w.woken = 0
		}
		w.do(w.retries.Expire(w.now()))
	})
}

// offer gives a provider something to send: in a slot, or at once.
func (w *world) offer(from int, l *load) {
	if w.p.Slots == 0 {
		w.send(from, l)
		return
	}
	w.queues[from] = append(w.queues[from], l)
}

// slot is a provider's turn to send.
func (w *world) slot(from int) {
	for len(w.queues[from]) > 0 {
		l := w.queues[from][0]
		w.queues[from] = w.queues[from][1:]
		if !l.answer && l.m.verdict != 0 {
			continue // it has waited for longer than its message
		}
		w.send(from, l)
		return
	}
	w.send(from, nil)
}

// send sends a packet: with a load, or a loop.
func (w *world) send(from int, l *load) {
	p := &mixnet.Packet{From: from, End: from}
	var err error
	switch {
	case l == nil:
		p.Hops, err = w.paths.path(from)
	case l.answer:
		p.End, p.Hops = l.m.from, l.back
	default:
		p.End = l.m.to
		if p.Hops, err = w.paths.path(l.m.to); err == nil && w.p.Acks {
			l.back, err = w.paths.path(from)
		}
		w.sent++
		if w.p.Acks {
			delays := time.Duration(0)
			for _, way := range [][]mixnet.Hop{p.Hops, l.back} {
				for _, h := range way {
					delays += h.Delay
				}
			}
			w.retries.Sent(w.now(), l.try, delays)
		}
		p.Target = w.e.Now() >= w.follow && w.e.Now() < w.watched && len(w.targets) < w.p.Targets
	}
	if err != nil {
		w.keep(err)
		return
	}
	if l != nil {
		w.loads = append(w.loads, l)
		p.Tag = uint64(len(w.loads) - 1)
	}
	if w.e.Now() <= w.quiet {
		w.entered++
	}
	if p.Target {
		w.follow += w.p.Lasts.D() / time.Duration(w.p.Targets)
		w.targets = append(w.targets, p)
	}
	w.check.sent++
	if w.plant.send != nil {
		w.plant.send(w.net, p)
		return
	}
	w.net.Send(p)
}

// arrived is a packet at its end.
func (w *world) arrived(p *mixnet.Packet, took time.Duration) {
	if w.plant.took != nil {
		took = w.plant.took(took)
	}
	w.check.came(p, took)
	if p.Tag == 0 {
		return
	}
	l := w.loads[p.Tag]
	w.loads[p.Tag] = nil
	m := l.m
	if l.answer {
		effects, err := w.retries.Acknowledged(w.now(), l.try, l.ack)
		w.keep(err)
		w.do(effects)
		return
	}
	m.got |= 1 << l.try.Index
	status := onion.Held
	if bits.OnesCount16(m.got) == m.parts {
		status = onion.Complete
		if !m.arrived {
			m.arrived = true
			w.octets += w.p.Size
			m.took = w.e.Now() - m.written
		}
	}
	if w.plant.status != nil {
		status = w.plant.status(status)
	}
	if w.p.Acks {
		w.offer(m.to, &load{m: m, try: l.try, answer: true, back: l.back, ack: onion.Ack{Message: m.id, Index: l.try.Index, Status: status}})
	}
}

// report observes what it cost.
func (w *world) report(r *simulations.Run) {
	if w.err != nil {
		r.Violate("a provider: %v", w.err)
	}
	w.check.over(w.net)
	lost, missing, settled := 0, 0, 0
	for _, m := range w.order {
		if m.written > w.watched {
			break
		}
		if m.arrived {
			r.ObserveTime("latency", m.took)
		}
		if m.verdict == retry.Delivered {
			r.ObserveTime("acknowledged", m.known)
		}
		if w.p.Acks && m.verdict == 0 {
			r.Violate("a message has no verdict %s after it was written", w.e.Now()-m.written)
		}
		settled++
		if !m.arrived {
			missing++
		}
		if w.p.Acks && m.verdict != retry.Delivered {
			lost++
		}
	}
	if settled > 0 {
		r.Observe("missing", "1", float64(missing)/float64(settled))
		if w.p.Acks {
			r.Observe("lost", "1", float64(lost)/float64(settled))
		}
	}
	if len(w.order) > 0 {
		r.Observe("tries", "1", float64(w.sent)/float64(len(w.order)*w.parts))
	}
	if w.carried > 0 {
		r.Observe("wire", "1", float64(w.passed)*float64(w.format.PacketSize())/float64(w.carried))
	}
}
