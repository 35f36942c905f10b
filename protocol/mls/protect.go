package mls

import (
	"crypto/rand"
	"fmt"
)

// Protection of PrivateMessages (RFC 9420 section 6.3) and membership tags of
// PublicMessages (section 6.2).

// aad is PrivateContentAAD: group_id<V>, epoch, content_type,
// authenticated_data<V>.
func (m *PrivateMessage) contentAAD() []byte {
	return appendOpaque(m.senderDataAAD(), m.aad)
}

// senderDataAAD: group_id<V>, epoch, content_type.
func (m *PrivateMessage) senderDataAAD() []byte {
	b := appendOpaque(make([]byte, 0, 64+len(m.aad)), m.groupID)
	return append(appendU64(b, m.epoch), byte(m.kind))
}

// senderDataKeys depend on a sample of the ciphertext, so that they differ for
// every message (section 6.3.2).
func (c CipherSuite) senderDataKeys(senderData secret, ciphertext []byte) (key, nonce secret) {
	sample := ciphertext[:min(len(ciphertext), hashSize)]
	return expandWithLabel(senderData, "key", sample, c.keySize()),
		expandWithLabel(senderData, "nonce", sample, nonceSize)
}

// guarded applies the reuse guard to a nonce: two devices that restore the same
// state and use one generation twice still use different nonces.
func guarded(nonce secret, guard [4]byte) secret {
	n := nonce.clone()
	for i, g := range guard {
		n[i] ^= g
	}
	return n
}

// seal encrypts signed content with the key of one generation. padTo rounds
// the plaintext up to a multiple of itself.
func (c CipherSuite) sealPrivate(a *authContent, senderData secret, step *keyStep, padTo int) *PrivateMessage {
	m := &PrivateMessage{groupID: a.groupID, epoch: a.epoch, kind: a.kind, aad: a.aad}
	// {select body; FramedContentAuthData auth; opaque padding[...] = 0}
	plain := a.appendAuth(a.appendBody(make([]byte, 0, len(a.data)+128+padTo)))
	if padTo > 1 {
		if over := len(plain) % padTo; over > 0 {
			plain = append(plain, make([]byte, padTo-over)...)
		}
	}
	var guard [4]byte
	if _, err := rand.Read(guard[:]); err != nil {
		panic("mls: no entropy: " + err.Error())
	}
	m.ciphertext = c.aead(step.key.key).Seal(nil, guarded(step.key.nonce, guard), plain, m.contentAAD())
	// SenderData: {uint32 leaf_index; uint32 generation; opaque reuse_guard[4]}
	sd := appendU32(appendU32(make([]byte, 0, 12), uint32(step.id.leaf)), step.gen)
	sd = append(sd, guard[:]...)
	key, nonce := c.senderDataKeys(senderData, m.ciphertext)
	m.senderData = c.aead(key).Seal(nil, nonce, sd, m.senderDataAAD())
	return m
}

// senderOf decrypts the sender data: leaf, generation and reuse guard.
func (c CipherSuite) senderOf(m *PrivateMessage, senderData secret) (leaf LeafIndex, gen uint32, guard [4]byte, err error) {
	key, nonce := c.senderDataKeys(senderData, m.ciphertext)
	plain, err := c.aead(key).Open(nil, nonce, m.senderData, m.senderDataAAD())
	if err != nil {
		return 0, 0, guard, fmt.Errorf("sender data: %w", ErrDecrypt)
	}
	lim := Limits{}.withDefaults()
	r := newReader(plain, &lim)
	leaf, gen = LeafIndex(r.U32()), r.U32()
	if r.Err() == nil && len(r.Rest()) == len(guard) {
		copy(guard[:], r.Rest())
		return leaf, gen, guard, nil
	}
	return 0, 0, guard, fmt.Errorf("sender data of %d bytes: %w", len(plain), ErrMalformed)
}

// openPrivate decrypts a message with the step's key into content whose
// signature is still to be verified.
func (c CipherSuite) openPrivate(m *PrivateMessage, step *keyStep, guard [4]byte, lim Limits) (*authContent, error) {
	plain, err := c.aead(step.key.key).Open(nil, guarded(step.key.nonce, guard), m.ciphertext, m.contentAAD())
	if err != nil {
		return nil, fmt.Errorf("generation %d of leaf %d: %w", step.gen, step.id.leaf, ErrDecrypt)
	}
	a := &authContent{wire: WirePrivateMessage, framedContent: framedContent{
		groupID: m.groupID, epoch: m.epoch, aad: m.aad, kind: m.kind,
		sender: Sender{Type: SenderMember, Leaf: step.id.leaf},
	}}
	r := newReader(plain, &lim)
	a.readBody(r)
	a.readAuth(r)
	if r.Err() != nil {
		return nil, fmt.Errorf("content of leaf %d: %w", step.id.leaf, r.Err())
	}
	for _, b := range r.Rest() {
		if b != 0 {
			return nil, fmt.Errorf("padding of leaf %d is not zero: %w", step.id.leaf, ErrMalformed)
		}
	}
	return a, nil
}

// publicMessage frames signed content, with the membership tag that a member
// adds: MAC(membership_key, AuthenticatedContentTBM).
func publicMessage(a *authContent, ctx *GroupContext, membership secret) *PublicMessage {
	m := &PublicMessage{auth: *a}
	if a.sender.Type == SenderMember {
		m.membershipTag = mac(membership, a.tbm(ctx))
	}
	return m
}

func (m *PublicMessage) verifyTag(ctx *GroupContext, membership secret) error {
	if m.auth.sender.Type != SenderMember {
		return nil
	}
	if !macEqual(m.membershipTag, mac(membership, m.auth.tbm(ctx))) {
		return fmt.Errorf("membership tag: %w", ErrBadMAC)
	}
	return nil
}
