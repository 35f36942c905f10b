package pseudonyms_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/pseudonyms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "atlanta.example"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// world is a provider's service on a real store.
type world struct {
	*pseudonyms.Service
	t       *testing.T
	st      *store.Store
	key     ed25519.PrivateKey
	now     time.Time
	devices map[uri.User][]string
	ask     pseudonyms.Admitted // what Admit says
	leaves  map[string][][]byte // of rooms, by room and pseudonym
	back    []string            // who was recalled, and where
	heard   []string            // which rooms were asked for, and of whom
}

func (w *world) LeafKeys(_ context.Context, name uri.Room, p uri.User) ([][]byte, error) {
	return w.leaves[name.String()+" "+p.String()], nil
}

func (w *world) Hear(_ context.Context, name uri.Room, from string) error {
	w.heard = append(w.heard, name.String()+" "+from)
	return nil
}

func (w *world) Recall(_ context.Context, name uri.Room, u uri.User) error {
	w.back = append(w.back, name.String()+" "+u.String())
	return nil
}

func (w *world) Stock(_ context.Context, u uri.User) (*account.Stock, error) {
	s := &account.Stock{User: u}
	for _, d := range w.devices[u] {
		s.Devices = append(s.Devices, account.DeviceStock{Device: d})
	}
	return s, nil
}

func newWorld(t *testing.T) *world {
	st := must(store.Open(store.Options{InMemory: true, Small: true}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, st.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, st: st, now: time.Unix(1_700_000_000, 0), devices: map[uri.User][]string{}, leaves: map[string][][]byte{}}
	_, w.key, _ = ed25519.GenerateKey(nil)
	auth := must(x509auth.New(x509auth.Options{Anchors: func(string) []crypto.PublicKey { return []crypto.PublicKey{w.key.Public()} }}))
	w.Service = must(pseudonyms.New(pseudonyms.Config{Domain: domain, Store: st, Accounts: w, Authenticator: auth, Rooms: w, Now: func() time.Time { return w.now },
		Admit: func(context.Context, []byte, string) (*pseudonyms.Admitted, error) { x := w.ask; return &x, nil }}))
	return w
}

// device is a user's device with a real credential.
type device struct {
	account.Identity
	real pseudonym.Identity
}

func (w *world) device(name, dev string) *device {
	p := must(uri.ParseDomain(domain))
	d := &device{Identity: account.Identity{User: must(p.User(name)), Client: must(p.Client(name, dev)), Device: dev}}
	_, user, _ := ed25519.GenerateKey(nil)
	v := x509auth.ValidFor(w.now, x509auth.Lifetime)
	cert := must(x509auth.IssueUser(w.key, d.User.String(), user.Public().(ed25519.PublicKey), v))
	sign := must(mls.GenerateSignatureKey(room.Suite))
	d.real = pseudonym.Identity{Suite: room.Suite, Signer: sign, Credential: mls.X509Credential(must(x509auth.IssueClient(user, cert, d.Client.String(), sign.Public(), v)), cert)}
	w.devices[d.User] = append(w.devices[d.User], dev)
	return d
}

// pack makes a KeyPackage of a device under a pseudonym.
func (w *world) pack(d *device, as string) clientapi.PseudonymousKeyPackage {
	u := must(uri.ParsePseudonym(as))
	sign, k := must(mls.GenerateSignatureKey(room.Suite)), pseudonym.NewKey()
	c := &pseudonym.Credential{User: u, Client: must(pseudonym.New(u.Provider())), Key: sign.Public()}
	if err := c.Seal(k, uri.Room{}, d.real); err != nil {
		w.t.Fatal(err)
	}
	caps := pseudonym.Capabilities()
	kp := must(mls.NewKeyPackage(mls.LeafParams{Suite: room.Suite, Signer: sign, Credential: c.MLS(), Capabilities: &caps, Lifetime: mls.LifetimeOf(w.now, 30*24*time.Hour)}, false, nil))
	return clientapi.PseudonymousKeyPackage{KeyPackage: kp.KeyPackage().Bytes(), Key: k.Secret()}
}

// fill brings all that is wanted of a device, and returns for which pseudonyms.
func (w *world) fill(d *device) []string {
	w.t.Helper()
	want := must(w.Wanted(w.t.Context(), d.Identity)).Pseudonyms
	n := new(clientapi.PseudonymousKeyPackages)
	for _, p := range want {
		n.KeyPackages = append(n.KeyPackages, w.pack(d, p))
	}
	if err := w.Bring(w.t.Context(), d.Identity, n); err != nil {
		w.t.Fatal(err)
	}
	return want
}

func (w *world) claim(by string, target uri.User, name string) *clientapi.PseudonymousClaim {
	w.t.Helper()
	w.ask = pseudonyms.Admitted{Requester: must(uri.ParseShort(by)), Target: target, Room: must(uri.ParseRoom(name)), Suites: []mls.CipherSuite{room.Suite}, Consents: true}
	out := new(clientapi.PseudonymousClaim)
	if err := json.Unmarshal(must(w.Claim(w.t.Context(), nil, "biloxi.example")), out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

func roomName(n int) string { return fmt.Sprintf("mimi://biloxi.example/r/room%d", n) }

func code(err error) clientapi.Code {
	if p, ok := errors.AsType[*clientapi.Problem](err); ok {
		return p.Code
	}
	return ""
}

// TestSets: a set is given out once, for one room, with all devices; who claims for the room
// again gets the same; and a user has one pseudonym in a room, also when it is used up.
func TestSets(t *testing.T) {
	w := newWorld(t)
	phone, laptop, eve := w.device("bob", "phone"), w.device("bob", "laptop"), w.device("eve", "phone")
	ready := w.fill(phone)
	if len(ready) != pseudonyms.Ready {
		t.Fatalf("%d open sets", len(ready))
	}
	if more := must(w.Wanted(t.Context(), phone.Identity)).Pseudonyms; len(more) > 0 {
		t.Errorf("wanted again: %v", more)
	}
	if same := w.fill(laptop); len(same) != len(ready) || !slices.Contains(ready, same[0]) {
		t.Errorf("the other device fills %v, the first one %v", same, ready)
	}
	first := w.claim("alice@biloxi.example", phone.User, roomName(1))
	if first.Status != clientapi.ClaimGiven || len(first.KeyPackages) != 2 || !slices.Contains(ready, first.Pseudonym) {
		t.Fatalf("%s %s, %d KeyPackages", first.Status, first.Pseudonym, len(first.KeyPackages))
	}
	for _, by := range []string{"alice@biloxi.example", "carol@chicago.example"} {
		if again := w.claim(by, phone.User, roomName(1)); again.Pseudonym != first.Pseudonym || len(again.KeyPackages) != 2 {
			t.Errorf("for the same room %s gets %s", by, again.Pseudonym)
		}
	}
	other := w.claim("alice@biloxi.example", phone.User, roomName(2))
	if other.Status != clientapi.ClaimGiven || other.Pseudonym == first.Pseudonym {
		t.Errorf("for another room: %s %s", other.Status, other.Pseudonym)
	}
	if other.Pseudonym == must(w.Pseudonym(t.Context(), eve.Identity, &clientapi.NewPseudonym{Room: roomName(2)})).Pseudonym {
		t.Error("one pseudonym for two users")
	}
	// Whose it is, in its room only.
	as := must(uri.ParsePseudonym(first.Pseudonym)).Participant()
	err := w.st.View(func(tx *store.Tx) error {
		for n, want := range map[int]uri.User{1: phone.User, 2: {}} {
			name := must(uri.ParseRoom(roomName(n)))
			if u := must(w.User(tx, as, name)); u != want {
				t.Errorf("in room %d it is %q", n, u)
			}
		}
		if p := must(w.In(tx, phone.User, must(uri.ParseRoom(roomName(1))))); p != as {
			t.Errorf("bob goes by %q", p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// The user begins no second pseudonym in it.
	if p := must(w.Pseudonym(t.Context(), phone.Identity, &clientapi.NewPseudonym{Room: roomName(1)})); p.Pseudonym != first.Pseudonym {
		t.Errorf("a second pseudonym in one room: %s", p.Pseudonym)
	}
	// Used: nothing is left for the room until a device brings more, under the same pseudonym.
	err = w.st.Update(t.Context(), func(tx *store.Tx) error {
		for _, x := range first.KeyPackages {
			kp := must(mls.ParseKeyPackage(x.KeyPackage, mls.Limits{}))
			if err := w.Joined(tx, kp.Ref(), make([]byte, 32)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.claim("alice@biloxi.example", phone.User, roomName(1)); got.Status != clientapi.ClaimExhausted {
		t.Errorf("after use: %s %s", got.Status, got.Pseudonym)
	}
	if want := w.fill(phone); !slices.Contains(want, first.Pseudonym) || len(want) != 3 { // two more open ones
		t.Errorf("wanted after use: %v", want)
	}
	if got := w.claim("alice@biloxi.example", phone.User, roomName(1)); got.Pseudonym != first.Pseudonym || len(got.KeyPackages) != 1 {
		t.Errorf("filled again: %s %s, %d KeyPackages", got.Status, got.Pseudonym, len(got.KeyPackages))
	}
	// A device that was removed is in no answer.
	w.devices[phone.User] = []string{"laptop"}
	if got := w.claim("alice@biloxi.example", phone.User, roomName(2)); len(got.KeyPackages) != 1 {
		t.Errorf("%d KeyPackages with one device left", len(got.KeyPackages))
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}

// check has all that was written verified.
func (w *world) check() error {
	n := 0
	err := w.st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpacePseudonyms.Prefix(nil)}) {
			if err == nil {
				err = pseudonyms.Check(it)
			}
			if err != nil {
				return err
			}
			n++
			it.Value = append(slices.Clone(it.Value), 0)
			it.Value[0] = 9
			if pseudonyms.Check(it) == nil {
				return fmt.Errorf("a spoiled record %v is taken", it.Key)
			}
		}
		return nil
	})
	if err == nil && n < 10 {
		err = fmt.Errorf("%d records", n)
	}
	return err
}

// TestBringRefused: nobody brings a KeyPackage under another's pseudonym, or of another
// identity, or one that would not open.
func TestBringRefused(t *testing.T) {
	w := newWorld(t)
	bob, eve := w.device("bob", "phone"), w.device("eve", "phone")
	own := must(w.Wanted(t.Context(), bob.Identity)).Pseudonyms[0]
	others := must(w.Wanted(t.Context(), eve.Identity)).Pseudonyms[0]
	good := w.pack(bob, own)
	wrongKey := w.pack(bob, own)
	wrongKey.Key = pseudonym.NewKey().Secret()
	for what, x := range map[string]clientapi.PseudonymousKeyPackage{
		"another's pseudonym": w.pack(bob, others), "another's identity": w.pack(eve, own), "another key": wrongKey,
		"no key": {KeyPackage: good.KeyPackage}, "no KeyPackage": {Key: good.Key},
		"a pseudonym that was not drawn": w.pack(bob, must(pseudonym.New(must(uri.ParseDomain(domain)))).String()),
	} {
		err := w.Bring(t.Context(), bob.Identity, &clientapi.PseudonymousKeyPackages{KeyPackages: []clientapi.PseudonymousKeyPackage{good, x}})
		if code(err) != clientapi.CodeInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	// All or none: the good one beside them was not taken.
	if got := w.claim("alice@biloxi.example", bob.User, roomName(1)); got.Status != clientapi.ClaimExhausted {
		t.Errorf("%s", got.Status)
	}
}

// TestClaimIsBounded: without consent nothing is said, not even whether there is the user; one
// who may claim uses up few sets; what was given out and never used comes back.
func TestClaimIsBounded(t *testing.T) {
	w := newWorld(t)
	bob := w.device("bob", "phone")
	w.fill(bob)
	nobody := must(bob.User.Provider().User("nobody"))
	for _, u := range []uri.User{bob.User, nobody} {
		w.ask = pseudonyms.Admitted{Requester: bob.User, Target: u, Room: must(uri.ParseRoom(roomName(1))), Suites: []mls.CipherSuite{room.Suite}}
		if b := must(w.Claim(t.Context(), nil, "")); string(b) != `{"status":"no consent"}` {
			t.Errorf("%s: %s", u, b)
		}
	}
	w.ask = pseudonyms.Admitted{Requester: bob.User, Target: bob.User, Suites: []mls.CipherSuite{room.Suite}, Consents: true}
	if _, err := w.Claim(t.Context(), nil, ""); code(err) != clientapi.CodeInvalid {
		t.Errorf("for no room: %v", err)
	}
	if got := w.claim("alice@biloxi.example", nobody, roomName(1)); got.Status != clientapi.ClaimExhausted {
		t.Errorf("nobody: %s", got.Status)
	}
	given := 0
	for n := range 3 * pseudonyms.MaxGivenTo {
		w.fill(bob)
		if w.claim("alice@biloxi.example", bob.User, roomName(n)).Status == clientapi.ClaimGiven {
			given++
		}
	}
	if given != pseudonyms.MaxGivenTo {
		t.Errorf("%d sets given to one requester", given)
	}
	if got := w.claim("carol@biloxi.example", bob.User, roomName(100)); got.Status != clientapi.ClaimGiven {
		t.Errorf("another requester: %s", got.Status)
	}
	w.now = w.now.Add(61 * 24 * time.Hour)
	w.fill(bob)
	if got := w.claim("alice@biloxi.example", bob.User, roomName(101)); got.Status != clientapi.ClaimGiven {
		t.Errorf("after two months: %s", got.Status)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}
