package discovery

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// MaxPause is how long a searcher may take from Challenge to Reveal, by the
// announcer's clock alone.
const MaxPause = 2 * time.Minute

// transcript is what both proofs cover, under different keys:
//
//	struct {
//	  uint8  version = 1;
//	  opaque searcher<V>;           domain
//	  opaque announcer<V>;          domain
//	  opaque peer<V>;               the announcer's name in the transport
//	  opaque day_key[32];
//	  opaque searcher_nonce[32];
//	  opaque announcer_nonce[32];
//	} Transcript;
//
// Without the peer, a node that knows no identifier could announce a key that
// it saw, pass every query on to the true announcer, and stand in between.
func transcript(q Query, nonce [KeySize]byte, announcer uri.Provider, peer []byte) []byte {
	b := []byte{messageVersion}
	b = presentation.AppendOpaque(b, []byte(q.Searcher.Domain()))
	b = presentation.AppendOpaque(b, []byte(announcer.Domain()))
	b = presentation.AppendOpaque(b, peer)
	b = append(b, q.DayKey[:]...)
	b = append(b, q.Nonce[:]...)
	return append(b, nonce[:]...)
}

func (s Secret) proof(label string, transcript []byte) [KeySize]byte {
	key := s.derive(label)
	return mac(key[:], transcript)
}

func mac(key, msg []byte) [KeySize]byte {
	h := hmac.New(sha256.New, key)
	h.Write(msg)
	return [KeySize]byte(h.Sum(nil))
}

// Announcer is the side that announced a key. It remembers nothing between
// Challenge and Answer: its nonce is a time and a MAC of the query under a key
// of its own, so that queries cost no memory, however many come. The price is
// that within MaxPause one Reveal may be answered twice, to the same searcher
// with the same answer. It does not change; safe for concurrent use.
type Announcer struct {
	self uri.Provider
	peer []byte
	key  [KeySize]byte
}

// NewAnnouncer returns an Announcer of a provider that searchers reach under
// the given transport name. A Reveal must come to the Announcer that made the
// Challenge: a new one, after a restart, refuses it and the searcher asks anew.
//
// Error: ErrParty.
func NewAnnouncer(self uri.Provider, peer []byte) (*Announcer, error) {
	if self.IsZero() || len(peer) == 0 {
		return nil, fmt.Errorf("making announcer: %w", ErrParty)
	}
	a := &Announcer{self: self, peer: bytes.Clone(peer)}
	rand.Read(a.key[:]) // never fails
	return a, nil
}

// Challenge answers a query with a proof. From is whom the connection
// authenticated; secret is the one that the caller announces under the query's
// day key. A caller that finds none answers with an error, as it would if it had
// never announced: whether a key is announced is no secret, the DHT tells it.
//
// Errors: ErrNoIdentifier, ErrParty, ErrDay.
func (a *Announcer) Challenge(q Query, from uri.Provider, secret Secret, now time.Time) (Challenge, error) {
	if err := checkQuery(q, from, secret, now); err != nil {
		return Challenge{}, fmt.Errorf("answering query: %w", err)
	}
	nonce := a.nonce(q, now.UnixMilli())
	return Challenge{nonce, a.self, secret.proof(labelAnnouncer, transcript(q, nonce, a.self, a.peer))}, nil
}

// nonce is
//
//	struct { uint64 made; opaque mac[24]; }
//
// where made is in milliseconds and mac is the first 24 bytes of HMAC-SHA256 of
// made and the query.
func (a *Announcer) nonce(q Query, made int64) (out [KeySize]byte) {
	binary.BigEndian.PutUint64(out[:8], uint64(made))
	sum := mac(a.key[:], q.append(slices.Clone(out[:8])))
	copy(out[8:], sum[:])
	return out
}

// Answer verifies that the searcher knows the identifier, and only then tells
// what is claimed about it. The secret is the one of the Reveal's handle, or of
// its query's day key; claims are the caller's, at most MaxClaims.
//
// Errors: ErrNoIdentifier, ErrParty, ErrDay, ErrNonce, ErrPause, ErrProof,
// presentation.ErrTooLarge (too many claims).
func (a *Announcer) Answer(m Reveal, from uri.Provider, secret Secret, claims []*VerifiedClaim, now time.Time) (Answer, error) {
	if err := a.verify(m, from, secret, now); err != nil {
		return Answer{}, fmt.Errorf("answering reveal: %w", err)
	}
	if len(claims) > MaxClaims {
		return Answer{}, fmt.Errorf("answering with %d claims (limit %d): %w", len(claims), MaxClaims, presentation.ErrTooLarge)
	}
	var out Answer
	for _, v := range claims {
		out.Claims = append(out.Claims, v.claim)
	}
	return out, nil
}

func (a *Announcer) verify(m Reveal, from uri.Provider, secret Secret, now time.Time) error {
	if err := checkQuery(m.Query, from, secret, now); err != nil {
		return err
	}
	made := int64(binary.BigEndian.Uint64(m.Nonce[:8]))
	if want := a.nonce(m.Query, made); !hmac.Equal(want[:], m.Nonce[:]) {
		return ErrNonce
	}
	// Its own MAC covers the time, so it is one that this clock once showed. A
	// clock that was set back makes it lie in the future; MaxPause holds for
	// both directions.
	if d := now.Sub(time.UnixMilli(made)).Abs(); d > MaxPause {
		return fmt.Errorf("%s after the challenge: %w", d, ErrPause)
	}
	handle := secret.Handle()
	proof := secret.proof(labelSearcher, transcript(m.Query, m.Nonce, a.self, a.peer))
	if !hmac.Equal(handle[:], m.Handle[:]) || !hmac.Equal(proof[:], m.Proof[:]) {
		return ErrProof
	}
	return nil
}

func checkQuery(q Query, from uri.Provider, secret Secret, now time.Time) error {
	switch {
	case secret.IsZero():
		return ErrNoIdentifier
	case from.IsZero() || q.Searcher != from:
		return fmt.Errorf("%s asks as %s: %w", from.Domain(), q.Searcher.Domain(), ErrParty)
	}
	for _, d := range Accepted(now) {
		if secret.DayKey(d) == q.DayKey {
			return nil
		}
	}
	return ErrDay
}

// Searcher is one lookup at one announcer: Query, then Reveal, then Claims, each
// once and in this order. Owned by the caller's goroutine.
type Searcher struct {
	secret    Secret
	peer      []byte
	query     Query
	announcer uri.Provider // known from Reveal on
	stage     stage
}

type stage uint8

const (
	asked stage = iota
	revealed
	finished
)

// NewSearcher begins a lookup by the provider self at the node that the DHT
// named for the secret's key of the day. Peer is the transport name that the
// connection authenticated.
//
// Errors: ErrNoIdentifier, ErrParty.
func NewSearcher(secret Secret, day Day, self uri.Provider, peer []byte) (*Searcher, error) {
	switch {
	case secret.IsZero():
		return nil, fmt.Errorf("beginning lookup: %w", ErrNoIdentifier)
	case self.IsZero() || len(peer) == 0:
		return nil, fmt.Errorf("beginning lookup: %w", ErrParty)
	}
	s := &Searcher{secret: secret, peer: bytes.Clone(peer)}
	s.query = Query{DayKey: secret.DayKey(day), Searcher: self}
	rand.Read(s.query.Nonce[:]) // never fails
	return s, nil
}

// Query returns the first message.
func (s *Searcher) Query() Query { return s.query }

// Reveal verifies the announcer's proof and only then returns the second
// message. After an error the lookup is over, and nothing was told.
//
// Errors: ErrOrder, ErrParty, ErrProof.
func (s *Searcher) Reveal(c Challenge) (Reveal, error) {
	if s.stage != asked {
		return Reveal{}, fmt.Errorf("answering challenge: %w", ErrOrder)
	}
	s.stage = finished
	if c.Announcer.IsZero() {
		return Reveal{}, fmt.Errorf("challenge without announcer: %w", ErrParty)
	}
	t := transcript(s.query, c.Nonce, c.Announcer, s.peer)
	if want := s.secret.proof(labelAnnouncer, t); !hmac.Equal(want[:], c.Proof[:]) {
		return Reveal{}, fmt.Errorf("challenge of %s: %w", c.Announcer.Domain(), ErrProof)
	}
	s.stage, s.announcer = revealed, c.Announcer
	return Reveal{s.query, c.Nonce, s.secret.Handle(), s.secret.proof(labelSearcher, t)}, nil
}

// Announcer returns the domain that the announcer gave with its proof, the zero
// Provider before that. That the peer is one of that provider's nodes is for
// the caller to check; whoever lies about it can only hand on true claims.
func (s *Searcher) Announcer() uri.Provider { return s.announcer }

// Claims verifies the answer, claim by claim. Those that are not true, or are
// about users of other providers than the announcer, are left out; refused has
// an error for each, because one bad claim must not hide the good ones.
// Afterwards the lookup is over.
//
// Errors: ErrOrder. In refused: ErrOtherProvider, and those of Claim.Verify.
func (s *Searcher) Claims(a Answer, anchors x509auth.Anchors, now time.Time) (found []*VerifiedClaim, refused []error, err error) {
	if s.stage != revealed {
		return nil, nil, fmt.Errorf("taking answer: %w", ErrOrder)
	}
	s.stage = finished
	for _, c := range a.Claims {
		if p := c.terms.User.Provider(); p != s.announcer {
			refused = append(refused, fmt.Errorf("claim of %s from %s: %w", c.terms.User, s.announcer.Domain(), ErrOtherProvider))
			continue
		}
		v, err := c.Verify(s.secret, anchors, now)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		found = append(found, v)
	}
	return found, refused, nil
}
