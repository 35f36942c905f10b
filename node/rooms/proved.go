package rooms

import (
	"crypto/ed25519"

	"github.com/mimid/mimid/protocol/room"
)

// proved are heads whose signature was found good. One comes several times: by gossip,
// where it decides whether the piece is taken at all, then to the room's goroutine, and once
// more below the certificate. The computation is most of what a small piece costs.
type proved struct {
	list [2]proof // newest first
}

// proof is a signed head, all of it, and the key that it was verified with.
type proof struct {
	head room.SignedHead
	key  [ed25519.PublicKeySize]byte
}

// verify is head.Verify(key), which is not computed again for what was verified last.
func (r *Rooms) verify(h *handle, head *room.SignedHead, key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return room.ErrSignature
	}
	p := proof{*head, [ed25519.PublicKeySize]byte(key)}
	h.mu.Lock()
	known := h.proved != nil && (h.proved.list[0] == p || h.proved.list[1] == p)
	h.mu.Unlock()
	if known {
		return nil
	}
	r.counts.verified.Add(1)
	if err := head.Verify(key); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.proved == nil {
		h.proved = new(proved)
	}
	h.proved.list[1], h.proved.list[0] = h.proved.list[0], p
	return nil
}
