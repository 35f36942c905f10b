package abuse

import (
	"encoding/binary"
	"fmt"

	"github.com/mimid/mimid/store"
)

// Check says whether a record of store.SpaceAbuse is one that this package writes. Error:
// ErrDamaged, which quotes nothing of a report.
func Check(it store.Item) error {
	name, err := store.SpaceAbuse.Parse(it.Key)
	if err != nil || len(name) == 0 {
		return fmt.Errorf("%w: key %v", ErrDamaged, it.Key)
	}
	number := len(it.Value) == 9 && it.Value[0] == version
	switch {
	case name[0] == 0 && len(name) == 1 && number, name[0] == kindSame && len(name) == 1+32 && number:
		return nil
	case name[0] == kindResolved && len(name) == 1+8+8:
		return nil
	case name[0] == kindReport && len(name) == 1+8:
		r, err := parse(it.Value)
		if err == nil && r.Number != binary.BigEndian.Uint64(name[1:]) {
			err = fmt.Errorf("%w: report %d under the number of another", ErrDamaged, r.Number)
		}
		return err
	}
	return fmt.Errorf("%w: a record of kind %d", ErrDamaged, name[0])
}
