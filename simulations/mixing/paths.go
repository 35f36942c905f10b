package mixing

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/mixnet"
)

// paths draws packets' ways.
type paths interface {
	// mixes are those that mix, by layer.
	mixes() [][]int
	// path draws a way to a provider.
	path(end int) ([]mixnet.Hop, error)
}

// uniform is any mix of each layer.
type uniform struct {
	layers [][]int
	delay  time.Duration
	rand   *rand.Rand
}

func newUniform(p Parameters, r *rand.Rand) *uniform {
	u := &uniform{delay: p.Delay.D(), rand: r}
	for l := range p.Layers {
		var layer []int
		for i := range p.Width {
			layer = append(layer, l*p.Width+i)
		}
		u.layers = append(u.layers, layer)
	}
	return u
}

func (u *uniform) mixes() [][]int { return u.layers }

func (u *uniform) path(int) ([]mixnet.Hop, error) {
	hops := make([]mixnet.Hop, len(u.layers))
	for i, layer := range u.layers {
		hops[i] = mixnet.Hop{Mix: layer[u.rand.IntN(len(layer))], Delay: mixnet.Exponential(u.rand, u.delay)}
	}
	return hops, nil
}

// active are relays as nodes choose them. Provider i runs relay i; those from Parameters.Relays on are in no snapshot.
type active struct {
	dir    *mixnet.Directory
	a      *relays.Active
	layers [][]int
	random io.Reader
}

func newActive(e *engine.Engine, seed uint64, p Parameters, f onion.Format, rate float64) (*active, error) {
	list := make([]mixnet.Relay, p.Providers)
	for i := range list {
		list[i] = mixnet.Own(i)
	}
	if p.Width > 0 { // the rule, for as much traffic as wants this width
		rate = (float64(7*p.Width) + .5) / p.Delay.D().Seconds()
	}
	draw := e.Rand("beacon")
	epoch := mixnet.Epoch{Number: 500_000, Rate: rate, Delay: p.Delay.D().Truncate(time.Millisecond), Format: f, Listed: p.Relays}
	for i := range epoch.Previous {
		epoch.Previous[i] = byte(draw.Uint32())
	}
	dir, err := mixnet.NewDirectory(seed, epoch, list)
	if err != nil {
		return nil, err
	}
	c := &active{dir: dir, random: mixnet.Random(e.Rand("paths"))}
	if c.a, err = dir.Cosigned.Active(); err != nil {
		return nil, err
	}
	for _, layer := range c.a.Layers {
		var l []int
		for _, r := range layer {
			l = append(l, dir.Number(r.Node()))
		}
		c.layers = append(c.layers, l)
	}
	if w := len(c.layers[0]); p.Width > 0 && w != p.Width {
		return nil, fmt.Errorf("parameters.width = %d, and of %d relays layers of %d can be made", p.Width, p.Relays, w)
	}
	return c, nil
}

func (c *active) mixes() [][]int { return c.layers }

// path leaves out the exit, which is the end itself.
func (c *active) path(end int) ([]mixnet.Hop, error) {
	way, err := c.a.Path(c.random, nil, c.dir.All[end])
	if err != nil {
		return nil, err
	}
	hops := make([]mixnet.Hop, len(way)-1)
	for i, h := range way[:len(way)-1] {
		hops[i] = mixnet.Hop{Mix: c.dir.Number(h.Node), Delay: h.Delay}
	}
	return hops, nil
}
