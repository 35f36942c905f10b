package overlay_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mimid/mimid/overlay"
)

// hint is a room record by the provider of a domain, as of now.
func hint(room byte, domain string, number uint64) *overlay.RoomRecord {
	now := time.Now().Truncate(time.Millisecond).UTC()
	return &overlay.RoomRecord{Room: [32]byte{room}, Number: number, Hub: domain, ProviderKey: pub(key("provider " + domain)),
		Made: now, Expires: now.Add(overlay.RoomValidity)}
}

func sealed(r *overlay.RoomRecord) []byte { return overlay.SealRoom(r, key("provider "+r.Hub)) }

func TestRoomRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		made := rapid.Int64Range(0, 1<<47).Draw(t, "made")
		r := &overlay.RoomRecord{
			Era: rapid.Uint32().Draw(t, "era"), Number: rapid.Uint64().Draw(t, "number"),
			Hub:     rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,10}){0,3}`).Draw(t, "domain"),
			Made:    time.UnixMilli(made).UTC(),
			Expires: time.UnixMilli(made + rapid.Int64Range(1, overlay.RoomValidity.Milliseconds()).Draw(t, "validity")).UTC(),
		}
		copy(r.Room[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "room"))
		r.ProviderKey = pub(key("provider " + r.Hub))
		got, err := overlay.OpenRoom(sealed(r))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestOpenRoomRefuses(t *testing.T) {
	good := sealed(hint(1, "hub.example", 3))
	if _, err := overlay.OpenRoom(good); err != nil {
		t.Fatal(err)
	}
	edit := func(fn func(r *overlay.RoomRecord)) []byte {
		r := hint(1, "hub.example", 3)
		fn(r)
		return overlay.SealRoom(r, key("provider hub.example"))
	}
	flipped := bytes.Clone(good)
	flipped[40] ^= 1 // in the number of the term
	for _, c := range []struct {
		why string
		b   []byte
	}{
		{"nothing", nil},
		{"longer than a record", make([]byte, overlay.MaxRoomRecord+1)},
		{"another version", append([]byte{2}, good[1:]...)},
		{"truncated", good[:len(good)-1]},
		{"more follows", append(bytes.Clone(good), 0)},
		{"changed after signing", flipped},
		{"signed by another key than it names", overlay.SealRoom(hint(1, "hub.example", 3), key("mallory"))},
		{"signed without the label", append(bytes.Clone(good[:len(good)-64]), ed25519.Sign(key("provider hub.example"), good[:len(good)-64])...)},
		{"valid for too long", edit(func(r *overlay.RoomRecord) { r.Expires = r.Made.Add(overlay.RoomValidity + time.Millisecond) })},
		{"expires when made", edit(func(r *overlay.RoomRecord) { r.Expires = r.Made })},
		{"expires before it was made", edit(func(r *overlay.RoomRecord) { r.Expires = r.Made.Add(-time.Hour) })},
		{"made beyond all times", edit(func(r *overlay.RoomRecord) {
			r.Made = time.UnixMilli(1 << 49)
			r.Expires = r.Made.Add(time.Hour)
		})},
		{"upper case", edit(func(r *overlay.RoomRecord) { r.Hub = "Hub.example" })},
		{"empty domain", edit(func(r *overlay.RoomRecord) { r.Hub = "" })},
	} {
		if _, err := overlay.OpenRoom(c.b); !errors.Is(err, overlay.ErrRoomRecord) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

func TestRoomValidator(t *testing.T) {
	o, err := overlay.New(config("node.example"))
	if err != nil {
		t.Fatal(err)
	}
	v := overlay.RoomValidator(o)
	place := overlay.RoomKey([32]byte{1})
	edit := func(fn func(r *overlay.RoomRecord)) []byte {
		r := hint(1, "hub.example", 3)
		fn(r)
		return sealed(r)
	}
	if err := v.Validate(place, edit(func(*overlay.RoomRecord) {})); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		why, place string
		value      []byte
	}{
		{"of another room", overlay.RoomKey([32]byte{2}), edit(func(*overlay.RoomRecord) {})},
		{"under no room", "/mimi-room/x", edit(func(*overlay.RoomRecord) {})},
		{"expired", place, edit(func(r *overlay.RoomRecord) {
			r.Made = r.Made.Add(-overlay.RoomValidity - time.Minute)
			r.Expires = r.Made.Add(overlay.RoomValidity)
		})},
		{"made in the future", place, edit(func(r *overlay.RoomRecord) {
			r.Made = r.Made.Add(overlay.ClockSkew + time.Minute)
			r.Expires = r.Made.Add(time.Hour)
		})},
		{"no record", place, []byte("hello")},
	} {
		if err := v.Validate(c.place, c.value); !errors.Is(err, overlay.ErrRoomRecord) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	if _, err := v.Select(place, [][]byte{{1}, nil}); !errors.Is(err, overlay.ErrRoomRecord) {
		t.Errorf("selecting of nothing good: %v", err)
	}
}

// Of one signer a node keeps the newest, in whatever order they come; among signers half
// of the nodes the newest, and the others one that no term changes.
func TestWhatANodeKeeps(t *testing.T) {
	old, next := hint(1, "hub.example", 3), hint(1, "hub.example", 4)
	later := hint(1, "hub.example", 4)
	next.Era, later.Era = 1, 1
	later.Made = later.Made.Add(time.Second)
	list := [][]byte{sealed(old), sealed(next), sealed(later)}
	byTerm, byRank := 0, 0
	for i := range 64 {
		c := config("node.example")
		c.NodeKey = key("node " + string(rune('A'+i)))
		o, err := overlay.New(c)
		if err != nil {
			t.Fatal(err)
		}
		v := overlay.RoomValidator(o)
		pick := func(values ...[]byte) []byte {
			j, err := v.Select(overlay.RoomKey([32]byte{1}), values)
			if err != nil {
				t.Fatal(err)
			}
			return values[j]
		}
		for a := range list {
			for b := range a {
				if !bytes.Equal(pick(list[a], list[b]), list[a]) || !bytes.Equal(pick(list[b], list[a]), list[a]) {
					t.Errorf("node %d prefers record %d to %d", i, b, a)
				}
			}
		}
		loud := sealed(hint(1, "mallory.example", 1<<63))
		first, second := pick(list[0], loud), pick(loud, list[0])
		if !bytes.Equal(first, second) {
			t.Errorf("node %d: the order decides", i)
		}
		if bytes.Equal(first, loud) {
			byTerm++
		} else {
			byRank++
		}
	}
	if byTerm < 32 || byRank < 8 {
		t.Errorf("%d nodes keep the highest term, %d something else", byTerm, byRank)
	}
}

func FuzzOpenRoom(f *testing.F) {
	f.Add(sealed(hint(1, "hub.example", 3)))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := overlay.OpenRoom(b)
		if err != nil {
			if !errors.Is(err, overlay.ErrRoomRecord) {
				t.Fatal(err)
			}
			return
		}
		again := overlay.SealRoom(r, key("provider hub.example"))
		if !bytes.Equal(again[:len(again)-64], b[:len(b)-64]) {
			t.Fatalf("read %x, would write %x", b, again)
		}
	})
}
