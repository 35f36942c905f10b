package replica

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
)

// ErrRelay: a relay that the provider which it names as its origin has not signed.
var ErrRelay = errors.New("replica: not signed by the origin that it names")

// Request says what a Relay brings.
type Request uint8

// Requests of MIMI that a hub orders.
const (
	SubmitMessage Request = 1
	Update        Request = 2
)

// A Relay is a submission that the hub leaves unanswered, or unfinal. Its origin gives
// it to the replicas, and each of them brings it to the hub: so each of them knows by
// itself that the hub was asked. Who relays learns from it whose user submits, which
// otherwise is between origin and hub.
//
//	struct {
//	    uint8 request;            /* submit_message(1), update(2) */
//	    opaque origin<V>;         /* 1 to 253 bytes: domain of the provider that submits */
//	    opaque nonce[16];         /* of the transaction id */
//	    opaque body<V>;           /* SubmitMessageRequest or UpdateRequest */
//	    opaque signature[64];     /* by the origin's provider key, over
//	                                 {opaque label<V> = "mimid relay v1"; opaque room_id[32];
//	                                  request; origin; nonce; opaque sha256_of_body[32]} */
//	} Relay;
//
// It is a claim until Verify has seen it.
type Relay struct {
	Request   Request
	Origin    string
	Nonce     room.TxnNonce
	Body      []byte
	Signature [ed25519.SignatureSize]byte
}

// MaxRelay is how long the body of a Relay may be: with it a Message fits into a request.
const MaxRelay = MaxBytes - 4<<10

func (y *Relay) tbs(id room.ID) []byte {
	b := presentation.AppendOpaque(nil, []byte("mimid relay v1"))
	b = append(append(b, id[:]...), byte(y.Request))
	b = append(presentation.AppendOpaque(b, []byte(y.Origin)), y.Nonce[:]...)
	sum := sha256.Sum256(y.Body)
	return append(b, sum[:]...)
}

// SignRelay makes a relay of a room's submission with the key of its origin. Error:
// presentation.ErrTooLarge, for a body of more than MaxRelay bytes.
func SignRelay(id room.ID, what Request, origin string, nonce room.TxnNonce, body []byte, key ed25519.PrivateKey) (*Relay, error) {
	if len(body) > MaxRelay {
		return nil, fmt.Errorf("relaying %d bytes (limit %d): %w", len(body), MaxRelay, presentation.ErrTooLarge)
	}
	y := &Relay{Request: what, Origin: origin, Nonce: nonce, Body: body}
	copy(y.Signature[:], ed25519.Sign(key, y.tbs(id)))
	return y, nil
}

// Verify checks the signature by one of the keys that the origin is known by. Error:
// ErrRelay.
func (y *Relay) Verify(id room.ID, keys []crypto.PublicKey) error {
	for _, k := range keys {
		if pub, ok := k.(ed25519.PublicKey); ok && len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, y.tbs(id), y.Signature[:]) {
			return nil
		}
	}
	return fmt.Errorf("relay for %q, who is known by %d keys: %w", y.Origin, len(keys), ErrRelay)
}

// Txn is the submission's transaction id.
func (y *Relay) Txn() room.TxnID { return room.TxnIDOf(y.Nonce, y.Body) }

func (y *Relay) append(b []byte) []byte {
	b = presentation.AppendOpaque(append(b, byte(y.Request)), []byte(y.Origin))
	b = presentation.AppendOpaque(append(b, y.Nonce[:]...), y.Body)
	return append(b, y.Signature[:]...)
}

func (y *Relay) read(r *presentation.Reader) {
	y.Request = Request(r.U8())
	if y.Request != SubmitMessage && y.Request != Update {
		r.Fail(ErrMessage, "relay of request %d", uint8(y.Request))
	}
	if y.Origin = string(r.Opaque()); len(y.Origin) < 1 || len(y.Origin) > maxDomain {
		r.Fail(ErrMessage, "origin's domain of %d bytes", len(y.Origin))
	}
	copy(y.Nonce[:], r.Fixed(len(y.Nonce)))
	if y.Body = slices.Clone(r.Opaque()); len(y.Body) > MaxRelay {
		r.Fail(ErrMessage, "relay of %d bytes", len(y.Body))
	}
	copy(y.Signature[:], r.Fixed(len(y.Signature)))
}
