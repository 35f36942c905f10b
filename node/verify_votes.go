package node

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/mimid/mimid/node/logstore"
)

// votedTwice checks the proofs against providers that have voted twice in a term of the room,
// and notes them.
func (v *verifier) votedTwice() error {
	lead := v.state.Lead()
	for p, err := range logstore.VotedTwice(v.tx, v.id) {
		if err != nil {
			return err
		}
		voter := p.Proof.A.Voter
		if err := p.Verify(); err != nil {
			return fmt.Errorf("two votes of %s: %w", voter, err)
		}
		by := "it counts as failed here"
		if !slices.ContainsFunc(lead.VoterKeys(voter), func(k ed25519.PublicKey) bool { return bytes.Equal(k, p.Key[:]) }) {
			by = fmt.Sprintf("by key %x, which has no vote in the room any more", p.Key[:8])
		}
		v.note(fmt.Sprintf("%s has voted twice in term %s, for %s and for %s: %s", voter, p.Proof.A.Term, p.Proof.A.Candidate, p.Proof.B.Candidate, by))
	}
	return nil
}
