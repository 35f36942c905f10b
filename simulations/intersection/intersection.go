// Package intersection asks after how long somebody who sees who sends when, and which mailboxes get something when, knows with whom a user speaks,
// however well single packets are mixed: the statistical disclosure attack (Danezis, "Statistical Disclosure Attacks", 2003).
//
// It is a model; nothing of it is code of nodes. Time is rounds that are longer than a packet is on its way, so that what is sent in a round arrives in
// it. In each round the user may write to one of its contacts; others write to mailboxes by chance. Who looks compares what a mailbox gets in rounds in which
// the user's device sends with what it gets in others. Cover that the device sends in some of its idle rounds makes the two more alike, and cover in all of them the same: but only for as
// long as the device is online, which who looks sees, too.
//
// What cover of providers is worth is the same question, with providers in the place of mailboxes.
//
// Simulation is what to give to simulations.Parse. Read intersection.go, closed.go (the closed form), check.go.
package intersection

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
)

// Parameters of a run.
type Parameters struct {
	Mailboxes int     `toml:"mailboxes" doc:"mailboxes that can be told apart, or providers"`
	Contacts  int     `toml:"contacts" doc:"of these, those that the user writes to"`
	Others    int     `toml:"others" doc:"messages of others in a round, each to any mailbox"`
	Active    float64 `toml:"active" doc:"share of the rounds in which the user is online in which it writes"`
	Cover     float64 `toml:"cover" doc:"share of the other rounds in which it is online in which its device sends a packet that is none"`
	Online    float64 `toml:"online" doc:"share of the rounds in which its device is online"`
	Rounds    int     `toml:"rounds" doc:"how long it is watched"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	share := func(x float64) bool { return x >= 0 && x <= 1 }
	switch {
	case p.Contacts < 1 || p.Mailboxes < 2*p.Contacts || p.Mailboxes > 100_000:
		return fmt.Errorf("parameters.mailboxes = %d must be twice parameters.contacts = %d or more, and at most 100000", p.Mailboxes, p.Contacts)
	case p.Others < 1 || p.Others > 100_000:
		return fmt.Errorf("parameters.others = %d must be 1 to 100000", p.Others)
	case !share(p.Active) || !share(p.Cover) || !share(p.Online) || p.Active == 0 || p.Online == 0:
		return fmt.Errorf("parameters.active = %g, parameters.cover = %g and parameters.online = %g must be 0 to 1, and the first and the last above 0", p.Active, p.Cover, p.Online)
	case p.Rounds < 10 || p.Rounds > 10_000_000 || p.Rounds*p.Others > 1_000_000_000:
		return fmt.Errorf("parameters.rounds = %d must be 10 to 10000000, and times parameters.others at most 1000000000", p.Rounds)
	}
	return nil
}

// Simulation is the question, with its defaults.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "intersection",
		Engine:   simulations.Event,
		Question: "After how many rounds does who sees the ends of a mix network know a user's contacts, and what does cover change?",
		Doc: "A user writes to one of its contacts in a share of all rounds (active), and its device sends cover in a share of the others; others write to mailboxes by chance. Who looks compares what each mailbox gets in rounds in which the device sends with what it gets in the others, and " +
			"names those with the greatest difference. This is a model, with nothing of nodes in it. rounds is after how many it names all contacts and goes on doing so, or how many were watched if it never does (of = measured; disclosed is the share of runs in which it does), beside the number " +
			"after which it should in half of all cases (of = closed form). named is the share of the contacts that it names, by rounds. With online below 1 the device sends nothing at times, cover or not. " +
			"Each run checks that all messages are counted once, that user and device send as often as is said, and that contacts become known when the closed form gives that a chance.",
		Plots: []simulations.Plot{
			{Name: "rounds", Title: "Rounds until all contacts are known", Metric: "rounds", Kind: simulations.Percentiles, X: "cover", By: "of", LogY: true,
				Caption: "What was not known at the end of the time that was watched is drawn there. Some cover is worth a factor; only cover in each round is worth more."},
			{Name: "named", Title: "Share of the contacts that are named", Metric: "named", Kind: simulations.Means, X: "after", By: "line", LogX: true},
			{Name: "disclosed", Title: "Share of runs in which all contacts become known", Metric: "disclosed", Kind: simulations.Means, X: "cover"},
		},
	}, Parameters{Mailboxes: 1000, Contacts: 5, Others: 200, Active: .3, Cover: 0, Online: 1, Rounds: 40_000}, run)
}

// watching is what who looks has counted.
type watching struct {
	p    Parameters
	rand *rand.Rand
	// got is how much each mailbox got in rounds in which the device sent, and in others.
	got     [2][]int
	rounds  [2]int
	written int // by the user
}

const (
	idle = iota
	sent
)

// round lets one pass.
func (w *watching) round() {
	p := w.p
	writes, sends := false, idle
	if w.rand.Float64() < p.Online {
		writes = w.rand.Float64() < p.Active
		if writes || w.rand.Float64() < p.Cover {
			sends = sent
		}
	}
	if writes { // the contacts are the first mailboxes
		w.got[sends][w.rand.IntN(p.Contacts)]++
		w.written++
	}
	for range p.Others {
		w.got[sends][w.rand.IntN(p.Mailboxes)]++
	}
	w.rounds[sends]++
}

// named is how many contacts are among as many mailboxes with the greatest difference.
func (w *watching) named() int {
	if w.rounds[idle] == 0 || w.rounds[sent] == 0 {
		return 0 // nothing to compare with
	}
	score := make([]float64, w.p.Mailboxes)
	for i := range score {
		score[i] = float64(w.got[sent][i])/float64(w.rounds[sent]) - float64(w.got[idle][i])/float64(w.rounds[idle])
	}
	// A contact is named if fewer than as many as there are contacts have as much: those that are equal count against it.
	ranked := slices.Clone(score)
	slices.Sort(ranked)
	bar := ranked[len(ranked)-w.p.Contacts-1]
	n := 0
	for _, s := range score[:w.p.Contacts] {
		if s > bar {
			n++
		}
	}
	return n
}

func run(r *simulations.Run, p Parameters) error { return plantedRun(r, p, nil, (*watching).named) }

// plantedRun is run with a bug in the world, and one in who looks, which the check is to find.
func plantedRun(r *simulations.Run, p Parameters, plant func(*watching), named func(*watching) int) error {
	e := engine.New(r.Seed)
	w := &watching{p: p, rand: e.Rand("rounds")}
	for i := range w.got {
		w.got[i] = make([]int, p.Mailboxes)
	}
	marks := map[int]bool{p.Rounds: true}
	for m := 100; m < p.Rounds; m *= 10 {
		marks[m], marks[2*m], marks[5*m] = true, true, true
	}
	// The rounds after which somebody looks grow by a thirtieth, so that the result is that exact.
	known, since := false, p.Rounds
	look := 10
	const second = time.Second
	for n := 1; n <= p.Rounds; n++ {
		e.After(0, func() {
			if plant != nil {
				plant(w)
			}
			w.round()
		})
		e.Run(e.Now() + second)
		if n == look || n == p.Rounds {
			look = max(look+1, look*31/30)
			count := named(w)
			e.Note(uint64(n)<<16 | uint64(count))
			switch all := count == p.Contacts; {
			case all && !known:
				known, since = true, n
			case !all:
				known, since = false, p.Rounds
			}
		}
		if marks[n] && n <= p.Rounds {
			r.Observe("named", "1", float64(named(w))/float64(p.Contacts), simulations.Label{Key: "after", Value: strconv.Itoa(n)},
				simulations.Label{Key: "line", Value: fmt.Sprintf("cover %g", p.Cover)})
		}
		if n%200 == 0 {
			if err := r.At(e.Now(), float64(n)/float64(p.Rounds)); err != nil {
				return err
			}
		}
	}
	of := func(x string) simulations.Label { return simulations.Label{Key: "of", Value: x} }
	disclosed := 0.0
	if known {
		disclosed = 1
	}
	r.Observe("disclosed", "1", disclosed)
	r.Observe("rounds", "1", float64(since), of("measured"))
	r.Observe("rounds", "1", min(half(p), float64(p.Rounds)), of("closed form"))
	w.check(r, p, known, since)
	r.Trace(e.Digest(), e.Events())
	return nil
}
