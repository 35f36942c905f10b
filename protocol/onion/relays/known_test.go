package relays_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// TestKnownSnapshot: the octets of a list, and who mixes where, are what they were when the format
// was decided: providers that disagree about it build packets that nobody can unwrap.
func TestKnownSnapshot(t *testing.T) {
	var list []*relays.Relay
	for i := range 30 {
		list = append(list, relay(t, i, nil))
	}
	c := cosigned(t, snapshot(80_000, list...))
	if got, want := fmt.Sprintf("%x", c.Hash()), "cfe68bc89ea2b40e51468c88890133cd2782bfc387b67d30abdbd155258de9d6"; got != want {
		t.Errorf("the snapshot's hash is %s", got)
	}
	a, err := c.Active()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, layer := range a.Layers {
		for _, r := range layer {
			got = append(got, r.Descriptor().Provider)
		}
		got = append(got, "/")
	}
	if want := "[p23.example p19.example p3.example p22.example p15.example / p26.example p14.example p8.example p2.example p18.example / p10.example p17.example p4.example p25.example p12.example /]"; fmt.Sprint(got) != want {
		t.Errorf("who mixes where: %v", got)
	}
}

// TestXWingDescriptor: the longest keys there are fit, three of them.
func TestXWingDescriptor(t *testing.T) {
	k, err := onion.GenerateKey(onion.XWing)
	if err != nil {
		t.Fatal(err)
	}
	r := relay(t, 1, func(d *relays.Descriptor) {
		d.Suite, d.Keys = onion.XWing, []onion.PublicKey{k.Public(), k.Public(), k.Public()}
	})
	got, err := relays.ParseRelay(r.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for e := epoch; e < epoch+3; e++ {
		if key, ok := got.Key(e); !ok || !bytes.Equal(key.Bytes(), k.Public().Bytes()) {
			t.Errorf("epoch %d: another key was read", e)
		}
	}
}
