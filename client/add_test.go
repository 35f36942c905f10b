package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
)

// TestAddUsers: five are added, of whom one did not consent, one's provider is away, and one
// has no KeyPackage. The others get in; who is away is tried again, and who has no
// KeyPackage takes part without a device, which comes in by itself.
func TestAddUsers(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	bob, carol, dan, erin := f.person("bob", "biloxi.example"), f.person("carol", "chicago.example"), f.person("dan", "biloxi.example"), f.person("erin", "biloxi.example")
	u := alice.create("clubhouse")
	for _, p := range []*person{bob, carol, dan, erin} {
		f.ready(p)
	}
	var away atomic.Bool
	away.Store(true)
	f.mu.Lock()
	f.strict = true
	for _, p := range []*person{bob, carol, erin} {
		f.grants[alice.user().String()+" "+p.user().String()] = true
	}
	e := f.users[erin.user().String()]
	e.packages, e.last = nil, nil
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if !away.Load() || !strings.HasSuffix(r.URL.Path, "/keypackages/claim") {
			return nil
		}
		b, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(b))
		n := new(clientapi.ClaimKeyPackages)
		if json.Unmarshal(b, n) == nil && bytes.Contains(n.Request, []byte(carol.user().String())) {
			return &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Detail: "chicago.example does not answer"}
		}
		return nil
	}
	f.mu.Unlock()
	all := []uri.User{bob.user(), carol.user(), dan.user(), erin.user(), alice.user()}
	got, err := alice.c.AddUsers(ctx10(t), u, all)
	if err != nil {
		t.Fatal(err)
	}
	want := []client.State{client.AddIn, client.AddPending, client.AddRefused, client.AddListed, client.AddIn}
	for i, x := range got {
		if x.User != all[i] || x.State != want[i] {
			t.Errorf("%s: %s, %v; %s expected", x.User, x.State, x.Err, want[i])
		}
	}
	if !errors.Is(got[2].Err, client.ErrNoConsent) {
		t.Errorf("dan: %v", got[2].Err)
	}
	pending := func() []uri.User {
		r, err := alice.c.FindRoom(ctx10(t), u.String())
		if err != nil {
			t.Fatal(err)
		}
		return r.Pending
	}
	if p := pending(); !slices.Equal(p, []uri.User{carol.user()}) {
		t.Errorf("pending: %v", p)
	}
	eventually(t, "bob joins", func() bool { return bob.state(u) == "joined" })
	alice.send(u, "carol is late") // what is pending holds nothing up
	bob.hears(u, "alice: carol is late")
	alice.restart() // and outlives the process
	away.Store(false)
	eventually(t, "carol joins", func() bool { return carol.state(u) == "joined" })
	eventually(t, "nobody is pending", func() bool { return len(pending()) == 0 })
	eventually(t, "erin's device comes in by itself", func() bool { return erin.state(u) == "joined" })
	erin.send(u, "here I am")
	alice.hears(u, "alice: carol is late", "erin: here I am")
}

// frozen holds requests back that ask for somebody's KeyPackages, until it is thawed.
type frozen struct {
	who   string
	thaw  chan struct{}
	under http.RoundTripper
}

func (x *frozen) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/keypackages/claim") {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		n := new(clientapi.ClaimKeyPackages)
		if json.Unmarshal(b, n) == nil && bytes.Contains(n.Request, []byte(x.who)) {
			select {
			case <-x.thaw:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
	}
	return x.under.RoundTrip(r)
}

// TestAddUsersFrozen: one of three is of a provider that is frozen in the middle of the add,
// and answers nothing. The others are in at once, and nobody waits longer than they want to.
func TestAddUsersFrozen(t *testing.T) {
	f := newFake(t)
	alice, bob, carol, dan := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "chicago.example"), f.person("dan", "biloxi.example")
	u := alice.create("clubhouse")
	for _, p := range []*person{bob, carol, dan} {
		f.ready(p)
	}
	x := &frozen{who: carol.user().String(), thaw: make(chan struct{}), under: alice.http.Transport}
	alice.kill()
	alice.http.Transport = x
	alice.restart()
	ctx, giveUp := context.WithCancel(ctx10(t))
	defer giveUp()
	go func() {
		// That they are in, their own devices may know before alice's does.
		known := func() bool {
			r, err := alice.c.FindRoom(ctx, u.String())
			return err != nil || slices.Equal(r.Pending, []uri.User{carol.user()})
		}
		for bob.state(u) != "joined" || dan.state(u) != "joined" || !known() {
			time.Sleep(time.Millisecond)
		}
		giveUp()
	}()
	got, err := alice.c.AddUsers(ctx, u, []uri.User{bob.user(), carol.user(), dan.user()})
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	for i, want := range []client.State{client.AddIn, client.AddPending, client.AddIn} {
		if got[i].State != want || (want == client.AddPending) != errors.Is(got[i].Err, context.Canceled) {
			t.Errorf("%s: %s, %v; %s expected", got[i].User, got[i].State, got[i].Err, want)
		}
	}
	r, err := alice.c.FindRoom(ctx10(t), u.String())
	if err != nil || !slices.Equal(r.Pending, []uri.User{carol.user()}) {
		t.Errorf("pending: %v, %v", r.Pending, err)
	}
	close(x.thaw)
	eventually(t, "carol joins", func() bool { return carol.state(u) == "joined" })
}

// TestAddUsersTogether: many are added by few commits, and if all together do not fit, those
// get in who do.
func TestAddUsersTogether(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	u := alice.create("clubhouse")
	var all []uri.User
	for _, n := range []string{"bob", "carol", "dan", "erin", "frank"} {
		p := f.person(n, "biloxi.example")
		f.ready(p)
		all = append(all, p.user())
	}
	if err := alice.c.SetPolicy(ctx10(t), u, &policy.Base{MultiDevice: true, MaxUsers: policy.AtMost(4)}); err != nil {
		t.Fatal(err)
	}
	before, err := alice.c.Verify(ctx10(t), u)
	if err != nil {
		t.Fatal(err)
	}
	got, err := alice.c.AddUsers(ctx10(t), u, all[:3])
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range got {
		if x.State != client.AddIn {
			t.Errorf("%s: %s, %v", x.User, x.State, x.Err)
		}
	}
	after, err := alice.c.Verify(ctx10(t), u)
	if err != nil || after.Epoch-before.Epoch > 3 {
		t.Errorf("%d commits, %v", after.Epoch-before.Epoch, err)
	}
	if got, err = alice.c.AddUsers(ctx10(t), u, all[3:]); err != nil {
		t.Fatal(err)
	}
	for _, x := range got {
		if x.State != client.AddRefused || !strings.Contains(x.Err.Error(), "the room is for at most 4") {
			t.Errorf("%s: %s, %v", x.User, x.State, x.Err)
		}
	}
	if err := alice.c.SetPolicy(ctx10(t), u, &policy.Base{MultiDevice: true, MaxUsers: policy.AtMost(5)}); err != nil {
		t.Fatal(err)
	}
	if got, err = alice.c.AddUsers(ctx10(t), u, all[3:]); err != nil {
		t.Fatal(err)
	}
	in := 0
	for _, x := range got {
		if x.State == client.AddIn {
			in++
		}
	}
	if in != 1 {
		t.Errorf("one of two fits: %+v", got)
	}
}

// TestTreesFit: a commit brings in users of the hub's provider and of others, unless the tree
// is so large that the hub could not keep it for both.
func TestTreesFit(t *testing.T) {
	for _, x := range []struct {
		own, others bool
		leaves      int
		want        bool
	}{{true, true, 2000, true}, {true, true, 2001, false}, {true, false, 10_000, true}, {false, true, 10_000, true}} {
		if got := client.TreesFit(x.own, x.others, x.leaves); got != x.want {
			t.Errorf("own %t, others %t, %d leaves: %v", x.own, x.others, x.leaves, got)
		}
	}
}
