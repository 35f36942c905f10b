package introduction

import (
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/privacypass"
)

// MaxKeys bounds how many keys an issuer publishes at a time: this week's, and while they are
// taken, those of the week before.
const MaxKeys = 2

// MaxKeysSize bounds an encoded Keys, in octets.
const MaxKeysSize = 1 << 10

const version = 1

// Key is with what an issuer signs tokens in a week.
type Key struct {
	Week Week
	Key  *privacypass.Key
}

// Keys are all keys of which an issuer's tokens are taken.
//
//	struct {
//	    uint32 week;
//	    opaque key<V>;     /* privacypass.Key */
//	} Key;
//
//	struct {
//	    uint8 version = 1;
//	    Key keys<V>;       /* at most two, of different weeks, the newest first */
//	} Keys;
type Keys []Key

// Bytes is the keys as they are written.
func (k Keys) Bytes() []byte {
	return presentation.AppendList([]byte{version}, func(b []byte) []byte {
		for _, x := range k {
			b = presentation.AppendU32(b, uint32(x.Week))
			b = presentation.AppendOpaque(b, x.Key.Bytes())
		}
		return b
	})
}

// Of is the key of a week; nil if there is none.
func (k Keys) Of(w Week) *privacypass.Key {
	for _, x := range k {
		if x.Week == w {
			return x.Key
		}
	}
	return nil
}

// ByID is the key with an id, and its week.
func (k Keys) ByID(id [32]byte) (Key, bool) {
	for _, x := range k {
		if x.Key.ID() == id {
			return x, true
		}
	}
	return Key{}, false
}

// ParseKeys reads keys. Error: ErrMalformed.
func ParseKeys(b []byte) (Keys, error) {
	if len(b) > MaxKeysSize {
		return nil, fmt.Errorf("%w: keys of %d octets, at most %d", ErrMalformed, len(b), MaxKeysSize)
	}
	r := presentation.NewReader(b)
	if v := r.U8(); v != version {
		r.Fail(ErrMalformed, "keys of version %d", v)
	}
	out := Keys{}
	r.List(MaxKeys, func() {
		x := Key{Week: Week(r.U32())}
		raw := r.Bounded(privacypass.KeySize, "key")
		if r.Err() != nil {
			return
		}
		var err error
		if x.Key, err = privacypass.ParseKey(raw); err != nil {
			r.Fail(ErrMalformed, "key: %v", err)
			return
		}
		if n := len(out); n > 0 && out[n-1].Week <= x.Week {
			r.Fail(ErrMalformed, "keys that are not in the order of their weeks")
			return
		}
		out = append(out, x)
	})
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return out, nil
}
