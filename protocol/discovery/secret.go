package discovery

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/mimid/mimid/protocol/oprf"
)

// Cost of one guess: argon2id with 19 MiB, two passes and one lane takes about
// 25 ms of CPU. All of a network must agree, so these are no options.
const (
	argonTime   = 2
	argonMemory = 19 << 10 // KiB
	argonLanes  = 1
)

// DefaultSalt is the salt of the public network.
const DefaultSalt = "mimi"

// KeySize is the length of every derived key, in bytes.
const KeySize = 32

// Labels keep the derived keys apart: who learns one learns nothing of the
// others. None is a prefix of another one with its parameter, because each has
// its own length or ends at its own place. The salt follows its labels to the end, and
// these differ before they end.
const (
	labelSalt      = "mimid discovery 1 salt"
	labelInput     = "mimid discovery 1 evaluated input"
	labelEvaluated = "mimid discovery 1 evaluated salt"
	labelDay       = "mimid discovery 1 day"
	labelHandle    = "mimid discovery 1 handle"
	labelClaim     = "mimid discovery 1 claim id"
	labelAnnouncer = "mimid discovery 1 announcer proof"
	labelSearcher  = "mimid discovery 1 searcher proof"
)

// Network holds what all who want to find each other have in common.
type Network struct {
	// Salt makes the identifiers of this network other ones than those of every
	// other network, so that a table of guesses made for one is of no use
	// elsewhere. It is public. Default DefaultSalt.
	Salt string
}

// Secret derives the secret of an identifier, which costs 19 MiB of memory and
// about 25 ms: keep the result, and bound how many are derived at once.
//
// Error: ErrNoIdentifier.
func (n Network) Secret(s SII) (Secret, error) {
	if s.IsZero() {
		return Secret{}, fmt.Errorf("deriving secret: %w", ErrNoIdentifier)
	}
	sum := n.salt(labelSalt)
	k := argon2.IDKey([]byte(s.s), sum[:], argonTime, argonMemory, argonLanes, KeySize)
	return Secret{&secretBytes{[KeySize]byte(k)}}, nil
}

// Input is what evaluators evaluate of an identifier, blinded (package oprf). It is the same
// in all networks with this salt.
//
// Error: ErrNoIdentifier.
func (n Network) Input(s SII) ([]byte, error) {
	if s.IsZero() {
		return nil, fmt.Errorf("preparing evaluation: %w", ErrNoIdentifier)
	}
	sum := n.salt(labelInput)
	return append(sum[:], s.s...), nil
}

// Evaluated derives an identifier's secret from the evaluators' output for its Input. It
// costs what Secret costs, so that who holds enough shares of the evaluators' key still pays
// for each guess. Secrets of networks with and without evaluators have nothing in common.
func (n Network) Evaluated(o oprf.Output) Secret {
	sum, b := n.salt(labelEvaluated), o.Bytes()
	return Secret{&secretBytes{[KeySize]byte(argon2.IDKey(b, sum[:], argonTime, argonMemory, argonLanes, KeySize))}}
}

func (n Network) salt(label string) [sha256.Size]byte {
	return sha256.Sum256([]byte(label + cmp.Or(n.Salt, DefaultSalt)))
}

// Secret is what two who know the same identifier have in common, and nobody
// else without guessing it. It never prints. Safe for concurrent use.
type Secret struct {
	k *secretBytes // a pointer, which fmt does not follow in a struct
}

type secretBytes struct{ b [KeySize]byte }

// ParseSecret reads a secret as Bytes returned it.
//
// Error: ErrStored.
func ParseSecret(b []byte) (Secret, error) {
	if len(b) != KeySize {
		return Secret{}, fmt.Errorf("parsing secret of %d bytes: %w", len(b), ErrStored)
	}
	return Secret{&secretBytes{[KeySize]byte(b)}}, nil
}

// Bytes returns a copy of the secret, for storage where the identifier itself
// might stand; nil of the zero Secret.
func (s Secret) Bytes() []byte {
	if s.k == nil {
		return nil
	}
	return append([]byte(nil), s.k.b[:]...)
}

// IsZero says whether this is the zero Secret, which derives nothing.
func (s Secret) IsZero() bool { return s.k == nil }

// Equal compares two secrets in constant time.
func (s Secret) Equal(o Secret) bool {
	if s.k == nil || o.k == nil {
		return s.k == o.k
	}
	return subtle.ConstantTimeCompare(s.k.b[:], o.k.b[:]) == 1
}

// Format implements fmt.Formatter; it prints no secret.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "discovery.Secret(hidden)") }

// DayKey returns the key under which the identifier is announced on a day: 32
// bytes that look random and tell nothing of other days.
func (s Secret) DayKey(d Day) [KeySize]byte {
	return s.derive(string(binary.BigEndian.AppendUint32([]byte(labelDay), uint32(d))))
}

// Handle returns the name of the identifier between a searcher and an announcer
// that have both proved to know it. It is the same every day, so that an
// announcer may index its claims by it.
func (s Secret) Handle() [KeySize]byte { return s.derive(labelHandle) }

// ClaimID returns the name of the identifier in claims. One who reads a claim
// tests a guess only at the cost of deriving a secret.
func (s Secret) ClaimID() [KeySize]byte { return s.derive(labelClaim) }

// derive is HKDF-Expand (RFC 5869). The secret is uniformly random to whoever
// does not know it, so there is nothing to extract. Deriving from the zero
// Secret is a bug: exported entrances check before.
func (s Secret) derive(label string) (out [KeySize]byte) {
	if s.k == nil {
		panic("discovery: key of the zero Secret")
	}
	k, err := hkdf.Expand(sha256.New, s.k.b[:], label, KeySize)
	if err != nil {
		panic("discovery: HKDF refuses 32 bytes: " + err.Error())
	}
	return [KeySize]byte(k)
}

// Day is a day in UTC, counted from 1970-01-01.
type Day uint32

// DayOf returns the day of a time. Times before 1970 or after day 2^32 give the
// nearest day.
func DayOf(t time.Time) Day {
	s := t.Unix()
	if s < 0 {
		return 0
	}
	return Day(min(s/86400, 1<<32-1))
}

// Days returns the days to announce: today and tomorrow. A searcher whose clock
// runs ahead, or who asks right after midnight, finds tomorrow's already.
func Days(now time.Time) [2]Day {
	d := DayOf(now)
	return [2]Day{d, d.next()}
}

// Accepted returns the days whose keys an announcer answers to: yesterday, for
// searchers whose clocks are behind, today and tomorrow.
func Accepted(now time.Time) [3]Day {
	d := DayOf(now)
	return [3]Day{max(d, 1) - 1, d, d.next()}
}

func (d Day) next() Day { return min(d, 1<<32-2) + 1 }

// String returns the date, such as 2026-11-23.
func (d Day) String() string {
	return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly)
}
