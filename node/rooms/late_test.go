package rooms_test

import (
	"slices"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// certified is the newest certificate that a provider has stored.
func (p *provider) certified(id store.RoomID) *room.Certified {
	t := p.w.t
	t.Helper()
	var c *room.Certified
	err := p.st.View(func(tx *store.Tx) error {
		for b, err := range logstore.LastBatches(tx, room.ID(id)) {
			if err != nil || b.Cert != nil {
				if err == nil {
					c = &room.Certified{Head: b.Head, Certificate: *b.Cert}
				}
				return err
			}
		}
		return nil
	})
	if err != nil || c == nil {
		t.Fatalf("%s has no certificate: %v", p.domain, err)
	}
	return c
}

// replaced has the others take the room over from its hub, and returns what that hub
// orders at last, without having heard of it: beside it stands the newest certificate,
// of what came before.
func replaced(t *testing.T) (w *world, bob, carol *device, id store.RoomID, late *room.Piece) {
	w, alice, bob, carol, id := trio(t)
	alice.say(id, "before")
	n := uint64(len(w.alike(id, 5)))
	old := w.ps[three[0]]
	late = old.forge(id, func(*room.Entry) {})
	late.Certified = old.certified(id)
	old.set(func() { old.down = true })
	w.suspect(id)
	for _, d := range three[1:] {
		eventually(t, "another hub at "+d, func() bool { s := w.ps[d].stand(id); return s.Hub != three[0] && s.Next == n+1 })
	}
	return w, bob, carol, id, late
}

// TestLateHub: a hub that stood still goes on, and says what it has ordered meanwhile in a
// term that has ended. That what came before is final, as its certificate proves, makes
// none of that final: the room goes on.
func TestLateHub(t *testing.T) {
	w, bob, carol, id, late := replaced(t)
	for _, d := range three[1:] {
		w.ps[d].gossip(three[0], late.Append(nil))
	}
	bob.say(id, "after")
	carol.read(id, "before", "after")
	for _, d := range three[1:] {
		for _, s := range w.ps[d].rooms.List() {
			if s.Broken != "" {
				t.Errorf("%s: the room is broken: %s", d, s.Broken)
			}
		}
	}
}

// TestTwoFinalHistories: a majority has co-signed the one and the other. Who sees that
// follows neither any further.
func TestTwoFinalHistories(t *testing.T) {
	w, _, _, _, late := replaced(t)
	other := &room.Certified{Head: late.Head, Certificate: room.Certificate{Head: late.Head.Head}}
	for _, d := range three[:2] {
		other.Certificate.Signers = append(other.Certificate.Signers, room.Signer{Domain: d, CoSignature: room.CoSign(late.Head.Head, w.ps[d].key)})
	}
	for what, c := range map[string]func() *room.Certified{
		"one signer": func() *room.Certified {
			c := *other
			c.Certificate.Signers = c.Certificate.Signers[:1]
			return &c
		},
		"a head that is not there": func() *room.Certified {
			c := *other
			c.Certificate.Signers = slices.Clone(c.Certificate.Signers)
			far := late.Head.Head
			far.Seq++
			c.Certificate.Signers[0].CoSignature = room.CoSign(far, w.ps[three[0]].key)
			return &c
		},
	} {
		no := &room.Piece{Head: late.Head, Entries: late.Entries, Certified: c()}
		w.ps[three[1]].gossip(three[0], no.Append(nil))
		if s := w.ps[three[1]].rooms.List()[0]; s.Broken != "" {
			t.Fatalf("%s proves nothing, and yet the room is broken: %s", what, s.Broken)
		}
	}
	late.Certified = other
	w.ps[three[1]].gossip(three[0], late.Append(nil))
	eventually(t, "the room is stopped", func() bool { return w.ps[three[1]].rooms.List()[0].Broken != "" })
}
