package overlay_test

import (
	"context"
	"fmt"
	"testing"
)

// TestMesh: a peer is in the mesh once it gets messages at once, and no longer when
// it has gone.
func TestMesh(t *testing.T) {
	t.Parallel() // it waits most of the time
	nodes := providers(t, 2, nil)
	a, b := nodes[0], nodes[1]
	var in inbox
	ta := join(t, a, "room", (&inbox{}).handler(nil))
	if m := ta.Mesh(); len(m) != 0 {
		t.Fatalf("a mesh of nobody: %v", m)
	}
	join(t, b, "room", in.handler(nil))
	in1 := func(n int) {
		t.Helper()
		eventually(t, "the mesh", func() error {
			if m := ta.Mesh(); len(m) != n || n == 1 && m[0] != b.Self() {
				return fmt.Errorf("%v, want %d", m, n)
			}
			return nil
		})
	}
	in1(1)
	if err := ta.Publish(context.Background(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message", func() error { return in.has("hello") })
	if err := a.Block(b.Self()); err != nil { // ends the connection
		t.Fatal(err)
	}
	in1(0)
}
