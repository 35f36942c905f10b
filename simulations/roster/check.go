package roster

import (
	"bytes"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/simulations"
)

// planted are bugs, in tests, which the check is to find.
type planted struct {
	called  func(u *user, name string) string                           // on a list
	sending func(level string, x *room, u *user, sending string) string // who a request says that it is of
	source  func(string) string                                         // of an envelope
	octets  func(int) int                                               // how large something is
	come    func(come func())
}

// A check looks at the octets that the hub is given, and at what the hub says of them by these alone, before it
// guesses: what a level hides must not be there, and what it shows must be right.
type check struct {
	run     *simulations.Run
	p       Parameters
	names   [][]byte // of all users
	written int      // messages
	later   int      // of these, those that come after the end
	come    int
}

func newCheck(r *simulations.Run, p Parameters) *check { return &check{run: r, p: p} }

// user is told of each.
func (c *check) user(u *user) { c.names = append(c.names, []byte(u.name)) }

// list is told what a room's list is.
func (c *check) list(room string, list []byte) {
	if c.p.Level != open {
		c.named("the list of "+room, list)
	}
}

// named looks for names of users. They end where something else begins than a digit, since user1 is in user10.
func (c *check) named(what string, octets []byte) {
	if !bytes.Contains(octets, []byte("/u/")) {
		return
	}
	for _, name := range c.names {
		if bytes.Contains(octets, name) {
			c.run.Violate("%s has the name of a user, %s or a longer one, at level %s", what, name, c.p.Level)
			return
		}
	}
}

// message is told what comes to the hub, and what it is called in truth.
func (c *check) message(x *room, u *user, envelope, request []byte, size int, g guess) {
	c.come++
	if c.p.Level != open {
		c.named("a request", append(envelope[:len(envelope):len(envelope)], request...))
	}
	if c.p.Level == onionLevel {
		if g.provider != "" || g.sender != "" || envelope != nil {
			c.run.Violate("a message at level onion says that it is of %q, provider %q", g.sender, g.provider)
		}
		if u.provider != hubDomain && bytes.Contains(request, []byte(u.provider)) || bytes.Contains(request, []byte(x.called[u])) {
			c.run.Violate("a request at level onion names its sender, or the provider")
		}
		if want := (onion.Format{Suite: onion.X25519, Class: onion.Class8K}).PacketSize(); size != want {
			c.run.Violate("a message at level onion has %d octets, and a packet %d", size, want)
		}
		return
	}
	if g.provider != u.provider || g.sender != x.called[u] {
		c.run.Violate("a message at level %s of %s, provider %s, is taken for one of %q, provider %q", c.p.Level, x.called[u], u.provider, g.sender, g.provider)
	}
}

// over looks at the whole.
func (c *check) over() {
	if c.come != c.written-c.later {
		c.run.Violate("%d messages were written, of which %d come later, and %d have come", c.written, c.later, c.come)
	}
}
