package logstore

import (
	"crypto/ed25519"
	"fmt"
	"iter"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Voted is the proof that a provider has voted twice in one term of a room. One is kept
// of each voter, in store.SpaceCondemned under room[32] ff voter:
//
//	uint8 version = 1
//	opaque key[32]              that both are signed with; the log may name another one since
//	DoubleVote proof
//
// No entry of a log has a place that begins with ff.
type Voted struct {
	Key   [ed25519.PublicKeySize]byte
	Proof room.DoubleVote
}

// Verify says whether the proof is one. Errors: room.ErrNoProof, room.ErrSignature.
func (v *Voted) Verify() error { return v.Proof.Verify(v.Key[:]) }

const condemnedVoter = 0xff

func votedKey(id room.ID, voter string) store.Key {
	return condemnedKey(id, append([]byte{condemnedVoter}, voter...))
}

// PutVoted writes a proof. How many of a room there are is for the caller to bound.
func PutVoted(tx *store.Tx, v *Voted) error {
	return tx.Set(votedKey(v.Proof.A.Room, v.Proof.A.Voter), v.append(nil))
}

func (v *Voted) append(b []byte) []byte {
	return v.Proof.Append(append(append(b, version), v.Key[:]...))
}

// parseVoted reads what is stored under a room and a voter.
func parseVoted(id room.ID, voter string, b []byte) (*Voted, error) {
	bad := func(err error) (*Voted, error) {
		return nil, fmt.Errorf("room %s: two votes of %q: %w: %w", id, voter, err, ErrDamaged)
	}
	r := presentation.NewReader(b)
	v := new(Voted)
	n := r.U8()
	copy(v.Key[:], r.Fixed(len(v.Key)))
	v.Proof.A.Read(r)
	v.Proof.B.Read(r)
	if err := r.Done(); err != nil {
		return bad(err)
	}
	if n != version || v.Proof.A.Room != id || v.Proof.A.Voter != voter {
		return bad(fmt.Errorf("version %d, about %q in room %s", n, v.Proof.A.Voter, v.Proof.A.Room))
	}
	return v, nil
}

// VotedTwice yields the proofs of a room, in the order of the voters. Errors: ErrDamaged,
// and those of the store.
func VotedTwice(tx *store.Tx, id room.ID) iter.Seq2[*Voted, error] {
	return scanVoted(tx, append(id[:], condemnedVoter))
}

// AllVotedTwice yields the proofs of all rooms.
func AllVotedTwice(tx *store.Tx) iter.Seq2[*Voted, error] { return scanVoted(tx, nil) }

func scanVoted(tx *store.Tx, prefix []byte) iter.Seq2[*Voted, error] {
	return func(yield func(*Voted, error) bool) {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceCondemned.Prefix(prefix)}) {
			var v *Voted
			if err == nil {
				var name []byte
				if name, err = store.SpaceCondemned.Parse(it.Key); err == nil && !isVoted(name) {
					continue
				}
				if err == nil {
					v, err = parseVoted(room.ID(name[:len(room.ID{})]), string(name[len(room.ID{})+1:]), it.Value)
				}
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// isVoted says whether a name in store.SpaceCondemned is of a proof of two votes.
func isVoted(name []byte) bool {
	return len(name) > len(room.ID{})+1 && name[len(room.ID{})] == condemnedVoter
}
