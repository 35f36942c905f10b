package overlay

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// The DHT protects no more than a third of the connections that are kept, and whoever it wants to protect besides comes before those
// who are in no table. What others protect is theirs.
func TestKeeper(t *testing.T) {
	k, err := newKeeper(Limits{Connections: 30, ConnectionGrace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	name := func(i int) peer.ID { return peer.ID([]byte{0x12, 1, byte(i)}) }
	protected := func() (n int) {
		for i := range 40 {
			if k.IsProtected(name(i), dhtTag) {
				n++
			}
		}
		return n
	}
	for range 2 { // the second time changes nothing
		for i := range 40 {
			k.Protect(name(i), dhtTag)
		}
		if n := protected(); n != 10 {
			t.Fatalf("the DHT protects %d of 40, and may 10", n)
		}
	}
	for i := range 40 {
		if in := k.GetTagInfo(name(i)); k.IsProtected(name(i), "") != (in == nil) || in != nil && in.Value != dhtValue {
			t.Errorf("peer %d: %+v", i, in)
		}
	}
	for i := range 40 {
		k.Protect(name(i), "a room")
	}
	if n := protected(); n != 10 || !k.IsProtected(name(39), "a room") {
		t.Errorf("with a room that protects all, the DHT protects %d", n)
	}
	for i := range 10 {
		k.Unprotect(name(i), dhtTag)
	}
	k.Protect(name(38), dhtTag)
	if !k.IsProtected(name(38), dhtTag) || protected() != 1 {
		t.Errorf("after ten have left the table and one has come, the DHT protects %d", protected())
	}
}
