// Package spam asks what a wave of requests for consent does: what it costs the provider whose users are asked, and whether
// the requests of others get through. It runs the state machine of package consent and the
// limits of package contact on the event engine; what package contact does around them (a store, signatures, the network) is modelled.
//
// Simulation is what to give to simulations.Parse. Read spam.go and provider.go.
package spam

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
)

// Parameters of a run.
type Parameters struct {
	Users     int                  `toml:"users" doc:"users of the provider that is attacked"`
	Mode      string               `toml:"mode" doc:"of all of them: ask, open, quarantine or closed"`
	Attackers int                  `toml:"attackers" doc:"providers that send spam"`
	Rate      float64              `toml:"rate" doc:"requests a second of each of these, each by a new account to a user drawn by chance"`
	Victims   int                  `toml:"victims" doc:"users who get the spam"`
	Honest    int                  `toml:"honest" doc:"other providers"`
	Wants     float64              `toml:"wants" doc:"requests a minute of all honest providers together, each to one of those who get the spam"`
	Answers   simulations.Duration `toml:"answers" doc:"time until a user has decided about a request that it is shown, on average; 0s: it never looks"`
	Lasts     simulations.Duration `toml:"lasts" doc:"time that is watched"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	_, known := consent.ParseMode(p.Mode)
	switch {
	case !known:
		return fmt.Errorf("parameters.mode = %q must be ask, open, quarantine or closed", p.Mode)
	case p.Users < 1 || p.Users > 100_000 || p.Victims < 1 || p.Victims > p.Users:
		return fmt.Errorf("parameters.users = %d must be 1 to 100000, parameters.victims = %d 1 to that", p.Users, p.Victims)
	case p.Attackers < 0 || p.Attackers > 10_000 || p.Honest < 1 || p.Honest > 10_000:
		return fmt.Errorf("parameters.attackers = %d must be 0 to 10000, parameters.honest = %d 1 to 10000", p.Attackers, p.Honest)
	case !(p.Rate > 0 && p.Rate <= 1000) || !(p.Wants > 0 && p.Wants <= 1000):
		return fmt.Errorf("parameters.rate = %g and parameters.wants = %g must be above 0, to 1000", p.Rate, p.Wants)
	case p.Answers < 0 || p.Lasts.D() < time.Minute || p.Lasts.D() > 30*24*time.Hour:
		return fmt.Errorf("parameters.answers = %s must not be negative, parameters.lasts = %s 1m to 720h", p.Answers.D(), p.Lasts.D())
	}
	return nil
}

// Simulation is the question, with its defaults.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "spam",
		Engine:   simulations.Event,
		Question: "What does a wave of requests for consent cost, and do the requests of others get through?",
		Doc: "Some providers send requests by ever new accounts to a few users of one provider, while users of honest providers ask the same users. The state machine of consent, the rations and the limits are " +
			"those of real nodes; store and network are modelled. A user decides after a while about what it is shown: yes to honest requests, no to spam. through is the share of honest requests that the " +
			"user is shown, that wait in quarantine, or that the mode lets in, and that do not go for another provider's later; yielded is the share of spam that does; seen is how many requests of spam a user is shown; octets are what all records take at the end, and spam what became of it.",
		Plots: []simulations.Plot{
			{Name: "through", Title: "Share of honest requests that get through", Metric: "through", Kind: simulations.Means, X: "attackers", By: "mode",
				Caption: "One provider may have 50 of a user's 200 pending requests, so it takes four to fill them. Then those with most yield to those with fewer."},
			{Name: "octets", Title: "Octets of records at the end", Metric: "octets", Kind: simulations.Means, X: "attackers", By: "mode"},
			{Name: "seen", Title: "Requests of spam that a user is shown", Metric: "seen", Kind: simulations.Percentiles, X: "attackers", By: "mode"},
		},
	}, Parameters{Users: 1000, Mode: "ask", Attackers: 4, Rate: 10, Victims: 10, Honest: 20, Wants: 1, Answers: simulations.Duration(4 * time.Hour), Lasts: simulations.Duration(12 * time.Hour)}, run)
}

func run(r *simulations.Run, p Parameters) error { return planted(r, p, func(*provider) {}) }

// planted is run with a bug in the provider, which the check is to find.
func planted(r *simulations.Run, p Parameters, plant func(*provider)) error {
	e := engine.New(r.Seed)
	mode, _ := consent.ParseMode(p.Mode)
	at := newProvider(mode)
	plant(at)
	rand := e.Rand("requests")
	seen := make([]int, p.Victims)
	var spam [len(names)]int
	sent, honest, through, yielded := 0, 0, 0, 0
	next := 0 // accounts
	at.yielded = func(s scope) {
		if s.from >= p.Attackers { // it was heard, and not answered
			through--
		} else {
			yielded++
		}
	}
	var err error
	decide := func(s scope, what consent.Event) {
		if p.Answers == 0 {
			return
		}
		e.After(time.Duration(rand.ExpFloat64()*float64(p.Answers)), func() {
			if !at.waits(s) {
				return // it is out of view
			}
			if bad := at.decide(s, what, e.Now()); bad != nil && err == nil {
				err = bad
			}
		})
	}
	// Each sender is one event that comes again after a time.
	repeat := func(each time.Duration, do func()) {
		var again func()
		again = func() {
			do()
			e.After(time.Duration(rand.ExpFloat64()*float64(each)), again)
		}
		e.After(time.Duration(rand.ExpFloat64()*float64(each)), again)
	}
	for a := range p.Attackers {
		repeat(time.Duration(float64(time.Second)/p.Rate), func() {
			next++
			s := scope{next, rand.IntN(p.Victims), a}
			got := at.ask(s, e.Now())
			spam[got]++
			sent++
			e.Note(uint64(s.target)<<32 | uint64(got))
			if got == shown {
				seen[s.target]++
				decide(s, consent.Revoke)
			}
		})
	}
	repeat(time.Duration(float64(time.Minute)/p.Wants), func() {
		next++
		s := scope{next, rand.IntN(p.Victims), p.Attackers + rand.IntN(p.Honest)}
		got := at.ask(s, e.Now())
		e.Note(uint64(s.target)<<32 | uint64(got) | 1<<63)
		honest++
		switch got {
		case shown:
			decide(s, consent.Grant)
			through++
		case kept, admitted:
			through++
		}
	})
	repeat(time.Hour, func() { at.sweep(e.Now()) })
	const steps = 200
	for i := range steps {
		e.Run(p.Lasts.D() * time.Duration(i+1) / steps)
		if err != nil {
			return err
		}
		if err := r.At(e.Now(), float64(i+1)/steps); err != nil {
			return err
		}
	}
	check(r, at)
	if honest > 0 {
		r.Observe("through", "1", float64(through)/float64(honest))
	}
	for _, n := range seen {
		r.Observe("seen", "1", float64(n))
	}
	r.Observe("octets", "bytes", float64(at.octets))
	if sent > 0 {
		r.Observe("yielded", "1", float64(yielded)/float64(sent))
		for what, n := range spam {
			r.Observe("spam", "1", float64(n)/float64(sent), simulations.Label{Key: "became", Value: names[what]})
		}
	}
	r.Trace(e.Digest(), e.Events())
	return nil
}

// check says where a limit of real nodes did not hold, counting anew.
func check(r *simulations.Run, at *provider) {
	limits := contact.DefaultLimits()
	target, from, pair, octets := map[int]int{}, map[int]int{}, map[[2]int]int{}, 0
	for s, state := range at.states {
		target[s.target] += pending(state)
		from[s.from] += pending(state)
		pair[[2]int{s.target, s.from}] += pending(state)
		octets += record(s)
	}
	for _, t := range slices.Sorted(maps.Keys(target)) {
		if n := target[t]; n > limits.PendingPerTarget {
			r.Violate("user %d has %d pending requests, and may have %d", t, n, limits.PendingPerTarget)
		}
	}
	for _, f := range slices.Sorted(maps.Keys(from)) {
		if n := from[f]; n > limits.PendingPerProvider {
			r.Violate("provider %d has %d pending requests, and may have %d", f, n, limits.PendingPerProvider)
		}
	}
	for _, x := range slices.SortedFunc(maps.Keys(pair), func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) {
		if n := pair[x]; n > limits.PendingPerPair {
			r.Violate("user %d has %d pending requests of provider %d, and may have %d", x[0], n, x[1], limits.PendingPerPair)
		}
	}
	if octets != at.octets {
		r.Violate("records take %d octets, counted were %d", octets, at.octets)
	}
}
