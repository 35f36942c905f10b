// Package snapshot asks what somebody can do to users of whom it answers all questions, with the list of relays: show them another one than everybody has, or none.
//
// Real are lists, cosignatures and what is refused, the choice of relays and paths, and the proof against a witness that signs two lists
// (protocol/onion/relays). Modelled is who signs what: hostile witnesses sign everything, or withhold what they sign from the honest list; careless ones sign the
// list that they are shown first; the others make the list of what they have collected, and sign nothing else.
//
// (Package eclipse is about the DHT's routing tables.) Simulation is what to give to simulations.Parse. Read snapshot.go, epoch.go, check.go.
package snapshot

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
)

// Parameters of a run.
type Parameters struct {
	Relays    int     `toml:"relays" doc:"relays that are willing"`
	Bad       float64 `toml:"bad" doc:"share of them that is hostile; the list that victims are shown has these only"`
	Width     int     `toml:"width" doc:"relays of each of three layers that the traffic allows"`
	Witnesses int     `toml:"witnesses" doc:"witnesses, of whom two thirds have to sign"`
	Hostile   int     `toml:"hostile" doc:"of these, those that are hostile"`
	Careless  float64 `toml:"careless" doc:"share of the others that sign what they are shown first, which in half of all cases is the hostile list"`
	Withhold  bool    `toml:"withhold" doc:"hostile witnesses do not sign the list that everybody is to have"`
	Epochs    int     `toml:"epochs" doc:"lists"`
	Packets   int     `toml:"packets" doc:"packets that a victim, and somebody else, sends in each epoch"`
	Tries     int     `toml:"tries" doc:"how many lists who makes one can choose from, so that the next choice of relays pleases it"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	switch {
	case p.Relays < 9 || p.Relays > 1000:
		return fmt.Errorf("parameters.relays = %d must be 9 to 1000", p.Relays)
	case !(p.Bad >= 0 && p.Bad <= 1):
		return fmt.Errorf("parameters.bad = %g must be 0 to 1", p.Bad)
	case p.Width < 2 || p.Width > 64 || 3*p.Width > p.Relays:
		return fmt.Errorf("parameters.width = %d must be 2 to 64, and at most a third of parameters.relays = %d", p.Width, p.Relays)
	case p.Witnesses < 1 || p.Witnesses > 100 || p.Hostile < 0 || p.Hostile > p.Witnesses:
		return fmt.Errorf("parameters.witnesses = %d must be 1 to 100, and parameters.hostile = %d 0 to that", p.Witnesses, p.Hostile)
	case !(p.Careless >= 0 && p.Careless <= 1):
		return fmt.Errorf("parameters.careless = %g must be 0 to 1", p.Careless)
	case p.Epochs < 1 || p.Epochs > 1000 || p.Packets < 1 || p.Packets > 10_000 || p.Tries < 1 || p.Tries > 1000:
		return fmt.Errorf("parameters.epochs = %d must be 1 to 1000, parameters.packets = %d 1 to 10000, parameters.tries = %d 1 to 1000", p.Epochs, p.Packets, p.Tries)
	}
	return nil
}

// Simulation is the question, with its defaults.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "snapshot",
		Engine:   simulations.Event,
		Question: "Can who answers all questions of a user show it other relays than everybody has, or none?",
		Doc: "In each epoch the relays' list is made, and a second one with the hostile relays only, which a victim is shown, of whom the attacker answers all questions; both are verified by the code of nodes, with the cosignatures that there are. captured is the share of epochs in which the victim takes the second list, " +
			"denied in which it has none, others in which everybody else has none, proven in which victim and somebody else together have a proof against a witness. bad is the share of packets on paths of hostile relays only: " +
			"of = victim, of = others, and of = unsigned for a victim that takes the list from whoever answers, without cosignatures. grind is how likely a path is all hostile if who makes the list before chooses the best of so many for itself. " +
			"Each run checks that a list is taken if two thirds have signed it, in its epoch and else not, that two are only where a third is hostile, which is proven then, and that others meet hostile relays only as often as chance gives.",
		Plots: []simulations.Plot{
			{Name: "captured", Title: "Share of epochs in which a victim takes the hostile list", Metric: "captured", Kind: simulations.Means, X: "hostile", By: "careless"},
			{Name: "others", Title: "Share of epochs in which nobody else has a list", Metric: "others", Kind: simulations.Means, X: "hostile", By: "careless",
				Caption: "Hostile witnesses that withhold their signatures. A third of all is enough."},
			{Name: "bad", Title: "Share of packets with hostile relays only", Metric: "bad", Kind: simulations.Means, X: "hostile", By: "of"},
			{Name: "grind", Title: "The same if the best of several lists is chosen", Metric: "grind", Kind: simulations.Means, X: "tries", LogX: true},
		},
	}, Parameters{Relays: 48, Bad: .25, Width: 5, Witnesses: 7, Withhold: true, Epochs: 10, Packets: 50, Tries: 20}, run)
}

func run(r *simulations.Run, p Parameters) error { return plantedRun(r, p, planted{}) }

func plantedRun(r *simulations.Run, p Parameters, plant planted) error {
	e := engine.New(r.Seed)
	a := newAttack(e, p)
	a.plant, a.check = plant, &check{run: r, p: p}
	var err error
	for k := range p.Epochs {
		e.After(0, func() { err = a.epoch(k) })
		if e.Run(e.Now() + time.Hour); err != nil {
			return err
		}
		if err := r.At(e.Now(), float64(k+1)/float64(p.Epochs)); err != nil {
			return err
		}
	}
	share := func(n int) float64 { return float64(n) / float64(p.Epochs) }
	r.Observe("captured", "1", share(a.captured))
	r.Observe("denied", "1", share(a.denied))
	r.Observe("others", "1", share(a.others))
	r.Observe("proven", "1", share(a.proven))
	for _, x := range []struct {
		of string
		n  count
	}{{"victim", a.ofVictim}, {"others", a.ofOthers}, {"unsigned", a.unsigned}} {
		if x.n.all > 0 {
			r.Observe("bad", "1", float64(x.n.bad)/float64(x.n.all), simulations.Label{Key: "of", Value: x.of})
		}
	}
	best := 0.0
	for i := 1; i <= p.Tries; i++ {
		chance, err := a.grind()
		if err != nil {
			return err
		}
		best = math.Max(best, chance)
		e.Note(math.Float64bits(best))
		if i == 1 || i == 2 || i == 5 || i%10 == 0 && 100%i == 0 || i == p.Tries || i%100 == 0 {
			r.Observe("grind", "1", best, simulations.Label{Key: "tries", Value: strconv.Itoa(i)})
		}
	}
	a.check.over()
	r.Trace(e.Digest(), e.Events())
	return nil
}
