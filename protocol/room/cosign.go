package room

import (
	"crypto/ed25519"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// CoSignature is a replica's word that it has stored the log up to a head, on
// disk, and will not store another in its place under a lower term. The hub gives
// it like any replica: its SignedHead orders, and says nothing of its disk.
//
//	struct {
//	    Head head;
//	    opaque signature[64];     /* over {opaque label<V> = "mimid room cosign v1"; Head} */
//	} CoSignature;
//
// It is a claim until Verify has seen it.
type CoSignature struct {
	Head      Head
	Signature [ed25519.SignatureSize]byte
}

func coSignTBS(h *Head) []byte {
	return h.append(presentation.AppendOpaque(nil, []byte("mimid room cosign v1")))
}

// CoSign co-signs a head with a replica's provider key. The caller has made the
// entries up to it durable before.
func CoSign(h Head, key ed25519.PrivateKey) CoSignature {
	c := CoSignature{Head: h}
	copy(c.Signature[:], ed25519.Sign(key, coSignTBS(&h)))
	return c
}

// Verify checks the signature against the replica's key, and nothing else.
// Error: ErrSignature.
func (c *CoSignature) Verify(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, coSignTBS(&c.Head), c.Signature[:]) {
		return fmt.Errorf("co-signature of head %d of term %s: %w", c.Head.Seq, c.Head.Term, ErrSignature)
	}
	return nil
}

// Read reads a co-signature from the front of a reader.
func (c *CoSignature) Read(r *presentation.Reader) {
	c.Head.read(r)
	copy(c.Signature[:], r.Fixed(ed25519.SignatureSize))
}

// Append appends its encoding: 149 bytes.
func (c *CoSignature) Append(b []byte) []byte {
	return append(c.Head.append(b), c.Signature[:]...)
}
