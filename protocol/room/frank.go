package room

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Franks (MIMI protocol section 5.4.1): the sender commits to what it says, in a tag
// that everybody sees and nobody can read; the hub stamps the tag with who submitted it,
// where and when. Who can read the message checks that all of it fits, and can then show
// the hub what was said, and by whom, without the hub having to believe it.
//
// A receiver takes the key of the hub that ordered the entry from the log (Lead), which
// is MIMI's franking_agent here. So a frank is judged by the hub of its own place, and
// stays good when the room has moved.

// ErrFrank: a message whose franking tag or frank does not fit what it says, or is
// missing. It must not be shown: it could not be reported.
var ErrFrank = errors.New("room: the message is not franked as it must be")

// ErrTag: an ErrFrank for which its sender is to blame, and the tag that it sent.
var ErrTag = fmt.Errorf("%w by its sender", ErrFrank)

// Franker is a hub's power to frank. It prints nothing. Safe for concurrent use.
type Franker struct {
	key    mls.SignatureKey
	public []byte
	secret [sha256.Size]byte // MIMI's hub_key
	dh     *ecdh.PrivateKey  // of the same key, see hidden.go
}

// NewFranker makes it of a provider's franking key, from which the hub_key is derived:
// HKDF-SHA256 of the key's seed with the info "mimid hub_key v1".
func NewFranker(key ed25519.PrivateKey) (*Franker, error) {
	f := new(Franker)
	var err error
	if f.key, err = mls.ParseSignatureKey(Suite, key.Seed()); err != nil {
		return nil, fmt.Errorf("reading franking key: %w", err)
	}
	f.public = f.key.Public()
	secret, err := hkdf.Key(sha256.New, key.Seed(), nil, "mimid hub_key v1", len(f.secret))
	if err != nil {
		return nil, fmt.Errorf("deriving hub_key: %w", err)
	}
	copy(f.secret[:], secret)
	if f.dh, err = dhOf(key); err != nil {
		return nil, fmt.Errorf("deriving the franking key's X25519 key: %w", err)
	}
	return f, nil
}

// Format implements fmt.Formatter.
func (f *Franker) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "Franker(%x)", f.public) }

// Key returns the public key, as replicas name it.
func (f *Franker) Key() []byte { return bytes.Clone(f.public) }

// Is says whether this is the hub's public key.
func (f *Franker) Is(key []byte) bool { return bytes.Equal(f.public, key) }

// Frank stamps a message that was admitted: sender is who it was submitted for, at the
// time of its entry. nonce is that of the submission and hides the sender from those who
// can read the log and not the message; the zero nonce makes the frank of a sender that
// speaks plain MIMI. Errors: wire.ErrNoTag and those of reading.
func (f *Franker) Frank(m *Message, r uri.Room, sender wire.IdentifierURI, at uint64, nonce TxnNonce) error {
	tag, err := wire.FrankAADOf(m.Message.Private.AAD(), BodyLimits())
	if err != nil {
		return fmt.Errorf("franking message: %w", err)
	}
	c := &wire.ServerFrankingContext{Sender: sender, Room: wire.IdentifierURI(r.String()), AcceptedAt: at}
	m.Frank, err = wire.NewFrank(f.secret[:], tag, c, wire.Blind(nonce), Suite, f.key)
	return err
}

// Made says that this hub made a frank, about what was said and when. Error: ErrFrank.
func (f *Franker) Made(frank *wire.Frank, p *Plain, at uint64) error {
	if err := frank.VerifyServerFrank(f.secret[:], p.tag(), p.context(at)); err != nil {
		return fmt.Errorf("%w: %w", ErrFrank, err)
	}
	return nil
}

// Plain is a message as its receivers read it: its content as sent, and what stands in
// it that franks are about.
type Plain struct {
	Salt         [16]byte
	Sender, Room string // URIs in extensions 1 and 2
	Data         []byte // the content's encoding
}

func (p *Plain) tag() *wire.FrankAAD { return wire.NewFrankAAD(p.Salt[:], p.Data) }

func (p *Plain) context(at uint64) *wire.ServerFrankingContext {
	return &wire.ServerFrankingContext{Sender: wire.IdentifierURI(p.Sender), Room: wire.IdentifierURI(p.Room), AcceptedAt: at}
}

// MessageNonce is the nonce with which a message is submitted: the first 16 bytes of
// HMAC-SHA256, under the content's salt, of "mimid message nonce v1" and the SHA-256 of
// the ciphertext (the whole MLSMessage). The hub cannot tell it from a random one, nor
// can anybody who cannot read the message; who can finds it here, which is how the blind
// of a frank reaches the receivers.
func MessageNonce(salt [16]byte, ciphertext [sha256.Size]byte) (n TxnNonce) {
	h := hmac.New(sha256.New, salt[:])
	h.Write([]byte("mimid message nonce v1"))
	h.Write(ciphertext[:])
	copy(n[:], h.Sum(nil))
	return n
}

// CheckFrank says that a message is franked as it must be: p, which was decrypted, says
// that it is by sender, whose leaf MLS showed, and for this room; the sender has
// committed to p; and hub, which ordered the entry at that time, has stamped all that.
//
// It returns the nonce that the frank's signature holds, zero if it is plain MIMI's.
// Error: ErrFrank, which is ErrTag where the sender is to blame.
func (m *Message) CheckFrank(hub *Replica, r uri.Room, sender string, at uint64, p *Plain) (TxnNonce, error) {
	nonce, _, err := m.checkFrank(hub, r, sender, at, p, false)
	return nonce, err
}

// CheckHidden is CheckFrank for a pseudonymous room, where the hub may have been told no sender (Hidden): hidden
// says so. Such a frank says that somebody in the room has sent this, and who, MLS has shown to the receivers alone.
func (m *Message) CheckHidden(hub *Replica, r uri.Room, sender string, at uint64, p *Plain) (nonce TxnNonce, hidden bool, err error) {
	return m.checkFrank(hub, r, sender, at, p, true)
}

func (m *Message) checkFrank(hub *Replica, r uri.Room, sender string, at uint64, p *Plain, mayHide bool) (TxnNonce, bool, error) {
	bad := func(whose error, format string, args ...any) (TxnNonce, bool, error) {
		return TxnNonce{}, false, fmt.Errorf("%w: %s", whose, fmt.Sprintf(format, args...))
	}
	tag, err := wire.FrankAADOf(m.Message.Private.AAD(), BodyLimits())
	want := p.tag()
	switch {
	case err != nil:
		return bad(ErrTag, "%v", err)
	case !hmac.Equal(tag.Tag[:], want.Tag[:]):
		return bad(ErrTag, "the commitment is to something else")
	case p.Sender != sender:
		return bad(ErrTag, "it says that it is by %q, and is by %q", p.Sender, sender)
	case p.Room != r.String():
		return bad(ErrTag, "it says that it is for the room %q", p.Room)
	case m.Frank == nil:
		return bad(ErrFrank, "the hub %s has not franked it", hub.Domain)
	case m.Frank.Suite != Suite:
		return bad(ErrFrank, "the hub %s has franked it with cipher suite %v", hub.Domain, m.Frank.Suite)
	}
	nonce := MessageNonce(p.Salt, sha256.Sum256(m.Message.Bytes()))
	c := p.context(at)
	if err = m.Frank.Verify(hub.FrankingKey, c, wire.Blind(nonce)); err == nil {
		return nonce, false, nil
	}
	if m.Frank.Verify(hub.FrankingKey, c, wire.Blind{}) == nil {
		return TxnNonce{}, false, nil
	}
	if c.Sender = HiddenSender(r); mayHide && m.Frank.Verify(hub.FrankingKey, c, wire.Blind(nonce)) == nil {
		return nonce, true, nil
	}
	return bad(ErrFrank, "the frank of the hub %s: %v", hub.Domain, err)
}

// VerifyFrank says that hub has franked what was said, by the hub's public key: nonce is
// what CheckFrank returned to whoever reports it. Whether the hub also ordered it the log
// says. Error: ErrFrank.
func VerifyFrank(hub *Replica, frank *wire.Frank, p *Plain, at uint64, nonce TxnNonce) error {
	if frank.Suite != Suite {
		return fmt.Errorf("%w: cipher suite %v", ErrFrank, frank.Suite)
	}
	if err := frank.Verify(hub.FrankingKey, p.context(at), wire.Blind(nonce)); err != nil {
		return fmt.Errorf("%w: the frank of the hub %s: %w", ErrFrank, hub.Domain, err)
	}
	return nil
}
