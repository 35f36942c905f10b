package account_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
)

// What is remembered of a device's KeyPackages follows what is published and withdrawn.
func TestShelfFollows(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	publish := func(replace bool, life ...time.Duration) (out [][]byte) {
		t.Helper()
		for _, l := range life {
			out = append(out, w.keyPackage(d, l, false))
		}
		_, err := w.PublishKeyPackages(ctx, d.Identity, &clientapi.NewKeyPackages{KeyPackages: out, Replace: replace})
		must(t, err)
		return out
	}
	n := 0
	wants := func(what string, want []byte) {
		t.Helper()
		n++
		if got := w.one(w.claim(w.claimOf(d, "bob", fmt.Sprint("room ", n)))).Bytes(); !bytes.Equal(got, want) {
			t.Errorf("%s: got another KeyPackage", what)
		}
	}
	first := publish(false, 10*day, 11*day, 12*day)
	wants("the one that ends first", first[0])
	second := publish(false, 5*day)
	wants("a new one that ends before the others", second[0])
	wants("the next", first[1])
	third := publish(true, 20*day, 21*day)
	wants("the others were withdrawn", third[0])
	wants("the last", third[1])
	if got := w.claim(w.claimOf(d, "bob", "one more")); got.Clients[0].Status != wire.ClientExhausted {
		t.Errorf("one that was withdrawn was handed out: %v", got.Clients[0].Status)
	}
	// What was handed out of the withdrawn ones stays with its claim.
	if got := w.one(w.claim(w.claimOf(d, "bob", "room 3"))).Bytes(); !bytes.Equal(got, first[1]) {
		t.Error("a repeated claim got another one after the others were withdrawn")
	}
}

// A transaction that did not happen has taken nothing, and what it seemed to bring is not there.
func TestShelfOfFailedTransactions(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 2, false)
	broken := errors.New("power cut")
	w.store.failBefore = broken
	if _, err := w.Claim(ctx, w.claimOf(d, "bob", "room 0")); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	w.store.failBefore = broken
	if _, err := w.PublishKeyPackages(ctx, d.Identity, &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day/2, false)}}); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	for i := range 2 {
		w.one(w.claim(w.claimOf(d, "bob", fmt.Sprint("room ", i))))
	}
	if got := w.claim(w.claimOf(d, "bob", "room 2")); got.Clients[0].Status != wire.ClientExhausted {
		t.Errorf("a third of two: %v", got.Clients[0].Status)
	}
}

// That there is none left is remembered once it was read, and only until others come: not if
// the transaction that took the last one, or that read, did not happen.
func TestShelfIsDry(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	dry := func(what string, want bool) {
		t.Helper()
		if got := w.Dry("alice", "phone"); got != want {
			t.Errorf("%s: dry %v, want %v", what, got, want)
		}
	}
	n := 0
	claim := func(want wire.KeyMaterialClientCode) {
		t.Helper()
		n++
		if got := w.claim(w.claimOf(d, "bob", fmt.Sprint("room ", n))); got.Clients[0].Status != want {
			t.Errorf("claim %d: %v, want %v", n, got.Clients[0].Status, want)
		}
	}
	broken := errors.New("power cut")
	w.publish(d, 1, false)
	w.store.failBefore = broken
	if _, err := w.Claim(ctx, w.claimOf(d, "bob", "room 0")); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	dry("nobody has taken it", false)
	claim(wire.ClientSuccess)
	dry("nobody has looked since", false)
	w.store.failBefore = broken
	if _, err := w.Claim(ctx, w.claimOf(d, "bob", "room x")); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	dry("who looked did not come to an end", false)
	claim(wire.ClientExhausted)
	dry("somebody has", true)
	claim(wire.ClientExhausted)
	dry("and again", true)
	w.publish(d, 1, false)
	dry("another has come", false)
	claim(wire.ClientSuccess)
	claim(wire.ClientExhausted)
	dry("it is gone, too", true)
	w.store.failBefore = broken
	if _, err := w.PublishKeyPackages(ctx, d.Identity, &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day, false)}}); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	dry("one that did not come may have", false)
	claim(wire.ClientExhausted)
	dry("it has not", true)
}

// Repeats of a claim cost nothing of a share, nor do claims that get a last resort.
func TestRepeatsCostNoShare(t *testing.T) {
	w := newWorld(t, func(c *account.Config) {
		c.RequesterShare = account.Share{Burst: 2, Every: time.Hour}
	})
	d := w.register("alice", "phone", userKey(t))
	w.stock(d, 10)
	for range 5 {
		w.one(w.claim(w.claimOf(d, "mimi://biloxi.example/u/bob", "room")))
	}
	if kp := w.one(w.claim(w.claimOf(d, "mimi://biloxi.example/u/bob", "another"))); kp.LastResort(mls.Limits{}) {
		t.Error("repeats used up the share")
	}
	for i := range 20 {
		w.one(w.claim(w.claimOf(d, "mimi://biloxi.example/u/bob", fmt.Sprint("more ", i))))
	}
	w.now = w.now.Add(time.Hour)
	if kp := w.one(w.claim(w.claimOf(d, "mimi://biloxi.example/u/bob", "after an hour"))); kp.LastResort(mls.Limits{}) {
		t.Error("claims over the share put off the time when some of it is back")
	}
}
