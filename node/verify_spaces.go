package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimid/mimid/node/abuse"
	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/node/authority"
	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/node/introduce"
	"github.com/mimid/mimid/node/knocks"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/pseudonyms"
	"github.com/mimid/mimid/node/relaylist"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/store"
)

// maxSpaceFaults is how many faults of one space are named.
const maxSpaceFaults = 10

// checkOf returns what says of one record of a space whether its package writes such ones;
// nil for a space that nobody checks. The whole of rooms and attachments is checked besides.
func checkOf(sp store.Space) func(it store.Item) error {
	switch sp {
	case store.SpaceAccounts, store.SpaceDevices, store.SpaceKeyPackages:
		return account.Check
	case store.SpaceConsent, store.SpaceClaims:
		return contact.Check
	case store.SpaceOverlay:
		return func(it store.Item) error {
			name, err := sp.Parse(it.Key)
			if err == nil {
				err = overlay.CheckStored(name, it.Value)
			}
			return err
		}
	case store.SpaceFeed:
		return feed.Check
	case store.SpaceOutbox:
		return outbox.Check
	case store.SpaceCondemned, store.SpaceReplica, store.SpaceBranches, store.SpaceBans:
		return logstore.Check
	case store.SpaceRestored:
		return func(it store.Item) error {
			if name, err := sp.Parse(it.Key); err != nil || len(name) != len(store.RoomID{}) {
				return fmt.Errorf("the mark of a restored room under a key of %d bytes: %w", len(name), store.ErrCorrupted)
			}
			return nil
		}
	case store.SpaceHeard:
		return checkHeard
	case store.SpacePromises:
		return rooms.CheckPromise
	case store.SpaceKnocks:
		return knocks.Check
	case store.SpaceAssets:
		return assets.Check
	case store.SpaceAbuse:
		return abuse.Check
	case store.SpaceVerifications:
		return authority.Check
	case store.SpaceTokens:
		return introduce.Check
	case store.SpaceOnion:
		return mix.Check
	case store.SpaceMailbox:
		return mix.CheckMailbox
	case store.SpaceRelays:
		return relaylist.Check
	case store.SpacePseudonyms:
		return pseudonyms.Check
	case store.SpaceProviders, store.SpaceClient:
		return func(store.Item) error { return errors.New("nothing of a provider's is kept there") }
	}
	return nil
}

// verifySpaces reads each record that belongs to no room's log.
func verifySpaces(ctx context.Context, st *store.Store) (faults []string, err error) {
	for _, sp := range store.Spaces() {
		check := checkOf(sp)
		if check == nil {
			faults = append(faults, fmt.Sprintf("%s: this program cannot check what is there", sp))
			continue
		}
		bad := 0
		err := st.View(func(tx *store.Tx) error {
			n := 0
			for it, err := range tx.Scan(store.Scan{Prefix: sp.Prefix(nil)}) {
				if err != nil {
					return err
				}
				if n++; n%1000 == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
				if err := check(it); err != nil {
					if bad++; bad <= maxSpaceFaults {
						faults = append(faults, fmt.Sprintf("%s: %s", sp, err))
					}
				}
			}
			return nil
		})
		switch {
		case errors.Is(err, store.ErrCorrupted):
			faults = append(faults, fmt.Sprintf("%s: %s", sp, err))
		case err != nil:
			return nil, err
		case bad > maxSpaceFaults:
			faults = append(faults, fmt.Sprintf("%s: %d more", sp, bad-maxSpaceFaults))
		}
	}
	return faults, nil
}
