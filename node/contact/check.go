package contact

import (
	"bytes"
	"fmt"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/store"
)

// Check says whether a record of store.SpaceConsent or SpaceClaims is one that this package
// writes. Its errors quote no identifier. Error: ErrDamaged.
func Check(it store.Item) error {
	if name, err := store.SpaceConsent.Parse(it.Key); err == nil {
		return checkConsent(name, it)
	}
	name, err := store.SpaceClaims.Parse(it.Key)
	switch {
	case err != nil || len(name) == 0 || name[0] != searchPolicy && len(name) < 2+discovery.KeySize:
		return fmt.Errorf("%w: a key of %d octets", ErrDamaged, len(name))
	case name[0] == claimOf:
		_, err = parseClaimRecord(it.Key, it.Value)
		return err
	case name[0] == claimer && bytes.Equal(it.Value, []byte{version}):
		return nil
	case name[0] == searchPolicy:
		_, err = parseFindable(it.Value)
		return err
	case name[0] == rivals:
		_, err = parseRivals(it.Value)
		return err
	}
	return fmt.Errorf("%w: claims of kind %d", ErrDamaged, name[0])
}

func checkConsent(name []byte, it store.Item) error {
	if len(name) == 0 {
		return fmt.Errorf("%w: a key without a kind", ErrDamaged)
	}
	r := presentation.NewReader(it.Value)
	switch name[0] {
	case given, asked:
		if _, err := parseScope(name[0], it.Key); err != nil {
			return err
		}
		return new(record).parse(it.Value)
	case heldKind:
		_, err := parseHeldRoom(it.Key, it.Value)
		return err
	case heldWelcome:
		_, err := parseWelcomePiece(it.Value)
		return err
	case pendingTarget, pendingProvider, countGiven, countAsked, heldOfTarget, heldOctets, heldOfPair, heldOfProvider, pendingPair:
		if v := r.U8(); v != version && r.Err() == nil || len(name) < 2 {
			return fmt.Errorf("%w: counter of version %d", ErrDamaged, v)
		}
		r.U32()
	case modeKind:
		if _, _, err := parseModeKey(it.Key); err != nil {
			return err
		}
		_, err := parseRuling(it.Value)
		return err
	case decoyKind:
		r.U8()
		r.U8()
		r.U64()
	default:
		return fmt.Errorf("%w: consent of kind %d", ErrDamaged, name[0])
	}
	if err := r.Done(); err != nil {
		return fmt.Errorf("%w: consent: %w", ErrDamaged, err)
	}
	return nil
}
