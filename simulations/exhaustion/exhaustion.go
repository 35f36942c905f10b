// Package exhaustion asks whether accounts that a user has let add her can take all her KeyPackages, so that
// nobody else gets one that is used once. It runs the claims of real nodes (account.Registry, with real
// KeyPackages, on the real store in memory) on the event engine.
//
// Modelled: the user's device, which looks from time to time how many are left and brings others, as
// package client does; consent, which everybody here has; the network, which takes no time.
// Keys are as random as ever, and nothing that is measured depends on them, so that a seed gives the same run.
//
// Simulation is what to give to simulations.Parse. Read exhaustion.go (the attack), provider.go (who is
// attacked), check.go (what must hold).
package exhaustion

import (
	"fmt"
	"strconv"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
)

// Parameters of a run.
type Parameters struct {
	Users     int                  `toml:"users" doc:"users who are attacked, each with one device"`
	Accounts  int                  `toml:"accounts" doc:"accounts that attack; each of the users has let each of them add her"`
	Providers int                  `toml:"providers" doc:"providers that these accounts are of, by turns; 0: nobody attacks"`
	Rate      float64              `toml:"rate" doc:"claims a minute of each of these, each of one user for a room that it makes up"`
	Honest    int                  `toml:"honest" doc:"other providers, each with ten of every user's contacts"`
	Wants     float64              `toml:"wants" doc:"claims an hour of each user's contacts together, each for another room"`
	Shares    bool                 `toml:"shares" doc:"whether an account and a provider get only a share of a user's KeyPackages, as real nodes have it"`
	Low       int                  `toml:"low" doc:"a device that finds less at its provider brings more, as package client does"`
	Full      int                  `toml:"full" doc:"KeyPackages that it then has there"`
	Look      simulations.Duration `toml:"look" doc:"time between two looks of a device, with up to a quarter more"`
	Lasts     simulations.Duration `toml:"lasts" doc:"time that is watched"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	switch {
	case p.Users < 1 || p.Users > 100:
		return fmt.Errorf("parameters.users = %d must be 1 to 100", p.Users)
	case p.Accounts < 1 || p.Accounts > 10_000 || p.Providers < 0 || p.Providers > p.Accounts:
		return fmt.Errorf("parameters.accounts = %d must be 1 to 10000, parameters.providers = %d 0 to that", p.Accounts, p.Providers)
	case p.Honest < 1 || p.Honest > 1000:
		return fmt.Errorf("parameters.honest = %d must be 1 to 1000", p.Honest)
	case !(p.Rate > 0 && p.Rate <= 1000) || !(p.Wants > 0 && p.Wants <= 1000):
		return fmt.Errorf("parameters.rate = %g and parameters.wants = %g must be above 0, to 1000", p.Rate, p.Wants)
	case p.Low < 1 || p.Full < p.Low || p.Full > 100:
		return fmt.Errorf("parameters.low = %d must be 1 to parameters.full = %d, and that at most 100, which is what a provider keeps", p.Low, p.Full)
	case p.Look.D() < time.Minute || p.Look.D() > 24*time.Hour:
		return fmt.Errorf("parameters.look = %s must be 1m to 24h", p.Look.D())
	case p.Lasts.D() < time.Hour || p.Lasts.D() > 7*24*time.Hour:
		return fmt.Errorf("parameters.lasts = %s must be 1h to 168h", p.Lasts.D())
	}
	return nil
}

// Simulation is the question, with its defaults.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "exhaustion",
		Engine:   simulations.Event,
		Question: "Can accounts that a user has let add her take all her KeyPackages, and do others get one that is used once?",
		Doc: "Fifty accounts of one or more providers claim KeyPackages of a few users for rooms that they make up, again and again, while contacts of other providers claim some now and then. " +
			"Claims are those of real nodes, with real KeyPackages, on a store in memory: an account and a provider have a share of each user's KeyPackages that are used once, and get her last resort after that. " +
			"Devices look every hour how many are left, and bring others, as real ones do. fresh is the share of the contacts' claims that get one that is used once; served the share that gets anything; dry the share of " +
			"the time in which a user has none left; taken how many of a user's the attackers get in an hour; stock how many a user has left, every ten minutes. With shares = false there are none, as if whoever may add a user may take all.",
		Plots: []simulations.Plot{
			{Name: "fresh", Title: "Share of contacts who get a KeyPackage that is used once", Metric: "fresh", Kind: simulations.Means, X: "providers", By: "shares",
				Caption: "The others get the last resort, by which a user can be added all the same."},
			{Name: "dry", Title: "Share of the time in which a user has none left", Metric: "dry", Kind: simulations.Means, X: "providers", By: "shares"},
			{Name: "taken", Title: "KeyPackages of a user that attackers take in an hour", Metric: "taken", Kind: simulations.Means, X: "providers", By: "shares",
				Caption: "Fifty accounts take at most 500 at once and 25 in an hour after that, and those of one provider 25 and 2."},
			{Name: "stock", Title: "KeyPackages that a user has left, looked at all the time", Metric: "stock", Kind: simulations.Distribution, By: "providers"},
		},
	}, Parameters{Users: 2, Accounts: 50, Providers: 1, Rate: 1, Honest: 10, Wants: 2, Shares: true, Low: 20, Full: 50,
		Look: simulations.Duration(time.Hour), Lasts: simulations.Duration(24 * time.Hour)}, run)
}

// joins is after which time a contact who got a KeyPackage adds the user, whose device then joins.
const joins = 2 * time.Second

func run(r *simulations.Run, p Parameters) error {
	return runWith(r, p, func(real *account.Registry) pool { return real })
}

// runWith lets tests put a pool with a mistake in front of the real one.
func runWith(r *simulations.Run, p Parameters, front func(*account.Registry) pool) (err error) {
	e := engine.New(r.Seed)
	at, err := newProvider(e, p)
	if err != nil {
		return err
	}
	defer func() {
		if closed := at.close(); err == nil {
			err = closed
		}
	}()
	return attack(r, e, p, at, &checked{pool: front(at.registry)})
}

// attack runs until the end of the time that is watched.
func attack(r *simulations.Run, e *engine.Engine, p Parameters, at *provider, c *checked) error {
	rand := e.Rand("claims")
	var err error
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	repeat := func(each time.Duration, do func()) {
		var again func()
		again = func() {
			if err != nil {
				return
			}
			do()
			e.After(time.Duration(rand.ExpFloat64()*float64(each)), again)
		}
		e.After(time.Duration(rand.ExpFloat64()*float64(each)), again)
	}
	rooms := 0 // each claim is for one of its own
	ask := func(u *user, name string, domain string) got {
		rooms++
		a := asker{user: "mimi://" + domain + "/u/" + name, provider: domain}
		g, bad := c.claim(u, a, "mimi://"+domain+"/r/"+strconv.Itoa(rooms), e.Now())
		keep(bad)
		e.Note(uint64(u.index)<<32 | uint64(rooms)<<8 | uint64(g.kind))
		return g
	}
	taken := make([]int, p.Users)
	for i := range p.Accounts {
		if p.Providers == 0 {
			break
		}
		domain := fmt.Sprintf("a%d.example", i%p.Providers)
		repeat(time.Duration(float64(time.Minute)/p.Rate), func() {
			u := at.users[rand.IntN(len(at.users))]
			if ask(u, fmt.Sprintf("m%d", i), domain).kind == once {
				taken[u.index]++
			}
		})
	}
	fresh, served, honest := 0, 0, 0
	for _, u := range at.users {
		repeat(time.Duration(float64(time.Hour)/p.Wants), func() {
			g := ask(u, fmt.Sprintf("c%d", rand.IntN(10)), fmt.Sprintf("h%d.example", rand.IntN(p.Honest)))
			honest++
			if g.kind != none {
				served++
			}
			if g.kind == once {
				fresh++
				e.After(joins, func() { keep(at.joined(g.ref)) })
			}
		})
		var look func()
		look = func() {
			keep(at.look(u))
			e.After(p.Look.D()+time.Duration(rand.Float64()*float64(p.Look.D())/4), look)
		}
		e.After(time.Duration(rand.Float64()*float64(p.Look.D())), look)
	}
	repeat(time.Hour, func() { keep(at.sweep()) })
	dry, looked := make([]int, p.Users), 0
	const steps = 10 * time.Minute
	for e.Now() < p.Lasts.D() && err == nil {
		e.Run(min(e.Now()+steps, p.Lasts.D()))
		looked++
		for _, u := range at.users {
			n, bad := at.left(u)
			keep(bad)
			if n == 0 {
				dry[u.index]++
			}
			r.Observe("stock", "1", float64(n))
		}
		keep(r.At(e.Now(), float64(e.Now())/float64(p.Lasts.D())))
	}
	if err != nil {
		return err
	}
	c.check(r, p, e.Now())
	if honest > 0 {
		r.Observe("fresh", "1", float64(fresh)/float64(honest))
		r.Observe("served", "1", float64(served)/float64(honest))
	}
	for i := range at.users {
		r.Observe("dry", "1", float64(dry[i])/float64(looked))
		r.Observe("taken", "1/h", float64(taken[i])/p.Lasts.D().Hours())
	}
	r.Trace(e.Digest(), e.Events())
	return nil
}
