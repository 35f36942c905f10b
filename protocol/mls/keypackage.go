package mls

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// KeyPackage lets others add a client to a group while it is away (section 10):
//
//	struct {
//	    ProtocolVersion version;
//	    CipherSuite cipher_suite;
//	    HPKEPublicKey init_key;
//	    LeafNode leaf_node;
//	    Extension extensions<V>;
//	    opaque signature<V>;  /* SignWithLabel(., "KeyPackageTBS", all but signature) */
//	} KeyPackage;
type KeyPackage struct {
	Suite      CipherSuite
	InitKey    []byte
	Leaf       LeafNode
	Extensions Extensions
	Signature  []byte
}

// read takes only mls10 and the suites of this engine: others could not be
// verified, added or stored to any use.
func (k *KeyPackage) read(r *reader) {
	if v := ProtocolVersion(r.U16()); v != MLS10 && r.Err() == nil {
		r.Fail(ErrUnsupported, "KeyPackage of version %d", v)
	}
	k.Suite = CipherSuite(r.U16())
	k.InitKey = r.Opaque()
	k.Leaf.read(r)
	k.Extensions = r.extensions()
	k.Signature = r.Opaque()
}

func (k *KeyPackage) appendContent(b []byte) []byte {
	b = appendU16(appendU16(b, uint16(MLS10)), uint16(k.Suite))
	b = appendOpaque(b, k.InitKey)
	b = k.Leaf.append(b)
	return k.Extensions.append(b)
}

func (k *KeyPackage) append(b []byte) []byte {
	return appendOpaque(k.appendContent(b), k.Signature)
}

// ParseKeyPackage reads a bare KeyPackage (not wrapped in an MLSMessage).
func ParseKeyPackage(b []byte, lim Limits) (*KeyPackage, error) {
	k := new(KeyPackage)
	if err := parse(b, lim, "KeyPackage", k.read); err != nil {
		return nil, err
	}
	return k, nil
}

// Bytes encodes the bare KeyPackage.
func (k *KeyPackage) Bytes() []byte { return k.append(nil) }

// Ref is the KeyPackageRef: 32 bytes that name the KeyPackage in a Welcome.
func (k *KeyPackage) Ref() []byte { return refHash("MLS 1.0 KeyPackage Reference", k.append(nil)) }

// LastResort says whether the KeyPackage is marked as one that may be used
// more than once (component 0x0004 of its app_data_dictionary).
func (k *KeyPackage) LastResort(lim Limits) bool {
	d, err := k.Extensions.Dictionary(lim)
	if err != nil {
		return false
	}
	data, ok := d[ComponentLastResort]
	return ok && len(data) == 0
}

// ValidKeyPackage is a KeyPackage that passed Verify: the only kind that
// commits and proposals take.
type ValidKeyPackage struct {
	kp  *KeyPackage
	ref []byte
}

// KeyPackage returns the verified KeyPackage, which must not be changed.
func (v *ValidKeyPackage) KeyPackage() *KeyPackage { return v.kp }

// Ref returns its KeyPackageRef.
func (v *ValidKeyPackage) Ref() []byte { return v.ref }

const keyPackageLabel = "KeyPackageTBS"

// Verify makes the checks of section 10.1 that need no group: both signatures,
// credential, capabilities, keys and lifetime, which must contain now and be no
// longer than Limits.Lifetime.
// Errors: ErrUnsupported, ErrBadSignature, ErrBadCredential, ErrCapabilities,
// ErrExpired, ErrTooLarge, ErrBadLeaf.
func (k *KeyPackage) Verify(cfg Config, now time.Time) (*ValidKeyPackage, error) {
	cfg, err := cfg.prepared()
	if err != nil {
		return nil, err
	}
	if err := k.verify(&cfg, now); err != nil {
		return nil, fmt.Errorf("verifying KeyPackage: %w", err)
	}
	return &ValidKeyPackage{kp: k, ref: k.Ref()}, nil
}

func (k *KeyPackage) verify(cfg *Config, now time.Time) error {
	if err := k.Suite.check(); err != nil {
		return err
	}
	if k.Leaf.Source != LeafFromKeyPackage {
		return fmt.Errorf("leaf node source %d in a KeyPackage: %w", k.Leaf.Source, ErrBadLeaf)
	}
	if err := k.Suite.checkHPKEKey(k.InitKey); err != nil {
		return fmt.Errorf("init key: %w", err)
	}
	if bytes.Equal(k.InitKey, k.Leaf.EncryptionKey) {
		return fmt.Errorf("init key equals encryption key: %w", ErrMalformed)
	}
	if l := k.Leaf.Lifetime; !l.Contains(now) {
		return fmt.Errorf("lifetime %d to %d, time %d: %w", l.NotBefore, l.NotAfter, now.Unix(), ErrExpired)
	}
	if l, lim := k.Leaf.Lifetime, cfg.Limits.Lifetime; lim < math.MaxInt64 && l.NotAfter-l.NotBefore > uint64(lim/time.Second) {
		return fmt.Errorf("lifetime of %d s (limit %d): %w", l.NotAfter-l.NotBefore, lim/time.Second, ErrTooLarge)
	}
	if err := k.Extensions.checkUnique(); err != nil {
		return err
	}
	if err := k.Leaf.verify(k.Suite, nil, 0, cfg.Authenticator, now); err != nil {
		return err
	}
	return k.Suite.verify(k.Leaf.SignatureKey, keyPackageLabel, k.appendContent(nil), k.Signature)
}
