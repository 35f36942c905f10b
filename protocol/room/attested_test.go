package room_test

import (
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// TestAttested: who comes into a pseudonymous room by itself shows the word of its provider for this
// very leaf. Whoever orders the room can therefore not come in as a further device of anybody and
// read along, which nobody's certificate would stop here as it does in an open room.
func TestAttested(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.masked("alice@atlanta.example"), w.masked("bob@biloxi.example")
	w.beginAs(alice, asPseudonymous(t))
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	h, err := alice.link(nil)
	if err != nil {
		t.Fatal(err)
	}
	group := w.hub.Group().GroupID()
	p := func(d *device) uri.Pseudonym { x, _ := d.user.Pseudonym(); return x }
	key := func(d *device) []byte { return d.leaf.Signer.Public() }
	word := func(by string, group []byte, as uri.Pseudonym, of *device) []byte {
		return room.AttestedAAD(pseudonym.Attest(w.providers[by], group, as, key(of)))
	}
	// further is a leaf that says to be of a device of somebody else's.
	further := func(of *device) *device {
		t.Helper()
		d := w.masked("mallory@" + of.user.Provider().Domain())
		c := must(pseudonym.Of(d.leaf.Credential, key(d)))(t)
		c.User = p(of)
		d.user, d.leaf.Credential = of.user, c.MLS()
		return d
	}
	ghost := further(bob)
	comes := func(d *device, aad []byte) error {
		t.Helper()
		o := mls.ExternalOptions{LeafParams: d.leaf, Tree: w.hub.Group().Tree(), AAD: aad}
		if w.hub.Role(d.user) == policy.None {
			o.Proposals = []*mls.Proposal{must(room.UpdateParticipants(w.hub.Group().Context(), []room.Participant{{User: d.user, Role: policy.Member}}, nil))(t), d.use(h)}
		}
		return d.enter(o)
	}
	carol := w.masked("carol@chicago.example")
	for why, c := range map[string]struct {
		who *device
		aad []byte
	}{
		"nothing":                                     {ghost, nil},
		"an empty word":                               {ghost, room.AttestedAAD(nil)},
		"data that is none":                           {ghost, []byte{1, 2, 3}},
		"the word of who orders the room":             {ghost, word("atlanta.example", group, p(bob), ghost)},
		"the word for the leaf that bob has":          {ghost, word("biloxi.example", group, p(bob), bob)},
		"the word for another room":                   {ghost, word("biloxi.example", []byte("mimi://atlanta.example/g/other"), p(bob), ghost)},
		"the word for another pseudonym":              {ghost, word("biloxi.example", group, p(alice), ghost)},
		"a link, and no word":                         {carol, nil},
		"a link, and the word of another's provider":  {carol, word("biloxi.example", group, p(carol), carol)},
		"a word with another version":                 {carol, room.AttestedAAD(append([]byte{2}, make([]byte, 64)...))},
		"a word that is longer":                       {carol, room.AttestedAAD(append(pseudonym.Attest(w.providers["chicago.example"], group, p(carol), key(carol)), 0))},
		"a word and something after it, unauthorized": {carol, append(word("chicago.example", group, p(carol), carol), 0)},
	} {
		if err := comes(c.who, c.aad); !errors.Is(err, room.ErrPolicy) {
			t.Errorf("%s: %v", why, err)
		}
	}
	// A provider may have a newer key than is known: that is told apart, as for certificates.
	err = comes(carol, word("biloxi.example", group, p(carol), carol))
	if !errors.Is(err, x509auth.ErrUntrusted) || !errors.Is(err, pseudonym.ErrNotAttested) {
		t.Errorf("by a key that is not known: %v", err)
	}
	right := word("chicago.example", group, p(carol), carol)
	chicago := w.providers["chicago.example"]
	delete(w.providers, "chicago.example")
	if err := comes(carol, right); !errors.Is(err, x509auth.ErrUnknownProvider) || errors.Is(err, room.ErrPolicy) {
		t.Errorf("of a provider of which nothing is known: %v", err)
	}
	w.providers["chicago.example"] = chicago
	tablet := further(bob)
	if err := errors.Join(comes(carol, right), comes(tablet, word("biloxi.example", group, p(bob), tablet)), tablet.send("here"), carol.send("and here")); err != nil {
		t.Fatal(err)
	}
	if n := w.follower.Roster().Clients(bob.user); n != 2 {
		t.Errorf("bob has %d clients", n)
	}
}
