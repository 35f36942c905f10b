package failover

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
)

// Parameters of an experiment: one kind of trouble again and again, in worlds that are
// otherwise well.
type Parameters struct {
	Replicas int                  `toml:"replicas" doc:"providers that decide about each room: 1, 3 or 5"`
	Fault    string               `toml:"fault" doc:"what happens to the provider that orders most rooms: kill, isolate, or stall (it orders nothing any more)"`
	Faults   int                  `toml:"faults" doc:"how often"`
	Every    simulations.Duration `toml:"every" doc:"time between two"`
	Lasts    simulations.Duration `toml:"lasts" doc:"until the provider is back"`
	Suspect  simulations.Duration `toml:"suspect" doc:"silence after which a provider is taken for dead"`
	Say      simulations.Duration `toml:"say" doc:"time between two messages of a user, on average; each room has two"`
	Disk     simulations.Duration `toml:"disk" doc:"least time of a durable write; the most is twice that"`
	Links    links.Spec           `toml:"links"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	switch {
	case p.Replicas != 1 && p.Replicas != 3 && p.Replicas != 5:
		return fmt.Errorf("parameters.replicas = %d must be 1, 3 or 5", p.Replicas)
	case p.Fault != "kill" && p.Fault != "isolate" && p.Fault != "stall":
		return fmt.Errorf("parameters.fault = %q must be kill, isolate or stall", p.Fault)
	case p.Fault == "stall" && p.Replicas == 1:
		return fmt.Errorf("parameters.fault = \"stall\" with parameters.replicas = 1: nobody could take over, and it would never end")
	case p.Faults < 1 || p.Faults > 10_000:
		return fmt.Errorf("parameters.faults = %d must be 1 to 10000", p.Faults)
	case p.Lasts.D() < 100*time.Millisecond || p.Every < p.Lasts || p.Every.D() > time.Hour:
		return fmt.Errorf("parameters.lasts = %s and parameters.every = %s: at least 100ms, every at least lasts, at most 1h", p.Lasts.D(), p.Every.D())
	}
	if err := checkTimes(p.Suspect, p.Say, p.Disk); err != nil {
		return err
	}
	return prefixed(p.Links.Check())
}

func checkTimes(suspect, say, disk simulations.Duration) error {
	switch {
	case suspect.D() < 50*time.Millisecond || suspect.D() > time.Minute:
		return fmt.Errorf("parameters.suspect = %s must be 50ms to 1m", suspect.D())
	case say.D() < 10*time.Millisecond || say.D() > time.Minute:
		return fmt.Errorf("parameters.say = %s must be 10ms to 1m", say.D())
	case disk.D() < 10*time.Microsecond || disk.D() > time.Second:
		return fmt.Errorf("parameters.disk = %s must be 10us to 1s", disk.D())
	}
	return nil
}

func prefixed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("parameters.%w", err)
}

// Simulation asks how long rooms stand still when who orders them fails.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "failover",
		Engine:   simulations.Event,
		Question: "How long does a room stand still when the provider that orders it fails, and is anything lost?",
		Doc: "Five providers keep twenty rooms with the machine that orders rooms in a real node (protocol/hub) and the pace of its " +
			"elections (node/watch). Again and again the provider that orders most rooms fails. service is the time from then until a message " +
			"that was sent after the failure is final; final is the time from each message's sending until it is. Every write, election and " +
			"the end of each run are checked against what the protocol promises, first of all that no final entry is lost.",
		Plots: []simulations.Plot{
			{Name: "service", Title: "Time without service after a failure", Metric: "service", Kind: simulations.Percentiles, X: "suspect", By: "replicas",
				Caption: "Nearly all of it is the silence after which a provider is taken for dead."},
			{Name: "service-distribution", Title: "Time without service after a failure", Metric: "service", Kind: simulations.Distribution, By: "suspect"},
			{Name: "final", Title: "From sending a message until it is final", Metric: "final", Kind: simulations.Distribution, By: "replicas", LogX: true,
				Caption: "Messages of calm times and of failures together."},
		},
	}, Parameters{Replicas: 3, Fault: "kill", Faults: 20, Every: simulations.Duration(15 * time.Second), Lasts: simulations.Duration(8 * time.Second),
		Suspect: simulations.Duration(deadAfter), Say: simulations.Duration(300 * time.Millisecond), Disk: simulations.Duration(2 * time.Millisecond),
		Links: links.Spec{Model: "cities", Jitter: .1}}, runExperiment)
}

// settled is how long a world lives before anything is done to it.
const settled = 3 * time.Second

// held is how many entries of a room a machine keeps in memory, as in a node that has it loaded.
const held = 8

// calmWorld is a world in which people talk and nothing goes wrong by itself. Machines hold window entries
// of a room; 0: all.
func calmWorld(r *simulations.Run, replicas int, suspect, say, disk simulations.Duration, spec links.Spec, window int) *world {
	e := engine.New(r.Seed)
	w := makeWorld(e, r.Seed, plan{suspect: suspect.D(), size: replicas, calm: true, window: window, say: say.D(), disk: disk.D(), liar: -1, gone: -1}, nil)
	m := links.New(spec, providers, e.Rand("links"))
	w.net.Lay(func(from, to int) (time.Duration, time.Duration) {
		d := m.Latency(from, to)
		return d, time.Duration(spec.Jitter * float64(d))
	})
	w.plan.loss, w.plan.link.Loss = spec.Loss, spec.Loss
	w.net.Usual(w.plan.link)
	w.net.Heal()
	w.watching = &watching{run: r, since: map[room.TxnID]time.Duration{}}
	return w
}

// goOn lets a world live until a time, and says how far it is.
func (w *world) goOn(r *simulations.Run, until, end time.Duration) error {
	const step = 100 * time.Millisecond
	for w.e.Now() < until && w.broken == "" {
		w.e.Run(min(w.e.Now()+step, until))
		if err := r.At(w.e.Now(), float64(w.e.Now())/float64(end)); err != nil {
			return err
		}
	}
	return nil
}

func runExperiment(r *simulations.Run, p Parameters) error {
	w := calmWorld(r, p.Replicas, p.Suspect, p.Say, p.Disk, p.Links, held)
	draws := w.e.Rand("faults")
	end := settled + time.Duration(p.Faults)*p.Every.D() + rest
	for i := range p.Faults {
		at := settled + time.Duration(i)*p.Every.D() + time.Duration(draws.Int64N(int64(time.Second)))
		w.e.After(at, func() { w.strikeMost(p, draws) })
	}
	if err := w.goOn(r, end-rest, end); err != nil {
		return err
	}
	w.heal()
	if err := w.goOn(r, end, end); err != nil {
		return err
	}
	if w.broken == "" {
		w.end()
	}
	w.watching.close(w)
	return nil
}

// strikeMost does to the provider that orders most rooms what the experiment is about.
func (w *world) strikeMost(p Parameters, r *rand.Rand) {
	victim := w.busiest()
	most := victim.index
	for _, pl := range w.rooms {
		if s := w.hubOf(pl); s != nil && s.at == victim {
			if w.survives(pl, victim) { // else nobody would notice before the provider is back
				w.watching.struck(pl, w.e.Now())
			}
			if p.Fault == "stall" {
				s.stalled = logOf(s).Last().Term
			}
		}
	}
	switch p.Fault {
	case "kill":
		// Between two of its next few effects.
		victim.process.Doom(1 + r.IntN(5))
		w.e.After(20*time.Millisecond, victim.process.Kill)
		w.e.After(p.Lasts.D(), func() { victim.restart(false) })
	case "isolate":
		w.cut(p.Lasts.D(), func(i, j int) bool { return i == most || j == most })
	}
}

// busiest is who orders most rooms.
func (w *world) busiest() *provider {
	var counts [providers]int
	for _, pl := range w.rooms {
		if s := w.hubOf(pl); s != nil {
			counts[s.at.index]++
		}
	}
	most := 0
	for i, n := range counts {
		if n > counts[most] {
			most = i
		}
	}
	return w.providers[most]
}

// watching is what an experiment measures. A nil one measures nothing.
type watching struct {
	run            *simulations.Run
	since          map[room.TxnID]time.Duration // when each submission was made
	open           map[*place]time.Duration     // rooms without service since then
	served         int
	strikes, count int
}

func (x *watching) submitted(txn room.TxnID, now time.Duration) {
	if x != nil {
		x.since[txn] = now
	}
}

func (x *watching) struck(pl *place, now time.Duration) {
	if x.open == nil {
		x.open = map[*place]time.Duration{}
	}
	if _, already := x.open[pl]; !already {
		x.open[pl] = now
		x.strikes++
	}
}

// final is called when a submission has become final for the first time.
func (x *watching) final(w *world, pl *place, txn room.TxnID) {
	if x == nil {
		return
	}
	since, ok := x.since[txn]
	if !ok {
		return
	}
	delete(x.since, txn)
	now := w.e.Now()
	if x.count++; x.count%4 == 0 { // of very many
		x.run.ObserveTime("final", now-since)
	}
	if at, struck := x.open[pl]; struck && since >= at {
		x.run.ObserveTime("service", now-at)
		x.served++
		delete(x.open, pl)
	}
}

// lossy is about final entries of a room that an administrator has moved away from a lost
// provider: the checks leave it alone.
func (x *watching) lossy(w *world, s *seat, final uint64) {
	if x == nil {
		return
	}
	for seq := s.known + 1; seq <= final; seq++ {
		x.final(w, s.place, s.disk.entries[seq].Txn)
	}
	s.known = max(s.known, final)
}

// close observes what is counted over the run.
func (x *watching) close(w *world) {
	if w.broken != "" {
		x.run.Violate("%s", w.broken)
	}
	if x.strikes > 0 {
		x.run.Observe("served", "1", float64(x.served)/float64(x.strikes))
		x.run.Observe("elections", "1", float64(w.stats.Elections)/float64(x.strikes))
	}
	x.run.Observe("finals", "1", float64(w.stats.Finals))
	x.run.Observe("messages", "1", float64(w.net.Sent)/float64(max(w.stats.Finals, 1)))
	x.run.Trace(w.e.Digest(), w.e.Events())
}
