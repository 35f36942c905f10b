package pseudonym

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

const (
	nonceSize = 12
	tagSize   = 16
	// linkBucket is what a link's plaintext is filled up to a multiple of, so that the
	// length of a name, or of a certificate, does not tell whose it is. With the chains of
	// open rooms a plaintext has 800 octets for short names, and 1,000 for long ones at a
	// provider that is named by its key.
	linkBucket    = 3 << 9
	maxIdentity   = 24 << 10 // of the real credential
	maxSignature  = 512
	signatureName = "MimidIdentityLinkTBS v1"
)

// Sealed is a link as it stands in a credential: who can open it learns the name.
//
//	struct {
//	    uint8 version = 1;
//	    KeyID key;
//	    opaque nonce[12];
//	    opaque ciphertext<V>;      /* AES-256-GCM of a padded IdentityLinkTBE */
//	} SealedLink;                  /* identity_link_ciphertext, section 6 */
//
// The associated data is a LinkBinding, and so is the context that the AEAD's key is
// derived for:
//
//	struct {
//	    KeyID key;                 /* kind, generation, commitment */
//	    IdentityLinkTBS tbs;
//	} LinkBinding;
type Sealed struct {
	Key        ID
	Nonce      [nonceSize]byte
	Ciphertext []byte
}

const linkVersion = 1

func (s *Sealed) append(b []byte) []byte {
	b = s.Key.append(append(b, linkVersion))
	return presentation.AppendOpaque(append(b, s.Nonce[:]...), s.Ciphertext)
}

func (s *Sealed) read(r *presentation.Reader) {
	if v := r.U8(); v != linkVersion {
		r.Fail(ErrMalformed, "identity link of version %d", v)
	}
	s.Key.read(r)
	copy(s.Nonce[:], r.Fixed(nonceSize))
	s.Ciphertext = r.Bounded(maxCiphertext, "ciphertext")
	if n := len(s.Ciphertext); r.Err() == nil && (n < linkBucket+tagSize || (n-tagSize)%linkBucket != 0) {
		r.Fail(ErrMalformed, "ciphertext of %d octets", n)
	}
}

// tbs is what the real identity signs and the AEAD is bound to: the draft's
// PseudonymousCredentialTBS, and the room.
//
//	struct {
//	    IdentifierUri client_pseudonym;
//	    IdentifierUri user_pseudonym;
//	    opaque signature_public_key<V>;
//	    IdentifierUri room_uri;    /* under an own key: empty, the room is not known yet */
//	} IdentityLinkTBS;
//
// Since it is not the draft's structure, it is signed under a label of its own.
func tbs(c *Credential, kind Kind, room uri.Room) []byte {
	var b []byte
	b = presentation.AppendOpaque(b, []byte(c.Client.String()))
	b = presentation.AppendOpaque(b, []byte(c.User.String()))
	b = presentation.AppendOpaque(b, c.Key)
	if kind == KindOwn {
		room = uri.Room{}
	}
	return presentation.AppendOpaque(b, []byte(room.String()))
}

// Identity is who somebody really is: the credential that it has in open rooms, and the
// key of it.
type Identity struct {
	Suite      mls.CipherSuite // of the key
	Signer     mls.SignatureKey
	Credential mls.Credential
}

// Format implements fmt.Formatter; it prints nothing of the key.
func (i Identity) Format(f fmt.State, _ rune) { fmt.Fprint(f, "pseudonym.Identity") }

// Seal signs that the identity goes by the credential's pseudonyms and signature key, and
// puts that into the credential's link, for those who have the key. Under a room's key it
// is for this room only. Error: ErrMalformed for a credential or an identity that is none.
func (c *Credential) Seal(k Key, room uri.Room, who Identity) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("sealing an identity link: %w", err)
	}
	if k.id.Kind != KindRoom && k.id.Kind != KindOwn {
		return fmt.Errorf("sealing an identity link with no key: %w", ErrMalformed)
	}
	signed := tbs(c, k.id.Kind, room)
	sig, err := who.Signer.Sign(signatureName, signed)
	if err != nil {
		return fmt.Errorf("sealing an identity link: %w", err)
	}
	claim := &Claim{suite: who.Suite, key: who.Signer.Public(), credential: who.Credential, signature: sig}
	plain := claim.append(nil)
	plain = append(plain, make([]byte, (linkBucket-len(plain)%linkBucket)%linkBucket)...)
	if len(who.Credential.Append(nil)) > maxIdentity || len(plain)+tagSize > maxCiphertext {
		return fmt.Errorf("sealing an identity link: identity of %d octets: %w", len(plain), ErrMalformed)
	}
	s := Sealed{Key: k.id}
	rand.Read(s.Nonce[:]) // never fails
	about := append(k.id.append(nil), signed...)
	s.Ciphertext = k.aead(about).Seal(nil, s.Nonce[:], plain, about)
	c.Link = s
	return nil
}

// Claim is what was in a link: somebody who had the key wrote it, and it may be false.
//
//	struct {
//	    opaque pseudonymous_credential_signature<V>;
//	    Credential client_credential;
//	    uint16 cipher_suite;       /* ours: of the signature */
//	    opaque signature_key<V>;   /* ours: of client_credential */
//	    opaque padding[];          /* ours: zeros, to a multiple of 1536 octets */
//	} IdentityLinkTBE;             /* section 6 */
type Claim struct {
	suite      mls.CipherSuite
	key        []byte
	credential mls.Credential
	signature  []byte

	as     Credential
	signed []byte
}

func (c *Claim) append(b []byte) []byte {
	b = presentation.AppendOpaque(b, c.signature)
	b = c.credential.Append(b)
	b = presentation.AppendU16(b, uint16(c.suite))
	return presentation.AppendOpaque(b, c.key)
}

func (c *Claim) read(r *presentation.Reader) {
	c.signature = r.Bounded(maxSignature, "signature")
	c.credential.Read(r, mls.Limits{MessageSize: maxIdentity, ListEntries: 8})
	c.suite = mls.CipherSuite(r.U16())
	c.key = r.Bounded(maxSignatureKey, "signature key")
	pad := r.Fixed(len(r.Rest()))
	if len(pad) >= linkBucket {
		r.Fail(ErrMalformed, "%d octets of padding", len(pad))
	}
	for _, x := range pad {
		if x != 0 {
			r.Fail(ErrMalformed, "padding that is not zero")
			break
		}
	}
}

// Open decrypts the credential's link. Errors: ErrNoKey for another key than the link
// names, ErrNotOpen for a link that was made wrong.
func (c *Credential) Open(k Key, room uri.Room) (*Claim, error) {
	if k.id != c.Link.Key {
		return nil, fmt.Errorf("the link of %s is under %s: %w", c.Client, c.Link.Key, ErrNoKey)
	}
	signed := tbs(c, k.id.Kind, room)
	about := append(k.id.append(nil), signed...)
	plain, err := k.aead(about).Open(nil, c.Link.Nonce[:], c.Link.Ciphertext, about)
	if err != nil {
		return nil, fmt.Errorf("the link of %s: %w", c.Client, ErrNotOpen)
	}
	claim := &Claim{as: *c, signed: signed}
	r := presentation.NewReader(plain)
	claim.read(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("the link of %s: %w: %w", c.Client, ErrNotOpen, err)
	}
	return claim, nil
}

// Judge knows which real credentials are good, and whose they are.
type Judge interface {
	// Authenticate says whether a credential is good for a signature key, as
	// mls.Authenticator does.
	Authenticate(c mls.Credential, signatureKey []byte, now time.Time) error
	// User is the user whom a credential names.
	User(c mls.Credential) (uri.User, error)
}

// X509 judges X.509 credentials, which are those of open rooms here.
type X509 struct{ mls.Authenticator }

// User implements Judge.
func (X509) User(c mls.Credential) (uri.User, error) {
	s, err := x509auth.UserURI(c)
	if err != nil {
		return uri.User{}, err
	}
	return uri.ParseUser(s)
}

// Link is a name that was proved to belong to a pseudonym. Only Claim.Verify makes one.
type Link struct {
	user       uri.User
	as         uri.Pseudonym
	client     uri.Pseudonym
	credential mls.Credential
}

// User is who it really is.
func (l *Link) User() uri.User { return l.user }

// Pseudonym is what the user goes by in the room.
func (l *Link) Pseudonym() uri.Pseudonym { return l.as }

// Client is what its device goes by.
func (l *Link) Client() uri.Pseudonym { return l.client }

// Credential is the device's real credential.
func (l *Link) Credential() mls.Credential { return l.credential }

// Verify says whether the claim is true at a time. Errors: ErrNotSigned, ErrIdentity.
func (c *Claim) Verify(judge Judge, now time.Time) (*Link, error) {
	if err := c.suite.Verify(c.key, signatureName, c.signed, c.signature); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", c.as.Client, ErrNotSigned, err)
	}
	if err := judge.Authenticate(c.credential, c.key, now); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", c.as.Client, ErrIdentity, err)
	}
	u, err := judge.User(c.credential)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", c.as.Client, ErrIdentity, err)
	}
	if u.Provider() != c.as.User.Provider() {
		return nil, fmt.Errorf("%s is a pseudonym for a user of %s: %w", c.as.Client, u.Provider(), ErrIdentity)
	}
	return &Link{user: u, as: c.as.User, client: c.as.Client, credential: c.credential}, nil
}
