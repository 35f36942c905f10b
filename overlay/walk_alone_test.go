package overlay

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A Walk without a network tells how far away who answers is, names an announcer at its first
// word, and takes no answer of nodes that were not asked, nor twice.
func TestWalkAlone(t *testing.T) {
	var near []PeerID
	for i := range 20 {
		near = append(near, PeerID(fmt.Sprint("node ", i)))
	}
	w := NewWalk("self", [32]byte{1}, NetworkSize(PlaceOfNode("self"), near), near[:2], 10, rand.New(rand.NewPCG(1, 2)).IntN)
	if got := w.Answer("stranger", []PeerID{"x"}, nil); got != nil {
		t.Errorf("a node that was not asked names %v", got)
	}
	first, ok := w.Next()
	if !ok {
		t.Fatal("nobody is asked")
	}
	if got := w.Answer(first, nil, []PeerID{"far"}); got != nil {
		t.Errorf("nobody was named: %v", got)
	}
	if got := w.Answer(first, []PeerID{"x"}, nil); got != nil {
		t.Errorf("a second answer names %v", got)
	}
	named := false
	for id, ok := w.Next(); ok; id, ok = w.Next() {
		if id == "far" {
			if got := w.Answer(id, []PeerID{"x"}, nil); len(got) != 1 || got[0] != "x" {
				t.Errorf("named %v, want x", got)
			}
			if did := w.Walked(id); did.Hops != 2 || did.Asked == 0 {
				t.Errorf("%+v, want 2 hops", did)
			}
			named = true
		} else {
			w.Fail(id)
		}
	}
	if !named {
		t.Error("who was named as nearer was not asked")
	}
	if PlaceOfNode("node 1") != sha256.Sum256([]byte("node 1")) {
		t.Error("a node's place is not the hash of its id, which simulations rely on")
	}
	if h := w.Holders(); len(h) != 2 {
		t.Errorf("%v are to hold the record, want the two that answered", h)
	}
}
