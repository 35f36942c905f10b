package account

import (
	"bytes"
	"fmt"

	"github.com/mimid/mimid/store"
)

// Check says whether a record of store.SpaceAccounts, SpaceDevices or SpaceKeyPackages is one
// that this package writes. Error: ErrRecord.
func Check(it store.Item) error {
	for _, sp := range []store.Space{store.SpaceAccounts, store.SpaceDevices, store.SpaceKeyPackages} {
		if name, err := sp.Parse(it.Key); err == nil {
			return check(sp, name, it.Value)
		}
	}
	return fmt.Errorf("key %v: %w", it.Key, ErrRecord)
}

func check(sp store.Space, name, v []byte) (err error) {
	bad := fmt.Errorf("a key of %d octets: %w", len(name), ErrRecord)
	if len(name) < 2 {
		return bad
	}
	kind, rest := name[0], name[1:]
	user, device, two := bytes.Cut(rest, []byte{0})
	two = two && len(user) > 0
	switch {
	case sp == store.SpaceAccounts && kind == 1 && !two:
		_, err = parseAccount(v)
	case sp == store.SpaceAccounts && kind == 2 && len(rest) == 32:
		_, err = parseInvite(v)
	case sp == store.SpaceDevices && kind == 1 && two && len(device) > 0:
		_, err = parseDevice(v)
	case sp == store.SpaceDevices && kind == 2 && len(rest) == 32:
		_, err = parseOwner(v)
	case sp == store.SpaceKeyPackages && kind == 1 && two:
		if i := bytes.IndexByte(device, 0); i < 1 || len(device)-i-1 != 8+32 {
			return bad
		}
		_, err = parsePackage(v)
	case sp == store.SpaceKeyPackages && kind == 2 && two:
		_, err = parseLastResort(v)
	case sp == store.SpaceKeyPackages && kind == 3 && two && len(device) > 32:
		_, err = parseClaim(v)
	case sp == store.SpaceKeyPackages && kind == 5 && two && len(device) == 32:
		_, err = parseShare(v)
	case sp == store.SpaceKeyPackages && kind == 6 && len(rest) == 32:
		if len(v) == 0 || len(v) > MaxKeyPackage {
			return fmt.Errorf("a KeyPackage of %d octets: %w", len(v), ErrRecord)
		}
	case sp == store.SpaceKeyPackages && kind == 4 && len(rest) == 32:
		_, err = parseUsed(v)
	default:
		return bad
	}
	return err
}
