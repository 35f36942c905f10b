package stack

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
)

// RoomParameters are those of a run with whole providers.
type RoomParameters struct {
	Providers int                  `toml:"providers" doc:"whole providers, with one member of the room at each; from 3 on three of them decide, from 5 on five"`
	Say       simulations.Duration `toml:"say" doc:"time between two messages of a member, on average"`
	Calm      simulations.Duration `toml:"calm" doc:"time in which all is well, and which is measured"`
	Fault     string               `toml:"fault" doc:"what then happens to the provider that orders the room: none, kill (for good), restart (killed, and begun again with what it had stored), isolate (silent), partition (with five providers or more, it and another one see only each other), freeze (a stopped process), slow (its links), disk (slow), skew (its clock is wrong)"`
	Lasts     simulations.Duration `toml:"lasts" doc:"time that is watched after that; at its end whatever is not for good ends"`
	Slow      simulations.Duration `toml:"slow" doc:"what each way from and to it takes longer (slow), or each commit of its store (disk)"`
	Skew      simulations.Duration `toml:"skew" doc:"by how much its clock is ahead (skew); negative: behind"`
	Suspect   simulations.Duration `toml:"suspect" doc:"silence after which a provider is taken for dead"`
	// As of gossip; new ones are not closed for 30 s.
	Connections int        `toml:"connections" doc:"connections that a provider keeps, 16 to 100000: once it has more it closes some that are not new; 0: 900, as mimid serve does unless told otherwise"`
	Links       links.Spec `toml:"links"`
}

// Check says what is wrong with values.
func (p *RoomParameters) Check() error {
	switch {
	case p.Providers < 2 || p.Providers > 100:
		return fmt.Errorf("parameters.providers = %d must be 2 to 100", p.Providers)
	case p.Say.D() < 10*time.Millisecond || p.Say.D() > time.Hour:
		return fmt.Errorf("parameters.say = %s must be 10ms to 1h", p.Say.D())
	case p.Calm.D() < time.Second || p.Calm.D() > 24*time.Hour || p.Lasts.D() < time.Second || p.Lasts.D() > 24*time.Hour:
		return fmt.Errorf("parameters.calm = %s and parameters.lasts = %s must be 1s to 24h", p.Calm.D(), p.Lasts.D())
	case !slices.Contains(faults, p.Fault):
		return fmt.Errorf("parameters.fault = %q must be one of %s", p.Fault, strings.Join(faults, ", "))
	case p.Slow <= 0 || p.Slow.D() > time.Minute:
		return fmt.Errorf("parameters.slow = %s must be above 0s, to 1m", p.Slow.D())
	case p.Skew.D() < -24*time.Hour || p.Skew.D() > 24*time.Hour:
		return fmt.Errorf("parameters.skew = %s must be -24h to 24h", p.Skew.D())
	case p.Fault == "kill" && p.Providers < 3:
		return fmt.Errorf("parameters.fault = \"kill\" with parameters.providers = %d: nobody could take over, and it would never end", p.Providers)
	case p.Suspect.D() < 50*time.Millisecond || p.Suspect.D() > time.Minute:
		return fmt.Errorf("parameters.suspect = %s must be 50ms to 1m", p.Suspect.D())
	}
	if err := checkConnections(p.Connections); err != nil {
		return err
	}
	if err := p.Links.Check(); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	return nil
}

// Room asks how long messages take from user to user, and what a dead hub costs.
func Room() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "room",
		Engine:   simulations.Stack,
		Question: "How long does what a user says take to its readers through whole providers, and how long does the room stand still when its hub dies?",
		Doc: "Whole providers as mimid serve runs them, with store (in memory), rooms, accounts, contacts, failover, outbox and client API, and clients with their " +
			"MLS groups, on a network in memory and in virtual time. One room, a member at each provider. Of messages sent while all is well: accepted is the time until the hub's " +
			"acceptance is back at the sender, final until the sender knows that it is final, read until each other member has read it, and stretch that time " +
			"by the shortest way through providers from the sender's over the hub to the reader's. service is, for each provider that is left, the time from the fault, at which its member says something, until " +
			"that, or what it says later, is final, back that from the end of a fault that ends for the member of the provider that was struck, moved whether another one orders the room at the end, and told the time until its device knows another hub. A final message that a member lacks or has twice, and a log that does not verify, are broken promises. " +
			"Left out: the time of computing and of disks, and the way between a client and its own provider.",
		Plots: []simulations.Plot{
			{Name: "read", Title: "From sending a message until a member reads it", Metric: "read", Kind: simulations.Percentiles, X: "providers"},
			{Name: "read-distribution", Title: "From sending a message until a member reads it", Metric: "read", Kind: simulations.Distribution, By: "providers"},
			{Name: "final", Title: "From sending a message until it is final", Metric: "final", Kind: simulations.Percentiles, X: "providers"},
			{Name: "service", Title: "Time without service after the hub's death", Metric: "service", Kind: simulations.Percentiles, X: "providers",
				Caption: "Nearly all of it is the silence after which a provider is taken for dead, and the election."},
		},
	}, RoomParameters{Providers: 10, Say: simulations.Duration(2 * time.Second), Calm: simulations.Duration(20 * time.Second), Fault: "kill",
		Lasts: simulations.Duration(20 * time.Second), Slow: simulations.Duration(500 * time.Millisecond), Skew: simulations.Duration(2 * time.Minute), Suspect: simulations.Duration(time.Second), Links: links.Spec{Model: "cities", Jitter: .05, Uplink: 100}}, runRoom)
}

// roomSettle is how long a room is left alone before it is measured.
const roomSettle = 3 * time.Second

func runRoom(r *simulations.Run, p RoomParameters) (err error) {
	begun := time.Now()
	w, err := newWorldOn(r.Context(), r.Seed, p.Providers, p.Links, func(c *node.Config) {
		c.Failover.Timeout, c.Failover.Interval = node.Duration(p.Suspect), node.Duration(p.Suspect*2/5)
		c.Failover.Idle = max(c.Failover.Idle, c.Failover.Interval)
		if p.Connections > 0 {
			c.Overlay.Connections = p.Connections
		}
	}, io.Discard, p.Fault == "restart")
	defer func() {
		if closed := w.close(); err == nil {
			err = closed
		}
	}()
	if err != nil {
		return err
	}
	ear := newEar()
	u, err := w.room(r.Context(), ear)
	if err != nil {
		return err
	}
	if err := wait(r, roomSettle, .3, begun); err != nil {
		return err
	}
	ear.forgive()
	hub, err := w.hub(r.Context(), u)
	if err != nil {
		return err
	}
	talk := startTalk(r, w.people, u, ear, p.Say.D())
	defer talk.end()
	before, from := w.fabric.Counts().Octets, time.Now()
	if err := wait(r, p.Calm.D(), .5, begun); err != nil {
		return err
	}
	after, to := w.fabric.Counts().Octets, time.Now()
	shortest := w.shortest()
	if still, err := w.hub(r.Context(), u); err != nil {
		return err
	} else if still != hub {
		hub, shortest = still, nil
	}
	// Not always at the same moment between two pings.
	time.Sleep(time.Duration(rand.New(rand.NewPCG(r.Seed, 3)).Int64N(int64(p.Suspect))))
	struck := time.Now()
	w.strike(p, hub, talk)
	if p.Fault != "none" {
		talk.ask(r.Context(), ear, w.reached(p, hub, w.alive()), u)
	}
	if err := wait(r, p.Lasts.D(), .8, begun); err != nil {
		return err
	}
	healed := time.Now()
	if err := w.heal(r, p, hub); err != nil {
		return err
	}
	if p.Fault != "none" && p.Fault != "kill" {
		if err := ear.observeReturn(r, hub, healed); err != nil {
			return err
		}
	}
	talk.end()
	left := w.alive()
	if err := await(r.Context(), "all that was said is final and read", func() bool { return ear.settled(left) }); err != nil {
		r.Violate("%v: %s", err, ear.open(left))
	} else {
		ear.check(r, left, u)
		w.alike(r, left, u)
	}
	for _, x := range left {
		if v, err := x.at.n.Verify(r.Context()); err != nil || len(v.Faults) > 0 {
			r.Violate("the store of %s: %v, %v", x.at.domain, v, err)
		}
	}
	sent := ear.observe(r, shortest, hub, from, to)
	if sent > 0 {
		r.Observe("octets", "bytes", float64(after-before)/float64(sent*(p.Providers-1)))
	}
	if p.Fault != "none" {
		ear.observeService(r, w.reached(p, hub, left), struck, healed)
		last, err := left[0].Verify(r.Context(), u)
		if err != nil {
			return err
		}
		moved := 0.0
		if last.Hub != w.providers[hub].domain {
			moved = 1
		}
		r.Observe("moved", "1", moved)
	}
	return r.At(time.Since(begun), 1)
}

// room has somebody at each provider come into one room, and waits until all are in and as many
// providers decide as there should.
func (w *world) room(ctx context.Context, ear *ear) (u uri.Room, err error) {
	const patience = 10 * time.Minute // a change may wait for ever for those who decide
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if u, err = w.form(within, ear); err != nil && within.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no room of %d providers has come to be within %s of virtual time: %w", len(w.providers), patience, err)
	}
	return u, err
}

func (w *world) form(ctx context.Context, ear *ear) (u uri.Room, err error) {
	var others []uri.User
	for i, p := range w.providers {
		x, err := w.enter(ctx, p, fmt.Sprintf("user%d", i))
		if err != nil {
			return u, err
		}
		ear.listen(x)
		if i > 0 {
			if err := x.Accept(ctx, w.people[0].User()); err != nil {
				return u, err
			}
			others = append(others, x.User())
		}
	}
	first := w.people[0]
	if u, err = first.CreateRoom(ctx, "room"); err != nil {
		return u, err
	}
	in := map[uri.User]bool{}
	var last error
	if err := await(ctx, "adding all", func() bool {
		var missing []uri.User
		for _, o := range others {
			if !in[o] {
				missing = append(missing, o)
			}
		}
		added, err := first.AddUsers(ctx, u, missing)
		last = err
		for _, a := range added {
			if a.Err != nil {
				last = a.Err
			} else {
				in[a.User] = true
			}
		}
		return len(in) == len(others) && last == nil
	}); err != nil {
		return u, fmt.Errorf("%w: %w", err, last)
	}
	decide := 1
	switch n := len(w.providers); {
	case n >= 5:
		decide = 5
	case n >= 3:
		decide = 3
	}
	return u, await(ctx, fmt.Sprintf("all being in a room about which %d providers decide", decide), func() bool {
		for _, x := range w.people {
			if s, err := x.Verify(ctx, u); err != nil || s.Replicas != decide {
				return false
			}
		}
		return true
	})
}

// hub is the index of the provider that orders the room, as the first member knows it.
func (w *world) hub(ctx context.Context, u uri.Room) (int, error) {
	s, err := w.people[0].Verify(ctx, u)
	if err != nil {
		return 0, err
	}
	for _, p := range w.providers {
		if p.domain == s.Hub {
			return p.index, nil
		}
	}
	return 0, fmt.Errorf("the room is ordered by %q, which is none of the providers", s.Hub)
}

// alive are the people whose provider is.
func (w *world) alive() (out []*person) {
	for _, x := range w.people {
		if !x.at.dead {
			out = append(out, x)
		}
	}
	return out
}

// shortest are the shortest ways between any two providers, over others where that is shorter.
func (w *world) shortest() [][]time.Duration {
	n := len(w.providers)
	d := make([][]time.Duration, n)
	for i := range d {
		d[i] = make([]time.Duration, n)
		for k := range d[i] {
			if i != k {
				d[i][k] = w.model.Latency(i, k)
			}
		}
	}
	for over := range d {
		for i := range d {
			for k := range d {
				d[i][k] = min(d[i][k], d[i][over]+d[over][k])
			}
		}
	}
	return d
}
