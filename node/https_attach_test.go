package node_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/mimid/mimid/client"
)

// TestAttachByHTTPS: MIMI protocol section 5.10: attachments go both ways between a provider
// that has HTTPS only and one that has the overlay as well, whichever of them orders the room:
// the hub fetches from the provider that keeps it, or hands out what it keeps itself.
func TestAttachByHTTPS(t *testing.T) {
	ctx := t.Context()
	i, at := newIssuer(t), places(t, "atlanta.example", "biloxi.example")
	a := prepareWeb(t, i, at, "atlanta.example", nil).must()
	b := prepareWeb(t, i, at, "biloxi.example", without).must()
	alice, bob := a.user("alice"), b.user("bob")
	for _, x := range []struct{ of, who *client.Client }{{bob, alice}, {alice, bob}} {
		if err := x.of.Accept(ctx, x.who.User()); err != nil {
			t.Fatal(err)
		}
	}
	big := make([]byte, 3<<20+5)
	rand.Read(big)
	for _, x := range []struct {
		hub         string
		first, then *client.Client
	}{{"atlanta", alice, bob}, {"biloxi", bob, alice}} {
		room, err := x.first.CreateRoom(ctx, x.hub)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "the other can be added", func() bool { return x.first.AddUser(ctx, room, x.then.User()) == nil })
		within(t, "the other is in", func() bool { _, err := x.then.Verify(ctx, room); return err == nil })
		n := 0
		for _, from := range []*client.Client{x.first, x.then} {
			for _, what := range [][]byte{[]byte("a few octets from " + from.User().String() + " in " + x.hub), big[n:]} {
				if _, err := from.Attach(ctx, room, client.Outgoing{Name: "x", Content: bytes.NewReader(what), Size: int64(len(what))}); err != nil {
					t.Fatal(err)
				}
				n++
				for _, to := range []*client.Client{alice, bob} {
					within(t, fmt.Sprintf("attachment %d is with %s", n, to.User()), func() bool {
						list, err := to.Messages(room, 0, 100)
						return err == nil && len(list) == n
					})
					var got bytes.Buffer
					if _, err := to.FetchAttachment(ctx, client.Fetch{Room: room, Index: uint64(n - 1)}, &got); err != nil || !bytes.Equal(got.Bytes(), what) {
						t.Errorf("hub %s: %s fetches what %s has sent: %d of %d octets, %v", x.hub, to.User(), from.User(), got.Len(), len(what), err)
					}
				}
			}
		}
	}
}
