package discovery

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/uri"
)

// VerifiedClaim is a claim, or a withdrawal, that was true when it was
// verified. Only Verify makes one. It does not change; safe for concurrent use.
type VerifiedClaim struct {
	claim *Claim
	key   crypto.PublicKey
}

// Claim returns the claim as it was received.
func (v *VerifiedClaim) Claim() *Claim { return v.claim }

// Withdrawn says that this is the withdrawal of what was claimed before.
func (v *VerifiedClaim) Withdrawn() bool { return v.claim.kind == kindWithdrawal }

// User returns whom the identifier leads to. Show it with its domain.
func (v *VerifiedClaim) User() uri.User { return v.claim.terms.User }

// Provider returns the provider that vouches for the claim: the user's.
func (v *VerifiedClaim) Provider() uri.Provider { return v.User().Provider() }

// Method says how the provider verified the identifier; "" of a withdrawal.
func (v *VerifiedClaim) Method() Method { return v.claim.terms.Method }

// Rank is the owner's order among its own claims: 0 comes first.
func (v *VerifiedClaim) Rank() uint8 { return v.claim.terms.Rank }

// Tags returns a copy of the owner's preference tags, in ascending order.
func (v *VerifiedClaim) Tags() []string { return slices.Clone(v.claim.terms.Tags) }

// Statement returns a copy of what a verification authority states, unjudged; nil for none.
func (v *VerifiedClaim) Statement() []byte { return bytes.Clone(v.claim.terms.Statement) }

// Issued returns when the user made the claim.
func (v *VerifiedClaim) Issued() time.Time { return v.claim.terms.Issued }

// Expires returns when the claim ends. The user certificate may end before;
// the provider then renews it.
func (v *VerifiedClaim) Expires() time.Time { return v.claim.terms.Expires }

// UserKey returns the user key, ed25519.PublicKey or *ecdsa.PublicKey, which is
// not to be changed.
func (v *VerifiedClaim) UserKey() crypto.PublicKey { return v.key }

// KeyID returns the SHA-256 of the user key, as an MLS leaf would hold it. Equal
// ids are equal keys.
func (v *VerifiedClaim) KeyID() [sha256.Size]byte {
	id, err := KeyID(v.key)
	if err != nil {
		panic("discovery: verified claim with a key that verifies nothing")
	}
	return id
}

// KeyID names a user key: the SHA-256 of the key as an MLS leaf holds it. Error: ErrKey.
func KeyID(key crypto.PublicKey) ([sha256.Size]byte, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return sha256.Sum256(k), nil
	case *ecdsa.PublicKey:
		if b, err := k.Bytes(); err == nil {
			return sha256.Sum256(b), nil
		}
	}
	return [sha256.Size]byte{}, fmt.Errorf("naming %T: %w", key, ErrKey)
}

// Owner is a user key and what it claims.
type Owner struct {
	Key [sha256.Size]byte // KeyID of all claims
	// Claims are in the owner's order: by rank, then the newest first.
	Claims []*VerifiedClaim
}

// Grouping is what is known about one identifier.
type Grouping struct {
	// Owners in an order that favours nobody, since owners rank themselves: by
	// domain of their first claim, then by key.
	Owners []Owner
	// Withdrawn are the withdrawals that are in force: somebody was here and has
	// opted out, which is not the same as nobody ever.
	Withdrawn []*VerifiedClaim
}

// Conflict says that several user keys claim the identifier. All are to be
// shown, each with its domain, and nothing sent to any before the user has
// chosen. For handles, which every provider hands out by itself, it is normal.
func (g Grouping) Conflict() bool { return len(g.Owners) > 1 }

// Group sorts verified claims about one identifier, from any number of
// providers. Of one user under one key the newest statement counts; a withdrawal
// counts as newer than a claim of the same millisecond. The result does not
// depend on the order of the claims.
func Group(claims []*VerifiedClaim) Grouping {
	type place struct {
		key  [sha256.Size]byte
		user uri.User
	}
	newest := map[place]*VerifiedClaim{}
	for _, v := range claims {
		p := place{v.KeyID(), v.User()}
		if was := newest[p]; was == nil || supersedes(v, was) {
			newest[p] = v
		}
	}
	var out Grouping
	owned := map[[sha256.Size]byte][]*VerifiedClaim{}
	for p, v := range newest {
		if v.Withdrawn() {
			out.Withdrawn = append(out.Withdrawn, v)
		} else {
			owned[p.key] = append(owned[p.key], v)
		}
	}
	for key, claims := range owned {
		slices.SortFunc(claims, ownersOrder)
		out.Owners = append(out.Owners, Owner{key, claims})
	}
	slices.SortFunc(out.Owners, func(a, b Owner) int {
		return cmp.Or(cmp.Compare(a.Claims[0].Provider().Domain(), b.Claims[0].Provider().Domain()),
			bytes.Compare(a.Key[:], b.Key[:]))
	})
	slices.SortFunc(out.Withdrawn, func(a, b *VerifiedClaim) int {
		x, y := a.KeyID(), b.KeyID()
		return cmp.Or(cmp.Compare(a.User().String(), b.User().String()), bytes.Compare(x[:], y[:]))
	})
	return out
}

// supersedes says whether a counts instead of b, both of one user and key. The
// last comparisons only make the choice independent of the order given.
func supersedes(a, b *VerifiedClaim) bool {
	if c := a.Issued().Compare(b.Issued()); c != 0 {
		return c > 0
	}
	if a.Withdrawn() != b.Withdrawn() {
		return a.Withdrawn()
	}
	return cmp.Or(a.Expires().Compare(b.Expires()), bytes.Compare(a.claim.Bytes(), b.claim.Bytes())) > 0
}

func ownersOrder(a, b *VerifiedClaim) int {
	return cmp.Or(cmp.Compare(a.Rank(), b.Rank()), b.Issued().Compare(a.Issued()),
		cmp.Compare(a.User().String(), b.User().String()))
}
