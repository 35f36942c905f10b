package wire

import (
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// KeyMaterialRequest asks for a KeyPackage of each client of one user, for one
// room (section 5.2):
//
//	struct {
//	    Protocol protocol;
//	    IdentifierUri requestingUser;
//	    IdentifierUri targetUser;
//	    IdentifierUri roomId;                 /* empty: for no room in particular */
//	    select (protocol) { case mls10:
//	        CipherSuite acceptableCiphersuites<V>;  /* not empty */
//	        RequiredCapabilities requiredCapabilities;
//	        SignaturePublicKey requesterSignatureKey;
//	        Credential requesterCredential;
//	        opaque key_material_request_signature<V>;
//	    };
//	} KeyMaterialRequest;
//
// The signature is SignWithLabel(requesterSignatureKey,
// "KeyMaterialRequestTBS", KeyMaterialRequestTBS), the content being all fields
// before it.
type KeyMaterialRequest struct {
	RequestingUser IdentifierURI
	TargetUser     IdentifierURI
	Room           IdentifierURI
	Suites         []mls.CipherSuite
	Required       mls.RequiredCapabilities
	SignatureKey   []byte
	Credential     mls.Credential
	Signature      []byte
}

func (m *KeyMaterialRequest) read(r *reader) {
	r.protocol()
	m.RequestingUser = r.uri("requestingUser")
	m.TargetUser = r.uri("targetUser")
	m.Room = r.uri("roomId")
	r.List(r.lim.ListEntries, func() { m.Suites = append(m.Suites, mls.CipherSuite(r.U16())) })
	m.Required.Read(r.Reader, r.lim.Limits)
	m.SignatureKey = r.short("requesterSignatureKey")
	m.Credential.Read(r.Reader, r.lim.Limits)
	m.Signature = r.short("signature")
}

// tbs is KeyMaterialRequestTBS.
func (m *KeyMaterialRequest) tbs(b []byte) []byte {
	b = append(b, byte(MLS10))
	b = appendURI(b, m.RequestingUser)
	b = appendURI(b, m.TargetUser)
	b = appendURI(b, m.Room)
	b = appendEach(b, m.Suites, func(b []byte, s mls.CipherSuite) []byte {
		return presentation.AppendU16(b, uint16(s))
	})
	b = m.Required.Append(b)
	b = presentation.AppendOpaque(b, m.SignatureKey)
	return m.Credential.Append(b)
}

func (m *KeyMaterialRequest) append(b []byte) []byte {
	return presentation.AppendOpaque(m.tbs(b), m.Signature)
}

func (m *KeyMaterialRequest) check() error {
	if len(m.Suites) == 0 {
		return fmt.Errorf("no acceptable cipher suite: %w", ErrMalformed)
	}
	return firstError(checkURI(m.RequestingUser, "requestingUser"), checkURI(m.TargetUser, "targetUser"),
		checkCredential(&m.Credential))
}

// ParseKeyMaterialRequest reads a request body. The bytes are copied.
func ParseKeyMaterialRequest(b []byte, lim Limits) (*KeyMaterialRequest, error) {
	m := new(KeyMaterialRequest)
	if err := parse(b, lim, "KeyMaterialRequest", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the request.
func (m *KeyMaterialRequest) Bytes() ([]byte, error) { return encode("KeyMaterialRequest", m) }

const keyMaterialLabel = "KeyMaterialRequestTBS"

// Sign sets the signature key and the signature.
func (m *KeyMaterialRequest) Sign(key mls.SignatureKey) (err error) {
	m.SignatureKey = key.Public()
	if err := m.check(); err != nil {
		return fmt.Errorf("signing KeyMaterialRequest: %w", err)
	}
	m.Signature, err = key.Sign(keyMaterialLabel, m.tbs(nil))
	return err
}

// VerifiedKeyMaterialRequest is a request that the holder of its credential
// signed. It has no freshness of its own: the envelope around it does.
type VerifiedKeyMaterialRequest struct{ m *KeyMaterialRequest }

// Request returns the request, which must not be changed.
func (v *VerifiedKeyMaterialRequest) Request() *KeyMaterialRequest { return v.m }

// Verify checks the signature, and by auth that the credential is good for the
// signature key at the given time. Whether the credential names the requesting
// user is for the caller, who knows how credentials name users.
//
// The draft does not say which signature scheme the key has. It is one of the
// acceptable cipher suites', so each that the engine supports is tried once.
// Errors: ErrBadSignature, ErrUnsupported if no suite is supported, or auth's.
func (m *KeyMaterialRequest) Verify(auth mls.Authenticator, now time.Time) (*VerifiedKeyMaterialRequest, error) {
	const doing = "verifying KeyMaterialRequest: %w"
	if err := m.check(); err != nil {
		return nil, fmt.Errorf(doing, err)
	}
	err := fmt.Errorf("acceptable cipher suites %v: %w", m.Suites, ErrUnsupported)
	tbs, tried := m.tbs(nil), map[mls.CipherSuite]bool{}
	for _, s := range m.Suites {
		if !s.Supported() || tried[s] {
			continue
		}
		tried[s] = true
		if err = s.Verify(m.SignatureKey, keyMaterialLabel, tbs, m.Signature); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf(doing, err)
	}
	if err := auth.Authenticate(m.Credential, m.SignatureKey, now); err != nil {
		return nil, fmt.Errorf(doing, err)
	}
	return &VerifiedKeyMaterialRequest{m}, nil
}

// KeyMaterialUserCode says what became of a KeyMaterialRequest (one octet).
type KeyMaterialUserCode uint8

// User codes.
const (
	KeyMaterialSuccess              KeyMaterialUserCode = 0
	KeyMaterialPartialSuccess       KeyMaterialUserCode = 1
	KeyMaterialIncompatibleProtocol KeyMaterialUserCode = 2
	KeyMaterialNoCompatible         KeyMaterialUserCode = 3
	KeyMaterialUserUnknown          KeyMaterialUserCode = 4
	KeyMaterialNoConsent            KeyMaterialUserCode = 5
	KeyMaterialNoConsentForRoom     KeyMaterialUserCode = 6
	KeyMaterialUserDeleted          KeyMaterialUserCode = 7
)

var userCodeNames = []string{"success", "partialSuccess", "incompatibleProtocol",
	"noCompatibleMaterial", "userUnknown", "noConsent", "noConsentForThisRoom", "userDeleted"}

func (c KeyMaterialUserCode) String() string {
	return enumName(c, "KeyMaterialUserCode", userCodeNames)
}

// KeyMaterialClientCode says what became of one client (one octet).
type KeyMaterialClientCode uint8

// Client codes.
const (
	ClientSuccess           KeyMaterialClientCode = 0
	ClientExhausted         KeyMaterialClientCode = 1
	ClientNothingCompatible KeyMaterialClientCode = 2
)

var clientCodeNames = []string{"success", "keyMaterialExhausted", "nothingCompatible"}

func (c KeyMaterialClientCode) String() string {
	return enumName(c, "KeyMaterialClientCode", clientCodeNames)
}

// ClientKeyMaterial is the part of one client (section 5.2):
//
//	struct {
//	    KeyMaterialClientCode clientStatus;
//	    IdentifierUri clientUri;
//	    select (protocol) { case mls10: select (clientStatus) {
//	        case success:           KeyPackage keyPackage;
//	        case nothingCompatible: optional<Capabilities> clientCapabilities;
//	    }; };
//	} ClientKeyMaterial;
type ClientKeyMaterial struct {
	Status       KeyMaterialClientCode
	Client       IdentifierURI
	KeyPackage   *mls.KeyPackage   // success, and nothing else
	Capabilities *mls.Capabilities // nothingCompatible, and there it may be nil
}

func (c *ClientKeyMaterial) read(r *reader) {
	c.Status = readEnum[KeyMaterialClientCode](r, "KeyMaterialClientCode", clientCodeNames)
	c.Client = r.uri("clientUri")
	switch {
	case r.Err() != nil:
	case c.Status == ClientSuccess:
		c.KeyPackage = new(mls.KeyPackage)
		c.KeyPackage.Read(r.Reader, r.lim.Limits)
	case c.Status == ClientNothingCompatible && r.Optional():
		c.Capabilities = new(mls.Capabilities)
		c.Capabilities.Read(r.Reader, r.lim.Limits)
	}
}

func (c *ClientKeyMaterial) append(b []byte) []byte {
	b = appendURI(append(b, byte(c.Status)), c.Client)
	switch c.Status {
	case ClientSuccess:
		b = c.KeyPackage.Append(b)
	case ClientNothingCompatible:
		b = presentation.AppendOptional(b, c.Capabilities != nil)
		if c.Capabilities != nil {
			b = c.Capabilities.Append(b)
		}
	}
	return b
}

func (c *ClientKeyMaterial) check() error {
	if err := checkEnum(c.Status, "KeyMaterialClientCode", clientCodeNames); err != nil {
		return err
	}
	if (c.KeyPackage != nil) != (c.Status == ClientSuccess) {
		return contradiction("client %v, KeyPackage %t", c.Status, c.KeyPackage != nil)
	}
	if c.Capabilities != nil && c.Status != ClientNothingCompatible {
		return contradiction("capabilities of a client with %v", c.Status)
	}
	return checkURI(c.Client, "clientUri")
}

// KeyMaterialResponse answers a KeyMaterialRequest (section 5.2):
//
//	struct {
//	    Protocol protocol;
//	    KeyMaterialUserCode userStatus;
//	    IdentifierUri userUri;
//	    ClientKeyMaterial clients<V>;
//	} KeyMaterialResponse;
//
// success lists at least one client, all with success; partialSuccess at least
// one with success; noCompatibleMaterial may list clients, none with success;
// any other status lists none. No client stands twice.
type KeyMaterialResponse struct {
	Status  KeyMaterialUserCode
	User    IdentifierURI
	Clients []ClientKeyMaterial
}

func (m *KeyMaterialResponse) read(r *reader) {
	r.protocol()
	m.Status = readEnum[KeyMaterialUserCode](r, "KeyMaterialUserCode", userCodeNames)
	m.User = r.uri("userUri")
	r.List(r.lim.Clients, func() {
		var c ClientKeyMaterial
		c.read(r)
		m.Clients = append(m.Clients, c)
	})
}

func (m *KeyMaterialResponse) append(b []byte) []byte {
	b = appendURI(append(b, byte(MLS10), byte(m.Status)), m.User)
	return appendEach(b, m.Clients, func(b []byte, c ClientKeyMaterial) []byte { return c.append(b) })
}

func (m *KeyMaterialResponse) check() error {
	if err := firstError(checkEnum(m.Status, "KeyMaterialUserCode", userCodeNames),
		checkURI(m.User, "userUri")); err != nil {
		return err
	}
	good, seen := 0, make(map[IdentifierURI]bool, len(m.Clients))
	for i := range m.Clients {
		c := &m.Clients[i]
		if err := c.check(); err != nil {
			return err
		}
		if seen[c.Client] {
			return contradiction("client %q twice", c.Client)
		}
		seen[c.Client] = true
		if c.Status == ClientSuccess {
			good++
		}
	}
	ok := false
	switch m.Status {
	case KeyMaterialSuccess:
		ok = good > 0 && good == len(m.Clients)
	case KeyMaterialPartialSuccess:
		ok = good > 0
	case KeyMaterialNoCompatible:
		ok = good == 0
	default:
		ok = len(m.Clients) == 0
	}
	if !ok {
		return contradiction("%v with %d clients, %d of them with success", m.Status, len(m.Clients), good)
	}
	return nil
}

// ParseKeyMaterialResponse reads a response body. The bytes are copied.
func ParseKeyMaterialResponse(b []byte, lim Limits) (*KeyMaterialResponse, error) {
	m := new(KeyMaterialResponse)
	if err := parse(b, lim, "KeyMaterialResponse", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the response. Error: ErrCombination where the clients do not
// go with the status.
func (m *KeyMaterialResponse) Bytes() ([]byte, error) { return encode("KeyMaterialResponse", m) }
