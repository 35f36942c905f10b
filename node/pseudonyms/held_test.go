package pseudonyms_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// stands puts a leaf into a room, and returns its key.
func (w *world) stands(as string, n int) mls.SignatureKey {
	k := must(mls.GenerateSignatureKey(room.Suite))
	at := roomName(n) + " " + must(uri.ParsePseudonym(as)).Participant().String()
	w.leaves[at] = append(w.leaves[at], k.Public())
	return k
}

func (w *world) hold(d *device, by mls.SignatureKey, as string, n int) error {
	name, p := must(uri.ParseRoom(roomName(n))), must(uri.ParsePseudonym(as))
	return w.Held(w.t.Context(), d.Identity, &clientapi.HeldPseudonym{Room: roomName(n), Pseudonym: as, Proof: must(pseudonym.Hold(by, name, p, d.User)), Hub: "biloxi.example"})
}

func (w *world) goesBy(u uri.User, n int) (as string) {
	w.t.Helper()
	err := w.st.View(func(tx *store.Tx) error {
		name := must(uri.ParseRoom(roomName(n)))
		p := must(w.In(tx, u, name))
		if as = p.String(); !p.IsZero() {
			if back := must(w.User(tx, p, name)); back != u {
				w.t.Errorf("%s in %s is of %q", as, name, back)
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return as
}

// used has all of a claim's KeyPackages used.
func (w *world) used(x *clientapi.PseudonymousClaim) {
	w.t.Helper()
	err := w.st.Update(w.t.Context(), func(tx *store.Tx) error {
		for _, k := range x.KeyPackages {
			if err := w.Joined(tx, must(mls.ParseKeyPackage(k.KeyPackage, mls.Limits{})).Ref()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestHeld: a provider that has forgotten a pseudonym takes it from the device of its user, with the
// proof of its leaf in the room, and from nobody else. What it gave out for it since it takes back, and
// what is in use since stays.
func TestHeld(t *testing.T) {
	w := newWorld(t)
	bob, eve := w.device("bob", "phone"), w.device("eve", "phone")
	refused := func(what string, err error, status int) {
		t.Helper()
		if p, ok := errors.AsType[*clientapi.Problem](err); !ok || p.Status != status {
			t.Errorf("%s: %v, expected %d", what, err, status)
		}
	}
	// Drawn after the backup: nothing is known of it.
	lost := must(pseudonym.New(bob.User.Provider())).String()
	stranger := must(mls.GenerateSignatureKey(room.Suite))
	refused("in no room", w.hold(bob, stranger, lost, 1), 503)
	if want := []string{roomName(1) + " biloxi.example"}; !slices.Equal(w.heard, want) {
		t.Errorf("asked for %v, not %v", w.heard, want)
	}
	k := w.stands(lost, 1)
	refused("with another's key", w.hold(bob, stranger, lost, 1), 403)
	name, p := must(uri.ParseRoom(roomName(1))), must(uri.ParsePseudonym(lost))
	stolen := &clientapi.HeldPseudonym{Room: roomName(1), Pseudonym: lost, Proof: must(pseudonym.Hold(k, name, p, bob.User))}
	refused("by another user", w.Held(t.Context(), eve.Identity, stolen), 403)
	refused("at another provider", w.hold(bob, k, "mimi://biloxi.example/p/00000000-0000-4000-8000-000000000000", 1), 422)
	if as := w.goesBy(bob.User, 1); as != "" || len(w.back) > 0 {
		t.Errorf("after refusals bob goes by %s, and %v are recalled", as, w.back)
	}
	for range 2 { // the other device says the same
		if err := w.hold(bob, k, lost, 1); err != nil {
			t.Fatal(err)
		}
	}
	if as := w.goesBy(bob.User, 1); as != lost || !slices.Contains(w.back, roomName(1)+" "+bob.User.String()) {
		t.Errorf("bob goes by %s, and %v are recalled", as, w.back)
	}
	if want := w.fill(bob); !slices.Contains(want, lost) {
		t.Errorf("for %s no KeyPackage is wanted", lost)
	}
	if got := w.claim("alice@biloxi.example", bob.User, roomName(1)); got.Pseudonym != lost {
		t.Errorf("who adds bob again gets %s", got.Pseudonym)
	}
	refused("of another user", w.hold(eve, w.stands(lost, 1), lost, 1), 403)

	// An open set by the backup, and given out again since for another room, where nobody used it.
	again := w.claim("alice@biloxi.example", bob.User, roomName(3))
	if err := w.hold(bob, w.stands(again.Pseudonym, 2), again.Pseudonym, 2); err != nil {
		t.Fatal(err)
	}
	if as := w.goesBy(bob.User, 2); as != again.Pseudonym {
		t.Errorf("bob goes by %s in the room that he was in", as)
	}
	if got := w.claim("alice@biloxi.example", bob.User, roomName(3)); got.Status != clientapi.ClaimGiven || got.Pseudonym == again.Pseudonym {
		t.Errorf("one pseudonym in two rooms: %s %s", got.Status, got.Pseudonym)
	}
	// Where it was used, it cannot be taken back: two rooms have it.
	twice := w.claim("alice@biloxi.example", bob.User, roomName(5))
	w.used(twice)
	refused("in use elsewhere", w.hold(bob, w.stands(twice.Pseudonym, 4), twice.Pseudonym, 4), 409)
	if as := w.goesBy(bob.User, 5); as != twice.Pseudonym || w.goesBy(bob.User, 4) != "" {
		t.Errorf("bob goes by %s where it is in use", as)
	}

	// Another one was drawn for the room since: it goes, unless it is in the room, too.
	for n, in := range map[int]bool{6: false, 7: true} {
		second := must(w.Pseudonym(t.Context(), bob.Identity, &clientapi.NewPseudonym{Room: roomName(n)})).Pseudonym
		first := must(pseudonym.New(bob.User.Provider())).String()
		if in {
			w.stands(second, n)
		}
		err, want := w.hold(bob, w.stands(first, n), first, n), first
		if in {
			refused("another one is in the room", err, 409)
			want = second
		} else if err != nil {
			t.Errorf("another one was drawn, and not used: %v", err)
		}
		if as := w.goesBy(bob.User, n); as != want {
			t.Errorf("in room %d bob goes by %s, not %s", n, as, want)
		}
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}
