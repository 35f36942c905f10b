// Package compromise asks how often a message meets hostile relays only, and what that adds up to over many messages.
//
// Real are the choice of the relays of each epoch, of paths, and of the entry that stays (protocol/onion/relays), on snapshots that are
// signed and cosigned. Hostile relays do what is asked of them, so nobody can tell them from others, and tell each other what they see.
//
// Simulation is what to give to simulations.Parse. Read compromise.go, closed.go (closed forms), check.go.
package compromise

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/mixnet"
)

// Parameters of a run.
type Parameters struct {
	Relays    int                  `toml:"relays" doc:"relays that are willing, of as many providers"`
	Hostile   float64              `toml:"hostile" doc:"share of them that are hostile, all together"`
	Operators int                  `toml:"operators" doc:"how many operators the hostile ones say to be of; 0: each of its own, which is a lie"`
	Width     int                  `toml:"width" doc:"relays that mix in each of three layers"`
	Users     int                  `toml:"users" doc:"users that send"`
	Messages  int                  `toml:"messages" doc:"packets that each of them sends"`
	Epochs    int                  `toml:"epochs" doc:"snapshots in that time, each with another choice of relays"`
	Lasts     simulations.Duration `toml:"lasts" doc:"time in which they are sent; an entry that stays does so for 30 days"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	switch {
	case p.Relays < 9 || p.Relays > 1000:
		return fmt.Errorf("parameters.relays = %d must be 9 to 1000", p.Relays)
	case !(p.Hostile >= 0 && p.Hostile <= 1):
		return fmt.Errorf("parameters.hostile = %g must be 0 to 1", p.Hostile)
	case p.Operators < 0 || p.Operators > p.Relays:
		return fmt.Errorf("parameters.operators = %d must be 0 to parameters.relays = %d", p.Operators, p.Relays)
	case p.Width < 2 || p.Width > 64 || 3*p.Width > p.Relays:
		return fmt.Errorf("parameters.width = %d must be 2 to 64, and at most a third of parameters.relays = %d", p.Width, p.Relays)
	case p.Users < 1 || p.Users > 10_000:
		return fmt.Errorf("parameters.users = %d must be 1 to 10000", p.Users)
	case p.Epochs < 1 || p.Epochs > 1000 || p.Messages < p.Epochs || p.Messages%p.Epochs != 0 || p.Messages > 100_000:
		return fmt.Errorf("parameters.messages = %d must be a multiple of parameters.epochs = %d, which must be 1 to 1000, and at most 100000", p.Messages, p.Epochs)
	case p.Lasts.D() < time.Hour || p.Lasts.D() > 10*365*24*time.Hour:
		return fmt.Errorf("parameters.lasts = %s must be 1h to 87600h", p.Lasts.D())
	}
	return nil
}

// The ways to choose an entry.
const (
	none   = "none"   // the own provider sends to the first mix
	fresh  = "fresh"  // another one for each message
	pinned = "pinned" // one that stays, as in nodes
)

// Simulation is the question, with its defaults.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "compromise",
		Engine:   simulations.Event,
		Question: "How often does a message meet hostile relays only, if a share of all is hostile, and to how many users does that happen sooner or later?",
		Doc: "Users send packets on paths of three mixes that the code of nodes draws among the relays that it chooses for each epoch, of which a share is hostile: without an entry before them (entry = none), with one that is drawn for each packet (fresh), " +
			"or with one that stays for 30 days, by the code of nodes (pinned). bad is the share of packets all of whose relays are hostile, so that they know who wrote to whom; ends the share whose first and last relay are, who can guess by times. ever is the share of users with at least one " +
			"packet of the first kind after all packets, and after the same by the number of packets (line: the way to choose an entry, and the share of hostile relays). closed form says what chance alone gives. With operators = 1 or 2 the hostile relays say whose they are, and no path has three of them. " +
			"Each run checks that paths are ones that may be, that an entry that stays does, and that hostile relays, entries and paths are as many as chance gives, given the layers of each epoch.",
		Plots: []simulations.Plot{
			{Name: "bad", Title: "Share of packets with hostile relays only", Metric: "bad", Kind: simulations.Means, X: "hostile", By: "entry"},
			{Name: "ever", Title: "Share of users with such a packet, after all packets", Metric: "ever", Kind: simulations.Means, X: "hostile", By: "entry",
				Caption: "Who draws all relays anew for each packet meets hostile ones only sooner or later. With an entry that stays most users never do."},
			{Name: "after", Title: "The same by the number of packets", Metric: "after", Kind: simulations.Means, X: "packets", By: "line", LogX: true},
			{Name: "ends", Title: "Share of packets whose first and last relay are hostile", Metric: "ends", Kind: simulations.Means, X: "hostile", By: "entry"},
		},
	}, Parameters{Relays: 100, Hostile: .2, Width: 33, Users: 100, Messages: 400, Epochs: 20, Lasts: simulations.Duration(60 * 24 * time.Hour)}, run)
}

// A user sends packets, three ways at once.
type user struct {
	home int
	pin  relays.Pin
	met  [3]bool // has had a packet with hostile relays only
}

// entries are the three ways, in the order of user.met.
var entries = [3]string{none, fresh, pinned}

type attack struct {
	p       Parameters
	e       *engine.Engine
	list    []mixnet.Relay
	hostile []bool
	users   []*user
	rand    *rand.Rand // of users
	random  io.Reader  // of paths and entries
	beacon  *rand.Rand
	keys    uint64

	sent      int // packets of each user
	bad, ends [3]int
	err       error

	check *check
	plant planted
}

// planted is a bug, in tests, which the check is to find.
type planted struct {
	only func(hostile bool, i int) bool // which relays are in snapshots; nil: all
	path func(a *attack, way string, exit int, path []int) []int
}

// start is when the first epoch begins.
var start = time.Unix(1_800_000_000, 0)

func run(r *simulations.Run, p Parameters) error { return plantedRun(r, p, planted{}) }

func plantedRun(r *simulations.Run, p Parameters, plant planted) error {
	e := engine.New(r.Seed)
	a := &attack{p: p, e: e, plant: plant, hostile: make([]bool, p.Relays), rand: e.Rand("users"), random: mixnet.Random(e.Rand("paths")), beacon: e.Rand("beacon"), keys: e.Rand("keys").Uint64()}
	for i := range p.Relays {
		a.list = append(a.list, mixnet.Own(i))
	}
	count := int(math.Round(p.Hostile * float64(p.Relays)))
	for k, i := range e.Rand("hostile").Perm(p.Relays)[:count] {
		a.hostile[i] = true
		if p.Operators > 0 {
			a.list[i].Operator = fmt.Sprintf("hostile-%d", k%p.Operators)
		}
	}
	var who []string
	for _, x := range a.list {
		who = append(who, x.Operator)
	}
	a.check = newCheck(r, p, a.hostile, who)
	for range p.Users {
		a.users = append(a.users, &user{home: a.rand.IntN(p.Relays)})
	}
	each := p.Messages / p.Epochs
	marks := map[int]bool{p.Messages: true}
	for _, m := range []int{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000} {
		marks[m] = true
	}
	for k := range p.Epochs {
		e.Run(p.Lasts.D() * time.Duration(k) / time.Duration(p.Epochs))
		d, err := a.epoch(k)
		if err != nil {
			return err
		}
		act, err := d.Cosigned.Active()
		if err != nil {
			return err
		}
		if w := len(act.Layers[0]); w != p.Width && p.Operators == 0 {
			return fmt.Errorf("layers of %d relays, and parameters.width = %d", w, p.Width)
		}
		var layers [][]int
		for _, layer := range act.Layers {
			var l []int
			for _, x := range layer {
				l = append(l, d.Number(x.Node()))
			}
			layers = append(layers, l)
		}
		a.check.epoch(layers)
		for range each {
			a.sent++
			for i, u := range a.users {
				e.After(0, func() { a.send(i, u, d, act) })
			}
			e.Run(e.Now())
			if a.err != nil {
				return a.err
			}
			if marks[a.sent] {
				a.mark(r, a.sent == p.Messages)
			}
		}
		if err := r.At(e.Now(), float64(k+1)/float64(p.Epochs)); err != nil {
			return err
		}
	}
	total := float64(p.Users * p.Messages)
	for i, entry := range entries {
		by := simulations.Label{Key: "entry", Value: entry}
		r.Observe("bad", "1", float64(a.bad[i])/total, by)
		r.Observe("ends", "1", float64(a.ends[i])/total, by)
		if p.Operators == 0 {
			r.Observe("bad", "1", chance(entry, count, p.Relays), closed(entry))
		}
	}
	a.check.over()
	r.Trace(e.Digest(), e.Events())
	return nil
}

func closed(entry string) simulations.Label {
	return simulations.Label{Key: "entry", Value: entry + ", closed form"}
}

// epoch makes the snapshot of an epoch, for as much traffic as wants the width.
func (a *attack) epoch(k int) (*mixnet.Directory, error) {
	const delay = 500 * time.Millisecond
	e := mixnet.Epoch{Number: onion.Epoch(500_000 + k), Rate: (7*float64(a.p.Width) + .5) / delay.Seconds(), Delay: delay, Format: onion.Format{Suite: onion.X25519, Class: onion.Class8K}}
	for i := range e.Previous {
		e.Previous[i] = byte(a.beacon.Uint32())
	}
	if only := a.plant.only; only != nil {
		e.Only = func(i int) bool { return only(a.hostile[i], i) }
	}
	return mixnet.NewDirectory(a.keys, e, a.list)
}

// send sends one packet of a user each way.
func (a *attack) send(number int, u *user, d *mixnet.Directory, act *relays.Active) {
	exit := a.rand.IntN(a.p.Relays)
	for exit == u.home {
		exit = a.rand.IntN(a.p.Relays)
	}
	for i, way := range entries {
		entry, err := a.entry(way, u, d, exit)
		if err != nil {
			a.err = err
			return
		}
		path, err := act.Path(a.random, entry, d.All[exit])
		if err != nil {
			a.err = err
			return
		}
		var hops []int
		for _, h := range path[:len(path)-1] { // the exit is whom one writes to
			hops = append(hops, d.Number(h.Node))
		}
		if a.plant.path != nil {
			hops = a.plant.path(a, way, exit, hops)
		}
		first := -1
		if entry != nil {
			first = d.Number(entry.Node())
		}
		a.check.path(i, number, a.e.Now(), first, exit, hops)
		all := true
		for _, h := range hops {
			all = all && a.hostile[h]
		}
		if all {
			a.bad[i]++
			u.met[i] = true
			a.e.Note(uint64(number)<<8 | uint64(i))
		}
		if a.hostile[hops[0]] && a.hostile[hops[len(hops)-1]] {
			a.ends[i]++
		}
	}
}

func (a *attack) entry(way string, u *user, d *mixnet.Directory, exit int) (*relays.Relay, error) {
	switch way {
	case fresh:
		i := a.rand.IntN(a.p.Relays)
		for i == exit || i == u.home {
			i = a.rand.IntN(a.p.Relays)
		}
		return d.All[i], nil
	case pinned:
		pin, entry, err := u.pin.Keep(start.Add(a.e.Now()), a.random, d.Cosigned, d.All)
		u.pin = pin
		return entry, err
	}
	return nil, nil
}

// mark observes how many users have met hostile relays only by now.
func (a *attack) mark(r *simulations.Run, last bool) {
	count := 0
	for _, h := range a.hostile {
		if h {
			count++
		}
	}
	for i, entry := range entries {
		met := 0
		for _, u := range a.users {
			if u.met[i] {
				met++
			}
		}
		share := float64(met) / float64(len(a.users))
		if entry != fresh {
			r.Observe("after", "1", share, simulations.Label{Key: "packets", Value: strconv.Itoa(a.sent)}, simulations.Label{Key: "line", Value: fmt.Sprintf("%s, %g", entry, a.p.Hostile)})
		}
		if !last {
			continue
		}
		r.Observe("ever", "1", share, simulations.Label{Key: "entry", Value: entry})
		if a.p.Operators == 0 {
			r.Observe("ever", "1", ever(entry, count, a.p), closed(entry))
		}
	}
}
