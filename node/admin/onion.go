package admin

import (
	"context"
	"time"
)

// Onion is how a node's part in the onion overlay is.
type Onion struct {
	// Relay says that the node offers to relay for others, Mixes that it is one of those that do in
	// the list's epoch.
	Relay bool `json:"relay"`
	Mixes bool `json:"mixes"`
	// Epoch is the present one, and Ends when it ends.
	Epoch uint64    `json:"epoch"`
	Ends  time.Time `json:"epoch_ends"`
	// List is the list of relays in force, nil if there is none.
	List     *OnionList `json:"list,omitempty"`
	NextList bool       `json:"next_list"` // that of the next epoch is there
	// AnonymitySet estimates among how many senders a packet hides from somebody who sees all links
	// and runs no relay. 1 is nobody to hide among.
	AnonymitySet float64 `json:"anonymity_set"`
	// Entry is the provider of the first hop that stays; empty: there is none.
	Entry     string         `json:"entry,omitempty"`
	Witness   bool           `json:"witness"` // this provider is one
	Witnesses []OnionWitness `json:"witnesses"`
	Counts    OnionCounts    `json:"counts"`
	Loops     OnionLoops     `json:"loops"`
	Waiting   int            `json:"waiting"` // packets that wait for their time to be sent
	Inbox     int            `json:"inbox"`   // messages that wait to be dealt with
	Pings     uint64         `json:"pings"`   // that came from others
	// Requests are what users have had other providers asked over relays, and what others have asked here.
	Requests OnionRequests `json:"requests"`
	// Warnings are sentences about what does not hide, or does not work.
	Warnings []string `json:"warnings,omitempty"`
}

// OnionList is a list of relays.
type OnionList struct {
	Epoch uint64 `json:"epoch"`
	Hash  string `json:"hash"`
	// Nodes are all in it, Willing those that offer to relay, Active those that do.
	Nodes   int `json:"nodes"`
	Willing int `json:"willing"`
	Active  int `json:"active"`
	// Occupancy is how many packets an active relay holds on average. Below 7 it hides less.
	Occupancy float64 `json:"occupancy"`
}

// OnionWitness is one of those who sign lists.
type OnionWitness struct {
	Domain  string `json:"domain"`
	Answers bool   `json:"answers"` // within the last epoch
	Liar    bool   `json:"liar"`    // has signed two lists for one epoch
}

// OnionRequests are requests over relays since the start. Who asked here is not known.
type OnionRequests struct {
	Asked    uint64 `json:"asked"`
	Answered uint64 `json:"answered"` // of these
	Served   uint64 `json:"served"`   // of others
	Shed     uint64 `json:"shed"`     // of others: refused, since too many waited
}

// OnionCounts are packets since the start.
type OnionCounts struct {
	Received  uint64 `json:"received"`
	Forwarded uint64 `json:"forwarded"`
	Delivered uint64 `json:"delivered"` // loops and parts of messages
	Replies   uint64 `json:"replies"`   // acknowledgements
	Replayed  uint64 `json:"replayed"`  // that had come before
	Refused   uint64 `json:"refused"`   // too many, malformed, forged, or of another epoch
	Lost      uint64 `json:"lost"`      // not kept, not sent, or no room
}

// OnionLoops are packets of this node to itself, and whether they come back.
type OnionLoops struct {
	Sent     uint64 `json:"sent"`
	Returned uint64 `json:"returned"`
	Lost     uint64 `json:"lost"`
	// Missing are those of the last Judged that did not come back; above Bound it is an alarm.
	Judged   int      `json:"judged"`
	Missing  int      `json:"missing"`
	Bound    int      `json:"bound"`
	Alarm    bool     `json:"alarm"`
	Suspects []string `json:"suspects,omitempty"` // providers
}

// OnionPing asks for a message to another provider that says nothing.
type OnionPing struct {
	Domain string `json:"domain"`
}

// OnionPinged says that it has arrived.
type OnionPinged struct {
	Domain string        `json:"domain"`
	Took   time.Duration `json:"took_ns"` // until its acknowledgement was here
}

// Onion says how the node's part in the onion overlay is.
func (c *Client) Onion(ctx context.Context) (*Onion, error) {
	return get[Onion](ctx, c, "GET", "/onion", nil)
}

// OnionPing sends a message that says nothing to another provider over relays, and waits until that has it.
func (c *Client) OnionPing(ctx context.Context, domain string) (*OnionPinged, error) {
	return get[OnionPinged](ctx, c, "POST", "/onion/ping", OnionPing{domain})
}
