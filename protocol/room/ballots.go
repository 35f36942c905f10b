package room

import (
	"crypto/ed25519"
	"slices"
)

// MaxBallots bounds the terms of which Ballots remembers a voter's vote.
const MaxBallots = 16

// Ballots are verified votes of one room, the newest of each voter, so that a second
// one in a term is noticed. The zero value has none. A voter that votes in many terms
// pushes out no votes but its own.
type Ballots struct {
	by map[string][]ballot // in the order of their terms
}

type ballot struct {
	vote SignedVote
	key  [ed25519.PublicKeySize]byte // it was verified with
}

// Note remembers a vote of a voter that signs with one of keys. A vote that none of them
// verifies is not noted, and of two in one term the first one stays: Contradicts compares.
// It returns whether the vote is remembered, or was.
func (b *Ballots) Note(v *SignedVote, keys ...ed25519.PublicKey) bool {
	list := b.by[v.Voter]
	i, found := slices.BinarySearchFunc(list, v.Term, func(x ballot, t Term) int { return x.vote.Term.Compare(t) })
	if found {
		return list[i].vote.Vote == v.Vote
	}
	if len(list) >= MaxBallots && i == 0 {
		return false // older than all that is remembered
	}
	for _, k := range keys {
		if v.Verify(k) != nil {
			continue
		}
		list = slices.Insert(list, i, ballot{*v, [ed25519.PublicKeySize]byte(k)})
		if len(list) > MaxBallots {
			list = slices.Delete(list, 0, 1)
		}
		if b.by == nil {
			b.by = map[string][]ballot{}
		}
		b.by[v.Voter] = list
		return true
	}
	return false
}

// Contradicts returns the proof that a vote is its voter's second one in its term, and
// the key that both are signed with; nil if it is not, or not signed with that key.
// It computes a signature only for a vote that differs from one that is remembered.
func (b *Ballots) Contradicts(v *SignedVote) (*DoubleVote, ed25519.PublicKey) {
	for _, x := range b.by[v.Voter] {
		if x.vote.Term != v.Term || x.vote.Vote == v.Vote {
			continue
		}
		p := &DoubleVote{A: x.vote, B: *v}
		if p.Verify(x.key[:]) == nil {
			return p, x.key[:]
		}
	}
	return nil, nil
}

// Keys returns the keys with which a voter's remembered votes are signed.
func (b *Ballots) Keys(voter string) (out []ed25519.PublicKey) {
	for _, x := range b.by[voter] {
		if k := ed25519.PublicKey(x.key[:]); !slices.ContainsFunc(out, func(o ed25519.PublicKey) bool { return o.Equal(k) }) {
			out = append(out, slices.Clone(k))
		}
	}
	return out
}

// VoterKeys returns the keys that a provider may sign votes with: those that the sets in
// force, the next one and the one before name.
func (l *Lead) VoterKeys(domain string) []ed25519.PublicKey {
	return keysIn(domain, l.Next, l.Now, l.Before)
}

// Signer returns which of keys both votes are signed with. Errors: ErrNoProof,
// ErrSignature; ErrVote if there is no key.
func (p *DoubleVote) Signer(keys []ed25519.PublicKey) (ed25519.PublicKey, error) {
	err := ErrVote
	for _, k := range keys {
		if err = p.Verify(k); err == nil {
			return k, nil
		}
	}
	return nil, err
}
