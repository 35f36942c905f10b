package mls

import (
	"crypto/ecdh"
	"fmt"
)

// ExternalPub returns the external_pub of a GroupInfo (RFC 9420 section 12.4.3.2): a key whose private half
// all members of the epoch have, and nobody else. Error: ErrBadGroupInfo, if there is none.
func (i *GroupInfo) ExternalPub() ([]byte, error) {
	pub, ok, err := i.Extensions.externalPub(Limits{})
	if err != nil || !ok {
		return nil, fmt.Errorf("no external_pub: %w", ErrBadGroupInfo)
	}
	return pub, nil
}

// ExternalDH is X25519 of the present epoch's external_priv and another's public key: who has the private
// half of that one, and external_pub, computes the same, and so sees that a member has. The result is a
// secret, to derive others from. For cipher suites with X25519 only. Error: ErrMalformed, for a key that is none.
func (g *Group) ExternalDH(peer []byte) ([]byte, error) {
	if g.pub.ctx.Suite != X25519AES128Ed25519 {
		return nil, fmt.Errorf("cipher suite %v: %w", g.pub.ctx.Suite, ErrUnsupported)
	}
	priv, _ := g.pub.ctx.Suite.deriveHPKE(g.epoch.external)
	sk, err := ecdh.X25519().NewPrivateKey(priv)
	if err != nil {
		return nil, fmt.Errorf("external key: %w", ErrState)
	}
	pk, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		return nil, fmt.Errorf("public key of %d bytes: %w", len(peer), ErrMalformed)
	}
	out, err := sk.ECDH(pk)
	if err != nil { // a point of small order
		return nil, fmt.Errorf("public key %.4x...: %w", peer, ErrMalformed)
	}
	return out, nil
}
