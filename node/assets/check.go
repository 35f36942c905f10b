package assets

import (
	"fmt"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/store"
)

// Check says whether a record of store.SpaceAssets is one that this package writes. Verify
// says whether they fit each other, and the files. Error: one that cannot be told apart.
func Check(it store.Item) error {
	name, err := store.SpaceAssets.Parse(it.Key)
	if err != nil || len(name) == 0 {
		return fmt.Errorf("%w: key of %d octets", errRecord, len(name))
	}
	switch {
	case name[0] == kindOwned:
		_, err = parseOwned(it)
		return err
	case name[0] == kindAsset && len(name) > 1+len(asset.Hash{}) && len(it.Value) == 0,
		name[0] == kindUsed && len(name) > 1 && len(it.Value) == 16,
		name[0] == kindTotal && len(name) == 1 && len(it.Value) == 8:
		return nil
	}
	return fmt.Errorf("%w: kind %d, key of %d octets, value of %d", errRecord, name[0], len(name), len(it.Value))
}
