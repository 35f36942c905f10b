// Package roster asks what the provider that orders rooms learns of who is in them and who says something, at each level of privacy.
//
// What the hub learns is read out of octets: the participant lists, requests and envelopes that are given to it are written
// and read by protocol/wire, and package hub has nothing else. At level open these are what nodes send today. Level
// pseudonymous is what nodes send, too, and level onion what they send of messages, but for the size, which is one here. That it
// is all that is sent is only argued.
//
//	level         participant list      request                   envelope                when
//	open          URIs of users         sendingUri: the user      the sender's provider   at once
//	pseudonymous  pseudonyms, one for   sendingUri: its           the sender's provider   at once
//	              each user and room    pseudonym in the room
//	onion         as pseudonymous       sendingUri: the room      none: it comes by the   after three mixes
//	                                                              last relay of a path
//
// The domain of a pseudonym names a user's provider, at all levels: a hub has to know where to send.
//
// Simulation is what to give to simulations.Parse. Read roster.go, people.go (what is sent), view.go (what the hub makes of it), check.go.
package roster

import (
	"fmt"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
)

// The levels.
const (
	open         = "open"
	pseudonymous = "pseudonymous"
	onionLevel   = "onion"
)

// Parameters of a run.
type Parameters struct {
	Level     string               `toml:"level" doc:"open, pseudonymous or onion"`
	Providers int                  `toml:"providers" doc:"providers, of which one is the hub of all rooms"`
	Users     int                  `toml:"users" doc:"users of each provider"`
	Rooms     int                  `toml:"rooms" doc:"rooms"`
	Members   int                  `toml:"members" doc:"participants of a room, by chance"`
	Rate      float64              `toml:"rate" doc:"messages that a participant sends into a room in a day"`
	Habit     simulations.Duration `toml:"habit" doc:"how far from its usual hour a user writes: everybody has one"`
	Lasts     simulations.Duration `toml:"lasts" doc:"how long the hub watches"`
	Size      int                  `toml:"size" doc:"octets of a message's ciphertext"`
	Delay     simulations.Duration `toml:"delay" doc:"for how long each of three mixes keeps a packet on average (onion)"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	switch {
	case p.Level != open && p.Level != pseudonymous && p.Level != onionLevel:
		return fmt.Errorf("parameters.level = %q must be open, pseudonymous or onion", p.Level)
	case p.Providers < 2 || p.Providers > 1000 || p.Users < 1 || p.Users > 100_000:
		return fmt.Errorf("parameters.providers = %d must be 2 to 1000, and parameters.users = %d 1 to 100000", p.Providers, p.Users)
	case p.Rooms < 2 || p.Rooms > 1000 || p.Members < 2 || p.Members > p.Providers*p.Users || p.Members > 1000:
		return fmt.Errorf("parameters.rooms = %d must be 2 to 1000, and parameters.members = %d 2 to 1000, and not more than there are users", p.Rooms, p.Members)
	case !(p.Rate > 0 && p.Rate <= 1000) || float64(p.Rooms*p.Members)*p.Rate*p.Lasts.D().Hours()/24 > 2_000_000:
		return fmt.Errorf("parameters.rate = %g must be above 0, to 1000, and not more than two million messages in all", p.Rate)
	case p.Habit.D() < time.Minute || p.Habit.D() > 24*time.Hour:
		return fmt.Errorf("parameters.habit = %s must be 1m to 24h", p.Habit.D())
	case p.Lasts.D() < time.Hour || p.Lasts.D() > 366*24*time.Hour:
		return fmt.Errorf("parameters.lasts = %s must be 1h to 8784h", p.Lasts.D())
	case p.Size < 16 || p.Size > 7000:
		return fmt.Errorf("parameters.size = %d must be 16 to 7000", p.Size)
	case p.Delay < 0 || p.Delay.D() > time.Minute:
		return fmt.Errorf("parameters.delay = %s must be 0s to 1m", p.Delay.D())
	}
	return nil
}

// Simulation is the question, with its defaults.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "roster",
		Engine:   simulations.Event,
		Question: "What does the provider that orders rooms learn of who is in them, and who says something, at each level of privacy?",
		Doc: "Users of several providers are in rooms of one hub and write at hours of their own. The hub has the octets that it is given, participant lists, requests and envelopes in the formats of nodes, and makes what it can of them. At level open these are what nodes send; " +
			"the other two levels are not in nodes yet, and what is sent there is what the design says. named is the share of participants whom the hub knows by name; provider the share of messages whose sender's provider it names right, and sender that whose sender on the room's list; " +
			"linked the share of the users in two rooms whom it recognises in the second, by their name or else by the hours in which their pseudonym writes, or by chance among those of the same provider (of = chance); late how long after it was written a message comes, and octets how large what comes is. " +
			"Each run checks that no octet that the hub is given says what its level hides, that what it shows is right, and that each message comes once.",
		Plots: []simulations.Plot{
			{Name: "named", Title: "Share of participants whom the hub knows by name", Metric: "named", Kind: simulations.Means, X: "level"},
			{Name: "sender", Title: "Share of messages whose sender on the list the hub names", Metric: "sender", Kind: simulations.Means, X: "level"},
			{Name: "provider", Title: "Share of messages whose sender's provider the hub names", Metric: "provider", Kind: simulations.Means, X: "level"},
			{Name: "linked", Title: "Share of users in two rooms whom the hub recognises", Metric: "linked", Kind: simulations.Means, X: "level", By: "of",
				Caption: "A pseudonym hides a name, not habits: the hours at which it writes give it away, unless the hub does not see which pseudonym writes."},
			{Name: "late", Title: "Time from writing to the hub", Metric: "late", Kind: simulations.Percentiles, X: "level"},
		},
	}, Parameters{Level: open, Providers: 10, Users: 20, Rooms: 10, Members: 30, Rate: 5, Habit: simulations.Duration(90 * time.Minute), Lasts: simulations.Duration(14 * 24 * time.Hour),
		Size: 600, Delay: simulations.Duration(500 * time.Millisecond)}, run)
}

func run(r *simulations.Run, p Parameters) error { return plantedRun(r, p, planted{}) }

func plantedRun(r *simulations.Run, p Parameters, plant planted) error {
	e := engine.New(r.Seed)
	w, err := newWorld(e, p, newCheck(r, p), plant)
	if err != nil {
		return err
	}
	w.begin()
	const steps = 100
	for i := range steps {
		e.Run(p.Lasts.D() * time.Duration(i+1) / steps)
		if w.err != nil {
			return w.err
		}
		if err := r.At(e.Now(), float64(i+1)/steps); err != nil {
			return err
		}
	}
	w.report(r)
	r.Trace(e.Digest(), e.Events())
	return nil
}
