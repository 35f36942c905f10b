package contact

import (
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Kinds of keys in store.SpaceClaims, see the package documentation.
const (
	claimOf      = 1
	claimer      = 2
	rivals       = 3
	searchPolicy = 4
)

// claimRecord is a published claim, or a withdrawal that is remembered.
type claimRecord struct {
	user      uri.User
	sii       discovery.SII
	secret    discovery.Secret
	withdrawn bool
	issued    uint64
	ends      uint64
	endorsed  uint64 // when the provider signed
	claim     []byte
}

func (c *claimRecord) bytes() []byte {
	b := []byte{version, 0}
	if c.withdrawn {
		b[1] = 1
	}
	b = presentation.AppendU64(presentation.AppendU64(b, c.issued), c.ends)
	b = presentation.AppendU64(b, c.endorsed)
	b = presentation.AppendOpaque(b, []byte(c.sii.String()))
	b = presentation.AppendOpaque(b, c.secret.Bytes())
	return presentation.AppendOpaque(b, c.claim)
}

func parseClaimRecord(k store.Key, b []byte) (*claimRecord, error) {
	name, err := store.SpaceClaims.Parse(k)
	if err != nil || len(name) < 2+discovery.KeySize {
		return nil, fmt.Errorf("%w: claim under key %v", ErrDamaged, k)
	}
	c := new(claimRecord)
	r := presentation.NewReader(b)
	if v := r.U8(); v != version && r.Err() == nil {
		return nil, fmt.Errorf("%w: claim of version %d", ErrDamaged, v)
	}
	c.withdrawn = r.U8() == 1
	c.issued, c.ends, c.endorsed = r.U64(), r.U64(), r.U64()
	sii, secret := r.Opaque(), r.Opaque()
	c.claim = r.Opaque()
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: claim: %w", ErrDamaged, err)
	}
	var err1, err2, err3 error
	c.user, err1 = uri.ParseUser(string(name[1 : len(name)-discovery.KeySize-1]))
	c.sii, err2 = discovery.ParseSII(string(sii))
	c.secret, err3 = discovery.ParseSecret(secret)
	if errors.Join(err1, err2, err3) != nil {
		// Not the parsers' texts, which quote identifiers.
		return nil, fmt.Errorf("%w: claim's user, identifier or secret", ErrDamaged)
	}
	return c, nil
}

func claimKey(user uri.User, id [discovery.KeySize]byte) store.Key {
	b := append(append([]byte{claimOf}, user.String()...), 0)
	return store.SpaceClaims.Key(append(b, id[:]...))
}

func claimerPrefix(id [discovery.KeySize]byte) []byte { return append([]byte{claimer}, id[:]...) }

func claimerKey(user uri.User, id [discovery.KeySize]byte) store.Key {
	return store.SpaceClaims.Key(append(claimerPrefix(id), user.String()...))
}

// readClaim returns nil for none.
func readClaim(tx *store.Tx, user uri.User, id [discovery.KeySize]byte) (*claimRecord, error) {
	k := claimKey(user, id)
	b, err := tx.Get(k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading claim: %w", err)
	}
	return parseClaimRecord(k, b)
}

// writeClaim keeps the index: a withdrawal is no claim.
func writeClaim(tx *store.Tx, c *claimRecord) error {
	id := c.secret.ClaimID()
	if err := tx.Set(claimKey(c.user, id), c.bytes()); err != nil {
		return err
	}
	if c.withdrawn {
		return errors.Join(tx.Delete(claimerKey(c.user, id)), tx.Delete(rivalsKey(c.user, id)))
	}
	return tx.Set(claimerKey(c.user, id), []byte{version})
}

func deleteClaim(tx *store.Tx, c *claimRecord) error {
	id := c.secret.ClaimID()
	return errors.Join(tx.Delete(claimKey(c.user, id)), tx.Delete(claimerKey(c.user, id)), tx.Delete(rivalsKey(c.user, id)))
}

// scanClaims calls fn with a user's claims, or with all of them for the zero
// User.
func scanClaims(tx *store.Tx, user uri.User, fn func(*claimRecord) error) error {
	prefix := []byte{claimOf}
	if !user.IsZero() {
		prefix = append(append(prefix, user.String()...), 0)
	}
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceClaims.Prefix(prefix)}) {
		if err != nil {
			return err
		}
		c, err := parseClaimRecord(it.Key, it.Value)
		if err == nil {
			err = fn(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// claimers are the claims of own users for an identifier, that have not ended.
func claimers(tx *store.Tx, secret discovery.Secret, now time.Time) (list []*claimRecord, err error) {
	prefix := claimerPrefix(secret.ClaimID())
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceClaims.Prefix(prefix), KeysOnly: true}) {
		if err != nil {
			return nil, err
		}
		name, err := store.SpaceClaims.Parse(it.Key)
		if err != nil {
			return nil, err
		}
		user, err := uri.ParseUser(string(name[len(prefix):]))
		if err != nil {
			return nil, fmt.Errorf("%w: claimer: %w", ErrDamaged, err)
		}
		c, err := readClaim(tx, user, secret.ClaimID())
		if err != nil {
			return nil, err
		}
		if c != nil && c.ends > millis(now) {
			list = append(list, c)
		}
	}
	return list, nil
}

func millis(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }
