package node_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// reader is an account with one device, of which no more runs than it takes to be added: it
// has registered, lets somebody add it, and its provider has a KeyPackage of it.
type reader struct {
	at    *running
	http  *http.Client
	token string
}

// readers makes accounts at a provider whom who may add to rooms.
func (r *running) readers(n int, who uri.User) []uri.User {
	t := r.t
	t.Helper()
	operator := check(admin.Dial(t.Context(), r.dir))(t)
	defer operator.Close()
	users := make([]uri.User, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				// From an address of its own: what one may register is rationed.
				from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1+byte(i>>8), byte(i), 1)}}
				d := &reader{at: r, http: &http.Client{Transport: &http.Transport{DialContext: from.DialContext}, Timeout: time.Minute}}
				if err := d.register(operator, fmt.Sprintf("reader%d", i), who, &users[i]); err != nil {
					t.Error(err)
				}
				d.http.CloseIdleConnections()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return users
}

func (d *reader) register(operator *admin.Client, name string, who uri.User, user *uri.User) error {
	t := d.at.t
	inv, err := operator.CreateInvite(t.Context(), admin.NewInvite{Name: name})
	if err != nil {
		return err
	}
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	req := &clientapi.NewAccount{Invite: inv.Code, Device: "phone", UserKey: pub}
	req.Proof = ed25519.Sign(priv, req.ProofTBS(d.at.cfg.Domain))
	var got clientapi.Account
	if err := d.call("/v1/accounts", req, &got); err != nil {
		return err
	}
	d.token = got.Token
	if *user, err = uri.ParseUser(got.User); err != nil {
		return err
	}
	sign, err := mls.GenerateSignatureKey(room.Suite)
	if err != nil {
		return err
	}
	leaf, err := x509auth.IssueClient(priv, got.Certificate, got.Client, sign.Public(), x509auth.ValidFor(time.Now(), x509auth.Lifetime))
	if err != nil {
		return err
	}
	params := mls.LeafParams{Suite: room.Suite, Signer: sign, Credential: mls.X509Credential(leaf, got.Certificate), Lifetime: mls.LifetimeOf(time.Now(), 30*24*time.Hour)}
	kp, err := mls.NewKeyPackage(params, false, nil)
	if err != nil {
		return err
	}
	last, err := mls.NewKeyPackage(params, true, nil)
	if err != nil {
		return err
	}
	packages := &clientapi.NewKeyPackages{KeyPackages: [][]byte{kp.KeyPackage().Bytes()}, LastResort: last.KeyPackage().Bytes()}
	if err := d.call("/v1/keypackages", packages, nil); err != nil {
		return err
	}
	entry, err := (&wire.ConsentEntry{Operation: wire.ConsentGrant,
		Scope: wire.ConsentScope{Requester: wire.IdentifierURI(who.String()), Target: wire.IdentifierURI(user.String())}}).Bytes()
	if err != nil {
		return err
	}
	return d.call("/v1/consent", &clientapi.SendConsent{Entry: entry}, nil)
}

func (d *reader) call(path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest("POST", "http://"+d.at.cfg.Clients.Listen+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+d.token)
	res, err := d.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode/100 != 2:
		return fmt.Errorf("%s: %s %s", path, res.Status, body)
	case out != nil:
		return json.Unmarshal(body, out)
	}
	return nil
}

// counted counts what a device receives.
type counted struct{ octets atomic.Int64 }

func (c *counted) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		res.Body = &countedBody{res.Body, c}
	}
	return res, err
}

type countedBody struct {
	io.ReadCloser
	c *counted
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.octets.Add(int64(n))
	return n, err
}

// TestChannelOfThousands: a channel has 2,000 members at two providers, all brought in by
// Welcome: those at the other provider, too, of whom there are 1,000 and more, and the last
// of them when the ratchet tree is larger than any value of the store. Who comes in by itself
// then, by a link, gets the tree as well. All three devices that run, which came first, last
// and by the link, read what is said.
func TestChannelOfThousands(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 2,000 members take two minutes")
	}
	const here, there, together = 960, 1040, 120
	ctx := t.Context()
	began := time.Now()
	step := func(what string) {
		t.Logf("%s: %.1f s", what, time.Since(began).Seconds())
		began = time.Now()
	}
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	a.large, b.large = true, true
	received := new(counted)
	alice, bob, carol := a.user("alice"), b.user("bob"), b.user("carol")
	zoe := b.userBy("zoe", &http.Client{Transport: received})
	for _, c := range []*client.Client{bob, zoe} {
		if err := c.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
	}
	own, others := a.readers(here, alice.User()), b.readers(there, alice.User())
	step("accounts")

	name, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "news", Roles: policy.Channel()})
	if err != nil {
		t.Fatal(err)
	}
	members := func(c *client.Client) int {
		list, err := c.Rooms(ctx)
		if err != nil || len(list) != 1 {
			return 0
		}
		n := 0
		for _, p := range list[0].Participants {
			n += p.Clients
		}
		return n
	}
	in := 1
	add := func(who []uri.User) {
		t.Helper()
		in += len(who)
		for some := range slices.Chunk(who, together) {
			list, err := alice.AddUsers(ctx, name, some)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range list {
				// Some wait: what one device may ask for is rationed.
				if x.State != client.AddIn && x.State != client.AddPending {
					t.Fatalf("%s is %s: %v", x.User, x.State, x.Err)
				}
			}
		}
		for end := time.Now().Add(2 * time.Minute); members(alice) < in; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d are in, not %d", members(alice), in)
			}
		}
	}
	add([]uri.User{bob.User()})
	add(own[:950])
	step("950 at the hub's provider")
	add(others[:900])
	step("900 at the other provider")
	// The largest room in which one commit adds users of both.
	add(slices.Concat(own[950:], others[900:910]))
	step(fmt.Sprintf("%d at both", len(own)-950+10))
	add(others[910:])
	step(fmt.Sprintf("%d at the other provider", len(others)-910))
	before := received.octets.Load()
	add([]uri.User{zoe.User()})
	within(t, "the last is in", func() bool { return members(zoe) == here+there+3 })
	step("the last one")
	t.Logf("her device received %d octets for it", received.octets.Load()-before)

	link, err := alice.MakeLink(ctx, name, client.LinkTerms{})
	if err != nil {
		t.Fatal(err)
	}
	if err := takesLink(t, carol, link.Reveal()); err != nil {
		t.Fatal(err)
	}
	step("by a link")
	const text = "good morning, all two thousand"
	if _, err := alice.Send(ctx, name, text); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client.Client{bob, zoe, carol} {
		within(t, c.User().Short()+" reads", func() bool {
			list, err := c.Messages(name, 0, 10)
			return err == nil && len(list) == 1 && list[0].Text == text
		})
		if n := members(c); n != here+there+4 {
			t.Errorf("%s sees %d members", c.User(), n)
		}
	}
	step("a message")
	if s := a.status(); s.Outbox != 0 || strings.Contains(a.log.String(), "too large") {
		t.Errorf("%d items wait at the hub: %s", s.Outbox, a.log)
	}
	for _, r := range []*running{a, b} {
		v, err := r.n.Verify(ctx)
		if err != nil || len(v.Faults) > 0 {
			t.Errorf("%s: %+v, %v", r.cfg.Domain, v, err)
		}
	}
}
