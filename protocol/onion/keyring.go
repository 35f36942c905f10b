package onion

import (
	"fmt"
	"io"
	"slices"
)

// An Epoch is a stretch of time, an hour by default, with one onion key per relay. Which time is
// which epoch is said by the network's snapshots.
type Epoch uint64

// keyID is what a packet says of its epoch: enough to find the key among three, and the same for
// all packets of an epoch and for all hops of a path.
func (e Epoch) keyID() byte { return byte(e) }

// maxKeys is how many keys a relay holds: of the epoch before, this one and the next.
const maxKeys = 3

// A Keyring holds the private keys of a relay, at most three, of consecutive epochs. The zero value is
// empty. It is owned by the caller's goroutine; Unwrap only reads it.
type Keyring struct {
	keys []epochKey // by epoch
}

type epochKey struct {
	epoch Epoch
	key   PrivateKey
}

// Put adds the key of an epoch, or replaces it, and forgets those of epochs that are two or more
// before the newest but one: with the key of epoch e+1 put in, e-1 to e+1 remain. What is put in
// later for an epoch too old to be kept is ErrUnknownKey.
func (r *Keyring) Put(e Epoch, k PrivateKey) error {
	if k.key == nil {
		return fmt.Errorf("%w: none, for epoch %d", ErrKey, e)
	}
	newest := e
	if n := len(r.keys); n > 0 {
		newest = max(newest, r.keys[n-1].epoch)
	}
	if newest-e >= maxKeys {
		return fmt.Errorf("epoch %d, where the newest is %d: %w", e, newest, ErrUnknownKey)
	}
	r.keys = slices.DeleteFunc(r.keys, func(h epochKey) bool { return h.epoch == e || newest-h.epoch >= maxKeys })
	at, _ := slices.BinarySearchFunc(r.keys, e, func(h epochKey, e Epoch) int {
		if h.epoch < e {
			return -1
		}
		return 1
	})
	r.keys = slices.Insert(r.keys, at, epochKey{e, k})
	return nil
}

// Epochs are the epochs of the keys that are held, oldest first.
func (r *Keyring) Epochs() []Epoch {
	out := make([]Epoch, len(r.keys))
	for i, h := range r.keys {
		out[i] = h.epoch
	}
	return out
}

func (r *Keyring) find(id byte) (Epoch, PrivateKey, bool) {
	for _, h := range r.keys {
		if h.epoch.keyID() == id {
			return h.epoch, h.key, true
		}
	}
	return 0, PrivateKey{}, false
}

// Format names the epochs and no key.
func (r *Keyring) Format(f fmt.State, _ rune) { io.WriteString(f, fmt.Sprint("Keyring", r.Epochs())) }
