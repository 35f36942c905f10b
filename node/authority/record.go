package authority

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
	"github.com/mimid/mimid/store"
)

// Keep is how long a challenge is kept and counted.
const Keep = 24 * time.Hour

// Kinds of keys in store.SpaceVerifications, see the package documentation.
const (
	keyChallenge = 1
	keyCount     = 2
	keyMade      = 3

	recordVersion = 1
)

// What is counted.
const (
	countIdentifier = 1 + iota
	countClaimant   // an identifier, through one provider
	countUser
	countProvider
	countAll
)

type hash = [sha256.Size]byte

// counters are what one challenge counts towards, in the order of their kinds.
type counters [countAll]hash

func countersOf(identifier string, user uri.User) (c counters) {
	domain := user.Provider().Domain()
	for i, name := range []string{identifier, identifier + "\x00" + domain, user.String(), domain, ""} {
		c[i] = sha256.Sum256([]byte(name))
	}
	return c
}

func challengeKey(id verification.ID) store.Key {
	return store.SpaceVerifications.Key(append([]byte{keyChallenge}, id[:]...))
}

func countKey(kind int, h hash) store.Key {
	return store.SpaceVerifications.Key(append([]byte{keyCount, byte(kind)}, h[:]...))
}

func madeKey(c *verification.Challenge) store.Key {
	id := c.ID()
	b := binary.BigEndian.AppendUint64([]byte{keyMade}, uint64(c.Made().UnixMilli()))
	return store.SpaceVerifications.Key(append(b, id[:]...))
}

// readChallenge returns nil for none.
func readChallenge(tx *store.Tx, id verification.ID) (*verification.Challenge, error) {
	b, err := tx.Get(challengeKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading challenge: %w", err)
	}
	c, err := verification.ParseChallenge(b)
	if err != nil {
		return nil, fmt.Errorf("%w: challenge: %w", ErrDamaged, err)
	}
	return c, nil
}

func writeChallenge(tx *store.Tx, c *verification.Challenge) error {
	return tx.Set(challengeKey(c.ID()), c.Bytes())
}

// addChallenge stores a new challenge and counts it.
func addChallenge(tx *store.Tx, c *verification.Challenge, of counters) error {
	for i, h := range of {
		if err := count(tx, i+1, h, 1); err != nil {
			return err
		}
	}
	made := append([]byte{recordVersion}, of[0][:]...)
	if err := tx.Set(madeKey(c), append(made, of[1][:]...)); err != nil {
		return err
	}
	return writeChallenge(tx, c)
}

func readCount(tx *store.Tx, kind int, h hash) (int, error) {
	b, err := tx.Get(countKey(kind, h))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading count: %w", err)
	}
	return parseCount(b)
}

func parseCount(b []byte) (int, error) {
	if len(b) != 5 || b[0] != recordVersion {
		return 0, fmt.Errorf("%w: count of %d octets", ErrDamaged, len(b))
	}
	return int(binary.BigEndian.Uint32(b[1:])), nil
}

func count(tx *store.Tx, kind int, h hash, more int) error {
	n, err := readCount(tx, kind, h)
	if err != nil {
		return err
	}
	if n += more; n <= 0 {
		return tx.Delete(countKey(kind, h))
	}
	return tx.Set(countKey(kind, h), binary.BigEndian.AppendUint32([]byte{recordVersion}, uint32(n)))
}

// forgetAtOnce is how many challenges one transaction deletes.
const forgetAtOnce = 200

// Forget deletes the challenges that are older than Keep.
func (s *Service) Forget(ctx context.Context) error {
	before := uint64(max(s.cfg.Now().Add(-Keep).UnixMilli(), 0))
	for more := true; more; {
		err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			var old []store.Item
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceVerifications.Prefix([]byte{keyMade})}) {
				if err != nil {
					return err
				}
				name, err := store.SpaceVerifications.Parse(it.Key)
				if err != nil || len(name) != 9+sha256.Size {
					return fmt.Errorf("%w: a key of %d octets", ErrDamaged, len(name))
				}
				if binary.BigEndian.Uint64(name[1:]) > before || len(old) == forgetAtOnce {
					break
				}
				old = append(old, store.Item{Key: it.Key, Value: bytes.Clone(it.Value)})
			}
			more = len(old) == forgetAtOnce
			for _, it := range old {
				if err := forget(tx, it); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("deleting old challenges: %w", err)
		}
	}
	return nil
}

// forget deletes the challenge that an item of kind keyMade names, and counts back.
func forget(tx *store.Tx, it store.Item) error {
	name, err := store.SpaceVerifications.Parse(it.Key)
	if err != nil || len(it.Value) != 1+2*sha256.Size {
		return fmt.Errorf("%w: what a challenge counts", ErrDamaged)
	}
	c, err := readChallenge(tx, verification.ID(name[9:]))
	if err != nil {
		return err
	}
	if c == nil {
		return fmt.Errorf("%w: a challenge is missing", ErrDamaged)
	}
	of := countersOf("", c.User())
	of[0], of[1] = hash(it.Value[1:]), hash(it.Value[1+sha256.Size:])
	for i, h := range of {
		if err := count(tx, i+1, h, -1); err != nil {
			return err
		}
	}
	return errors.Join(tx.Delete(challengeKey(c.ID())), tx.Delete(it.Key))
}

// Check says whether a record of store.SpaceVerifications is one that this package writes. Its
// errors quote no identifier. Error: ErrDamaged.
func Check(it store.Item) error {
	name, err := store.SpaceVerifications.Parse(it.Key)
	if err != nil || len(name) == 0 {
		return fmt.Errorf("%w: a key without a kind", ErrDamaged)
	}
	switch {
	case name[0] == keyChallenge && len(name) == 1+sha256.Size:
		c, err := verification.ParseChallenge(it.Value)
		if err != nil {
			return fmt.Errorf("%w: challenge: %w", ErrDamaged, err)
		}
		if id := c.ID(); !bytes.Equal(id[:], name[1:]) {
			return fmt.Errorf("%w: a challenge under another's name", ErrDamaged)
		}
		return nil
	case name[0] == keyCount && len(name) == 2+sha256.Size && name[1] >= countIdentifier && name[1] <= countAll:
		_, err := parseCount(it.Value)
		return err
	case name[0] == keyMade && len(name) == 9+sha256.Size:
		r := presentation.NewReader(it.Value)
		if v := r.U8(); r.Err() == nil && v != recordVersion {
			return fmt.Errorf("%w: version %d", ErrDamaged, v)
		}
		r.Fixed(2 * sha256.Size)
		if err := r.Done(); err != nil {
			return fmt.Errorf("%w: what a challenge counts: %w", ErrDamaged, err)
		}
		return nil
	}
	return fmt.Errorf("%w: verifications of kind %d, a key of %d octets", ErrDamaged, name[0], len(name))
}
