package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/store"
)

// TestThreeNodes: three whole nodes decide about a room; the one that orders it stops
// without a word, another one takes over, nobody loses anything, and all stores verify.
// Then everything that proves what is final is damaged, and found.
func TestThreeNodes(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	boot := a.status().Addresses[0]
	b, c := prepare(t, "biloxi.example", boot).must(), prepare(t, "chicago.example", boot).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), c.user("carol")
	people := []*client.Client{alice, bob, carol}
	for _, x := range people[1:] {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range people[1:] {
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
	}
	for _, x := range people {
		within(t, "three providers decide", func() bool { v, err := x.Verify(ctx, room); return err == nil && v.Replicas == 3 })
	}
	sent := 0
	say := func(x *client.Client) {
		t.Helper()
		if _, err := x.Send(ctx, room, fmt.Sprint(sent)); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	have := func(who ...*client.Client) {
		t.Helper()
		for _, x := range who {
			within(t, fmt.Sprintf("%s has %d messages", x.User(), sent), func() bool {
				list, err := x.Messages(room, 0, 1000)
				if err != nil || len(list) != sent {
					return false
				}
				for _, m := range list {
					if m.State != client.StateFinal {
						return false
					}
				}
				return true
			})
		}
	}
	for _, x := range people {
		say(x)
	}
	have(people...)

	a.stop()
	say(bob)
	say(carol)
	have(bob, carol)
	v, err := carol.Verify(ctx, room)
	if err != nil || v.Hub == "atlanta.example" || v.Term == "0.1" {
		t.Fatalf("the room is ordered by %s in term %s, %v", v.Hub, v.Term, err)
	}
	var silent, changed bool
	within(t, "carol is told", func() bool {
		for {
			select {
			case n := <-carol.Events():
				switch n := n.(type) {
				case client.HubSilent:
					silent = silent || n.Silent && n.Moves && n.Hub == "atlanta.example"
				case client.HubChanged:
					changed = changed || n.Hub == v.Hub
				}
			default:
				return silent && changed
			}
		}
	})
	a.must()
	say(alice)
	have(people...)
	for _, x := range people {
		within(t, "all have one log", func() bool {
			first, err := alice.Verify(ctx, room)
			v, err2 := x.Verify(ctx, room)
			return err == nil && err2 == nil && v == first
		})
	}
	for _, r := range []*running{a, b, c} {
		r.stop()
		r.whole()
	}

	batch := func(tx *store.Tx) (store.Key, []byte) { // the last one
		for it, err := range tx.Scan(store.Scan{Prefix: store.RoomBatches(roomOf(tx)), Reverse: true}) {
			if err != nil {
				break
			}
			return it.Key, it.Value
		}
		panic("no batch")
	}
	replica := func(tx *store.Tx) store.Key {
		id := roomOf(tx)
		return store.SpaceReplica.Key(append(id[:], 0))
	}
	for why, fn := range map[string]func(tx *store.Tx) error{
		"a co-signature changed": func(tx *store.Tx) error {
			k, v := batch(tx)
			v[len(v)-1] ^= 1
			return tx.Set(k, v)
		},
		"a certificate is missing": func(tx *store.Tx) error {
			k, v := batch(tx)
			v[0] = 1
			return tx.Set(k, v[:1+8+149])
		},
		"votes are missing": func(tx *store.Tx) error { return tx.Delete(replica(tx)) },
		"the highest term is lower": func(tx *store.Tx) error {
			v, err := tx.Get(replica(tx))
			if err != nil {
				return err
			}
			v[1+4+7] = 1 // number of seen
			return tx.Set(replica(tx), v)
		},
		"an entry hangs in the air": func(tx *store.Tx) error {
			id := roomOf(tx)
			for it, err := range tx.Scan(store.Scan{Prefix: store.RoomEntries(id), Limit: 1}) {
				if err != nil {
					return err
				}
				h, err := tx.Get(store.RoomHeadKey(id))
				_ = h
				return errors.Join(err, tx.Set(store.SpaceReplica.Key(append(append(id[:], 1), 0, 0, 0, 0, 0, 0, 1, 0)), it.Value))
			}
			return errors.New("no entry")
		},
	} {
		if faults := b.altered(fn); len(faults) == 0 {
			t.Errorf("%s: not found", why)
		} else {
			t.Logf("%s: %s", why, strings.Join(faults, "; "))
		}
	}
}

// roomOf is the one room that is in a store.
func roomOf(tx *store.Tx) store.RoomID {
	for it, err := range tx.Scan(store.Scan{Prefix: store.RoomHeads(), KeysOnly: true}) {
		if err != nil {
			panic(err)
		}
		id, err := store.ParseRoomHead(it.Key)
		if err != nil {
			panic(err)
		}
		return id
	}
	panic("no room")
}

// whole checks a stopped node's store, in which there is no fault.
func (r *running) whole() {
	r.t.Helper()
	cfg, err := node.ReadConfig(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	if v, err := node.Verify(r.t.Context(), cfg, nil); err != nil || len(v.Faults) > 0 || v.Rooms == 0 {
		r.t.Errorf("%s: %+v, %v", cfg.Domain, v, err)
	}
}

// altered alters a copy of a stopped node's store and returns the faults found in it.
func (r *running) altered(fn func(tx *store.Tx) error) []string {
	t := r.t
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(dir, "keys", "*.pem"))
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	for _, f := range keys {
		if err := os.Chmod(f, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	st, err := store.Open(store.Options{Dir: filepath.Join(dir, "store")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { st.Run(ctx); close(done) }()
	err = st.Update(ctx, fn)
	cancel()
	if err := errors.Join(err, st.Close(context.Background())); err != nil {
		t.Fatal(err)
	}
	<-done
	cfg, err := node.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := node.Verify(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.Faults
}
