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
	by map[string][]Ballot // in the order of their terms
}

// Ballot is a vote, and the key that it was verified with.
type Ballot struct {
	Vote SignedVote
	Key  [ed25519.PublicKeySize]byte
}

// Note remembers a vote of a voter that signs with one of keys. A vote that none of them
// verifies is not noted, and of two in one term the first one stays: Contradicts compares.
// It returns whether the vote is remembered, or was.
func (b *Ballots) Note(v *SignedVote, keys ...ed25519.PublicKey) bool {
	list := b.by[v.Voter]
	i, found := slices.BinarySearchFunc(list, v.Term, func(x Ballot, t Term) int { return x.Vote.Term.Compare(t) })
	if found {
		return list[i].Vote.Vote == v.Vote
	}
	if len(list) >= MaxBallots && i == 0 {
		return false // older than all that is remembered
	}
	for _, k := range keys {
		if v.Verify(k) != nil {
			continue
		}
		list = slices.Insert(list, i, Ballot{*v, [ed25519.PublicKeySize]byte(k)})
		if len(list) > MaxBallots {
			list = slices.Delete(list, 0, 1)
		}
		if b.by == nil {
			b.by = map[string][]Ballot{}
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
		if x.Vote.Term != v.Term || x.Vote.Vote == v.Vote {
			continue
		}
		p := &DoubleVote{A: x.Vote, B: *v}
		if p.Verify(x.Key[:]) == nil {
			return p, x.Key[:]
		}
	}
	return nil, nil
}

// Has says whether a vote is one of those that are remembered.
func (b *Ballots) Has(v *SignedVote) bool {
	return slices.ContainsFunc(b.by[v.Voter], func(x Ballot) bool { return x.Vote.Vote == v.Vote })
}

// Of returns what is remembered of a voter, in the order of the terms. The caller owns the slice.
func (b *Ballots) Of(voter string) []Ballot { return slices.Clone(b.by[voter]) }

// Keys returns the keys with which a voter's remembered votes are signed.
func (b *Ballots) Keys(voter string) (out []ed25519.PublicKey) {
	for _, x := range b.by[voter] {
		if k := ed25519.PublicKey(x.Key[:]); !slices.ContainsFunc(out, func(o ed25519.PublicKey) bool { return o.Equal(k) }) {
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
