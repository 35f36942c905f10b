package admin

import (
	"context"
	"time"
)

// Examination is one page on a node's health and on what its settings expose.
type Examination struct {
	Domain  string    `json:"domain"`
	Version string    `json:"version"`
	At      time.Time `json:"at"`
	Checks  []Check   `json:"checks"`
}

// Outcome is how a check ended.
type Outcome string

// Outcomes, the worst last.
const (
	Good Outcome = "good"
	Note Outcome = "note" // nothing is broken; the operator should know
	Bad  Outcome = "bad"
)

// Check is one thing that was looked at.
type Check struct {
	// Part is what was looked at: key, record, reachability, certificate, clock, disk, providers,
	// deliveries, evaluators, onion, keypackages, quotas, exposure.
	Part    string  `json:"part"`
	Outcome Outcome `json:"outcome"`
	Found   string  `json:"found"`
	// Do is what to do about it, if anything.
	Do string `json:"do,omitempty"`
}

// Worst is the worst outcome of all checks.
func (x *Examination) Worst() Outcome {
	worst := Good
	for _, c := range x.Checks {
		if c.Outcome == Bad || c.Outcome == Note && worst == Good {
			worst = c.Outcome
		}
	}
	return worst
}

// Doctor has the node examine itself, which takes some seconds.
func (c *Client) Doctor(ctx context.Context) (*Examination, error) {
	return get[Examination](ctx, c, "POST", "/doctor", nil)
}
