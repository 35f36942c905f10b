package knocks

import (
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/store"
)

// Check says whether a record of store.SpaceKnocks is one that this package writes. Error:
// ErrDamaged.
func Check(it store.Item) error {
	name, err := store.SpaceKnocks.Parse(it.Key)
	if err != nil || len(name) == 0 {
		return fmt.Errorf("%w: key %v", ErrDamaged, it.Key)
	}
	switch name[0] {
	case kindOwn:
		if _, err = parseOwnKey(it.Key); err == nil {
			_, err = parseOwn(it.Value)
		}
	case kindHeld:
		if _, err = parseHeldKey(it.Key); err == nil {
			_, err = parseHeld(it.Value)
		}
	case kindRoom, kindProvider, kindAll, kindUser, kindShare:
		r := presentation.NewReader(it.Value)
		v := r.U8()
		r.U32()
		if bad := r.Done(); bad != nil || v != version {
			err = fmt.Errorf("%w: counter of version %d", ErrDamaged, v)
		}
	default:
		err = fmt.Errorf("%w: a record of kind %d", ErrDamaged, name[0])
	}
	return err
}
