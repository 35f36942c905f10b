package node_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
)

// TestPseudonymousRoomAfterRestore: bob's provider is put back to a backup of before it gave out
// the pseudonym under which he is in a room, in which carol is, too. It does not know the room to be
// his, until his device says what he goes by; then he reads and writes as before, also in a room
// of which it has forgotten everything.
func TestPseudonymousRoomAfterRestore(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, carol := a.user("alice"), b.person("bob"), b.user("carol")
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	joinedBy(t, u, alice, carol)
	names(t, carol, u, alice, carol)
	var backup bytes.Buffer
	if _, err := b.n.Backup(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	joinedBy(t, u, alice, bob.Client)
	names(t, bob.Client, u, alice, bob.Client, carol)
	names(t, alice, u, alice, bob.Client, carol)
	as := goesBy(t, alice, u, bob.Client)
	later, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "later", Pseudonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	joinedBy(t, later, alice, bob.Client)
	names(t, bob.Client, later, alice, bob.Client)

	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Restore(ctx, &backup, b.dir, nil); err != nil {
		t.Fatal(err)
	}
	b.must()
	if _, err := alice.Send(ctx, u, "are you there?"); err != nil {
		t.Fatal(err)
	}
	readBy(t, bob.Client, u, alice, "are you there?")
	if _, err := bob.Send(ctx, u, "here"); err != nil {
		t.Fatal(err)
	}
	readBy(t, alice, u, bob.Client, "here")
	// Of this room his provider has forgotten everything.
	if _, err := bob.Send(ctx, later, "and here"); err != nil {
		t.Fatal(err)
	}
	readBy(t, alice, later, bob.Client, "and here")
	if now := goesBy(t, alice, u, bob.Client); now != as {
		t.Errorf("bob goes by %s, and went by %s", now, as)
	}
}
