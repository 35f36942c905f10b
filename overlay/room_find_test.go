package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

// hubs returns the domains of records, in order.
func hubs(list []overlay.RoomRecord) string {
	s := ""
	for _, r := range list {
		s += fmt.Sprintf("%s %d.%d;", r.Hub, r.Era, r.Number)
	}
	return s
}

// finds waits until o finds that a room is ordered so.
func finds(t testing.TB, o *overlay.Overlay, room [32]byte, want string) {
	t.Helper()
	eventually(t, "finding the hub", func() error {
		overlay.ForgetMisses(o)
		list, err := o.FindRoom(within(t, 10*time.Second), room)
		if got := hubs(list); err != nil || got != want {
			return fmt.Errorf("%q, %v; want %q", got, err, want)
		}
		return nil
	})
}

func TestAnnounceAndFindRoom(t *testing.T) {
	nodes := providers(t, 8, nil)
	room := [32]byte{1}
	if err := nodes[2].AnnounceRoom(within(t, 10*time.Second), overlay.RoomRecord{Room: room, Era: 1, Number: 2, Hub: "ignored.example"}); err != nil {
		t.Fatal(err)
	}
	for _, o := range nodes {
		finds(t, o, room, "p2.example 1.2;")
	}
	list, err := nodes[5].FindRoom(within(t, 10*time.Second), room)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if r := list[0]; r.Room != room || !r.ProviderKey.Equal(pub(key("provider p2.example"))) || r.Expires.Sub(r.Made) != overlay.RoomValidity {
		t.Errorf("%+v", r)
	}
	if _, err := nodes[5].FindRoom(within(t, 10*time.Second), [32]byte{9}); !errors.Is(err, overlay.ErrRoomUnknown) {
		t.Errorf("a room of nobody: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := nodes[5].FindRoom(ctx, room); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A room moves on, twice. Whoever looks sees all that say they order it, the present hub
// first, also when the hub before it has died; one that has withdrawn does not say so
// itself any more.
func TestRoomMovesOn(t *testing.T) {
	c := config("first.example")
	first, stop := start(t, c)
	nodes := []*overlay.Overlay{first}
	for _, d := range []string{"second.example", "third.example", "seeker.example"} {
		c := config(d)
		c.Bootstrap = boot(nodes[len(nodes)-1])
		o, _ := start(t, c)
		nodes = append(nodes, o)
		eventually(t, "joining", func() error {
			if !o.Connected(first.Self()) {
				return errors.New("not yet")
			}
			return nil
		})
	}
	second, third, seeker := nodes[1], nodes[2], nodes[3]
	room := [32]byte{2}
	announce := func(o *overlay.Overlay, number uint64) {
		t.Helper()
		if err := o.AnnounceRoom(within(t, 10*time.Second), overlay.RoomRecord{Room: room, Number: number}); err != nil {
			t.Fatal(err)
		}
	}
	announce(first, 1)
	finds(t, seeker, room, "first.example 0.1;")
	announce(second, 2)
	finds(t, seeker, room, "second.example 0.2;first.example 0.1;")
	resolves(t, seeker, "first.example")
	stop()
	announce(third, 3)
	second.WithdrawRoom(room)
	eventually(t, "the present hub", func() error {
		list, err := seeker.FindRoom(within(t, 10*time.Second), room)
		if err != nil || list[0].Hub != "third.example" || list[0].Number != 3 {
			return fmt.Errorf("%s, %v", hubs(list), err)
		}
		return nil
	})
	list, err := second.FindRoom(within(t, 10*time.Second), room)
	if err != nil || list[0].Hub != "third.example" {
		t.Errorf("asked by the hub before it: %s, %v", hubs(list), err)
	}
	for _, r := range list {
		if r.Hub == "second.example" {
			t.Error("who has withdrawn still names itself")
		}
	}
	announce(third, 5) // again, in a later term
	eventually(t, "the later term", func() error {
		list, err := seeker.FindRoom(within(t, 10*time.Second), room)
		if err != nil || list[0].Number != 5 {
			return fmt.Errorf("%s, %v", hubs(list), err)
		}
		return nil
	})
}

// What strangers sign in other names is dropped by who looks, and a stranger who signs a
// high term in its own name does not hide the hub.
func TestForgedRooms(t *testing.T) {
	nodes := providers(t, 5, nil)
	put := func(o *overlay.Overlay, value []byte) {
		t.Helper()
		room := [32]byte{3}
		if err := overlay.PutRoom(within(t, 10*time.Second), o, room, value); err != nil {
			t.Fatal(err)
		}
	}
	forged := hint(3, "p0.example", 1<<40)
	forged.ProviderKey = pub(key("mallory"))
	put(nodes[4], overlay.SealRoom(forged, key("mallory")))
	if list, err := nodes[1].FindRoom(within(t, 20*time.Second), [32]byte{3}); !errors.Is(err, overlay.ErrRoomRecord) {
		t.Errorf("signed by another key than the provider's: %s, %v", hubs(list), err)
	}
	forged = hint(3, "nobody.example", 1<<40)
	put(nodes[3], sealed(forged))
	overlay.ForgetMisses(nodes[1])
	if list, err := nodes[1].FindRoom(within(t, 20*time.Second), [32]byte{3}); !errors.Is(err, overlay.ErrRoomRecord) {
		t.Errorf("by a provider that does not exist: %s, %v", hubs(list), err)
	}
	if err := nodes[2].AnnounceRoom(within(t, 10*time.Second), overlay.RoomRecord{Room: [32]byte{3}, Number: 2}); err != nil {
		t.Fatal(err)
	}
	finds(t, nodes[1], [32]byte{3}, "p2.example 0.2;")

	if err := nodes[4].AnnounceRoom(within(t, 10*time.Second), overlay.RoomRecord{Room: [32]byte{3}, Era: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	finds(t, nodes[1], [32]byte{3}, "p4.example 1073741824.0;p2.example 0.2;")
	bad := sealed(hint(4, "p4.example", 1)) // of another room
	if err := overlay.PutRoom(within(t, 10*time.Second), nodes[4], [32]byte{3}, bad); !errors.Is(err, overlay.ErrRoomRecord) {
		t.Errorf("put under another room: %v", err)
	}
}

// A provider with a new key is found by who knows only the old one.
func TestRoomOfARotatedKey(t *testing.T) {
	boss := config("boss.example")
	a, _ := start(t, boss)
	c := config("hub.example")
	c.Bootstrap = boot(a)
	_, stop := start(t, c)
	resolves(t, a, "hub.example")
	stop()
	rot, err := overlay.SignRotation("hub.example", c.ProviderKey, pub(key("next")))
	if err != nil {
		t.Fatal(err)
	}
	c.Rotations, c.ProviderKey = append(c.Rotations, rot), key("next")
	o, _ := start(t, c)
	if err := o.AnnounceRoom(within(t, 10*time.Second), overlay.RoomRecord{Room: [32]byte{5}}); err != nil {
		t.Fatal(err)
	}
	finds(t, a, [32]byte{5}, "hub.example 0.0;")
}

// A record that expires while nodes keep it is found no more; and nobody is asked by a
// node that does not run or knows nobody.
func TestFindRoomRefuses(t *testing.T) {
	nodes := providers(t, 2, nil)
	old := hint(6, "p0.example", 1)
	old.Expires = time.Now().Add(time.Second).Truncate(time.Millisecond).UTC()
	if err := overlay.PutRoom(within(t, 10*time.Second), nodes[0], [32]byte{6}, sealed(old)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "expiry", func() error {
		overlay.ForgetMisses(nodes[1])
		if _, err := nodes[1].FindRoom(within(t, 10*time.Second), [32]byte{6}); !errors.Is(err, overlay.ErrRoomUnknown) {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	idle, err := overlay.New(config("idle.example"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := idle.FindRoom(t.Context(), [32]byte{6}); !errors.Is(err, overlay.ErrNotRunning) {
		t.Errorf("find before Run: %v", err)
	}
	if err := idle.AnnounceRoom(t.Context(), overlay.RoomRecord{}); !errors.Is(err, overlay.ErrNotRunning) {
		t.Errorf("announce before Run: %v", err)
	}
	lone := config("alone.example")
	lone.Limits.Announced, lone.Limits.StoredRooms = 1, 1
	alone, _ := start(t, lone)
	if _, err := alone.FindRoom(within(t, 10*time.Second), [32]byte{6}); !errors.Is(err, overlay.ErrNoPeers) {
		t.Errorf("find alone: %v", err)
	}
	if err := alone.AnnounceRoom(within(t, 10*time.Second), overlay.RoomRecord{Room: [32]byte{7}}); !errors.Is(err, overlay.ErrNoPeers) {
		t.Errorf("announce alone: %v", err)
	}
	if err := alone.AnnounceRoom(within(t, 10*time.Second), overlay.RoomRecord{Room: [32]byte{8}}); !errors.Is(err, overlay.ErrFull) {
		t.Errorf("announce too many: %v", err)
	}
}

// What one peer may store is bounded; a full node refuses strangers and
// announces its own rooms nevertheless.
func TestRoomQuotas(t *testing.T) {
	nodes := providers(t, 3, func(i int, c *overlay.Config) {
		if i == 0 {
			c.Limits.RoomsPerPeer, c.Limits.StoredRooms = 3, 5
		}
	})
	announce := func(o *overlay.Overlay, room byte, number uint64) {
		t.Helper()
		if err := o.AnnounceRoom(within(t, 10*time.Second), overlay.RoomRecord{Room: [32]byte{room}, Number: number}); err != nil {
			t.Fatal(err)
		}
	}
	stored := func(what string, want int) {
		t.Helper()
		eventually(t, what, func() error {
			if n := overlay.StoredRooms(nodes[0]); n != want {
				return fmt.Errorf("%d are stored, want %d", n, want)
			}
			return nil
		})
	}
	for i := range byte(6) {
		announce(nodes[1], i, 1)
	}
	stored("three of one peer", 3)
	for i := range byte(3) {
		announce(nodes[2], 10+i, 1)
	}
	stored("and two of another", 5)
	announce(nodes[0], 20, 1)
	stored("and our own", 6)
	if !overlay.QuotaTakesValue(nodes[0], nodes[1].Self()) {
		t.Error("provider records suffer")
	}
	if !overlay.KeepsRoom(nodes[0], [32]byte{20}, []byte("p0.example")) {
		t.Error("our own is not there")
	}
}
