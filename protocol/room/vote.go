package room

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// SetHash names a replica set in force: the set, and the next one while a change
// is in progress (State.Set), else none.
//
//	SHA-256 of struct {
//	    opaque label<V> = "mimid room set v1";
//	    Replica now<V>;
//	    Replica next<V>;
//	}
func SetHash(now, next []Replica) Hash {
	b := presentation.AppendOpaque(nil, []byte("mimid room set v1"))
	return sha256.Sum256(appendReplicas(appendReplicas(b, now), next))
}

func appendReplicas(b []byte, list []Replica) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for i := range list {
			b = list[i].append(b)
		}
		return b
	})
}

func readReplicas(r *presentation.Reader) (out []Replica) {
	r.List(5, func() {
		var x Replica
		x.read(r)
		out = append(out, x)
	})
	return out
}

// Vote is for one candidate to be hub of one term, with the log that ends in
// Head, decided by one set. A voter gives one vote per term and makes it durable
// first; repeated, it is the same in every field, so keep the signed one.
//
//	struct {
//	    uint8 version = 1;
//	    opaque room_id[32];
//	    opaque set[32];           /* SetHash of the set in force at head */
//	    uint32 era; uint64 number;
//	    opaque candidate<V>;      /* 1 to 253 bytes */
//	    Head head;                /* the candidate's log */
//	    uint8 release;            /* 1: by the hub, who has stopped in the candidate's favour; else 0 */
//	} Vote;
type Vote struct {
	Room      ID
	Set       Hash
	Term      Term
	Candidate string
	Head      Head
	Release   bool
}

func (v *Vote) read(r *presentation.Reader) {
	readVersion(r, "vote")
	copy(v.Room[:], r.Fixed(hashSize))
	copy(v.Set[:], r.Fixed(hashSize))
	v.Term.read(r)
	v.Candidate = readDomain(r)
	v.Head.read(r)
	switch x := r.U8(); {
	case x == 1:
		v.Release = true
	case x > 1 && r.Err() == nil:
		r.Fail(presentation.ErrMalformed, "release of %d", x)
	}
}

func (v *Vote) append(b []byte) []byte {
	b = append(append(append(b, Version), v.Room[:]...), v.Set[:]...)
	b = presentation.AppendOpaque(v.Term.append(b), []byte(v.Candidate))
	b = v.Head.append(b)
	if v.Release {
		return append(b, 1)
	}
	return append(b, 0)
}

// SignedVote is a vote with whose it is:
//
//	struct {
//	    Vote vote;
//	    opaque voter<V>;          /* 1 to 253 bytes */
//	    opaque signature[64];     /* over {opaque label<V> = "mimid room vote v1"; Vote; voter} */
//	} SignedVote;
//
// It is a claim until Verify has seen it.
type SignedVote struct {
	Vote
	Voter     string
	Signature [ed25519.SignatureSize]byte
}

func (s *SignedVote) tbs() []byte {
	b := s.Vote.append(presentation.AppendOpaque(nil, []byte("mimid room vote v1")))
	return presentation.AppendOpaque(b, []byte(s.Voter))
}

// SignVote signs a vote with the voter's provider key. The caller has made it
// durable before.
func SignVote(v Vote, voter string, key ed25519.PrivateKey) SignedVote {
	s := SignedVote{Vote: v, Voter: voter}
	copy(s.Signature[:], ed25519.Sign(key, s.tbs()))
	return s
}

// Verify checks the signature against the voter's key, and nothing else. Error:
// ErrSignature.
func (s *SignedVote) Verify(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, s.tbs(), s.Signature[:]) {
		return fmt.Errorf("vote of %q in term %s: %w", s.Voter, s.Term, ErrSignature)
	}
	return nil
}

// Read reads a signed vote from the front of a reader.
func (s *SignedVote) Read(r *presentation.Reader) {
	s.Vote.read(r)
	s.Voter = readDomain(r)
	copy(s.Signature[:], r.Fixed(ed25519.SignatureSize))
}

// Append appends its encoding.
func (s *SignedVote) Append(b []byte) []byte {
	return append(presentation.AppendOpaque(s.Vote.append(b), []byte(s.Voter)), s.Signature[:]...)
}

// ParseSignedVote reads a signed vote.
func ParseSignedVote(b []byte) (*SignedVote, error) {
	s := new(SignedVote)
	r := presentation.NewReader(b)
	s.Read(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading vote: %w", err)
	}
	return s, nil
}
