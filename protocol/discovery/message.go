package discovery

import (
	"bytes"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// Limits of messages.
const (
	// MaxMessage is longer than any Query, Challenge or Reveal, in bytes.
	MaxMessage = 1 << 10
	// MaxClaims is how many claims an Answer has at most.
	MaxClaims = 16
	// MaxAnswer is longer than any Answer, in bytes.
	MaxAnswer = MaxClaims*(MaxClaim+4) + 8

	messageVersion = 1
)

// Query opens a lookup. It tells the announcer no more than what the searcher
// asked the DHT for.
//
//	struct {
//	  uint8  version = 1;
//	  opaque day_key[32];
//	  opaque nonce[32];
//	  opaque searcher<V>;   domain
//	} Query;
type Query struct {
	DayKey   [KeySize]byte
	Nonce    [KeySize]byte
	Searcher uri.Provider // who asks, as authenticated by the connection
}

// Challenge is the announcer's proof that it knows the identifier.
//
//	struct {
//	  uint8  version = 1;
//	  opaque nonce[32];
//	  opaque announcer<V>;  domain
//	  opaque proof[32];     HMAC-SHA256 under the announcer's proof key
//	} Challenge;
type Challenge struct {
	Nonce     [KeySize]byte
	Announcer uri.Provider
	Proof     [KeySize]byte
}

// Reveal is the searcher's proof. It repeats the Query and the announcer's
// nonce, so that the announcer has nothing to remember in between.
//
//	struct {
//	  uint8  version = 1;
//	  Query  query;
//	  opaque announcer_nonce[32];
//	  opaque handle[32];    Secret.Handle
//	  opaque proof[32];     HMAC-SHA256 under the searcher's proof key
//	} Reveal;
type Reveal struct {
	Query  Query
	Nonce  [KeySize]byte // the announcer's
	Handle [KeySize]byte
	Proof  [KeySize]byte
}

// Answer is what the announcer knows: claims and withdrawals, none of them
// verified yet. Searcher.Claims does that.
//
//	struct {
//	  uint8  version = 1;
//	  opaque claim<V> claims<V>;  at most 16
//	} Answer;
type Answer struct {
	Claims []*Claim
}

// Bytes encodes the message.
func (q Query) Bytes() []byte { return q.append(nil) }

func (q Query) append(b []byte) []byte {
	b = append(b, messageVersion)
	b = append(b, q.DayKey[:]...)
	b = append(b, q.Nonce[:]...)
	return presentation.AppendOpaque(b, []byte(q.Searcher.Domain()))
}

func readQuery(r *presentation.Reader) Query {
	readVersion(r)
	return Query{readKey(r), readKey(r), readDomain(r)}
}

// ParseQuery reads a query. Like the other messages it keeps no part of b.
//
// Errors of this and the functions below: presentation's, and ErrVersion.
func ParseQuery(b []byte) (Query, error) {
	return parse(b, MaxMessage, "query", readQuery)
}

// Bytes encodes the message.
func (c Challenge) Bytes() []byte {
	b := append([]byte{messageVersion}, c.Nonce[:]...)
	b = presentation.AppendOpaque(b, []byte(c.Announcer.Domain()))
	return append(b, c.Proof[:]...)
}

// ParseChallenge reads a challenge.
func ParseChallenge(b []byte) (Challenge, error) {
	return parse(b, MaxMessage, "challenge", func(r *presentation.Reader) Challenge {
		readVersion(r)
		return Challenge{readKey(r), readDomain(r), readKey(r)}
	})
}

// Bytes encodes the message.
func (m Reveal) Bytes() []byte {
	b := m.Query.append([]byte{messageVersion})
	b = append(b, m.Nonce[:]...)
	b = append(b, m.Handle[:]...)
	return append(b, m.Proof[:]...)
}

// ParseReveal reads a reveal.
func ParseReveal(b []byte) (Reveal, error) {
	return parse(b, MaxMessage, "reveal", func(r *presentation.Reader) Reveal {
		readVersion(r)
		return Reveal{readQuery(r), readKey(r), readKey(r), readKey(r)}
	})
}

// Bytes encodes the message.
func (a Answer) Bytes() []byte {
	return presentation.AppendList([]byte{messageVersion}, func(b []byte) []byte {
		for _, c := range a.Claims {
			b = presentation.AppendOpaque(b, c.Bytes())
		}
		return b
	})
}

// ParseAnswer reads an answer. One malformed claim spoils it: an announcer that
// keeps such claims is at fault as a whole.
func ParseAnswer(b []byte) (Answer, error) {
	return parse(b, MaxAnswer, "answer", func(r *presentation.Reader) (a Answer) {
		readVersion(r)
		r.List(MaxClaims, func() {
			if b := r.Bounded(MaxClaim, "claim"); r.Err() == nil {
				c, err := ParseClaim(b)
				if err != nil {
					r.Fail(err, "in place %d", len(a.Claims))
				}
				a.Claims = append(a.Claims, c)
			}
		})
		return a
	})
}

// parse bounds the input, reads all of it, and returns the zero value with
// every error.
func parse[T any](b []byte, limit int, what string, read func(*presentation.Reader) T) (T, error) {
	var zero T
	if len(b) > limit {
		return zero, fmt.Errorf("parsing %s of %d bytes (limit %d): %w", what, len(b), limit, presentation.ErrTooLarge)
	}
	r := presentation.NewReader(bytes.Clone(b))
	out := read(r)
	if err := r.Done(); err != nil {
		return zero, fmt.Errorf("parsing %s: %w", what, err)
	}
	return out, nil
}
