package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/presentation"
)

// Envelope goes around every request of one provider to another, beside the
// body. MIMI-06 does not sign requests, name their target or date them; this
// does, and leaves the body as it is. Not part of MIMI:
//
//	struct {
//	    uint8 version = 1;
//	    opaque source<V>;                    /* domain of the provider that asks */
//	    opaque target<V>;                    /* domain of the provider asked */
//	    opaque endpoint<V>;                  /* "keyMaterial", "update", ... */
//	    optional<IdentifierUri> room;
//	    opaque request_id[16];
//	    uint64 time;                         /* ms since 1970 */
//	    opaque body_hash[32];                /* SHA-256 of the body */
//	    opaque signature<V>;                 /* 64 octets, or none */
//	} Envelope;
//
// The signature is Ed25519 by the source's provider key over envelopeContext,
// one octet 0, and all fields before it. A request over a channel that proves
// its source (a libp2p connection with one of the source's recorded nodes, or a
// certificate that names it, see package peering) may go without. The endpoint is in it since one body can mean different things
// to two endpoints. The target keeps the request ids of each source for as long as
// the time window is, and answers a repeated one with the first result.
type Envelope struct {
	Source    string
	Target    string
	Endpoint  string
	Room      IdentifierURI // empty: of no room
	RequestID [16]byte
	Time      uint64
	BodyHash  [sha256.Size]byte
	Signature []byte
}

const (
	envelopeVersion = 1
	// envelopeContext keeps these signatures apart from all others by a
	// provider key: certificates begin with octet 0x30, libp2p's signed records
	// with a length below 0x6d, MLS and log signatures with labels of their own.
	envelopeContext = "mimid provider request envelope 1"
	endpointSize    = 64
)

func (e *Envelope) read(r *reader) {
	if v := r.U8(); v != envelopeVersion && r.Err() == nil {
		r.Fail(ErrUnsupported, "envelope of version %d", v)
	}
	e.Source = string(r.bounded(r.lim.URI, "source"))
	e.Target = string(r.bounded(r.lim.URI, "target"))
	e.Endpoint = string(r.bounded(endpointSize, "endpoint"))
	e.Room = r.optionalURI("room")
	copy(e.RequestID[:], r.Fixed(len(e.RequestID)))
	e.Time = r.U64()
	copy(e.BodyHash[:], r.Fixed(len(e.BodyHash)))
	e.Signature = r.bounded(ed25519.SignatureSize, "signature")
}

// content is all that is signed.
func (e *Envelope) content(b []byte) []byte {
	b = appendText(append(b, envelopeVersion), e.Source)
	b = appendText(appendText(b, e.Target), e.Endpoint)
	b = append(appendOptionalURI(b, e.Room), e.RequestID[:]...)
	return append(presentation.AppendU64(b, e.Time), e.BodyHash[:]...)
}

func (e *Envelope) append(b []byte) []byte {
	return presentation.AppendOpaque(e.content(b), e.Signature)
}

func (e *Envelope) check() error {
	switch {
	case e.Source == "" || e.Target == "" || e.Endpoint == "":
		return fmt.Errorf("envelope from %q to %q for %q: %w", e.Source, e.Target, e.Endpoint, ErrMalformed)
	case len(e.Endpoint) > endpointSize:
		return fmt.Errorf("endpoint of %d bytes: %w", len(e.Endpoint), ErrTooLarge)
	case len(e.Signature) != 0 && len(e.Signature) != ed25519.SignatureSize:
		return fmt.Errorf("signature of %d bytes: %w", len(e.Signature), ErrMalformed)
	}
	return nil
}

// ParseEnvelope reads an envelope. The bytes are copied.
func ParseEnvelope(b []byte, lim Limits) (*Envelope, error) {
	e := new(Envelope)
	if err := parse(b, lim, "Envelope", e); err != nil {
		return nil, err
	}
	return e, nil
}

// Bytes encodes the envelope.
func (e *Envelope) Bytes() ([]byte, error) { return encode("Envelope", e) }

func (e *Envelope) tbs() []byte { return e.content([]byte(envelopeContext + "\x00")) }

// SetBody names the body that the envelope goes around.
func (e *Envelope) SetBody(body []byte) { e.BodyHash = sha256.Sum256(body) }

// Sign signs what the envelope then holds with the source's provider key.
// Error: ErrMalformed for a key of the wrong size.
func (e *Envelope) Sign(key ed25519.PrivateKey) error {
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("signing envelope with a key of %d bytes: %w", len(key), ErrMalformed)
	}
	e.Signature = nil
	if err := e.check(); err != nil {
		return fmt.Errorf("signing envelope: %w", err)
	}
	e.Signature = ed25519.Sign(key, e.tbs())
	return nil
}

// Expected is what the target of a request knows about it from elsewhere.
type Expected struct {
	// Source is the domain whose key, or whose node, the two next fields are
	// about. The envelope must name it.
	Source string
	// Key is the source's provider key. It may be nil where ChannelProves;
	// then a signature cannot be checked and is refused.
	Key ed25519.PublicKey
	// ChannelProves says that the peer at the other end is one of the source's
	// recorded nodes, or is certified as it, so that no signature is needed. One that is there must
	// still be good.
	ChannelProves bool
	// Target is the own domain.
	Target string
	// Endpoint is the one that was called.
	Endpoint string
	// Room is the room that the call is about, empty for none.
	Room IdentifierURI
	// Body is the body as received.
	Body []byte
	// Now is the time. The envelope's may lie Past before it and Future after
	// it, both inclusive.
	Now          time.Time
	Past, Future time.Duration
}

// VerifiedEnvelope is an envelope that its source made for this target,
// endpoint, room and body, at about this time. It may still be a repetition:
// look its source and request id up.
type VerifiedEnvelope struct{ e *Envelope }

// Envelope returns the envelope, which must not be changed.
func (v *VerifiedEnvelope) Envelope() *Envelope { return v.e }

// Verify checks the envelope. Errors, in the order in which they are looked
// for: ErrWrongSource, ErrWrongTarget, ErrTime, ErrWrongBody, ErrUnsigned,
// ErrBadSignature.
func (e *Envelope) Verify(x Expected) (*VerifiedEnvelope, error) {
	if err := e.verify(&x); err != nil {
		return nil, fmt.Errorf("verifying envelope: %w", err)
	}
	return &VerifiedEnvelope{e}, nil
}

func (e *Envelope) verify(x *Expected) error {
	if err := e.check(); err != nil {
		return err
	}
	switch {
	case e.Source != x.Source:
		return fmt.Errorf("source %q, not %q: %w", e.Source, x.Source, ErrWrongSource)
	case e.Target != x.Target:
		return fmt.Errorf("target %q, not %q: %w", e.Target, x.Target, ErrWrongTarget)
	case e.Endpoint != x.Endpoint:
		return fmt.Errorf("endpoint %q, not %q: %w", e.Endpoint, x.Endpoint, ErrWrongTarget)
	case e.Room != x.Room:
		return fmt.Errorf("room %q, not %q: %w", e.Room, x.Room, ErrWrongTarget)
	}
	// Milliseconds beyond the year 10,000 are not converted, lest they wrap.
	const latest = 253402300800000
	if t := time.UnixMilli(int64(min(e.Time, latest))); e.Time > latest ||
		t.Before(x.Now.Add(-x.Past)) || t.After(x.Now.Add(x.Future)) {
		return fmt.Errorf("made at %d ms, now %d: %w", e.Time, x.Now.UnixMilli(), ErrTime)
	}
	if sha256.Sum256(x.Body) != e.BodyHash {
		return ErrWrongBody
	}
	if len(e.Signature) == 0 {
		if !x.ChannelProves {
			return ErrUnsigned
		}
		return nil
	}
	if len(x.Key) != ed25519.PublicKeySize || !ed25519.Verify(x.Key, e.tbs(), e.Signature) {
		return fmt.Errorf("by the key of %q: %w", e.Source, ErrBadSignature)
	}
	return nil
}
