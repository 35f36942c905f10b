package exhaustion

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/simulations"
)

// A pool hands out KeyPackages: account.Registry does.
type pool interface {
	Claim(context.Context, account.Claim) (*account.Claimed, error)
}

// A kind is what a claim got.
type kind uint8

const (
	none kind = iota
	last      // the last resort
	once      // one that is used once
)

type got struct {
	kind kind
	ref  [32]byte
}

// An asker is an account of some provider.
type asker struct{ user, provider string }

// pair is somebody, an account or a provider, and whose KeyPackages it has claimed.
type pair struct {
	who    string
	target int
}

// checked makes claims, and looks whether what comes is what package account promises: it is counted here, from
// what claims get, and not read in the registry.
type checked struct {
	pool    pool
	given   map[[32]byte]bool // those that are used once
	times   map[pair][]time.Duration
	twice   int // handed out to two claims
	other   int // the same claim got another one
	refused int // got nothing
}

// claim makes a claim, and in every tenth case makes it again, as if the answer had been lost.
func (c *checked) claim(u *user, a asker, room string, now time.Duration) (got, error) {
	if c.given == nil {
		c.given, c.times = map[[32]byte]bool{}, map[pair][]time.Duration{}
	}
	q := account.Claim{Target: u.User, Requester: a.user, Room: room, Provider: a.provider, Suites: []mls.CipherSuite{suite}}
	g, err := c.take(q)
	if err != nil {
		return g, err
	}
	switch g.kind {
	case none:
		c.refused++
	case once:
		if c.given[g.ref] {
			c.twice++
		}
		c.given[g.ref] = true
		for _, who := range []string{a.user, a.provider} {
			p := pair{who, u.index}
			c.times[p] = append(c.times[p], now.Truncate(time.Millisecond)) // as shares count
		}
		if len(c.given)%10 == 0 {
			again, err := c.take(q)
			if err != nil {
				return g, err
			}
			if again != g {
				c.other++
			}
		}
	}
	return g, nil
}

func (c *checked) take(q account.Claim) (g got, err error) {
	claimed, err := c.pool.Claim(context.Background(), q)
	if err != nil {
		return g, err
	}
	if claimed.Status != wire.KeyMaterialSuccess || len(claimed.Clients) != 1 {
		return g, nil
	}
	kp := claimed.Clients[0].KeyPackage
	ref := kp.Ref()
	if len(ref) != len(g.ref) {
		return g, fmt.Errorf("a KeyPackage's reference has %d octets", len(ref))
	}
	g = got{once, [32]byte(ref)}
	if kp.LastResort(mls.Limits{}) {
		g.kind = last
	}
	return g, nil
}

// The shares of real nodes (account.Config): at once, and one more each.
var (
	ofAccount  = account.Share{Burst: 10, Every: 2 * time.Hour}
	ofProvider = account.Share{Burst: 25, Every: 30 * time.Minute}
)

// check says which promise did not hold.
func (c *checked) check(r *simulations.Run, p Parameters, now time.Duration) {
	if c.twice > 0 {
		r.Violate("%d KeyPackages that are used once were handed out to two claims", c.twice)
	}
	if c.other > 0 {
		r.Violate("%d repeated claims got another KeyPackage than before", c.other)
	}
	if c.refused > 0 {
		r.Violate("%d claims with consent got nothing, and there is a last resort", c.refused)
	}
	if !p.Shares {
		return
	}
	over := map[string]int{}
	for who, times := range c.times {
		share, name := ofProvider, "provider"
		if len(who.who) > 7 && who.who[:7] == "mimi://" {
			share, name = ofAccount, "account"
		}
		if exceeds(times, share) {
			over[name]++
		}
	}
	for _, name := range []string{"account", "provider"} {
		if over[name] > 0 {
			r.Violate("%d times one %s got more of a user's KeyPackages within %s than its share", over[name], name, now)
		}
	}
}

// exceeds says whether there is a time in which more were taken than a share lets: its burst, and one for each of its Every.
func exceeds(times []time.Duration, s account.Share) bool {
	slices.Sort(times)
	for i := range times {
		for k := i; k < len(times); k++ {
			if k-i+1 > s.Burst+int((times[k]-times[i])/s.Every) {
				return true
			}
		}
	}
	return false
}
