package overlay

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multibase"
)

// A PeerID names one node: the libp2p peer id of its node key, in base58 text. The empty
// PeerID names none.
type PeerID string

func peerText(p peer.ID) PeerID { return PeerID(p.String()) }

func (p PeerID) decode() (peer.ID, error) {
	id, err := peer.Decode(string(p))
	if err != nil {
		return "", fmt.Errorf("%w: %.80q is no peer id: %v", ErrName, string(p), err)
	}
	return id, nil
}

const (
	selfProvingSuffix = ".p2p.invalid"  // <base36 CID of a provider key>.p2p.invalid is a provider
	peerSuffix        = ".peer.invalid" // <base36 CID of a node key>.peer.invalid is one node, in URLs only
	maxDomain         = 253
)

// Canonical returns the one spelling of a provider name, in lower case and without a
// final dot, or ErrName.
func Canonical(name string) (string, error) {
	if len(name) > maxDomain+1 {
		return "", fmt.Errorf("%w: %.40q... has %d bytes, at most %d are allowed", ErrName, name, len(name), maxDomain)
	}
	d := strings.TrimSuffix(strings.ToLower(name), ".")
	if d == "" || len(d) > maxDomain {
		return "", fmt.Errorf("%w: %q", ErrName, name)
	}
	for label := range strings.SplitSeq(d, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", fmt.Errorf("%w: %q has an empty, too long or hyphenated label", ErrName, name)
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return "", fmt.Errorf("%w: %q contains %q", ErrName, name, c)
			}
		}
	}
	if strings.HasSuffix(d, peerSuffix) {
		return "", fmt.Errorf("%w: %q names a node, not a provider", ErrName, name)
	}
	if strings.HasSuffix(d, selfProvingSuffix) {
		if _, err := keyOfName(d); err != nil {
			return "", err
		}
	}
	return d, nil
}

// SelfProvingName returns the name of a provider that has no DNS domain: it contains the
// provider's first key, and so proves itself.
func SelfProvingName(key ed25519.PublicKey) (string, error) {
	id, err := peerOfKey(key)
	if err != nil {
		return "", err
	}
	return label(id) + selfProvingSuffix, nil
}

// PeerHost returns the host part of a URL that Client takes to this one node, whatever
// provider it belongs to.
func PeerHost(p PeerID) (string, error) {
	id, err := p.decode()
	if err != nil {
		return "", err
	}
	return label(id) + peerSuffix, nil
}

// Fingerprint is how operators, pins and DNS name a provider key: the SHA-256 of its 32
// bytes in lower-case hexadecimal.
func Fingerprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// canonicalFingerprint accepts the spaces, colons and capitals that people put into
// fingerprints.
func canonicalFingerprint(fp string) (string, error) {
	if len(fp) > 256 {
		return "", fmt.Errorf("%w: a fingerprint has 64 hexadecimal digits", ErrConfig)
	}
	s := strings.NewReplacer(" ", "", ":", "").Replace(strings.ToLower(fp))
	if b, err := hex.DecodeString(s); err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("%w: %.80q is no fingerprint: 64 hexadecimal digits, the SHA-256 of the provider key", ErrConfig, fp)
	}
	return s, nil
}

// label is a peer id as one DNS label: base36 of its CID, 62 letters and digits for an
// Ed25519 key.
func label(id peer.ID) string {
	s, err := peer.ToCid(id).StringOfBase(multibase.Base36)
	if err != nil {
		panic("overlay: base36: " + err.Error()) // base36 is always known
	}
	return s
}

func peerOfLabel(s string) (peer.ID, error) {
	c, err := cid.Decode(s)
	if err != nil {
		return "", fmt.Errorf("%w: %.80q: %v", ErrName, s, err)
	}
	id, err := peer.FromCid(c)
	if err != nil {
		return "", fmt.Errorf("%w: %.80q: %v", ErrName, s, err)
	}
	if label(id) != s { // one spelling per name, or pins and rooms could miss
		return "", fmt.Errorf("%w: %.80q is not the base36 spelling of its key", ErrName, s)
	}
	return id, nil
}

func isSelfProving(domain string) bool { return strings.HasSuffix(domain, selfProvingSuffix) }

// keyOfName returns the key inside a self-proving name.
func keyOfName(domain string) (ed25519.PublicKey, error) {
	id, err := peerOfLabel(strings.TrimSuffix(domain, selfProvingSuffix))
	if err != nil {
		return nil, err
	}
	pub, err := id.ExtractPublicKey()
	if err != nil {
		return nil, fmt.Errorf("%w: %q does not contain a key: %v", ErrName, domain, err)
	}
	return rawEd25519(pub)
}

func rawEd25519(pub crypto.PubKey) (ed25519.PublicKey, error) {
	if pub.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("%w: the key is %s, not Ed25519", ErrName, pub.Type())
	}
	raw, err := pub.Raw()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrName, err)
	}
	return slices.Clone(raw), nil
}

func peerOfKey(key ed25519.PublicKey) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(key)
	if err != nil {
		return "", fmt.Errorf("reading Ed25519 key: %w", err)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("naming key: %w", err)
	}
	return id, nil
}
