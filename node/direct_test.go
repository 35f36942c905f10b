package node_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/uri"
)

// TestDirectRace: two people at two providers each make their direct room at once and write
// in it. One room is left, at one hub, and each message is there once, on both sides.
func TestDirectRace(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses...).must()
	ctx := t.Context()
	alice, bob := a.user("alice"), b.user("bob")
	people := []*client.Client{alice, bob}
	for i, c := range people {
		if err := c.Accept(ctx, people[1-i].User()); err != nil {
			t.Fatal(err)
		}
	}
	rooms := make([]uri.Room, 2)
	var all sync.WaitGroup
	for i, c := range people {
		all.Go(func() {
			// Before the consent has got there it is refused.
			within(t, "there is a direct room", func() (made bool) {
				u, err := c.Direct(ctx, people[1-i].User())
				rooms[i] = u
				return err == nil
			})
			u := rooms[i]
			for n := range 5 {
				if _, err := c.Send(ctx, u, fmt.Sprintf("%s says %d", c.User().Name(), n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	defer func() {
		for _, c := range people {
			list, err := c.Rooms(ctx)
			for _, r := range list {
				said, _ := c.Messages(r.URI, 0, 100)
				if t.Failed() {
					t.Logf("%s has %s, %s %q, successor %q, %d here, %v, %v", c.User(), r.URI, r.State, r.Reason, r.Successor, len(said), r.Participants, err)
				}
				for _, m := range said {
					if t.Failed() {
						t.Logf("  %s %q %s in %q", m.State, m.Text, m.Sender, m.Room)
					}
				}
			}
		}
	}()
	var want []string
	for n := range 5 {
		want = append(want, fmt.Sprintf("alice says %d", n), fmt.Sprintf("bob says %d", n))
	}
	slices.Sort(want)
	for i, c := range people {
		// By the name that was first known here, and by that of the room that is left. The
		// other's may have ended before it came here.
		left, err := c.Direct(ctx, people[1-i].User())
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range []uri.Room{rooms[i], left} {
			var got []string
			within(t, fmt.Sprintf("%s has read %q", c.User(), want), func() bool {
				got = nil
				list, err := c.Conversation(u)
				for _, s := range list {
					if s.State == client.StateFinal {
						got = append(got, s.Text)
					}
				}
				slices.Sort(got)
				return err == nil && slices.Equal(got, want)
			})
		}
		within(t, fmt.Sprintf("%s has one room", c.User()), func() bool {
			list, err := c.Rooms(ctx)
			live := 0
			for _, r := range list {
				if r.Direct == people[1-i].User() && r.State == "joined" {
					live++
				}
			}
			return err == nil && live == 1
		})
	}
	x, errx := alice.Direct(ctx, bob.User())
	y, erry := bob.Direct(ctx, alice.User())
	if errx != nil || erry != nil || x != y {
		t.Fatalf("alice has %s, %v, bob %s, %v", x, errx, y, erry)
	}
	// What was said in the one that yielded is reported to who ordered that.
	for i, c := range people {
		list, err := c.Messages(x, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if m.Sender == c.User() {
				continue
			}
			hub, err := c.Report(ctx, x, client.Report{Messages: []uint64{m.Index}})
			where := m.Room
			if where.IsZero() {
				where = x
			}
			if err != nil || hub != where.Provider().Domain() {
				t.Errorf("%s reports %q, said in %s, to %q: %v", people[i].User(), m.Text, where, hub, err)
			}
		}
	}
	if rooms[0] == rooms[1] {
		t.Log("the one was faster than the other: no race")
	}
	within(t, "they agree", func() bool {
		m, errm := alice.Verify(ctx, x)
		n, errn := bob.Verify(ctx, x)
		return errm == nil && errn == nil && m == n
	})
}
