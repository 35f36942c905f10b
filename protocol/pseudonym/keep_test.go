package pseudonym_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/uri"
)

// TestKeep: what a member has stored names everybody again, in more pages than one where there
// are many, and is what it had: it goes on with the present generation.
func TestKeep(t *testing.T) {
	g := newGroup(t)
	founder := g.devices[0]
	for i := range 70 { // all under keys of their own
		g.add(founder, g.dir.person(provider, fmt.Sprint("user", i)), uri.Pseudonym{})
	}
	g.commit([]mls.LeafIndex{g.devices[5].leaf})
	g.reseal(g.devices[6]) // one under the present generation
	pages := founder.Keep()
	if len(pages) < 2 {
		t.Fatalf("%d pages", len(pages))
	}
	again := must(pseudonym.Enter(clubhouse, g.dir, g.epoch, nil, g.leaves(founder), now))
	for _, p := range pages {
		again.Learn(must(pseudonym.ParseKeys(p)), now)
	}
	for _, d := range g.devices {
		names(t, &device{Room: again}, d.leaf, d.who)
	}
	a, known := again.Present()
	if b, _ := founder.Present(); !known || a != b || again.Held() != founder.Held() {
		t.Errorf("present %v, not %v; %d keys, not %d", a, b, again.Held(), founder.Held())
	}
	if !bytes.Equal(bytes.Join(again.Keep(), nil), bytes.Join(pages, nil)) {
		t.Error("what is stored again is something else")
	}
}

// TestTold: keys and requests as messages are read as what they were, and are no content.
func TestTold(t *testing.T) {
	own, present := pseudonym.NewKey(), roomKey(7)
	k := &pseudonym.Keys{Present: present, Others: []pseudonym.Key{own}}
	q := pseudonym.Request{own.ID(), present.ID()}
	tell, ask := pseudonym.Tell(9, k), pseudonym.Ask(q)
	got, none, err := pseudonym.ParseTold(tell, 9)
	if err != nil || none != nil || !bytes.Equal(got.Bytes(), k.Bytes()) {
		t.Errorf("told: %v, %v, %v", got, none, err)
	}
	nothing, asked, err := pseudonym.ParseTold(ask, 9)
	if err != nil || nothing != nil || !bytes.Equal(asked.Bytes(), q.Bytes()) {
		t.Errorf("asked: %v, %v, %v", nothing, asked, err)
	}
	for _, b := range [][]byte{tell, ask} {
		if _, err := content.Decode(b, content.Limits{}); err == nil || content.IsStatusReport(b) || !pseudonym.IsTold(b) {
			t.Errorf("%.8x is content", b)
		}
	}
	for _, b := range [][]byte{nil, {0xff}, {0xff, 3}, tell[1:], tell[:9], pseudonym.Tell(9, &pseudonym.Keys{Begins: true}), ask[:len(ask)-1], append(bytes.Clone(tell), 0)} {
		if _, _, err := pseudonym.ParseTold(b, 0); !errors.Is(err, pseudonym.ErrMalformed) {
			t.Errorf("%.8x: %v", b, err)
		}
	}
	// Who has followed the room for less long does not take the generation for the present one.
	late, _, err := pseudonym.ParseTold(tell, 10)
	if err != nil || late.Present != (pseudonym.Key{}) || len(late.Others) != 2 || late.Others[1] != present {
		t.Errorf("told before: %v, %v", late, err)
	}
	if k, err := pseudonym.OwnKey(own.Secret()); err != nil || k != own {
		t.Errorf("own key: %v, %v", k, err)
	}
	if _, err := pseudonym.OwnKey(own.Secret()[1:]); !errors.Is(err, pseudonym.ErrMalformed) {
		t.Errorf("a short key: %v", err)
	}
}
