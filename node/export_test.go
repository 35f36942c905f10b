package node

import (
	"context"
	"time"

	"github.com/mimid/mimid/node/authority"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// Notices decides when which room is announced.
type Notices struct{ n notices }

func (n *Notices) Sync(list []rooms.Here) int                 { return len(n.n.sync(list)) }
func (n *Notices) Next(now time.Time) (h rooms.Here, ok bool) { return n.n.next(now) }
func (n *Notices) Done(h rooms.Here, now time.Time, spread time.Duration, err error) {
	n.n.done(h, now, spread, err)
}

// FindProblem says to a person why nobody was found who orders a room.
var FindProblem = findProblem

// For doctor_test.go.
var (
	CheckKeyInDNS  = keyInDNS
	ScopeOfAddress = scopeOfAddress
)

// MailSender is what sends codes by mail with a configuration.
func MailSender(c Config) (*authority.SMTP, error) { return (&Node{cfg: c}).mailSender() }

// OnionAddressOf and OnionSpeaksFor are addressOf and speaksFor.
var (
	OnionAddressOf = addressOf
	OnionSpeaksFor = speaksFor
)

// AnonymitySet is anonymitySet of a list.
func AnonymitySet(c *relays.Cosigned, a *relays.Active) float64 {
	s := c.Snapshot()
	return anonymitySet(&s, a)
}

// TripTimes is tripTimes.
var TripTimes = tripTimes

// Call calls another provider as this node's, whatever it says.
func (n *Node) Call(ctx context.Context, q peering.Request) error {
	n.mu.Lock()
	caller := n.parts.caller
	n.mu.Unlock()
	_, err := caller.Call(ctx, q)
	return err
}
