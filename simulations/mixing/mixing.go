// Package mixing asks how well a packet of the onion overlay is hidden among the others from somebody who sees all links, and
// what that costs. It runs the network of package mixnet on the event engine, and concludes with package anonymity.
//
// Real are the choice of relays and of paths (protocol/onion/relays), how messages become parts and how large packets are
// (protocol/onion), and when a part is sent once more (protocol/onion/retry). Modelled are relays, which take no time to compute, and packets, in
// which nothing is encrypted. Who looks knows how long relays keep packets on average, sees each packet on each link, and does not change
// anything. It does not use that a path avoids relays that are like its ends.
//
// Simulation is what to give to simulations.Parse. Read mixing.go, world.go (providers), paths.go, check.go.
package mixing

import (
	"fmt"
	"math"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/anonymity"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/mixnet"
)

// Parameters of a run.
type Parameters struct {
	Providers int                  `toml:"providers" doc:"providers that send and receive"`
	Rate      float64              `toml:"rate" doc:"messages that each provider's users write in a second"`
	Slots     float64              `toml:"slots" doc:"packets that each provider sends in a second: what waits, or else a loop to itself; 0: each at once, and no loops"`
	Size      int                  `toml:"size" doc:"octets of a message"`
	Acks      bool                 `toml:"acks" doc:"parts are acknowledged, and sent again"`
	Tries     int                  `toml:"tries" doc:"how often a part is sent at most"`
	Margin    simulations.Duration `toml:"margin" doc:"what an acknowledgement may take beside the delays of the relays, at first"`
	Class     int                  `toml:"class" doc:"KiB of a packet's body: 2, 8 or 30"`
	Suite     string               `toml:"suite" doc:"X25519 or X-Wing"`

	Choice string               `toml:"choice" doc:"relays: active relays and paths by the code of nodes; uniform: any mix of each layer, as published measurements have it"`
	Relays int                  `toml:"relays" doc:"relays that are willing, for choice = relays; the first providers run them"`
	Layers int                  `toml:"layers" doc:"layers; 3 for choice = relays"`
	Width  int                  `toml:"width" doc:"mixes of a layer; 0: as many as the rule of nodes says"`
	Delay  simulations.Duration `toml:"delay" doc:"for how long a mix keeps a packet on average"`
	Bad    float64              `toml:"bad" doc:"share of the mixes that tell who looks which packet is which"`
	Dying  float64              `toml:"dying" doc:"share of the mixes that die, each at any time, and stay in the list"`

	Dummies Dummies              `toml:"dummies"`
	Targets int                  `toml:"targets" doc:"packets with a message that are followed"`
	Lasts   simulations.Duration `toml:"lasts" doc:"time in which they are sent"`
	Links   links.Spec           `toml:"links"`
}

// Dummies are what mixes send to the next layer.
type Dummies struct {
	Rate  float64 `toml:"rate" doc:"a second, of each mix but those of the last layer"`
	Far   bool    `toml:"far" doc:"they go on to the last layer, and are dropped there"`
	Early bool    `toml:"early" doc:"they wait in the mix from when the one before was sent on, as in the published program MiXiM"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	positive := func(x float64) bool { return x > 0 && x <= 1e5 }
	switch {
	case p.Providers < 2 || p.Providers > 5000:
		return fmt.Errorf("parameters.providers = %d must be 2 to 5000", p.Providers)
	case !positive(p.Rate) || p.Rate*float64(p.Providers) > 1e5:
		return fmt.Errorf("parameters.rate = %g must be above 0, and that of all providers at most 100000", p.Rate)
	case p.Slots != 0 && (!positive(p.Slots) || p.Slots < p.Rate || p.Slots*float64(p.Providers) > 1e5):
		return fmt.Errorf("parameters.slots = %g must be 0, or parameters.rate = %g or more, and that of all providers at most 100000", p.Slots, p.Rate)
	case p.Acks && p.Slots != 0 && p.Slots < 2*p.Rate:
		return fmt.Errorf("parameters.slots = %g must be twice parameters.rate = %g or more, so that acknowledgements have room", p.Slots, p.Rate)
	case p.Tries < 1 || p.Tries > 10 || p.Margin.D() < 100*time.Millisecond || p.Margin.D() > time.Hour:
		return fmt.Errorf("parameters.tries = %d must be 1 to 10, and parameters.margin = %s 100ms to 1h", p.Tries, p.Margin.D())
	case p.Choice != "relays" && p.Choice != "uniform":
		return fmt.Errorf("parameters.choice = %q must be relays or uniform", p.Choice)
	case p.Choice == "relays" && (p.Layers != 3 || p.Relays < 6 || p.Relays > p.Providers):
		return fmt.Errorf("parameters.relays = %d must be 6 to parameters.providers = %d, and parameters.layers = %d be 3, for choice = relays", p.Relays, p.Providers, p.Layers)
	case p.Choice == "uniform" && (p.Layers < 1 || p.Layers > 20 || p.Width < 1):
		return fmt.Errorf("parameters.layers = %d must be 1 to 20 and parameters.width = %d at least 1, for choice = uniform", p.Layers, p.Width)
	case p.Width < 0 || p.Width > 500:
		return fmt.Errorf("parameters.width = %d must be 0 to 500", p.Width)
	case p.Delay.D() < time.Millisecond || p.Delay.D() > time.Minute:
		return fmt.Errorf("parameters.delay = %s must be 1ms to 1m", p.Delay.D())
	case !(p.Bad >= 0 && p.Bad <= 1) || !(p.Dying >= 0 && p.Dying <= 1):
		return fmt.Errorf("parameters.bad = %g and parameters.dying = %g must be 0 to 1", p.Bad, p.Dying)
	case !(p.Dummies.Rate >= 0 && p.Dummies.Rate <= 1e5):
		return fmt.Errorf("parameters.dummies.rate = %g must be 0 to 100000", p.Dummies.Rate)
	case p.Targets < 1 || p.Targets > 10_000:
		return fmt.Errorf("parameters.targets = %d must be 1 to 10000", p.Targets)
	case p.Lasts.D() < time.Second || p.Lasts.D() > 24*time.Hour:
		return fmt.Errorf("parameters.lasts = %s must be 1s to 24h", p.Lasts.D())
	}
	f, err := p.format()
	if err != nil {
		return err
	}
	if p.Size < 1 || p.Size > f.MaxMessage(p.Acks) {
		return fmt.Errorf("parameters.size = %d must be 1 to %d, the most that fits into %d parts", p.Size, f.MaxMessage(p.Acks), onion.MaxParts)
	}
	if err := p.Links.Check(); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	return nil
}

func (p *Parameters) format() (f onion.Format, err error) {
	classes := map[int]onion.Class{2: onion.Class2K, 8: onion.Class8K, 30: onion.Class30K}
	suites := map[string]onion.Suite{"X25519": onion.X25519, "X-Wing": onion.XWing}
	f = onion.Format{Suite: suites[p.Suite], Class: classes[p.Class]}
	if f.Class == 0 || f.Suite == 0 {
		return f, fmt.Errorf("parameters.class = %d must be 2, 8 or 30, and parameters.suite = %q X25519 or X-Wing", p.Class, p.Suite)
	}
	return f, nil
}

// Defaults are a network of fifty providers, nearly all of which are willing to relay.
func Defaults() Parameters {
	return Parameters{Providers: 50, Rate: .1, Slots: 1.6, Size: 1000, Acks: true, Tries: 4, Margin: simulations.Duration(5 * time.Second), Class: 8, Suite: "X25519",
		Choice: "relays", Relays: 48, Layers: 3, Delay: simulations.Duration(500 * time.Millisecond),
		Targets: 200, Lasts: simulations.Duration(2 * time.Minute), Links: links.Spec{Model: "cities", Jitter: .05}}
}

// Simulation is the question, with its defaults.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "mixing",
		Engine:   simulations.Event,
		Question: "Among how many others is a packet of the onion overlay hidden from who sees all links, and what does that cost?",
		Doc: "Providers send messages through three layers of mixes, on paths that the code of nodes draws among the relays that it chooses, and fill what is left of their slots with loops to themselves. " +
			"Nothing is encrypted, packets are numbers; their sizes are those of nodes. entropy is what somebody who sees all links does not know of where a followed packet went, in bits: of = message, which packet is it in the end; " +
			"of = provider, at which provider it ends. limit is the closed form, the bound for mixes that hold many packets; hidden are the means of all that, with what would be unknown of the provider if nothing were seen. set is 2 to the power of it, as many equally likely ones. guess is how likely its best guess is right, right how often that was so, and found the share of all for the provider. " +
			"held is how many packets a mix holds (below seven it hides measurably less), width how many mixes a layer has. latency is from writing to the far end, with the wait for a slot; acknowledged until the sender knows; lost the share of messages that the sender does not know to have arrived, " +
			"and missing the share that did not arrive; tries how often a part is sent; wire the octets on all links for each octet of a message that was delivered, cover included. " +
			"Each run checks that no packet comes from nowhere, goes nowhere or is sooner than its mixes let it, that what is called delivered is, and that what is concluded of packets allows what is true and is right as often as it says.",
		Plots: []simulations.Plot{
			{Name: "hidden", Title: "What who sees all links does not know of a packet's way", Metric: "hidden", Kind: simulations.Means, X: "slots", By: "line", LogX: true,
				Caption: "Bits, over the packets that a provider sends in a second. The closed form is reached only where each mix holds many packets, so that more mixes hide less; whom one writes to cannot be hidden better than among all providers."},
			{Name: "held", Title: "Packets that a mix holds", Metric: "held", Kind: simulations.Means, X: "slots", By: "width", LogX: true,
				Caption: "Width 0 is the rule of nodes, by which it is seven or more, if there is traffic enough for two mixes in a layer."},
			{Name: "found", Title: "How often the best guess of the receiving provider is right", Metric: "found", Kind: simulations.Means, X: "slots", By: "width", LogX: true},
			{Name: "latency", Title: "Time from writing a message to its far end", Metric: "latency", Kind: simulations.Percentiles, X: "slots", By: "width", LogX: true, LogY: true},
			{Name: "wire", Title: "Octets on all links for each octet of a message", Metric: "wire", Kind: simulations.Means, X: "slots", By: "width", LogX: true, LogY: true},
		},
	}, Defaults(), run)
}

// settle is how long the network runs before the first packet is followed: until its mixes hold what they will.
func (p *Parameters) settle() time.Duration {
	return time.Duration(6+2*p.Layers)*p.Delay.D() + time.Duration(p.Layers+1)*time.Second/2
}

func run(r *simulations.Run, p Parameters) error { return plantedRun(r, p, planted{}) }

func plantedRun(r *simulations.Run, p Parameters, plant planted) error {
	e := engine.New(r.Seed)
	w, err := newWorld(e, p, newCheck(r), plant)
	if err != nil {
		return err
	}
	w.begin()
	begin := p.settle()
	end := w.stopped + time.Second
	const steps = 300
	for i := range steps {
		e.Run(end * time.Duration(i+1) / steps)
		if e.Now() >= begin && e.Now() <= w.watched {
			for _, layer := range w.layers {
				for _, mix := range layer {
					r.Observe("held", "1", float64(w.net.Log.Held(mix)))
				}
			}
		}
		if err := r.At(e.Now(), .8*float64(i+1)/steps); err != nil {
			return err
		}
	}
	rate := float64(w.entered) / w.quiet.Seconds()
	for i, t := range w.targets {
		places, err := w.net.Log.Follow(t.Seen)
		if err != nil {
			return err
		}
		if plant.follows != nil {
			places = plant.follows(places)
		}
		w.check.concluded(t, places)
		w.observe(r, t, places)
		if err := r.At(e.Now(), .8+.2*float64(i+1)/float64(len(w.targets))); err != nil {
			return err
		}
	}
	width := len(w.layers[0])
	limit := anonymity.Limit(rate, p.Delay.D().Seconds(), p.Layers, width)
	r.Observe("limit", "bits", limit)
	line := func(what string, bits float64) {
		r.Observe("hidden", "bits", bits, simulations.Label{Key: "line", Value: what})
	}
	by := fmt.Sprintf("width %d", p.Width)
	if p.Width == 0 {
		by = "by the rule"
	}
	if n := float64(len(w.targets)); n > 0 {
		line("message, "+by, w.hidden[0]/n)
		line("provider, "+by, w.hidden[1]/n)
		r.Observe("found", "1", w.found/n)
	}
	line("message, closed form", limit)
	line("provider, of all", math.Log2(float64(p.Providers)))
	r.Observe("rate", "1/s", rate)
	r.Observe("width", "1", float64(width))
	w.report(r)
	r.Trace(e.Digest(), e.Events())
	return nil
}

// observe says what is known of where a packet went.
func (w *world) observe(r *simulations.Run, t *mixnet.Packet, places []anonymity.Place) {
	for i, x := range []struct {
		of     string
		places []anonymity.Place
		is     func(anonymity.Place) bool
	}{
		{"message", places, func(x anonymity.Place) bool { return x.Packet == t.Seen }},
		{"provider", anonymity.Ends(places), func(x anonymity.Place) bool { return x.End == t.End }},
	} {
		of := simulations.Label{Key: "of", Value: x.of}
		h := anonymity.Entropy(x.places)
		w.hidden[i] += h
		r.Observe("entropy", "bits", h, of)
		r.Observe("set", "1", math.Exp2(h), of)
		if best, ok := anonymity.Likeliest(x.places); ok {
			r.Observe("guess", "1", best.P, of)
			right := 0.0
			if x.is(best) {
				right = 1
				w.found += float64(i) // of the provider only
			}
			r.Observe("right", "1", right, of)
		}
	}
}
