package mix

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/store"
)

// A StorePin keeps the first hop in a store, since who draws another one at each start might as well
// draw one for each message. In store.SpaceMailbox, integers big-endian:
//
//	04        uint8 version = 1; uint8 node[32]; uint64 since; uint64 seen, both Unix ms
type StorePin struct {
	Store *store.Store
	Now   func() time.Time
}

const pinSize = 1 + 32 + 8 + 8

func pinKey() store.Key { return store.SpaceMailbox.Key([]byte{inboxPin}) }

func parsePin(v []byte) (relays.Pin, error) {
	if len(v) != pinSize || v[0] != inboxVersion {
		return relays.Pin{}, fmt.Errorf("%w: a pin of %d octets", ErrDamaged, len(v))
	}
	at := func(b []byte) time.Time { return time.UnixMilli(int64(binary.BigEndian.Uint64(b))) }
	return relays.Pin{Node: onion.NodeID(v[1:33]), Since: at(v[33:]), Seen: at(v[41:])}, nil
}

// Entry is SenderConfig.Entry: the relay that is pinned, on disk before it is used. With none to choose
// from there is none, and what is pinned stays. Errors: relays.ErrEntryGone, the store's.
func (p StorePin) Entry(ctx context.Context, c *relays.Cosigned, among []*relays.Relay) (*relays.Relay, error) {
	if len(among) == 0 {
		return nil, nil
	}
	var pin relays.Pin
	err := p.Store.View(func(tx *store.Tx) error {
		v, err := tx.Get(pinKey())
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil {
			pin, err = parsePin(v)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the first hop: %w", err)
	}
	next, r, err := pin.Keep(p.Now(), rand.Reader, c, among)
	if err != nil || next == pin {
		return r, err
	}
	b := append([]byte{inboxVersion}, next.Node[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(next.Since.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(next.Seen.UnixMilli()))
	if err := p.Store.Update(ctx, func(tx *store.Tx) error { return tx.Set(pinKey(), b) }); err != nil {
		return nil, fmt.Errorf("keeping the first hop: %w", err)
	}
	return r, nil
}
