package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

func (p *person) types(u uri.Room, on bool) {
	p.t.Helper()
	if err := p.c.SetTyping(ctx10(p.t), u, on); err != nil {
		p.t.Fatal(err)
	}
}

// typed are the typing notices that came until a message of that text did.
func (p *person) typed(text string) (out []string) {
	p.t.Helper()
	n := len(p.seen)
	await(p, func(m client.MessageReceived) bool { return m.Message.Text == text })
	for _, x := range p.seen[n:] {
		if y, ok := x.(client.Typing); ok {
			out = append(out, fmt.Sprint(y.User.Name(), y.On))
		}
	}
	return out
}

// TestTyping: it is told as it happens, seldom enough, and is in nobody's storage, log or
// cursor.
func TestTyping(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "atlanta.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.add(u, carol)
	for _, p := range []*person{alice, bob, carol} {
		p.receipts(client.Receipts{})
	}
	agree(u, alice, bob, carol)
	kept := func() (n int) {
		for _, p := range []*person{alice, bob, carol} {
			p.store.mu.Lock()
			n += p.store.updates
			p.store.mu.Unlock()
		}
		return n
	}
	before := kept()
	eventually(t, "nothing is left to be stored", func() bool {
		was := before
		time.Sleep(50 * time.Millisecond)
		before = kept()
		return was == before
	})
	entries := f.entries(u)
	alice.types(u, false) // she did not
	for range 20 {
		alice.types(u, true) // at each key
	}
	for _, p := range []*person{bob, carol} {
		if n := await(p, func(client.Typing) bool { return true }); n != (client.Typing{Room: u, User: alice.user(), On: true}) {
			t.Errorf("%s is told %+v", p.name, n)
		}
	}
	eventually(t, "it is said that it ended", func() bool { // the signal before may still be on its way
		alice.types(u, false)
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.signalled == 2
	})
	await(bob, func(n client.Typing) bool { return !n.On })
	if after := kept(); after != before {
		t.Errorf("%d transactions of the devices' storages", after-before)
	}
	if n := f.entries(u); n != entries {
		t.Errorf("the log has %d entries, not %d", n, entries)
	}
	alice.ahead.Add(int64(client.TypingFor))
	eventually(t, "it is said that it begins again", func() bool {
		alice.types(u, true)
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.signalled == 3
	})
	await(bob, func(n client.Typing) bool { return n.On })
	alice.send(u, "done")
	if got := bob.typed("done"); len(got) > 0 {
		t.Errorf("bob is told %v more", got)
	}
	f.mu.Lock()
	n := f.signalled
	f.mu.Unlock()
	if n != 3 {
		t.Errorf("%d signals were sent", n)
	}

	// A provider that refuses is left alone, and nobody is bothered.
	f.mu.Lock()
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if strings.HasSuffix(r.URL.Path, "/ephemeral") {
			return refused(429, clientapi.CodeTooMany, "no more")
		}
		return nil
	}
	f.mu.Unlock()
	alice.ahead.Add(int64(client.TypingFor))
	for range 10 {
		alice.types(u, true)
		time.Sleep(5 * time.Millisecond)
	}
	f.mu.Lock()
	calls := f.calls["POST /v1/rooms/{room}/ephemeral"]
	f.mu.Unlock()
	if calls != 4 {
		t.Errorf("%d calls", calls)
	}
	for len(alice.c.Events()) > 0 {
		if p, ok := (<-alice.c.Events()).(client.Problem); ok {
			t.Errorf("alice is bothered: %v", p.Err)
		}
	}
}

// TestTypingEndsAtOnce: that it ended is told, too, where that it began is still on its way.
func TestTypingEndsAtOnce(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	var said atomic.Int32
	f.mu.Lock()
	f.signal = func(data []byte) [][]byte { said.Add(1); return [][]byte{data} }
	f.mu.Unlock()
	alice.types(u, true)
	alice.types(u, false)
	eventually(t, "both are said", func() bool { return said.Load() == 2 })
	await(bob, func(n client.Typing) bool { return !n.On })
}

// TestTypingHostile: what a provider makes of signals: again, late, changed, many, of another
// room or epoch; and members who may not speak.
func TestTypingHostile(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "atlanta.example")
	u, err := alice.c.CreateRoomAs(ctx10(t), client.NewRoom{Name: "stage", Roles: stage(t)})
	if err != nil {
		t.Fatal(err)
	}
	alice.add(u, bob)
	other := alice.create("other")
	alice.add(other, bob)
	var caught [][]byte
	f.mu.Lock()
	f.signal = func(data []byte) [][]byte { caught = append(caught, slices.Clone(data)); return nil }
	f.mu.Unlock()
	catch := func(p *person, u uri.Room, on bool) []byte {
		t.Helper()
		p.ahead.Add(int64(client.TypingFor)) // so that it is said
		f.mu.Lock()
		n := len(caught)
		f.mu.Unlock()
		p.types(u, on)
		var out []byte
		eventually(t, "it is caught", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(caught) > n {
				out = caught[n]
			}
			return out != nil
		})
		time.Sleep(time.Millisecond)
		return out
	}
	marks := 0
	tell := func(id uri.Room, list ...[]byte) []string {
		t.Helper()
		f.mu.Lock()
		for _, b := range list {
			f.tellSignal(room.IDOf([]byte(id.String())), b)
		}
		f.mu.Unlock()
		marks++
		mark := fmt.Sprint("mark ", marks)
		alice.send(u, mark)
		return bob.typed(mark)
	}
	on := catch(alice, u, true)
	elsewhere := catch(alice, other, true)
	changed := slices.Clone(on)
	changed[len(changed)-1] ^= 1
	off := catch(alice, u, false)
	again := catch(alice, u, true)
	off2, on2, on3 := catch(alice, u, false), catch(alice, u, true), catch(alice, u, true)
	for _, x := range []struct {
		why  string
		room uri.Room
		data [][]byte
		want []string
	}{
		{"changed", u, [][]byte{changed, {}, {1}, make([]byte, 4096)}, nil},
		{"of another room", u, [][]byte{elsewhere}, nil},
		{"to another room", other, [][]byte{on}, nil},
		{"as it was", u, [][]byte{on}, []string{"alicetrue"}},
		{"again and again", u, [][]byte{on, on, on, on}, nil},
		{"that it ended", u, [][]byte{off}, []string{"alicefalse"}},
		{"the one before, once more", u, [][]byte{on, off}, nil},
		{"the next", u, [][]byte{again}, []string{"alicetrue"}},
		{"too many of the same", u, [][]byte{off2, on2, on3}, []string{"alicefalse", "alicetrue"}},
	} {
		if got := tell(x.room, x.data...); !slices.Equal(got, x.want) {
			t.Errorf("%s: bob is told %v, expected %v", x.why, got, x.want)
		}
	}
	// A member with another clock is not heard at all, nor one that may not speak.
	alice.ahead.Add(int64(time.Hour))
	if got := tell(u, catch(alice, u, false)); got != nil {
		t.Errorf("a clock that is an hour ahead: %v", got)
	}
	alice.ahead.Add(-int64(time.Hour))
	if err := bob.c.SetTyping(ctx10(t), u, true); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "lacks "+policy.SendMessage.String()) {
		t.Errorf("a guest types: %v", err)
	}
	f.mu.Lock()
	n := len(caught)
	f.mu.Unlock()
	if err := bob.c.TypeUnjudged(ctx10(t), u); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the guest's is caught", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(caught) > n })
	f.mu.Lock()
	f.tellSignal(room.IDOf([]byte(u.String())), caught[n])
	f.mu.Unlock()
	bob.hears(u, fmt.Sprintf("alice: mark %d", marks))
	alice.send(u, "to herself")
	await(bob, func(m client.MessageReceived) bool { return m.Message.Text == "to herself" })
	for len(alice.c.Events()) > 0 {
		if n, ok := (<-alice.c.Events()).(client.Typing); ok {
			t.Errorf("alice is told %+v of a guest", n)
		}
	}
	// An epoch later nothing of it counts, at those who came then either.
	stale := catch(alice, u, true)
	alice.add(u, carol)
	agree(u, alice, bob, carol)
	if got := tell(u, stale); got != nil {
		t.Errorf("of the epoch before: %v", got)
	}
	if got := carol.typed(fmt.Sprint("mark ", marks)); got != nil {
		t.Errorf("carol is told %v of before she came", got)
	}
	if got := tell(u, catch(alice, u, false), catch(alice, u, true)); !slices.Equal(got, []string{"alicefalse", "alicetrue"}) {
		t.Errorf("in the new epoch: %v", got)
	}
}
