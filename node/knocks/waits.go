package knocks

import (
	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Waits says whether an own user waits to be let into a room.
func (s *Service) Waits(tx *store.Tx, u uri.User, room uri.Room) (bool, error) {
	o, err := readOwn(tx, ownKey{u, room})
	return err == nil && (o.state == asking || o.state == waiting) && s.cfg.Now().Sub(o.issued) <= knock.Lifetime, err
}
