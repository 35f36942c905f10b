package account_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/store"
)

// TestExhaustionBy50Accounts: fifty accounts, all of which the user has let add her, claim
// for as many rooms as they can think of. A contact who comes after gets a KeyPackage all the
// same, always; and one that is used once, unless the fifty are of many providers, which
// together have shares of more than there is.
func TestExhaustionBy50Accounts(t *testing.T) {
	for _, row := range []struct {
		name      string
		providers int
		fresh     bool // the contact gets one that is used once
	}{
		{"of one provider", 1, true},
		{"of two providers", 2, false},
		{"of fifty providers", 50, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.register("alice", "phone", userKey(t))
			w.stock(d, 50)
			for round := range 20 {
				for i := range 50 {
					c := w.claimOf(d, fmt.Sprintf("mimi://p%d.example/u/m%d", i%row.providers, i), fmt.Sprint("made up ", round))
					c.Provider = fmt.Sprintf("p%d.example", i%row.providers)
					w.one(w.claim(c))
				}
				contact := w.claimOf(d, fmt.Sprintf("mimi://chelsea.example/u/c%d", round), "mimi://chelsea.example/r/tea")
				contact.Provider = "chelsea.example"
				kp := w.one(w.claim(contact))
				if fresh := !kp.LastResort(mls.Limits{}); round == 0 && row.fresh && !fresh {
					t.Error("the contact got a last resort only")
				}
				if !bytes.Equal(w.one(w.claim(contact)).Bytes(), kp.Bytes()) {
					t.Error("the contact's repeat got another one")
				}
			}
		})
	}
}

// stock publishes many with a last resort. They are the same one to the store, save its reference.
func (w *world) stock(d *device, n int) {
	w.t.Helper()
	w.publish(d, 0, true)
	must(w.t, w.Stuff(ctx, d.Identity, w.keyPackage(d, 30*day, false), uint64(w.now.Add(30*day).Unix()), n))
}

// TestShares: what one user, and what the users of one provider together get; and that it comes
// back with time, outlives a restart, and does not hold for the user's own devices.
func TestShares(t *testing.T) {
	w := newWorld(t, func(c *account.Config) {
		c.RequesterShare, c.ProviderShare = account.Share{Burst: 3, Every: time.Hour}, account.Share{Burst: 5, Every: 10 * time.Minute}
	})
	d := w.register("alice", "phone", userKey(t))
	w.stock(d, 50)
	take := func(who string, n int) (fresh int) {
		for i := range n {
			c := w.claimOf(d, who, fmt.Sprint("room ", w.now.Unix(), i))
			if !w.one(w.claim(c)).LastResort(mls.Limits{}) {
				fresh++
			}
		}
		return fresh
	}
	if n := take("mimi://biloxi.example/u/bob", 5); n != 3 {
		t.Errorf("bob got %d, his share is 3", n)
	}
	w.restart()
	if n := take("mimi://biloxi.example/u/bea", 5); n != 2 {
		t.Errorf("bea got %d, and bob 3; the share of their provider is 5", n)
	}
	w.now = w.now.Add(10 * time.Minute)
	if n := take("mimi://biloxi.example/u/bea", 5); n != 1 {
		t.Errorf("bea got %d when one had come back", n)
	}
	w.now = w.now.Add(5 * time.Hour)
	if n := take("mimi://biloxi.example/u/bob", 5); n != 3 {
		t.Errorf("bob got %d when all had come back", n)
	}
	if n := take(d.User.String(), 10); n != 10 {
		t.Errorf("alice's own devices got %d of 10", n)
	}
	if left := w.left(d); left != 50-3-2-1-3-10 {
		t.Errorf("%d are left", left)
	}
	w.now = w.now.Add(5 * time.Hour)
	if n, err := w.Sweep(ctx); err != nil || n < 3 {
		t.Errorf("swept %d, %v", n, err)
	}
	if n := w.keys(5); n != 0 {
		t.Errorf("%d shares are kept that are full", n)
	}
}

// Of a device without a last resort everybody gets what there is.
func TestShareWithoutLastResort(t *testing.T) {
	w := newWorld(t, func(c *account.Config) { c.RequesterShare = account.Share{Burst: 1, Every: time.Hour} })
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 5, false)
	for i := range 5 {
		w.one(w.claim(w.claimOf(d, "mimi://biloxi.example/u/bob", fmt.Sprint("room ", i))))
	}
}

// keys counts the keys of a kind.
func (w *world) keys(kind byte) (n int) {
	w.t.Helper()
	must(w.t, w.store.View(func(tx *store.Tx) error {
		for _, err := range tx.Scan(store.Scan{Prefix: store.SpaceKeyPackages.Prefix([]byte{kind}), KeysOnly: true}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	}))
	return n
}

// TestNoBodyIsLeftBehind: each KeyPackage lies once in the store, as long as it can be handed
// out or a claim can be repeated.
func TestNoBodyIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	user := userKey(t)
	d, other := w.register("alice", "phone", user), w.register("alice", "laptop", user)
	bodies := func(what string) {
		t.Helper()
		if got, want := w.keys(6), w.keys(1)+w.keys(3); got != want || got == 0 {
			t.Errorf("%s: %d KeyPackages for %d that can be handed out or have been", what, got, want)
		}
	}
	w.publish(d, 5, true)
	w.publish(other, 5, true)
	bodies("published")
	c := w.claimOf(d, "mimi://biloxi.example/u/bob", "room")
	first := w.claim(c)
	bodies("claimed")
	w.now = w.now.Add(2 * time.Hour)
	w.claim(c)
	bodies("claimed again, after the claim's time")
	if w.keys(3) != 2 {
		t.Errorf("%d claims", w.keys(3))
	}
	must(t, w.store.Update(ctx, func(tx *store.Tx) error { return w.Joined(tx, first.Clients[0].KeyPackage.Ref()) }))
	bodies("an old one joined")
	got := w.claim(w.claimOf(d, "mimi://biloxi.example/u/bob", "another"))
	must(t, w.store.Update(ctx, func(tx *store.Tx) error { return w.Joined(tx, got.Clients[0].KeyPackage.Ref()) }))
	bodies("joined")
	_, err := w.Sweep(ctx)
	must(t, err)
	bodies("swept")
	w.now = w.now.Add(3 * day)
	_, err = w.PublishKeyPackages(ctx, d.Identity, &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day, false)}}) // drops what has ended
	must(t, err)
	bodies("some have ended")
	must(t, w.RemoveDevice(ctx, d.Identity, "laptop"))
	_, err = w.Sweep(ctx)
	must(t, err)
	bodies("a device is removed")
	w.now = w.now.Add(10 * day)
	_, err = w.Sweep(ctx)
	must(t, err)
	if n := w.keys(6); n != 0 {
		t.Errorf("%d KeyPackages are left when all have ended", n)
	}
}
