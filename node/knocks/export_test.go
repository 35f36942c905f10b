package knocks

import (
	"context"
	"time"

	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Turn does once what Run does when it is woken, and waits for it.
func (s *Service) Turn(ctx context.Context) error {
	for _, id := range s.takeChanged() {
		if err := s.look(ctx, id); err != nil {
			return err
		}
	}
	list, _ := s.takeDue(s.cfg.Now(), attempts)
	for _, k := range list {
		s.bring(ctx, k)
	}
	return nil
}

// Sweep forgets what is old.
func (s *Service) Sweep(ctx context.Context) { s.sweepAll(ctx) }

// Due says when an own user's knock is brought next; false if not.
func (s *Service) Due(u uri.User, r uri.Room) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.due[ownKey{u, r}]
	if a == nil {
		return time.Time{}, false
	}
	return a.at, true
}

// Size is how many keys and octets there are in the store.
func Size(st Store) (keys, octets int, err error) {
	err = st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceKnocks.Prefix(nil)}) {
			if err != nil {
				return err
			}
			keys++
			octets += len(it.Value) + len(it.Key.Bytes())
		}
		return nil
	})
	return keys, octets, err
}
