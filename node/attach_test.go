package node_test

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/mimid/mimid/client"
)

// TestAttach: a user of one provider attaches a file, one of the other fetches it by the
// hub, and both providers' stores are without faults.
func TestAttach(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, _ := share(t, a, b)
	rooms, err := alice.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	room := rooms[0].URI
	big := make([]byte, 20<<20+7)
	rand.Read(big)
	for _, c := range []struct {
		name     string
		from, to *client.Client
		what     []byte
	}{
		{"kept by the hub", alice, bob, big},
		{"fetched through the hub", bob, alice, []byte("a few octets")},
		{"fetched by the sender", alice, alice, []byte{}},
	} {
		index, err := c.from.Attach(t.Context(), room, client.Outgoing{Name: "../secret/plan.txt", Text: "look", Content: bytes.NewReader(c.what), Size: int64(len(c.what))})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		list, err := c.from.Messages(room, index, 1)
		if err != nil || len(list) != 1 {
			t.Fatal(err)
		}
		id := list[0].ID
		within(t, c.name+": it arrives", func() bool {
			list, err := c.to.Messages(room, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				if m.ID == id {
					index = m.Index
					return true
				}
			}
			return false
		})
		var got bytes.Buffer
		about, err := c.to.FetchAttachment(t.Context(), client.Fetch{Room: room, Index: index}, &got)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if about.Name != "plan.txt" || about.Size != int64(len(c.what)) || !bytes.Equal(got.Bytes(), c.what) {
			t.Errorf("%s: %+v, %d octets", c.name, about, got.Len())
		}
	}
}
