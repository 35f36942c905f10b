package node

import (
	"fmt"

	"github.com/mimid/mimid/node/introduce"
)

// Introduction is the section [introduction].
type Introduction struct {
	// TokensPerDay is how many tokens for anonymous requests a user gets a day.
	TokensPerDay int `toml:"tokens_per_day" comment:"How many anonymous requests a user may send a day; 0 for none."`
}

func (i *Introduction) check() error {
	if i.TokensPerDay < 0 || i.TokensPerDay > introduce.MaxPerDay {
		return fmt.Errorf("introduction.tokens_per_day: %d; 0 for none, %d at most", i.TokensPerDay, introduce.MaxPerDay)
	}
	return nil
}

// makeIntroduce makes what lets users ask others without a name.
func (n *Node) makeIntroduce(p *parts) (*introduce.Service, error) {
	return introduce.New(introduce.Config{Domain: n.cfg.Domain, Store: p.store, Accounts: p.accounts, Contacts: p.contacts, Feed: p.feed, Caller: p.caller, Veil: p.veil, Now: n.now, Log: n.log.With("part", "introductions"),
		Limits: introduce.Limits{PerDay: n.cfg.Introduction.TokensPerDay}})
}
