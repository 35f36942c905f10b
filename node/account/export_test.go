package account

import (
	"context"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/store"
)

// CachedTokens is how many tokens are in memory.
func (r *Registry) CachedTokens() int {
	r.tokens.mu.Lock()
	defer r.tokens.mu.Unlock()
	return len(r.tokens.young) + len(r.tokens.old)
}

// Stuff puts n copies of a KeyPackage of a device into the store, under references that are
// made up, without looking at them: a benchmark would spend its time on their signatures.
func (r *Registry) Stuff(ctx context.Context, who Identity, kp []byte, end uint64, n int) error {
	return r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for i := range n {
			ref := hash("stuffed", []byte(who.Client.String()), []byte{byte(i), byte(i >> 8)})
			if err := tx.Set(bodyKey(ref), kp); err != nil {
				return err
			}
			rec := packageRecord{suite: uint16(mls.X25519AES128Ed25519)}
			if err := tx.Set(packageKey(who.User.Name(), who.Device, end, ref), rec.bytes()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Dry says whether it is remembered that a device has no KeyPackage that is used once.
func (r *Registry) Dry(name, device string) bool {
	list, known := r.shelf.front(name, device)
	return known && len(list) == 0
}
