package contact

import (
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/store"
)

// Held is what is kept for own users of strangers, of all users together.
type Held struct {
	// Rooms in quarantine, those of one provider's users at most, and the octets of Welcomes to them.
	Rooms, RoomsOfOne, Octets int
	// Requests for consent that wait for an answer, and those of one provider's users at most.
	Requests, RequestsOfOne int
	// Providers is how many other providers have something there.
	Providers int
}

// Held counts what is kept. It reads the counters, of which there are a few for each provider, and one
// for each user who has a room in quarantine.
func (s *Service) Held() (h Held, err error) {
	of := map[string]bool{}
	err = s.cfg.Store.View(func(tx *store.Tx) error {
		rooms, err1 := counters(tx, heldOfProvider)
		octets, err2 := counters(tx, heldOctets)
		requests, err3 := counters(tx, pendingProvider)
		for _, err := range []error{err1, err2, err3} {
			if err != nil {
				return err
			}
		}
		for domain, n := range rooms {
			of[domain] = true
			h.Rooms, h.RoomsOfOne = h.Rooms+n, max(h.RoomsOfOne, n)
		}
		for domain, n := range requests {
			of[domain] = true
			h.Requests, h.RequestsOfOne = h.Requests+n, max(h.RequestsOfOne, n)
		}
		for _, n := range octets {
			h.Octets += n
		}
		return nil
	})
	if err != nil {
		return Held{}, fmt.Errorf("counting what is held of strangers: %w", err)
	}
	h.Providers = len(of)
	return h, nil
}

// counters are all of a kind, by name.
func counters(tx *store.Tx, kind byte) (map[string]int, error) { return countersOf(tx, kind, "") }

// countersOf are those whose names begin so.
func countersOf(tx *store.Tx, kind byte, prefix string) (map[string]int, error) {
	out := map[string]int{}
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceConsent.Prefix(append([]byte{kind}, prefix...))}) {
		if err != nil {
			return nil, fmt.Errorf("reading counters: %w", err)
		}
		name, err := store.SpaceConsent.Parse(it.Key)
		if err != nil {
			return nil, err
		}
		r := presentation.NewReader(it.Value)
		v, n := r.U8(), r.U32()
		if err := r.Done(); err != nil || v != version {
			return nil, fmt.Errorf("%w: counter of version %d: %w", ErrDamaged, v, err)
		}
		out[string(name[1:])] = int(n)
	}
	return out, nil
}
