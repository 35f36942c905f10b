package account_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls/x509auth"
)

func TestRegister(t *testing.T) {
	w := newWorld(t)
	user := userKey(t)
	d := w.register("alice", "phone", user)
	if got, want := d.Client.String(), "mimi://atlanta.example/d/alice/phone"; got != want {
		t.Errorf("client %s, want %s", got, want)
	}
	cert, err := x509.ParseCertificate(d.userCert)
	must(t, err)
	if got, want := cert.NotAfter, w.now.Add(x509auth.Lifetime); !got.Equal(want) {
		t.Errorf("certificate until %v, want %v", got, want)
	}
	w.restart() // and not only in memory
	id, err := w.Authenticate(ctx, d.token)
	must(t, err)
	if id != d.Identity {
		t.Errorf("after a restart %v, want %v", id, d.Identity)
	}
	w.now = w.now.Add(60 * 24 * time.Hour)
	renewed, err := w.RenewCertificate(ctx, id)
	must(t, err)
	cert2, err := x509.ParseCertificate(renewed.Certificate)
	must(t, err)
	if !bytes.Equal(cert2.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo) || !cert2.NotAfter.After(cert.NotAfter) {
		t.Error("the renewed certificate is for another key, or ends no later")
	}
}

// Codes are copied by people.
func TestInviteCodeSpellings(t *testing.T) {
	w := newWorld(t)
	code := w.invite("alice")
	typed := "  " + strings.ToUpper(code[:5]) + "-" + code[5:10] + " " + code[10:] + "\n"
	if _, err := w.Register(ctx, registration(typed, "phone", userKey(t))); err != nil {
		t.Errorf("registering with %q: %v", typed, err)
	}
}

// A crash between the effects of a registration leaves nothing, or a usable
// account; and a repeat gives a token whichever it was.
func TestRegisterCrash(t *testing.T) {
	broken := errors.New("power cut")
	for _, row := range []struct {
		name   string
		plant  func(*fallible)
		exists bool
	}{
		{"before it is durable", func(f *fallible) { f.failBefore = broken }, false},
		{"and yet it has happened", func(f *fallible) { f.failAfter = broken }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			user := userKey(t)
			n := registration(w.invite("alice"), "phone", user)
			row.plant(w.store)
			if _, err := w.Register(ctx, n); !errors.Is(err, broken) {
				t.Fatalf("got %v, want the store's error", err)
			}
			w.restart()
			users, err := w.Users(ctx, "", 10)
			must(t, err)
			if got := len(users) == 1; got != row.exists {
				t.Errorf("%d users after the crash, exists should be %t", len(users), row.exists)
			}
			if row.exists && len(users[0].Devices) != 1 {
				t.Errorf("an account with %d devices after the crash", len(users[0].Devices))
			}
			acc, err := w.Register(ctx, n)
			must(t, err)
			w.publish(w.device(acc, user), 1, true)
			users, err = w.Users(ctx, "", 10)
			must(t, err)
			if len(users) != 1 || len(users[0].Devices) != 1 {
				t.Errorf("after the repeat: %+v, want one user with one device", users)
			}
		})
	}
}

func TestRegisterAgainReplacesToken(t *testing.T) {
	w := newWorld(t)
	user := userKey(t)
	n := registration(w.invite("alice"), "phone", user)
	first, err := w.Register(ctx, n)
	must(t, err)
	_, err = w.Authenticate(ctx, first.Token) // brings it into the cache
	must(t, err)
	second, err := w.Register(ctx, n)
	must(t, err)
	if _, err := w.Authenticate(ctx, second.Token); err != nil {
		t.Errorf("the new token: %v", err)
	}
	_, err = w.Authenticate(ctx, first.Token)
	wantProblem(t, err, clientapi.CodeUnauthorized)
}

func TestRegisterRefusals(t *testing.T) {
	user := userKey(t)
	for _, row := range []struct {
		name string
		code clientapi.Code
		make func(w *world) *clientapi.NewAccount
	}{
		{"invite unknown", clientapi.CodeBadInvite, func(w *world) *clientapi.NewAccount {
			return registration(strings.Repeat("a", 26), "phone", user)
		}},
		{"invite cut off", clientapi.CodeBadInvite, func(w *world) *clientapi.NewAccount {
			return registration(w.invite("alice")[:20], "phone", user)
		}},
		{"invite with foreign letters", clientapi.CodeBadInvite, func(w *world) *clientapi.NewAccount {
			return registration(strings.Repeat("!", 26), "phone", user)
		}},
		{"invite expired", clientapi.CodeBadInvite, func(w *world) *clientapi.NewAccount {
			n := registration(w.invite("alice"), "phone", user)
			w.now = w.now.Add(account.InviteLifetime)
			return n
		}},
		{"invite revoked", clientapi.CodeBadInvite, func(w *world) *clientapi.NewAccount {
			inv, code, err := w.CreateInvite(ctx, account.NewInvite{Name: "alice"})
			must(w.t, err)
			must(w.t, w.RevokeInvite(ctx, inv.ID))
			return registration(code, "phone", user)
		}},
		{"invite used by another key", clientapi.CodeBadInvite, func(w *world) *clientapi.NewAccount {
			code := w.invite("alice")
			_, err := w.Register(ctx, registration(code, "phone", userKey(w.t)))
			must(w.t, err)
			return registration(code, "phone", user)
		}},
		{"invite used for another device", clientapi.CodeBadInvite, func(w *world) *clientapi.NewAccount {
			code := w.invite("alice")
			_, err := w.Register(ctx, registration(code, "phone", user))
			must(w.t, err)
			return registration(code, "laptop", user)
		}},
		{"name taken by another key", clientapi.CodeNameTaken, func(w *world) *clientapi.NewAccount {
			w.register("alice", "phone", userKey(w.t))
			return registration(w.invite("alice"), "laptop", user)
		}},
		{"device's name taken", clientapi.CodeNameTaken, func(w *world) *clientapi.NewAccount {
			w.register("alice", "phone", user)
			return registration(w.invite("alice"), "phone", user)
		}},
		{"too many devices", clientapi.CodeTooMany, func(w *world) *clientapi.NewAccount {
			for i := range account.MaxDevices {
				w.register("alice", fmt.Sprint("phone", i), user)
			}
			return registration(w.invite("alice"), "phone", user)
		}},
		{"device's name with a slash", clientapi.CodeInvalid, func(w *world) *clientapi.NewAccount {
			return registration(w.invite("alice"), "pho/ne", user)
		}},
		{"device's name too long", clientapi.CodeInvalid, func(w *world) *clientapi.NewAccount {
			return registration(w.invite("alice"), strings.Repeat("p", account.MaxName+1), user)
		}},
		{"no device's name", clientapi.CodeInvalid, func(w *world) *clientapi.NewAccount {
			return registration(w.invite("alice"), "", user)
		}},
		{"user key too short", clientapi.CodeInvalid, func(w *world) *clientapi.NewAccount {
			n := registration(w.invite("alice"), "phone", user)
			n.UserKey = n.UserKey[:31]
			return n
		}},
		{"proof by another key", clientapi.CodeInvalid, func(w *world) *clientapi.NewAccount {
			n := registration(w.invite("alice"), "phone", user)
			n.Proof = registration(n.Invite, "phone", userKey(w.t)).Proof
			return n
		}},
		{"proof for another device", clientapi.CodeInvalid, func(w *world) *clientapi.NewAccount {
			n := registration(w.invite("alice"), "phone", user)
			n.Device = "laptop"
			return n
		}},
		{"no proof", clientapi.CodeInvalid, func(w *world) *clientapi.NewAccount {
			n := registration(w.invite("alice"), "phone", user)
			n.Proof = nil
			return n
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			n := row.make(w)
			before, err := w.Users(ctx, "", 10)
			must(t, err)
			_, err = w.Register(ctx, n)
			wantProblem(t, err, row.code)
			if err != nil && n.Invite != "" && strings.Contains(err.Error(), n.Invite) {
				t.Error("the error shows the invite")
			}
			after, err := w.Users(ctx, "", 10)
			must(t, err)
			if len(after) != len(before) {
				t.Errorf("%d users before the refusal, %d after", len(before), len(after))
			}
		})
	}
}

func TestSecondDevice(t *testing.T) {
	w := newWorld(t)
	user := userKey(t)
	phone := w.register("alice", "phone", user)
	inv, _, err := w.CreateInvite(ctx, account.NewInvite{Name: "alice"})
	must(t, err)
	if !inv.Exists {
		t.Error("the invite does not say that alice has an account")
	}
	laptop := w.register("alice", "laptop", user)
	w.publish(laptop, 3, false)
	got, err := w.Devices(ctx, phone.Identity)
	must(t, err)
	if len(got.Devices) != 2 || got.Devices[0].Name != "laptop" || got.Devices[0].KeyPackages != 3 || got.Devices[1].Name != "phone" {
		t.Errorf("devices %+v, want laptop with 3 KeyPackages and phone", got.Devices)
	}
}

// Whoever holds a removed device has its registration, and must not come back
// with it.
func TestRemovedDeviceStaysOut(t *testing.T) {
	w := newWorld(t)
	user := userKey(t)
	phone := w.register("alice", "phone", user)
	n := registration(w.invite("alice"), "stolen", user)
	acc, err := w.Register(ctx, n)
	must(t, err)
	w.publish(w.device(acc, user), 2, true)

	must(t, w.RemoveDevice(ctx, phone.Identity, "stolen"))
	_, err = w.Authenticate(ctx, acc.Token)
	wantProblem(t, err, clientapi.CodeUnauthorized)
	_, err = w.Register(ctx, n)
	wantProblem(t, err, clientapi.CodeBadInvite)
	if _, err := w.Authenticate(ctx, phone.token); err != nil {
		t.Errorf("the other device: %v", err)
	}
	// Not even into a new device of the same name.
	again := w.register("alice", "stolen", user)
	_, err = w.Register(ctx, n)
	wantProblem(t, err, clientapi.CodeBadInvite)
	if _, err := w.Authenticate(ctx, again.token); err != nil {
		t.Errorf("the new device: %v", err)
	}
	must(t, w.RemoveDevice(ctx, phone.Identity, "stolen"))
	wantProblem(t, w.RemoveDevice(ctx, phone.Identity, "stolen"), clientapi.CodeNotFound)
	must(t, w.RemoveDevice(ctx, phone.Identity, "phone")) // oneself
	_, err = w.Authenticate(ctx, phone.token)
	wantProblem(t, err, clientapi.CodeUnauthorized)
}

func TestInviteThatReplaces(t *testing.T) {
	w := newWorld(t)
	old := w.register("alice", "phone", userKey(t))
	w.publish(old, 2, true)
	_, code, err := w.CreateInvite(ctx, account.NewInvite{Name: "alice", Replaces: true})
	must(t, err)
	fresh := userKey(t)
	acc, err := w.Register(ctx, registration(code, "phone", fresh))
	must(t, err)
	_, err = w.Authenticate(ctx, old.token)
	wantProblem(t, err, clientapi.CodeUnauthorized)
	d := w.device(acc, fresh)
	if n, err := w.CountKeyPackages(ctx, d.Identity); err != nil || n.Available != 0 || n.LastResort {
		t.Errorf("the new device has the old one's KeyPackages: %+v, %v", n, err)
	}
	key, err := w.UserKey(ctx, d.User)
	must(t, err)
	if !bytes.Equal(key, fresh.Public().(ed25519.PublicKey)) {
		t.Error("the account has the old user key")
	}
	_, _, err = w.CreateInvite(ctx, account.NewInvite{Name: "bob", Replaces: true})
	wantProblem(t, err, clientapi.CodeNotFound)
}

func TestInvites(t *testing.T) {
	w := newWorld(t)
	for _, bad := range []account.NewInvite{{Name: ""}, {Name: "a b"}, {Name: "Alice"}, {Name: "a/b"}, {Name: ".."},
		{Name: strings.Repeat("a", account.MaxName+1)}, {Name: "alice", Lifetime: time.Second},
		{Name: "alice", Lifetime: account.MaxInviteLifetime + 1}, {Name: "alice", Lifetime: -1}} {
		_, _, err := w.CreateInvite(ctx, bad)
		wantProblem(t, err, clientapi.CodeInvalid)
	}
	w.register("bob", "phone", userKey(t))
	_, _, err := w.CreateInvite(ctx, account.NewInvite{Name: "alice", Lifetime: time.Hour})
	must(t, err)
	list, err := w.Invites(ctx)
	must(t, err)
	if len(list) != 2 || !list[0].Used.IsZero() || list[1].Device != "phone" || !list[1].Exists {
		t.Errorf("invites %+v, want alice's open one and bob's used one", list)
	}
	w.now = w.now.Add(2 * time.Hour)
	list, err = w.Invites(ctx)
	must(t, err)
	if len(list) != 1 {
		t.Errorf("%d invites after one has expired, want 1", len(list))
	}
	wantProblem(t, w.RevokeInvite(ctx, "00"), clientapi.CodeInvalid)
	wantProblem(t, w.RevokeInvite(ctx, "000000000000"), clientapi.CodeNotFound)
}

func TestAuthenticateRefusals(t *testing.T) {
	w := newWorld(t)
	d := w.register("alice", "phone", userKey(t))
	flipped := []byte(d.token)
	flipped[20] ^= 1
	for _, bad := range []string{"", "mimid1_", d.token[:len(d.token)-1], d.token + "A", strings.ToUpper(d.token), string(flipped),
		strings.TrimPrefix(d.token, "mimid1_"), strings.Repeat("x", 1<<20)} {
		_, err := w.Authenticate(ctx, bad)
		wantProblem(t, err, clientapi.CodeUnauthorized)
	}
}

// The cache of tokens stays within its bound and never answers for a removed device.
func TestTokenCacheIsBounded(t *testing.T) {
	w := newWorld(t, func(c *account.Config) { c.CachedTokens = 4 })
	var all []*device
	user := userKey(t)
	for i := range 12 {
		all = append(all, w.register("alice", "d"+string(rune('a'+i)), user))
	}
	for range 2 {
		for _, d := range all {
			id, err := w.Authenticate(ctx, d.token)
			must(t, err)
			if id != d.Identity {
				t.Fatalf("token of %v is %v", d.Client, id.Client)
			}
		}
	}
	if n := w.Registry.CachedTokens(); n > 4 {
		t.Errorf("%d tokens in memory, at most 4", n)
	}
}

func TestNewRefusesConfig(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*account.Config){
		"domain":        func(c *account.Config) { c.Domain = "Atlanta" },
		"store":         func(c *account.Config) { c.Store = nil },
		"key":           func(c *account.Config) { c.ProviderKey = nil },
		"authenticator": func(c *account.Config) { c.Authenticator = nil },
	} {
		cfg := w.cfg
		change(&cfg)
		if _, err := account.New(cfg); !errors.Is(err, account.ErrConfig) {
			t.Errorf("without a good %s: %v, want ErrConfig", name, err)
		}
	}
}
