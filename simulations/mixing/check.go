package mixing

import (
	"math"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/retry"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/anonymity"
	"github.com/mimid/mimid/simulations/mixnet"
)

// planted are bugs, in tests, which the check is to find.
type planted struct {
	status  func(onion.Status) onion.Status // what the far end says
	asleep  bool                            // nobody calls the machine for retries when it wants to be
	send    func(*mixnet.Network, *mixnet.Packet)
	took    func(time.Duration) time.Duration // how long a packet was on its way
	follows func([]anonymity.Place) []anonymity.Place
}

// A check looks at what happens to packets, and at what is concluded of those that are followed.
type check struct {
	say func(format string, args ...any) // a promise is broken

	sent, arrived, lost int     // packets
	sure, right         float64 // of guesses: how likely they were to be right, all together, and how many were
	open                float64 // variance of the latter
	silently            int     // verdicts that say delivered, of what has not arrived
}

// came is told of each packet at its end: mixes keep one as long as it says.
func (c *check) came(p *mixnet.Packet, took time.Duration) {
	c.arrived++
	least := time.Duration(0)
	for _, h := range p.Hops {
		least += h.Delay
	}
	if took < least {
		c.say("a packet came after %s, and its mixes were to keep it for %s", took, least)
	}
}

// verdict is told of each message.
func (c *check) verdict(m *message) {
	if m.verdict == retry.Delivered && !m.arrived {
		c.silently++
	}
}

// concluded is told what who looks concludes of a packet: chances are one together, what is true has one of them, and
// a provider is not hidden better than the packet.
func (c *check) concluded(t *mixnet.Packet, places []anonymity.Place) {
	sum, message, provider := 0.0, false, false
	for _, x := range places {
		sum += x.P
		gone := x.End == anonymity.Lost
		message = message || x.Packet == t.Seen || gone && x.Packet == -1
		provider = provider || x.End == t.End || gone
	}
	if math.Abs(sum-1) > 1e-3 {
		c.say("the chances of where a packet is are %.4f together", sum)
	}
	if !message || !provider {
		c.say("who looks excludes what is true: packet %t, provider %t", !message, !provider)
	}
	ends := anonymity.Ends(places)
	if a, b := anonymity.Entropy(places), anonymity.Entropy(ends); b > a+1e-6 {
		c.say("the provider is hidden by %.4f bits, and the packet by %.4f", b, a)
	}
	if best, ok := anonymity.Likeliest(ends); ok {
		c.sure += best.P
		c.open += best.P * (1 - best.P)
		if best.End == t.End {
			c.right++
		}
	}
}

// over looks at the whole: no packet is lost without a trace or made of nothing, and guesses are right as often as they
// say. Six deviations are what chance does not give in one run of a hundred million.
func (c *check) over(net *mixnet.Network) {
	if under := net.UnderWay(); c.sent != c.arrived+c.lost+under {
		c.say("%d packets were sent, %d arrived, %d were lost, and %d are under way", c.sent, c.arrived, c.lost, under)
	}
	if math.Abs(c.right-c.sure) > 6*math.Sqrt(c.open)+6 {
		c.say("%.0f guesses were right, and they say %.1f, with a deviation of %.1f", c.right, c.sure, math.Sqrt(c.open))
	}
	if c.silently > 0 {
		c.say("%d messages were called delivered and have not arrived", c.silently)
	}
}

func newCheck(r *simulations.Run) *check { return &check{say: r.Violate} }
