package simulations_test

import (
	"context"
	"fmt"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
)

// rumour are the parameters of the example: who knows something tells one other in each round.
type rumour struct {
	People int                  `toml:"people" doc:"how many there are"`
	Round  simulations.Duration `toml:"round" doc:"time between two tellings of one person"`
}

func (p *rumour) Check() error {
	if p.People < 1 {
		return fmt.Errorf("parameters.people = %d must be 1 or more", p.People)
	}
	return nil
}

// A simulation of one's own: a rumour that spreads.
func ExampleNew() {
	sim := simulations.New(simulations.About{
		Name:     "rumour",
		Engine:   simulations.Event,
		Question: "How long until everybody has heard of it?",
	}, rumour{People: 100, Round: simulations.Duration(time.Second)}, func(r *simulations.Run, p rumour) error {
		e := engine.New(r.Seed)
		choose := e.Rand("who is told")
		knows, count := make([]bool, p.People), 0
		var hear func(who int)
		hear = func(who int) {
			if knows[who] {
				return
			}
			knows[who] = true
			count++
			e.Note(uint64(who))
			if count == p.People {
				r.ObserveTime("all_know", e.Now())
				e.Halt()
			}
			var tell func()
			tell = func() { hear(choose.IntN(p.People)); e.After(p.Round.D(), tell) }
			e.After(p.Round.D(), tell)
		}
		hear(0)
		e.Run(time.Hour)
		r.Trace(e.Digest(), e.Events())
		return r.At(e.Now(), 1)
	})
	s, err := simulations.Parse([]byte("simulation = \"rumour\"\nruns = 20\n[sweep]\npeople = [10, 100, 1000]\n"), "rumour.toml", []simulations.Simulation{sim})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, g := range s.Execute(context.Background(), nil).Groups() {
		fmt.Printf("%4s people: %.0f s\n", g.Label("people"), g.P50/1000)
	}
	// Output:
	//   10 people: 7 s
	//  100 people: 13 s
	// 1000 people: 18 s
}

// A mistake in a scenario names its line, and what may stand there.
func ExampleParse() {
	sim := simulations.New(simulations.About{Name: "rumour", Engine: simulations.Event}, rumour{People: 100},
		func(*simulations.Run, rumour) error { return nil })
	_, err := simulations.Parse([]byte("simulation = \"rumour\"\n\n[parameters]\npeopel = 10\n"), "rumour.toml", []simulations.Simulation{sim})
	fmt.Println(err)
	// Output: scenario rumour.toml, line 4: there is no key "parameters.peopel"; here may be people, round
}
