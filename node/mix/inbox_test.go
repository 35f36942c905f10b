package mix_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/store"
)

// spaceOf lists the records of a space.
func spaceOf(t testing.TB, st *store.Store, sp store.Space) (out []store.Item) {
	t.Helper()
	err := st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: sp.Prefix(nil)}) {
			if err != nil {
				return err
			}
			out = append(out, store.Item{Key: it.Key, Value: bytes.Clone(it.Value)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A consumer that notes what it is called with, and can fail before and after having done its work.
type eater struct {
	mu            sync.Mutex
	eaten         []string
	calls         int
	before, inTx  int // so many of the next calls fail, before all and in the transaction
	transactional int // writes that happened
}

func (e *eater) eat(_ context.Context, m mix.Message) (func(*store.Tx) error, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	if e.before > 0 {
		e.before--
		return nil, errDisk
	}
	return func(tx *store.Tx) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.inTx > 0 {
			e.inTx--
			return errDisk
		}
		tx.OnCommit(func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.transactional++
			e.eaten = append(e.eaten, string(m.Data))
		})
		return nil
	}, nil
}

func (e *eater) list() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.eaten)
}

// runInbox runs an inbox until stop is called.
func runInbox(t testing.TB, b *mix.StoreInbox) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestInboxOnce: a message is kept once, however often it comes, also after a restart and after it was
// taken; it is given to the consumer of its kind, in order, and taken out with what that writes.
func TestInboxOnce(t *testing.T) {
	dir := t.TempDir()
	st, closeStore := openStore(t, dir)
	e := &eater{}
	open := func() *mix.StoreInbox {
		t.Helper()
		b, err := mix.OpenInbox(mix.InboxConfig{Store: st, Consumers: map[string]mix.Consumer{"ping": e.eat}, Again: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ping := mix.MailboxOf("ping")
	var batch []mix.Message
	for i := range 5 {
		batch = append(batch, mix.Message{To: ping, ID: newID(), Data: bytes.Repeat([]byte{byte('a' + i)}, 20_000)})
	}
	strange := mix.Message{To: mix.MailboxOf("other"), ID: newID(), Data: []byte("x")}
	b := open()
	for range 2 {
		refused, err := b.Put(t.Context(), append(slices.Clone(batch), strange))
		if err != nil || !cmp.Equal(refused, []bool{false, false, false, false, false, true}) {
			t.Fatalf("%v, refused %v", err, refused)
		}
	}
	if b.Waiting() != 5 {
		t.Errorf("%d wait", b.Waiting())
	}
	closeStore()

	// A crash before anything was taken.
	st, closeStore = openStore(t, dir)
	b = open()
	if b.Waiting() != 5 {
		t.Errorf("%d wait after a restart", b.Waiting())
	}
	e.before, e.inTx = 2, 2 // the first ones fail, and are given again
	stop := runInbox(t, b)
	until(t, "all are taken", func() bool { return b.Waiting() == 0 })
	got := e.list()
	slices.Sort(got)
	for i, g := range got {
		if len(got) != 5 || g != string(batch[i].Data) {
			t.Fatalf("%d were taken", len(got))
		}
	}
	e.mu.Lock()
	if e.calls != 9 || e.transactional != 5 {
		t.Errorf("%d calls, %d writes", e.calls, e.transactional)
	}
	e.mu.Unlock()
	if _, err := b.Put(t.Context(), batch); err != nil || b.Waiting() != 0 {
		t.Errorf("what was taken comes again: %v, %d wait", err, b.Waiting())
	}
	stop()
	closeStore()

	st, closeStore = openStore(t, dir)
	defer closeStore()
	b = open()
	seen := map[onion.MessageID]bool{}
	if err := b.Recent(t.Context(), func(to onion.Mailbox, id onion.MessageID) error { seen[id] = to == ping; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, m := range batch {
		if !seen[m.ID] {
			t.Error("one that was taken is not known after a restart")
		}
	}
	if _, err := b.Put(t.Context(), batch); err != nil || b.Waiting() != 0 {
		t.Errorf("what was taken comes again after a restart: %v, %d wait", err, b.Waiting())
	}
	for _, it := range spaceOf(t, st, store.SpaceMailbox) {
		if err := mix.CheckMailbox(it); err != nil {
			t.Error(err)
		}
		if bytes.Contains(it.Value, []byte("aaaaaaaa")) {
			t.Error("a message that was taken is kept")
		}
		for name, bad := range map[string]store.Item{
			"empty":         {Key: it.Key},
			"other version": {Key: it.Key, Value: append([]byte{9}, it.Value[1:]...)},
			"longer":        {Key: it.Key, Value: append(bytes.Clone(it.Value), 1)},
			"other key":     {Key: store.SpaceMailbox.Key([]byte{1, 2, 3}), Value: it.Value},
		} {
			if err := mix.CheckMailbox(bad); !errors.Is(err, mix.ErrDamaged) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestInboxBounds: what may wait is bounded in number and octets, and what was taken is forgotten when its
// time is over.
func TestInboxBounds(t *testing.T) {
	st, closeStore := openStore(t, t.TempDir())
	defer closeStore()
	e := &eater{}
	b, err := mix.OpenInbox(mix.InboxConfig{Store: st, Consumers: map[string]mix.Consumer{"ping": e.eat}, Waiting: 3, Octets: 100, Remember: 32 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	message := func(n int) mix.Message {
		return mix.Message{To: mix.MailboxOf("ping"), ID: newID(), Data: make([]byte, n)}
	}
	refused, err := b.Put(t.Context(), []mix.Message{message(60), message(41), message(40), message(0), message(0)})
	if err != nil || !cmp.Equal(refused, []bool{false, true, false, false, true}) {
		t.Fatalf("%v, refused %v", err, refused)
	}
	stop := runInbox(t, b)
	until(t, "nothing is left of what was taken", func() bool { return len(spaceOf(t, st, store.SpaceMailbox)) == 0 })
	stop()
	if n := len(e.list()); n != 3 || b.Waiting() != 0 {
		t.Errorf("%d were taken, %d wait", n, b.Waiting())
	}
}

// TestStorePin: the first hop is the same after a restart and in later epochs; where there is none to
// choose from it stays as well; and while it is in no snapshot nothing is sent.
func TestStorePin(t *testing.T) {
	dir := t.TempDir()
	st, closeStore := openStore(t, dir)
	defer func() { closeStore() }()
	key := onionKey(t)
	var all []*relays.Relay
	for i := range 8 {
		seed := sha256.Sum256([]byte{byte(i)})
		r, err := relays.Descriptor{Suite: onion.X25519, Provider: fmt.Sprintf("p%d.example", i), Operator: fmt.Sprint(i), Address: netip.AddrFrom4([4]byte{10, byte(i), 0, 1}),
			Capacity: 1000, First: epoch, Keys: []onion.PublicKey{key}}.Sign(ed25519.NewKeyFromSeed(seed[:]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	terms := relays.Terms{Format: format, Length: time.Hour, Rate: 500, Delay: time.Second}
	list := func(some []*relays.Relay) *relays.Cosigned {
		b := must[[]byte](t)(terms.Snapshot(epoch, [32]byte{}, some).Bytes())
		_, w, _ := ed25519.GenerateKey(rand.Reader)
		return must[*relays.Cosigned](t)(relays.Witnesses{"w": w.Public().(ed25519.PublicKey)}.Verify(b, epoch, []relays.Cosignature{relays.Cosign("w", w, epoch, relays.Hash(b))}))
	}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	pin := func() mix.StorePin { return mix.StorePin{Store: st, Now: func() time.Time { return now }} }
	if r, err := pin().Entry(t.Context(), list(all), nil); r != nil || err != nil {
		t.Errorf("none to choose from: %v, %v", r, err)
	}
	first, err := pin().Entry(t.Context(), list(all), all)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range spaceOf(t, st, store.SpaceMailbox) {
		if err := mix.CheckMailbox(it); err != nil {
			t.Error(err)
		}
	}
	closeStore()
	st, closeStore = openStore(t, dir)
	for range 20 { // one of eight, 20 times: not by chance
		now = now.Add(time.Hour)
		if r, err := pin().Entry(t.Context(), list(all), all); err != nil || r.Node() != first.Node() {
			t.Fatalf("another one, %v", err)
		}
	}
	without := slices.DeleteFunc(slices.Clone(all), func(r *relays.Relay) bool { return r.Node() == first.Node() })
	now = now.Add(relays.PinGone - time.Second)
	if r, err := pin().Entry(t.Context(), list(without), without); !errors.Is(err, relays.ErrEntryGone) || r != nil {
		t.Errorf("gone for less than 48 hours: %v", err)
	}
	now = now.Add(2 * time.Second)
	if r, err := pin().Entry(t.Context(), list(without), without); err != nil || r.Node() == first.Node() {
		t.Errorf("gone for more than 48 hours: %v", err)
	}
}

func onionKey(t testing.TB) onion.PublicKey {
	return must[onion.PrivateKey](t)(onion.GenerateKey(onion.X25519)).Public()
}
