package room

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// Errors are sentinels; beside them the ones of package presentation arise
// from decoding. Nothing has changed when one is returned.
var (
	// ErrVersion: an entry, head or component of a version that this code does
	// not know. A newer provider wrote it.
	ErrVersion = errors.New("room: unknown format version")
	// ErrWrongRoom: the entry or head is of another room.
	ErrWrongRoom = errors.New("room: entry of another room")
	// ErrChain: an entry does not continue the one before it: its sequence
	// number, previous hash, term or time does not follow.
	ErrChain = errors.New("room: entry does not continue the log")
	// ErrHead: a head does not belong to the entries that it came with.
	ErrHead = errors.New("room: head does not end these entries")
	// ErrSignature: a head, co-signature or vote is not signed by the key that it
	// is checked with.
	ErrSignature = errors.New("room: head signature does not verify")
	// ErrBody: an entry's body decodes and makes no sense in its kind.
	ErrBody = errors.New("room: invalid body")
	// ErrPolicy: a change that the room's policy does not allow: the actor's role
	// lacks the capability, or participants and members would not agree.
	ErrPolicy = errors.New("room: not allowed")
	// ErrPending: a commit leaves out a pending proposal to leave or to remove,
	// which it must include.
	ErrPending = errors.New("room: commit leaves out a pending removal")
	// ErrEpoch: a message or handshake of another epoch than the room takes now.
	ErrEpoch = errors.New("room: wrong epoch")
	// ErrEnded: the room's log has ended with a tombstone.
	ErrEnded = errors.New("room: ended")
	// ErrNoProof: what is presented as a proof of equivocation proves nothing.
	ErrNoProof = errors.New("room: not a proof of equivocation")
	// ErrSettling: a handshake while a change of the replica set is in progress:
	// it may be made again after the settled entry.
	ErrSettling = errors.New("room: a change of the replica set is in progress")
	// ErrCertificate: a certificate whose parts do not belong together, or that
	// does not show what the entry claims.
	ErrCertificate = errors.New("room: invalid certificate")
	// ErrVote: the votes of a hub_change do not make this provider hub of this
	// term at this place of the log.
	ErrVote = errors.New("room: hub_change without its proof")
	// ErrQuorum: the votes or co-signatures are good, and of too few replicas.
	ErrQuorum = errors.New("room: no majority of the replicas")
)

// Version is the format version of entries and heads.
const Version = 1

// MaxBody is the largest body of an entry, in bytes. A handshake that adds a
// thousand clients comes near; more are added by several. An entry stays below
// 1 MiB, so that any store keeps it as one value.
const MaxBody = 1<<20 - 1024

// MaxEntry is the largest encoding of an entry, in bytes.
const MaxEntry = MaxBody + 256

const hashSize = sha256.Size

// ID names a room: SHA-256 of its URI's octets, as they are.
type ID [hashSize]byte

// IDOf returns the id of the room with the given URI.
func IDOf(uri []byte) ID { return sha256.Sum256(uri) }

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Hash is the hash of an entry.
type Hash [hashSize]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Term numbers the hubs of a room: {uint32 era; uint64 number}. Eras begin with
// an admin's move, numbers with an election or a release; they compare in this
// order.
type Term struct {
	Era    uint32
	Number uint64
}

// Compare returns -1, 0 or 1.
func (t Term) Compare(o Term) int {
	switch {
	case t == o:
		return 0
	case t.Era < o.Era || (t.Era == o.Era && t.Number < o.Number):
		return -1
	}
	return 1
}

func (t Term) String() string { return fmt.Sprintf("%d.%d", t.Era, t.Number) }

func (t *Term) read(r *presentation.Reader) { t.Era, t.Number = r.U32(), r.U64() }

func (t Term) append(b []byte) []byte {
	return presentation.AppendU64(presentation.AppendU32(b, t.Era), t.Number)
}

// Kind says what an entry's body is.
type Kind uint8

// Kinds of entries.
const (
	// KindCreate begins a log: the room's URI and the group's first GroupInfo.
	KindCreate Kind = 1
	// KindHandshake is an MLS proposal or commit: MIMI's HandshakeBundle
	// without its Welcome, its GroupInfo without the tree.
	KindHandshake Kind = 2
	// KindMessage is an MLS application message with its frank, if it has one.
	KindMessage Kind = 3
	// KindHubChange is a new hub's first entry and carries the proof of its
	// term.
	KindHubChange Kind = 4
	// KindSettled says that a change of the replica set is complete, with the
	// certificate.
	KindSettled Kind = 5
	// KindTombstone ends a room, or points to the one that goes on in its place.
	KindTombstone Kind = 6
)

var kindNames = [...]string{KindCreate: "create", KindHandshake: "handshake", KindMessage: "message",
	KindHubChange: "hub_change", KindSettled: "settled", KindTombstone: "tombstone"}

func (k Kind) known() bool { return k >= KindCreate && k <= KindTombstone }

func (k Kind) String() string {
	if !k.known() {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// TxnID makes a submission recognizable when it is made again. It is zero in
// entries that the hub makes by itself.
type TxnID [hashSize]byte

func (t TxnID) String() string { return hex.EncodeToString(t[:]) }

// TxnNonce is the secret part of a TxnID. It travels to the hub and stays with
// the outbox; without it nobody can test a guess of what was submitted, or by
// whom.
type TxnNonce [16]byte

// NewTxnNonce draws a fresh one.
func NewTxnNonce() (n TxnNonce) {
	if _, err := rand.Read(n[:]); err != nil {
		panic("room: no entropy: " + err.Error())
	}
	return n
}

// TxnIDOf is SHA-256 over {opaque label<V> = "mimid room txn v1"; opaque
// nonce[16]; opaque submission<V>}.
func TxnIDOf(n TxnNonce, submission []byte) TxnID {
	b := presentation.AppendOpaque(nil, []byte("mimid room txn v1"))
	return sha256.Sum256(presentation.AppendOpaque(append(b, n[:]...), submission))
}

// Entry is one element of a room's log:
//
//	struct {
//	    uint8 version = 1;
//	    opaque room_id[32];
//	    uint32 era; uint64 number;  /* term */
//	    uint64 seq;                 /* 0 for the first */
//	    opaque prev[32];            /* hash of the entry before; zero for the first */
//	    uint64 accepted_at;         /* ms since 1970, never decreasing */
//	    uint8 kind;
//	    opaque txn_id[32];
//	    opaque body<V>;
//	} Entry;
//
// Its hash is SHA-256 over {opaque label<V> = "mimid room entry v1"; Entry}.
type Entry struct {
	Room       ID
	Term       Term
	Seq        uint64
	Prev       Hash
	AcceptedAt uint64
	Kind       Kind
	Txn        TxnID
	Body       []byte
}

// ParseEntry reads an entry; Body aliases b.
func ParseEntry(b []byte) (*Entry, error) {
	e := new(Entry)
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("reading entry of %d bytes (limit %d): %w", len(b), MaxEntry, presentation.ErrTooLarge)
	}
	r := presentation.NewReader(b)
	e.Read(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading entry: %w", err)
	}
	return e, nil
}

// Read reads an entry from the front of a reader, whose input Body aliases.
func (e *Entry) Read(r *presentation.Reader) {
	readVersion(r, "entry")
	copy(e.Room[:], r.Fixed(hashSize))
	e.Term.read(r)
	e.Seq = r.U64()
	copy(e.Prev[:], r.Fixed(hashSize))
	e.AcceptedAt = r.U64()
	if e.Kind = Kind(r.U8()); r.Err() == nil && !e.Kind.known() {
		r.Fail(presentation.ErrMalformed, "entry of kind %d", uint8(e.Kind))
	}
	copy(e.Txn[:], r.Fixed(hashSize))
	if e.Body = r.Opaque(); len(e.Body) > MaxBody {
		r.Fail(presentation.ErrTooLarge, "body of %d bytes (limit %d)", len(e.Body), MaxBody)
	}
}

func readVersion(r *presentation.Reader, what string) {
	if v := r.U8(); r.Err() == nil && v != Version {
		r.Fail(ErrVersion, "%s of version %d", what, v)
	}
}

// Append appends the entry's encoding.
func (e *Entry) Append(b []byte) []byte {
	b = append(append(b, Version), e.Room[:]...)
	b = presentation.AppendU64(e.Term.append(b), e.Seq)
	b = presentation.AppendU64(append(b, e.Prev[:]...), e.AcceptedAt)
	b = append(append(b, byte(e.Kind)), e.Txn[:]...)
	return presentation.AppendOpaque(b, e.Body)
}

// Hash returns the entry's hash.
func (e *Entry) Hash() Hash {
	b := make([]byte, 0, len(e.Body)+192)
	b = presentation.AppendOpaque(b, []byte("mimid room entry v1"))
	return sha256.Sum256(e.Append(b))
}

// Position is where a log stands: after the entry with this hash. The zero
// Position is the beginning.
type Position struct {
	Term       Term
	Next       uint64 // sequence number of the next entry
	Last       Hash
	AcceptedAt uint64
}

// follow says whether e continues the log at p, and returns where the log
// stands after it.
func (p Position) follow(room ID, e *Entry) (Position, error) {
	bad := func(format string, args ...any) (Position, error) {
		return p, fmt.Errorf("entry %d: %s: %w", e.Seq, fmt.Sprintf(format, args...), ErrChain)
	}
	switch {
	case e.Room != room:
		return p, fmt.Errorf("entry %d of room %.8s, this is %.8s: %w", e.Seq, e.Room, room, ErrWrongRoom)
	case e.Seq != p.Next:
		return bad("%d expected", p.Next)
	case !bytes.Equal(e.Prev[:], p.Last[:]):
		return bad("previous hash %.8s, %.8s expected", e.Prev, p.Last)
	case (e.Kind == KindCreate) != (e.Seq == 0):
		return bad("%s at this place", e.Kind)
	case e.AcceptedAt < p.AcceptedAt:
		return bad("accepted at %d, the one before at %d", e.AcceptedAt, p.AcceptedAt)
	case e.Kind == KindHubChange && e.Term.Compare(p.Term) <= 0:
		return bad("hub_change to term %s from %s", e.Term, p.Term)
	case e.Kind != KindHubChange && e.Seq > 0 && e.Term != p.Term:
		return bad("term %s, %s expected", e.Term, p.Term)
	case e.Kind == KindCreate && e.Term != FirstTerm:
		return bad("term %s, %s expected", e.Term, FirstTerm)
	}
	return Position{Term: e.Term, Next: e.Seq + 1, Last: e.Hash(), AcceptedAt: e.AcceptedAt}, nil
}

// FirstTerm is the term of a room's first hub.
var FirstTerm = Term{Era: 0, Number: 1}
