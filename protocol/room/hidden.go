package room

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Hidden messages: what a member of a pseudonymous room submits over relays (package veil), so that the hub
// learns neither who sends it nor of which provider.
//
// In MIMI the hub has to be told a sender for two things. It lets only those send whose role allows it, and it
// puts the sender into the frank. So a hidden message is taken where everybody who is in the group may send, and
// its frank says that somebody in the room sent it: sendingUri is the room. What is left is to keep out who is
// not in the group, of whom the hub sees nothing, for it cannot read a message. That is what the proof is for.
//
// The hub has external_pub of the present epoch, in the GroupInfo of the commit that began it; all members have
// the private half, and nobody else, as RFC 9420 derives it from the epoch's secret. The hub's franking key is in
// the log, the same for everybody. Of the two comes, by X25519, a key that members and hub have, and the proof
// is a MAC with it. All members make the same proof of the same submission, so it does not say which of them has;
// the hub could have made it itself, so it shows nothing to others. Whoever was removed has no later epoch's key,
// and a hidden message must be of the present one.
//
// A hub that gave everybody another key could tell senders apart. It cannot: the one key comes with the
// log, and the other is the committer's.

// SizeProof is the length of a Proof.
const SizeProof = sha256.Size

// Proof says to the hub that a member of the present epoch submits something, not which one.
type Proof [SizeProof]byte

// A Hidden is what is brought to a hub over relays:
//
//	struct {
//	    uint8 version = 1;
//	    opaque nonce[16];          /* of the submission, as a request's id otherwise */
//	    opaque proof[32];
//	    opaque request<V>;         /* SubmitMessageRequest, its sendingUri the room */
//	} Hidden;
type Hidden struct {
	Nonce   TxnNonce
	Proof   Proof
	Request []byte
}

// Errors of hidden messages.
var (
	// ErrHidden: the room takes no message whose sender it is not told.
	ErrHidden = errors.New("room: the room takes no messages of which its hub does not know who sends them")
	// ErrLeaving: it will again, when what is pending is committed.
	ErrLeaving = errors.New("room: somebody is about to lose the right to send, and could hide among the others; until that is committed nobody sends hidden")
)

const (
	proofLabel = "mimid hidden submission v1"
	keyLabel   = "mimid hidden submission key v1"
)

// Bytes encodes it.
func (h *Hidden) Bytes() []byte {
	b := append([]byte{Version}, h.Nonce[:]...)
	b = append(b, h.Proof[:]...)
	return presentation.AppendOpaque(b, h.Request)
}

// ParseHidden reads it. The bytes are copied. Errors: presentation's, ErrBody for another version.
func ParseHidden(b []byte) (*Hidden, error) {
	r := presentation.NewReader(b)
	h, v := new(Hidden), r.U8()
	copy(h.Nonce[:], r.Fixed(len(h.Nonce)))
	copy(h.Proof[:], r.Fixed(SizeProof))
	h.Request = r.Bounded(MaxBody, "request")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading a hidden submission: %w", err)
	}
	if v != Version {
		return nil, fmt.Errorf("hidden submission of version %d: %w", v, ErrBody)
	}
	return h, nil
}

// Txn identifies the submission.
func (h *Hidden) Txn() TxnID { return TxnIDOf(h.Nonce, h.Request) }

// HiddenSender is the sendingUri of a hidden message: the room.
func HiddenSender(r uri.Room) wire.IdentifierURI { return wire.IdentifierURI(r.String()) }

// Hide makes a hidden submission of a request whose message is of the group's present epoch, for the hub.
// Error: mls.ErrMalformed for a hub's key that is none.
func Hide(g *mls.Group, hub *Replica, nonce TxnNonce, request []byte) (*Hidden, error) {
	pub, err := montgomery(hub.FrankingKey)
	if err != nil {
		return nil, err
	}
	shared, err := g.ExternalDH(pub)
	if err != nil {
		return nil, err
	}
	h := &Hidden{Nonce: nonce, Request: request}
	h.Proof, err = prove(shared, string(g.Public().Context().GroupID), g.Epoch(), h.Txn())
	return h, err
}

// prove is HMAC-SHA256, under HKDF-SHA256 of what X25519 gives with the key label as info, of
//
//	struct { opaque label<V>; opaque group<V>; uint64 epoch; opaque txn[32]; }
func prove(shared []byte, group string, epoch uint64, txn TxnID) (p Proof, err error) {
	key, err := hkdf.Key(sha256.New, shared, nil, keyLabel, sha256.Size)
	if err != nil {
		return p, fmt.Errorf("deriving the key of a proof: %w", err)
	}
	m := hmac.New(sha256.New, key)
	b := presentation.AppendOpaque(nil, []byte(proofLabel))
	b = presentation.AppendOpaque(b, []byte(group))
	m.Write(append(presentation.AppendU64(b, epoch), txn[:]...))
	m.Sum(p[:0])
	return p, nil
}

// AdmitHidden says whether the hub takes a hidden message, as AdmitMessage does for others; f has the key
// that the room names as its hub's.
//
// Errors: ErrEpoch, ErrSubmission for a proof that is none, ErrHidden, ErrLeaving, ErrTag, ErrWrongRoom.
func (s *State) AdmitHidden(h *Hidden, req *wire.SubmitMessageRequest, f *Franker) (*Message, error) {
	if s.roster.naming != pseudonymous {
		return nil, fmt.Errorf("it is not pseudonymous: %w", ErrHidden)
	}
	if req.SendingURI != HiddenSender(s.room) {
		return nil, fmt.Errorf("hidden message that names %q as its sender: %w", req.SendingURI, ErrSubmission)
	}
	m := req.Message.Private
	if err := s.checkMessage(m); err != nil {
		return nil, err
	}
	if m.Epoch() != s.group.Epoch() {
		return nil, fmt.Errorf("hidden message of epoch %d, the room is in %d: %w", m.Epoch(), s.group.Epoch(), ErrEpoch)
	}
	external, err := s.info.ExternalPub()
	if err != nil {
		return nil, err
	}
	shared, err := f.shared(external)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSubmission, err)
	}
	want, err := prove(shared, string(m.GroupID()), m.Epoch(), h.Txn())
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(want[:], h.Proof[:]) {
		return nil, fmt.Errorf("hidden message without a member's proof: %w", ErrSubmission)
	}
	if u, ok := s.mute(s.view); ok {
		return nil, fmt.Errorf("%s is in the group and may not send, as its role is: %w", u, ErrHidden)
	}
	later, err := s.Effective()
	if err != nil {
		return nil, err
	}
	if _, ok := s.mute(later); ok {
		return nil, ErrLeaving
	}
	if _, err := wire.FrankAADOf(m.AAD(), BodyLimits()); err != nil {
		return nil, fmt.Errorf("hidden message: %w: %w", ErrTag, err)
	}
	return &Message{Message: req.Message}, nil
}

// mute returns somebody who has a client in the group and may not send.
func (s *State) mute(v *View) (uri.User, bool) {
	for u, n := range s.roster.clients {
		if n > 0 && !v.Rules.Posts(v.Role(u.String())) {
			return u, true
		}
	}
	return uri.User{}, false
}

// dhOf makes the X25519 private key that belongs to an Ed25519 key, as RFC 8032 section 5.1.5 makes the scalar.
// One pair for both is safe: Thormarker, "On using the same key pair for Ed25519 and an X25519 based KEM" (2021).
func dhOf(key ed25519.PrivateKey) (*ecdh.PrivateKey, error) {
	h := sha512.Sum512(key.Seed())
	return ecdh.X25519().NewPrivateKey(h[:32]) // it is clamped when it is used
}

// shared is X25519 with a room's external_pub.
func (f *Franker) shared(external []byte) ([]byte, error) {
	pub, err := ecdh.X25519().NewPublicKey(external)
	if err != nil {
		return nil, fmt.Errorf("external_pub of %d bytes: %w", len(external), err)
	}
	return f.dh.ECDH(pub)
}

// montgomery is the X25519 public key that belongs to an Ed25519 one (RFC 7748 section 4.1): u = (1+y)/(1-y).
// It is of public keys, so its time does not matter. Error: mls.ErrMalformed.
func montgomery(key []byte) ([]byte, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("Ed25519 key of %d bytes: %w", len(key), mls.ErrMalformed)
	}
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	b := slices.Clone(key)
	b[31] &= 0x7f // the sign of x
	slices.Reverse(b)
	one, y := big.NewInt(1), new(big.Int).SetBytes(b)
	inverse := new(big.Int).Sub(one, y)
	if inverse = inverse.ModInverse(inverse.Mod(inverse, p), p); inverse == nil {
		return nil, fmt.Errorf("Ed25519 key %.4x...: %w", key, mls.ErrMalformed)
	}
	u := new(big.Int).Add(one, y)
	u.Mod(u.Mul(u, inverse), p)
	out := u.FillBytes(make([]byte, 32))
	slices.Reverse(out)
	return out, nil
}
