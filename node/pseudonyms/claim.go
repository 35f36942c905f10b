package pseudonyms

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Admitted is a request for KeyPackages that was read and verified.
type Admitted struct {
	Requester, Target uri.User
	Room              uri.Room
	Suites            []mls.CipherSuite
	// Consents says whether the target lets the requester add it.
	Consents bool
}

// errNone: nothing is given.
var errNone = errors.New("pseudonyms: nothing to give")

// Claim answers a request for KeyPackages of an own user under a pseudonym, which has come
// sealed through a provider: a clientapi.PseudonymousClaim as JSON. It gives the same again
// for the same room.
func (s *Service) Claim(ctx context.Context, raw []byte, source string) ([]byte, error) {
	q, err := s.cfg.Admit(ctx, raw, source)
	if err != nil {
		return nil, err
	}
	if q.Room.IsZero() {
		return nil, invalid("a request for KeyPackages under a pseudonym names the room")
	}
	out := &clientapi.PseudonymousClaim{Status: clientapi.ClaimNoConsent}
	if q.Consents {
		if out, err = s.give(ctx, q); err != nil {
			return nil, fmt.Errorf("giving out KeyPackages under a pseudonym: %w", err)
		}
	}
	return json.Marshal(out)
}

func (s *Service) give(ctx context.Context, q *Admitted) (*clientapi.PseudonymousClaim, error) {
	none := &clientapi.PseudonymousClaim{Status: clientapi.ClaimExhausted}
	stock, err := s.cfg.Accounts.Stock(ctx, q.Target)
	if err != nil {
		return nil, err
	}
	if len(stock.Devices) == 0 || !slices.Contains(q.Suites, room.Suite) {
		return none, nil
	}
	var out *clientapi.PseudonymousClaim
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		id := room.IDOf([]byte(q.Room.String()))
		uuid, found, err := get(tx, roomKey(q.Target.Name(), id), parseNamed)
		if err == nil && !found {
			uuid, err = s.take(tx, q, id)
		}
		if err != nil {
			return err
		}
		list, err := s.fresh(tx, uuid)
		if err != nil {
			return err
		}
		p, err := s.named(uuid)
		if err != nil {
			return err
		}
		out = &clientapi.PseudonymousClaim{Status: clientapi.ClaimGiven, Pseudonym: p.String()}
		for _, d := range stock.Devices { // one that was removed is not among them
			if x := list[d.Device]; x != nil {
				out.KeyPackages = append(out.KeyPackages, clientapi.PseudonymousKeyPackage{KeyPackage: x.kp, Key: x.key[:]})
			}
		}
		if len(out.KeyPackages) == 0 {
			return errNone // and no set was taken for it
		}
		return nil
	})
	if errors.Is(err, errNone) {
		return none, nil
	}
	return out, err
}

// fresh are the KeyPackages under a pseudonym that are still good.
func (s *Service) fresh(tx *store.Tx, uuid string) (map[string]*brought, error) {
	list, err := packages(tx, uuid)
	if err != nil {
		return nil, err
	}
	from := uint64(max(s.cfg.Now().Add(margin).Unix(), 0))
	for device, x := range list {
		if x.end < from {
			delete(list, device)
		}
	}
	return list, nil
}

// take gives the open set with the most devices to a room.
func (s *Service) take(tx *store.Tx, q *Admitted, id room.ID) (best string, err error) {
	user := q.Target.Name()
	all, err := listed(tx, user)
	if err != nil {
		return "", err
	}
	by := hash(q.Requester)
	given, toThis, most := 0, 0, 0
	for _, uuid := range slices.Sorted(maps.Keys(all)) {
		o := all[uuid]
		if !o.open() {
			if !o.used {
				given++
				if o.requester == by {
					toThis++
				}
			}
			continue
		}
		list, err := s.fresh(tx, uuid)
		if err != nil {
			return "", err
		}
		if len(list) > most {
			best, most = uuid, len(list)
		}
	}
	if best == "" || given >= MaxGiven || toThis >= MaxGivenTo {
		return "", errNone
	}
	o := all[best]
	o.room, o.requester, o.given = id, by, s.now()
	if err := tx.Set(ownedKey(best), o.bytes()); err != nil {
		return "", err
	}
	return best, tx.Set(roomKey(user, id), named(best))
}

func hash(u uri.User) [sha256.Size]byte {
	b := presentation.AppendOpaque(nil, []byte("mimid pseudonym requester v1"))
	return sha256.Sum256(presentation.AppendOpaque(b, []byte(u.String())))
}
