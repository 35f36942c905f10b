package node_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/store"
)

// TestVerifySpaces: in the store of a node that has been used there is no fault, and a record
// that nobody would write is one in each of the store's spaces. A space that is new is one that
// verification has to know.
func TestVerifySpaces(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, dan := a.user("alice"), a.user("bob"), b.user("dan")
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, dan} {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
	}
	if err := bob.Publish(ctx, "handle:bobby"); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Send(ctx, room, "insult"); err != nil {
		t.Fatal(err)
	}
	within(t, "it is reported", func() bool {
		_, err := alice.Report(ctx, room, client.Report{Messages: []uint64{0}})
		return err == nil
	})
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	cfg, err := node.ReadConfig(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	faults := func() []string {
		t.Helper()
		v, err := node.Verify(ctx, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		return v.Faults
	}
	if got := faults(); len(got) != 0 {
		t.Fatalf("of a node that was used: %q", got)
	}
	write := func(change func(tx *store.Tx) error) {
		t.Helper()
		st, err := store.Open(store.Options{Dir: filepath.Join(a.dir, "store"), Small: cfg.Store.Small})
		if err != nil {
			t.Fatal(err)
		}
		run, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- st.Run(run) }()
		err = st.Update(run, change)
		cancel()
		if err := errors.Join(err, <-ended, st.Close(context.Background())); err != nil {
			t.Fatal(err)
		}
	}
	used := map[store.Space]int{}
	write(func(tx *store.Tx) error {
		for _, sp := range store.Spaces() {
			for _, err := range tx.Scan(store.Scan{Prefix: sp.Prefix(nil), KeysOnly: true}) {
				if err != nil {
					return err
				}
				used[sp]++
			}
		}
		return nil
	})
	for _, sp := range []store.Space{store.SpaceAccounts, store.SpaceDevices, store.SpaceKeyPackages, store.SpaceConsent, store.SpaceClaims, store.SpaceFeed, store.SpaceOverlay, store.SpaceHeard, store.SpaceAbuse} {
		if used[sp] == 0 {
			t.Errorf("the node has written nothing to %s", sp)
		}
	}
	bad := func(sp store.Space) store.Key { return sp.Key([]byte("\xfe nobody writes this")) }
	write(func(tx *store.Tx) error {
		for _, sp := range store.Spaces() {
			if err := tx.Set(bad(sp), []byte("\xfe")); err != nil {
				return err
			}
		}
		return nil
	})
	got := faults()
	for _, sp := range store.Spaces() {
		found := ""
		for _, f := range got {
			if strings.HasPrefix(f, sp.String()+": ") {
				found = f
			}
		}
		if found == "" || strings.Contains(found, "cannot check") {
			t.Errorf("%s: what nobody writes is not found (%q)", sp, found)
		}
	}
	write(func(tx *store.Tx) error {
		for _, sp := range store.Spaces() {
			if err := tx.Delete(bad(sp)); err != nil {
				return err
			}
		}
		return nil
	})

	// A record that was good, of each space that has one, and one octet is another now or more
	// follow.
	for sp := range used {
		if sp == store.SpaceOverlay {
			continue // whose first records are libp2p's
		}
		var key store.Key
		var was []byte
		write(func(tx *store.Tx) error {
			for it, err := range tx.Scan(store.Scan{Prefix: sp.Prefix(nil), Limit: 1}) {
				if err != nil {
					return err
				}
				key, was = it.Key, it.Value
				return tx.Set(key, append([]byte{was[0] ^ 0x80}, append(was[1:], 0, 0, 0)...))
			}
			return nil
		})
		if got := fmt.Sprint(faults()); !strings.Contains(got, sp.String()+": ") {
			t.Errorf("a damaged record of %s: %s", sp, got)
		}
		write(func(tx *store.Tx) error { return tx.Set(key, was) })
	}
	if got := faults(); len(got) != 0 {
		t.Errorf("when all is as it was: %q", got)
	}
}
