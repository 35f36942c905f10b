package mls

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// ProtocolVersion is an MLS version; only MLS10 exists.
type ProtocolVersion uint16

// MLS10 is RFC 9420.
const MLS10 ProtocolVersion = 1

// LeafSource says how a leaf node came into the tree.
type LeafSource uint8

// Sources of leaf nodes (section 7.2).
const (
	LeafFromKeyPackage LeafSource = 1
	LeafFromUpdate     LeafSource = 2
	LeafFromCommit     LeafSource = 3
)

// Capabilities lists what a client can do beyond what all can:
//
//	struct {
//	    ProtocolVersion versions<V>;
//	    CipherSuite cipher_suites<V>;
//	    ExtensionType extensions<V>;
//	    ProposalType proposals<V>;
//	    CredentialType credentials<V>;
//	} Capabilities;
type Capabilities struct {
	Versions    []ProtocolVersion
	Suites      []CipherSuite
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// DefaultCapabilities is what this engine itself can do: all its suites, basic
// and X.509 credentials, app_data_dictionary, AppDataUpdate and SelfRemove.
func DefaultCapabilities() Capabilities {
	return Capabilities{
		Versions:    []ProtocolVersion{MLS10},
		Suites:      []CipherSuite{X25519AES128Ed25519, P256AES128P256, X25519ChaChaEd25519},
		Extensions:  []ExtensionType{ExtAppDataDictionary},
		Proposals:   []ProposalType{ProposalAppDataUpdate, ProposalSelfRemove},
		Credentials: []CredentialType{CredentialBasic, CredentialX509},
	}
}

func (c *Capabilities) read(r *reader) {
	c.Versions = readU16s[ProtocolVersion](r)
	c.Suites = readU16s[CipherSuite](r)
	c.Extensions = readU16s[ExtensionType](r)
	c.Proposals = readU16s[ProposalType](r)
	c.Credentials = readU16s[CredentialType](r)
}

func (c *Capabilities) append(b []byte) []byte {
	b = appendU16s(b, c.Versions)
	b = appendU16s(b, c.Suites)
	b = appendU16s(b, c.Extensions)
	b = appendU16s(b, c.Proposals)
	return appendU16s(b, c.Credentials)
}

func (c *Capabilities) extension(t ExtensionType) bool {
	return t.implied() || slices.Contains(c.Extensions, t)
}

func (c *Capabilities) proposal(t ProposalType) bool {
	return t.implied() || slices.Contains(c.Proposals, t)
}

func (c *Capabilities) credential(t CredentialType) bool { return slices.Contains(c.Credentials, t) }

// Lifetime bounds the use of a KeyPackage, in seconds since 1970:
//
//	struct { uint64 not_before; uint64 not_after; } Lifetime;
type Lifetime struct {
	NotBefore uint64
	NotAfter  uint64
}

// LifetimeOf returns the lifetime from start, less an hour for clocks that are
// behind, to start + d.
func LifetimeOf(start time.Time, d time.Duration) Lifetime {
	return Lifetime{uint64(max(start.Add(-time.Hour).Unix(), 0)), uint64(max(start.Add(d).Unix(), 0))}
}

// Contains says whether t lies within the lifetime, both ends included.
func (l Lifetime) Contains(t time.Time) bool {
	s := t.Unix()
	return s >= 0 && uint64(s) >= l.NotBefore && uint64(s) <= l.NotAfter
}

// LeafNode is a member's place in the ratchet tree (section 7.2):
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    SignaturePublicKey signature_key;
//	    Credential credential;
//	    Capabilities capabilities;
//	    LeafNodeSource leaf_node_source;
//	    select (leaf_node_source) {
//	        case key_package: Lifetime lifetime;
//	        case update:      struct{};
//	        case commit:      opaque parent_hash<V>;
//	    };
//	    Extension extensions<V>;
//	    opaque signature<V>;  /* SignWithLabel(., "LeafNodeTBS", LeafNodeTBS) */
//	} LeafNode;
//
// LeafNodeTBS is the same without the signature and, unless the source is
// key_package, with {opaque group_id<V>; uint32 leaf_index} appended.
//
// A LeafNode reached through a group is verified and must not be changed.
type LeafNode struct {
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafSource
	Lifetime      Lifetime // source key_package
	ParentHash    []byte   // source commit
	Extensions    Extensions
	Signature     []byte
}

func (l *LeafNode) read(r *reader) {
	l.EncryptionKey = r.Opaque()
	l.SignatureKey = r.Opaque()
	l.Credential.read(r)
	l.Capabilities.read(r)
	switch l.Source = LeafSource(r.U8()); l.Source {
	case LeafFromKeyPackage:
		l.Lifetime = Lifetime{r.U64(), r.U64()}
	case LeafFromUpdate:
	case LeafFromCommit:
		l.ParentHash = r.Opaque()
	default:
		r.Fail(ErrMalformed, "leaf node source %d", l.Source)
	}
	l.Extensions = r.extensions()
	l.Signature = r.Opaque()
}

func (l *LeafNode) appendContent(b []byte) []byte {
	b = appendOpaque(b, l.EncryptionKey)
	b = appendOpaque(b, l.SignatureKey)
	b = l.Credential.append(b)
	b = l.Capabilities.append(b)
	b = append(b, byte(l.Source))
	switch l.Source {
	case LeafFromKeyPackage:
		b = appendU64(appendU64(b, l.Lifetime.NotBefore), l.Lifetime.NotAfter)
	case LeafFromCommit:
		b = appendOpaque(b, l.ParentHash)
	}
	return l.Extensions.append(b)
}

func (l *LeafNode) append(b []byte) []byte {
	return appendOpaque(l.appendContent(b), l.Signature)
}

func (l *LeafNode) tbs(groupID []byte, at LeafIndex) []byte {
	b := l.appendContent(make([]byte, 0, 512))
	if l.Source != LeafFromKeyPackage {
		b = appendU32(appendOpaque(b, groupID), uint32(at))
	}
	return b
}

const leafLabel = "LeafNodeTBS"

func (l *LeafNode) sign(key SignatureKey, groupID []byte, at LeafIndex) (err error) {
	l.Signature, err = key.sign(leafLabel, l.tbs(groupID, at))
	return err
}

// verify makes the checks of section 7.3 that do not depend on other members:
// keys, signature, credential, and that the leaf's own fields agree with its
// capabilities. Lifetimes are judged where a KeyPackage is used (a leaf may
// stay in the tree for years after its KeyPackage expired).
func (l *LeafNode) verify(suite CipherSuite, groupID []byte, at LeafIndex, auth Authenticator, now time.Time) error {
	if err := l.verifyFields(suite); err != nil {
		return err
	}
	if err := suite.verify(l.SignatureKey, leafLabel, l.tbs(groupID, at), l.Signature); err != nil {
		return err
	}
	return authenticate(auth, l.Credential, l.SignatureKey, now)
}

func authenticate(auth Authenticator, c Credential, key []byte, now time.Time) error {
	if err := auth.Authenticate(c, key, now); err != nil {
		return fmt.Errorf("%w: %w", ErrBadCredential, err)
	}
	return nil
}

func (l *LeafNode) verifyFields(suite CipherSuite) error {
	if err := suite.checkHPKEKey(l.EncryptionKey); err != nil {
		return fmt.Errorf("%w: %w", ErrBadLeaf, err)
	}
	if err := suite.checkSignatureKey(l.SignatureKey); err != nil {
		return fmt.Errorf("%w: %w", ErrBadLeaf, err)
	}
	c := &l.Capabilities
	switch {
	case !slices.Contains(c.Versions, MLS10):
		return fmt.Errorf("leaf does not list mls10: %w", ErrCapabilities)
	case !slices.Contains(c.Suites, suite):
		return fmt.Errorf("leaf does not list its cipher suite %d: %w", suite, ErrCapabilities)
	case !c.credential(l.Credential.Type):
		return fmt.Errorf("leaf does not list its credential type %d: %w", l.Credential.Type, ErrCapabilities)
	}
	for _, x := range l.Extensions {
		if !c.extension(x.Type) {
			return fmt.Errorf("leaf does not list its extension %#04x: %w", uint16(x.Type), ErrCapabilities)
		}
	}
	return nil
}

// meets says whether the leaf fits required_capabilities and the extensions in
// use.
func (l *LeafNode) meets(ctx Extensions, req RequiredCapabilities) error {
	c := &l.Capabilities
	for _, x := range ctx {
		if !c.extension(x.Type) {
			return fmt.Errorf("group uses extension %#04x: %w", uint16(x.Type), ErrCapabilities)
		}
	}
	for _, t := range req.Extensions {
		if !c.extension(t) {
			return fmt.Errorf("extension %#04x is required: %w", uint16(t), ErrCapabilities)
		}
	}
	for _, t := range req.Proposals {
		if !c.proposal(t) {
			return fmt.Errorf("proposal %#04x is required: %w", uint16(t), ErrCapabilities)
		}
	}
	for _, t := range req.Credentials {
		if !c.credential(t) {
			return fmt.Errorf("credential type %d is required: %w", t, ErrCapabilities)
		}
	}
	return nil
}

func (l *LeafNode) equal(o *LeafNode) bool {
	return bytes.Equal(l.append(nil), o.append(nil))
}
