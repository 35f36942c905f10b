package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// Components of franking and of the participant list (section 10 of the draft).
const (
	ComponentFrankAAD        mls.ComponentID = 0x0020 // FrankAAD, in SafeAAD
	ComponentFrankingAgent   mls.ComponentID = 0x0021 // FrankingAgentData, in the GroupContext
	ComponentParticipantList mls.ComponentID = 0x0022 // ParticipantListData, in the GroupContext
)

const frankSize = sha256.Size

// FrankAAD is the sender's commitment to what it sent (section 5.4.1):
//
//	struct { uint8 franking_tag[32]; } FrankAAD;
type FrankAAD struct {
	Tag [frankSize]byte
}

func (f *FrankAAD) read(r *reader)         { copy(f.Tag[:], r.Fixed(frankSize)) }
func (f *FrankAAD) append(b []byte) []byte { return append(b, f.Tag[:]...) }
func (f *FrankAAD) check() error           { return nil }

// ParseFrankAAD reads the component's data.
func ParseFrankAAD(b []byte, lim Limits) (*FrankAAD, error) {
	f := new(FrankAAD)
	if err := parse(b, lim, "FrankAAD", f); err != nil {
		return nil, err
	}
	return f, nil
}

// Bytes encodes the component's data.
func (f *FrankAAD) Bytes() ([]byte, error) { return encode("FrankAAD", f) }

// NewFrankAAD computes the tag, HMAC-SHA256 of the application data (with its
// ApplicationFraming, if the group uses one) under the content's salt.
func NewFrankAAD(salt, applicationData []byte) *FrankAAD {
	return &FrankAAD{Tag: hmacSHA256(salt, applicationData)}
}

// SafeAAD is the authenticated data of a message that carries the component and
// nothing else (draft-ietf-mls-extensions section 4.9), an AppDataDictionary by
// its layout:
//
//	struct { ComponentID component_id; opaque aad_item_data<V>; } SafeAADItem;
//	struct { SafeAADItem aad_items<V>; } SafeAAD;
func (f *FrankAAD) SafeAAD() []byte {
	return mls.Dictionary{ComponentFrankAAD: f.Tag[:]}.Append(nil)
}

// FrankAADOf finds the tag in a message's authenticated data, which is a SafeAAD
// and nothing after it. Other components are left alone. Errors: ErrNoTag, and those
// of reading.
func FrankAADOf(aad []byte, lim Limits) (*FrankAAD, error) {
	lim = lim.withDefaults()
	var d mls.Dictionary
	r := presentation.NewReader(aad)
	if len(aad) > 0 {
		d.Read(r, lim.Limits)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading SafeAAD: %w", err)
	}
	data, ok := d[ComponentFrankAAD]
	if !ok {
		return nil, ErrNoTag
	}
	return ParseFrankAAD(data, lim)
}

func hmacSHA256(key, data []byte) (out [frankSize]byte) {
	m := hmac.New(sha256.New, key)
	m.Write(data)
	m.Sum(out[:0])
	return out
}

// FrankingAgentData holds the hub's key for franks (section 5.4.1); an update
// of the component, FrankingAgentUpdate, looks the same:
//
//	struct { SignaturePublicKey franking_signature_key; Credential credential; } FrankingAgentData;
//
// The key has the signature scheme of the group's cipher suite.
type FrankingAgentData struct {
	SignatureKey []byte
	Credential   mls.Credential
}

func (f *FrankingAgentData) read(r *reader) {
	f.SignatureKey = r.short("franking_signature_key")
	f.Credential.Read(r.Reader, r.lim.Limits)
}

func (f *FrankingAgentData) append(b []byte) []byte {
	return f.Credential.Append(presentation.AppendOpaque(b, f.SignatureKey))
}

func (f *FrankingAgentData) check() error { return checkCredential(&f.Credential) }

// ParseFrankingAgentData reads the component's data. The bytes are copied.
func ParseFrankingAgentData(b []byte, lim Limits) (*FrankingAgentData, error) {
	f := new(FrankingAgentData)
	if err := parse(b, lim, "FrankingAgentData", f); err != nil {
		return nil, err
	}
	return f, nil
}

// Bytes encodes the component's data.
func (f *FrankingAgentData) Bytes() ([]byte, error) { return encode("FrankingAgentData", f) }

// ServerFrankingContext is what the hub adds to the sender's commitment
// (section 5.4.1):
//
//	struct {
//	    IdentifierUri sender_uri;
//	    IdentifierUri room_uri;
//	    uint64 accepted_timestamp;     /* ms */
//	} ServerFrankingContext;
type ServerFrankingContext struct {
	Sender     IdentifierURI
	Room       IdentifierURI
	AcceptedAt uint64
}

func (c *ServerFrankingContext) read(r *reader) {
	c.Sender = r.uri("sender_uri")
	c.Room = r.uri("room_uri")
	c.AcceptedAt = r.U64()
}

func (c *ServerFrankingContext) append(b []byte) []byte {
	return presentation.AppendU64(appendURI(appendURI(b, c.Sender), c.Room), c.AcceptedAt)
}

func (c *ServerFrankingContext) check() error {
	return firstError(checkURI(c.Sender, "sender_uri"), checkURI(c.Room, "room_uri"))
}

// ParseServerFrankingContext reads a context.
func ParseServerFrankingContext(b []byte, lim Limits) (*ServerFrankingContext, error) {
	c := new(ServerFrankingContext)
	if err := parse(b, lim, "ServerFrankingContext", c); err != nil {
		return nil, err
	}
	return c, nil
}

// Bytes encodes the context.
func (c *ServerFrankingContext) Bytes() ([]byte, error) { return encode("ServerFrankingContext", c) }

// Frank is the hub's stamp on a message (section 5.4):
//
//	struct {
//	    uint8 server_frank[32];
//	    CipherSuite franking_signature_ciphersuite;
//	    opaque franking_integrity_signature<V>;
//	} Frank;
//
//	server_frank = HMAC-SHA256(hub_key, franking_tag || ServerFrankingContext)
//
// The signature is SignWithLabel(., "FrankingIntegrityTBS",
// FrankingIntegrityTBS), over
//
//	struct {
//	    opaque server_frank[32];
//	    CipherSuite franking_signature_ciphersuite;
//	    ServerFrankingContext context;
//	} FrankingIntegrityTBS;
type Frank struct {
	ServerFrank [frankSize]byte
	Suite       mls.CipherSuite
	Signature   []byte
}

func (f *Frank) read(r *reader) {
	copy(f.ServerFrank[:], r.Fixed(frankSize))
	f.Suite = mls.CipherSuite(r.U16())
	f.Signature = r.short("franking_integrity_signature")
}

func (f *Frank) append(b []byte) []byte {
	b = presentation.AppendU16(append(b, f.ServerFrank[:]...), uint16(f.Suite))
	return presentation.AppendOpaque(b, f.Signature)
}

func (f *Frank) check() error { return nil }

func (r *reader) optionalFrank() *Frank {
	if !r.Optional() {
		return nil
	}
	f := new(Frank)
	f.read(r)
	return f
}

func appendOptionalFrank(b []byte, f *Frank) []byte {
	b = presentation.AppendOptional(b, f != nil)
	if f != nil {
		b = f.append(b)
	}
	return b
}

// ParseFrank reads a frank that was stored by itself. The bytes are copied.
func ParseFrank(b []byte, lim Limits) (*Frank, error) {
	f := new(Frank)
	if err := parse(b, lim, "Frank", f); err != nil {
		return nil, err
	}
	return f, nil
}

// Bytes encodes the frank.
func (f *Frank) Bytes() ([]byte, error) { return encode("Frank", f) }

// Blind hides the sender in a frank's signature. Everything else that is signed
// stands in the room's log, so whoever keeps the log, without being able to read
// the message, could try the participants one by one until the signature verifies
// for one. The hub therefore signs this, too, which it has from the sender and the
// receivers have from the message; the server_frank needs nothing, being under the
// hub's own key. A written deviation from MIMI: the signature is
//
//	SignWithLabel(., "mimid hidden FrankingIntegrityTBS",
//	              struct { FrankingIntegrityTBS tbs; opaque blind[16]; })
//
// The zero Blind is MIMI's own signature, which hides nobody.
type Blind [16]byte

const (
	frankLabel       = "FrankingIntegrityTBS"
	hiddenFrankLabel = "mimid hidden FrankingIntegrityTBS"
)

// tbs is FrankingIntegrityTBS, and the label that it is signed with.
func (f *Frank) tbs(c *ServerFrankingContext, blind Blind) (label string, b []byte) {
	b = append(make([]byte, 0, 256), f.ServerFrank[:]...)
	b = c.append(presentation.AppendU16(b, uint16(f.Suite)))
	if blind == (Blind{}) {
		return frankLabel, b
	}
	return hiddenFrankLabel, append(b, blind[:]...)
}

func serverFrank(hubKey []byte, tag *FrankAAD, c *ServerFrankingContext) [frankSize]byte {
	return hmacSHA256(hubKey, c.append(append([]byte(nil), tag.Tag[:]...)))
}

// NewFrank franks a message: hubKey is the hub's secret, key its franking key,
// of the signature scheme of suite. blind is the sender's, zero for none.
func NewFrank(hubKey []byte, tag *FrankAAD, c *ServerFrankingContext, blind Blind, suite mls.CipherSuite, key mls.SignatureKey) (*Frank, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("franking: %w", err)
	}
	f := &Frank{ServerFrank: serverFrank(hubKey, tag, c), Suite: suite}
	var err error
	if f.Signature, err = key.Sign(f.tbs(c, blind)); err != nil {
		return nil, fmt.Errorf("franking: %w", err)
	}
	return f, nil
}

// Verify checks the hub's signature over the frank and the context, as a
// receiver does who has taken the context from the decrypted message. That the
// suite is the group's, and the key the room's, is for the caller.
// blind is the message's, zero to verify MIMI's own signature.
// Errors: ErrBadSignature, ErrUnsupported.
func (f *Frank) Verify(frankingKey []byte, c *ServerFrankingContext, blind Blind) error {
	label, tbs := f.tbs(c, blind)
	if err := f.Suite.Verify(frankingKey, label, tbs, f.Signature); err != nil {
		return fmt.Errorf("verifying frank: %w", err)
	}
	return nil
}

// VerifyServerFrank lets the hub see that it made this frank, as on a report
// of abuse. Error: ErrBadFrank.
func (f *Frank) VerifyServerFrank(hubKey []byte, tag *FrankAAD, c *ServerFrankingContext) error {
	want := serverFrank(hubKey, tag, c)
	if !hmac.Equal(want[:], f.ServerFrank[:]) {
		return ErrBadFrank
	}
	return nil
}
