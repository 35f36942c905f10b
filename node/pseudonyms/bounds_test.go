package pseudonyms_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/node/pseudonyms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/store"
)

// TestGivenIsBounded: many who claim a user's sets and add it nowhere get 64 of them, each its
// share. From then on nobody gets one for a new room, until one is used, or they are too old;
// what is given already is answered as before.
func TestGivenIsBounded(t *testing.T) {
	w := newWorld(t)
	bob := w.device("bob", "phone")
	rooms := 0
	one := func(by int) *clientapi.PseudonymousClaim {
		w.fill(bob)
		rooms++
		return w.claim(fmt.Sprintf("asker%d@biloxi.example", by), bob.User, roomName(rooms))
	}
	var given []*clientapi.PseudonymousClaim
	for i := range pseudonyms.MaxGiven + 3 {
		if got := one(i / pseudonyms.MaxGivenTo); got.Status == clientapi.ClaimGiven {
			given = append(given, got)
		}
	}
	if len(given) != pseudonyms.MaxGiven {
		t.Fatalf("%d sets are given out, not %d", len(given), pseudonyms.MaxGiven)
	}
	seen := map[string]bool{}
	for _, x := range given {
		seen[x.Pseudonym] = true
	}
	if len(seen) != len(given) {
		t.Errorf("%d pseudonyms for %d rooms", len(seen), len(given))
	}
	if got := one(1000); got.Status != clientapi.ClaimExhausted {
		t.Errorf("one more asker: %s", got.Status)
	}
	if got := w.claim("asker0@biloxi.example", bob.User, roomName(1)); got.Pseudonym != given[0].Pseudonym {
		t.Errorf("who asked before: %s %s, not %s", got.Status, got.Pseudonym, given[0].Pseudonym)
	}
	err := w.st.Update(t.Context(), func(tx *store.Tx) error {
		return w.Joined(tx, must(mls.ParseKeyPackage(given[0].KeyPackages[0].KeyPackage, mls.Limits{})).Ref())
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{clientapi.ClaimGiven, clientapi.ClaimExhausted} {
		if got := one(1000); got.Status != want {
			t.Errorf("claim %d after one was used: %s", i, got.Status)
		}
	}
	w.now = w.now.Add(61 * 24 * time.Hour)
	for i := range pseudonyms.MaxGivenTo {
		if got := one(2000); got.Status != clientapi.ClaimGiven {
			t.Errorf("claim %d after two months: %s", i, got.Status)
		}
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}
