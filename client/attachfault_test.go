package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
)

// TestAttachCrash has Alice attach a file while her storage, the files that she keeps, or her
// provider fail at each of their steps in turn, before or after the deed. When she looks
// afterwards and sends what is missing, as another file, nothing was sent by half or twice,
// whatever Bob fetches is what she gave, no key was used for two files, and nothing is left.
func TestAttachCrash(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 3
	}
	for _, where := range []string{"storage", "files", "provider"} {
		steps := 0
		for _, happened := range []bool{false, true} {
			for at := 1; at < 60; at += stride {
				done := false
				t.Run(fmt.Sprintf("%s at %d, happened %v", where, at, happened), func(t *testing.T) { done = attachCrash(t, where, at, happened) })
				if t.Failed() {
					return
				}
				if done {
					break
				}
				steps++
			}
		}
		if least := map[string]int{"storage": 8, "files": 16, "provider": 6}[where]; steps < least/stride {
			t.Errorf("%s: only %d steps", where, steps)
		}
	}
}

// attachCrash returns true if all was done before the failure.
func attachCrash(t *testing.T, where string, at int, happened bool) bool {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	for _, p := range []*person{alice, bob} {
		p.spool = newSpool(t)
		p.restart()
	}
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "one")
	bob.hears(u, "alice: one")
	alice.hears(u, "alice: one")

	var failed atomic.Bool // the fake provider's goroutines set it, too
	kept := alice.spool    // in the first life
	f.mu.Lock()
	f.assets.cut = 1000 // an upload breaks off in the middle, besides
	switch where {
	case "storage":
		alice.store.mu.Lock()
		alice.store.failAt, alice.store.happened = alice.store.updates+at, happened
		alice.store.mu.Unlock()
	case "files":
		alice.spool.mu.Lock()
		alice.spool.failAt, alice.spool.happened = alice.spool.ops+at, happened
		alice.spool.mu.Unlock()
	case "provider":
		calls := 0
		spoil := func(r *http.Request) *clientapi.Problem {
			if !strings.HasPrefix(r.URL.Path, "/v1/assets") && !strings.HasSuffix(r.URL.Path, "/messages") && r.URL.Path != "/at/atlanta.example/v1/provider" {
				return nil
			}
			if calls++; calls == at {
				failed.Store(true)
				return refused(503, clientapi.CodeUnavailable, "restarting")
			}
			return nil
		}
		if happened {
			f.after = spoil
		} else {
			f.refuse = spoil
		}
	}
	f.mu.Unlock()

	// revive starts Alice's device again if it has ended, as its user would.
	revive := func() {
		select {
		case err := <-alice.ended:
			if !errors.Is(err, client.ErrStorage) {
				t.Fatalf("Run ended with %v", err)
			}
			alice.store, alice.spool = alice.store.reopened(), alice.spool.reopened()
			alice.open()
			alice.run()
			failed.Store(true)
		default:
		}
	}
	// sent are the files that Alice's messages say that she has sent, by their names.
	sent := func() (names []string) {
		list, err := alice.c.Messages(u, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			for _, a := range client.Attachments(m.Content) {
				names = append(names, a.Name)
			}
		}
		return names
	}
	files := map[string][]byte{"first": bytes.Repeat([]byte("1"), 3000), "second": bytes.Repeat([]byte("2"), 3000)}
	attach := func(name string) error {
		i, err := alice.c.Attach(ctx10(t), u, client.Outgoing{Name: name, MediaType: "text/plain", Content: bytes.NewReader(files[name]), Size: 3000})
		if err == nil {
			if list, err := alice.c.Messages(u, i, 1); err != nil || len(list) != 1 || len(client.Attachments(list[0].Content)) != 1 {
				t.Errorf("message %d is %+v, %v", i, list, err)
			}
		}
		return err
	}
	err := attach("first")
	if err != nil {
		failed.Store(true)
		t.Logf("Alice is told: %v", err)
	}
	// What is on its way goes out by itself, in this life or the next.
	settled := func() {
		t.Helper()
		eventually(t, "nothing is on its way", func() bool {
			revive()
			if _, err := alice.c.Rooms(ctx10(t)); err != nil {
				return false // it is about to end
			}
			alice.store.mu.Lock()
			defer alice.store.mu.Unlock()
			for k := range alice.store.data {
				if strings.HasPrefix(k, "attach\x00") || strings.HasPrefix(k, "outbox\x00") {
					return false
				}
			}
			return true
		})
	}
	settled()
	first := slices.Contains(sent(), "first")
	if !first && (err == nil || errors.Is(err, client.ErrPending)) {
		t.Errorf("Alice was told %v, and it is not there", err)
	}
	if err := attach("second"); err != nil {
		// The storage may have failed with the last write of the first.
		t.Logf("Alice is told, of the second: %v", err)
		failed.Store(true)
		if !errors.Is(err, client.ErrStopped) && !errors.Is(err, client.ErrStorage) && !errors.Is(err, errSpool) && !errors.Is(err, client.ErrPending) {
			t.Fatal(err)
		}
		settled()
		if !errors.Is(err, client.ErrPending) && !slices.Contains(sent(), "second") {
			if err := attach("second"); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{"second"}
	if first {
		want = []string{"first", "second"}
	}
	var got []client.Message
	eventually(t, fmt.Sprintf("Bob has %q", want), func() bool {
		revive()
		list, err := bob.c.Messages(u, 0, 100)
		got = list[min(1, len(list)):]
		return err == nil && len(got) == len(want)
	})
	keys := map[string]bool{}
	for i, m := range got {
		a := client.Attachments(m.Content)
		if len(a) != 1 || a[0].Name != want[i] {
			t.Fatalf("Bob has %+v, not %s", a, want[i])
		}
		var b bytes.Buffer
		if _, err := bob.c.FetchAttachment(ctx10(t), client.Fetch{Room: u, Index: m.Index}, &b); err != nil || !bytes.Equal(b.Bytes(), files[want[i]]) {
			t.Errorf("Bob fetches %d octets of %s: %v", b.Len(), want[i], err)
		}
		for _, p := range m.Content.Parts() {
			if x, ok := p.Content.(content.ExternalPart); ok {
				keys[string(x.Key)] = true
			}
		}
	}
	if len(keys) != len(want) {
		t.Errorf("%d keys for %d files", len(keys), len(want))
	}
	mine := sent()
	slices.Sort(mine)
	if !slices.Equal(mine, want) {
		t.Errorf("Alice has %q", mine)
	}
	alice.restart() // a file that could not be removed goes at the next start
	eventually(t, "nothing is left", func() bool { return len(alice.spool.left()) == 0 })
	agree(u, alice, bob)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	return !failed.Load() && (kept.failAt == 0 || kept.ops < kept.failAt)
}
