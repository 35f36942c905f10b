package consent

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/wire"
)

// SignatureComponent is what a user's signature is called among the consent_extensions of a
// ConsentEntry; ours, from the private range. Who does not know it passes it by, and an entry
// without one is as good as MIMI makes it: its provider's word.
const SignatureComponent mls.ComponentID = 0x8012

// MaxSignature bounds an encoded signature with its certificate, in octets.
const MaxSignature = 5 << 10

// signatureSkew is how far in the future an entry may have been signed: clocks differ.
const signatureSkew = 5 * time.Minute

// signatureLabel keeps these signatures from being taken for others by the same key.
const signatureLabel = "mimid 1 consent entry\x00"

// ErrSignature: the signature in a ConsentEntry is malformed, or not that of the user whose
// word the entry is.
var ErrSignature = errors.New("consent: the entry is not signed by the user whose word it is")

// The signature is by the user key of whose word the entry is: the requester's of a request
// and its end, the target's of a grant and its end.
//
//	struct {
//	    uint8 version = 1;
//	    uint64 signed_at;               /* milliseconds since 1970 */
//	    opaque user_certificate<V>;     /* of package x509auth */
//	    opaque signature<V>;            /* Ed25519, over ConsentTBS */
//	} ConsentSignature;
//
//	struct {
//	    opaque label[22] = "mimid 1 consent entry", 00;
//	    uint8 version;
//	    uint64 signed_at;
//	    opaque entry<V>;                /* the ConsentEntry without this extension */
//	} ConsentTBS;
//
// What it is good for: a user's devices know the user's own key, and so what was said in its
// name; others see that the key is the one they have seen in rooms. It is good for nothing
// against the provider that certifies the key, which can certify another (that shows, see
// x509auth.UserKeyChanged), or leave the signature out, as providers have to that answer in a
// user's name: repeating a grant, or granting by its mode. Nor does it say that no later word has
// taken it back; for the order of words the provider is relied upon, as it is for the KeyPackages.

// Sign signs an entry, in the place of a signature that it had. The entry must not be changed
// afterwards.
func Sign(e *wire.ConsentEntry, key ed25519.PrivateKey, certificate []byte, at time.Time) error {
	signed := uint64(max(at.UnixMilli(), 0))
	tbs, err := signatureTBS(e, signed)
	if err != nil {
		return fmt.Errorf("signing consent: %w", err)
	}
	b := presentation.AppendU64([]byte{1}, signed)
	b = presentation.AppendOpaque(b, certificate)
	b = presentation.AppendOpaque(b, ed25519.Sign(key, tbs))
	if len(b) > MaxSignature {
		return fmt.Errorf("signing consent: %d octets, at most %d: %w", len(b), MaxSignature, ErrSignature)
	}
	ext := maps.Clone(e.Extensions)
	if ext == nil {
		ext = mls.Dictionary{}
	}
	ext[SignatureComponent] = b
	e.Extensions = ext
	return nil
}

func signatureTBS(e *wire.ConsentEntry, at uint64) ([]byte, error) {
	bare := *e
	bare.Extensions = maps.Clone(e.Extensions)
	delete(bare.Extensions, SignatureComponent)
	b, err := bare.Bytes()
	if err != nil {
		return nil, err
	}
	tbs := presentation.AppendU64(append([]byte(signatureLabel), 1), at)
	return presentation.AppendOpaque(tbs, b), nil
}

// Signature is a verified one.
type Signature struct {
	At  time.Time
	Key ed25519.PublicKey // the user key
}

// Verify checks the signature of an entry, by the keys that the user's provider is known by. It
// returns nil for an entry without one. Errors: ErrSignature, and with it those of
// x509auth.VerifyUser.
func Verify(e *wire.ConsentEntry, anchors x509auth.Anchors, now time.Time) (*Signature, error) {
	b, ok := e.Extensions[SignatureComponent]
	if !ok {
		return nil, nil
	}
	s, err := verify(e, b, anchors, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return s, nil
}

func verify(e *wire.ConsentEntry, b []byte, anchors x509auth.Anchors, now time.Time) (*Signature, error) {
	if len(b) > MaxSignature {
		return nil, fmt.Errorf("%d octets, at most %d", len(b), MaxSignature)
	}
	r := presentation.NewReader(bytes.Clone(b))
	version, at := r.U8(), r.U64()
	cert, signature := r.Opaque(), r.Opaque()
	if err := r.Done(); err != nil || version != 1 {
		return nil, fmt.Errorf("version %d: %w", version, errors.Join(err))
	}
	if at > uint64(max(now.Add(signatureSkew).UnixMilli(), 0)) {
		return nil, fmt.Errorf("signed in the future, at %d", at)
	}
	who := e.Scope.Requester
	if e.Operation == wire.ConsentGrant || e.Operation == wire.ConsentRevoke {
		who = e.Scope.Target
	}
	user, pub, err := x509auth.VerifyUser(cert, anchors, now)
	if err != nil {
		return nil, err
	}
	key, ok := pub.(ed25519.PublicKey)
	switch {
	case user != string(who):
		return nil, fmt.Errorf("the certificate is that of %.200q, the word that of %.200q", user, who)
	case !ok:
		return nil, fmt.Errorf("a user key of type %T: Ed25519 is needed", pub)
	}
	tbs, err := signatureTBS(e, at)
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(key, tbs, signature) {
		return nil, errors.New("the signature does not fit")
	}
	return &Signature{At: time.UnixMilli(int64(at)), Key: key}, nil
}
