package relaylist

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/store"
)

// What is in store.SpaceRelays, integers big-endian:
//
//	01 epoch[8]       uint8 version = 1; uint8 hash[32]: the list that this witness has signed for the epoch
//	02 witness        uint8 version = 1; opaque cosignature<V>; opaque cosignature<V>: two lists of one epoch
//
// The first are never removed: they are 42 octets an hour, and what was signed once must not be signed
// otherwise later, whatever the clock says then.

// ErrDamaged says that a record is none that this package writes.
var ErrDamaged = errors.New("relaylist: a damaged record")

// errSignedOther: this witness has signed another list for the epoch.
var errSignedOther = errors.New("this witness has signed another list for this epoch")

const (
	recordVersion = 1

	recordSigned byte = 1
	recordLiar   byte = 2

	maxWitness = 255
)

func signedKey(e onion.Epoch) store.Key {
	return store.SpaceRelays.Key(binary.BigEndian.AppendUint64([]byte{recordSigned}, uint64(e)))
}

func parseSigned(it store.Item) (e onion.Epoch, hash [32]byte, err error) {
	name, err := store.SpaceRelays.Parse(it.Key)
	if err != nil {
		return 0, hash, err
	}
	if len(name) != 9 || name[0] != recordSigned || len(it.Value) != 33 || it.Value[0] != recordVersion {
		return 0, hash, fmt.Errorf("%w: what this witness has signed, %d octets", ErrDamaged, len(it.Value))
	}
	return onion.Epoch(binary.BigEndian.Uint64(name[1:])), [32]byte(it.Value[1:]), nil
}

// recent is how many of the last lists that were signed are read at the start; those before are on
// disk, and looked up when somebody asks for them.
const recent = 16

// readSigned reads what this witness has signed last.
func readSigned(st *store.Store, domain string, key ed25519.PrivateKey) (map[onion.Epoch]relays.Cosignature, error) {
	out := map[onion.Epoch]relays.Cosignature{}
	err := st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceRelays.Prefix([]byte{recordSigned}), Reverse: true, Limit: recent}) {
			if err != nil {
				return err
			}
			e, hash, err := parseSigned(it)
			if err != nil {
				return err
			}
			out[e] = relays.Cosign(domain, key, e, hash)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading which lists of relays were signed: %w", err)
	}
	return out, nil
}

// mark has on disk that a list, and no other one, is signed for an epoch. Error: errSignedOther.
func mark(ctx context.Context, st *store.Store, e onion.Epoch, hash [32]byte) error {
	return st.Update(ctx, func(tx *store.Tx) error {
		v, err := tx.Get(signedKey(e))
		switch {
		case errors.Is(err, store.ErrNotFound):
			return tx.Set(signedKey(e), append([]byte{recordVersion}, hash[:]...))
		case err != nil:
			return err
		}
		_, was, err := parseSigned(store.Item{Key: signedKey(e), Value: v})
		if err == nil && was != hash {
			err = errSignedOther
		}
		return err
	})
}

func liarKey(witness string) store.Key {
	return store.SpaceRelays.Key(append([]byte{recordLiar}, witness...))
}

func parseLiar(it store.Item) (witness string, pair [2]relays.Cosignature, err error) {
	name, err := store.SpaceRelays.Parse(it.Key)
	if err != nil {
		return "", pair, err
	}
	if len(name) < 2 || len(name) > 1+maxWitness || name[0] != recordLiar || len(it.Value) == 0 || it.Value[0] != recordVersion {
		return "", pair, fmt.Errorf("%w: a proof of two lists, %d octets", ErrDamaged, len(it.Value))
	}
	r := presentation.NewReader(it.Value[1:])
	for i := range pair {
		c, err := relays.ParseCosignature(r.Bounded(maxCosignature, "cosignature"))
		if r.Err() == nil && err != nil {
			r.Fail(err, "cosignature %d", i)
		}
		pair[i] = c
	}
	if err := r.Done(); err != nil {
		return "", pair, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	witness = string(name[1:])
	if pair[0].Witness != witness || pair[1].Witness != witness || pair[0].Epoch != pair[1].Epoch || pair[0].Hash == pair[1].Hash {
		return "", pair, fmt.Errorf("%w: a proof that proves nothing", ErrDamaged)
	}
	return witness, pair, nil
}

func readLiars(st *store.Store) (map[string]onion.Epoch, error) {
	out := map[string]onion.Epoch{}
	err := st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceRelays.Prefix([]byte{recordLiar}), Limit: 4 * MaxWitnesses}) {
			if err != nil {
				return err
			}
			w, pair, err := parseLiar(it)
			if err != nil {
				return err
			}
			out[w] = pair[0].Epoch
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading proofs against witnesses: %w", err)
	}
	return out, nil
}

func keepLiar(ctx context.Context, st *store.Store, a, b relays.Cosignature) error {
	v := []byte{recordVersion}
	v = presentation.AppendOpaque(v, a.Bytes())
	v = presentation.AppendOpaque(v, b.Bytes())
	return st.Update(ctx, func(tx *store.Tx) error { return tx.Set(liarKey(a.Witness), v) })
}

// Check says whether a record of store.SpaceRelays is one that this package writes. Error: ErrDamaged.
func Check(it store.Item) error {
	name, err := store.SpaceRelays.Parse(it.Key)
	if err != nil {
		return err
	}
	if len(name) > 0 && name[0] == recordLiar {
		_, _, err = parseLiar(it)
		return err
	}
	_, _, err = parseSigned(it)
	return err
}
