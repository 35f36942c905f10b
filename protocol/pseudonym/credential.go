package pseudonym

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// CredentialType is what MLS calls a pseudonymous credential; from the private range, since
// the draft has no number for it.
const CredentialType mls.CredentialType = 0xf001

// Bounds in octets.
const (
	maxURI          = 512
	maxSignatureKey = 256
	maxCiphertext   = 32 << 10
	// MaxCredential bounds an encoded Credential.
	MaxCredential = 2*maxURI + maxSignatureKey + maxCiphertext + 128
)

// Credential is what a leaf of a pseudonymous room shows to everybody
// (draft-ietf-mimi-protocol section 6):
//
//	struct {
//	    IdentifierUri client_pseudonym;
//	    IdentifierUri user_pseudonym;
//	    opaque signature_public_key<V>;
//	    opaque identity_link_ciphertext<V>;
//	} PseudonymousCredential;
//
// The draft writes signature_public_key without a length; as in MLS it has one here. The
// ciphertext is a Sealed link, whose layout the draft leaves open. IdentifierUri is
// {opaque uri<V>}.
//
// Both pseudonyms are random UUIDs at the user's provider. That of the user is the same in
// all its devices' leaves in one room, and in no other room.
type Credential struct {
	Client, User uri.Pseudonym
	Key          []byte // the leaf's signature key
	Link         Sealed
}

// New draws a pseudonym at a provider: a random UUID (RFC 9562 section 5.4).
func New(p uri.Provider) (uri.Pseudonym, error) {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	u, err := p.Pseudonym(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
	if err != nil {
		return u, fmt.Errorf("drawing a pseudonym: %w", err)
	}
	return u, nil
}

// Check refuses a pseudonym that is no random UUID in its one spelling: what people choose
// says something about them. Error: ErrMalformed.
func Check(p uri.Pseudonym) error {
	s := p.Name()
	ok := len(s) == 36
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			ok = c == '-'
		case 14:
			ok = c == '4'
		case 19:
			ok = c == '8' || c == '9' || c == 'a' || c == 'b'
		default:
			ok = '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
		}
	}
	if !ok {
		return fmt.Errorf("%q is no random UUID: %w", s, ErrMalformed)
	}
	return nil
}

func (c *Credential) check() error {
	for _, p := range []uri.Pseudonym{c.Client, c.User} {
		if err := Check(p); err != nil {
			return err
		}
	}
	switch {
	case c.Client.Provider() != c.User.Provider():
		return fmt.Errorf("pseudonyms at %s and %s: %w", c.Client.Provider(), c.User.Provider(), ErrMalformed)
	case c.Client == c.User:
		return fmt.Errorf("one pseudonym for user and client: %w", ErrMalformed)
	case len(c.Key) == 0 || len(c.Key) > maxSignatureKey:
		return fmt.Errorf("signature key of %d octets: %w", len(c.Key), ErrMalformed)
	}
	return nil
}

// MLS is the credential as it stands in a leaf.
func (c *Credential) MLS() mls.Credential {
	var b []byte
	b = presentation.AppendOpaque(b, []byte(c.Client.String()))
	b = presentation.AppendOpaque(b, []byte(c.User.String()))
	b = presentation.AppendOpaque(b, c.Key)
	b = presentation.AppendOpaque(b, c.Link.append(nil))
	return mls.Credential{Type: CredentialType, Identity: b}
}

// Of reads the credential of a leaf with a signature key. It shares no memory with either.
// Errors: ErrNotPseudonymous, ErrMalformed, and ErrOther for the credential of another key.
func Of(m mls.Credential, signatureKey []byte) (*Credential, error) {
	if m.Type != CredentialType {
		return nil, fmt.Errorf("credential type %d: %w", m.Type, ErrNotPseudonymous)
	}
	c, err := parseCredential(m.Identity)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(c.Key, signatureKey) {
		return nil, fmt.Errorf("its signature key is not the leaf's: %w", ErrOther)
	}
	return c, nil
}

func parseCredential(b []byte) (*Credential, error) {
	if len(b) > MaxCredential {
		return nil, fmt.Errorf("credential of %d octets, at most %d: %w", len(b), MaxCredential, ErrMalformed)
	}
	r := presentation.NewReader(bytes.Clone(b))
	c := new(Credential)
	c.Client, c.User = readPseudonym(r), readPseudonym(r)
	c.Key = r.Bounded(maxSignatureKey, "signature key")
	link := presentation.NewReader(r.Bounded(maxCiphertext+128, "identity link"))
	if r.Err() == nil {
		c.Link.read(link)
	}
	err := r.Done()
	if err == nil {
		err = link.Done()
	}
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, fmt.Errorf("reading a pseudonymous credential: %w: %w", ErrMalformed, err)
	}
	return c, nil
}

func readPseudonym(r *presentation.Reader) (p uri.Pseudonym) {
	b := r.Bounded(maxURI, "pseudonym")
	if r.Err() != nil {
		return p
	}
	p, err := uri.ParsePseudonym(string(b))
	if err != nil {
		r.Fail(ErrMalformed, "pseudonym: %v", err)
	}
	return p
}

// Succeeds says whether a leaf may go on with another credential: its pseudonyms stay.
// Error: ErrOther.
func (c *Credential) Succeeds(old *Credential) error {
	if c.Client != old.Client || c.User != old.User {
		return fmt.Errorf("%s becomes %s: %w", old.Client, c.Client, ErrOther)
	}
	return nil
}
