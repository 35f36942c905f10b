package feed_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// TestHidden: who takes part in a hidden room hears nothing of it, by an open stream, a new one,
// or a list of rooms, also after a restart. Once it is revealed it is there from its beginning,
// and leaving ends both.
func TestHidden(t *testing.T) {
	for _, encode := range []bool{true, false} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("encode %v, restart %v", encode, restart), func(t *testing.T) {
				d := open(t)
				defer d.close()
				alice, bob := user("alice"), user("bob")
				both := []uri.User{alice, bob}
				d.write("one", 1, []uri.User{alice}, []uri.User{alice}, nil, encode)
				id := d.rooms["one"].id
				d.update(func(tx *store.Tx) error {
					pos, err := d.f.Next(tx)
					if err != nil {
						return err
					}
					return d.f.Hide(tx, bob, id, pos)
				})
				if restart {
					var err error
					if d.f, err = feed.Open(context.Background(), d.st); err != nil {
						t.Fatal(err)
					}
				}
				ear := d.stream(bob, "bob", "")
				defer ear.Close()
				a := d.stream(alice, "alice", "")
				defer a.Close()
				drain(t, ear) // until they have caught up, streams take nothing that is pushed
				drain(t, a)
				d.write("one", 2, both, nil, nil, encode)
				if got := drain(t, ear); len(got) != 0 {
					t.Errorf("an open stream hears %v", got)
				}
				if got := drain(t, a); len(got) != 1 {
					t.Errorf("the other user hears %v", got)
				}
				late := d.stream(bob, "bob", "")
				if got := drain(t, late); len(got) != 0 {
					t.Errorf("a new stream hears %v", got)
				}
				late.Close()
				finds := func(want bool) {
					t.Helper()
					var list []room.ID
					member := false
					err := d.st.View(func(tx *store.Tx) (err error) {
						if list, err = d.f.Rooms(tx, bob); err == nil {
							member, err = d.f.Member(tx, bob, id)
						}
						return err
					})
					if err != nil || (len(list) == 1) != want || member != want {
						t.Errorf("finds %v, is a member %v, %v; want %v", list, member, err, want)
					}
				}
				finds(false)
				if got := d.f.Hearing(id, both); len(got) != 1 || got[0] != alice {
					t.Errorf("%v hear of it", got)
				}
				d.update(func(tx *store.Tx) error {
					was, err := d.f.Reveal(tx, bob, id)
					if again, _ := d.f.Reveal(tx, bob, id); !was || again {
						t.Errorf("revealed %v, and again %v", was, again)
					}
					return err
				})
				finds(true)
				d.write("one", 1, both, nil, nil, encode)
				// One that has to look into the store finds what was said before, too.
				if got := drain(t, ear); len(got) == 0 || len(got) > 2 || got[len(got)-1].what != fmt.Sprintf("%.6s/3-3", id) {
					t.Errorf("after it is revealed the stream hears %v", got)
				}
				fresh := d.stream(bob, "bob", "")
				if got := drain(t, fresh); len(got) != 2 {
					t.Errorf("a device without a cursor hears %v, 1-2 and 3-3 expected", got)
				}
				fresh.Close()
				d.update(func(tx *store.Tx) error {
					pos, err := d.f.Next(tx)
					if err != nil {
						return err
					}
					return d.f.Leave(tx, bob, id, pos)
				})
				finds(false)
				// Hidden, and left: nothing stays.
				d.update(func(tx *store.Tx) error { return d.f.Hide(tx, bob, id, 100) })
				d.update(func(tx *store.Tx) error { return d.f.Leave(tx, bob, id, 101) })
				d.update(func(tx *store.Tx) error {
					if was, err := d.f.Reveal(tx, bob, id); was || err != nil {
						t.Errorf("left, and revealed: %v, %v", was, err)
					}
					return nil
				})
				err := d.st.View(func(tx *store.Tx) error {
					for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceFeed.Prefix(nil)}) {
						if err == nil {
							err = feed.Check(it)
						}
						if err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
}
