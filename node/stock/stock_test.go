package stock_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/stock"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// within is how soon an alarm has to come.
const within = time.Minute

// A device that stays away: first those end that are used once, then the last resort.
// Each time the alarm comes within a minute, and nobody is named in the log.
func TestAlarmWhenTheLastOneEnds(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice", "phone"), w.device("bob", "phone")
	w.publish(alice, 2, day, 2*day)
	w.publish(bob, 2, 10*day, 10*day)
	w.pass(time.Minute)
	w.wantCounts(stock.Counts{Fresh: 2})
	if w.log.Len() > 0 || len(w.told) > 0 {
		t.Fatalf("an alarm without a reason: %s %v", w.log.String(), w.told)
	}
	begin := w.now
	end := begin.Add(-time.Minute + day - time.Minute) // what has a minute left is not handed out
	w.now = end.Add(-time.Minute)
	w.pass(50 * time.Second)
	w.wantCounts(stock.Counts{Fresh: 2})
	w.pass(10*time.Second + within)
	w.wantCounts(stock.Counts{Fresh: 1, Reserve: 1})
	if line := w.log.String(); strings.Count(line, "WARN") != 1 || !strings.Contains(line, "last_resort_only=1 users=2") {
		t.Errorf("the log says %q", line)
	}
	if len(w.told) != 1 || w.told[0].user != "alice" || w.told[0].level != stock.Reserve || w.told[0].dry != 0 {
		t.Errorf("devices were told %+v", w.told)
	}
	w.log.Reset()
	w.now = end.Add(day - time.Minute)
	w.pass(50 * time.Second)
	w.wantCounts(stock.Counts{Fresh: 1, Reserve: 1})
	w.pass(10*time.Second + within)
	w.wantCounts(stock.Counts{Fresh: 1, None: 1})
	if line := w.log.String(); !strings.Contains(line, "no_key_package=1 device_without=0 last_resort_only=0 users=2") {
		t.Errorf("the log says %q", line)
	}
	if last := w.told[len(w.told)-1]; last.level != stock.None || last.dry != 1 || last.at.Sub(end.Add(day)) > within {
		t.Errorf("devices were told %+v, what it is about was at %v", last, end.Add(day))
	}
	if strings.Contains(w.log.String(), "alice") || strings.Contains(w.log.String(), domain) {
		t.Error("the log names a user")
	}
	// The log is told again as long as it stands, and devices that have connected since, too.
	n := len(w.told)
	w.log.Reset()
	w.pass(2*time.Hour + time.Minute)
	if strings.Count(w.log.String(), "WARN") != 2 || len(w.told) < n+10 {
		t.Errorf("in two hours: %d lines, told %d times", strings.Count(w.log.String(), "WARN"), len(w.told)-n)
	}
	// The device comes back.
	w.log.Reset()
	w.publish(alice, 1, day, day)
	w.pass(10 * time.Second)
	w.wantCounts(stock.Counts{Fresh: 2})
	if !strings.Contains(w.log.String(), "all users can be added to rooms again") {
		t.Errorf("the log says %q", w.log.String())
	}
}

// The last one is used: within a minute, too.
func TestAlarmWhenTheLastOneIsUsed(t *testing.T) {
	for _, row := range []struct {
		name string
		last time.Duration
		want stock.Counts
	}{
		{"with a last resort", 10 * day, stock.Counts{Reserve: 1}},
		{"without one", 0, stock.Counts{None: 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.device("alice", "phone")
			w.publish(alice, 2, 10*day, row.last)
			w.pass(time.Minute)
			w.claim(alice, "one")
			w.pass(within)
			w.wantCounts(stock.Counts{Fresh: 1})
			w.claim(alice, "two")
			w.pass(within)
			w.wantCounts(row.want)
			if strings.Count(w.log.String(), "WARN") != 1 {
				t.Errorf("the log says %q", w.log.String())
			}
			w.publish(alice, 2, 10*day, 10*day)
			w.pass(10 * time.Second)
			w.wantCounts(stock.Counts{Fresh: 1})
		})
	}
}

// Of several devices one is dry: the user can be added, and would not hear it there.
func TestOneDryDevice(t *testing.T) {
	w := newWorld(t)
	phone, laptop := w.device("alice", "phone"), w.device("alice", "laptop")
	w.publish(phone, 2, 10*day, 10*day)
	w.publish(laptop, 1, 10*day, 0)
	w.pass(time.Minute)
	w.wantCounts(stock.Counts{Fresh: 1})
	w.claim(phone, "room")
	w.pass(within)
	w.wantCounts(stock.Counts{Partly: 1})
	must(t, w.accounts.RemoveDevice(t.Context(), phone.Identity, "laptop"))
	w.pass(10 * time.Second)
	w.wantCounts(stock.Counts{Fresh: 1})
	must(t, w.accounts.RemoveDevice(t.Context(), phone.Identity, "phone"))
	w.pass(10 * time.Second)
	w.wantCounts(stock.Counts{})
}

// A new device has a moment to bring its first ones.
func TestNewDevice(t *testing.T) {
	w := newWorld(t)
	alice := w.device("alice", "phone")
	w.pass(10 * time.Second)
	w.publish(alice, 1, day, day)
	w.pass(time.Minute)
	bob := w.device("bob", "phone")
	w.pass(within)
	w.wantCounts(stock.Counts{Fresh: 1, None: 1})
	if strings.Count(w.log.String(), "WARN") != 1 {
		t.Errorf("the log says %q", w.log.String())
	}
	w.publish(bob, 1, day, day)
	w.pass(10 * time.Second)
	w.wantCounts(stock.Counts{Fresh: 2})
}

// There are KeyPackages, and others would not take them, since their certificates are of a
// provider key that is not the provider's any more. Looking into the store would not show it.
func TestKeyPackagesThatOthersRefuse(t *testing.T) {
	w := newWorld(t)
	alice := w.device("alice", "phone")
	w.publish(alice, 5, 10*day, 10*day)
	w.pass(time.Minute)
	w.wantCounts(stock.Counts{Fresh: 1})
	other, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	w.trusted = []crypto.PublicKey{other}
	w.pass(6*time.Hour + within) // a key is changed by a restart, which looks at everybody at once
	w.wantCounts(stock.Counts{None: 1})
}

// Looking uses nothing up, and what looks like a claim does not count as one.
func TestLookingUsesNothingUp(t *testing.T) {
	w := newWorld(t)
	alice := w.device("alice", "phone")
	w.publish(alice, 1, 10*day, 0)
	for range 20 {
		w.Changed(alice.User)
		w.pass(10 * time.Second)
	}
	if n, err := w.accounts.CountKeyPackages(t.Context(), alice.Identity); err != nil || n.Available != 1 || w.probes < 20 {
		t.Errorf("%+v, %v after %d looks", n, err, w.probes)
	}
}

// At the start everybody is looked at, not all at once, and whoever is known to have changed
// does not have to wait for that.
func TestPace(t *testing.T) {
	w := newWorld(t, func(c *stock.Config) { c.Pace = 2 })
	names := []string{"alice", "bob", "carol", "dan", "eve"}
	var all []*device
	for _, n := range names {
		d := w.device(n, "phone")
		w.publish(d, 1, day, day)
		all = append(all, d)
	}
	fresh, err := stock.New(stock.Config{Accounts: w.accounts, Probe: w.probe, Authenticator: x509(t, func() []crypto.PublicKey { return w.trusted }),
		Now: func() time.Time { return w.now }, Pace: 2})
	must(t, err)
	w.Watch = fresh // as a start finds them
	w.claim(all[4], "room")
	for i, want := range []stock.Counts{{Fresh: 3, Unseen: 2}, {Fresh: 5}} {
		must(t, w.Look(t.Context()))
		if got := w.Counts(); got != want {
			t.Errorf("after round %d: %+v, want %+v", i+1, got, want)
		}
		if _, seen := w.Level(all[4].User); !seen {
			t.Error("a changed user had to wait")
		}
	}
	probes := w.probes
	w.pass(time.Minute)
	if level, _ := w.Level(all[4].User); level != stock.Reserve || w.probes > probes+2 {
		t.Errorf("eve is %v after a minute, %d looks", level, w.probes-probes)
	}
}

// A look that fails is no alarm, and made again.
func TestLookThatFails(t *testing.T) {
	broken := errors.New("the disk is on fire")
	fail := false
	w := newWorld(t)
	answer := w.probe
	cfg := stock.Config{Accounts: w.accounts, Authenticator: x509(t, func() []crypto.PublicKey { return w.trusted }), Now: func() time.Time { return w.now },
		Probe: func(ctx context.Context, u uri.User) ([]byte, error) {
			if fail {
				return nil, broken
			}
			return answer(ctx, u)
		}}
	var err error
	w.Watch, err = stock.New(cfg)
	must(t, err)
	alice := w.device("alice", "phone")
	w.publish(alice, 1, day, 0)
	w.pass(time.Minute)
	fail = true
	w.Changed(alice.User)
	w.now = w.now.Add(10 * time.Second)
	if err := w.Look(t.Context()); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	w.wantCounts(stock.Counts{Fresh: 1})
	fail = false
	w.claim(alice, "room")
	w.pass(within)
	w.wantCounts(stock.Counts{None: 1})
	for name, b := range map[string][]byte{"nonsense": []byte("x"), "another's": must2((&wire.KeyMaterialResponse{
		Status: wire.KeyMaterialNoConsent, User: "mimi://atlanta.example/u/bob"}).Bytes())} {
		cfg.Probe = func(context.Context, uri.User) ([]byte, error) { return b, nil }
		w.Watch, err = stock.New(cfg)
		must(t, err)
		if err := w.Look(t.Context()); err == nil {
			t.Errorf("%s was taken for an answer", name)
		}
	}
}

func must2(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// still is a provider with one user whose stock is what it is.
type still struct{ user uri.User }

func (s still) Local(_ context.Context, after uri.User, _ int) ([]uri.User, error) {
	if after.IsZero() {
		return []uri.User{s.user}, nil
	}
	return nil, nil
}

func (s still) Stock(context.Context, uri.User) (*account.Stock, error) {
	return &account.Stock{User: s.user, Devices: []account.DeviceStock{{Device: "phone"}}}, nil
}

// Run makes the rounds: what Look is asked for by these tests comes by itself.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user, err := uri.ParseUser("mimi://atlanta.example/u/alice")
		must(t, err)
		begin, alarm := time.Now(), make(chan time.Duration, 100)
		w, err := stock.New(stock.Config{Accounts: still{user}, Authenticator: x509(t, func() []crypto.PublicKey { return nil }),
			Probe: func(context.Context, uri.User) ([]byte, error) {
				return (&wire.KeyMaterialResponse{Status: wire.KeyMaterialNoCompatible, User: wire.IdentifierURI(user.String())}).Bytes()
			},
			Tell: func(uri.User, stock.Level, []string) error { alarm <- time.Since(begin); return nil }})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		if at := <-alarm; at > within || at < 20*time.Second {
			t.Errorf("the alarm came after %v", at)
		}
		cancel()
		must(t, <-ended)
	})
}

func TestConfig(t *testing.T) {
	if _, err := stock.New(stock.Config{}); !errors.Is(err, stock.ErrConfig) {
		t.Errorf("got %v", err)
	}
}
