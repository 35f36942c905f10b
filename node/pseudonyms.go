package node

import (
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// lateNames are the pseudonyms for the rooms, which are made before and run after.
type lateNames struct{ p *parts }

func (l lateNames) User(tx *store.Tx, p uri.User, name uri.Room) (uri.User, error) {
	return l.p.pseudonyms.User(tx, p, name)
}

func (l lateNames) In(tx *store.Tx, u uri.User, name uri.Room) (uri.User, error) {
	return l.p.pseudonyms.In(tx, u, name)
}

// joined says which KeyPackages are used, of either kind.
func (p *parts) joined(tx *store.Tx, refs ...[]byte) error {
	if err := p.accounts.Joined(tx, refs...); err != nil {
		return err
	}
	return p.pseudonyms.Joined(tx, refs...)
}
