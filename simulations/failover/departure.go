package failover

import (
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
)

// Leaving are the parameters of a departure.
type Leaving struct {
	Replicas  int                  `toml:"replicas" doc:"providers that decide about each room: 1, 3 or 5"`
	Announced bool                 `toml:"announced" doc:"the provider hands its rooms over before it goes (mimid drain)"`
	Suspect   simulations.Duration `toml:"suspect" doc:"silence after which a provider is taken for dead"`
	Say       simulations.Duration `toml:"say" doc:"time between two messages of a user, on average; each room has two"`
	Disk      simulations.Duration `toml:"disk" doc:"least time of a durable write; the most is twice that"`
	Links     links.Spec           `toml:"links"`
}

// Check says what is wrong with values.
func (p *Leaving) Check() error {
	if p.Replicas != 1 && p.Replicas != 3 && p.Replicas != 5 {
		return fmt.Errorf("parameters.replicas = %d must be 1, 3 or 5", p.Replicas)
	}
	if err := checkTimes(p.Suspect, p.Say, p.Disk); err != nil {
		return err
	}
	return prefixed(p.Links.Check())
}

// Departure asks what is left of rooms whose owner goes for good.
func Departure() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "departure",
		Engine:   simulations.Event,
		Question: "What is kept of a room when the provider that orders it goes for good?",
		Doc: "Five providers keep twenty rooms, as in failover, and the one that orders most goes and never comes back, with or without " +
			"handing its rooms over first. Where it decided alone, an administrator moves the room after five seconds. kept_final is the share of " +
			"what was final then that the room still has; kept_accepted the same of what the hub had accepted and users of others still wait for; " +
			"live is the share of its rooms that take messages again; service after how long.",
		Plots: []simulations.Plot{
			{Name: "kept-final", Title: "Share of final entries that are kept", Metric: "kept_final", Kind: simulations.Means, X: "replicas", By: "announced",
				Caption: "Only where one provider decided alone can something final be lost: what it had told nobody yet."},
			{Name: "kept-accepted", Title: "Share of accepted messages that are kept", Metric: "kept_accepted", Kind: simulations.Means, X: "replicas", By: "announced",
				Caption: "Their senders keep them until they are final, and send them again."},
			{Name: "service", Title: "Time until a room takes messages again", Metric: "service", Kind: simulations.Distribution, By: "replicas"},
		},
	}, Leaving{Replicas: 3, Suspect: simulations.Duration(deadAfter), Say: simulations.Duration(150 * time.Millisecond), Disk: simulations.Duration(2 * time.Millisecond),
		Links: links.Spec{Model: "cities", Jitter: .1}}, runDeparture)
}

// bequest is what a room had when its hub went.
type bequest struct {
	place    *place
	finals   []final
	accepted []room.TxnID
}

// Times of a departure.
const (
	drained = 5 * time.Second // between handing over and going
	after   = 15 * time.Second
)

func runDeparture(r *simulations.Run, p Leaving) error {
	w := calmWorld(r, p.Replicas, p.Suspect, p.Say, p.Disk, p.Links, held)
	end := 2*settled + drained + after + rest
	if err := w.goOn(r, 2*settled, end); err != nil {
		return err
	}
	victim := w.busiest()
	var left []*bequest
	for _, pl := range w.rooms {
		if s := w.hubOf(pl); s != nil && s.at == victim && w.survives(pl, victim) {
			left = append(left, &bequest{place: pl})
		}
	}
	if p.Announced {
		for _, b := range left {
			s := victim.seats[b.place.index]
			set, _ := logOf(s).InForce()
			others := set.Without(victim.self)
			if len(others) == 0 {
				others = b.place.peers.Without(victim.self)
			}
			s.load()
			s.step(hub.Event{Kind: hub.HandOver, Target: others[w.chance.IntN(len(others))]})
		}
	}
	if err := w.goOn(r, 2*settled+drained, end); err != nil {
		return err
	}
	w.depart(victim, left)
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
	w.inherit(r, left)
	w.watching.close(w)
	return nil
}

// survives says whether a room has a user at another provider: without one nobody is left who
// could miss it.
func (w *world) survives(pl *place, victim *provider) bool {
	for _, c := range w.clients {
		if c.place == pl && c.at != victim {
			return true
		}
	}
	return false
}

// depart ends a provider for good, and notes what its rooms have.
func (w *world) depart(victim *provider, left []*bequest) {
	for _, b := range left {
		b.finals = append(b.finals, b.place.finals...)
		for _, c := range w.clients {
			if c.place != b.place || c.at == victim {
				continue
			}
			for _, x := range c.subs {
				if x.accepted {
					b.accepted = append(b.accepted, x.ev.Txn)
				}
			}
		}
		w.watching.struck(b.place, w.e.Now())
	}
	w.plan.gone = victim.index
	victim.process.Kill()
	victim.finished = true
}

// inherit looks at what rooms have at the end of what they had.
func (w *world) inherit(r *simulations.Run, left []*bequest) {
	for _, b := range left {
		s := w.hubOf(b.place)
		if s == nil {
			r.Observe("live", "1", 0)
			continue
		}
		r.Observe("live", "1", 1)
		kept := 0
		for seq, f := range b.finals {
			if seq < len(s.disk.entries) && s.disk.entries[seq].Hash == f.hash {
				kept++
			}
		}
		r.Observe("kept_final", "1", float64(kept)/float64(len(b.finals)))
		if kept < len(b.finals) && !b.place.lossy {
			r.Violate("room %d kept %d of %d final entries, and nobody moved it away from a provider that decided alone", b.place.index, kept, len(b.finals))
		}
		if len(b.accepted) == 0 {
			continue
		}
		kept = 0
		for _, txn := range b.accepted {
			if seq := s.disk.find(txn); seq != 0 && seq <= s.disk.state.Final.Head.Seq {
				kept++
			}
		}
		r.Observe("kept_accepted", "1", float64(kept)/float64(len(b.accepted)))
	}
}
