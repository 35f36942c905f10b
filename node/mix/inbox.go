package mix

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/store"
)

// A Consumer does what messages of a kind ask for. It is called with each message that came, one at a
// time, until it returns no error: after a crash, too, so perhaps again with one that it was called with
// before, which has the same id. What it returns, if anything, happens in the transaction that takes
// the message out, and so once.
type Consumer func(ctx context.Context, m Message) (once func(tx *store.Tx) error, err error)

// MailboxOf is the mailbox that each node has for messages of a kind.
func MailboxOf(kind string) onion.Mailbox {
	return sha256.Sum256([]byte("mimid onion 1 mailbox\x00" + kind))
}

// InboxConfig says what a StoreInbox works on. Zero numbers and times mean the defaults.
type InboxConfig struct {
	Store *store.Store
	// Consumers by kind. Messages for other mailboxes are refused.
	Consumers map[string]Consumer
	Waiting   int           // messages that may wait for their consumers. Default 4,096
	Octets    int           // of these. Default 64 MiB
	Remember  time.Duration // for how long a message that was taken is known. Default 3 hours
	Again     time.Duration // until a consumer that failed is called again. Default 5 s
	Log       *slog.Logger  // nil discards
}

// A StoreInbox is an Inbox in a store. In store.SpaceMailbox, integers big-endian:
//
//	01 mailbox[32] id[16]             uint8 version = 1; uint64 when it came, Unix ms; uint8 taken, 0 or 1;
//	                                  the message to the end, none of one that was taken
//	02 time[8] mailbox[32] id[16]     uint8 version = 1: a message that waits
//	03 time[8] mailbox[32] id[16]     uint8 version = 1: one that was taken
//	04                                the first hop that stays, see StorePin
//
// Put, Recent and Run may be called at once.
type StoreInbox struct {
	cfg       InboxConfig
	consumers map[onion.Mailbox]Consumer
	came      chan struct{}

	mu      sync.Mutex
	waiting int // guarded by mu
	octets  int // guarded by mu
}

const (
	inboxVersion = 1

	inboxMessage byte = 1
	inboxWaits   byte = 2
	inboxTaken   byte = 3
	inboxPin     byte = 4

	placeSize = len(onion.Mailbox{}) + len(onion.MessageID{})
	headSize  = 1 + 8 + 1
	// atOnce bounds what one transaction writes, so that a small store can hold it.
	atOnce    = 48 << 10
	takenOnce = 256
)

// OpenInbox reads what waits in a store. Error: ErrConfig, ErrDamaged.
func OpenInbox(c InboxConfig) (*StoreInbox, error) {
	if c.Store == nil {
		return nil, fmt.Errorf("%w: an inbox without a store", ErrConfig)
	}
	for _, f := range []struct {
		field *int
		value int
	}{{&c.Waiting, 4096}, {&c.Octets, 64 << 20}} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	if c.Remember <= 0 {
		c.Remember = 3 * time.Hour
	}
	if c.Again <= 0 {
		c.Again = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	b := &StoreInbox{cfg: c, consumers: map[onion.Mailbox]Consumer{}, came: make(chan struct{}, 1)}
	for kind, f := range c.Consumers {
		b.consumers[MailboxOf(kind)] = f
	}
	return b, c.Store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceMailbox.Prefix([]byte{inboxWaits})}) {
			if err != nil {
				return err
			}
			_, place, err := parsePlace(it)
			if err != nil {
				return err
			}
			r, err := readKept(tx, place)
			if err != nil {
				return err
			}
			b.waiting++
			b.octets += len(r.data)
		}
		return nil
	})
}

// A place is a mailbox and a message's id.
type place [placeSize]byte

func placeOf(to onion.Mailbox, id onion.MessageID) (p place) {
	copy(p[:], to[:])
	copy(p[len(to):], id[:])
	return p
}

func (p place) mailbox() onion.Mailbox { return onion.Mailbox(p[:len(onion.Mailbox{})]) }
func (p place) id() onion.MessageID    { return onion.MessageID(p[len(onion.Mailbox{}):]) }

func messageKey(p place) store.Key {
	return store.SpaceMailbox.Key(append([]byte{inboxMessage}, p[:]...))
}

func timeKey(kind byte, at uint64, p place) store.Key {
	return store.SpaceMailbox.Key(append(binary.BigEndian.AppendUint64([]byte{kind}, at), p[:]...))
}

type kept struct {
	at    uint64
	taken bool
	data  []byte
}

func (k kept) bytes() []byte {
	b := binary.BigEndian.AppendUint64([]byte{inboxVersion}, k.at)
	if k.taken {
		return append(b, 1)
	}
	return append(append(b, 0), k.data...)
}

func parseKept(v []byte) (kept, error) {
	if len(v) < headSize || v[0] != inboxVersion || v[9] > 1 || v[9] == 1 && len(v) > headSize {
		return kept{}, fmt.Errorf("%w: a message of %d octets", ErrDamaged, len(v))
	}
	return kept{at: binary.BigEndian.Uint64(v[1:]), taken: v[9] == 1, data: v[headSize:]}, nil
}

func readKept(tx *store.Tx, p place) (kept, error) {
	v, err := tx.Get(messageKey(p))
	if err != nil {
		return kept{}, err
	}
	return parseKept(v)
}

// parsePlace reads a key of a time.
func parsePlace(it store.Item) (uint64, place, error) {
	name, err := store.SpaceMailbox.Parse(it.Key)
	if err != nil {
		return 0, place{}, err
	}
	if len(name) != 9+placeSize || len(it.Value) != 1 || it.Value[0] != inboxVersion {
		return 0, place{}, fmt.Errorf("%w: a place of %d octets", ErrDamaged, len(name))
	}
	return binary.BigEndian.Uint64(name[1:]), place(name[9:]), nil
}

// Recent implements Inbox.
func (b *StoreInbox) Recent(ctx context.Context, each func(to onion.Mailbox, id onion.MessageID) error) error {
	return b.cfg.Store.View(func(tx *store.Tx) error {
		for _, kind := range []byte{inboxWaits, inboxTaken} {
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceMailbox.Prefix([]byte{kind})}) {
				if err != nil {
					return err
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				_, p, err := parsePlace(it)
				if err != nil {
					return err
				}
				if err := each(p.mailbox(), p.id()); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Put implements Inbox. What is for a mailbox without a consumer, or above what may wait, is refused.
func (b *StoreInbox) Put(ctx context.Context, batch []Message) ([]bool, error) {
	refused := make([]bool, len(batch))
	for begin := 0; begin < len(batch); {
		end, size := begin, 0
		for end < len(batch) && (end == begin || size+len(batch[end].Data) <= atOnce) {
			size += len(batch[end].Data)
			end++
		}
		if err := b.put(ctx, batch[begin:end], refused[begin:end]); err != nil {
			return nil, err
		}
		begin = end
	}
	select {
	case b.came <- struct{}{}:
	default:
	}
	return refused, nil
}

func (b *StoreInbox) put(ctx context.Context, batch []Message, refused []bool) error {
	b.mu.Lock()
	waiting, octets := b.waiting, b.octets
	b.mu.Unlock()
	at := uint64(time.Now().UnixMilli())
	var more, moreOctets int
	err := b.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		more, moreOctets = 0, 0 // a function may be run again
		for i, m := range batch {
			p := placeOf(m.To, m.ID)
			_, err := tx.Get(messageKey(p))
			switch {
			case err == nil:
				continue // kept already
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
			refused[i] = b.consumers[m.To] == nil || waiting+more >= b.cfg.Waiting || octets+moreOctets+len(m.Data) > b.cfg.Octets
			if refused[i] {
				continue
			}
			if err := tx.Set(messageKey(p), kept{at: at, data: m.Data}.bytes()); err != nil {
				return err
			}
			if err := tx.Set(timeKey(inboxWaits, at, p), []byte{inboxVersion}); err != nil {
				return err
			}
			more++
			moreOctets += len(m.Data)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.waiting += more
	b.octets += moreOctets
	b.mu.Unlock()
	return nil
}

// Waiting is how many messages wait for their consumers.
func (b *StoreInbox) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// Run gives messages to their consumers, the oldest first, and forgets those that were taken long ago,
// until ctx ends, which is no error. Error: the store's.
func (b *StoreInbox) Run(ctx context.Context) error {
	again := time.NewTimer(0)
	defer again.Stop()
	swept := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.came:
		case <-again.C:
		}
		failed, err := b.consume(ctx)
		if err == nil && time.Since(swept) > b.cfg.Remember/16 {
			swept = time.Now()
			err = b.sweep(ctx, uint64(swept.Add(-b.cfg.Remember).UnixMilli()))
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("the inbox of onion messages: %w", err)
		}
		wait := b.cfg.Remember / 16
		if failed {
			wait = b.cfg.Again
		}
		again.Reset(wait)
	}
}

// consume calls the consumers of all that waits, each once.
func (b *StoreInbox) consume(ctx context.Context) (failed bool, err error) {
	after := timeKey(inboxWaits, 0, place{})
	for ctx.Err() == nil {
		var at uint64
		var p place
		var r kept
		found := false
		err := b.cfg.Store.View(func(tx *store.Tx) error {
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceMailbox.Prefix([]byte{inboxWaits}), From: after, Limit: 1}) {
				if err != nil {
					return err
				}
				if at, p, err = parsePlace(it); err == nil {
					r, err = readKept(tx, p)
				}
				found = err == nil
				return err
			}
			return nil
		})
		if err != nil || !found {
			return failed, err
		}
		after = store.SpaceMailbox.Key(append(append(binary.BigEndian.AppendUint64([]byte{inboxWaits}, at), p[:]...), 0))
		if err := b.give(ctx, at, p, r); err != nil {
			failed = true
			b.cfg.Log.Warn("a message that came over the onion overlay waits, since its consumer fails", "err", err)
		}
	}
	return failed, nil
}

func (b *StoreInbox) give(ctx context.Context, at uint64, p place, r kept) error {
	consumer := b.consumers[p.mailbox()]
	if consumer == nil {
		return fmt.Errorf("%w: nobody takes messages of this kind any more", ErrConfig)
	}
	once, err := consumer(ctx, Message{p.mailbox(), p.id(), r.data})
	if err != nil {
		return err
	}
	taken := uint64(time.Now().UnixMilli())
	err = b.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if once != nil {
			if err := once(tx); err != nil {
				return err
			}
		}
		if err := tx.Set(messageKey(p), kept{at: taken, taken: true}.bytes()); err != nil {
			return err
		}
		if err := tx.Set(timeKey(inboxTaken, taken, p), []byte{inboxVersion}); err != nil {
			return err
		}
		return tx.Delete(timeKey(inboxWaits, at, p))
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.waiting--
	b.octets -= len(r.data)
	b.mu.Unlock()
	return nil
}

// sweep forgets what was taken before a time.
func (b *StoreInbox) sweep(ctx context.Context, before uint64) error {
	for ctx.Err() == nil {
		n := 0
		err := b.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			n = 0
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceMailbox.Prefix([]byte{inboxTaken}), Limit: takenOnce}) {
				if err != nil {
					return err
				}
				at, p, err := parsePlace(it)
				if err != nil {
					return err
				}
				if at >= before {
					return nil
				}
				if err := errors.Join(tx.Delete(it.Key), tx.Delete(messageKey(p))); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// CheckMailbox says whether a record of store.SpaceMailbox is one that this package writes. Error:
// ErrDamaged.
func CheckMailbox(it store.Item) error {
	name, err := store.SpaceMailbox.Parse(it.Key)
	if err != nil {
		return err
	}
	switch {
	case len(name) == 1+placeSize && name[0] == inboxMessage:
		_, err := parseKept(it.Value)
		return err
	case len(name) == 9+placeSize && (name[0] == inboxWaits || name[0] == inboxTaken):
		_, _, err := parsePlace(it)
		return err
	case len(name) == 1 && name[0] == inboxPin:
		_, err := parsePin(it.Value)
		return err
	}
	return fmt.Errorf("%w: a key of %d octets", ErrDamaged, len(name))
}
