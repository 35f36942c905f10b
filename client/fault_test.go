package client_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
)

// TestCrash has Alice's device fail at each of its transactions in turn, before
// or after the deed, in a conversation that creates a room, adds Bob, talks both
// ways, and adds Carol. Started again each time, everybody ends with the same
// messages, each once.
func TestCrash(t *testing.T) {
	steps, stride := 0, 1
	if testing.Short() {
		stride = 4
	}
	for _, happened := range []bool{false, true} {
		for at := 1; at < 100; at += stride {
			done := false
			t.Run(fmt.Sprintf("at %d, happened %v", at, happened), func(t *testing.T) {
				done = crash(t, at, happened)
			})
			if t.Failed() {
				return
			}
			steps++
			if done {
				break
			}
		}
	}
	if steps < 40/stride {
		t.Errorf("only %d steps", steps)
	}
}

// crash returns true if the conversation ended before the failure.
func crash(t *testing.T, at int, happened bool) bool {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "chicago.example")
	for _, p := range []*person{alice, bob, carol} {
		f.ready(p)
	}
	alice.store.mu.Lock()
	alice.store.failAt, alice.store.happened = alice.store.updates+at, happened
	alice.store.mu.Unlock()
	crashed := false
	// retry does something until it has succeeded, in as many lives as it takes.
	retry := func(do func() error) {
		t.Helper()
		for range 20 {
			err := do()
			if err == nil {
				return
			}
			if !errors.Is(err, client.ErrStopped) && !errors.Is(err, client.ErrStorage) {
				t.Fatalf("Alice: %v", err)
			}
			if end := alice.kill(); !errors.Is(end, client.ErrStorage) {
				t.Fatalf("Run ended with %v", end)
			}
			crashed = true
			alice.store = alice.store.reopened()
			alice.open()
			alice.run()
		}
		t.Fatal("Alice does not get on")
	}
	// revive starts Alice again if she has crashed in the background.
	revive := func() {
		select {
		case err := <-alice.ended:
			if !errors.Is(err, client.ErrStorage) {
				t.Fatalf("Run ended with %v", err)
			}
			crashed = true
			alice.store = alice.store.reopened()
			alice.open()
			alice.run()
		default:
		}
	}
	var u uri.Room
	retry(func() error {
		// A creation that was cut short goes on by itself.
		list, err := alice.c.Rooms(ctx10(t))
		if err != nil {
			return err
		}
		if len(list) > 0 {
			u = list[0].URI
			return nil
		}
		u, err = alice.c.CreateRoom(ctx10(t), "clubhouse")
		return err
	})
	add := func(who *person) {
		t.Helper()
		retry(func() error { return alice.c.AddUser(ctx10(t), u, who.user()) })
		eventually(t, who.name+" joins", func() bool { revive(); return who.state(u) == "joined" })
	}
	say := func(text string) {
		t.Helper()
		retry(func() error {
			// Durable or not? A person would look, too.
			ms, err := alice.c.Messages(u, 0, 100)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(ms, func(m client.Message) bool { return m.Text == text }) {
				return nil
			}
			_, err = alice.c.Send(ctx10(t), u, text)
			return err
		})
	}
	hear := func(p *person, want ...string) {
		t.Helper()
		var got []string
		defer func() {
			if t.Failed() {
				s, err := p.c.Verify(ctx10(t), u)
				t.Logf("%s has %q, Alice %q; %+v, %v", p.name, got, alice.texts(u), s, err)
				for len(p.c.Events()) > 0 {
					t.Logf("%T %+v", p.c.Events(), <-p.c.Events())
				}
			}
		}()
		eventually(t, fmt.Sprintf("%s hears %q", p.name, want), func() bool {
			revive()
			got = p.texts(u)
			return slices.Equal(got, want)
		})
	}
	add(bob)
	say("one")
	hear(bob, "alice: one")
	hear(alice, "alice: one")
	bob.send(u, "two")
	hear(alice, "alice: one", "bob: two")
	say("three")
	// Or it could wait behind Carol's coming, and she would read it, too.
	hear(bob, "alice: one", "bob: two", "alice: three")
	add(carol)
	say("four")
	hear(carol, "alice: four")
	hear(bob, "alice: one", "bob: two", "alice: three", "alice: four")
	hear(alice, "alice: one", "bob: two", "alice: three", "alice: four")
	agreeWhile(u, revive, alice, bob, carol) // a last write may be the one that ends it
	return !crashed
}

// TestKilled kills everybody in turn while they talk.
func TestKilled(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	var fromAlice, fromBob []string
	for i := range 10 {
		alice.send(u, fmt.Sprint("a", i))
		fromAlice = append(fromAlice, fmt.Sprint("alice: a", i))
		if i%2 == 0 {
			alice.restart()
		} else {
			bob.restart()
		}
		bob.send(u, fmt.Sprint("b", i))
		fromBob = append(fromBob, fmt.Sprint("bob: b", i))
	}
	for _, p := range []*person{alice, bob} {
		p.hears(u, append(fromAlice, fromBob...)...)
		got := p.texts(u)
		if len(got) != 20 {
			t.Errorf("%s has %d messages: %q", p.name, len(got), got)
		}
		for who, want := range map[string][]string{"alice": fromAlice, "bob": fromBob} {
			mine := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return !strings.HasPrefix(s, who) })
			if !slices.Equal(mine, want) {
				t.Errorf("%s has %s's messages as %q", p.name, who, mine)
			}
		}
	}
	agree(u, alice, bob)
}

// TestRetry: a provider that answers 429, 503 or breaks off, before or after the
// deed, delays and changes nothing.
func TestRetry(t *testing.T) {
	f := newFake(t)
	var n atomic.Int64
	spoil := func(r *http.Request) *clientapi.Problem {
		if r.Method != "POST" || strings.HasSuffix(r.URL.Path, "/accounts") || strings.HasSuffix(r.URL.Path, "/claim") {
			return nil
		}
		switch n.Add(1) % 5 {
		case 0:
			return refused(429, clientapi.CodeTooMany, "too many")
		case 1:
			return refused(503, clientapi.CodeUnavailable, "restarting")
		case 2:
			return refused(502, clientapi.CodeUnreachable, "hub away")
		}
		return nil
	}
	f.mu.Lock()
	f.refuse, f.after = spoil, spoil
	f.mu.Unlock()
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	var want []string
	for i := range 5 {
		alice.send(u, fmt.Sprint(i))
		want = append(want, fmt.Sprint("alice: ", i))
	}
	bob.hears(u, want...)
	if got := bob.texts(u); !slices.Equal(got, want) {
		t.Errorf("Bob has %q", got)
	}
	alice.hears(u, want...)
	agree(u, alice, bob)
}

// TestRetryAfter: a client waits as long as it is told to.
func TestRetryAfter(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	u := alice.create("clubhouse")
	var tries atomic.Int64
	f.mu.Lock()
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if strings.HasSuffix(r.URL.Path, "/messages") {
			if tries.Add(1) == 1 {
				p := refused(429, clientapi.CodeTooMany, "slowly")
				p.Retry = time.Hour.Milliseconds()
				return p
			}
		}
		return nil
	}
	f.mu.Unlock()
	alice.send(u, "patience")
	eventually(t, "an attempt", func() bool { return tries.Load() == 1 })
	time.Sleep(100 * time.Millisecond)
	if n := tries.Load(); n != 1 {
		t.Errorf("%d attempts within the hour", n)
	}
}

// TestRefused: what the provider refuses for good is given up and told.
func TestRefused(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	f.mu.Lock()
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if strings.HasSuffix(r.URL.Path, "/messages") || strings.HasSuffix(r.URL.Path, "/updates") {
			return refused(403, clientapi.CodeForbidden, "you may not")
		}
		return nil
	}
	f.mu.Unlock()
	i := alice.send(u, "x")
	got := await(alice, func(s client.SendState) bool { return s.State == client.StateFailed })
	var p *clientapi.Problem
	if got.Index != i || !errors.As(got.Err, &p) || p.Code != clientapi.CodeForbidden {
		t.Errorf("told %+v", got)
	}
	if err := alice.c.RemoveUser(ctx10(t), u, bob.user()); !errors.As(err, &p) || p.Code != clientapi.CodeForbidden {
		t.Errorf("removing: %v", err)
	}
	f.mu.Lock()
	f.refuse = nil
	f.mu.Unlock()
	alice.send(u, "y")
	bob.hears(u, "alice: y")
	eventually(t, "Alice knows that it arrived", func() bool { // bob may hear of it first
		return slices.Equal(alice.texts(u), []string{"alice: x (failed)", "alice: y"})
	})
}

// TestDoubled: every event comes twice.
func TestDoubled(t *testing.T) {
	f := newFake(t)
	f.doubled = true
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "once")
	bob.send(u, "twice")
	for _, p := range []*person{alice, bob} {
		p.hears(u, "alice: once", "bob: twice")
		if got := p.texts(u); len(got) != 2 {
			t.Errorf("%s has %q", p.name, got)
		}
		for len(p.c.Events()) > 0 {
			if n, ok := (<-p.c.Events()).(client.Problem); ok {
				t.Errorf("%s is told of %v", p.name, n.Err)
			}
		}
	}
	agree(u, alice, bob)
}

// TestDurableFirst: at the moment at which a submission reaches the provider, it
// is in the storage, with its nonce, and so is the group's ratchet after it.
func TestDurableFirst(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(bob)
	checked := 0
	ratchets := map[string]bool{}
	f.mu.Lock()
	token := f.users[alice.user().String()].token
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if r.Method != "POST" || !strings.HasPrefix(r.URL.Path, "/v1/rooms") || !strings.HasSuffix(r.Header.Get("Authorization"), token) {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		var sent struct{ Nonce string }
		if err := json.Unmarshal(b, &sent); err != nil || len(sent.Nonce) < 16 {
			t.Errorf("%s without a nonce: %v", r.URL.Path, err)
		}
		found, state := false, ""
		alice.store.View(func(tx client.Tx) error {
			for k, v := range alice.store.data {
				if strings.HasPrefix(k, "outbox\x00") || strings.HasPrefix(k, "wish\x00") {
					found = found || bytes.Contains(v, []byte(sent.Nonce))
				}
				if strings.HasPrefix(k, "mls/") && strings.Contains(k, "\x00c/") && strings.HasSuffix(k, "/a") {
					state += fmt.Sprintf("%x ", sha256.Sum256(v))
				}
			}
			return nil
		})
		if !found {
			t.Errorf("%s came before it was durable", r.URL.Path)
		}
		if strings.HasSuffix(r.URL.Path, "/messages") {
			if ratchets[state] {
				t.Error("a message was sent and the ratchet in the storage has not moved")
			}
			ratchets[state] = true
		}
		checked++
		return nil
	}
	f.mu.Unlock()
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "one")
	alice.send(u, "two")
	bob.hears(u, "alice: one", "alice: two")
	f.mu.Lock()
	defer f.mu.Unlock()
	if checked != 4 {
		t.Errorf("looked at %d submissions", checked)
	}
}

// TestReordered: entries come late, out of order, before the Welcome, or not at
// all; the log has them.
func TestReordered(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	bob.receipts(client.Receipts{}) // so that the log has what is sent only
	u := alice.create("clubhouse")
	alice.add(u, bob)
	f.mu.Lock()
	f.holdEntries = true
	f.mu.Unlock()
	for i := range 6 {
		alice.send(u, fmt.Sprint(i))
	}
	var x *fakeRoom
	eventually(t, "the hub has all", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, x = range f.rooms {
		}
		return len(x.entries) == 8
	})
	f.mu.Lock()
	for _, i := range []int{7, 4, 5, 4, 2} { // 3 and 6 are lost
		f.tellEntry(f.users[bob.user().String()], x, i)
	}
	f.mu.Unlock()
	want := []string{"alice: 0", "alice: 1", "alice: 2", "alice: 3", "alice: 4", "alice: 5"}
	eventually(t, "Bob has all in order", func() bool { return slices.Equal(bob.texts(u), want) })
	if err := alice.c.Sync(ctx10(t)); err != nil { // Alice is told nothing at all
		t.Fatal(err)
	}
	if got := alice.texts(u); !slices.Equal(got, want) {
		t.Errorf("Alice has %q", got)
	}
	agree(u, alice, bob)
}

// TestUnknownCursor: the provider was restored from a backup and tells all anew.
func TestUnknownCursor(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "one")
	bob.hears(u, "alice: one")
	bob.kill()
	f.mu.Lock()
	b := f.users[bob.user().String()]
	b.feed = slices.DeleteFunc(b.feed, func(e fakeEvent) bool { return e.kind == clientapi.EventWelcome })[:1]
	f.mu.Unlock()
	bob.restart()
	alice.send(u, "two")
	bob.hears(u, "alice: one", "alice: two")
	if got := bob.texts(u); len(got) != 2 {
		t.Errorf("Bob has %q", got)
	}
}

// TestLongPiece: a device that was away gets more at once than a transaction of its
// storage holds, and follows all of it; also when it is stopped in between.
func TestLongPiece(t *testing.T) {
	f := newFake(t)
	f.piece = 1000
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "one")
	bob.hears(u, "alice: one")
	bob.kill()
	want := []string{"alice: one"}
	for i := range 120 {
		alice.send(u, fmt.Sprint(i))
		want = append(want, fmt.Sprint("alice: ", i))
	}
	alice.hears(u, want...)
	f.mu.Lock()
	b := f.users[bob.user().String()]
	b.feed = slices.DeleteFunc(b.feed, func(e fakeEvent) bool { return e.kind == clientapi.EventEntries })
	f.mu.Unlock()
	bob.store = bob.store.reopened()
	bob.store.most, bob.store.failAt = 80<<10, 3 // before the log's end
	bob.patient = true                           // transactions are counted
	bob.open()
	bob.run()
	if err := <-bob.ended; !errors.Is(err, errDisk) {
		t.Fatalf("the storage failed: %v", err)
	}
	bob.stop()
	bob.stop = nil
	if got := bob.texts(u); len(got) == len(want) || !slices.Equal(got, want[:len(got)]) {
		t.Errorf("when the storage failed, Bob had %q", got)
	}
	bob.restart()
	bob.hears(u, want...)
	if got := bob.texts(u); !slices.Equal(got, want) {
		t.Errorf("Bob has %q", got)
	}
	if n := bob.store.updates; n > 20 {
		t.Errorf("%d transactions for the rest", n)
	}
	agree(u, alice, bob)
}

// TestOwnProviderSilent: the user is told that the own provider does not answer, and that
// it does again; not when it only ends a stream.
func TestOwnProviderSilent(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	u := alice.create("clubhouse")
	streams := func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.calls["GET /v1/events"] }
	n := streams()
	f.server.CloseClientConnections()
	eventually(t, "another stream", func() bool { return streams() > n })
	alice.send(u, "a stream that ended is nothing to speak of")
	await(alice, func(s client.SendState) bool { return s.State == client.StateFinal })
	for len(alice.c.Events()) > 0 {
		if s, ok := (<-alice.c.Events()).(client.ProviderSilent); ok {
			t.Errorf("told %+v", s)
		}
	}
	f.mu.Lock()
	f.refuse = func(*http.Request) *clientapi.Problem { return refused(503, clientapi.CodeUnavailable, "gone") }
	f.mu.Unlock()
	f.server.CloseClientConnections()
	await(alice, func(s client.ProviderSilent) bool { return s.Silent })
	f.mu.Lock()
	f.refuse = nil
	f.mu.Unlock()
	if s := await(alice, func(client.ProviderSilent) bool { return true }); s.Silent {
		t.Error("told twice that it is gone")
	}
}
