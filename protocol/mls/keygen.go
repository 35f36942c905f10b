package mls

import (
	"fmt"
	"slices"
)

// LeafParams is what a client says about itself in its leaf.
type LeafParams struct {
	Suite      CipherSuite
	Signer     SignatureKey
	Credential Credential
	// Capabilities of the client; nil means DefaultCapabilities.
	Capabilities *Capabilities
	// Lifetime of the KeyPackage, and of the leaf made from it.
	Lifetime Lifetime
	// Extensions of the leaf.
	Extensions Extensions
}

// PrivateKeyPackage is a KeyPackage with its private keys. Delete it when it
// has been used for a join, unless it is a last resort.
type PrivateKeyPackage struct {
	kp *KeyPackage
	// Behind a pointer, since fmt calls no method of what lies in an unexported
	// field, and a bad verb there shows what it finds.
	*packageKeys
}

type packageKeys struct {
	init, leaf hpkeKey
	signer     SignatureKey
}

// Format implements fmt.Formatter; it prints no secret.
func (p PrivateKeyPackage) Format(s fmt.State, _ rune) { redact(s, "PrivateKeyPackage") }

// KeyPackage returns the public half.
func (p *PrivateKeyPackage) KeyPackage() *KeyPackage { return p.kp }

// newLeaf makes and signs a leaf with a fresh encryption key.
func (p *LeafParams) newLeaf() (*LeafNode, hpkeKey, error) {
	if err := p.Suite.check(); err != nil {
		return nil, nil, err
	}
	if p.Signer.zero() || p.Signer.suite != p.Suite {
		return nil, nil, fmt.Errorf("signature key is not of suite %d: %w", p.Suite, ErrUnsupported)
	}
	priv, pub := p.Suite.generateHPKE()
	l := &LeafNode{
		EncryptionKey: pub,
		SignatureKey:  p.Signer.Public(),
		Credential:    p.Credential,
		Capabilities:  DefaultCapabilities(),
		Source:        LeafFromKeyPackage,
		Lifetime:      p.Lifetime,
		Extensions:    slices.Clone(p.Extensions),
	}
	if p.Capabilities != nil {
		l.Capabilities = *p.Capabilities
	}
	if err := l.verifyFields(p.Suite); err != nil {
		return nil, nil, err
	}
	return l, priv, l.sign(p.Signer, nil, 0)
}

// NewKeyPackage makes a KeyPackage with fresh keys. lastResort marks it as one
// that may be used more than once; extensions are the KeyPackage's own.
func NewKeyPackage(p LeafParams, lastResort bool, extensions Extensions) (*PrivateKeyPackage, error) {
	out, err := newKeyPackage(p, lastResort, extensions)
	if err != nil {
		return nil, fmt.Errorf("making KeyPackage: %w", err)
	}
	return out, nil
}

func newKeyPackage(p LeafParams, lastResort bool, extensions Extensions) (*PrivateKeyPackage, error) {
	leaf, leafKey, err := p.newLeaf()
	if err != nil {
		return nil, err
	}
	if lastResort {
		d, err := extensions.Dictionary(Limits{})
		if err != nil {
			return nil, err
		}
		d[ComponentLastResort] = []byte{}
		extensions = extensions.With(ExtAppDataDictionary, d.append(nil))
	}
	if err := extensions.checkUnique(); err != nil {
		return nil, err
	}
	init, initPub := p.Suite.generateHPKE()
	k := &KeyPackage{Suite: p.Suite, InitKey: initPub, Leaf: *leaf, Extensions: extensions}
	if k.Signature, err = p.Signer.sign(keyPackageLabel, k.appendContent(nil)); err != nil {
		return nil, err
	}
	return &PrivateKeyPackage{k, &packageKeys{init: init, leaf: leafKey, signer: p.Signer}}, nil
}

// Bytes encodes the KeyPackage with its private keys, for storage:
//
//	{opaque key_package<V>; opaque init<V>; opaque leaf<V>; opaque signer<V>}
func (p *PrivateKeyPackage) Bytes() []byte {
	b := appendOpaque(nil, p.kp.append(nil))
	b = appendOpaque(appendOpaque(b, p.init), p.leaf)
	return appendOpaque(b, p.signer.Bytes())
}

// ParsePrivateKeyPackage reads what Bytes wrote and checks that the keys
// belong together. Error: ErrState.
func ParsePrivateKeyPackage(b []byte) (*PrivateKeyPackage, error) {
	var kp, signer []byte
	p := &PrivateKeyPackage{packageKeys: new(packageKeys)}
	err := parse(b, Limits{}, "private KeyPackage", func(r *reader) {
		kp, p.init, p.leaf, signer = r.Opaque(), r.Opaque(), r.Opaque(), r.Opaque()
	})
	if err == nil {
		p.kp, err = ParseKeyPackage(kp, Limits{})
	}
	if err == nil {
		p.signer, err = ParseSignatureKey(p.kp.Suite, signer)
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return p, nil
}

func (p *PrivateKeyPackage) check() error {
	for _, k := range []struct {
		priv hpkeKey
		pub  []byte
	}{{p.init, p.kp.InitKey}, {p.leaf, p.kp.Leaf.EncryptionKey}} {
		pub, err := p.kp.Suite.publicHPKE(k.priv)
		if err != nil {
			return err
		}
		if !slices.Equal(pub, k.pub) {
			return fmt.Errorf("private key does not belong to the KeyPackage: %w", ErrMalformed)
		}
	}
	if !slices.Equal(p.signer.Public(), p.kp.Leaf.SignatureKey) {
		return fmt.Errorf("signature key does not belong to the KeyPackage: %w", ErrMalformed)
	}
	return nil
}

// GroupParams describe a new group.
type GroupParams struct {
	LeafParams
	// GroupID names the group; it should be unique. Nil draws 32 random bytes.
	GroupID []byte
	// Extensions of the GroupContext.
	Extensions Extensions
}

// CreateGroup makes a group of one member, in epoch 0, whose secrets come from
// fresh randomness (RFC 9420 section 11): a first commit without a path is
// therefore no function of public data.
func CreateGroup(p GroupParams, cfg Config) (*Group, error) {
	g, err := createGroup(p, cfg)
	if err != nil {
		return nil, fmt.Errorf("creating group: %w", err)
	}
	return g, nil
}

func createGroup(p GroupParams, cfg Config) (*Group, error) {
	cfg, err := cfg.prepared()
	if err != nil {
		return nil, err
	}
	leaf, leafKey, err := p.newLeaf()
	if err != nil {
		return nil, err
	}
	id := p.GroupID
	if id == nil {
		id = randomBytes(32)
	}
	ext := slices.Clone(p.Extensions)
	if ext == nil {
		ext = Extensions{}
	}
	if err := ext.checkUnique(); err != nil {
		return nil, err
	}
	pub := &PublicGroup{cfg: cfg, tree: newTree(leaf), keys: keySet{}}
	pub.ctx = GroupContext{Suite: p.Suite, GroupID: slices.Clone(id), TreeHash: pub.tree.root.hash,
		ConfirmedTranscriptHash: []byte{}, Extensions: ext}
	if err := pub.keys.addNode(leaf, nil); err != nil {
		return nil, err
	}
	if err := pub.index(); err != nil {
		return nil, err
	}
	if err := pub.verifyCompatible(); err != nil {
		return nil, err
	}
	e := deriveEpoch(randomBytes(hashSize))
	pub.tag = mac(e.confirmation, pub.ctx.ConfirmedTranscriptHash)
	pub.interim = interimTranscript(pub.ctx.ConfirmedTranscriptHash, pub.tag)
	return newMember(pub, 0, p.Signer, map[nodeIndex]hpkeKey{0: leafKey}, e), nil
}

// newMember puts a group together for one who has just entered it.
func newMember(pub *PublicGroup, own LeafIndex, signer SignatureKey, path map[nodeIndex]hpkeKey, e *epochSecrets) *Group {
	g := &Group{pub: pub, own: own, signer: signer, heldKeys: &heldKeys{path, map[uint64]secret{}},
		updates: map[string]*ownUpdate{}}
	g.enter(e)
	return g
}
