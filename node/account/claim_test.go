package account_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

const day = 24 * time.Hour

var suite1 = []mls.CipherSuite{mls.X25519AES128Ed25519}

func (w *world) claimOf(d *device, requester, room string) account.Claim {
	return account.Claim{Target: d.User, Requester: requester, Room: room, Provider: "biloxi.example", Suites: suite1}
}

// claim makes a claim that must get along with MIMI's rules for answers.
func (w *world) claim(c account.Claim) *account.Claimed {
	w.t.Helper()
	got, err := w.Claim(ctx, c)
	must(w.t, err)
	res := wire.KeyMaterialResponse{Status: got.Status, User: wire.IdentifierURI(c.Target.String()), Clients: got.Clients}
	if _, err := res.Bytes(); err != nil {
		w.t.Errorf("the claim's result makes no KeyMaterialResponse: %v", err)
	}
	return got
}

// one returns the only KeyPackage of a result.
func (w *world) one(got *account.Claimed) *mls.KeyPackage {
	w.t.Helper()
	if got.Status != wire.KeyMaterialSuccess || len(got.Clients) != 1 {
		w.t.Fatalf("status %v with %d clients, want success with one", got.Status, len(got.Clients))
	}
	return got.Clients[0].KeyPackage
}

func (w *world) left(d *device) int {
	w.t.Helper()
	n, err := w.CountKeyPackages(ctx, d.Identity)
	must(w.t, err)
	return n.Available
}

func TestClaimHandsOutEachOnce(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 5, false)
	seen := map[string]bool{}
	last := uint64(0)
	for i := range 5 {
		kp := w.one(w.claim(w.claimOf(d, "mimi://biloxi.example/u/bob", fmt.Sprint("room ", i))))
		if ref := string(kp.Ref()); seen[ref] {
			t.Fatal("a KeyPackage was handed out twice")
		} else {
			seen[ref] = true
		}
		if kp.Leaf.Lifetime.NotAfter < last {
			t.Error("a KeyPackage that expires later went first")
		}
		last = kp.Leaf.Lifetime.NotAfter
	}
	got := w.claim(w.claimOf(d, "mimi://biloxi.example/u/bob", "one more"))
	if got.Status != wire.KeyMaterialNoCompatible || got.Clients[0].Status != wire.ClientExhausted {
		t.Errorf("a sixth claim got %v, %v, want exhaustion", got.Status, got.Clients[0].Status)
	}
}

// Many claims at once, as the writer batches them.
func TestClaimConcurrently(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 20, false)
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]int{}
	for i := range 20 {
		for range 2 { // each claim twice
			wg.Go(func() {
				got, err := w.Claim(ctx, w.claimOf(d, "mimi://biloxi.example/u/bob", fmt.Sprint("room ", i)))
				if err != nil || got.Status != wire.KeyMaterialSuccess {
					t.Errorf("claim %d: %+v, %v", i, got, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				seen[string(got.Clients[0].KeyPackage.Ref())]++
			})
		}
	}
	wg.Wait()
	for _, n := range seen {
		if n != 2 {
			t.Errorf("a KeyPackage was handed out to %d claims, want one claim and its repeat", n)
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d different KeyPackages for 20 claims", len(seen))
	}
}

func TestClaimAgainGetsTheSame(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 5, true)
	c := w.claimOf(d, "mimi://biloxi.example/u/bob", "room")
	first := w.one(w.claim(c)).Bytes()
	w.restart()
	w.now = w.now.Add(59 * time.Minute)
	if got := w.one(w.claim(c)).Bytes(); !bytes.Equal(got, first) || w.left(d) != 4 {
		t.Errorf("the same claim got another KeyPackage; %d are left of 5", w.left(d))
	}
	for _, other := range []account.Claim{w.claimOf(d, "mimi://biloxi.example/u/bob", "roo"), w.claimOf(d, "mimi://biloxi.example/u/bobr", "oom")} {
		if bytes.Equal(w.one(w.claim(other)).Bytes(), first) {
			t.Errorf("the claim of %s for %q got another claim's KeyPackage", other.Requester, other.Room)
		}
	}
	w.now = w.now.Add(2 * time.Minute)
	if bytes.Equal(w.one(w.claim(c)).Bytes(), first) {
		t.Error("after the claim's lifetime it got the same KeyPackage")
	}
}

// The answer of a claim that crashed gets lost; the repeat must find what was taken,
// and the ration counts it once.
func TestClaimCrash(t *testing.T) {
	broken := errors.New("power cut")
	for _, row := range []struct {
		name  string
		plant func(*fallible)
	}{
		{"before it is durable", func(f *fallible) { f.failBefore = broken }},
		{"and yet it has happened", func(f *fallible) { f.failAfter = broken }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.register("alice", "phone", userKey(t))
			w.publish(d, 3, false)
			c := w.claimOf(d, "mimi://biloxi.example/u/bob", "room")
			row.plant(w.store)
			if _, err := w.Claim(ctx, c); !errors.Is(err, broken) {
				t.Fatalf("got %v, want the store's error", err)
			}
			w.restart()
			w.one(w.claim(c))
			if w.left(d) != 2 {
				t.Errorf("%d of 3 are left after a claim and its repeat, want 2", w.left(d))
			}
		})
	}
}

// Once a Welcome to it is on its way, the KeyPackage is of no use to a repeat: the
// same people in the same room again, after one of them has left.
func TestJoinedEndsTheClaim(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 3, false)
	c := w.claimOf(d, "mimi://biloxi.example/u/bob", "room")
	first := w.one(w.claim(c))
	must(t, w.store.Update(ctx, func(tx *store.Tx) error {
		return w.Joined(tx, make([]byte, 32), []byte("short"), first.Ref())
	}))
	second := w.one(w.claim(c))
	if bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Fatal("a KeyPackage was handed out again after its Welcome")
	}
	// A Welcome that comes again does not end the claim that followed.
	must(t, w.store.Update(ctx, func(tx *store.Tx) error { return w.Joined(tx, first.Ref()) }))
	if !bytes.Equal(w.one(w.claim(c)).Bytes(), second.Bytes()) {
		t.Error("an old Welcome ended a new claim")
	}
}

func TestClaimFallsBackToLastResort(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 1, true)
	w.one(w.claim(w.claimOf(d, "bob", "room")))
	a := w.one(w.claim(w.claimOf(d, "bob", "room 2")))
	b := w.one(w.claim(w.claimOf(d, "carol", "room 3")))
	if !a.LastResort(mls.Limits{}) || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("with the others used up, claims do not get the last resort")
	}
}

func TestClaimNeverServesExpired(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 2, true) // ends after one, two and 80 days
	w.now = w.now.Add(day - 30*time.Second)
	if w.left(d) != 1 {
		t.Errorf("%d KeyPackages available, one of two ends in half a minute", w.left(d))
	}
	kp := w.one(w.claim(w.claimOf(d, "bob", "room")))
	if got := time.Unix(int64(kp.Leaf.Lifetime.NotAfter), 0); got.Sub(w.now) < time.Hour {
		t.Errorf("got a KeyPackage that ends at %v, now is %v", got, w.now)
	}
	w.now = w.now.Add(80 * day)
	if got := w.claim(w.claimOf(d, "bob", "room 2")); got.Clients[0].Status != wire.ClientExhausted {
		t.Errorf("with everything expired, last resort included: %v", got.Clients[0].Status)
	}
	if got := w.claim(w.claimOf(d, "bob", "room")); got.Clients[0].Status != wire.ClientExhausted {
		t.Errorf("a repeated claim got an expired KeyPackage: %v", got.Clients[0].Status)
	}
}

// A KeyPackage whose certificate ends before its lifetime is good until then.
func TestKeyPackageEndsWithItsCertificate(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	req := &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, 300*day, false)}, LastResort: w.keyPackage(d, 300*day, true)}
	_, err := w.PublishKeyPackages(ctx, d.Identity, req)
	must(t, err)
	w.now = w.now.Add(x509auth.Lifetime)
	if n, err := w.CountKeyPackages(ctx, d.Identity); err != nil || n.Available != 0 || n.LastResort {
		t.Errorf("after the certificate's end: %+v, %v, want none", n, err)
	}
	if got := w.claim(w.claimOf(d, "bob", "room")); got.Clients[0].Status != wire.ClientExhausted {
		t.Errorf("a KeyPackage with an expired certificate was handed out: %v", got.Clients[0].Status)
	}
}

func TestClaimOfSeveralDevices(t *testing.T) {
	w := newWorld(t)
	user := userKey(t)
	laptop := w.register("alice", "laptop", user)
	phone := w.register("alice", "phone", user)
	w.publish(phone, 1, false)
	got := w.claim(w.claimOf(phone, "bob", "room"))
	if got.Status != wire.KeyMaterialPartialSuccess || len(got.Clients) != 2 ||
		got.Clients[0].Status != wire.ClientExhausted || got.Clients[1].Status != wire.ClientSuccess ||
		string(got.Clients[1].Client) != phone.Client.String() {
		t.Errorf("got %+v, want the phone's KeyPackage and an exhausted laptop", got)
	}
	w.publish(laptop, 1, false)
	got = w.claim(w.claimOf(phone, "bob", "room")) // what was missing comes, what was there stays
	if got.Status != wire.KeyMaterialSuccess || len(got.Clients) != 2 {
		t.Errorf("after the laptop came back: %+v", got)
	}
}

func TestClaimOfRemovedDevice(t *testing.T) {
	w := newWorld(t)
	user := userKey(t)
	keep := w.register("alice", "laptop", user)
	w.publish(keep, 1, false)
	phone := w.register("alice", "phone", user)
	w.publish(phone, 3, true)
	c := w.claimOf(phone, "bob", "room")
	if got := w.claim(c); len(got.Clients) != 2 {
		t.Fatalf("%d clients", len(got.Clients))
	}
	must(t, w.RemoveDevice(ctx, keep.Identity, "phone"))
	if got := w.claim(c); len(got.Clients) != 1 {
		t.Errorf("%d clients after the removal of one of two", len(got.Clients))
	}
	w.now = w.now.Add(time.Second)
	again := w.register("alice", "phone", user) // the same name, other keys
	got := w.claim(c)
	if got.Status != wire.KeyMaterialPartialSuccess || got.Clients[1].Status != wire.ClientExhausted || w.left(again) != 0 {
		t.Errorf("a new device of an old name has the old one's KeyPackages: %+v", got)
	}
}

func TestClaimCompatibility(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	// One that lacks what the others can do.
	plain := w.keyPackage(d, day, false, func(p *mls.LeafParams) {
		p.Capabilities = &mls.Capabilities{Versions: []mls.ProtocolVersion{mls.MLS10}, Suites: suite1, Credentials: []mls.CredentialType{mls.CredentialX509}}
	})
	full := w.keyPackage(d, 2*day, false)
	_, err := w.PublishKeyPackages(ctx, d.Identity, &clientapi.NewKeyPackages{KeyPackages: [][]byte{plain, full}})
	must(t, err)
	c := w.claimOf(d, "bob", "room")
	for name, row := range map[string]struct {
		suites   []mls.CipherSuite
		required mls.RequiredCapabilities
	}{
		"suite":      {[]mls.CipherSuite{mls.P256AES128P256, 0x7777}, mls.RequiredCapabilities{}},
		"extension":  {suite1, mls.RequiredCapabilities{Extensions: []mls.ExtensionType{0xf123}}},
		"proposal":   {suite1, mls.RequiredCapabilities{Proposals: []mls.ProposalType{0xf123}}},
		"credential": {suite1, mls.RequiredCapabilities{Credentials: []mls.CredentialType{0xf123}}},
	} {
		c.Suites, c.Required = row.suites, row.required
		got := w.claim(c)
		if got.Status != wire.KeyMaterialNoCompatible || got.Clients[0].Status != wire.ClientNothingCompatible || got.Clients[0].Capabilities == nil {
			t.Errorf("%s: got %v, %+v", name, got.Status, got.Clients[0])
		}
	}
	if w.left(d) != 2 {
		t.Fatalf("claims in vain used up KeyPackages: %d of 2 left", w.left(d))
	}
	c.Suites = append([]mls.CipherSuite{mls.P256AES128P256}, suite1...)
	c.Required = mls.RequiredCapabilities{Extensions: []mls.ExtensionType{mls.ExtAppDataDictionary, mls.ExtRatchetTree},
		Proposals: []mls.ProposalType{mls.ProposalSelfRemove, mls.ProposalAdd}, Credentials: []mls.CredentialType{mls.CredentialX509}}
	if got := w.one(w.claim(c)); !bytes.Equal(got.Bytes(), full) {
		t.Error("got the KeyPackage that lacks the required capabilities, because it expires first")
	}
}

// A provider that claims and claims empties its own ration, not the store, and its
// users get last resorts.
func TestClaimsAreRationed(t *testing.T) {
	w := newWorld(t, func(c *account.Config) { c.Claims = ration.Config{PerSecond: 1, Burst: 3} })
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 10, true)
	greedy := func(i int) account.Claim { return w.claimOf(d, "mimi://biloxi.example/u/x"+fmt.Sprint(i), "room") }
	for i := range 50 {
		w.one(w.claim(greedy(i)))
	}
	if w.left(d) != 7 {
		t.Errorf("%d of 10 are left, the ration is 3", w.left(d))
	}
	for range 3 {
		w.claim(greedy(0)) // repeats cost nothing
	}
	other := greedy(0)
	other.Requester, other.Provider = "mimi://chelsea.example/u/c", "chelsea.example"
	if kp := w.one(w.claim(other)); kp.LastResort(mls.Limits{}) {
		t.Error("another provider's ration was used up, too")
	}
	w.now = w.now.Add(time.Second)
	if kp := w.one(w.claim(greedy(99))); kp.LastResort(mls.Limits{}) {
		t.Error("the ration does not come back with time")
	}
}

// A claim that did not happen costs nothing.
func TestRationOfFailedClaim(t *testing.T) {
	w := newWorld(t, func(c *account.Config) { c.Claims = ration.Config{PerSecond: 1, Burst: 1} })
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 3, true)
	c := w.claimOf(d, "bob", "room")
	w.store.failBefore = errors.New("power cut")
	if _, err := w.Claim(ctx, c); err == nil {
		t.Fatal("no error")
	}
	if w.one(w.claim(c)).LastResort(mls.Limits{}) {
		t.Error("the failed claim used up the ration")
	}
}

func TestClaimRefusals(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	c := w.claimOf(d, "bob", "room")
	c.Suites = nil
	_, err := w.Claim(ctx, c)
	wantProblem(t, err, clientapi.CodeInvalid)
	must(t, c.Target.UnmarshalText([]byte("mimi://biloxi.example/u/alice")))
	c.Suites = suite1
	_, err = w.Claim(ctx, c)
	wantProblem(t, err, clientapi.CodeInvalid)
	must(t, c.Target.UnmarshalText([]byte("mimi://atlanta.example/u/nobody")))
	if got := w.claim(c); got.Status != wire.KeyMaterialUserUnknown {
		t.Errorf("an unknown user: %v", got.Status)
	}
}

func TestPublishRefusals(t *testing.T) {
	for _, row := range []struct {
		name string
		code clientapi.Code
		text string
		make func(w *world, d *device) *clientapi.NewKeyPackages
	}{
		{"no KeyPackage at all", clientapi.CodeInvalid, "key_packages[0]", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{{}}}
		}},
		{"garbage behind a good one", clientapi.CodeInvalid, "key_packages[1]", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day, false), []byte("garbage")}}
		}},
		{"one octet too many", clientapi.CodeInvalid, "", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{append(w.keyPackage(d, day, false), 0)}}
		}},
		{"signature changed", clientapi.CodeInvalid, "", func(w *world, d *device) *clientapi.NewKeyPackages {
			b := w.keyPackage(d, day, false)
			b[len(b)-1] ^= 1
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{b}}
		}},
		{"too large", clientapi.CodeTooLarge, "", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{make([]byte, account.MaxKeyPackage+1)}}
		}},
		{"too many at once", clientapi.CodeTooLarge, "", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{KeyPackages: make([][]byte, account.MaxKeyPackages+1)}
		}},
		{"another device's", clientapi.CodeInvalid, "d/alice/laptop", func(w *world, d *device) *clientapi.NewKeyPackages {
			laptop := w.register("alice", "laptop", d.user)
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(laptop, day, false)}}
		}},
		{"another user's", clientapi.CodeInvalid, "d/bob/phone", func(w *world, d *device) *clientapi.NewKeyPackages {
			bob := w.register("bob", "phone", userKey(w.t))
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(bob, day, false)}}
		}},
		{"basic credential", clientapi.CodeInvalid, "", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day, false, func(p *mls.LeafParams) {
				p.Credential = mls.BasicCredential([]byte(d.Client.String()))
			})}}
		}},
		{"user certificate by another provider key", clientapi.CodeInvalid, "", func(w *world, d *device) *clientapi.NewKeyPackages {
			w.key = userKey(w.t)
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day, false)}}
		}},
		{"expired", clientapi.CodeInvalid, "", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, -time.Minute, false)}}
		}},
		{"lifetime of years", clientapi.CodeInvalid, "", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, 1000*day, false)}}
		}},
		{"last resort among the others", clientapi.CodeInvalid, "last_resort", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day, true)}}
		}},
		{"last resort without the mark", clientapi.CodeInvalid, "last_resort", func(w *world, d *device) *clientapi.NewKeyPackages {
			return &clientapi.NewKeyPackages{LastResort: w.keyPackage(d, day, false)}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.register("alice", "phone", userKey(t))
			_, err := w.PublishKeyPackages(ctx, d.Identity, row.make(w, d))
			wantProblem(t, err, row.code)
			if err != nil && !strings.Contains(err.Error(), row.text) {
				t.Errorf("%q does not say %q", err, row.text)
			}
			if w.left(d) != 0 {
				t.Errorf("%d KeyPackages of a refused request were stored", w.left(d))
			}
		})
	}
}

func TestPublishLimit(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	for range account.MaxKeyPackages / 20 {
		w.publish(d, 20, false)
	}
	_, err := w.PublishKeyPackages(ctx, d.Identity, &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day, false)}})
	wantProblem(t, err, clientapi.CodeTooMany)
	if w.left(d) != account.MaxKeyPackages {
		t.Errorf("%d KeyPackages, the limit is %d", w.left(d), account.MaxKeyPackages)
	}
	w.now = w.now.Add(2 * day) // what has expired does not count
	w.publish(d, 1, false)
}

// A repeat of a publication whose answer was lost must not bring back a KeyPackage
// that has been handed out since.
func TestPublishAgain(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	req := &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day, false), w.keyPackage(d, 2*day, false)}}
	_, err := w.PublishKeyPackages(ctx, d.Identity, req)
	must(t, err)
	first := w.one(w.claim(w.claimOf(d, "bob", "room"))).Bytes()
	n, err := w.PublishKeyPackages(ctx, d.Identity, req)
	must(t, err)
	if n.Available != 1 {
		t.Errorf("%d available after the repeat, one of two was handed out", n.Available)
	}
	if bytes.Equal(w.one(w.claim(w.claimOf(d, "bob", "room 2"))).Bytes(), first) {
		t.Error("a KeyPackage was handed out twice")
	}
}

func TestPublishByRemovedDevice(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	must(t, w.RemoveDevice(ctx, d.Identity, "phone"))
	_, err := w.PublishKeyPackages(ctx, d.Identity, &clientapi.NewKeyPackages{KeyPackages: [][]byte{w.keyPackage(d, day, false)}})
	wantProblem(t, err, clientapi.CodeUnauthorized)
}

func TestSweep(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	w.publish(d, 3, true)
	w.claim(w.claimOf(d, "bob", "room"))
	if n, err := w.Sweep(ctx); err != nil || n != 0 {
		t.Errorf("removed %d, %v, nothing has expired", n, err)
	}
	w.now = w.now.Add(100 * day)
	// The invite, two KeyPackages, the last resort, the claim, and the memory of the
	// third KeyPackage, and two shares.
	if n, err := w.Sweep(ctx); err != nil || n != 8 {
		t.Errorf("removed %d, %v, want 8", n, err)
	}
	if n, err := w.Sweep(ctx); err != nil || n != 0 {
		t.Errorf("removed %d more, %v", n, err)
	}
	if _, err := w.Authenticate(ctx, d.token); err != nil {
		t.Errorf("the device is gone: %v", err)
	}
}

func TestUsersInPages(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"al", "alice", "alice2", "bob"} {
		w.register(name, "phone", userKey(t))
	}
	var got []string
	after := ""
	for {
		page, err := w.Users(ctx, after, 2)
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, u := range page {
			got = append(got, u.Name)
		}
		after = got[len(got)-1]
	}
	if s := strings.Join(got, " "); s != "al alice alice2 bob" {
		t.Errorf("pages of users: %s", s)
	}
	if n, err := w.CountUsers(ctx); err != nil || n != 4 {
		t.Errorf("%d users, %v, want 4", n, err)
	}
	_, err := w.Users(ctx, strings.Repeat("x", 5000), 2)
	wantProblem(t, err, clientapi.CodeInvalid)
}

func TestRunEnds(t *testing.T) {
	w := newWorld(t)
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- w.Run(runCtx) }()
	cancel()
	must(t, <-ended)
}
